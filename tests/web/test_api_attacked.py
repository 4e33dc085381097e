"""The interface under attack: what comes from outside stays a text, nothing of a person is in an address, a
log or a refusal, and whatever is asked is answered as the document says.
"""

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from httpx2 import Client, ReadError, RemoteProtocolError
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from retention.purge import purge
from retention.records import Access
from retention.rows.rows import Rows
from sipagent.web import serving as serving_module
from sipagent.web.api.openapi import ENTRIES
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import CONFIG, RATE, Office
from tests.web.conftest import Asking
from tests.web.logging_in import asked_by
from tests.web.program import API, Program
from tests.web.served import serving

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


CLAIRE = Person(  # who may all that a program may
    name="claire", roles=frozenset((Role.LISTENER, Role.SUPERVISOR, Role.OFFICER)), via="api"
)


@pytest.fixture
def program(asking: Asking) -> Program:
    asking.login(Role.SUPERVISOR, Role.OFFICER, via="api")
    return Program(asking.client)


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
        assert answer.json()[0]["caller"] == CALLER and "12345678" not in str(answer.headers)
    asking.login(Role.ADMINISTRATOR, via="api")
    for path in (f"/recordings/{CALLER}", f"/calls/{CALLER}?caller={CALLER}"):
        program.refused(HTTPStatus.FORBIDDEN, program.get(path))
    rows = asking.site.store.accesses()
    assert next(row.detail for row in rows if row.action == "right") == (
        "GET /api/v1/recordings/{id}: accepted: listener, supervisor, officer"
    )
    out, err = capsys.readouterr()
    assert all("12345678" not in text for text in (out, err, *map(str, rows)))
    answer = asking.client.delete(f"{API}/recordings")
    assert "GET" in program.refused(HTTPStatus.METHOD_NOT_ALLOWED, answer)
    assert "GET" in answer.headers["allow"]


@pytest.fixture
def site(web_office: Office) -> Iterator[Site]:
    site = asked_by(web_office.folder, [CLAIRE])
    yield site
    site.store.close()


@pytest.fixture
def client(site: Site) -> Iterator[Client]:
    with serving(create_app(site)) as address, Client(base_url=address, timeout=20) as client:
        yield client


def test_a_body_that_does_not_come_or_end_is_not_waited_for(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = f"POST {API}/persons HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with monkeypatch.context() as hurried:
        hurried.setattr(serving_module, "WITHIN_S", 0.2)
        place = ("127.0.0.1", client.base_url.port or 0)
        with socket.create_connection(place, 10) as peer:
            peer.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
            assert peer.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
    endless = iter([b'{"caller": "', *([b"0" * (1 << 16)] * 64)])
    try:
        answer = client.post(f"{API}/persons", content=endless, headers={"content-type": "application/json"})
    except (ReadError, RemoteProtocolError):
        return  # it was cut off while it was still being sent
    assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_sound_that_is_removed_is_cut_off_and_no_log_has_a_traceback(
    client: Client, site: Site, web_office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, (600 * RATE, 2)).astype(np.int16)
    row = web_office.call(sound=noise, duration_s=600.0)
    told = client.post(f"{API}/recordings/{row.id}/uses", json={"purpose": "quality"}).json()
    got = 0
    with pytest.raises(RemoteProtocolError), client.stream("GET", told["sound"]) as answer:
        for number, piece in enumerate(answer.iter_raw()):
            if number == 0:
                later = datetime.now(UTC) + timedelta(days=400)
                assert purge(site.archive, later, site.terms).removed
            got += len(piece)
    assert 0 < got < told["bytes"]
    assert client.get(told["sound"]).status_code == HTTPStatus.GONE
    assert not [one for one in caplog.records if one.exc_info or "Exception" in one.getMessage()]


CHECKS: Any = (
    *(not_a_server_error, status_code_conformance, content_type_conformance),
    *(response_schema_conformance, negative_data_rejection),
)
OUTSIDE = ("events", "verify", "check", "register")  # one never ends, the others are processes of their own
FUZZED = [re.sub(r":\w+\}", "}", one.asked) for one in ENTRIES if not one.asked.endswith(OUTSIDE)]
FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, list[str]]]:
    """The interface over a few calls, and their ids."""
    folder: Path = tmp_path_factory.mktemp("fuzzed")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    office = Office(folder, None)  # type: ignore[arg-type]
    ids = [office.call(timedelta(hours=hours)).id for hours in range(1, 4)]
    site = asked_by(folder, [CLAIRE])
    yield schemathesis.openapi.from_asgi(f"{API}/openapi.json", create_app(site)), ids
    site.store.close()


@pytest.mark.parametrize("asked", FUZZED)
@pytest.mark.parametrize("there", [False, True], ids=["of anything", "of what is there"])
def test_whatever_is_asked(api: tuple[Any, list[str]], asked: str, *, there: bool) -> None:
    method, path = asked.split(" ", 1)
    schema, ids = api

    @FEW
    @given(case=schema[path][method].as_strategy())
    def ask(case: Any) -> None:
        if there:
            number = len(repr(case.body)) + len(repr(case.query))
            named = {"id": ids[number % len(ids)], "number": 1 + number % 20}
            case.path_parameters = {name: named[name] for name in case.path_parameters}
        case.call_and_validate(checks=CHECKS)

    if not there or "{" in path:
        ask()
