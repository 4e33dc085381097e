"""Each address for each role, as the table says; what is refused is in the trace, and told to nobody else."""

import re
from http import HTTPStatus
from typing import Any

import pytest

from sipagent.web.api.openapi import ENTRIES
from sipagent.web.api.operation import Operation
from sipagent.web.rights import Right, Role, rights_of, roles_with
from tests.web.conftest import Asking
from tests.web.program import API, Program

BODIES: dict[str, Any] = {  # what each takes, of a call that is not there
    "POST /recordings/search": {},
    "POST /recordings/{id}/uses": {"purpose": "quality"},
    "POST /recordings/{id}/notes": {"text": "well answered"},
    "POST /recordings/{id}/hold": {"ground": "criminal", "reference": "2026-41", "review": "2030-01-01"},
    "POST /recordings/{id}/release": {"reason": "closed"},
    "POST /calls/search": {},
    "POST /calls/{id}/delete": {"reason": "request 2026-118"},
    "POST /approvals/{number}/approve": {},
    "POST /approvals/{number}/refuse": {"reason": "no ground"},
    "POST /approvals/{number}/withdraw": {},
    "POST /persons": {"caller": "06 12 34 56 78"},
    "POST /persons/delete": {"caller": "06 12 34 56 78", "reason": "request 2026-118"},
}
ENDLESS = "GET /api/v1/events"  # looked at by tests of its own
GUARDED = [one for one in ENTRIES if one.right is not Right.ANYBODY]


def ask(program: Program, one: Operation) -> Any:
    """Ask for it, of a call, a use or an approval that is not there."""
    method, path = one.asked.split(" ", 1)
    plain = re.sub(r":\w+\}", "}", path).removeprefix(API)
    there = plain.replace("{id}", "20261124T222000123-482913").replace("{number}", "7")
    body = BODIES.get(f"{method} {plain}")
    return program.ask(method, there, **({} if body is None else {"json": body}))


@pytest.mark.parametrize("one", GUARDED, ids=lambda one: one.asked)
def test_without_a_login_nothing(asking: Asking, one: Operation) -> None:
    program = Program(asking.client)
    answer = ask(program, one)
    assert "token" in program.refused(HTTPStatus.UNAUTHORIZED, answer)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert asking.site.store.accesses() == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("one", GUARDED, ids=lambda one: one.asked)
def test_each_role_as_the_table_says(asking: Asking, one: Operation, role: Role) -> None:
    asking.login(role, name="claire", via="api")
    if one.right in rights_of([role]) and one.asked == ENDLESS:
        return
    program = Program(asking.client)
    answer = ask(program, one)
    told = [(row.action, row.outcome, row.login, row.via) for row in asking.site.store.accesses()]
    if one.right in rights_of([role]):
        assert answer.status_code not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN), answer.text
        assert ("right", "refused", "claire", "api") not in told
    else:
        said = program.refused(HTTPStatus.FORBIDDEN, answer)
        assert all(name in said for name in roles_with(one.right))
        assert told == [("right", "refused", "claire", "api")]


@pytest.mark.parametrize("one", GUARDED, ids=lambda one: one.asked)
def test_who_has_no_role_may_nothing(asking: Asking, one: Operation) -> None:
    asking.login(via="api")
    program = Program(asking.client)
    program.refused(HTTPStatus.FORBIDDEN, ask(program, one))


def test_all_that_takes_a_body_is_asked_with_one() -> None:
    taking = {re.sub(r":\w+\}", "}", one.asked).replace(API, "") for one in ENTRIES if one.body is not None}
    assert taking == set(BODIES)
