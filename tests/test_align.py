"""Channels laid side by side by what was heard together, whatever the bridge makes of the frames."""

import itertools
import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.frame import Samples
from media.recording.chunks import Block
from media.recording.tap import Aligner, LostRun
from tests import tiers

RATE, FRAME = 8000, 800


def sound(start: int, size: int = FRAME) -> Samples:
    """What is heard from position `start` on: every sample tells its place, none is 0."""
    return ((np.arange(start, start + size) % 30000) + 1).astype(np.int16)


def both(start: int, size: int) -> Block:
    return np.stack([sound(start, size)] * 2, axis=1)


def at(position: int) -> float:
    """When the bridge hands over a frame that ends at `position`."""
    return 1000.0 + position / RATE


class Lanes:
    """An aligner that is fed frames and taken from; `block` is all that has come out of it."""

    def __init__(self) -> None:
        self.aligner = Aligner(RATE)
        self.block: Block = np.zeros((0, 2), dtype=np.int16)

    def feed(self, channel: int, start: int, *, late: float = 0.0, size: int = FRAME) -> None:
        self.aligner.add(channel, sound(start, size), at(start + size) + late)

    def feed_both(self, starts: Iterable[int], late: Callable[[int], float] = lambda start: 0.0) -> None:
        for start in starts:
            for channel in (0, 1):
                self.feed(channel, start, late=late(start))

    def take(self, *, rest: bool = False) -> Block:
        blocks = [*self.aligner.take(), *(self.aligner.take_rest() if rest else ())]
        assert all(len(block) <= RATE for block in blocks)
        self.block = np.concatenate([self.block, *blocks])
        return self.block

    def apart(self) -> int:
        """By how many samples the channels are apart at most, where both are heard."""
        block = self.take(rest=True).astype(int)
        heard = block[(block[:, 0] > 0) & (block[:, 1] > 0)]
        return int(np.abs(heard[:, 0] - heard[:, 1]).max(initial=0))

    def heard(self, channel: int) -> Samples:
        heard: Samples = self.block[self.block[:, channel] != 0, channel]
        return heard


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


def test_what_only_one_channel_has_reached_waits(lanes: Lanes) -> None:
    assert len(lanes.take()) == 0
    lanes.feed(0, 0)
    assert len(lanes.take()) == 0
    lanes.feed(1, 0, size=300)
    assert len(lanes.take()) == 300 and len(lanes.take(rest=True)) == 800


@pytest.mark.parametrize("ticks", [0, 1, 3, 5, 12])
@pytest.mark.parametrize("late", [-0.008, 0.0, 0.008])
def test_a_channel_that_begins_later_is_padded_by_whole_ticks(lanes: Lanes, ticks: int, late: float) -> None:
    lanes.feed(0, 0)
    lanes.feed(0, FRAME)
    lanes.feed(1, ticks * 160, late=late)
    column = lanes.take(rest=True)[:, 1]
    begins = int(np.flatnonzero(column)[0])
    assert begins == ticks * 160 and np.array_equal(column[begins : begins + FRAME], sound(begins))


def test_a_leg_that_is_always_served_some_ms_later_is_not_moved() -> None:
    for late in (0.004, 0.014, -0.014):
        lanes = Lanes()
        for start in range(0, 40000, FRAME):
            lanes.feed(0, start)
            lanes.feed(1, start, late=late if start else 0.0)
        assert np.array_equal(lanes.take(), both(0, 40000))


def stalled(phase: int, stall_tick: int, channel: int, stall_s: float) -> Lanes:
    """Two legs whose frames end `phase` ticks apart, a clock that stands still before it serves `channel`.

    It makes up for all ticks that it is behind then, as the bridge's does up to 0.5 s.
    """
    lanes, now = Lanes(), at(0)
    for tick in range(1, 120):
        now = max(now, at(tick * 160))
        for leg in (0, 1):
            now += 0.0005 + (stall_s if (tick, leg) == (stall_tick, channel) else 0.0)
            if (tick - phase * leg) % 5 == 0 and tick > phase * leg:
                lanes.aligner.add(leg, sound(tick * 160 - FRAME), now)
        if tick % 7 == 0:
            lanes.take()
    return lanes


