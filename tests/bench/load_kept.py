"""Whether what was recorded is whole, and its two channels lie as they were heard, by the marks in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sipagent.softphone.rtp import RATE
from tests.bench.load_heard import ENDING_S, SETTLED_S, Heard
from tests.bench.load_mark import find_marks
from tests.peers.agent import Json, RunningAgent

ALIGNED_MS = 20.0
HOLE_MS = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One recording: its longest hole in either channel, and by how much these are apart, ms."""

    seconds: float
    closed: bool
    hole_ms: float
    offset_ms: float

    @property
    def whole(self) -> bool:
        """A hole of less is the jitter buffer's, as the operator heard it."""
        return self.closed and self.hole_ms <= HOLE_MS and abs(self.offset_ms) <= ALIGNED_MS


def kept(agent: RunningAgent, row: Json, heard: Heard) -> Kept:
    """Looked at from the tone that says "recorded" to just before the call was hung up."""
    sound = agent.sound(row)
    seconds = len(sound) / RATE
    whole = row["status"] == "closed" and not row["incomplete"]
    channels = [find_marks(np.ascontiguousarray(sound[:, channel])) for channel in (0, 1)]
    settled, ending = round(SETTLED_S * 100), round(ENDING_S * 100)
    if any(len(found) < settled + 100 + ending for found in channels):
        return Kept(seconds, False, seconds * 1000, 0.0)
    channels = [found[settled:-ending] for found in channels]
    hole_ms = max(int(np.diff(found[:, 2]).max()) - 1 for found in channels) * 10.0
    # When a channel's sample 0 would have been said, by each of its pieces.
    began = [
        np.median(heard.said_ns(found[:, 1], found[:, 2]) - found[:, 0] * (1_000_000_000 // RATE))
        for found in channels
    ]
    return Kept(seconds, whole, hole_ms, float(began[1] - began[0]) / 1e6)
