"""The figures of a period: `stats`, as tables, as JSON or as a page. Nothing here changes anything kept.

`draws` repeats the draws of the sample.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from gettext import gettext, ngettext
from gettext import gettext as _
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from retention.records import Json, to_text
from retention.rows.selection import Selection
from retention.statistics import Statistics
from sipagent.cli import program
from sipagent.cli.options import period_of
from sipagent.cli.terminal import Column, console, figure, show_fields, show_table
from sipagent.config.sampling import Seed, read_seed
from sipagent.languages.spoken import language, shown
from sipagent.operations.statistics import Audit, Row, Through, audit, count_period, figures_of
from sipagent.text import statistics as text
from sipagent.text.papers import StatisticsWords
from sipagent.text.statistics import Heading, Tally

_MANY = 20_000  # from this many rows on, reading shows its progress
_STEP = 1000  # rows between two steps of the bar
_LINES = 31  # of a table that a terminal shows


@click.command("stats")
@click.option("--since", metavar="TIME", help="Calls begun at or after: a date, yesterday, 7d, 2w.")
@click.option("--until", metavar="TIME", help="Calls begun before; a date alone includes that day.")
@click.option(
    "--html", type=program.FILE, metavar="FILE", help="Write a page with plots, without personal data."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@program.form_option
@click.pass_obj
def stats_command(
    work: program.Workplace,
    /,
    *,
    since: str | None,
    until: str | None,
    html: Path | None,
    force: bool,
    form: program.Form | None,
) -> None:
    """Count calls, refusals by channel and phase, waits and durations, and the recordings kept.

    Days are those of the service's time zone. Exit 1 where the rows are not those that the chain knows of.

    \b
    Examples:
      sipagent stats --since 2026-11-01 --until 2026-11-30
      sipagent stats --since 30d --html november.html
    """
    if html is not None and (why := program.why_not_written(html, force)):
        raise program.Failure(why)
    period, service = period_of(work, since, until), work.config.service
    figures, tally = _counted(work, period, quiet=form is not None)
    if html is not None:
        from sipagent.operations.register import write_text_whole  # slow to import

        heading = text.heading_of(service, service.language, period, program.now(), tally)
        write_text_whole(html, text.page(figures, heading))
    if form:
        found = figures_of(work.config, figures, period, tally).to_json()
        if form == "json":
            program.print_json(found)
        else:
            program.print_csv([{"figure": name, "value": value} for name, value in _each_figure(found)])
    elif html is not None:
        click.echo(_("wrote {file}").format(file=html))
    else:
        _show(figures, text.heading_of(service, language(), period, program.now(), None), console())
    if wrong := [_mismatch(name, *both) for name, both in tally.items() if both[0] != both[1]]:
        said = _("these figures do not agree with the chain; {wrong} (see `sipagent verify`)")
        raise program.Failure(said.format(wrong="; ".join(wrong)))


def _each_figure(found: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Each single figure under the names that lead to it, as `waits.longest`."""
    if isinstance(found, dict | list):
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            yield from _each_figure(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, found


def _mismatch(name: str, rows: int, chain: int) -> str:
    said = _("{what}: {rows} kept, {chain} in the chain")
    return said.format(what=gettext(name), rows=rows, chain=chain)


# --- reading ---


def _counted(work: program.Workplace, period: Selection, *, quiet: bool) -> tuple[Statistics, Tally]:
    """The figures of the period; on a terminal a bar tells how far it is, where there are many rows."""
    whole, screen = period.since is period.until is None, console(stderr=True)
    with Progress(console=screen, transient=True, disable=quiet or not screen.is_terminal) as progress:

        def through(total: int) -> Through:
            if total < _MANY:
                return iter
            bar = progress.add_task(_("counting"), total=total if whole else None)
            return partial(_stepping, progress, bar)

        return count_period(work.config, work.archive().store, period, through)


def _stepping(progress: Progress, bar: TaskID, rows: Iterable[Row]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if number % _STEP == 0:
            progress.advance(bar, _STEP)
        yield row


def _show(figures: Statistics, heading: Heading, screen: Console) -> None:
    """The tables of the page, and those of numbers and operators."""
    words = StatisticsWords(heading.language)
    for alarm in text.alarms(figures, heading, words):
        screen.print(alarm, style="bold red")
    if not figures.calls and not figures.kept.total:
        screen.print(_("No call in this period."))
        return
    show_fields(
        ((words(name), f"{said}  {more}".rstrip()) for name, said, more in text.tiles(figures, words)), screen
    )
    sections = text.sections(figures, words, text.last_day(heading))
    parts = [(one.title, one.tables) for one in sections]
    parts += [(title, [table]) for title, table in text.by_name(figures, words)]
    for title, tables in parts:
        told = f"\n{title}"
        for table in filter(lambda one: one.rows, tables):
            screen.print(told, style="bold")
            told = ""  # once for all its tables
            rows = table.rows[-_LINES:] if screen.is_terminal else table.rows
            if len(rows) < len(table.rows):
                said = _("The last {n} of {all}; --json has all.")
                screen.print(said.format(n=len(rows), all=len(table.rows)), style="dim")
            show_table(rows, [_column(*place) for place in enumerate(table.headings)], screen)


def _column(place: int, heading: str) -> Column[Sequence[str]]:
    return Column(heading, lambda cells: cells[place], right=place > 0)


_SHOWN = 20  # lines of errors; --json has all


@click.command("draws")
@click.option("--since", metavar="TIME", help="Calls begun at or after: a date, yesterday, 7d, 2w.")
@click.option("--until", metavar="TIME", help="Calls begun before; a date alone includes that day.")
@click.option(
    "--seed",
    "seed_file",
    type=program.FILE,
    metavar="FILE",
    help="A copy of the seed; default: the one beside the database.",
)
@program.json_option
@click.pass_obj
def draws_command(
    work: program.Workplace, /, *, since: str | None, until: str | None, seed_file: Path | None, as_json: bool
) -> None:
    """Draw again for every call whose receipt tells of its draw, and compare.

    Which calls may be recorded is drawn before the notice, from the call's id and a secret seed; the receipt
    tells share and draw. Exit 1 where a draw is another than the seed says, was made with another seed, or a
    call could be recorded that had not been drawn. Where hosts share a database, each draws with its own
    seed: what others drew is only counted.

    \b
    Examples:
      sipagent draws --since 2026-11-01 --until 2026-11-30
      sipagent draws --seed /media/auditor/retention.seed --json
    """
    period = period_of(work, since, until)
    seed = _seed(seed_file or work.config.places.seed, named=seed_file is not None)
    found = audit(work.archive().store.each_receipt(period), seed, work.config.host)
    if as_json:
        program.print_json(_json(found, period, seed))
    else:
        _show_draws(found, seed)
    if found.wrong:
        said = ngettext(
            "{n} draw cannot be confirmed, beginning with {id}",
            "{n} draws cannot be confirmed, beginning with {id}",
            len(found.wrong),
        )
        raise program.Failure(said.format(n=len(found.wrong), id=found.wrong[0][0]))


def _seed(path: Path, *, named: bool) -> Seed | None:
    """The seed; None if no agent has made one yet: then nothing was drawn, either."""
    try:
        return read_seed(path)
    except FileNotFoundError:
        if named:
            raise
        return None


def _json(found: Audit, period: Selection, seed: Seed | None) -> Json:
    return {
        "since": period.since and to_text(period.since),
        "until": period.until and to_text(period.until),
        "seed": seed and seed.name,
        **found.to_json(),
    }


def _show_draws(found: Audit, seed: Seed | None) -> None:
    screen = console()
    json = found.to_json()
    columns: list[Column[dict[str, Any]]] = [
        Column("share", lambda row: figure(row["share"], ".6g"), right=True),
        Column("calls", lambda row: str(row["calls"]), right=True),
        Column("drawn", lambda row: str(row["drawn"]), right=True),
        Column("expected", lambda row: figure(row["expected"], ".1f"), right=True),
    ]
    if json["shares"]:
        show_table(json["shares"], columns, screen)
        screen.print("")
    if found.wrong:
        wrong: list[Column[tuple[str, str]]] = [
            Column("id", lambda row: row[0]),
            Column("problem", lambda row: shown(row[1]), wraps=True),
        ]
        show_table(found.wrong[:_SHOWN], wrong, screen)
        screen.print("")
    screen.print(_summary(found, seed), style="dim")


def _summary(found: Audit, seed: Seed | None) -> str:
    n = found.calls.total()
    said = [
        ngettext("{n} draw", "{n} draws", n).format(n=n),
        _("seed {name}").format(name=seed.name) if seed else _("no seed yet"),
    ]
    if n := found.undrawn:
        said.append(ngettext("{n} call without a draw", "{n} calls without a draw", n).format(n=n))
    if n := found.forgotten:
        said.append(ngettext("{n} receipt too old to tell", "{n} receipts too old to tell", n).format(n=n))
    if n := found.elsewhere:
        said.append(ngettext("{n} call of another host", "{n} calls of other hosts", n).format(n=n))
    return ", ".join(said)