@pytest.mark.parametrize("phase", range(5))
def test_wherever_the_clock_stands_still_nothing_is_silence_that_comes_later(phase: int) -> None:
    """All ways: between any two callbacks, for any number of ticks that it makes up for."""
    spans = range(0, 26, tiers.depth(3, 1))
    for stall_tick, channel, ticks in itertools.product(range(40, 46), (0, 1), spans):
        lanes = stalled(phase, stall_tick, channel, ticks * 0.02)
        assert lanes.apart() == 0
        for leg in (0, 1):
            heard = np.flatnonzero(lanes.block[:, leg])
            assert heard[-1] - heard[0] == len(heard) - 1


def test_an_absent_channel_holds_nothing_up_and_returns_in_its_place(lanes: Lanes) -> None:
    for start in range(0, 80000, FRAME):
        lanes.feed(0, start)
        if start < 16000 or start >= 48000:
            lanes.feed(1, start)
        assert len(lanes.take()) >= start + FRAME - 0.6 * RATE
    wanted = both(0, 80000)
    wanted[16000:48000, 1] = 0
    assert np.array_equal(lanes.block, wanted)


def test_a_channel_that_returns_between_ticks_is_within_one(lanes: Lanes) -> None:
    lanes.feed_both(range(0, 16000, FRAME))
    for start in range(16000, 48000, FRAME):
        lanes.feed(0, start)
        if start >= 32000:
            lanes.feed(1, start + 250)
    assert lanes.apart() <= 90


def test_both_channels_absent_are_both_silent_for_as_long(lanes: Lanes) -> None:
    lanes.feed_both((*range(0, 8000, FRAME), *range(88000, 96000, FRAME)))
    wanted = both(0, 96000)
    wanted[8000:88000] = 0
    assert np.array_equal(lanes.take(), wanted)


def test_a_channel_that_is_away_for_a_while_is_told_of_where_it_was(lanes: Lanes) -> None:
    for start in range(0, 40000, FRAME):
        lanes.feed(0, start)
        if not 8000 <= start < 24000:
            lanes.feed(1, start)
    lanes.take(rest=True)
    assert lanes.aligner.gaps() == ((1, 8000, 24000, "not_fed"),) and lanes.aligner.gaps() == ()


@pytest.mark.parametrize("at_once", [16000, 17600, 24000])
def test_missing_sound_is_told_where_it_stands_in_the_end(lanes: Lanes, at_once: int) -> None:
    """Also where its channel is moved afterwards."""
    for start in range(0, 40000, FRAME):
        lanes.feed(0, start)
        later = start + (480 if start >= 16000 else 0)
        if start == at_once:
            lanes.aligner.add(1, LostRun(FRAME), at(later + FRAME))
        else:
            lanes.feed(1, later)
    silent = np.flatnonzero(lanes.take(rest=True)[:40000, 1] == 0)
    ((_, first, last, _),) = [one for one in lanes.aligner.gaps() if one.why == "lost"]
    assert last - first == FRAME and set(range(first, last)) <= set(silent.tolist())
    assert lanes.apart() == 0 and first == at_once + 480


@pytest.mark.parametrize("lost", [160, 480, 1280])
@pytest.mark.parametrize("turn", [FRAME, 3 * FRAME, 5 * FRAME])
def test_a_channel_that_loses_ticks_is_padded_where_it_lost_them(lanes: Lanes, lost: int, turn: int) -> None:
    for start in range(0, 40000, FRAME):
        lanes.feed(0, start)
        lanes.feed(1, start + (lost if start >= 16000 else 0))
        if start % turn == 0:
            lanes.take()
    wanted = both(0, len(lanes.take()))
    wanted[16000 : 16000 + lost, 1] = 0
    assert np.array_equal(lanes.block, wanted)


def test_frames_that_disagree_hold_the_rest_up_no_longer_than_they_may(lanes: Lanes) -> None:
    for number, start in enumerate(range(0, 80000, FRAME)):
        lanes.feed_both([start], lambda start, number=number: 0.09 * (number % 2))  # type: ignore[misc]
        assert len(lanes.take()) >= start + FRAME - 0.4 * RATE


