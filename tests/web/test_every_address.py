"""What holds at every address: who may come in, whose forms are taken, that what comes from outside is only
shown; and that whatever is typed into a form has an answer for people, and is never a fault of the server.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from httpx2 import Response
from starlette.testclient import TestClient

from retention.records import Access, Approval, Event, HoldTerms, Note, Recording, terms
from sipagent.operations.approvals import ask_approval, rules_of
from sipagent.web import app
from sipagent.web.api.openapi import ENTRIES as OF_PROGRAMS
from sipagent.web.background import CommandOutcome
from sipagent.web.guard import Entry
from sipagent.web.problems import RefusedRequests
from sipagent.web.rights import RIGHTS, Right, Role, rights_of, roles_with
from tests import tiers
from tests.kept import CALLER
from tests.office import Office
from tests.web.conftest import Asking
from tests.web.logging_in import PASSWORD, SITE, Browser, Page, field_of
from tests.web.program import API
from tests.web.reading import read

ID = "20261124T222000123-482913"  # of a call that is not there
CALLERS = {"caller": "06 12 34 56 78"}
BODIES: dict[str, Any] = {  # what each takes
    "POST /recordings/search": {},
    "POST /recordings/{id}/uses": {"purpose": "quality"},
    "POST /recordings/{id}/notes": {"text": "well answered"},
    "POST /recordings/{id}/hold": {"ground": "criminal", "reference": "2026-41", "review": "2030-01-01"},
    "POST /recordings/{id}/release": {"reason": "closed"},
    "POST /calls/search": {},
    "POST /calls/{id}/delete": {"reason": "request 2026-118"},
    "POST /calls/{id}/vcon": {},
    "POST /approvals/{number}/approve": {},
    "POST /approvals/{number}/refuse": {"reason": "no ground"},
    "POST /approvals/{number}/withdraw": {},
    "POST /today": {"until": "2h"},
    "POST /persons": CALLERS,
    "POST /persons/delete": CALLERS | {"reason": "request 2026-118"},
}
ENDLESS = "GET /api/v1/events"  # looked at by tests of its own
GUARDED = [one for one in app.ENTRIES if one.right is not Right.ANYBODY]
FORMS = [one for one in GUARDED if one.asked.startswith("POST") and one not in OF_PROGRAMS]


def plain(asked: str) -> str:
    return re.sub(r":\w+\}", "}", asked).replace(API, "")


def ask(asking: Asking, one: Entry, **sent: Any) -> Response:
    """Ask for it, of a call, an approval or certificates that are not there."""
    method, path = one.asked.split(" ", 1)
    there = re.sub(r"\{number:row\}", "7", path).replace("{id}", ID).replace("{token}", "x")
    if one in OF_PROGRAMS and (body := BODIES.get(plain(one.asked))) is not None:
        sent = {"json": body}
    return asking.client.request(method, there, **sent)


@pytest.fixture
def still(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> Asking:
    """No command runs, and every refusal has its line."""
    said = CommandOutcome(datetime.now(UTC), "", 0, text="# x", json=[])
    monkeypatch.setattr(asking.site.commands, "start", lambda name, who: True)
    monkeypatch.setattr(asking.site.commands, "recent", lambda *words, language="en": said)
    asking.site.refusals = RefusedRequests(asking.site.store, asking.site.clock, most=10_000)
    return asking


@pytest.mark.parametrize("role", [*Role, None])
def test_each_role_comes_in_where_the_table_says(still: Asking, role: Role | None) -> None:
    roles = [] if role is None else [role]
    for one in GUARDED:
        may = one.right in rights_of(roles)
        if may and (
            one.asked == ENDLESS or one.right is Right.PERSON
        ):  # who has an account: test_accounts_page
            continue
        still.login(*roles, via="api" if one in OF_PROGRAMS else "web")
        before = len(still.site.store.accesses())
        answer = ask(still, one, data={"csrf": "csrf-claire"})
        told = [use.outcome for use in still.site.store.accesses()[before:] if use.action == "right"]
        if may:
            assert answer.status_code not in (401, 403) and told == [], (one.asked, answer.text)
            continue
        assert (answer.status_code, told) == (HTTPStatus.FORBIDDEN, ["refused"]), one.asked
        if one in OF_PROGRAMS:
            assert all(name in answer.json()["detail"] for name in roles_with(one.right))


def test_without_a_login_nothing(still: Asking) -> None:
    for one in GUARDED:
        answer = ask(still, one)
        if one in OF_PROGRAMS:
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), one.asked
        else:
            assert answer.headers["location"].startswith("/login"), one.asked
    assert still.site.store.accesses() == []


def test_a_form_of_another_session_does_nothing_and_is_in_the_trace(still: Asking) -> None:
    still.login(*(set(Role) - {Role.ADMINISTRATOR}))
    forms = [one for one in FORMS if one.right in rights_of(set(Role) - {Role.ADMINISTRATOR})]
    assert len(forms) > 15
    for one in forms:
        for carried in ({}, {"csrf": "csrf-paul"}, {"csrf": "é"}):
            answer = ask(still, one, data=carried | CALLERS | {"reason": "x", "id": ID})
            assert answer.status_code == HTTPStatus.FORBIDDEN, one.asked
        assert ask(still, one, json={}).status_code == HTTPStatus.FORBIDDEN, one.asked
    told = still.site.store.accesses()
    assert {(use.action, use.outcome, use.by) for use in told} == {("right", "refused", "claire")}
    assert CALLER[-9:] not in str(told)


def test_all_that_takes_a_body_is_asked_with_one() -> None:
    assert {plain(one.asked) for one in OF_PROGRAMS if one.body is not None} == set(BODIES)


HOSTILE = (
    "<script>alert(1)</script>",
    "a\u202eb\u2066c",
    "line\nline",
    "'\"><img src=x>",
    "A" * 100_000,
    "{{ 7777*7777 }}",
)


def hostile(office: Office, texts: Iterator[str]) -> Recording:
    """A call of which all that can be said is odd; what cannot go into a sip address is left out of it."""
    text = texts.__next__
    row = office.call(operator=f"sip:{text()}@pbx.example.net", call_id=text(), caller=CALLER, called=text())
    short = (one[:500] for one in texts)  # what people type is bounded
    said = short.__next__
    hold = {"ground": said(), "reference": said(), "by": said(), "approved_by": said(), "review": said()}
    office.archive.change(replace(row, hold=hold))
    store, at = office.archive.store, row.started_at
    events = (Event(at=at, what=f"bridged with {text()}", by=text()), Event(at=at, what=text(), by=text()))
    told = replace(store.receipt(row.id), events=events, keyword=text(), dtmf_method=text())
    store.update_receipt(replace(told, outcome=said(), phase=said(), decided_by=said()))
    use = Access(at=at, action=said(), recording_id=row.id, purpose=said(), by=said(), reference=said())
    store.add_access(replace(use, system_user=said(), detail=said(), outcome=said(), login=said()))
    store.add_access(replace(use, action="export", outcome="done", detail=f"both to /x/{said()[:80]}"))
    store.add_note(Note(recording_id=row.id, at=at, by=said(), text=said(), expires_at=row.expires_at))
    return row


def pages(asking: Asking, office: Office, texts: Iterator[str]) -> Iterator[tuple[str, Response]]:
    """Every page that shows what was said elsewhere."""
    row, other, site, at = hostile(office, texts), office.call(), asking.site, datetime.now(UTC)
    wanted = Approval(at=at, action="hold", recording_id=other.id, by=None, ground="criminal")
    wanted = replace(wanted, reference=next(texts)[:200], review="2999-01-01", reason=next(texts)[:200])
    trace = Access(at=at, action="ask", by="sonia", login="sonia", via="web")
    number = ask_approval(site.archive, wanted, trace, rules_of(site.config, at)).id
    checked = [{"level": "ok", "what": next(texts)[:500], "detail": next(texts)[:500]}]
    wrong = {"where": next(texts)[:500], "problem": next(texts)[:500]}
    kept = {"lost": [], "problems": [wrong], "counts": {}, "head": {"seq": 1, "hash": "ab"}}
    site.commands._last |= {
        "check": CommandOutcome(at, "claire", 0, json=checked),
        "verify": CommandOutcome(at, "claire", 0, json=kept),
    }
    client, form = asking.client, {"csrf": "csrf-claire", "caller": CALLER, "ticked": "yes", "id": row.id}
    client.get("/statistics")
    assert site.counting.wait(20)
    for path in ("/recordings", "/calls", f"/recordings/{row.id}", "/holds", "/accesses", "/statistics"):
        yield path, client.get(path)
    yield "/compliance", client.get("/compliance")
    typed = (char for char in next(texts)[:200] if char.isprintable())  # what else is typed is refused
    reason = {"reason": "".join(typed)}
    for path in ("/requests", "/requests/erase"):
        yield path, client.post(path, data=form | reason)
    answer = {"request": "1", "channel": "both", "names": "yes", "parts": "yes", "marks": "yes"}
    answer |= {"evidence": "ground", "remark": next(texts)}
    letter = client.post("/requests/package", data=form | answer).json()["files"]["letter.html"]
    yield "letter", Response(200, text=letter, headers={"content-type": "text/html; charset=utf-8"})
    client.post(f"/holds/{number}/refuse", data={"csrf": "csrf-claire", "answer": next(texts)[:200]})
    yield "/holds", client.get("/holds")


@pytest.mark.parametrize("turn", range(tiers.depth(2, len(HOSTILE))))
def test_what_comes_from_outside_is_only_shown(asking: Asking, web_office: Office, turn: int) -> None:
    """Each page, read strictly as a browser would, with no script, style or image that is not its own."""
    texts = cycle((*HOSTILE[turn:], *HOSTILE[:turn]))
    asking.login(*(set(RIGHTS) - {Role.ADMINISTRATOR}))
    there = ""
    for path, answer in pages(asking, web_office, texts):
        assert answer.status_code == HTTPStatus.OK, (path, answer.text)
        page = read(answer)
        scripts = {(one.get("type"), one.get("src")) for one in page.elements("script")}
        assert scripts <= {("application/json", None), ("module", "/static/typed.js")}, path
        assert not page.elements("img") and not re.search(r"<script(?![^>]*(src=|type=.appl))", answer.text)
        assert path == "letter" or (not page.having("style") and "<style" not in answer.text), path
        assert not re.search(r"\son\w+=", re.sub(r">[^<]*<", "><", answer.text)), path
        assert not {"\u202e", "\u2066"} & set(answer.text), path
        assert "60481729" not in answer.text, path  # nothing that came is computed
        whole = path in ("/requests", "letter")  # what a person is told is not cut
        assert whole or "A" * 5000 not in answer.text, path
        there += page.text
    assert all(text in there for text in (HOSTILE[0], HOSTILE[3])), "it is shown"


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
    **{"evidence": "held", "marks": "no"},
    **{"name": "Bob", "role-listener": "on", "until": SOON, "account": "1", "language": "fr", "next": "/"},
    **{"password": PASSWORD, "new": "a" * 20, "again": "a" * 20, "digits": "123456", "passkey": "1"},
    **{"since": "2026-11-01", "day": "2026-11-24", "answer": "seen", "credential": "{}", "code": "A-B"},
}
"""A field that somebody has filled in."""
ALL_FORMS = [one for one in app.ENTRIES if one.asked.startswith("POST") and one not in OF_PROGRAMS]
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
    (entry,) = (one for one in ALL_FORMS if one.asked == path)
    module = Path(entry.endpoint.__code__.co_filename).read_text(encoding="utf-8")
    read = {name for found in READ.findall(module) for name in found if name and name != "csrf"}
    return read | set(terms(HoldTerms)) if "terms(HoldTerms)" in module else read


def asked_for(page: Page, office: Office) -> int:
    """The number of a hold that Sonia asks for."""
    site, at = page.site, datetime.now(UTC)
    asked: dict[str, Any] = {"ground": "criminal", "reference": "2026-41", "review": SOON}
    wanted = Approval(at=at, action="hold", recording_id=office.call().id, by="Sonia", **asked)
    trace = Access(at=at, action="ask", by="Sonia", login="Sonia", via="web")
    number = ask_approval(site.archive, wanted, trace, rules_of(site.config, at)).id
    assert number is not None
    return number


@pytest.mark.parametrize("asked", [one.asked for one in ALL_FORMS if one.asked != "POST /logout"])
def test_no_form_is_a_fault_of_the_server(page: Page, office: Office, browser: Browser, asked: str) -> None:
    """All of its fields with what is odd; in the full tier also each alone."""
    path = asked.split(" ", 1)[1]
    path = path.replace("{id}", office.call().id) if "{id}" in path else path
    path = path.replace("{number:row}", str(asked_for(page, office))) if "{number" in path else path
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


@pytest.mark.parametrize("asked", [one.asked for one in ALL_FORMS if one.right is not Right.ANYBODY])
def test_who_sends_a_form_after_the_session_has_ended_comes_back_to_its_page(
    page: Page, office: Office, browser: Browser, asked: str
) -> None:
    """And is told that nothing was saved."""
    path = asked.split(" ", 1)[1].replace("{id}", office.call().id).replace("{number:row}", "1")
    led = page.browser().client.post(path, data={"csrf": "of a session that has ended", "reason": "typed"})
    assert led.status_code == HTTPStatus.SEE_OTHER
    there = page.browser().get(led.headers["location"])
    assert ("nothing of what you sent was saved" in there.text) == (path != "/logout")
    to = field_of(there.text, "next")
    assert to == "/" or path.startswith(to)
    if path.startswith(("/holds/", "/account/", "/accounts/")):
        assert to == f"/{path.split('/')[1]}"
    assert browser.get(to).status_code == HTTPStatus.OK
    reloaded = browser.get(path)  # by its address, without the form
    assert reloaded.status_code == HTTPStatus.OK or reloaded.headers["location"] == to
    assert "nothing of what" not in page.browser().get(f"/login?next={to}").text
