"""Joins two legs' frames to one stereo stream: what was heard together lies side by side.

The bridge gives each leg's frames separately. Counting samples is the exact clock, so a channel normally
continues where its last frame ended. Three things break the count, and the time at which a frame was given
corrects it:

- The channels don't begin in the same tick: the later one is padded with silence by the difference.
- A leg is away for a while (its media is renegotiated): the other doesn't wait, and it returns by time.
- The bridge throws away up to two started frames whenever a port's sources change (pjmedia's `write_port`
  clears `tx_buf_count` and `tx_heart_beat`), so a channel falls behind by a few ticks permanently. Once the
  last few frames of both channels agree on how far, the one behind is padded where it fell behind; until
  then, these frames are kept.

All differences are rounded to ticks of 20 ms: smaller ones are delays of the thread, not of the sound. Audio
is never cut, only padded. No clock is read here and no thread started.
"""

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from media.frame import Samples
from media.recording.chunks import Block

Run: TypeAlias = "Samples | int"
"""Audio, or a number of samples of silence."""

TICK_S = 0.02
"""The bridge's tick."""

AWAY_S = 0.6
"""A channel that gives nothing for longer is away. The bridge's clock itself catches up at most 0.5 s."""

RETURN_S = 0.3
"""How much of an absent channel stays open, so that it can return in its place."""

WITNESSES = 4
"""How many frames in a row must agree before a channel is moved."""

CALM_S = 0.04
"""Agreement: how much the delays of those frames may differ."""

SHORT_OF_TICK = 0.25
"""How much of a tick may be missing to a whole one: a busy bridge serves one leg some ms later."""


def _size(run: Run) -> int:
    return run if isinstance(run, int) else run.size


