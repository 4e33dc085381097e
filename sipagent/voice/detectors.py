"""The detectors of spoken refusals that the configuration names, their check, and what they hear in a sound.

An engine that the file names must be loaded. Without one the default listens where it can; where it
cannot, callers refuse by the key alone. `loaded` says which, and gives the configuration that is in force
then.

`hear` gives what the voice gate and the detector hear in a sound, as on a call: in frames like the
bridge's.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples, milliseconds
from media.hearing.detectors import load_detector
from media.hearing.keyword import Detector, DetectorUnavailable, Meaning, Verdict, strongest
from media.hearing.listener import KeywordSpotted, ListenerFailed, SpeechEnded, VoiceEar
from media.hearing.vad import HANG_OVER_MS
from prompts.sound import resample
from retention.texts import Reason, WithReason, reason_of
from sipagent.config.errors import Finding, error, ok, warning
from sipagent.config.load import Config
from sipagent.config.tables import heard_in


@dataclass(frozen=True, slots=True)
class Detectors:
    """The detector before the bridge, and the one in the conversation; None if only keys are heard."""

    before: Detector | None
    in_call: Detector | None


NOBODY_LISTENS = Detectors(None, None)


def detectors(config: Config) -> Detectors:
    """Detectors for the configured phrases. DetectorUnavailable if one of them can't be heard."""
    refusal, accept = config.refusal, accept_keywords(config)
    model, heads = refusal.vosk_model, refusal.heads
    languages = [prompts.language for prompts in config.prompt_sets()]
    if not refusal.model_fields_set & {"engine", "keywords"} and not heard_in(languages):
        raise DetectorUnavailable(
            "no head for {0}, and `sipagent train-keyword` makes one", ", ".join(languages)
        )
    before = load_detector(
        refusal.engine,
        refusal.keywords,
        accept,
        model=model,
        heads=heads,
        second=refusal.second,
        languages=languages,
    )
    if before is None or refusal.in_call == "key":
        return Detectors(before, None)
    in_call = load_detector(
        refusal.engine, refusal.in_call_keywords, model=model, heads=heads, in_call=True, languages=languages
    )
    return Detectors(before, in_call)


def accept_keywords(config: Config) -> tuple[str, ...]:
    """Words that accept count only in the mode "opt_in", where something must be accepted.

    In the other mode they could only end the listening before a refusal.
    """
    return config.refusal.accept_keywords if config.refusal.mode == "opt_in" else ()


def loaded(config: Config) -> tuple[Config, Detectors, str]:
    """The configuration in force, its detectors, and why the default engine does not listen ("": it does).

    DetectorUnavailable for an engine that the file names.
    """
    try:
        return config, detectors(config), ""
    except DetectorUnavailable as wrong:
        if config.refusal.engine_written:
            raise
        return keys_alone(config), NOBODY_LISTENS, unheard(wrong.key, reason_of(wrong))


def keys_alone(config: Config) -> Config:
    """The configuration where the default engine cannot be loaded; it still names none."""
    refusal = config.refusal.model_copy(update={"engine": "none"})
    refusal.model_fields_set.discard("engine")
    return config.model_copy(update={"refusal": refusal})


def unheard(key: str, trouble: str) -> str:
    """What `check` and `run` say where the default engine cannot be loaded, after `refusal.engine`."""
    about = "" if key == DetectorUnavailable.key else f"{key}: "
    return Reason(
        "absent, and 'embedding' cannot listen here, so only keys are heard: {0}{1}", about, trouble
    )


def voice_findings(config: Config) -> tuple[Config, list[Finding]]:
    """Load the detectors as the agent will; the configuration in force then."""
    try:
        in_force, _, trouble = loaded(config)
    except DetectorUnavailable as wrong:
        return config, [error(wrong.key, reason_of(wrong))]
    if trouble:
        return in_force, [warning("refusal.engine", trouble)]
    return in_force, list(_heard(config))


def _heard(config: Config) -> Iterator[Finding]:
    """What is listened for."""
    refusal = config.refusal
    if refusal.engine == "none":
        return
    heard = ", ".join(map(repr, refusal.keywords + accept_keywords(config)))
    if refusal.in_call == "key+voice":
        heard = Reason("{0}; during the call {1}", heard, ", ".join(map(repr, refusal.in_call_keywords)))
    yield ok("refusal.engine", "{0} hears {1}", refusal.engine, heard)
    if refusal.second and refusal.engine == "embedding":
        yield ok("refusal.second", "{0}: asked about what callers say before the bridge", refusal.second)


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


class UnreadableSound(WithReason):
    """str() is one line with the file and why."""


def read_sound(path: Path) -> Samples:
    """(n,) int16 at 8 kHz of any WAV or FLAC; of several channels the first one, the caller's."""
    try:
        sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise UnreadableSound("{0}: {1}", path, getattr(error, "strerror", None) or error) from error
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
                if conclusion.error is not None:
                    raise UnreadableSound("voice: {0}", conclusion.error)
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
