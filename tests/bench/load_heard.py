"""What the load generator has heard, made figures: gaps, losses, and how long the bridge holds a frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.bench.load_mark import KINDS, PCMA, PHASES

SETTLED_S = 1.5  # after the first mark: the tone that says "recorded" is mixed over the first ones
ENDING_S = 0.2  # what was under way when the call was hung up
GAP_MS = 60.0


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
        found = []
        for kind, name in enumerate(KINDS):
            of_kind = self.packets[self.packets["kind"] == kind]
            keys = of_kind["port"].astype(np.uint64) << np.uint64(32) | of_kind["ssrc"]
            order = np.argsort(keys, kind="stable")
            edges = np.flatnonzero(np.diff(keys[order])) + 1
            for rows in np.split(order, edges):
                if (stream := self._stream(name, of_kind[rows])) is not None:
                    found.append(stream)
        return found

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
