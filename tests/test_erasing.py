"""A refusal waits for nobody: not for the database, nor for what is still being made of the recording."""

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from media.recording import assemble as assembling
from media.recording.tap import Tap
from retention.archive import Archive
from retention.marks import Marks
from retention.records import Recording, Status
from retention.vault import Identity, Vault, public_line
from retention.verify import verify
from sipagent.agent.recorder import Recorder, recover
from tests import kept
from tests.kept import Paths, receipt, recording
from tests.locking import locked
from tests.settling import settle
from tests.tapping import PATIENCE_S, RATE, feed, wait_for
from tests.test_recorder import CLOSING, NOW, files

ANN = Identity(bytes([1]) * 32, "Ann")
DECISIONS: tuple[dict[str, Any], ...] = (
    {"decision": "refused", "decided_by": "dtmf", "phase": "call"},
    {"decision": "not_allowed", "decided_by": "operator", "phase": "call"},
    {"decision": "not_allowed", "decided_by": "unclear", "phase": "call"},
)
WHY = ["refused", "stopped", "unclear"]


@pytest.fixture
def recorder(archive: Archive, tmp_path: Path, alerts: list[str]) -> Iterator[Recorder]:
    """One that seals to Ann."""
    public = tmp_path / "ann.pub"
    public.write_text(public_line(ANN.public))
    recorder = Recorder(archive, "flac", alerts.append, (public,))
    recorder.start()
    yield recorder
    recorder.stop()


def begin(recorder: Recorder, row: Recording) -> Tap:
    """A tap that has been fed for a second."""
    recorder.keep_receipt(receipt(row, ended_at=None, outcome=None))
    tap = recorder.begin(row, pytest.fail)
    settle(recorder)
    feed(tap, 0, RATE)
    return tap


def left(archive: Archive) -> list[str]:
    return sorted([*files(archive), *("key" for _ in archive.vault.ids())])


# --- at once ---


