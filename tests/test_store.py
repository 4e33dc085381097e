import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.records import Access, Event, Status
from retention.rows.chain import TABLES
from retention.rows.rows import Rows, StoreError, UnknownId
from retention.rows.selection import Selection
from retention.verify import verify
from tests.both import BOTH, opened
from tests.kept import CALLER, OPERATOR, START, archive_of, receipt, recording

DATABASES = BOTH


@pytest.fixture
def store() -> Rows:
    return opened()


def test_rows_come_back_as_they_went_in(store: Rows) -> None:
    row = recording(flagged=True)
    call = receipt(row, events=(Event(at=START, what="invited", by="caller"),), confidence=0.5)
    store.add_recording(row)
    store.add_receipt(call)
    assert store.recording(row.id) == row
    assert store.receipt(row.id) == call


def test_a_row_is_replaced(store: Rows) -> None:
    row = recording()
    store.add_recording(row)
    store.update_recording(replace(row, status=Status.ERASED, caller=None))
    assert store.recording(row.id) == replace(row, status=Status.ERASED, caller=None)
    call = receipt(row)
    store.add_receipt(call)
    store.update_receipt(replace(call, decision="refused"))
    assert store.receipt(row.id).decision == "refused"


def test_unknown_ids(store: Rows) -> None:
    row = recording()
    for action in (
        lambda: store.recording(row.id),
        lambda: store.receipt(row.id),
        lambda: store.update_recording(row),
        lambda: store.update_receipt(receipt(row)),
    ):
        with pytest.raises(UnknownId, match=row.id):
            action()


def test_an_id_is_taken_once(store: Rows) -> None:
    row = recording()
    store.add_recording(row)
    with pytest.raises(StoreError):
        store.add_recording(row)


@pytest.fixture
def three(store: Rows) -> Rows:
    """An old one from a mobile, a flagged one from a landline, an erased one from abroad."""
    store.add_recording(recording(0))
    store.add_recording(recording(10, caller="+33323063001", operator="sip:201@pbx", flagged=True))
    store.add_recording(recording(20, caller="+4930123456", operator="201", status=Status.ERASED))
    for row in store.recordings():
        store.add_receipt(receipt(row))
    return store


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(), [20, 10, 0]),
        (Selection(limit=2), [20, 10]),
        (Selection(since=START + timedelta(minutes=10)), [20, 10]),
        (Selection(until=START + timedelta(minutes=10)), [0]),
        (Selection(caller=(CALLER,)), [0]),
        (Selection(number=CALLER), [0]),
        (Selection(number=CALLER[:-1]), []),  # the whole number only
        (Selection(number="+33323063001", flagged=True, status=Status.CLOSED), []),
        (Selection(number="+33323063001", flagged=True), [10]),
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
    ],
)
def test_selections(three: Rows, selection: Selection, found: list[int]) -> None:
    expected = [START + timedelta(minutes=n) for n in found]
    assert [row.started_at for row in three.recordings(selection)] == expected
    assert [row.started_at for row in three.receipts(selection)] == expected  # through their recording


def test_a_call_is_found_by_its_reference(three: Rows) -> None:
    old, flagged, _ = reversed(three.recordings())
    assert old in three.recordings(Selection(reference=old.id[-6:]))
    assert three.receipts(Selection(reference=flagged.id[-6:], flagged=True)) == [three.receipt(flagged.id)]
    assert three.recordings(Selection(reference=old.id[-5:])) == []


def test_receipts_by_outcome(three: Rows) -> None:
    assert len(three.receipts(Selection(outcome="connected"))) == 3
    assert three.receipts(Selection(outcome="abandoned")) == []


def test_open_receipts(store: Rows) -> None:
    open_call = receipt(recording(), ended_at=None)
    store.add_receipt(open_call)
    store.add_receipt(receipt(recording(1)))
    assert store.open_receipts() == [open_call]


def test_accesses_in_their_order(store: Rows) -> None:
    uses = [
        Access(at=START, action=action, recording_id=id) for action, id in [("play", "a"), ("export", "b")]
    ]
    for use in uses:
        store.add_access(use)
    assert store.accesses() == uses
    assert store.accesses("b") == uses[1:]


def test_each_access_has_a_number(store: Rows) -> None:
    uses = [Access(at=START, action="play", recording_id=id, login=id, via="web") for id in "abc"]
    numbers = [store.add_access(use) for use in uses]
    assert [store.access(number) for number in numbers] == uses
    assert store.numbered_accesses(limit=2) == [(numbers[2], uses[2]), (numbers[1], uses[1])]
    assert store.numbered_accesses(before=numbers[1], limit=2) == [(numbers[0], uses[0])]
    with pytest.raises(UnknownId):
        store.access(numbers[-1] + 1)


def test_a_transaction_is_undone_whole(store: Rows) -> None:
    row = recording()
    with pytest.raises(ZeroDivisionError), store.write():
        store.add_recording(row)
        store.add_access(Access(at=START, action="play"))
        raise ZeroDivisionError
    assert store.recordings() == [] and store.accesses() == []


def test_a_part_of_a_transaction_is_undone_alone(store: Rows, tmp_path: Path) -> None:
    """Its entries in the chain, too: whoever catches the error goes on with what was before it."""
    row = recording()
    with store.write():
        store.add_recording(row)
        with pytest.raises(StoreError, match="this one is there"), store.write():
            store.add_access(Access(at=START, action="play"))
            store.add_recording(row)
        store.add_recording(recording(1))
    assert len(store.recordings()) == 2 and store.accesses() == []
    assert store.tally() == dict.fromkeys(TABLES.values(), 0) | {"recordings": 2}
    assert verify(archive_of(store, tmp_path, tmp_path)).problems == []


def test_many_threads() -> None:
    store = opened()

    def work(first: int) -> None:
        for n in range(first, first + 10):
            row = recording(n)
            store.add_recording(row)
            store.update_recording(replace(row, status=Status.CLOSED))

    threads = [threading.Thread(target=work, args=(10 * n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.recordings(Selection(status=Status.CLOSED))) == 60
