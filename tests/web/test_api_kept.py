"""What programs ask of recordings and calls: lists as the commands print them, uses, sound, approvals.

What rules say: test_uses, test_approval, test_operations. Who may: test_every_address.
"""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from retention.purge import purge
from retention.records import Access, Recording, Status, new_id, reference_of
from retention.vault import read_identity, read_public
from retention.verify import verify
from sipagent.web.rights import Role
from sipagent.web.site import Person
from tests.kept import CALLER, receipt, recording
from tests.office import Office
from tests.sealing import make_pair, make_sealed_office, name_recipients, sealed_call
from tests.web.conftest import Asking, asked_at
from tests.web.program import API, Program

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
COMMANDS = {"recordings": "list", "calls": "calls"}
OTHER = "+33687654321"
HOLD = {"ground": "criminal", "reference": "2026-41", "review": "2030-01-01"}
HELD = (
    *("--ground", "criminal", "--reference", "2026-41", "--review", "2030-01-01"),
    *("--by", "A. Roux", "--approved-by", "B. Petit"),
)


@pytest.fixture
def program(asking: Asking) -> Program:
    return Program(asking.client)


@pytest.fixture
def listener(asking: Asking, program: Program) -> Program:
    asking.login(Role.LISTENER, via="api")
    return program


def add(asking: Asking, number: int, at: datetime = AT, **changes: Any) -> str:
    """A call with a recording, in the rows alone."""
    id = f"20261120T090000000-{number:06}"
    row = recording(id=id, started_at=at, status=Status.CLOSED, **changes)
    asking.site.store.add_receipt(receipt(row))
    asking.site.store.add_recording(row)
    return id


def unrecorded(asking: Asking, **changes: Any) -> str:
    """A call that was not recorded."""
    at = datetime.now(UTC) - timedelta(hours=1)
    row = receipt(recording(id=new_id(at), started_at=at), recording_id=None, decision="refused")
    asking.site.store.add_receipt(replace(row, **changes))
    return row.id


def pages(program: Program, path: str, **body: Any) -> Iterator[list[Any]]:
    """One after the other, by what Link says."""
    ask = (lambda at: program.post(at, body)) if body else program.get
    while path:
        answer = ask(path)
        assert answer.status_code == HTTPStatus.OK, answer.text
        assert answer.headers["cache-control"] == "no-store"
        yield answer.json()
        found = re.fullmatch(r"<(.*)>; rel=\"next\"", answer.headers.get("link", ""))
        path = found[1].removeprefix(API) if found else ""


@pytest.mark.parametrize("what", COMMANDS)
def test_each_row_once_though_all_began_at_one_time_and_more_come(
    asking: Asking, listener: Program, what: str
) -> None:
    ids = [add(asking, number, flagged=number % 2 == 0) for number in range(25)]
    link = listener.get(f"/{what}?flagged=true&since=2026-11-19&limit=12").headers["link"]
    asked = dict(parse_qsl(urlsplit(link[1:].partition(">")[0]).query))
    assert (asked["flagged"], asked["since"], asked["limit"]) == ("true", "2026-11-19", "12")
    assert [len(rows) for rows in pages(listener, f"/{what}?flagged=true&limit=12")] == [12, 1]
    assert "link" not in listener.get(f"/{what}?limit=25").headers  # all is told
    seen: list[str] = []
    for count, rows in enumerate(pages(listener, f"/{what}?limit=4")):
        seen += [row["id"] for row in rows]
        add(asking, 100 + count)  # newer than all, and a call that began with them
        add(asking, 200 + count, AT + timedelta(hours=1))
    assert [id for id in seen if id in ids] == sorted(ids, reverse=True)
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("what", COMMANDS)
def test_it_is_what_the_command_prints(web_office: Office, listener: Program, what: str) -> None:
    rows = [web_office.call(timedelta(hours=hours), flagged=hours == 9) for hours in (3, 9)]
    web_office.call(timedelta(days=9), caller=OTHER)
    for asked, options in (
        ("", ()),
        ("?since=7d&operator=201", ("--since", "7d", "--operator", "201")),
        ("?flagged=true&held=true", ("--flagged", "--held")),
        ("?status=closed&until=today", ("--status", "closed", "--until", "today")),
    ):
        printed = web_office.run(COMMANDS[what], "--json", *options).out
        assert listener.get(f"/{what}{asked}").text == printed, asked
    printed = web_office.run(COMMANDS[what], "--json", "--caller", CALLER).out
    for typed in ("06 12 34 56 78", CALLER, "0612"):
        assert listener.post(f"/{what}/search", {"caller": typed}).text == printed
    told = [*pages(listener, f"/{what}/search", caller=CALLER, limit=1)]
    assert [[row["id"] for row in page] for page in told] == [[row.id] for row in rows]


