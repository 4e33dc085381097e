"""The only format in which audio moves through the agent: 8 kHz, mono, 16-bit samples."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.int16]
"""(n,) int16, at SAMPLE_RATE unless stated otherwise."""

SAMPLE_RATE = 8000
"""Hz: the clock of the bridge."""

FRAME_MS = 100
"""What the bridge gives at a time for each leg: fewer, longer frames cost a fifth of 20 ms ones."""

FRAME_SAMPLES = SAMPLE_RATE * FRAME_MS // 1000

SILENCE: Samples = np.zeros(0, dtype=np.int16)
"""No samples: what buffers start from."""


def samples_of(pcm: bytes | bytearray | memoryview) -> Samples:
    """(n,) int16 copied from native-endian 16-bit `pcm`; ValueError for half a sample.

    The copy is read-only: it goes to several consumers on several threads.
    """
    return np.frombuffer(bytes(pcm), dtype=np.int16)


def milliseconds(sample_count: int) -> int:
    """Duration of `sample_count` samples at SAMPLE_RATE, in whole ms."""
    return sample_count * 1000 // SAMPLE_RATE
