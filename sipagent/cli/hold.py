"""What somebody adds to a call: an analysis, `note`, and legal holds, `hold`, `release`, `holds`.

`note` files the analysis sheet of a call; `hold` keeps a recording as testimony. Every attempt leaves a
line in the trace.
"""

import sys
from collections.abc import Callable, Sequence
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from retention.purge import due
from retention.records import Hold, Recording, terms
from retention.use import CUT
from sipagent.cli import program
from sipagent.cli.options import confirmed, yes_option
from sipagent.cli.terminal import WIDE, Column, coded, console, full, is_for_table, show_table
from sipagent.config.errors import one_line
from sipagent.config.identity import printable
from sipagent.languages.labels import label
from sipagent.languages.spoken import shown
from sipagent.operations.approvals import HeldRecording, end_hold, held, hold, rules_of
from sipagent.operations.parsing import NOTE_LIMIT, FieldError, Unreadable, note_text, parse_ahead
from sipagent.operations.uses import FiledAnalysis, NamesPerson, attempt_note, what_would_go

_PATH = 400  # characters
_PLACES_SHOWN = 5  # how many places fit into one line


@click.command("note")
@program.id_argument
@click.option("--by", required=True, type=program.words, metavar="WHO", help="Your name.")
@click.option(
    "--text-file",
    "source",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="F",
    help=f"The analysis, UTF-8, up to {NOTE_LIMIT // 1024} KiB; - reads it from stdin.",
)
@yes_option
@click.pass_obj
def note_command(work: program.Workplace, id: str, by: str, source: Path, yes: bool) -> None:
    """File the analysis of a call that was listened to (`export` or `play` comes first).

    It is kept for retention.analysis_period; `show` prints it. With retention.erase_after_note the audio is
    erased then, unless it is on hold.

    The caller's number and the operator's account are cut out of it, wherever they stand: where the operator
    is 201, so is the 201 of "article 201". What would go is shown, and you are asked before it is filed.

    \b
    Examples:
      sipagent note 20261124T222000123-482913 --by "M. Durand" --text-file sheet.txt
      sipagent note 20261124T222000123-482913 --by "M. Durand" --text-file - < sheet.txt
    """
    archive = work.archive(make=True)
    recording = program.find(archive, id)
    id = recording.id
    text = _note_text(source)
    asked = program.attempt("note", by=by)
    kept = work.config.retention
    going = [] if yes else what_would_go(archive, recording, text)
    refusal = _ask_to_cut(id, going, can_ask=str(source) != "-") if going else None
    try:
        done = attempt_note(
            archive,
            recording,
            text,
            asked,
            period=kept.analysis_period,
            erase=kept.erase_after_note,
            agreed=refusal is None,
        )
    except NamesPerson as names:
        raise program.Failure(refusal or shown(names)) from names
    _tell_filed(work, done, text)


def _ask_to_cut(id: str, going: Sequence[str], *, can_ask: bool) -> str | None:
    """Show what would be cut out of the text, and ask; None if the user agrees, else one line."""
    if not (can_ask and sys.stdin.isatty()):
        what = ", ".join(f"`{printable(one)}`" for one in going[:_PLACES_SHOWN]) + ", …" * (
            len(going) > _PLACES_SHOWN
        )
        said = _("{id}: {cut} would take the place of what is in brackets: {what}; accepted: --yes")
        return said.format(id=id, cut=CUT, what=what)
    said = _("{cut} takes the place of what is in brackets, as it may lead to a person:")
    click.echo(said.format(cut=CUT), err=True)
    for one in going:
        click.echo(f"  {printable(one)}", err=True)
    return None if confirmed(_("File it so?")) else _("nothing was filed")


def _note_text(source: Path) -> str:
    """The text of an analysis. Raises Failure if it is not valid, OSError."""
    name = "stdin" if str(source) == "-" else str(source)
    with click.open_file(str(source), "rb") as file:
        content: bytes = file.read(NOTE_LIMIT + 1)
    try:
        return note_text(content)
    except FieldError as error:
        raise program.Failure("{0}: {1}", name, error.problem) from error


def _tell_filed(work: program.Workplace, done: FiledAnalysis, text: str) -> None:
    said = _("{id}: filed, kept until {day}")
    if done.erased:
        said = _("{id}: filed, kept until {day}; the audio is erased")
    elif done.held is not None:
        said = _("{id}: filed, kept until {day}; the audio stays, it is {held}")
    held = one_line(shown(done.held or ""))
    day = f"{work.local(done.note.expires_at):%Y-%m-%d}"
    click.echo(said.format(id=done.note.recording_id, day=day, held=held))
    if done.note.text != text:
        click.echo(_("What led to the caller or the operator was cut out of it."))
    if done.copies:
        click.echo(_("Copies of it went out; they remain to be deleted where they are:"))
    for copy in done.copies:
        click.echo(f"  {printable(copy.path, _PATH)}")


def _day(work: program.Workplace, option: str, text: str) -> str:
    """Raises click.UsageError."""
    zone = work.config.service.timezone
    try:
        return parse_ahead(text, program.now(), zone).astimezone(zone).date().isoformat()
    except Unreadable:
        said = _("{option}: {text!r} is not a day; accepted: 2027-01-31, 90d, 12w (from now on)")
        raise click.UsageError(said.format(option=option, text=text)) from None


