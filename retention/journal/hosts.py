"""The hosts that share a database: who lives, by the database's own clock.

A host renews its lease while its process runs and reaches the database. A lease that ended means that the
others must do what it can't: see `lost`. It does not mean that its calls are over: they need no database.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from retention.recording import Receipt, Recording, Sum
from retention.rows.store import Damaged, StoreError

RENEWALS = 4  # in the time of a lease


class HostState(StrEnum):
    """What is known of a host."""

    RUNNING = "running"
    DRAINING = "draining"  # takes no new calls
    STOPPED = "stopped"  # it ended in order, with nothing left in its journal
    LOST = "lost"  # its lease has ended


class NameTaken(StoreError):
    """Another host of that name lives."""


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


class Shared(Protocol):
    """The shared database, as far as shipping and hosts need it. Everything raises StoreError; what may pass
    raises TryAgain."""

    def write(self) -> AbstractContextManager[None]:
        """One transaction; no other host writes rows meanwhile."""

    def now(self) -> datetime:
        """By the database's clock."""

    def some_receipts(self, ids: Sequence[str]) -> dict[str, Receipt]: ...

    def some_recordings(self, ids: Sequence[str]) -> dict[str, Recording]: ...

    def open_receipts(self, damaged: Damaged | None = None) -> list[Receipt]:
        """Those of calls that have not ended."""

    def open_recordings(self) -> frozenset[str]:
        """The ids of those that are being made."""

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
