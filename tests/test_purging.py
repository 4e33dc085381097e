"""The purge's thread: clock, terms, alarms, time stamps, its end, and its turn among hosts."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from retention.archive import Archive
from retention.clock import ClockReading, look, resume
from retention.holds import place
from retention.marks import Mark, Marks
from retention.purge import PurgeReport, Removal
from retention.rebuild import BEGUN_ANEW, rebuild
from retention.records import Access, Hold, Recording, Status, due_date
from retention.roots import make_root, read_root
from retention.stamps import FolderStamps, StampError, newest, proven, read_answer, stamp_head
from retention.use import ExportedCopy
from retention.vault import new_pair
from retention.verify import Orphan
from sipagent.agent.recorder import recover
from sipagent.agent.stored import archive_of, journal_of, store_of
from sipagent.config.load import Config
from sipagent.edge.files import TABLES
from sipagent.service import purging
from sipagent.service.purging import PURGING, Purging
from tests import kept
from tests.configured import SMALL, read, with_keys
from tests.kept import SOUND, START, Paths, keep, receipt, recording
from tests.peers.tsa import Authority
from tests.raising import raising
from tests.read_only import read_only
from tests.tapping import PATIENCE_S, Overtaken, wait_for
from tests.test_among_hosts import config_of

DUE = due_date(START, "6 months")
DAY = timedelta(days=1)
YEAR = 'receipts_period = "1 year"'
NOBODY = "postgresql://nobody@127.0.0.1:9/none"


@dataclass
class Clock:
    """A machine that has been up for a while; setting `wall` steps its wall clock alone."""

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

    @cached_property
    def archive(self) -> Archive:
        return kept.archive(self.folder)

    def config(self, *keys: str) -> Config:
        return read(with_keys("retention", "\n".join(keys), SMALL), self.folder / "config.toml")

    def make(self, *keys: str) -> Purging:
        return Purging(self.config(*keys), self.alerts.append, self.clock)

    def one_turn(self, *keys: str) -> None:
        """Start it, and end it once it has looked at the clock and done what follows."""
        looks = self.clock.looks
        with running(thread := self.make(*keys)) as turns:
            wait_for(lambda: len(turns) > 0)
        assert self.clock.looks == looks + 1 and not thread._thread.is_alive()


@contextmanager
def running(thread: Purging) -> Iterator[list[None]]:
    """What is given grows when a turn, its alarms included, is over."""
    turns: list[None] = []
    stamp = thread._stamp

    def stamped() -> None:
        stamp()
        turns.append(None)

    thread._stamp = stamped  # type: ignore[method-assign]
    thread.start()
    try:
        yield turns
    finally:
        thread.stop()


def next_turn(turns: list[None], more: int = 1) -> None:
    done = len(turns)
    wait_for(lambda: len(turns) >= done + more)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    yield (service := Service(tmp_path))
    if "archive" in vars(service):
        service.archive.store.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn follows the other."""
    monkeypatch.setattr(purging, "EVERY_S", 0.01)


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """None of ours outlives the test."""
    yield
    wait_for(lambda: not {"purge", "stamp"} & {thread.name for thread in threading.enumerate()})


def refused(archive: Archive) -> Recording:
    """A call that was refused, whose row and receipt say so as far as they could, and whose part is there."""
    row = recording()
    archive.store.add_receipt(receipt(row, decision="refused", decided_by="dtmf"))
    archive.open(row).write_bytes(SOUND)
    return row


def test_what_has_expired_goes_at_the_start_and_by_a_shorter_period_at_once(service: Service) -> None:
    """Another database waits for the next start."""
    old, young = keep(service.archive, recording(-60 * 24 * 40)), keep(service.archive, recording(1))
    service.clock.wall = DUE - 20 * DAY
    thread = service.make()
    with running(thread) as turns:
        wait_for(lambda: len(turns) == 1)
        assert service.archive.store.recording(old.id).purged_at == service.clock.wall
        assert service.archive.store.recording(young.id).status is Status.CLOSED
        thread.reload(service.config('period = "1 month"', 'database = "other.db"'))
        wait_for(lambda: len(turns) == 2)
    assert service.archive.store.recording(young.id).status is Status.PURGED
    assert service.alerts == [] and not (service.folder / "other.db").exists()


