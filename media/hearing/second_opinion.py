"""The second opinion: a detector around the first one, which asks a Whisper model about what callers say.

    question ──▶ first ──▶ nothing like a refusal ──▶ when the speech has ended ──▶ Whisper ──▶ both weighed
                   ├─────▶ like one ────────────────▶ 0.5 s later, or at the end ───'
                   `─────▶ a refusal ───────────────▶ refused at once

A refusal by the first detector stands: with a veto of the model, fewer voices were heard at as few false
refusals. Speech that resembles a refusal gets no verdict until the model has answered: the speech goes
on, and words that begin in the window count also after it. A model that fails, or is too busy for speech
like a refusal, raises DetectorError, so the call is not recorded. If it is too busy for speech in which the
first detector finds nothing, the first verdict counts.

**The model** is one that the user supplies, in CTranslate2's form. It tells how much likelier a phrase is
with the sound than without.

    (n,) int16 ─log_mel─▶ (bands, FRAMES) ─encode─▶ (FRAMES / 2, width) ─align─▶ each phrase's likelihood

Its transcripts are mostly wrong at 8 kHz: "refuser !" becomes "d'où suis-je". But it can be asked how
likely each phrase is as the text of this sound. Less the likelihood in silence, which is how usual the
phrase is, that tells a refusal from other speech: on voices that this was chosen by, the area below the
ROC is 0.86, and 0.72 with the text that it would write in the place of silence.

**Its input** is log-mel spectra of sound at 16 kHz, as its authors compute them: Radford et al., "Robust
Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.2, and `whisper/audio.py` of its
code: windows of 25 ms each 10 ms, power, Slaney's mel filters, log10, at most eight below the loudest,
scaled. The model was trained on 30 s; it also takes less, much faster.

**Its vocabulary** is byte-level (Radford et al., "Language Models are Unsupervised Multitask Learners",
2019, section 2.2): each token is bytes, spelt in signs that can be printed, and a token that is more
frequent comes earlier. So the order alone tells which two pieces of a word are joined first, as in
OpenAI's `tiktoken`.

**The weights** of the two opinions are figures that `python -m tests.bench.opinions` fits and writes, for
a multilingual base model. A phrase that they do not name has what the others have on average.
"""

import importlib
import json
import math
import re
import threading
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from media import MediaError
from media.frame import Samples, milliseconds
from media.hearing.embedding import mel_edges
from media.hearing.keyword import (
    Detector,
    DetectorError,
    Meaning,
    SecondUnavailable,
    StreamPosition,
    Verdict,
    strongest,
)
from media.hearing.spotter import plain

SUREST = 0.9995
"""Scores nearer to 1, or to 0, count as this one."""
WEIGHTS_FILE = Path(__file__).with_name("weights.toml")


@dataclass(frozen=True, slots=True)
class Weights:
    """Two logistic regressions of "does it refuse": of voices that the first one knows, on its log-odds and
    the phrase's gain in nats; of those that it doesn't know, on the gain alone. The greater odds count.

    `refuse_at`, `unclear_at`: the scores from which it refuses or is unclear. `doubt_at`: the gain from which
    everyday words are unclear. `gains`: what each phrase gains where something else is said, seldom exceeded.
    `left_out`: the everyday words that tell least, and are not asked about.
    """

    known_bias: float
    known_first: float
    known_gain: float
    unknown_bias: float
    unknown_gain: float
    refuse_at: float
    unclear_at: float
    doubt_at: float
    left_out: Sequence[str]
    gains: Mapping[str, float]

    def odds(self, score: float, gain: float) -> float:
        """The log-odds of a refusal, of the first one's score and the phrase's gain."""
        known = self.known_bias + self.known_first * log_odds(score) + self.known_gain * gain
        return max(known, self.unknown_bias + self.unknown_gain * gain)

    def asked(self, everyday: Sequence[str]) -> list[str]:
        """Those of these words that are asked about."""
        return [word for word in everyday if plain(word) not in self.left_out]

    def usual(self, phrase: str) -> float:
        """The usual gain of this phrase on sound of other speech, in nats."""
        otherwise = sum(self.gains.values()) / len(self.gains)
        return self.gains.get(plain(phrase), otherwise)


