"""A Whisper model in CTranslate2's form: how much likelier a phrase is with the sound than without.

    (n,) int16 ─log_mel─▶ (bands, FRAMES) ─encode─▶ (FRAMES / 2, width) ─align─▶ each phrase's likelihood

What it would write is mostly wrong at 8 kHz: "refuser !" becomes "d'où suis-je". But it can be asked how
likely each phrase is as the text of this sound. Less what it says of silence, which is how usual the phrase
is, that tells a refusal from other speech: on voices that this was chosen by, the area below the ROC is 0.86,
and 0.72 with the text that it would write in the place of silence.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from media.frame import Samples
from media.hearing.keyword import DetectorError, SecondUnavailable
from media.hearing.second.mel import Floats, log_mel
from media.hearing.second.vocabulary import Vocabulary, VocabularyError, read_vocabulary

FRAMES = 300
"""3 s, which is all that the voice gate keeps; 30 s would cost thirty times as much."""
LEAST = 1e-9
FOLDER = "a folder with a multilingual Whisper model as ct2-transformers-converter makes it"


@dataclass(frozen=True, slots=True)
class Likeness:
    """`gain`: the log-likelihood of the phrase with the sound, less that with silence, in nats."""

    phrase: str
    gain: float


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked in one language: the tokens before a text, phrases, and the tokens of each."""

    start: list[int]
    phrases: tuple[str, ...]
    texts: list[list[int]]


class Whisper:
    """For one thread at a time."""

    def __init__(self, folder: Path, phrases: Mapping[str, Sequence[str]]) -> None:
        """`phrases` by language, such as fr. SecondUnavailable without the package or such a model."""
        try:
            self._asked = _asked(read_vocabulary(folder), phrases)
        except VocabularyError as wrong:
            raise SecondUnavailable(f"{folder}: {wrong}; accepted: {FOLDER}") from wrong
        try:
            self._ctranslate2: Any = importlib.import_module("ctranslate2")
        except ImportError as wrong:
            raise SecondUnavailable(f"{wrong}; pip install 'sipagent[second]'") from wrong
        try:
            self._model = self._ctranslate2.models.Whisper(
                str(folder), device="cpu", compute_type="int8", inter_threads=1, intra_threads=1
            )
            self._silence = self._likelihoods(np.zeros(0, dtype=np.int16))
        except (RuntimeError, ValueError, DetectorError) as wrong:  # also files that don't fit each other
            raise SecondUnavailable(f"{folder}: no such model; accepted: {FOLDER}") from wrong

    def likeness(self, samples: Samples) -> Likeness:
        """The likeliest phrase in the last 3 s of (n,) int16 at 8 kHz. DetectorError if the model fails."""
        gains = self._likelihoods(samples) - self._silence
        if not np.all(np.isfinite(gains)):
            raise DetectorError("second opinion: the model's figures are none")
        best = int(np.argmax(gains))
        return Likeness(
            [phrase for asked in self._asked for phrase in asked.phrases][best], float(gains[best])
        )

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


def _asked(vocabulary: Vocabulary, phrases: Mapping[str, Sequence[str]]) -> list[_Asked]:
    return [
        _Asked(
            [vocabulary.special(f"<|{name}|>") for name in ("startoftranscript", code, "transcribe")],
            tuple(listed),
            [vocabulary.encode(as_written(phrase)) for phrase in listed],
        )
        for code, listed in phrases.items()
    ]
