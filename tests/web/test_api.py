"""The interface for programs: its document, who asks by what, and that it tells and does what commands do.

What rules say: test_uses, test_approval, test_operations. Who may: test_every_address.
"""

import json
import re
import shlex
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from retention import outbox
from retention.outbox import EventType, OutboxEvent
from retention.purge import purge
from retention.records import Access, Hold, MissingSound, Recording, Status, new_id, reference_of
from retention.use import gives_sound
from retention.verify import verify
from sipagent.web.api.openapi import COOKIE, ENTRIES, document
from sipagent.web.api.operation import Body, Operation, Query
from sipagent.web.background import CommandOutcome
from sipagent.web.rights import ROUTES, Right, Role, roles_with
from tests.kept import CALLER, archive, keep, receipt, recording
from tests.office import Office
from tests.sealing import identity_of, make_pair, make_sealed_office, name_recipients, sealed_call
from tests.test_docs import text_of
from tests.web.conftest import Asking, asked_at
from tests.web.logging_in import SITE, Page
from tests.web.program import API, Program, conforms, validator

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
OTHER = "+33687654321"
REASON = "request 2026-118"
COMMANDS = {"recordings": "list", "calls": "calls"}
HOLD = {"ground": "criminal", "reference": "2026-41", "review": "2030-01-01"}
HELD = (
    *("--ground", "criminal", "--reference", "2026-41", "--review", "2030-01-01"),
    *("--by", "A. Roux", "--approved-by", "B. Petit"),
)
BOUNDS = {"maxLength", "enum", "const", "format", "pattern"}


def last(asking: Asking) -> tuple[Any, ...]:
    """The newest line of the trace."""
    use = asking.site.store.accesses()[-1]
    return use.action, use.outcome, use.login, use.via, use.detail


@pytest.fixture
def listener(asking: Asking) -> Program:
    asking.login(Role.LISTENER, via="api")
    return Program(asking.client)


@pytest.fixture
def officer(asking: Asking) -> Program:
    asking.login(Role.OFFICER, name="paul", via="api")
    return Program(asking.client)


# --- its document ---


def plain(asked: str) -> str:
    """An address as the document writes it."""
    return re.sub(r":\w+\}", "}", asked)


def test_the_document_is_of_what_there_is(asking: Asking) -> None:
    """Each address, who may ask, and nothing else; it is for anybody."""
    validate(document())
    told = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert told == {plain(asked) for asked in ROUTES if " /api/" in asked}
    for one in ENTRIES:
        method, path = plain(one.asked).split(" ", 1)
        of_one = document()["paths"][path][method.lower()]
        assert (of_one.get("security") == []) == (one.right is Right.ANYBODY)
        named = [role for role in roles_with(one.right) if role in of_one["description"]]
        assert one.right is Right.ANYBODY or named == [*roles_with(one.right)]
    answer = asking.client.get(f"{API}/openapi.json")
    assert answer.json() == json.loads(json.dumps(document())) and answer.json()["openapi"] == "3.1.0"


def open_ended(schema: object, where: str) -> list[str]:
    """Whatever is a string, and has no end."""
    if isinstance(schema, list):
        return [found for each in schema for found in open_ended(each, where)]
    if not isinstance(schema, dict):
        return []
    if schema.get("type") == "string" and not schema.keys() & BOUNDS:
        return [where]
    return [found for name, each in schema.items() for found in open_ended(each, f"{where}.{name}")]


@pytest.mark.parametrize("one", ENTRIES, ids=lambda one: one.asked)
def test_what_is_sent_is_bounded_and_nothing_else_is_taken(one: Operation) -> None:
    assert one.query is None or issubclass(one.query, Query)
    assert one.body is None or (issubclass(one.body, Body) and one.asked.startswith("POST "))
    method, path = plain(one.asked).split(" ", 1)
    told = document()["paths"][path][method.lower()]
    sent = [told["parameters"], told.get("requestBody", {})]
    names = re.findall(r"#/components/schemas/(\w+)", json.dumps(sent))
    found = [document()["components"]["schemas"][name] for name in names]
    assert open_ended([*sent, *found], path) == []