def test_frames_fed_faster_than_they_are_heard_are_counted(lanes: Lanes) -> None:
    for start in range(0, 80000, FRAME):
        for channel in (0, 1):
            lanes.aligner.add(channel, sound(start), 1000.0 + start * 1e-8)
    block = lanes.take(rest=True)
    assert len(block) == 80000 and np.array_equal(block[:, 0], block[:, 1])


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0.0, 0.009)), min_size=1, max_size=120))
@settings(deadline=None)
def test_no_sound_is_lost_or_moved_against_its_own(history: list[tuple[int, float]]) -> None:
    """Whoever is fed in whatever order, each channel's samples come out once and in order."""
    lanes, fed = Lanes(), [0, 0]
    for channel, late in history:
        lanes.feed(channel, fed[channel], late=late)
        fed[channel] += FRAME
        lanes.take()
    lanes.take(rest=True)
    for channel in (0, 1):
        assert np.array_equal(lanes.heard(channel), sound(0, fed[channel]))


Loss = tuple[int, int, int]
losses = st.lists(st.tuples(st.integers(6, 15), st.integers(0, 1), st.integers(1, 8)), max_size=12)
"""After so many frames without one, this channel loses so many ticks."""


def handed_over(history: list[Loss]) -> list[tuple[int, int]]:
    """Channel and start of every frame that a bridge which loses those ticks hands over, in its order."""
    lost: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    now = 0
    for frames, channel, ticks in history:
        now += frames * FRAME
        lost[channel].append((now, ticks * 160))
    handed = []
    for channel in (0, 1):
        start = 0
        while start < now + 10 * FRAME:
            if lost[channel] and lost[channel][0][0] <= start:
                start += lost[channel].pop(0)[1]
            handed.append((start + FRAME, channel, start))
            start += FRAME
    return [(channel, start) for _, channel, start in sorted(handed)]


@given(losses, st.integers(1, 15), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_whatever_ticks_are_lost_all_is_heard_in_its_time(
    history: list[Loss], turn: int, chance: random.Random
) -> None:
    lanes = Lanes()
    wanted: tuple[list[Samples], list[Samples]] = ([], [])
    for number, (channel, start) in enumerate(handed_over(history)):
        lanes.feed(channel, start, late=chance.uniform(0, 0.003))
        wanted[channel].append(sound(start))
        if number % turn == 0:
            lanes.take()
    assert lanes.apart() <= 160
    for channel in (0, 1):
        assert np.array_equal(lanes.heard(channel), np.concatenate(wanted[channel]))


@given(losses, st.integers(1, 15), st.integers(1, 1000), st.integers(1, 1000))
@settings(deadline=None)
def test_nothing_said_in_a_pause_is_kept_whatever_ticks_are_lost(
    history: list[Loss], turn: int, on: int, length: int
) -> None:
    lanes, frames = Lanes(), handed_over(history)
    on %= len(frames)
    off = on + length % (len(frames) - on)
    ending: set[int] = set()
    for number, (channel, start) in enumerate(frames):
        if number == on:
            lanes.aligner.silence(True)
        if number == off:
            lanes.aligner.silence(False)
            ending = {0, 1}
        secret = on <= number < off or channel in ending  # the frame after the end began before it
        ending.discard(channel)
        lanes.aligner.add(channel, sound(start) * (-1 if secret and on < off else 1), at(start + FRAME))
        if number % turn == 0:
            lanes.take()
    assert not (lanes.take(rest=True) < 0).any()


@pytest.mark.parametrize(
    ("asked", "taken", "pauses"),
    [
        ((False, True, True, False, False), 0, ((0, 800),)),  # twice is once
        ((True, False, True), 800, ((800, 1600),)),  # resumed at once, it is one
        ((True, False), 1600, ()),  # after the last sound it is none
    ],
)
def test_a_pause_is_told_where_it_was(
    lanes: Lanes, asked: tuple[bool, ...], taken: int, pauses: tuple[tuple[int, int], ...]
) -> None:
    lanes.feed_both(range(0, taken, FRAME))
    for on in asked:
        lanes.aligner.silence(on)
    lanes.feed_both(range(taken, 1600, FRAME))
    block = lanes.take(rest=True)
    assert lanes.aligner.pauses == pauses and len(block) == 1600
    silent = {place for start, stop in pauses for place in range(start, stop)}
    assert {*np.flatnonzero(~block.any(axis=1)).tolist()} == silent


def test_a_pause_does_not_reach_back_into_what_is_taken(lanes: Lanes) -> None:
    lanes.feed(0, 0)
    lanes.feed(1, 0, size=700)
    lanes.take()
    lanes.aligner.silence(True)
    assert lanes.aligner.pauses == ((700, None),)
