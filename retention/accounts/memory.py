"""What pages remember of who is there and who tries: sessions, refused attempts, what was used once, and what
the next page says.

Where there is one page it is in its memory (`file.in_memory`): a restart ends all sessions. Pages of several
hosts share it, in tables that no log and no standby has.
"""

import hmac
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from retention.accounts.credentials import Hiding
from retention.records import from_text, to_text

Row = dict[str, Any]
COUNTING_TURN = 7_364_003  # the advisory lock of who counts
_ALL = 1 << 40  # rows: SQLite takes no OFFSET without a LIMIT

MEMORY_TABLES = (
    # a challenge may be answered once, whatever crashes meanwhile
    "CREATE TABLE used_challenges (name {blob} PRIMARY KEY, until double precision NOT NULL)",
    "CREATE {unlogged} TABLE sessions (name {blob} PRIMARY KEY, account {integer} NOT NULL, "
    "epoch {integer} NOT NULL, began {text} NOT NULL, seen {text} NOT NULL)",
    "CREATE {unlogged} TABLE told (whom {blob} PRIMARY KEY, text {text} NOT NULL{at})",
    "CREATE {unlogged} TABLE attempts (kind {text} NOT NULL, key {blob} NOT NULL, "
    "refused {integer} NOT NULL, last double precision NOT NULL, PRIMARY KEY (kind, key))",
    "CREATE INDEX attempts_by_age ON attempts (kind, last)",
)


class AccountRows(Protocol):
    """A database of accounts, for any thread; placeholders are `?`. Methods raise StoreError."""

    def close(self) -> None: ...

    def transaction(self, lock: int) -> AbstractContextManager[object]:
        """One transaction, in which nobody else has this lock; within another one a part of it."""

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a statement."""

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement; how many rows it has changed."""


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


class Memory:
    """Any thread. Sessions are known by the SHA-256 of their id: who reads this cannot show the id. Names and
    addresses that are tried are hashed under `secret`, and what a page is to say is hidden.

    `seconds`: a clock that never goes back; `over`: the condition of texts that nobody came back for. Methods
    raise StoreError where it is in a database, TryAgain where that does not answer.
    """

    def __init__(
        self, rows: AccountRows, secret: bytes, hiding: Hiding, seconds: Callable[[], float], over: str
    ) -> None:
        self._rows = rows
        self._secret = secret
        self._hiding = hiding
        self._seconds = seconds
        self._over = over

    def add_session(self, name: bytes, session: Session) -> None:
        """Keep a new one."""
        sql = "INSERT INTO sessions (name, account, epoch, began, seen) VALUES (?, ?, ?, ?, ?)"
        times = to_text(session.began), to_text(session.seen)
        self._rows.run(sql, (name, session.account, session.epoch, *times))

    def session(self, name: bytes) -> Session | None:
        """The one of this name."""
        found = self._rows.read("SELECT account, epoch, began, seen FROM sessions WHERE name = ?", [name])
        if not found:
            return None
        (row,) = found
        return Session(row["account"], row["epoch"], from_text(row["began"]), from_text(row["seen"]))

    def saw(self, name: bytes, at: datetime) -> None:
        """Note that somebody did something, if it is still there."""
        self._rows.run("UPDATE sessions SET seen = ? WHERE name = ?", [to_text(at), name])

    def end_session(self, name: bytes) -> None:
        """Forget it, if it is still there."""
        self._rows.run("DELETE FROM sessions WHERE name = ?", [name])

    def end_sessions(self, began: datetime, seen: datetime) -> None:
        """Forget all that began, or were seen, no later than that."""
        sql = "DELETE FROM sessions WHERE began <= ? OR seen <= ?"
        self._rows.run(sql, [to_text(began), to_text(seen)])

    def keep_newest(self, account: int | None, most: int) -> None:
        """Forget the oldest beyond so many, of an account or of all."""
        of, values = ("", []) if account is None else ("WHERE account = ? ", [account])
        oldest = f"SELECT name FROM sessions {of}ORDER BY began DESC, name LIMIT {_ALL} OFFSET ?"
        self._rows.run(f"DELETE FROM sessions WHERE name IN ({oldest})", [*values, most])

    @contextmanager
    def turn(self) -> Iterator[float]:
        """While nobody else counts; the seconds of its clock."""
        with self._rows.transaction(COUNTING_TURN):
            yield self._seconds()

    def tried(self, kind: str, key: bytes) -> Tried | None:
        """The count of this key, within a turn."""
        sql = "SELECT refused, last FROM attempts WHERE kind = ? AND key = ?"
        return next((Tried(**row) for row in self._rows.read(sql, [kind, self._hashed(key)])), None)

    def keep_tried(self, kind: str, key: bytes, tried: Tried, most: int) -> None:
        """Count it so, within a turn; the oldest of its kind go, beyond so many."""
        sql = (
            "INSERT INTO attempts (kind, key, refused, last) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET refused = EXCLUDED.refused, last = EXCLUDED.last"
        )
        self._rows.run(sql, (kind, self._hashed(key), tried.refused, tried.last))
        oldest = f"SELECT key FROM attempts WHERE kind = ? ORDER BY last DESC LIMIT {_ALL} OFFSET ?"
        self._rows.run(f"DELETE FROM attempts WHERE kind = ? AND key IN ({oldest})", (kind, kind, most))

    def forget_tried(self, kind: str, key: bytes) -> None:
        """Count nothing of it any more, within a turn."""
        self._rows.run("DELETE FROM attempts WHERE kind = ? AND key = ?", [kind, self._hashed(key)])

    def use_up(self, name: bytes, until: float, now: float, most: int) -> bool:
        """Whether it is used for the first time, and there were fewer than so many; remembered `until`.
        Both times are seconds since the epoch."""
        with self._rows.transaction(COUNTING_TURN):
            self._rows.run("DELETE FROM used_challenges WHERE until <= ?", [now])
            (counted,) = self._rows.read("SELECT count(*) AS used FROM used_challenges")
            if counted["used"] >= most:
                return False
            sql = "INSERT INTO used_challenges (name, until) VALUES (?, ?) ON CONFLICT DO NOTHING"
            return self._rows.run(sql, [name, until]) == 1

    def tell(self, whom: str, text: str) -> None:
        """Keep what the next page of a session says, in place of what was kept; `whom`: what its forms
        carry."""
        self._rows.run(f"DELETE FROM told WHERE {self._over}")
        key = self._hashed(whom.encode())
        self._rows.run("DELETE FROM told WHERE whom = ?", [key])
        sql = "INSERT INTO told (whom, text) VALUES (?, ?) ON CONFLICT (whom) DO UPDATE SET text = "
        self._rows.run(f"{sql}EXCLUDED.text", [key, self._hiding.kept("text", text)])

    def told(self, whom: str) -> str | None:
        """The message for a session's next page; it is given once."""
        sql = "DELETE FROM told WHERE whom = ? RETURNING text"
        found = self._rows.read(sql, [self._hashed(whom.encode())])
        return self._hiding.shown(found[0]["text"]) if found else None

    def _hashed(self, key: bytes) -> bytes:
        """So that nobody who reads the database finds out whose name or address it is."""
        return hmac.digest(self._secret, key, "sha256")
