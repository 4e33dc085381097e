"""The figures of a period: `stats`, as tables, as JSON or as a page. Nothing here changes anything kept.

`draws` repeats the draws of the sample.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from gettext import gettext, ngettext
from gettext import gettext as _
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from retention.records import Json, Sum, to_text
from retention.rows.selection import Selection
from retention.statistics import DECISIONS, OTHER, PHASES, RecordingFates, Statistics
from sipagent.cli.options import period_of
from sipagent.cli.program import Failure, Workplace, json_option, now, print_json
from sipagent.cli.terminal import (
    Column,
    console,
    figure,
    full,
    in_seconds,
    percent,
    show_fields,
    show_table,
    size,
    user_part,
)
from sipagent.config.sampling import Seed, SeedError, read_seed
from sipagent.languages.labels import label, length
from sipagent.languages.spoken import shown
from sipagent.operations.statistics import Audit, Row, Tally, Through, audit, count_period, figures_of

Cells = Sequence[str]

_MANY = 20_000  # from this many rows on, reading shows its progress
_STEP = 1000  # rows between two steps of the bar
_DAYS = 31  # lines that a terminal shows


@click.command("stats")
@click.option("--since", metavar="TIME", help="Calls begun at or after: a date, yesterday, 7d, 2w.")
@click.option("--until", metavar="TIME", help="Calls begun before; a date alone includes that day.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write a page with plots, without personal data.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
@click.pass_obj
@click.pass_context
def stats_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    since: str | None,
    until: str | None,
    html: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Count calls, refusals by channel and phase, waits and durations, and the recordings kept.

    Days are those of the service's time zone. Exit 1 where the rows are not those that the chain knows of.

    \b
    Examples:
      sipagent stats --since 2026-11-01 --until 2026-11-30
      sipagent stats --since 30d --html november.html
    """
    if html is not None and (obstacle := _obstacle(html, force)):
        raise Failure(obstacle)
    period = period_of(work, since, until)
    figures, tally = _counted(work, period, quiet=as_json)
    if html is not None:
        _write_page(work, figures, period, tally, html)
    if as_json:
        print_json(figures_of(work.config, figures, period, tally).to_json())
    elif html is not None:
        click.echo(_("wrote {file}").format(file=html))
    else:
        _show(work, figures, console())
    if wrong := [_mismatch(name, *both) for name, both in tally.items() if both[0] != both[1]]:
        said = _("these figures do not agree with the chain; {wrong} (see `sipagent verify`)")
        raise Failure(said.format(wrong="; ".join(wrong)))


def _obstacle(html: Path, force: bool) -> str | None:
    if html.exists() and not force:
        return _("{file} exists; --force replaces it").format(file=html)
    folder = html.absolute().parent
    return None if folder.is_dir() else _("{file} is not a directory").format(file=folder)


def _mismatch(name: str, rows: int, chain: int) -> str:
    said = _("{what}: {rows} kept, {chain} in the chain")
    return said.format(what=gettext(name), rows=rows, chain=chain)


# --- reading ---


def _counted(work: Workplace, period: Selection, *, quiet: bool) -> tuple[Statistics, Tally]:
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


# --- page ---


def _write_page(work: Workplace, figures: Statistics, period: Selection, tally: Tally, html: Path) -> None:
    from sipagent.text.statistics import Heading, page  # slow to import

    service = work.config.service
    heading = Heading(
        service=service.name,
        language=service.language,
        zone=str(service.timezone),
        made=work.local(now()),
        since=_local(work, period.since),
        until=_local(work, period.until),
        tally=tally,
    )
    temporary = html.with_name(f".{html.name}.tmp")
    try:
        temporary.write_text(page(figures, heading), encoding="utf-8")
        temporary.replace(html)
    finally:
        temporary.unlink(missing_ok=True)


def _local(work: Workplace, at: datetime | None) -> datetime | None:
    return None if at is None else work.local(at)


# --- tables ---


class _Table(NamedTuple):
    title: str
    headings: Cells
    rows: Sequence[Cells]


def _show(work: Workplace, figures: Statistics, screen: Console) -> None:
    for lost in figures.lost:
        screen.print(_lost(work, lost), style="bold red")
    if not figures.calls and not figures.kept.total:
        screen.print(_("No call in this period."))
        return
    show_fields(_overview(figures), screen)
    for table in (*_of_calls(figures), *_of_whom(figures), _per_hour(figures), _per_day(figures)):
        if table.rows:
            screen.print(f"\n{table.title}", style="bold")
            rows = table.rows[-_DAYS:] if screen.is_terminal else table.rows
            if len(rows) < len(table.rows):
                said = _("The last {n} of {all}; --json has all.")
                screen.print(said.format(n=len(rows), all=len(table.rows)), style="dim")
            show_table(rows, [_column(*place) for place in enumerate(table.headings)], screen)


def _lost(work: Workplace, lost: Sum) -> str:
    """`41 receipts were lost between … and …`."""
    first, last = (full(work.local(at)) for at in (lost.from_at, lost.until_at))
    said = ngettext(
        "{n} receipt was lost between {first} and {last}",
        "{n} receipts were lost between {first} and {last}",
        lost.count,
    )
    return said.format(n=lost.count, first=first, last=last)


def _column(place: int, heading: str) -> Column[Cells]:
    return Column(heading, lambda cells: cells[place], right=place > 0)