class _Lane:
    """One channel: what isn't taken yet, and the times of its samples."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._runs: deque[Run] = deque()
        self.end = 0
        self.heard_end = 0
        self.heard_at: float | None = None
        self._witnesses: deque[tuple[int, float]] = deque(
            maxlen=WITNESSES
        )  # start, samples ahead of the clock

    def append(self, run: Run) -> None:
        self._runs.append(run)
        self.end += _size(run)

    def pad_to(self, position: int) -> None:
        if position > self.end:
            self.append(position - self.end)

    def hear(self, run: Run, at: float) -> None:
        self._witnesses.append((self.end, self.end + _size(run) - at * self._rate))
        self.append(run)
        self.heard_end = self.end
        self.heard_at = at

    @property
    def lead(self) -> float:
        """By how many samples it is ahead of the clock: the frame with the least delay tells best."""
        return max(lead for _, lead in self._witnesses)

    @property
    def settled(self) -> int:
        """The position up to which its frames agree about that, or it is absent."""
        agreed = self._spread() < self._rate * TICK_S * (1 - SHORT_OF_TICK)
        return self.end if agreed or self.end > self.heard_end else self._witnesses[1][0]

    def is_calm(self) -> bool:
        return len(self._witnesses) == WITNESSES and self._spread() < CALM_S * self._rate

    def shift(self, samples: int, earliest: int) -> int:
        """Insert this much silence before the frames that agree, but not before `earliest`; where it
        begins."""
        position = max(self._witnesses[0][0], earliest)
        later: deque[Run] = deque()
        start = self.end
        while start > position:  # runs begin where frames do, and where the last block ended
            later.appendleft(self._runs.pop())
            start -= _size(later[0])
        self._runs.append(samples)
        self._runs.extend(later)
        self.end += samples
        self.heard_end += samples
        shifted = [(start + samples, lead + samples) for start, lead in self._witnesses]
        self._witnesses = deque(shifted, maxlen=WITNESSES)
        return position

    def _spread(self) -> float:
        leads = [lead for _, lead in self._witnesses]
        return max(leads, default=0.0) - min(leads, default=0.0)

    def move_into(self, column: Samples) -> None:
        """Take as many samples as the zeroed `column` has."""
        filled = 0
        while filled < column.size:
            run = self._runs.popleft()
            size = _size(run)
            used = min(size, column.size - filled)
            if not isinstance(run, int):
                column[filled : filled + used] = run[:used]
            if used < size:
                self._runs.appendleft(size - used if isinstance(run, int) else run[used:])
            filled += used


class Aligner:
    """Takes frames and silences in the order in which they happened, gives blocks; for one thread."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tick = round(TICK_S * rate)
        self._frame = rate // 10
        self._lanes = (_Lane(rate), _Lane(rate))
        self._pauses: list[tuple[int, int | None]] = []
        self.taken = 0

    @property
    def pauses(self) -> tuple[tuple[int, int | None], ...]:
        """Spans of positions in samples; the last one ends with None while it lasts."""
        return tuple(self._pauses)

    def add(self, channel: int, run: Run, at: float) -> None:
        """A frame of channel 0 or 1 whose last sample ended at `at`, in s on a monotonic clock."""
        lane, other = self._lanes[channel], self._lanes[1 - channel]
        size = _size(run)
        if lane.heard_at is None:
            lane.pad_to(self._first_position(other, size, at))
        else:
            missing = at - lane.heard_at - size / self._rate
            if missing > AWAY_S:
                lane.pad_to(lane.heard_end + self._ticks(missing * self._rate))
        lane.hear(run, at)
        self._straighten(lane, other)

    def silence(self, on: bool) -> None:
        """From now on both channels are silent, or no longer.

        Silences too much rather than leave a digit of a card number: the whole frame in which it is asked
        for, and the frame after its end, which still has earlier sound.
        """
        if on == self._is_silent():
            return
        ends = [lane.end for lane in self._lanes]
        if not on:
            self._pauses[-1] = (self._pauses[-1][0], max(ends) + self._frame)
            return
        start = min(ends)
        if self._pauses and (self._pauses[-1][1] or 0) >= start:
            start = self._pauses.pop()[0]
        self._pauses.append((start, None))

    def take(self) -> Iterator[Block]:
        """(n, 2) int16 blocks of at most a second: everything that is settled in both channels."""
        ends = [lane.end for lane in self._lanes]
        for lane in self._lanes:
            if max(ends) - lane.end > AWAY_S * self._rate:
                lane.pad_to(max(ends) - round(RETURN_S * self._rate))
        return self._blocks(min(lane.settled for lane in self._lanes))

    def take_rest(self) -> Iterator[Block]:
        """Everything left, the shorter channel padded; nothing may be added after it."""
        end = max(lane.end for lane in self._lanes)
        for lane in self._lanes:
            lane.pad_to(end)
        if self._pauses:
            start, stop = self._pauses.pop()
            if start < end:
                self._pauses.append((start, end if stop is None else min(stop, end)))
        return self._blocks(end)

    def _is_silent(self) -> bool:
        return bool(self._pauses) and self._pauses[-1][1] is None

    def _ticks(self, samples: float) -> int:
        return round(samples / self._tick) * self._tick

    def _first_position(self, other: _Lane, size: int, at: float) -> int:
        if other.heard_at is None:
            return 0
        return other.heard_end + self._ticks((at - other.heard_at) * self._rate - size)

    def _straighten(self, lane: _Lane, other: _Lane) -> None:
        """Pad the channel that has fallen behind, once the frames of both agree."""
        if not (lane.is_calm() and other.is_calm()):
            return
        ahead = lane.lead - other.lead
        missing = int(abs(ahead) / self._tick + SHORT_OF_TICK) * self._tick
        if missing == 0:
            return
        moved_from = (other if ahead > 0 else lane).shift(missing, self.taken)
        self._pauses = [  # what was said in a pause moves with it
            (start, stop + missing if stop is not None and stop > moved_from else stop)
            for start, stop in self._pauses
        ]

    def _blocks(self, end: int) -> Iterator[Block]:
        while self.taken < end:
            block = np.zeros((min(end - self.taken, self._rate), len(self._lanes)), dtype=np.int16)
            for channel, lane in enumerate(self._lanes):
                lane.move_into(block[:, channel])
            for start, stop in self._pauses:
                upto = block.shape[0] if stop is None else max(0, stop - self.taken)
                block[max(0, start - self.taken) : upto] = 0
            self.taken += block.shape[0]
            yield block
