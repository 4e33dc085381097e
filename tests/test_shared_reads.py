"""No read of the shared database goes through more than it gives, and none gives more than a page.

On a small table every plan is good. So the planner is told here to walk over a whole table, or to put rows in
order, only where nothing else is possible: then an index is missing.
"""

import re
from collections.abc import Iterator, Sequence

import pytest

from retention.postgres.row_keys import FolderBlobs
from retention.postgres.store import SealedStore
from retention.rows.chain import TABLES
from retention.rows.pages import Row
from tests.postgres import Server, fresh
from tests.test_reads import OF_CALLS, PAGE, READS, SELECTIONS, fill, small_pages

ROWS = 300
LARGE = (*TABLES.values(), "chain")
_RELUCTANT = ("seqscan", "sort", "incremental_sort", "hashjoin", "mergejoin")


class WatchedShared(SealedStore):
    """Keeps each statement with its values and the number of rows that it gave."""

    reads: list[tuple[str, Sequence[object], int]]

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Row]:
        rows = super()._read(sql, values, anyhow=anyhow)
        self.reads.append((sql, values, len(rows)))
        return rows

    def plan(self, sql: str, values: Sequence[object]) -> list[str]:
        with self.transaction():
            for setting in _RELUCTANT:
                self._connection.execute(f"SET LOCAL enable_{setting} = off")
            return [str(row["QUERY PLAN"]) for row in super()._read(f"EXPLAIN {sql}", values)]


@pytest.fixture(scope="module")
def store(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedShared]:
    vault = FolderBlobs(tmp_path_factory.mktemp("vault"))
    WatchedShared.reads = []
    with fresh(postgres) as conninfo, WatchedShared(conninfo, None, vault, host="a") as store:
        store.expect(4 * ROWS)
        fill(store, ROWS)
        yield store


@pytest.fixture
def watched(store: WatchedShared, monkeypatch: pytest.MonkeyPatch) -> WatchedShared:
    small_pages(monkeypatch)
    store.reads.clear()
    return store


def no_long_read(store: WatchedShared) -> None:
    reads = {sql: (values, rows) for sql, values, rows in store.reads}
    assert reads
    for sql, (values, rows) in reads.items():
        assert rows <= PAGE or "IN (" in sql or "search_keys" in sql, f"{rows} rows: {sql}"
        plan = "\n".join(store.plan(sql, values))
        walked = set(re.findall(r"Seq Scan on (\w+)", plan)) & set(LARGE)
        assert not walked, f"{plan}\n{sql}"
        found_first = "OFFSET 0" in sql
        assert found_first or not re.search(r"(^|-> ) *(Incremental )?Sort\b", plan), f"{plan}\n{sql}"


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_listing(watched: WatchedShared, name: str) -> None:
    listed = watched.recordings(SELECTIONS[name])
    assert listed == sorted(listed, key=lambda row: (row.started_at, row.id), reverse=True)
    watched.receipts(SELECTIONS[name])
    no_long_read(watched)


@pytest.mark.parametrize("name", ["held", "flagged", "open", "purged", "erased"])
def test_what_has_an_index_of_its_own_is_not_looked_for_by_time(watched: WatchedShared, name: str) -> None:
    """No planner knows that all purged recordings are old."""
    watched.recordings(SELECTIONS[name])
    watched.receipts(SELECTIONS[name])
    for sql, values, _ in watched.reads:
        assert "_by_time" not in "".join(watched.plan(sql, values)), sql


@pytest.mark.parametrize("name", [*READS, *OF_CALLS])
def test_a_read(watched: WatchedShared, name: str) -> None:
    READS[name](watched) if name in READS else watched.receipts(OF_CALLS[name])
    no_long_read(watched)


def test_the_measure_tells_a_walk_through_all(watched: WatchedShared) -> None:
    for sql in (
        "SELECT count(*) FROM recordings WHERE incomplete = 1",
        "SELECT id FROM receipts ORDER BY called LIMIT 1",
    ):
        watched._read(sql, [])
        with pytest.raises(AssertionError):
            no_long_read(watched)
        watched.reads.clear()
