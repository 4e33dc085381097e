"""How well refusals that are spoken are heard: python -m tests.bench.voice [--lang LANG --folder FOLDER].

Speakers that no head was trained on say the phrases and everything else, over lines with noise and loss, and
people's recordings, which refuse nothing, come besides: FOLDER/sounds/test, which `python -m media.training`
makes. No person refuses in it: recall is that on synthetic callers.

`--split release` looks at voices and sentences by which nothing was ever chosen, once a version: who looks a
second time chooses by what was seen, and the figures are then no better than those of `test`. `--write`
writes the table of media/README.md.

    voice_cases.py      who says what over which line, the same for every head
    voice_figures.py    the rows of the table
"""

import hashlib
import json
import subprocess
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from media.hearing.detectors import weighed
from media.hearing.keyword import DetectorUnavailable, Meaning
from media.hearing.spotter import HEADS, Spotter
from media.training.language import Language, language
from media.training.lines import MissingCoder
from media.training.speech import Split
from tests.bench.voice_cases import (
    LINES,
    PEOPLE,
    Case,
    Ground,
    folder_option,
    lang_option,
    second_option,
    window_phrases,
)
from tests.bench.voice_figures import PARTS, Listeners, Measuring, Row, rows

ROOT = Path(__file__).parents[2]
README = ROOT / "media/README.md"
LEDGER = Path(__file__).with_name("voice_releases.jsonl")
BEGIN, END = "<!-- written by python -m tests.bench.voice --write -->", "<!-- end of what is written -->"


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


def about(measuring: Measuring) -> str:
    """One paragraph: on what, and how much of it."""
    said = Counter(case.utterance.source for case in measuring.said)
    others = Counter(case.utterance.source for case in measuring.others)
    near = sum(case.utterance.said.text in measuring.ground.near for case in measuring.others)
    told = ", ".join(f"{count} by {source}" for source, count in sorted(said.items()))
    return (
        f"Version {version_of_now()}, split `{measuring.ground.split}`, {measuring.spoken.name}: "
        f"{said.total()} refusals ({told}); {others.total()} other utterances, {others[PEOPLE]} of them "
        f"people's, {near} near to a refusal. Each came over one of {len(LINES)} lines. In brackets: "
        "Wilson's intervals, 95 %."
    )


# --- the ledger of looks at the split `release`: a line a look, written before anything is heard ---


def look(code: str, heads: Path, ledger: Path, *, again: bool) -> dict[str, Any]:
    """Write a line for the version of now; raises click.ClickException for a second one, unless `again`.

    `heads`: SHA-256 by file name; `date`: UTC; `again`: it was not the first.
    """
    version = version_of_now()
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    before = [one for one in map(json.loads, lines) if (one["version"], one["language"]) == (version, code)]
    if before and not again:
        raise click.ClickException(
            f"release: {version} was looked at in {code!r} on {before[0]['date']}; --again looks once more, "
            f"and {ledger.name} says so"
        )
    hashes = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(heads.glob("*.npz"))
    }
    changed = "+" if _git("status", "--porcelain", "--untracked-files=no") else ""
    found = {
        "version": version, "language": code, "date": datetime.now(UTC).date().isoformat(),
        "commit": _git("rev-parse", "HEAD") + changed, "heads": hashes, "again": bool(before),
    }  # fmt: skip
    with ledger.open("a", encoding="utf-8") as out:
        out.write(json.dumps(found, ensure_ascii=False) + "\n")
    return found


def version_of_now() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _git(*words: str) -> str:
    return subprocess.check_output(["git", *words], cwd=ROOT, text=True).strip()


# --- the table in media/README.md ---


def written(page: str, table: str) -> str:
    """The page with the table between its marks. Raises click.ClickException where there is no such place."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise click.ClickException(f"needed once each, in this order: {BEGIN} and {END}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table.strip()}\n{END}{rest.partition(END)[2]}"


def table(rows: Iterable[Row], about: str) -> str:
    every = list(rows)
    lines = [about, "", "| | to reach | measured |", "|---|---|---|"]
    lines += [f"| {row.name} | {row.aim} | {row.shown} |" for row in every if not row.group]
    for group in dict.fromkeys(row.group for row in every if row.group):
        of = {(row.name, row.column): row.shown for row in every if row.group == group}
        columns = [*dict.fromkeys(column for _, column in of)]
        lines += ["", f"| by {group} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        for name in dict.fromkeys(name for name, _ in of):
            lines.append(f"| {name} | {' | '.join(of.get((name, column), '') for column in columns)} |")
    return "\n".join(lines)


def changed(before: dict[str, str], cases: Iterable[Case]) -> Iterator[Row]:
    """Beside an earlier run's meanings by case: what is heard now and was not, and the other way round."""
    pairs = [(before[key(case)], case) for case in cases if key(case) in before]
    refuse = Meaning.REFUSE.value
    for name, count in (
        ("heard now, not before", sum(old != refuse == case.meaning.value for old, case in pairs)),
        ("heard before, not now", sum(old == refuse != case.meaning.value for old, case in pairs)),
    ):
        yield Row(f"of the same cases: {name}", float(count), f"{count} of {len(pairs)}")


def key(case: Case) -> str:
    return f"{'/'.join(case.utterance.path.parts[-4:])} {case.line}"


@click.command()
@lang_option
@folder_option
@click.option("--split", type=click.Choice(["test", "release"]), default="test", show_default=True)
@click.option("--again", is_flag=True, help="look at the split release though this version was looked at")
@click.option("--heads", type=click.Path(exists=True, path_type=Path), default=HEADS, help="other heads")
@second_option
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
            written(README.read_text(encoding="utf-8"), "")
        heard = listeners(spoken, heads, second)
        ground.make_ready()
        if split == "release":
            look(lang, heads, LEDGER, again=again)
        measuring = Measuring(spoken, ground, heard, ground.cases(heard.window), echoes)
    except (DetectorUnavailable, MissingCoder) as wrong:
        raise click.ClickException(str(wrong)) from wrong
    if keep:
        meanings = {key(case): case.meaning.value for case in measuring.cases}
        keep.write_text(json.dumps(meanings, ensure_ascii=False, indent=0), encoding="utf-8")
    compared = changed(earlier, measuring.cases) if earlier else ()
    found: list[Row] = []
    for row in chain(rows(measuring, only), compared):
        click.echo(f"{row.title}: {row.shown}", err=True)  # it takes minutes
        found.append(row)
    said = about(measuring)
    if write:
        page = README.read_text(encoding="utf-8")
        README.write_text(written(page, table(found, said)), encoding="utf-8")
    if as_json:
        click.echo(json.dumps({row.title: row.value for row in found}, ensure_ascii=False, indent=1))
        return
    shown = Table("", "measured", "to reach", title=said)
    for row in found:
        shown.add_row(row.title, row.shown, row.aim)
    Console().print(shown)


if __name__ == "__main__":
    main()