def log_odds(score: float) -> float:
    """Of a probability, which counts as neither 0 nor 1."""
    sure = min(max(score, 1 - SUREST), SUREST)
    return math.log(sure / (1 - sure))


@cache
def read_weights() -> Weights:
    """Those that come with the program."""
    return Weights(**tomllib.loads(WEIGHTS_FILE.read_text(encoding="utf-8")))


Floats: TypeAlias = NDArray[np.float32]

RATE = 16_000
WINDOW, HOP = 400, 160
FLOOR, RANGE = 1e-10, 8.0
"""The least power, and how many powers of ten below the loudest count."""
_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def log_mel(samples: Samples, frames: int, bands: int) -> Floats:
    """(bands, frames) float32 of the end of (n,) int16 at 8 kHz; silence follows what is shorter."""
    length = frames * HOP
    sound = np.zeros(length)
    part = twice_the_rate(samples)[-length:]
    sound[: len(part)] = part
    padded = np.pad(sound, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    power = np.abs(np.fft.rfft(windows * _HANN, axis=1)) ** 2
    logs = np.log10(np.maximum(filters(bands) @ power.T, FLOOR))
    return np.asarray((np.maximum(logs, logs.max() - RANGE) + 4) / 4, dtype=np.float32)


def twice_the_rate(samples: Samples) -> NDArray[np.float64]:
    """(2 n,) at 16 kHz, full scale 1.0, of (n,) int16 at 8 kHz: nothing above 4 kHz."""
    if not len(samples):
        return np.zeros(0)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples / 32768), 2 * len(samples)) * 2)


@cache
def filters(bands: int) -> NDArray[np.float64]:
    """(bands, WINDOW // 2 + 1): triangles of equal area, from 0 to 8 kHz."""
    at = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    edges = mel_edges(0, RATE / 2, bands)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((at - low) / (middle - low), (high - at) / (high - middle))
    return np.asarray(np.maximum(0, triangles) * 2 / (high - low))


JSON, TEXT = "vocabulary.json", "vocabulary.txt"
_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


class VocabularyError(MediaError):
    """A folder without a vocabulary of Whisper's; str() is one line."""


class TokenVocabulary:
    """The tokens of a model, by their spelling."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._number = {token: number for number, token in reversed(list(enumerate(tokens)))}

    def special(self, name: str) -> int:
        """The number of a token such as `<|fr|>`. VocabularyError if there is none."""
        if name not in self._number:
            raise VocabularyError("there is no {0} in its vocabulary", name)
        return self._number[name]

    def encode(self, text: str) -> list[int]:
        """The numbers of the tokens of `text`. VocabularyError if a byte of it has none."""
        return [number for piece in _PIECES.findall(text) for number in self._joined(piece)]

    def _joined(self, piece: str) -> list[int]:
        """Join the two neighbours whose token comes first, as long as any two are one."""
        parts = [_SPELT[byte] for byte in piece.encode()]
        while len(parts) > 1:
            pairs = [first + second for first, second in pairwise(parts)]
            known = [(self._number[pair], at) for at, pair in enumerate(pairs) if pair in self._number]
            if not known:
                break
            _, at = min(known)
            parts[at : at + 2] = [pairs[at]]
        return [self.special(part) for part in parts]


def read_vocabulary(folder: Path) -> TokenVocabulary:
    """The vocabulary in the folder of a model that CTranslate2's converter made, in JSON or one a line."""
    try:
        if (folder / JSON).exists():
            tokens = json.loads((folder / JSON).read_text(encoding="utf-8"))
        else:
            tokens = (folder / TEXT).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as wrong:
        raise VocabularyError(getattr(wrong, "strerror", None) or str(wrong)) from wrong
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise VocabularyError("{0} is not a list of tokens", JSON)
    return TokenVocabulary(tokens)


