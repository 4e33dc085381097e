"""The hosts that share a database: who lives, by the database's own clock.

A host renews its lease while its process runs and reaches the database. A lease that ended means that the
others must do what it can't: see `lost`. It does not mean that its calls are over: they need no database.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Protocol

from retention.host import Host
from retention.recording import Receipt, Recording, Sum
from retention.rows.store import Damaged, StoreError

RENEWALS = 4  # in the time of a lease


class NameTaken(StoreError):
    """Another host of that name lives."""


class Shared(Protocol):
    """The shared database, as far as shipping and hosts need it. Everything raises StoreError; what may pass
    raises TryAgain."""

    def write(self) -> AbstractContextManager[None]:
        """One transaction; no other host writes rows meanwhile."""

    def transaction(self) -> AbstractContextManager[None]:
        """One transaction that writes no rows, and waits for nobody who does."""

    def now(self) -> datetime:
        """By the database's clock."""

    def some_receipts(self, ids: Sequence[str]) -> dict[str, Receipt]: ...

    def some_recordings(self, ids: Sequence[str]) -> dict[str, Recording]: ...

    def open_receipts(self, damaged: Damaged | None = None) -> list[Receipt]:
        """Those of calls that have not ended."""

    def open_recordings(self) -> frozenset[str]:
        """The ids of those that are being made."""

    def expect(self, rows: int) -> None:
        """Prepare for this many new rows, before the transaction that adds them."""

    def keep_many(
        self, receipts: Sequence[Receipt], recordings: Sequence[Recording], sums: Sequence[Sum]
    ) -> None:
        """Add them, or replace the whole rows; receipts first."""

    def has_sum(self, sum: Sum) -> bool:
        """Whether one like it is there."""

    def host(self, name: str) -> Host | None: ...

    def hosts(self) -> list[Host]:
        """By their names."""

    def keep_host(self, host: Host) -> None:
        """Add it, or replace its row."""

    def alone(self, what: str) -> AbstractContextManager[bool]:
        """Whether no other process does `what` now; none can until the end."""


def lease(now: datetime, lease_s: float) -> datetime:
    """Until when a lease lasts that is renewed now."""
    return now + timedelta(seconds=lease_s)
