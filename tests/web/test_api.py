"""The interface for programs: its document, who asks by what, and the acts of offices over it."""

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from retention.records import new_id
from retention.verify import verify
from sipagent.web.api.openapi import COOKIE, ENTRIES, document
from sipagent.web.api.operation import Body, Operation, Query
from sipagent.web.rights import ROUTES, Right, Role, roles_with
from tests.office import Office
from tests.test_docs import text_of
from tests.web.conftest import Asking
from tests.web.logging_in import SITE, Page
from tests.web.program import API, Program, conforms

CALLER = "+33612345678"
REASON = "request 2026-118"
BOUNDS = {"maxLength", "enum", "const", "format", "pattern"}


def plain(asked: str) -> str:
    """An address as the document writes it."""
    return re.sub(r":\w+\}", "}", asked)


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


def test_the_document_is_of_what_there_is(asking: Asking) -> None:
    """Each address, who may ask, and nothing else; it is for anybody."""
    validate(document())
    assert document()["openapi"] == "3.1.0"
    told = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert told == {plain(asked) for asked in ROUTES if " /api/" in asked}
    for one in ENTRIES:
        method, path = plain(one.asked).split(" ", 1)
        of_one = document()["paths"][path][method.lower()]
        assert (of_one.get("security") == []) == (one.right is Right.ANYBODY)
        assert one.right is Right.ANYBODY or all(
            role in of_one["description"] for role in roles_with(one.right)
        )
    answer = asking.client.get(f"{API}/openapi.json")
    assert answer.json() == json.loads(json.dumps(document()))


@pytest.mark.parametrize("one", ENTRIES, ids=lambda one: one.asked)
def test_what_is_sent_is_bounded_and_nothing_else_is_taken(one: Operation) -> None:
    assert one.query is None or issubclass(one.query, Query)
    assert one.body is None or issubclass(one.body, Body)
    assert (one.body is not None) <= one.asked.startswith("POST ")

    def open_ended(schema: object, where: str) -> list[str]:
        """Whatever is a string, and has no end."""
        if isinstance(schema, list):
            return [found for each in schema for found in open_ended(each, where)]
        if not isinstance(schema, dict):
            return []
        if schema.get("type") == "string" and not schema.keys() & BOUNDS:
            return [where]
        return [found for name, each in schema.items() for found in open_ended(each, f"{where}.{name}")]

    method, path = plain(one.asked).split(" ", 1)
    told = document()["paths"][path][method.lower()]
    sent = [told["parameters"], told.get("requestBody", {})]
    names = re.findall(r"#/components/schemas/(\w+)", json.dumps(sent))
    found = [document()["components"]["schemas"][name] for name in names]
    assert open_ended([*sent, *found], path) == []


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
        method = "GET" if body is None else "POST"
        headers = {} if body is None else {"content-type": "application/json"}
        path = f"{url.path}?{url.query}".rstrip("?")
        answer = asking.client.request(method, path, content=body, headers=headers)
        made = HTTPStatus.CREATED if address.endswith("/uses") else HTTPStatus.OK
        assert answer.status_code == made, (words, answer.text)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def token_of(page: Page, *roles: Role, name: str = "dashboard", **more: Any) -> str:
    _, token = page.logins.accounts.add_token(name, [role.value for role in roles], **more)
    return token


def test_a_token_asks_as_its_roles_may_until_it_ends(page: Page) -> None:
    client = page.browser().client
    client.headers.update(bearer(token_of(page, Role.LISTENER, until=page.now + timedelta(days=1))))
    program = Program(client)
    assert program.get("/recordings").json() == []
    program.refused(HTTPStatus.FORBIDDEN, program.get("/accesses"))
    (row,) = page.trace("right")
    assert (row.outcome, row.login, row.via) == ("refused", "dashboard", "api")
    for path in ("/recordings", "/openapi.json", "/nowhere", "/recordings?colour=red"):
        headers = client.get(f"{API}{path}").headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
    elsewhere = {"sec-fetch-site": "cross-site"}
    answer = client.post(f"{API}/recordings/search", json={}, headers=elsewhere)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    page.later(days=2)
    assert program.get("/recordings").status_code == HTTPStatus.UNAUTHORIZED


def test_a_token_in_the_place_of_a_cookie_or_an_address_is_none(page: Page) -> None:
    token, client = token_of(page, Role.LISTENER), page.browser().client
    for more in ("?token=", "?access_token="):
        assert client.get(f"{API}/recordings{more}{token}").status_code == HTTPStatus.UNAUTHORIZED
    client.cookies.set("sipagent", token, domain="127.0.0.1")
    assert client.get(f"{API}/recordings").status_code == HTTPStatus.UNAUTHORIZED


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
            return page.browser().client, bearer(token_of(page, Role.LISTENER, name="Claire"))
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


def test_an_analysis_comes_after_listening(asking: Asking, web_office: Office, listener: Program) -> None:
    row = web_office.call(caller=CALLER)
    path = f"/recordings/{row.id}/notes"
    said = listener.refused(HTTPStatus.CONFLICT, listener.post(path, {"text": "well answered"}))
    assert last(asking) == ("note", "refused", "claire", "api", said)
    listener.post(f"/recordings/{row.id}/uses", {"purpose": "quality"})
    for text in ("", " \n ", "a\x00b", "x" * (65 * 1024)):
        answer = listener.post(path, {"text": text})
        assert "text" in listener.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)
    named = {"text": "call back on 06 12 34 56 78\r\n<script>"}
    answer = listener.post(path, named)
    listener.refused(HTTPStatus.CONFLICT, answer)
    assert answer.json()["going"] == ["call back on 06 [12 34 56 78]"]
    assert last(asking)[:2] == ("note", "refused") and "12 34" not in str(last(asking))
    agreed = listener.post(path, named | {"agreed": True})
    assert agreed.status_code == HTTPStatus.CREATED
    note = agreed.json()["note"]
    assert (note["text"], note["by"], agreed.json()["erased"]) == (
        "call back on 06 …\n<script>",
        "claire",
        False,
    )
    assert json.loads(web_office.run("show", row.id, "--json").out)["notes"] == [note]


def test_a_call_is_forgotten_as_the_command_does(
    asking: Asking, web_office: Office, officer: Program
) -> None:
    one, other = web_office.call(), web_office.call(timedelta(hours=2))
    for reason in ("", "a\nb", "a\u202eb", "x" * 100_000, None, 7):
        answer = officer.post(f"/calls/{one.id}/delete", {"reason": reason})
        assert "reason" in officer.refused(HTTPStatus.UNPROCESSABLE_ENTITY, answer)
    told = officer.post(f"/calls/{one.id}/delete", {"reason": "demande\u00a041"}).json()
    by_command = web_office.run("delete", other.id, "--json", "--reason", REASON, "--by", "paul").out
    assert told.keys() == json.loads(by_command).keys()
    assert (told["by"], told["reason"]) == ("paul", "demande 41")
    (use,) = [use for use in asking.site.store.accesses(one.id) if use.action == "delete"]
    assert (use.outcome, use.login, use.via, use.system_user) == ("done", "paul", "api", None)
    said = officer.refused(HTTPStatus.CONFLICT, officer.post(f"/calls/{one.id}/delete", {"reason": REASON}))
    assert "already purged" in said
    assert last(asking) == ("delete", "refused", "paul", "api", said)
    assert verify(asking.site.archive).problems == []


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
    assert (told["running"], told["last"]["exit"], told["last"]["by"]) == (False, 0, "paul")
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
