"""The shipped heads of a language: their sounds, classes, training, thresholds and cards.

    people, speak ──▶ FOLDER/sounds ──▶ features ──▶ FOLDER/features ──▶ fit ──▶ CODE.npz and CODE.md

All cores speak and hear. All of it is seeded. What an earlier run made is not made again, and on one machine
the same bytes come out.

The second head is for everyday words: what callers say when they are asked, and which no notice promises
(FOLDER/everyday ──▶ CODE.everyday.npz and .md). It lies on the deep layers of the first and can only doubt:
"no, thank you" is asked about once more. Phrases that refuse are among its classes, so that one which is not
configured, or which the first head misses, is asked about, too.
"""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from media.hearing.embedding import OTHER, Head, load_head, save_head
from media.hearing.spotter import HEADS, plain
from media.training.features import make_missing, source_of
from media.training.fit import (
    FALSE_REFUSALS,
    FALSE_REFUSALS_LENT,
    FALSE_REFUSALS_NEAR,
    FALSE_REFUSALS_NEAR_LENT,
    PEOPLE,
    Questions,
    Thresholds,
    Weights,
    choose,
    fit,
    head_of,
    load_rows,
    probabilities_on_calls,
)
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
    people,
    plan,
    some_people,
    sources_of,
    speak_all,
    spoken_files,
    usual_amounts,
)

SEED = 1
DEEPENED = "fr"
"""The language whose head deepens the embedding's steps for all: they are computed once."""
ROUNDS, ROUNDS_LENT = 12_000, 10_000
"""Batches, and batches on lent deep layers, each of which takes a seventh of the time."""
SPLITS: tuple[Split, ...] = ("train", "tune")
TIMES = {"train/kokoro": 4, "train/mbrola": 2}
"""Lines of each sound, where not one."""
_THRESHOLDS = re.compile(r"## Thresholds.*?(?=\n## )", re.DOTALL)


def make_shipped(studio: Studio, synthesizers: Iterable[str], out: Path, share: float = 1.0) -> Iterator[str]:
    """Everything from nothing to the head and its card in `out`; reports progress.

    `share`: of the usual sounds and batches.
    """
    language = studio.language
    for split in SPLITS:
        found = people(split)
        some = partial(copy_people, found[: round(share * len(found))])
        yield from copy_once(studio.sounds / split / PEOPLE, some)
        plans = {
            name: plan(language, name, split, language.words(), share)
            for name in synthesizers
            if name != "pico"  # it is only measured on
        }
        yield from speak_all(studio, plans)
    yield from copy_own_prompts(studio)
    yield from make_missing(studio.folder, TIMES, studio.prompts)
    like = None if language.code == DEEPENED else DEEPENED
    rounds = max(10, round(share * (ROUNDS_LENT if like else ROUNDS)))
    yield from fit_shipped(language, studio.folder / "features", out, rounds, like)


def fit_shipped(
    language: Language, features: Path, out: Path, rounds: int, like: str | None = None
) -> Iterator[str]:
    """Train on train.*.npz, choose thresholds on tune.*.npz, write CODE.npz and CODE.md; reports progress.

    `like`: the language whose shipped head gives its deep layers, which stay unchanged.
    """
    classes = [*map(label, language.phrases), OTHER]
    train, tune = (load_rows(sorted(features.glob(f"{split}.*.npz")), classes) for split in SPLITS)
    weights = yield from _trained(train, tune, _batches(train, classes, rounds, like))
    found = _chosen(language, weights, tune, like)
    _write(
        out,
        language,
        "shipped",
        head_of(language.code, language.phrases, weights, found),
        how=f"on the deep layers of {like}.npz" if like else "from nothing",
        accepting=len(language.accepting),
        deep=f"trained on\n  with what the {like} head heard" if like else "trained on",
        phrases=language.phrases,
        sources=sources_of({"train": train.sounds, "tune": tune.sounds}),
        rounds=rounds,
        **_told(found),
    )
    yield str(found)


