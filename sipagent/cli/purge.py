"""Removes what has expired: `purge`. Tells what was removed, what stays and why, and what only a person can
remove."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from gettext import gettext as _
from gettext import ngettext
from typing import TypeVar

import click
from rich.console import Console

from media.hearing.embedding import HeadError
from retention.archive import Archive
from retention.clock import look, read_clock, resume, suspended
from retention.files import Places, kept_free
from retention.purge import PurgeReport, Removal, Stay, erase_pending, preview, purge
from retention.records import Access, Json, to_text
from retention.reserve import ReserveError, left_behind, take_in
from retention.rows.rows import Rows
from retention.stamps import proven
from retention.use import ExportedCopy
from retention.verify import Orphan
from sipagent.cli.program import Failure, Workplace, attempt, json_option, now, print_json, words_by_option
from sipagent.cli.terminal import Column, console, full, show_table, size, steps_of
from sipagent.edge.files import forget_old_dialogs
from sipagent.enrol.keeping import ForgottenVoice, expire
from sipagent.languages.labels import N_, happening
from sipagent.languages.spoken import shown
from sipagent.lookup.parsing import parse_moment

Row = TypeVar("Row")

_TOLERANCE = timedelta(seconds=1)  # a `--now` typed as the present is not the future


@click.command("purge")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option(
    "--now", "at", metavar="TIME", help="As if it were then. In the future: --dry-run or --force --by."
)
@click.option("--force", is_flag=True, help="With --now in the future: do it.")
@click.option("--clock-ok", is_flag=True, help="With --by: the clock is right, end the suspension.")
@words_by_option
@json_option
@click.pass_obj
@click.pass_context
def purge_command(
    ctx: click.Context,
    work: Workplace,
    /,
    *,
    dry_run: bool,
    at: str | None,
    force: bool,
    clock_ok: bool,
    by: str | None,
    as_json: bool,
) -> None:
    """Remove all that has expired and is not held, and say what and why.

    The agent does it by itself every hour. Receipts past retention.receipts_period lose what leads to a
    person, analyses past retention.analysis_period their text. Exported copies that are known to remain are
    named. A clock that went back, or ahead by more than a day, suspends all purging until --clock-ok; after a
    reboot, until the kernel or a time stamp confirms it, or --clock-ok. What a call had wanted erased, and
    something keeps, goes first, whatever the clock says.

    \b
    Exit codes:
      0  done, also when there was nothing to do
      1  suspended, refused, or something could not be removed
      2  an option cannot be read

    \b
    Examples:
      sipagent purge --dry-run
      sipagent purge --dry-run --now 2027-06-01
      sipagent purge --clock-ok --by "M. Durand"
    """
    if clock_ok and (dry_run or by is None):
        wrong = _("--clock-ok: changes something, --dry-run nothing") if dry_run else None
        raise click.UsageError(wrong or _("--clock-ok: --by is needed"), ctx)
    moment = _moment(work, at)
    if moment > now() + _TOLERANCE and not dry_run and not (force and by):
        said = _(
            "--now is in the future: what has not expired would go; accepted with --dry-run, or --force --by"
        )
        raise Failure(said)
    archive = work.archive(make=not dry_run)
    asked = attempt("purge", by=by) if by else None
    if dry_run:
        ca = work.config.retention.timestamp_ca
        why = suspended(archive.store, read_clock(), proven(archive.store, ca))
        work.tell_followed()
        report = preview(archive, moment, work.terms)
    else:
        why = None
        take_in_left(archive.store, work.config.places)
        erased = erase_pending(archive, now(), [])  # which waits for no date; what fails is tried again below
        _believe_clock(work, archive.store, erased, asked if clock_ok else None)
        work.tell_followed()
        report = _purge(work, archive, moment, asked)
        report = replace(report, erased=(*erased, *report.erased))
        _forget_dialogs(work, moment)
    lent = _expire_voices(work, moment, dry_run)
    if as_json:
        print_json(_report_json(report, moment, dry_run) | {"voices": _voices_json(lent), "suspended": why})
    else:
        _show_report(work, report, dry_run, console())
        _show_voices(lent, dry_run, console())
    if why is not None:
        click.echo(f"sipagent: {_suspended(why)}", err=True)
    ctx.exit(1 if report.failed else 0)


def take_in_left(store: Rows, places: Places) -> None:
    """Write what a dead agent left in its reserve: it expires like the rest, once it has rows.

    An agent that starts meanwhile waits: the reserve is its own from then on.
    """
    if not places.reserves():
        return
    with kept_free(places.lock) as nobody_runs:
        for path in (*left_behind(places), places.reserve("edge")) if nobody_runs else ():
            try:
                take_in(store, path)
            except ReserveError as error:
                click.echo(f"sipagent: {shown(error)}", err=True)


def _believe_clock(work: Workplace, store: Rows, erased: Sequence[str], by: Access | None) -> None:
    """Check the clock, or accept it because a person says so. Raises Failure if purging is suspended."""
    reading = read_clock()
    if by is not None:
        was = resume(store, reading, by)
        click.echo(_("purging resumes") if was else _("purging was not suspended"), err=True)
    elif (why := look(store, reading, proven(store, work.config.retention.timestamp_ca))) is not None:
        if erased:
            work.tell_followed()
        for id in erased:
            click.echo(_("{id} erased").format(id=id), err=True)
        raise Failure(_suspended(why))


def _suspended(why: str) -> str:
    said = _("purging is suspended: {why}; accepted, once the clock is right: purge --clock-ok --by WHO")
    return said.format(why=happening(why))


def _purge(work: Workplace, archive: Archive, moment: datetime, asked: Access | None) -> PurgeReport:
    with steps_of(N_("purging")) as step:
        return purge(archive, moment, work.terms, step, asked, at=now())


def _forget_dialogs(work: Workplace, moment: datetime) -> None:
    for path in forget_old_dialogs(work.config, work.terms.receipts_period, moment):
        click.echo(_("{file} removed: it named callers").format(file=path), err=True)


def _expire_voices(work: Workplace, moment: datetime, dry_run: bool) -> list[ForgottenVoice]:
    """What colleagues have lent, and what learnt from it. Raises Failure for a head that can't be read."""
    config = work.config
    try:
        return expire(config.voices, config.refusal.heads, moment, config.voices_days, dry=dry_run)
    except HeadError as wrong:
        raise Failure(*wrong.args) from wrong


