"""Reads what a program sends: behind the `?`, and as JSON; says in one line what is wrong with it."""

from http import HTTPStatus
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import Request

from sipagent.config.errors import plain_spaces
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.received import received

WORDS = 200  # characters of a name, a reference
_MOST = 20  # things that are wrong, each in a line

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
    found = error.errors(include_url=False, include_context=False, include_input=False)[:_MOST]
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
