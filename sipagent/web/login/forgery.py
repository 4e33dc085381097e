"""Whether a change is asked for by a page of ours: no other site acts for who is logged in.

A form carries its session's token in the field `csrf`, a script in the header `X-CSRF-Token`. Beside that, a
browser says from where a request comes (Fetch Metadata, or Origin). The guard asks here before any address.
"""

from dataclasses import replace
from http import HTTPStatus

from starlette.requests import Request

from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.forms import form_of, is_form
from sipagent.web.problems import Problem
from sipagent.web.received import is_same
from sipagent.web.site import asked_of, person_of, site_of, trace_of

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
HEADER = "x-csrf-token"


def refuse_forged(request: Request, *, by_session: bool) -> None:
    """Raises Problem for a change that no page of ours asks for; the attempt is kept in the trace.

    `by_session`: the form is of a session. A form of who is not logged in has a token of its own.
    """
    if request.method in SAFE:
        return
    if is_from_elsewhere(request):
        raise _refused(request, "from the page of another site")
    person = person_of(request) if by_session else None
    if person is None or person.via != "web" or is_same(request.headers.get(HEADER, ""), person.csrf):
        return
    if not is_form(request):
        raise _refused(request, "without the session's token")
    form_of(request)


def is_from_elsewhere(request: Request) -> bool:
    """Whether the browser says that the page of another site sends it, or does not want to say (`null`).

    Forms of ours say it: see Referrer-Policy in `protection` (Fetch, "append a request Origin header").
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


def _refused(request: Request, why: str) -> Problem:
    told = replace(trace_of(request, "right"), detail=f"{asked_of(request)}: {why}")
    site_of(request).refusals.keep(told)
    said = N_("this was not sent by a page of this session; accepted: the page once more, and what is on it")
    return Problem(HTTPStatus.FORBIDDEN, Reason(said))
