"""The tap as a call meets it: real files, the real writer's thread, disks that fail."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from media import tap as tap_module
from media.chunks import Block, Kind, create_part, read_part
from media.frame import FRAME_SAMPLES, SILENCE, Samples
from media.tap import STALLED, Channel, Tap, TapError, TapWriter

RATE = 8000
PATIENCE_S = 60  # how long a busy machine may take for what happens at once on an idle one


def tone(channel: int, start: int, size: int = FRAME_SAMPLES) -> Samples:
    """Never 0; 440 Hz on the left, 610 Hz on the right, as a function of the position alone."""
    wave = np.sin(2 * np.pi * (440, 610)[channel] * (np.arange(start, start + size) + 0.25) / RATE)
    return (wave * 9000).astype(np.int16) | 1


def feed(tap: Tap, start: int, stop: int) -> None:
    """Both legs from position `start` to `stop`, in frames of 100 ms."""
    for position in range(start, stop, FRAME_SAMPLES):
        for channel in Channel:
            tap.feed(channel, tone(channel, position), 1000.0 + position / RATE + channel * 1e-5)


def expected(frames: int) -> Block:
    return np.stack([tone(channel, 0, frames) for channel in Channel], axis=1)


def content(part: Path) -> Block:
    return np.concatenate([np.zeros((0, 2), dtype=np.int16), *(chunk.samples for chunk in read_part(part))])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.005)


def writer_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "tap-writer"]


@pytest.fixture(autouse=True)
def quick_writer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tap_module, "WRITE_EVERY_S", 0.01)
    yield
    wait_for(lambda: not writer_threads())


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "20261124T222000123-4f2a9c.part"


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def tap(part: Path, failures: list[str]) -> Iterator[Tap]:
    tap = Tap(part, failures.append)
    yield tap
    tap.abandon()


def test_both_legs_are_written_as_they_were(tap: Tap, part: Path, failures: list[str]) -> None:
    tap.start()
    feed(tap, 0, 24000)
    result = tap.finish()
    assert (result.samples, result.drops, result.pauses) == (24000, 0, ())
    assert (result.duration_s, result.complete) == (3.0, True)
    assert np.array_equal(content(part), expected(24000))
    assert [chunk.kind for chunk in read_part(part)][-1] is Kind.END
    assert all(chunk.frames <= RATE for chunk in read_part(part))
    assert failures == []


def test_sound_is_in_the_file_while_the_call_goes_on(tap: Tap, part: Path) -> None:
    tap.start()
    for stop in (8000, 16000, 24000):
        feed(tap, stop - 8000, stop)
        wait_for(lambda stop=stop: len(content(part)) == stop)  # type: ignore[misc]
    assert np.array_equal(content(part), expected(24000))


def test_the_caller_is_on_the_left(tap: Tap, part: Path) -> None:
    tap.start()
    tap.feed(Channel.CALLER, tone(0, 0), 1.0)
    tap.feed(Channel.OPERATOR, SILENCE, 1.0)
    tap.finish()
    assert content(part)[:, 0].all()
    assert not content(part)[:, 1].any()


def test_another_rate(part: Path) -> None:
    tap = Tap(part, pytest.fail, sample_rate=16000)
    tap.start()
    tap.feed(Channel.CALLER, tone(0, 0, 1600), 1.0)
    tap.feed(Channel.OPERATOR, SILENCE, 1.0)
    result = tap.finish()
    assert (result.samples, result.duration_s) == (1600, 0.1)


def test_nothing_is_kept_before_the_start(tap: Tap, part: Path) -> None:
    feed(tap, 0, 8000)
    assert not part.exists()
    tap.start()
    assert tap.finish().samples == 0


def test_nothing_is_kept_after_the_end(tap: Tap) -> None:
    tap.start()
    feed(tap, 0, 8000)
    first = tap.finish()
    feed(tap, 8000, 16000)
    assert tap.finish() == first


def test_a_pause_is_silence_of_its_length(tap: Tap, part: Path) -> None:
    tap.start()
    feed(tap, 0, 8000)
    tap.silence(True)
    tap.silence(True)
    feed(tap, 8000, 16000)
    tap.silence(False)
    tap.silence(False)
    feed(tap, 16000, 24000)
    result = tap.finish()
    assert result.pauses == ((1.0, 2.1),)
    block = content(part)
    assert np.array_equal(block[:8000], expected(8000))
    assert not block[8000:16800].any()
    assert np.array_equal(block[16800:], expected(24000)[16800:])


def test_a_pause_is_noted_while_it_lasts(tap: Tap, part: Path) -> None:
    tap.start()
    feed(tap, 0, 8000)
    tap.silence(True)
    wait_for(lambda: any(chunk.kind is Kind.NOTE for chunk in read_part(part)))
    [note] = [chunk.note for chunk in read_part(part) if chunk.kind is Kind.NOTE]
    assert note.pauses == ((8000, None),)


def test_what_the_queue_cannot_hold_is_counted_and_silent(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_module, "WRITE_EVERY_S", PATIENCE_S)
    tap = Tap(part, pytest.fail, queue_s=1.0)
    tap.start()
    feed(tap, 0, 12000)
    result = tap.finish()
    assert (result.samples, result.drops, result.complete) == (12000, 10, False)
    assert np.array_equal(content(part)[:8000], expected(8000))
    assert not content(part)[8000:].any()
    assert [chunk.note.drops for chunk in read_part(part) if chunk.kind is Kind.END] == [10]


def test_abandoned_nothing_is_left(tap: Tap, part: Path, failures: list[str]) -> None:
    tap.start()
    feed(tap, 0, 16000)
    wait_for(lambda: len(content(part)) == 16000)
    feed(tap, 16000, 24000)
    tap.abandon()
    feed(tap, 24000, 32000)
    tap.abandon()
    assert list(part.parent.iterdir()) == []
    assert failures == []
    with pytest.raises(TapError, match="was abandoned"):
        tap.finish()
    assert not open_files(part)


def open_files(part: Path) -> list[str]:
    """The descriptors of this process that still hold the part, also under a deleted name."""
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # that of the listing itself
            continue
    return [link for link in links if link.startswith(str(part))]


def test_a_finished_tap_can_still_be_abandoned(tap: Tap, part: Path) -> None:
    tap.start()
    feed(tap, 0, 8000)
    tap.finish()
    tap.abandon()
    assert not part.exists()


def test_an_existing_file_is_neither_written_to_nor_removed(tap: Tap, part: Path) -> None:
    part.write_bytes(b"evidence")
    with pytest.raises(TapError, match="File exists"):
        tap.start()
    tap.abandon()
    assert part.read_bytes() == b"evidence"


def test_no_directory_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(TapError, match=r"gone/a\.part: No such file or directory"):
        Tap(tmp_path / "gone" / "a.part", pytest.fail).start()


def test_a_tap_starts_once(tap: Tap) -> None:
    tap.start()
    with pytest.raises(TapError, match="was started before"):
        tap.start()


def test_a_tap_that_never_started_has_no_end(tap: Tap) -> None:
    with pytest.raises(TapError, match="was not started"):
        tap.finish()


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
    assert not part.exists()


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
    assert not part.exists()


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
from media import tap
from tests.test_tap import feed

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


def test_abandoning_does_not_wait_for_a_stuck_disk_to_remove_the_file(stuck: int, part: Path) -> None:
    tap = Tap(part, pytest.fail)
    tap.start()
    feed(tap, 0, 40000)
    thread = threading.Thread(target=tap.abandon)
    thread.start()
    wait_for(lambda: not part.exists())
    os.set_blocking(stuck, False)
    wait_for(lambda: drained(stuck))
    thread.join()


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


def test_one_thread_writes_for_all_and_ends_with_the_last(tmp_path: Path) -> None:
    writer = TapWriter()
    taps = [Tap(tmp_path / f"{number}.part", pytest.fail, writer=writer) for number in range(20)]
    for tap in taps:
        tap.start()
    assert len(writer_threads()) == 1
    for tap in taps:
        feed(tap, 0, 8000)
    for number, tap in enumerate(taps):
        if number % 2:
            assert tap.finish().samples == 8000
        else:
            tap.abandon()
    wait_for(lambda: not writer_threads())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{n}.part" for n in range(1, 20, 2))
    again = Tap(tmp_path / "again.part", pytest.fail, writer=writer)
    again.start()
    feed(again, 0, 8000)
    wait_for(lambda: len(content(tmp_path / "again.part")) == 8000)
    again.abandon()


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


def test_feeding_from_two_threads_while_it_ends_loses_no_order(part: Path) -> None:
    tap = Tap(part, pytest.fail)
    tap.start()
    stop = threading.Event()

    def leg(channel: Channel) -> None:
        for position in range(0, 160_000, FRAME_SAMPLES):
            tap.feed(channel, tone(channel, position), 1000.0 + position / RATE)
            if stop.is_set():
                return

    legs = [threading.Thread(target=leg, args=(channel,)) for channel in Channel]
    for thread in legs:
        thread.start()
    result = tap.finish()
    stop.set()
    for thread in legs:
        thread.join()
    block = content(part)
    assert result.samples == len(block)
    for channel in Channel:
        heard = block[block[:, channel] != 0, channel]
        assert np.array_equal(heard, expected(len(block))[: len(heard), channel])


REAL_TIME = """
import sys, threading, time
from pathlib import Path
from media.frame import FRAME_SAMPLES
from media.tap import Channel, Tap
from tests.test_tap import tone

tap = Tap(Path(sys.argv[1]), sys.exit)
tap.start()
began, clock = time.monotonic(), threading.Event()
for tick in range(600):
    clock.wait(max(0.0, began + (tick + 1) / 10 - time.monotonic()))
    for channel in Channel:
        tap.feed(channel, tone(channel, tick * FRAME_SAMPLES), time.monotonic())
    print(tick + 1, flush=True)
"""


def test_killed_without_warning_all_but_the_last_second_is_kept(part: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", REAL_TIME, str(part)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if int(line) == 25:
                child.send_signal(signal.SIGKILL)
                break
    assert child.returncode == -signal.SIGKILL
    block = content(part)
    assert len(block) >= 25 * FRAME_SAMPLES - RATE
    assert np.array_equal(block, expected(len(block)))
