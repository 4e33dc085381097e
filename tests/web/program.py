"""A program that asks the interface: each answer is held to the document."""

import json
import re
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any

from httpx2 import Response
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from sipagent.web.api.openapi import document

API = "/api/v1"


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
    told = next(
        (
            methods[method.lower()]
            for one, methods in _paths()
            if one.fullmatch(path)
            if method.lower() in methods
        ),
        None,
    )
    assert told is not None, f"{method} {path}: not in the document"
    expected = told["responses"].get(str(answer.status_code))
    kind = answer.headers["content-type"].partition(";")[0]
    if expected is None:
        assert answer.is_error, f"{method} {path}: {answer.status_code} is not in the document"
        expected = document()["components"]["responses"]["Problem"]
        assert kind == "application/problem+json", answer.text[:200]
        assert answer.json()["status"] == answer.status_code
    else:
        assert answer.headers["cache-control"] == "no-store"
    assert kind in expected["content"]
    if schema := expected["content"][kind].get("schema"):
        found = list(validator(json.dumps(schema)).iter_errors(answer.json()))
        assert not found, f"{method} {path}: {[(*one.absolute_path, one.message[:200]) for one in found]}"


@cache
def validator(schema: str) -> Draft202012Validator:
    known = {"components": {"schemas": document()["components"]["schemas"]}}
    return Draft202012Validator(json.loads(schema) | known)


@cache
def _paths() -> list[tuple[re.Pattern[str], Any]]:
    """What may be asked for at which address; those without parameters first."""
    of_all = sorted(document()["paths"].items(), key=lambda one: one[0].count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", one.removeprefix(API))), told) for one, told in of_all]
