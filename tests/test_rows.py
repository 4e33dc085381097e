"""What the database does not take just now waits, in order, and is written; nothing is lost silently."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from media.recording.tap import Tap
from retention.archive import Archive
from retention.purge import purge
from retention.records import Event, Receipt, Status, Sum, due_date
from retention.reserve import Reserve, read_reserve, take_in
from retention.rows.counts import RECEIPTS_AN_HOUR
from retention.rows.rows import HeadNotWritten, StoreError, TryAgain, UnknownId
from retention.sqlite import Store
from retention.verify import verify
from sipagent.agent import row_writer as rows_module
from sipagent.agent.recorder import Recorder, recover
from sipagent.agent.row_writer import RowWriter
from tests import kept
from tests.full_disk import fill
from tests.kept import START, TERMS, Paths, archive_of, receipt, recording, sqlite
from tests.locking import hurry, locked
from tests.raising import no_room, raising
from tests.read_only import is_immutable, read_only
from tests.settling import settle
from tests.tapping import PATIENCE_S, RATE, feed, wait_for, writer_threads
from tests.test_recorder import CLOSING, NOW, files
from tests.test_rejections import rejected

ROW = recording()
BEGUN = receipt(ROW, ended_at=None, outcome=None)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def reserve(tmp_path: Path) -> Reserve:
    return Reserve(tmp_path / "retention.reserve", 2)


@pytest.fixture
def rows(archive: Archive, reserve: Reserve, alerts: list[str]) -> Iterator[RowWriter]:
    rows = RowWriter(archive.store, reserve, alerts.append)
    rows.start()
    yield rows
    if rows._writer.is_alive():
        rows.stop()


def done(rows: RowWriter) -> None:
    assert rows.put("", lambda: None).done.wait(PATIENCE_S)


def line(count: int) -> tuple[Event, ...]:
    return tuple(Event(at=START, what=f"line {number}") for number in range(count))


def known(archive: Archive, id: str = ROW.id) -> bool:
    try:
        archive.store.receipt(id)
    except UnknownId:
        return False
    return True


# --- where all is well ---


def test_what_is_put_is_written_in_order(rows: RowWriter, archive: Archive, reserve: Reserve) -> None:
    seen: list[int] = []
    head = archive.store.head().seq
    rows.keep_receipt(BEGUN)
    for number in range(20):
        rows.put(f"{number % 3}", lambda number=number: seen.append(number))  # type: ignore[misc]
    rows.keep_receipt(receipt(ROW))
    done(rows)
    assert seen == list(range(20)) and archive.store.receipt(ROW.id) == receipt(ROW)
    assert rows.waiting == rows.lost == rows.faults == 0
    for count in range(4):  # where there is time, each state is an entry of the chain
        rows.keep_receipt(replace(BEGUN, events=line(count)))
        done(rows)
    assert archive.store.head().seq in (head + 5, head + 6)
    wait_for(lambda: reserve.is_empty)  # which had all of it where the writer was slow, until it has done all


# --- what may wait for the recording's row ---


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "JOIN_S", PATIENCE_S * 10)


@pytest.mark.usefixtures("patient")
def test_a_receipt_that_allows_is_written_in_one_transaction_with_the_row_that_follows(
    rows: RowWriter, archive: Archive, alerts: list[str]
) -> None:
    tries: list[bool] = []

    def row() -> None:
        tries.append(known(archive))
        archive.store.add_recording(ROW)
        if len(tries) == 1:
            raise TryAgain("the disk is full")

    rows.keep_receipt(BEGUN, may_wait=True)
    done(rows)
    assert rows.waiting == 1 and not known(archive)
    task = rows.open(ROW, row)
    wait_for(lambda: len(alerts) == 1)
    assert task.done.wait(PATIENCE_S) and task.fault is None and tries == [True, True]
    assert archive.store.receipt(ROW.id) == BEGUN and archive.store.recording(ROW.id) == ROW
    rows.keep_receipt(receipt(ROW), may_wait=True)
    task = rows.join(ROW.id, lambda: archive.store.update_recording(replace(ROW, flagged=True)))
    assert task.done.wait(PATIENCE_S)
    assert archive.store.receipt(ROW.id) == receipt(ROW) and rows.waiting == 0
    assert verify(archive).problems == []


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("fault", [StoreError("no"), RuntimeError("no"), None])
def test_a_receipt_is_not_lost_with_the_row_that_it_was_to_be_written_with(
    rows: RowWriter, archive: Archive, reserve: Reserve, fault: Exception | None
) -> None:
    def row() -> None:
        if fault:
            raise fault

    rows.keep_receipt(BEGUN, may_wait=True)
    if fault:
        task = rows.open(ROW, row)
        assert task.done.wait(PATIENCE_S) and task.fault is fault
    rows.stop()  # and at the end it waits for no row any more
    take_in(archive.store, reserve.path)
    assert archive.store.receipt(ROW.id) == BEGUN and rows.lost == 0


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("state", ["undecided", "not_allowed", "refused"])
def test_a_receipt_that_does_not_allow_waits_for_no_row(
    rows: RowWriter, archive: Archive, state: str
) -> None:
    rows.keep_receipt(BEGUN, may_wait=True)
    rows.keep_receipt(replace(BEGUN, decision=state), may_wait=True)
    done(rows)
    assert archive.store.receipt(ROW.id).decision == state


def test_a_receipt_that_nothing_follows_is_written_soon(
    rows: RowWriter, archive: Archive, reserve: Reserve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows_module, "SECURE_S", PATIENCE_S)
    rows.keep_receipt(BEGUN, may_wait=True)
    wait_for(lambda: known(archive))
    assert rows.waiting == 0 and reserve.is_empty


# --- where it is not ---


def test_while_the_database_is_locked_the_newest_states_wait_and_are_written_then(
    rows: RowWriter, archive: Archive, reserve: Reserve, alerts: list[str], tmp_path: Path
) -> None:
    other = recording(1)
    with locked(tmp_path):
        for count in range(5):
            rows.keep_receipt(replace(BEGUN, events=line(count)))
        rows.keep_receipt(receipt(other, ended_at=None))
        rows.keep_receipt(receipt(other))
        wait_for(lambda: len(read_reserve(reserve.path)) == 2)
        wait_for(lambda: len(alerts) == 1)
        assert rows.waiting == 2
    wait_for(lambda: rows.waiting == 0)
    done(rows)
    assert archive.store.receipt(ROW.id).events == line(4)
    assert archive.store.receipt(other.id) == receipt(other)
    assert "database is locked; what is to be written waits" in alerts[0] and len(alerts) == 1
    wait_for(lambda: reserve.is_empty)
    assert not any(reserve.path.read_bytes()) and verify(archive).problems == []


def test_a_full_disk_holds_up_no_other_call_than_that_it_is_about(
    rows: RowWriter, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    erased = threading.Event()
    with monkeypatch.context() as patch:
        fill(patch, lambda: not erased.is_set())
        rows.keep_receipt(BEGUN)
        seen: list[str] = []
        rows.put(ROW.id, lambda: seen.append("after its receipt"))
        rows.put("other", erased.set)
        done(rows)
        wait_for(lambda: seen == ["after its receipt"])
    assert archive.store.receipt(ROW.id) == BEGUN


@pytest.mark.parametrize(("error", "told"), [
    (UnknownId("no such id"), "rows: no such id"),
    (ZeroDivisionError(), "rows: ZeroDivisionError(), which nobody foresaw"),
])  # fmt: skip
def test_an_order_within_a_call_is_kept_while_it_is_tried_again_and_what_fails_for_good_is_told(
    rows: RowWriter, alerts: list[str], error: Exception, told: str
) -> None:
    seen: list[str] = []
    fails = [error, *(TryAgain("not now") for _ in range(3))]

    def stubborn() -> None:
        raise fails.pop()

    task = rows.put("a", stubborn)
    rows.put("a", lambda: seen.append("second"))
    rows.put("b", lambda: seen.append("other"))
    done(rows)
    wait_for(lambda: "second" in seen)
    assert seen == ["other", "second"] and task.fault is error
    assert alerts == ["rows: not now; what is to be written waits", told] and rows.faults == 2


def test_a_receipt_that_is_refused_for_good_is_counted_and_waits_no_longer(
    rows: RowWriter, archive: Archive, reserve: Reserve, alerts: list[str]
) -> None:
    """Its row is damaged: nothing can be written over it."""
    archive.store.add_receipt(BEGUN)
    with archive.store.write():
        sqlite(archive.store).execute("DROP TRIGGER receipts_come_once")
        sqlite(archive.store).execute(
            "CREATE TRIGGER never BEFORE UPDATE ON receipts BEGIN SELECT RAISE(ABORT, 'never'); END"
        )
    rows.keep_receipt(receipt(ROW))
    done(rows)
    wait_for(lambda: [one.count for one in archive.store.each_sum()] == [1])
    assert rows.waiting == 0 and rows.lost == 1 and len(alerts) == 1 and alerts[0].endswith(": never")
    wait_for(lambda: reserve.is_empty)


def test_a_head_that_cannot_be_written_is_told_and_the_rows_are_written_once(
    rows: RowWriter, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Store, "_export", raising(HeadNotWritten("retention.head: No space left on device")))
        rows.keep_receipt(BEGUN)
        done(rows)
    assert archive.store.receipt(ROW.id) == BEGUN
    assert alerts == ["rows: retention.head: No space left on device"] and rows.waiting == 0


# --- the end, and the next start ---


def test_what_waits_at_the_end_is_in_the_reserve_for_the_next_start(
    rows: RowWriter, archive: Archive, reserve: Reserve, tmp_path: Path
) -> None:
    with locked(tmp_path):
        rows.keep_receipt(BEGUN)
        rows.keep_receipt(receipt(ROW))
        for _ in range(RECEIPTS_AN_HOUR + 3):
            rows.keep_rejected(rejected())
        rows.stop()
    assert archive.store.receipts() == []
    assert take_in(archive.store, reserve.path) == [ROW.id]
    assert archive.store.receipts() == [receipt(ROW)]
    (told,) = archive.store.each_sum()
    assert (told.what, told.count) == ("rejected", RECEIPTS_AN_HOUR + 3)
    assert verify(archive).problems == []


@pytest.fixture
def killed_in_a_call(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """A process records a call whose database is locked from before its receipt on, and is killed in it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})

    def run(then: Callable[[Recorder, Tap], None] = lambda recorder, tap: None) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            record_and_wait(tmp_path, writing, then)
        assert os.read(reading, 1) == b"o"
        with locked(tmp_path):
            os.kill(child, signal.SIGUSR1)
            assert os.read(reading, 1) == b"."
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        for descriptor in (reading, writing):
            os.close(descriptor)

    yield run
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


