"""Rows in either database: they come back, are listed, counted, and written whole or not at all."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.records import Access, Event, Note, Status
from retention.rows import counts
from retention.rows.chain import TABLES
from retention.rows.pages import Listing, Row
from retention.rows.rows import Rows, StoreError, UnknownId
from retention.rows.selection import Selection
from retention.verify import verify
from tests.both import BOTH, by_hand, drop_guard
from tests.kept import CALLER, OPERATOR, START, archive_of, receipt, recording

DATABASES = BOTH


def test_rows_come_back_as_they_went_in_and_are_replaced(store: Rows) -> None:
    row = recording(flagged=True)
    call = receipt(row, events=(Event(at=START, what="invited", by="caller"),), confidence=0.5)
    store.add_recording(row)
    store.add_receipt(call)
    assert (store.recording(row.id), store.receipt(row.id)) == (row, call)
    erased, refused = replace(row, status=Status.ERASED, caller=None), replace(call, decision="refused")
    store.update_recording(erased)
    store.update_receipt(refused)
    assert (store.recording(row.id), store.receipt(row.id)) == (erased, refused)
    with pytest.raises(StoreError):  # an id is taken once
        store.add_recording(row)
    unknown = recording(1)
    for action in (
        lambda: store.recording(unknown.id),
        lambda: store.receipt(unknown.id),
        lambda: store.update_recording(unknown),
        lambda: store.update_receipt(receipt(unknown)),
    ):
        with pytest.raises(UnknownId, match=unknown.id):
            action()


def test_whether_an_object_is_held_is_never_unknown(store: Rows) -> None:
    """An object of which nobody knows it would leave with what is not held."""
    names = ("put", "name", "id", "kind", "bytes", "state", "held", "at", "told")
    sql = f"INSERT INTO objects ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    with pytest.raises(StoreError, match="held"):
        by_hand(store, sql, ["1", "name", "id", "key", 1, "there", None, "2026-01-01T00:00:00.000Z", 0])


@pytest.fixture
def three(store: Rows) -> Rows:
    """An old one from a mobile, a flagged one from a landline, an erased one from abroad."""
    store.add_recording(recording(0))
    store.add_recording(recording(10, caller="+33323063001", operator="sip:201@pbx", flagged=True))
    store.add_recording(recording(20, caller="+4930123456", operator="201", status=Status.ERASED))
    for row in store.recordings():
        store.add_receipt(receipt(row))
    return store


TEN = START + timedelta(minutes=10)
LANDLINE = "+33323063001"


@pytest.mark.parametrize(("selection", "found"), [
    (Selection(), [20, 10, 0]),
    (Selection(limit=2), [20, 10]),
    (Selection(since=TEN), [20, 10]),
    (Selection(until=TEN), [0]),
    (Selection(caller=(CALLER,)), [0]),
    (Selection(number=CALLER), [0]),
    (Selection(number=CALLER[:-1]), []),  # the whole number only
    (Selection(number=LANDLINE, flagged=True, status=Status.CLOSED), []),
    (Selection(number=LANDLINE, flagged=True), [10]),
    (Selection(number=CALLER, held=True), []),
    (Selection(number=CALLER, until=START), []),
    (Selection(caller=("+33",)), [10, 0]),
    (Selection(caller=("3456", "3001")), [20, 10]),
    (Selection(caller=("2345",)), []),  # neither its beginning nor its end
    (Selection(caller=("%",)), []),
    (Selection(operator="201"), [20, 10]),
    (Selection(operator="01"), []),
    (Selection(operator=OPERATOR), [0]),
    (Selection(status=Status.ERASED), [20]),
    (Selection(flagged=True), [10]),
    (Selection(held=True), []),
    (Selection(decision="refused"), []),
    (Selection(caller=("+33",), flagged=True, limit=5), [10]),
])  # fmt: skip
def test_selections(three: Rows, selection: Selection, found: list[int]) -> None:
    expected = [START + timedelta(minutes=n) for n in found]
    assert [row.started_at for row in three.recordings(selection)] == expected
    assert [row.started_at for row in three.receipts(selection)] == expected  # through their recording


def test_a_call_is_found_by_its_reference_and_receipts_by_their_outcome(three: Rows) -> None:
    old, flagged, _ = reversed(three.recordings())
    assert old in three.recordings(Selection(reference=old.id[-6:]))
    assert three.receipts(Selection(reference=flagged.id[-6:], flagged=True)) == [three.receipt(flagged.id)]
    assert three.recordings(Selection(reference=old.id[-5:])) == []
    assert len(three.receipts(Selection(outcome="connected"))) == 3
    assert three.receipts(Selection(outcome="abandoned")) == three.open_receipts() == []
    open_call = receipt(recording(30), ended_at=None)
    three.add_receipt(open_call)
    assert three.open_receipts() == [open_call]


def test_accesses_have_numbers_in_their_order(store: Rows) -> None:
    uses = [Access(at=START, action="play", recording_id=id, login=id, via="web") for id in "abc"]
    numbers = [store.add_access(use) for use in uses]
    assert store.accesses() == uses and store.accesses("b") == [uses[1]]
    assert [store.access(number) for number in numbers] == uses
    assert store.numbered_accesses(limit=2) == [(numbers[2], uses[2]), (numbers[1], uses[1])]
    assert store.numbered_accesses(before=numbers[1], limit=2) == [(numbers[0], uses[0])]
    with pytest.raises(UnknownId):
        store.access(numbers[-1] + 1)


def test_a_transaction_is_undone_whole_and_a_part_of_it_alone(store: Rows, tmp_path: Path) -> None:
    row = recording()
    with pytest.raises(ZeroDivisionError), store.write():
        store.add_recording(row)
        raise ZeroDivisionError
    with store.write():
        store.add_recording(row)
        with pytest.raises(StoreError, match="this one is there"), store.write():
            store.add_access(Access(at=START, action="play"))
            store.add_recording(row)
        store.add_recording(recording(1))
    assert len(store.recordings()) == 2 and store.accesses() == []
    assert store.tally() == dict.fromkeys(TABLES.values(), 0) | {"recordings": 2}
    assert verify(archive_of(store, tmp_path, tmp_path)).problems == []


def test_many_threads(store: Rows) -> None:
    def work(first: int) -> None:
        for n in range(first, first + 10):
            row = recording(n)
            store.add_recording(row)
            store.update_recording(replace(row, status=Status.CLOSED))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(0, 60, 10)))
    assert len(store.recordings(Selection(status=Status.CLOSED))) == 60


def test_recordings_by_status(store: Rows) -> None:
    assert {counts.recordings(store, status) for status in Status} == {0}
    for status in (Status.CLOSED, Status.CLOSED, Status.PURGED):
        store.add_recording(recording(status=status))
    store.add_recording(recording(status=Status.CLOSED, hold={"ground": "criminal"}))
    found = [counts.recordings(store, status) for status in (Status.CLOSED, Status.PURGED, Status.OPEN)]
    assert found == [3, 1, 0] and counts.held(store) == 1


def test_rows_and_chain_agree_but_where_somebody_adds_or_takes_a_row(store: Rows) -> None:
    row = recording()
    store.add_receipt(receipt(row))
    store.update_receipt(receipt(row, decision="refused"))
    store.add_recording(row)
    store.add_access(Access(at=START, action="play", recording_id=row.id))
    store.add_note(Note(at=START, recording_id=row.id, by="A. Roux", text="calm", expires_at=START))
    well = dict.fromkeys(("receipts", "recordings", "accesses", "notes"), (1, 1))
    assert counts.reconcile(store) == well | dict.fromkeys(("sums", "approvals"), (0, 0))
    columns = "id, started_at, decision, chain_seq"
    by_hand(store, f"INSERT INTO receipts ({columns}) VALUES ('x', '2026', 'refused', 1)")
    drop_guard(store, "recordings_stay", "recordings")
    by_hand(store, "DELETE FROM recordings")
    found = counts.reconcile(store)
    assert (found["receipts"], found["recordings"]) == ((2, 1), (0, 1))


def test_what_is_written_meanwhile_is_counted_on_neither_side(
    store: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    for minute in range(3):
        store.add_receipt(receipt(recording(minute)))
    minutes, each = iter(range(10, 1000)), store.each

    def busy(listing: Listing) -> Iterator[Row]:
        rows = [*each(listing)]
        row = recording(next(minutes))
        store.add_recording(row)
        store.add_receipt(receipt(row))
        store.update_receipt(receipt(row, decision="refused"))
        return iter(rows)

    monkeypatch.setattr(store, "each", busy)
    assert counts.reconcile(store)["receipts"] == (3, 3)
    monkeypatch.undo()
    assert counts.reconcile(store)["receipts"] == (16, 16)
