"""How well refusals that are spoken are heard: python -m tests.bench.voice [--lang LANG --folder FOLDER].

Speakers that no head was trained on say the phrases and everything else, over lines with noise and loss, and
people's recordings, which refuse nothing, come besides: FOLDER/sounds/test, which `python -m media.training`
makes. No person refuses in it: recall is that on synthetic callers.

`--split release` looks at voices and sentences by which nothing was ever chosen, once a version. `--write`
writes the table of media/README.md, `--html` a page with the curves.

    voice_cases.py      who says what over which line, the same for every head
    voice_figures.py    the rows of the table
    voice_page.py       the table and the page
    voice_releases.py   when a version was looked at
"""

import json
from collections import Counter
from itertools import chain
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from media.hearing.detectors import weighed
from media.hearing.keyword import DetectorUnavailable
from media.hearing.spotter import HEADS, Spotter
from media.training.language import LANGUAGES, Language, language
from media.training.lines import MissingCoder
from media.training.speech import Split
from tests.bench import voice_page
from tests.bench.voice_cases import LINES, PEOPLE, Ground, window_phrases
from tests.bench.voice_figures import PARTS, Listeners, Measuring, Row, rows
from tests.bench.voice_releases import LEDGER, ROOT, AlreadyLooked, look, version_of_now

README = ROOT / "media/README.md"


def listeners(spoken: Language, heads: Path = HEADS, second: Path | None = None) -> Listeners:
    """The detectors that are measured: all are built here. DetectorUnavailable.

    `second`: the folder of a Whisper model that weighs what is said before the bridge.
    """
    phrases = window_phrases(spoken)
    spotter = Spotter(phrases, (), heads)
    return Listeners(
        window=spotter if second is None else weighed(spotter, second),
        in_call=Spotter(spoken.in_call, (), heads, in_call=True),
        asked=Spotter(phrases, tuple(spoken.accepting), heads),
    )


def about(measuring: Measuring, version: str) -> str:
    """One paragraph: on what, and how much of it."""
    said = Counter(case.utterance.source for case in measuring.said)
    others = Counter(case.utterance.source for case in measuring.others)
    near = sum(measuring.ground.near(case.utterance) for case in measuring.others)
    told = ", ".join(f"{count} by {source}" for source, count in sorted(said.items()))
    return (
        f"Version {version}, split `{measuring.ground.split}`, {measuring.spoken.name}: {said.total()} "
        f"refusals ({told}); {others.total()} other utterances, {others[PEOPLE]} of them people's, {near} "
        f"near to a refusal. Each came over one of {len(LINES)} lines. In brackets: Wilson's intervals, 95 %."
    )


@click.command()
@click.option("--lang", type=click.Choice(LANGUAGES), default="fr", show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="sounds of this language; voice-training/LANG"
)
@click.option("--split", type=click.Choice(["test", "release"]), default="test", show_default=True)
@click.option("--again", is_flag=True, help="look at the split release though this version was looked at")
@click.option("--heads", type=click.Path(exists=True, path_type=Path), default=HEADS, help="other heads")
@click.option(
    "--second", type=click.Path(exists=True, path_type=Path), help="refusal.second: a Whisper model"
)
@click.option(
    "--limit",
    default=100_000,
    help="at most so many utterances of a source that say a phrase, and that don't",
)
@click.option(
    "--only", type=click.Choice([*PARTS]), multiple=True, help="a part of the table; may be repeated"
)
@click.option("--echoes", default=200, show_default=True, help="how often the notice comes back; 0: never")
@click.option("--keep", type=click.Path(path_type=Path), help="write what each case meant to this JSON file")
@click.option("--before", type=click.Path(exists=True, path_type=Path), help="such a file, to compare with")
@click.option("--html", type=click.Path(path_type=Path), help="write a page with the curves here")
@click.option("--write", is_flag=True, help="write the table of media/README.md; in French only")
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def main(
    *,
    lang: str,
    folder: Path | None,
    split: Split,
    again: bool,
    heads: Path,
    second: Path | None,
    limit: int,
    only: tuple[str, ...],
    echoes: int,
    keep: Path | None,
    before: Path | None,
    html: Path | None,
    write: bool,
    as_json: bool,
) -> None:
    """Measure the engine "embedding" on speakers that it never heard."""
    if again and split != "release":
        raise click.ClickException("--again: only for --split release")
    if write and only:
        raise click.ClickException("--write: writes the whole table, without --only")
    if write and lang != "fr":
        raise click.ClickException(f"--write: the table of {README.name} is of 'fr', not of {lang!r}")
    spoken, folder = language(lang), folder or Path("voice-training", lang)
    ground = Ground(folder, spoken, split, limit)
    earlier = json.loads(before.read_text(encoding="utf-8")) if before else None
    try:
        if write:  # not to be told after minutes
            voice_page.written(README.read_text(encoding="utf-8"), "")
        heard = listeners(spoken, heads, second)
        ground.make_ready()
        if split == "release":
            look(lang, heads, LEDGER, again=again)
        measuring = Measuring(spoken, ground, heard, ground.cases(heard.window), echoes)
    except (AlreadyLooked, DetectorUnavailable, MissingCoder, voice_page.NoPlace) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    if keep:
        meanings = {voice_page.key(case): case.meaning.value for case in measuring.cases}
        keep.write_text(json.dumps(meanings, ensure_ascii=False, indent=0), encoding="utf-8")
    compared = () if earlier is None else voice_page.changed(earlier, measuring.cases)
    found: list[Row] = []
    for row in chain(rows(measuring, only), compared):
        click.echo(f"{row.title}: {row.shown}", err=True)  # it takes minutes
        found.append(row)
    _leave(measuring, found, html=html, write=write)
    if as_json:
        click.echo(json.dumps({row.title: row.value for row in found}, ensure_ascii=False, indent=1))
        return
    _print(found, about(measuring, version_of_now()))


def _leave(measuring: Measuring, found: list[Row], *, html: Path | None, write: bool) -> None:
    """Write what was asked for, and nothing else."""
    said = about(measuring, version_of_now())
    if html:
        html.write_text(voice_page.html(found, voice_page.curves(measuring), said), encoding="utf-8")
    if write:
        page = README.read_text(encoding="utf-8")
        README.write_text(voice_page.written(page, voice_page.table(found, said)), encoding="utf-8")


def _print(found: list[Row], title: str) -> None:
    table = Table(title=title)
    for column in ("", "measured", "to reach"):
        table.add_column(column)
    for row in found:
        table.add_row(row.title, row.shown, row.aim)
    Console().print(table)


if __name__ == "__main__":
    main()
