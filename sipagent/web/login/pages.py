"""The page of who is not logged in yet, and what other pages of theirs share with it: `/login`, `/logout`."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.accounts.account import Account
from retention.accounts.credentials import SHORTEST
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.languages.spoken import gettext as _
from sipagent.languages.spoken import ngettext
from sipagent.web.forms import Form, read_form
from sipagent.web.guard import UNSAVED, Entry
from sipagent.web.login.logins import address_of, logins_of
from sipagent.web.problems import Problem
from sipagent.web.received import is_same
from sipagent.web.site import person_of, site_of, trace_of
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


def log_in(request: Request) -> Response:
    """Begin a session, or say that one of the three is wrong, not which."""
    form, logins = read_form(request), logins_of(request)
    to, name = safe_path(form.get("next", "")), form.get("name", "")

    def again(said: str, status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
        return stranger(request, "login.html", status, headers, error=said, to=to, name=name[:200])

    try:
        logins.refuse_own()
        refuse_late(request, form)
        account = logins.check(request, name, form.get("password", ""), form.get("digits", ""))
    except Problem as problem:
        refused(request, _known(request, name), "not tried")
        return again(shown(problem.detail), problem.status, problem.headers)
    if account is None:
        refused(request, _known(request, name), "")
        said = _("name, password or digits are wrong; digits count once: wait for the next ones")
        return again(said, HTTPStatus.FORBIDDEN)
    return logins.begin_session(request, account.name, to, since(account))


def since(account: Account) -> str:
    """What somebody else has tried; empty for nothing."""
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


ENTRIES = (
    Entry("GET /login", login_page),
    Entry("POST /login", log_in),
    Entry("POST /logout", log_out),
)