@pytest.mark.parametrize("suspended", [False, True])
def test_what_names_callers_at_the_edge_is_kept_as_long_as_receipts_are(
    service: Service, suspended: bool
) -> None:
    dialogs = service.folder / "edge/dialogs"
    dialogs.mkdir(parents=True)
    old, young = (dialogs / name for name in [*TABLES][:2])
    for table, days in ((old, 366), (young, 364)):
        table.touch()
        at = (DUE - timedelta(days=days)).timestamp()
        os.utime(table, (at, at))
    if suspended:
        service.clock.wall = START
        service.one_turn(YEAR)
        service.clock.wall = DUE  # six months in no time
    with capture_logs() as told:
        service.one_turn(YEAR)
    forgotten = [line["dialogs"] for line in told if line["event"] == "forgotten"]
    assert (forgotten, old.exists(), young.exists()) == ([] if suspended else [str(old)], suspended, True)


@pytest.mark.usefixtures("quick")
def test_what_keeps_calls_from_being_recorded_is_an_alarm_each_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, at a reload and every hour, whatever becomes of the purge, until it is right."""
    config = read(with_keys("recording", 'recipients = ["ann.pub"]', SMALL), service.folder / "config.toml")
    (service.folder / "retention.db").mkdir()  # no purge
    key = service.folder / "ann.pub"
    ours = f"no call can be recorded: recording.recipients: {key}: No such file or directory"
    thread = Purging(config, service.alerts.append, service.clock)
    with running(thread) as turns:
        wait_for(lambda: service.alerts.count(ours) >= 3)
        new_pair(service.folder / "ann", None, "ann")
        next_turn(turns, 2)
        said = service.alerts.count(ours)
        next_turn(turns, 2)
        assert service.alerts.count(ours) == said
        monkeypatch.setattr(purging, "EVERY_S", 3600.0)
        next_turn(turns)
        key.unlink()
        thread.reload(config)
        wait_for(lambda: service.alerts.count(ours) == said + 1)


def test_a_clock_that_stepped_purges_nothing_until_a_person_says_so(service: Service) -> None:
    """What must be erased has no date to wait for: a suspended purge does not hold it up."""
    row = keep(service.archive, recording())
    service.clock.wall = START
    service.one_turn()
    service.clock.wall = DUE  # six months in no time
    service.one_turn()
    service.clock.passes(DAY)
    going = refused(service.archive)
    with capture_logs() as logs:
        service.one_turn()
    assert service.archive.store.recording(going.id).status is Status.ERASED
    assert [line["id"] for line in logs if line["event"] == "erased"] == [going.id]
    assert service.archive.store.recording(row.id).status is Status.CLOSED and len(service.alerts) == 2
    assert service.alerts[0].startswith("purging is suspended: the clock is ahead by 181 days, 0:00:00")
    assert service.alerts[0].endswith("once it is right: sipagent purge --clock-ok --by WHO")
    resume(service.archive.store, service.clock(), Access(at=DUE, action="clock_ok", by="dpo"))
    service.one_turn()
    assert service.archive.store.recording(row.id).status is Status.PURGED


def test_what_does_not_go_is_tried_again_every_minute_and_alarmed(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is read-only, so there is no mark either: only the receipt says it. At the start, too."""
    monkeypatch.setattr(purging, "ERASE_S", 0.02)
    service.clock.wall, row, thread = START, refused(service.archive), service.make()
    with ExitStack() as locked:
        locked.enter_context(read_only(Paths(service.archive).recordings))
        with running(thread):
            wait_for(lambda: thread.failures["erase"] > 3)
            assert Paths(service.archive).part(row.id).exists() and thread.failures["purge"] == 1
            (alert,) = told = [one for one in service.alerts if one.startswith(row.id)]
            assert alert.startswith(f"{row.id} must be erased, and is not: ")
            assert alert.endswith("it is tried again every minute")
            locked.close()
            wait_for(lambda: service.archive.store.recording(row.id).status is Status.ERASED)
    assert not Paths(service.archive).part(row.id).exists()
    assert [one for one in service.alerts if one.startswith(row.id)] == told


@pytest.mark.parametrize(("late", "alarms"), [(DAY - timedelta(seconds=1), 0), (DAY, 1)])
def test_what_should_be_gone_for_a_day_is_an_alarm(
    service: Service, monkeypatch: pytest.MonkeyPatch, late: timedelta, alarms: int
) -> None:
    keep(service.archive, recording())
    service.clock.passes(late)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(Path, "unlink", raising(PermissionError(1, "Operation not permitted")))
        service.one_turn()
    assert [line["event"] for line in logs] == ["forgotten", "purge_failed"]
    late_ones = [one for one in service.alerts if not one.startswith("root: ")]  # written by a rename
    assert late_ones == ["recordings that should have gone more than a day ago: 1"] * alarms


