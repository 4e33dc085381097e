"""The page of all accounts and tokens, for administrators."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.accounts.account import Account, AccountError
from retention.accounts.accounts import Accounts
from retention.storage.keys import KeysError, PublicKey, public_key
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.languages.spoken import gettext as _
from sipagent.web.forms import Form, form_of
from sipagent.web.guard import Entry
from sipagent.web.login.logins import logins_of
from sipagent.web.rights import Role
from sipagent.web.site import site_of, someone, trace_of
from sipagent.web.templating import render

Told = tuple[str, str]
"""What was done, in English for the trace, and what the page says of it."""
Change = Callable[[Accounts, Form], Told]


def page(request: Request) -> Response:
    """All of them."""
    return _page(request)


def _page(request: Request, error: str | None = None, form: Form | None = None) -> Response:
    accounts, site = logins_of(request).accounts, site_of(request)
    own = accounts.named(someone(request).name)
    return render(
        request,
        "accounts.html",
        HTTPStatus.OK if error is None else HTTPStatus.BAD_REQUEST,
        accounts=accounts.all(),
        tokens=accounts.tokens(),
        roles=list(Role),
        own=own,
        now=site.clock(),
        error=error,
        form=form or Form(()),
    )


def add(request: Request) -> Response:
    """Make an account, and show its code once."""

    def change(accounts: Accounts, form: Form) -> Told:
        roles = _roles(form)
        account, code = accounts.add(form.get("name", ""), roles, _key(form))
        return f"add {account.name}: {', '.join(roles)}", _code(request, account, code)

    return _changed(request, "account", change)


def reset(request: Request) -> Response:
    """Take password and authenticator away, and show a new code once."""

    def change(accounts: Accounts, form: Form) -> Told:
        account, code = accounts.reset(_other(request, accounts, form).id)
        return f"reset {account.name}", _code(request, account, code)

    return _changed(request, "account", change)


def remove(request: Request) -> Response:
    """Remove an account."""

    def change(accounts: Accounts, form: Form) -> Told:
        account = _other(request, accounts, form)
        accounts.remove(account.id)
        return f"remove {account.name}", _("{name}: removed").format(name=account.name)

    return _changed(request, "account", change)


def set_roles(request: Request) -> Response:
    """Give an account other roles."""

    def change(accounts: Accounts, form: Form) -> Told:
        account, roles = _other(request, accounts, form), _roles(form)
        accounts.set_roles(account.id, roles)
        told = _("{name}: the roles are changed, from now on").format(name=account.name)
        return f"roles of {account.name}: {', '.join(roles)}", told

    return _changed(request, "account", change)


def add_token(request: Request) -> Response:
    """Make a token, and show it once."""

    def change(accounts: Accounts, form: Form) -> Told:
        roles, until = _roles(form), _until(request, form)
        token, text = accounts.add_token(form.get("name", ""), roles, until, _key(form))
        ends = f", until {form['until']}" if until else ""
        told = _("The token of {name}, shown this once: {token}").format(name=token.name, token=text)
        return f"add {token.name}: {', '.join(roles)}{ends}", told

    return _changed(request, "token", change)


def revoke_token(request: Request) -> Response:
    """End a token."""

    def change(accounts: Accounts, form: Form) -> Told:
        token = accounts.revoke(form.get("name", ""))
        return f"revoke {token.name}", _("{name}: revoked").format(name=token.name)

    return _changed(request, "token", change)


def _changed(request: Request, action: str, change: Change) -> Response:
    """Change accounts, with the line of it in the trace, in one transaction."""
    form, site = form_of(request), site_of(request)
    accounts = logins_of(request).accounts
    trace = replace(trace_of(request, "account"), action=action)
    try:
        with accounts.write():
            detail, told = change(accounts, form)
            site.store.add_access(replace(trace, detail=detail))
    except AccountError as error:
        asked = request.url.path.removeprefix("/accounts/")
        site.refusals.keep(replace(trace, detail=f"{asked}: {error}"))
        return _page(request, shown(error), form)
    site.tell(someone(request), told)
    return RedirectResponse("/accounts", HTTPStatus.SEE_OTHER)


def _other(request: Request, accounts: Accounts, form: Form) -> Account:
    """The account that is meant. One's own is for others to change, so that one administrator stays."""
    number = form.get("account", "")
    account = (
        accounts.by_id(int(number)) if number.isascii() and number.isdecimal() and len(number) < 18 else None
    )
    if account is None:
        raise AccountError(Reason("the account was removed"))
    if account.name == someone(request).name:
        said = N_("one's own account is changed by another administrator, or by `sipagent user`")
        raise AccountError(Reason(said))
    return account


def _roles(form: Form) -> list[str]:
    return [role.value for role in Role if f"role-{role.value}" in form]


def _key(form: Form) -> PublicKey | None:
    text = form.get("key", "").strip()
    try:
        return public_key(text, "the key") if text else None
    except KeysError as error:
        raise AccountError(*error.args) from error


def _until(request: Request, form: Form) -> datetime | None:
    """The end of the day that is meant, in the service's time zone."""
    if not (text := form.get("until", "").strip()):
        return None
    try:
        day = date.fromisoformat(text) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise AccountError(Reason("the last day is not a date")) from error
    return datetime.combine(day, time(), site_of(request).config.service.timezone).astimezone(UTC)


def _code(request: Request, account: Account, code: str) -> str:
    assert account.code_until is not None
    site = site_of(request)
    said = _("The one-time code of {name}, shown this once: {code}. It is used until {until}, at {address}")
    return said.format(
        name=account.name,
        code=code,
        until=f"{site.local(account.code_until):%Y-%m-%d %H:%M}",
        address=f"{site.config.web.origin}/enrol",
    )


ENTRIES = (
    Entry("GET /accounts", page),
    Entry("POST /accounts/add", add),
    Entry("POST /accounts/reset", reset),
    Entry("POST /accounts/remove", remove),
    Entry("POST /accounts/roles", set_roles),
    Entry("POST /accounts/tokens/add", add_token),
    Entry("POST /accounts/tokens/revoke", revoke_token),
)
