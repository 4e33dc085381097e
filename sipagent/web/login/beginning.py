"""How a login begins: with a one-time code (`/enrol`), or as the first of all (`/first`).

Both ask twice: for the code, and then for a password and what an authenticator shows that has scanned a
square.
The code is used when all of that is right. The square's secret goes to the browser and back sealed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

import pyotp
import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from retention.accounts.account import Account, AccountError, tidy
from retention.accounts.credentials import code_hash, new_totp
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.web.forms import Form, read_form
from sipagent.web.guard import Entry
from sipagent.web.login.logins import address_of, logins_of
from sipagent.web.login.pages import refuse_late, refused, stranger
from sipagent.web.problems import Problem
from sipagent.web.received import is_same
from sipagent.web.rights import Role
from sipagent.web.site import site_of, trace_of

NOT_GOOD = N_("the code is not good, or no longer")
ALREADY = N_("there is an account already")
_SEALED = "beginning"  # the kind
LATE = N_("this page was open for too long; accepted: once more, with the new square")


@dataclass(frozen=True, slots=True)
class Beginning:
    """One of the two. `named`: whose code it is; `made`: the account, once all is right, and what the trace
    says of it. Both raise AccountError or Problem."""

    template: str
    named: Callable[[Request, Form], str]
    made: Callable[[Request, Form, str], tuple[Account, str]]
    to: str = "/"


def _step(request: Request, way: Beginning) -> Response:
    form, logins = read_form(request), logins_of(request)
    try:
        refuse_late(request, form)
        name = way.named(request, form)
    except (AccountError, Problem) as error:
        return _asked(request, way, form, error)
    opened = logins.seal.open_json(_SEALED, form.get("sealed", ""))
    if opened is None or not is_same(opened[1], code_hash(form.get("code", ""))):
        late = Problem(HTTPStatus.BAD_REQUEST, Reason(LATE)) if "sealed" in form else None
        return _equipping(request, way, (form, name, new_totp()), late)
    try:
        if form.get("password", "") != form.get("again", ""):
            raise AccountError(Reason("the two passwords are not the same"))
        with logins.comparing():
            account, detail = way.made(request, form, opened[0])
    except (AccountError, Problem) as error:
        return _equipping(request, way, (form, name, opened[0]), error)
    trace = replace(trace_of(request, "account"), by=account.name, login=account.name, via="web")
    site_of(request).store.add_access(replace(trace, detail=detail))
    return logins.begin_session(request, account.name, way.to)


def _asked(request: Request, way: Beginning, form: Form, error: AccountError | Problem) -> Response:
    """Ask for the code once more."""
    status, headers = HTTPStatus.FORBIDDEN, None
    if isinstance(error, Problem):
        status, headers = error.status, error.headers
    code = form.get("code", "")[:60] if isinstance(error, AccountError) else ""
    return stranger(request, way.template, status, headers, error=_said(error), code=code, account_name=None)


def _equipping(
    request: Request, way: Beginning, known: tuple[Form, str, str], error: AccountError | Problem | None
) -> Response:
    """Ask for a password, and for what the authenticator shows. `known`: the form, the name, the secret."""
    form, name, secret = known
    code, service = form.get("code", ""), site_of(request).config.service.name
    return stranger(
        request,
        way.template,
        HTTPStatus.OK if error is None else HTTPStatus.BAD_REQUEST,
        account_name=name,
        code=code,
        secret=in_fours(secret),
        qr=qr_of(service, name, secret),
        sealed=logins_of(request).seal.seal_json(_SEALED, [secret, code_hash(code)]),
        error=None if error is None else _said(error),
    )


def _said(error: AccountError | Problem) -> str:
    return shown(error.detail if isinstance(error, Problem) else error)


def qr_of(service: str, name: str, secret: str) -> Markup:
    """What an authenticator scans, as SVG."""
    address = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=service)
    return Markup(segno.make(address, micro=False).svg_inline(scale=4, light="#fff", dark="#000"))


def in_fours(secret: str) -> str:
    """As people type it."""
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


# --- with a one-time code ---


def _of_code(request: Request, form: Form) -> str:
    logins = logins_of(request)
    logins.refuse_own()
    trying = f"a code, from {address_of(request)}"  # so that nobody is slow because of others
    try:
        address = logins.begin_to_try(request, trying)
        account = logins.accounts.of_code(form.get("code", ""))
        if account is None:
            raise Problem(HTTPStatus.FORBIDDEN, Reason(NOT_GOOD))
    except Problem:
        refused(request, None, "a one-time code")
        raise
    logins.pace.passed(address, trying)
    return account.name


def _enrolled(request: Request, form: Form, secret: str) -> tuple[Account, str]:
    accounts = logins_of(request).accounts
    account = accounts.enrol(form["code"], form.get("password", ""), secret, form.get("digits", ""))
    return account, "enrolled: a password and an authenticator"


ENROLLING = Beginning("enrol.html", _of_code, _enrolled)


def enrol_page(request: Request) -> Response:
    """Ask for the code."""
    return stranger(request, "enrol.html", account_name=None)


def enrol(request: Request) -> Response:
    """With the code, and then with all the rest."""
    return _step(request, ENROLLING)


# --- the first account ---


def _of_first(request: Request, form: Form) -> str:
    logins = logins_of(request)
    trying = f"the first, from {address_of(request)}"
    try:
        address = logins.begin_to_try(request, trying)
        if not logins.is_first(form.get("code", "")):
            raise Problem(HTTPStatus.FORBIDDEN, Reason(NOT_GOOD))
    except Problem:
        refused(request, None, "the code for the first account")
        raise
    logins.pace.passed(address, trying)
    return tidy(form.get("name", ""))


def _first_made(request: Request, form: Form, secret: str) -> tuple[Account, str]:
    logins, name = logins_of(request), tidy(form["name"])
    roles, password = [Role.ADMINISTRATOR.value], form.get("password", "")
    account = logins.accounts.add_first(name, roles, password, secret, form.get("digits", ""))
    logins.first_made()
    return account, f"add {account.name}: administrator, the first account"


FIRST = Beginning("first.html", _of_first, _first_made, "/accounts")


def first_page(request: Request) -> Response:
    """Ask for the code that `sipagent web` has printed, and for a name."""
    _refuse_second(request)
    return stranger(request, "first.html", account_name=None)


def first(request: Request) -> Response:
    """Make the first account: an administrator, who makes all others."""
    _refuse_second(request)
    return _step(request, FIRST)


def _refuse_second(request: Request) -> None:
    if not logins_of(request).offers_first:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(ALREADY))


ENTRIES = (
    Entry("GET /enrol", enrol_page),
    Entry("POST /enrol", enrol),
    Entry("GET /first", first_page),
    Entry("POST /first", first),
)
