"""The page of one's own account: password, authenticator, language, key."""

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.accounts.account import Account, AccountError
from retention.accounts.credentials import SHORTEST, new_totp
from retention.storage.keys import KeysError, public_key
from sipagent.languages.choice import LANGUAGES
from sipagent.languages.reason import Reason, shown
from sipagent.languages.spoken import gettext as _
from sipagent.web.forms import Form, form_of
from sipagent.web.guard import Entry
from sipagent.web.login.beginning import in_fours, qr_of
from sipagent.web.login.logins import Logins, logins_of
from sipagent.web.problems import Problem
from sipagent.web.site import site_of, someone, trace_of
from sipagent.web.templating import render

Change = Callable[[Logins, Account, Form], None]
_SEALED = "authenticator"  # the kind


def page(request: Request) -> Response:
    """What the account is, and what can be changed."""
    return account_page(request)


def account_page(request: Request, wrong: str = "", error: str | None = None, **values: Any) -> Response:
    """The page once more, with what is wrong. `wrong`: which of the forms `error` is about."""
    account, logins = logins_of(request).account_of(request), logins_of(request)
    secret = values.pop("secret", None) or new_totp()
    return render(
        request,
        "account.html",
        HTTPStatus.OK if error is None else HTTPStatus.BAD_REQUEST,
        account=account,
        wrong=wrong,
        error=error,
        languages=LANGUAGES,
        shortest=SHORTEST,
        secret=in_fours(secret),
        qr=qr_of(site_of(request).config.service.name, account.name, secret),
        sealed=logins.seal.seal_json(_SEALED, [secret, account.id]),
        renewing=wrong == "authenticator",
        passkeys=logins.accounts.passkeys_of(account.id),
        relying_party=logins.relying_party,
        origin=site_of(request).config.web.origin,
    )


def set_password(request: Request) -> Response:
    """Change the password. Every other session ends."""

    def change(logins: Logins, account: Account, form: Form) -> None:
        if form.get("new", "") != form.get("again", ""):
            raise AccountError(Reason("the two passwords are not the same"))
        logins.accounts.set_password(account.id, form.get("new", ""))

    return changed(request, "password", "a new password", change)


def set_authenticator(request: Request) -> Response:
    """Change the authenticator. Every other session ends."""

    def change(logins: Logins, account: Account, form: Form) -> None:
        opened = logins.seal.open_json(_SEALED, form.get("sealed", ""))
        if opened is None or opened[1] != account.id:
            raise AccountError(Reason("the authenticator shows other digits now"))
        logins.accounts.set_totp(account.id, opened[0], form.get("digits", ""))

    return changed(request, "authenticator", "a new authenticator", change)


def set_key(request: Request) -> Response:
    """Change the key that the person listens with; an empty text takes it away."""

    def change(logins: Logins, account: Account, form: Form) -> None:
        text = form.get("key", "").strip()
        try:
            logins.accounts.set_key(account.id, public_key(text, "the key") if text else None)
        except KeysError as error:
            raise AccountError(*error.args) from error

    return changed(request, "key", "a new key to listen with", change)


def set_language(request: Request) -> Response:
    """Change the language of the pages; empty: what the browser wishes."""
    form, logins = form_of(request), logins_of(request)
    account, language = logins.account_of(request), form.get("language", "")
    logins.accounts.set_language(account.id, language if language in LANGUAGES else None)
    return RedirectResponse("/account", HTTPStatus.SEE_OTHER)


def changed(request: Request, what: str, detail: str, change: Change) -> Response:
    """Change something that the password is asked for once more: a session alone is not enough."""
    form, logins = form_of(request), logins_of(request)
    account, site = logins.account_of(request), site_of(request)
    trace = replace(trace_of(request, "account"), detail=detail)
    if not account.enrolled:
        return account_page(request, what, _("this login is not ours: see whoever gave it to you"))
    try:
        if not logins.knows_password(request, account, form.get("password", "")):
            site.refusals.keep(replace(trace, detail=f"{detail}: the password is wrong"))
            return account_page(request, what, _("the password is wrong"))
        with logins.accounts.write():
            change(logins, account, form)
            site.store.add_access(trace)
    except AccountError as error:
        return account_page(request, what, shown(error))
    except Problem as problem:
        site.refusals.keep(replace(trace, detail=f"{detail}: too fast"))
        return account_page(request, what, shown(problem.detail))
    if what == "key":
        site.tell(someone(request), _("Changed."))
        return RedirectResponse("/account", HTTPStatus.SEE_OTHER)
    return logins.begin_session(
        request, account.name, "/account", _("Changed. All other sessions have ended.")
    )


ENTRIES = (
    Entry("GET /account", page),
    Entry("POST /account/password", set_password),
    Entry("POST /account/authenticator", set_authenticator),
    Entry("POST /account/key", set_key),
    Entry("POST /account/language", set_language),
)
