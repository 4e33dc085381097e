"""What changes something: analyses, deletions, commands; each with its line in the trace, refused or done."""

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from retention.verify import verify
from sipagent.web.rights import Role
from tests.office import Office
from tests.web.conftest import Asking
from tests.web.program import API, Program

CALLER = "+33612345678"
REASON = "request 2026-118"


@pytest.fixture
def listener(asking: Asking) -> Program:
    asking.login(Role.LISTENER, via="api")
    return Program(asking.client)


@pytest.fixture
def officer(asking: Asking) -> Program:
    asking.login(Role.OFFICER, name="paul", via="api")
    return Program(asking.client)


def last(asking: Asking) -> tuple[Any, ...]:
    """The newest line of the trace."""
    use = asking.site.store.accesses()[-1]
    return use.action, use.outcome, use.login, use.via, use.detail


# --- analyses ---


def test_an_analysis_comes_after_listening(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call()
    path = f"/recordings/{row.id}/notes"
    said = listener.refused(HTTPStatus.CONFLICT, listener.post(path, {"text": "well answered"}))
    assert last(asking) == ("note", "refused", "claire", "api", said)
    listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    answer = listener.post(path, {"text": "well answered\r\n<script>\tok\n"})
    assert answer.status_code == HTTPStatus.CREATED
    assert answer.json()["note"]["text"] == "well answered\n<script>\tok"
    assert (answer.json()["erased"], answer.json()["note"]["by"]) == (False, "claire")
    shown = json.loads(web_office.run("show", row.id, "--json").out)
    assert shown["notes"] == [answer.json()["note"]]


def test_what_leads_to_a_person_is_told_before_it_is_cut_out(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row = web_office.call(caller=CALLER)
    listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    text = "call back on 06 12 34 56 78"
    answer = listener.post(f"/recordings/{row.id}/notes", {"text": text})
    listener.refused(HTTPStatus.CONFLICT, answer)
    assert answer.json()["going"] == ["call back on 06 [12 34 56 78]"]
    assert last(asking)[:2] == ("note", "refused") and "12 34" not in str(last(asking))
    agreed = listener.post(f"/recordings/{row.id}/notes", {"text": text, "agreed": True})
    assert agreed.json()["note"]["text"] == "call back on 06 …"


@pytest.mark.parametrize("text", ["", " \n ", "a\x00b", "a\x1bb", "x" * (65 * 1024), "é" * 40_000])
def test_what_is_no_analysis(web_office: Office, listener: Program, text: str) -> None:
    row = web_office.call()
    answer = listener.post(f"/recordings/{row.id}/notes", {"text": text})
    assert "text" in listener.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)


# --- deletions ---


def test_a_call_is_forgotten_as_the_command_does(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    one, other = web_office.call(), web_office.call(timedelta(hours=2))
    told = officer.post(f"/calls/{one.id}/delete", {"reason": REASON}).json()
    by_command = json.loads(
        web_office.run("delete", other.id, "--json", "--reason", REASON, "--by", "paul").out
    )
    assert told.keys() == by_command.keys()
    assert (told["by"], told["reason"]) == (by_command["by"], by_command["reason"]) == ("paul", REASON)
    (use,) = [use for use in asking.site.store.accesses(one.id) if use.action == "delete"]
    assert (use.outcome, use.login, use.via, use.system_user) == ("done", "paul", "api", None)
    said = officer.refused(HTTPStatus.CONFLICT, officer.post(f"/calls/{one.id}/delete", {"reason": REASON}))
    assert "already purged" in said
    assert last(asking) == ("delete", "refused", "paul", "api", said)
    assert verify(asking.site.archive).problems == []


def test_a_no_break_space_is_a_space(web_office: Office, officer: Program) -> None:
    row = web_office.call()
    told = officer.post(f"/calls/{row.id}/delete", {"reason": "demande\u00a041"}).json()
    assert told["reason"] == "demande 41"


@pytest.mark.parametrize("reason", ["", "  ", "a\nb", "a\u202eb", "x" * 100_000, None, 7])
def test_a_reason_is_one_line(web_office: Office, officer: Program, reason: Any) -> None:
    row = web_office.call()
    answer = officer.post(f"/calls/{row.id}/delete", {"reason": reason})
    assert "reason" in officer.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)
    assert officer.get(f"/recordings/{row.id}").json()["status"] == "closed"


def test_a_person_is_forgotten_but_for_what_is_held(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    rows = [web_office.call(timedelta(hours=hours), caller=CALLER) for hours in (3, 2, 1)]
    hold = ("--ground", "criminal", "--reference", "2026-41", "--review", "2030-01-01")
    web_office.run("hold", rows[1].id, *hold, "--by", "A. Roux", "--approved-by", "B. Petit")
    told = officer.post("/persons/delete", {"caller": "06 12 34 56 78", "reason": REASON}).json()
    assert [one["id"] for one in told["deleted"]] == [rows[0].id, rows[2].id]
    ((id, why),) = [(one["id"], one["why"]) for one in told["stays"]]
    assert id == rows[1].id and "hold" in why
    refused = [use for use in asking.site.store.accesses(id) if use.action == "delete"]
    assert [(use.outcome, use.login) for use in refused] == [("refused", "paul")]
    assert officer.post("/persons", {"caller": CALLER}).json()[0]["id"] == rows[1].id
    nobody = officer.post("/persons/delete", {"caller": "06 00 00 00 00", "reason": REASON})
    assert nobody.json() == {"deleted": [], "stays": []}


def test_a_reference_that_several_calls_have_deletes_none(web_office: Office, officer: Program) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    rows = [web_office.call(id=f"2026112{day}T100000000-482913", started_at=at) for day in (4, 5)]
    answer = officer.post("/persons/delete", {"reference": "482913", "reason": REASON})
    officer.refused(HTTPStatus.CONFLICT, answer)
    assert answer.json()["ids"] == [row.id for row in rows]
    assert all(officer.get(f"/recordings/{row.id}").json()["status"] == "closed" for row in rows)


# --- commands ---


def test_verify_runs_beside_and_its_answer_is_kept(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    web_office.call()
    assert officer.get("/verify").json() == {"running": False, "last": None}
    answer = officer.post("/verify")
    assert (answer.status_code, answer.json()["running"]) == (HTTPStatus.ACCEPTED, True)
    assert officer.post("/verify").status_code == HTTPStatus.ACCEPTED
    assert "`verify` runs" in officer.refused(HTTPStatus.CONFLICT, officer.post("/check"))
    assert asking.site.commands.wait(60)
    told = officer.get("/verify").json()
    assert told["running"] is False
    assert (told["last"]["exit"], told["last"]["by"]) == (0, "paul")
    assert told["last"]["said"] == json.loads(web_office.run("verify", "--json").out)


def test_the_register_is_what_the_command_prints(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    moments = [datetime.now(UTC)]
    asking.site.clock = lambda: moments[-1]
    said = officer.refused(HTTPStatus.SERVICE_UNAVAILABLE, officer.get("/register"))
    assert "notice.wav" in said
    moments.append(moments[0] + timedelta(minutes=2))  # what was said is old by then
    (web_office.folder / "prompts").symlink_to(Path(__file__).parents[2] / "prompts")
    assert officer.get("/register").text == web_office.run("register", "--json").out


# --- sessions ---


def test_a_session_sends_with_its_own_token_alone(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    asking.login(Role.LISTENER, via="web")
    program = Program(asking.client)
    for headers in ({}, {"x-csrf-token": "csrf-paul"}, {"x-csrf-token": ""}):
        answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"}, headers=headers)
        program.refused(HTTPStatus.FORBIDDEN, answer)
        assert last(asking)[:4] == ("right", "refused", "claire", "web")
    own = {"x-csrf-token": "csrf-claire"}
    answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"}, headers=own)
    assert answer.status_code == HTTPStatus.CREATED
    assert last(asking) == ("play", "done", "claire", "web", "both")


def test_a_page_is_answered_in_its_language_a_program_in_english(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    sent: dict[str, Any] = {"json": {}, "headers": {"x-csrf-token": "csrf-claire", "accept-language": "fr"}}
    for via, word in (("web", "il faut une finalité"), ("api", "a purpose is needed")):
        asking.login(Role.LISTENER, via=via, language="fr")
        answer = asking.client.post(f"{API}/recordings/{row.id}/uses", **sent)
        assert word in answer.json()["detail"]
    assert [use.detail for use in asking.site.store.accesses()] == [answer.json()["detail"]] * 2
