"""The rows of one host, in SQLite."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from retention.rows.database import ChainedDatabase
from retention.rows.faults import DamagedRow, NoRoom, StoreError, UnknownId
from retention.rows.rows import Damaged, Rows

__all__ = ["Damaged", "DamagedRow", "NoRoom", "Store", "StoreError", "UnknownId"]


class Store(Rows, ChainedDatabase):
    """The tables of what is kept. Calls that begin here are `worker`'s, where there are several."""

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        worker: int | None = None,
    ) -> None:
        """Raises StoreError."""
        super().__init__(path, clock)
        self.worker = worker