def _spelling() -> list[str]:
    """The sign of each byte: itself if it can be printed, else one from 256 on."""
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printed else next(others)) for byte in range(0x100)]


_SPELT = _spelling()


FRAMES = 300
"""3 s, which is all that the voice gate keeps; 30 s would cost thirty times as much."""
LEAST = 1e-9
LEAST_GAIN = -1000.0
FOLDER = MediaError("a folder with a multilingual Whisper model as ct2-transformers-converter makes it")


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
class _LanguageQuestion:
    """A question in one language: the tokens before a text, phrases, and the tokens of each.

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
            raise SecondUnavailable("{0}: {1}; accepted: {2}", folder, wrong, FOLDER) from wrong
        try:
            self._ctranslate2: Any = importlib.import_module("ctranslate2")
        except ImportError as wrong:
            raise SecondUnavailable("{0}; pip install 'sipagent[second]'", wrong) from wrong
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
            raise SecondUnavailable("{0}: no such model; accepted: {1}", folder, FOLDER) from wrong
        self._usual = np.array([usual(phrase) for phrase in self.phrases], np.float32)

    def likeness(self, samples: Samples) -> Likeness:
        """The likeliest phrase in the last 3 s of (n,) int16 at 8 kHz. DetectorError if the model fails."""
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
            raise DetectorError("second opinion: {0}", wrong) from wrong

    def _of_phrases(self, heard: Floats, asked: _LanguageQuestion) -> Floats:
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


def _asked(
    vocabulary: TokenVocabulary, phrases: Mapping[str, Sequence[str]], everyday: Mapping[str, Sequence[str]]
) -> list[_LanguageQuestion]:
    found = []
    for code, refusing in phrases.items():
        start = [vocabulary.special(f"<|{name}|>") for name in ("startoftranscript", code, "transcribe")]
        every = (*refusing, *everyday.get(code, ()))
        texts = [vocabulary.encode(f" {one[0].upper()}{one[1:]}.") for one in every]  # as it would write them
        found.append(_LanguageQuestion(start, every, len(refusing), texts))
    return found


LIKE_A_REFUSAL = 0.05
"""The first one's score from which the model is asked before the speech has ended."""
SETTLE_MS = 500
"""From then to the question while speech goes on: the phrase may just have begun."""
AGAIN_MS = 1000
"""Speech that goes on like a refusal is asked about again after so much more."""
TURN_S, TURN_ANYWAY_S = 1.2, 0.3
"""How long a question waits for others, and one about what is nothing like a refusal; a worker gives up after
2 s."""
SHARE, MOST_S = 0.5, 3.0
"""Of the time, what questions about nothing like a refusal may take, and how much of it may be saved up:
while one is answered, a worker's other questions wait."""


class Model(Protocol):
    """A Whisper."""

    def likeness(self, samples: Samples) -> Likeness: ...


@dataclass(slots=True)
class _StreamSpeech:
    """The speech of one stream, at places counted in samples.

    `likest`: of the first one's verdicts that the model has not been asked about; `since`: where the wait for
    that question began. `asked`: where it was asked last, `about` what.
    """

    likest: Verdict | None = None
    since: int | None = None
    asked: int | None = None
    about: Meaning = Meaning.OTHER

    def hear(self, found: Verdict, now: int) -> None:
        """The first one says this, which is like a refusal."""
        self.likest = strongest([found, self.likest] if self.likest else [found])
        if self.since is None and (
            self.asked is None
            or milliseconds(now - self.asked) >= AGAIN_MS
            or strongest([Verdict(self.about), Verdict(found.meaning)]).meaning is not self.about
        ):
            self.since = now

    def due(self, now: int, last: bool) -> Verdict | None:
        """The verdict to ask the model about now, if any: after SETTLE_MS, or at the end of the speech."""
        waited = self.since is not None and milliseconds(now - self.since) >= SETTLE_MS
        return self.likest if last or waited else None

    def answered(self, now: int, about: Verdict) -> None:
        self.likest = self.since = None
        self.asked, self.about = now, about.meaning