@pytest.mark.parametrize("personal", [False, True])
def test_each_event_is_sent_as_the_document_says(tmp_path: Path, personal: bool) -> None:
    kept, now = archive(tmp_path), datetime.now(UTC)
    row = keep(kept, recording(missing=(MissingSound(from_s=1, to_s=2, channel="caller", why="lost"),)))
    held = replace(keep(kept, recording(1)), hold=Hold(ground="criminal", review="2027-01-31").to_json())
    kept.store.update_recording(held)
    told = [
        outbox.body(kept.store, OutboxEvent(id="evt_1", type=type, at=now, call=call, since=now), personal)
        for type in EventType
        for call in (row.id, held.id, "20261124T222000123-999999", None if type == "alert" else row.id)
    ]
    for one in told:
        sent = document()["webhooks"][one["type"]]["post"]["requestBody"]["content"]["application/json"]
        assert [*validator(json.dumps(sent["schema"])).iter_errors(one)] == [], one
    kept.store.close()


@pytest.mark.parametrize("page", ["docs/en/api.md", "docs/fr/api.md"])
def test_each_request_of_its_page_is_answered_as_printed(
    page: str, asking: Asking, web_office: Office
) -> None:
    """By a token of its own, as curl would ask."""
    asking.login(Role.SUPERVISOR, via="api")
    web_office.call(id=f"{new_id(datetime.now(UTC))[:-6]}482913")
    requests = [shlex.split(line) for line in re.findall(r"^curl .*$", text_of(page), re.MULTILINE)]
    assert len(requests) >= 6
    for words in requests:
        *said, address = words[1:]
        options = dict(zip(said[::2], said[1::2], strict=True))
        url, body = urlsplit(address), options.pop("--json", None)
        assert options == {"--header": "@token"} and url.netloc == "ecoute.example.net"
        sent: dict[str, Any] = {"content": body, "headers": {"content-type": "application/json"}}
        method, sent = ("GET", {}) if body is None else ("POST", sent)
        answer = asking.client.request(method, f"{url.path}?{url.query}".rstrip("?"), **sent)
        made = HTTPStatus.CREATED if address.endswith("/uses") else HTTPStatus.OK
        assert answer.status_code == made, (words, answer.text)


# --- who asks by what: test_login has the token's own story ---


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def token_of(page: Page, name: str = "dashboard", **more: Any) -> str:
    return page.logins.accounts.add_token(name, [Role.LISTENER.value], **more)[1]


def test_a_token_asks_as_its_roles_may_until_it_ends(page: Page) -> None:
    token, client = token_of(page, until=page.now + timedelta(days=1)), page.browser().client
    for more in ("?token=", "?access_token="):  # in the place of an address or a cookie it is none
        assert client.get(f"{API}/recordings{more}{token}").status_code == HTTPStatus.UNAUTHORIZED
    client.cookies.set("sipagent", token, domain="127.0.0.1")
    assert client.get(f"{API}/recordings").status_code == HTTPStatus.UNAUTHORIZED
    client.headers.update(bearer(token))
    program = Program(client)
    assert program.get("/recordings").json() == []
    program.refused(HTTPStatus.FORBIDDEN, program.get("/accesses"))
    (row,) = page.trace("right")
    assert (row.outcome, row.login, row.via) == ("refused", "dashboard", "api")
    elsewhere = {"sec-fetch-site": "cross-site"}
    answer = client.post(f"{API}/recordings/search", json={}, headers=elsewhere)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    page.later(days=2)
    assert program.get("/recordings").status_code == HTTPStatus.UNAUTHORIZED


