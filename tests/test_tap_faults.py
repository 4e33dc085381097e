"""The tap on disks that are full, stuck, gone or lying, each of them real."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media.recording import tap as tap_module
from media.recording.chunks import create_part
from media.recording.tap import STALLED, Tap, TapError, TapWriter
from tests.tapping import PATIENCE_S, content, expected, feed, open_files, wait_for, writer_threads

pytestmark = pytest.mark.usefixtures("quick_writer")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_full(path: Path) -> int:
        os.close(create_part(path))
        return os.open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(tap_module, "create_part", create_full)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_reported_once_and_ends_the_tap(tap: Tap, part: Path, failures: list[str]) -> None:
    tap.start()
    feed(tap, 0, 8000)
    wait_for(lambda: bool(failures))
    feed(tap, 8000, 400_000)
    with pytest.raises(TapError, match="No space left"):
        tap.finish()
    assert failures == ["No space left on device"]
    tap.abandon()


@pytest.mark.usefixtures("full_disk")
def test_a_disk_found_full_at_the_end_is_raised(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap_module, "WRITE_EVERY_S", PATIENCE_S)
    tap = Tap(part, pytest.fail)
    tap.start()
    feed(tap, 0, 8000)
    for _ in range(2):
        with pytest.raises(TapError, match="No space left"):
            tap.finish()
    tap.abandon()


@pytest.mark.usefixtures("full_disk")
def test_whoever_hears_of_a_failure_may_abandon_at_once(part: Path) -> None:
    heard = threading.Event()

    def give_up(_reason: str) -> None:
        one.abandon()
        heard.set()

    one = Tap(part, give_up)
    one.start()
    feed(one, 0, 8000)
    assert heard.wait(PATIENCE_S)
    assert not open_files(part)


def test_a_deleted_directory_is_a_failure(tap: Tap, part: Path, failures: list[str]) -> None:
    tap.start()
    feed(tap, 0, 8000)
    wait_for(lambda: len(content(part)) == 8000 and tap.synced_at > 0)
    shutil.rmtree(part.parent)
    feed(tap, 8000, 16000)
    wait_for(lambda: bool(failures))
    assert failures == ["the file was deleted"]
    tap.abandon()


LIMITED = """
import resource, sys, threading
from pathlib import Path
from media.recording import tap
from tests.tapping import feed

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
failed = threading.Event()
reasons = []
one = tap.Tap(Path(sys.argv[1]), lambda reason: (reasons.append(reason), failed.set()))
one.start()
for start in range(0, 40_000, 8000):
    feed(one, start, start + 8000)