class SecondOpinion:
    """A media.hearing.keyword.Detector. `judge` is for one thread; `weigh` for several, a stream in one.

    `clock`: seconds, which never go back.
    """

    def __init__(self, first: Detector, model: Model, clock: Callable[[], float] = time.monotonic) -> None:
        self.first = first
        self.every_ms = first.every_ms
        self._model = model
        self._weights = read_weights()
        self._speeches: dict[int, _StreamSpeech] = {}
        self._turn = threading.Lock()
        self._clock = clock
        self._saved_s, self._saved_at = MOST_S, clock()

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return self.weigh(self.first.judge(samples, place), samples, place)

    def weigh(self, found: Verdict, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        """The meaning of the first verdict on these samples, with the model's if it is time to ask.

        DetectorError if the model fails, or others ask for longer than TURN_S.
        """
        where = place or StreamPosition(0, 0, last=True)
        speech = (
            _StreamSpeech() if place is None else self._speeches.setdefault(where.stream, _StreamSpeech())
        )
        if place and place.last:
            del self._speeches[place.stream]
        if not len(samples) or found.meaning is Meaning.REFUSE:
            return found
        rest, refusal = found, without_doubt(found)
        if _is_like_a_refusal(refusal):
            rest = found if found.everyday else Verdict(Meaning.OTHER, confidence=found.confidence)
            speech.hear(refusal, where.at + len(samples))
        about = speech.due(where.at + len(samples), where.last)
        if about is not None:
            second = self._asked(samples, TURN_S)
            if second is None:
                raise DetectorError("second opinion: too many ask at once")
            speech.answered(where.at + len(samples), about)
            return strongest([combined(about, second, self._weights), rest])
        if not where.last or found.meaning is Meaning.ACCEPT:
            return rest
        # speech in which the first finds nothing may be a refusal by a kind of voice that it does not know
        second = self._asked(samples, TURN_ANYWAY_S, anyway=True)
        return found if second is None else strongest([combined(refusal, second, self._weights), found])

    def wait_turn(self) -> None:
        """Return once the model can be asked."""
        with self._turn:
            pass

    def _asked(self, samples: Samples, patience_s: float, *, anyway: bool = False) -> Likeness | None:
        """The model's answer; None if others ask for longer than that. `anyway`: and if such questions have
        had their share of the time."""
        if not self._turn.acquire(timeout=patience_s):
            return None
        try:
            begun = self._clock()
            self._saved_s = min(MOST_S, self._saved_s + SHARE * (begun - self._saved_at))
            self._saved_at = begun
            if anyway and self._saved_s <= 0:
                return None
            second = self._model.likeness(samples)
            if anyway:
                self._saved_s -= self._clock() - begun
            return second
        finally:
            self._turn.release()


def without_doubt(found: Verdict) -> Verdict:
    """The first one's verdict without the head for everyday words, which only doubts."""
    return Verdict(Meaning.OTHER, confidence=found.refusing) if found.everyday else found


def _is_like_a_refusal(found: Verdict) -> bool:
    if found.meaning is Meaning.ACCEPT:
        return False
    return found.meaning is not Meaning.OTHER or (found.confidence or 0.0) >= LIKE_A_REFUSAL


def combined(first: Verdict, second: Likeness, weights: Weights) -> Verdict:
    """One verdict of both, where the first does not refuse."""
    odds = weights.odds(first.confidence or 0.0, second.gain)
    score = round((1 + math.tanh(odds / 2)) / 2, 3)  # the logistic function
    keyword = first.keyword or second.phrase
    if score >= weights.refuse_at:
        return Verdict(Meaning.REFUSE, keyword, score, sure=False)
    if score >= weights.unclear_at:
        return Verdict(Meaning.UNCLEAR, keyword, score)
    if second.doubt >= weights.doubt_at:
        return Verdict(Meaning.UNCLEAR, second.everyday, score, everyday=True)
    return Verdict(Meaning.OTHER, confidence=score)
