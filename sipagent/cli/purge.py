"""Removes what has expired, `purge`, and calls before their date, `delete`. Tells what was removed, what
stays and why, and what only a person can remove; every attempt to delete leaves a line in the trace."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click
from rich.console import Console

from retention.archive import Archive
from retention.clock import read_clock
from retention.erase import Deletion
from retention.purge import Removal, Stay
from retention.use import KnownCopy
from sipagent.cli import options, program
from sipagent.cli.terminal import Column, console, full, show_table, show_titled, size, steps_of
from sipagent.config.identity import printable
from sipagent.languages.labels import N_, happening
from sipagent.languages.spoken import colon, shown
from sipagent.operations import purge as op
from sipagent.operations.parsing import parse_moment, read_field
from sipagent.operations.persons import Stays, delete_calls
from sipagent.text.papers import certificate


@click.command("purge")
@click.option("--dry-run", is_flag=True, help="Say what would go; change nothing.")
@click.option(
    "--now", "at", metavar="TIME", help="As if it were then. In the future: --dry-run or --force --by."
)
@click.option("--force", is_flag=True, help="With --now in the future: do it.")
@click.option("--clock-ok", is_flag=True, help="With --by: the clock is right, end the suspension.")
@program.words_by_option
@program.json_option
@click.pass_obj
def purge_command(
    work: program.Workplace,
    /,
    *,
    dry_run: bool,
    at: str | None,
    force: bool,
    clock_ok: bool,
    by: str | None,
    as_json: bool,
) -> int:
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
        raise click.UsageError(wrong or _("--clock-ok: --by is needed"))
    moment = _moment(work, at)
    wanted = op.PurgeWanted(
        at=moment,
        dry_run=dry_run,
        force=force,
        clock_ok=clock_ok,
        by=program.attempt("purge", by=by) if by else None,
    )
    wanted.require(program.now())
    desk = op.PurgeDesk(
        config=work.config,
        archive=work.archive(make=not dry_run),
        terms=work.terms,
        clock=read_clock(),
        now=program.now,
        begins=work.tell_followed,
        tell=lambda line: click.echo(shown(line), err=True),
        warn=lambda line: click.echo(f"sipagent: {shown(line)}", err=True),
        steps=lambda: steps_of(N_("purging")),
    )
    try:
        done = op.purge_now(desk, wanted)
    except op.PurgeSuspended as waits:
        raise program.Failure(_suspended(waits.why)) from waits
    if as_json:
        program.print_json(done.to_json())
    else:
        _show(work, done, console())
    if done.suspended is not None:
        click.echo(f"sipagent: {_suspended(done.suspended)}", err=True)
    return int(bool(done.failed))


def _suspended(why: str) -> str:
    said = _("purging is suspended: {why}; accepted, once the clock is right: purge --clock-ok --by WHO")
    return said.format(why=happening(why))


def _moment(work: program.Workplace, at: str | None) -> datetime:
    if at is None:
        return program.now()
    with options.options_read():
        return read_field(
            "now", at, lambda typed: parse_moment(typed, program.now(), work.config.service.timezone)
        )


# --- on a terminal ---


def _show(work: program.Workplace, done: op.Purged, screen: Console) -> None:
    dry = done.dry_run
    _show_gone(work, done, screen)
    _show_forgotten(done, screen)
    held = len(done.held)
    title = ngettext("{n} expired and held, kept:", "{n} expired and held, kept:", held).format(n=held)
    stays: list[Column[Stay]] = [
        Column("id", lambda stay: stay.id),
        Column("due", lambda stay: full(work.local(stay.due_at))),
        Column("why it stays", lambda stay: shown(stay.why), wraps=True),
    ]
    show_titled(title, done.held, stays, screen)
    copies = [(gone.id, copy) for gone in done.purged for copy in gone.copies]
    copies += [(call.id, KnownCopy.of(call)) for call in done.copies]
    places: list[Column[tuple[str, KnownCopy]]] = [
        Column("id", lambda one: one[0]),
        Column("exported", lambda one: full(work.local(one[1].at))),
        Column("by", lambda one: one[1].by, shrinks=True),
        Column("where it is", lambda one: one[1].path, wraps=True),
    ]
    show_titled(_("Exported copies that remain; only you can remove them:"), copies, places, screen)
    files: list[Column[op.StrayFile]] = [
        Column("file", lambda stray: stray.name),
        Column("problem", lambda stray: shown(stray.problem), wraps=True),
    ]
    removed = _("Files without a right to be there, removed:")
    would = _("Files without a right to be there, would be removed:")
    show_titled(would if dry else removed, done.unlinked, files, screen)
    show_titled(_("Left for you to look at:"), done.orphans, files, screen)
    stuck: list[Column[op.NotRemoved]] = [
        Column("id", lambda one: one.id),
        Column("problem", lambda one: shown(one.problem), wraps=True),
    ]
    show_titled(_("Not removed, the next purge tries again:"), done.failed, stuck, screen, style="bold red")
    voices: list[Column[op.ExpiredVoice]] = [
        Column("voice", lambda one: one.voice),
        Column("heads that learnt from it", lambda one: ", ".join(map(_file_name, one.heads)), wraps=True),
    ]
    removed, would = _("Voices of colleagues, expired and removed:"), _("Voices of colleagues that would go:")
    show_titled(would if dry else removed, done.voices, voices, screen)


def _file_name(path: str) -> str:
    return Path(path).name


def _show_gone(work: program.Workplace, done: op.Purged, screen: Console) -> None:
    erased, would = (
        _("{id} erased: its call had wanted it, and something kept it."),
        _("{id} would be erased: its call had wanted it, and something kept it."),
    )
    for id in done.erased:
        screen.print((would if done.dry_run else erased).format(id=id))
    if not done.purged:
        others = done.erased or done.receipts or done.notes or done.uses
        if not (others or done.unlinked or done.failed):
            screen.print(_("Nothing to purge."))
        return
    columns: list[Column[Removal]] = [
        Column("id", lambda gone: gone.id),
        Column("due", lambda gone: full(work.local(gone.due_at))),
        Column("size", lambda gone: size(gone.bytes), right=True),
        Column("why", lambda gone: shown(gone.why), wraps=True),
    ]
    show_table(done.purged, columns, screen)
    total, n = size(sum(gone.bytes for gone in done.purged)), len(done.purged)
    if done.dry_run:
        said = ngettext("{n} would be purged, {size}.", "{n} would be purged, {size}.", n)
    else:
        said = ngettext("{n} purged, {size}.", "{n} purged, {size}.", n)
    screen.print(f"\n{said.format(n=n, size=total)}")


def _show_forgotten(done: op.Purged, screen: Console) -> None:
    receipts, notes, uses = done.receipts, done.notes, done.uses
    would = (
        ngettext(
            "{n} receipt would lose what leads to a person.",
            "{n} receipts would lose what leads to a person.",
            receipts,
        ),
        ngettext(
            "{n} analysis sheet would lose text and author.",
            "{n} analysis sheets would lose text and author.",
            notes,
        ),
        ngettext("{n} trace line would lose all names.", "{n} trace lines would lose all names.", uses),
    )
    lost = (
        ngettext(
            "{n} receipt lost what leads to a person.", "{n} receipts lost what leads to a person.", receipts
        ),
        ngettext(
            "{n} analysis sheet lost text and author.", "{n} analysis sheets lost text and author.", notes
        ),
        ngettext("{n} trace line lost all names.", "{n} trace lines lost all names.", uses),
    )
    for count, said in zip((receipts, notes, uses), would if done.dry_run else lost, strict=True):
        if count:
            screen.print(said.format(n=count))


_PAGE = "\f"  # between two certificates: each on a separate page


@click.command("delete")
@program.optional_id_argument
@options.caller_option
@click.option(
    "--reason",
    required=True,
    type=program.words,
    metavar="R",
    help="Why, e.g. the reference of the person's request.",
)
@click.option("--by", required=True, type=program.words, metavar="WHO", help="Your name.")
@click.option(
    "--certificate",
    "paper",
    type=program.FILE,
    metavar="FILE",
    help="Write the certificate there too; a new file.",
)
@options.yes_option
@program.json_option
@click.pass_obj
def delete_command(
    work: program.Workplace,
    /,
    id: str | None,
    *,
    caller: str | None,
    reason: str,
    by: str,
    paper: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget a call before its time: its recording, what leads to a person in its receipt, its analyses.

    Prints a certificate for the person who asked: what, when, by whom, what stays, the hash of a deleted
    file, and where the chain says so. It names the exported copies that remain to be deleted. What is on
    hold stays.

    With --caller all calls of a person are forgotten, each with a page of its own in the certificate; they
    are shown before, and you are asked. What is on hold or in progress stays, and the exit code is 1 then.

    \b
    Examples:
      sipagent delete 20261124T222000123-482913 --reason "request 2026-118" --by "M. Durand"
      sipagent delete 482913 --reason "request 2026-118" --by "M. Durand"
          --certificate request-2026-118.txt
      sipagent delete --caller "06 12 34 56 78" --reason "request 2026-118" --by "M. Durand"
    """
    options.one_of_the_two(id, caller)
    archive = work.archive(make=True)
    asked = program.attempt("delete", by=by, detail=reason)
    with _paper(work, paper) as keep:
        ids = _of_caller(work, archive, caller, yes=yes) if caller else [program.meant(archive, str(id))]
        done: list[Deletion] = []
        papers: list[str] = []
        stays: list[str] = []
        for one in delete_calls(archive, ids, asked, program.now):
            if isinstance(one, Stays):
                stays.append(f"{one.id}{colon()}{shown(one.why)}")
                continue
            done.append(one)
            paper_of = certificate(one, work.config.service)
            if len(done) == 1:
                work.tell_followed()
            if not as_json:
                click.echo((_PAGE if len(done) > 1 else "") + paper_of, nl=False)
            papers.append(paper_of)
        if as_json and done:
            told = [one.to_json() for one in done]
            program.print_json(told if id is None else told[0])
        if done:  # last: if the file fails, it has been printed
            keep(_PAGE.join(papers))
    if stays:
        raise program.Failure("; ".join(stays))


def _of_caller(work: program.Workplace, archive: Archive, caller: str, *, yes: bool) -> list[str]:
    """The caller's ids, after the question. Raises click.UsageError, Failure."""
    calls = options.calls_of(work, archive, caller)
    if not yes:
        options.show_calls(work, archive, calls)
    count = len(calls)
    asked = ngettext("Forget {n} call of {caller} for ever?", "Forget {n} calls of {caller} for ever?", count)
    options.agree(asked.format(n=count, caller=printable(caller)), yes=yes)
    return [call.id for call in calls]


@contextmanager
def _paper(work: program.Workplace, path: Path | None) -> Iterator[Callable[[str], None]]:
    """A function that writes the certificate; an error in its file shows before anything is deleted."""
    if path is None:
        yield lambda text: None
        return
    target = path.absolute()
    if os.path.lexists(target):
        raise program.Failure(_("{file} exists; accepted: the name of a new file").format(file=path))
    if target.parent.resolve() == work.config.recording.directory.resolve():
        said = _("{file} is among the recordings; the certificate goes elsewhere")
        raise program.Failure(said.format(file=path))
    with program.new_file(target, replace=False) as (descriptor, name):

        def keep(text: str) -> None:
            with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
                file.write(text)
            name()

        yield keep
