"""Calls, recorded or not: lists of their receipts, all that is known of one, and its end before its time."""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Receipt
from retention.rules.attempts import attempt_delete
from retention.rules.deletion import NotDeleted
from retention.rules.statistics import DECISIONS, OUTCOMES
from sipagent.lookup.as_json import deletion_json
from sipagent.lookup.whole import whole_record
from sipagent.web.api.document import shapes
from sipagent.web.api.document.operation import NEXT, Answer, get, post, search
from sipagent.web.api.giving import given
from sipagent.web.api.listing import Filtered, Search, Turned, page_of
from sipagent.web.api.meant import id_meant
from sipagent.web.api.reading import Body, Line
from sipagent.web.problems import Problem
from sipagent.web.site import site_of, trace_of

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


class Deletion(Body):
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


def delete(request: Request, body: Deletion) -> Response:
    """As `delete --json`."""
    site = site_of(request)
    trace = replace(trace_of(request, "delete"), detail=body.reason)
    try:
        done = attempt_delete(site.archive, id_meant(request), trace, site.clock)
    except NotDeleted as refusal:
        raise Problem(HTTPStatus.CONFLICT, str(refusal)) from refusal
    return given(deletion_json(done))


_LISTED = "As `calls --json`."
ENTRIES = (
    get("/calls", calls, "Receipts of calls, newest first", list[Receipt], _LISTED, Link=NEXT),
    search("/calls/search", searched, "Receipts of calls, also by their caller", list[Receipt], _LISTED),
    get("/calls/{id}", call, "All that is known of one, recorded or not", shapes.Shown, "As `show --json`."),
    post(
        "/calls/{id}/delete",
        delete,
        "Forget a call before its time",
        {HTTPStatus.OK: Answer(said="As `delete --json`.", shape=shapes.Deleted)},
    ),
)
