"""A language for the trainer: what callers say in it, and the voices for it.

languages/xx.toml   accents   espeak-ng's voices;  kokoro  the beginnings of native speakers' names;
                    pico      SVOX Pico's voice;  dictionary  Debian's list of words
                    festival  whether festival's voices have phones for it
                    mbrola    by split, espeak-ng's names of MBROLA's voices: recorded speakers
                    ways      in which a new phrase is said, `{}` being the phrase
                    refusing, accepting   the phrases of the shipped head, each with the ways in which
                              people say it; what only sounds like one stands in `near`
                    everyday  what people say instead of a phrase, and which is only asked about again
                    in_call   those that name the recording act, for a conversation in which other
                              things are refused, too
                    talk      ordinary sentences;  turns, fillings  what sentences are made up from
                    release   ways, near and talk of the split that is looked at once a version: said in
                              no other
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

_FOLDER = Path(__file__).with_name("languages")
LANGUAGES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))

Ways: TypeAlias = dict[str, tuple[str, ...]]
"""Phrases as in a configuration, with the ways in which they are said."""


@dataclass(frozen=True, slots=True)
class Language:
    """A language for the trainer, as read from its TOML file; `code` is that of ISO 639, such as fr."""

    code: str
    name: str
    dictionary: Path
    accents: tuple[str, ...]
    kokoro: tuple[str, ...]
    pico: str
    ways: tuple[str, ...]
    refusing: Ways
    accepting: Ways
    everyday: Ways
    in_call: tuple[str, ...]
    near: tuple[str, ...]
    talk: tuple[str, ...]
    turns: tuple[str, ...]
    fillings: Ways
    release: Ways
    mbrola: Ways
    festival: bool = False

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases that refuse, then those that accept."""
        return (*self.refusing, *self.accepting)

    def words(self) -> list[str]:
        """The words of the dictionary; none if it isn't installed."""
        return self.dictionary.read_text(encoding="utf-8").split() if self.dictionary.exists() else []

    def made_up(self, random: Random, words: list[str]) -> str:
        """A random sentence: a turn with names and numbers in it, or some `words` in a row."""
        if words and random.random() < 0.5:
            return " ".join(random.sample(words, random.randint(1, 5))) + "."
        turn = random.choice(self.turns)
        said = {name: str(random.randint(1, 99)) for name in ("n", "n2", "n3", "n4")}
        for name in ("street", "name", "day", "day2", "month", "thing"):
            said[name] = random.choice(self.fillings[name.rstrip("2")])
        return turn.format(**said)


def card(name: str) -> str:
    """The text of a head's card, with names for what it tells: cards/NAME.md."""
    return Path(__file__).with_name("cards").joinpath(f"{name}.md").read_text(encoding="utf-8")


@cache
def language(code: str) -> Language:
    """Read one of LANGUAGES."""
    told = tomllib.loads((_FOLDER / f"{code}.toml").read_text(encoding="utf-8"))
    return Language(
        code=code, dictionary=Path(told.pop("dictionary")), **{k: _fixed(v) for k, v in told.items()}
    )


def _fixed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: tuple(items) for key, items in value.items()}
    return tuple(value) if isinstance(value, list) else value
