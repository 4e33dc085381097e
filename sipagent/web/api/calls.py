"""Calls, recorded or not: lists of their receipts, all that is known of one, and its end before its time."""

from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Receipt
from retention.rules.statistics import DECISIONS, OUTCOMES
from sipagent.lookup.whole import whole_record
from sipagent.web.api import shapes
from sipagent.web.api.giving import given
from sipagent.web.api.listing import Filtered, Search, Turned, page_of
from sipagent.web.api.meant import id_meant
from sipagent.web.api.operation import NEXT, get, search
from sipagent.web.api.reading import Line, Sent
from sipagent.web.site import site_of

Outcome = Annotated[
    str | None, Field(pattern=f"^(?:{'|'.join(OUTCOMES)})$", description="How the call ended.")
]
Decision = Annotated[
    str | None, Field(pattern=f"^(?:{'|'.join(DECISIONS)})$", description="Whether it could be recorded.")
]


class FilteredCalls(Filtered):
    """A page of the calls that are meant."""

    outcome: Outcome = None
    decision: Decision = None


class SearchCalls(Search):
    """Which calls are meant, also by their caller."""

    outcome: Outcome = None
    decision: Decision = None


class Deletion(Sent):
    """Why a call is forgotten."""

    reason: Annotated[Line, Field(description="E.g. the reference of the person's request.")]


def calls(request: Request, query: FilteredCalls) -> Response:
    """As `calls --json`, a page of it."""
    return page_of(request, query, None, site_of(request).store.receipts)


def searched(request: Request, query: Turned, body: SearchCalls) -> Response:
    """As `calls --json --caller NUMBER`, a page of it."""
    return page_of(request, body, query, site_of(request).store.receipts)


def call(request: Request) -> Response:
    """As `show --json`."""
    site = site_of(request)
    return given(whole_record(site.archive, id_meant(request)).to_json(site.terms.period))


_LISTED = "As `calls --json`."
ENTRIES = (
    get("/calls", calls, "Receipts of calls, newest first", list[Receipt], _LISTED, Link=NEXT),
    search("/calls/search", searched, "Receipts of calls, also by their caller", list[Receipt], _LISTED),
    get("/calls/{id}", call, "All that is known of one, recorded or not", shapes.Shown, "As `show --json`."),
)