def _terms_options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each field of a hold, all of them needed."""
    for name, term in reversed(terms(Hold).items()):
        option = f"--{name.replace('_', '-')}"
        command = click.option(
            option, required=True, metavar=term.metavar, help=term.help, type=program.words
        )(command)
    return command


@click.command("hold")
@program.id_argument
@_terms_options
@click.option("--renew", is_flag=True, help="Take the place of the hold there is, once it was reviewed.")
@click.pass_obj
def hold_command(work: program.Workplace, /, id: str, *, renew: bool, **asked: Any) -> None:
    """Keep a recording that serves as testimony: no purge and no delete takes it until it is released.

    An overdue review raises an alarm (`check`, `holds`); it never releases. A hold that was reviewed and must
    go on is renewed, under a new date. What is refused is in the trace too.

    \b
    Exit codes:
      0  held
      1  refused: no such id, on hold already, a ground that is not listed, approved by its author,
         a review that is not in the future, nothing there to keep
      2  an option is missing or cannot be read

    \b
    Example:
      sipagent hold 20261124T222000123-482913 --ground criminal --reference "complaint 2026-41"
          --by "M. Durand" --approved-by "C. Petit" --review 2027-05-31
    """
    days = [name for name, term in terms(Hold).items() if term.kind == "day"]
    wanted = Hold(**asked | {name: _day(work, f"--{name}", asked[name]) for name in days})
    archive = work.archive(make=True)
    recording = program.find(archive, id)
    trace = program.attempt("hold", by=wanted.by)
    hold(archive, recording, wanted, trace, rules_of(work.config, trace.at), renew=renew)
    said = _("{id}: on hold ({ground}), to be reviewed {day}")
    ground = label("ground", str(wanted.ground))
    click.echo(said.format(id=recording.id, ground=ground, day=wanted.review))


@click.command("release")
@program.id_argument
@click.option("--by", required=True, type=program.words, metavar="WHO", help="Your name.")
@click.option("--reason", type=program.words, metavar="R", help="Why, e.g. how the case ended.")
@click.pass_obj
def release_command(work: program.Workplace, id: str, by: str, reason: str | None) -> None:
    """End a hold: the recording goes when it is due, at once if that was long ago.

    \b
    Example:
      sipagent release 20261124T222000123-482913 --by "M. Durand" --reason "complaint 2026-41 closed"
    """
    archive = work.archive(make=True)
    recording = program.find(archive, id)
    id = recording.id
    released = end_hold(archive, recording, program.attempt("release", by=by, detail=reason))
    click.echo(_("{id}: released; {what_now}").format(id=id, what_now=_what_now(work, released)))
    if work.config.retention.erase_after_note and archive.store.notes(id):
        click.echo(_("Its analysis is filed, so nothing needs the audio any more: see `delete`."))


@click.command("holds")
@program.form_option
@click.pass_obj
def holds_command(work: program.Workplace, form: program.Form | None) -> None:
    """List what is on hold, those first whose review comes first, and so the overdue ones.

    \b
    Examples:
      sipagent holds
      sipagent holds --json
    """
    rows = held(work.archive().store, work.local(program.now()).date())
    if not is_for_table(rows, _("Nothing is on hold."), form):
        return
    screen = console()
    show_table(rows, _columns(work), screen)
    late = sum(row.review_overdue for row in rows)
    count = ngettext("{n} hold", "{n} holds", len(rows)).format(n=len(rows))
    screen.print(f"\n{count}", style="dim")
    if late:
        said = ngettext(
            "{n} review overdue: look at the case, then `release`, or `hold … --renew`.",
            "{n} reviews overdue: look at the case, then `release`, or `hold … --renew`.",
            late,
        )
        screen.print(said.format(n=late), style="bold red")


def _what_now(work: program.Workplace, released: Recording) -> str:
    due_at = due(released, work.terms.period)
    when = full(work.local(due_at))
    past, ahead = _("it was due {when}, and the next purge takes it"), _("it is due {when}")
    return (past if due_at <= program.now() else ahead).format(when=when)


def _columns(work: program.Workplace) -> list[Column[HeldRecording]]:
    """The day first; the later a field is declared, the sooner its column goes where room is scarce."""
    parts = sorted(terms(Hold).items(), key=lambda one: one[1].kind != "day")
    return [
        Column("id", lambda row: row.id),
        *(_column(name, term.kind, len(parts) - n) for n, (name, term) in enumerate(parts)),
        Column("due", lambda row: f"{work.local(due(row, work.terms.period)):%Y-%m-%d}", room=WIDE),
    ]


def _column(name: str, kind: str, goes: int) -> Column[HeldRecording]:
    def shown(row: HeldRecording) -> str | Text | None:
        told = (row.hold or {}).get(name)
        if kind == "day":
            return _("{day} OVERDUE").format(day=told) if row.review_overdue else str(told)
        return coded("ground", told) if kind == "ground" else told

    plain = kind == "line"
    return Column(name.replace("_", " "), shown, shrinks=kind != "day", goes=goes if plain else 0)
