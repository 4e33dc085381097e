"""Rejected calls: the first of an hour have receipts, of all processes together, the others are counted.

Also those that the edge rejected.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.archive import Archive
from retention.purge import purge
from retention.records import Event, Ids, Receipt, Sum, due_date
from retention.rows.counts import RECEIPTS_AN_HOUR, RECEIPTS_AT_ONCE, SUMS_EVERY, PendingRejections
from retention.rows.rows import StoreError
from retention.sqlite import Store
from retention.verify import verify
from sipagent.agent.row_writer import RowWriter
from sipagent.edge.rpc import RejectedCall, Why
from sipagent.service.edge import ENDING, Rejections, receipt_of
from tests import driving
from tests.driving import NUMBER, RULES
from tests.full_disk import fill
from tests.kept import START, TERMS, bytes_under, receipt, recording

SECOND = timedelta(seconds=1)
IDS = Ids()
FULL = Sum(what="rejected", count=1, from_at=START, until_at=START, code=503, by="edge: full")


def rejected(at: datetime = START, code: int = 503, by: str = "edge: full") -> Receipt:
    line = Event(at=at, what=f"rejected with {code}", by=by)
    row = recording(id=IDS.new(at), started_at=at)
    how = {"outcome": "rejected", "decision": "undecided", "decided_by": "sip"}
    return receipt(row, ended_at=at, events=(line,), **how)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "retention.db") as store:
        store._connection.execute("PRAGMA synchronous=OFF")
        yield store


def write_all(waiting: PendingRejections, store: Store, now: datetime = START, *, over: bool = True) -> None:
    while waiting.due(now, over=over):
        waiting.write(store, now, over=over)


def test_the_first_of_an_hour_have_receipts_and_the_others_are_counted(
    store: Store, archive: Archive, tmp_path: Path
) -> None:
    waiting, moment = PendingRejections(), timedelta(milliseconds=2)
    for number in range(RECEIPTS_AN_HOUR + 70):
        waiting.keep(rejected(START + number * moment))
    for number in range(30):
        waiting.keep(rejected(START + number * SECOND, 404, "agent"))
    write_all(waiting, store)
    assert len(store.receipts()) == RECEIPTS_AN_HOUR
    first = START + RECEIPTS_AN_HOUR * moment
    sums = [
        replace(FULL, count=70, from_at=first, until_at=first + 69 * moment),
        replace(FULL, count=30, until_at=START + 29 * SECOND, code=404, by="agent"),
    ]
    assert sorted(store.each_sum(), key=lambda one: -one.count) == sums
    assert verify(archive).problems == []
    purge(archive, due_date(START, "2 years"), TERMS)
    assert sorted(store.each_sum(), key=lambda one: -one.count) == sums
    assert b"612345678" not in bytes_under(tmp_path)
    assert store.tally()["sums"] == 2 and verify(archive).problems == []


def test_an_hour_is_one_of_all_processes_and_of_those_that_start_again(store: Store) -> None:
    for count, at in ((600, START), (600, START), (10, START), (RECEIPTS_AN_HOUR + 1, START + 3600 * SECOND)):
        waiting = PendingRejections()
        for _ in range(count):
            waiting.keep(rejected(at))
        write_all(waiting, store, at)
    assert len(store.receipts()) == 2 * RECEIPTS_AN_HOUR
    assert sum(one.count for one in store.each_sum()) == 210 + 1


def test_a_sum_is_of_a_minute_or_so_and_receipts_are_batches(store: Store) -> None:
    waiting = PendingRejections()
    for number in range(5):
        waiting.count(START + number * SECOND, 503, "edge: rate")
    assert not waiting.due(START + 4 * SECOND)
    assert waiting.due(START + SUMS_EVERY) and waiting.due(START + SECOND, over=True)
    assert waiting.due(START - SUMS_EVERY)  # the clock went back
    for _ in range(RECEIPTS_AT_ONCE + 1):
        waiting.keep(rejected())
    assert [waiting.write(store, START), waiting.write(store, START)] == [RECEIPTS_AT_ONCE, 1]
    assert list(store.each_sum()) == [] and len(store.receipts()) == RECEIPTS_AT_ONCE + 1
    assert waiting.write(store, START + SUMS_EVERY) == 5
    assert list(store.each_sum()) == [replace(FULL, count=5, until_at=START + 4 * SECOND, by="edge: rate")]
    assert not waiting.due(START + 2 * SUMS_EVERY, over=True)


def test_what_could_not_be_written_waits_and_can_be_told_in_sums(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = PendingRejections()
    for number in range(RECEIPTS_AT_ONCE + 3):
        waiting.keep(rejected(START + number * SECOND))
    waiting.keep(replace(rejected(), events=()))
    for _ in range(7):
        waiting.count(START, 503, "edge: rate")
    with monkeypatch.context() as patch:
        fill(patch, lambda: True)
        with pytest.raises(StoreError):
            waiting.write(store, START, over=True)
    last = START + (RECEIPTS_AT_ONCE + 2) * SECOND
    assert {(one.code, one.by): (one.count, one.until_at) for one in waiting.all()} == {
        (503, "edge: full"): (RECEIPTS_AT_ONCE + 3, last),
        (503, "edge: rate"): (7, START),
        (None, None): (1, START),
    }
    write_all(waiting, store)
    count = RECEIPTS_AT_ONCE + 4
    assert len(store.receipts()) == count and [one.count for one in store.each_sum()] == [7]
    assert waiting.all() == []
    assert store.rejected_row() == {"id": 1, "hour": "2026-11-24T22", "receipts": count}


def test_many_threads_count_and_one_writes(store: Store) -> None:
    waiting = PendingRejections()

    def calls(code: int) -> None:
        for _ in range(2000):
            waiting.count(START, code, "agent")

    threads = [threading.Thread(target=calls, args=(code,)) for code in (486, 503, 503)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        waiting.write(store, START, over=True)
    write_all(waiting, store)
    assert sum(one.count for one in store.each_sum()) == 6000


def call(number: int = 0, why: Why = "full", **changes: str) -> RejectedCall:
    fields = {
        "call_id": f"call{number}@192.0.2.7",
        "called": f"sip:{NUMBER}@203.0.113.5",
        "from_": f'"Anna" <sip:{driving.CALLER}@trunk.example.net>;tag=7',
        "asserted": "",
        "privacy": "",
    }
    at = START + timedelta(milliseconds=5 * number)
    return RejectedCall(at=at, why=why, status=503, **(fields | changes))


@pytest.fixture
def rows(archive: Archive, alerts: list[str]) -> RowWriter:
    return RowWriter(archive.store, None, alerts.append)


def test_its_receipt_says_who_called_whom_and_what_was_answered() -> None:
    receipt = receipt_of(call(), Ids(), RULES)
    assert (receipt.caller, receipt.called, receipt.call_id) == (driving.CALLER, NUMBER, "call0@192.0.2.7")
    assert (receipt.outcome, receipt.decision, receipt.decided_by) == ("rejected", "undecided", "sip")
    assert receipt.started_at == receipt.ended_at == START
    assert receipt.expires_at == due_date(START, RULES.receipts_period)
    assert [(event.what, event.by) for event in receipt.events] == [("rejected with 503", "edge: full")]
    assert (receipt.recording_id, receipt.operator) == (None, None)
    assert receipt_of(call(privacy="id"), Ids(), RULES).caller is None
    asserted = receipt_of(call(asserted="<tel:+33323060606>"), Ids(), RULES)
    assert asserted.caller == "+33323060606"  # the trunk vouches for it


FORGED = (
    *("x\r\nPrivacy: id", "x\nP-Asserted-Identity: <tel:+33323999999>", "x\r\n\r\nx"),
    *("\x00\x1b[31m", "<" * 5000, "\ud7ff"),
)


@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_no_field_forges_a_header_and_nonsense_keeps_no_call_from_its_receipt(
    store: Store, text: str
) -> None:
    for field in ("call_id", "called", "from_", "asserted", "privacy"):
        changes: dict[str, Any] = {field: text}
        receipt = receipt_of(replace(call(), **changes), IDS, RULES)
        assert receipt.outcome == "rejected"
        assert receipt.caller == driving.CALLER or field not in ("call_id", "called")
        store.add_receipt(receipt)
    assert len(store.receipts()) == 5


def test_a_flood_leaves_a_thousand_receipts_an_hour_and_sums_by_the_rules_that_are_reloaded(
    archive: Archive, rows: RowWriter, alerts: list[str]
) -> None:
    rejections = Rejections(rows, RULES)
    rejections.reload(replace(RULES, receipts_period="3 months"))
    for number in range(RECEIPTS_AN_HOUR + 4000):
        rejections.add(call(number // 100, why="rate" if number % 4 else "full"))
    assert sum(one.count for one in rows.rejected.all()) == RECEIPTS_AN_HOUR + 4000
    rows.start()
    rows.stop()
    receipts = archive.store.receipts()
    assert len(receipts) == RECEIPTS_AN_HOUR
    assert all(one.expires_at == due_date(one.started_at, "3 months") for one in receipts)
    sums = {one.by: one for one in archive.store.each_sum()}
    assert {by: one.count for by, one in sums.items()} == {"edge: full": 1000, "edge: rate": 3000}
    assert all((one.what, one.code) == ("rejected", 503) for one in sums.values())
    assert rejections.figures().ended == {ENDING: RECEIPTS_AN_HOUR + 4000}
    assert (verify(archive).problems, alerts) == ([], [])


def test_those_that_nothing_takes_at_the_end_are_told(
    rows: RowWriter, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rejections = Rejections(rows, RULES)
    rejections.add(call())
    rows.start()
    with monkeypatch.context() as patch:
        fill(patch, lambda: True)
        rejections.add(call(1))
        rows.stop()
    assert alerts[-1].endswith("could not be written down")
