"""What is kept of a person, by a whole number or a reference; and one call, recorded or not."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from retention.records import new_id, reference_of
from sipagent.web.rights import Role
from tests.kept import receipt, recording
from tests.office import Office
from tests.web.conftest import Asking
from tests.web.program import Program

CALLER, OTHER = "+33612345678", "+33687654321"


@pytest.fixture
def officer(asking: Asking) -> Program:
    asking.login(Role.OFFICER, name="paul", via="api")
    return Program(asking.client)


def unrecorded(asking: Asking, **changes: Any) -> str:
    """A call that was not recorded."""
    at = datetime.now(UTC) - timedelta(hours=1)
    row = replace(
        receipt(replace(recording(), id=new_id(at), started_at=at)), recording_id=None, decision="refused"
    )
    asking.site.store.add_receipt(replace(row, **changes))
    return row.id


def test_one_call_is_what_the_command_prints(asking: Asking, web_office: Office, officer: Program) -> None:
    row = web_office.call(flagged=True)
    out = web_office.folder / "call.wav"
    assert web_office.run("export", row.id, "--purpose", "quality", "--by", "A", "--out", out).code == 0
    printed = web_office.run("show", row.id, "--json").out
    assert json.loads(printed)["copies"]
    for path in (f"/recordings/{row.id}", f"/calls/{row.id}", f"/calls/{reference_of(row.id)}"):
        assert officer.get(path).text == printed


def test_a_call_without_a_recording(asking: Asking, web_office: Office, officer: Program) -> None:
    id = unrecorded(asking)
    assert officer.get(f"/calls/{id}").text == web_office.run("show", id, "--json").out
    said = officer.refused(HTTPStatus.NOT_FOUND, officer.get(f"/recordings/{id}"))
    assert "refused" in said


def test_all_that_is_kept_of_a_person(asking: Asking, web_office: Office, officer: Program) -> None:
    rows = [web_office.call(timedelta(days=days), caller=CALLER) for days in (3, 2)]
    web_office.call(caller=OTHER)
    ids = [row.id for row in rows] + [unrecorded(asking, caller=CALLER)]
    for typed in ("06 12 34 56 78", CALLER, "0033612345678"):
        answer = officer.post("/persons", {"caller": typed})
        assert [one["id"] for one in answer.json()] == ids
    shown = [json.loads(web_office.run("show", id, "--json").out) for id in ids]
    assert answer.text == json.dumps(shown, indent=2) + "\n"
    assert [
        one["id"] for one in officer.post("/persons", {"reference": f"#{reference_of(ids[0])}"}).json()
    ] == [ids[0]]


def test_a_part_of_a_number_is_nobodys(web_office: Office, officer: Program) -> None:
    web_office.call(caller=CALLER)
    answer = officer.post("/persons", {"caller": "0612"})
    assert (answer.json(), answer.text) == ([], "[]\n")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"caller": CALLER, "reference": "482913"},
        {"caller": "Durand"},
        {"reference": "48"},
        {"caller": ""},
    ],
)
def test_who_is_meant_is_said_in_one_way(officer: Program, body: Any) -> None:
    said = officer.refused(HTTPStatus.UNPROCESSABLE_ENTITY, officer.post("/persons", body))
    assert "caller" in said or "reference" in said
