"""The pages of accounts: one's own, with its password, authenticator, language, key and passkeys; and for
administrators all accounts and tokens.

Passkeys are also the other way to log in (`/login/passkey`). Who adds one knows the password, which is
asked for before the authenticator is.
"""

from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from retention.accounts.accounts import CountedBack, Passkey
from retention.accounts.credentials import SHORTEST, Account, AccountError, new_totp
from retention.records import Access, RuleError
from retention.texts import Reason
from sipagent.languages.choice import LANGUAGES
from sipagent.languages.labels import N_
from sipagent.languages.spoken import gettext as _
from sipagent.languages.spoken import shown
from sipagent.operations import accounts as operations
from sipagent.operations.accounts import AccountChange, Coded, Desk, NewAccount, NewToken
from sipagent.web.guard import Entry, Form, form_of, is_same, problem_of, read_form
from sipagent.web.logins import Logins, address_of, logins_of
from sipagent.web.pages.login import in_fours, qr_of, refuse_late, refused, refused_stranger, safe_path, since
from sipagent.web.problems import Problem
from sipagent.web.relying_party import PasskeyError, RelyingParty, Shown
from sipagent.web.rights import Role
from sipagent.web.site import site_of, someone, trace_of
from sipagent.web.templating import day, render

Change = Callable[[Logins, Account, Form], object]
_SEALED = "authenticator"  # the kind


def account_page(request: Request, wrong: str = "", error: str | None = None, **values: Any) -> Response:
    """One's own account, with the forms that change it; once more, with what is wrong. `wrong`: which of the
    forms `error` is about."""
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


def _password(logins: Logins, account: Account, form: Form) -> None:
    if form.get("new", "") != form.get("again", ""):
        raise AccountError(Reason("the two passwords are not the same"))
    logins.accounts.set_password(account.id, form.get("new", ""))


def _authenticator(logins: Logins, account: Account, form: Form) -> None:
    opened = logins.seal.open_json(_SEALED, form.get("sealed", ""))
    if opened is None or opened[1] != account.id:
        raise AccountError(Reason("the authenticator shows other digits now"))
    logins.accounts.set_totp(account.id, opened[0], form.get("digits", ""))


def _key(logins: Logins, account: Account, form: Form) -> None:
    """The key that the person listens with; an empty text takes it away."""
    logins.accounts.set_key(account.id, operations.key_of(form.get("key", "").strip()))


def set_language(request: Request) -> Response:
    """Change the language of the pages; empty: what the browser wishes."""
    form, logins = form_of(request), logins_of(request)
    account, language = logins.account_of(request), form.get("language", "")
    logins.accounts.set_language(account.id, language if language in LANGUAGES else None)
    return RedirectResponse("/account", HTTPStatus.SEE_OTHER)


def changed(request: Request, what: str, detail: str, change: Change) -> Response:
    """Change something that the password is asked for once more: a session alone is not enough. Every other
    session ends, but for a new key."""
    form, logins = form_of(request), logins_of(request)
    account, site = logins.account_of(request), site_of(request)
    trace = replace(trace_of(request, "account"), detail=detail)
    if not account.enrolled:
        return account_page(request, what, _("this login is not ours: see whoever gave it to you"))
    try:
        _refuse_unproved(request, account, form, trace)
        with logins.accounts.write():
            change(logins, account, form)
            site.store.add_access(trace)
    except (AccountError, Problem) as error:
        return account_page(request, what, shown(problem_of(error).detail))
    if what == "key":
        site.tell(someone(request), _("Changed."))
        return RedirectResponse("/account", HTTPStatus.SEE_OTHER)
    return logins.begin_session(
        request, account.name, "/account", _("Changed. All other sessions have ended.")
    )


def _refuse_unproved(request: Request, account: Account, form: Form, trace: Access) -> None:
    """Raises AccountError, Problem, with a line in the trace, for who does not know the password."""
    error: AccountError | Problem
    try:
        if logins_of(request).knows_password(request, account, form.get("password", "")):
            return
        error, why = AccountError(Reason("the password is wrong")), "the password is wrong"
    except Problem as fast:
        error, why = fast, "too fast"
    site_of(request).refusals.keep(replace(trace, detail=f"{trace.detail}: {why}"))
    raise error


def _own(what: str, detail: str, change: Change) -> Entry:
    return Entry(f"POST /account/{what}", lambda request: changed(request, what, detail, change))


LOGGING_IN, ADDING = "log in", "add"  # what a challenge is for

_NONE_HERE = N_(
    "there are no passkeys here: the page's address has no name; accepted: name, password, digits"
)
_UNKNOWN = N_("this passkey is not known here; it may have been removed; accepted: name, password, digits")
_LATE = N_("this was begun too long ago, or in another browser, or was used; accepted: once more")


# --- logging in ---


