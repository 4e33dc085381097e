"""What comes from outside stays a text; nothing of a person is in an address, a log or a refusal."""

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from threading import Event
from typing import Any

import anyio
import numpy as np
import pytest
from starlette.types import Message

from retention.purge import purge
from retention.records import Access
from retention.rows.rows import Rows
from sipagent.web.rights import Role
from tests.office import RATE, Office
from tests.web.conftest import Asking
from tests.web.program import API, Program

CALLER = "+33612345678"
HOSTILE = (
    "<script>alert(1)</script>",
    "\u202eevil\u2066",
    "nul\x00nul",
    '"\n\r\\',
    "\ufeff\u200b",
    "é🎧" * 100,
    "x" * 100_000,
    "'; DROP TABLE recordings; --",
    "{{7*7}}${7*7}%n%s",
)


@pytest.fixture
def program(asking: Asking) -> Program:
    asking.login(Role.SUPERVISOR, Role.OFFICER, via="api")
    return Program(asking.client)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_texts_wherever_one_may_be_sent(web_office: Office, program: Program, text: str) -> None:
    row = web_office.call()
    bodies: dict[str, Any] = {
        f"/recordings/{row.id}/uses": {"purpose": text, "reference": text, "file": text, "channel": text},
        f"/recordings/{row.id}/notes": {"text": text, "agreed": text},
        f"/recordings/{row.id}/hold": {"ground": text, "reference": text, "review": text},
        f"/recordings/{row.id}/release": {"reason": text},
        f"/calls/{row.id}/delete": {text: text},
        "/approvals/1/approve": {"reason": text},
        "/recordings/search": {"caller": text, "operator": text, "since": text, "after": text},
        "/calls/search": {"outcome": text, "decision": text},
        "/persons": {"caller": text},
        "/persons/delete": {"reference": text, "reason": text},
    }
    for path, body in bodies.items():
        for name in body:
            program.post(path, {name: body[name]})
            program.post(path, {"purpose": "quality", "reason": "r", "text": "t"} | {name: body[name]})
    for path in ("/recordings", "/calls", "/accesses", "/stats", "/approvals"):
        for name in ("limit", "after", "since", "operator", "reference", "status", "held", "by", text[:50]):
            program.get(path, params={name: text[:2000]})
    assert program.get(f"/recordings/{row.id}").json()["id"] == row.id


@pytest.mark.parametrize("text", [one for one in HOSTILE if "\x00" not in one], ids=ascii)
def test_what_is_kept_of_hostile_texts_is_ascii(web_office: Office, program: Program, text: str) -> None:
    row = web_office.call(operator=f"sip:{text[:200]}@pbx.example.net", call_id=text[:200])
    store: Rows = web_office.archive.store
    use = Access(at=datetime.now(UTC), action="play", recording_id=row.id, by=text, detail=text)
    store.add_access(use)
    for path in (f"/recordings/{row.id}", "/recordings", f"/calls/{row.id}", "/accesses", "/stats"):
        answer = program.get(path)
        assert answer.text.isascii() and answer.headers["content-type"] == "application/json"
    assert json.loads(program.get("/accesses").text)[0]["by"] == text


def test_nothing_of_a_person_in_a_log_or_a_refusal(
    asking: Asking, web_office: Office, program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    web_office.call(caller=CALLER)
    for path in ("/recordings/search", "/calls/search", "/persons"):
        answer = program.post(path, {"caller": "06 12 34 56 78"}, params={})
        assert answer.json()[0]["caller"] == CALLER
        assert "12345678" not in str(answer.headers)
    asking.login(Role.ADMINISTRATOR, via="api")
    for path in (f"/recordings/{CALLER}", f"/calls/{CALLER}"):
        program.refused(HTTPStatus.FORBIDDEN, program.get(path))
        program.refused(HTTPStatus.FORBIDDEN, program.get(f"{path}?caller={CALLER}"))
    rows = asking.site.store.accesses()
    assert next(row.detail for row in rows if row.action == "right") == (
        "GET /api/v1/recordings/{id}: accepted: listener, supervisor, officer"
    )
    out, err = capsys.readouterr()
    assert all("12345678" not in text for text in (out, err, *map(str, rows)))


def test_not_in_this_way(asking: Asking, program: Program) -> None:
    answer = asking.client.delete(f"{API}/recordings")
    assert "GET" in program.refused(HTTPStatus.METHOD_NOT_ALLOWED, answer)
    assert "GET" in answer.headers["allow"]
    head = asking.client.head(f"{API}/recordings")
    assert (head.status_code, head.content) == (HTTPStatus.OK, b"")


def test_sound_that_is_removed_while_it_is_sent_ends_there(
    asking: Asking, web_office: Office, program: Program
) -> None:
    """The last bytes do not come, and nothing is raised."""
    noise = np.random.default_rng(1).integers(-9000, 9000, (30 * RATE, 2)).astype(np.int16)
    row = web_office.call(sound=noise, duration_s=30.0)
    told = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"}).json()
    site = asking.site
    assert told["bytes"] > 1 << 19
    sent: list[Message] = []
    gone = Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if not gone.is_set() and message["type"] == "http.response.body":
            gone.set()
            later = datetime.now(UTC) + timedelta(days=400)
            assert purge(site.archive, later, site.terms).removed

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "asgi": {"spec_version": "2.4"},
        "method": "GET",
        "path": told["sound"],
        "raw_path": told["sound"].encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "root_path": "",
        "scheme": "http",
        "server": ("testserver", 80),
        "app": asking.client.app,
    }
    anyio.run(asking.client.app, scope, receive, send)
    bodies = [message for message in sent if message["type"] == "http.response.body"]
    assert sent[0]["status"] == HTTPStatus.OK
    assert sum(len(message["body"]) for message in bodies) < told["bytes"]
    assert all(message["more_body"] for message in bodies)
