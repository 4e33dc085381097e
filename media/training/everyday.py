"""The head for everyday words: what callers say when they are asked, and which no notice promises.

    speak, people ──▶ FOLDER/sounds ──▶ features ──▶ FOLDER/features ──▶ fit ──▶ CODE.everyday.npz and .md

It lies on the deep layers of the language's shipped head and can only doubt: "no, thank you" is asked about
once more. Phrases that refuse are among its classes, so that one which is not configured, or which the
shipped head misses, is asked about, too. From nothing, by one command; what was made by an earlier one is not
made again, and on one machine the same bytes come out.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from media.hearing.embedding import OTHER, Head, load_head, save_head
from media.hearing.spotter import HEADS, plain
from media.training.features import make_missing, source_of
from media.training.language import Language
from media.training.own import NEVER
from media.training.speech import (
    Counts,
    Split,
    SpokenFile,
    copy_once,
    copy_own_prompts,
    copy_people,
    label,
    manner,
    others,
    part,
    parts,
    people,
    speak_all,
)

if TYPE_CHECKING:
    from media.training.fit import Questions

ACCEPTING = "accepting"
"""The folder of words that accept, which must not be doubted."""
SEED = 1
SPLITS: tuple[Split, ...] = ("train", "tune")
SHARD = 500
"""Sounds of a source in one folder: features are made of each at once."""
UNCLEAR_PEOPLE = 0.005
"""The share of people's utterances that may be asked about, at most: none of them refuses."""
UNCLEAR_SYNTHETIC = 0.02
"""The same of sentences by synthesizers, most of which are made to sound like a phrase."""
HIGHEST, LEAST = 0.9999, 0.5


@dataclass(frozen=True, slots=True)
class EverydayAmounts:
    """Utterances by synthesizer and split: of each everyday phrase, of each that refuses, of each that
    accepts, of other speech.

    `people`: recordings of people; `rounds`: batches of training.
    """

    everyday: Counts
    refusing: Counts
    accepting: Counts
    other: Counts
    people: Mapping[Split, int]
    rounds: int

    def share(self, share: float) -> "EverydayAmounts":
        """This share of all amounts."""

        return replace(
            self,
            everyday=parts(self.everyday, share),
            refusing=parts(self.refusing, share),
            accepting=parts(self.accepting, share),
            other=parts(self.other, share),
            people=part(self.people, share),
            rounds=max(1, round(share * self.rounds)),
        )


USUAL = EverydayAmounts(
    everyday={
        "espeak": {"train": 80, "tune": 8, "test": 10},
        "kokoro": {"train": 15, "tune": 4, "test": 3},
        "festival": {"train": 40, "tune": 8, "test": 8},
        "mbrola": {"train": 40, "tune": 8, "test": 8},
        "pico": {"test": 8},
    },
    refusing={
        "espeak": {"train": 25, "tune": 2},
        "kokoro": {"train": 6},
        "festival": {"train": 15, "tune": 2},
        "mbrola": {"train": 15, "tune": 2},
    },
    accepting={
        "espeak": {"train": 25, "tune": 10, "test": 12},
        "kokoro": {"train": 8, "tune": 3, "test": 2},
        "festival": {"train": 15, "tune": 6, "test": 6},
        "mbrola": {"train": 15, "tune": 6, "test": 6},
        "pico": {"test": 8},
    },
    other={
        "espeak": {"train": 1400, "tune": 180, "test": 200},
        "kokoro": {"train": 90, "tune": 25, "test": 15},
        "festival": {"train": 500, "tune": 100, "test": 100},
        "mbrola": {"train": 500, "tune": 100, "test": 100},
        "pico": {"test": 80},
    },
    people={"train": 400, "tune": 300, "test": 250},
    rounds=5000,
)


@dataclass(frozen=True, slots=True)
class EverydayMaterial:
    """What the head of a language is made from; `folder` has its sounds and features, `styles` Kokoro's
    speakers."""

    language: Language
    folder: Path
    synthesizers: tuple[str, ...]
    styles: Path
    amounts: EverydayAmounts


