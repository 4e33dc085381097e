"""A sound of each caller's own, by which it is found again wherever it lies.

It holds the mark of `tests.bench.load_mark` every 10 ms, with the caller's number in it. A-law is exact, and
so is the bridge: whoever can open a recording finds there who spoke.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import numpy as np
from nacl.exceptions import CryptoError
from numpy.typing import NDArray

from sipagent.softphone.rtp import LEVELS, Samples
from tests.bench.load_mark import FRAME, HALF, MAGIC, MARK, PCMA, find_marks, marks
from tests.sealed_reader import AUDIO, file_key, opened

_SILENCE = 0xD5  # in A-law
_LEVELS = LEVELS[PCMA][MAGIC].astype("<i2").tobytes()
# the beginning of a mark, as it lies in the PCM of two channels, in either of them, or of one
IN_CLEAR = re.compile(
    b"|".join(
        between.join(re.escape(_LEVELS[at : at + 2]) for at in range(0, len(_LEVELS), 2))
        for between in (b"..", b"")
    ),
    re.DOTALL,
)


class Marked:
    """What the caller `number` says, without end; `halves`: how many halves of a frame it has said."""

    def __init__(self, number: int) -> None:
        self._who = np.array([number], np.uint16)
        self.halves = 0

    def frame(self) -> Samples:
        codes = np.full(FRAME, _SILENCE, np.uint8)
        for start in (0, HALF):
            codes[start : start + MARK] = marks(self._who, self.halves)[0]
            self.halves += 1
        return LEVELS[PCMA][codes]


def said_by(samples: NDArray[np.int16]) -> dict[int, int]:
    """Who speaks in these samples of one channel, and for how many marks, one every 10 ms."""
    who, counts = np.unique(find_marks(np.ascontiguousarray(samples))[:, 1], return_counts=True)
    return {int(one): int(count) for one, count in zip(who, counts, strict=True)}


def heard_in(content: bytes, keys: Iterable[bytes]) -> dict[int, int]:
    """Who speaks in the caller's channel of a sealed file or piece, where any of the keys opens it."""
    found: dict[int, int] = {}
    for key in keys:
        pcm = b"".join(payload for kind, _, _, _, payload in opened(content, key) if kind == AUDIO)
        if pcm:
            for who, count in said_by(np.frombuffer(pcm, "<i2").reshape(-1, 2)[:, 0]).items():
                found[who] = max(found.get(who, 0), count)
    return found


def key_in(content: bytes, private: bytes) -> bytes | None:
    """The file's key that `ID.key` holds for this recipient; None where it isn't one, or not for them."""
    try:
        described = json.loads(content)
        return file_key(described, private)
    except (ValueError, KeyError, TypeError, AssertionError, CryptoError):
        return None
