"""Who may use the page: people, `user`, who log in, and programs, `token`, which show one in place of a
login.

    user add, user list, user change, user remove, user reset
    token add, token list, token revoke

Both have roles and keys, in the database of accounts.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from gettext import gettext as _
from gettext import ngettext
from pathlib import Path
from typing import TypeVar

import click

from retention.accounts.accounts import Accounts
from retention.accounts.credentials import Account, Token
from retention.vault import PublicKey, read_public
from sipagent.agent import stored
from sipagent.cli import program
from sipagent.cli.options import options_read
from sipagent.cli.terminal import Column, console, full, is_for_table, short, show_table
from sipagent.config.tables import ROLES, TOKEN_ROLES
from sipagent.languages.labels import label
from sipagent.operations import accounts as op

Row = TypeVar("Row", Account, Token)


def role_option(
    command: program.Decorated, *, roles: Sequence[str] = ROLES, required: bool = True
) -> program.Decorated:
    """`--role`, one of these, once or more."""
    return click.option(
        "--role",
        "roles",
        type=click.Choice(roles),
        multiple=True,
        required=required,
        help="What it may do; several times for several.",
    )(command)


key_option = click.option(
    "--key",
    "key_file",
    type=program.FILE,
    metavar="FILE.pub",
    help="The public key of the pair that opens recordings there.",
)


def read_key(path: Path | None) -> PublicKey | None:
    """Raises KeysError for what is no public key."""
    return None if path is None else read_public(path)


@contextmanager
def changing(work: program.Workplace, by: str | None) -> Iterator[op.Desk]:
    """Open the accounts for changes by somebody at this shell."""
    store = work.archive(make=True).store
    with stored.accounts_of(work.config) as accounts:
        trace = program.attempt("account", by=by)
        yield op.Desk(accounts=accounts, store=store, trace=trace, keep_refused=store.add_access)


def in_words(roles: Iterable[str]) -> str:
    """The roles as people read them."""
    return ", ".join(label("role", role) for role in roles)


def show_all(
    work: program.Workplace,
    form: program.Form | None,
    every: Callable[[Accounts], Sequence[Row]],
    none: str,
    state: Column[Row],
    *last: Column[Row],
) -> None:
    """Print accounts or tokens; `none` is said where there are none."""
    with stored.accounts_of(work.config) as accounts:
        rows = every(accounts)
    if not is_for_table(rows, none, form):
        return
    columns: list[Column[Row]] = [
        Column("name", lambda row: row.name, shrinks=True),
        Column("roles", lambda row: in_words(row.roles), wraps=True),
        state,
        Column("key", lambda row: str(row.key) if row.key else None, shrinks=True),
    ]
    columns += last
    show_table(rows, columns, console())


def moment(work: program.Workplace, at: datetime | None) -> str | None:
    """A moment of a row, in the service's time zone."""
    return None if at is None else short(work.local(at))


def say_what_is_lost(roles: Iterable[str]) -> None:
    """Warn on stderr if one role takes away the sound that another gives."""
    others = [role for role in roles if role != "administrator"]
    if others and "administrator" in roles:
        said = _("an administrator never listens, whatever else: beside it, {roles} is without sound")
        click.echo(f"sipagent: {said.format(roles=in_words(others))}", err=True)


ENROL = "/enrol"  # where a one-time code is used


@click.group("user", cls=program.Program)
def user_group() -> None:
    """Make, list, change, reset and remove the accounts of those who log in to the page.

    A new account gets a one-time code, by which its owner sets a password and an authenticator; nobody else
    ever knows them. What is changed here counts at once, also for who is logged in.

    \b
    Examples:
      sipagent user add "Claire Petit" --role listener --key claire.pub
      sipagent user list
      sipagent user change "Claire Petit" --role supervisor
      sipagent user reset "Claire Petit"
    """


_NAME = click.argument("name", type=program.words)


