"""Whether what was recorded is whole, and its two channels lie as they were heard, by the marks in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sipagent.softphone.rtp import RATE
from tests.bench.load_heard import ENDING_S, SETTLED_S, Heard
from tests.bench.load_mark import find_marks

ALIGNED_MS = 20.0
HOLE_MS = 60.0
CUT_HALVES = 2  # a mark that silence was put into is no hole


@dataclass(frozen=True, slots=True)
class Kept:
    """One recording: its longest hole in either channel, and by how much these are apart, ms.

    `lost_ms`: how much it lacks that the other phone has heard. The jitter buffer's holes are in both.
    """

    seconds: float
    closed: bool
    hole_ms: float
    offset_ms: float
    lost_ms: float

    @property
    def whole(self) -> bool:
        """A hole of less is the jitter buffer's, as the operator heard it."""
        holes = self.hole_ms > HOLE_MS or self.lost_ms > 0
        return self.closed and not holes and abs(self.offset_ms) <= ALIGNED_MS


def kept(
    sound: NDArray[np.int16], closed: bool, heard: Heard, by_leg: Mapping[int, NDArray[np.uint32]]
) -> Kept:
    """(n, 2) samples, looked at from the tone that says "recorded" to just before the call was hung up.

    `closed`, and nothing known to be missing; `by_leg` is `Heard.by_leg`.
    """
    seconds = len(sound) / RATE
    channels = [find_marks(np.ascontiguousarray(sound[:, channel])) for channel in (0, 1)]
    settled, ending = round(SETTLED_S * 100), round(ENDING_S * 100)
    if any(len(found) < settled + 100 + ending for found in channels):
        return Kept(seconds, False, seconds * 1000, 0.0, 0.0)
    channels = [found[settled:-ending] for found in channels]
    hole_ms = max(int(np.diff(found[:, 2]).max()) - 1 for found in channels) * 10.0
    # When a channel's sample 0 would have been said, by each of its pieces.
    began = [
        np.median(heard.said_ns(found[:, 1], found[:, 2]) - found[:, 0] * (1_000_000_000 // RATE))
        for found in channels
    ]
    lost_ms = sum(_lost_ms(found[:, 2], by_leg.get(int(found[0, 1]))) for found in channels)
    return Kept(seconds, closed, hole_ms, float(began[1] - began[0]) / 1e6, lost_ms)


def _lost_ms(halves: NDArray[np.int64], heard: NDArray[np.uint32] | None) -> float:
    """What lies in holes between these halves and was heard by the phone; a packet has two halves."""
    if heard is None:
        return 0.0
    holes = np.flatnonzero(np.diff(halves) > CUT_HALVES + 1)
    return sum(
        20.0 * int(((heard > halves[hole]) & (heard < halves[hole + 1])).sum()) for hole in map(int, holes)
    )
