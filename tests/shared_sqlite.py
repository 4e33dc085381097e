"""A shared database in SQLite, with a clock of its own: what shipping needs of one that hosts share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime
from pathlib import Path

from retention.records import Host
from retention.sqlite import Store


class SharedInSqlite(Store):
    """For one process."""

    def __init__(self, path: Path | str, clock: Callable[[], datetime]) -> None:
        super().__init__(path, clock)
        self.now = clock
        self.transaction = self.write
        self.busy_with: set[str] = set()
        columns = ", ".join(field.name for field in fields(Host))
        self._connection.execute(f"CREATE TABLE IF NOT EXISTS hosts ({columns}, PRIMARY KEY (host))")

    def host(self, name: str) -> Host | None:
        return next((host for host in self.hosts() if host.host == name), None)

    def hosts(self) -> list[Host]:
        rows = self._read("SELECT * FROM hosts ORDER BY host", [])
        return [Host.from_json(row | {"draining": bool(row["draining"])}) for row in rows]

    def keep_host(self, host: Host) -> None:
        with self.write():
            self._put("hosts", host.to_json())

    @contextmanager
    def alone(self, what: str) -> Iterator[bool]:
        if what in self.busy_with:
            yield False
            return
        self.busy_with.add(what)
        try:
            yield True
        finally:
            self.busy_with.remove(what)