def test_one_call_the_holds_and_a_person_are_what_the_commands_print(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call(timedelta(days=3), flagged=True)
    out = web_office.folder / "call.wav"
    assert web_office.run("export", row.id, "--purpose", "quality", "--by", "A", "--out", out).code == 0
    assert web_office.run("hold", row.id, *HELD).code == 0
    web_office.call(caller=OTHER)
    id = unrecorded(asking)
    asking.login(Role.OFFICER, name="paul", via="api")
    shown = {one: web_office.run("show", one, "--json").out for one in (row.id, id)}
    for path in (f"/recordings/{row.id}", f"/calls/{row.id}", f"/calls/{reference_of(row.id)}"):
        assert program.get(path).text == shown[row.id]
    assert program.get(f"/calls/{id}").text == shown[id]
    assert "refused" in program.refused(HTTPStatus.NOT_FOUND, program.get(f"/recordings/{id}"))
    assert program.get("/holds").text == web_office.run("holds", "--json").out
    of_person = json.dumps([json.loads(one) for one in shown.values()], indent=2) + "\n"
    assert program.post("/persons", {"caller": "06 12 34 56 78"}).text == of_person
    answer = program.post("/persons", {"reference": f"#{reference_of(id)}"})
    assert [one["id"] for one in answer.json()] == [id]
    assert program.post("/persons", {"caller": "0612"}).text == "[]\n"
    for body in ({}, {"caller": CALLER, "reference": "482913"}, {"caller": "Durand"}, {"caller": ""}):
        answer = program.post("/persons", body)
        assert "caller" in program.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)


def test_the_trace_and_the_figures_are_what_the_commands_print(
    asking: Asking, web_office: Office, program: Program
) -> None:
    asking.login(Role.OFFICER, Role.SUPERVISOR, via="api")
    for days in (1, 2, 40):
        web_office.call(timedelta(days=days))
    for number in range(7):
        asking.site.store.add_access(Access(at=AT, action="play", detail=f"use {number}"))
    seen: list[str] = []
    for rows in pages(program, "/accesses?limit=3"):
        seen += [row["detail"] for row in rows]
        asking.site.store.add_access(Access(at=AT, action="play", detail="later"))
    assert seen == [f"use {number}" for number in range(6, -1, -1)]
    assert program.get("/accesses?limit=500").text == web_office.run("accesses", "--json").out
    for asked, options in (("", ()), ("since=2026-11-01&", ("--since", "2026-11-01"))):
        printed = web_office.run("stats", "--json", *options).out
        assert program.get(f"/stats?{asked}by=operator").text == printed
    without, told = program.get("/stats").json(), program.get("/stats?by=operator").json()
    assert "operators" not in without and without | {"operators": told["operators"]} == told
    asking.login(Role.LISTENER, via="api")
    program.refused(HTTPStatus.FORBIDDEN, program.get("/stats?by=operator"))


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        *((f"limit={limit}", "limit") for limit in ("0", "501", "many")),
        ("limit=2&limit=3", "twice"),
        ("status=gone", "status"),
        ("since=soon", "2026-11-24"),
        ("since=0001-01-01T00:00%2B14:00", "since"),
        ("reference=%00", "reference"),
        ("held=perhaps", "held"),
        ("colour=red", "since, until, operator, reference, status, held, flagged, limit, after"),
        ("operator=" + "2" * 300, "operator"),
        ("after=" + "2" * 65, "after"),
        ("after=nobody", "after"),
        ("caller=0612345678", "search"),
    ],
)
def test_what_cannot_be_read_is_told(listener: Program, asked: str, word: str) -> None:
    said = listener.refused(HTTPStatus.BAD_REQUEST, listener.get(f"/recordings?{asked}"))
    assert word in said and "0612345678" not in said


