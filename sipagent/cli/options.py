"""Options that several commands take, and what they mean.

    --yes                           a question before doing something to several calls, or
                                    something other than was typed; a person at a terminal is asked
    --since, --status, …            the filters of `list` and `calls`, as a Selection
    --caller                        all calls of one person, for `export` and `delete`
    --identity, --passphrase-file   whose private key opens recordings; a passphrase is typed at a
                                    terminal or read from a file: other users could see arguments

An option that one command alone takes is in its own module.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from gettext import gettext, pgettext
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retention.records import Status
from retention.rows.selection import Selection
from retention.texts import Reason
from retention.vault import Identity, read_identity
from sipagent.cli.program import FILE, Decorated, Failure, Workplace, all_of, now
from sipagent.cli.terminal import Column, coded, console, full, show_table
from sipagent.languages.labels import N_, NO_PROOF, identity, label, length, operators
from sipagent.languages.spoken import shown
from sipagent.operations import parsing

if TYPE_CHECKING:  # slow to import
    from retention.archive import Archive
    from retention.erase import KeptCall


yes_option = click.option("--yes", is_flag=True, help="Do not ask: for programs.")


def confirmed(question: str) -> bool:
    """Ask at the terminal; whatever is no clear answer is asked again, none is a no.

    `y` and `yes` are a yes in every language. Raises click.Abort.
    """
    yes = ("y", "yes", *_("y yes").split())
    no = ("n", "no", "", *_("n no").split())
    while True:
        typed = (
            click.prompt(question, prompt_suffix=_(" [y/N]: "), default="", show_default=False, err=True)
            .strip()
            .lower()
        )
        if typed in (*yes, *no):
            return typed in yes
        click.echo(_("Error: invalid input"), err=True)


def agree(question: str, *, yes: bool) -> None:
    """Go on if the answer is yes. Raises Failure for a no, and without a terminal to ask at."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failure(_("nobody can be asked here; accepted: --yes, or a terminal"))
    if not confirmed(question):
        raise Failure(_("nothing was done"))


limit_option = click.option(
    "--limit", type=click.IntRange(1, 1_000_000_000), metavar="N", help="At most the N newest."
)
MOMENT = "a date, a date and time, yesterday, 12h, 7d, 2w"
filter_options = all_of(
    click.option("--since", metavar="TIME", help=f"Begun at or after: {MOMENT}."),
    click.option("--until", metavar="TIME", help="Begun before; a date alone includes that day."),
    click.option("--caller", metavar="NUMBER", help="As you would dial it, or how it begins or ends."),
    click.option(
        "--reference",
        metavar="R",
        help="The call's own: 482913, as the operator tells where no number has come.",
    ),
    click.option("--operator", metavar="EXTENSION", help="201, or the whole address."),
    click.option(
        "--status", type=click.Choice([status.value for status in Status]), help="Of the recording."
    ),
    click.option("--held", is_flag=True, help="Only what is on legal hold."),
    click.option("--flagged", is_flag=True, help="Only what an operator has flagged."),
    limit_option,
)
"""The options that `selection` understands."""


@contextmanager
def options_read() -> Iterator[None]:
    """A field that cannot be read is an option that is wrong. Raises click.UsageError."""
    try:
        yield
    except parsing.FieldError as error:
        said = _("{option}: {problem}").format(option=f"--{error.name}", problem=shown(error.problem))
        raise click.UsageError(said) from error


def selection(work: Workplace, **asked: Any) -> Selection:
    """Read the options. Raises ConfigError, and click.UsageError for one that cannot be read."""
    with options_read():
        return parsing.selection(work.config, now(), **asked)


def period_of(work: Workplace, since: str | None, until: str | None) -> Selection:
    """Read only the options of the period. Raises the errors of `selection`."""
    return selection(work, since=since, until=until)


caller_option = click.option(
    "--caller", metavar="NUMBER", help="In place of ID: all of this caller's, the whole number."
)


def one_of_the_two(id: str | None, caller: str | None) -> None:
    """Raises click.UsageError unless exactly one is given."""
    if (id is None) == (caller is None):
        both = _("both are given; accepted: ID, or --caller NUMBER")
        neither = _("neither is given; accepted: ID, or --caller NUMBER")
        raise click.UsageError(neither if id is None else both)


def calls_of(work: Workplace, archive: "Archive", typed: str) -> "list[KeptCall]":
    """What is kept of the calls from this number, oldest first. Raises click.UsageError, Failure for none."""
    from sipagent.operations.persons import PersonSearch, calls_of_person  # slow to import

    with options_read():
        found = calls_of_person(archive.store, PersonSearch(caller=typed), work.config.service, now())
    if not found:
        said = _("{number}: no call of this caller is kept; accepted: the whole number")
        raise Failure(said.format(number=typed))
    return found


