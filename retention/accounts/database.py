"""What is kept of accounts and tokens, whichever database that is, and its transactions.

It is apart from the rows of calls, so that it is in no backup of ours: who was removed must not come back
with one. What the rows mean is in `accounts` and `tokens`; where they are is for `file` and `shared`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from retention.accounts.account import AccountError, folded, tidy
from retention.accounts.hiding import HIDDEN, Hiding
from retention.accounts.memory import Memory
from retention.rows.faults import StoreError

Row = dict[str, Any]


class AccountsDatabase(ABC):
    """Safe from several threads. Each write is one short transaction. Raises StoreError where the database
    cannot be used, TryAgain where it does not answer.

    `where`: what people call it. `memory`: what the pages remember of who is there. `secret`: 32 bytes that
    all of them know, and nobody else.
    """

    def __init__(
        self, where: str, clock: Callable[[], datetime], hiding: Hiding, memory: Memory, secret: bytes
    ) -> None:
        self.where = where
        self._clock = clock
        self._hiding = hiding
        self.memory = memory
        self.secret = secret

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Let go of the database."""

    @abstractmethod
    def moved_to(self) -> str | None:
        """Where its accounts are now, where nothing is changed here any more."""

    @abstractmethod
    def write(self) -> AbstractContextManager[None]:
        """One transaction for all that is changed inside; an exception undoes all of it."""

    @abstractmethod
    def _rows(self, sql: str, values: Sequence[object]) -> list[Row]:
        """The rows of a statement, as they are kept; its placeholders are `?`."""

    @abstractmethod
    def _run(self, sql: str, *values: object) -> int:
        """Run a statement within a transaction; how many rows it has changed."""

    def _refuse_moved(self) -> None:
        """Raises StoreError: nobody would look here for what is changed."""
        if (to := self.moved_to()) is not None:
            raise StoreError(
                f"{self.where}: its accounts have moved to {to}; accepted: a configuration that names that"
            )

    def _read(self, sql: str, *values: object) -> list[Row]:
        """The rows of a query."""
        return [
            {name: self._shown(name, value) for name, value in row.items()} for row in self._rows(sql, values)
        ]

    def _insert(self, table: str, row: Row) -> int:
        """Add a row to a table that numbers them; its number. `row` is as it is read."""
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        sql = f"INSERT INTO {table} ({columns}) VALUES ({marks}) RETURNING id"
        (made,) = self._rows(sql, self._kept_row(row))
        return int(made["id"])

    def _kept_row(self, row: Row) -> list[Any]:
        """Its values as they are kept."""
        return [self._kept(name, value) for name, value in row.items()]

    def _kept(self, column: str, value: Any) -> Any:
        """A value as it is kept, and compared with."""
        return self._hiding.kept(column, value) if column in HIDDEN and value is not None else value

    def _shown(self, column: str, value: Any) -> Any:
        return self._hiding.shown(value) if column in HIDDEN and value is not None else value

    def _folded(self, name: str) -> str:
        """What accounts and tokens are found by."""
        return str(self._kept("folded", folded(name)))

    def _change(self, sql: str, *values: object) -> None:
        """Change the one row that is meant. Raises AccountError if it is gone."""
        if self._run(sql, *values) != 1:
            raise AccountError("the account was removed")

    def _free(self, name: str) -> str:
        """The name as it is kept. Raises AccountError if a person has it, or a program whose token is good:
        both stand in the trace."""
        name = tidy(name)
        for table, among, what in (
            ("accounts", "", "an account"),
            ("tokens", " AND revoked_at IS NULL", "a token"),
        ):
            if self._read(f"SELECT 1 FROM {table} WHERE folded = ?{among}", self._folded(name)):
                raise AccountError(f"{name!r}: there is {what} of this name")
        return name
