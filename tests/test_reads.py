"""No read of the store keeps a writer waiting for long, however many rows there are and however few match.

What is looked at is the work of each single statement, in steps of SQLite's machine, and the plan it makes.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention import clock
from retention import purge as purge_module
from retention import verify as verify_module
from retention.holds import holds, reviews_overdue
from retention.purge import Terms, overdue, preview
from retention.records import Status, due_date
from retention.rows import counts, pages
from retention.rows import rows as chained_module
from retention.rows.chain import ChainHead
from retention.rows.pages import Row
from retention.rows.rows import Rows
from retention.rows.selection import Selection
from retention.shortfall import not_recorded
from retention.sqlite import Store
from retention.verify import orphans, verify
from tests.kept import START, archive_of, receipt, recording
from tests.tampering import HOLD, note_on, use_of

ROWS = 3000
PAGE = 50
STEPS = 90 * PAGE  # of the machine, for a page; a walk through all rows takes more, whatever it looks for
LATER = START + timedelta(minutes=ROWS)
AFTER = f"{START + timedelta(hours=20):%Y%m%dT%H%M%S}000-000000"  # of no call: but it says when
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")


class WatchedStore(Store):
    """Keeps each statement with the number of steps that it took."""

    def __init__(self, path: str) -> None:
        self.taken = 0
        self.reads: list[tuple[str, int]] = []
        super().__init__(path)
        self._connection.set_progress_handler(self.step, 1)

    def step(self) -> int:
        self.taken += 1
        return 0

    def _read(self, sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[Row]:
        self.taken = 0
        rows = super()._read(sql, values, anyhow=anyhow)
        self.reads.append((sql, self.taken))
        return rows

    def plans(self) -> Iterator[tuple[str, str]]:
        for sql in dict(self.reads):
            if "chain)" not in sql:  # max(rowid) of each table, which SQLite looks up
                for row in self._connection.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?")):
                    yield sql, row[3]


def fill(store: Rows, rows: int) -> None:
    """Calls of some days; a few are held, open, refused; each has been used and analysed."""
    with store.write():
        for number in range(rows):
            status = Status.PURGED if number % 3 else Status.CLOSED
            if number % (rows // 3) == 1:
                status = Status.OPEN
            row = recording(number * (ROWS // rows), caller=f"+336{number // 4:08d}", status=status)
            if status is Status.PURGED:
                row = row.tombstone(status, LATER)
            elif number % (2 * rows // 15) == 0:
                row = replace(row, hold=HOLD)
            store.add_recording(row)
            ended = None if status is Status.OPEN else LATER
            decision = "refused" if number == 5 else "allowed"
            why = "disk" if number % (rows // 5) == 2 else None
            told = receipt(row, ended_at=ended, decision=decision, not_recorded_because=why)
            store.add_receipt(told)
            store.add_access(use_of(row))
            store.add_note(note_on(row))


def small_pages(patch: pytest.MonkeyPatch) -> None:
    for module, name in ((pages, "PAGE"), (verify_module, "PAGE"), (chained_module, "COUNTED")):
        patch.setattr(module, name, PAGE)
    patch.setattr(purge_module, "PAGE", PAGE)
    patch.setattr(purge_module, "BATCH", PAGE // 4)


@pytest.fixture(scope="module")
def store() -> Iterator[WatchedStore]:
    with WatchedStore(":memory:") as store:
        fill(store, ROWS)
        yield store


@pytest.fixture
def watched(store: WatchedStore, monkeypatch: pytest.MonkeyPatch) -> WatchedStore:
    small_pages(monkeypatch)
    store.reads.clear()
    return store


SELECTIONS = {
    "all": Selection(),
    "newest 50": Selection(limit=50),
    "a caller": Selection(number="+33600000123"),
    "a caller who never called": Selection(number="+33999999999"),
    "the end of a number": Selection(caller=("0123", "+330123")),
    "a number nobody has": Selection(caller=("9999999",)),
    "a beginning": Selection(caller=("+336000001",), limit=20),
    "a beginning of all": Selection(caller=("+3360",), limit=20),
    "an operator": Selection(operator="999"),
    "a reference": Selection(reference="482913"),
    "an hour": Selection(since=START + timedelta(hours=20), until=START + timedelta(hours=21)),
    "since": Selection(since=LATER - timedelta(hours=1)),
    "until": Selection(until=START + timedelta(hours=1)),
    "before all": Selection(until=START),
    "an hour of a caller": Selection(number="+33600000001", since=START, until=LATER),
    "held": Selection(held=True),
    "held in an hour": Selection(held=True, since=START, until=START + timedelta(hours=1)),
    "held by a caller": Selection(held=True, number="+33600000100"),
    "flagged": Selection(flagged=True),
    "open": Selection(status=Status.OPEN),
    "purged": Selection(status=Status.PURGED),
    "erased": Selection(status=Status.ERASED, limit=50),
    "refused": Selection(decision="refused"),
    "the newest of an operator": Selection(operator="marie.durand", limit=20),
    "behind one": Selection(after=AFTER, limit=20),
    "behind one of an operator": Selection(after=AFTER, operator="marie.durand", limit=20),
}
# and of calls by themselves
OF_CALLS = {
    "failed": Selection(outcome="failed"),
    "not recorded": Selection(decision="not_allowed"),
    "held": Selection(held=True),
    "flagged": Selection(flagged=True, status=Status.CLOSED),
    "erased": Selection(status=Status.ERASED, limit=50),
}


MOST_READS = {
    **dict.fromkeys(("a caller", "a caller who never called", "before all", "held", "held by a caller"), 2),
    **dict.fromkeys(("open", "erased", "flagged", "a reference", "a number nobody has", "an operator"), 2),
    **dict.fromkeys(("newest 50", "an hour", "since", "until", "behind one"), 4),
    **{"an hour of a caller": 2, "the newest of an operator": 3, "behind one of an operator": 5},
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_listing(watched: WatchedStore, name: str) -> None:
    listed = watched.recordings(SELECTIONS[name])
    assert len(watched.reads) <= MOST_READS.get(name, ROWS)  # what must be fast walks over nothing else
    of_calls = watched.receipts(SELECTIONS[name])
    assert name == "refused" or [row.id for row in listed] == [row.id for row in of_calls]
    no_long_read(watched)


@pytest.mark.parametrize("name", OF_CALLS)
def test_what_few_calls_have_walks_over_nothing_else(watched: WatchedStore, name: str) -> None:
    watched.receipts(OF_CALLS[name])
    no_long_read(watched)
    assert len(watched.reads) <= 2


def purge_preview(store: Rows) -> object:
    archive = archive_of(store, Path("/nonexistent/recordings"), Path("/nonexistent"))
    return preview(archive, due_date(LATER, "2 years"), TERMS)


def verification(store: Rows) -> object:
    archive = archive_of(store, Path("/nonexistent/recordings"), Path("/nonexistent"))
    return len(verify(archive).problems) and orphans(archive)


READS: dict[str, Callable[[Rows], object]] = {
    "open receipts": lambda store: store.open_receipts(),
    "personal receipts": lambda store: list(store.personal_receipts(LATER, START)),
    "states": lambda store: store.states([row.id for row in store.recordings(Selection(limit=250))]),
    "due": lambda store: list(store.perhaps_due(START, START)),
    "overdue": lambda store: overdue(store, LATER, "6 months"),
    "holds": holds,
    "reviews": lambda store: reviews_overdue(store, due_date(LATER, "1 year").date()),
    "accesses": lambda store: list(store.each_access(newest=True)),
    "accesses of one": lambda store: store.accesses(recording().id),
    "notes of one": lambda store: store.notes(recording().id),
    "old names": lambda store: store.count_old_names(START),
    "expired notes": lambda store: store.count_expired_notes(START),
    "one row": lambda store: store.knows(ChainHead(1, "")) or store.entries([1, 2, 3]),
    "counts": lambda store: (
        counts.recordings(store, Status.OPEN),
        counts.held(store),
        counts.reconcile(store),
    ),
    "not recorded": lambda store: list(not_recorded(store, START)),
    "clock": clock.suspended,
    "a purge's preview": purge_preview,
    "verification": verification,
}


def test_whether_anything_is_due_is_known_without_walking_over_what_is_not(watched: WatchedStore) -> None:
    assert list(watched.perhaps_due(START, START)) == []
    assert overdue(watched, LATER, "6 months") == 0
    assert len(watched.reads) <= 2 * 3 * 2


@pytest.mark.parametrize("name", READS)
def test_a_read(watched: WatchedStore, name: str) -> None:
    READS[name](watched)
    no_long_read(watched)


def no_long_read(store: WatchedStore) -> None:
    longest = max(store.reads, key=lambda read: read[1], default=("", 0))
    assert longest[1] <= STEPS, longest
    for sql, plan in store.plans():
        few = "FROM objects WHERE state = 'removing'" in sql  # what is yet to be removed
        assert few or ("TEMP B-TREE" not in plan and "AUTOMATIC" not in plan), f"{plan}: {sql}"
        if re.match(r"SCAN (receipts|recordings)\b", plan):
            assert "INDEX" in plan or "ORDER BY rowid" in sql, f"{plan}: {sql}"


def test_the_measure_tells_a_walk_through_all(watched: WatchedStore) -> None:
    for sql in (
        "SELECT count(*) FROM recordings WHERE incomplete = 1",
        "SELECT id FROM receipts ORDER BY operator LIMIT 1",
        "SELECT 1 FROM receipts WHERE recording_id IN (SELECT id FROM recordings WHERE bytes = 1) LIMIT 1",
    ):
        watched._read(sql, [])
        assert watched.reads[-1][1] > 2 * STEPS, sql
