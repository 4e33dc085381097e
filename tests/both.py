"""Stores for tests that run over both databases: SQLite, and PostgreSQL.

A module of such tests says `DATABASES = BOTH`; each of its tests then runs twice, but for those that are
marked `in_sqlite`. What it opens here, or by `kept.archive`, is of the database whose turn it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from retention.accounts.accounts import Accounts
from retention.accounts.file import FileAccounts
from retention.files import Places
from retention.rows.pages import Row
from retention.rows.rows import Rows
from retention.sqlite import Store

if TYPE_CHECKING:
    from tests.postgres import Server

SQLITE, POSTGRES = "sqlite", "postgres"
BOTH = (SQLITE, POSTGRES)
Clock = Callable[[], datetime]


class _Sqlite:
    def open(self, path: Path | None, clock: Clock, worker: int | None) -> Rows:
        return Store(":memory:" if path is None else path, clock, worker)

    def accounts(self, path: Path, clock: Clock, seconds: Callable[[], float]) -> Accounts:
        return FileAccounts(path, clock, seconds=seconds)

    def url(self, path: Path) -> str | None:
        return None


class _Postgres:
    """Each path has a database of its own, for as long as the test lasts."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._databases: dict[Path, str] = {}

    def open(self, path: Path | None, clock: Clock, worker: int | None) -> Rows:
        from tests.shared import shared_store

        places = None if path is None else Places(path)
        fresh = path is None or path not in self._databases
        conninfo = self._fresh() if path is None or fresh else self._databases[path]
        if path is not None:
            self._databases[path] = conninfo
        store = shared_store(conninfo, clock=clock, places=places)
        store.worker = worker
        self._stack.callback(store.close)
        if fresh and path is not None:
            store._export(store.head())  # its tables were made elsewhere
        return store

    def accounts(self, path: Path, clock: Clock, seconds: Callable[[], float]) -> Accounts:
        from retention.accounts.shared import SharedAccounts

        key = Places(path).accounts_key
        return SharedAccounts(self.url(path), None, key, clock, seconds=seconds)

    def url(self, path: Path) -> str:
        if path not in self._databases:
            self._databases[path] = self._fresh()
        return self._databases[path]

    def _fresh(self) -> str:
        from tests.postgres import fresh
        from tests.shared import prepare

        return self._stack.enter_context(fresh(self._server, prepare))


_opening: list[_Sqlite | _Postgres] = [_Sqlite()]


def opened(
    path: Path | None = None, clock: Clock = lambda: datetime.now(UTC), worker: int | None = None
) -> Rows:
    """The store at a path, or one of its own; of the database whose turn it is."""
    return _opening[-1].open(path, clock, worker)


def accounts(
    path: Path, clock: Clock = lambda: datetime.now(UTC), seconds: Callable[[], float] = monotonic
) -> Accounts:
    """The accounts at a path; of the database whose turn it is."""
    return _opening[-1].accounts(path, clock, seconds)


def url(path: Path) -> str | None:
    """The database that stands for a path; None where it is a file."""
    return _opening[-1].url(path)


@contextmanager
def over(database: str, server: Callable[[], Server]) -> Iterator[None]:
    """Let stores be opened in this database; `server()` is asked for where it is PostgreSQL."""
    with ExitStack() as stack:
        _opening.append(_Postgres(server(), stack) if database == POSTGRES else _Sqlite())
        stack.callback(_opening.pop)
        yield


def by_hand(store: Rows, sql: str, values: Sequence[object] = ()) -> None:
    """Run a statement past all that we have in front of the database. Raises StoreError."""
    with store._asking():
        store._ledger.tables.execute(sql, values)


def raw(store: Rows, sql: str, values: Sequence[object] = ()) -> list[Row]:
    """What the database answers."""
    return store._read(sql, values)


def drop_guard(store: Rows, name: str, table: str) -> None:
    """Remove a trigger, as somebody could who owns the tables."""
    by_hand(store, f"DROP TRIGGER {name}" + ("" if isinstance(store, Store) else f" ON {table}"))