def make_everyday(material: EverydayMaterial, prompts: Path, out: Path) -> Iterator[str]:
    """Everything from nothing to the head and its card in `out`; reports progress.

    `prompts`: the folder of what the agent itself says, by language.
    """
    for split in SPLITS:
        yield from make_sounds(material, split)
    yield from copy_own_prompts(prompts, material.language.code, material.folder / "sounds")
    yield from make_missing(material.folder, {}, prompts)
    yield from fit_everyday(material.language, material.folder / "features", material.amounts.rounds, out)


def make_sounds(material: EverydayMaterial, split: Split) -> Iterator[str]:
    """The sounds of one split, people's too; what there is already is not made again."""
    language, folder = material.language, material.folder
    plans = {name: plan(language, name, split, material.amounts) for name in material.synthesizers}
    yield from speak_all(language, plans, folder, material.styles)
    found = people(split)
    some = Random(split).sample(found, min(material.amounts.people[split], len(found)))
    for number in range(0, len(some), SHARD):
        shard = some[number : number + SHARD]
        place = folder / "sounds" / split / f"people-{number // SHARD}"
        yield from copy_once(place, partial(copy_people, shard))


def plan(language: Language, synthesizer: str, split: Split, amounts: EverydayAmounts) -> list[SpokenFile]:
    """What one synthesizer says for one split, in an order whose every beginning is a fair sample."""
    random = Random(f"everyday/{synthesizer}/{split}")
    said: list[tuple[str, str]] = []
    for counts, phrases, name in (
        (amounts.everyday, language.everyday, None),
        (amounts.refusing, language.refusing, None),
        (amounts.accepting, language.accepting, ACCEPTING),
    ):
        count = counts.get(synthesizer, {}).get(split, 0)
        for phrase, ways in phrases.items():
            said += [(name or label(phrase), random.choice(ways)) for _ in range(count)]
    count = amounts.other.get(synthesizer, {}).get(split, 0)
    wanted = others(language, split, language.words(), random, count)
    said += [(OTHER, text) for text in wanted if not begins_with_one(text, language)]
    random.shuffle(said)
    return [
        SpokenFile(
            Path(split, f"{synthesizer}-{number // SHARD}", name, f"{number:05d}.wav"),
            text,
            manner(language, synthesizer, split, random),
        )
        for number, (name, text) in enumerate(said)
    ]


def begins_with_one(text: str, language: Language) -> bool:
    """Whether its words up to the first pause are everyday ones, or refuse: no example of other speech."""
    first = plain(re.split(r"[,;.!?]", text.strip(" ¡¿"))[0])
    said = {plain(way) for ways in (language.everyday | language.refusing).values() for way in ways}
    return plain(text) in said or first in said


def fit_everyday(language: Language, features: Path, rounds: int, out: Path) -> Iterator[str]:
    """Train on train.*.npz, choose the threshold on tune.*.npz, write the head and its card.

    The deep layers are those of the language's head in `out`, or else of the one that is shipped.
    """
    from media.training.fit import (  # with JAX, which takes a second
        Weights,
        fit,
        load_rows,
        probabilities_on_calls,
    )

    phrases = (*language.everyday, *language.refusing)
    classes = [*map(label, phrases), OTHER]
    train, tune = (
        _unsharded(load_rows(sorted(features.glob(f"{split}.*.npz")), classes)) for split in SPLITS
    )
    yield f"{len(train.labels)} questions to train on, {len(tune.labels)} to choose the threshold on"
    shipped = out / f"{language.code}.npz"
    start = load_head(shipped if shipped.exists() else HEADS / shipped.name).weights
    weights: Weights = {}
    for number, cost, weights in fit(train, classes, rounds, SEED, start, tune_deep=False):  # noqa: B007 - the last ones are kept
        yield f"{number} batches, loss {cost:.4f}"
    doubts = 1 - probabilities_on_calls(weights, tune)[:, -1]
    strongest = _strongest(doubts, tune.sounds)
    found = _threshold(strongest)
    held = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    head = Head(language.code, phrases, NEVER, found, NEVER, NEVER, held, everyday=True)
    out.mkdir(parents=True, exist_ok=True)
    save_head(out / f"{language.code}.everyday.npz", head)
    shares = _shares(strongest, found, {label(phrase) for phrase in language.everyday})
    sounds = {"train": train.sounds, "tune": tune.sounds}
    told = card(language, _sources(sounds), rounds, found, shares)
    (out / f"{language.code}.everyday.md").write_text(told, encoding="utf-8")
    yield f"unclear from {found}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _unsharded(rows: "Questions") -> "Questions":
    """Questions whose sounds are named `SPLIT/SOURCE/LABEL/SHARD-NUMBER.wav`: sources count alike, in any
    number of shards."""
    return replace(rows, sounds=np.array([_unsharded_name(Path(sound)) for sound in rows.sounds]))


