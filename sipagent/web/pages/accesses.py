"""Every use of every recording, and all else that the trace tells: newest first, a page at a time."""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.guard import Entry
from sipagent.web.pages.recording import detail_of
from sipagent.web.problems import Problem
from sipagent.web.site import site_of
from sipagent.web.templating import render

_MOST = 50  # lines of a page
_DIGITS = 18


def accesses_page(request: Request) -> Response:
    """`?after=NUMBER`: those before this line."""
    text = request.query_params.get("after", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise Problem(HTTPStatus.BAD_REQUEST, Reason(N_("after: this is no number of a line")))
    rows = site_of(request).store.numbered_accesses(before=int(text) if text else None, limit=_MOST + 1)
    return render(
        request,
        "accesses.html",
        rows=rows[:_MOST],
        next=rows[_MOST - 1][0] if len(rows) > _MOST else None,
        first=not text,
        detail_of=detail_of,
    )


ENTRIES = (Entry("GET /accesses", accesses_page),)