def ask_to_log_in(request: Request) -> Response:
    """The challenge for an authenticator, to a browser that was shown the form: JSON, or `error` in it."""
    form, logins = read_form(request), logins_of(request)
    try:
        party = _party(logins)
        refuse_late(request, form)
    except Problem as problem:
        return _json_error(problem)
    return JSONResponse(party.to_log_in(logins.challenges.new(LOGGING_IN, form["csrf"])))


def log_in_by_passkey(request: Request) -> Response:
    """Begin a session, or say why the passkey is not accepted."""
    form, logins = read_form(request), logins_of(request)
    to = safe_path(form.get("next", ""))
    try:
        account = _let_in(request, logins, form)
    except (RuleError, Problem) as error:
        return refused_stranger(request, "login.html", problem_of(error), to=to)
    return logins.begin_session(request, account.name, to, since(account), "by a passkey")


def _let_in(request: Request, logins: Logins, form: Form) -> Account:
    """The account of the passkey. Raises RuleError, Problem, with a line in the trace."""
    named: Account | None = None
    trying = f"a passkey, from {address_of(request)}"  # so that nobody is slow because of others
    try:
        party = _party(logins)
        refuse_late(request, form)
        address = logins.begin_to_try(request, trying)
        sent = party.shown(form.get("credential", ""))
        passkey = logins.accounts.passkey(sent.credential)
        named = None if passkey is None else logins.accounts.by_id(passkey.account)
        if passkey is None or named is None:
            raise PasskeyError(_UNKNOWN, "not known")
        logins.pace.passed(address, trying)
        logins.begin_to_try(request, named.name)
        account = logins.accounts.let_in(passkey, _checked(logins, party, form, sent, passkey))
    except (RuleError, Problem) as error:
        if named is not None and not isinstance(error, Problem):
            logins.accounts.count_refused(named.id)
        refused(request, named.name if named else None, f"a passkey: {_kept(error)}")
        raise
    logins.pace.passed(address, account.name)
    return account


def _checked(logins: Logins, party: RelyingParty, form: Form, sent: Shown, passkey: Passkey) -> int:
    """The passkey's counter. Raises PasskeyError: not of its account, this browser or this page."""
    if logins.challenges.use(sent.challenge, LOGGING_IN, form.get("csrf", "")) is None:
        raise PasskeyError(_LATE, "late, of another browser, or used")
    if not is_same((sent.handle or b"").hex(), logins.accounts.handle_of(passkey.account).hex()):
        raise PasskeyError(kept="of another account")
    return party.sign_count(sent, passkey)


def _kept(error: Exception) -> str:
    """The reason, as it stands in the trace."""
    if isinstance(error, PasskeyError):
        return error.kept
    return "its counter went back" if isinstance(error, CountedBack) else "not tried"


# --- one's own ---


def ask_to_add_passkey(request: Request) -> Response:
    """The options for a new passkey, to somebody who knows the password: JSON, or `error` in it."""
    form, logins = form_of(request), logins_of(request)
    account, party = logins.account_of(request), _party(logins)
    trace = replace(trace_of(request, "account"), detail="a new passkey")
    try:
        name = logins.accounts.passkey_name(account.id, form.get("name", ""))
        _refuse_unproved(request, account, form, trace)
        user = logins.accounts.handle_of(account.id), account.name
    except (AccountError, Problem) as error:
        return _json_error(problem_of(error, HTTPStatus.BAD_REQUEST))
    challenge = logins.challenges.new(ADDING, someone(request).csrf, [account.id, name])
    return JSONResponse(party.to_register(challenge, user, logins.accounts.passkeys_of(account.id)))


def add_passkey(request: Request) -> Response:
    """Keep a new passkey."""
    form, logins, site = form_of(request), logins_of(request), site_of(request)
    account, party, sent = logins.account_of(request), _party(logins), form.get("credential", "")
    trace = trace_of(request, "account")
    try:
        challenge = party.challenge_of_new(sent)
        about = logins.challenges.use(challenge, ADDING, someone(request).csrf)
        if about is None or about[0][0] != account.id:
            raise PasskeyError(_LATE, "late, of another session, or used")
        made, name = party.registered(sent, challenge), about[0][1]
        with logins.accounts.write():
            logins.accounts.add_passkey(account.id, name, made)
            site.store.add_access(replace(trace, detail=f"a new passkey: {name}"))
    except RuleError as error:
        kept = error.kept if isinstance(error, PasskeyError) else str(error)
        site.refusals.keep(replace(trace, detail=f"a new passkey: {kept}"))
        return account_page(request, "passkeys", shown(error))
    site.tell(someone(request), _("Added: from now on you can log in with {name}.").format(name=name))
    return RedirectResponse("/account", HTTPStatus.SEE_OTHER)