CALL = recording(id="20261124T222000123-482913")


def record_and_wait(folder: Path, pipe: int, then: Callable[[Recorder, Tap], None]) -> None:
    """The process: a second of sound, and what comes then."""
    archive = kept.archive(folder)
    recorder = Recorder(archive, "wav", lambda _: None, (), Reserve(folder / "retention.reserve", 2))
    recorder.start()
    os.write(pipe, b"o")
    signal.sigwait({signal.SIGUSR1})
    recorder.keep_receipt(receipt(CALL, ended_at=None, outcome=None))
    tap = recorder.begin(CALL, lambda *_: os._exit(9))
    part = Paths(archive).part(CALL.id)
    wait_for(lambda: tap._backlog._accepting)
    feed(tap, 0, RATE)
    wait_for(lambda: part.stat().st_size > 2 * 2 * RATE)
    then(recorder, tap)
    os.write(pipe, b".")
    signal.pause()


def started_again(tmp_path: Path, alerts: list[str]) -> Archive:
    archive = kept.archive(tmp_path)
    assert archive.store.receipts() == []
    recover(archive, "wav", NOW, alerts.append)
    assert (verify(archive).problems, alerts) == ([], [])
    return archive


@pytest.mark.parametrize("ended", [False, True])
def test_what_waits_at_a_kill_is_in_the_reserve_too(
    tmp_path: Path, alerts: list[str], killed_in_a_call: Callable[..., None], ended: bool
) -> None:
    def end(recorder: Recorder, tap: Tap) -> None:
        recorder.keep(tap, CALL, CLOSING)
        recorder.keep_receipt(receipt(CALL))
        wait_for(lambda: files(recorder.archive) == ["wav"])
        assert recorder._rows.secure()

    killed_in_a_call(*[end][:ended])
    archive = started_again(tmp_path, alerts)
    (row,), (call,) = archive.store.recordings(), archive.store.receipts()
    assert (row.status, row.incomplete, files(archive)) == (Status.CLOSED, not ended, ["json", "wav"])
    if ended:
        assert call == receipt(CALL)
    else:
        assert (row.duration_s or 0) >= 0.9 and row.expires_at == CALL.expires_at
        assert (call.decision, call.outcome) == ("allowed", "failed")
    archive.store.close()


