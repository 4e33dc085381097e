"""What is said and asked in an enrolment, by language, and in which files.

The prompts lie in `prompts/enrol/xx`; a folder of the service's own may replace any of them by one of the
same name. A phrase without a prompt is asked for by the one that says "the phrase that was agreed", so there
may be one such phrase at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import prompts
from media.prompt import PromptFile, inspect_prompt
from retention.texts import WithReason
from sipagent.config.tables import folder_name, words_of
from sipagent.enrol.flow import (
    DECLINED,
    FAILED,
    GIVEN_UP,
    REMINDER,
    THANKS,
    TONE,
    WELCOME,
    SayingFault,
    ScriptStep,
)

SHIPPED = Path(prompts.__file__).parent / "enrol"
LANGUAGES = tuple(sorted(path.name for path in SHIPPED.iterdir() if path.is_dir()))
TIMES = 5
"""How often each phrase is said."""
SENTENCES = 8
"""How many sentences refuse nothing, of media/training/languages: `talk_1` and so on ask for them. The last
three sound like a refusal: else a head learns that this voice refuses."""
AGREED = "agreed"
ALWAYS = (WELCOME, REMINDER, DECLINED, THANKS, GIVEN_UP, FAILED, *(fault.value for fault in SayingFault))


class ScriptError(WithReason):
    """What can't be asked for, and what is accepted; str() is one line."""


@dataclass(frozen=True, slots=True)
class EnrolScript:
    """The steps, and the file of each prompt that they or the flow name."""

    language: str
    steps: tuple[ScriptStep, ...]
    sounds: dict[str, PromptFile]


def default_phrases(keywords: Sequence[str], language: str) -> tuple[str, ...]:
    """The configured phrases without those that only other languages have."""
    ours = words_of([language], "keywords")
    others = {word for one in ("fr", "en", "de", "es") for word in words_of([one], "keywords")} - {*ours}
    return tuple(word for word in keywords if word not in others)


def script(phrases: Sequence[str], language: str, own: Path | None = None, times: int = TIMES) -> EnrolScript:
    """Each phrase so many times, then the sentences. Raises ScriptError, PromptError."""
    if not phrases:
        raise ScriptError("no phrase to say; accepted: --phrase")
    asks = {phrase: f"say_{folder_name(phrase)}" for phrase in phrases}
    agreed = [phrase for phrase, ask in asks.items() if not _path(ask, language, own).exists()]
    if len(agreed) > 1:
        raise ScriptError(
            "no prompt says {0!r} nor {1!r}; accepted: one such phrase, which is agreed "
            "beforehand, or {2}.wav in enrol.prompts",
            agreed[0],
            agreed[1],
            asks[agreed[0]],
        )
    asks |= dict.fromkeys(agreed, AGREED)
    steps = [
        ScriptStep(ask if nth == 1 else f"again_{min(nth, TIMES)}", ask, phrase, phrase)
        for phrase, ask in asks.items()
        for nth in range(1, times + 1)
    ]
    sounds: dict[str, PromptFile] = {}
    for name in (f"talk_{nth}" for nth in range(1, SENTENCES + 1)):
        sounds[name] = inspect_prompt(_path(name, language, own))
        steps.append(ScriptStep(name, name, _sentence(sounds[name]), None))
    named = {*ALWAYS, *(step.ask for step in steps), *(step.again for step in steps)} - {*sounds}
    sounds |= {name: inspect_prompt(_path(name, language, own)) for name in sorted(named)}
    sounds[TONE] = inspect_prompt(SHIPPED / "tone.wav")  # the ear knows this one
    return EnrolScript(language, tuple(steps), sounds)


def _sentence(prompt: PromptFile) -> str:
    """What a prompt asks to say: `After the tone, say: I'm looking for my file.`"""
    sentence = (prompt.words or "").partition(":")[2].strip().replace("’", "'")
    if not sentence:
        raise ScriptError("{0}: its .txt does not say what is to be said, after a colon", prompt.path)
    return sentence


def _path(name: str, language: str, own: Path | None) -> Path:
    ours = own / f"{name}.wav" if own else None
    return ours if ours and ours.exists() else SHIPPED / language / f"{name}.wav"
