"""The detector of an engine: no engine is imported before it is needed."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from media.hearing.keyword import Detector, DetectorUnavailable

if TYPE_CHECKING:
    from media.hearing.spotter import Spotter


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
        from media.hearing.recogniser import Recogniser

        return Recogniser(refuse, accept, model, in_call=in_call)
    raise DetectorUnavailable(f"engine {engine!r} is unknown; accepted: 'embedding', 'vosk', 'none'")


def weighed(spotter: "Spotter", second: Path) -> Detector:
    """The detector with the second opinion on its phrases and on everyday words, each in the language of its
    head."""
    from media.hearing.second.opinion import SecondOpinion
    from media.hearing.second.weights import read_weights
    from media.hearing.second.whisper import Whisper

    phrases: dict[str, list[str]] = {}
    for phrase, language in spotter.languages.items():
        phrases.setdefault(language, []).append(phrase)
    weights = read_weights()
    everyday = {language: weights.asked(words) for language, words in spotter.everyday.items()}
    return SecondOpinion(spotter, Whisper(second, phrases, everyday))
