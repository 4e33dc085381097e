"""The analysis sheet of a call: `note`. Every attempt leaves a line in the trace."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from retention.recording import Access
from retention.rules.note import Filed, NotFiled, file_note, why_not
from retention.rules.use import CUT, discreet, what_goes
from sipagent.cli.ask import yes_option
from sipagent.cli.base import Failure, Workplace, find, id_argument, now, system_user, words
from sipagent.config.identity import printable

LIMIT = 64 * 1024  # bytes of an analysis
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
    asked = Access(at=now(), action="note", recording_id=id, by=by, system_user=system_user())

    def trace(outcome: str, detail: str) -> None:
        archive.store.add_access(discreet(replace(asked, outcome=outcome, detail=detail), recording))

    kept = work.config.retention
    going = [] if why_not(recording, archive.store.each_access(id)) else what_goes(text, recording)
    try:
        if going and not yes:
            _ask(id, going, can_ask=str(source) != "-")
        done = file_note(archive, id, text, asked, kept.analysis_period, erase=kept.erase_after_note)
    except _NotAgreed as refusal:
        trace("refused", "its text names the caller or the operator")
        raise Failure(str(refusal)) from refusal
    except NotFiled as refusal:
        trace("refused", str(refusal))
        raise Failure(f"{id}: {refusal}") from refusal
    except OSError as error:
        trace("failed", str(error))
        where = error.filename or id
        raise Failure(
            f"{where}: {error.strerror or error}; the note is filed, the next purge erases"
        ) from error
    _tell(work, done, text)


class _NotAgreed(Exception):
    """What would be cut out was shown, and the user did not agree; `str()` is one line."""


def _ask(id: str, going: Sequence[str], *, can_ask: bool) -> None:
    """Show what would be cut out of the text, and ask. Raises _NotAgreed."""
    if not (can_ask and sys.stdin.isatty()):
        what = ", ".join(f"`{printable(one)}`" for one in going[:_SHOWN]) + ", …" * (len(going) > _SHOWN)
        raise _NotAgreed(f"{id}: {CUT} would take the place of what is in brackets: {what}; accepted: --yes")
    click.echo(f"{CUT} takes the place of what is in brackets, as it may lead to a person:", err=True)
    for one in going:
        click.echo(f"  {printable(one)}", err=True)
    if not click.confirm("File it so?", err=True):
        raise _NotAgreed("nothing was filed")


def _text(source: Path) -> str:
    """The text of an analysis. Raises Failure if it is not valid, OSError."""
    name = "stdin" if str(source) == "-" else str(source)
    with click.open_file(str(source), "rb") as file:
        content: bytes = file.read(LIMIT + 1)
    if len(content) > LIMIT:
        raise Failure(f"{name}: is longer than {LIMIT // 1024} KiB")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise Failure(f"{name}: is not UTF-8 text") from error
    if not text:
        raise Failure(f"{name}: is empty")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise Failure(f"{name}: holds control characters, it is not plain text")
    return text


def _tell(work: Workplace, done: Filed, text: str) -> None:
    id = done.recording.id
    audio = ""
    if done.erased:
        audio = "; the audio is erased"
    elif done.held is not None:
        audio = f"; the audio stays, it is {printable(done.held, _PATH)}"
    click.echo(f"{id}: filed, kept until {work.local(done.note.expires_at):%Y-%m-%d}{audio}")
    if done.note.text != text:
        click.echo("What led to the caller or the operator was cut out of it.")
    if done.copies:
        click.echo("Copies of it were exported, and are still there:")
    for copy in done.copies:
        click.echo(f"  {printable(str(copy.path), _PATH)}")