@user_group.command("add", short_help="Make an account.")
@_NAME
@role_option
@key_option
@program.words_by_option
@click.pass_obj
def add_user_command(
    work: program.Workplace, /, *, name: str, roles: tuple[str, ...], key_file: Path | None, by: str | None
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
    asked = op.NewAccount(name=name, roles=roles, key=read_key(key_file))
    with changing(work, by) as desk:
        made = op.add_account(desk, asked)
    say_what_is_lost(roles)
    _say_code(work, made)


@user_group.command("list", short_help="Who may log in, and how.")
@program.form_option
@click.pass_obj
def list_users_command(work: program.Workplace, form: program.Form | None) -> None:
    """List the accounts: their roles, their keys, and when they were last used.

    \b
    Example:
      sipagent user list --json
    """
    show_all(
        work,
        form,
        Accounts.all,
        _("No accounts."),
        Column("login", lambda row: _user_state(work, row), wraps=True),
        Column("last login", lambda row: moment(work, row.last_login_at)),
        Column("refused since", lambda row: str(row.failures), right=True),
    )


@user_group.command("change", short_help="Give an account another role, key or name.")
@_NAME
@partial(role_option, required=False)
@key_option
@click.option("--no-key", is_flag=True, help="Take the key away.")
@click.option("--name", "new_name", type=program.words, metavar="NEW", help="Another name, from now on.")
@program.words_by_option
@click.pass_obj
def change_user_command(
    work: program.Workplace,
    /,
    *,
    name: str,
    roles: tuple[str, ...],
    key_file: Path | None,
    no_key: bool,
    new_name: str | None,
    by: str | None,
) -> None:
    """Change an account; what is not named stays. It counts at once, also for who is logged in.

    The roles that are named replace those it has. Password and authenticator stay: see `user reset`. The
    last administrator stays one.

    \b
    Examples:
      sipagent user change "Claire Petit" --role listener --role supervisor
      sipagent user change "Claire Petit" --key claire-2027.pub --by "M. Durand"
      sipagent user change "Claire Petit" --name "Claire Martin"
    """
    if not (roles or key_file or no_key or new_name):
        raise click.UsageError(_("nothing to change; accepted: --role, --key, --no-key, --name"))
    if key_file and no_key:
        raise click.UsageError(_("--key and --no-key exclude each other"))
    wanted = op.AccountChange(name=new_name, roles=roles or None, key="" if no_key else read_key(key_file))
    with changing(work, by) as desk:
        account = op.change_account(desk, name, wanted)
    say_what_is_lost(account.roles)
    said = _("{name}: {roles}; key: {key}")
    key = account.key.id if account.key else _("none")
    click.echo(said.format(name=account.name, roles=in_words(account.roles), key=key))
    if roles and (issuer := work.config.web.oidc_issuer) is not None:
        said = _("{name} logs in by {issuer}, which gives the roles, too")
        click.echo(f"sipagent: {said.format(name=account.name, issuer=issuer)}", err=True)


@user_group.command("remove", short_help="Remove an account.")
@_NAME
@program.words_by_option
@click.pass_obj
def remove_user_command(work: program.Workplace, name: str, by: str | None) -> None:
    """Remove an account: whoever is logged in with it is out at once. What it did stays in the trace.

    \b
    Example:
      sipagent user remove "Claire Petit" --by "M. Durand"
    """
    with changing(work, by) as desk:
        account = op.remove_account(desk, name)
    work.tell_followed()
    click.echo(_("{name}: removed").format(name=account.name))


@user_group.command("reset", short_help="Have an account begin anew.")
@_NAME
@program.words_by_option
@click.pass_obj
def reset_user_command(work: program.Workplace, name: str, by: str | None) -> None:
    """Take password, authenticator and passkeys away, log everybody out of the account, and print a new
    one-time code.

    For who has lost them, or may have lost them to somebody. Roles and key stay.

    \b
    Example:
      sipagent user reset "Claire Petit" --by "M. Durand"
    """
    with changing(work, by) as desk:
        made = op.reset_account(desk, name)
    _say_code(work, made)


def _say_code(work: program.Workplace, made: op.Coded) -> None:
    """Where an issuer logs people in, a code is of no use."""
    account, code = made.account, made.code
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


def _user_state(work: program.Workplace, row: Account) -> str:
    if row.code_until is None:
        return ", ".join(_ways(row)) or _("none")
    if row.code_until <= program.now():
        return _("its code has run out")
    return _("code until {until}").format(until=short(work.local(row.code_until)))


def _ways(row: Account) -> Iterator[str]:
    """How somebody logs in."""
    if row.enrolled:
        yield _("password")
    if row.passkeys:
        yield ngettext("{n} passkey", "{n} passkeys", row.passkeys).format(n=row.passkeys)


@click.group("token", cls=program.Program)
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
@partial(role_option, roles=TOKEN_ROLES)
@click.option("--until", "until_text", metavar="DATE", help="The last day on which it is good; else no end.")
@key_option
@program.words_by_option
@click.pass_obj
def add_token_command(
    work: program.Workplace,
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
    zone = work.config.service.timezone
    asked = op.NewToken(name=name, roles=roles, key=read_key(key_file), last_day=until_text)
    with options_read():
        asked.end(program.now(), zone)  # before a database is made
    with changing(work, by) as desk:
        made = op.add_token(desk, asked, zone)
    say_what_is_lost(roles)
    said = _("{name}: shown once, on stdout; keep it where only its program reads it")
    click.echo(f"sipagent: {said.format(name=made.token.name)}", err=True)
    if "wall" in roles:
        said = _("the screen opens {address}, with the token behind it")
        click.echo(f"sipagent: {said.format(address=f'{work.config.web.origin}/wall#')}", err=True)
    click.echo(made.shown)


@token_group.command("list", short_help="Which tokens there are.")
@program.form_option
@click.pass_obj
def list_tokens_command(work: program.Workplace, form: program.Form | None) -> None:
    """List the tokens, also those that were revoked or have ended.

    \b
    Example:
      sipagent token list --json
    """
    show_all(
        work,
        form,
        Accounts.tokens,
        _("No tokens."),
        Column("state", lambda row: _token_state(work, row), wraps=True),
        Column("last used", lambda row: moment(work, row.last_used_at)),
    )


@token_group.command("revoke", short_help="End a token.")
@_NAME
@program.words_by_option
@click.pass_obj
def revoke_token_command(work: program.Workplace, name: str, by: str | None) -> None:
    """End a token: it opens nothing from now on, and stays in the list.

    \b
    Example:
      sipagent token revoke dashboard --by "M. Durand"
    """
    with changing(work, by) as desk:
        token = op.revoke_token(desk, name)
    work.tell_followed()
    click.echo(_("{name}: revoked").format(name=token.name))


def _token_state(work: program.Workplace, row: Token) -> str:
    if row.revoked_at is not None:
        return _("revoked {at}").format(at=short(work.local(row.revoked_at)))
    if row.until is None:
        return _("good")
    said = _("good until {until}") if row.is_good(program.now()) else _("ended {until}")
    return said.format(until=full(work.local(row.until)))
