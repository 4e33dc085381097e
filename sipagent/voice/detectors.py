"""The detectors of spoken refusals that the configuration names, and their check."""

from collections.abc import Iterator
from dataclasses import dataclass

from media.hearing.detectors import load_detector
from media.hearing.keyword import Detector, DetectorUnavailable
from sipagent.config.finding import Finding, error, ok
from sipagent.config.load import Config


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


def voice_findings(config: Config) -> Iterator[Finding]:
    """Load the detectors as the agent will."""
    refusal = config.refusal
    if refusal.engine == "none":
        return
    try:
        detectors(config)
    except DetectorUnavailable as wrong:
        yield error(wrong.key, str(wrong))
        return
    heard = ", ".join(map(repr, refusal.keywords + accept_keywords(config)))
    if refusal.in_call == "key+voice":
        heard += f"; during the call {', '.join(map(repr, refusal.in_call_keywords))}"
    yield ok("refusal.engine", f"{refusal.engine} hears {heard}")
    if refusal.second and refusal.engine == "embedding":
        yield ok("refusal.second", f"{refusal.second}: asked about what callers say before the bridge")