def _overview(figures: Statistics) -> Iterator[tuple[str, str]]:
    kept = figures.kept
    yield _("calls"), str(figures.calls)
    if n := figures.in_sums:
        said = ngettext(
            "{n} rejected, counted with others: see `sipagent calls --sums`",
            "{n} rejected, counted together: see `sipagent calls --sums`",
            n,
        )
        yield _("of them"), said.format(n=n)
    yield _("answer rate"), percent(figures.answer_rate)
    said = _("{share}, {n} of {all} who were asked")
    shared = said.format(share=percent(figures.refusal_rate), n=figures.refused, all=figures.asked)
    yield _("refusals"), shared
    yield _("stopped by an operator"), str(figures.stops)
    yield _("speech not judged"), str(figures.unheard)
    yield _("recordings"), _fates(kept.fates)
    yield _("on disk"), f"{length(kept.seconds)}, {size(kept.bytes)}"


def _fates(fates: RecordingFates) -> str:
    """`836 kept (5 of them held), 46 erased`."""
    others = {name: count for name, count in fates.to_json().items() if name not in ("kept", "held")}
    said = [ngettext("{n} kept", "{n} kept", fates.kept).format(n=fates.kept)] if fates.kept else []
    if said and fates.held:
        held = ngettext("({n} of them held)", "({n} of them held)", fates.held)
        said = [f"{said[0]} {held.format(n=fates.held)}"]
    said += [f"{count} {label('fate', name)}" for name, count in others.items() if count]
    return ", ".join(said) or _("none")


def _of_calls(figures: Statistics) -> Iterator[_Table]:
    yield _Table(
        _("Outcomes"),
        (_("outcome"), _("calls"), _("share")),
        [
            (label("outcome", name), str(n), percent(n / figures.calls))
            for name, n in figures.outcomes.most_common()
        ],
    )
    yield _Table(
        _("Decisions"),
        (_("decision"), _("by"), _("calls")),
        [
            (label("decision", decision), label("by", by) if by else "–", str(n))
            for (decision, by), n in figures.decisions.most_common()
        ],
    )
    phases = (*PHASES, *sorted({phase for _, _, phase in figures.refusals} - {*PHASES}))
    yield _Table(
        _("Refusals"),
        (_("channel"), *map(_phase, phases), _("all")),
        [
            (
                label("by", channel) if channel else _("unknown"),
                *(str(found[phase]) for phase in phases),
                str(found.total()),
            )
            for channel, found in figures.channels().items()
            if found
        ],
    )
    yield _Table(
        _("Refusals by key"),
        (_("came as"), _("calls")),
        [(way, str(n)) for way, n in figures.methods().most_common()],
    )
    spreads = {
        _("waited, connected"): figures.waits,
        _("waited, gave up"): figures.given_up,
        _("talked"): figures.durations,
    }
    yield _Table(
        _("Lengths"),
        ("", _("calls"), _("median"), "p90", _("longest")),
        [
            (name, str(one.count), *map(_seconds, (one.quantile(0.5), one.quantile(0.9), one.longest_s)))
            for name, one in spreads.items()
            if one.count
        ],
    )


def _of_whom(figures: Statistics) -> Iterator[_Table]:
    yield _Table(
        _("Numbers dialled"),
        (_("number"), _("language"), _("calls"), _("reached"), _("refused")),
        [
            (
                _("other") if number == OTHER else number,
                figures.languages[number] or _("by key"),
                *map(str, (one.calls, one.reached, one.refused)),
            )
            for number, one in figures.numbers.items()
            if one.calls
        ],
    )
    yield _Table(
        _("Operators"),
        (_("operator"), _("calls"), _("refused"), _("stopped")),
        [
            (user_part(operator) or operator, *map(str, (one.calls, one.refused, one.stops)))
            for operator, one in sorted(figures.operators.items())
        ],
    )


def _per_hour(figures: Statistics) -> _Table:
    return _Table(
        _("Hours of the day"),
        (_("hour"), _("calls"), *(label("decision", one) for one in DECISIONS)),
        [
            (f"{hour:02}", str(found.total()), *(str(found[decision]) for decision in DECISIONS))
            for hour, found in sorted(figures.hours.items())
        ],
    )


def _per_day(figures: Statistics) -> _Table:
    return _Table(
        _("Days"),
        (_("day"), _("calls"), *(label("decision", one) for one in DECISIONS)),
        [
            (day.isoformat(), str(found.total()), *(str(found[decision]) for decision in DECISIONS))
            for day, found in sorted(figures.days.items())
        ],
    )


def _phase(phase: str | None) -> str:
    return label("phase", phase) if phase else _("unknown")


def _seconds(seconds: float | None) -> str:
    return in_seconds(seconds) if seconds is None or seconds < 60 else length(seconds)


_SHOWN = 20  # lines of errors; --json has all


@click.command("draws")
@click.option("--since", metavar="TIME", help="Calls begun at or after: a date, yesterday, 7d, 2w.")
@click.option("--until", metavar="TIME", help="Calls begun before; a date alone includes that day.")
@click.option(
    "--seed",
    "seed_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A copy of the seed; default: the one beside the database.",
)
@json_option
@click.pass_obj
@click.pass_context
def draws_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    since: str | None,
    until: str | None,
    seed_file: Path | None,
    as_json: bool,
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
        print_json(_json(found, period, seed))
    else:
        _show_draws(found, seed)
    if found.wrong:
        said = ngettext(
            "{n} draw cannot be confirmed, beginning with {id}",
            "{n} draws cannot be confirmed, beginning with {id}",
            len(found.wrong),
        )
        raise Failure(said.format(n=len(found.wrong), id=found.wrong[0][0]))


def _seed(path: Path, *, named: bool) -> Seed | None:
    """The seed; None if no agent has made one yet: then nothing was drawn, either."""
    try:
        return read_seed(path)
    except SeedError as error:
        raise Failure(*error.args) from error
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
