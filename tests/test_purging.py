"""The purge's thread: clock, terms, alarms, time stamps, and its end."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from retention.archive import Archive
from retention.clock import ClockReading, look, resume
from retention.holds import place
from retention.purge import PurgeReport, Removal
from retention.records import Access, Hold, Recording, Status, due_date
from retention.stamps import FolderStamps, StampError, newest, proven, stamp_head
from retention.use import ExportedCopy
from retention.vault import new_pair
from retention.verify import Orphan
from sipagent.config.load import Config
from sipagent.edge.files import TABLES
from sipagent.service import purging
from sipagent.service.purging import Purging
from tests.configured import SMALL, read, with_keys
from tests.kept import SOUND, START, Paths, keep, receipt, recording
from tests.peers.tsa import Authority
from tests.read_only import read_only
from tests.tapping import PATIENCE_S, Overtaken, wait_for

DUE = due_date(START, "6 months")
DAY = timedelta(days=1)


@dataclass
class Clock:
    """A machine that has been up for a while; `steps` moves its wall clock alone."""

    wall: datetime = DUE
    elapsed: float = 1000.0
    looks: int = 0
    synchronised: bool = True

    def __call__(self) -> ClockReading:
        self.looks += 1
        return ClockReading("boot", self.wall, self.elapsed, self.synchronised)

    def passes(self, time: timedelta) -> None:
        self.wall += time
        self.elapsed += time.total_seconds()


@dataclass
class Service:
    """A purge's thread in an office, and what it alerted of."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    alerts: list[str] = field(default_factory=list)

    def config(self, *keys: str) -> Config:
        return read(with_keys("retention", "\n".join(keys), SMALL), self.folder / "config.toml")

    def make(self, *keys: str) -> Purging:
        return Purging(self.config(*keys), self.alerts.append, self.clock)

    def one_turn(self, *keys: str) -> None:
        """Start it, and end it once it has looked at the clock and done what follows."""
        thread, looks = self.make(*keys), self.clock.looks
        turns = count_turns(thread)
        thread.start()
        wait_for(lambda: len(turns) > 0)
        thread.stop()
        assert self.clock.looks == looks + 1


def count_turns(thread: Purging) -> list[None]:
    """Grows when a turn, its alarms included, is over."""
    turns: list[None] = []
    stamp = thread._stamp

    def stamped() -> None:
        stamp()
        turns.append(None)

    thread._stamp = stamped  # type: ignore[method-assign]
    return turns


def left_at_the_edge(folder: Path, *when: datetime) -> list[Path]:
    """Tables of the edge's that were last written then."""
    dialogs = folder / "edge/dialogs"
    dialogs.mkdir(parents=True)
    tables = [dialogs / name for name, _ in zip(TABLES, when, strict=False)]
    for table, at in zip(tables, when, strict=True):
        table.touch()
        os.utime(table, (at.timestamp(), at.timestamp()))
    return tables


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


@pytest.fixture
def threads_end() -> Iterator[None]:
    """None of ours outlives the test."""
    yield
    wait_for(lambda: not {"purge", "stamp"} & {thread.name for thread in threading.enumerate()})


pytestmark = pytest.mark.usefixtures("threads_end")


def test_what_has_expired_goes_at_the_start(service: Service, archive: Archive) -> None:
    old, young = keep(archive, recording()), keep(archive, recording(1))
    service.one_turn()
    assert archive.store.recording(old.id).purged_at == DUE
    assert archive.store.recording(young.id).status is Status.CLOSED
    assert service.alerts == []


def test_what_names_callers_at_the_edge_is_kept_as_long_as_receipts_are(service: Service) -> None:
    old, young = left_at_the_edge(service.folder, DUE - timedelta(days=366), DUE - timedelta(days=364))
    with capture_logs() as told:
        service.one_turn('receipts_period = "1 year"')
    assert [line["dialogs"] for line in told if line["event"] == "forgotten"] == [str(old)]
    assert not old.exists() and young.exists()


def test_it_stays_while_purging_is_suspended(service: Service) -> None:
    old, _ = left_at_the_edge(service.folder, DUE - timedelta(days=366), DUE)
    service.clock.wall = START
    service.one_turn('receipts_period = "1 year"')
    service.clock.wall = DUE  # six months in no time
    service.one_turn('receipts_period = "1 year"')
    assert old.exists()


