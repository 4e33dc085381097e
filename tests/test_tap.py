"""The tap as a call meets it: real files and the real writer's thread; disks that are full, stuck, gone or
lying; and the queue between them, in order and bounded, with what was lost counted."""

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from media.frame import FRAME_SAMPLES, SILENCE
from media.recording import chunks
from media.recording import tap as tap_module
from media.recording.assemble import assemble, settle
from media.recording.chunks import (
    BOTH,
    MOST_MISSING,
    Kind,
    MissingSamples,
    create_part,
    missing_s,
    overlaid,
    read_part,
)
from media.recording.tap import (
    STALLED,
    Backlog,
    Channel,
    Entry,
    SilenceMark,
    Tap,
    TapError,
    TapWriter,
    UnheardRun,
)
from tests.parts import no_more_than
from tests.raising import raising
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


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's turn never comes."""
    monkeypatch.setattr(tap_module, "WRITE_EVERY_S", PATIENCE_S)


fails = raising(ValueError("operands could not be broadcast"))


def test_both_legs_are_written_as_they_were_while_the_call_goes_on(
    tap: Tap, part: Path, failures: list[str]
) -> None:
    """And nothing of what came before the start or after the end."""
    feed(tap, 40_000, 48_000)
    assert not part.exists()
    tap.start()
    with pytest.raises(TapError, match="was started before"):
        tap.start()
    for stop in (8000, 16000, 24000):
        feed(tap, stop - 8000, stop)
        wait_for(lambda stop=stop: len(content(part)) == stop)  # type: ignore[misc]
    result = tap.finish()
    feed(tap, 24000, 32000)
    assert tap.finish() == result
    assert (result.samples, result.drops, result.pauses) == (24000, 0, ())
    assert (result.duration_s, result.complete) == (3.0, True)
    assert np.array_equal(content(part), expected(24000)) and failures == []
    chunks = list(read_part(part))
    assert chunks[-1].kind is Kind.END and all(chunk.frames <= RATE for chunk in chunks)
    tap.abandon()
    with pytest.raises(TapError, match="was abandoned"):
        tap.finish()


def test_the_caller_is_on_the_left_at_any_rate(part: Path) -> None:
    tap = Tap(part, pytest.fail, sample_rate=16000)
    tap.start()
    tap.feed(Channel.CALLER, tone(0, 0, 1600), 1.0)
    tap.feed(Channel.OPERATOR, SILENCE, 1.0)
    result = tap.finish()
    assert (result.samples, result.duration_s) == (1600, 0.1)
    assert content(part)[:, 0].all() and not content(part)[:, 1].any()


def test_a_pause_is_silence_of_its_length_and_noted_while_it_lasts(tap: Tap, part: Path) -> None:
    tap.start()
    feed(tap, 0, 8000)
    for _ in range(2):
        tap.silence(True)
    wait_for(lambda: any(chunk.kind is Kind.NOTE for chunk in read_part(part)))
    [note] = [chunk.note for chunk in read_part(part) if chunk.kind is Kind.NOTE]
    assert note.pauses == ((8000, None),)
    feed(tap, 8000, 16000)
    for _ in range(2):
        tap.silence(False)
    feed(tap, 16000, 24000)
    assert tap.finish().pauses == ((1.0, 2.1),)
    wanted = expected(24000)
    wanted[8000:16800] = 0
    assert np.array_equal(content(part), wanted)


@pytest.mark.usefixtures("by_hand")
def test_what_the_queue_cannot_hold_is_counted_and_silent(part: Path) -> None:
    tap = Tap(part, pytest.fail, queue_s=1.0)
    tap.start()
    feed(tap, 0, 12000)
    result = tap.finish()
    assert (result.samples, result.drops, result.complete) == (12000, 10, False)
    assert result.missing == ((BOTH, 1.0, 1.5, "lost"),)
    wanted = expected(12000)
    wanted[8000:] = 0
    assert np.array_equal(content(part), wanted)
    assert [chunk.note.drops for chunk in read_part(part) if chunk.kind is Kind.END] == [10]


