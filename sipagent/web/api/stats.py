"""The figures of a period, counted beside the answers and remembered for a minute."""

from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from sipagent.lookup.as_json import statistics_json
from sipagent.web.api.document import shapes
from sipagent.web.api.document.figures import Figures
from sipagent.web.api.document.operation import VERSION, Answer, Operation
from sipagent.web.api.giving import given
from sipagent.web.api.listing import Since, Until, selection_of
from sipagent.web.api.reading import Query
from sipagent.web.beside.counting import Counted
from sipagent.web.guard import refuse
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import site_of

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
    if not isinstance(found, Counted):
        site.counting.wait(WAIT_S)
        found = site.counting.of(period)
    if not isinstance(found, Counted):
        return given({"done": found.done, "total": found.total}, HTTPStatus.ACCEPTED, _SOON)
    if found.problem is not None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, found.problem, headers=_SOON)
    figures = statistics_json(site.config, found.figures, period, found.tally)
    return given({name: value for name, value in figures.items() if query.by or name != "operators"})


ENTRIES = (
    Operation(
        f"GET {VERSION}/stats",
        stats,
        summary="The figures of a period",
        answers={
            HTTPStatus.OK: Answer(said="As `stats --json`.", shape=Figures),
            HTTPStatus.ACCEPTED: Answer(
                said="It counts; ask again.", shape=shapes.Counting, headers={"Retry-After": "In s."}
            ),
        },
    ),
)
