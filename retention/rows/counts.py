"""What is counted: how many rows there are, and the rejected calls that have no row of their own.

Rows are counted by the database in pages, so that no read takes long.

Of calls that are rejected at once the first of each hour have receipts, the others are counted. A trunk
that loops rejects some hundred calls a second, and their receipts would fill a disk in days. So the first
`RECEIPTS_AN_HOUR`, of all processes together, are kept one by one; the others become one `Sum` a minute
for each answer, in the chain like all that is kept; it leads to no person.
"""

import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from retention.records import Receipt, Status, Sum
from retention.rows.chain import TABLES
from retention.rows.pages import COUNT, Listing, Row
from retention.rows.rows import HeadNotWritten, Rows

RECONCILED = {table: kind for kind, table in TABLES.items()}
_BY_TIME = ("started_at", "id")
# the columns of the smallest index with every row; the other tables are numbered, and small
_ORDER: dict[str, tuple[str, ...]] = {"receipts": _BY_TIME, "recordings": _BY_TIME}
_NUMBERED = ("id",)


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


RECEIPTS_AN_HOUR = 1000  # an hour
RECEIPTS_AT_ONCE = 200  # receipts in one transaction
SUMS_EVERY = timedelta(minutes=1)
REJECTED, LOST = "rejected", "lost"

_ANSWERED = re.compile(r"rejected with (\d{3})")
Kind = tuple[int | None, str | None]  # the code of the answer, and who gave it


@dataclass(frozen=True, slots=True)
class CallSpan:
    """A number of calls, and the times of the first and the last."""

    count: int
    first: datetime
    last: datetime

    def __add__(self, other: "CallSpan") -> "CallSpan":
        return CallSpan(self.count + other.count, min(self.first, other.first), max(self.last, other.last))


class PendingRejections:
    """The rejected calls of one process that are not written yet. Safe from any thread. Times are UTC."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hour = ""
        self._taken = 0
        self._receipts: list[Receipt] = []
        self._counts: dict[Kind, CallSpan] = {}

    def takes(self, at: datetime) -> bool:
        """Whether a call rejected at that moment may have a receipt, as far as this process knows."""
        with self._lock:
            if (hour := _hour(at)) != self._hour:
                self._hour, self._taken = hour, 0
            self._taken += 1
            return self._taken <= RECEIPTS_AN_HOUR

    def add(self, receipt: Receipt) -> None:
        """Add a call with its receipt, if its hour has room for it."""
        with self._lock:
            self._receipts.append(receipt)

    def count(self, at: datetime, code: int | None, by: str | None) -> None:
        """Count a call without a receipt."""
        with self._lock:
            self._add_counts({(code, by): CallSpan(1, at, at)})

    def keep(self, receipt: Receipt) -> None:
        """Keep its receipt, or count it."""
        if self.takes(receipt.started_at):
            self.add(receipt)
        else:
            self.count(receipt.started_at, *_kind(receipt))

    def due(self, now: datetime, *, over: bool = False) -> bool:
        """Whether there is something to write: receipts, or counts of a past minute; `over`: anything."""
        with self._lock:
            return bool(self._receipts) or self._counts_due(now, over)

    @property
    def counts(self) -> bool:
        """Whether something is counted that will be due in a minute."""
        return bool(self._counts)

    def write(self, store: Rows, now: datetime, *, over: bool = False) -> int:
        """Write what is due, at most a batch of receipts, in one transaction; returns how many calls.

        What could not be written is kept. Raises StoreError.
        """
        with self._lock:
            receipts, self._receipts = self._receipts[:RECEIPTS_AT_ONCE], self._receipts[RECEIPTS_AT_ONCE:]
            counts = {}
            if due := self._counts_due(now, over):
                counts, self._counts = self._counts, {}
        written = False
        beyond: dict[Kind, CallSpan] = {}
        try:
            with store.write():
                room = _room(store, now, len(receipts))
                for receipt in receipts[:room]:
                    store.add_receipt(receipt)
                beyond = _counted(receipts[room:])
                told = _merged(counts, beyond) if due else {}
                for sum in _sums(told):
                    store.add_sum(sum)
            written = True
            return room + sum_of(told)
        except HeadNotWritten:
            written = True
            raise
        finally:
            with self._lock:
                if not written:
                    self._receipts = receipts + self._receipts
                    self._add_counts(counts)
                elif not due:
                    self._add_counts(beyond)

    def all(self) -> list[Sum]:
        """Everything not written yet, as counts only: for when no receipt can be written any more."""
        with self._lock:
            return list(_sums(_merged(self._counts, _counted(self._receipts))))

    # under the lock

    def _add_counts(self, counts: dict[Kind, CallSpan]) -> None:
        self._counts = _merged(self._counts, counts)

    def _counts_due(self, now: datetime, over: bool) -> bool:
        """Whether counts are due; a clock that was set back makes them due, too."""
        return any(over or abs(now - span.first) >= SUMS_EVERY for span in self._counts.values())


def sum_of(counts: dict[Kind, CallSpan]) -> int:
    """How many calls these counts are together."""
    return sum(span.count for span in counts.values())


def _room(store: Rows, now: datetime, wanted: int) -> int:
    """How many more receipts this hour may have, up to `wanted`; they are counted as used."""
    if not wanted:
        return 0
    hour, row = _hour(now), store.rejected_row()
    there = row["receipts"] if row is not None and row["hour"] == hour else 0
    room = max(0, min(wanted, RECEIPTS_AN_HOUR - there))
    if room:
        store.keep_rejected_row({"id": 1, "hour": hour, "receipts": there + room})
    return room


def _counted(receipts: Iterable[Receipt]) -> dict[Kind, CallSpan]:
    counts: dict[Kind, CallSpan] = {}
    for receipt in receipts:
        counts = _merged(counts, {_kind(receipt): CallSpan(1, receipt.started_at, receipt.started_at)})
    return counts


def _merged(one: dict[Kind, CallSpan], other: dict[Kind, CallSpan]) -> dict[Kind, CallSpan]:
    both = {kind: one[kind] + other[kind] for kind in one.keys() & other.keys()}
    return one | other | both


def _sums(counts: dict[Kind, CallSpan]) -> Iterator[Sum]:
    for (code, by), span in counts.items():
        yield Sum(what=REJECTED, count=span.count, from_at=span.first, until_at=span.last, code=code, by=by)


def _kind(receipt: Receipt) -> Kind:
    """What it was answered with, and by whom, as its receipt says."""
    for event in receipt.events:
        if found := _ANSWERED.fullmatch(event.what):
            return int(found[1]), event.by
    return None, None


def _hour(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H}"