@pytest.mark.usefixtures("by_hand")
def test_what_was_lost_before_it_came_is_silent_in_its_place_and_counted(part: Path) -> None:
    """Also where more is lost than the queue would hold: silence takes none of it."""
    tap = Tap(part, pytest.fail, queue_s=1.0)
    tap.start()
    feed(tap, 0, 800)
    tap.miss(Channel.CALLER, 6400, 1000.0 + 7200 / RATE)
    for position in range(800, 8000, 800):
        tap.feed(Channel.OPERATOR, tone(1, position), 1000.0 + position / RATE)
    tap.feed(Channel.CALLER, tone(0, 7200), 1000.0 + 7200 / RATE)
    result = tap.finish()
    wanted = expected(8000)
    wanted[800:7200, Channel.CALLER] = 0
    assert np.array_equal(content(part), wanted)
    assert (result.drops, result.complete, result.missing) == (
        8,
        False,
        ((Channel.CALLER, 0.1, 0.9, "lost"),),
    )
    assert assemble(part, part.with_suffix(".flac"), "flac") == result


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("key", [None, bytes(32)], ids=["clear", "sealed"])
def test_what_is_missing_is_told_by_channel_and_reason_in_the_file(part: Path, key: bytes | None) -> None:
    """A later word counts, and a silence counts before all."""
    tap, final = Tap(part, pytest.fail), part.with_suffix(".flac")
    tap.start(key)
    feed(tap, 0, 8000)
    tap.unheard(Channel.CALLER, 1600, 160, "concealed")
    tap.unheard(Channel.OPERATOR, 0, 320, "concealed")
    assert tap.write_out()
    feed(tap, 8000, 16000)
    tap.unheard(Channel.OPERATOR, 8000 - 320, 640, "nothing_came")  # which had begun before
    tap.unheard(Channel.CALLER, 160, 160, "concealed")
    tap.silence(True, "hold")
    feed(tap, 16000, 24000)
    tap.silence(True)
    tap.unheard(Channel.CALLER, 0, 160, "concealed")
    feed(tap, 24000, 32000)
    told = tap.finish()
    assert told.missing == (
        (Channel.CALLER, 0.78, 0.8, "concealed"),
        (Channel.OPERATOR, 0.96, 1.04, "nothing_came"),
        (Channel.CALLER, 1.96, 1.98, "concealed"),
        (BOTH, 2.0, 3.0, "hold"),
        (BOTH, 3.0, 4.0, "paused"),
    )
    assert told.pauses == ((2.0, 4.0),)  # one, whatever its reasons
    assert (settle(part, final) if key else assemble(part, final, "flac")) == told


@pytest.mark.usefixtures("by_hand")
def test_a_channel_that_is_fed_nothing_is_told_of(part: Path) -> None:
    tap = Tap(part, pytest.fail)
    tap.start()
    feed(tap, 0, 8000)
    for position in range(8000, 16000, 800):
        tap.feed(Channel.CALLER, tone(0, position), 1000.0 + position / RATE)
    assert tap.finish().missing == ((Channel.OPERATOR, 1.0, 2.0, "not_fed"),)


def test_of_the_same_samples_what_is_told_last_counts() -> None:
    gaps = [MissingSamples(0, 0, 400, "concealed"), MissingSamples(0, 160, 240, "lost")]
    assert [one[1:] for one in overlaid(gaps)] == [
        (0, 160, "concealed"),
        (160, 240, "lost"),
        (240, 400, "concealed"),
    ]
    assert [one[1:] for one in overlaid(gaps[::-1])] == [(0, 400, "concealed")]


def test_very_many_gaps_are_told_as_fewer_that_hold_them() -> None:
    gaps = [MissingSamples(0, at, at + 160, "concealed") for at in range(0, 8000 * 3600, 960)]
    told = missing_s(gaps, RATE)
    assert len(told) <= MOST_MISSING and (told[0].from_s, told[-1].to_s) == (0.0, gaps[-1].stop / RATE)
    assert missing_s(gaps[:100], RATE)[1] == (0, 0.12, 0.14, "concealed")


