"""Puts continuing speech through the embedding and the heads only once: each question adds only what is new.

    question ─ where it lies ─▶ deep steps of the question before ─┐
             └ what is new ───▶ log_mel ─ Embedding ─ deepen ──────┴▶ deep steps of all of it

A step depends only on the spectra that it sees, wherever a sound is cut. So what was computed for the
question before is what would be computed now; without it, it is computed again. What is kept are numbers from
which no voice can be reconstructed, of at most the last STREAMS, in memory, until a question says that it is
the last.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from media.frame import Samples
from media.hearing.embedding import HOP, OWN, STRIDE, Embedding, Floats
from media.hearing.head import DEEP, REACH, Head, Tails, steps_of
from media.hearing.keyword import StreamPosition

STEP = STRIDE * HOP
"""Samples from one step to the next. Questions begin at multiples of it."""
STREAMS = 256
"""Some 40 kB each, five times as much of what may be a phrase."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a stream: `deep` steps by head, the number of the `first`; `next`: that of the first
    step not seen."""

    heads: Sequence[Head]
    first: int
    next: int
    deep: list[Floats]
    tails: list[Tails]


class Streams:
    """For one thread at a time."""

    def __init__(self, embedding: Embedding) -> None:
        self._embedding = embedding
        self._known: OrderedDict[int, dict[float, _Known]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def deep(
        self,
        heads: Sequence[Head],
        samples: Samples,
        place: StreamPosition | None = None,
        warps: Sequence[float] = (OWN,),
    ) -> list[list[Floats]]:
        """(n, DEEP) by head of (m,) int16, for each of these vocal tracts; n is 0 for less than a deep step
        sees.

        The same with a `place` as without.
        """
        known = {} if place is None else self._known.get(place.stream, {})
        begins = 0 if place is None else -(-place.at // STEP)
        heard = samples if place is None else samples[-place.at % STEP :]
        for warp in warps:
            before = known.pop(warp, None)  # no longer true if the network fails half-way
            known[warp] = self._following(heads, before, begins, heard, warp)
        deep = [known[warp].deep for warp in warps]
        if place is not None and len(deep[0][0]):
            self._known[place.stream] = known
            self._known.move_to_end(place.stream)
            if len(self._known) > STREAMS:
                self._known.popitem(last=False)
        return deep

    def forget(self, stream: int) -> None:
        """Nothing more is asked about it."""
        self._known.pop(stream, None)

    def _following(
        self, heads: Sequence[Head], known: _Known | None, begins: int, samples: Samples, warp: float
    ) -> _Known:
        """What is known of a question that begins with that step."""
        if known is None or not _helps(known, heads, begins, len(samples)):
            nothing = [np.zeros((0, DEEP), dtype=np.float32) for _ in heads]
            known = _Known(heads, begins, begins, nothing, [{} for _ in heads])
        new = steps_of(self._embedding, samples[(known.next - begins) * STEP :], warp)
        deep = [
            np.concatenate([part[begins - known.first :], head.deepen(new, tails)])
            for part, head, tails in zip(known.deep, heads, known.tails, strict=True)
        ]
        return _Known(heads, begins, known.next + len(new), deep, known.tails)


def _helps(known: _Known, heads: Sequence[Head], begins: int, length: int) -> bool:
    """Whether it is of these heads, and the question begins in it and ends after it."""
    begins_in_it = known.first <= begins <= known.next - REACH
    return heads is known.heads and begins_in_it and known.next * STEP <= begins * STEP + length