REFUSED = receipt(CALL, ended_at=None, decision="refused", decided_by="dtmf")


@pytest.mark.parametrize("kept_first", [True, False])
def test_who_refused_by_then_is_not_kept(
    tmp_path: Path, alerts: list[str], killed_in_a_call: Callable[..., None], kept_first: bool
) -> None:
    """In the reserve the call is still allowed: the mark is believed."""

    def refuse(recorder: Recorder, tap: Tap) -> None:
        recorder._rows.secure = lambda: True  # type: ignore[method-assign]
        if kept_first:
            recorder.keep(tap, CALL, CLOSING)
            wait_for(lambda: files(recorder.archive) == ["wav"])
            recorder.erase_kept(REFUSED, NOW)
        else:
            recorder.erase(tap, REFUSED, NOW)

    killed_in_a_call(refuse)
    archive = started_again(tmp_path, alerts)
    (row,), (call,) = archive.store.recordings(), archive.store.receipts()
    assert (row.status, row.decision, files(archive)) == (Status.ERASED, "refused", [])
    assert (call.decision, call.decided_by) == ("refused", "dtmf")
    archive.store.close()


def test_where_neither_mark_nor_row_can_be_made_the_reserve_tells_who_refused(
    tmp_path: Path, alerts: list[str], killed_in_a_call: Callable[..., None]
) -> None:
    def refuse(recorder: Recorder, tap: Tap) -> None:
        held = recorder._rows._reserve
        assert held is not None
        folder = Paths(recorder.archive).recordings
        if os.geteuid() != 0:
            folder.chmod(0o500)
        else:
            assert is_immutable(folder, True)
        recorder.erase(tap, REFUSED, NOW)
        wait_for(lambda: REFUSED in read_reserve(held.path))

    folder = tmp_path / "recordings"
    with read_only(tmp_path, here=False):
        pass  # or skipped
    try:
        killed_in_a_call(refuse)
        assert files(archive_of(Store(":memory:"), folder, tmp_path)) == ["part"]
    finally:
        is_immutable(folder, False)
        folder.chmod(0o700)
    archive = started_again(tmp_path, alerts)
    assert (archive.store.recordings()[0].status, files(archive)) == (Status.ERASED, [])
    assert archive.store.receipt(CALL.id).decision == "refused"
    archive.store.close()


