"""How many rows there are, counted by the database in pages, so that no read takes long."""

from retention.recording import Status
from retention.rows.chain import TABLES
from retention.rows.pages import COUNT, Listing, Row
from retention.rows.rows import Rows

RECONCILED = {table: kind for kind, table in TABLES.items()}
_BY_TIME = ("started_at", "id")
# the columns of the smallest index with every row; the other tables are numbered, and small
_ORDER: dict[str, tuple[str, ...]] = {"receipts": _BY_TIME, "recordings": _BY_TIME}
_NUMBERED = ("id",)


def recordings_by_status(store: Rows) -> dict[Status, int]:
    """Every status, with how many recordings have it. Raises StoreError."""
    return {status: recordings(store, status) for status in Status}


def recordings(store: Rows, status: Status) -> int:
    """How many recordings have this status. Raises StoreError."""
    return _count(store, "recordings", _BY_TIME, f"status = '{status.value}'")


def held(store: Rows) -> int:
    """How many recordings are on hold. Raises StoreError."""
    return _count(store, "recordings", _BY_TIME, "hold IS NOT NULL")


def reconcile(store: Rows) -> dict[str, tuple[int, int]]:
    """For each table: how many rows it has, and how many the chain knows of.

    Both as they were at the start: what is written meanwhile is in neither count, and no writer has to wait.
    Raises StoreError.
    """
    last = _last(store)
    return {table: _both(store, table, kind, last) for table, kind in RECONCILED.items()}


def _last(store: Rows) -> Row:
    """The last row of each table and of the chain, in one statement, so at one moment."""
    numbers = store.dialect.numbers
    lasts = (f"(SELECT max({numbers[table]}) FROM {table}) AS {table}" for table in (*RECONCILED, "chain"))
    (row,) = store.each(Listing(table=f"(SELECT {', '.join(lasts)}) AS lasts", order=("chain",)))
    return {table: last or 0 for table, last in row.items()}


def _both(store: Rows, table: str, kind: str, last: Row) -> tuple[int, int]:
    """`+`: no index for these bounds, which are for the rows of a page; its own bounds find the page."""
    number = store.dialect.numbers[table]
    rows = _count(store, table, _ORDER.get(table, _NUMBERED), where=f"+{number} <= {last[table]}")
    firsts = _count(store, "chain", ("seq",), f"kind = '{kind}' AND was = 0", f"+seq <= {last['chain']}")
    return rows, firsts


def _count(store: Rows, table: str, order: tuple[str, ...], indexed: str = "", where: str = "") -> int:
    """Rows that meet two conditions; an index has `order` and the columns of the first."""
    listing = Listing(
        table=table, columns=COUNT, order=order, indexed=indexed, where=[where] if where else []
    )
    return sum(page["n"] for page in store.each(listing))
