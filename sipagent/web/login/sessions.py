"""The sessions of those who are logged in. Where one page remembers them, a restart ends them all.

Where hosts share accounts, a session counts on each.
"""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from retention.accounts.memory import Memory, Session

ABSOLUTE = timedelta(hours=12)
MOST = 2000  # sessions at a time
MOST_OF_ONE = 10  # of one account
ID_BYTES = 32
_NOTED = timedelta(seconds=1)  # between two notes of when somebody did something


class Sessions:
    """Any thread. A session is known by the SHA-256 of its id: who reads the memory cannot show the id."""

    def __init__(self, idle: timedelta, clock: Callable[[], datetime], memory: Memory) -> None:
        self._idle = idle
        self._clock = clock
        self._memory = memory

    def begin(self, account: int, epoch: int) -> bytes:
        """Begin one; its id, which is new each time."""
        id, now = secrets.token_bytes(ID_BYTES), self._clock()
        self._memory.end_sessions(began=now - ABSOLUTE, seen=now - self._idle)
        self._memory.keep_newest(account, MOST_OF_ONE - 1)
        self._memory.keep_newest(None, MOST - 1)
        self._memory.add_session(_name(id), Session(account, epoch, now, now))
        return id

    def find(self, id: bytes, *, acts: bool) -> Session | None:
        """The session of this id, unless it has ended. `acts`: somebody does something, which prolongs it."""
        now, name = self._clock(), _name(id)
        session = self._memory.session(name)
        if session is None:
            return None
        if now - session.seen >= self._idle or now - session.began >= ABSOLUTE:
            self._memory.end_session(name)
            return None
        if acts and now - session.seen >= _NOTED:
            self._memory.saw(name, now)
        return session

    def end(self, id: bytes) -> None:
        """End it, if it has not ended."""
        self._memory.end_session(_name(id))


def _name(id: bytes) -> bytes:
    return sha256(id).digest()