def _voices_json(lent: Sequence[ForgottenVoice]) -> list[Json]:
    return [{"voice": one.voice, "heads": [str(head) for head in one.heads]} for one in lent]


def _show_voices(lent: Sequence[ForgottenVoice], dry_run: bool, screen: Console) -> None:
    columns: list[Column[ForgottenVoice]] = [
        Column("voice", lambda one: one.voice),
        Column(
            "heads that learnt from it", lambda one: ", ".join(head.name for head in one.heads), wraps=True
        ),
    ]
    done, would = _("Voices of colleagues, expired and removed:"), _("Voices of colleagues that would go:")
    _show(would if dry_run else done, lent, columns, screen)


def _moment(work: Workplace, at: str | None) -> datetime:
    if at is None:
        return now()
    try:
        return parse_moment(at, now(), work.config.service.timezone)
    except ValueError as error:
        raise click.UsageError(
            _("{option}: {problem}").format(option="--now", problem=shown(error)), click.get_current_context()
        ) from error


def _report_json(report: PurgeReport, at: datetime, dry_run: bool) -> Json:
    return {
        "now": to_text(at),
        "dry_run": dry_run,
        "purged": [_removal_json(gone) for gone in report.removed],
        "erased": list(report.erased),
        "held": [{"id": stay.id, "due_at": to_text(stay.due_at), "why": stay.why} for stay in report.held],
        "failed": [{"id": id, "problem": problem} for id, problem in report.failed],
        "receipts": report.receipts,
        "notes": report.notes,
        "uses": report.uses,
        "unlinked": [{"name": orphan.name, "problem": orphan.problem} for orphan in report.unlinked],
        "orphans": [{"name": orphan.name, "problem": orphan.problem} for orphan in report.orphans],
    }


def _removal_json(gone: Removal) -> Json:
    return {
        "id": gone.id,
        "started_at": to_text(gone.started_at),
        "due_at": to_text(gone.due_at),
        "bytes": gone.bytes,
        "why": gone.why,
        "copies": [{"path": copy.path, "at": to_text(copy.at), "by": copy.by} for copy in gone.copies],
    }