def test_it_goes_on_every_hour(service: Service, archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "EVERY_S", 0.01)
    thread = service.make()
    thread.start()
    wait_for(lambda: service.clock.looks > 2)
    thread.stop()
    assert service.alerts == []


def test_what_keeps_calls_from_being_recorded_is_an_alarm_each_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, at a reload and every hour, whatever becomes of the purge, until it is right."""
    monkeypatch.setattr(purging, "EVERY_S", 0.01)
    text = with_keys("recording", 'recipients = ["ann.pub"]', SMALL)
    config = read(text, service.folder / "config.toml")
    (service.folder / "retention.db").mkdir()  # no purge
    thread = Purging(config, service.alerts.append, service.clock)
    thread.start()
    try:
        key = service.folder / "ann.pub"
        ours = f"no call can be recorded: recording.recipients: {key}: No such file or directory"
        wait_for(lambda: service.alerts.count(ours) >= 3)
        new_pair(service.folder / "ann", None, "ann")
        turns = count_turns(thread)
        wait_for(lambda: len(turns) > 1)
        said = service.alerts.count(ours)
        wait_for(lambda: len(turns) > 3)
        assert service.alerts.count(ours) == said
        monkeypatch.setattr(purging, "EVERY_S", 3600.0)
        turns = count_turns(thread)
        wait_for(lambda: len(turns) > 0)
        key.unlink()
        thread.reload(config)
        wait_for(lambda: service.alerts.count(ours) == said + 1)
    finally:
        thread.stop()


def test_a_clock_that_stepped_purges_nothing_until_a_person_says_so(
    service: Service, archive: Archive
) -> None:
    row = keep(archive, recording())
    service.clock.wall = START
    service.one_turn()
    service.clock.wall = DUE  # six months in no time
    service.one_turn()
    service.clock.passes(DAY)
    service.one_turn()
    assert archive.store.recording(row.id).status is Status.CLOSED
    assert len(service.alerts) == 2
    assert service.alerts[0].startswith("purging is suspended: the clock is ahead by 181 days, 0:00:00")
    assert service.alerts[0].endswith("once it is right: sipagent purge --clock-ok --by WHO")
    resume(archive.store, service.clock(), Access(at=DUE, action="clock_ok", by="dpo"))
    service.one_turn()
    assert archive.store.recording(row.id).status is Status.PURGED


def test_a_shorter_period_counts_at_once(service: Service, archive: Archive) -> None:
    row = keep(archive, recording())
    service.clock.wall = START + timedelta(days=40)
    thread = service.make()
    turns = count_turns(thread)
    thread.start()
    wait_for(lambda: len(turns) == 1)
    assert archive.store.recording(row.id).status is Status.CLOSED
    thread.reload(service.config('period = "1 month"'))
    wait_for(lambda: len(turns) == 2)
    thread.stop()
    assert archive.store.recording(row.id).status is Status.PURGED


def test_another_database_waits_for_the_next_start(service: Service, archive: Archive) -> None:
    thread = service.make()
    turns = count_turns(thread)
    thread.start()
    thread.reload(service.config('database = "other.db"'))
    wait_for(lambda: len(turns) >= 1)
    thread.stop()
    assert not (service.folder / "other.db").exists()


# --- what a call had wanted erased ---


def refused(archive: Archive) -> Recording:
    """A call that was refused, whose row and receipt say so as far as they could, and whose part is there."""
    row = recording()
    archive.store.add_receipt(receipt(row, decision="refused", decided_by="dtmf"))
    archive.open(row).write_bytes(SOUND)
    return row


def test_what_does_not_go_is_tried_again_every_minute_and_alarmed(
    service: Service, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is read-only, so there is no mark either: only the receipt says it. At the start, too."""
    monkeypatch.setattr(purging, "ERASE_S", 0.02)
    service.clock.wall = START
    row = refused(archive)
    with ExitStack() as locked:
        locked.enter_context(read_only(Paths(archive).recordings))
        with running(service.make()) as thread:
            wait_for(lambda: thread.failures["erase"] > 3)
            assert Paths(archive).part(row.id).exists() and thread.failures["purge"] == 1
            (alert,) = told = [one for one in service.alerts if one.startswith(row.id)]
            assert alert.startswith(f"{row.id} must be erased, and is not: ")
            assert alert.endswith("it is tried again every minute")
            locked.close()
            wait_for(lambda: archive.store.recording(row.id).status is Status.ERASED)
    assert not Paths(archive).part(row.id).exists()
    assert [one for one in service.alerts if one.startswith(row.id)] == told