def _trained(
    train: Questions, tune: Questions, batches: Iterable[tuple[int, float, Weights]]
) -> Generator[str, None, Weights]:
    """The weights at the end; reports progress."""
    yield f"{len(train.labels)} questions to train on, {len(tune.labels)} to choose thresholds on"
    weights: Weights = {}
    for number, cost, weights in batches:  # noqa: B007 - the last ones are kept
        yield f"{number} batches, loss {cost:.4f}"
    return weights


def _write(
    out: Path, language: Language, kind: str, head: Head, *, phrases: Iterable[str], **told: Any
) -> None:
    """The head and its card."""
    name = f"{language.code}.everyday" if head.everyday else language.code
    out.mkdir(parents=True, exist_ok=True)
    save_head(out / f"{name}.npz", head)
    listed, accents = "\n".join(f"- {phrase}" for phrase in phrases), ", ".join(language.accents)
    told |= {"code": language.code, "name": language.name, "seed": SEED, "accents": accents}
    page = card(kind).format(phrases=listed, **told)
    (out / f"{name}.md").write_text(page, encoding="utf-8")


def choose_anew(language: Language, features: Path, out: Path, like: str | None) -> Iterator[str]:
    """Other thresholds for the weights of CODE.npz, chosen on tune.*.npz; its card tells them."""
    path, page = out / f"{language.code}.npz", out / f"{language.code}.md"
    head = load_head(path)
    tune = load_rows(sorted(features.glob("tune.*.npz")), [*map(label, head.phrases), OTHER])
    found = _chosen(language, head.weights, tune, like)
    save_head(path, head_of(language.code, head.phrases, head.weights, found))
    (section,) = _THRESHOLDS.findall(card("shipped"))
    anew = section.format(**_told(found))
    page.write_text(_THRESHOLDS.sub(lambda _: anew, page.read_text(encoding="utf-8")), encoding="utf-8")
    yield str(found)


def _chosen(language: Language, weights: Mapping[str, Any], tune: Questions, like: str | None) -> Thresholds:
    in_call = [language.phrases.index(phrase) for phrase in language.in_call]
    own, lent = (FALSE_REFUSALS, FALSE_REFUSALS_NEAR), (FALSE_REFUSALS_LENT, FALSE_REFUSALS_NEAR_LENT)
    people, near = lent if like else own
    phrases = len(language.phrases)
    return choose(weights, tune, len(language.refusing), phrases + 1, in_call, people=people, near=near)


def _batches(
    train: Questions, classes: list[str], rounds: int, like: str | None
) -> Iterator[tuple[int, float, Weights]]:
    """Batches for the head only, if the deep layers are given; else a twentieth of them, then for both, and
    the second half once more from the full rate down to nothing: that hears more than one long descent."""
    if like:
        yield from fit(
            train, classes, rounds, SEED, load_head(HEADS / f"{like}.npz").weights, tune_deep=False
        )
        return
    weights: Weights = {}
    first, half = rounds // 20, rounds // 2
    for number, cost, weights in fit(train, classes, first, SEED, tune_deep=False):
        yield number, cost, weights
    for before, some in ((first, half - first), (half, rounds - half)):
        for number, cost, both in fit(train, classes, some, SEED, weights, go_on=True):
            weights = both
            yield before + number, cost, both


def _told(found: Thresholds) -> dict[str, float]:
    """What a card tells of them, shares in per cent."""
    told = asdict(found)
    return told | {name: 100 * told[name] for name in ("recall", "false_refusals", "false_accepts")}


# --- the head for everyday words ---

ACCEPTING = "accepting"
"""The folder of words that accept, which must not be doubted."""
SHARD = 500
"""Sounds of a source in one folder: features are made of each at once."""
UNCLEAR_PEOPLE = 0.005
"""The share of people's utterances that may be asked about, at most: none of them refuses."""
UNCLEAR_SYNTHETIC = 0.02
"""The same of sentences by synthesizers, most of which are made to sound like a phrase."""
HIGHEST, LEAST = 0.9999, 0.5
EVERYDAY = usual_amounts("everyday")


