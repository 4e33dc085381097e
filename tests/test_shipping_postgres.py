"""Shipping into a real PostgreSQL: away, restarted, failed over while calls are being written."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.clock import ClockReading, look
from retention.holds import HoldError, place
from retention.journal import Journal
from retention.postgres.database import SharedStore
from retention.records import Access, Hold, HostState, Status
from retention.shipping import Presence, Shipper
from tests.kept import START, archive_of, receipt, recording
from tests.sealed import sealed_store
from tests.test_shipping import ship, write_call


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
    assert (host.calls, host.draining, host.lag_rows) == (2, True, 4)
    assert host.state(shared.now()) is HostState.DRAINING
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
