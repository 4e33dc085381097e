"""What is kept of calls: the order in which it happens, and faults on the way."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from media.recording.assemble import AssemblyError, Finished, Format, assemble
from media.recording.chunks import Kind, read_part
from media.recording.tap import Channel, Tap, TapError
from retention.archive import Archive
from retention.files import Naming
from retention.recording_files import LocalFiles
from retention.records import Recording, Status
from retention.rows.rows import StoreError
from retention.sqlite import Store
from sipagent.agent.recorder import Closing, Recorder
from sipagent.agent.row_writer import Worker
from tests.kept import OPERATOR, Paths, receipt, recording
from tests.settling import empty, settle
from tests.tapping import PATIENCE_S, feed, wait_for

NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
CLOSING = Closing(ended_at=NOW, operator=OPERATOR, flagged=False)


@pytest.fixture
def recorder(archive: Archive, alerts: list[str]) -> Iterator[Recorder]:
    recorder = Recorder(archive, "wav", alerts.append)
    recorder.start()
    yield recorder
    if recorder._quick._thread.is_alive():
        recorder.stop()


def files(archive: Archive) -> list[str]:
    return sorted(name.partition(".")[2] for name, _ in archive.names())


def begin(recorder: Recorder, row: Recording, seconds: int = 2) -> Tap:
    """A tap that has been fed for so long."""
    recorder.keep_receipt(receipt(row, ended_at=None, outcome=None))
    tap = recorder.begin(row, pytest.fail)
    settle(recorder)
    feed(tap, 0, seconds * 8000)
    return tap


# --- a call that goes well, or not ---


def test_a_kept_recording_is_a_file_with_its_row(recorder: Recorder, archive: Archive) -> None:
    row = recording(decision="allowed", operator=None)
    tap = begin(recorder, row)
    assert archive.store.recording(row.id).status is Status.OPEN
    recorder.keep(tap, row, replace(CLOSING, flagged=True))
    recorder.stop()
    done = archive.store.recording(row.id)
    assert (done.status, done.duration_s, done.incomplete) == (Status.CLOSED, 2.0, False)
    assert (done.ended_at, done.operator, done.flagged) == (NOW, OPERATOR, True)
    assert (done.channels, done.sample_rate, done.pauses) == (2, 8000, ())
    assert files(archive) == ["json", "wav"]


def test_the_row_is_there_before_the_file(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sound without the row that says when it has to go."""
    seen: list[Status] = []
    row, start = recording(), Tap.start

    def watched(tap: Tap, *how: Any) -> None:
        seen.append(archive.store.recording(row.id).status)
        start(tap, *how)

    monkeypatch.setattr(Tap, "start", watched)
    begin(recorder, row)
    assert seen == [Status.OPEN]


def test_a_refusal_has_its_mark_before_anything_is_removed(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between is then finished at the next start."""
    seen: list[list[str]] = []
    row, erase = recording(), LocalFiles.erase

    def watched(local: LocalFiles, ids: list[str]) -> dict[str, OSError]:
        seen.append(files(archive))
        return erase(local, ids)

    monkeypatch.setattr(LocalFiles, "erase", watched)
    tap = begin(recorder, row)
    recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert seen[0] == ["part", "refused"]
    done = archive.store.recording(row.id)
    assert (done.status, done.ended_at, files(archive)) == (Status.ERASED, NOW, [])
    assert archive.store.receipt(row.id).decision == "refused"


def test_what_was_kept_and_is_then_refused_is_erased_in_the_midst_of_its_making(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sound file is still being made when the refusal comes: it must not come back."""
    at_work, go_on = threading.Event(), threading.Event()
    row = recording()
    tap = begin(recorder, row)

    def slow(part: Path, final: Path, format: Format, naming: Naming) -> Finished:
        read = part.read_bytes()
        at_work.set()
        assert go_on.wait(PATIENCE_S)
        part.write_bytes(read)  # who has a file open reads on, whatever became of its name
        return assemble(part, final, format, naming)

    monkeypatch.setattr("sipagent.agent.recorder.assemble", slow)
    recorder.keep(tap, row, CLOSING)
    assert at_work.wait(PATIENCE_S)
    recorder.erase_kept(receipt(row, decision="refused"), NOW)
    wait_for(lambda: files(archive) == ["refused"])  # it waits for nobody
    empty(recorder._quick)
    assert archive.store.receipt(row.id).decision == "refused"
    go_on.set()
    settle(recorder)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.ERASED, [])
    assert alerts == []


