"""The database of accounts and tokens, and its transactions.

It is apart from the recordings' database so that it is in no backup: who was removed must not come back with
one. What the rows mean is in `accounts` and `tokens`.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from retention.accounts.account import AccountError, folded, tidy
from retention.accounts.schema import MIGRATIONS, STEPS
from retention.rows.faults import StoreError
from retention.sqlite.connection import connect

BUSY_S = 15.0  # how long to wait for another process's transaction

Row = dict[str, Any]


class AccountsDatabase:
    """The database at `path`, mode 0600, made if missing; safe from several threads.

    Each write is one short transaction. Raises StoreError where the database cannot be used.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()
        with self._faults():
            try:
                database = connect(path, BUSY_S)
            except OSError as error:
                raise StoreError(f"{path}: {error.strerror}") from error
            self._db: sqlite3.Connection = database.conn
            newer = [step.name for step in MIGRATIONS.applied(database) if step.name not in STEPS]
            if newer:
                database.close()
                raise StoreError(f"{path}: written by a newer sipagent (it has {newer[-1]}); update sipagent")
            if MIGRATIONS.pending(database):
                with self.write():  # taken first, so that two processes do not both migrate
                    MIGRATIONS.apply(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """One transaction for all that is changed inside; an exception undoes all of it."""
        with self._lock, self._faults():
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.commit()
            except BaseException:
                self._db.rollback()
                raise

    def _read(self, sql: str, *values: object) -> list[Row]:
        with self._lock, self._faults():
            found = self._db.execute(sql, values)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def _change(self, sql: str, *values: object) -> None:
        """Change the one row that is meant. Raises AccountError if it is gone."""
        if self._db.execute(sql, values).rowcount != 1:
            raise AccountError("the account was removed")

    def _free(self, name: str) -> str:
        """The name as it is kept. Raises AccountError if a person has it, or a program whose token is good:
        both stand in the trace."""
        name = tidy(name)
        for table, among, what in (
            ("accounts", "", "an account"),
            ("tokens", " AND revoked_at IS NULL", "a token"),
        ):
            if self._read(f"SELECT 1 FROM {table} WHERE folded = ?{among}", folded(name)):
                raise AccountError(f"{name!r}: there is {what} of this name")
        return name

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """SQLite's errors, as one that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from error
