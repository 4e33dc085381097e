"""The mark in all that the load generator sends: which leg, and when; and how it is found again.

A-law to linear and back is exact, and the agent's bridge joins two legs without touching a sample, so bytes
that went in come out, in RTP and in the recording. There is a mark each 10 ms, in
halves of a frame, and it may come at any place in another packet: pjmedia's jitter buffer knows frames of
10 ms, and what it leaves out may be less.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sipagent.softphone.rtp import LEVELS

FRAME = 160
HALF = 80
PHASES = 4  # real lines don't send at the same moment: a leg has its 5 ms of each 20
MAGIC = np.array((0x12, 0xA9, 0x33, 0x8E), np.uint8)
MARK = 12  # bytes: magic (4), leg (2), half (4), and the sum of those ten (2), never 0; big-endian
PCMA = 8  # RFC 3551
KINDS = ("caller", "operator")

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


def read_marks(
    said: NDArray[np.uint8],
) -> tuple[NDArray[np.bool_], NDArray[np.uint16], NDArray[np.uint32]]:
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
