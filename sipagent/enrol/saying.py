"""Whether what was said can be kept as material: pure, on sound at 8 kHz.

Levels are in dBFS, 0 being a full square wave. The bounds are for G.711, where active speech lies at some -20
to -30 (ITU-T P.56 measures it); what is softer than SOFT_DBFS is near the codec's own noise.
"""

from dataclasses import dataclass

import numpy as np

from media.frame import SAMPLE_RATE, Samples
from sipagent.enrol.flow import Fault

SLICE_MS = 20
EARLY_MS = 60
"""Whoever hears the tone needs longer: what begins sooner had begun before it ended."""
SOFT_DBFS = -40.0
CLEAR_DB = 15.0
"""How far speech must stand above what is heard when nobody speaks."""
OPENS_DB = 20.0
"""Noise no further below the speech opens the voice gate: what then seems to begin early is noise."""
SILENT_DBFS = -90.0
FULL = 31_000
"""A-law's largest value is 32256, mu-law's 32124; telephones also clip before the codec, a little lower."""
FLAT = 3
CLIPPED = 0.003
"""The share of samples that stand at full scale, FLAT in a row at least."""
LETTER_MS = (40, 220)
"""How long people take for a letter, at least and at most, with BESIDE_MS besides."""
BESIDE_MS = 1500
LEAST_MS = 320

_SLICE = SAMPLE_RATE * SLICE_MS // 1000


@dataclass(frozen=True, slots=True)
class Span:
    """Where the speech lies in the sound, in samples."""

    start: int
    end: int

    @property
    def ms(self) -> int:
        """How long it is."""
        return (self.end - self.start) * 1000 // SAMPLE_RATE


def bounds_ms(text: str) -> tuple[int, int]:
    """How long at least and at most it takes to say a text."""
    letters = sum(char.isalnum() for char in text)
    least, most = LETTER_MS
    return max(LEAST_MS, letters * least), letters * most + BESIDE_MS


def judged(sound: Samples, speech: Span | None, text: str) -> Fault | None:
    """What is wrong with (n,) int16, heard from the end of the tone on; None: it can be kept.

    Noise comes before what depends on where the speech begins and ends: in noise that is not known.
    """
    least, most = bounds_ms(text)
    if speech is None:
        return Fault.NOTHING
    said = sound[speech.start : speech.end]
    if clipped(said) >= CLIPPED:
        return Fault.CLIPPED
    if speech_dbfs(said) < SOFT_DBFS:
        return Fault.SOFT
    above = speech_dbfs(said) - quiet_dbfs(sound)
    early = speech.start * 1000 < EARLY_MS * SAMPLE_RATE
    if above < CLEAR_DB or (early and above < OPENS_DB):
        return Fault.NOISY
    if early:
        return Fault.EARLY
    return Fault.SHORT if speech.ms < least else Fault.LONG if speech.ms > most else None


def speech_dbfs(sound: Samples) -> float:
    """The mean power of the louder half of the slices."""
    powers = np.sort(_powers(sound))
    return _db(float(np.mean(powers[len(powers) // 2 :])) if len(powers) else 0.0)


def quiet_dbfs(sound: Samples) -> float:
    """The level that a tenth of the slices does not reach."""
    powers = _powers(sound)
    return _db(float(np.percentile(powers, 10)) if len(powers) else 0.0)


def clipped(sound: Samples) -> float:
    """The share of samples that stand at full scale with at least FLAT - 1 neighbours in a row."""
    full = np.concatenate(([0], (np.abs(sound.astype(np.int32)) >= FULL).astype(np.int8), [0]))
    turns = np.flatnonzero(np.diff(full))
    lengths = turns[1::2] - turns[::2]
    return float(lengths[lengths >= FLAT].sum() / max(len(sound), 1))


def _powers(sound: Samples) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean square of each slice, full scale being 1."""
    count = len(sound) // _SLICE
    slices = sound[: count * _SLICE].astype(np.float64).reshape(count, _SLICE) / 32768
    powers: np.ndarray[tuple[int], np.dtype[np.float64]] = np.mean(slices**2, axis=1)
    return powers


def _db(power: float) -> float:
    return max(SILENT_DBFS, 10 * float(np.log10(max(power, 1e-12))))
