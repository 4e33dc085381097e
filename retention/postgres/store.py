"""The rows of several hosts, in PostgreSQL."""

from retention.postgres.database import SharedDatabase
from retention.rows.rows import Rows


class SharedStore(Rows, SharedDatabase):
    """The tables of what is kept, for all hosts."""
