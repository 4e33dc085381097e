"""The detector of an engine: the package of an engine is imported only where that engine is asked for.

The engine "vosk" is here, too (`Recogniser`): Vosk's recogniser limited to the phrases, with a model from
the user. https://alphacephei.com/vosk: a list of phrases given to the recogniser is its whole grammar;
`[unk]` in it stands for anything else. Models must accept a grammar (the small ones do).
"""

import importlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from media.frame import SAMPLE_RATE, Samples
from media.hearing.keyword import (
    Detector,
    DetectorError,
    DetectorUnavailable,
    Meaning,
    StreamPosition,
    Verdict,
    every_ms,
)
from media.hearing.spotter import plain

if TYPE_CHECKING:
    from media.hearing.spotter import Spotter

SURE = 0.7
"""A phrase counts if the recogniser's confidence is at least this for all its words."""


class Recogniser:
    """A media.hearing.keyword.Detector; keeps nothing of what it heard."""

    every_ms: int

    def __init__(
        self, refuse: Sequence[str], accept: Sequence[str], model: Path | None, *, in_call: bool = False
    ) -> None:
        """DetectorUnavailable without the package or a model, or if the model lacks a word."""
        self.every_ms = every_ms("vosk", in_call)
        if model is None:
            raise DetectorUnavailable(
                "engine 'vosk' wants a model: accepted: its folder in refusal.vosk_model"
            )
        try:
            self._vosk: Any = importlib.import_module("vosk")
        except ImportError as wrong:
            raise DetectorUnavailable("engine 'vosk': {0}; pip install 'sipagent[vosk]'", wrong) from wrong
        self._vosk.SetLogLevel(-1)
        try:
            self._model = self._vosk.Model(str(model))
        except Exception as wrong:  # the package raises no narrower class
            raise DetectorUnavailable(
                "{0}: not a model of Vosk's; accepted: a folder with one", model
            ) from wrong
        self._meaning = {plain(phrase): Meaning.ACCEPT for phrase in accept}
        self._meaning |= {plain(phrase): Meaning.REFUSE for phrase in refuse}
        self._phrase = {plain(phrase): phrase for phrase in (*accept, *refuse)}
        words = {word for phrase in self._phrase for word in phrase.split()}
        if unknown := sorted(word for word in words if self._model.vosk_model_find_word(word) < 0):
            raise DetectorUnavailable(
                "{0} does not know {1}; accepted: words of the model's", model, ", ".join(map(repr, unknown))
            )
        self._grammar = json.dumps([*self._phrase, "[unk]"], ensure_ascii=False)

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        """The first phrase of refusal among the words, else one that accepts; an unsure one is unclear."""
        words = self._words(samples)
        text = " ".join(str(word["word"]) for word in words)
        sure = min((float(word["conf"]) for word in words if word["word"] != "[unk]"), default=0.0)
        for meaning in (Meaning.REFUSE, Meaning.ACCEPT):
            for phrase, means in self._meaning.items():
                if means is meaning and f" {phrase} " in f" {text} ":
                    unsure = Meaning.UNCLEAR if meaning is Meaning.REFUSE else Meaning.OTHER
                    return Verdict(meaning if sure >= SURE else unsure, self._phrase[phrase], sure)
        return Verdict(Meaning.OTHER)

    def _words(self, samples: Samples) -> list[dict[str, Any]]:
        """The words of an utterance, in order, each with its confidence."""
        recogniser = self._vosk.KaldiRecognizer(self._model, SAMPLE_RATE, self._grammar)
        recogniser.SetWords(True)
        try:
            ended = recogniser.AcceptWaveform(samples.tobytes())
        except Exception as wrong:
            raise DetectorError("vosk: {0}", wrong) from wrong
        results = [recogniser.Result()] if ended else []
        results.append(recogniser.FinalResult())
        return [word for result in results for word in json.loads(result).get("result", [])]


def load_detector(
    engine: str,
    refuse: Sequence[str] = (),
    accept: Sequence[str] = (),
    *,
    model: Path | None = None,
    heads: Path | None = None,
    second: Path | None = None,
    in_call: bool = False,
    languages: Collection[str] = (),
) -> Detector | None:
    """The detector of `engine`, listening for the phrases `refuse` and `accept`; None for the engine "none".

    `model` is the folder of a Vosk model, for that engine; `heads` a folder of more heads than those shipped,
    for the engine "embedding". `second`: the folder of a Whisper model that weighs what that engine hears
    before the bridge. `in_call`: a verdict may erase evidence, so it must be surer, and an unclear one does
    not count. `languages`: of the callers, in which an error offers other phrases. An engine is imported only
    here, when needed: it costs tens of MB. DetectorUnavailable if the engine is missing, no phrase refuses,
    or it can't hear a phrase.
    """
    if engine == "none":
        return None
    if not refuse:
        raise DetectorUnavailable("nothing to listen for; accepted: one phrase that refuses, or more")
    if engine == "embedding":
        from media.hearing.spotter import Spotter

        try:
            spotter = Spotter(refuse, accept, own=heads, in_call=in_call, languages=languages)
        except MemoryError as error:
            raise DetectorUnavailable("there is not enough memory for it") from error
        return spotter if second is None or in_call else weighed(spotter, second)
    if engine == "vosk":
        return Recogniser(refuse, accept, model, in_call=in_call)
    raise DetectorUnavailable("engine {0!r} is unknown; accepted: 'embedding', 'vosk', 'none'", engine)


def weighed(spotter: "Spotter", second: Path) -> Detector:
    """The detector with the second opinion on its phrases and on everyday words, each in the language of its
    head."""
    from media.hearing.second_opinion import SecondOpinion, Whisper, read_weights

    phrases: dict[str, list[str]] = {}
    for phrase, language in spotter.languages.items():
        phrases.setdefault(language, []).append(phrase)
    weights = read_weights()
    everyday = {language: weights.asked(words) for language, words in spotter.everyday.items()}
    return SecondOpinion(spotter, Whisper(second, phrases, everyday))
