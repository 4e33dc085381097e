"""All that programs may ask for, and the OpenAPI document that says so: addresses, what is sent, what comes
back, who may. Its schemas are pydantic's, of the very types that are read and given.

(OpenAPI 3.1; problems are those of RFC 9457.)
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from retention.outbox import DATA, EventType
from retention.records import Json
from sipagent import __version__
from sipagent.web.api import calls, compliance, uses
from sipagent.web.api.operation import Answer, Operation, get, given
from sipagent.web.problems import KIND, Told
from sipagent.web.rights import Right, roles_with

SAID = {  # when each is sent
    EventType.CALL_ENDED: "A call is over, recorded or not",
    EventType.CALL_NOT_RECORDED: "It should have been recorded, and was not, or not wholly",
    EventType.RECORDING_CLOSED: "The file of a recording is whole",
    EventType.RECORDING_ERASED: "The caller refused, or an operator had it erased",
    EventType.RECORDING_PURGED: "The time of a recording was over, or somebody deleted it",
    EventType.HOLD_PLACED: "A recording is held as evidence, or its hold was renewed",
    EventType.HOLD_DUE: "The review of a hold is overdue",
    EventType.HOLD_RELEASED: "A hold has ended",
    EventType.ALERT: "Somebody has to see to something",
}
COOKIE = "__Host-sipagent"  # without TLS, on loopback: `sipagent`
BEARER, SESSION = "bearer", "session"
_PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")
_PATH_KINDS: dict[str, Json] = {
    "row": {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    "": {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[^/]+$"},
}


class _Schemas(GenerateJsonSchema):
    """Without titles of fields. What we give has all of its fields and no other; a problem may have more."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dataclass_schema(self, schema: Any) -> Json:
        made = super().dataclass_schema(schema)
        for field in made["properties"].values():
            field.pop("default", None)
        made["required"] = [
            name for name in made["properties"] if name not in getattr(schema["cls"], "omitted", ())
        ]
        made["additionalProperties"] = schema["cls"] is Told
        return made


def description(operations: Iterable[Operation], cookie: str) -> Json:
    """The document; `cookie` names the cookie of a session."""
    known = tuple(operations)
    schemas, shapes = _schemas(known)
    paths: dict[str, Json] = {}
    for one in known:
        method, path = one.asked.split(" ", 1)
        plain = _PARAMETER.sub(r"{\1}", path)
        paths.setdefault(plain, {})[method.lower()] = _operation(one, path, schemas)
    said = "What goes wrong: `detail` says it in one line."
    problem = {"description": said, "content": {KIND: {"schema": schemas[Told]}}}
    bearer = {"type": "http", "scheme": "bearer", "description": "By `sipagent token add`."}
    session = {"type": "apiKey", "in": "cookie", "name": cookie}
    session["description"] = "Of somebody who has logged in on the page."
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
        "webhooks": {type.value: {"post": _told(type, schemas[of])} for type, of in DATA.items()},
        "components": {
            "schemas": shapes,
            "responses": {"Problem": problem},
            "securitySchemes": {BEARER: bearer, SESSION: session},
        },
    }


def _operation(one: Operation, path: str, schemas: dict[Any, Json]) -> Json:
    method = one.asked.split(" ", 1)[0].lower()
    words = re.findall(r"\w+", _PARAMETER.sub(r"\1", path).removeprefix("/api/v1"))
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_KINDS[kind]}
        for name, kind in _PARAMETER.findall(path)
    ]
    told: Json = {
        "operationId": "_".join((method, *words)),  # `get_recordings_id_uses_number_sound`
        "summary": one.summary,
        "description": f"For these roles: {', '.join(roles_with(one.right))}.",
        "parameters": parameters if one.query is None else [*parameters, *_asked(schemas[one.query])],
        "responses": {str(int(answer.status)): _answer(answer, schemas) for answer in one.answers}
        | {"default": {"$ref": "#/components/responses/Problem"}},
    }
    if one.right is Right.ANYBODY:
        told |= {"description": "For anybody, without a login.", "security": []}
    if one.body is not None:
        required = any(field.is_required() for field in one.body.model_fields.values())
        told["requestBody"] = {"required": required, "content": _json(schemas[one.body])}
    return told


def _told(type: EventType, data: Json) -> Json:
    """What `events.webhook` gets, in the form of Standard Webhooks; it answers that it has it."""
    told = {
        "type": {"const": type.value},
        "timestamp": {"type": "string", "format": "date-time"},
        "data": data,
    }
    schema = {"type": "object", "properties": told, "required": [*told], "additionalProperties": False}
    text = {"in": "header", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": type.value.replace(".", "_"),
        "summary": SAID[type],
        "parameters": [{"name": f"webhook-{one}", **text} for one in ("id", "timestamp", "signature")],
        "requestBody": {"required": True, "content": _json(schema)},
        "responses": {"2XX": {"description": "Taken. Any other answer, and it is sent again."}},
        "security": [],
    }


def _asked(query: Json) -> Iterator[Json]:
    """The parameters of a query: nothing in an address is null."""
    for name, schema in query["properties"].items():
        told = dict(schema)
        said = told.pop("description", "")
        if "anyOf" in told:
            del told["default"]
            told |= next(one for one in told.pop("anyOf") if one != {"type": "null"})
        yield {"name": name, "in": "query", "required": False, "description": said, "schema": told}


def _answer(answer: Answer, schemas: dict[Any, Json]) -> Json:
    told: Json = {"description": answer.said}
    told["content"] = {answer.media: {}} if answer.shape is None else _json(schemas[answer.shape])
    if answer.headers:
        text = {"schema": {"type": "string"}}
        told["headers"] = {name: {"description": said, **text} for name, said in answer.headers.items()}
    return told


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _schemas(operations: tuple[Operation, ...]) -> tuple[dict[Any, Json], Json]:
    """The schema of each shape, body and query, and the definitions that they name."""
    given: set[Any] = {answer.shape for one in operations for answer in one.answers} - {None}
    given |= {Told, *DATA.values()}
    asked = {one.query for one in operations if one.query is not None}
    read: set[type[BaseModel]] = asked | {one.body for one in operations if one.body is not None}
    inputs: list[Any] = [(shape, "serialization", TypeAdapter(shape)) for shape in sorted(given, key=repr)]
    inputs += [(model, "validation", TypeAdapter(model)) for model in sorted(read, key=repr)]
    made, definitions = TypeAdapter.json_schemas(
        inputs, ref_template="#/components/schemas/{model}", schema_generator=_Schemas
    )
    shapes = definitions["$defs"]
    schemas: dict[Any, Json] = {shape: schema for (shape, _), schema in made.items()}
    for model in asked:  # its fields are parameters, each for itself
        schemas[model] = shapes.pop(model.__name__)
    return schemas, shapes


def openapi(request: Request) -> Response:
    """The document."""
    return given(document())


@lru_cache(maxsize=1)
def document() -> Json:
    """The document of all entries."""
    return description(ENTRIES, COOKIE)


ENTRIES: tuple[Operation, ...] = (
    *calls.ENTRIES,
    *uses.ENTRIES,
    *compliance.ENTRIES,
    get("/openapi.json", openapi, "This document", dict[str, object], "OpenAPI 3.1."),
)
