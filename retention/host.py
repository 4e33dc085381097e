"""One of the hosts that share a database, as they tell each other. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class HostState(StrEnum):
    """What is known of a host."""

    RUNNING = "running"
    DRAINING = "draining"  # takes no new calls
    STOPPED = "stopped"  # it ended in order, with nothing left in its journal
    LOST = "lost"  # its lease has ended


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
