"""The rows of several hosts, in PostgreSQL."""

from datetime import datetime, timedelta

from retention.postgres.hosts import HostsTable
from retention.rows.rows import Rows

_APART = timedelta(minutes=1)  # by which the clocks of a host and of the database may differ, as `check` says


class SharedStore(Rows, HostsTable):
    """The tables of what is kept, for all hosts."""

    shared = True

    def heard_until(self, host: str | None) -> datetime | None:
        """By what its journal said when it was last seen; not known while anything waits there."""
        seen = None if host is None else self.host(host)
        return None if seen is None or seen.lag_rows else seen.seen_at - _APART
