"""The shipped head of a language: its sounds, its classes, its training, its thresholds, and its card.

    people, speak ──▶ FOLDER/sounds ──▶ features ──▶ FOLDER/features ──▶ fit ──▶ CODE.npz and CODE.md

All cores speak and hear. All of it is seeded. What an earlier run made is not made again, and on one machine
the same bytes come out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from media.hearing.embedding import OTHER, load_head, save_head
from media.hearing.spotter import HEADS
from media.training.features import make_missing
from media.training.fit import (
    FALSE_REFUSALS,
    FALSE_REFUSALS_LENT,
    FALSE_REFUSALS_NEAR,
    FALSE_REFUSALS_NEAR_LENT,
    Questions,
    Thresholds,
    Weights,
    choose,
    fit,
    head_of,
    load_rows,
)
from media.training.language import Language, card
from media.training.speech import (
    KOKORO,
    Split,
    Studio,
    copy_once,
    copy_own_prompts,
    copy_people,
    label,
    people,
    plan,
    sources_of,
    speak_all,
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
FESTVOX = "voices of other\n  languages by Debian's `festvox-*`, each under its own licence"
MBROLA = "recorded\n  speakers' diphones by Debian's `mbrola-*`, free to synthesise with"


def make_shipped(studio: Studio, synthesizers: Iterable[str], out: Path, share: float = 1.0) -> Iterator[str]:
    """Everything from nothing to the head and its card in `out`; reports progress.

    `share`: of the usual sounds and batches.
    """
    language = studio.language
    for split in SPLITS:
        found = people(split)
        some = partial(copy_people, found[: round(share * len(found))])
        yield from copy_once(studio.sounds / split / "people", some)
        plans = {
            name: plan(language, name, split, language.words(), share)
            for name in synthesizers
            if name != "pico"  # it is only measured on
        }
        yield from speak_all(studio, plans)
    yield from copy_own_prompts(studio)
    yield from make_missing(studio.folder, TIMES, studio.prompts)
    like = None if language.code == DEEPENED else DEEPENED
    rounds = max(10, round(share * usual_rounds(like)))
    yield from fit_shipped(language, studio.folder / "features", out, rounds, like)


def usual_rounds(like: str | None) -> int:
    """How many batches; fewer where another head lends its deep layers."""
    return ROUNDS_LENT if like else ROUNDS


def fit_shipped(
    language: Language, features: Path, out: Path, rounds: int, like: str | None = None
) -> Iterator[str]:
    """Train on train.*.npz, choose thresholds on tune.*.npz, write CODE.npz and CODE.md; reports progress.

    `like`: the language whose shipped head gives its deep layers, which stay unchanged.
    """
    phrases = language.phrases
    classes = [*map(label, phrases), OTHER]
    train = load_rows(sorted(features.glob("train.*.npz")), classes)
    tune = load_rows(sorted(features.glob("tune.*.npz")), classes)
    yield f"{len(train.labels)} questions to train on, {len(tune.labels)} to choose thresholds on"
    weights: Weights = {}
    for number, cost, weights in _batches(train, classes, rounds, like):  # noqa: B007 - the last ones are kept
        yield f"{number} batches, loss {cost:.4f}"
    found = _chosen(language, weights, tune, like)
    out.mkdir(parents=True, exist_ok=True)
    save_head(out / f"{language.code}.npz", head_of(language.code, phrases, weights, found))
    page = card("shipped").format(
        code=language.code,
        name=language.name,
        how=f"on the deep layers of {like}.npz" if like else "from nothing",
        accents=", ".join(language.accents),
        accepting=len(language.accepting),
        speakers=_speakers(train),
        native=_native(language, train),
        deep=f"trained on\n  with what the {like} head heard" if like else "trained on",
        phrases="\n".join(f"- {phrase}" for phrase in phrases),
        sources=sources_of({"train": train.sounds, "tune": tune.sounds}),
        rounds=rounds,
        seed=SEED,
        **_told(found),
    )
    (out / f"{language.code}.md").write_text(page, encoding="utf-8")
    yield str(found)


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


def _speakers(train: Questions) -> str:
    """The speakers other than espeak-ng's, if any."""
    named = {"kokoro": "Kokoro-82M (Apache-2.0)", "festival": FESTVOX, "mbrola": MBROLA}
    return ", ".join(said for name, said in named.items() if _has(name, train)) or "no others"


def _has(synthesizer: str, train: Questions) -> bool:
    return any(synthesizer in Path(sound).parts for sound in train.sounds)


def _native(language: Language, train: Questions) -> str:
    if not _has("kokoro", train):
        return ""
    names = [name for name in KOKORO["train"] if name.startswith(language.kokoro)]
    return f", and of Kokoro's speakers that it trained on {len(names)} learnt from {language.name}"
