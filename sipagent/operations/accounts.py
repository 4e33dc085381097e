"""Make, change and end the accounts of people and the tokens of programs.

Each act is one transaction with its line in the trace. One that is refused changes nothing, and leaves its
line, too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from retention.accounts.accounts import Accounts
from retention.accounts.credentials import Account, AccountError, Token
from retention.holds import same_person
from retention.records import Access
from retention.rows.rows import Rows
from retention.vault import KeysError, PublicKey, public_key
from sipagent.languages.labels import N_
from sipagent.operations.parsing import parse_ahead, read_field

ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The accounts, and where changes are written. `trace` has the moment, `by`, `login` and `via`;
    `keep_refused` writes the line of a refusal."""

    accounts: Accounts
    store: Rows
    trace: Access
    keep_refused: Callable[[Access], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAccount:
    """An account or a token that somebody asks for. `key`: what it listens with, read or as it was typed."""

    name: str
    roles: Sequence[str]
    key: PublicKey | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountChange:
    """What becomes different of an account; None stays as it is. `key`: an empty text takes it away."""

    name: str | None = None
    roles: Sequence[str] | None = None
    key: PublicKey | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken(NewAccount):
    """`last_day`: on which it is good, `2027-06-30` or `90d`; None for no end."""

    last_day: str | None = None

    def end(self, now: datetime, zone: ZoneInfo) -> datetime | None:
        """The end of that day. Raises FieldError."""
        if self.last_day is None:
            return None
        return read_field("until", self.last_day, lambda day: parse_ahead(day, now, zone, end=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """An account, and its one-time code, which is kept nowhere."""

    account: Account
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownToken:
    """A token, and what its program shows, which is kept nowhere."""

    token: Token
    shown: str


def add_account(desk: Desk, asked: NewAccount) -> Coded:
    """Make an account. Raises AccountError."""
    with _changing(desk, "account", f"add {_named(desk, asked.name)}: {_joined(asked.roles)}") as accounts:
        account, code = accounts.add(asked.name, asked.roles, key_of(asked.key))
    return Coded(account=account, code=code)


def reset_account(desk: Desk, meant: str | int) -> Coded:
    """Take password, authenticator and passkeys away. `meant`: a name, or the number of an account. Raises
    AccountError."""
    with _changing(desk, "account", f"reset {_named(desk, meant)}") as accounts:
        account, code = accounts.reset(_other(desk, meant).id)
    return Coded(account=account, code=code)


def remove_account(desk: Desk, meant: str | int) -> Account:
    """Remove an account; all its sessions end. Raises AccountError, also for the only administrator who can
    log in."""
    with _changing(desk, "account", f"remove {_named(desk, meant)}") as accounts:
        account = _other(desk, meant)
        if account.id in accounts.who_can_log_in():
            _refuse_last(accounts, account, ())
        accounts.remove(account.id)
    return account


def change_account(desk: Desk, meant: str | int, wanted: AccountChange) -> Account:
    """Give an account other roles, another key or another name, all or nothing; it as it is then. Raises
    AccountError, also where nobody would be an administrator any more."""
    key = key_of(wanted.key)
    told = [] if wanted.roles is None else [f"roles {_joined(wanted.roles)}"]
    told += [] if wanted.key is None else [f"key {key.id if key else 'none'}"]
    told += [f"name {_named(desk, wanted.name)}"] if wanted.name else []
    with _changing(desk, "account", f"change {_named(desk, meant)}: {'; '.join(told)}") as accounts:
        account = _other(desk, meant)
        if wanted.roles is not None:
            _refuse_last(accounts, account, wanted.roles)
            accounts.set_roles(account.id, wanted.roles)
        if wanted.key is not None:
            accounts.set_key(account.id, key)
        if wanted.name is not None:
            _refuse_pending(desk, account)
            accounts.rename(account.id, wanted.name)
        changed = accounts.by_id(account.id)
    assert changed is not None, "its change would have failed"
    return changed


def _refuse_last(accounts: Accounts, account: Account, roles: Sequence[str]) -> None:
    """Raises AccountError for the last administrator who can log in, or of all, who would be none any
    more."""
    if ADMINISTRATOR not in account.roles or ADMINISTRATOR in roles:
        return
    able = accounts.who_can_log_in()
    others = {one.id for one in accounts.all() if ADMINISTRATOR in one.roles} - {account.id}
    if not (others & able if account.id in able else others):
        said = N_(
            "{0!r} is the last administrator; accepted: first somebody else of that role who can log in"
        )
        raise AccountError(said, account.name)


def _refuse_pending(desk: Desk, account: Account) -> None:
    """Raises AccountError while something waits that was asked for under the old name: under the new one the
    same person could approve it."""
    if any(same_person(one.by, account.name) for one in desk.store.each_approval(pending=True)):
        said = N_("{0!r} has asked for what waits for an approval; accepted: once that is decided")
        raise AccountError(said, account.name)


def add_token(desk: Desk, asked: NewToken, zone: ZoneInfo) -> ShownToken:
    """Make a token. Raises AccountError, FieldError."""
    until = asked.end(desk.trace.at, zone)
    ends = f", until {(until - datetime.resolution).astimezone(zone):%Y-%m-%d}" if until else ""
    what = f"add {_named(desk, asked.name)}: {_joined(asked.roles)}{ends}"
    with _changing(desk, "token", what) as accounts:
        token, shown = accounts.add_token(asked.name, asked.roles, until, key_of(asked.key))
    return ShownToken(token=token, shown=shown)


def revoke_token(desk: Desk, name: str) -> Token:
    """End a token. Raises AccountError."""
    with _changing(desk, "token", f"revoke {_named(desk, name)}") as accounts:
        return accounts.revoke(name)


def key_of(typed: PublicKey | str | None) -> PublicKey | None:
    """The key that somebody listens with; an empty text is none. Raises AccountError."""
    if not isinstance(typed, str):
        return typed
    try:
        return public_key(typed, "the key") if typed else None
    except KeysError as error:
        raise AccountError(*error.args) from error


@contextmanager
def _changing(desk: Desk, action: str, what: str) -> Iterator[Accounts]:
    """One transaction; `what` is done, in English."""
    trace = replace(desk.trace, action=action, detail=what)
    try:
        with desk.accounts.write():
            yield desk.accounts
            desk.store.add_access(trace)
    except AccountError as refusal:
        desk.keep_refused(replace(trace, outcome="refused", detail=f"{what}: {refusal}"))
        raise


def _other(desk: Desk, meant: str | int) -> Account:
    """The account that is meant. Nobody who is logged in changes their own, so that one administrator
    stays."""
    if isinstance(meant, str):
        account = desk.accounts.meant(meant)
    elif (found := desk.accounts.by_id(meant)) is None:
        raise AccountError("the account was removed")
    else:
        account = found
    if account.name == desk.trace.login:
        said = N_("one's own account is changed by another administrator, or by `sipagent user`")
        raise AccountError(said)
    return account


def _named(desk: Desk, meant: str | int) -> str:
    """The name for the trace, on one line; a typed one that can be no name is quoted."""
    if isinstance(meant, str):
        line = " ".join(meant.split())
        return line if line.isprintable() else repr(line)
    account = desk.accounts.by_id(meant)
    return account.name if account else f"account {meant}"


def _joined(roles: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(roles))
