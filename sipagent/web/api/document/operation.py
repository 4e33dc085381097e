"""One thing that programs may ask for: what is read, who answers, and what it looks like.

The checks of a request and the document about it come from the same place: the models that the function is
annotated with, and the answers that its `Operation` lists.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, get_type_hints

from pydantic import BaseModel
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sipagent.web.api.reading import body_of, query_of
from sipagent.web.guard import Entry

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

    @property
    def query(self) -> type[BaseModel] | None:
        """What may stand behind the `?`."""
        return get_type_hints(self.endpoint).get("query")

    @property
    def body(self) -> type[BaseModel] | None:
        """The JSON that is sent."""
        return get_type_hints(self.endpoint).get("body")

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


def post(path: str, act: Act, summary: str, answers: Mapping[HTTPStatus, Answer]) -> Operation:
    """One that changes something, or must not stand in an address: `POST /api/v1…`."""
    return Operation(f"POST {VERSION}{path}", act, summary=summary, answers=answers)


def search(path: str, act: Act, summary: str, shape: Any, said: str) -> Operation:
    """One that reads what must not stand in an address: `POST /api/v1…`, answered by pages like a list."""
    return post(path, act, summary, {HTTPStatus.OK: Answer(said=said, shape=shape, headers={"Link": NEXT})})
