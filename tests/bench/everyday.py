"""What becomes of who says no in everyday words: python -m tests.bench.everyday [--lang LANG].

Voices that no head was trained on say them, what accepts, and everything else, over lines with noise and
loss: FOLDER/everyday/sounds/test, which `python -m media.training everyday --test` makes. Each sound is heard
twice over the same line: with the heads for everyday words (and `--second`), and without.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import click
import numpy as np
from numpy.random import default_rng

from media.frame import SAMPLE_RATE, Samples
from media.hearing.detectors import weighed
from media.hearing.embedding import OTHER
from media.hearing.keyword import Detector, Meaning
from media.hearing.spotter import HEADS, Spotter
from media.training.everyday import ACCEPTING
from media.training.features import backgrounds, labelled, read, source_of
from media.training.language import LANGUAGES, Language, language
from media.training.lines import Noise, PhoneLine, Waveform, carry
from media.training.speech import label
from sipagent.config.refusal_words import WORDS
from sipagent.voice.detectors import hear

PROMPTS = Path(__file__).parents[2] / "prompts"
LINES: tuple[tuple[Noise, float | None, float], ...] = (
    ("pink", None, 0.0),
    ("pink", 20.0, 0.01),
    ("babble", 20.0, 0.0),
    ("pink", 10.0, 0.03),
    ("babble", 10.0, 0.01),
)
QUIET, TAIL = SAMPLE_RATE // 2, int(0.8 * SAMPLE_RATE)
EVERYDAY = "everyday words"


@dataclass(frozen=True, slots=True)
class HeardTwice:
    """One sound: what was said (EVERYDAY, OTHER or ACCEPTING), by whom, its phrase, what it means with the
    heads for everyday words and without them."""

    said: str
    source: str
    phrase: str
    meaning: Meaning
    without: Meaning


@dataclass(frozen=True, slots=True)
class Figure:
    """Of `count` sounds, in per cent: unclear, unclear or refusing, neither (recorded by silence); and
    `added`, those that only the heads for everyday words doubt."""

    name: str
    count: int
    unclear: float
    doubted: float
    silent: float
    added: float


def heard_twice(
    spoken: Language,
    sounds: Iterable[tuple[str, Path]],
    detectors: tuple[Detector, Detector],
    arrives: Callable[[Waveform], Samples],
) -> Iterator[HeardTwice]:
    """Of (label, file): both `detectors` hear the same; the second is the one without everyday words."""
    everyday = {label(phrase): phrase for phrase in spoken.everyday}
    for said, path in sounds:
        heard = arrives(np.concatenate([np.zeros(QUIET), read(path), np.zeros(TAIL)]))
        meaning, without = (hear(detector, heard).verdict.meaning for detector in detectors)
        kind = EVERYDAY if said in everyday else said
        yield HeardTwice(kind, source_of(path), everyday.get(said, said), meaning, without)


def figures(cases: Iterable[HeardTwice]) -> Iterator[Figure]:
    """By what is said, then by whose voice; of everyday words by phrase, too, the worst last."""
    groups: dict[tuple[str, str], list[HeardTwice]] = defaultdict(list)
    phrases: dict[str, list[HeardTwice]] = defaultdict(list)
    for case in cases:
        groups[case.said, ""].append(case)
        groups[case.said, case.source].append(case)
        if case.said == EVERYDAY:
            phrases[case.phrase].append(case)
    for (said, source), group in sorted(groups.items()):
        yield _figure(f"  {source}" if source else said, group)
    by_phrase = [_figure(f"  {phrase!r}", group) for phrase, group in phrases.items()]
    yield from sorted(by_phrase, key=lambda figure: figure.silent)


def _figure(name: str, group: list[HeardTwice]) -> Figure:
    def share(chosen: Iterable[bool]) -> float:
        return 100 * sum(chosen) / len(group)

    doubting = (Meaning.UNCLEAR, Meaning.REFUSE)
    return Figure(
        name,
        len(group),
        unclear=share(case.meaning is Meaning.UNCLEAR for case in group),
        doubted=share(case.meaning in doubting for case in group),
        silent=share(case.meaning not in doubting for case in group),
        added=share(case.meaning in doubting and case.without not in doubting for case in group),
    )


def lines(others: list[Path], seed: int = 7) -> Callable[[Waveform], Samples]:
    """What arrives of a sound, over one line after the other."""
    behind, random, conditions = backgrounds(others, PROMPTS, default_rng(3)), default_rng(seed), cycle(LINES)

    def arrives(sound: Waveform) -> Samples:
        noise, snr_db, loss = next(conditions)
        return carry(sound, PhoneLine(noise=noise, snr_db=snr_db, loss=loss), behind, random)

    return arrives


def measure(spoken: Language, folder: Path, limit: int, second: Path | None = None) -> Iterator[HeardTwice]:
    """All sounds of `folder`, at most so many of a source's folder; phrases are those of a fresh install.

    `second`: a Whisper model, asked beside the heads for everyday words.
    """
    words, accepting = WORDS[spoken.code]["keywords"], tuple(spoken.accepting)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(HEADS / f"{spoken.code}.npz", scratch)
        plain = Spotter(words, (), Path(scratch)), Spotter(words, accepting, Path(scratch))
    with_heads = Spotter(words, ()), Spotter(words, accepting)
    usual = tuple(weighed(each, second) if second else each for each in with_heads)
    places = sorted(folder.glob("*"))
    found = {place: labelled(place)[:limit] for place in places}
    others = [path for sounds in found.values() for said, path in sounds if said == OTHER]
    if not others:
        raise click.ClickException(f"{folder}: no sounds; see python -m media.training --help")
    arrives = lines(others[:300])
    for sounds in found.values():
        asked = [each for each in sounds if each[0] != ACCEPTING]
        yield from heard_twice(spoken, asked, (usual[0], plain[0]), arrives)
        asked = [each for each in sounds if each[0] == ACCEPTING]  # in the mode "opt_in"
        yield from heard_twice(spoken, asked, (usual[1], plain[1]), arrives)


@click.command()
@click.option("--lang", type=click.Choice(LANGUAGES), default="fr", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="of this language; voice-training/LANG")
@click.option("--limit", default=100_000, help="at most so many sounds of a folder")
@click.option(
    "--second", type=click.Path(exists=True, path_type=Path), help="refusal.second: a Whisper model"
)
def main(*, lang: str, folder: Path | None, limit: int, second: Path | None) -> None:
    """Measure everyday words on voices that were never heard."""
    place = (folder or Path("voice-training", lang)) / "everyday" / "sounds" / "test"
    for figure in figures(measure(language(lang), place, limit, second)):
        click.echo(
            f"{figure.name}: of {figure.count} unclear {figure.unclear:.1f} %, unclear or refused "
            f"{figure.doubted:.1f} %, neither {figure.silent:.1f} %; added {figure.added:.1f} %"
        )


if __name__ == "__main__":
    main()
