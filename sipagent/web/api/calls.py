"""Recordings, and calls whether recorded or not: lists, all that is known of one, its end before its time,
the figures of a period, and the calls of the moment as they change.

Figures are counted beside the answers and remembered for a minute.
"""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.erase import Deletion, KeptCall
from retention.records import Receipt, Recording
from retention.statistics import DECISIONS, OUTCOMES
from sipagent.operations.persons import Shown, ShownRecording, delete_call, show
from sipagent.operations.statistics import PeriodFigures, PeriodFiguresByOperator, figures_of
from sipagent.operations.today import PlannedSpecial, SpecialWanted, end_special, planned, set_special
from sipagent.operations.vcon import VCON_KIND, give_vcon
from sipagent.web.api.operation import (
    FRESH,
    NEXT,
    Answer,
    Body,
    Channel,
    Filtered,
    Line,
    Purpose,
    Query,
    Reference,
    Search,
    Since,
    Turned,
    Until,
    get,
    given,
    id_meant,
    page_of,
    post,
    recording_meant,
    selection_of,
)
from sipagent.web.background import CountedFigures, Progress
from sipagent.web.guard import refuse
from sipagent.web.moment import Wall, look_for_wall
from sipagent.web.pages.calls import events
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import site_of, someone, trace_of, user_of


def recordings(request: Request, query: Filtered) -> Response:
    """As `list --json`, a page of it."""
    return page_of(request, query, None, site_of(request).store.recordings)


def recordings_searched(request: Request, query: Turned, body: Search) -> Response:
    """As `list --json --caller NUMBER`, a page of it."""
    return page_of(request, body, query, site_of(request).store.recordings)


def recording(request: Request) -> Response:
    """As `show --json`."""
    site = site_of(request)
    return given(show(site.archive, recording_meant(request).id, site.terms.period).to_json())


_AS_LIST = "As `list --json`."


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


class DeletionReason(Body):
    """Why a call is forgotten."""

    reason: Annotated[Line, Field(description="E.g. the reference of the person's request.")]


def calls(request: Request, query: FilteredCalls) -> Response:
    """As `calls --json`, a page of it."""
    return page_of(request, query, None, site_of(request).store.receipts)


def calls_searched(request: Request, query: Turned, body: SearchCalls) -> Response:
    """As `calls --json --caller NUMBER`, a page of it."""
    return page_of(request, body, query, site_of(request).store.receipts)


def call(request: Request) -> Response:
    """As `show --json`."""
    site = site_of(request)
    return given(show(site.archive, id_meant(request), site.terms.period).to_json())


def delete(request: Request, body: DeletionReason) -> Response:
    """As `delete --json`."""
    site = site_of(request)
    trace = replace(trace_of(request, "delete"), detail=body.reason)
    return given(delete_call(site.archive, id_meant(request), trace, site.clock).to_json())


class NewVcon(Body):
    """What a vCon is for, and whose side it tells."""

    purpose: Purpose = None
    reference: Reference = None
    channel: Channel = "both"


def vcon(request: Request, body: NewVcon) -> Response:
    """As `export --format vcon` but for the sound: no key is here."""
    site, trace, id = site_of(request), trace_of(request, "export"), id_meant(request)
    use = replace(trace, purpose=body.purpose, reference=body.reference or None)
    call, user = KeptCall.find(site.store, id), user_of(someone(request))
    told = give_vcon(site.archive, call, body.channel, use, config=site.config, user=user)
    return Response(told, headers=FRESH, media_type=VCON_KIND)


_VCON = "As `export --format vcon`, the sound left out."
_AS_CALLS = "As `calls --json`."


class Different(Body):
    """What is to be different, from when until when."""

    message: Annotated[Line | None, Field(description="Of prompts.messages; absent: it is closed.")] = None
    since: Annotated[Line | None, Field(alias="from", description="Absent: from now on.")] = None
    until: Annotated[Line, Field(description="17:00, tomorrow, 2026-12-24, 2026-12-24T12:00+01:00, 2h.")]


