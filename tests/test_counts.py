"""Counting by the database, and whether rows and chain agree."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from retention.records import Access, Note, Status
from retention.rows import counts
from retention.rows.pages import PAGE, Listing, Row
from retention.rows.rows import Rows
from retention.sqlite import Store
from tests import kept
from tests.both import BOTH, by_hand, drop_guard, opened

DATABASES = BOTH


@pytest.fixture
def store() -> Iterator[Rows]:
    with opened() as store:
        yield store


def test_recordings_by_status(store: Rows) -> None:
    assert set(counts.recordings_by_status(store).values()) == {0}
    for status in (Status.CLOSED, Status.CLOSED, Status.PURGED):
        store.add_recording(kept.recording(status=status))
    store.add_recording(kept.recording(status=Status.CLOSED, hold={"ground": "criminal"}))
    found = counts.recordings_by_status(store)
    assert set(found) == set(Status)
    assert (found[Status.CLOSED], found[Status.PURGED], found[Status.OPEN]) == (3, 1, 0)
    assert counts.held(store) == 1


def test_rows_and_chain_agree_whatever_is_written(store: Rows) -> None:
    row = kept.recording()
    store.add_receipt(kept.receipt(row))
    store.update_receipt(kept.receipt(row, decision="refused"))
    store.add_recording(row)
    store.add_access(Access(at=kept.START, action="play", recording_id=row.id))
    store.add_note(Note(at=kept.START, recording_id=row.id, by="A. Roux", text="calm", expires_at=kept.START))
    assert set(counts.reconcile(store).items()) == {
        *((table, (1, 1)) for table in ("receipts", "recordings", "accesses", "notes")),
        ("sums", (0, 0)),
        ("approvals", (0, 0)),
    }


def test_a_row_that_is_not_in_the_chain_shows(store: Rows) -> None:
    store.add_receipt(kept.receipt(kept.recording()))
    columns = "id, started_at, decision, chain_seq"
    by_hand(store, f"INSERT INTO receipts ({columns}) VALUES ('x', '2026', 'refused', 1)")
    assert counts.reconcile(store)["receipts"] == (2, 1)


def test_a_row_that_was_taken_away_shows(store: Rows) -> None:
    store.add_recording(kept.recording())
    drop_guard(store, "recordings_stay", "recordings")
    by_hand(store, "DELETE FROM recordings")
    assert counts.reconcile(store)["recordings"] == (0, 1)


def test_what_is_written_meanwhile_is_counted_on_neither_side(
    store: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a mismatch that there is none of, however busy the service."""
    for minute in range(3):
        store.add_receipt(kept.receipt(kept.recording(minute)))
    minutes = iter(range(10, 1000))

    def busy(listing: Listing) -> Iterator[Row]:
        rows = [*Store.each(store, listing)]
        row = kept.recording(next(minutes))
        store.add_recording(row)
        store.add_receipt(kept.receipt(row))
        store.update_receipt(kept.receipt(row, decision="refused"))
        return iter(rows)

    monkeypatch.setattr(store, "each", busy)
    assert counts.reconcile(store)["receipts"] == (3, 3)
    monkeypatch.undo()
    assert counts.reconcile(store)["receipts"] == (16, 16)


def test_more_than_a_page_is_counted(store: Rows) -> None:
    with store.write():
        for minute in range(2 * PAGE + 5):
            store.add_recording(kept.recording(minute, status=Status.CLOSED))
    assert counts.recordings(store, Status.CLOSED) == 2 * PAGE + 5
    assert counts.reconcile(store)["recordings"] == (2 * PAGE + 5, 2 * PAGE + 5)


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: counts.recordings(store, Status.CLOSED), "recordings_by_status"),
        (counts.held, "recordings_held"),
        (counts.reconcile, "receipts_by_time"),
        (counts.reconcile, "recordings_by_time"),
        (counts.reconcile, "chain_firsts"),
    ],
)
@pytest.mark.in_sqlite
def test_counting_reads_indexes_and_no_rows(
    store: Rows, ask: Callable[[Rows], object], index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Sequence[object]]] = []
    read = store._read

    def spied(sql: str, values: Sequence[object], **how: Any) -> list[Row]:
        asked.append((sql, values))
        return read(sql, values, **how)

    monkeypatch.setattr(store, "_read", spied)
    ask(store)
    plans = [step["detail"] for sql, values in asked for step in read(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert [plan for plan in plans if f" INDEX {index}" in plan]
    assert not [plan for plan in plans if re.fullmatch("SCAN (receipts|recordings|chain)", plan)]
