"""The mark in all that the load generator sends: which leg, and when; how it is found, what it tells.

A-law to linear and back is exact, and the agent's bridge joins two legs without touching a sample, so bytes
that went in come out, in RTP and in the recording. There is a mark each 10 ms, in
halves of a frame, and it may come at any place in another packet: pjmedia's jitter buffer knows frames of
10 ms, and what it leaves out may be less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sipagent.softphone.rtp import LEVELS, RATE

FRAME = 160
HALF = 80
PHASES = 4  # real lines don't send at the same moment: a leg has its 5 ms of each 20
MAGIC = np.array((0x12, 0xA9, 0x33, 0x8E), np.uint8)
MARK = 12  # bytes: magic (4), leg (2), half (4), and the sum of those ten (2), never 0; big-endian
PCMA = 8  # RFC 3551
KINDS = ("caller", "operator")
SETTLED_S = 1.5  # after the first mark: the tone that says "recorded" is mixed over the first ones
ENDING_S = 0.2  # what was under way when the call was hung up
GAP_MS = HOLE_MS = 60.0
ALIGNED_MS = 20.0
CUT_HALVES = 2  # a mark that silence was put into is no hole

PACKET = np.dtype([
    ("at_ns", "i8"), ("kind", "u1"), ("port", "u2"), ("sequence", "u2"), ("ssrc", "u4"), ("type", "u1"),
    ("marked", "?"), ("leg", "u2"), ("half", "u4"), ("place", "u1"),
])  # fmt: skip
"""One packet heard on the socket of `kind`, from `port`; the rest is the first mark's, where `marked`."""


def marks(legs: NDArray[np.uint16], half: int) -> NDArray[np.uint8]:
    """(n, 12) bytes for n legs."""
    out = np.empty((len(legs), MARK), np.uint8)
    out[:, :4] = MAGIC
    out[:, 4:6] = legs.astype(">u2").view(np.uint8).reshape(-1, 2)
    out[:, 6:10] = np.array([half], ">u4").view(np.uint8)
    out[:, 10:12] = out[:, :10].sum(1, dtype=np.uint16).astype(">u2").view(np.uint8).reshape(-1, 2)
    return out


def read_marks(said: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.uint16], NDArray[np.uint32]]:
    """Of (n, 12) bytes: which hold a mark, whose, and of which half."""
    said = np.ascontiguousarray(said)
    sums = said[:, :10].sum(1, dtype=np.uint16)
    told = np.ascontiguousarray(said[:, 10:12]).view(">u2")[:, 0]
    valid = (said[:, :4] == MAGIC).all(1) & (sums == told)
    legs = np.ascontiguousarray(said[:, 4:6]).view(">u2")[:, 0].astype(np.uint16)
    halves = np.ascontiguousarray(said[:, 6:10]).view(">u4")[:, 0].astype(np.uint32)
    return valid, legs, halves


def first_marks(
    said: NDArray[np.uint8],
) -> tuple[NDArray[np.bool_], NDArray[np.uint16], NDArray[np.uint32], NDArray[np.int64]]:
    """Of (n, 92) bytes, n payloads' beginnings: which hold a mark, whose, of which half, at which place."""
    hits = np.ones((len(said), HALF), bool)
    for place, byte in enumerate(MAGIC):
        hits &= said[:, place : place + HALF] == byte
    places = hits.argmax(1)
    valid, legs, halves = read_marks(said[np.arange(len(said))[:, None], places[:, None] + np.arange(MARK)])
    return valid, legs, halves, places


def find_marks(samples: NDArray[np.int16]) -> NDArray[Any]:
    """Of (n,) linear samples of a recording: (k, 3), where each mark begins, whose it is, which half."""
    codes = _CODE_OF[samples.view(np.uint16)]
    last = len(codes) - MARK + 1
    hits = np.ones(max(0, last), bool)
    for place, byte in enumerate(MAGIC):
        hits &= codes[place : place + last] == byte
    places = np.flatnonzero(hits)
    valid, legs, halves = read_marks(codes[places[:, None] + np.arange(MARK)])
    return np.stack((places, legs, halves), axis=1)[valid]


_CODE_OF = np.zeros(65536, np.uint8)  # of the 256 levels alone: a sample in between is no mark's
_CODE_OF[LEVELS[8].view(np.uint16)] = np.arange(256)


