"""Checks every request before the function of its address is called, and turns every error into an answer.

Each address needs a right (table in `rights`), and a person's roles give rights. No other site can act for
somebody who is logged in: a form carries the session's token in the field `csrf`, a script in the header
`X-CSRF-Token`; besides, a browser says from where a request comes (Fetch Metadata, or Origin).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hmac import compare_digest
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

import anyio.from_thread
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from retention.records import RuleError
from retention.rows.rows import StoreError, TryAgain, UnknownId
from retention.texts import Reason, WithReason
from sipagent.config.errors import plain_spaces
from sipagent.languages.labels import N_
from sipagent.languages.spoken import answering, shown
from sipagent.operations import Unfinished
from sipagent.operations.parsing import FieldError
from sipagent.web.problems import KIND, Problem, unforeseen
from sipagent.web.rights import ROUTES, Right, roles_with
from sipagent.web.site import API, asked_of, language_of, page_above, person_of, site_of, someone, trace_of
from sipagent.web.templating import render


def received(request: Request) -> bytes:
    """The whole body: `serving` has read it already, and limits its length."""
    return anyio.from_thread.run(request.body)


def refuse_others(request: Request, carried: str) -> None:
    """Raises Problem, with a line in the trace, for a form without the session's own `csrf`: it comes from
    another site, or from an earlier session."""
    if not is_same(carried, someone(request).csrf):
        said = N_("this form is not of this session; accepted: the page once more, and the form in it")
        raise _forbidden(request, "the form is not of this session", Reason(said))


def _forbidden(request: Request, why: str, said: str) -> Problem:
    """403, with a line in the trace."""
    told = replace(trace_of(request, "right"), detail=f"{asked_of(request)}: {why}")
    site_of(request).refusals.keep(told)
    return Problem(HTTPStatus.FORBIDDEN, said)


def is_same(carried: str, own: str) -> bool:
    """Compare two tokens in constant time; nothing is the same as an empty one."""
    return bool(own) and compare_digest(carried.encode("utf-8", "replace"), own.encode("utf-8", "replace"))


LONGEST_LINE = 500  # characters of a line that goes into the trace
_FORM_KIND = "application/x-www-form-urlencoded"
_FIELDS = 2000


class WrongField(ValueError):
    """A field of a form cannot be accepted; its argument is a Reason."""


class Form(dict[str, str]):
    """The fields by their names: of several with one name, the last."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = [*pairs]
        super().__init__(self._pairs)

    def all(self, name: str) -> list[str]:
        """Every field with this name, such as the boxes that were ticked."""
        return [text for one, text in self._pairs if one == name]

    def number(self, name: str) -> int:
        """The number of a row; 0, which none has, for anything else."""
        text = self.get(name, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else 0

    def line(self, name: str, label: str = "") -> str:
        """A field that goes into the trace: one line, without spaces at its ends. `label`: its own on the
        page. Raises WrongField."""
        text = plain_spaces(self.get(name, "")).strip()
        label = label or name
        if not text:
            raise WrongField(Reason("“{name}” is empty", name=label))
        if not text.isprintable():
            raise WrongField(Reason("“{name}” is not one line of text", name=label))
        if len(text) > LONGEST_LINE:
            raise WrongField(
                Reason("“{name}” is too long; accepted: {n} characters", name=label, n=LONGEST_LINE)
            )
        return text


def form_of(request: Request) -> Form:
    """The form. Raises Problem; one that is not from the session's own page is in the trace."""
    form = read_form(request)
    refuse_others(request, form.get("csrf", ""))
    return form


def is_form(request: Request) -> bool:
    """Whether it sends a form, by its own word."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _FORM_KIND


def read_form(request: Request) -> Form:
    """The form of whoever sends it, read once. Raises Problem."""
    form = getattr(request.state, "form", None)
    if form is None:
        request.state.form = form = _parsed_form(request)
    assert isinstance(form, Form)
    return form


def _parsed_form(request: Request) -> Form:
    if not is_form(request):
        said = Reason("this is no form of this page; accepted: {kind}", kind=_FORM_KIND)
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, said)
    content = received(request)
    try:
        return Form(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError as error:  # UnicodeDecodeError, too
        raise Problem(HTTPStatus.BAD_REQUEST, Reason("this is no form of this page")) from error


SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
TOKEN_HEADER = "x-csrf-token"


def refuse_forged(request: Request, *, by_session: bool) -> None:
    """Raises Problem for a change that no page of ours asks for; the attempt is kept in the trace.

    `by_session`: the form is of a session. A form of who is not logged in has a token of its own.
    """
    if request.method in SAFE:
        return
    if is_from_elsewhere(request):
        raise _forged(request, "from the page of another site")
    person = person_of(request) if by_session else None
    if person is None or person.via != "web" or is_same(request.headers.get(TOKEN_HEADER, ""), person.csrf):
        return
    if not is_form(request):
        raise _forged(request, "without the session's token")
    form_of(request)


def is_from_elsewhere(request: Request) -> bool:
    """Whether the browser says that the page of another site sends it, or does not want to say (`null`).

    Forms of ours say it: see Referrer-Policy in `serving` (Fetch, "append a request Origin header").
    """
    origin = request.headers.get("origin")
    if origin == "null":
        return True
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    if origin is None:
        return False
    host = request.headers.get("host", "")
    return origin not in {f"http://{host}", f"https://{host}", site_of(request).config.web.origin}


def _forged(request: Request, why: str) -> Problem:
    said = N_("this was not sent by a page of this session; accepted: the page once more, and what is on it")
    return _forbidden(request, why, Reason(said))


log = structlog.get_logger(__name__)
UNSAVED = "unsaved"
"""Behind the `?` of the login: a form was sent after its session had ended, so nothing is saved."""

Endpoint = Callable[[Request], Response]


Again = Callable[[Request, Problem], Response]
"""A page once more, with what was typed into its form, and why that is refused."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An address and the function that answers it: `GET /recordings/{id}`; its right is in `rights.ROUTES`.

    `again`: the page of a form, for what a rule refuses of it.
    """

    asked: str
    endpoint: Callable[..., Any]
    again: Again | None = None

    @property
    def right(self) -> Right:
        """The right that a person needs here. Raises KeyError for an address that ROUTES does not name."""
        return ROUTES[self.asked]

    def route(self) -> Route:
        """The guarded address."""
        method, path = self.asked.split(" ", 1)
        answer = guarded(self.endpoint, self.right, self.again)
        return Route(path, answer, methods=[method], name=self.asked)


def guarded(endpoint: Endpoint, right: Right, again: Again | None = None) -> Endpoint:
    """The endpoint, open only to people with the right, and answering in their language.

    All that it raises becomes an answer here: to a program a problem, to a person a page, where there is
    `again` the page of the form that a rule refuses.
    """

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
            except (RuleError, ValueError) as wrong:
                said = refusal(wrong) if isinstance(wrong, RuleError) else unfit(request, wrong)
                return _once_more(request, said, again)
            except Unfinished as left:
                return _once_more(request, failure(left), again)
            except (WithReason, OSError) as fault:
                return answered(request, failure(fault))

    return answer


def _once_more(request: Request, problem: Problem, again: Again | None) -> Response:
    """The page of the form, which may be of a call that does not exist."""
    if again is None:
        return answered(request, problem)
    try:
        return again(request, problem)
    except (WithReason, OSError) as fault:
        return answered(request, failure(fault))


def problem_of(error: RuleError | Problem, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> Problem:
    """A refusal as a problem, with this status if it has none of its own."""
    return error if isinstance(error, Problem) else Problem(status, error.args[0])


def refusal(rule: RuleError) -> Problem:
    """The answer to a rule that refuses: 410 for what existed once, 403 where another person may do it, else
    409."""
    status = HTTPStatus.FORBIDDEN if rule.others_may else HTTPStatus.CONFLICT
    return Problem(HTTPStatus.GONE if rule.gone else status, rule.args[0], **rule.more)


def failure(fault: WithReason | OSError) -> Problem:
    """404 for what does not exist; 503 for a fault that soon passes; else 500, and a line in the log."""
    if isinstance(fault, UnknownId):
        return Problem(HTTPStatus.NOT_FOUND, str(fault))
    if isinstance(fault, TryAgain):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, str(fault), headers={"Retry-After": "1"})
    said = str(fault) if not isinstance(fault, OSError) else fault.strerror or type(fault).__name__
    log.error("answer_failed", reason=said)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, said)


def unfit(request: Request, wrong: ValueError) -> Problem:
    """Input that cannot be used: 400, for a field of a program's JSON 422, never a fault of the server. An
    error that nobody foresaw is logged, without the input."""
    said = wrong.args[0] if wrong.args else None
    if isinstance(wrong, FieldError):
        if is_page(request.url.path):  # where the field has a label
            return Problem(HTTPStatus.BAD_REQUEST, wrong.problem)
        in_body = request.method == "POST"
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY if in_body else HTTPStatus.BAD_REQUEST, wrong.args[0])
    if isinstance(said, Reason):
        return Problem(HTTPStatus.BAD_REQUEST, said)
    log.error("answer_failed", **unforeseen(wrong))
    return Problem(HTTPStatus.BAD_REQUEST, Reason(N_("what was sent cannot be used")))


def refuse(request: Request, right: Right) -> None:
    """Raises Problem for a person without the right, with a line in the trace."""
    if right is Right.ANYBODY:
        return
    person = person_of(request)
    if person is None:
        raise NotLoggedIn(request)
    if not person.may(right):
        roles = ", ".join(roles_with(right))
        said = Reason(N_("this is not for your role; accepted: {roles}"), roles=roles)
        raise _forbidden(request, f"accepted: {roles}", said)


class NotLoggedIn(Problem):
    """Nobody is logged in; a page leads to the login."""

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
        if request.method not in SAFE and request.url.path != "/logout":
            asked[UNSAVED] = ""
        return RedirectResponse(f"/login?{urlencode(asked, safe='/')}".rstrip("?"), HTTPStatus.SEE_OTHER)


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
