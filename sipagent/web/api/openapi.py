"""All that programs may ask for, and the OpenAPI document that says so: addresses, what is sent, what comes
back, who may.

(OpenAPI 3.1; problems are those of RFC 9457.)
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import Response

from retention.records import Json
from sipagent import __version__
from sipagent.web.api import calls, compliance, holds, persons, uses
from sipagent.web.api.operation import Answer, Operation, get, given
from sipagent.web.problems import Told
from sipagent.web.rights import Right, roles_with

BEARER, SESSION = "bearer", "session"
_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")
_PATH_KINDS: dict[str, Json] = {
    "row": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^/]+$"},
}
_NULL = {"type": "null"}
_PROBLEM = {"$ref": "#/components/responses/Problem"}


def description(operations: Iterable[Operation], cookie: str) -> Json:
    """The document; `cookie` names the cookie of a session."""
    known = tuple(operations)
    schemas, shapes = _schemas(known)
    paths: dict[str, Json] = {}
    for one in known:
        method, path = one.asked.split(" ", 1)
        plain = _PARAMETER.sub(r"{\1}", path)
        paths.setdefault(plain, {})[method.lower()] = _operation(one, path, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sipagent",
            "version": __version__,
            "summary": "Calls, recordings, and what is done with them, as the commands tell it.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "security": [{BEARER: []}, {SESSION: []}],
        "paths": paths,
        "components": {
            "schemas": shapes,
            "responses": {
                "Problem": {
                    "description": "What goes wrong: `detail` says it in one line.",
                    "content": {"application/problem+json": {"schema": schemas[Told]}},
                }
            },
            "securitySchemes": {
                BEARER: {"type": "http", "scheme": "bearer", "description": "By `sipagent token add`."},
                SESSION: {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "Of somebody who has logged in on the page.",
                },
            },
        },
    }


def _operation(one: Operation, path: str, schemas: dict[Any, Json]) -> Json:
    told: Json = {
        "operationId": _name(one),
        "summary": one.summary,
        "description": _who(one.right),
        "parameters": [*_path_parameters(path), *_query_parameters(one, schemas)],
        "responses": {str(int(status)): _answer(answer, schemas) for status, answer in one.answers.items()}
        | {"default": _PROBLEM},
    }
    if one.right is Right.ANYBODY:
        told["security"] = []
    if one.body is not None:
        content = {"application/json": {"schema": schemas[one.body]}}
        required = any(field.is_required() for field in one.body.model_fields.values())
        told["requestBody"] = {"required": required, "content": content}
    return told


def _name(one: Operation) -> str:
    """`get_recordings_id_uses_number_sound`."""
    method, path = one.asked.split(" ", 1)
    words = re.findall(r"\w+", _PARAMETER.sub(r"\1", path).removeprefix("/api/v1"))
    return "_".join((method.lower(), *words))


def _who(right: Right) -> str:
    match right:
        case Right.ANYBODY:
            return "For anybody, without a login."
        case Right.PERSON:
            return "For whoever is logged in."
        case _:
            return f"For these roles: {', '.join(roles_with(right))}."


def _path_parameters(path: str) -> Iterator[Json]:
    for name, kind in _PARAMETER.findall(path):
        schema = _PATH_KINDS[kind]
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(one: Operation, schemas: dict[Any, Json]) -> Iterator[Json]:
    if one.query is None:
        return
    own = schemas[one.query]
    for name, schema in own["properties"].items():
        told = {key: value for key, value in schema.items() if key != "description"}
        if any(one == _NULL for one in told.get("anyOf", ())):  # nothing in an address is null
            told = {key: value for key, value in told.items() if key not in ("anyOf", "default")}
            told |= next(one for one in schema["anyOf"] if one != _NULL)
        said = schema.get("description", "")
        required = name in own.get("required", ())
        yield {"name": name, "in": "query", "required": required, "description": said, "schema": told}


def _answer(answer: Answer, schemas: dict[Any, Json]) -> Json:
    told: Json = {"description": answer.said}
    if answer.media is not None:
        schema = {} if answer.shape is None else schemas[answer.shape]
        told["content"] = {answer.media: {"schema": schema} if schema else {}}
    if answer.headers:
        told["headers"] = {
            name: {"description": said, "schema": {"type": "string"}} for name, said in answer.headers.items()
        }
    return told


def _schemas(operations: tuple[Operation, ...]) -> tuple[dict[Any, Json], Json]:
    """The schema of each shape, body and query, and the definitions that they name."""
    given = {answer.shape for one in operations for answer in one.answers.values()} - {None} | {Told}
    sent = {one.body for one in operations if one.body is not None}
    asked = {one.query for one in operations if one.query is not None}
    inputs: list[Any] = [(shape, "serialization", TypeAdapter(shape)) for shape in sorted(given, key=repr)]
    inputs += [(model, "validation", TypeAdapter(model)) for model in sorted(sent | asked, key=repr)]
    made, definitions = TypeAdapter.json_schemas(inputs, ref_template=_REF)
    shapes = definitions["$defs"]
    for shape in shapes.values():
        _tidy(shape)
    schemas: dict[Any, Json] = {shape: schema for (shape, _), schema in made.items()}
    for model in asked:  # its fields are parameters, each for itself
        schemas[model] = shapes.pop(model.__name__)
    return schemas, shapes


def _tidy(shape: Json) -> None:
    """What we give has all of its fields, and no other; a problem may have more."""
    for field in shape.get("properties", {}).values():
        field.pop("title", None)
    if "properties" not in shape or "additionalProperties" in shape:
        return
    for field in shape["properties"].values():
        field.pop("default", None)
    shape["required"] = list(shape["properties"])
    shape["additionalProperties"] = shape["title"] == Told.__name__


COOKIE = "__Host-sipagent"  # without TLS, on loopback: `sipagent`


def openapi(request: Request) -> Response:
    """The document."""
    return given(document())


@lru_cache(maxsize=1)
def document() -> Json:
    """What there is, as OpenAPI 3.1."""
    return description(ENTRIES, COOKIE)


ENTRIES: tuple[Operation, ...] = (
    *calls.RECORDING_ENTRIES,
    *uses.USE_ENTRIES,
    *uses.NOTE_ENTRIES,
    *calls.CALL_ENTRIES,
    *holds.HOLD_ENTRIES,
    *holds.APPROVAL_ENTRIES,
    *persons.ENTRIES,
    *compliance.ACCESS_ENTRIES,
    *calls.STATS_ENTRIES,
    *calls.EVENT_ENTRIES,
    *compliance.COMPLIANCE_ENTRIES,
    get("/openapi.json", openapi, "This document", dict[str, object], "OpenAPI 3.1."),
)
