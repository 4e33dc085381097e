"""One thing that programs may ask for: what is read, who answers, and what it looks like.

    query_of, body_of    what is sent behind the `?` and as JSON, or in one line what is wrong with it
    Operation            an address, its function, and its answers
    given, page          JSON as the commands print it, a page at a time, and where the next one is
    Filtered, Search     which rows of a list, how many, and behind which one they begin
    id_meant             the call of an address: by its id, a unique beginning of it, or its reference

The checks of a request and the document about it come from the same place: the models that the function
is annotated with, and the types of the answers that its `Operation` lists.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar, get_type_hints
from urllib.parse import quote, urlencode

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from retention.records import Receipt, Recording, Status, is_id
from retention.rows.rows import UnknownId, ids_meant
from retention.rows.selection import Selection
from retention.texts import Reason
from retention.use import ACCESS_REQUEST
from sipagent.config.errors import plain_spaces
from sipagent.languages.labels import N_
from sipagent.operations.parsing import selection
from sipagent.web.guard import Entry, received
from sipagent.web.problems import Problem
from sipagent.web.site import site_of

WORDS = 200  # characters of a name, a reference
VERSION = "/api/v1"
NEXT = "Where the next page is, while there may be one."
USUAL_ROWS, MOST_ROWS = 50, 500
_MOST_WRONG = 20  # things that are wrong, each in a line
_IDS_LISTED = 10
_LONGEST_ID = 64
_JSON_KIND = "application/json"
FRESH = {"Cache-Control": "no-store"}

Model = TypeVar("Model", bound=BaseModel)
Row = TypeVar("Row")
CallRow = TypeVar("CallRow", Recording, Receipt)
Act = Callable[..., Response]


# --- what is read ---


class Body(BaseModel):
    """A JSON body: exactly these fields, each of its own type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """The query of an address: no other names than these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _one_line(text: str) -> str:
    """Raises ValueError."""
    taken = plain_spaces(text)
    if not taken.isprintable():
        raise ValueError("is not one line of text")
    return taken


Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=WORDS),
    AfterValidator(_one_line),
]
"""A name, a reference, a reason: one line that goes into the trace."""

Typed = Annotated[str, Field(max_length=WORDS)]
"""A text that a rule checks, and refuses with a line in the trace."""


Purpose = Annotated[
    Typed | None,
    Field(description=f"One of retention.purposes, {ACCESS_REQUEST}, or the ground of its hold."),
]
Reference = Annotated[Typed | None, Field(description="Of the request or the file that asks for it.")]
Channel = Annotated[Literal["both", "caller", "operator"], Field(description="Which side.")]


def query_of(request: Request, model: type[Model]) -> Model:
    """The query, checked. Raises Problem: 400."""
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name == "caller":
            said = N_("a number never stands in an address; accepted: `caller` in the body of POST …/search")
            raise Problem(HTTPStatus.BAD_REQUEST, Reason(said))
        if name in given:
            raise Problem(HTTPStatus.BAD_REQUEST, Reason(N_("{where}: is given twice"), where=_shown(name)))
        given[name] = value
    return _read(model, HTTPStatus.BAD_REQUEST, lambda: model.model_validate(given))


def body_of(request: Request, model: type[Model]) -> Model:
    """The JSON body, checked. Raises Problem: 415, 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    content = received(request)
    if kind != _JSON_KIND and (kind or content):
        said = N_("the body is not JSON by its Content-Type; accepted: application/json")
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, Reason(said))
    if not kind and not any(field.is_required() for field in model.model_fields.values()):
        content = b"{}"  # nothing is said, as it may be
    return _read(model, HTTPStatus.UNPROCESSABLE_ENTITY, lambda: model.model_validate_json(content))