def test_a_wrong_clock_and_an_overdue_review_are_alarms(service: Service) -> None:
    """The clock was months ahead, and is right again: what it says of when they must go is as wrong."""
    service.clock.wall = START
    rows = [keep(service.archive, recording(minutes)) for minutes in (0, 24 * 60 - 1, 24 * 60 + 1)]
    service.one_turn()
    assert service.alerts == ["recordings that began after now, by a wrong clock, and will stay too long: 1"]
    hold = Hold(ground="criminal", reference="R", by="Durand", approved_by="Petit", review="2027-05-23")
    place(service.archive, rows[0].id, hold, Access(at=START, action="hold", by="Durand"))
    service.clock.passes(DUE - START)
    service.one_turn()
    assert service.alerts[1:] == ["holds whose review is overdue: 1; see `sipagent holds`"]
    assert service.archive.store.recording(rows[0].id).hold is not None


@pytest.mark.parametrize("left", [("retention.head",), ("roots",), ("recordings",), ()])
def test_a_database_that_was_lost_is_told_of_until_it_is_rebuilt(
    service: Service, left: tuple[str, ...]
) -> None:
    """By whatever tells of it; a first start has nothing beside it."""
    keep(service.archive, recording())
    service.clock.wall = DUE - DAY
    make_root(service.archive.store, service.clock.wall)
    service.archive.store.close()
    for name in {"retention.db", "retention.head", "roots", "recordings"} - {*left}:
        path = service.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    service.one_turn()
    assert service.alerts == [str(BEGUN_ANEW)] * len(left)
    with store_of(service.config()) as store:
        rebuild(archive_of(service.config(), store))
    service.one_turn()
    assert len(service.alerts) == len(left)


@pytest.mark.usefixtures("quick")
def test_whatever_goes_wrong_is_told_and_tried_again(service: Service) -> None:
    row, clock = keep(service.archive, recording()), service.clock
    faults: list[Exception] = [OSError("no disk"), ZeroDivisionError()]

    def failing() -> ClockReading:
        if faults:
            raise faults.pop(0)
        return clock()

    with running(Purging(service.config(), service.alerts.append, failing)):
        wait_for(lambda: service.archive.store.recording(row.id).status is Status.PURGED and clock.looks > 2)
    assert service.alerts == ["purge: no disk", "purge: ZeroDivisionError(), which nobody foresaw"]


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


def stamping(tsa: Authority) -> tuple[str, str]:
    return f'timestamp_url = "{tsa.url}"', f'timestamp_ca = "{tsa.ca}"'


def rebooted(service: Service) -> None:
    """The machine was off for months, and nothing disciplines its clock."""
    now = datetime.now(UTC)
    service.archive.store.add_receipt(receipt(recording()))
    look(service.archive.store, ClockReading("the boot before", now - timedelta(days=200), 1000.0))
    service.clock.wall, service.clock.synchronised = now, False


def test_head_and_roots_are_stamped_after_the_purge(service: Service, tsa: Authority) -> None:
    """A root that cannot be read is told of, and keeps nothing else from its stamp."""
    keep(service.archive, recording())
    make_root(service.archive.store, service.clock.wall)
    damaged = service.folder / "roots/2019-01-01.json"
    damaged.write_text("{")
    with capture_logs() as logs:
        service.one_turn(*stamping(tsa))
        wait_for(lambda: bool(service.alerts))
    assert "stamped" in [one["event"] for one in logs]
    (told,) = service.alerts
    assert told.startswith("stamp: ") and damaged.name in told
    damaged.unlink()
    last, head = newest(FolderStamps(service.folder / "stamps")), service.archive.store.head()
    assert last is not None and (last.seq, last.hash) == (head.seq, head.hash)
    assert service.archive.store.recordings()[0].status is Status.PURGED
    root, stamp = sorted((service.folder / "roots").iterdir())
    proved = read_answer(stamp.read_bytes())
    assert (root.stem, proved.digest.hex()) == (stamp.stem, read_root(root).root)


def test_a_time_stamp_ends_what_a_reboot_has_suspended(service: Service, tsa: Authority) -> None:
    """A suspended purge stamps all the same, and the next turn comes at once."""
    rebooted(service)
    with running(thread := service.make(*stamping(tsa))):
        wait_for(lambda: thread.last_success > 0)
    assert len(service.alerts) == 1 and "ahead by 200 days" in service.alerts[0]
    doubted, confirmed = service.archive.store.accesses()
    assert (doubted.action, confirmed.action) == ("clock_doubt", "clock_ok")
    assert (confirmed.detail or "").endswith("; confirmed: a time stamp")


