"""Sound is given for a purpose that is in the trace, to who asked, for half a day; never an open key."""

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from retention.purge import purge
from retention.records import Access, Recording
from retention.vault import read_identity, read_public
from retention.verify import verify
from sipagent.config.load import load
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import Office
from tests.sealing import make_pair, make_sealed_office, name_recipients, sealed_call
from tests.web.conftest import Asking
from tests.web.program import API, Program


@pytest.fixture
def listener(asking: Asking) -> Program:
    asking.login(Role.LISTENER, via="api")
    return Program(asking.client)


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
    told = begin(listener, row)
    (use,) = uses(asking, row)
    assert (use.action, use.purpose, use.outcome, use.detail) == ("play", "quality", "done", "both")
    assert (use.by, use.login, use.via, use.system_user) == ("claire", "claire", "api", None)
    assert told["sealed"] is False and told["key"] is None
    answer = sound(listener, told)
    assert len(answer.content) == told["bytes"] == int(answer.headers["content-length"])
    assert answer.content[:4] == b"fLaC"
    part = sound(listener, told, headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (HTTPStatus.PARTIAL_CONTENT, answer.content[4:8])
    chunks = sound(listener, told, params={"from": "0.5", "to": "1"})
    assert chunks.headers["sound-span"].endswith("/16000")
    assert verify(asking.site.archive).problems == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "a purpose is needed; accepted: statistics, quality, organisation, access_request"),
        ({"purpose": None}, "a purpose is needed"),
        ({"purpose": ""}, "a purpose is needed"),
        ({"purpose": "curiosity"}, "'curiosity' is not listed"),
        ({"purpose": "criminal"}, "'criminal' is not listed"),
        ({"purpose": "access_request"}, "needs the reference"),
        ({"purpose": "access_request", "reference": " "}, "needs the reference"),
        ({"purpose": "<script>alert(1)</script>"}, "is not listed"),
        ({"purpose": "a\u202eb\x00"}, "is not listed"),
    ],
)
def test_without_a_listed_purpose_no_key_and_no_bytes(
    asking: Asking, web_office: Office, listener: Program, body: Any, word: str
) -> None:
    row = web_office.call()
    answer = listener.post(f"/recordings/{row.id}/uses", body)
    assert word in listener.refused(HTTPStatus.FORBIDDEN, answer)
    assert {"key", "sound", "id"}.isdisjoint(answer.json())
    (use,) = uses(asking, row)
    assert (use.action, use.outcome, use.login) == ("play", "refused", "claire")
    assert use.purpose in (None, "access_request")
    for number in range(3):
        listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{row.id}/uses/{number}/sound"))


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"purpose": "q" * 100_000}, "purpose"),
        ({"purpose": 7}, "purpose"),
        ({"purpose": "quality", "channel": "left"}, "channel"),
        ({"purpose": "quality", "action": "delete"}, "action"),
        ({"purpose": "quality", "action": "export", "file": "/etc/passwd"}, "file"),
        ({"purpose": "quality", "action": "export", "file": "a\nb"}, "file"),
        ({"purpose": "quality", "by": "somebody else"}, "accepted: purpose, reference, action"),
    ],
)
def test_a_use_that_cannot_be_read(web_office: Office, listener: Program, body: Any, word: str) -> None:
    answer = listener.post(f"/recordings/{web_office.call().id}/uses", body)
    assert word in listener.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)


