"""What the pages of several hosts remember of who is there and who tries, in the database that they share."""

import hmac
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from retention.accounts.hiding import AccountsKey
from retention.accounts.memory import Session, Tried
from retention.accounts.shared_rows import SharedRows
from retention.recording import from_text, to_text

TURN = 7_364_003  # the advisory lock of who counts
_WAITS = "1 hour"  # what nobody came back for
_NOW = "SELECT extract(epoch FROM clock_timestamp())::double precision AS now"


class SharedMemory:
    """A `Memory` in PostgreSQL. Names and addresses that are tried are hashed under the key, and what a page
    is to say is hidden by it.

    `seconds`: a clock in place of the database's.
    """

    def __init__(
        self, rows: SharedRows, key: AccountsKey, seconds: Callable[[], float] | None = None
    ) -> None:
        self._rows = rows
        self._key = key
        self._secret = key.derived("attempts")
        self._seconds = seconds

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
        sql = (
            "DELETE FROM sessions WHERE name IN "
            f"(SELECT name FROM sessions {of}ORDER BY began DESC, name OFFSET ?)"
        )
        self._rows.run(sql, [*values, most])

    @contextmanager
    def turn(self) -> Iterator[float]:
        """While no host counts; the seconds of the database's clock."""
        with self._rows.transaction(TURN):
            yield self._seconds() if self._seconds is not None else self._rows.read(_NOW)[0]["now"]

    def tried(self, kind: str, key: bytes) -> Tried | None:
        """What is counted of it."""
        sql = "SELECT refused, last FROM attempts WHERE kind = ? AND key = ?"
        return next((Tried(**row) for row in self._rows.read(sql, [kind, self._hashed(key)])), None)

    def keep_tried(self, kind: str, key: bytes, tried: Tried, most: int) -> None:
        """Count it so; the oldest of its kind go, beyond so many."""
        sql = (
            "INSERT INTO attempts (kind, key, refused, last) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (kind, key) DO UPDATE SET refused = EXCLUDED.refused, last = EXCLUDED.last"
        )
        self._rows.run(sql, (kind, self._hashed(key), tried.refused, tried.last))
        oldest = "SELECT key FROM attempts WHERE kind = ? ORDER BY last DESC OFFSET ?"
        self._rows.run(f"DELETE FROM attempts WHERE kind = ? AND key IN ({oldest})", (kind, kind, most))

    def forget_tried(self, kind: str, key: bytes) -> None:
        """Count nothing of it any more."""
        self._rows.run("DELETE FROM attempts WHERE kind = ? AND key = ?", [kind, self._hashed(key)])

    def use_up(self, name: bytes, until: float, now: float, most: int) -> bool:
        """Whether it is used for the first time, and there were fewer than so many."""
        with self._rows.transaction(TURN):
            self._rows.run("DELETE FROM used_challenges WHERE until <= ?", [now])
            (counted,) = self._rows.read("SELECT count(*) AS used FROM used_challenges")
            if counted["used"] >= most:
                return False
            sql = "INSERT INTO used_challenges (name, until) VALUES (?, ?) ON CONFLICT DO NOTHING"
            return self._rows.run(sql, [name, until]) == 1

    def tell(self, whom: str, text: str) -> None:
        """Keep what the next page of a session says."""
        self._rows.run(f"DELETE FROM told WHERE at < clock_timestamp() - interval '{_WAITS}'")
        sql = (
            "INSERT INTO told (whom, text) VALUES (?, ?) "
            "ON CONFLICT (whom) DO UPDATE SET text = EXCLUDED.text, at = clock_timestamp()"
        )
        self._rows.run(sql, [self._hashed(whom.encode()), self._key.kept("text", text)])

    def told(self, whom: str) -> str | None:
        """What there is to say, once."""
        sql = "DELETE FROM told WHERE whom = ? RETURNING text"
        found = self._rows.read(sql, [self._hashed(whom.encode())])
        return self._key.shown(found[0]["text"]) if found else None

    def _hashed(self, key: bytes) -> bytes:
        """So that nobody who reads the database finds out whose name or address it is."""
        return hmac.digest(self._secret, key, "sha256")
