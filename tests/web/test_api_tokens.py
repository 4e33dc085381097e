"""Who asks by a token, a real, a wrong, an ended one; and by a session, whose cookie the document names."""

from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from sipagent.web.api.openapi import COOKIE, ENTRIES
from sipagent.web.api.operation import Operation
from sipagent.web.rights import Right, Role
from tests.office import Office
from tests.web.logging_in import SITE, Page, opened
from tests.web.program import API, Program, conforms
from tests.web.test_api_rights import GUARDED, ask


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as page:
        yield page


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def program(page: Page, token: str | None) -> Program:
    """One that shows this token."""
    client = page.browser().client
    if token is not None:
        client.headers.update(bearer(token))
    return Program(client)


def token_of(page: Page, *roles: Role, name: str = "dashboard", **more: Any) -> str:
    _, token = page.logins.accounts.add_token(name, [role.value for role in roles], **more)
    return token


def test_a_token_asks_as_its_roles_may(page: Page) -> None:
    token = token_of(page, Role.LISTENER)
    assert program(page, token).get("/recordings").json() == []
    program(page, token).refused(HTTPStatus.FORBIDDEN, program(page, token).get("/accesses"))
    (row,) = page.trace("right")
    assert (row.outcome, row.login, row.via) == ("refused", "dashboard", "api")


@pytest.mark.parametrize("shown", ["", "sipagent_wrong", "\x7f", "é", "x" * 5000, "Basic"])
@pytest.mark.parametrize("one", GUARDED, ids=lambda one: one.asked)
def test_a_wrong_token_asks_for_nothing(page: Page, one: Operation, shown: str) -> None:
    client = page.browser().client
    client.headers.update([(b"authorization", f"Bearer {shown}".encode())])
    answer = ask(Program(client), one)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert [(row.outcome, row.via) for row in page.trace("login")] == [("refused", "api")]


def test_a_token_ends(page: Page) -> None:
    token = token_of(page, Role.LISTENER, until=page.now + timedelta(days=1))
    assert program(page, token).get("/recordings").status_code == HTTPStatus.OK
    page.later(days=2)
    assert program(page, token).get("/recordings").status_code == HTTPStatus.UNAUTHORIZED
    other = token_of(page, Role.LISTENER, name="other")
    page.logins.accounts.revoke("other")
    assert program(page, other).get("/recordings").status_code == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("via", ["web", "api"])
def test_a_use_is_not_of_whoever_has_the_name_later(
    page: Page, capsys: pytest.CaptureFixture[str], via: str
) -> None:
    """The account, or the token, is removed, and made anew for somebody else."""
    row = Office(page.folder, capsys).call()
    accounts = page.logins.accounts

    def made() -> tuple[TestClient, dict[str, str]]:
        if via == "api":
            return page.browser().client, bearer(token_of(page, Role.LISTENER, name="Claire"))
        browser = page.browser()
        assert browser.log_in(page.enrolled("Claire")).status_code == HTTPStatus.SEE_OTHER
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


def test_a_token_in_the_place_of_a_cookie_or_an_address_is_none(page: Page) -> None:
    token = token_of(page, Role.LISTENER)
    client = page.browser().client
    for more in ({"params": {"token": token}}, {"params": {"access_token": token}}):
        answer = client.get(f"{API}/recordings", **more)  # type: ignore[arg-type]
        assert answer.status_code == HTTPStatus.UNAUTHORIZED
    client.cookies.set("sipagent", token, domain="127.0.0.1")
    assert client.get(f"{API}/recordings").status_code == HTTPStatus.UNAUTHORIZED


def test_the_cookie_is_that_of_the_document(page: Page) -> None:
    assert COOKIE.removeprefix("__Host-") == page.logins.cookies.session


def test_a_session_reads_and_sends_with_its_token(page: Page) -> None:
    browser = page.browser()
    browser.log_in(page.enrolled("Claire", "listener"))
    assert browser.get(f"{API}/recordings").json() == []
    sent: dict[str, Any] = {"json": {}, "headers": dict(SITE)}
    answer = browser.client.post(f"{API}/recordings/search", **sent)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    conforms("POST", "/recordings/search", answer)
    sent["headers"]["x-csrf-token"] = browser.token("/account")
    assert browser.client.post(f"{API}/recordings/search", **sent).json() == []


def test_what_another_site_sends_is_refused(page: Page) -> None:
    token = token_of(page, Role.LISTENER)
    headers = {"sec-fetch-site": "cross-site", **bearer(token)}
    answer = page.browser().client.post(f"{API}/recordings/search", json={}, headers=headers)
    assert answer.status_code == HTTPStatus.FORBIDDEN


def test_each_answer_has_the_headers_that_protect_it(page: Page) -> None:
    asking = program(page, token_of(page, Role.SUPERVISOR, Role.OFFICER))
    for path in ("/recordings", "/openapi.json", "/nowhere", "/recordings?colour=red"):
        answer = asking.client.get(f"{API}{path}")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_document_is_for_anybody(page: Page) -> None:
    answer = page.browser().get(f"{API}/openapi.json")
    assert answer.status_code == HTTPStatus.OK
    assert [one.asked for one in ENTRIES if one.right is Right.ANYBODY] == [f"GET {API}/openapi.json"]
