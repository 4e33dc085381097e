"""Whatever is asked: an answer that the document knows, never a fault of the server, never a traceback."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.requests import Request

from sipagent.config.load import load
from sipagent.web.api.openapi import ENTRIES
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import CONFIG, Office

CHECKS: Any = (
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_schema_conformance, negative_data_rejection),
)
ROLES = frozenset((Role.LISTENER, Role.SUPERVISOR, Role.OFFICER))
OUTSIDE = ("events", "verify", "check", "register")  # one never ends, the others are processes of their own
FUZZED = [re.sub(r":\w+\}", "}", one.asked) for one in ENTRIES if not one.asked.endswith(OUTSIDE)]
FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def ids() -> list[str]:
    """Of the calls that there are."""
    return []


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> Iterator[Any]:
    """The interface over a few calls, asked by somebody who may all that a program may."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    office = Office(folder, None)  # type: ignore[arg-type]
    ids += [office.call(timedelta(hours=hours)).id for hours in range(1, 4)]

    def identify(request: Request) -> Person:
        return Person(name="claire", roles=ROLES, via="api")

    site = Site(config=load(folder / "config.toml"), identify=identify)
    yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", create_app(site))
    site.store.close()


@pytest.mark.parametrize("asked", FUZZED)
@pytest.mark.parametrize("there", [False, True], ids=["of anything", "of what is there"])
def test_whatever_is_asked(api: Any, ids: list[str], asked: str, *, there: bool) -> None:
    method, path = asked.split(" ", 1)

    @FEW
    @given(case=api[path][method].as_strategy())
    def ask(case: Any) -> None:
        if there:
            number = len(repr(case.body)) + len(repr(case.query))
            named = {"id": ids[number % len(ids)], "number": 1 + number % 20}
            case.path_parameters = {name: named[name] for name in case.path_parameters}
        case.call_and_validate(checks=CHECKS)

    if not there or "{" in path:
        ask()
