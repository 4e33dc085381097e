"""How many rows there are, counted by the database: a walk over an index, however many they are.

An aggregate is read as a table of its own through `Store.each`, in short reads as everything else.
"""

from retention.pages import Listing
from retention.recording import Status
from retention.store import Store, StoreError

RECONCILED = ("receipts", "recordings", "accesses")
_TRIES = 50
_BY_STATUS = "(SELECT status, count(*) AS count FROM recordings GROUP BY status)"


def recordings_by_status(store: Store) -> dict[Status, int]:
    """Every status, with how many recordings have it. Raises StoreError."""
    counts = dict.fromkeys(Status, 0)
    for row in store.each(Listing(table=_BY_STATUS, order=("status",))):
        counts[Status(row["status"])] = row["count"]
    return counts


def held(store: Store) -> int:
    """How many recordings are on hold. Raises StoreError."""
    return count(store, "recordings", "hold IS NOT NULL")


def count(store: Store, table: str, where: str = "") -> int:
    """How many rows of a table meet a condition. Raises StoreError."""
    counted = f"(SELECT count(*) AS count FROM {table}{where and f' WHERE {where}'})"
    (row,) = store.each(Listing(table=counted, order=("count",)))
    return int(row["count"])


def reconcile(store: Store) -> dict[str, tuple[int, int]]:
    """For each table how many rows there are, and how many the chain knows of.

    Both at one moment, though rows are written meanwhile and no writer is held up: rows are never deleted, so
    where as many were there before and after the chain was asked, none came in between. Raises StoreError.
    """
    before = _rows(store)
    for _ in range(_TRIES):
        chain, after = store.tally(), _rows(store)
        if before == after:
            return {table: (after[table], chain[table]) for table in RECONCILED}
        before = after
    raise StoreError(f"{store.path}: written to so fast that its rows could not be counted")


def _rows(store: Store) -> dict[str, int]:
    return {table: count(store, table) for table in RECONCILED}
