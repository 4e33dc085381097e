"""Four eyes are two logins: who asks for a hold, a release, an export for a court cannot approve it."""

import json
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import pytest

from retention.verify import verify
from sipagent.web.rights import Role
from tests.office import Office
from tests.web.conftest import Asking
from tests.web.program import API, Program

HOLD = {"ground": "criminal", "reference": "2026-41", "review": "2030-01-01"}
BOTH = (Role.SUPERVISOR, Role.OFFICER)


@pytest.fixture
def program(asking: Asking) -> Program:
    return Program(asking.client)


def claire(asking: Asking, *roles: Role) -> None:
    """Who asks."""
    asking.login(*(roles or (Role.SUPERVISOR,)), name="claire", via="api")


def paul(asking: Asking) -> None:
    """Who approves."""
    asking.login(Role.OFFICER, name="paul", via="api")


def ask(program: Program, path: str, body: Any) -> Any:
    answer = program.post(path, body)
    assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"{API}/approvals/{told['id']}"
    assert (told["state"], told["by"], told["decided_by"]) == ("pending", "claire", None)
    return told


def decide(program: Program, number: int, what: str, **body: Any) -> Any:
    answer = program.post(f"/approvals/{number}/{what}", body)
    assert answer.status_code == HTTPStatus.OK, answer.text
    return answer.json()


def trace(asking: Asking, id: str) -> list[tuple[Any, ...]]:
    return [(use.action, use.outcome, use.login, use.via) for use in asking.site.store.accesses(id)]


def test_a_hold_is_asked_for_and_another_approves(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call()
    claire(asking)
    number = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    assert program.get(f"/recordings/{row.id}").json()["hold"] is None
    paul(asking)
    assert [one["id"] for one in program.get("/approvals?pending=true").json()] == [number]
    told = decide(program, number, "approve", reason="as agreed")
    assert (told["state"], told["decided_by"], told["answer"]) == ("approved", "paul", "as agreed")
    (held,) = program.get("/holds").json()
    assert held["hold"] == HOLD | {"by": "claire", "approved_by": "paul"}
    assert program.get("/approvals?pending=true").json() == []
    claire(asking)
    assert program.get(f"/approvals/{number}").json() == told
    done = trace(asking, row.id)
    assert ("ask", "done", "claire", "api") in done and ("approve", "done", "paul", "api") in done
    assert any((action, outcome) == ("hold", "done") for action, outcome, _, _ in done)
    assert verify(asking.site.archive).problems == []


def test_who_asked_cannot_approve_even_with_both_roles(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call()
    claire(asking, *BOTH)
    number = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    for what in ("approve", "refuse"):
        said = program.refused(HTTPStatus.FORBIDDEN, program.post(f"/approvals/{number}/{what}", {}))
        assert "claire" in said
        assert trace(asking, row.id)[-1] == (what, "refused", "claire", "api")
    asking.login(*BOTH, name=" CLAIRE ", via="web")
    answer = program.post(f"/approvals/{number}/approve", {}, headers={"x-csrf-token": "csrf- CLAIRE "})
    program.refused(HTTPStatus.FORBIDDEN, answer)
    assert program.get("/holds").json() == []


def test_a_release_is_asked_for_too(asking: Asking, web_office: Office, program: Program) -> None:
    row = web_office.call()
    claire(asking)
    answer = program.post(f"/recordings/{row.id}/release", {"reason": "closed"})
    assert "not on hold" in program.refused(HTTPStatus.CONFLICT, answer)
    held = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    paul(asking)
    decide(program, held, "approve")
    claire(asking)
    answer = program.post(f"/recordings/{row.id}/hold", HOLD)
    assert "on hold already" in program.refused(HTTPStatus.CONFLICT, answer)
    number = ask(program, f"/recordings/{row.id}/release", {"reason": "closed"})["id"]
    paul(asking)
    assert len(program.get("/holds").json()) == 1
    decide(program, number, "approve")
    assert program.get("/holds").json() == []


def test_refused_or_withdrawn_nothing_is_done(asking: Asking, web_office: Office, program: Program) -> None:
    row = web_office.call()
    claire(asking)
    first = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    answer = program.post(f"/recordings/{row.id}/hold", HOLD)
    assert str(first) in program.refused(HTTPStatus.CONFLICT, answer)
    assert decide(program, first, "withdraw", reason="a mistake")["state"] == "withdrawn"
    second = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    asking.login(Role.SUPERVISOR, name="eve", via="api")
    program.refused(HTTPStatus.FORBIDDEN, program.post(f"/approvals/{second}/withdraw", {}))
    paul(asking)
    assert decide(program, second, "refuse", reason="no ground")["state"] == "refused"
    program.refused(HTTPStatus.CONFLICT, program.post(f"/approvals/{second}/approve", {}))
    assert program.get("/holds").json() == []
    pages = program.get("/approvals?limit=1")
    assert [one["id"] for one in pages.json()] == [second]
    following = pages.headers["link"].partition(">")[0][1:].removeprefix(API)
    assert [one["id"] for one in program.get(following).json()] == [first]


def test_what_is_not_done_cannot_be_asked_for(asking: Asking, web_office: Office, program: Program) -> None:
    row = web_office.call()
    claire(asking)
    for changes, word in (({"ground": "<script>"}, "not listed"), ({"renew": True}, "nothing to renew")):
        answer = program.post(f"/recordings/{row.id}/hold", HOLD | changes)
        assert word in program.refused(HTTPStatus.CONFLICT, answer)
    assert trace(asking, row.id) == [("ask", "refused", "claire", "api")] * 2


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (HOLD | {"review": "soon"}, "review"),
        (HOLD | {"reference": "a\u202eb"}, "reference"),
        (HOLD | {"reference": "x" * 100_000}, "reference"),
        (HOLD | {"by": "somebody else"}, "accepted: ground"),
        ({"ground": "criminal"}, "reference"),
    ],
)
def test_what_cannot_be_read(
    asking: Asking, web_office: Office, program: Program, body: Any, word: str
) -> None:
    claire(asking)
    answer = program.post(f"/recordings/{web_office.call().id}/hold", body)
    assert word in program.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)


