"""Logins by OpenID Connect, in the place of accounts of our own: `/login/oidc`, and `/login/oidc/back`.

Roles are those that `web.oidc_roles` has for the person's groups, roles or e-mail address with the issuer.
They are looked at with each login.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.accounts.account import Account, AccountError
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.web.guard import Entry
from sipagent.web.login.issuer import BACK, Claims, Issuer, IssuerError
from sipagent.web.login.logins import Logins, logins_of
from sipagent.web.login.pages import refused, safe_path, stranger
from sipagent.web.problems import Problem
from sipagent.web.received import is_same
from sipagent.web.site import site_of, trace_of

_SEALED = "oidc"  # the kind
GOOD_FOR_S = 600  # a login that has begun
NAMED_BY = ("preferred_username", "email", "sub")  # the account's name: the first there is

_NOBODY = N_("this page has accounts of its own; accepted: a name, a password and digits")
_LATE = N_("this login was begun too long ago, or in another browser; accepted: once more")
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


def begin(request: Request) -> Response:
    """Send the browser to the issuer. A link leads here: a form could not be sent on to another site."""
    logins, issuer = _asked(request)
    try:
        asked = issuer.begin()
    except IssuerError as error:
        return _again(request, error, HTTPStatus.BAD_GATEWAY)
    begun = [asked.state, asked.nonce, asked.verifier, safe_path(request.query_params.get("next", ""))]
    answer = RedirectResponse(asked.address, HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        logins.cookies.issuer,
        logins.seal.seal_json(_SEALED, begun),
        max_age=GOOD_FOR_S,
        secure=logins.cookies.secure,
        httponly=True,
        samesite="lax",  # it must come back from another site
    )
    return answer


def back(request: Request) -> Response:
    """Log in who comes back from the issuer, if it is who was sent there."""
    logins, issuer = _asked(request)
    try:
        state, nonce, verifier, to = _begun(request, logins)
        if not is_same(request.query_params.get("state", ""), state):
            raise Problem(HTTPStatus.FORBIDDEN, Reason(_LATE))
        if (fault := request.query_params.get("error")) is not None:
            raise IssuerError(f"the issuer refuses: {fault[:100]}")
        claims = issuer.end(request.query_params.get("code", ""), nonce, verifier)
        account = _account(request, logins, issuer, claims)
    except (IssuerError, AccountError, Problem) as error:
        refused(request, None, "by the issuer")
        return _again(request, error, HTTPStatus.FORBIDDEN)
    answer = logins.begin_session(request, account.name, to)
    answer.delete_cookie(logins.cookies.issuer, secure=logins.cookies.secure, httponly=True, samesite="lax")
    return answer


def _asked(request: Request) -> tuple[Logins, Issuer]:
    logins = logins_of(request)
    if logins.issuer is None:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(_NOBODY))
    return logins, logins.issuer


def _begun(request: Request, logins: Logins) -> tuple[str, str, str, str]:
    opened = logins.seal.open_json(_SEALED, request.cookies.get(logins.cookies.issuer, ""))
    if opened is None:
        raise Problem(HTTPStatus.FORBIDDEN, Reason(_LATE))
    state, nonce, verifier, to = map(str, opened)
    return state, nonce, verifier, to


def _account(request: Request, logins: Logins, issuer: Issuer, claims: Claims) -> Account:
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


def _again(request: Request, error: Exception, status: HTTPStatus) -> Response:
    said: Any = error.detail if isinstance(error, Problem) else error
    kept = error.status if isinstance(error, Problem) else status
    return stranger(request, "login.html", kept, error=shown(said))


ENTRIES = (Entry("GET /login/oidc", begin), Entry(f"GET {BACK}", back))
