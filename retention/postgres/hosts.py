"""The table `hosts`: which hosts share the database, and how they are. Not part of the chain.

Whether one lives is told by the database's own clock: those of the hosts may differ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any
from zlib import crc32

from retention.host import Host
from retention.postgres.database import SharedDatabase
from retention.recording import from_text, to_text
from retention.rows.pages import Row

_ALONE = 7_364_002  # the first half of the advisory locks of `alone`
_TIMES = ("oldest_at", "seen_at", "lease_until")


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