def test_what_others_asked_for_is_for_those_who_approve(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call()
    claire(asking)
    number = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    for role in (Role.LISTENER, Role.SUPERVISOR):
        asking.login(role, name="eve", via="api")
        assert program.get("/approvals").json() == []
        program.refused(HTTPStatus.NOT_FOUND, program.get(f"/approvals/{number}"))
    paul(asking)
    for unknown in (number + 1, 0, 10**17):
        program.refused(HTTPStatus.NOT_FOUND, program.get(f"/approvals/{unknown}"))
        program.refused(HTTPStatus.NOT_FOUND, program.post(f"/approvals/{unknown}/approve", {}))
    assert decide(program, number, "approve")["state"] == "approved"


def test_a_decision_needs_no_word(asking: Asking, web_office: Office, program: Program) -> None:
    row = web_office.call()
    claire(asking)
    number = ask(program, f"/recordings/{row.id}/hold", HOLD)["id"]
    answer = program.post(f"/approvals/{number}/withdraw")
    assert answer.json()["state"] == "withdrawn"


def test_an_export_for_a_court_is_good_for_one_use(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call(timedelta(hours=2))
    hold = ("--ground", "criminal", "--reference", "2026-41", "--review", "2030-01-01")
    web_office.run("hold", row.id, *hold, "--by", "A. Roux", "--approved-by", "B. Petit")
    path = f"/recordings/{row.id}/uses"
    body = {"purpose": "criminal", "reference": "2026-41", "action": "export", "file": "call.wav"}
    asking.login(Role.LISTENER, name="eve", via="api")
    said = program.refused(HTTPStatus.FORBIDDEN, program.post(path, body))
    assert "supervisor" in said and trace(asking, row.id)[-1] == ("export", "refused", "eve", "api")
    claire(asking)
    number = ask(program, path, body)["id"]
    program.refused(HTTPStatus.CONFLICT, program.post(path, body | {"approval": number}))  # not yet
    paul(asking)
    decide(program, number, "approve")
    program.refused(HTTPStatus.FORBIDDEN, program.post(path, body | {"approval": number}))  # not theirs
    claire(asking)
    other = program.post(path, body | {"approval": number, "channel": "caller"})
    program.refused(HTTPStatus.CONFLICT, other)
    program.refused(HTTPStatus.CONFLICT, program.post(path, body | {"approval": number + 1}))
    answer = program.post(path, body | {"approval": number})
    assert answer.status_code == HTTPStatus.CREATED
    assert program.get(answer.json()["sound"].removeprefix(API)).status_code == HTTPStatus.OK
    assert program.get(f"/approvals/{number}").json()["state"] == "used"
    program.refused(HTTPStatus.CONFLICT, program.post(path, body | {"approval": number}))
    (copy,) = json.loads(web_office.run("show", row.id, "--json").out)["copies"]
    assert (copy["path"], copy["by"]) == ("call.wav", "claire")
    assert verify(asking.site.archive).problems == []


def test_to_listen_on_the_ground_of_a_hold_needs_nobody_else(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call()
    hold = ("--ground", "criminal", "--reference", "2026-41", "--review", "2030-01-01")
    web_office.run("hold", row.id, *hold, "--by", "A. Roux", "--approved-by", "B. Petit")
    asking.login(Role.LISTENER, via="api")
    answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "criminal"})
    assert answer.status_code == HTTPStatus.CREATED
