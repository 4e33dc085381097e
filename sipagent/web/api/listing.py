"""Pages of lists: which rows, how many, and behind which one they begin."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Receipt, Recording, Status
from retention.rows.selection import Selection
from retention.rows.store import UnknownId
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.lookup.filters import FilterError, selection
from sipagent.web.api.giving import page
from sipagent.web.api.reading import Body, Query
from sipagent.web.problems import Problem
from sipagent.web.site import site_of

Row = TypeVar("Row", Recording, Receipt)

USUAL = 50
MOST = 500

_LONGEST_ID = 64
_FILTERS = {
    *("since", "until", "caller", "reference", "operator", "status", "outcome", "decision"),
    *("held", "flagged"),
}
_WHEN = "a date, a date and time, yesterday, 12h, 7d, 2w"

Limit = Annotated[int, Field(ge=1, le=MOST, description="At most so many rows.")]
After = Annotated[
    str | None, Field(max_length=_LONGEST_ID, description="Behind the row with this id: see Link.")
]
Since = Annotated[str | None, Field(max_length=40, description=f"Begun at or after: {_WHEN}.")]
Until = Annotated[
    str | None, Field(max_length=40, description="Begun before; a date alone includes that day.")
]
Reference = Annotated[str | None, Field(max_length=_LONGEST_ID, description="The call's own: 482913.")]
Extension = Annotated[str | None, Field(max_length=256, description="201, or the whole address.")]
State = Annotated[Status | None, Field(description="Of the recording.")]
Held = Annotated[bool, Field(description="Only what is on hold.")]
Flagged = Annotated[bool, Field(description="Only what an operator has flagged.")]
Caller = Annotated[
    str | None, Field(max_length=40, description="As one would dial it, or how it begins or ends.")
]


class Numbered(Query):
    """A page of rows that have numbers, the newest first."""

    limit: Limit = USUAL
    after: Annotated[
        int | None, Field(ge=1, le=2**53, description="Behind the row with this number: see Link.")
    ] = None


class Page(Query):
    """A page of rows that have ids, the newest first."""

    limit: Limit = USUAL
    after: After = None


class Filtered(Page):
    """A page of the calls that are meant."""

    since: Since = None
    until: Until = None
    operator: Extension = None
    reference: Reference = None
    status: State = None
    held: Held = False
    flagged: Flagged = False


class Turned(Query):
    """The page of a search, where it is not said in its body."""

    limit: Limit | None = None
    after: After = None


class Search(Body):
    """Which calls are meant, also by their caller."""

    caller: Caller = None
    since: Since = None
    until: Until = None
    operator: Extension = None
    reference: Reference = None
    status: Annotated[State, Field(strict=False)] = None
    held: Held = False
    flagged: Flagged = False
    limit: Limit = USUAL
    after: After = None


def selection_of(request: Request, asked: Query | Body, **more: Any) -> Selection:
    """The calls that are meant by these filters; `7d` is told from the present minute. Raises Problem."""
    site = site_of(request)
    present = site.clock().replace(second=0, microsecond=0)
    typed = {name: value for name, value in asked.model_dump().items() if name in _FILTERS}
    try:
        return selection(site.config, present, **typed, **more)
    except FilterError as error:
        status = HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(asked, Body) else HTTPStatus.BAD_REQUEST
        said = Reason(N_("{where}: {problem}"), where=error.name, problem=error.problem)
        raise Problem(status, said) from error


def page_of(
    request: Request, asked: Filtered | Search, turned: Turned | None, read: Callable[[Selection], list[Row]]
) -> Response:
    """A page of what `read` finds. Raises Problem."""
    limit, after = asked.limit, asked.after
    if turned is not None:
        limit, after = turned.limit or limit, turned.after or after
    chosen = selection_of(request, asked, limit=limit + 1, after=after)
    try:
        rows = read(chosen)
    except UnknownId as error:
        said = Reason(N_("{where}: {problem}"), where="after", problem=str(error))
        raise Problem(HTTPStatus.BAD_REQUEST, said) from error
    return page(request, rows, limit, json=lambda row: row.to_json(), key=lambda row: row.id)
