"""The table `hosts`: which hosts share the database, and how they are. Not part of the chain.

Whether one lives is told by the database's own clock: those of the hosts may differ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any
from zlib import crc32

from retention.postgres.database import SharedDatabase
from retention.recording import from_text, to_text
from retention.rows.pages import Row

_ALONE = 7_364_002  # the first half of the advisory locks of `alone`
_TIMES = ("oldest_at", "seen_at", "lease_until")


class HostState(StrEnum):
    """What is known of a host."""

    RUNNING = "running"
    DRAINING = "draining"  # takes no new calls
    STOPPED = "stopped"  # it ended in order, with nothing left in its journal
    LOST = "lost"  # its lease has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A row of `hosts`. `journal`: the identity of its journal; `shipped` and `shipped_hash`: the journal's
    last entry whose row is here. `lease_until` is null where it ended in order. Times are of the database's
    clock, but for `oldest_at`, when the first row that waits was written, by the host's own."""

    host: str
    version: str
    journal: str
    shipped: int = 0
    shipped_hash: str = ""
    calls: int = 0
    lag_rows: int = 0
    oldest_at: datetime | None = None
    draining: bool = False
    seen_at: datetime
    lease_until: datetime | None = None

    def state(self, now: datetime) -> HostState:
        """`now`: by the database's clock."""
        if self.lease_until is None:
            return HostState.STOPPED
        if self.lease_until < now:
            return HostState.LOST
        return HostState.DRAINING if self.draining else HostState.RUNNING

    def lag_s(self, now: datetime) -> float:
        """For how long the oldest row had waited when it was last seen, and has since."""
        return 0.0 if self.oldest_at is None else max(0.0, (now - self.oldest_at).total_seconds())


class HostsTable(SharedDatabase):
    """That table, and what goes by the database's clock and locks."""

    def now(self) -> datetime:
        """By the database's clock."""
        (row,) = self._read("SELECT clock_timestamp() AS now", [])
        now: datetime = row["now"]
        return now

    def hosts(self) -> list[Host]:
        """By their names."""
        return [_host(row) for row in self._read("SELECT * FROM hosts ORDER BY host", [])]

    def host(self, name: str) -> Host | None:
        """One of them; within a transaction, nobody else changes it until the end."""
        locked = " FOR UPDATE" if self._connection.within else ""
        rows = self._read(f"SELECT * FROM hosts WHERE host = ?{locked}", [name])
        return _host(rows[0]) if rows else None

    def keep_host(self, host: Host) -> None:
        """Add it, or replace its row."""
        row: dict[str, Any] = {field.name: getattr(host, field.name) for field in fields(Host)}
        row |= {name: row[name] and to_text(row[name]) for name in _TIMES}
        with self.transaction():
            self._put("hosts", row)

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        """Whether no other process does `what` now; none can until the end, or until the server restarts."""
        key = [_ALONE, crc32(what.encode()) - (1 << 31)]
        (row,) = self._read("SELECT pg_try_advisory_lock(?, ?) AS alone", key)
        try:
            yield row["alone"]
        finally:
            if row["alone"]:
                self._read("SELECT pg_advisory_unlock(?, ?)", key)


def _host(row: Row) -> Host:
    return Host(**row | {name: row[name] and from_text(row[name]) for name in _TIMES})