def test_no_fault_of_the_database_keeps_sound_on_the_disk(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = recording()
    tap = begin(recorder, row)
    assert files(archive) == ["part"]

    def broken(*_: object) -> None:
        raise StoreError("the database can't be written")

    monkeypatch.setattr(Store, "update_receipt", broken)
    monkeypatch.setattr(Store, "recording", broken)
    recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert files(archive) == ["refused"]  # for the next start, as long as no row says so
    assert set(alerts) == {"rows: the database can't be written"}


@pytest.mark.parametrize("full_until", ["the files are gone", "the end"])
def test_what_was_kept_goes_even_where_the_database_cannot_say_so(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch, full_until: str
) -> None:
    """The disk is full, and with it the tap has failed; then the caller refuses what there is of it."""
    row = recording()
    recorder.keep(begin(recorder, row), row, CLOSING)
    settle(recorder)
    assert archive.store.recording(row.id).status is Status.CLOSED
    write = Store._update

    def full(store: Store, table: str, record: dict[str, object]) -> None:
        if full_until == "the end" or "wav" in files(archive):
            raise StoreError("database or disk is full")
        write(store, table, record)

    monkeypatch.setattr(Store, "_update", full)
    recorder.erase_kept(receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert files(archive) == ([] if full_until == "the files are gone" else ["refused"])
    if full_until == "the files are gone":
        assert archive.store.recording(row.id).status is Status.ERASED
        assert archive.store.receipt(row.id).decision == "refused"


def test_the_next_job_is_done_whatever_became_of_the_one_before(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    recorder.keep_receipt(receipt(row))  # of a receipt that isn't there
    recorder.keep_receipt(receipt(row))
    settle(recorder)
    assert archive.store.receipt(row.id).id == row.id


def test_a_file_that_cannot_be_made_is_tried_again(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full at the end of the call: else nobody could hold it until a restart."""
    monkeypatch.setattr("sipagent.agent.recorder.AGAIN_S", 0.02)
    faults = [AssemblyError("no room")] * 3
    row = recording()
    tap = begin(recorder, row)

    def full(part: Path, *how: Any) -> Finished:
        if faults:
            raise faults.pop()
        return assemble(part, *how)

    monkeypatch.setattr("sipagent.agent.recorder.assemble", full)
    recorder.keep(tap, row, CLOSING)
    wait_for(lambda: archive.store.recording(row.id).status is Status.CLOSED)
    assert alerts == ["assembler: no room"] * 3 and files(archive) == ["json", "wav"]


def test_what_is_to_be_tried_again_hinders_no_end() -> None:
    told: list[str] = []
    worker = Worker("assembler", told.append)
    worker.start()
    worker.put(lambda: worker.again(lambda: told.append("late"), PATIENCE_S))
    worker.put(lambda: worker.again(lambda: told.append("soon"), 0.01))
    wait_for(lambda: told == ["soon"])
    worker.stop()
    assert told == ["soon"]


def test_even_what_nobody_foresaw_ends_no_thread() -> None:
    told: list[str] = []
    done = threading.Event()
    worker = Worker("recorder", told.append)
    worker.start()

    def fail() -> None:
        raise IndexError("nothing")

    worker.put(fail)
    worker.put(done.set)
    worker.stop()
    assert done.is_set()
    assert "IndexError" in told[0]


def test_a_tap_whose_file_cannot_be_had_says_so(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    Paths(archive).recordings.mkdir()
    Paths(archive).part(row.id).write_bytes(b"in the way")
    failed: list[str] = []
    recorder.begin(row, failed.append)
    settle(recorder)
    assert len(failed) == 1
    assert "exists" in failed[0]


def test_a_start_that_fails_of_what_nobody_foresaw_says_so_too(
    recorder: Recorder, archive: Archive, alerts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call knows that it is not recorded, and the next one is."""

    def fails(*_: object) -> None:
        raise ValueError("no such cipher")

    faults: list[str] = []
    row, after = recording(), recording(1)
    with monkeypatch.context() as patch:
        patch.setattr(Tap, "start", fails)
        recorder.begin(row, faults.append)
        settle(recorder)
    assert faults == ["what nobody foresaw"]
    assert alerts == ["recorder: ValueError('no such cipher'), which nobody foresaw"]
    begin(recorder, after)
    settle(recorder)
    assert Paths(archive).part(after.id).exists()


def test_what_a_failed_tap_has_written_is_kept_as_incomplete(
    recorder: Recorder, archive: Archive, tmp_path: Path
) -> None:
    """The writer stalls, say, or the disk fills up in the middle of a call."""
    row = recording()
    recorder.keep_receipt(receipt(row))
    failed: list[str] = []
    tap = recorder.begin(row, failed.append)
    settle(recorder)
    feed(tap, 0, 16000)
    part, safe = Paths(archive).part(row.id), tmp_path / "safe"
    wait_for(lambda: part.stat().st_size > 30000)
    shutil.copy(part, safe)
    part.unlink()
    feed(tap, 16000, 24000)
    wait_for(lambda: bool(failed))
    safe.rename(part)
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    done = archive.store.recording(row.id)
    assert (done.status, done.incomplete) == (Status.CLOSED, True)
    assert (done.duration_s or 0) >= 1.9


def test_dropped_frames_make_it_incomplete(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    tap = begin(recorder, row, seconds=0)
    with tap._file_lock:  # the disk is slow
        feed(tap, 0, 12 * 8000)
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    done = archive.store.recording(row.id)
    assert (done.status, done.duration_s, done.incomplete) == (Status.CLOSED, 12.0, True)


def test_a_tap_that_was_never_fed_leaves_a_failed_row_and_no_file(
    recorder: Recorder, archive: Archive
) -> None:
    row = recording()
    tap = begin(recorder, row, seconds=0)
    recorder.keep(tap, row, CLOSING)
    settle(recorder)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.FAILED, [])


def test_stopping_finishes_what_was_begun(recorder: Recorder, archive: Archive) -> None:
    rows = [recording(minutes) for minutes in range(3)]
    for row in rows:
        recorder.keep(begin(recorder, row), row, CLOSING)
    recorder.stop()
    assert {archive.store.recording(row.id).status for row in rows} == {Status.CLOSED}


def test_a_tap_that_still_runs_at_the_end_leaves_a_whole_part(recorder: Recorder, archive: Archive) -> None:
    """The call could not be ended in time: the next start finds all that was fed."""
    row = recording()
    tap = recorder.begin(row, pytest.fail)
    settle(recorder)
    for channel in Channel:
        tap.feed(channel, np.ones(800, np.int16), 1.0)
    recorder.stop()
    audio = [chunk for chunk in read_part(Paths(archive).part(row.id)) if chunk.kind is Kind.AUDIO]
    assert sum(chunk.frames for chunk in audio) == 800
    assert recorder._writer._taps == {}


def test_a_tap_that_failed_keeps_no_other_from_its_end(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Tap] = []

    def fail(tap: Tap) -> None:
        asked.append(tap)
        raise TapError("the disk is full")

    taps = [begin(recorder, recording(minutes), seconds=0) for minutes in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(Tap, "finish", fail)
        recorder.stop()
    assert set(asked) == set(taps)
    for tap in taps:
        tap.abandon()