def remove_passkey(request: Request) -> Response:
    """Remove a passkey. Every other session ends."""

    logins, meant = logins_of(request), form_of(request).get("passkey", "")
    own = logins.accounts.passkeys_of(logins.account_of(request).id)
    found = next((one for one in own if str(one.id) == meant), None)

    def change(logins: Logins, account: Account, form: Form) -> None:
        if found is None:
            raise AccountError("the passkey was removed")
        logins.accounts.remove_passkey(account.id, found.id)

    return changed(
        request, "passkeys", f"a passkey is removed: {found.name if found else 'not there'}", change
    )


def _json_error(problem: Problem) -> Response:
    """For the script of the page."""
    return JSONResponse({"error": shown(problem.detail)}, int(problem.status), problem.headers)


def _party(logins: Logins) -> RelyingParty:
    """Raises Problem where there can be no passkeys."""
    logins.refuse_own()
    if logins.relying_party is None:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(_NONE_HERE))
    return logins.relying_party


def accounts_page(request: Request, problem: Problem | None = None) -> Response:
    """All accounts and tokens; after a refusal with the reason, and with the fields as they were typed."""
    accounts, site = logins_of(request).accounts, site_of(request)
    return render(
        request,
        "accounts.html",
        HTTPStatus.OK if problem is None else HTTPStatus.BAD_REQUEST,
        accounts=accounts.all(),
        tokens=accounts.tokens(),
        roles=[role for role in Role if role is not Role.WALL],
        token_roles=list(Role),
        own=accounts.named(someone(request).name),
        now=site.clock(),
        error=problem and shown(problem.detail),
        form=read_form(request) if problem else Form(),
    )


def add_account(request: Request, desk: Desk, form: Form) -> str:
    """Make an account, and show its code once."""
    return _code(request, operations.add_account(desk, NewAccount(**_typed(form))))


def reset_account(request: Request, desk: Desk, form: Form) -> str:
    """Take password and authenticator away, and show a new code once."""
    return _code(request, operations.reset_account(desk, form.number("account")))


def remove_account(request: Request, desk: Desk, form: Form) -> str:
    """Remove an account."""
    return _("{name}: removed").format(name=operations.remove_account(desk, form.number("account")).name)


def set_roles(request: Request, desk: Desk, form: Form) -> str:
    """Give an account other roles."""
    account = operations.change_account(desk, form.number("account"), AccountChange(roles=_roles(form)))
    return _("{name}: the roles are changed, from now on").format(name=account.name)


def add_token(request: Request, desk: Desk, form: Form) -> str:
    """Make a token, and show it once."""
    asked = NewToken(**_typed(form), last_day=form.get("until", "").strip() or None)
    made = operations.add_token(desk, asked, site_of(request).config.service.timezone)
    said = _("The token of {name}, shown this once: {token}")
    return said.format(name=made.token.name, token=made.shown)


def revoke_token(request: Request, desk: Desk, form: Form) -> str:
    """End a token."""
    return _("{name}: revoked").format(name=operations.revoke_token(desk, form.get("name", "")).name)


def _change(what: str, act: Callable[[Request, Desk, Form], str]) -> Entry:
    """The address of a form; `act` returns the message for the next page."""

    def answer(request: Request) -> Response:
        form, site = form_of(request), site_of(request)
        accounts, keep = logins_of(request).accounts, site.refusals.keep
        trace = trace_of(request, "account")
        desk = Desk(accounts=accounts, store=site.store, trace=trace, keep_refused=keep)
        site.tell(someone(request), act(request, desk, form))
        return RedirectResponse("/accounts", HTTPStatus.SEE_OTHER)

    return Entry(f"POST /accounts/{what}", answer, accounts_page)


def _typed(form: Form) -> dict[str, Any]:
    return {"name": form.get("name", ""), "roles": _roles(form), "key": form.get("key", "").strip()}


def _roles(form: Form) -> list[str]:
    return [role.value for role in Role if f"role-{role.value}" in form]


def _code(request: Request, made: Coded) -> str:
    site, account = site_of(request), made.account
    assert account.code_until is not None
    until = site.local(account.code_until)
    said = _("The one-time code of {name}, shown this once: {code}. It is used until {until}, at {address}")
    return said.format(
        name=account.name,
        code=made.code,
        until=f"{day(until)} {until:%H:%M}",
        address=f"{site.config.web.origin}/enrol",
    )


ENTRIES = (
    Entry("GET /account", account_page),
    _own("password", "a new password", _password),
    _own("authenticator", "a new authenticator", _authenticator),
    _own("key", "a new key to listen with", _key),
    Entry("POST /account/language", set_language),
    Entry("POST /login/passkey/ask", ask_to_log_in),
    Entry("POST /login/passkey", log_in_by_passkey),
    Entry("POST /account/passkeys/ask", ask_to_add_passkey),
    Entry("POST /account/passkeys", add_passkey),
    Entry("POST /account/passkeys/remove", remove_passkey),
    Entry("GET /accounts", accounts_page),
    _change("add", add_account),
    _change("reset", reset_account),
    _change("remove", remove_account),
    _change("roles", set_roles),
    _change("tokens/add", add_token),
    _change("tokens/revoke", revoke_token),
)