assert failed.wait(60)
feed(one, 40_000, 48_000)
print(reasons)
"""


def test_a_file_that_cannot_grow_keeps_its_whole_chunks(part: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(part)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("['File too large']\n", "")
    assert part.stat().st_size == 50_000
    assert np.array_equal(content(part), expected(8000))


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A disk that takes nothing until someone reads from this descriptor."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)

    def create_stuck(path: Path) -> int:
        os.close(create_part(path))
        return writer

    monkeypatch.setattr(tap_module, "create_part", create_stuck)
    yield reader
    os.close(reader)


def test_a_stalled_writer_is_a_failure_that_feeding_notices(
    stuck: int, part: Path, failures: list[str]
) -> None:
    tap = Tap(part, failures.append, queue_s=4.0)
    tap.start()
    feed(tap, 0, 24000)
    slot = threading.Event()
    position = 24000
    while not failures:
        feed(tap, position, position + 8000)
        position += 8000
        slot.wait(0.01)
        assert position < 10_000_000
    assert failures == [STALLED]
    began = time.monotonic()
    feed(tap, position, position + 800_000)
    assert time.monotonic() - began < PATIENCE_S
    os.set_blocking(stuck, False)
    wait_for(lambda: drained(stuck))  # the writer lives on and lets go of the file
    with pytest.raises(TapError, match=STALLED):
        tap.finish()
    assert failures == [STALLED]


def drained(descriptor: int) -> bool:
    """Read what there is; True at the end of the file."""
    try:
        return os.read(descriptor, 1 << 20) == b""
    except BlockingIOError:
        return False


def test_a_disk_that_cannot_sync_is_a_failure(
    tap: Tap, failures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()  # takes what is written but can't be synced
    monkeypatch.setattr(tap_module, "create_part", lambda _path: writer)
    tap.start()
    feed(tap, 0, 4000)
    wait_for(lambda: bool(failures))
    assert failures == ["Invalid argument"]
    os.close(reader)


def test_a_sync_that_takes_seconds_costs_no_tap_any_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as a queue holds: the writer takes all of it when the disk lets it go."""
    syncing, done = threading.Event(), threading.Event()

    def slow_sync(descriptor: int) -> None:
        syncing.set()
        assert done.wait(PATIENCE_S)
        os.fsync(descriptor)

    monkeypatch.setattr(os, "fdatasync", slow_sync)
    writer = TapWriter()
    taps = [Tap(tmp_path / f"{name}.part", pytest.fail, writer=writer) for name in "ab"]
    for tap in taps:
        tap.start()
        feed(tap, 0, 8000)
    assert syncing.wait(PATIENCE_S)
    for tap in taps:
        feed(tap, 8000, 80_000)
    done.set()
    for tap, name in zip(taps, "ab", strict=True):
        result = tap.finish()
        assert (result.samples, result.drops) == (80_000, 0)
        assert np.array_equal(content(tmp_path / f"{name}.part"), expected(80_000))


def test_one_failed_disk_costs_the_other_taps_nothing(tmp_path: Path, failures: list[str]) -> None:
    writer = TapWriter()
    (tmp_path / "gone").mkdir()
    lost = Tap(tmp_path / "gone" / "a.part", failures.append, writer=writer)
    kept = Tap(tmp_path / "b.part", pytest.fail, writer=writer)
    for tap in (lost, kept):
        tap.start()
    shutil.rmtree(tmp_path / "gone")
    feed(lost, 0, 8000)
    wait_for(lambda: bool(failures))
    feed(kept, 0, 8000)
    wait_for(lambda: len(content(tmp_path / "b.part")) == 8000)
    assert kept.finish().samples == 8000


@pytest.mark.parametrize("method", ["write_audio", "sync"])
def test_a_fault_that_nobody_foresaw_stays_one_tap_s(
    tmp_path: Path, failures: list[str], monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """One thread writes for all: it goes on, and the one leg's call hears of it."""
    writer = TapWriter()
    broken = Tap(tmp_path / "a.part", failures.append, writer=writer)
    kept = Tap(tmp_path / "b.part", pytest.fail, writer=writer)
    for tap in (broken, kept):
        tap.start()
    (thread,) = writer_threads()

    def fails(*_: object) -> None:
        raise ValueError("operands could not be broadcast")

    assert broken._file is not None
    monkeypatch.setattr(broken._file, method, fails)
    feed(broken, 0, 8000)
    wait_for(lambda: bool(failures))
    feed(kept, 0, 8000)
    wait_for(lambda: len(content(tmp_path / "b.part")) == 8000)
    assert writer_threads() == [thread]
    assert kept.finish().samples == 8000
    assert failures == ["ValueError('operands could not be broadcast')"]
    with pytest.raises(TapError, match="operands could not be broadcast"):
        broken.finish()
    broken.abandon()


def test_a_fault_that_nobody_foresaw_at_the_end_is_raised(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_module, "WRITE_EVERY_S", PATIENCE_S)
    tap = Tap(part, pytest.fail)
    tap.start()
    feed(tap, 0, 8000)

    def fails(*_: object) -> None:
        raise ValueError("operands could not be broadcast")

    monkeypatch.setattr(tap._aligner, "take_rest", fails)
    for _ in range(2):
        with pytest.raises(TapError, match="operands could not be broadcast"):
            tap.finish()
    assert part.exists()
    tap.abandon()