def make_everyday(studio: Studio, synthesizers: Sequence[str], amounts: Amounts, out: Path) -> Iterator[str]:
    """Everything from nothing to the head and its card in `out`; reports progress."""
    for split in SPLITS:
        yield from make_sounds(studio, synthesizers, amounts, split)
    yield from copy_own_prompts(studio)
    yield from make_missing(studio.folder, {}, studio.prompts)
    yield from fit_everyday(studio.language, studio.folder / "features", amounts.rounds, out)


def make_sounds(studio: Studio, synthesizers: Sequence[str], amounts: Amounts, split: Split) -> Iterator[str]:
    """The sounds of one split, people's too; what there is already is not made again."""
    plans = {name: plan_everyday(studio.language, name, split, amounts) for name in synthesizers}
    yield from speak_all(studio, plans)
    some = some_people(split, amounts)
    for number in range(0, len(some), SHARD):
        copied = partial(copy_people, some[number : number + SHARD])
        yield from copy_once(studio.sounds / split / f"{PEOPLE}-{number // SHARD}", copied)


def plan_everyday(language: Language, synthesizer: str, split: Split, amounts: Amounts) -> list[SpokenFile]:
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
    phrases = (*language.everyday, *language.refusing)
    classes = [*map(label, phrases), OTHER]
    train, tune = (
        _unsharded(load_rows(sorted(features.glob(f"{split}.*.npz")), classes)) for split in SPLITS
    )
    shipped = out / f"{language.code}.npz"
    start = load_head(shipped if shipped.exists() else HEADS / shipped.name).weights
    batches = fit(train, classes, rounds, SEED, start, tune_deep=False)
    weights = yield from _trained(train, tune, batches)
    doubts = 1 - probabilities_on_calls(weights, tune)[:, -1]
    strongest: dict[str, float] = {}  # of each sound the highest score: as on a call, it decides
    for sound, score in zip(tune.sounds.tolist(), doubts.tolist(), strict=True):
        strongest[sound] = max(score, strongest.get(sound, 0.0))
    found = _threshold(strongest)
    shares = _shares(strongest, found, {label(phrase) for phrase in language.everyday})
    held = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    _write(
        out,
        language,
        "everyday",
        Head(language.code, phrases, NEVER, found, NEVER, NEVER, held, everyday=True),
        phrases=language.everyday,
        sources=sources_of({"train": train.sounds, "tune": tune.sounds}),
        rounds=rounds,
        unclear_at=found,
        shares="\n".join(f"| {name} | {share:.1%} |" for name, share in shares.items()),
    )
    yield f"unclear from {found}: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items())


def _unsharded(rows: Questions) -> Questions:
    """Questions whose sounds are named `SPLIT/SOURCE/LABEL/SHARD-NUMBER.wav`: sources count alike, in any
    number of shards."""
    named = (Path(sound).parts[-4:] for sound in rows.sounds)
    sounds = [
        f"{split}/{shard.partition('-')[0]}/{said}/{shard}-{name}" for split, shard, said, name in named
    ]
    return replace(rows, sounds=np.array(sounds))


def _threshold(strongest: Mapping[str, float]) -> float:
    """The lowest score from which no more of what refuses nothing is unclear than may be."""
    wanted = [LEAST]
    for people_said, share in ((True, UNCLEAR_PEOPLE), (False, UNCLEAR_SYNTHETIC)):
        scores = [
            score
            for sound, score in strongest.items()
            if Path(sound).parent.name in (OTHER, ACCEPTING)
            and (source_of(Path(sound)) == PEOPLE) is people_said
        ]
        if scores:
            wanted.append(float(np.quantile(scores, 1 - share)))
    return round(min(HIGHEST, max(wanted)), 4)


def _shares(strongest: Mapping[str, float], unclear_at: float, everyday: set[str]) -> dict[str, float]:
    """How many are unclear, by what they say and who says it; 0.0 to 1.0."""
    groups: dict[str, list[bool]] = {}
    for sound, score in strongest.items():
        path = Path(sound)
        said = "everyday words" if path.parent.name in everyday else path.parent.name
        if said in ("everyday words", OTHER, ACCEPTING):
            groups.setdefault(f"{said}, {source_of(path)}", []).append(score >= unclear_at)
    return {name: sum(group) / len(group) for name, group in sorted(groups.items())}