@contextmanager
def running(thread: Purging) -> Iterator[Purging]:
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()


def test_it_is_erased_whatever_the_clock_says(service: Service, archive: Archive) -> None:
    """It has no date to wait for, so a suspended purge does not hold it up."""
    service.one_turn()
    service.clock.wall -= DAY
    row = refused(archive)
    with running(service.make()):
        wait_for(lambda: archive.store.recording(row.id).status is Status.ERASED)
    assert len(service.alerts) == 1 and service.alerts[0].startswith("purging is suspended")


def test_what_goes_is_told(service: Service, archive: Archive) -> None:
    service.clock.wall = START
    row = refused(archive)
    with capture_logs() as logs:
        service.one_turn()
    assert [(line["event"], line.get("id")) for line in logs if line["event"] == "erased"] == [
        ("erased", row.id)
    ]


# --- alarms ---


@pytest.mark.parametrize(("late", "alarms"), [(DAY - timedelta(seconds=1), 0), (DAY, 1)])
def test_what_should_be_gone_for_a_day_is_an_alarm(
    service: Service, archive: Archive, monkeypatch: pytest.MonkeyPatch, late: timedelta, alarms: int
) -> None:
    keep(archive, recording())

    def stuck(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    service.clock.passes(late)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Path, "unlink", stuck)
        service.one_turn()
    assert [line["event"] for line in logs] == ["forgotten", "purge_failed"]
    assert service.alerts == ["recordings that should have gone more than a day ago: 1"] * alarms


def test_what_a_wrong_clock_has_recorded_is_an_alarm(service: Service, archive: Archive) -> None:
    """It was months ahead, and is right again: what it says of when they must go is as wrong."""
    service.clock.wall = START
    for minutes in (0, 24 * 60 - 1, 24 * 60 + 1):
        keep(archive, recording(minutes))
    service.one_turn()
    assert service.alerts == ["recordings that began after now, by a wrong clock, and will stay too long: 1"]


def test_an_overdue_review_is_an_alarm_and_releases_nothing(service: Service, archive: Archive) -> None:
    row = keep(archive, recording())
    hold = Hold(ground="criminal", reference="R", by="Durand", approved_by="Petit", review="2027-05-23")
    place(archive, row.id, hold, Access(at=START, action="hold", by="Durand"))
    service.one_turn()
    assert service.alerts == ["holds whose review is overdue: 1; see `sipagent holds`"]
    assert archive.store.recording(row.id).hold is not None


