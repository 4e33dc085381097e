"""Long tables in short reads: in this journal mode a cursor that stays open keeps every writer waiting.

A page is a span of the rows in their order, found by its index and only then filtered: however few rows
match, no read walks through more than `PAGE` of them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

PAGE = 1000  # rows in one read
BATCH = 250  # rows in one transaction
# SQLite's waiters do not queue: one that has not waited for long looks again after 50 ms at most. Whoever
# writes much keeps each transaction as short as that, and then pauses longer.
BREATH_S = 0.06

Item = TypeVar("Item")

Row = dict[str, Any]
Query = Callable[[str, Sequence[object]], list[Row]]  # one whole read


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What to read. `order` names columns with an index, unique together.

    `indexed`, with its `indexed_values`, is a condition that an index answers, so that rows without it are
    not even walked over. `start` and `stop` (exclusive) bound the first column of `order`.
    """

    table: str
    order: tuple[str, ...]
    columns: str = "*"
    where: Sequence[str] = ()
    values: Sequence[object] = ()
    indexed: str = ""
    indexed_values: Sequence[object] = ()
    start: object = None
    stop: object = None
    descending: bool = False
    limit: int | None = None


def batches(rows: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """A few at a time, so that the transaction about them is short."""
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch


def breathing(rows: Iterable[Item], over: Callable[[], bool] = lambda: False) -> Iterator[list[Item]]:
    """A few at a time for many transactions on end, until `over()`: calls can write theirs between two."""
    for number, batch in enumerate(batches(rows, BATCH)):
        if over():
            return
        if number:
            time.sleep(BREATH_S)
        yield batch


def each_row(query: Query, listing: Listing) -> Iterator[Row]:
    """The rows that match, in order, each page read when it is needed, with what has come meanwhile."""
    behind: tuple[object, ...] | None = None
    left = listing.limit
    size = PAGE if listing.where or left is None else min(PAGE, left)
    while left is None or left > 0:
        last = _last_of_page(query, listing, behind, size)
        rows = _page(query, listing, behind, last)
        if left is not None:
            rows = rows[:left]
            left -= len(rows)
        yield from rows
        if last is None:
            return
        behind = last


def _last_of_page(
    query: Query, listing: Listing, behind: tuple[object, ...] | None, size: int
) -> tuple[object, ...] | None:
    """The key of the last row of a full page; None where the page is the last one."""
    columns = ", ".join(listing.order)
    where, values = _span(listing, behind, None)
    sql = f"SELECT {columns} FROM {listing.table}{where} ORDER BY {_order(listing)} LIMIT 1 OFFSET ?"
    rows = query(sql, [*values, size - 1])
    return tuple(rows[0].values()) if rows else None


def _page(
    query: Query, listing: Listing, behind: tuple[object, ...] | None, last: tuple[object, ...] | None
) -> list[Row]:
    where, values = _span(listing, behind, last)
    for condition in listing.where:  # `IS TRUE`: no index is chosen for its sake, to walk through all it has
        where += f"{' AND' if where else ' WHERE'} ({condition}) IS TRUE"
    sql = f"SELECT {listing.columns} FROM {listing.table}{where} ORDER BY {_order(listing)}"
    return query(sql, [*values, *listing.values])


def _span(
    listing: Listing, behind: tuple[object, ...] | None, last: tuple[object, ...] | None
) -> tuple[str, list[object]]:
    """One bound at each end: of two the index would answer one, and the other be a walk through all rows."""
    conditions = [listing.indexed] if listing.indexed else []
    values: list[object] = [*listing.indexed_values]
    columns, marks = ", ".join(listing.order), ", ".join("?" * len(listing.order))
    lower, upper = (last, behind) if listing.descending else (behind, last)
    above, below = (">=", "<") if listing.descending else (">", "<=")
    for key, sign, bound, its_sign in (
        (lower, above, listing.start, ">="),
        (upper, below, listing.stop, "<"),
    ):
        if key is not None:
            conditions.append(f"({columns}) {sign} ({marks})")
            values += key
        elif bound is not None:
            conditions.append(f"{listing.order[0]} {its_sign} ?")
            values.append(bound)
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def _order(listing: Listing) -> str:
    return ", ".join(f"{column}{' DESC' if listing.descending else ''}" for column in listing.order)