def _read(model: type[Model], status: HTTPStatus, read: Callable[[], Model]) -> Model:
    """Raises Problem: the first thing that is wrong in `detail`, all in `errors`."""
    try:
        return read()
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_WRONG]
    wrong = [
        {
            "where": ".".join(_shown(str(part)) for part in one["loc"]),
            "problem": one["msg"].removeprefix("Value error, "),
        }
        for one in found
    ]
    said = N_("{where}: {problem}") if wrong[0]["where"] else "{problem}"
    detail = Reason(said, **wrong[0])
    if found[0]["type"] == "extra_forbidden" and len(found[0]["loc"]) == 1:
        names = ", ".join(one.alias or name for name, one in model.model_fields.items())
        said = N_("{where}: there is no such name; accepted: {names}")
        detail = Reason(said, where=wrong[0]["where"], names=names or N_("none"))
    raise Problem(status, detail, errors=wrong)


def _shown(name: str) -> str:
    """A name that may be anything, in one line and not too long."""
    text = ascii(name)[1:-1]
    return text if len(text) <= WORDS else f"{text[:WORDS]}…"


class _Number(Convertor[int]):
    """`{number:row}`: of a row; no database has one that is longer."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        """The number."""
        return int(value)

    def to_string(self, value: int) -> str:
        """As it stands in an address."""
        return str(value)


register_url_convertor("row", _Number())


# --- who answers ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer: `shape` is a type that pydantic knows, None for bytes."""

    said: str
    shape: Any = None
    status: HTTPStatus = HTTPStatus.OK
    media: str = _JSON_KIND
    headers: Mapping[str, str] = field(default_factory=dict)  # name → what it says


@dataclass(frozen=True, slots=True)
class Operation(Entry):
    """`endpoint(request)`, with `query` and `body` besides where it takes such arguments: pydantic models.

    `summary` is one line, `answers` are those that may come. What goes wrong is always a problem.
    """

    summary: str = field(kw_only=True)
    answers: tuple[Answer, ...] = field(kw_only=True)
    sent: type[BaseModel] | None = field(default=None, kw_only=True)  # a `body` made of a declaration

    @property
    def query(self) -> type[BaseModel] | None:
        """The model of its query."""
        return get_type_hints(self.endpoint).get("query")

    @property
    def body(self) -> type[BaseModel] | None:
        """The JSON that is sent."""
        return self.sent or get_type_hints(self.endpoint).get("body")

    def route(self) -> Route:
        """The guarded address, where what is sent is read only for those who may ask."""
        query, body = self.query, self.body

        def answer(request: Request) -> Response:
            asked = query_of(request, query or Query)
            more: dict[str, BaseModel] = {} if query is None else {"query": asked}
            if body is not None:
                more["body"] = body_of(request, body)
            answered: Response = self.endpoint(request, **more)
            return answered

        return Entry(self.asked, answer).route()


def _operation(  # noqa: PLR0917 - as a table of operations is read
    method: str,
    path: str,
    act: Act,
    summary: str,
    shape: Any,
    said: str,
    *more: Answer,
    status: HTTPStatus = HTTPStatus.OK,
    media: str = _JSON_KIND,
    sent: type[BaseModel] | None = None,
    **headers: str,
) -> Operation:
    """`/api/v1…`, answered by this status and shape, or by `more`."""
    told = {name.replace("_", "-"): text for name, text in headers.items()}
    answer = Answer(said=said, shape=shape, status=status, media=media, headers=told)
    return Operation(f"{method} {VERSION}{path}", act, summary=summary, answers=(answer, *more), sent=sent)


get = partial(_operation, "GET")
post = partial(_operation, "POST")  # what changes something, or must not stand in an address


# --- what is answered ---


