"""A listing in pages is the listing; and no read of it is longer than a page, however few rows match."""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.rows import pages
from retention.rows.pages import Listing, Row, SqliteTables, each_row

SIZE = 4


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr(pages, "PAGE", SIZE)
    yield
    patch.undo()


class Table:
    """Rows of a time, an id, and a colour; `reads` are those that were returned at once."""

    def __init__(self, rows: Sequence[tuple[int, int, str | None]]) -> None:
        self.connection = sqlite3.connect(":memory:")
        self.connection.execute("CREATE TABLE t (at INT NOT NULL, id INTEGER PRIMARY KEY, colour TEXT)")
        self.connection.execute("CREATE INDEX t_by_time ON t (at, id)")
        self.connection.execute("CREATE INDEX t_red ON t (at, id) WHERE colour = 'red'")
        self.tables = SqliteTables(self.connection)
        self.reads: list[int] = []
        for row in rows:
            self.add(*row)

    def add(self, at: int, id: int, colour: str | None) -> None:
        self.connection.execute("INSERT INTO t VALUES (?, ?, ?)", (at, id, colour))

    def query(self, sql: str, values: Sequence[object]) -> list[Row]:
        rows = self.tables.read(sql, values)
        self.reads.append(len(rows))
        return rows

    def paged(self, listing: Listing) -> list[Row]:
        return list(each_row(self.query, listing))

    def unpaged(self, listing: Listing) -> list[Row]:
        conditions = [*([listing.indexed] if listing.indexed else []), *listing.where]
        conditions += [f"{listing.order[0]} >= {listing.start}"] if listing.start is not None else []
        conditions += [f"{listing.order[0]} < {listing.stop}"] if listing.stop is not None else []
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        direction = " DESC" if listing.descending else ""
        order = ", ".join(f"{column}{direction}" for column in listing.order)
        limit = "" if listing.limit is None else f" LIMIT {listing.limit}"
        sql = f"SELECT {listing.columns} FROM t{where} ORDER BY {order}{limit}"
        return self.tables.read(sql, [*listing.indexed_values, *listing.values])


COLOURS = ("red", "blue", None)
TABLES = st.lists(
    st.tuples(st.integers(0, 5), st.integers(1, 60), st.sampled_from(COLOURS)),
    max_size=25,
    unique_by=lambda row: row[1],
).map(Table)
LISTINGS = st.builds(
    Listing,
    table=st.just("t"),
    order=st.sampled_from([("at", "id"), ("id",)]),
    columns=st.sampled_from(["*", "id", "colour, at"]),
    descending=st.booleans(),
    limit=st.none() | st.integers(0, 12),
    start=st.none() | st.integers(-1, 40),
    stop=st.none() | st.integers(-1, 40),
)
CONDITIONS = st.sampled_from(
    [
        {},
        {"where": ["colour = ?"], "values": ["blue"]},
        {"where": ["colour IS NULL", "at > ?"], "values": [2]},
        {"indexed": "colour = 'red'"},
        {"indexed": "colour = 'red'", "where": ["at <> ?"], "values": [3]},
        {"indexed": "colour = ?", "indexed_values": ["blue"], "where": ["at < ?"], "values": [4]},
        {"where": ["0"]},
    ]
)


@given(TABLES, LISTINGS, CONDITIONS)
@settings(deadline=None, max_examples=400)
def test_pages_are_the_whole(table: Table, listing: Listing, conditions: dict[str, object]) -> None:
    listing = replace(listing, **conditions)  # type: ignore[arg-type]
    assert table.paged(listing) == table.unpaged(listing)
    assert max(table.reads, default=0) <= SIZE


@settings(deadline=None)
@given(TABLES, LISTINGS, st.integers(0, 9), st.tuples(st.integers(0, 5), st.integers(61, 99)))
def test_rows_that_come_meanwhile_displace_none(
    table: Table, listing: Listing, after: int, new: tuple[int, int]
) -> None:
    """Those from before are all there once, in order; the new one at most once."""
    listing = replace(listing, columns="*", limit=None)
    before = table.unpaged(listing)
    seen = []
    for number, row in enumerate(each_row(table.query, listing)):
        seen.append(row)
        if number == after:
            table.add(*new, "red")
    assert [row for row in seen if row["id"] != new[1]] == before
    assert len(seen) <= len(before) + 1


def test_a_page_is_read_when_it_is_needed_and_no_more_than_the_list() -> None:
    table = Table([(0, id, None) for id in range(1, 30)])
    rows = each_row(table.query, Listing(table="t", order=("id",)))
    assert next(rows)["id"] == 1 and sum(table.reads) == SIZE
    assert [row["id"] for row in rows] == list(range(2, 30))
    table.reads.clear()
    table.paged(Listing(table="t", order=("id",), limit=2))
    assert sum(table.reads) == 2
