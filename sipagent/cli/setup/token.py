"""What programs show in place of a login: `token add`, `token list`, `token revoke`."""

from datetime import datetime
from gettext import gettext as _
from pathlib import Path

import click

from retention.accounts.account import Token
from sipagent.cli.base import Program, Workplace, json_option, now, print_json, words, words_by_option
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
from sipagent.lookup.moments import parse_moment


@click.group("token", cls=Program, short_help="What programs may ask the page.")
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


_NAME = click.argument("name", type=words)


@token_group.command("add", short_help="Make a token, and show it once.")
@_NAME
@role_option
@click.option("--until", "until_text", metavar="DATE", help="The last day on which it is good; else no end.")
@key_option
@words_by_option
@click.pass_obj
def add_command(
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
def list_command(work: Workplace, as_json: bool) -> None:
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
        Column("state", lambda row: _state(work, row), wraps=True),
        Column("key", lambda row: str(row.key) if row.key else None, shrinks=True),
        Column("last used", lambda row: moment(work, row.last_used_at)),
    ]
    show_table(rows, columns, screen)


@token_group.command("revoke", short_help="End a token.")
@_NAME
@words_by_option
@click.pass_obj
def revoke_command(work: Workplace, name: str, by: str | None) -> None:
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


def _state(work: Workplace, row: Token) -> str:
    if row.revoked_at is not None:
        return _("revoked {at}").format(at=short(work.local(row.revoked_at)))
    if row.until is None:
        return _("good")
    said = _("good until {until}") if row.is_good(now()) else _("ended {until}")
    return said.format(until=full(work.local(row.until)))