def show_calls(work: Workplace, archive: "Archive", calls: "Sequence[KeptCall]") -> None:
    """Show on stderr the calls that a question is about."""

    def held(call: "KeptCall") -> str | None:
        return label("mark", "held") if call.recording and archive.hold_of(call.recording) else None

    columns: list[Column[KeptCall]] = [
        Column("id", lambda call: call.id),
        Column("began", lambda call: full(work.local(call.started_at)), goes=2),
        Column(
            "length", lambda call: length(call.recording.duration_s if call.recording else None), right=True
        ),
        Column("number", lambda call: identity(call.receipt) or None, shrinks=True),
        Column("operator", _operators, shrinks=True, goes=1),
        Column("recording", lambda call: coded("status", call.recording.status if call.recording else None)),
        Column("hold", held),
    ]
    screen = console(stderr=True)
    show_table(calls, columns, screen)
    screen.print(f"\n{gettext(NO_PROOF)}\n")


def _operators(call: "KeptCall") -> str | None:
    row = call.receipt or call.recording
    return operators(row) if row else None


PASSPHRASE_LIMIT = 1024  # bytes


passphrase_option = click.option(
    "--passphrase-file",
    type=FILE,
    metavar="F",
    help="Holds the key's passphrase, in one line; absent: you are asked.",
)
new_passphrase_options = all_of(
    passphrase_option,
    click.option("--no-passphrase", is_flag=True, help="None: whoever gets the private key can listen."),
)


def identity_option(*, required: bool = False) -> Callable[[Decorated], Decorated]:
    """`--identity`."""
    return click.option(
        "--identity",
        required=required,
        type=FILE,
        metavar="KEYFILE",
        help="The private key of a recipient; sealed recordings need one.",
    )


def unlock(keyfile: Path, passphrase_file: Path | None) -> Identity:
    """Read an identity, asking for its passphrase if it has one. Raises Failure, KeysError."""

    def passphrase() -> str:
        if passphrase_file is not None:
            return read_passphrase(passphrase_file)
        if not sys.stdin.isatty():
            said = N_("{file}: has a passphrase; accepted: --passphrase-file, or a terminal to ask at")
            raise Failure(Reason(said, file=keyfile))
        return ask_secret(_("Passphrase of {file}").format(file=keyfile))

    return read_identity(keyfile, passphrase)


def given_passphrase(passphrase_file: Path | None, no_passphrase: bool) -> str | None:
    """What the options of `new_passphrase_options` say: the one in the file; None for none, or for a
    question.

    Raises Failure, OSError; UsageError for both options.
    """
    if passphrase_file is None:
        return None
    if no_passphrase:
        said = _("--no-passphrase: given beside --passphrase-file")
        raise click.UsageError(said)
    return read_passphrase(passphrase_file)


def new_passphrase(private: Path, passphrase_file: Path | None, no_passphrase: bool) -> str | None:
    """The passphrase of a new key: none, from the file, or asked for twice. Raises Failure, UsageError."""
    given = given_passphrase(passphrase_file, no_passphrase)
    if given is not None or no_passphrase:
        return given
    if not sys.stdin.isatty():
        said = _("no terminal to ask for a passphrase at; accepted: --passphrase-file F, --no-passphrase")
        raise click.UsageError(said)
    return ask_for_new_passphrase(private)


def ask_for_new_passphrase(private: Path) -> str:
    """Ask for the passphrase of a new key, twice; again while it is none that the page would take as a
    password."""
    from retention.accounts.credentials import why_not  # slow to import

    while True:
        typed = ask_secret(_("New passphrase of {file}").format(file=private), again=_("Once more"))
        if (why := why_not(typed, private.stem, Reason("the passphrase"))) is None:
            return typed
        click.echo(f"  {shown(why)}", err=True)


def ask_secret(what: str, *, again: str | None = None) -> str:
    """A secret, typed at the terminal; a second time where `again` asks for it."""
    typed = click.prompt(
        what,
        hide_input=True,
        confirmation_prompt=again or False,
        prompt_suffix=pgettext("behind a question", ": "),
        err=True,
    )
    return str(typed)


def key_advice(private: Path) -> str:
    """The advice on what to do with an identity."""
    said = _(
        "Move {file} to the machine of whoever listens, and keep a copy in a safe: "
        "it must not stay here, and without it nobody can listen."
    )
    return said.format(file=private)


def read_passphrase(file: Path) -> str:
    """The one line of a file. Raises Failure if it has none, OSError."""
    with file.open("rb") as opened:
        content = opened.read(PASSPHRASE_LIMIT + 1)
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise Failure(Reason("{file}: is not UTF-8 text", file=file)) from error
    if not text or "\n" in text or len(content) > PASSPHRASE_LIMIT:
        said = N_("{file}: holds no passphrase; accepted: one line, {limit} bytes at most")
        raise Failure(Reason(said, file=file, limit=PASSPHRASE_LIMIT))
    return text
