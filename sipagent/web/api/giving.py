"""Gives JSON as the commands print it, a page at a time, and says where the next one is."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

KIND = "application/json"
FRESH = {"Cache-Control": "no-store"}

Row = TypeVar("Row")


def given(
    value: Mapping[str, Any] | Sequence[Any],
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The very bytes that `--json` prints."""
    return Response(_text(value) + "\n", int(status), {**FRESH, **(headers or {})}, KIND)


def given_one_by_one(values: Iterable[Any]) -> Response:
    """A long array, its items made while it is sent: the same bytes again."""
    return StreamingResponse(_pieces(values), headers=FRESH, media_type=KIND)


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