# --- a recording that begins meanwhile ---


@pytest.fixture
def recorder(archive: Archive, reserve: Reserve, alerts: list[str]) -> Iterator[Recorder]:
    recorder = Recorder(archive, "wav", alerts.append, (), reserve)
    recorder.start()
    yield recorder
    recorder.stop()


def test_a_recording_does_not_wait_for_its_row(
    recorder: Recorder, archive: Archive, reserve: Reserve, tmp_path: Path
) -> None:
    before = set(writer_threads())
    with locked(tmp_path):
        recorder.keep_receipt(BEGUN)
        tap = recorder.begin(ROW, lambda reason, _: pytest.fail(reason))
        # The file has its name before the tap takes sound.
        wait_for(lambda: bool(set(writer_threads()) - before))
        assert files(archive) == ["part"]
        assert read_reserve(reserve.path) == [BEGUN, ROW]
        feed(tap, 0, RATE)
        recorder.keep(tap, ROW, CLOSING)
        recorder.keep_receipt(receipt(ROW))
        wait_for(lambda: files(archive) == ["wav"])
    settle(recorder)
    done = archive.store.recording(ROW.id)
    assert (done.status, done.duration_s, done.incomplete) == (Status.CLOSED, 1.0, False)
    assert archive.store.receipt(ROW.id) == receipt(ROW) and files(archive) == ["json", "wav"]
    wait_for(lambda: reserve.is_empty)
    assert verify(archive).problems == []


