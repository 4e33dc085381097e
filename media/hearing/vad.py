"""The voice gate: cuts what a leg sends into utterances, so that the detector gets only speech.

The numbers were chosen on French telephone speech: they split 2.8 % of utterances, where a hang-over of 300
ms splits 14.7 %. In noise the gate closes late, and in babble never. So the detector gets speech while it
continues: all of it so far, at most its last WINDOW_MS, and the CONTEXT_MS before that. No more of a voice is
ever kept, and only in memory.
"""

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import webrtcvad

from media.frame import SAMPLE_RATE, SILENCE, Samples

AGGRESSIVENESS = 2
SLICE_MS = 20
START_VOICED, START_OF = 4, 6
PRE_ROLL_MS = 200
CONTEXT_MS = 500
"""How much sound before speech is also given, so that a detector sees the beginning like the rest."""
VOICED_MS = 100
HANG_OVER_MS = 400
WINDOW_MS = 2500
SHORTEST_MS = 300
"""No keyword is shorter: nothing is asked before that."""

_SLICE = SAMPLE_RATE * SLICE_MS // 1000
_GRID = 2
"""Slices; what is given begins at a multiple of 40 ms, the embedding's step."""
_BEFORE = START_OF + (PRE_ROLL_MS + CONTEXT_MS) // SLICE_MS
UNHEARD = (_BEFORE - _BEFORE % _GRID) * _SLICE
"""Samples of silence assumed before a leg's first sample."""
_KEPT = (CONTEXT_MS + WINDOW_MS) // SLICE_MS


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Someone speaks: VOICED_MS of voice were heard. An Utterance will follow."""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechGoesOn:
    """It is time to ask. `samples` and `at` as of an Utterance, up to now."""

    samples: Samples
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Speech between two silences.

    `samples` are its last WINDOW_MS at most, (n,) int16, with PRE_ROLL_MS before and HANG_OVER_MS after it,
    and CONTEXT_MS before all that; zeros if the leg had not sent so much. `at` counts the samples before
    them. `duration_ms` counts from its first to its last voiced slice, and may be longer.
    """

    samples: Samples
    at: int
    duration_ms: int


VoiceFact: TypeAlias = SpeechStarted | SpeechGoesOn | Utterance


@dataclass(slots=True)
class _SpeechRun:
    """Speech under way, counted in slices of SLICE_MS."""

    length: int
    voiced: int
    unvoiced: int = 0
    announced: bool = False


class VoiceGate:
    """Listens to one leg; webrtcvad, mode AGGRESSIVENESS.

    While somebody speaks, SpeechGoesOn comes every `every_ms`, a multiple of SLICE_MS that may change. It
    counts from the leg's first sample, so that with frames of this length it asks at their ends.
    """

    def __init__(self, every_ms: int) -> None:
        self.every_ms = every_ms
        self._vad = webrtcvad.Vad(AGGRESSIVENESS)
        self._rest = SILENCE
        self._recent: deque[bool] = deque(maxlen=START_OF)
        self._slices: deque[Samples] = deque(np.zeros((UNHEARD // _SLICE, _SLICE), dtype=np.int16))
        self._first = 0
        self._count = 0
        self._speech: _SpeechRun | None = None

    def feed(self, samples: Samples) -> list[VoiceFact]:
        """The beginnings and ends of speech that the next (n,) int16 at 8 kHz complete, for any n."""
        sound = np.concatenate([self._rest, samples])
        count = len(sound) // _SLICE
        self._rest = sound[count * _SLICE :]
        facts: list[VoiceFact] = []
        for piece in sound[: count * _SLICE].reshape(count, _SLICE):
            voiced = self._vad.is_speech(piece.tobytes(), SAMPLE_RATE)
            self._count += 1
            self._keep(piece)
            facts += self._wait(voiced) if self._speech is None else self._follow(self._speech, voiced)
        return facts

    @property
    def at(self) -> int:
        """How many samples it has been fed, counted as in its facts."""
        return UNHEARD + self._count * _SLICE + len(self._rest)

    def present(self) -> list[SpeechGoesOn]:
        """The present utterance so far, which goes on; nothing if no one speaks."""
        if self._speech is None or not self._speech.announced:
            return []
        return [SpeechGoesOn(self._heard(), self._first * _SLICE)]

    def finish(self) -> list[Utterance]:
        """The present utterance, as if it had just ended; nothing if no one speaks."""
        speech, self._speech = self._speech, None
        if speech is None or not speech.announced:
            return []
        return [self._utterance(speech)]

    def _keep(self, piece: Samples) -> None:
        self._slices.append(piece)
        most = _BEFORE if self._speech is None else _KEPT
        while len(self._slices) > most:
            for _ in range(_GRID):
                self._slices.popleft()
            self._first += _GRID

    def _wait(self, voiced: bool) -> list[VoiceFact]:
        self._recent.append(voiced)
        if sum(self._recent) < START_VOICED:
            return []
        since = len(self._recent) - self._recent.index(True)
        self._speech = _SpeechRun(length=since, voiced=sum(self._recent))
        self._recent.clear()
        return []

    def _follow(self, speech: _SpeechRun, voiced: bool) -> list[VoiceFact]:
        speech.length += 1
        speech.voiced += voiced
        speech.unvoiced = 0 if voiced else speech.unvoiced + 1
        is_due = self._count * SLICE_MS % self.every_ms == 0
        facts: list[VoiceFact] = []
        if not speech.announced and speech.voiced * SLICE_MS >= VOICED_MS:
            speech.announced = True
            facts.append(SpeechStarted())
        if speech.unvoiced * SLICE_MS == HANG_OVER_MS:
            self._speech = None
            if speech.announced:
                facts.append(self._utterance(speech))
        elif speech.announced and speech.length * SLICE_MS >= SHORTEST_MS and is_due:
            facts.append(SpeechGoesOn(self._heard(), self._first * _SLICE))
        return facts

    def _utterance(self, speech: _SpeechRun) -> Utterance:
        spoken = (speech.length - speech.unvoiced) * SLICE_MS
        return Utterance(self._heard(), self._first * _SLICE, spoken)

    def _heard(self) -> Samples:
        return np.concatenate(self._slices)
