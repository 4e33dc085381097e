"""Accounts of one host: a SQLite file of their own beside the database of calls.

Its tables are a list of numbered steps. A released step never changes.
"""

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from retention.accounts.accounts import MEMORY_TABLES, TABLES, Accounts, Memory, Row
from retention.accounts.credentials import Hiding
from retention.files import read_moved
from retention.records import RecordError
from retention.rows.pages import SqliteTables
from retention.rows.rows import StoreError
from retention.sqlite import Steps, connect
from retention.texts import strerror

TOLD_LIMIT = 1000  # texts that wait for a page; nobody may come back for one
_TYPES = {
    **{"number": "id INTEGER PRIMARY KEY AUTOINCREMENT", "account": "account_id INTEGER NOT NULL"},
    **{"text": "TEXT", "integer": "INTEGER", "blob": "BLOB", "handle": "(randomblob(32))"},
    **{"unlogged": "", "at": ""},
}


def _first(connection: sqlite3.Connection) -> None:
    removed = (
        "CREATE TRIGGER accounts_removed AFTER DELETE ON accounts BEGIN "
        "DELETE FROM codes WHERE account_id = OLD.id; DELETE FROM passkeys WHERE account_id = OLD.id; END"
    )
    for statement in (*(one.format(**_TYPES) for one in TABLES), removed):
        connection.execute(statement)


STEPS = Steps("sipagent-accounts", {"0001_accounts": _first})

BUSY_S = 15.0  # how long to wait for another process's transaction


class SqliteRows:
    """An `AccountRows` in SQLite, for any thread. Raises StoreError, which names the file."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._lock = threading.RLock()
        with self._asking():
            self.connection = connect(path, BUSY_S)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.connection.close()

    @contextmanager
    def transaction(self, lock: int) -> Iterator[None]:
        """One transaction, for which the whole database is locked."""
        with self._asking():
            if self.connection.in_transaction:
                yield
                return
            with self.connection:  # commits, or takes back
                self.connection.execute("BEGIN IMMEDIATE")
                yield

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a statement."""
        with self._asking():
            return SqliteTables(self.connection).read(sql, values)

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement; how many rows it has changed."""
        with self._asking():
            return self.connection.execute(sql, values).rowcount

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except (sqlite3.Error, OSError) as error:
                reason = strerror(error) if isinstance(error, OSError) else error
                raise StoreError("{0}: {1}", self._path, reason) from error


def in_memory(seconds: Callable[[], float] = monotonic) -> Memory:
    """What the page of one process remembers. `seconds`: a clock that never goes back."""
    rows = SqliteRows(":memory:")
    for statement in MEMORY_TABLES:
        rows.run(statement.format(**_TYPES))
    over = f"whom NOT IN (SELECT whom FROM told ORDER BY rowid DESC LIMIT {TOLD_LIMIT - 1})"
    return Memory(rows, secrets.token_bytes(32), Hiding(), seconds, over)


class FileAccounts(Accounts):
    """The accounts in the file at `path`, mode 0600, made if missing.

    `moved`: the note that says that all has moved from here; then nothing is changed any more. `seconds`: a
    clock that never goes back.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        moved: Path | None = None,
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._moved = moved
        rows = SqliteRows(path)
        super().__init__(
            str(path),
            rows,
            clock,
            hiding=Hiding(),
            memory=in_memory(seconds),
            secret=secrets.token_bytes(32),
        )
        try:
            with rows._asking():
                taken = STEPS.are_taken(rows.connection, path)
            if not taken:
                with self.write():  # taken first, so that two processes do not both migrate
                    STEPS.take(rows.connection)
        except StoreError:
            rows.close()
            raise

    def moved_to(self) -> str | None:
        """The target in the note beside the file."""
        try:
            note = None if self._moved is None else read_moved(self._moved)
        except (OSError, RecordError) as wrong:
            raise StoreError("{0}: {1}", self._moved, wrong) from wrong
        return note.to if note is not None and note.done else None
