"""Shipping: in order, exactly once, whatever crashes in between."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from retention.journal import Journal
from retention.records import HostState, Status, Sum
from retention.shipping import NameTaken, Presence, Sent, Shipper
from tests.kept import START, receipt, recording
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
        patched.setattr(Journal, "drop", _crash)
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


def test_a_host_says_how_it_is(site: Site) -> None:
    shipper = site.shipper()
    write_call(site.journal)
    shipper.renew(Presence(calls=7, draining=True))
    (host,) = site.shared.hosts()
    assert (host.calls, host.draining, host.lag_rows, host.version) == (7, True, 5, "1.0")
    assert host.state(site.clock()) is HostState.DRAINING
    shipper.ship(Presence(calls=6))
    (host,) = site.shared.hosts()
    assert (host.calls, host.lag_rows, host.oldest_at) == (6, 0, None)
    assert host.state(site.clock()) is HostState.RUNNING
    site.clock.goes(LEASE_S + 1)
    assert host.state(site.clock()) is HostState.LOST


def test_a_host_leaves_once_nothing_waits(site: Site) -> None:
    shipper = site.shipper()
    write_call(site.journal)
    assert not shipper.leave()
    ship(shipper)
    assert shipper.leave()
    site.clock.goes(1e6)
    assert [host.state(site.clock()) for host in site.shared.hosts()] == [HostState.STOPPED]


def _crash(self: Journal, batch: object) -> None:
    raise OSError("crash")
