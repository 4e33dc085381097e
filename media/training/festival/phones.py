"""What a voice of another language is asked to say: French sounds as its own phones, in a French melody.

text ─espeak-ng─▶ clauses of syllables of sounds (IPA) ─▶ segments: phones, how long and how high
"""

import re
import subprocess
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from prompts.kokoro import VoiceError

VOWELS = frozenset("aeɛəøœiyoɔu") | {"ɛ̃", "ɑ̃", "ɔ̃"}
GLIDING = frozenset("jwlʁ")
"""Consonants that follow another one in a syllable, as in "bleu"."""
NASAL = "\N{COMBINING TILDE}"
SCHWA = "ə"
SCHWA_S, VOWEL_S, NASAL_S, GLIDING_S, OTHER_S = 0.055, 0.085, 0.105, 0.06, 0.085
"""How long a sound lasts in s; those of the last syllable last longer."""
SILENCE_S = 0.1
"""Before and after a clause."""
SHARES = {1: (1.0,), 2: (0.75, 0.5)}
"""Of a sound's length, what each of its phones has: two last a quarter longer than one."""
_CLAUSE = re.compile(r"[^,;:.!?…]+[,;:.!?…]*")


class FestivalError(VoiceError):
    """A voice cannot say this; str() is one line that tells which, and what is needed."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A voice as voices.toml tells of it; `hertz` is 0 where its melody is its own. `beside`: folders that it
    needs, and the packages that have them."""

    package: str
    beside: dict[str, str]
    phones: dict[str, tuple[str, ...]]
    silence: str
    between: str
    hertz: float


@dataclass(frozen=True, slots=True)
class Syllable:
    """Sounds of IPA; `stressed` as espeak-ng says."""

    sounds: tuple[str, ...]
    stressed: bool


@dataclass(frozen=True, slots=True)
class Clause:
    """What is said up to a comma or an end, and the `mark` that ends it, a letter if none does."""

    syllables: tuple[Syllable, ...]
    mark: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A phone, how long it lasts, and how high it is in its middle; 0 for any pitch."""

    phone: str
    seconds: float
    hertz: float = 0.0


def clauses(text: str, accent: str) -> list[Clause]:
    """What espeak-ng says of a text in this accent. FestivalError if a sound has no phone."""
    found = []
    for part in _CLAUSE.findall(text):
        if syllables := [each for word in _ipa(part, accent).split() for each in _syllables(word)]:
            found.append(Clause(tuple(syllables), part.strip()[-1]))
    return found


def segments(clause: Clause, kind: Kind, speed: float, random: Random) -> Iterator[Segment]:
    """The phones of a clause. Its melody sinks, is higher where words are stressed, and at the end falls
    after a full stop and rises after a comma; how much is drawn."""
    width, slope = random.uniform(0.6, 1.5), random.uniform(1.0, 3.5)
    rises = clause.mark in "?," or random.random() < 0.15
    height = random.uniform(-1.5, 2.0)
    yield Segment(kind.silence, SILENCE_S)
    final = len(clause.syllables) - 1
    for number, syllable in enumerate(clause.syllables):
        semitones = (
            height + slope * (0.5 - number / max(1, final)) + width * (1.5 if syllable.stressed else 0)
        )
        if number == final:
            semitones = height + width * (4.0 if rises else -3.5)
        semitones += random.uniform(-0.4, 0.4)
        for sound in syllable.sounds:
            seconds = _length(sound, final=number == final) * random.uniform(0.88, 1.12) / speed
            yield from _said(sound, kind, seconds, kind.hertz * 2 ** (semitones / 12))
    yield Segment(kind.silence, SILENCE_S)


def _said(sound: str, kind: Kind, seconds: float, hertz: float) -> Iterator[Segment]:
    """Only the first phone of a vowel has a pitch: between them it glides."""
    phones = kind.phones[sound]
    for number, (phone, share) in enumerate(zip(phones, SHARES[len(phones)], strict=True)):
        yield Segment(phone, share * seconds, hertz if sound in VOWELS and not number else 0.0)


def _length(sound: str, *, final: bool) -> float:
    """In seconds."""
    if sound not in VOWELS:
        return (GLIDING_S if sound in GLIDING else OTHER_S) * (1.2 if final else 1.0)
    usual = SCHWA_S if sound == SCHWA else NASAL_S if sound.endswith(NASAL) else VOWEL_S
    return usual * (1.6 if final else 1.0)


@cache
def _ipa(text: str, accent: str) -> str:
    """Without the marks of words in another language."""
    command = ["espeak-ng", "-q", "--ipa", "-v", accent, "--", text.strip()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.sub(r"\([a-z-]+\)", "", said)


def _syllables(word: str) -> Iterator[Syllable]:
    """Each has a vowel, after one consonant, or two if the second is gliding; the last has all that is
    left."""
    sounds, stressed_at = _sounds(word)
    vowels = [at for at, sound in enumerate(sounds) if sound in VOWELS]
    begins = [0]
    for before, at in pairwise(vowels):
        begin = max(before + 1, at - 1)
        if begin - 1 > before and sounds[begin] in GLIDING and sounds[begin - 1] not in GLIDING:
            begin -= 1
        begins.append(begin)
    for begin, end in zip(begins, [*begins[1:], len(sounds)], strict=True):
        if begin < end:
            yield Syllable(tuple(sounds[begin:end]), begin <= stressed_at < end)


def _sounds(word: str) -> tuple[list[str], int]:
    """Those that French has, and the number of the one after the mark of stress; -1 without."""
    sounds: list[str] = []
    stressed_at = -1
    for letter in unicodedata.normalize("NFD", word):
        if letter == "ˈ":
            stressed_at = len(sounds)
        elif letter == NASAL and sounds:
            sounds[-1] += letter
        elif letter.isalpha() and letter not in "ːˌ":
            sounds.append(letter)
    found = [nearest().get(sound, sound) for sound in sounds]
    if unknown := sorted(set(found) - french()):
        raise FestivalError(
            f"{word!r}: no phone for {' '.join(unknown)}; accepted: {' '.join(sorted(french()))}"
        )
    return found, stressed_at


@cache
def _told() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("voices.toml").read_text(encoding="utf-8"))


@cache
def nearest() -> dict[str, str]:
    """Sounds of foreign words, and the French ones that are said instead."""
    return {_decomposed(sound): _decomposed(said) for sound, said in _told()["nearest"].items()}


@cache
def french() -> frozenset[str]:
    """All sounds that a voice must have phones for."""
    return frozenset.union(*(frozenset(kind.phones) for kind in kinds().values()))


@cache
def kinds() -> dict[str, Kind]:
    """All voices by name."""
    found = {}
    for name, voice in _told()["voices"].items():
        phones = _told()["phones"][voice["phones"]] | voice.get("but", {})
        silence, between = phones.pop("silence"), phones.pop("between")
        said = {_decomposed(sound): tuple(each.split()) for sound, each in phones.items()}
        beside, hertz = voice.get("beside", {}), float(voice.get("hertz", 0))
        found[name] = Kind(voice["package"], beside, said, silence, between, hertz)
    return found


def _decomposed(sound: str) -> str:
    return unicodedata.normalize("NFD", sound)