def _show_report(work: Workplace, report: PurgeReport, dry_run: bool, screen: Console) -> None:
    _show_gone(work, report, dry_run, screen)
    _show_forgotten(report, dry_run, screen)
    if report.held:
        stays: list[Column[Stay]] = [
            Column("id", lambda stay: stay.id),
            Column("due", lambda stay: full(work.local(stay.due_at))),
            Column("why it stays", lambda stay: shown(stay.why), wraps=True),
        ]
        held = len(report.held)
        title = ngettext("{n} expired and held, kept:", "{n} expired and held, kept:", held).format(n=held)
        _show(title, report.held, stays, screen)
    copies = [(gone.id, copy) for gone in report.removed for copy in gone.copies]
    if copies:
        places: list[Column[tuple[str, ExportedCopy]]] = [
            Column("id", lambda one: one[0]),
            Column("exported", lambda one: full(work.local(one[1].at))),
            Column("by", lambda one: one[1].by, shrinks=True),
            Column("where it is", lambda one: str(one[1].path), wraps=True),
        ]
        _show(_("Exported copies that remain; only you can remove them:"), copies, places, screen)
    files: list[Column[Orphan]] = [
        Column("file", lambda orphan: orphan.name),
        Column("problem", lambda orphan: shown(orphan.problem), wraps=True),
    ]
    done, would = (
        _("Files without a right to be there, removed:"),
        _("Files without a right to be there, would be removed:"),
    )
    _show(would if dry_run else done, report.unlinked, files, screen)
    _show(_("Left for you to look at:"), report.orphans, files, screen)
    stuck: list[Column[tuple[str, str]]] = [
        Column("id", lambda one: one[0]),
        Column("problem", lambda one: shown(one[1]), wraps=True),
    ]
    _show(_("Not removed, the next purge tries again:"), report.failed, stuck, screen, style="bold red")


def _show(
    title: str, rows: Sequence[Row], columns: Sequence[Column[Row]], screen: Console, style: str = "bold"
) -> None:
    if rows:
        screen.print(f"\n{title}", style=style)
        show_table(rows, columns, screen)


def _show_gone(work: Workplace, report: PurgeReport, dry_run: bool, screen: Console) -> None:
    erased, would = (
        _("{id} erased: its call had wanted it, and something kept it."),
        _("{id} would be erased: its call had wanted it, and something kept it."),
    )
    for id in report.erased:
        screen.print((would if dry_run else erased).format(id=id))
    if not report.removed:
        others = report.erased or report.receipts or report.notes or report.uses
        if not (others or report.unlinked or report.failed):
            screen.print(_("Nothing to purge."))
        return
    columns: list[Column[Removal]] = [
        Column("id", lambda gone: gone.id),
        Column("due", lambda gone: full(work.local(gone.due_at))),
        Column("size", lambda gone: size(gone.bytes), right=True),
        Column("why", lambda gone: shown(gone.why), wraps=True),
    ]
    show_table(report.removed, columns, screen)
    total, n = size(sum(gone.bytes for gone in report.removed)), len(report.removed)
    if dry_run:
        said = ngettext("{n} would be purged, {size}.", "{n} would be purged, {size}.", n)
    else:
        said = ngettext("{n} purged, {size}.", "{n} purged, {size}.", n)
    screen.print(f"\n{said.format(n=n, size=total)}")


def _show_forgotten(report: PurgeReport, dry_run: bool, screen: Console) -> None:
    receipts, notes, uses = report.receipts, report.notes, report.uses
    if dry_run:
        said = (
            (
                receipts,
                ngettext(
                    "{n} receipt would lose what leads to a person.",
                    "{n} receipts would lose what leads to a person.",
                    receipts,
                ),
            ),
            (
                notes,
                ngettext(
                    "{n} analysis sheet would lose text and author.",
                    "{n} analysis sheets would lose text and author.",
                    notes,
                ),
            ),
            (
                uses,
                ngettext(
                    "{n} trace line would lose all names.", "{n} trace lines would lose all names.", uses
                ),
            ),
        )
    else:
        said = (
            (
                receipts,
                ngettext(
                    "{n} receipt lost what leads to a person.",
                    "{n} receipts lost what leads to a person.",
                    receipts,
                ),
            ),
            (
                notes,
                ngettext(
                    "{n} analysis sheet lost text and author.",
                    "{n} analysis sheets lost text and author.",
                    notes,
                ),
            ),
            (uses, ngettext("{n} trace line lost all names.", "{n} trace lines lost all names.", uses)),
        )
    for count, text in said:
        if count:
            screen.print(text.format(n=count))
