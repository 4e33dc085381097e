"""One thing that programs may ask for: what is read, who answers, and what it looks like.

    query_of, body_of    what is sent behind the `?` and as JSON, or in one line what is wrong with it
    Operation            an address, its function, and its answers
    given, page          JSON as the commands print it, a page at a time, and where the next one is
    Filtered, Search     which rows of a list, how many, and behind which one they begin
    id_meant             the call of an address: by its id, a unique beginning of it, or its reference

The checks of a request and the document about it come from the same place: the models that the function
is annotated with, and the answers that its `Operation` lists.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, get_type_hints
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
from sipagent.config.errors import plain_spaces
from sipagent.languages.labels import N_
from sipagent.lookup.parsing import selection
from sipagent.web.guard import Entry, received
from sipagent.web.problems import Problem
from sipagent.web.site import site_of

WORDS = 200  # characters of a name, a reference
_MOST_WRONG = 20  # things that are wrong, each in a line

Model = TypeVar("Model", bound=BaseModel)


class Body(BaseModel):
    """What is sent as JSON: nothing else than these fields, each of its own type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Query(BaseModel):
    """What is asked for in an address: nothing else than these names."""

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
"""What a rule looks at, and refuses with a line in the trace."""


def query_of(request: Request, model: type[Model] | None) -> Model | None:
    """What is asked for; without a model nothing may be. Raises Problem: 400."""
    given: dict[str, str] = {}
    known = [] if model is None else list(_names(model))
    for name, value in request.query_params.multi_items():
        if name == "caller":
            said = N_("a number never stands in an address; accepted: `caller` in the body of POST …/search")
            raise Problem(HTTPStatus.BAD_REQUEST, Reason(said))
        if name not in known:
            raise _unknown(HTTPStatus.BAD_REQUEST, name, known)
        if name in given:
            raise Problem(HTTPStatus.BAD_REQUEST, Reason(N_("{where}: is given twice"), where=name))
        given[name] = value
    if model is None:
        return None
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise _wrong(HTTPStatus.BAD_REQUEST, error, known) from error


def body_of(request: Request, model: type[Model]) -> Model:
    """The JSON that is sent. Raises Problem: 415, 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", ""):
        raise _not_json()
    content = received(request)
    if not kind and content:
        raise _not_json()
    if not kind and not any(field.is_required() for field in model.model_fields.values()):
        content = b"{}"  # nothing is said, as it may be
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise _wrong(HTTPStatus.UNPROCESSABLE_ENTITY, error, list(_names(model))) from error


def _not_json() -> Problem:
    said = N_("the body is not JSON by its Content-Type; accepted: application/json")
    return Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, Reason(said))


def _names(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _unknown(status: HTTPStatus, name: str, known: list[str]) -> Problem:
    said = N_("{where}: there is no such name; accepted: {names}")
    return Problem(status, Reason(said, where=_shown(name), names=", ".join(known) or N_("none")))


def _wrong(status: HTTPStatus, error: ValidationError, known: list[str]) -> Problem:
    """What is wrong: the first in `detail`, all in `errors`."""
    found = error.errors(include_url=False, include_context=False, include_input=False)[:_MOST_WRONG]
    first = found[0]
    where = _place(first["loc"])
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        problem = _unknown(status, where, known)
    else:
        said = N_("{where}: {problem}") if where else "{problem}"
        problem = Problem(status, Reason(said, where=where, problem=_message(first)))
    problem.more["errors"] = [{"where": _place(one["loc"]), "problem": _message(one)} for one in found]
    return problem


def _message(found: Any) -> str:
    """`Input should be a valid string`."""
    return str(found["msg"]).removeprefix("Value error, ")


def _place(path: tuple[int | str, ...]) -> str:
    """`hold.review`."""
    return ".".join(_shown(str(part)) for part in path)


def _shown(name: str) -> str:
    """A name that may be anything, in one line and not too long."""
    text = ascii(name)[1:-1]
    return text if len(text) <= WORDS else f"{text[:WORDS]}…"


VERSION = "/api/v1"
NEXT = "Where the next page is, while there may be one."

Act = Callable[..., Response]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an answer holds: `shape` is a type that pydantic knows, None for bytes or nothing."""

    said: str
    shape: Any = None
    media: str | None = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)  # name → what it says


