"""How a prompt sounds: its level where it is audible, whether it is clipped, how long its speech takes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

FRAME_MS = 30
AUDIBLE_DBFS = -45.0  # a frame below it is a pause
FULL = 32767 / 32768  # the value of a sample that is cut off
FLAT = 3  # samples in a row at full scale; one alone may be a peak that just fits


@dataclass(frozen=True, slots=True)
class Loudness:
    """`level_dbfs` is the mean power of audible frames, 0 being a full square wave; None without any.

    `clipped` is the share of samples cut off at full scale, 0 to 1. `span_s` reaches from the first audible
    frame to the end of the last, in seconds.
    """

    level_dbfs: float | None
    clipped: float
    span_s: float


def loudness(path: Path) -> Loudness:
    """Measure a file that `inspect_prompt` has accepted. Raises soundfile.LibsndfileError, OSError."""
    samples, rate = soundfile.read(str(path), dtype="float64")
    size = rate * FRAME_MS // 1000
    whole = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
    power = np.mean(whole**2, axis=1)
    audible = np.flatnonzero(power > 10 ** (AUDIBLE_DBFS / 10))
    if not audible.size:
        return Loudness(None, _clipped(samples), 0.0)
    span_s = float(audible[-1] + 1 - audible[0]) * FRAME_MS / 1000
    return Loudness(float(10 * np.log10(np.mean(power[audible]))), _clipped(samples), span_s)


def _clipped(samples: NDArray[np.float64]) -> float:
    """The share of samples that stand at full scale with at least FLAT - 1 neighbours in a row."""
    full = np.concatenate(([0], (np.abs(samples) >= FULL).astype(np.int8), [0]))
    turns = np.flatnonzero(np.diff(full))
    lengths = turns[1::2] - turns[::2]
    return float(lengths[lengths >= FLAT].sum() / max(len(samples), 1))
