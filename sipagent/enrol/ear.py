"""Hears one saying: from the end of the tone to the quiet after it.

The voice gate tells where somebody speaks; a pause shorter than QUIET_MS is part of what is said. Our own
tone may come back by a speakerphone, and is nobody's voice.
"""

import math

import numpy as np

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing.vad import HANG_OVER_MS, SHORTEST_MS, SpeechStarted, Utterance, VoiceGate
from sipagent.enrol.flow import Fault
from sipagent.enrol.saying import Span, bounds_ms, judged

TONE_HZ, TONE_MS = 1000.0, 250
TONE_DBFS = -24.0
QUIET_MS = 900
WAIT_MS = 5000
"""Who has not begun by then says nothing."""
BEFORE_MS, AFTER_MS = 250, 350
"""How much of the quiet around it is kept."""
OF_TONE = 0.8
"""The share of a slice's energy at TONE_HZ from which it is the tone."""

_SLICE = SAMPLE_RATE // 50
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
        self._speech: Span | None = None

    def feed(self, samples: Samples) -> bool:
        """Take (n,) int16 for any n; whether all has been heard."""
        sound = np.concatenate([self._rest, samples])
        count = len(sound) // _SLICE
        self._rest = sound[count * _SLICE :]
        for piece in sound[: count * _SLICE].reshape(count, _SLICE):
            self._heard.append(piece)
            self._count += _SLICE
            for fact in self._gate.feed(np.zeros_like(piece) if is_tone(piece) else piece):
                if isinstance(fact, SpeechStarted):
                    self._speaks, self._began = True, self._speech.start if self._speech else self._count
                elif isinstance(fact, Utterance):
                    self._spoken(fact, HANG_OVER_MS)
            if self._is_over():
                return True
        return False

    def fault(self) -> Fault | None:
        """What is wrong with it; None: it can be kept."""
        if self._speaks:
            for fact in self._gate.finish():
                self._spoken(fact, 0)
        return judged(self._all(), self._speech, self._text)

    def sound(self) -> Samples:
        """(n,) int16: what was said, with a little of the quiet around it."""
        speech = self._speech or Span(0, self._count)
        start = max(0, speech.start - BEFORE_MS * SAMPLE_RATE // 1000)
        return self._all()[start : speech.end + AFTER_MS * SAMPLE_RATE // 1000]

    def _spoken(self, utterance: Utterance, after_ms: int) -> None:
        self._speaks = False
        end = self._count - after_ms * SAMPLE_RATE // 1000
        start = max(0, end - utterance.duration_ms * SAMPLE_RATE // 1000)
        self._speech = Span(self._speech.start if self._speech else start, end)

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
