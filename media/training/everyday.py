"""The head for everyday words: what callers say when they are asked, and which no notice promises.

    speak, people ──▶ FOLDER/sounds ──▶ features ──▶ FOLDER/features ──▶ fit ──▶ CODE.everyday.npz and .md

It lies on the deep layers of the language's shipped head and can only doubt: "no, thank you" is asked about
once more. Phrases that refuse are among its classes, so that one which is not configured, or which the
shipped head misses, is asked about, too. From nothing, by one command; what was made by an earlier one is not
made again, and on one machine the same bytes come out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from media.hearing.embedding import OTHER, Head, load_head, save_head
from media.hearing.spotter import HEADS, plain
from media.training.features import make_missing, source_of
from media.training.language import Language, card
from media.training.own import NEVER
from media.training.speech import (
    Amounts,
    Split,
    SpokenFile,
    Studio,
    copy_once,
    copy_own_prompts,
    copy_people,
    label,
    others,
    some_people,
    sources_of,
    speak_all,
    spoken_files,
    usual_amounts,
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


USUAL = usual_amounts("everyday")


def make_everyday(studio: Studio, synthesizers: Sequence[str], amounts: Amounts, out: Path) -> Iterator[str]:
    """Everything from nothing to the head and its card in `out`; reports progress."""
    for split in SPLITS:
        yield from make_sounds(studio, synthesizers, amounts, split)
    yield from copy_own_prompts(studio)
    yield from make_missing(studio.folder, {}, studio.prompts)
    yield from fit_everyday(studio.language, studio.folder / "features", amounts.rounds, out)


def make_sounds(studio: Studio, synthesizers: Sequence[str], amounts: Amounts, split: Split) -> Iterator[str]:
    """The sounds of one split, people's too; what there is already is not made again."""
    plans = {name: plan(studio.language, name, split, amounts) for name in synthesizers}
    yield from speak_all(studio, plans)
    some = some_people(split, amounts)
    for number in range(0, len(some), SHARD):
        copied = partial(copy_people, some[number : number + SHARD])
        yield from copy_once(studio.sounds / split / f"people-{number // SHARD}", copied)


def plan(language: Language, synthesizer: str, split: Split, amounts: Amounts) -> list[SpokenFile]:
    """What one synthesizer says for one split, in an order whose every beginning is a fair sample."""
    random = Random(f"everyday/{synthesizer}/{split}")
    said: list[tuple[str, str]] = []
    for kind, phrases, name in (
        ("everyday", language.everyday, None),
        ("refusing", language.refusing, None),
        ("accepting", language.accepting, ACCEPTING),
    ):
        for phrase, ways in phrases.items():
            count = amounts.count(kind, synthesizer, split)
            said += [(name or label(phrase), random.choice(ways)) for _ in range(count)]
    wanted = others(language, split, language.words(), random, amounts.count("other", synthesizer, split))
    said += [(OTHER, text) for text in wanted if not begins_with_one(text, language)]
    return spoken_files(said, language, synthesizer, split, random, shard=SHARD)


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
    told = card("everyday").format(
        code=language.code,
        name=language.name,
        phrases="\n".join(f"- {phrase}" for phrase in language.everyday),
        accents=", ".join(language.accents),
        sources=sources_of({"train": train.sounds, "tune": tune.sounds}),
        rounds=rounds,
        seed=SEED,
        unclear_at=found,
        shares="\n".join(f"| {name} | {share:.1%} |" for name, share in shares.items()),
    )
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
