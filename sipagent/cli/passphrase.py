"""Passphrases of identities: typed at a terminal or read from a file; other users could see arguments."""

import sys
from collections.abc import Callable
from gettext import gettext as _
from gettext import pgettext
from pathlib import Path

import click

from retention.storage.keys import Identity, KeysError, read_identity
from sipagent.cli.base import Decorated, Failure
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason

PASSPHRASE_LIMIT = 1024  # bytes


def passphrase_option(command: Decorated) -> Decorated:
    """`--passphrase-file`."""
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="F",
        help="Holds the key's passphrase, in one line; absent: you are asked.",
    )(command)


def new_passphrase_options(command: Decorated) -> Decorated:
    """`--passphrase-file`, `--no-passphrase`."""
    none = click.option(
        "--no-passphrase", is_flag=True, help="None: whoever gets the private key can listen."
    )
    return passphrase_option(none(command))


def identity_option(*, required: bool = False) -> Callable[[Decorated], Decorated]:
    """`--identity`."""
    return click.option(
        "--identity",
        required=required,
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="KEYFILE",
        help="The private key of a recipient; sealed recordings need one.",
    )


def unlock(keyfile: Path, passphrase_file: Path | None) -> Identity:
    """Read an identity, asking for its passphrase if it has one. Raises Failure."""

    def passphrase() -> str:
        if passphrase_file is not None:
            return read_passphrase(passphrase_file)
        if not sys.stdin.isatty():
            said = N_("{file}: has a passphrase; accepted: --passphrase-file, or a terminal to ask at")
            raise Failure(Reason(said, file=keyfile))
        return ask(_("Passphrase of {file}").format(file=keyfile))

    try:
        return read_identity(keyfile, passphrase)
    except KeysError as error:
        raise Failure(*error.args) from error


def given_passphrase(passphrase_file: Path | None, no_passphrase: bool) -> str | None:
    """What the options of `new_passphrase_options` say: the one in the file; None for none, or for a
    question.

    Raises Failure, OSError; UsageError for both options.
    """
    if passphrase_file is None:
        return None
    if no_passphrase:
        said = _("--no-passphrase: given beside --passphrase-file")
        raise click.UsageError(said, click.get_current_context())
    return read_passphrase(passphrase_file)


def new_passphrase(private: Path, passphrase_file: Path | None, no_passphrase: bool) -> str | None:
    """The passphrase of a new key: none, from the file, or asked for twice. Raises Failure, UsageError."""
    given = given_passphrase(passphrase_file, no_passphrase)
    if given is not None or no_passphrase:
        return given
    if not sys.stdin.isatty():
        said = _("no terminal to ask for a passphrase at; accepted: --passphrase-file F, --no-passphrase")
        raise click.UsageError(said, click.get_current_context())
    return ask_for_new(private)


def ask_for_new(private: Path) -> str:
    """Ask for the passphrase of a new key, twice."""
    return ask(_("New passphrase of {file}").format(file=private), again=_("Once more"))


def ask(what: str, *, again: str | None = None) -> str:
    """A secret, typed at the terminal; a second time where `again` asks for it."""
    typed = click.prompt(
        what,
        hide_input=True,
        confirmation_prompt=again or False,
        prompt_suffix=pgettext("behind a question", ": "),
        err=True,
    )
    return str(typed)


def leaving(private: Path) -> str:
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
