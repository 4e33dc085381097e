"""What pages remember of who is there and who tries: sessions, refused attempts, what was used once, and what
the next page says.

Where there is one page it is in its memory: a restart ends all sessions. Pages of several hosts share it.
"""

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Protocol

TOLD_LIMIT = 1000  # texts that wait for a page; nobody may come back for one


@dataclass(frozen=True, slots=True)
class Session:
    """Of which account it is, by its id and its `epoch` then; `seen`: the last time that somebody did
    something."""

    account: int
    epoch: int
    began: datetime
    seen: datetime


@dataclass(frozen=True, slots=True)
class Tried:
    """How often something was refused, and when last, by the clock of the memory's `turn`."""

    refused: int
    last: float


class Memory(Protocol):
    """Any thread. Sessions are known by the SHA-256 of their id: who reads this cannot show the id.

    Methods raise StoreError where it is in a database, TryAgain where that does not answer.
    """

    def add_session(self, name: bytes, session: Session) -> None:
        """Keep a new one."""
        ...

    def session(self, name: bytes) -> Session | None:
        """The one of this name."""
        ...

    def saw(self, name: bytes, at: datetime) -> None:
        """Note that somebody did something, if it is still there."""
        ...

    def end_session(self, name: bytes) -> None:
        """Forget it, if it is still there."""
        ...

    def end_sessions(self, began: datetime, seen: datetime) -> None:
        """Forget all that began, or were seen, no later than that."""
        ...

    def keep_newest(self, account: int | None, most: int) -> None:
        """Forget the oldest beyond so many, of an account or of all."""
        ...

    def turn(self) -> AbstractContextManager[float]:
        """While nobody else counts; the seconds of a clock that never goes back."""
        ...

    def tried(self, kind: str, key: bytes) -> Tried | None:
        """The count of this key, within a turn."""
        ...

    def keep_tried(self, kind: str, key: bytes, tried: Tried, most: int) -> None:
        """Count it so, within a turn; the oldest of its kind go, beyond so many."""
        ...

    def forget_tried(self, kind: str, key: bytes) -> None:
        """Count nothing of it any more, within a turn."""
        ...

    def use_up(self, name: bytes, until: float, now: float, most: int) -> bool:
        """Whether it is used for the first time, and there were fewer than so many; remembered `until`.
        Both times are seconds since the epoch."""
        ...

    def tell(self, whom: str, text: str) -> None:
        """Keep what the next page of a session says, in place of what was kept; `whom`: what its forms
        carry."""
        ...

    def told(self, whom: str) -> str | None:
        """The message for a session's next page; it is given once."""
        ...


class InMemory:
    """The `Memory` of one process."""

    def __init__(self, seconds: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._lock = threading.RLock()
        self._sessions: dict[bytes, Session] = {}
        self._tried: dict[str, OrderedDict[bytes, Tried]] = defaultdict(OrderedDict)
        self._used: dict[bytes, float] = {}  # until when
        self._told: dict[str, str] = {}

    def add_session(self, name: bytes, session: Session) -> None:
        """Keep a new one."""
        with self._lock:
            self._sessions[name] = session

    def session(self, name: bytes) -> Session | None:
        """The one of this name."""
        with self._lock:
            return self._sessions.get(name)

    def saw(self, name: bytes, at: datetime) -> None:
        """Note that somebody did something, if it is still there."""
        with self._lock:
            if (there := self._sessions.get(name)) is not None:
                self._sessions[name] = replace(there, seen=at)

    def end_session(self, name: bytes) -> None:
        """Forget it, if it is still there."""
        with self._lock:
            self._sessions.pop(name, None)

    def end_sessions(self, began: datetime, seen: datetime) -> None:
        """Forget all that began, or were seen, no later than that."""
        with self._lock:
            over = [name for name, one in self._sessions.items() if one.began <= began or one.seen <= seen]
            for name in over:
                del self._sessions[name]

    def keep_newest(self, account: int | None, most: int) -> None:
        """Forget the oldest beyond so many, of an account or of all."""
        with self._lock:
            names = [name for name, one in self._sessions.items() if account in (None, one.account)]
            for name in names[: max(0, len(names) - most)]:
                del self._sessions[name]

    @contextmanager
    def turn(self) -> Iterator[float]:
        """While nobody else counts; seconds."""
        with self._lock:
            yield self._seconds()

    def tried(self, kind: str, key: bytes) -> Tried | None:
        """The count of this key."""
        return self._tried[kind].get(key)

    def keep_tried(self, kind: str, key: bytes, tried: Tried, most: int) -> None:
        """Count it so; the oldest of its kind go, beyond so many."""
        kept = self._tried[kind]
        kept[key] = tried
        kept.move_to_end(key)
        while len(kept) > most:
            kept.popitem(last=False)

    def forget_tried(self, kind: str, key: bytes) -> None:
        """Count nothing of it any more."""
        self._tried[kind].pop(key, None)

    def use_up(self, name: bytes, until: float, now: float, most: int) -> bool:
        """Whether it is used for the first time, and there were fewer than so many."""
        with self._lock:
            self._used = {one: end for one, end in self._used.items() if end > now}
            if name in self._used or len(self._used) >= most:
                return False
            self._used[name] = until
            return True

    def tell(self, whom: str, text: str) -> None:
        """Keep what the next page of a session says."""
        with self._lock:
            while len(self._told) >= TOLD_LIMIT:
                del self._told[next(iter(self._told))]
            self._told[whom] = text

    def told(self, whom: str) -> str | None:
        """The message for a session's next page; it is given once."""
        with self._lock:
            return self._told.pop(whom, None)
