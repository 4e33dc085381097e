"""The detector of an engine: none is imported before it is asked for."""

from collections.abc import Sequence
from pathlib import Path

from media.hearing.keyword import Detector, DetectorUnavailable


def load_detector(
    engine: str,
    refuse: Sequence[str] = (),
    accept: Sequence[str] = (),
    *,
    model: Path | None = None,
    heads: Path | None = None,
    in_call: bool = False,
) -> Detector | None:
    """The detector of `engine`, listening for the phrases `refuse` and `accept`; None for the engine "none".

    `model` is the folder of a Vosk model, for that engine; `heads` one of heads beside those that are
    shipped, for the engine "embedding". `in_call`: evidence is at stake, so it must be surer, and unclear is
    nothing. An engine is imported only here, where it is asked for: it costs tens of MB.
    DetectorUnavailable for one that isn't there, for no phrase that refuses, or one that it can't hear.
    """
    if engine == "none":
        return None
    if not refuse:
        raise DetectorUnavailable("nothing to listen for; accepted: one phrase that refuses, or more")
    if engine == "embedding":
        from media.hearing.spotter import Spotter

        return Spotter(refuse, accept, own=heads, in_call=in_call)
    if engine == "vosk":
        from media.hearing.recogniser import Recogniser

        return Recogniser(refuse, accept, model, in_call=in_call)
    raise DetectorUnavailable(f"engine {engine!r} is unknown; accepted: 'embedding', 'vosk', 'none'")