@dataclass(frozen=True, slots=True)
class Operation(Entry):
    """`endpoint(request)`, with `query` and `body` besides where it takes such arguments: pydantic models.

    `summary` is one line, `answers` says what comes by status. What goes wrong is always a problem.
    """

    summary: str = field(kw_only=True)
    answers: Mapping[HTTPStatus, Answer] = field(kw_only=True)
    sent: type[BaseModel] | None = field(default=None, kw_only=True)  # a `body` made of a declaration

    @property
    def query(self) -> type[BaseModel] | None:
        """What may stand behind the `?`."""
        return get_type_hints(self.endpoint).get("query")

    @property
    def body(self) -> type[BaseModel] | None:
        """The JSON that is sent."""
        return self.sent or get_type_hints(self.endpoint).get("body")

    def route(self) -> Route:
        """The guarded address, where what is sent is read only for those who may ask."""
        return Entry(self.asked, reading(self.endpoint, self.query, self.body)).route()


def reading(act: Act, query: type[BaseModel] | None, body: type[BaseModel] | None) -> Act:
    """The function, given what it takes. It raises Problem for what cannot be read."""

    def answer(request: Request) -> Response:
        given: dict[str, BaseModel] = {}
        asked = query_of(request, query)
        if asked is not None:
            given["query"] = asked
        if body is not None:
            given["body"] = body_of(request, body)
        return act(request, **given)

    return answer


def get(path: str, act: Act, summary: str, shape: Any, said: str, **headers: str) -> Operation:
    """One that reads: `GET /api/v1…`, answered by JSON of that shape."""
    told = {name.replace("_", "-"): text for name, text in headers.items()}
    answers = {HTTPStatus.OK: Answer(said=said, shape=shape, headers=told)}
    return Operation(f"GET {VERSION}{path}", act, summary=summary, answers=answers)


def post(path: str, act: Act, summary: str, answers: Mapping[HTTPStatus, Answer], **more: Any) -> Operation:
    """One that changes something, or must not stand in an address: `POST /api/v1…`; `more` of Operation."""
    return Operation(f"POST {VERSION}{path}", act, summary=summary, answers=answers, **more)


def search(path: str, act: Act, summary: str, shape: Any, said: str) -> Operation:
    """One that reads what must not stand in an address: `POST /api/v1…`, answered by pages like a list."""
    return post(path, act, summary, {HTTPStatus.OK: Answer(said=said, shape=shape, headers={"Link": NEXT})})


JSON_KIND = "application/json"
FRESH = {"Cache-Control": "no-store"}

Row = TypeVar("Row")


def given(
    value: Mapping[str, Any] | Sequence[Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The very bytes that `--json` prints."""
    return Response(_text(value) + "\n", int(status), {**FRESH, **(headers or {})}, JSON_KIND)


def given_one_by_one(values: Iterable[Any]) -> Response:
    """A long array, its items made while it is sent: the same bytes again."""
    return StreamingResponse(_pieces(values), headers=FRESH, media_type=JSON_KIND)


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
    shown = rows[:limit]
    link = {"Link": _next(request, limit, key(shown[-1]))} if len(rows) > limit else None
    return given([json(row) for row in shown], headers=link)


def _next(request: Request, limit: int, last: object) -> str:
    asked = {**request.query_params, "limit": str(limit), "after": str(last)}
    return f'<{quote(request.url.path)}?{urlencode(asked)}>; rel="next"'


def _pieces(values: Iterable[Any]) -> Iterator[str]:
    begun = False
    for value in values:
        text = _text(value).replace("\n", "\n  ")
        yield f",\n  {text}" if begun else f"[\n  {text}"
        begun = True
    yield "\n]\n" if begun else "[]\n"


def _text(value: Any) -> str:
    return json.dumps(value, indent=2)


CallRow = TypeVar("CallRow", Recording, Receipt)

USUAL_ROWS = 50
MOST_ROWS = 500

_LONGEST_ID = 64
_FILTERS = {
    *("since", "until", "caller", "reference", "operator", "status", "outcome", "decision"),
    *("held", "flagged"),
}
_WHEN = "a date, a date and time, yesterday, 12h, 7d, 2w"

Limit = Annotated[int, Field(ge=1, le=MOST_ROWS, description="At most so many rows.")]
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

    limit: Limit = USUAL_ROWS
    after: Annotated[
        int | None, Field(ge=1, le=2**53, description="Behind the row with this number: see Link.")
    ] = None


class Page(Query):
    """A page of rows that have ids, the newest first."""

    limit: Limit = USUAL_ROWS
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
    limit: Limit = USUAL_ROWS
    after: After = None


def selection_of(request: Request, asked: Query | Body, **more: Any) -> Selection:
    """The calls that are meant by these filters; `7d` counts from the present minute. Raises
    FieldError."""
    site = site_of(request)
    present = site.clock().replace(second=0, microsecond=0)
    typed = {name: value for name, value in asked.model_dump().items() if name in _FILTERS}
    return selection(site.config, present, **typed, **more)


def page_of(
    request: Request,
    asked: Filtered | Search,
    turned: Turned | None,
    read: Callable[[Selection], list[CallRow]],
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


_IDS_LISTED = 10


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
