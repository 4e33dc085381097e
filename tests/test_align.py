"""Channels laid side by side by what was heard together, whatever the bridge makes of the frames."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.frame import Samples
from media.recording.chunks import Block
from media.recording.tap import Aligner

RATE = 8000
FRAME = 800


def sound(start: int, size: int = FRAME) -> Samples:
    """What is heard from position `start` on: every sample tells its place, none is 0."""
    return ((np.arange(start, start + size) % 30000) + 1).astype(np.int16)


def taken(aligner: Aligner, *, rest: bool = False) -> Block:
    blocks = [*aligner.take(), *(aligner.take_rest() if rest else ())]
    assert all(len(block) <= RATE for block in blocks)
    return np.concatenate([np.zeros((0, 2), dtype=np.int16), *blocks])


def at(position: int) -> float:
    """When the bridge hands over a frame that ends at `position`."""
    return 1000.0 + position / RATE


def feed(aligner: Aligner, channel: int, start: int, *, late: float = 0.0, size: int = FRAME) -> None:
    aligner.add(channel, sound(start, size), at(start + size) + late)


def offset(block: Block) -> int:
    """By how many samples the right channel is behind the left, where both are heard at last."""
    left, right = block[(block[:, 0] > 0) & (block[:, 1] > 0)][-1].astype(int)
    return int(left - right)


def test_frames_of_one_tick_lie_side_by_side() -> None:
    aligner = Aligner(RATE)
    for start in range(0, 8000, FRAME):
        feed(aligner, 0, start)
        feed(aligner, 1, start, late=0.0003)
    block = taken(aligner)
    assert len(block) == 8000
    assert np.array_equal(block[:, 0], sound(0, 8000))
    assert np.array_equal(block[:, 1], sound(0, 8000))


def test_what_only_one_channel_has_reached_waits() -> None:
    aligner = Aligner(RATE)
    feed(aligner, 0, 0)
    assert len(taken(aligner)) == 0
    feed(aligner, 1, 0, size=300)
    assert len(taken(aligner)) == 300
    assert len(taken(aligner, rest=True)) == 500


def test_a_channel_that_begins_later_is_padded_by_whole_ticks() -> None:
    for ticks in (0, 1, 3, 5, 12):
        for late in (-0.008, 0.0, 0.008):
            aligner = Aligner(RATE)
            feed(aligner, 0, 0)
            feed(aligner, 0, FRAME)
            feed(aligner, 1, ticks * 160, late=late)
            block = taken(aligner, rest=True)
            begins = int(np.flatnonzero(block[:, 1])[0])
            assert begins == ticks * 160
            assert np.array_equal(block[begins : begins + FRAME, 1], sound(begins))


def test_the_channel_fed_first_may_be_the_later_one() -> None:
    aligner = Aligner(RATE)
    feed(aligner, 1, 160)
    feed(aligner, 0, 0)
    for start in range(0, 16000, FRAME):
        feed(aligner, 1, start + 160 + FRAME)
        feed(aligner, 0, start + FRAME)
    assert offset(taken(aligner)) == 0


def test_no_samples_are_silence_of_their_length() -> None:
    aligner = Aligner(RATE)
    aligner.add(0, 800, at(800))
    feed(aligner, 1, 0)
    block = taken(aligner)
    assert not block[:, 0].any()
    assert np.array_equal(block[:, 1], sound(0))


def test_a_stalled_clock_that_catches_up_moves_nothing() -> None:
    aligner = Aligner(RATE)
    for start in range(0, 40000, FRAME):
        late = max(0.0, 0.5 - max(0, start - 16000) / RATE) if start >= 16000 else 0.0
        feed(aligner, 0, start, late=late)
        feed(aligner, 1, start, late=late)
    block = taken(aligner)
    assert np.array_equal(block[:, 0], sound(0, 40000))
    assert np.array_equal(block[:, 1], sound(0, 40000))


def stalled(phase: int, stall_tick: int, channel: int, stall_s: float, turn: int) -> Block:
    """Two legs whose frames end `phase` ticks apart, a clock that stands still before it serves `channel`.

    It makes up for all ticks that it is behind then, as the bridge's does up to 0.5 s.
    """
    aligner = Aligner(RATE)
    blocks = []
    now = at(0)
    for tick in range(1, 120):
        now = max(now, at(tick * 160))
        for leg in (0, 1):
            now += 0.0005 + (stall_s if (tick, leg) == (stall_tick, channel) else 0.0)
            if (tick - phase * leg) % 5 == 0 and tick > phase * leg:
                aligner.add(leg, sound(tick * 160 - FRAME), now)
        if tick % turn == 0:
            blocks.append(taken(aligner))
    return np.concatenate([*blocks, taken(aligner, rest=True)])


@pytest.mark.parametrize("phase", range(5))
def test_wherever_the_clock_stands_still_nothing_is_silence_that_comes_later(phase: int) -> None:
    """All ways: between any two callbacks, for any number of ticks that it makes up for."""
    for stall_tick, channel, ticks in itertools.product(range(40, 46), (0, 1), range(26)):
        block = stalled(phase, stall_tick, channel, ticks * 0.02, turn=7)
        both = (block[:, 0] > 0) & (block[:, 1] > 0)
        assert np.abs(block[both, 0].astype(int) - block[both, 1]).max() == 0
        for leg in (0, 1):
            heard = np.flatnonzero(block[:, leg])
            assert heard[-1] - heard[0] == len(heard) - 1


def test_an_absent_channel_holds_nothing_up_and_returns_in_its_place() -> None:
    aligner = Aligner(RATE)
    blocks = []
    for start in range(0, 80000, FRAME):
        feed(aligner, 0, start)
        if start < 16000 or start >= 48000:
            feed(aligner, 1, start)
        blocks.append(taken(aligner))
        assert sum(map(len, blocks)) >= start + FRAME - 0.6 * RATE
    block = np.concatenate(blocks)
    assert np.array_equal(block[:, 0], sound(0, 80000))
    assert np.array_equal(block[:16000, 1], sound(0, 16000))
    assert not block[16000:48000, 1].any()
    assert np.array_equal(block[48000:, 1], sound(48000, 32000))


def test_a_channel_that_returns_between_ticks_is_within_one() -> None:
    aligner = Aligner(RATE)
    for start in range(0, 16000, FRAME):
        feed(aligner, 0, start)
        feed(aligner, 1, start)
    for start in range(16000, 48000, FRAME):
        feed(aligner, 0, start)
        if start >= 32000:
            feed(aligner, 1, start + 250)
    assert abs(offset(taken(aligner))) <= 80


def test_both_channels_absent_are_both_silent_for_as_long() -> None:
    aligner = Aligner(RATE)
    for start in (*range(0, 8000, FRAME), *range(88000, 96000, FRAME)):
        feed(aligner, 0, start)
        feed(aligner, 1, start)
    block = taken(aligner)
    assert len(block) == 96000
    assert not block[8000:88000].any()
    assert np.array_equal(block[88000:, 1], sound(88000, 8000))


def test_a_channel_that_loses_ticks_is_padded_where_it_lost_them() -> None:
    for lost in (160, 480, 1280):
        for turn in (FRAME, 3 * FRAME, 5 * FRAME):
            aligner = Aligner(RATE)
            blocks = []
            for start in range(0, 40000, FRAME):
                feed(aligner, 0, start)
                feed(aligner, 1, start + (lost if start >= 16000 else 0))
                if start % turn == 0:
                    blocks.append(taken(aligner))
            block = np.concatenate([*blocks, taken(aligner)])
            padded = sound(0, len(block))
            padded[16000 : 16000 + lost] = 0
            assert np.array_equal(block[:, 0], sound(0, len(block)))
            assert np.array_equal(block[:, 1], padded)


def test_frames_that_disagree_hold_the_rest_up_no_longer_than_they_may() -> None:
    aligner = Aligner(RATE)
    taken_so_far = 0
    for number, start in enumerate(range(0, 80000, FRAME)):
        for channel in (0, 1):
            feed(aligner, channel, start, late=0.09 * (number % 2))
        taken_so_far += len(taken(aligner))
        assert taken_so_far >= start + FRAME - 0.4 * RATE


def test_a_leg_that_is_always_served_some_ms_later_is_not_moved() -> None:
    for late in (0.004, 0.014, -0.014):
        aligner = Aligner(RATE)
        feed(aligner, 0, 0)
        feed(aligner, 1, 0)
        for start in range(FRAME, 40000, FRAME):
            feed(aligner, 0, start)
            feed(aligner, 1, start, late=late)
        assert np.array_equal(taken(aligner), np.stack([sound(0, 40000)] * 2, axis=1))


def test_channels_that_keep_losing_ticks_stay_together() -> None:
    aligner = Aligner(RATE)
    ahead = [0, 0]
    for step in range(600):
        if step % 30 == 29:
            ahead[step % 60 // 30] += 160 * (1 + step % 7)
        for channel in (0, 1):
            feed(aligner, channel, step * FRAME + ahead[channel])
    for step in range(600, 620):
        for channel in (0, 1):
            feed(aligner, channel, step * FRAME + ahead[channel])
    assert abs(offset(taken(aligner))) <= 80


def test_frames_fed_faster_than_they_are_heard_are_counted() -> None:
    aligner = Aligner(RATE)
    for start in range(0, 80000, FRAME):
        aligner.add(0, sound(start), 1000.0 + start * 1e-8)
        aligner.add(1, sound(start), 1000.0 + start * 1e-8)
    block = taken(aligner, rest=True)
    assert np.array_equal(block[:, 0], block[:, 1])
    assert len(block) == 80000


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.0, 0.009)), min_size=1, max_size=120))
@settings(deadline=None)
def test_no_sound_is_lost_or_moved_against_its_own(history: list[tuple[int, float]]) -> None:
    """Whoever is fed in whatever order, each channel's samples come out once and in order."""
    aligner = Aligner(RATE)
    fed = [0, 0]
    blocks = []
    for channel, late in history:
        feed(aligner, channel, fed[channel], late=late)
        fed[channel] += FRAME
        blocks.append(taken(aligner))
    block = np.concatenate([*blocks, taken(aligner, rest=True)])
    for channel in (0, 1):
        heard = block[:, channel]
        assert np.array_equal(heard[heard != 0], sound(0, fed[channel]))


