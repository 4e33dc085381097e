"""The tap as a call meets it: real files and the real writer's thread."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from media.frame import FRAME_SAMPLES, SILENCE
from media.recording import tap as tap_module
from media.recording.chunks import Kind, open_all, read_part
from media.recording.tap import Channel, Tap, TapError, TapWriter
from tests.tapping import (
    PATIENCE_S,
    RATE,
    content,
    expected,
    feed,
    open_files,
    tone,
    wait_for,
    writer_threads,
)

pytestmark = pytest.mark.usefixtures("quick_writer")


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


def test_with_a_key_the_part_is_sealed_from_its_first_byte(tap: Tap, part: Path) -> None:
    key = bytes(range(32))
    tap.start(key)
    feed(tap, 0, 8000)
    tap.silence(True)
    wait_for(lambda: any(chunk.kind is Kind.NOTE for chunk in read_part(part)))
    stored = list(read_part(part))
    assert all(chunk.sealed for chunk in stored)
    feed(tap, 8000, 16000)
    result = tap.finish()
    opened = list(open_all(read_part(part), key))
    assert (result.samples, result.pauses, opened[-1].kind) == (16000, ((1.0, 2.0),), Kind.END)
    assert np.array_equal(np.concatenate([chunk.samples for chunk in opened])[:8000], expected(8000))
    assert expected(8000)[:100].tobytes() not in part.read_bytes()


def test_abandoned_it_writes_no_more(tap: Tap, part: Path, failures: list[str]) -> None:
    """The part is for who keeps recordings to erase."""
    tap.start()
    feed(tap, 0, 16000)
    wait_for(lambda: len(content(part)) == 16000)
    feed(tap, 16000, 24000)
    tap.abandon()
    written = part.read_bytes()
    feed(tap, 24000, 32000)
    tap.abandon()
    assert part.read_bytes() == written
    assert failures == []
    with pytest.raises(TapError, match="was abandoned"):
        tap.finish()
    assert not open_files(part)


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
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{n}.part" for n in range(20))
    again = Tap(tmp_path / "again.part", pytest.fail, writer=writer)
    again.start()
    feed(again, 0, 8000)
    wait_for(lambda: len(content(tmp_path / "again.part")) == 8000)
    again.abandon()


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
from media.recording.tap import Channel, Tap
from tests.tapping import tone

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