def test_a_time_stamp_of_another_authority_ends_nothing(
    service: Service, tsa: Authority, tmp_path: Path
) -> None:
    rebooted(service)
    stamp_head(service.archive.store, tsa.url, tsa.ca)
    other = Authority(tmp_path / "other")
    assert proven(service.archive.store, tsa.ca)() is not None
    for ca in (None, other.ca, tmp_path / "absent.pem"):
        assert proven(service.archive.store, ca)() is None
    (stamp,) = (tmp_path / "stamps").iterdir()
    stamp.rename(stamp.with_name("1.tsr"))
    assert proven(service.archive.store, tsa.ca)() is None


@pytest.mark.parametrize("fault", [StampError("it: HTTP 500"), ZeroDivisionError()])
def test_an_authority_that_fails_is_told_and_none_is_asked_where_none_is_configured(
    service: Service, tsa: Authority, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    assert service.archive.store.head().seq == 1
    monkeypatch.setattr(purging, "stamp_head", raising(fault))
    service.one_turn()
    assert service.alerts == []
    service.one_turn(*stamping(tsa))
    wait_for(lambda: len(service.alerts) == 1)
    assert service.alerts[0].startswith("stamp: ")


def test_a_stop_between_two_steps_of_its_thread_is_not_lost(service: Service) -> None:
    """It waited for an hour, and the service's end for it."""
    assert service.archive.store.head().seq == 1
    thread = service.make()
    thread._over = Overtaken(thread._due)
    with running(thread):
        wait_for(lambda: not thread._thread.is_alive())


def test_a_silent_authority_delays_no_end(
    service: Service, tsa: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert service.archive.store.head().seq == 1
    asked, answers = threading.Event(), threading.Event()

    def silent(*_: object) -> None:
        asked.set()
        assert answers.wait(PATIENCE_S)

    monkeypatch.setattr(purging, "stamp_head", silent)
    with running(service.make(*stamping(tsa))):
        assert asked.wait(PATIENCE_S)
    assert not answers.is_set()
    answers.set()


def test_a_long_purge_ends_with_the_service(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.archive.store.head().seq == 1
    began = threading.Event()

    def long(*_: object, over: Callable[[], bool]) -> PurgeReport:
        began.set()
        wait_for(over)
        return PurgeReport(removed=())

    monkeypatch.setattr(purging, "purge", long)
    monkeypatch.setattr(purging, "overdue", lambda *_: pytest.fail("alarms of what was only interrupted"))
    with running(service.make()):
        assert began.wait(PATIENCE_S)
    assert service.alerts == []


def purging_of(config: Config, alerts: list[str]) -> Purging:
    return Purging(config, alerts.append, lambda: ClockReading("boot", datetime.now(UTC), 1000.0, True))


def marked(config: Config) -> tuple[Marks, Recording]:
    """A refusal whose mark is on the disk of this host; a start asks the journal alone, which has none."""
    row, marks = recording(status=Status.CLOSED), Marks(config.recording.directory)
    marks.sync(marks.make(Mark.of(receipt(row, decision="refused", decided_by="dtmf"), row.started_at)))
    return marks, row


def start(config: Config, alerts: list[str]) -> None:
    with journal_of(config) as journal:
        recover(archive_of(config, journal), "flac", datetime.now(UTC), alerts.append)


def test_one_host_purges_at_a_time_and_obeys_marks_whose_rows_have_left_its_journal(
    tmp_path: Path, database: str, alerts: list[str]
) -> None:
    config = config_of(tmp_path, database)
    thread, (marks, row) = purging_of(config, alerts), marked(config)
    with store_of(config) as shared:
        with shared.alone(PURGING):
            thread._turn()
            assert thread.last_success == 0.0
        thread._turn()
        assert thread.last_success > 0.0 and alerts == []
        shared.keep_many([receipt(row)], [row], ())
        start(config, alerts)
        assert marks.ids() == [row.id]
        purging_of(config, alerts)._erase()
        assert shared.recording(row.id).status is Status.ERASED
        assert shared.receipt(row.id).decision == "refused" and marks.ids() == []


def test_without_the_database_a_mark_waits(tmp_path: Path, alerts: list[str]) -> None:
    config = config_of(tmp_path, NOBODY)
    thread, (marks, row) = purging_of(config, alerts), marked(config)
    start(config, alerts)
    thread._erase()
    assert marks.ids() == [row.id] and thread.failures == {}


def test_a_step_that_fails_is_told_and_counted_once(tmp_path: Path, alerts: list[str]) -> None:
    def fails() -> None:
        raise OSError("no room")

    thread = purging_of(config_of(tmp_path, NOBODY), alerts)
    thread._do("root", fails)
    assert thread.failures == {"root": 1} and alerts == ["root: no room"]
