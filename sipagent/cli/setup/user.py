"""Who may log in to the page: `user add`, `user list`, `user remove`, `user reset`."""

from collections.abc import Iterator
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path

import click

from retention.accounts.account import Account
from sipagent.cli.base import (
    Program,
    Workplace,
    json_option,
    now,
    print_json,
    words,
    words_by_option,
)
from sipagent.cli.setup.logins import (
    accounts_of,
    changing,
    in_words,
    key_option,
    moment,
    read_key,
    role_option,
    say_what_is_lost,
)
from sipagent.cli.tables import Column, console, show_table
from sipagent.cli.times import full, short

ENROL = "/enrol"  # where a one-time code is used


@click.group("user", cls=Program, short_help="Who may log in to the page.")
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
def add_command(
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
def list_command(work: Workplace, as_json: bool) -> None:
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
        Column("login", lambda row: _state(work, row), wraps=True),
        Column("key", lambda row: str(row.key) if row.key else None, shrinks=True),
        Column("last login", lambda row: moment(work, row.last_login_at)),
        Column("refused since", lambda row: str(row.failures), right=True),
    ]
    show_table(rows, columns, screen)


@user_group.command("remove", short_help="Remove an account.")
@_NAME
@words_by_option
@click.pass_obj
def remove_command(work: Workplace, name: str, by: str | None) -> None:
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
def reset_command(work: Workplace, name: str, by: str | None) -> None:
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


def _state(work: Workplace, row: Account) -> str:
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