def given(
    value: Mapping[str, Any] | Sequence[Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The very bytes that `--json` prints."""
    text = json.dumps(value, indent=2) + "\n"
    return Response(text, int(status), {**FRESH, **(headers or {})}, _JSON_KIND)


def given_one_by_one(values: Iterable[Any]) -> Response:
    """A long array, its items made while it is sent: the same bytes again."""

    def pieces() -> Iterator[str]:
        before = "[\n  "
        for value in values:
            yield before + json.dumps(value, indent=2).replace("\n", "\n  ")
            before = ",\n  "
        yield "[]\n" if before.startswith("[") else "\n]\n"

    return StreamingResponse(pieces(), headers=FRESH, media_type=_JSON_KIND)


def page(
    request: Request,
    rows: Sequence[Row],
    limit: int,
    json: Callable[[Row], Any],
    key: Callable[[Row], object],
) -> Response:
    """A bare array of `limit` rows at most; `rows` has one more where there are more.

    `key` of the last one names where the next page begins: the header `Link` has its address.
    """
    shown, headers = rows[:limit], {}
    if len(rows) > limit:
        asked = {**request.query_params, "limit": str(limit), "after": str(key(shown[-1]))}
        headers["Link"] = f'<{quote(request.url.path)}?{urlencode(asked)}>; rel="next"'
    return given([json(row) for row in shown], headers=headers)


# --- which rows of a list ---

_WHEN = "a date, a date and time, yesterday, 12h, 7d, 2w"

Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="At most so many rows.")]
After = Annotated[
    str | None, Field(max_length=_LONGEST_ID, description="Behind the row with this id: see Link.")
]
Since = Annotated[str | None, Field(max_length=40, description=f"Begun at or after: {_WHEN}.")]
Until = Annotated[
    str | None, Field(max_length=40, description="Begun before; a date alone includes that day.")
]


class _Filters(BaseModel):
    since: Since = None
    until: Until = None
    operator: Annotated[str | None, Field(max_length=256, description="201, or the whole address.")] = None
    reference: Annotated[str | None, Field(max_length=_LONGEST_ID, description="The call's own: 482913.")] = (
        None
    )
    status: Annotated[Status | None, Field(description="Of the recording.")] = None
    held: Annotated[bool, Field(description="Only what is on hold.")] = False
    flagged: Annotated[bool, Field(description="Only what an operator has flagged.")] = False
    limit: Limit = USUAL_ROWS
    after: After = None


class Filtered(Query, _Filters):
    """A page of the calls that are meant, the newest first."""


class Search(Body, _Filters):
    """Which calls are meant, also by their caller."""

    caller: Annotated[
        str | None, Field(max_length=40, description="As one would dial it, or how it begins or ends.")
    ] = None


class Turned(Query):
    """The page of a search, where it is not said in its body."""

    limit: Limit | None = None
    after: After = None


class Numbered(Query):
    """A page of rows that have numbers, the newest first."""

    limit: Limit = USUAL_ROWS
    after: Annotated[
        int | None, Field(ge=1, le=2**53, description="Behind the row with this number: see Link.")
    ] = None


def selection_of(request: Request, asked: Query | Body, **more: Any) -> Selection:
    """The calls that are meant by these filters; `7d` counts from the present minute. Raises
    FieldError."""
    site = site_of(request)
    present = site.clock().replace(second=0, microsecond=0)
    typed = asked.model_dump(exclude={"limit", "after", "by"}) | more
    return selection(site.config, present, **typed)


def page_of(
    request: Request,
    asked: Filtered | Search,
    turned: Turned | None,
    read: Callable[[Selection], list[CallRow]],
) -> Response:
    """A page of what `read` finds. Raises Problem, FieldError."""
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


def id_meant(request: Request) -> str:
    """The id of the call. Raises Problem: 404 for none, 409 for several, with their `ids`."""
    typed = request.path_params["id"]
    found = ids_meant(site_of(request).store, typed, _IDS_LISTED + 1) if is_id(typed) else []
    if not found:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(N_("there is no call with this id")))
    if len(found) > 1:
        said = N_("several calls are meant; accepted: the id of one of them")
        raise Problem(HTTPStatus.CONFLICT, Reason(said), ids=found[:_IDS_LISTED])
    return found[0]


def recording_meant(request: Request) -> Recording:
    """The recording of the call. Raises Problem."""
    id, store = id_meant(request), site_of(request).store
    try:
        return store.recording(id)
    except UnknownId:
        decision = store.receipt(id).decision
    said = N_("this call has no recording ({decision})")
    raise Problem(HTTPStatus.NOT_FOUND, Reason(said, decision=decision))
