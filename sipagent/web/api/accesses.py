"""Every use of every recording, and all that was done and refused: the trace."""

from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Access
from sipagent.web.api.document.operation import NEXT, get
from sipagent.web.api.giving import page
from sipagent.web.api.listing import Numbered
from sipagent.web.site import site_of


def accesses(request: Request, query: Numbered) -> Response:
    """As `accesses --json`, a page of it."""
    rows = site_of(request).store.numbered_accesses(before=query.after, limit=query.limit + 1)
    return page(request, rows, query.limit, json=lambda row: row[1].to_json(), key=lambda row: row[0])


ENTRIES = (
    get("/accesses", accesses, "The trace, newest first", list[Access], "As `accesses --json`.", Link=NEXT),
)