def test_a_session_reads_and_sends_with_its_own_token(page: Page) -> None:
    assert COOKIE.removeprefix("__Host-") == page.logins.cookies.session
    browser = page.logged_in(page.enrolled("Claire", "listener"))
    assert browser.get(f"{API}/recordings").json() == []
    other = page.logged_in(page.enrolled("Paul"), "127.1.0.1").token("/account")
    for token in (None, "", other):
        headers = SITE if token is None else SITE | {"x-csrf-token": token}
        answer = browser.client.post(f"{API}/recordings/search", json={}, headers=headers)
        assert answer.status_code == HTTPStatus.FORBIDDEN
        conforms("POST", "/recordings/search", answer)
        row = page.trace()[-1]
        assert (row.action, row.outcome, row.login, row.via) == ("right", "refused", "Claire", "web")
    headers = SITE | {"x-csrf-token": browser.token("/account")}
    assert browser.client.post(f"{API}/recordings/search", json={}, headers=headers).json() == []


@pytest.mark.parametrize("via", ["web", "api"])
def test_a_use_is_not_of_whoever_has_the_name_later(
    page: Page, capsys: pytest.CaptureFixture[str], via: str
) -> None:
    """The account, or the token, is removed, and made anew for somebody else."""
    row, accounts = Office(page.folder, capsys).call(), page.logins.accounts

    def made() -> tuple[TestClient, dict[str, str]]:
        if via == "api":
            return page.browser().client, bearer(token_of(page, "Claire"))
        browser = page.logged_in(page.enrolled("Claire"))
        return browser.client, SITE | {"x-csrf-token": browser.token("/account")}

    client, headers = made()
    asked = client.post(f"{API}/recordings/{row.id}/uses", json={"purpose": "quality"}, headers=headers)
    sound = asked.json()["sound"]
    assert client.get(sound, headers=headers).status_code == HTTPStatus.OK
    page.later(minutes=5)
    if via == "api":
        accounts.revoke("Claire")
    else:
        accounts.remove(accounts.meant("Claire").id)
    client, headers = made()
    assert client.get(sound, headers=headers).status_code == HTTPStatus.NOT_FOUND


def test_a_page_is_answered_in_its_language_a_program_in_english(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    sent: dict[str, Any] = {"json": {}, "headers": {"x-csrf-token": "csrf-claire", "accept-language": "fr"}}
    for via, word in (("web", "il faut une finalité"), ("api", "a purpose is needed")):
        asking.login(Role.LISTENER, via=via, language="fr")
        answer = asking.client.post(f"{API}/recordings/{row.id}/uses", **sent)
        assert word in answer.json()["detail"]
    assert [use.detail for use in asking.site.store.accesses()] == [answer.json()["detail"]] * 2


# --- what is read is what the commands print ---


def add(asking: Asking, number: int, at: datetime = AT, **changes: Any) -> str:
    """A call with a recording, in the rows alone."""
    row = recording(id=f"20261120T090000000-{number:06}", started_at=at, status=Status.CLOSED, **changes)
    asking.site.store.add_receipt(receipt(row))
    asking.site.store.add_recording(row)
    return row.id


def pages(program: Program, path: str, **body: Any) -> Iterator[list[Any]]:
    """One after the other, by what Link says."""
    ask = (lambda at: program.post(at, body)) if body else program.get
    while path:
        answer = ask(path)
        assert answer.status_code == HTTPStatus.OK, answer.text
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
    asking: Asking, web_office: Office, officer: Program
) -> None:
    row, at = web_office.call(timedelta(days=3), flagged=True), datetime.now(UTC) - timedelta(hours=1)
    out = web_office.folder / "call.wav"
    assert web_office.run("export", row.id, "--purpose", "quality", "--by", "A", "--out", out).code == 0
    assert web_office.run("hold", row.id, *HELD).code == 0
    web_office.call(caller=OTHER)
    refused = receipt(recording(id=new_id(at), started_at=at), recording_id=None, decision="refused")
    asking.site.store.add_receipt(refused)
    shown = {one: web_office.run("show", one, "--json").out for one in (row.id, refused.id)}
    for path in (f"/recordings/{row.id}", f"/calls/{row.id}", f"/calls/{reference_of(row.id)}"):
        assert officer.get(path).text == shown[row.id]
    assert officer.get(f"/calls/{refused.id}").text == shown[refused.id]
    assert "refused" in officer.refused(HTTPStatus.NOT_FOUND, officer.get(f"/recordings/{refused.id}"))
    assert officer.get("/holds").text == web_office.run("holds", "--json").out
    of_person = json.dumps([json.loads(one) for one in shown.values()], indent=2) + "\n"
    assert officer.post("/persons", {"caller": "06 12 34 56 78"}).text == of_person
    answer = officer.post("/persons", {"reference": f"#{reference_of(refused.id)}"})
    assert [one["id"] for one in answer.json()] == [refused.id]
    assert officer.post("/persons", {"caller": "0612"}).text == "[]\n"
    for body in ({}, {"caller": CALLER, "reference": "482913"}, {"caller": "Durand"}, {"caller": ""}):
        answer = officer.post("/persons", body)
        assert "caller" in officer.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)


