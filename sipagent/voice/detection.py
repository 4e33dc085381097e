"""What the voice gate and the detector hear in a sound, as on a call: in frames like the bridge's."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples, milliseconds
from media.hearing.keyword import Detector, Meaning, Verdict, strongest
from media.hearing.listener import KeywordSpotted, ListenerFailed, SpeechEnded, VoiceEar
from media.hearing.vad import HANG_OVER_MS
from prompts.sound import resample

_QUIET = SAMPLE_RATE * (HANG_OVER_MS + 200) // 1000
_SLICE = SAMPLE_RATE // 100
_FAINT = 0.1


@dataclass(frozen=True, slots=True)
class Detected:
    """`verdicts`: one for each utterance; `cpu_s`: CPU time of all the listening.

    `spotted_ms`: when the deciding verdict was known, in ms from the start with CPU time; `speech_ms`: where
    the last sound before it ended; None: no verdict decided.
    """

    verdicts: tuple[Verdict, ...]
    spotted_ms: int | None
    speech_ms: int | None
    cpu_s: float
    duration_s: float

    @property
    def verdict(self) -> Verdict:
        return strongest(self.verdicts)

    @property
    def latency_ms(self) -> int | None:
        if self.spotted_ms is None or self.speech_ms is None:
            return None
        return self.spotted_ms - self.speech_ms


class UnreadableSound(Exception):
    """str() is one line with the file and why."""


def read_sound(path: Path) -> Samples:
    """(n,) int16 at 8 kHz of any WAV or FLAC; of several channels the first one, the caller's."""
    try:
        sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise UnreadableSound(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    first = sound[:, 0]
    if rate != SAMPLE_RATE and len(first):
        first = resample(first, rate, SAMPLE_RATE, 20.0, 3_800.0)
    return np.asarray(np.clip(first * 32768, -32768, 32767), dtype=np.int16)


def hear(detector: Detector, samples: Samples, played: Samples = SILENCE) -> Detected:
    """Listen to the whole sound and the quiet after it. DetectorError's text becomes an UnreadableSound.

    `played`: (n,) int16 that the caller hears meanwhile, from the first sample on.
    """
    ear = VoiceEar(detector, lambda: False)
    ear.plays(played)
    so_far: list[Verdict] = []
    ended: list[Verdict] = []
    spotted: int | None = None
    cpu = 0.0
    for at, frame in _frames(samples):
        began = time.process_time()  # a model may have threads of its own
        conclusions = ear.feed(frame)
        spent = time.process_time() - began
        cpu += spent
        for conclusion in conclusions:
            if isinstance(conclusion, ListenerFailed):
                raise UnreadableSound(conclusion.reason)
            if isinstance(conclusion, KeywordSpotted | SpeechEnded) and conclusion.verdict:
                before = strongest(so_far).meaning
                so_far.append(conclusion.verdict)
                if strongest(so_far).meaning is not before:
                    spotted = milliseconds(at + len(frame)) + round(spent * 1000)
                if isinstance(conclusion, SpeechEnded):
                    ended.append(conclusion.verdict)
    decided = spotted if strongest(so_far).meaning is not Meaning.OTHER else None
    return Detected(
        tuple(ended),
        decided,
        None if decided is None else _last_sound(samples, decided),
        cpu,
        len(samples) / SAMPLE_RATE,
    )


def _frames(samples: Samples) -> Iterator[tuple[int, Samples]]:
    sound = np.concatenate([samples, np.zeros(_QUIET + FRAME_SAMPLES, dtype=np.int16)])
    for at in range(0, len(sound) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
        yield at, sound[at : at + FRAME_SAMPLES]


def _last_sound(samples: Samples, before_ms: int) -> int:
    """Where the last 10 ms louder than a tenth of the loud ones end, in ms."""
    part = samples[: before_ms * SAMPLE_RATE // 1000].astype(np.float64)
    levels = np.sqrt(np.mean(part[: len(part) // _SLICE * _SLICE].reshape(-1, _SLICE) ** 2, axis=1))
    loud = np.flatnonzero(levels > _FAINT * np.percentile(levels, 98)) if len(levels) else levels
    return int((loud[-1] + 1) * 10) if len(loud) else 0