def today(request: Request) -> Response:
    """As `today --json`."""
    site = site_of(request)
    return given([one.to_json() for one in planned(site.store, site.clock())])


def today_set(request: Request, body: Different) -> Response:
    """As `today --closed`, or `--message`."""
    site = site_of(request)
    wanted = SpecialWanted(message=body.message, since=body.since, until=body.until)
    set_special(site.config, site.store, wanted, trace_of(request, "today"))
    return today(request)


def today_removed(request: Request) -> Response:
    """As `today --remove`."""
    site = site_of(request)
    end_special(site.config, site.store, request.path_params["number"], trace_of(request, "today"))
    return today(request)


_AS_TODAY = "As `today --json`."


WAIT_S = 2.0  # for figures that are soon there
_SOON = {"Retry-After": "5"}


class Period(Query):
    """Of which calls, and whether each operator's are told."""

    since: Since = None
    until: Until = None
    by: Annotated[Literal["operator"] | None, Field(description="Also by operator, for a supervisor.")] = None


def stats(request: Request, query: Period) -> Response:
    """As `stats --json`; without `operators`, unless they are asked for. 202 while it counts."""
    if query.by is not None:
        refuse(request, Right.OPERATORS)
    site = site_of(request)
    period = selection_of(request, query)
    found = site.counting.of(period)
    if not isinstance(found, CountedFigures):
        site.counting.wait(WAIT_S)
        found = site.counting.of(period)
    if not isinstance(found, CountedFigures):
        return given(found.to_json(), HTTPStatus.ACCEPTED, _SOON)
    if found.problem is not None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, found.problem, headers=_SOON)
    figures = figures_of(site.config, found.figures, period, found.tally).to_json()
    return given({name: value for name, value in figures.items() if query.by or name != "operators"})


def wall(request: Request) -> Response:
    """What a screen on the wall shows."""
    site = site_of(request)
    return given(look_for_wall(site.look, site.store, site.config.operators.wrap_up_s).to_json())


Figures = PeriodFigures | PeriodFiguresByOperator
COUNTS = Answer(
    said="It counts; ask again.",
    shape=Progress,
    status=HTTPStatus.ACCEPTED,
    headers={"Retry-After": "In s."},
)
STREAM = "text/event-stream"
_EVENTS = "Server-sent events: `now` with all calls and operators, at last `ended`."

ENTRIES = (
    get("/recordings", recordings, "Recordings, newest first", list[Recording], _AS_LIST, Link=NEXT),
    post(
        "/recordings/search",
        recordings_searched,
        "Recordings, also by their caller",
        list[Recording],
        _AS_LIST,
        Link=NEXT,
    ),
    get("/recordings/{id}", recording, "All that is known of one", ShownRecording, "As `show --json`."),
    get("/calls", calls, "Receipts of calls, newest first", list[Receipt], _AS_CALLS, Link=NEXT),
    post(
        "/calls/search",
        calls_searched,
        "Receipts of calls, also by their caller",
        list[Receipt],
        _AS_CALLS,
        Link=NEXT,
    ),
    get("/calls/{id}", call, "All that is known of one, recorded or not", Shown, "As `show --json`."),
    post("/calls/{id}/delete", delete, "Forget a call before its time", Deletion, "As `delete --json`."),
    post(
        "/calls/{id}/vcon", vcon, "A call as a signed vCon, without its sound", None, _VCON, media=VCON_KIND
    ),
    get("/today", today, "What is different today", list[PlannedSpecial], _AS_TODAY),
    post("/today", today_set, "Close, or have callers hear a message", list[PlannedSpecial], _AS_TODAY),
    post("/today/{number:row}/remove", today_removed, "Take one back", list[PlannedSpecial], _AS_TODAY),
    get("/stats", stats, "The figures of a period", Figures, "As `stats --json`.", COUNTS),
    get("/wall", wall, "How many wait, and how many operators are free", Wall, "Counts alone."),
    get("/events", events, "The calls of the moment, and each change of them", None, _EVENTS, media=STREAM),
)
