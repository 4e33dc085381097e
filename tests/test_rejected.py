"""Rejected calls: the first of an hour have receipts, of all processes together, the others are counted."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from retention.purge import purge
from retention.records import Event, Ids, Receipt, Sum, due_date
from retention.rows.counts import RECEIPTS_AN_HOUR, RECEIPTS_AT_ONCE, SUMS_EVERY, PendingRejections
from retention.rows.rows import StoreError
from retention.sqlite import Store
from retention.verify import verify
from tests import kept
from tests.full_disk import fill
from tests.kept import START, bytes_under, receipt, recording
from tests.tampering import TERMS

SECOND = timedelta(seconds=1)
IDS = Ids()


def rejected(at: datetime = START, code: int = 503, by: str = "edge: full") -> Receipt:
    line = Event(at=at, what=f"rejected with {code}", by=by)
    row = recording(id=IDS.new(at), started_at=at)
    return receipt(
        row, ended_at=at, outcome="rejected", decision="undecided", decided_by="sip", events=(line,)
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "retention.db") as store:
        store._db.execute("PRAGMA synchronous=OFF")
        yield store


def write_all(waiting: PendingRejections, store: Store, now: datetime = START, *, over: bool = True) -> None:
    while waiting.due(now, over=over):
        waiting.write(store, now, over=over)


def test_the_first_of_an_hour_have_receipts_and_the_others_are_counted(store: Store) -> None:
    waiting = PendingRejections()
    for number in range(RECEIPTS_AN_HOUR + 70):
        waiting.keep(rejected(START + number * timedelta(milliseconds=2)))
    for number in range(30):
        waiting.keep(rejected(START + number * SECOND, 404, "agent"))
    write_all(waiting, store)
    assert len(store.receipts()) == RECEIPTS_AN_HOUR
    first = START + RECEIPTS_AN_HOUR * timedelta(milliseconds=2)
    assert sorted(store.each_sum(), key=lambda one: one.count) == [
        Sum(what="rejected", count=30, from_at=START, until_at=START + 29 * SECOND, code=404, by="agent"),
        Sum(
            what="rejected",
            count=70,
            from_at=first,
            until_at=first + 69 * timedelta(milliseconds=2),
            code=503,
            by="edge: full",
        ),
    ]
    assert verify(kept.archive(Path(store.path).parent)).problems == []


def test_the_next_hour_has_receipts_again(store: Store) -> None:
    waiting = PendingRejections()
    later = START + timedelta(hours=1)
    for at in (START, later):
        for _ in range(RECEIPTS_AN_HOUR + 1):
            waiting.keep(rejected(at))
        write_all(waiting, store, at)
    assert len(store.receipts()) == 2 * RECEIPTS_AN_HOUR
    assert [one.count for one in store.each_sum()] == [1, 1]


def test_an_hour_is_one_of_all_processes_and_of_those_that_start_again(store: Store) -> None:
    for count in (600, 600, 10):
        waiting = PendingRejections()
        for _ in range(count):
            waiting.keep(rejected())
        write_all(waiting, store)
    assert len(store.receipts()) == RECEIPTS_AN_HOUR
    assert sum(one.count for one in store.each_sum()) == 210


def test_a_sum_is_of_a_minute_or_so(store: Store) -> None:
    """Receipts are written at once; what is counted waits until a minute is over, or all is."""
    waiting = PendingRejections()
    for number in range(5):
        waiting.count(START + number * SECOND, 503, "edge: rate")
    assert not waiting.due(START + 4 * SECOND)
    assert waiting.due(START + SUMS_EVERY) and waiting.due(START + SECOND, over=True)
    assert waiting.due(START - SUMS_EVERY)  # the clock went back
    waiting.keep(rejected())
    assert waiting.due(START) and waiting.write(store, START) == 1
    assert list(store.each_sum()) == [] and len(store.receipts()) == 1
    assert waiting.write(store, START + SUMS_EVERY) == 5
    (told,) = store.each_sum()
    assert (told.count, told.from_at, told.until_at) == (5, START, START + 4 * SECOND)
    assert not waiting.due(START + 2 * SUMS_EVERY, over=True)


def test_many_are_batches(store: Store) -> None:
    waiting = PendingRejections()
    for _ in range(RECEIPTS_AT_ONCE + 1):
        waiting.keep(rejected())
    assert [waiting.write(store, START), waiting.write(store, START)] == [RECEIPTS_AT_ONCE, 1]


def test_what_could_not_be_written_waits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = PendingRejections()
    for number in range(RECEIPTS_AT_ONCE + 3):
        waiting.keep(rejected(START + number * SECOND))
    for _ in range(7):
        waiting.count(START, 503, "edge: rate")
    with monkeypatch.context() as patch:
        fill(patch, lambda: True)
        with pytest.raises(StoreError):
            waiting.write(store, START, over=True)
    assert sum(one.count for one in waiting.all()) == RECEIPTS_AT_ONCE + 10
    write_all(waiting, store)
    assert len(store.receipts()) == RECEIPTS_AT_ONCE + 3 and [one.count for one in store.each_sum()] == [7]
    assert waiting.all() == [] and store.rejected_row() == {
        "id": 1,
        "hour": "2026-11-24T22",
        "receipts": RECEIPTS_AT_ONCE + 3,
    }


def test_whatever_waits_can_be_told_in_sums(store: Store) -> None:
    """Where there is no room for receipts any more."""
    waiting = PendingRejections()
    waiting.keep(rejected())
    waiting.keep(replace(rejected(), events=()))
    waiting.count(START + SECOND, 503, "edge: full")
    told = {(one.code, one.by): (one.count, one.until_at) for one in waiting.all()}
    assert told == {(503, "edge: full"): (2, START + SECOND), (None, None): (1, START)}


def test_a_sum_leads_to_nobody_and_no_purge_changes_it(store: Store, tmp_path: Path) -> None:
    waiting = PendingRejections()
    for _ in range(RECEIPTS_AN_HOUR + 5):
        waiting.keep(rejected())
    write_all(waiting, store)
    before, archive = list(store.each_sum()), kept.archive(tmp_path)
    purge(archive, due_date(START, "2 years"), TERMS)
    assert list(store.each_sum()) == before and b"612345678" not in bytes_under(tmp_path)
    assert store.tally()["sums"] == 1 and verify(archive).problems == []
    archive.store.close()


def test_many_threads_count_and_one_writes(store: Store) -> None:
    waiting, over = PendingRejections(), threading.Event()

    def calls(code: int) -> None:
        for _ in range(2000):
            waiting.count(START, code, "agent")

    threads = [threading.Thread(target=calls, args=(code,)) for code in (486, 503, 503)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        waiting.write(store, START, over=True)
    for thread in threads:
        thread.join()
    over.set()
    write_all(waiting, store)
    assert sum(one.count for one in store.each_sum()) == 6000