@pytest.mark.parametrize("told", DECISIONS, ids=WHY)
def test_the_mark_is_there_before_the_call_goes_on(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    """Whoever kills the process from here on keeps nothing."""
    row, go_on = recording(), threading.Event()
    tap = begin(recorder, row)
    recorder._erasing._eraser.put(lambda: assert_true(go_on.wait(PATIENCE_S)))
    recorder.erase(tap, receipt(row, ended_at=None, **told), NOW)
    assert archive.marks.ids() == [row.id]
    found = archive.marks.read(row.id)
    assert found is not None and (found.decision, found.decided_by, found.phase) == tuple(told.values())
    go_on.set()
    settle(recorder)
    assert left(archive) == []


def assert_true(waited: bool) -> None:
    assert waited


def test_a_disk_that_does_not_answer_holds_no_call_up(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its writer has taken nothing for seconds: the mark is made by a thread that may wait."""
    row, answers = recording(), threading.Event()
    tap = begin(recorder, row)
    make = Marks.make

    def hangs(*arguments: Any) -> int:
        assert answers.wait(PATIENCE_S)
        return make(*arguments)

    monkeypatch.setattr(Marks, "make", hangs)
    with tap._file_lock:  # the writer waits for the disk
        feed(tap, RATE, 4 * RATE)
        recorder.erase(tap, receipt(row, ended_at=None, **DECISIONS[0]), NOW)
        assert archive.marks.ids() == [] and archive.marks.forbidden(row.id)
    answers.set()
    settle(recorder)
    assert (archive.store.recording(row.id).status, left(archive)) == (Status.ERASED, [])


def test_the_sound_goes_while_its_writer_waits_for_the_disk(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    tap = begin(recorder, row)
    with tap._file_lock:
        recorder.erase(tap, receipt(row, ended_at=None, **DECISIONS[0]), NOW)
        wait_for(lambda: left(archive) == ["refused"])
    settle(recorder)
    assert (archive.store.recording(row.id).status, left(archive)) == (Status.ERASED, [])


# --- the database ---


@pytest.mark.parametrize("told", DECISIONS, ids=WHY)
def test_while_the_database_is_locked_the_sound_goes(
    recorder: Recorder, archive: Archive, alerts: list[str], tmp_path: Path, told: dict[str, Any]
) -> None:
    row = recording()
    tap = begin(recorder, row)
    assert left(archive) == ["key", "part"]
    with locked(tmp_path):
        recorder.erase(tap, receipt(row, ended_at=None, **told), NOW)
        wait_for(lambda: left(archive) == ["refused"])
    settle(recorder)
    done = archive.store.recording(row.id)
    assert (done.status, done.decision, left(archive)) == (Status.ERASED, told["decision"], [])
    assert (archive.store.receipt(row.id).decided_by, alerts) == (told["decided_by"], [])


def test_what_was_kept_and_is_then_refused_goes_as_soon(
    recorder: Recorder, archive: Archive, alerts: list[str], tmp_path: Path
) -> None:
    row = recording()
    recorder.keep(begin(recorder, row), row, CLOSING)
    settle(recorder)
    assert left(archive) == ["json", "key", "sealed"]
    with locked(tmp_path):
        recorder.erase_kept(receipt(row, **DECISIONS[0]), NOW)
        wait_for(lambda: left(archive) == ["refused"])
    settle(recorder)
    assert (archive.store.recording(row.id).status, left(archive), alerts) == (Status.ERASED, [], [])


def test_what_an_operator_has_erased_after_it_was_kept_waits_for_its_row(
    recorder: Recorder, archive: Archive, tmp_path: Path
) -> None:
    """It may be on hold: only the caller's own refusal goes before that. Its mark is there all the same."""
    row = recording()
    recorder.keep(begin(recorder, row), row, CLOSING)
    settle(recorder)
    with locked(tmp_path):
        recorder.erase_kept(receipt(row, **DECISIONS[1]), NOW)
        wait_for(lambda: "refused" in left(archive))
        settle_erasing(recorder)
        assert left(archive) == ["json", "key", "refused", "sealed"]
    settle(recorder)
    assert (archive.store.recording(row.id).status, left(archive)) == (Status.ERASED, [])


def settle_erasing(recorder: Recorder) -> None:
    for worker in (recorder._erasing._mark, recorder._erasing._eraser):
        done = threading.Event()
        worker.put(done.set)
        assert done.wait(PATIENCE_S)


def test_refused_while_its_row_waits_it_never_begins(
    recorder: Recorder, archive: Archive, alerts: list[str], tmp_path: Path
) -> None:
    """Neither a key nor a part of it ever appears."""
    failed: list[str] = []
    row = recording()
    recorder.keep_receipt(receipt(row, ended_at=None, outcome=None))
    settle(recorder)
    with locked(tmp_path):
        tap = recorder.begin(row, failed.append)
        recorder.erase(tap, receipt(row, ended_at=None, **DECISIONS[0]), NOW)
        wait_for(lambda: left(archive) == ["refused"])
    settle(recorder)
    assert (left(archive), failed, alerts) == ([], [], [])
    assert [one.status for one in archive.store.recordings()] == [Status.ERASED]
    assert archive.store.receipt(row.id).decision == "refused"
    assert verify(archive).problems == []


@pytest.mark.parametrize("at", ["the key", "the part"])
def test_refused_at_the_very_moment_nothing_of_it_stays(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch, alerts: list[str], at: str
) -> None:
    """Between its row and its key, and between its key and its part."""
    failed: list[str] = []
    row, reached, go_on = recording(), threading.Event(), threading.Event()

    def waits(call: Callable[..., Any]) -> Callable[..., Any]:
        def waiting(*arguments: Any) -> Any:
            reached.set()
            assert go_on.wait(PATIENCE_S)
            return call(*arguments)

        return waiting

    place, name = (Vault, "create") if at == "the key" else (Tap, "start")
    monkeypatch.setattr(place, name, waits(getattr(place, name)))
    recorder.keep_receipt(receipt(row, ended_at=None, outcome=None))
    tap = recorder.begin(row, failed.append)
    assert reached.wait(PATIENCE_S)
    recorder.erase(tap, receipt(row, ended_at=None, **DECISIONS[0]), NOW)
    settle_erasing(recorder)
    assert left(archive) == ["refused"]
    go_on.set()
    settle(recorder)
    assert (left(archive), failed, alerts) == ([], [], [])
    assert archive.store.recording(row.id).status is Status.ERASED


# --- what is being made of it ---


@pytest.mark.parametrize("step", ["_encode", "_checksum", "_sync"])
def test_refused_while_the_file_is_made_no_file_comes_after_it(
    archive: Archive,
    recorder: Recorder,
    alerts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    if step != "_sync":  # which is a step of what is sealed
        recorder.reload("flac", ())
    row, reached, go_on = recording(), threading.Event(), threading.Event()
    call = getattr(assembling, step)

    def waiting(*arguments: Any) -> Any:
        reached.set()
        assert go_on.wait(PATIENCE_S)
        return call(*arguments)

    monkeypatch.setattr(assembling, step, waiting)
    recorder.keep(begin(recorder, row), row, CLOSING)
    assert reached.wait(PATIENCE_S)
    recorder.erase_kept(receipt(row, **DECISIONS[0]), NOW)
    settle_erasing(recorder)
    assert left(archive) == ["refused"]
    go_on.set()
    settle(recorder)
    assert (archive.store.recording(row.id).status, left(archive), alerts) == (Status.ERASED, [], [])


# --- where no mark can be made ---


@pytest.mark.parametrize("call", ["open", "write", "fsync"])
def test_without_a_mark_the_sound_goes_all_the_same(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    row = recording()
    tap = begin(recorder, row)
    make, sync = Marks.make, Marks.sync

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def torn(marks: Marks, mark: Any) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "write", full)
            return make(marks, mark)

    monkeypatch.setattr(Marks, "make", {"open": full, "write": torn, "fsync": make}[call])
    monkeypatch.setattr(Marks, "sync", full if call == "fsync" else sync)
    recorder.erase(tap, receipt(row, ended_at=None, **DECISIONS[0]), NOW)
    settle(recorder)
    assert left(archive) == [] and archive.store.receipt(row.id).decision == "refused"
    assert len(alerts) == 1 and "No space left" in alerts[0]


# --- kill -9 ---


def die_refusing(folder: Path, pipe: int, told: dict[str, Any]) -> None:
    """A process that is being told to erase while its database is locked; it says when the mark is there."""
    archive = kept.archive(folder)
    recorder = Recorder(archive, "wav", lambda _: None)
    recorder.start()
    row = recording(id="20261124T222000123-482913")
    tap = begin(recorder, row)
    wait_for(lambda: Paths(archive).part(row.id).stat().st_size > 0)
    make = Marks.make

    def made(*arguments: Any) -> int:
        descriptor = make(*arguments)
        os.write(pipe, b"marked")
        signal.pause()  # nothing of what follows is done
        return descriptor

    setattr(Marks, "make", made)  # noqa: B010 - for good: this process is killed
    os.write(pipe, b"begun ")
    signal.sigwait({signal.SIGUSR1})
    recorder.erase(tap, receipt(row, ended_at=None, **told), NOW)
    signal.pause()


@pytest.mark.parametrize("told", DECISIONS, ids=WHY)
def test_killed_right_after_the_mark_the_next_start_keeps_nothing(
    tmp_path: Path, alerts: list[str], told: dict[str, Any]
) -> None:
    """The database was locked all the time: its receipt says `allowed`."""
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    child = os.fork()
    if child == 0:
        die_refusing(tmp_path, writing, told)
    assert os.read(reading, 6) == b"begun "
    with locked(tmp_path):
        os.kill(child, signal.SIGUSR1)
        assert os.read(reading, 6) == b"marked"
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    for descriptor in (reading, writing):
        os.close(descriptor)
    archive = kept.archive(tmp_path)
    (before,) = archive.store.receipts()
    assert (before.decision, left(archive)) == ("allowed", ["part", "refused"])
    recover(archive, "wav", NOW, alerts.append)
    (row,), (call,) = archive.store.recordings(), archive.store.receipts()
    assert (row.status, row.decision, left(archive)) == (Status.ERASED, told["decision"], [])
    assert (call.decision, call.decided_by, call.phase) == tuple(told.values())
    assert (verify(archive).problems, alerts) == ([], [])
    archive.store.close()


def test_refusals_of_many_at_once_have_their_marks_before_any_is_erased(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """The disk is slow: nobody's mark waits for another's to be synced."""
    rows, go_on = [recording(minutes) for minutes in range(5)], threading.Event()
    taps = [begin(recorder, row) for row in rows]
    sync = Marks.sync

    def slow(marks: Marks, descriptor: int) -> None:
        assert go_on.wait(PATIENCE_S)
        sync(marks, descriptor)

    monkeypatch.setattr(Marks, "sync", slow)
    for row, tap in zip(rows, taps, strict=True):
        recorder.erase(tap, replace(receipt(row, ended_at=None), **DECISIONS[0]), NOW)
    wait_for(lambda: archive.marks.ids() == sorted(row.id for row in rows))
    go_on.set()
    settle(recorder)
    assert left(archive) == []
