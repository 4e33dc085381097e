"""What is kept of calls: the order in which it happens, and faults on the way."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from media.assemble import Finished, Format, assemble
from media.chunks import Kind, read_part
from media.tap import Channel, Tap, TapError
from retention.archive import Archive
from retention.recording import Recording, Status
from retention.store import Store, StoreError
from sipagent.recorder import Closing, Recorder, Worker
from tests.kept import OPERATOR, receipt, recording
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


def settle(recorder: Recorder) -> None:
    for worker in (recorder._quick, recorder._slow):
        empty(worker)


def empty(worker: Worker) -> None:
    done = threading.Event()
    worker.put(done.set)
    assert done.wait(PATIENCE_S)


def begin(recorder: Recorder, row: Recording, seconds: int = 2) -> Tap:
    """A tap that has been fed for so long."""
    recorder.open_receipt(receipt(row, ended_at=None, outcome=None))
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

    def watched(tap: Tap, key: bytes | None) -> None:
        seen.append(archive.store.recording(row.id).status)
        start(tap, key)

    monkeypatch.setattr(Tap, "start", watched)
    begin(recorder, row)
    assert seen == [Status.OPEN]


def test_a_refusal_is_in_the_receipt_before_anything_is_removed(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in between is then finished at the next start."""
    seen: list[tuple[str, list[str]]] = []
    row, abandon = recording(), Tap.abandon

    def watched(tap: Tap) -> None:
        seen.append((archive.store.receipt(row.id).decision, files(archive)))
        abandon(tap)

    monkeypatch.setattr(Tap, "abandon", watched)
    tap = begin(recorder, row)
    recorder.erase(tap, receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert seen == [("refused", ["part"])]
    done = archive.store.recording(row.id)
    assert (done.status, done.ended_at, files(archive)) == (Status.ERASED, NOW, [])


def test_what_was_kept_and_is_then_refused_is_erased_after_its_making(
    recorder: Recorder, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sound file is still being made when the refusal comes: it must not come back."""
    at_work, go_on = threading.Event(), threading.Event()
    row = recording()
    tap = begin(recorder, row)

    def slow(part: Path, final: Path, format: Format) -> Finished:
        read = part.read_bytes()
        at_work.set()
        assert go_on.wait(PATIENCE_S)
        part.write_bytes(read)  # who has a file open reads on, whatever became of its name
        return assemble(part, final, format)

    monkeypatch.setattr("sipagent.recorder.assemble", slow)
    recorder.keep(tap, row, CLOSING)
    assert at_work.wait(PATIENCE_S)
    recorder.erase_kept(receipt(row, decision="refused"), NOW)
    empty(recorder._quick)
    assert archive.store.receipt(row.id).decision == "refused"
    go_on.set()
    settle(recorder)
    assert (archive.store.recording(row.id).status, files(archive)) == (Status.ERASED, [])


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
    assert files(archive) == []
    assert alerts == ["recorder: the database can't be written"]


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
        if full_until == "the end" or files(archive):
            raise StoreError("database or disk is full")
        write(store, table, record)

    monkeypatch.setattr(Store, "_update", full)
    recorder.erase_kept(receipt(row, decision="refused"), NOW)
    settle(recorder)
    assert files(archive) == []
    assert recorder.faults["recorder"] == 1
    if full_until == "the files are gone":
        assert archive.store.recording(row.id).status is Status.ERASED
        assert archive.store.receipt(row.id).decision == "refused"


def test_the_next_job_is_done_whatever_became_of_the_one_before(recorder: Recorder, archive: Archive) -> None:
    row = recording()
    recorder.keep_receipt(receipt(row))  # of a receipt that isn't there
    recorder.open_receipt(receipt(row))
    settle(recorder)
    assert archive.store.receipt(row.id).id == row.id


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
    archive.directory.mkdir()
    archive.part(row.id).write_bytes(b"in the way")
    failed: list[str] = []
    recorder.begin(row, failed.append)
    settle(recorder)
    assert len(failed) == 1
    assert "exists" in failed[0]


def test_what_a_failed_tap_has_written_is_kept_as_incomplete(
    recorder: Recorder, archive: Archive, tmp_path: Path
) -> None:
    """The writer stalls, say, or the disk fills up in the middle of a call."""
    row = recording()
    recorder.open_receipt(receipt(row))
    failed: list[str] = []
    tap = recorder.begin(row, failed.append)
    settle(recorder)
    feed(tap, 0, 16000)
    part, safe = archive.part(row.id), tmp_path / "safe"
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
    audio = [chunk for chunk in read_part(archive.part(row.id)) if chunk.kind is Kind.AUDIO]
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