def _unsharded_name(sound: Path) -> str:
    split, shard, said, name = sound.parts[-4:]
    return f"{split}/{source_of(sound)}/{said}/{shard}-{name}"


def _threshold(strongest: Mapping[str, float]) -> float:
    """The lowest score from which no more of what refuses nothing is unclear than may be."""
    wanted = [LEAST]
    for people_said, share in ((True, UNCLEAR_PEOPLE), (False, UNCLEAR_SYNTHETIC)):
        scores = [
            score
            for sound, score in strongest.items()
            if Path(sound).parent.name in (OTHER, ACCEPTING)
            and (source_of(Path(sound)) == "people") is people_said
        ]
        if scores:
            wanted.append(float(np.quantile(scores, 1 - share)))
    return round(min(HIGHEST, max(wanted)), 4)


def _strongest(scores: NDArray[Any], sounds: NDArray[Any]) -> dict[str, float]:
    """Of each sound the highest score of its questions: as on a call, it decides."""
    found: dict[str, float] = {}
    for sound, score in zip(sounds.tolist(), scores.tolist(), strict=True):
        found[sound] = max(score, found.get(sound, 0.0))
    return found


def _shares(strongest: Mapping[str, float], unclear_at: float, everyday: set[str]) -> dict[str, float]:
    """How many are unclear, by what they say and who says it; 0.0 to 1.0."""
    groups: dict[str, list[bool]] = {}
    for sound, score in strongest.items():
        path = Path(sound)
        said = "everyday words" if path.parent.name in everyday else path.parent.name
        if said in ("everyday words", OTHER, ACCEPTING):
            groups.setdefault(f"{said}, {source_of(path)}", []).append(score >= unclear_at)
    return {name: sum(group) / len(group) for name, group in sorted(groups.items())}


def _sources(sounds: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, int, int]]:
    """By split and source: its name, how many sounds, how many questions."""
    for split, asked in sounds.items():
        for source in sorted({source_of(Path(sound)) for sound in asked}):
            ours = [sound for sound in asked if source_of(Path(sound)) == source]
            yield f"{split}/{source}", len(set(ours)), len(ours)


def card(
    language: Language,
    sources: Iterator[tuple[str, int, int]],
    rounds: int,
    unclear_at: float,
    shares: Mapping[str, float],
) -> str:
    """What the head was made of, and what it does on the voices that its threshold was chosen on."""
    return CARD.format(
        code=language.code,
        name=language.name,
        phrases="\n".join(f"- {phrase}" for phrase in language.everyday),
        accents=", ".join(language.accents),
        sources="\n".join(f"| {name} | {sounds} | {asked} |" for name, sounds, asked in sources),
        rounds=rounds,
        seed=SEED,
        unclear_at=unclear_at,
        shares="\n".join(f"| {name} | {share:.1%} |" for name, share in shares.items()),
    )


CARD = """\
# {name} everyday words: {code}.everyday.npz

Made from nothing by `python -m media.training --lang {code} everyday`. It refuses nothing and accepts
nothing: who says one of these before the bridge is asked once more (`prompts.confirm`), and is not recorded
by silence.

## What it hears
{phrases}

And the phrases of [{code}.npz]({code}.md) that refuse, so that one which is not configured, or is missed
there, is asked about. How each is said, in training: `media/training/languages/{code}.toml`.

## What it was trained on
| split/source | sounds | questions |
|---|---|---|
{sources}

On the deep layers of `{code}.npz`, which stay as they are; {rounds} batches, seed {seed}; voices and lines as
there (espeak-ng: {accents}). Sentences that begin with an everyday word and a pause ("no, not you") are
neither.

## Threshold, and what it comes to on the voices that it was chosen on
Unclear from {unclear_at}. Of each sound, over a random bad line, unclear are:

| said by | |
|---|---|
{shares}

`other` refuses nothing: sentences that sound like a phrase, ordinary ones, words in a row. `accepting` are
the words that accept.

## Limits
No person says any of it in this material: what the head does with real callers is unknown.
"""
