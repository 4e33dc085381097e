"""What becomes of who says no in everyday words: python -m tests.bench.everyday [--lang LANG].

Voices that no head was trained on say them, what accepts, and everything else, over lines with noise and
loss: FOLDER/everyday/sounds/test, which `python -m media.training everyday --test` makes. Each sound is heard
twice over the same line: with the heads for everyday words (and `--second`), and without.
"""

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click

from media.hearing.detectors import weighed
from media.hearing.keyword import Detector, Meaning
from media.hearing.spotter import HEADS, Spotter
from media.training.language import Language, language
from media.training.shipped import ACCEPTING
from media.training.speech import label
from sipagent.config.tables import WORDS
from tests.bench.voice_cases import OLD_LINES, Case, Ground, folder_option, lang_option, second_option

EVERYDAY = "everyday words"
DOUBTING = (Meaning.UNCLEAR, Meaning.REFUSE)
Twice = tuple[Case, Case]
"""One sound, heard with the heads for everyday words and without them."""


def figures(spoken: Language, cases: Iterable[Twice]) -> Iterator[str]:
    """By what is said, then by whose voice; of everyday words by phrase, too, the worst last."""
    everyday = {label(phrase): phrase for phrase in spoken.everyday}
    groups: dict[tuple[str, str], list[Twice]] = defaultdict(list)
    phrases: dict[str, list[Twice]] = defaultdict(list)
    for pair in cases:
        one = pair[0].utterance
        said = EVERYDAY if one.label in everyday else one.label
        groups[said, ""].append(pair)
        groups[said, one.source].append(pair)
        if said == EVERYDAY:
            phrases[everyday[one.label]].append(pair)
    for (said, source), group in sorted(groups.items()):
        yield _figure(f"  {source}" if source else said, group)
    for phrase, group in sorted(phrases.items(), key=lambda pair: _share(pair[1], _is_silent)):
        yield _figure(f"  {phrase!r}", group)


def _figure(name: str, group: list[Twice]) -> str:
    """In per cent: unclear, unclear or refusing, neither (recorded by silence); and `added`, those that only
    the heads for everyday words doubt."""
    unclear = _share(group, lambda pair: pair[0].meaning is Meaning.UNCLEAR)
    silent = _share(group, _is_silent)
    added = _share(group, lambda pair: not _is_silent(pair) and pair[1].meaning not in DOUBTING)
    return (
        f"{name}: of {len(group)} unclear {unclear:.1f} %, unclear or refused {100 - silent:.1f} %, "
        f"neither {silent:.1f} %; added {added:.1f} %"
    )


def _is_silent(pair: Twice) -> bool:
    return pair[0].meaning not in DOUBTING


def _share(group: list[Twice], chosen: Callable[[Twice], bool]) -> float:
    return 100 * sum(map(chosen, group)) / len(group)


def measure(spoken: Language, folder: Path, limit: int, second: Path | None = None) -> Iterator[Twice]:
    """All sounds of `folder`; phrases are those of a fresh install.

    `limit`: as of Ground; `second`: a Whisper model, asked beside the heads for everyday words.
    """
    words, accepting = WORDS[spoken.code]["keywords"], tuple(spoken.accepting)
    ground = Ground(folder, spoken, "test", limit, OLD_LINES)
    labels = {one.label for one in ground.utterances}
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(HEADS / f"{spoken.code}.npz", scratch)
        for accepted, said in (((), labels - {ACCEPTING}), (accepting, {ACCEPTING})):  # in the mode "opt_in"
            usual: Detector = Spotter(words, accepted)
            usual = weighed(Spotter(words, accepted), second) if second else usual
            without = Spotter(words, accepted, Path(scratch))
            yield from zip(ground.cases(usual, said), ground.cases(without, said), strict=True)


@click.command()
@lang_option
@folder_option
@click.option("--limit", default=100_000, help="at most so many sounds of a source")
@second_option
def main(*, lang: str, folder: Path | None, limit: int, second: Path | None) -> None:
    """Measure everyday words on voices that were never heard."""
    place = (folder or Path("voice-training", lang)) / "everyday"
    for figure in figures(language(lang), measure(language(lang), place, limit, second)):
        click.echo(figure)


if __name__ == "__main__":
    main()
