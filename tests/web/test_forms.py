"""Whatever is typed into a form: an answer for people, never a fault of the server."""

import re
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.testclient import TestClient

from retention.records import Access, Approval, HoldTerms, terms
from sipagent.operations.approvals import ask_approval, rules_of
from sipagent.web import app
from sipagent.web.api.openapi import ENTRIES as OF_PROGRAMS
from sipagent.web.rights import Right, Role
from tests import tiers
from tests.office import Office
from tests.web.logging_in import PASSWORD, SITE, Browser, Page, field_of

ODD = {
    "no-break space": "a\u00a0b",
    "narrow no-break space": "a\u202fb",
    "no-break spaces alone": "\u00a0\u202f",
    "control character": "a\x07b",
    "NUL": "a\x00b",
    "two lines": "a\r\nb",
    "direction": "a\u202eb",
    "lone surrogate": "a\ud800b",
    "501 characters": "a" * 501,
    "digits": "9" * 5000,
    "a digit that is none": "²",
}
SOON = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
GOOD = {
    **{
        "reason": "asked for",
        "reference": "2026-41",
        "ground": "criminal",
        "review": SOON,
        "text": "Polite.",
    },
    **{"request": "2026-41", "caller": "+33612345678", "channel": "both", "names": "no", "agreed": "on"},
    **{"name": "Bob", "role-listener": "on", "until": SOON, "account": "1", "language": "fr", "next": "/"},
    **{"password": PASSWORD, "new": "a" * 20, "again": "a" * 20, "digits": "123456", "passkey": "1"},
    **{"since": "2026-11-01", "day": "2026-11-24", "answer": "seen", "credential": "{}", "code": "A-B"},
}
"""A field that somebody has filled in."""
FORMS = [one for one in app.ENTRIES if one.asked.startswith("POST") and one not in OF_PROGRAMS]
READ = re.compile(
    r'form(?:\.(?:get|line|all)\(|\[)"([a-z-]+)"|_NUMBER = \("(caller)"|_one_of\(form, "([a-z]+)"'
)


@pytest.fixture
def office(page: Page, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(page.folder, capsys)


@pytest.fixture
def browser(page: Page) -> Browser:
    """Of somebody who has every role that one can have; a fault of the server is an answer, too."""
    browser = page.browser()
    browser.log_in(page.enrolled("Claire", *(role.value for role in Role)))
    browser.client = TestClient(
        page.app,
        base_url=page.site.config.web.origin,
        follow_redirects=False,
        raise_server_exceptions=False,
        cookies=browser.client.cookies,
        headers=SITE | {"accept-language": "en"},
    )
    return browser


def fields(path: str) -> set[str]:
    """What the handlers of the address's module read."""
    (entry,) = (one for one in FORMS if one.asked == path)
    module = Path(entry.endpoint.__code__.co_filename).read_text(encoding="utf-8")
    read = {name for found in READ.findall(module) for name in found if name and name != "csrf"}
    return read | set(terms(HoldTerms)) if "terms(HoldTerms)" in module else read


def pending(page: Page, office: Office) -> int:
    """The number of a hold that Sonia asks for."""
    site, at = page.site, datetime.now(UTC)
    asked: dict[str, Any] = {"ground": "criminal", "reference": "2026-41", "review": SOON}
    wanted = Approval(at=at, action="hold", recording_id=office.call().id, by="Sonia", **asked)
    trace = Access(at=at, action="ask", by="Sonia", login="Sonia", via="web")
    number = ask_approval(site.archive, wanted, trace, rules_of(site.config, at)).id
    assert number is not None
    return number


@pytest.mark.parametrize("asked", [one.asked for one in FORMS if one.asked != "POST /logout"])
def test_no_form_is_a_fault_of_the_server(page: Page, office: Office, browser: Browser, asked: str) -> None:
    """All of its fields with what is odd; in the full tier also each alone."""
    path = asked.split(" ", 1)[1]
    path = path.replace("{id}", office.call().id) if "{id}" in path else path
    path = path.replace("{number:row}", str(pending(page, office))) if "{number" in path else path
    shown = "/enrol" if path.startswith(("/login", "/enrol")) else "/account"
    if path == "/first":
        page.logins.accounts.remove(page.logins.accounts.meant("Claire").id)
        page.logins.offer_first("A-B")
        shown = "/first"
    known = fields(asked)
    alone = [{name} for name in known] if tiers.full else []
    for kind, text in ODD.items():
        for odd in (known, *alone):
            form = {name: text if name in odd else GOOD.get(name, "") for name in known}
            body = urlencode(form | {"csrf": browser.token(shown)}, errors="surrogatepass")
            sent = {"content-type": "application/x-www-form-urlencoded"}
            answer = browser.client.post(path, content=body.encode(), headers=sent)
            assert answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR, (odd, kind, answer.text[-200:])


@pytest.mark.parametrize("asked", [one.asked for one in FORMS if one.right is not Right.ANYBODY])
def test_who_sends_a_form_after_the_session_has_ended_comes_back_to_its_page(
    page: Page, office: Office, browser: Browser, asked: str
) -> None:
    """And is told that nothing was saved."""
    path = asked.split(" ", 1)[1].replace("{id}", office.call().id).replace("{number:row}", "1")
    led = page.browser().client.post(path, data={"csrf": "of a session that has ended", "reason": "typed"})
    assert led.status_code == HTTPStatus.SEE_OTHER
    there = page.browser().get(led.headers["location"])
    assert "nothing of what you sent was saved" in there.text
    to = field_of(there.text, "next")
    assert to == "/" or path.startswith(to)
    if path.startswith(("/holds/", "/account/", "/accounts/")):
        assert to == f"/{path.split('/')[1]}"
    assert browser.get(to).status_code == HTTPStatus.OK
    assert "nothing of what" not in page.browser().get(f"/login?next={to}").text
