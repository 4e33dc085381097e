"""Long tables in short reads: in this journal mode a cursor that stays open keeps every writer waiting.

A page is a span of the rows in their order, found by its index and only then filtered. So no read goes
through more than `PAGE` rows, even if few of them match.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

PAGE = 1000  # rows in one read
BATCH = 250  # rows in one transaction
# SQLite's waiters do not queue: a recent one looks again after 50 ms at most. So a process that writes much
# keeps each transaction as short as that, and then pauses longer.
BREATH_S = 0.06

COUNT = "count(*) AS n"  # columns of a listing that counts: one row a page

Item = TypeVar("Item")

Row = dict[str, Any]
Query = Callable[[str, Sequence[object]], list[Row]]  # one whole read


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What to read. `order` names columns with an index, unique together.

    `indexed`, with its `indexed_values`, is a condition that an index answers, so that rows without it are
    not even read. `start` and `stop` (exclusive) bound the first column of `order`. `behind` is the key of
    the row after which the listing begins, in place of the bound at that end. `of` is the table whose rows
    these are, where `table` joins several. `accepts` are conditions for rows as they went in.
    """

    table: str
    of: str = ""
    order: tuple[str, ...]
    columns: str = "*"
    where: Sequence[str] = ()
    values: Sequence[object] = ()
    indexed: str = ""
    indexed_values: Sequence[object] = ()
    start: object = None
    stop: object = None
    behind: tuple[object, ...] | None = None
    descending: bool = False
    limit: int | None = None
    accepts: Sequence[Callable[[Row], bool]] = ()

    @property
    def rows_of(self) -> str:
        """The table whose rows these are."""
        return self.of or self.table


def batches(rows: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """A few items at a time, so that each transaction is short."""
    remaining = iter(rows)
    while batch := list(islice(remaining, size)):
        yield batch


def breathing(rows: Iterable[Item], over: Callable[[], bool] = lambda: False) -> Iterator[list[Item]]:
    """A few items at a time for many transactions, until `over()`: calls can write between two of them."""
    for number, batch in enumerate(batches(rows, BATCH)):
        if over():
            return
        if number:
            time.sleep(BREATH_S)
        yield batch


def each_row(
    query: Query, listing: Listing, opened: Callable[[list[Row]], list[Row]] = lambda rows: rows
) -> Iterator[Row]:
    """The rows that match, in order. Each page is read when needed, with what was written meanwhile.

    `opened`: rows as they are kept → as they went in.
    """
    behind = listing.behind
    left = listing.limit
    size = PAGE if listing.where or listing.accepts or left is None else min(PAGE, left)
    while left is None or left > 0:
        last = _last_of_page(query, listing, behind, size)
        rows = opened(_page(query, listing, behind, last))
        if listing.accepts:
            rows = [row for row in rows if all(accepts(row) for accepts in listing.accepts)]
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
    """The key of the last row of a full page; None if no page follows."""
    columns = ", ".join(listing.order)
    where, values = _span(listing, behind, None)
    sql = f"SELECT {columns} FROM {listing.table}{where} ORDER BY {_order(listing)} LIMIT 1 OFFSET ?"
    rows = query(sql, [*values, size - 1])
    return tuple(rows[0].values()) if rows else None


def _page(
    query: Query, listing: Listing, behind: tuple[object, ...] | None, last: tuple[object, ...] | None
) -> list[Row]:
    where, values = _span(listing, behind, last)
    for condition in listing.where:  # `IS TRUE`: SQLite must not choose an index for it
        where += f"{' AND' if where else ' WHERE'} ({condition}) IS TRUE"
    order = "" if listing.columns == COUNT else f" ORDER BY {_order(listing)}"
    return query(f"SELECT {listing.columns} FROM {listing.table}{where}{order}", [*values, *listing.values])


def _span(
    listing: Listing, behind: tuple[object, ...] | None, last: tuple[object, ...] | None
) -> tuple[str, list[object]]:
    """One bound at each end: of two, the index would use only one and read all rows for the other."""
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
