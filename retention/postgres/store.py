"""The rows of several hosts, in PostgreSQL."""

from retention.postgres.hosts import HostsTable
from retention.rows.rows import Rows


class SharedStore(Rows, HostsTable):
    """The tables of what is kept, for all hosts."""

    shared = True
