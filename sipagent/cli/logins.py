"""Who may use the page: people, `user`, who log in, and programs, `token`, which show one in place of a
login.

    user add, user list, user remove, user reset
    token add, token list, token revoke

Both have roles and keys, in the database of accounts, and each change leaves a line in the trace.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click

from retention.accounts.accounts import Accounts
from retention.accounts.credentials import Account, AccountError, Token
from retention.vault import KeysError, PublicKey, read_public
from sipagent.agent import stored
from sipagent.cli.program import (
    Decorated,
    Failure,
    Program,
    Workplace,
    attempt,
    json_option,
    now,
    print_json,
    words,
    words_by_option,
)
from sipagent.cli.terminal import Column, console, full, short, show_table
from sipagent.config.tables import ROLES
from sipagent.languages.labels import label
from sipagent.lookup.parsing import parse_moment


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
def accounts_refusals() -> Iterator[None]:
    """What is asked in vain of accounts fails the command. Raises Failure."""
    try:
        yield
    except AccountError as error:
        raise Failure(*error.args) from error


@contextmanager
def accounts_of(work: Workplace) -> Iterator[Accounts]:
    """The accounts of the configuration. Raises Failure for what its user asks in vain."""
    with stored.accounts_of(work.config) as accounts, accounts_refusals():
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


ENROL = "/enrol"  # where a one-time code is used


@click.group("user", cls=Program)
def user_group() -> None:
    """Make, list, reset and remove the accounts of those who log in to the page.

    A new account gets a one-time code, by which its owner sets a password and an authenticator; nobody else
    ever knows them. What is changed here counts at once, also for who is logged in.

    \b
    Examples:
      sipagent user add "Claire Petit" --role listener --key claire.pub
      sipagent user list
      sipagent user reset "Claire Petit"
    """


_NAME = click.argument("name", type=words)


@user_group.command("add", short_help="Make an account.")
@_NAME
@role_option
@key_option
@words_by_option
@click.pass_obj
def add_user_command(
    work: Workplace, /, *, name: str, roles: tuple[str, ...], key_file: Path | None, by: str | None
) -> None:
    """Make an account, and print its one-time code: give it to NAME, who needs nothing else to begin.

    \b
    Roles:
      listener       lists recordings, listens for a purpose, files analyses
      supervisor     also statistics by operator, and asks for holds
      officer        persons' requests, approvals, deletions, register, all uses
      administrator  accounts and check; never listens

    \b
    Example:
      sipagent user add "Claire Petit" --role supervisor --key claire.pub --by "M. Durand"
    """
    key = read_key(key_file)
    with changing(work, "account", by, f"add {name}: {', '.join(dict.fromkeys(roles))}") as accounts:
        account, code = accounts.add(name, roles, key)
    say_what_is_lost(roles)
    _say_code(work, account, code)


@user_group.command("list", short_help="Who may log in, and how.")
@json_option
@click.pass_obj
def list_users_command(work: Workplace, as_json: bool) -> None:
    """List the accounts: their roles, their keys, and when they were last used.

    \b
    Example:
      sipagent user list --json
    """
    with accounts_of(work) as accounts:
        rows = accounts.all()
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if not rows:
        screen.print(_("No accounts."))
        return
    columns: list[Column[Account]] = [
        Column("name", lambda row: row.name, shrinks=True),
        Column("roles", lambda row: in_words(row.roles), wraps=True),
        Column("login", lambda row: _user_state(work, row), wraps=True),
        Column("key", lambda row: str(row.key) if row.key else None, shrinks=True),
        Column("last login", lambda row: moment(work, row.last_login_at)),
        Column("refused since", lambda row: str(row.failures), right=True),
    ]
    show_table(rows, columns, screen)


@user_group.command("remove", short_help="Remove an account.")
@_NAME
@words_by_option
@click.pass_obj
def remove_user_command(work: Workplace, name: str, by: str | None) -> None:
    """Remove an account: whoever is logged in with it is out at once. What it did stays in the trace.

    \b
    Example:
      sipagent user remove "Claire Petit" --by "M. Durand"
    """
    with changing(work, "account", by, f"remove {name}") as accounts:
        account = accounts.meant(name)
        accounts.remove(account.id)
    work.tell_followed()
    click.echo(_("{name}: removed").format(name=account.name))


@user_group.command("reset", short_help="Have an account begin anew.")
@_NAME
@words_by_option
@click.pass_obj
def reset_user_command(work: Workplace, name: str, by: str | None) -> None:
    """Take password, authenticator and passkeys away, log everybody out of the account, and print a new
    one-time code.

    For who has lost them, or may have lost them to somebody. Roles and key stay.

    \b
    Example:
      sipagent user reset "Claire Petit" --by "M. Durand"
    """
    with changing(work, "account", by, f"reset {name}") as accounts:
        account, code = accounts.reset(accounts.meant(name).id)
    _say_code(work, account, code)


def _say_code(work: Workplace, account: Account, code: str) -> None:
    """Where who lets people in is an issuer, a code is for nothing."""
    web = work.config.web
    assert account.code_until is not None
    if web.oidc_issuer is not None:
        said = _("{name} logs in by {issuer}, which gives the roles, too")
        click.echo(said.format(name=account.name, issuer=web.oidc_issuer))
        return
    until = full(work.local(account.code_until))
    click.echo(_("One-time code: {code}").format(code=code))
    said = _("{name} uses it once, until {until}, at {address}")
    click.echo(said.format(name=account.name, until=until, address=f"{web.origin}{ENROL}"))
    if web.listen is None:
        said = _('web.listen is absent, so there is no page yet; accepted: "127.0.0.1:8443"')
        click.echo(f"sipagent: {said}", err=True)


def _user_state(work: Workplace, row: Account) -> str:
    if row.code_until is None:
        return ", ".join(_ways(row)) or _("none")
    if row.code_until <= now():
        return _("its code has run out")
    return _("code until {until}").format(until=short(work.local(row.code_until)))


def _ways(row: Account) -> Iterator[str]:
    """How somebody logs in."""
    if row.enrolled:
        yield _("password")
    if row.passkeys:
        yield ngettext("{n} passkey", "{n} passkeys", row.passkeys).format(n=row.passkeys)


@click.group("token", cls=Program)
def token_group() -> None:
    """Make, list and revoke the tokens of programs that ask the page (`/api/v1`).

    A token is shown once, when it is made; here only its hash is kept. A program sends it with each request,
    as `Authorization: Bearer TOKEN`.

    \b
    Examples:
      sipagent token add dashboard --role supervisor --until 2027-06-30
      sipagent token list
      sipagent token revoke dashboard
    """


@token_group.command("add", short_help="Make a token, and show it once.")
@_NAME
@role_option
@click.option("--until", "until_text", metavar="DATE", help="The last day on which it is good; else no end.")
@key_option
@words_by_option
@click.pass_obj
def add_token_command(
    work: Workplace,
    /,
    *,
    name: str,
    roles: tuple[str, ...],
    until_text: str | None,
    key_file: Path | None,
    by: str | None,
) -> None:
    """Make a token, and print it, alone on stdout. It cannot be shown again.

    \b
    Example:
      sipagent token add dashboard --role supervisor --until 2027-06-30 > dashboard.token
    """
    key, until = read_key(key_file), _until(work, until_text)
    ends = f", until {until_text}" if until_text else ""
    detail = f"add {name}: {', '.join(dict.fromkeys(roles))}{ends}"
    with changing(work, "token", by, detail) as accounts:
        token, shown = accounts.add_token(name, roles, until, key)
    say_what_is_lost(roles)
    said = _("{name}: shown once, on stdout; keep it where only its program reads it")
    click.echo(f"sipagent: {said.format(name=token.name)}", err=True)
    click.echo(shown)


@token_group.command("list", short_help="Which tokens there are.")
@json_option
@click.pass_obj
def list_tokens_command(work: Workplace, as_json: bool) -> None:
    """List the tokens, also those that were revoked or have ended.

    \b
    Example:
      sipagent token list --json
    """
    with accounts_of(work) as accounts:
        rows = accounts.tokens()
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    screen = console()
    if not rows:
        screen.print(_("No tokens."))
        return
    columns: list[Column[Token]] = [
        Column("name", lambda row: row.name, shrinks=True),
        Column("roles", lambda row: in_words(row.roles), wraps=True),
        Column("state", lambda row: _token_state(work, row), wraps=True),
        Column("key", lambda row: str(row.key) if row.key else None, shrinks=True),
        Column("last used", lambda row: moment(work, row.last_used_at)),
    ]
    show_table(rows, columns, screen)


@token_group.command("revoke", short_help="End a token.")
@_NAME
@words_by_option
@click.pass_obj
def revoke_token_command(work: Workplace, name: str, by: str | None) -> None:
    """End a token: it opens nothing from now on, and stays in the list.

    \b
    Example:
      sipagent token revoke dashboard --by "M. Durand"
    """
    with changing(work, "token", by, f"revoke {name}") as accounts:
        token = accounts.revoke(name)
    work.tell_followed()
    click.echo(_("{name}: revoked").format(name=token.name))


def _until(work: Workplace, text: str | None) -> datetime | None:
    """The end of the day that is meant. Raises click.UsageError."""
    if text is None:
        return None
    try:
        return parse_moment(text, now(), work.config.service.timezone, end=True)
    except ValueError as error:
        said = _("{option}: {problem}").format(option="--until", problem=error)
        raise click.UsageError(said, click.get_current_context()) from error


def _token_state(work: Workplace, row: Token) -> str:
    if row.revoked_at is not None:
        return _("revoked {at}").format(at=short(work.local(row.revoked_at)))
    if row.until is None:
        return _("good")
    said = _("good until {until}") if row.is_good(now()) else _("ended {until}")
    return said.format(until=full(work.local(row.until)))
