"""A Whisper model in CTranslate2's form: how much likelier a phrase is with the sound than without.

    (n,) int16 ─log_mel─▶ (bands, FRAMES) ─encode─▶ (FRAMES / 2, width) ─align─▶ each phrase's likelihood

What it would write is mostly wrong at 8 kHz: "refuser !" becomes "d'où suis-je". But it can be asked how
likely each phrase is as the text of this sound. Less what it says of silence, which is how usual the phrase
is, that tells a refusal from other speech: on voices that this was chosen by, the area below the ROC is 0.86,
and 0.72 with the text that it would write in the place of silence.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from media.frame import Samples
from media.hearing.keyword import DetectorError, SecondUnavailable
from media.hearing.second.mel import Floats, log_mel
from media.hearing.second.vocabulary import Vocabulary, VocabularyError, read_vocabulary
from media.hearing.second.weights import read_weights

FRAMES = 300
"""3 s, which is all that the voice gate keeps; 30 s would cost thirty times as much."""
LEAST = 1e-9
LEAST_GAIN = -1000.0
FOLDER = "a folder with a multilingual Whisper model as ct2-transformers-converter makes it"


@dataclass(frozen=True, slots=True)
class Likeness:
    """The likeliest phrase, and the likeliest of the everyday words, with what each gains, in nats.

    `gain`, `doubt`: the log-likelihood with the sound, less that with silence, less what is usual for that
    phrase where something else is said. `doubt` is LEAST_GAIN where no everyday words are asked about.
    """

    phrase: str
    gain: float
    everyday: str = ""
    doubt: float = LEAST_GAIN


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked in one language: the tokens before a text, phrases, and the tokens of each.

    `refusing`: how many of the phrases refuse, the first ones; the others are everyday words.
    """

    start: list[int]
    phrases: tuple[str, ...]
    refusing: int
    texts: list[list[int]]


class Whisper:
    """For one thread at a time. `phrases`: all that it is asked about, in the order of `gains`."""

    def __init__(
        self,
        folder: Path,
        phrases: Mapping[str, Sequence[str]],
        everyday: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`phrases` that refuse, and `everyday` words, by language, such as fr. SecondUnavailable without the
        package or such a model."""
        try:
            self._asked = _asked(read_vocabulary(folder), phrases, everyday or {})
        except VocabularyError as wrong:
            raise SecondUnavailable(f"{folder}: {wrong}; accepted: {FOLDER}") from wrong
        try:
            self._ctranslate2: Any = importlib.import_module("ctranslate2")
        except ImportError as wrong:
            raise SecondUnavailable(f"{wrong}; pip install 'sipagent[second]'") from wrong
        self.phrases = [phrase for asked in self._asked for phrase in asked.phrases]
        self._refuses = np.concatenate(
            [np.arange(len(asked.phrases)) < asked.refusing for asked in self._asked]
        )
        usual = read_weights().usual
        try:
            self._model = self._ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
            )
            self._silence = self._likelihoods(np.zeros(0, dtype=np.int16))
        except (RuntimeError, ValueError, DetectorError) as wrong:  # also files that don't fit each other
            raise SecondUnavailable(f"{folder}: no such model; accepted: {FOLDER}") from wrong
        self._usual = np.array([usual(phrase) for phrase in self.phrases], np.float32)

    def likeness(self, samples: Samples) -> Likeness:
        """What is likeliest in the last 3 s of (n,) int16 at 8 kHz. DetectorError if the model fails."""
        gains = self.gains(samples) - self._usual
        refusing = int(np.argmax(np.where(self._refuses, gains, LEAST_GAIN)))
        likest = Likeness(self.phrases[refusing], float(gains[refusing]))
        if self._refuses.all():
            return likest
        doubted = int(np.argmax(np.where(self._refuses, LEAST_GAIN, gains)))
        return replace(likest, everyday=self.phrases[doubted], doubt=float(gains[doubted]))

    def gains(self, samples: Samples) -> Floats:
        """(phrases,) log-likelihoods with the last 3 s of (n,) int16 at 8 kHz, less those with silence.
        DetectorError."""
        gains = self._likelihoods(samples) - self._silence
        if not np.all(np.isfinite(gains)):
            raise DetectorError("second opinion: the model's figures are none")
        return gains

    def _likelihoods(self, samples: Samples) -> Floats:
        """(phrases,) log-likelihoods of all phrases."""
        spectra = log_mel(samples, FRAMES, self._model.n_mels)
        try:
            heard = self._model.encode(self._ctranslate2.StorageView.from_array(spectra[None]))
            return np.concatenate([self._of_phrases(np.asarray(heard), asked) for asked in self._asked])
        except (RuntimeError, ValueError) as wrong:
            raise DetectorError(f"second opinion: {wrong}") from wrong

    def _of_phrases(self, heard: Floats, asked: _Asked) -> Floats:
        """(phrases,) of one language, of (1, FRAMES / 2, width)."""
        several = np.ascontiguousarray(np.repeat(heard, len(asked.texts), axis=0))
        found = self._model.align(
            self._ctranslate2.StorageView.from_array(several),
            asked.start,
            asked.texts,
            [FRAMES // 2] * len(asked.texts),
        )
        return np.asarray(
            [np.sum(np.log(np.maximum(one.text_token_probs, LEAST))) for one in found], np.float32
        )


def as_written(phrase: str) -> str:
    """A phrase as the model would write it, said alone."""
    return f" {phrase[0].upper()}{phrase[1:]}."


def _asked(
    vocabulary: Vocabulary, phrases: Mapping[str, Sequence[str]], everyday: Mapping[str, Sequence[str]]
) -> list[_Asked]:
    return [
        _Asked(
            [vocabulary.special(f"<|{name}|>") for name in ("startoftranscript", code, "transcribe")],
            (*refusing, *everyday.get(code, ())),
            len(refusing),
            [vocabulary.encode(as_written(phrase)) for phrase in (*refusing, *everyday.get(code, ()))],
        )
        for code, refusing in phrases.items()
    ]
