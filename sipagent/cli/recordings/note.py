"""The analysis sheet of a call: `note`. Every attempt leaves a line in the trace."""

import sys
from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path

import click

from retention.rules.attempts import NamesPerson, attempt_note, what_would_go
from retention.rules.note import Filed, NotFiled
from retention.rules.use import CUT
from sipagent.cli.ask import confirmed, yes_option
from sipagent.cli.base import Failure, Workplace, attempt, find, id_argument, words
from sipagent.config.errors import one_line
from sipagent.config.identity import printable
from sipagent.languages.messages import colon
from sipagent.languages.reason import shown
from sipagent.languages.system import fault
from sipagent.lookup.note_text import LIMIT, note_text

_PATH = 400  # characters
_SHOWN = 5  # how many places fit into one line


@click.command("note", short_help="File the analysis of a call that was listened to.")
@id_argument
@click.option("--by", required=True, type=words, metavar="WHO", help="Your name.")
@click.option(
    "--text-file",
    "source",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="F",
    help=f"The analysis, UTF-8, up to {LIMIT // 1024} KiB; - reads it from stdin.",
)
@yes_option
@click.pass_obj
def note_command(work: Workplace, id: str, by: str, source: Path, yes: bool) -> None:
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
    recording = find(archive, id)
    id = recording.id
    text = _text(source)
    asked = attempt("note", by=by)
    kept = work.config.retention
    going = [] if yes else what_would_go(archive, recording, text)
    refusal = _ask(id, going, can_ask=str(source) != "-") if going else None
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
        raise Failure(refusal or shown(names)) from names
    except NotFiled as why:
        raise Failure(f"{id}{colon()}{shown(why)}") from why
    except OSError as error:
        said = _("{where}: {problem}; the note is filed, the next purge erases")
        raise Failure(said.format(where=error.filename or id, problem=fault(error))) from error
    _tell(work, done, text)


def _ask(id: str, going: Sequence[str], *, can_ask: bool) -> str | None:
    """Show what would be cut out of the text, and ask; None if the user agrees, else one line."""
    if not (can_ask and sys.stdin.isatty()):
        what = ", ".join(f"`{printable(one)}`" for one in going[:_SHOWN]) + ", …" * (len(going) > _SHOWN)
        said = _("{id}: {cut} would take the place of what is in brackets: {what}; accepted: --yes")
        return said.format(id=id, cut=CUT, what=what)
    said = _("{cut} takes the place of what is in brackets, as it may lead to a person:")
    click.echo(said.format(cut=CUT), err=True)
    for one in going:
        click.echo(f"  {printable(one)}", err=True)
    return None if confirmed(_("File it so?")) else _("nothing was filed")


def _text(source: Path) -> str:
    """The text of an analysis. Raises Failure if it is not valid, OSError."""
    name = "stdin" if str(source) == "-" else str(source)
    with click.open_file(str(source), "rb") as file:
        content: bytes = file.read(LIMIT + 1)
    try:
        return note_text(content)
    except ValueError as error:
        raise Failure(f"{name}{colon()}{error}") from error


def _tell(work: Workplace, done: Filed, text: str) -> None:
    said = _("{id}: filed, kept until {day}")
    if done.erased:
        said = _("{id}: filed, kept until {day}; the audio is erased")
    elif done.held is not None:
        said = _("{id}: filed, kept until {day}; the audio stays, it is {held}")
    held = one_line(shown(done.held or ""))
    day = f"{work.local(done.note.expires_at):%Y-%m-%d}"
    click.echo(said.format(id=done.recording.id, day=day, held=held))
    if done.note.text != text:
        click.echo(_("What led to the caller or the operator was cut out of it."))
    if done.copies:
        click.echo(_("Copies of it were exported, and are still there:"))
    for copy in done.copies:
        click.echo(f"  {printable(str(copy.path), _PATH)}")
