"""Rows by SQL: long tables in short reads, what two databases say differently, and whole rows written.

**Pages.** In SQLite's journal mode a cursor that stays open keeps every writer waiting. So a long table
is read in pages: each is a span of the rows in their order, found by its index and only then filtered. No
read goes through more than `PAGE` rows, even if few of them match.

**Dialect.** What differs between the SQL of two databases. Everything else is written so that both
understand it. Placeholders are `?`; whoever speaks to a database that has others puts them in.

**Tables**, as a ledger writes them: whole rows; in SQLite they are kept as they are.
"""

import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

PAGE = 1000  # rows in one read
BATCH = 250  # rows in one transaction
_FEW = 50  # rows that are opened at once, and perhaps in vain
# SQLite's waiters do not queue: a recent one looks again after 50 ms at most. So a process that writes much
# keeps each transaction as short as that, and then pauses longer.
BREATH_S = 0.06

COUNT = "count(*) AS n"  # columns of a listing that counts: one row a page

Item = TypeVar("Item")

Row = dict[str, Any]
_Key = tuple[object, ...]  # of a row: its columns of the order
Query = Callable[[str, Sequence[object]], list[Row]]  # one whole read


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What to read. `order` names columns with an index, unique together.

    `indexed`, with its `indexed_values`, is a condition that an index answers, so that rows without it are
    not even read. `start` and `stop` (exclusive) bound the first column of `order`. `behind` is the key of
    the row after which the listing begins, in place of the bound at that end. `of` is the table whose rows
    these are, where `table` joins several. `accepts` are conditions for rows as they went in. `found_first`:
    all rows that meet `indexed` are found, and only then put in order; for conditions that few rows meet, and
    of which a planner could think otherwise. `led_by` is an expression that has one value, `led_value`, in
    all rows, and is first in the index that has their order: so no other index has it.
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
    behind: _Key | None = None
    descending: bool = False
    limit: int | None = None
    found_first: bool = False
    led_by: str = ""
    led_value: object = None
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
    behind, left, size = listing.behind, listing.limit, _first_size(listing)
    while left is None or left > 0:
        rows, last = _next_page(query, listing, behind, size, left)
        for row in islice(_accepted(listing, rows, opened, left), left):
            yield row
            left = None if left is None else left - 1
        if last is None:
            return
        behind, size = last, min(PAGE, 2 * size)


def _next_page(
    query: Query, listing: Listing, behind: _Key | None, size: int, left: int | None
) -> tuple[list[Row], _Key | None]:
    """The rows of a page that match, and the key of its last row; None if no page follows."""
    if not listing.where and (names := _key_columns(listing)):
        source, where, values = _span(listing, behind, None)
        sql = f"SELECT {listing.columns} FROM {source}{where} ORDER BY {_order(listing)} LIMIT ?"
        rows = query(sql, [*values, size])
        return rows, tuple(rows[-1][name] for name in names) if len(rows) == size else None
    last = _last_of_page(query, listing, behind, size)
    return _page(query, listing, (behind, last), size, left), last


def _key_columns(listing: Listing) -> tuple[str, ...]:
    """The names that the columns of the order have in its rows, if these have them."""
    if listing.columns == "*" and "rowid" not in listing.order:  # which SQLite doesn't count among them
        return listing.order
    of = f"{listing.rows_of}."
    if listing.columns == f"{of}*" and all(column.startswith(of) for column in listing.order):
        return tuple(column.removeprefix(of) for column in listing.order)
    return ()


def _first_size(listing: Listing) -> int:
    """How many rows are looked at first, and then twice as many: opening them is dear."""
    if listing.where or listing.limit is None:
        return PAGE
    return min(PAGE, max(listing.limit, _FEW if listing.accepts else 1))


def _accepted(
    listing: Listing, rows: list[Row], opened: Callable[[list[Row]], list[Row]], left: int | None
) -> Iterator[Row]:
    """Opened no more at a time than may be asked for."""
    for some in batches(rows, PAGE if left is None else max(left, _FEW)):
        for row in opened(some):
            if all(accepts(row) for accepts in listing.accepts):
                yield row


def _last_of_page(query: Query, listing: Listing, behind: _Key | None, size: int) -> _Key | None:
    """The key of the last row of a full page; None if no page follows."""
    columns = ", ".join(listing.order)
    source, where, values = _span(listing, behind, None)
    sql = f"SELECT {columns} FROM {source}{where} ORDER BY {_order(listing)} LIMIT 1 OFFSET ?"
    rows = query(sql, [*values, size - 1])
    return tuple(rows[0].values()) if rows else None


def _page(
    query: Query, listing: Listing, ends: tuple[_Key | None, _Key | None], size: int, left: int | None
) -> list[Row]:
    """The rows behind one, up to the last. They are about `size` at most, which a planner is told."""
    source, where, values = _span(listing, *ends)
    for condition in listing.where:  # `IS TRUE`: SQLite must not choose an index for it
        where += f"{' AND' if where else ' WHERE'} ({condition}) IS TRUE"
    values += listing.values
    sql = f"SELECT {listing.columns} FROM {source}{where}"
    if listing.columns == COUNT:
        return query(sql, values)
    sql += f" ORDER BY {_order(listing)}"
    most, enough = 2 * size, None if listing.accepts else left
    rows = query(f"{sql} LIMIT ?", [*values, most if enough is None else min(most, enough)])
    is_all = len(rows) < most or (enough is not None and len(rows) >= enough)
    return rows if is_all else query(sql, values)  # very many came in between