# --- what the generator has heard, made figures ---


@dataclass(frozen=True, slots=True)
class Stream:
    """What one leg heard while it was bridged: ms between packets, and of each mark how late it was, ms."""

    kind: str
    leg: int  # whose marks these are
    gaps_ms: NDArray[np.float64]
    delays_ms: NDArray[np.float64]
    lost_packets: int  # by the sequence numbers of what the agent sent
    skipped_s: float  # of what was said: left out by the jitter buffer, or lost
    hole_ms: float  # the longest piece of that
    said_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """All packets heard (PACKET), all moments at which was sent (phase, frame, ns), packets without room."""

    packets: NDArray[Any]
    sent: NDArray[np.int64]
    drops: int

    def between(self, first_ns: int, last_ns: int) -> Heard:
        """What was heard from one moment to another."""
        at = self.packets["at_ns"]
        return Heard(self.packets[(at >= first_ns) & (at < last_ns)], self.sent, self.drops)

    def said_ns(self, legs: NDArray[Any], halves: NDArray[Any]) -> NDArray[np.int64]:
        """When these halves were said: the first of a packet when that was sent, the second 10 ms later."""
        table = np.zeros((PHASES, int(self.sent[:, 1].max(initial=0)) + 1), np.int64)
        table[self.sent[:, 0], self.sent[:, 1]] = self.sent[:, 2]
        found: NDArray[np.int64] = (
            table[legs % PHASES, halves // 2] + halves.astype(np.int64) % 2 * 10_000_000
        )
        return found

    def by_leg(self) -> dict[int, NDArray[np.uint32]]:
        """Of each leg: the first half in every packet in which it was heard."""
        told = self.packets[self.packets["marked"]]
        told = told[np.argsort(told["leg"], kind="stable")]
        legs, first = np.unique(told["leg"], return_index=True)
        return dict(zip(map(int, legs), np.split(told["half"], first[1:]), strict=True))

    def late_ms(self) -> float:
        """How late the generator itself was, p99: two frames of a leg are 20 ms apart."""
        steps = [np.diff(self.sent[self.sent[:, 0] == phase, 2]) for phase in range(PHASES)]
        return float(np.percentile(np.concatenate(steps), 99)) / 1e6 - 20

    def streams(self) -> list[Stream]:
        """One for each leg that heard another one."""
        found = [self._stream(kind, rows) for kind in KINDS for rows in self._by_stream(kind)]
        return [stream for stream in found if stream is not None]

    def longest_gaps_ms(self, kind: str) -> list[float]:
        """Of each stream to a caller or an operator, from its first packet to its last, whatever is in it."""
        return [float(np.diff(rows["at_ns"]).max()) / 1e6 for rows in self._by_stream(kind) if len(rows) > 1]

    def _by_stream(self, kind: str) -> list[NDArray[Any]]:
        of_kind = self.packets[self.packets["kind"] == KINDS.index(kind)]
        keys = of_kind["port"].astype(np.uint64) << np.uint64(32) | of_kind["ssrc"]
        order = np.argsort(keys, kind="stable")
        return np.split(of_kind[order], np.flatnonzero(np.diff(keys[order])) + 1)

    def _stream(self, kind: str, packets: NDArray[Any]) -> Stream | None:
        marked = np.flatnonzero(packets["marked"])
        settled, ending = round(SETTLED_S * 50), round(ENDING_S * 50)
        if len(marked) < settled + 50 + ending:
            return None
        talk = packets[marked[settled] : marked[-ending] + 1]
        sound = talk[talk["type"] == PCMA]
        told = sound[sound["marked"]]
        order = np.sort(sound["sequence"].astype(np.int64) - int(sound["sequence"][0]) + 0x8000 & 0xFFFF)
        heard_ns = told["at_ns"] + told["place"].astype(np.int64) * 125_000
        steps = np.diff(told["half"].astype(np.int64))
        return Stream(
            kind,
            int(told["leg"][0]),
            np.diff(sound["at_ns"]) / 1e6,
            (heard_ns - self.said_ns(told["leg"], told["half"])) / 1e6,
            int(order[-1] - order[0] + 1 - len(np.unique(order))),
            float((steps[steps > 2] - 2).sum()) / 100,
            max(0, int(steps.max(initial=2)) - 2) * 10.0,
            float(told["half"][-1] - told["half"][0]) / 100,
        )


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
