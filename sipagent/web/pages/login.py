"""The pages of who is not logged in yet: `/login` and `/logout`, `/enrol` and `/first`, `/login/oidc`.

A login begins with a one-time code (`/enrol`), or as the first of all (`/first`). Both ask twice: for the
code, and then for a password and what an authenticator shows that has scanned a square. The code is used
when all of that is right. The square's secret goes to the browser and back sealed.

Logins by OpenID Connect (`/login/oidc`, and `/login/oidc/back`) are in the place of accounts of our own.
Roles are those that `web.oidc_roles` has for the person's groups, roles or e-mail address with the
issuer. They are looked at with each login.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import pyotp
import segno
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from retention.accounts.credentials import SHORTEST, Account, AccountError, code_hash, new_totp, tidy
from retention.records import RuleError
from retention.texts import Reason
from sipagent.languages.labels import N_
from sipagent.languages.spoken import ngettext, shown
from sipagent.web.guard import UNSAVED, Entry, Form, is_same, problem_of, read_form
from sipagent.web.issuer import BACK, Claims, Issuer, IssuerError
from sipagent.web.logins import SESSION, Logins, address_of, logins_of
from sipagent.web.problems import Problem
from sipagent.web.rights import Role
from sipagent.web.site import person_of, site_of, someone, trace_of
from sipagent.web.templating import render

_PATH = re.compile(r"/(?!/|api/|login|logout)[\w./-]*", re.ASCII)


# --- logging in ---


def login_page(request: Request) -> Response:
    """The form; for who is logged in, the page that was meant."""
    to = safe_path(request.query_params.get("next", ""))
    if person_of(request) is not None:
        return RedirectResponse(to, HTTPStatus.SEE_OTHER)
    unsaved = UNSAVED in request.query_params
    return stranger(request, "login.html", to=to, first=logins_of(request).offers_first, unsaved=unsaved)


_WRONG = N_("name, password or digits are wrong; digits count once: wait for the next ones")


def log_in(request: Request) -> Response:
    """Begin a session, or say that one of the three is wrong, not which."""
    form, logins = read_form(request), logins_of(request)
    to, name = safe_path(form.get("next", "")), form.get("name", "")

    tried = "not tried"
    try:
        logins.refuse_own()
        refuse_late(request, form)
        account = logins.check(request, name, form.get("password", ""), form.get("digits", ""))
        if account is None:
            tried = ""
            raise Problem(HTTPStatus.FORBIDDEN, Reason(_WRONG))
    except Problem as problem:
        refused(request, _known(request, name), tried)
        return refused_stranger(request, "login.html", problem, to=to, name=name[:200])
    return logins.begin_session(request, account.name, to, since(account))


def since(account: Account) -> str:
    """Says how many logins were refused since the last one; empty for none."""
    n = account.failures
    if not n:
        return ""
    said = ngettext(
        "{n} login with your name was refused since your last one.",
        "{n} logins with your name were refused since your last one.",
        n,
    )
    return said.format(n=n)


def log_out(request: Request) -> Response:
    """End the session."""
    return logins_of(request).end_session(request)


def session(request: Request) -> Response:
    """How long the session goes on, for the script of the page."""
    ends = someone(request).ends
    assert ends is not None, "only people have sessions"
    left = ends[0] - site_of(request).clock()
    return JSONResponse({"left_s": left.total_seconds(), "in_any_case": ends[1]})


def safe_path(path: str) -> str:
    """A page of ours that may come next; the first one for anything else."""
    return path if len(path) < 200 and _PATH.fullmatch(path) else "/"


# --- what all of them do ---


def stranger(
    request: Request,
    template: str,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """A page with a form for who is not logged in, whose browser is given something to be known by."""
    logins = logins_of(request)
    known = logins.form_id(request)
    id = known or secrets.token_bytes(32)
    values = {
        "error": None,
        "name": "",
        "to": "/",
        "first": False,
        "unsaved": False,
        "ended": logins.cookies.session in request.cookies,
        "code": "",
        "issuer": logins.issuer,
        "passkeys": logins.relying_party is not None,
    } | values
    answer = render(
        request, template, status, headers, form_token=logins.seal.form_token(id), shortest=SHORTEST, **values
    )
    if known is None:
        logins.give_form_id(answer, id)
    return answer


def refused_stranger(request: Request, template: str, problem: Problem, **values: Any) -> Response:
    """The page of a stranger once more, with the reason of a refusal."""
    error = shown(problem.detail)
    return stranger(request, template, problem.status, problem.headers, error=error, **values)


def refuse_late(request: Request, form: Form) -> None:
    """Raises Problem for a form that is not of the page that this browser was shown."""
    logins = logins_of(request)
    id = logins.form_id(request)
    if id is None or not is_same(form.get("csrf", ""), logins.seal.form_token(id)):
        said = N_("this page was open for too long, or the browser keeps no cookies; accepted: once more")
        raise Problem(HTTPStatus.FORBIDDEN, Reason(said))


def _known(request: Request, name: str) -> str | None:
    """The account that is meant. What is no name may be a password, typed in the wrong place."""
    account = logins_of(request).accounts.named(name)
    return None if account is None else account.name


def refused(request: Request, account: str | None, what: str) -> None:
    """Keep a refused login in the trace, if there are not too many."""
    told = ", ".join(filter(None, (what, f"from {address_of(request)}")))
    trace = replace(trace_of(request, "login"), login=account, via="web", detail=told)
    site_of(request).refusals.keep(trace)


NOT_GOOD = N_("the code is not good, or no longer")
ALREADY = N_("there is an account already")
_SEALED_BEGINNING = "beginning"  # the kind
LATE = N_("this page was open for too long; accepted: once more, with the new square")


@dataclass(frozen=True, slots=True)
class Beginning:
    """One of the two. `code`: what the trace calls it; `named`: whose it is, if it is good; `made`: the
    account, once all is right, and what the trace says of it: it raises AccountError or Problem."""

    template: str
    code: str
    named: Callable[[Logins, Form], str | None]
    made: Callable[[Request, Form, str], tuple[Account, str]]
    to: str = "/"


def _step(request: Request, way: Beginning) -> Response:
    form, logins = read_form(request), logins_of(request)
    try:
        refuse_late(request, form)
        name = tidy(_named(request, form, way))
    except (AccountError, Problem) as error:
        code = form.get("code", "")[:60] if isinstance(error, AccountError) else ""
        return refused_stranger(request, way.template, problem_of(error), code=code, account_name=None)
    opened = logins.seal.open_json(_SEALED_BEGINNING, form.get("sealed", ""))
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


def _named(request: Request, form: Form, way: Beginning) -> str:
    """Whose code it is. Raises Problem."""
    logins = logins_of(request)
    logins.refuse_own()
    trying = f"{way.code}, from {address_of(request)}"  # so that nobody is slow because of others
    try:
        address = logins.begin_to_try(request, trying)
        if (name := way.named(logins, form)) is None:
            raise Problem(HTTPStatus.FORBIDDEN, Reason(NOT_GOOD))
    except Problem:
        refused(request, None, way.code)
        raise
    logins.pace.passed(address, trying)
    return name


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
        sealed=logins_of(request).seal.seal_json(_SEALED_BEGINNING, [secret, code_hash(code)]),
        error=error and shown(problem_of(error).detail),
    )


def qr_of(service: str, name: str, secret: str) -> Markup:
    """The square that an authenticator scans, as SVG."""
    address = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=service)
    return Markup(segno.make(address, micro=False).svg_inline(scale=4, light="#fff", dark="#000"))


def in_fours(secret: str) -> str:
    """A secret in groups of four, as people type it."""
    return " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))


# --- with a one-time code ---


def _enrolled(request: Request, form: Form, secret: str) -> tuple[Account, str]:
    accounts = logins_of(request).accounts
    account = accounts.enrol(form["code"], form.get("password", ""), secret, form.get("digits", ""))
    return account, "enrolled: a password and an authenticator"


def _of_code(logins: Logins, form: Form) -> str | None:
    account = logins.accounts.of_code(form.get("code", ""))
    return None if account is None else account.name


ENROLLING = Beginning("enrol.html", "a one-time code", _of_code, _enrolled)


def enrol_page(request: Request) -> Response:
    """Ask for the code."""
    return stranger(request, "enrol.html", account_name=None)


def enrol(request: Request) -> Response:
    """With the code, and then with all the rest."""
    return _step(request, ENROLLING)


# --- the first account ---


def _first_made(request: Request, form: Form, secret: str) -> tuple[Account, str]:
    logins, name = logins_of(request), tidy(form["name"])
    roles, password = [Role.ADMINISTRATOR.value], form.get("password", "")
    account = logins.accounts.add_first(name, roles, password, secret, form.get("digits", ""))
    logins.first_made()
    return account, f"add {account.name}: administrator, the first account"


def _of_first(logins: Logins, form: Form) -> str | None:
    return form.get("name", "") if logins.is_first(form.get("code", "")) else None


FIRST = Beginning("first.html", "the code for the first account", _of_first, _first_made, "/accounts")


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


_SEALED_OIDC = "oidc"  # the kind
OIDC_GOOD_FOR_S = 600  # a login that has begun
NAMED_BY = ("preferred_username", "email", "sub")  # the account's name: the first there is

_NOBODY = N_("this page has accounts of its own; accepted: a name, a password and digits")
_OIDC_LATE = N_("this login was begun too long ago, or in another browser; accepted: once more")
_NO_ROLE = N_("{name} has no role here; accepted: a group that `web.oidc_roles` names")


def roles_in(claims: Claims, known: Mapping[str, str], email_proved: bool = False) -> list[str]:
    """The roles that the person has here; `known` is `web.oidc_roles`."""
    return sorted({known[name] for name in names_in(claims, email_proved) if name in known})


def names_in(claims: Claims, email_proved: bool = False) -> Iterator[str]:
    """Groups and roles, as issuers say them, and the e-mail address if it is proved.

    `email_proved`: what holds where the issuer does not say `email_verified` (Core 1.0, 5.1).
    Keycloak has roles below `realm_access` and `resource_access`.
    """
    realm, clients = claims.get("realm_access"), claims.get("resource_access")
    nested = [realm, *clients.values()] if isinstance(clients, Mapping) else [realm]
    lists = [claims.get("groups"), claims.get("roles")]
    lists += [one.get("roles") for one in nested if isinstance(one, Mapping)]
    for names in lists:
        for name in [names] if isinstance(names, str) else names if isinstance(names, list) else []:
            if isinstance(name, str):
                yield name.removeprefix("/")  # Keycloak's groups are paths
    email = claims.get("email")
    if isinstance(email, str) and claims.get("email_verified", email_proved) is True:
        yield email


def to_issuer(request: Request) -> Response:
    """Send the browser to the issuer. A link leads here: a form could not be sent on to another site."""
    logins, issuer = _by_issuer(request)
    try:
        asked = issuer.begin()
    except IssuerError as error:
        return refused_stranger(request, "login.html", problem_of(error, HTTPStatus.BAD_GATEWAY))
    begun = [asked.state, asked.nonce, asked.verifier, safe_path(request.query_params.get("next", ""))]
    answer = RedirectResponse(asked.address, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        logins.cookies.issuer,
        logins.seal.seal_json(_SEALED_OIDC, begun),
        max_age=OIDC_GOOD_FOR_S,
        secure=logins.cookies.secure,
        httponly=True,
        samesite="lax",  # it must come back from another site
    )
    return answer


def back_from_issuer(request: Request) -> Response:
    """Log in who comes back from the issuer, if it is who was sent there."""
    logins, issuer = _by_issuer(request)
    try:
        state, nonce, verifier, to = _begun(request, logins)
        if not is_same(request.query_params.get("state", ""), state):
            raise Problem(HTTPStatus.FORBIDDEN, Reason(_OIDC_LATE))
        if (fault := request.query_params.get("error")) is not None:
            raise IssuerError(f"the issuer refuses: {fault[:100]}")
        claims = issuer.end(request.query_params.get("code", ""), nonce, verifier)
        account = _account_of_issuer(request, logins, issuer, claims)
    except (RuleError, Problem) as error:
        refused(request, None, "by the issuer")
        return refused_stranger(request, "login.html", problem_of(error))
    answer = logins.begin_session(request, account.name, to)
    answer.delete_cookie(logins.cookies.issuer, secure=logins.cookies.secure, httponly=True, samesite="lax")
    return answer


def _by_issuer(request: Request) -> tuple[Logins, Issuer]:
    logins = logins_of(request)
    if logins.issuer is None:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(_NOBODY))
    return logins, logins.issuer


def _begun(request: Request, logins: Logins) -> tuple[str, str, str, str]:
    opened = logins.seal.open_json(_SEALED_OIDC, request.cookies.get(logins.cookies.issuer, ""))
    if opened is None:
        raise Problem(HTTPStatus.FORBIDDEN, Reason(_OIDC_LATE))
    state, nonce, verifier, to = map(str, opened)
    return state, nonce, verifier, to


def _account_of_issuer(request: Request, logins: Logins, issuer: Issuer, claims: Claims) -> Account:
    """Raises AccountError, Problem."""
    name = next(str(claims[one]) for one in NAMED_BY if claims.get(one))
    web = site_of(request).config.web
    roles = roles_in(claims, web.oidc_roles, web.oidc_email_proved)
    if not roles:
        raise Problem(HTTPStatus.FORBIDDEN, Reason(_NO_ROLE, name=name))
    before = logins.accounts.named(name)
    account = logins.accounts.vouched_for(f"{issuer.url} {claims['sub']}", name, roles)
    if before is None or set(before.roles) != set(account.roles):
        told = f"{'add' if before is None else 'change'} {account.name}: {', '.join(roles)}, by the issuer"
        trace = replace(trace_of(request, "account"), by=account.name, login=account.name, via="web")
        site_of(request).store.add_access(replace(trace, detail=told))
    return account


ENTRIES = (
    Entry("GET /login", login_page),
    Entry("POST /login", log_in),
    Entry("POST /logout", log_out),
    Entry(f"GET {SESSION}", session),
    Entry(f"POST {SESSION}", session),
    Entry("GET /login/oidc", to_issuer),
    Entry(f"GET {BACK}", back_from_issuer),
    Entry("GET /enrol", enrol_page),
    Entry("POST /enrol", enrol),
    Entry("GET /first", first_page),
    Entry("POST /first", first),
)
