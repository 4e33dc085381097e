"""One connection to the accounts of several hosts, for all threads of a process."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from retention.postgres.connection import Connection
from retention.postgres.database import NAME
from retention.postgres.faults import named

Row = dict[str, Any]


class SharedRows:
    """Methods raise StoreError, TryAgain where the database does not answer. `opened` is called with each new
    connection."""

    def __init__(self, conninfo: str, password: str | None, opened: Callable[[Connection], None]) -> None:
        self._lock = threading.RLock()
        self._connection = Connection(conninfo, password, opened)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def asking(self) -> Iterator[Connection]:
        """The connection, for who asks only."""
        with self._lock, named(NAME):
            yield self._connection

    @contextmanager
    def transaction(self, lock: int) -> Iterator[Connection]:
        """One transaction, in which nobody else has this advisory lock; within another one a part of it."""
        with self.asking() as connection:
            if connection.within:
                yield connection
                return
            connection.begin(lock)
            try:
                yield connection
                connection.commit()
            except BaseException:
                connection.roll_back()
                raise

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """The rows of a statement."""
        with self.asking() as connection:
            return connection.read(sql, values)

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run a statement; how many rows it has changed."""
        with self.asking() as connection:
            return connection.change(sql, values)
