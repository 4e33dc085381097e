"""Whether the notice says what it must, by the words that lie beside it.

A caller must learn before being recorded who records, that it is recorded and how to refuse it, or accept
it (GDPR articles 13 and 21(4); article 7 where the recording rests on consent).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from media.notice import Prompt, PromptError, inspect_prompt
from sipagent.config import Config, PromptSet
from sipagent.finding import Finding, error, ok, warning


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Beginnings of words, without accents, one of which must occur; and how the keys are said."""

    recorded: tuple[str, ...]
    refuse: tuple[str, ...]
    accept: tuple[str, ...]
    how_long: tuple[str, ...]
    keys: dict[str, str]


_FRENCH = ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "étoile", "dièse")
_ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "star", "hash")
_KEYS = "0123456789*#"

VOCABULARIES = {
    "fr": Vocabulary(
        recorded=("enregistr",),
        refuse=("refus", "oppos"),
        accept=("accept", "accord"),
        how_long=("mois", "ans", "annee", "jour", "semaine"),
        keys=dict(zip(_KEYS, _FRENCH, strict=True)),
    ),
    "en": Vocabulary(
        recorded=("record",),
        refuse=("refus", "object", "declin", "opt out"),
        accept=("accept", "agree", "consent"),
        how_long=("month", "year", "day", "week"),
        keys=dict(zip(_KEYS, _ENGLISH, strict=True)),
    ),
}


def prompt_findings(config: Config) -> Iterator[Finding]:
    """Look at every prompt of every language in use, once each."""
    seen: set[Path] = set()
    for prompts in config.prompt_sets():
        for name in (
            "notice",
            "welcome",
            "refused",
            "confirm",
            "closed",
            "unavailable",
            "hold_music",
            "please_hold",
        ):
            path: Path | None = getattr(prompts, name)
            if path is None or path in seen:
                continue
            seen.add(path)
            yield from _prompt(config, prompts, name, path)


def _prompt(config: Config, prompts: PromptSet, name: str, path: Path) -> Iterator[Finding]:
    what = f"prompts.{name} ({prompts.language})"
    try:
        prompt = inspect_prompt(path)
    except (PromptError, OSError) as problem:
        yield error(what, str(problem))
        return
    yield ok(what, f"{path.name}, {prompt.rate} Hz, {prompt.duration_ms / 1000:.1f} s")
    if name == "notice":
        yield from _notice(config, prompts, what, prompt)
    elif name == "confirm" and prompt.words and (said := VOCABULARIES.get(prompts.language)):
        digit = config.refusal.accept_digit
        if not _says_key(plain(prompt.words), digit, said):
            yield warning(what, f"its words do not name refusal.accept_digit {digit}")


def _notice(config: Config, prompts: PromptSet, what: str, prompt: Prompt) -> Iterator[Finding]:
    said = VOCABULARIES.get(prompts.language)
    if prompt.words is None:
        yield error(what, f"its words are not in {prompt.path.with_suffix('.txt')}, so nobody can check them")
    elif said is None:
        yield warning(
            what, f"nobody has listed what a notice must say in {prompts.language!r}; check its words"
        )
    elif missing := missing_words(config, prompt.words, said):
        yield error(what, f"its words do not say {', nor '.join(missing)}")
    else:
        yield ok(what, "its words say who records, that it is recorded, and how to decide")
        if not _begins_a_word(plain(prompt.words), said.how_long):
            yield warning(what, "its words do not say how long recordings are kept")


def missing_words(config: Config, words: str, said: Vocabulary) -> list[str]:
    """List what the words of a notice leave out, in words that continue "it does not say"."""
    text, refusal = plain(words), config.refusal
    names = [plain(config.service.name), plain(config.service.controller)]
    required = [
        (any(name in text for name in names), f"who records ({config.service.name})"),
        (_begins_a_word(text, said.recorded), "that the call is recorded"),
    ]
    if refusal.mode == "objection":
        required += [
            (_begins_a_word(text, said.refuse), "that one may refuse"),
            (_says_key(text, refusal.digit, said), f"the key that refuses ({refusal.digit})"),
        ]
    else:
        required += [
            (_begins_a_word(text, said.accept), "that one may accept"),
            (_says_key(text, refusal.accept_digit, said), f"the key that accepts ({refusal.accept_digit})"),
        ]
    return [what for said_so, what in required if not said_so]


def plain(text: str) -> str:
    """Reduce to what is heard: small letters without accents, one kind of apostrophe and space."""
    decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.casefold().split())


def _begins_a_word(text: str, beginnings: tuple[str, ...]) -> bool:
    return any(re.search(rf"\b{re.escape(beginning)}", text) for beginning in beginnings)


def _says_key(text: str, digit: str, said: Vocabulary) -> bool:
    spoken = [re.escape(digit), re.escape(plain(said.keys.get(digit, digit)))]
    return re.search(rf"(?<!\w)(?:{'|'.join(spoken)})(?!\w)", text) is not None