@pytest.mark.parametrize(
    ("body", "kind", "status", "word"),
    [
        *((body, "application/json", 422, "limit") for body in ('{"limit": 0}', '{"limit": "5"}')),
        ('{"number": "0612345678"}', "application/json", 422, "flagged, limit, after, caller"),
        ('{"caller": 612345678}', "application/json", 422, "caller"),
        ('{"caller": "x"}', "application/json", 422, "06 12 34 56 78"),
        ('{"caller": "\\u0000"}', "application/json", 422, "caller"),
        *((odd, "application/json", 422, "") for odd in ('{"caller": "\\ud800"}', "[]", "{", "[" * 100_000)),
        ("", "application/json", 422, ""),
        ('{"caller": "' + "0" * (1 << 20) + '"}', "application/json", 413, "too long; accepted: "),
        *(("{}", kind, 415, "") for kind in ("text/plain", "application/x-www-form-urlencoded", "")),
    ],
)
def test_what_is_sent_and_cannot_be_read_is_told(
    listener: Program, body: str, kind: str, status: int, word: str
) -> None:
    sent = {"content": body, "headers": {"content-type": kind}}
    answer = listener.ask("POST", "/recordings/search", **sent)
    assert word in listener.refused(HTTPStatus(status), answer)


def uses(asking: Asking, row: Recording) -> list[Access]:
    return asking.site.store.accesses(row.id)


def begin(program: Program, row: Recording, **body: Any) -> Any:
    """A use that is allowed: what is given."""
    answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality", **body})
    assert answer.status_code == HTTPStatus.CREATED, answer.text
    return answer.json()


def sound(program: Program, told: Any, **more: Any) -> Any:
    return program.get(told["sound"].removeprefix(API), **more)


def test_a_use_gives_the_stored_bytes(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call()
    told = begin(listener, row, reference="06 12 34 56 78")
    (use,) = uses(asking, row)
    assert (use.action, use.purpose, use.outcome, use.detail) == ("play", "quality", "done", "both")
    assert (use.by, use.login, use.via, use.system_user) == ("claire", "claire", "api", None)
    assert use.reference == "06 …" and told["sealed"] is False and told["key"] is None
    answer = sound(listener, told)
    assert len(answer.content) == told["bytes"] == int(answer.headers["content-length"])
    assert answer.content[:4] == b"fLaC"
    part = sound(listener, told, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (HTTPStatus.PARTIAL_CONTENT, answer.content[4:8])
    chunks = sound(listener, told, params={"from": "0.5", "to": "1"})
    assert chunks.headers["sound-span"].endswith("/16000")
    begin(listener, row, action="export", channel="caller", file=f"{row.id}-caller.wav")
    (copy,) = listener.get(f"/recordings/{row.id}").json()["copies"]
    assert (copy["path"], copy["by"], copy["exists"]) == (f"{row.id}-caller.wav", "claire", True)
    assert verify(asking.site.archive).problems == []


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, (403, "a purpose is needed; accepted: statistics, quality, organisation, access_request")),
        ({"purpose": "criminal"}, (403, "'criminal' is not listed")),
        ({"purpose": "a\u202eb\x00"}, (403, "is not listed")),
        ({"purpose": "access_request", "reference": " "}, (403, "needs the reference")),
        ({"purpose": "q" * 100_000}, (422, "purpose")),
        ({"purpose": 7}, (422, "purpose")),
        ({"purpose": "quality", "channel": "left"}, (422, "channel")),
        ({"purpose": "quality", "action": "delete"}, (422, "action")),
        ({"purpose": "quality", "action": "export", "file": "/etc/passwd"}, (422, "file")),
        ({"purpose": "quality", "action": "export", "file": "a\nb"}, (422, "file")),
        ({"purpose": "quality", "by": "somebody else"}, (422, "accepted: purpose, reference, action")),
    ],
)
def test_without_a_listed_purpose_no_key_and_no_bytes(
    asking: Asking, web_office: Office, listener: Program, body: Any, refused: tuple[int, str]
) -> None:
    row, (status, word) = web_office.call(), refused
    answer = listener.post(f"/recordings/{row.id}/uses", body)
    assert word in listener.refused(HTTPStatus(status), answer)
    assert {"key", "sound", "id"}.isdisjoint(answer.json())
    told = [(use.action, use.outcome, use.login) for use in uses(asking, row)]
    assert told == ([("play", "refused", "claire")] if status == HTTPStatus.FORBIDDEN else [])
    for number in range(3):
        listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{row.id}/uses/{number}/sound"))


