"""The journal: what waits is given in order, what has arrived leaves, and calls in progress stay."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.journal import Journal, Shipment, Wakes
from retention.records import Access, Receipt, Recording, Status, Sum
from retention.rows.rows import NoRoom, StoreError
from retention.sqlite import Store
from tests.kept import START, receipt, recording
from tests.tapping import PATIENCE_S

TABLES = ("receipts", "recordings", "sums", "chain", "in_progress")
SUM = Sum(what="rejected", count=3, from_at=START, until_at=START, code=503, by="edge: full")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db", worker=0) as journal:
        yield journal


def counts(journal: Journal) -> dict[str, int]:
    return {table: journal._read(f"SELECT count(*) AS n FROM {table}", [])[0]["n"] for table in TABLES}


def begun(minutes: int = 0) -> tuple[Receipt, Recording]:
    row = recording(minutes, worker=0)
    return receipt(row, ended_at=None, outcome=None), row


def keep(journal: Journal, minutes: int = 0) -> tuple[Receipt, Recording]:
    """A call that is over."""
    told, row = begun(minutes)
    with journal.write():
        journal.add_receipt(told)
        journal.add_recording(row)
    journal.update_receipt(told := replace(told, ended_at=START + timedelta(minutes=minutes + 4)))
    journal.update_recording(row := replace(row, status=Status.CLOSED))
    return told, row


def arrive(journal: Journal) -> int:
    """All that waits has arrived; in how many batches."""
    number = 0
    while (batch := journal.pending()) is not None:
        journal.drop(batch)
        number += 1
    return number


def waiting(journal: Journal) -> Shipment:
    batch = journal.pending()
    assert batch is not None
    return batch


def test_what_waits_is_given_in_order_a_few_at_a_time_and_after_arrival_nothing_is_left(
    journal: Journal,
) -> None:
    for minutes in range(5):
        keep(journal, minutes)
    journal.add_sum(SUM)
    seen: list[int] = []
    while (batch := journal.pending(limit=3)) is not None:
        seen += [entry.seq for entry in batch.entries]
        journal.drop(batch)
    assert seen == list(range(1, 23))
    assert counts(journal) == {"receipts": 0, "recordings": 0, "sums": 0, "chain": 1, "in_progress": 0}
    assert journal.lag().rows == 0
    head = journal.head()  # the chain goes on where it was
    journal.add_sum(SUM)
    (entry,) = waiting(journal).entries
    assert entry.seq == head.seq + 1 and entry.follows(head.hash)


def test_a_call_in_progress_stays_with_the_entries_of_its_present_state(journal: Journal) -> None:
    told, row = begun()
    journal.add_receipt(told)
    journal.add_recording(row)
    keep(journal, minutes=1)
    arrive(journal)
    assert counts(journal) == {"receipts": 1, "recordings": 1, "sums": 0, "chain": 3, "in_progress": 1}
    journal.update_receipt(replace(told, ended_at=START))  # no entry says that it was altered
    journal.update_recording(replace(row, status=Status.CLOSED))
    assert {entry.kind for entry in waiting(journal).entries} == {"receipt", "recording"}
    arrive(journal)
    assert counts(journal) == {"receipts": 0, "recordings": 0, "sums": 0, "chain": 1, "in_progress": 0}


@pytest.mark.parametrize("decision", ["refused", "not_allowed"])
def test_what_is_still_to_be_erased_stays(journal: Journal, decision: str) -> None:
    told, row = keep(journal)
    journal.update_receipt(replace(told, decision=decision, decided_by="dtmf"))
    arrive(journal)
    assert counts(journal)["recordings"] == 1
    journal.update_recording(replace(row, status=Status.ERASED))
    arrive(journal)
    assert counts(journal)["recordings"] == counts(journal)["receipts"] == 0


def test_what_was_written_after_the_batch_was_taken_stays(journal: Journal) -> None:
    told, row = keep(journal)
    batch = waiting(journal)
    journal.update_recording(replace(row, flagged=True))
    journal.drop(batch)
    assert waiting(journal).recordings == (replace(row, flagged=True),)
    assert journal.receipt(told.id) == told


def test_a_batch_may_arrive_twice_and_numbers_that_are_given_again_are_not_taken_for_those_before(
    journal: Journal,
) -> None:
    for count in (1, 2, 3):
        journal.add_sum(replace(SUM, count=count))
        batch = waiting(journal)
        assert [one.count for _, one in batch.sums] == [count]
        journal.drop(batch)
    journal.add_sum(SUM)
    journal.drop(batch)
    assert [one for _, one in waiting(journal).sums] == [SUM]


def test_other_rules_hold_in_a_journal_and_only_what_calls_write_may_be_written_into_it(
    journal: Journal, tmp_path: Path
) -> None:
    _, row = keep(journal)
    with pytest.raises(sqlite3.IntegrityError, match="never replaced"):
        journal._connection.execute("INSERT OR REPLACE INTO receipts SELECT * FROM receipts")
    journal.update_recording(replace(row, hold={"ground": "criminal"}))
    with pytest.raises(StoreError, match="on hold"):
        journal.update_recording(replace(row, status=Status.PURGING))
    with pytest.raises(StoreError, match="rows of accesses belong in the shared database"):
        journal.add_access(Access(at=START, action="export"))
    with Store(tmp_path / "retention.db") as store:  # a single host keeps its rows
        assert store.missing_guards() == [] and store.whole
        store.add_sum(SUM)
        with pytest.raises(sqlite3.IntegrityError, match="never deleted"):
            store._connection.execute("DELETE FROM sums")


def test_what_has_left_gives_its_room_back(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db") as journal:
        for minutes in range(40):
            told, _ = begun(minutes)
            told = replace(told, ended_at=START, recording_id=None, call_id="x" * 4000)
            with journal.write():
                for number in range(10):
                    journal.add_receipt(replace(told, id=f"{told.id}{number}"))
        full = (tmp_path / "journal.db").stat().st_size
        arrive(journal)
        for _ in range(3):
            journal.add_sum(SUM)
            arrive(journal)
        assert (tmp_path / "journal.db").stat().st_size < full / 2
        assert b"xxxx" not in (tmp_path / "journal.db").read_bytes()


def test_it_is_full_as_a_disk_is(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.db", most_bytes=1 << 20) as journal:
        told, _ = begun()
        with pytest.raises(NoRoom):
            for number in range(1000):
                journal.add_receipt(replace(told, id=f"{told.id}{number}", call_id="x" * 4000))
        assert 0.9 < journal.used() <= 1.0


def test_lag_is_counted_from_the_first_that_waits(tmp_path: Path) -> None:
    now = START
    with Journal(tmp_path / "journal.db", lambda: now) as journal:
        arrive(journal)
        assert journal.lag().seconds(START) == 0.0
        journal.add_sum(SUM)
        now = START + timedelta(seconds=5)
        journal.add_sum(SUM)
        lag = journal.lag()
        assert (lag.rows, lag.oldest_at, lag.seconds(now)) == (2, START, 5.0)


def test_a_write_wakes_who_waits_and_a_drop_does_not(journal: Journal) -> None:
    with closing(Wakes(journal.places.written)) as ours:  # type: ignore[union-attr]
        ours.wait(0.0)
        keep(journal)
        assert ours.wait(PATIENCE_S)
        assert not ours.wait(0.0)
        arrive(journal)
        assert not ours.wait(0.0)