def test_abandoned_it_writes_no_more(tap: Tap, part: Path, failures: list[str]) -> None:
    """The part is for who keeps recordings to erase."""
    with pytest.raises(TapError, match="was not started"):
        tap.finish()
    tap.start()
    feed(tap, 0, 16000)
    wait_for(lambda: len(content(part)) == 16000)
    feed(tap, 16000, 24000)
    tap.abandon()
    written = part.read_bytes()
    feed(tap, 24000, 32000)
    tap.abandon()
    assert part.read_bytes() == written and failures == [] and not open_files(part)
    for act in (tap.finish, tap.start):
        with pytest.raises(TapError, match="was abandoned"):
            act()


def test_let_go_while_it_starts_it_leaves_no_part(
    tap: Tap, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller refused while its file was being made."""

    def create(path: Path) -> int:
        made = create_part(path)
        tap.let_go()
        return made

    monkeypatch.setattr(chunks, "create_part", create)
    with pytest.raises(TapError, match="was abandoned"):
        tap.start()
    assert not part.exists() and not open_files(part) and not writer_threads()


def test_a_file_that_cannot_be_had_is_a_clear_error(tap: Tap, part: Path, tmp_path: Path) -> None:
    part.write_bytes(b"evidence")
    with pytest.raises(TapError, match="File exists"):
        tap.start()
    tap.abandon()
    assert part.read_bytes() == b"evidence"
    with pytest.raises(TapError, match=r"gone/a\.part: No such file or directory"):
        Tap(tmp_path / "gone" / "a.part", pytest.fail).start()


def test_one_thread_writes_for_all_and_ends_with_the_last(tmp_path: Path) -> None:
    writer = TapWriter()
    taps = [Tap(tmp_path / f"{number}.part", pytest.fail, writer=writer) for number in range(20)]
    for tap in taps:
        tap.start()
        feed(tap, 0, 8000)
    assert len(writer_threads()) == 1
    for tap in taps[::2]:
        assert tap.finish().samples == 8000
    for tap in taps[1::2]:
        tap.abandon()
    wait_for(lambda: not writer_threads())
    again = Tap(tmp_path / "again.part", pytest.fail, writer=writer)
    again.start()
    feed(again, 0, 8000)
    wait_for(lambda: len(content(tmp_path / "again.part")) == 8000)
    again.abandon()


def test_feeding_from_two_threads_while_it_ends_loses_no_order(part: Path) -> None:
    tap, stop = Tap(part, pytest.fail), threading.Event()
    tap.start()

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


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_full(path: Path) -> int:
        os.close(create_part(path))
        return os.open("/dev/full", os.O_WRONLY)

    monkeypatch.setattr(chunks, "create_part", create_full)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_reported_once_and_whoever_hears_of_it_may_abandon_at_once(part: Path) -> None:
    heard: list[str] = []

    def give_up(reason: str) -> None:
        one.abandon()
        heard.append(reason)

    one = Tap(part, give_up)
    one.start()
    feed(one, 0, 8000)
    wait_for(lambda: bool(heard))
    feed(one, 8000, 400_000)
    assert not open_files(part) and heard == ["No space left on device"]


@pytest.mark.usefixtures("by_hand")
@pytest.mark.parametrize("fault", ["No space left", "operands could not be broadcast"])
def test_a_fault_at_the_end_is_raised(
    part: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, fault: str
) -> None:
    if fault == "No space left":
        request.getfixturevalue("full_disk")
    tap = Tap(part, pytest.fail)
    tap.start()
    feed(tap, 0, 8000)
    if fault != "No space left":
        monkeypatch.setattr(tap._aligner, "take_rest", fails)
    for _ in range(2):
        with pytest.raises(TapError, match=fault):
            tap.finish()
    assert part.exists()
    tap.abandon()


def test_a_file_that_cannot_grow_keeps_its_whole_chunks(tap: Tap, part: Path, failures: list[str]) -> None:
    with no_more_than(50_000):
        tap.start()
        feed(tap, 0, 40_000)
        wait_for(lambda: bool(failures))
        feed(tap, 40_000, 48_000)
    heard = content(part)
    assert failures == ["File too large"] and part.stat().st_size == 50_000
    assert len(heard) >= 4000 and np.array_equal(heard, expected(len(heard)))


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

    monkeypatch.setattr(chunks, "create_part", create_stuck)
    yield reader
    os.close(reader)


def test_a_stalled_writer_is_a_failure_that_feeding_notices(
    stuck: int, part: Path, failures: list[str]
) -> None:
    tap, slot, position = Tap(part, failures.append, queue_s=4.0), threading.Event(), 0
    tap.start()
    while not failures:
        feed(tap, position, position + 8000)
        position += 8000
        slot.wait(0.01)
        assert position < 10_000_000
    feed(tap, position, position + 800_000)
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


@pytest.mark.parametrize("fault", ["the file was deleted", "write_audio", "sync"])
def test_a_failed_disk_and_what_nobody_foresaw_stay_one_tap_s(
    tmp_path: Path, failures: list[str], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """One thread writes for all: it goes on, and the one leg's call hears of it."""
    writer = TapWriter()
    (tmp_path / "gone").mkdir()
    broken = Tap(tmp_path / "gone" / "a.part", failures.append, writer=writer)
    kept = Tap(tmp_path / "b.part", pytest.fail, writer=writer)
    for tap in (broken, kept):
        tap.start()
    (thread,) = writer_threads()
    if fault == "the file was deleted":
        shutil.rmtree(tmp_path / "gone")
        said = fault
    else:
        assert broken._file is not None
        monkeypatch.setattr(broken._file, fault, fails)
        said = "ValueError('operands could not be broadcast')"
    feed(broken, 0, 8000)
    wait_for(lambda: bool(failures))
    feed(kept, 0, 8000)
    wait_for(lambda: len(content(tmp_path / "b.part")) == 8000)
    assert writer_threads() == [thread] and failures == [said]
    assert kept.finish().samples == 8000
    with pytest.raises(TapError) as told:
        broken.finish()
    assert said in str(told.value)
    broken.abandon()


FRAME = np.ones(800, dtype=np.int16)


def opened(capacity: int) -> Backlog:
    backlog = Backlog(capacity, 800)
    backlog.open()
    return backlog


def brief(entries: list[Entry]) -> list[object]:
    """Marks as they are; frames as (channel, size, "sound" or "silence")."""
    return [
        one.on
        if isinstance(one, SilenceMark)
        else one
        if isinstance(one, UnheardRun)
        else (one[0], one[1], "silence")
        if isinstance(one[1], int)
        else (one[0], one[1].size, "sound")
        for one in entries
    ]


def test_entries_come_out_once_and_in_order_of_what_came_while_it_was_open() -> None:
    backlog = Backlog(16000, 800)
    assert backlog.put(0, FRAME, 0.0)
    backlog.mark(True)
    backlog.open()
    backlog.put(0, FRAME, 0.0)
    backlog.mark(False)
    backlog.put(1, FRAME[:0], 0.0)
    for on in (True, True, False):
        backlog.mark(on)
    backlog.put(1, FRAME[:160], 0.1)
    backlog.close()
    assert backlog.put(0, FRAME, 0.2)
    frames = [(0, 800, "sound"), False, (1, 800, "silence"), True, False, (1, 160, "sound")]
    assert brief(backlog.take()) == [True, *frames]
    assert backlog.take() == [] and backlog.drops == 0


def test_what_does_not_fit_is_one_silence_per_channel_until_it_is_taken_from() -> None:
    """Then all is lost, also what would have room; a mark stays in its place."""
    backlog = opened(3300)
    for step in range(4):
        for channel in (0, 1):
            assert backlog.put(channel, FRAME, step / 10)
    assert backlog.put(0, FRAME[:100], 0.4)
    backlog.mark(True)
    entries = backlog.take()
    sound, lost = [(0, 800, "sound"), (1, 800, "sound")] * 2, [(0, 1700, "silence"), (1, 1600, "silence")]
    assert (brief(entries), backlog.drops) == ([*sound, *lost, True], 5)
    assert entries[-2] == (1, 1600, 0.3)
    backlog.put(0, FRAME, 0.5)
    assert brief(backlog.take()) == [(0, 800, "sound")]


def test_nobody_taking_is_noticed_once_as_much_is_lost_as_fits() -> None:
    backlog = opened(1600)
    assert all(backlog.put(0, FRAME, 0.0) for _ in range(4))
    assert not backlog.put(0, FRAME, 0.0) and not backlog.put(1, FRAME[:0], 0.0)
    backlog.take()
    assert backlog.put(0, FRAME, 0.0)
