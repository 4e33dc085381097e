"""One saying: heard from the end of the tone to the quiet after it, and whether it can be kept.

`SayingEar` hears, `judged` says whether.

The voice gate tells where somebody speaks; a pause shorter than QUIET_MS is part of what is said. Our own
tone may come back by a speakerphone, and is nobody's voice.

Whether it can be kept as material is pure, on sound at 8 kHz. Levels are in dBFS, 0 being a full square
wave. The bounds are for G.711, where active speech lies at some -20 to -30 (ITU-T P.56 measures it); what
is softer than SOFT_DBFS is near the codec's own noise.
"""

import math
from dataclasses import dataclass

import numpy as np

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing.vad import HANG_OVER_MS, SHORTEST_MS, SpeechStarted, Utterance, VoiceGate
from media.prompt import clipped
from sipagent.enrol.flow import SayingFault

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
CLIPPED = 0.003
"""The share of samples that stand at FULL, some in a row."""
LETTER_MS = (40, 220)
"""How long people take for a letter, at least and at most, with BESIDE_MS besides."""
BESIDE_MS = 1500
LEAST_MS = 320

_SLICE = SAMPLE_RATE * SLICE_MS // 1000


@dataclass(frozen=True, slots=True)
class SpeechSpan:
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


def judged(sound: Samples, speech: SpeechSpan | None, text: str) -> SayingFault | None:
    """What is wrong with (n,) int16, heard from the end of the tone on; None: it can be kept.

    Noise comes before what depends on where the speech begins and ends: in noise that is not known.
    """
    least, most = bounds_ms(text)
    if speech is None:
        return SayingFault.NOTHING
    said = sound[speech.start : speech.end]
    if clipped(said.astype(np.int32), FULL) >= CLIPPED:
        return SayingFault.CLIPPED
    if speech_dbfs(said) < SOFT_DBFS:
        return SayingFault.SOFT
    above = speech_dbfs(said) - quiet_dbfs(sound)
    early = speech.start * 1000 < EARLY_MS * SAMPLE_RATE
    if above < CLEAR_DB or (early and above < OPENS_DB):
        return SayingFault.NOISY
    if early:
        return SayingFault.EARLY
    return SayingFault.SHORT if speech.ms < least else SayingFault.LONG if speech.ms > most else None


def speech_dbfs(sound: Samples) -> float:
    """The mean power of the louder half of the slices."""
    powers = np.sort(_powers(sound))
    return _db(float(np.mean(powers[len(powers) // 2 :])) if len(powers) else 0.0)


def quiet_dbfs(sound: Samples) -> float:
    """The level that a tenth of the slices does not reach."""
    powers = _powers(sound)
    return _db(float(np.percentile(powers, 10)) if len(powers) else 0.0)


def _powers(sound: Samples) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean square of each slice, full scale being 1."""
    count = len(sound) // _SLICE
    slices = sound[: count * _SLICE].astype(np.float64).reshape(count, _SLICE) / 32768
    powers: np.ndarray[tuple[int], np.dtype[np.float64]] = np.mean(slices**2, axis=1)
    return powers


def _db(power: float) -> float:
    return max(SILENT_DBFS, 10 * float(np.log10(max(power, 1e-12))))


TONE_HZ, TONE_MS = 1000.0, 250
TONE_DBFS = -24.0
QUIET_MS = 900
WAIT_MS = 5000
"""Who has not begun by then says nothing."""
BEFORE_MS, AFTER_MS = 250, 350
"""How much of the quiet around it is kept."""
OF_TONE = 0.8
"""The share of a slice's energy at TONE_HZ from which it is the tone."""

_GATE_SLICE = SAMPLE_RATE // 50
_BLOCK = 40  # samples: five turns of the tone


class SayingEar:
    """From `__init__`, the end of the tone, to `fault()`; `sound()` is what to keep."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._gate = VoiceGate(SHORTEST_MS)
        self._rest = SILENCE
        self._heard: list[Samples] = []
        self._count = 0  # samples that the gate was fed
        self._speaks = False
        self._began = 0  # samples that were heard when somebody last began
        self._speech: SpeechSpan | None = None

    def feed(self, samples: Samples) -> bool:
        """Take (n,) int16 for any n; whether all has been heard."""
        sound = np.concatenate([self._rest, samples])
        count = len(sound) // _GATE_SLICE
        self._rest = sound[count * _GATE_SLICE :]
        for piece in sound[: count * _GATE_SLICE].reshape(count, _GATE_SLICE):
            self._heard.append(piece)
            self._count += _GATE_SLICE
            for fact in self._gate.feed(np.zeros_like(piece) if is_tone(piece) else piece):
                if isinstance(fact, SpeechStarted):
                    self._speaks, self._began = True, self._speech.start if self._speech else self._count
                elif isinstance(fact, Utterance):
                    self._spoken(fact, HANG_OVER_MS)
            if self._is_over():
                return True
        return False

    def fault(self) -> SayingFault | None:
        """What is wrong with it; None: it can be kept."""
        if self._speaks:
            for fact in self._gate.finish():
                self._spoken(fact, 0)
        return judged(self._all(), self._speech, self._text)

    def sound(self) -> Samples:
        """(n,) int16: what was said, with a little of the quiet around it."""
        speech = self._speech or SpeechSpan(0, self._count)
        start = max(0, speech.start - BEFORE_MS * SAMPLE_RATE // 1000)
        return self._all()[start : speech.end + AFTER_MS * SAMPLE_RATE // 1000]

    def _spoken(self, utterance: Utterance, after_ms: int) -> None:
        self._speaks = False
        end = self._count - after_ms * SAMPLE_RATE // 1000
        start = max(0, end - utterance.duration_ms * SAMPLE_RATE // 1000)
        self._speech = SpeechSpan(self._speech.start if self._speech else start, end)

    def _is_over(self) -> bool:
        if self._speaks:
            return self._ms_since(self._began) > bounds_ms(self._text)[1] + QUIET_MS
        if self._speech is None:
            return self._ms_since(0) >= WAIT_MS
        return self._ms_since(self._speech.end) >= QUIET_MS

    def _ms_since(self, sample: int) -> int:
        return (self._count - sample) * 1000 // SAMPLE_RATE

    def _all(self) -> Samples:
        return np.concatenate([SILENCE, *self._heard])


def tone() -> Samples:
    """(n,) int16: the tone after which to speak."""
    count = SAMPLE_RATE * TONE_MS // 1000
    time = np.arange(count) / SAMPLE_RATE
    edges = np.minimum(1, np.minimum(np.arange(count), np.arange(count)[::-1]) / (SAMPLE_RATE * 0.01))
    peak = 32768 * math.sqrt(2) * 10 ** (TONE_DBFS / 20)
    return np.asarray(peak * edges * np.sin(2 * np.pi * TONE_HZ * time), dtype=np.int16)


def is_tone(piece: Samples) -> bool:
    """Whether (n,) int16 are hardly anything but the tone, in all of it or in a part; n: whole blocks."""
    blocks = piece.astype(np.float64).reshape(-1, _BLOCK)
    turning = np.exp(2j * np.pi * TONE_HZ / SAMPLE_RATE * np.arange(_BLOCK))
    energy = float(np.sum(blocks**2))
    return energy > 0 and 2 * float(np.sum(np.abs(blocks @ turning) ** 2)) / _BLOCK >= OF_TONE * energy
