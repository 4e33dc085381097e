"""The sessions of those who are logged in: in memory, so that a restart ends them all."""

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

ABSOLUTE = timedelta(hours=12)
MOST = 2000  # sessions at a time
MOST_OF_ONE = 10  # of one account
ID_BYTES = 32


@dataclass(slots=True)
class Session:
    """Of which account it is, by its id and its `epoch` then; `seen`: the last time that somebody did
    something."""

    account: int
    epoch: int
    began: datetime
    seen: datetime


class Sessions:
    """Any thread. A session is known by the SHA-256 of its id: who reads this memory cannot show the id."""

    def __init__(self, idle: timedelta, clock: Callable[[], datetime]) -> None:
        self._idle = idle
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[bytes, Session] = {}

    def begin(self, account: int, epoch: int) -> bytes:
        """Begin one; its id, which is new each time."""
        id, now = secrets.token_bytes(ID_BYTES), self._clock()
        with self._lock:
            self._forget_ended(now)
            self._make_room(account)
            self._kept[_name(id)] = Session(account, epoch, now, now)
        return id

    def find(self, id: bytes, *, acts: bool) -> Session | None:
        """The session of this id, unless it has ended. `acts`: somebody does something, which prolongs it."""
        now = self._clock()
        with self._lock:
            session = self._kept.get(_name(id))
            if session is None:
                return None
            if self._is_over(session, now):
                del self._kept[_name(id)]
                return None
            if acts:
                session.seen = now
            return session

    def end(self, id: bytes) -> None:
        """End it, if it has not ended."""
        with self._lock:
            self._kept.pop(_name(id), None)

    @property
    def count(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def _is_over(self, session: Session, now: datetime) -> bool:
        return now - session.seen >= self._idle or now - session.began >= ABSOLUTE

    def _forget_ended(self, now: datetime) -> None:
        for name in [name for name, one in self._kept.items() if self._is_over(one, now)]:
            del self._kept[name]

    def _make_room(self, account: int) -> None:
        """End the oldest, of this account or of all."""
        own = [name for name, one in self._kept.items() if one.account == account]
        for name in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
            del self._kept[name]
        for name in list(self._kept)[: max(0, len(self._kept) - MOST + 1)]:
            del self._kept[name]


def _name(id: bytes) -> bytes:
    return sha256(id).digest()