def test_the_trace_and_the_figures_are_what_the_commands_print(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    listener.refused(HTTPStatus.FORBIDDEN, listener.get("/stats?by=operator"))
    asking.login(Role.OFFICER, Role.SUPERVISOR, via="api")
    for days in (1, 2, 40):
        web_office.call(timedelta(days=days))
    for number in range(7):
        asking.site.store.add_access(Access(at=AT, action="play", detail=f"use {number}"))
    seen: list[str] = []
    for rows in pages(listener, "/accesses?limit=3"):
        seen += [row["detail"] for row in rows if row["action"] == "play"]
        asking.site.store.add_access(Access(at=AT, action="play", detail="later"))
    assert seen == [f"use {number}" for number in range(6, -1, -1)]
    assert listener.get("/accesses?limit=500").text == web_office.run("accesses", "--json").out
    for asked, options in (("", ()), ("since=2026-11-01&", ("--since", "2026-11-01"))):
        printed = web_office.run("stats", "--json", *options).out
        assert listener.get(f"/stats?{asked}by=operator").text == printed
    without, told = listener.get("/stats").json(), listener.get("/stats?by=operator").json()
    assert "operators" not in without and without | {"operators": told["operators"]} == told


def test_what_is_different_today_is_set_and_taken_back_as_by_the_command(
    asking: Asking, web_office: Office
) -> None:
    asking.login(Role.SUPERVISOR, via="api")
    program = Program(asking.client)
    assert program.get("/today").text == "[]\n"
    set_ = program.post("/today", {"from": "tomorrow 9:00", "until": "tomorrow"})
    assert set_.text == program.get("/today").text == web_office.run("today", "--json").out
    (one,) = set_.json()
    assert (one["closed"], one["in_force"], last(asking)[:4]) == (
        True, False, ("today", "done", "claire", "api")
    )  # fmt: skip
    for body in ({"until": "now"}, {"until": "soon"}, {"message": "fire", "until": "2h"}, {"closed": True}):
        program.refused(HTTPStatus.UNPROCESSABLE_ENTITY, program.post("/today", body))
    assert program.post(f"/today/{one['number']}/remove").text == "[]\n"
    program.refused(HTTPStatus.NOT_FOUND, program.post(f"/today/{one['number']}/remove"))


def test_verify_runs_beside_and_its_answer_is_kept(
    asking: Asking, web_office: Office, officer: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    web_office.call()
    answered, seen = asking.site.commands.answer, Event()

    def answers(*words: str, by: str) -> CommandOutcome:
        assert seen.wait(60)
        return answered(*words, by=by)

    monkeypatch.setattr(asking.site.commands, "answer", answers)
    assert officer.get("/verify").json() == {"running": False, "last": None}
    answer = officer.post("/verify")
    assert (answer.status_code, answer.json()["running"]) == (HTTPStatus.ACCEPTED, True)
    assert officer.post("/verify").status_code == HTTPStatus.ACCEPTED
    assert "`verify` runs" in officer.refused(HTTPStatus.CONFLICT, officer.post("/check"))
    seen.set()
    assert asking.site.commands.wait(60)
    told = officer.get("/verify").json()
    assert (told["running"], told["last"]["exit"], told["last"]["by"]) == (False, 0, "paul")
    assert told["last"]["said"] == json.loads(web_office.run("verify", "--json").out)


def test_the_register_is_what_the_command_prints(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    moments = [datetime.now(UTC)]
    asking.site.clock = lambda: moments[-1]
    assert "notice.wav" in officer.refused(HTTPStatus.SERVICE_UNAVAILABLE, officer.get("/register"))
    moments.append(moments[0] + timedelta(minutes=2))  # what was said is old by then
    (web_office.folder / "prompts").symlink_to(Path(__file__).parents[2] / "prompts")
    assert officer.get("/register").text == web_office.run("register", "--json").out


# --- what cannot be read ---


def test_what_cannot_be_read_is_told(listener: Program) -> None:
    for asked, word in (
        *((f"limit={limit}", "limit") for limit in ("0", "501", "many")),
        ("limit=2&limit=3", "twice"),
        ("since=soon", "2026-11-24"),
        ("since=0001-01-01T00:00%2B14:00", "since"),
        ("reference=%00", "reference"),
        ("held=perhaps", "held"),
        ("colour=red", "since, until, operator, reference, status, held, flagged, limit, after"),
        ("after=" + "2" * 65, "after"),
        ("after=nobody", "after"),
        ("caller=0612345678", "search"),
    ):
        said = listener.refused(HTTPStatus.BAD_REQUEST, listener.get(f"/recordings?{asked}"))
        assert word in said and "0612345678" not in said, asked


def test_what_is_sent_and_cannot_be_read_is_told(listener: Program) -> None:
    for body, status, word in (
        *((body, 422, "limit") for body in ('{"limit": 0}', '{"limit": "5"}')),
        ('{"number": "0612345678"}', 422, "flagged, limit, after, caller"),
        ('{"caller": "x"}', 422, "06 12 34 56 78"),
        ('{"caller": "\\u0000"}', 422, "caller"),
        *((odd, 422, "") for odd in ('{"caller": "\\ud800"}', "[]", "{", "[" * 100_000, "")),
        ('{"caller": "' + "0" * (1 << 20) + '"}', 413, "too long; accepted: "),
        *(("{}", 415, kind) for kind in ("text/plain", "application/x-www-form-urlencoded", "")),
    ):
        headers = {
            "content-type": word if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE else "application/json"
        }
        answer = listener.ask("POST", "/recordings/search", content=body, headers=headers)
        said = listener.refused(HTTPStatus(status), answer)
        assert status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE or word in said, body[:40]


# --- uses, and their sound ---


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
    assert len(answer.content) == told["bytes"] and answer.content[:4] == b"fLaC"
    part = sound(listener, told, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (HTTPStatus.PARTIAL_CONTENT, answer.content[4:8])
    chunks = sound(listener, told, params={"from": "0.5", "to": "1"})
    assert chunks.headers["sound-span"].endswith("/16000")
    begin(listener, row, action="export", channel="caller", file=f"{row.id}-caller.wav")
    (copy,) = listener.get(f"/recordings/{row.id}").json()["copies"]
    assert (copy["path"], copy["by"], copy["exists"]) == (f"{row.id}-caller.wav", "claire", None)
    assert verify(asking.site.archive).problems == []


def test_a_call_is_given_as_a_vcon_without_its_sound(
    asking: Asking, web_office: Office, listener: Program, officer: Program
) -> None:
    """Which gives nobody the sound: that is another use."""
    row = web_office.call()
    asking.login(Role.LISTENER, via="api")
    path = f"/calls/{row.id}/vcon"
    answer = listener.post(path, {"purpose": "quality", "channel": "caller"})
    assert (answer.status_code, answer.headers["content-type"]) == (HTTPStatus.OK, "application/vcon")
    vcon = json.loads(urlsafe_b64decode(answer.json()["payload"] + "==="))
    (dialog,) = vcon["dialog"]
    assert (vcon["redacted"]["type"], "body" in dialog, "filename" in dialog) == (
        "operator, sound",
        False,
        False,
    )
    whole = web_office.folder / "whole.vcon"
    words = ("--purpose", "quality", "--by", "D", "--format", "vcon", "--out", whole)
    assert web_office.run("export", row.id, *words).code == 0
    payload = json.loads(urlsafe_b64decode(json.loads(whole.read_text())["payload"] + "==="))
    assert vcon["redacted"]["uuid"] == payload["uuid"] != vcon["uuid"]
    (use, _shell) = uses(asking, row)
    assert (use.action, use.outcome, use.login, use.detail) == (
        *("export", "done", "claire"),
        f'caller, vCon without its sound to "{row.id}.vcon"',
    )
    listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{row.id}/uses/1/sound"))
    assert not gives_sound(use) and gives_sound(_shell)
    assert "is not listed" in listener.refused(HTTPStatus.FORBIDDEN, listener.post(path, {"purpose": "fun"}))
    held = replace(row, hold=HOLD | {"by": "A", "approved_by": "B"})
    asking.site.store.update_recording(held)
    court = listener.refused(HTTPStatus.FORBIDDEN, listener.post(path, {"purpose": "criminal"}))
    assert "is made by `sipagent export`" in court
    asking.login(Role.OFFICER, via="api")
    assert "not for your role" in officer.refused(
        HTTPStatus.FORBIDDEN, officer.post(path, {"purpose": "quality"})
    )
    assert (
        officer.post(path, {"purpose": "access_request", "reference": "2026-118"}).status_code
        == HTTPStatus.OK
    )


def test_without_a_listed_purpose_no_key_and_no_bytes(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row, listed = web_office.call(), "accepted: statistics, quality, organisation, access_request"
    wrong: tuple[tuple[dict[str, Any], int, str], ...] = (
        ({}, 403, f"a purpose is needed; {listed}"),
        ({"purpose": "a\u202eb\x00"}, 403, "is not listed"),
        ({"purpose": "q" * 100_000}, 422, "purpose"),
        ({"channel": "left"}, 422, "channel"),
        ({"action": "delete"}, 422, "action"),
        ({"action": "export", "file": "/etc/passwd"}, 422, "file"),
        ({"action": "export", "file": "a\nb"}, 422, "file"),
        ({"by": "somebody else"}, 422, "accepted: purpose, reference, action"),
    )
    for body, status, word in wrong:
        answer = listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"} | body if body else {})
        assert word in listener.refused(HTTPStatus(status), answer)
        assert {"key", "sound", "id"}.isdisjoint(answer.json())
    told = [(use.action, use.outcome, use.login) for use in uses(asking, row)]
    assert told == [("play", "refused", "claire")] * 2
    for number in range(4):
        listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{row.id}/uses/{number}/sound"))


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
    asking.login(Role.OFFICER, via="api")  # who listens no more for what it was, but for a person's request
    listener.refused(HTTPStatus.NOT_FOUND, sound(listener, told))
    answer = listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "access_request" in listener.refused(HTTPStatus.FORBIDDEN, answer)
    request = begin(listener, row, purpose="access_request", reference="2026-118", channel="caller")
    assert sound(listener, request).status_code == HTTPStatus.OK
    asking.login(Role.LISTENER, Role.ADMINISTRATOR, via="api")
    listener.refused(HTTPStatus.FORBIDDEN, sound(listener, told))
    asking.login(Role.LISTENER, via="api")
    for late, status in ((timedelta(hours=11, minutes=59), 200), (timedelta(hours=12), 404)):
        asking.site.clock = lambda late=late: now + late  # type: ignore[misc]
        assert sound(listener, told).status_code == status
    for unknown in ("9" * 19, "-1", "x"):
        answer = listener.client.get(f"{API}/recordings/{row.id}/uses/{unknown}/sound")
        assert answer.status_code == HTTPStatus.NOT_FOUND


def test_what_is_gone_or_another_file_is_not_given(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row = web_office.call(timedelta(days=200), expires_at=datetime.now(UTC) + timedelta(days=1))
    told = begin(listener, row, purpose="access_request", reference="2026-118")
    asking.site.clock = lambda: datetime.now(UTC) + timedelta(seconds=1)
    assert purge(asking.site.archive, datetime.now(UTC) + timedelta(days=2), asking.site.terms).removed
    listener.refused(HTTPStatus.GONE, sound(listener, told))
    answer = listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "purged" in listener.refused(HTTPStatus.GONE, answer)
    other = web_office.call()
    (web_office.folder / str(other.path)).write_bytes(b"another")
    answer = listener.post(f"/recordings/{other.id}/uses", {"purpose": "quality"})
    assert "hash differs" in listener.refused(HTTPStatus.CONFLICT, answer)
    assert uses(asking, row)[-1].outcome == uses(asking, other)[-1].outcome == "refused"


def test_the_key_comes_sealed_to_who_asks_and_opens_what_is_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Claire's and Paul's key open what is recorded; who has no such key is told what is missing."""
    office = make_sealed_office(tmp_path, capsys)
    keys = {name: make_pair(office, name) for name in ("claire", "paul", "eve")}
    name_recipients(office, "claire", "paul")
    row = sealed_call(office, ("claire", "paul"))
    with asked_at(office) as asking:
        program = Program(asking.client)

        def has(name: str | None) -> None:
            asking.who[:] = [replace(asking.login(Role.LISTENER, via="api"), key=keys.get(name or ""))]

        has("claire")
        told = begin(program, row)
        identity = identity_of(office, "claire")
        assert told["sealed"] is True and b64decode(told["key"]["public"]) == identity.public.raw
        opened = identity.open(b64decode(told["key"]["sealed"]))
        assert opened.startswith(f"sipagent-key-1 {row.id}\n".encode())
        assert asking.site.archive.vault.key(row.id, identity) == opened[-32:]
        stored = sound(program, told).content
        assert len(stored) == told["bytes"] and opened[-32:] not in stored
        span = sound(program, told, params={"from": "0", "to": "1"})
        assert span.content in stored and span.content[:4] == b"\xf6SIP"
        for name, word in ((None, "has no key"), ("eve", "not sealed to the key")):
            has(name)
            answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
            said = program.refused(HTTPStatus.CONFLICT, answer)
            assert word in said and str(tmp_path) not in said
            assert last(asking) == ("play", "refused", "claire", "api", said)


# --- acts ---


def test_an_analysis_comes_after_listening(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call(caller=CALLER)
    path = f"/recordings/{row.id}/notes"
    begin(listener, row)
    named = {"text": "call back on 06 12 34 56 78\r\n<script>"}
    answer = listener.post(path, named)
    listener.refused(HTTPStatus.CONFLICT, answer)
    assert answer.json()["going"] == ["call back on 06 [12 34 56 78]"] and "12 34" not in str(last(asking))
    agreed = listener.post(path, named | {"agreed": True})
    assert (agreed.status_code, agreed.json()["erased"]) == (HTTPStatus.CREATED, False)
    note = agreed.json()["note"]
    assert (note["text"], note["by"]) == ("call back on 06 …\n<script>", "claire")
    assert json.loads(web_office.run("show", row.id, "--json").out)["notes"] == [note]


def test_a_call_and_a_person_are_forgotten_as_the_command_does(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    """But for what is held."""
    rows = [web_office.call(timedelta(hours=hours), caller=CALLER) for hours in (3, 2, 1)]
    one, other = web_office.call(caller=OTHER), web_office.call(timedelta(hours=2), caller=OTHER)
    for reason in ("", "a\nb", "a\u202eb", "x" * 100_000, None, 7):
        answer = officer.post(f"/calls/{one.id}/delete", {"reason": reason})
        assert "reason" in officer.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)
    told = officer.post(f"/calls/{one.id}/delete", {"reason": "demande\u00a041"}).json()
    by_command = web_office.run("delete", other.id, "--json", "--reason", REASON, "--by", "paul").out
    assert told.keys() == json.loads(by_command).keys()
    assert (told["by"], told["reason"]) == ("paul", "demande 41")
    assert last(asking)[:2] == ("delete", "done")

    assert web_office.run("hold", rows[1].id, *HELD).code == 0
    told = officer.post("/persons/delete", {"caller": "06 12 34 56 78", "reason": REASON}).json()
    assert [one["id"] for one in told["deleted"]] == [rows[0].id, rows[2].id]
    ((id, why),) = [(one["id"], one["why"]) for one in told["stays"]]
    assert id == rows[1].id and "hold" in why

    assert verify(asking.site.archive).problems == []


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


def test_what_is_asked_for_another_approves(asking: Asking, web_office: Office, officer: Program) -> None:
    """A hold, its renewal and its end, and an export for a court; to listen waits for nobody."""
    row, program = web_office.call(), officer
    asking.login(Role.SUPERVISOR, via="api")
    number = ask(program, f"/recordings/{row.id}/hold", HOLD)
    for role in (Role.LISTENER, Role.SUPERVISOR):
        asking.login(role, name="eve", via="api")
        assert program.get("/approvals").json() == []
        program.refused(HTTPStatus.NOT_FOUND, program.get(f"/approvals/{number}"))
    asking.login(Role.OFFICER, name="paul", via="api")
    for unknown in (number + 1, 0, 10**17):
        program.refused(HTTPStatus.NOT_FOUND, program.get(f"/approvals/{unknown}"))
        program.refused(HTTPStatus.NOT_FOUND, program.post(f"/approvals/{unknown}/approve", {}))
    assert [one["id"] for one in program.get("/approvals?pending=true").json()] == [number]
    told = decide(program, number, "approve", reason="as agreed")
    assert (told["state"], told["decided_by"], told["answer"]) == ("approved", "paul", "as agreed")
    (held,) = program.get("/holds").json()
    assert held["hold"] == HOLD | {"by": "claire", "approved_by": "paul"}
    assert program.get("/approvals?pending=true").json() == []
    asking.login(Role.SUPERVISOR, via="api")
    assert program.get(f"/approvals/{number}").json() == told
    end = ask(program, f"/recordings/{row.id}/release", {"reason": "closed"})
    renewal = ask(program, f"/recordings/{row.id}/hold", HOLD | {"renew": True})
    assert decide(program, renewal, "withdraw")["state"] == "withdrawn"  # no word is needed
    following = program.get("/approvals?limit=2").headers["link"].partition(">")[0][1:].removeprefix(API)
    assert [one["id"] for one in program.get(following).json()] == [number]

    path = f"/recordings/{row.id}/uses"
    body = {"purpose": "criminal", "reference": "2026-41", "action": "export", "file": "call.wav"}
    export = ask(program, path, body)
    asking.login(Role.LISTENER, name="eve", via="api")
    assert begin(program, row, purpose="criminal")
    assert "supervisor" in program.refused(HTTPStatus.FORBIDDEN, program.post(path, body))
    asking.login(Role.OFFICER, name="paul", via="api")
    assert decide(program, end, "refuse", reason="no ground")["state"] == "refused"
    decide(program, export, "approve")
    asking.login(Role.SUPERVISOR, via="api")
    assert sound(program, begin(program, row, **body, approval=export)).status_code == HTTPStatus.OK
    assert program.get(f"/approvals/{export}").json()["state"] == "used"
    trace = [(use.action, use.outcome, use.login, use.via) for use in uses(asking, row)]
    assert ("ask", "done", "claire", "api") in trace and ("approve", "done", "paul", "api") in trace