def _span(listing: Listing, behind: _Key | None, last: _Key | None) -> tuple[str, str, list[object]]:
    """From what, and where. One bound at each end: of two, the index would use only one and read all rows for
    the other."""
    source, conditions = listing.table, [listing.indexed] if listing.indexed else []
    if listing.found_first:  # no planner looks behind an OFFSET
        source = f"(SELECT * FROM {listing.table} WHERE {listing.indexed} OFFSET 0) AS {listing.table}"
        conditions = []
    values: list[object] = [*listing.indexed_values]
    led, led_value = ([listing.led_by], [listing.led_value]) if listing.led_by else ([], [])
    lower, upper = (last, behind) if listing.descending else (behind, last)
    above, below = (">=", "<") if listing.descending else (">", "<=")
    for key, sign, bound, its_sign in (
        (lower, above, listing.start, ">="),
        (upper, below, listing.stop, "<"),
    ):
        if key is not None:
            ends, compared = key, sign
        elif bound is not None:
            ends, compared = (bound,), its_sign
        else:
            ends, compared = (), f"{its_sign[0]}="
        if columns := [*led, *listing.order[: len(ends)]]:
            conditions.append(f"({', '.join(columns)}) {compared} ({', '.join('?' * len(columns))})")
            values += [*led_value, *ends]
    return source, f" WHERE {' AND '.join(conditions)}" if conditions else "", values


def _order(listing: Listing) -> str:
    columns = (listing.led_by, *listing.order) if listing.led_by else listing.order
    return ", ".join(f"{column}{' DESC' if listing.descending else ''}" for column in columns)


_NUMBERED = {**dict.fromkeys(("accesses", "notes", "sums", "approvals"), "id"), "chain": "seq"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """`personal`: the condition that a row leads to a person; an index has it. `ending(column, length)`: the
    last characters of a text. `join`: of two tables, the rows of the first found first. `numbers`: of each
    table, the column that grows with each row. `decisions`: recordings have an index of them, too. `led` says
    by what a listing is led, where a planner could take another index than the one that it is for."""

    personal: str
    ending: Callable[[str, int], str]
    join: str
    numbers: Mapping[str, str]
    decisions: bool = False
    led: Callable[[Listing], Listing] = lambda listing: listing


SQLITE = Dialect(
    personal="salt IS NOT NULL",
    ending=lambda column, length: f"substr({column}, -{length})",
    join="CROSS JOIN",
    numbers=_NUMBERED | dict.fromkeys(("receipts", "recordings"), "rowid"),
)


class Tables(ABC):
    """What the ledger asks of a database. Methods raise the errors of its driver.

    Rows that come and go have all columns of a record, whatever the tables keep of them.
    """

    @abstractmethod
    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query, as they are kept; leaves no cursor open."""

    @abstractmethod
    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""

    @abstractmethod
    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values."""

    def read_anyhow(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """Like `read`, for rows that may be damaged: a byte that is not UTF-8 becomes U+FFFD."""
        return self.read(sql, values)

    def opened(self, table: str, rows: list[Row]) -> list[Row]:
        """Rows as they are kept → as they went in."""
        return rows

    def kept(self, table: str, rows: Sequence[Row]) -> list[Row]:
        """The inverse; rows of one's own."""
        return [dict(row) for row in rows]

    def insert_many(self, table: str, rows: Sequence[Row]) -> None:
        """Add whole rows, all with the same columns."""
        if kept := self.kept(table, rows):
            self.execute_many(inserting(table, kept[0]), [[*row.values()] for row in kept])

    def update_many(
        self, table: str, rows: Sequence[Row], there: Mapping[str | int, Row] | None = None
    ) -> None:
        """Write whole rows that are there, by their ids; `there`: what they are now, where that is known."""
        if kept := self.kept(table, rows):
            ids = [row.pop("id") for row in kept]
            every = [[*row.values(), id] for id, row in zip(ids, kept, strict=True)]
            self.execute_many(updating(table, kept[0]), every)


class SqliteTables(Tables):
    """Tables that keep rows as they are."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def read(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query."""
        cursor = self._db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def read_anyhow(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows of a query, also with bytes that are not UTF-8."""
        try:
            return self.read(sql, values)
        except sqlite3.OperationalError:
            self._db.text_factory = _legible
            try:
                return self.read(sql, values)
            finally:
                self._db.text_factory = str

    def execute(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._db.execute(sql, values)

    def execute_many(self, sql: str, every: Sequence[Sequence[object]]) -> None:
        """Run a statement once for each of these values."""
        self._db.executemany(sql, every)

    def update_many(
        self, table: str, rows: Sequence[Row], there: Mapping[str | int, Row] | None = None
    ) -> None:
        """Only what is new in each: SQLite writes every index that has a column of an UPDATE, changed or
        not."""
        for row in rows:
            before = there[row["id"]] if there else {}
            new = {name: value for name, value in row.items() if not _stands(value, before.get(name, ...))}
            new.pop("id", None)
            self.execute(updating(table, new), [*new.values(), row["id"]])


def _stands(value: object, before: object) -> bool:
    """Whether a column has this value, and as it is: bytes that are no text are read as U+FFFD."""
    return type(value) is type(before) and value == before and "\ufffd" not in str(value)


def inserting(table: str, columns: Collection[str]) -> str:
    """The statement that adds a row with these columns."""
    names = ", ".join(f'"{name}"' for name in columns)
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))})"


def updating(table: str, columns: Collection[str]) -> str:
    """The statement that writes these columns of the row with an id, the last value."""
    changes = ", ".join(f'"{name}" = ?' for name in columns)
    return f"UPDATE {table} SET {changes} WHERE id = ?"


def _legible(text: bytes) -> str:
    return text.decode(errors="replace")
