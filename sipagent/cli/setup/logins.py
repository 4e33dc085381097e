"""What `user` and `token` share: roles, keys, the database of accounts, and the line that each leaves."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from gettext import gettext as _
from pathlib import Path

import click

from retention.accounts.account import AccountError
from retention.accounts.accounts import Accounts
from retention.storage.keys import KeysError, PublicKey, read_public
from sipagent.agent.recorder import stored
from sipagent.cli.base import Decorated, Failure, Workplace, attempt
from sipagent.cli.times import short
from sipagent.config.tables.web import ROLES
from sipagent.languages.labels import label


def role_option(command: Decorated) -> Decorated:
    """`--role`, once or more."""
    return click.option(
        "--role",
        "roles",
        type=click.Choice(ROLES),
        multiple=True,
        required=True,
        help="What it may do; several times for several.",
    )(command)


def key_option(command: Decorated) -> Decorated:
    """`--key`, not yet read."""
    return click.option(
        "--key",
        "key_file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.pub",
        help="The public key of the pair that opens recordings there.",
    )(command)


def read_key(path: Path | None) -> PublicKey | None:
    """Raises Failure for what is no public key."""
    try:
        return None if path is None else read_public(path)
    except KeysError as error:
        raise Failure(*error.args) from error


@contextmanager
def refusals() -> Iterator[None]:
    """What is asked in vain of accounts fails the command. Raises Failure."""
    try:
        yield
    except AccountError as error:
        raise Failure(*error.args) from error


@contextmanager
def accounts_of(work: Workplace) -> Iterator[Accounts]:
    """The accounts of the configuration. Raises Failure for what its user asks in vain."""
    with stored.accounts_of(work.config) as accounts, refusals():
        yield accounts


@contextmanager
def changing(work: Workplace, action: str, by: str | None, detail: str) -> Iterator[Accounts]:
    """The accounts, to be changed in one transaction with the line of it in the trace.

    `detail`: what is done, in English. What is refused leaves a line, too, and changes nothing.
    """
    store = work.archive(make=True).store
    trace = attempt(action, by=by, detail=detail)
    try:
        with accounts_of(work) as accounts, accounts.write():
            yield accounts
            store.add_access(trace)
    except Failure as refused:
        store.add_access(replace(trace, outcome="refused", detail=f"{detail}: {refused}"))
        raise


def in_words(roles: Iterable[str]) -> str:
    """The roles as people read them."""
    return ", ".join(label("role", role) for role in roles)


def moment(work: Workplace, at: datetime | None) -> str | None:
    """A moment of a row, in the service's time zone."""
    return None if at is None else short(work.local(at))


def say_what_is_lost(roles: Iterable[str]) -> None:
    """On stderr, where one role takes away what another gives."""
    others = [role for role in roles if role != "administrator"]
    if others and "administrator" in roles:
        said = _("an administrator never listens, whatever else: beside it, {roles} is without sound")
        click.echo(f"sipagent: {said.format(roles=in_words(others))}", err=True)
