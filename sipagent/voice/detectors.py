"""The detectors of spoken refusals that the configuration names, and their check.

An engine that the file names must be loaded. Without one the default listens where it can; where it cannot,
callers refuse by the key alone. `loaded` says which, and gives the configuration that is in force then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from media.hearing.detectors import load_detector
from media.hearing.keyword import Detector, DetectorUnavailable
from sipagent.config.finding import Finding, error, ok, warning
from sipagent.config.load import Config
from sipagent.config.refusal_words import heard_in


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
            f"no head for {', '.join(languages)}, and `sipagent train-keyword` makes one"
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
        return keys_alone(config), NOBODY_LISTENS, unheard(wrong.key, str(wrong))


def keys_alone(config: Config) -> Config:
    """The configuration where the default engine cannot be loaded; it still names none."""
    refusal = config.refusal.model_copy(update={"engine": "none"})
    refusal.model_fields_set.discard("engine")
    return config.model_copy(update={"refusal": refusal})


def unheard(key: str, trouble: str) -> str:
    """What `check` and `run` say where the default engine cannot be loaded, after `refusal.engine`."""
    about = "" if key == DetectorUnavailable.key else f"{key}: "
    return f"absent, and 'embedding' cannot listen here, so only keys are heard: {about}{trouble}"


def voice_findings(config: Config) -> tuple[Config, list[Finding]]:
    """Load the detectors as the agent will; the configuration in force then."""
    try:
        in_force, _, trouble = loaded(config)
    except DetectorUnavailable as wrong:
        return config, [error(wrong.key, str(wrong))]
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
        heard += f"; during the call {', '.join(map(repr, refusal.in_call_keywords))}"
    yield ok("refusal.engine", f"{refusal.engine} hears {heard}")
    if refusal.second and refusal.engine == "embedding":
        yield ok("refusal.second", f"{refusal.second}: asked about what callers say before the bridge")