def test_an_officer_listens_for_a_persons_request_alone(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call()
    asking.login(Role.OFFICER, name="paul", via="api")
    answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "access_request" in program.refused(HTTPStatus.FORBIDDEN, answer)
    told = begin(program, row, purpose="access_request", reference="2026-118", channel="caller")
    assert sound(program, told).status_code == HTTPStatus.OK
    refused, done = uses(asking, row)
    assert (refused.outcome, refused.purpose) == ("refused", "quality")
    assert (done.purpose, done.reference, done.detail) == ("access_request", "2026-118", "caller")


def test_a_use_is_for_who_has_asked_and_for_half_a_day(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row, other = web_office.call(), web_office.call(timedelta(hours=2))
    told, now = begin(listener, row), datetime.now(UTC)
    elsewhere = told["sound"].replace(row.id, other.id).removeprefix(API)
    listener.refused(HTTPStatus.NOT_FOUND, listener.get(elsewhere))
    mine = {"recording_id": row.id, "by": "claire", "login": "claire", "via": "api", "purpose": "quality"}
    for action, outcome in (("hold", "done"), ("play", "refused"), ("export", "failed"), ("play", "begun")):
        number = asking.site.store.add_access(Access(at=now, action=action, outcome=outcome, **mine))
        listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{row.id}/uses/{number}/sound"))
    for name, via in (("paul", "api"), ("claire", "web")):  # another person, and a session of that name
        asking.login(Role.LISTENER, name=name, via=via)
        listener.refused(HTTPStatus.NOT_FOUND, sound(listener, told))
    asking.login(Role.OFFICER, via="api")  # who listens no more for what it was
    listener.refused(HTTPStatus.NOT_FOUND, sound(listener, told))
    asking.login(Role.LISTENER, Role.ADMINISTRATOR, via="api")
    listener.refused(HTTPStatus.FORBIDDEN, sound(listener, told))
    asking.login(Role.LISTENER, via="api")
    for late, status in ((timedelta(hours=11, minutes=59), 200), (timedelta(hours=12), 404)):
        asking.site.clock = lambda late=late: now + late  # type: ignore[misc]
        assert sound(listener, told).status_code == status
    for unknown in ("9" * 19, "9" * 5000, "-1", "x"):
        answer = listener.client.get(f"{API}/recordings/{row.id}/uses/{unknown}/sound")
        assert answer.status_code == HTTPStatus.NOT_FOUND


def test_what_is_gone_or_another_file_is_not_given(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row = web_office.call(timedelta(days=200), expires_at=datetime.now(UTC) + timedelta(days=1))
    told = begin(listener, row, purpose="access_request", reference="2026-118")
    asking.site.clock = lambda: datetime.now(UTC) + timedelta(seconds=1)
    report = purge(asking.site.archive, datetime.now(UTC) + timedelta(days=2), asking.site.terms)
    assert [one.id for one in report.removed] == [row.id]
    listener.refused(HTTPStatus.GONE, sound(listener, told))
    answer = listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "purged" in listener.refused(HTTPStatus.GONE, answer)
    other = web_office.call()
    (web_office.folder / str(other.path)).write_bytes(b"another")
    answer = listener.post(f"/recordings/{other.id}/uses", {"purpose": "quality"})
    assert "hash differs" in listener.refused(HTTPStatus.CONFLICT, answer)
    assert uses(asking, row)[-1].outcome == uses(asking, other)[-1].outcome == "refused"


@pytest.fixture
def sealed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """Claire's and Paul's key open what is recorded; Eve's does not."""
    office = make_sealed_office(tmp_path, capsys)
    for name in ("claire", "paul", "eve"):
        make_pair(office, name)
    name_recipients(office, "claire", "paul")
    return office


@pytest.fixture
def keyed(sealed: Office) -> Iterator[Asking]:
    with asked_at(sealed) as asking:
        yield asking


def with_key(asking: Asking, office: Office, name: str | None) -> Program:
    key = None if name is None else read_public(office.folder / "keys" / f"{name}.pub")
    asking.who[:] = [Person(name="claire", roles=frozenset((Role.LISTENER,)), via="api", key=key)]
    return Program(asking.client)


def test_the_key_comes_sealed_to_who_asks_and_opens_what_is_stored(sealed: Office, keyed: Asking) -> None:
    row = sealed_call(sealed, ("claire", "paul"))
    program = with_key(keyed, sealed, "claire")
    told = begin(program, row)
    identity = read_identity(sealed.folder / "keys" / "claire.key", lambda: "")
    assert told["sealed"] is True and b64decode(told["key"]["public"]) == identity.public.raw
    opened = identity.open(b64decode(told["key"]["sealed"]))
    assert opened.startswith(f"sipagent-key-1 {row.id}\n".encode())
    assert keyed.site.archive.vault.key(row.id, identity) == opened[-32:]
    stored = sound(program, told).content
    assert len(stored) == told["bytes"] and opened[-32:] not in stored
    span = sound(program, told, params={"from": "0", "to": "1"})
    assert span.content in stored and span.content[:4] == b"\xf6SIP"


@pytest.mark.parametrize(("name", "word"), [(None, "has no key"), ("eve", "not sealed to the key")])
def test_without_the_right_key_it_is_said_what_is_missing(
    sealed: Office, keyed: Asking, name: str | None, word: str
) -> None:
    row, program = sealed_call(sealed, ("claire", "paul")), with_key(keyed, sealed, name)
    answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    said = program.refused(HTTPStatus.CONFLICT, answer)
    assert word in said and str(sealed.folder) not in said
    (use,) = keyed.site.store.accesses(row.id)
    assert (use.outcome, use.detail) == ("refused", said)


def claire(asking: Asking) -> None:
    """Who asks."""
    asking.login(Role.SUPERVISOR, name="claire", via="api")


def paul(asking: Asking) -> None:
    """Who approves."""
    asking.login(Role.OFFICER, name="paul", via="api")


def ask(program: Program, path: str, body: Any) -> Any:
    answer = program.post(path, body)
    assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"{API}/approvals/{told['id']}"
    assert (told["state"], told["by"], told["decided_by"]) == ("pending", "claire", None)
    return told["id"]


def decide(program: Program, number: int, what: str, **body: Any) -> Any:
    answer = program.post(f"/approvals/{number}/{what}", body or None)
    assert answer.status_code == HTTPStatus.OK, answer.text
    return answer.json()


def test_a_hold_and_its_end_are_asked_for_and_another_approves(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call()
    claire(asking)
    answer = program.post(f"/recordings/{row.id}/release", {"reason": "closed"})
    assert "not on hold" in program.refused(HTTPStatus.CONFLICT, answer)
    number = ask(program, f"/recordings/{row.id}/hold", HOLD)
    for role in (Role.LISTENER, Role.SUPERVISOR):
        asking.login(role, name="eve", via="api")
        assert program.get("/approvals").json() == []
        program.refused(HTTPStatus.NOT_FOUND, program.get(f"/approvals/{number}"))
    paul(asking)
    for unknown in (number + 1, 0, 10**17):
        program.refused(HTTPStatus.NOT_FOUND, program.get(f"/approvals/{unknown}"))
        program.refused(HTTPStatus.NOT_FOUND, program.post(f"/approvals/{unknown}/approve", {}))
    assert [one["id"] for one in program.get("/approvals?pending=true").json()] == [number]
    told = decide(program, number, "approve", reason="as agreed")
    assert (told["state"], told["decided_by"], told["answer"]) == ("approved", "paul", "as agreed")
    (held,) = program.get("/holds").json()
    assert held["hold"] == HOLD | {"by": "claire", "approved_by": "paul"}
    assert program.get("/approvals?pending=true").json() == []
    claire(asking)
    assert program.get(f"/approvals/{number}").json() == told
    answer = program.post(f"/recordings/{row.id}/hold", HOLD | {"renew": False})
    assert "on hold already" in program.refused(HTTPStatus.CONFLICT, answer)
    end = ask(program, f"/recordings/{row.id}/release", {"reason": "closed"})
    paul(asking)
    assert decide(program, end, "refuse", reason="no ground")["state"] == "refused"
    claire(asking)
    last = ask(program, f"/recordings/{row.id}/hold", HOLD | {"renew": True})
    assert decide(program, last, "withdraw")["state"] == "withdrawn"  # no word is needed
    following = program.get("/approvals?limit=2").headers["link"].partition(">")[0][1:].removeprefix(API)
    assert [one["id"] for one in program.get(following).json()] == [number]
    trace = [(use.action, use.outcome, use.login, use.via) for use in asking.site.store.accesses(row.id)]
    assert ("ask", "done", "claire", "api") in trace and ("approve", "done", "paul", "api") in trace


def test_an_export_for_a_court_waits_for_another_and_to_listen_does_not(
    asking: Asking, web_office: Office, program: Program
) -> None:
    row = web_office.call(timedelta(hours=2))
    assert web_office.run("hold", row.id, *HELD).code == 0
    path = f"/recordings/{row.id}/uses"
    body = {"purpose": "criminal", "reference": "2026-41", "action": "export", "file": "call.wav"}
    asking.login(Role.LISTENER, name="eve", via="api")
    assert program.post(path, {"purpose": "criminal"}).status_code == HTTPStatus.CREATED
    assert "supervisor" in program.refused(HTTPStatus.FORBIDDEN, program.post(path, body))
    assert asking.site.store.accesses(row.id)[-1].outcome == "refused"
    claire(asking)
    number = ask(program, path, body)
    program.refused(HTTPStatus.CONFLICT, program.post(path, body | {"approval": number}))  # not yet
    paul(asking)
    decide(program, number, "approve")
    program.refused(HTTPStatus.FORBIDDEN, program.post(path, body | {"approval": number}))  # not their role
    claire(asking)
    program.refused(HTTPStatus.CONFLICT, program.post(path, body | {"approval": number + 1}))
    answer = program.post(path, body | {"approval": number})
    assert answer.status_code == HTTPStatus.CREATED
    assert sound(program, answer.json()).status_code == HTTPStatus.OK
    assert program.get(f"/approvals/{number}").json()["state"] == "used"
    program.refused(HTTPStatus.CONFLICT, program.post(path, body | {"approval": number}))