Loss = tuple[int, int, int]
losses = st.lists(st.tuples(st.integers(6, 15), st.integers(0, 1), st.integers(1, 8)), max_size=12)
"""After so many frames without one, this channel loses so many ticks."""


def handed_over(history: list[Loss]) -> list[tuple[int, int]]:
    """Channel and start of every frame that a bridge which loses those ticks hands over, in its order."""
    lost: tuple[list[Loss], list[Loss]] = ([], [])
    now = 0
    for frames, channel, ticks in history:
        now += frames * FRAME
        lost[channel].append((now, 0, ticks * 160))
    handed = []
    for channel in (0, 1):
        start = 0
        while start < now + 10 * FRAME:
            if lost[channel] and lost[channel][0][0] <= start:
                start += lost[channel].pop(0)[2]
            handed.append((start + FRAME, channel, start))
            start += FRAME
    return [(channel, start) for _, channel, start in sorted(handed)]


@given(losses, st.integers(1, 15), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_whatever_ticks_are_lost_all_is_heard_in_its_time(
    history: list[Loss], turn: int, chance: random.Random
) -> None:
    aligner = Aligner(RATE)
    blocks = []
    wanted: tuple[list[Samples], list[Samples]] = ([], [])
    for number, (channel, start) in enumerate(handed_over(history)):
        feed(aligner, channel, start, late=chance.uniform(0, 0.003))
        wanted[channel].append(sound(start))
        if number % turn == 0:
            blocks.append(taken(aligner))
    block = np.concatenate([*blocks, taken(aligner, rest=True)])
    both = (block[:, 0] > 0) & (block[:, 1] > 0)
    assert np.abs(block[both, 0].astype(int) - block[both, 1]).max(initial=0) <= 160
    for channel in (0, 1):
        heard = block[:, channel]
        assert np.array_equal(heard[heard > 0], np.concatenate(wanted[channel]))


@given(losses, st.integers(1, 15), st.integers(1, 1000), st.integers(1, 1000))
@settings(deadline=None)
def test_nothing_said_in_a_pause_is_kept_whatever_ticks_are_lost(
    history: list[Loss], turn: int, on: int, length: int
) -> None:
    aligner = Aligner(RATE)
    frames = handed_over(history)
    on %= len(frames)
    off = on + length % (len(frames) - on)
    blocks = []
    ending: set[int] = set()
    for number, (channel, start) in enumerate(frames):
        if number == on:
            aligner.silence(True)
        if number == off:
            aligner.silence(False)
            ending = {0, 1}
        secret = on <= number < off or channel in ending  # the frame after the end began before it
        ending.discard(channel)
        aligner.add(channel, sound(start) * (-1 if secret and on < off else 1), at(start + FRAME))
        if number % turn == 0:
            blocks.append(taken(aligner))
    block = np.concatenate([*blocks, taken(aligner, rest=True)])
    assert not (block < 0).any()


def paused(aligner: Aligner, on_at: int, off_at: int, until: int) -> Block:
    for start in range(0, until, FRAME):
        feed(aligner, 0, start)
        if start == on_at:
            aligner.silence(True)
        if start == off_at:
            aligner.silence(False)
        feed(aligner, 1, start)
    return taken(aligner, rest=True)


def test_a_pause_silences_both_channels_and_keeps_their_length() -> None:
    aligner = Aligner(RATE)
    block = paused(aligner, 8000, 16000, 32000)
    assert len(block) == 32000
    assert aligner.pauses == ((8000, 17600),)
    assert not block[8000:17600].any()
    for channel in (0, 1):
        assert np.array_equal(block[:8000, channel], sound(0, 8000))
        assert np.array_equal(block[17600:, channel], sound(17600, 32000 - 17600))


def test_the_frame_that_ends_a_pause_is_silent_too() -> None:
    """It brings what was said up to 100 ms before the key, on both legs."""
    aligner = Aligner(RATE)
    for start in range(0, 8000, FRAME):
        aligner.silence(2400 <= start < 4800)
        feed(aligner, 0, start)
        feed(aligner, 1, start)
    block = taken(aligner)
    assert aligner.pauses == ((2400, 5600),)
    assert not block[2400:5600].any()
    assert block[:2400].all()
    assert block[5600:].all()


def test_a_pause_asked_for_twice_is_one() -> None:
    aligner = Aligner(RATE)
    aligner.silence(False)
    for on in (True, True, False, False):
        aligner.silence(on)
    feed(aligner, 0, 0)
    feed(aligner, 1, 0)
    assert aligner.pauses == ((0, 800),)


def test_a_pause_resumed_at_once_is_one() -> None:
    aligner = Aligner(RATE)
    feed(aligner, 0, 0)
    feed(aligner, 1, 0)
    aligner.silence(True)
    aligner.silence(False)
    aligner.silence(True)
    assert len(aligner.pauses) == 1
    feed(aligner, 0, 800)
    feed(aligner, 1, 800)
    block = taken(aligner, rest=True)
    assert aligner.pauses == ((800, 1600),)
    assert block[:800].all()
    assert not block[800:].any()


def test_a_pause_does_not_reach_back_into_what_is_taken() -> None:
    aligner = Aligner(RATE)
    feed(aligner, 0, 0)
    feed(aligner, 1, 0, size=700)
    taken(aligner)
    aligner.silence(True)
    assert aligner.pauses == ((700, None),)


def test_a_pause_after_the_last_sound_is_none() -> None:
    aligner = Aligner(RATE)
    feed(aligner, 0, 0)
    feed(aligner, 1, 0)
    aligner.silence(True)
    aligner.silence(False)
    assert len(taken(aligner, rest=True)) == 800
    assert aligner.pauses == ()


def test_nothing_fed_is_nothing_taken() -> None:
    assert len(taken(Aligner(RATE), rest=True)) == 0
