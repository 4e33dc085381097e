"""The document is of what there is, and what there is is in it."""

import json
import re

import pytest
from openapi_spec_validator import validate

from sipagent.web.api.openapi import ENTRIES, document
from sipagent.web.api.operation import Body, Query
from sipagent.web.rights import ROUTES, Right, roles_with
from tests.web.conftest import Asking


def test_it_is_valid_openapi() -> None:
    validate(document())
    assert document()["openapi"] == "3.1.0"


def test_each_route_is_in_it_and_nothing_else() -> None:
    told = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    there = {re.sub(r":\w+\}", "}", asked) for asked in ROUTES if " /api/" in asked}
    assert told == there
    assert {one.asked for one in ENTRIES} == {asked for asked in ROUTES if " /api/" in asked}


def test_it_says_who_may() -> None:
    for one in ENTRIES:
        method, path = re.sub(r":\w+\}", "}", one.asked).split(" ", 1)
        told = document()["paths"][path][method.lower()]
        assert (told.get("security") == []) == (one.right is Right.ANYBODY)
        assert all(role in told["description"] for role in roles_with(one.right)) or one.right in (
            *(Right.ANYBODY, Right.PERSON),
        )


def test_it_is_for_anybody(asking: Asking) -> None:
    answer = asking.client.get("/api/v1/openapi.json")
    assert answer.json() == json.loads(json.dumps(document()))


@pytest.mark.parametrize("one", ENTRIES, ids=lambda one: one.asked)
def test_what_is_sent_is_read_by_a_model_that_takes_nothing_else(one) -> None:  # type: ignore[no-untyped-def]
    assert one.query is None or issubclass(one.query, Query)
    assert one.body is None or issubclass(one.body, Body)
    assert (one.body is not None) <= one.asked.startswith("POST ")


def test_each_text_that_is_sent_has_an_end() -> None:
    """Whatever is a string in what we read: bounded, or one of a few."""

    def open_ended(schema: object, where: str) -> list[str]:
        if isinstance(schema, list):
            return [found for one in schema for found in open_ended(one, where)]
        if not isinstance(schema, dict):
            return []
        if schema.get("type") == "string" and not schema.keys() & {
            "maxLength",
            "enum",
            "const",
            "format",
            "pattern",
        }:
            return [where]
        return [found for name, one in schema.items() for found in open_ended(one, f"{where}.{name}")]

    for path, methods in document()["paths"].items():
        for told in methods.values():
            sent = [told["parameters"], told.get("requestBody", {})]
            names = re.findall(r"#/components/schemas/(\w+)", json.dumps(sent))
            found = [document()["components"]["schemas"][name] for name in names]
            assert open_ended([*sent, *found], path) == []
