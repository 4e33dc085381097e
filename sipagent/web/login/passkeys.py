"""Passkeys: the other way to log in (`/login/passkey`), and those of one's own account.

Who adds one knows the password, which is asked for before the authenticator is.
"""

from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from retention.accounts.account import Account, AccountError
from retention.accounts.passkeys import CountedBack, Passkey
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.languages.spoken import gettext as _
from sipagent.web.forms import Form, form_of, read_form
from sipagent.web.guard import Entry
from sipagent.web.login.account import account_page, changed
from sipagent.web.login.logins import Logins, address_of, logins_of
from sipagent.web.login.pages import refuse_late, refused, safe_path, since, stranger
from sipagent.web.login.relying_party import PasskeyError, RelyingParty, Shown
from sipagent.web.problems import Problem
from sipagent.web.received import is_same
from sipagent.web.site import site_of, someone, trace_of

LOGGING_IN, ADDING = "log in", "add"  # what a challenge is for

_NONE_HERE = N_(
    "there are no passkeys here: the page's address has no name; accepted: name, password, digits"
)
_UNKNOWN = N_("this passkey is not known here; it may have been removed; accepted: name, password, digits")
_LATE = N_("this was begun too long ago, or in another browser, or was used; accepted: once more")


# --- logging in ---


def ask_to_log_in(request: Request) -> Response:
    """What an authenticator has to sign, for a browser that was shown the form: JSON, or `error` in it."""
    form, logins = read_form(request), logins_of(request)
    try:
        party = _party(logins)
        refuse_late(request, form)
    except Problem as problem:
        return JSONResponse({"error": shown(problem.detail)}, int(problem.status), problem.headers)
    return JSONResponse(party.to_log_in(logins.challenges.new(LOGGING_IN, form["csrf"])))


def log_in(request: Request) -> Response:
    """Begin a session, or say why the passkey is not accepted."""
    form, logins = read_form(request), logins_of(request)
    to = safe_path(form.get("next", ""))
    try:
        account = _let_in(request, logins, form)
    except (PasskeyError, AccountError, Problem) as error:
        said = error.detail if isinstance(error, Problem) else error
        status = error.status if isinstance(error, Problem) else HTTPStatus.FORBIDDEN
        headers = error.headers if isinstance(error, Problem) else None
        return stranger(request, "login.html", status, headers, error=shown(said), to=to)
    return logins.begin_session(request, account.name, to, since(account), "by a passkey")


def _let_in(request: Request, logins: Logins, form: Form) -> Account:
    """The account of the passkey. Raises PasskeyError, AccountError, Problem; the trace has it."""
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
    except (PasskeyError, AccountError, Problem) as error:
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
    """What the trace says of it."""
    if isinstance(error, PasskeyError):
        return error.kept
    return "its counter went back" if isinstance(error, CountedBack) else "not tried"


# --- one's own ---


def ask_to_add(request: Request) -> Response:
    """What an authenticator makes a new passkey of, for who knows the password: JSON, or `error` in it."""
    form, logins = form_of(request), logins_of(request)
    account, party, site = logins.account_of(request), _party(logins), site_of(request)
    trace = replace(trace_of(request, "account"), detail="a new passkey")
    try:
        name = logins.accounts.passkey_name(account.id, form.get("name", ""))
        if not logins.knows_password(request, account, form.get("password", "")):
            site.refusals.keep(replace(trace, detail="a new passkey: the password is wrong"))
            raise AccountError(Reason("the password is wrong"))
        user = logins.accounts.handle_of(account.id), account.name
    except AccountError as error:
        return JSONResponse({"error": shown(error)}, HTTPStatus.BAD_REQUEST)
    except Problem as problem:
        site.refusals.keep(replace(trace, detail="a new passkey: too fast"))
        return JSONResponse({"error": shown(problem.detail)}, int(problem.status), problem.headers)
    challenge = logins.challenges.new(ADDING, someone(request).csrf, [account.id, name])
    return JSONResponse(party.to_register(challenge, user, logins.accounts.passkeys_of(account.id)))


def add(request: Request) -> Response:
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
    except (PasskeyError, AccountError) as error:
        kept = error.kept if isinstance(error, PasskeyError) else str(error)
        site.refusals.keep(replace(trace, detail=f"a new passkey: {kept}"))
        return account_page(request, "passkeys", shown(error))
    site.tell(someone(request), _("Added: from now on you can log in with {name}.").format(name=name))
    return RedirectResponse("/account", HTTPStatus.SEE_OTHER)


def remove(request: Request) -> Response:
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


def _party(logins: Logins) -> RelyingParty:
    """Raises Problem where there can be no passkeys."""
    logins.refuse_own()
    if logins.relying_party is None:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(_NONE_HERE))
    return logins.relying_party


ENTRIES = (
    Entry("POST /login/passkey/ask", ask_to_log_in),
    Entry("POST /login/passkey", log_in),
    Entry("POST /account/passkeys/ask", ask_to_add),
    Entry("POST /account/passkeys", add),
    Entry("POST /account/passkeys/remove", remove),
)
