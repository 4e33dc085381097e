"""Counting by the database, and whether rows and chain agree."""

from collections.abc import Iterator

import pytest

from retention import counts
from retention.recording import Access, Status
from retention.store import Store, StoreError
from tests import kept


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(":memory:") as store:
        yield store


def test_recordings_by_status(store: Store) -> None:
    assert set(counts.recordings_by_status(store).values()) == {0}
    for status in (Status.CLOSED, Status.CLOSED, Status.PURGED):
        store.add_recording(kept.recording(status=status))
    store.add_recording(kept.recording(status=Status.CLOSED, hold={"ground": "criminal"}))
    found = counts.recordings_by_status(store)
    assert set(found) == set(Status)
    assert (found[Status.CLOSED], found[Status.PURGED], found[Status.OPEN]) == (3, 1, 0)
    assert counts.held(store) == 1


def test_rows_and_chain_agree_whatever_is_written(store: Store) -> None:
    row = kept.recording()
    store.add_receipt(kept.receipt(row))
    store.update_receipt(kept.receipt(row, decision="refused"))
    store.add_recording(row)
    store.add_access(Access(at=kept.START, action="play", recording_id=row.id))
    assert counts.reconcile(store) == {"receipts": (1, 1), "recordings": (1, 1), "accesses": (1, 1)}


def test_a_row_that_is_not_in_the_chain_shows(store: Store) -> None:
    store.add_receipt(kept.receipt(kept.recording()))
    with store.write():
        store._db.execute("INSERT INTO receipts (id, started_at, decision) VALUES ('x', '2026', 'refused')")
    assert counts.reconcile(store)["receipts"] == (2, 1)


def test_a_row_that_was_taken_away_shows(store: Store) -> None:
    store.add_recording(kept.recording())
    with store.write():
        store._db.execute("DROP TRIGGER recordings_stay")
        store._db.execute("DELETE FROM recordings")
    assert counts.reconcile(store)["recordings"] == (0, 1)


def test_what_is_written_meanwhile_is_counted_on_both_sides(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def tally() -> dict[str, int]:
        asked.append(1)
        if len(asked) < 4:
            store.add_receipt(kept.receipt(kept.recording(len(asked))))
        return Store.tally(store)

    monkeypatch.setattr(store, "tally", tally)
    assert counts.reconcile(store)["receipts"] == (3, 3)
    assert len(asked) == 4


def test_it_gives_up_where_it_never_comes_to_rest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a mismatch that there is none of."""
    minutes = iter(range(1000))

    def tally() -> dict[str, int]:
        store.add_receipt(kept.receipt(kept.recording(next(minutes))))
        return Store.tally(store)

    monkeypatch.setattr(store, "tally", tally)
    with pytest.raises(StoreError, match="written to so fast"):
        counts.reconcile(store)