def test_whatever_goes_wrong_is_told_and_tried_again(
    service: Service, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = keep(archive, recording())
    faults: list[Exception] = [OSError("no disk"), ZeroDivisionError()]
    monkeypatch.setattr(purging, "EVERY_S", 0.01)
    read = service.clock

    def failing() -> ClockReading:
        if faults:
            raise faults.pop(0)
        return read()

    thread = Purging(service.config(), service.alerts.append, failing)
    thread.start()
    wait_for(lambda: archive.store.recording(row.id).status is Status.PURGED)
    thread.stop()
    assert service.alerts == ["purge: no disk", "purge: ZeroDivisionError(), which nobody foresaw"]


# --- time stamps ---


def stamping(tsa: Authority) -> tuple[str, str]:
    return f'timestamp_url = "{tsa.url}"', f'timestamp_ca = "{tsa.ca}"'


def test_the_head_is_stamped_after_the_purge(service: Service, archive: Archive, tsa: Authority) -> None:
    keep(archive, recording())
    with capture_logs() as logs:
        service.one_turn(*stamping(tsa))
        wait_for(lambda: logs[-1]["event"] == "stamped")
    last, head = newest(FolderStamps(service.folder / "stamps")), archive.store.head()
    assert last is not None and (last.seq, last.hash) == (head.seq, head.hash)
    assert archive.store.recordings()[0].status is Status.PURGED
    assert service.alerts == []


def test_a_time_stamp_ends_what_a_reboot_has_suspended(
    service: Service, archive: Archive, tsa: Authority
) -> None:
    """The machine was off for months, and nothing disciplines its clock; the next turn comes at once."""
    now = datetime.now(UTC)
    archive.store.add_receipt(receipt(recording()))
    look(archive.store, ClockReading("the boot before", now - timedelta(days=200), 1000.0))
    service.clock.wall, service.clock.synchronised = now, False
    with running(service.make(*stamping(tsa))) as thread:
        wait_for(lambda: thread.last_success > 0)
    assert len(service.alerts) == 1 and "ahead by 200 days" in service.alerts[0]
    doubted, confirmed = archive.store.accesses()
    assert (doubted.action, confirmed.action) == ("clock_doubt", "clock_ok")
    assert (confirmed.detail or "").endswith("; confirmed: a time stamp")


def test_a_time_stamp_of_another_authority_ends_nothing(
    service: Service, archive: Archive, tsa: Authority, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    archive.store.add_receipt(receipt(recording()))
    look(archive.store, ClockReading("the boot before", now - timedelta(days=200), 1000.0))
    stamp_head(archive.store, tsa.url, tsa.ca)
    other = Authority(tmp_path / "other")
    assert proven(archive.store, tsa.ca)() is not None
    for ca in (None, other.ca, tmp_path / "absent.pem"):
        assert proven(archive.store, ca)() is None
    (stamp,) = (tmp_path / "stamps").iterdir()
    stamp.rename(stamp.with_name("1.tsr"))
    assert proven(archive.store, tsa.ca)() is None


def test_a_suspended_purge_stamps_all_the_same(service: Service, archive: Archive, tsa: Authority) -> None:
    service.one_turn()
    service.clock.wall -= DAY
    service.one_turn(*stamping(tsa))
    wait_for(lambda: newest(FolderStamps(service.folder / "stamps")) is not None)
    assert len(service.alerts) == 1


@pytest.mark.parametrize("fault", [StampError("it: HTTP 500"), ZeroDivisionError()])
def test_an_authority_that_fails_is_told(
    service: Service, archive: Archive, tsa: Authority, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fails(*_: object) -> None:
        raise fault

    monkeypatch.setattr(purging, "stamp_head", fails)
    service.one_turn(*stamping(tsa))
    wait_for(lambda: len(service.alerts) == 1)
    assert service.alerts[0].startswith("stamp: ")


def test_nobody_is_asked_where_none_is_configured(
    service: Service, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "stamp_head", lambda *_: service.alerts.append("asked"))
    service.one_turn()
    assert service.alerts == []


# --- the end ---


def test_a_stop_between_two_steps_of_its_thread_is_not_lost(service: Service, archive: Archive) -> None:
    """It waited for an hour, and the service's end for it."""
    thread = service.make()
    thread._over = Overtaken(thread._due)
    with running(thread):
        wait_for(lambda: not thread._thread.is_alive())


def test_a_silent_authority_delays_no_end(
    service: Service, archive: Archive, tsa: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def silent(*_: object) -> None:
        asked.set()
        assert answers.wait(PATIENCE_S)

    monkeypatch.setattr(purging, "stamp_head", silent)
    thread = service.make(*stamping(tsa))
    thread.start()
    assert asked.wait(PATIENCE_S)
    thread.stop()
    assert not answers.is_set()
    answers.set()


def test_a_long_purge_ends_with_the_service(
    service: Service, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()

    def long(*_: object, over: Callable[[], bool]) -> PurgeReport:
        began.set()
        wait_for(over)
        return PurgeReport(removed=())

    def counts(*_: object) -> int:
        raise AssertionError("alarms of what was only interrupted")

    monkeypatch.setattr(purging, "purge", long)
    monkeypatch.setattr(purging, "overdue", counts)
    thread = service.make()
    thread.start()
    assert began.wait(PATIENCE_S)
    thread.stop()
    assert service.alerts == []


def test_what_a_purge_logs() -> None:
    copy = ExportedCopy(path="/home/durand/call.wav", at=START, by="Durand", exists=True)
    gone = Removal(id="a", started_at=START, due_at=DUE, bytes=1, why="expired", copies=(copy,))
    stray = Orphan(name="x.flac", id=None, problem="not a file of the agent")
    with capture_logs() as logs:
        purging.tell(PurgeReport(removed=(gone,), failed=(("b", "stuck"),), notes=2, unlinked=(stray,)))
        purging.tell(PurgeReport(removed=(), orphans=(replace(stray, name="y"),)))
    assert [line["event"] for line in logs] == [
        *("purged", "copy_remains", "forgotten", "purge_failed", "orphan_purged", "orphan_found")
    ]
    assert logs[1]["path"] == "/home/durand/call.wav"
    assert (logs[2]["notes"], logs[2]["receipts"], logs[2]["uses"]) == (2, 0, 0)