def test_without_row_and_without_reserve_nothing_is_recorded(
    recorder: Recorder,
    archive: Archive,
    reserve: Reserve,
    alerts: list[str],
    *,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    failed: list[str] = []
    settle(recorder)
    monkeypatch.setattr(reserve, "_size", 64)
    with locked(tmp_path):
        recorder.keep_receipt(BEGUN)
        tap = recorder.begin(ROW, lambda reason, _: failed.append(reason))
        wait_for(lambda: failed == ["its row can be written nowhere"])
        assert files(archive) == [] and "rows: the reserve takes nothing: it has no room" in alerts
        recorder.keep(tap, ROW, CLOSING)
    settle(recorder)
    assert (archive.store.recording(ROW.id).status, files(archive)) == (Status.FAILED, [])


def test_where_no_reserve_can_be_had_a_recording_waits_for_its_row(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "posix_fallocate", no_room())
    recorder = Recorder(archive, "wav", alerts.append, (), Reserve(tmp_path / "retention.reserve", 2))
    recorder.start()
    assert alerts == ["rows: retention.reserve cannot be allocated: No space left on device"]
    recorder.keep_receipt(BEGUN)
    tap = recorder.begin(ROW, lambda reason, _: pytest.fail(reason))
    settle(recorder)
    assert files(archive) == ["part"]
    feed(tap, 0, RATE)
    monkeypatch.setattr(rows_module, "WITHOUT_S", 0.1)
    failed: list[str] = []
    with locked(tmp_path):
        recorder.begin(recording(1), lambda reason, _: failed.append(reason))
        wait_for(lambda: failed == ["its row can be written nowhere"])
    recorder.erase(tap, receipt(ROW, decision="refused"), NOW)
    recorder.stop()
    assert files(archive) == []


def test_a_row_that_is_refused_for_good_begins_no_recording(recorder: Recorder, archive: Archive) -> None:
    failed: list[str] = []
    archive.store.add_recording(ROW)
    recorder.begin(ROW, lambda reason, _: failed.append(reason))
    settle(recorder)
    assert len(failed) == 1 and "never replaced" in failed[0] and files(archive) == []


# --- more than there is room for ---


def test_what_there_is_no_room_for_is_counted_alarmed_and_told_in_the_chain(
    rows: RowWriter, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rows_module, "WAITING", 3)
    calls = [recording(minute) for minute in range(8)]
    with locked(tmp_path):
        for row in calls:
            rows.keep_receipt(receipt(row, recording_id=None, ended_at=None))
            rows.keep_receipt(receipt(row, recording_id=None))
        rows.keep_receipt(receipt(recording(9)))  # of one that was recorded
    wait_for(lambda: rows.waiting == 0)
    done(rows)
    assert len(archive.store.receipts()) == 4 and rows.lost == 5
    assert any("there is no room for more receipts" in alert for alert in alerts)
    wait_for(lambda: len(list(archive.store.each_sum())) == 1)
    (lost,) = archive.store.each_sum()
    ended = receipt(calls[-1]).ended_at
    assert (lost.what, lost.count, lost.from_at, lost.until_at) == ("lost", 5, calls[3].started_at, ended)
    (told,) = verify(archive).lost
    assert told.where == "receipts" and told.problem.startswith("5 could not be written, between 2026-11-24T")
    assert verify(archive).problems == []


def test_what_has_no_room_in_the_reserve_at_the_end_is_counted_there(
    archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("retention.reserve.BASE", 3000)
    reserve = Reserve(tmp_path / "retention.reserve", 0)
    rows = RowWriter(archive.store, reserve, alerts.append)
    rows.start()
    with locked(tmp_path):
        rows.keep_receipt(receipt(ROW))
        for minute in range(1, 60):
            noise = os.urandom(40).hex()
            rows.keep_receipt(receipt(recording(minute), recording_id=None, call_id=noise))
        rows.stop()
    left = read_reserve(reserve.path)
    receipts = [one for one in left if isinstance(one, Receipt)]
    (lost,) = [one for one in left if isinstance(one, Sum)]
    assert receipt(ROW) in receipts and len(receipts) + lost.count == 60 and lost.count > 10
    assert lost.what == "lost" and f"rows: {lost.count} receipts could not be kept" in alerts
    take_in(archive.store, reserve.path)
    assert len(archive.store.receipts()) == len(receipts) and verify(archive).problems == []


# --- personal fields ---


def test_what_was_purged_since_does_not_come_back_out_of_it(
    archive: Archive, reserve: Reserve, tmp_path: Path
) -> None:
    """A kill came between the rows and the emptying, and nobody started it for a year."""
    reserve.allocate()
    reserve.write([receipt(ROW)])
    archive.store.add_receipt(receipt(ROW, expires_at=due_date(START, "6 months")))
    purge(archive, due_date(START, "1 year"), TERMS)
    take_in(archive.store, reserve.path)
    assert archive.store.receipt(ROW.id).caller is None
