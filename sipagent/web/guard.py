"""Lets in who may come in: each address has a right in the table of `rights`, and so has each person."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Match, Route

from retention.archive.archive import ArchiveError
from retention.rows.faults import StoreError, TryAgain
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason, shown
from sipagent.languages.spoken import answering
from sipagent.web.login.forgery import SAFE, refuse_forged
from sipagent.web.problems import KIND, Problem, unforeseen
from sipagent.web.rights import ROUTES, Right, roles_with
from sipagent.web.site import API, asked_of, language_of, person_of, site_of, trace_of
from sipagent.web.templating import render

log = structlog.get_logger(__name__)
UNSAVED = "unsaved"
"""What the login is told behind its `?` where a form was sent by who is no longer logged in."""

Endpoint = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Entry:
    """What answers at an address: `GET /recordings/{id}`; its right is in `rights.ROUTES`."""

    asked: str
    endpoint: Callable[..., Any]

    @property
    def right(self) -> Right:
        """What who asks must have. Raises KeyError: nobody said."""
        return ROUTES[self.asked]

    def route(self) -> Route:
        """The guarded address."""
        method, path = self.asked.split(" ", 1)
        return Route(path, guarded(self.endpoint, self.right), methods=[method], name=self.asked)


def guarded(endpoint: Endpoint, right: Right) -> Endpoint:
    """The endpoint for those alone who have the right, in their language."""

    def answer(request: Request) -> Response:
        site = site_of(request)
        away: StoreError | None = None
        try:
            request.state.person = site.identify(request)
        except StoreError as fault:
            away = fault  # then who asks is nobody
        with answering(language_of(request)):
            try:
                if away is not None and right is not Right.ANYBODY:
                    raise away
                refuse(request, right)
                refuse_forged(request, by_session=right is not Right.ANYBODY)
                return endpoint(request)
            except NotLoggedIn as stranger:
                return stranger.login(request) if is_page(request.url.path) else answered(request, stranger)
            except Problem as problem:
                return answered(request, problem)
            except (StoreError, ArchiveError, OSError) as fault:
                return answered(request, failure(fault))
            except ValueError as wrong:
                return answered(request, unfit(wrong))

    return answer


def failure(fault: StoreError | ArchiveError | OSError) -> Problem:
    """What went wrong here, in one line: it will do again soon, or somebody has to see to it."""
    if isinstance(fault, TryAgain):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(fault), headers={"Retry-After": "1"})
    said = str(fault) if not isinstance(fault, OSError) else fault.strerror or type(fault).__name__
    log.error("answer_failed", reason=said)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, said)


def unfit(wrong: ValueError) -> Problem:
    """What was sent cannot be used: that is never a fault of the server. Why, if nobody foresaw it, is in the
    log, and nothing of what was sent."""
    said = wrong.args[0] if wrong.args else None
    if isinstance(said, Reason):
        return Problem(HTTPStatus.BAD_REQUEST, said)
    log.error("answer_failed", **unforeseen(wrong))
    return Problem(HTTPStatus.BAD_REQUEST, Reason(N_("what was sent cannot be used")))


def refuse(request: Request, right: Right) -> None:
    """Raises Problem for who may not come in here; a person's attempt is kept in the trace."""
    if right is Right.ANYBODY:
        return
    person = person_of(request)
    if person is None:
        raise NotLoggedIn(request)
    if not person.may(right):
        roles = ", ".join(roles_with(right))
        told = replace(trace_of(request, "right"), detail=f"{asked_of(request)}: accepted: {roles}")
        site_of(request).refusals.keep(told)
        said = N_("this is not for your role; accepted: {roles}")
        raise Problem(HTTPStatus.FORBIDDEN, Reason(said, roles=roles))


class NotLoggedIn(Problem):
    """Who asks is asked to log in first; a page leads there."""

    def __init__(self, request: Request) -> None:
        said = N_("nobody is logged in; accepted: a session, or a token (`Authorization: Bearer TOKEN`)")
        super().__init__(HTTPStatus.UNAUTHORIZED, Reason(said), headers={"WWW-Authenticate": "Bearer"})

    def login(self, request: Request) -> Response:
        """The way to the page of the login, and from there back; of a form to the page that it is on.

        A link in another site's page brings no session along (SameSite=Strict): so the same address is asked
        for once more, by a page of ours.
        """
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            again = '<!doctype html><meta http-equiv="refresh" content="0"><title>…</title>'
            return HTMLResponse(again)
        page = page_above(request)
        asked = {} if page in ("/", "/login") else {"next": page}
        if request.method not in SAFE:
            asked[UNSAVED] = ""
        return RedirectResponse(f"/login?{urlencode(asked, safe='/')}".rstrip("?"), HTTPStatus.SEE_OTHER)


def page_above(request: Request) -> str:
    """The nearest page that can be asked for by GET: `/holds` for a form that goes to `/holds/3/approve`."""
    path, routes = request.url.path, request.app.routes
    while path and not any(
        route.matches({**request.scope, "path": path, "method": "GET"})[0] is Match.FULL for route in routes
    ):
        path = path.rpartition("/")[0]
    return path or "/"


def answered(request: Request, problem: Problem) -> Response:
    """The answer that tells of it: a page, or to a program application/problem+json (RFC 9457)."""
    if is_page(request.url.path):
        return render(request, "problem.html", problem.status, problem.headers, problem=problem)
    person = person_of(request)
    in_a_page = person is not None and person.via == "web"
    told = problem.to_json(shown(problem.detail) if in_a_page else problem.detail)
    return JSONResponse(told, int(problem.status), headers=problem.headers, media_type=KIND)


def is_page(path: str) -> bool:
    """Whether people read what is at this address."""
    return not path.startswith(API)
