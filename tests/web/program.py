"""A program that asks the interface: each answer is held to the document."""

import re
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from httpx2 import Response
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from sipagent.web.api.openapi import document

API = "/api/v1"
_OK = HTTPStatus.BAD_REQUEST  # below


@dataclass
class Program:
    """Asks, and checks what comes back."""

    client: TestClient

    def get(self, path: str, **more: Any) -> Response:
        """`GET /api/v1…`."""
        return self.ask("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Response:
        """`POST /api/v1…`."""
        return self.ask("POST", path, **({} if json is None else {"json": json}), **more)

    def ask(self, method: str, path: str, **more: Any) -> Response:
        """Any of them, held to the document."""
        answer = self.client.request(method, f"{API}{path}", **more)
        conforms(method, path.partition("?")[0], answer)
        return answer

    def refused(self, status: HTTPStatus, answer: Response) -> str:
        """The one line that says why."""
        assert answer.status_code == status, answer.text
        detail = answer.json()["detail"]
        assert isinstance(detail, str) and detail and "\n" not in detail
        return detail


def conforms(method: str, path: str, answer: Response) -> None:
    """What came back is what the document says of it: status, kind, shape, no cache."""
    told = _told(method, path)
    assert told is not None, f"{method} {path}: not in the document"
    status = str(answer.status_code)
    expected = told["responses"].get(status)
    kind = answer.headers["content-type"].partition(";")[0]
    if expected is None:
        assert answer.status_code >= _OK, f"{method} {path}: {status} is not in the document"
        kinds = document()["components"]["responses"]["Problem"]["content"]
        assert kind == "application/problem+json", answer.text[:200]
        assert answer.json()["status"] == answer.status_code
    else:
        kinds = expected["content"]
        assert answer.headers["cache-control"] == "no-store"
    assert kind in kinds
    if schema := kinds[kind].get("schema"):
        found = list(_validator(repr(schema), schema).iter_errors(answer.json()))
        assert not found, f"{method} {path}: {[(*one.absolute_path, one.message[:200]) for one in found]}"


def _validator(key: str, schema: dict[str, Any]) -> Draft202012Validator:
    return _VALIDATORS.setdefault(
        key, Draft202012Validator({**schema, "components": {"schemas": document()["components"]["schemas"]}})
    )


_VALIDATORS: dict[str, Draft202012Validator] = {}


def _told(method: str, path: str) -> Any:
    for pattern, template in _paths():
        if pattern.fullmatch(f"{API}{path}") and method.lower() in document()["paths"][template]:
            return document()["paths"][template][method.lower()]
    return None


@lru_cache(maxsize=1)
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Those without parameters first."""
    templates = sorted(document()["paths"], key=lambda one: one.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", one)), one) for one in templates]
