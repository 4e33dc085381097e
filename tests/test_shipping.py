"""Shipping: in order, exactly once, whatever crashes in between."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from retention.clock import ClockReading, look
from retention.holds import HoldError, place
from retention.journal import Journal
from retention.marks import ERASED
from retention.postgres.database import SharedStore
from retention.records import Access, Event, Hold, HostState, Receipt, Recording, Status, Sum
from retention.shipping import (
    LIVES,
    LOST,
    NameTaken,
    Presence,
    Sent,
    Shipper,
    is_lost,
    lost_receipt,
    merged_receipt,
    merged_recording,
    must_go,
)
from tests.kept import START, archive_of, receipt, recording
from tests.raising import raising
from tests.sealed import sealed_store
from tests.shared_sqlite import SharedInSqlite

SUM = Sum(what="rejected", count=3, from_at=START, until_at=START, code=503, by="edge: full")
LEASE_S = 12.0


class Clock:
    """The shared database's."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def goes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Site:
    folder: Path
    clock: Clock
    shared: SharedInSqlite
    journal: Journal

    def shipper(self, host: str = "a", journal: Journal | None = None) -> Shipper:
        return Shipper(journal or self.journal, self.shared, host, "1.0", LEASE_S)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    clock = Clock()
    with SharedInSqlite(tmp_path / "shared.db", clock) as shared, Journal(tmp_path / "journal.db") as journal:
        yield Site(tmp_path, clock, shared, journal)


def ship(shipper: Shipper, limit: int = 500) -> list[Sent]:
    sent = []
    while (one := shipper.ship(Presence(), limit)) is not None:
        sent.append(one)
    return sent


def write_call(journal: Journal, minutes: int = 0) -> str:
    row = recording(minutes)
    with journal.write():
        journal.add_receipt(told := receipt(row, ended_at=None, outcome=None))
        journal.add_recording(row)
    journal.update_recording(replace(row, status=Status.CLOSED))
    journal.update_receipt(replace(told, ended_at=row.started_at + timedelta(minutes=4)))
    return row.id