def test_an_officer_listens_for_a_persons_request_alone(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    asking.login(Role.OFFICER, name="paul", via="api")
    program = Program(asking.client)
    answer = program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "access_request" in program.refused(HTTPStatus.FORBIDDEN, answer)
    told = begin(program, row, purpose="access_request", reference="2026-118", channel="caller")
    assert sound(program, told).status_code == HTTPStatus.OK
    refused, done = uses(asking, row)
    assert (refused.outcome, refused.purpose) == ("refused", "quality")
    assert (done.purpose, done.reference, done.detail) == ("access_request", "2026-118", "caller")


def test_a_use_is_for_who_has_asked(asking: Asking, web_office: Office, listener: Program) -> None:
    row, other = web_office.call(), web_office.call(timedelta(hours=2))
    told = begin(listener, row)
    elsewhere = told["sound"].replace(row.id, other.id).removeprefix(API)
    listener.refused(HTTPStatus.NOT_FOUND, listener.get(elsewhere))
    for name, via in (("paul", "api"), ("claire", "web")):  # another person, and a session of that name
        asking.login(Role.LISTENER, name=name, via=via)
        listener.refused(HTTPStatus.NOT_FOUND, sound(listener, told))
    asking.login(Role.OFFICER, via="api")  # who listens no more for what it was
    listener.refused(HTTPStatus.NOT_FOUND, sound(listener, told))
    asking.login(Role.LISTENER, Role.ADMINISTRATOR, via="api")
    listener.refused(HTTPStatus.FORBIDDEN, sound(listener, told))
    asking.login(Role.LISTENER, via="api")
    assert sound(listener, told).status_code == HTTPStatus.OK


def test_a_use_is_over_after_half_a_day(asking: Asking, web_office: Office, listener: Program) -> None:
    told = begin(listener, web_office.call())
    later = datetime.now(UTC) + timedelta(hours=11, minutes=59)
    asking.site.clock = lambda: later
    assert sound(listener, told).status_code == HTTPStatus.OK
    asking.site.clock = lambda: later + timedelta(minutes=1)
    listener.refused(HTTPStatus.NOT_FOUND, sound(listener, told))


def test_what_was_not_a_use_gives_nothing(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call()
    now = datetime.now(UTC)
    mine = {"recording_id": row.id, "by": "claire", "login": "claire", "via": "api", "purpose": "quality"}
    for action, outcome in (("hold", "done"), ("play", "refused"), ("export", "failed"), ("play", "begun")):
        number = asking.site.store.add_access(Access(at=now, action=action, outcome=outcome, **mine))
        listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{row.id}/uses/{number}/sound"))


def test_gone_meanwhile(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call(timedelta(days=200), expires_at=datetime.now(UTC) + timedelta(days=1))
    told = begin(listener, row, purpose="access_request", reference="2026-118")
    asking.site.clock = lambda: datetime.now(UTC) + timedelta(seconds=1)
    report = purge(asking.site.archive, datetime.now(UTC) + timedelta(days=2), asking.site.terms)
    assert [one.id for one in report.removed] == [row.id]
    listener.refused(HTTPStatus.GONE, sound(listener, told))
    answer = listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "purged" in listener.refused(HTTPStatus.GONE, answer)
    assert uses(asking, row)[-1].outcome == "refused"


def test_a_file_that_is_another_is_not_given(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call()
    assert row.path is not None
    (web_office.folder / row.path).write_bytes(b"another")
    answer = listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    assert "hash differs" in listener.refused(HTTPStatus.CONFLICT, answer)
    assert uses(asking, row)[-1].outcome == "refused"


def test_an_export_is_remembered_as_a_copy_elsewhere(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row = web_office.call()
    begin(listener, row, action="export", channel="caller", file=f"{row.id}-caller.wav")
    (use,) = uses(asking, row)
    assert (use.action, use.detail) == ("export", f'caller to "{row.id}-caller.wav"')
    (copy,) = json.loads(web_office.run("show", row.id, "--json").out)["copies"]
    assert (copy["path"], copy["by"], copy["exists"]) == (f"{row.id}-caller.wav", "claire", True)


def test_nothing_of_a_person_stays_in_the_trace(
    asking: Asking, web_office: Office, listener: Program
) -> None:
    row = web_office.call(caller="+33612345678", operator="sip:marie.durand@pbx.example.net")
    begin(listener, row, action="export", file="0612345678 marie.durand.wav", reference="06 12 34 56 78")
    (use,) = uses(asking, row)
    assert "12345678" not in f"{use}".replace(" ", "") and "marie" not in str(use)


def test_unknown_ids(listener: Program, web_office: Office) -> None:
    rows = [web_office.call(timedelta(hours=hours)) for hours in (1, 2)]
    for id in ("20000101T000000000-000000", "..", "%2e%2e", "a b", "%00", "é", "1" * 5000):
        answer = listener.ask("POST", f"/recordings/{id}/uses", json={"purpose": "quality"})
        listener.refused(HTTPStatus.NOT_FOUND, answer)
    answer = listener.post(f"/recordings/{rows[0].id[:2]}/uses", {"purpose": "quality"})
    listener.refused(HTTPStatus.CONFLICT, answer)
    assert set(answer.json()["ids"]) == {row.id for row in rows}
    assert begin(listener, rows[0])["recording"] == rows[0].id
    for number in ("0", "9" * 18):
        listener.refused(HTTPStatus.NOT_FOUND, listener.get(f"/recordings/{rows[0].id}/uses/{number}/sound"))
    for number in ("9" * 19, "9" * 5000, "-1", "x"):
        answer = listener.client.get(f"{API}/recordings/{rows[0].id}/uses/{number}/sound")
        assert answer.status_code == HTTPStatus.NOT_FOUND


# --- sealed ---


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
    who: list[Person | None] = []

    def identify(request: Request) -> Person | None:
        return who[0] if who else None

    site = Site(config=load(sealed.folder / "config.toml"), identify=identify)
    with TestClient(create_app(site), follow_redirects=False) as client:
        yield Asking(site, client, who)
    site.store.close()


def with_key(asking: Asking, office: Office, name: str | None) -> None:
    key = None if name is None else read_public(office.folder / "keys" / f"{name}.pub")
    asking.who[:] = [Person(name="claire", roles=frozenset((Role.LISTENER,)), via="api", key=key)]


def test_the_key_comes_sealed_to_who_asks_and_opens_what_is_stored(sealed: Office, keyed: Asking) -> None:
    row = sealed_call(sealed, ("claire", "paul"))
    with_key(keyed, sealed, "claire")
    program = Program(keyed.client)
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
    row = sealed_call(sealed, ("claire", "paul"))
    with_key(keyed, sealed, name)
    program = Program(keyed.client)
    said = program.refused(
        HTTPStatus.CONFLICT, program.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    )
    assert word in said and str(sealed.folder) not in said
    (use,) = keyed.site.store.accesses(row.id)
    assert (use.outcome, use.detail) == ("refused", said)