@pytest.mark.parametrize(("limit", "batches"), [(500, 1), (1, 1 + 3 * 5)])
def test_what_was_written_is_there_and_gone_here(site: Site, limit: int, batches: int) -> None:
    ids = []
    for minutes in range(3):
        ids.append(write_call(site.journal, minutes))
        site.journal.add_sum(replace(SUM, count=minutes))
    assert len(ship(site.shipper(), limit)) == batches
    assert [row.id for row in site.shared.receipts()] == ids[::-1]
    assert [row.status for row in site.shared.recordings()] == [Status.CLOSED] * 3
    assert [one.count for one in site.shared.each_sum()] == [0, 1, 2]
    assert site.journal.receipts() == [] and site.journal.lag().rows == 0
    tally = site.shared.tally()
    assert (tally["receipts"], tally["recordings"], tally["sums"]) == (3, 3, 3)
    assert limit == 1 or site.shared.head().seq == 1 + 3 * 3


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_a_crash_before_anything_has_left_ships_nothing_twice(
    site: Site, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipper = site.shipper()
    ship(shipper)
    write_call(site.journal)
    site.journal.add_sum(SUM)
    with monkeypatch.context() as patched, pytest.raises(OSError, match="crash"):
        patched.setattr(Journal, "drop", raising(OSError("crash")))
        shipper.ship(Presence(), limit)
    write_call(site.journal, 1)
    ship(site.shipper())
    assert len(site.shared.receipts()) == 2
    assert list(site.shared.each_sum()) == [SUM]
    assert site.journal.receipts() == []


def test_an_older_copy_of_the_journal_is_shipped_whole_and_doubles_nothing(site: Site) -> None:
    shipper = site.shipper()
    ship(shipper)
    site.journal.add_sum(SUM)
    with site.journal.copied_to(site.folder / "copy.db"):
        pass
    write_call(site.journal)
    ship(shipper)
    with Journal(site.folder / "copy.db") as copy:
        for minutes in range(1, 4):
            write_call(copy, minutes)
        ship(site.shipper(journal=copy))
        assert len(site.shared.receipts()) == 4
        assert list(site.shared.each_sum()) == [SUM]
        assert copy.identity != site.journal.identity


def test_two_hosts_of_one_name_do_not_mix_and_a_new_journal_is_not_taken_for_the_old(site: Site) -> None:
    shipper = site.shipper()
    for minutes in range(3):
        write_call(site.journal, minutes)
    ship(shipper)
    with Journal(site.folder / "other.db") as other:
        write_call(other, 3)
        with pytest.raises(NameTaken, match="another host is called 'a'"):
            site.shipper(journal=other).ship(Presence())
        assert len(site.shared.receipts()) == 3
        site.clock.goes(LEASE_S + 1)
        ship(site.shipper(journal=other))
        assert len(site.shared.receipts()) == 4 and other.lag().rows == 0
        write_call(site.journal, 4)
        with pytest.raises(NameTaken):  # who was taken for gone
            ship(shipper)
            shipper.renew(Presence())
        assert site.journal.lag().rows > 0


def test_a_host_leaves_once_nothing_waits(site: Site) -> None:
    shipper = site.shipper()
    write_call(site.journal)
    assert not shipper.leave()
    ship(shipper)
    assert shipper.leave()
    site.clock.goes(1e6)
    assert [host.state(site.clock()) for host in site.shared.hosts()] == [HostState.STOPPED]


# --- into a real PostgreSQL ---


@pytest.fixture
def shared(database: str, tmp_path: Path) -> Iterator[SharedStore]:
    with sealed_store(database, tmp_path / "vault", host="b") as shared:
        yield shared


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def shipper_of(journal: Journal, shared: SharedStore, host: str = "a", lease_s: float = 12.0) -> Shipper:
    return Shipper(journal, shared, host, "1.0", lease_s)


def test_what_was_written_arrives_and_is_here_once_nothing_waits_in_the_journal(
    journal: Journal, shared: SharedStore
) -> None:
    assert shared.heard_until("a") is None and shared.heard_until(None) is None
    ids = [write_call(journal, minutes) for minutes in range(3)]
    shipper = shipper_of(journal, shared)
    ship(shipper)
    assert [row.id for row in shared.receipts()] == [row.id for row in shared.recordings()] == ids[::-1]
    assert journal.receipts() == []
    heard, minute = shared.heard_until("a"), timedelta(minutes=1)
    assert heard is not None and timedelta() < shared.now() - heard - minute < minute
    write_call(journal, 3)
    shipper.renew(Presence(calls=2, draining=True))
    assert shared.heard_until("a") is None
    (host,) = shared.hosts()
    assert (host.calls, host.draining, host.lag_rows, host.version) == (2, True, 4, "1.0")
    assert host.state(shared.now()) is HostState.DRAINING
    shipper.ship(Presence(calls=1))
    (host,) = shared.hosts()
    assert (host.calls, host.lag_rows, host.oldest_at) == (1, 0, None)
    assert host.state(shared.now()) is HostState.RUNNING
    shipper_of(journal, shared, lease_s=0.0).renew(Presence())
    (host,) = shared.hosts()
    assert host.state(shared.now()) is HostState.LOST  # by the database's clock


def test_one_process_is_alone_with_what_it_does(database: str, shared: SharedStore, tmp_path: Path) -> None:
    with sealed_store(database, tmp_path / "vault") as other:
        with shared.alone("purge") as first, other.alone("purge") as second, other.alone("else") as third:
            assert (first, second, third) == (True, False, True)
        with other.alone("purge") as now:
            assert now


def test_a_renewal_waits_for_nobody_who_writes(
    database: str, journal: Journal, shared: SharedStore, tmp_path: Path
) -> None:
    shipper = shipper_of(journal, shared)
    shipper.renew(Presence())
    with sealed_store(database, tmp_path / "vault") as other, other.write():
        shipper.renew(Presence(calls=1))
        assert shared.hosts()[0].calls == 1


def test_each_host_looks_at_its_own_clock(database: str, tmp_path: Path) -> None:
    with (
        sealed_store(database, tmp_path / "vault", host="a") as a,
        sealed_store(database, tmp_path / "vault", host="b") as b,
    ):
        for seconds in (0, 60, 62, 64):
            assert look(a, _reading("a", seconds + 5)) is None
            if seconds:
                assert look(b, _reading("b", seconds)) is None
        assert look(b, _reading("b", 60, elapsed=66)) is not None
        assert look(a, _reading("a", 75)) is None


def _reading(host: str, seconds: int, elapsed: int | None = None) -> ClockReading:
    """Of a host whose clock says START and so many seconds."""
    wall = START + timedelta(seconds=seconds)
    return ClockReading(f"boot of {host}", wall, 1000.0 + (seconds if elapsed is None else elapsed))


def test_what_a_call_may_still_erase_takes_no_hold(
    journal: Journal, shared: SharedStore, tmp_path: Path
) -> None:
    """Its host knows of no hold in the shared database: what an operator's key erases would be gone."""
    row = recording()
    told = receipt(row)
    shared.keep_many([replace(told, ended_at=None)], [replace(row, status=Status.CLOSED)], ())
    kept = archive_of(shared, tmp_path / "recordings", tmp_path)
    hold = Hold(ground="criminal", reference="7", by="A", approved_by="B", review="2027-01-01")
    trace = Access(at=START, action="hold")
    with pytest.raises(HoldError, match="its call is not over"):
        place(kept, row.id, hold, trace)
    shared.update_receipt(told)
    assert place(kept, row.id, hold, trace).hold == hold.to_json()


# --- what a row becomes that others changed meanwhile ---


ROW = recording()
ENDED = receipt(ROW)
ON = replace(ENDED, ended_at=None, outcome=None)
LATER = START + timedelta(seconds=30)
CLOSED = replace(ROW, status=Status.CLOSED, bytes=100, sha256="ab" * 32)
GONE = replace(ROW, status=Status.ERASED)
HOLD = {"ground": "criminal", "review": "2027-01-01"}
REFUSED = replace(ENDED, decision="refused", decided_by="dtmf", decided_at=START)


def whats(told: Receipt) -> list[str]:
    return [event.what for event in told.events]


def test_a_refusal_or_an_erasure_stays_whoever_knew_it() -> None:
    assert merged_receipt(ENDED, REFUSED, LATER) == REFUSED
    assert merged_receipt(REFUSED, ENDED, LATER) == REFUSED
    given_up = lost_receipt(replace(ON, decision="refused", decided_by="dtmf", decided_at=START), START)
    merged = merged_receipt(ENDED, given_up, LATER)  # what its own host tells is older
    assert (merged.decision, merged.decided_by, merged.ended_at) == ("refused", "dtmf", ENDED.ended_at)
    erased = replace(ENDED, events=(Event(at=START, what=ERASED, by="operator"),))
    merged = merged_receipt(ENDED, erased, LATER)
    assert merged == erased and must_go(CLOSED, merged)
    assert merged_receipt(ENDED, ENDED.anonymous(), LATER) == ENDED.anonymous()  # nor is it told again


def test_an_older_state_out_of_a_reserve_changes_nothing_that_has_ended() -> None:
    died = replace(ON, outcome="failed", ended_at=LATER)
    assert merged_receipt(ON, ENDED, LATER) == merged_receipt(died, ENDED, LATER) == ENDED
    for ours in (ROW, replace(ROW, status=Status.FAILED)):
        assert merged_recording(ours, CLOSED, ENDED) == CLOSED
    assert merged_receipt(REFUSED, ENDED, LATER) == REFUSED
    assert merged_recording(GONE, CLOSED, REFUSED) == GONE


def test_a_call_that_was_taken_for_lost_is_told_as_it_was() -> None:
    there = lost_receipt(ON, START)
    assert is_lost(there) and there.outcome == "failed"
    merged = merged_receipt(ENDED, there, LATER)
    assert (merged.outcome, merged.ended_at) == ("connected", ENDED.ended_at)
    assert whats(merged) == [LOST, LIVES] and merged.events[1].at == LATER
    assert not is_lost(merged)


def test_a_call_that_is_still_on_is_on_again() -> None:
    merged = merged_receipt(ON, lost_receipt(ON, START), LATER)
    assert (merged.outcome, merged.ended_at) == (None, None)
    twice = merged_receipt(ENDED, lost_receipt(merged, LATER), LATER)
    assert whats(twice) == [LOST, LIVES, LOST, LIVES] and twice.outcome == "connected"


@pytest.mark.parametrize("ours", [ON, ENDED, REFUSED])
@pytest.mark.parametrize("there", [ON, ENDED, REFUSED, lost_receipt(ON, START), ENDED.anonymous()])
def test_merging_receipts_is_stable(ours: Receipt, there: Receipt) -> None:
    once = merged_receipt(ours, there, LATER)
    assert merged_receipt(ours, once, LATER + timedelta(seconds=1)) == once


@pytest.mark.parametrize("ours", [ROW, CLOSED, GONE, replace(ROW, status=Status.FAILED)])
@pytest.mark.parametrize(
    "there",
    [
        *(ROW, CLOSED, GONE, replace(CLOSED, hold=HOLD), replace(CLOSED, status=Status.PURGING)),
        *(replace(CLOSED, flagged=True), CLOSED.tombstone(Status.PURGED, LATER)),
    ],
)
@pytest.mark.parametrize("told", [ENDED, REFUSED])
def test_merging_recordings_is_stable(ours: Recording, there: Recording, told: Receipt) -> None:
    once = merged_recording(ours, there, told)
    assert merged_recording(ours, once, told) == once


@pytest.mark.parametrize("there", [GONE, replace(CLOSED, status=Status.PURGING)])
@pytest.mark.parametrize("ours", [ROW, CLOSED])
def test_what_is_gone_stays_gone(ours: Recording, there: Recording) -> None:
    assert merged_recording(ours, there, ENDED) == there
    tombstone = there.tombstone(Status.PURGED, LATER)
    assert merged_recording(ours, tombstone, ENDED) == tombstone and must_go(tombstone, ENDED)


def test_a_hold_stays_with_the_sound_that_the_host_has_and_gives_way_to_the_caller_alone() -> None:
    there = replace(CLOSED, incomplete=True, sha256="cd" * 32, hold=HOLD)
    assert merged_recording(CLOSED, there, ENDED) == replace(CLOSED, hold=HOLD)
    assert merged_recording(ROW, there, ENDED) == there  # it is still being made: what is held is not opened
    failed = replace(ROW, status=Status.FAILED)
    assert merged_recording(failed, there, ENDED) == there
    assert merged_recording(GONE, there, REFUSED) == GONE
    by_operator = replace(ENDED, decision="not_allowed", decided_by="operator")
    assert merged_recording(GONE, there, by_operator) == there
    # one that was released does not come back; a flag stays whoever set it
    assert merged_recording(replace(CLOSED, hold=HOLD), CLOSED, ENDED).hold is None
    flagged = replace(CLOSED, flagged=True)
    assert merged_recording(CLOSED, flagged, ENDED) == merged_recording(flagged, CLOSED, ENDED) == flagged
