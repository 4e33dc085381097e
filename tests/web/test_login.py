"""Logging in: who comes in, who does not, what a session is, and what attacks on it come to."""

import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import pytest
from starlette.requests import Request

from retention.accounts.memory import InMemory
from retention.records import Access
from retention.vault import Identity
from sipagent.web import logins as logins_module
from sipagent.web.rights import Role
from sipagent.web.sessions import ABSOLUTE, MOST_OF_ONE
from tests.web.logging_in import ORIGIN, PASSWORD, WEB, Browser, Owner, Page, opened, said

WRONG = "name, password or digits are wrong; digits count once: wait for the next ones"
FORBIDDEN, OK, SEE_OTHER = HTTPStatus.FORBIDDEN, HTTPStatus.OK, HTTPStatus.SEE_OTHER
KEY = Identity(bytes([1]) * 32, "Claire").public


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as page:
        yield page


@pytest.fixture
def claire(page: Page) -> Owner:
    return page.enrolled("Claire", "listener", key=KEY)


def logged_in(page: Page, who: Owner, address: str = "127.0.0.7") -> Browser:
    browser = page.browser(address)
    answer = browser.log_in(who)
    assert answer.status_code == SEE_OTHER, answer.text
    page.later(seconds=30)  # other digits
    return browser


# --- who comes in ---


def test_name_password_and_digits_let_in(page: Page, claire: Owner) -> None:
    browser = page.browser()
    answer = browser.log_in(claire)
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/")
    shown = browser.get("/account")
    assert shown.status_code == OK and "Claire" in shown.text and KEY.id in shown.text
    (row,) = page.trace("login")
    assert (row.login, row.by, row.via, row.outcome) == ("Claire", "Claire", "web", "done")
    assert row.detail == "from 127.0.0.7"
    assert page.logins.accounts.meant("claire").last_login_at == page.now


def test_the_cookie_is_for_this_page_alone(page: Page, claire: Owner) -> None:
    set_cookies = page.browser().log_in(claire).headers.get_list("set-cookie")
    (session,) = [one for one in set_cookies if one.startswith("sipagent=")]
    assert {part.strip().lower() for part in session.split(";")[1:]} == {
        "httponly",
        "path=/",
        "samesite=strict",
    }
    value = session.partition("=")[2].partition(";")[0]
    assert len(value) > 60


def test_by_https_it_is_secure_and_of_this_host(tmp_path: Path) -> None:
    tls = 'url = "https://ecoute.example.net"\ncertificate = "a.pem"\nprivate_key = "a.key"\n'
    with opened(tmp_path, WEB + tls) as page:
        set_cookies = page.browser().log_in(page.enrolled()).headers.get_list("set-cookie")
        (session,) = [one for one in set_cookies if one.startswith("__Host-sipagent=")]
        flags = {part.strip().lower() for part in session.split(";")[1:]}
        assert flags == {"httponly", "path=/", "samesite=strict", "secure"}


@pytest.mark.parametrize("what", ["password", "digits", "name", "nothing", "no account"])
def test_one_wrong_of_three_is_refused_and_not_said_which(page: Page, claire: Owner, what: str) -> None:
    digits = claire.totp.at(page.now)
    form = {
        "password": {"password": PASSWORD + "x"},
        "digits": {"digits": "000000" if digits != "000000" else "000001"},
        "name": {"name": "Clair"},
        "nothing": {"name": "", "password": "", "digits": ""},
        "no account": {"name": "Nobody", "password": PASSWORD},
    }[what]
    browser = page.browser()
    answer = browser.log_in(claire, **form)
    assert (answer.status_code, said(answer)) == (FORBIDDEN, WRONG)
    assert not browser.is_in
    (row,) = page.trace("login")
    known = what in ("password", "digits")
    assert (row.outcome, row.login, row.by) == ("refused", "Claire" if known else None, None)


def test_a_password_in_the_wrong_field_is_kept_nowhere(page: Page, claire: Owner) -> None:
    browser = page.browser()
    browser.log_in(claire, name=PASSWORD, password="")
    kept = [path for path in page.folder.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


def test_who_has_no_password_yet_is_not_let_in(page: Page) -> None:
    page.logins.accounts.add("Bob", ["listener"])
    answer = page.browser().post("/login", {"name": "Bob", "password": "", "digits": ""})
    assert (answer.status_code, said(answer)) == (FORBIDDEN, WRONG)


def test_digits_that_were_seen_are_no_good_again(page: Page, claire: Owner) -> None:
    digits = claire.totp.at(page.now)
    assert page.browser().log_in(claire, digits).status_code == SEE_OTHER
    thief = page.browser("127.1.0.1")
    assert said(thief.log_in(claire, digits)) == WRONG and not thief.is_in


def test_who_comes_back_hears_of_those_who_tried(page: Page, claire: Owner) -> None:
    for _ in range(2):
        page.browser("127.1.0.1").log_in(claire, password="x")
    browser = logged_in(page, claire)
    assert said(browser.get("/account")) == "2 logins with your name were refused since your last one."
    assert "refused since" not in browser.get("/account").text


def test_a_page_asked_for_before_comes_after(page: Page, claire: Owner) -> None:
    browser = page.browser()
    led = browser.get("/accounts")
    assert led.headers["location"] == "/login?next=/accounts"
    assert browser.log_in(claire, next="/recordings/20261124T222000123-482913").headers["location"] == (
        "/recordings/20261124T222000123-482913"
    )
    assert browser.get("/login?next=/holds").headers["location"] == "/holds"


@pytest.mark.parametrize(
    "to",
    [
        *("https://evil.example", "//evil.example", "/\\evil.example", "/%2f/evil", "javascript:alert(1)"),
        *("/api/v1/x", "/login", "/logout", "/a?b=c", "", "/é", "/" + "a" * 300),
        "/a\r\nSet-Cookie: x=y",
    ],
)
def test_nobody_is_led_elsewhere(page: Page, claire: Owner, to: str) -> None:
    assert page.browser().log_in(claire, next=to).headers["location"] == "/"


def test_a_link_from_elsewhere_finds_the_session(page: Page, claire: Owner) -> None:
    """The browser sends no cookie with it (SameSite=Strict); our page then asks once more, and has it."""
    browser = page.browser()
    first = browser.get("/account", **{"sec-fetch-site": "cross-site"})
    assert first.status_code == OK and 'http-equiv="refresh"' in first.text
    assert (
        browser.get("/account", **{"sec-fetch-site": "same-origin"}).headers["location"].startswith("/login")
    )


# --- sessions ---


def test_it_ends_when_nothing_is_done(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    for _ in range(3):
        page.later(minutes=29)
        assert browser.is_in
    page.later(minutes=30)
    assert not browser.is_in


def test_a_page_that_is_left_open_keeps_no_session_alive(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    request = _request(browser, "/api/v1/events")
    for _ in range(2):
        page.later(minutes=14)
        assert page.logins.identify(request) is not None
        assert browser.get("/", **{"sec-fetch-dest": "empty"}).status_code == OK
    page.later(minutes=2)
    assert page.logins.identify(request) is None and not browser.is_in


def _request(browser: Browser, path: str) -> Request:
    cookies = "; ".join(f"{one.name}={one.value}" for one in browser.client.cookies.jar)
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "headers": [(b"cookie", cookies.encode()), (b"host", b"127.0.0.1:8443")],
        "query_string": b"",
        "app": browser.page.app,
        "state": {},
        "scheme": "http",
        "server": ("127.0.0.1", 8443),
    }
    return Request(scope)


def test_it_ends_after_twelve_hours_whatever_is_done(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    page.later(seconds=-30)
    for _ in range(int(ABSOLUTE / timedelta(minutes=20)) - 1):
        page.later(minutes=20)
        assert browser.is_in
    page.later(minutes=20)
    assert not browser.is_in


def test_a_logout_ends_it_also_for_who_has_copied_the_cookie(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    stolen = browser.cookie
    assert stolen is not None
    answer = browser.post("/logout", {}, shown="/account")
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/login")
    assert browser.cookie is None
    thief = page.browser("127.1.0.1")
    thief.keep("sipagent", stolen)
    assert not thief.is_in


def test_no_id_from_before_the_login_is_one_after_it(page: Page, claire: Owner) -> None:
    """Session fixation: whoever has planted a cookie knows nothing of the session."""
    attacker = page.browser("127.1.0.1")
    attacker.get("/login")
    planted = attacker.client.cookies["sipagent-form"]
    victim = page.browser()
    victim.keep("sipagent", planted)
    victim.keep("sipagent-form", planted)
    assert victim.log_in(claire).status_code == SEE_OTHER
    for name in ("sipagent", "sipagent-form"):
        attacker.keep(name, planted)
    assert not attacker.is_in
    assert victim.cookie != planted


def test_each_login_has_an_id_of_its_own_and_ends_the_one_before(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    first = browser.cookie
    assert first is not None
    token = browser.token("/enrol")
    digits = claire.totp.at(page.now)
    form = {"csrf": token, "name": "Claire", "password": PASSWORD, "digits": digits}
    assert browser.client.post("/login", data=form).status_code == SEE_OTHER
    assert browser.cookie != first and browser.is_in
    other = page.browser()
    other.keep("sipagent", first)
    assert not other.is_in


def test_a_cookie_of_another_process_or_altered_is_none(page: Page, claire: Owner, tmp_path: Path) -> None:
    browser = logged_in(page, claire)
    cookie = browser.cookie
    assert cookie is not None
    for value in (
        cookie[:-1] + ("A" if cookie[-1] != "A" else "B"),
        cookie[4:],
        cookie + "AAAA",
        "x",
        "%C3%A9" * 9,
    ):
        stranger = page.browser()
        stranger.keep("sipagent", value)
        assert not stranger.is_in, value
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as other:
        stranger = other.browser()
        stranger.keep("sipagent", cookie)
        assert not stranger.is_in


def remembered(page: Page) -> list[bytes]:
    """What sessions are known by."""
    memory = page.logins.accounts.memory
    if isinstance(memory, InMemory):
        return list(memory._sessions)
    return [row["name"] for row in page.logins.accounts._rows("SELECT name FROM sessions", [])]


def test_the_memory_of_sessions_holds_no_id(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    id = page.logins.seal.open(browser.cookie or "")
    assert id is not None and len(id) == 32
    assert id not in remembered(page)


def test_one_account_has_few_sessions_the_newest(page: Page, claire: Owner) -> None:
    browsers = [logged_in(page, claire) for _ in range(MOST_OF_ONE + 2)]
    assert [one.is_in for one in browsers] == [False] * 2 + [True] * MOST_OF_ONE
    assert len(remembered(page)) == MOST_OF_ONE


def test_what_is_changed_counts_at_once(page: Page, claire: Owner) -> None:
    browser, accounts = logged_in(page, claire), page.logins.accounts
    account = accounts.meant("Claire")
    assert browser.get("/accounts").status_code == FORBIDDEN
    accounts.set_roles(account.id, ["administrator"])
    assert browser.get("/accounts").status_code == OK
    accounts.set_roles(account.id, ["listener"])
    assert browser.get("/accounts").status_code == FORBIDDEN
    accounts.reset(account.id)
    assert not browser.is_in


def test_who_is_removed_is_out_at_once(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    page.logins.accounts.remove(page.logins.accounts.meant("Claire").id)
    assert not browser.is_in
    page.enrolled("Claire")  # another of the same name
    assert not browser.is_in


def test_a_role_that_nobody_knows_gives_nothing(page: Page) -> None:
    browser = logged_in(page, page.enrolled("Bob", "root", "listener"))
    person = page.logins.identify(_request(browser, "/account"))
    assert person is not None and person.roles == {Role.LISTENER}


# --- other sites ---


def test_a_form_without_the_sessions_token_does_nothing(page: Page, claire: Owner) -> None:
    browser, other = logged_in(page, claire), logged_in(page, page.enrolled("Bob"))
    for form in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": "é"}, {"csrf": other.token("/account")}):
        answer = browser.client.post("/logout", data=form)
        assert answer.status_code == FORBIDDEN and browser.is_in
    assert browser.client.post("/logout", json={}).status_code == FORBIDDEN
    assert browser.client.post("/logout").status_code == FORBIDDEN
    assert [(row.outcome, row.login) for row in page.trace("right")] == [("refused", "Claire")] * 7


@pytest.mark.parametrize(
    ("headers", "let"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "cross-site", "origin": ORIGIN}, False),
        ({"origin": ORIGIN}, True),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "null"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": "http://127.0.0.1:8444"}, False),
        ({"origin": ORIGIN + ".evil.example"}, False),
        ({}, True),
    ],
)
def test_a_request_of_another_site_does_nothing_even_with_the_token(
    page: Page, claire: Owner, headers: dict[str, str], let: bool
) -> None:
    browser = logged_in(page, claire)
    form = {"csrf": browser.token("/account"), "language": "fr"}
    answer = browser.client.post("/account/language", data=form, headers=headers)
    assert answer.status_code == (SEE_OTHER if let else FORBIDDEN)
    assert (page.logins.accounts.meant("Claire").language == "fr") == let


def test_a_script_of_ours_shows_the_token_in_a_header(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    token = browser.token("/account")
    asked = "/api/v1/recordings/search"
    assert browser.client.post(asked, json={}).status_code == FORBIDDEN
    assert browser.client.post(asked, json={}, headers={"x-csrf-token": "x"}).status_code == FORBIDDEN
    assert browser.client.post(asked, json={}, headers={"x-csrf-token": token}).status_code == OK


def test_nobody_is_logged_in_by_another_site(page: Page, claire: Owner) -> None:
    """Login CSRF: the form has to be the one that this browser was shown."""
    form = {"name": "Claire", "password": PASSWORD, "digits": claire.totp.at(page.now)}
    theirs = page.browser("127.1.0.1").token("/login")
    for csrf in ({}, {"csrf": theirs}, {"csrf": ""}):
        victim = page.browser()
        victim.get("/login")
        answer = victim.client.post("/login", data=form | csrf)
        assert answer.status_code == FORBIDDEN and "open for too long" in said(answer)
        assert not victim.is_in
    without = page.browser()
    assert without.client.post("/login", data=form | {"csrf": theirs}).status_code == FORBIDDEN
    honest = page.browser()
    crossed = honest.post("/login", form, **{"sec-fetch-site": "cross-site"})
    assert crossed.status_code == FORBIDDEN and not honest.is_in
    assert honest.post("/login", form).status_code == SEE_OTHER  # nothing was tried before


# --- pace ---


def test_who_is_refused_often_has_to_wait_and_is_never_kept_out(page: Page, claire: Owner) -> None:
    browser = page.browser()
    for _ in range(3):
        assert browser.log_in(claire, password="x").status_code == FORBIDDEN
    answer = browser.log_in(claire)
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert re.fullmatch(r"too many refused attempts; accepted: once more, in \d s", said(answer))
    page.later(seconds=int(answer.headers["retry-after"]))
    assert browser.log_in(claire).status_code == SEE_OTHER
    assert [row.outcome for row in page.trace("login")] == ["refused"] * 4 + ["done"]


def test_a_flood_leaves_few_lines_in_the_trace(page: Page, claire: Owner) -> None:
    browser = page.browser()
    for _ in range(60):
        browser.log_in(claire, password="x")
    assert len(page.trace()) == 30
    page.later(minutes=2)
    browser.log_in(claire, password="x")
    assert "30 more refused requests" in str(page.trace()[-2].detail)


def test_many_at_once_wait_for_one_hash_and_no_more_than_a_few(
    page: Page, claire: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood takes the memory of one hash, and leaves threads for those who are logged in."""
    come, go = threading.Semaphore(0), threading.Event()
    browsers = [page.browser(f"127.1.0.{n}") for n in range(logins_module.AT_ONCE + 1)]
    for browser in browsers:
        browser.get("/login")

    def slow(name: str, password: str, digits: str) -> None:
        come.release()
        go.wait()

    monkeypatch.setattr(page.logins.accounts, "check", slow)
    answers: list[int] = []
    waiting = [
        threading.Thread(
            target=lambda one=one, n=n: answers.append(one.log_in(Owner(f"x{n}", claire.totp)).status_code)
        )
        for n, one in enumerate(browsers[:-1])
    ]
    for thread in waiting:
        thread.start()
    for _ in waiting:
        assert come.acquire(timeout=20)
    refused = browsers[-1].log_in(claire)
    go.set()
    for thread in waiting:
        thread.join()
    assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE and refused.headers["retry-after"] == "5"
    assert "too many log in at this moment" in said(refused)
    assert answers == [FORBIDDEN] * logins_module.AT_ONCE


# --- tokens ---


def test_a_program_shows_a_token(page: Page) -> None:
    accounts = page.logins.accounts
    _, token = accounts.add_token("robot", ["listener"], key=KEY)
    program = page.browser(authorization=f"Bearer {token}")
    assert program.get("/api/v1/recordings").status_code == OK
    person = page.logins.identify(_api(page, f"bearer  {token} "))
    assert person is not None and (person.name, person.via, person.key) == ("robot", "api", KEY)
    assert program.get("/account").headers["location"].startswith("/login")  # pages are for people
    accounts.revoke("robot")
    answer = program.get("/api/v1/recordings")
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.headers["www-authenticate"] == "Bearer" and token not in answer.text
    last: Access = page.trace()[-1]
    assert (last.action, last.outcome, last.login, last.via) == ("login", "refused", None, "api")


def _api(page: Page, authorization: str) -> Request:
    browser = page.browser()
    request = _request(browser, "/api/v1/recordings")
    request.scope["headers"].append((b"authorization", authorization.encode()))
    return request


@pytest.mark.parametrize("shown", ["Bearer", "Bearer ", "Bearer x", "Basic eDp5", "sipagent_x", "Bearer é"])
def test_what_is_no_token(page: Page, shown: str) -> None:
    assert page.logins.identify(_api(page, shown)) is None


def test_a_token_that_has_ended(page: Page) -> None:
    _, token = page.logins.accounts.add_token("robot", ["listener"], page.now + timedelta(days=1))
    assert page.logins.identify(_api(page, f"Bearer {token}"))
    page.later(days=1)
    assert page.logins.identify(_api(page, f"Bearer {token}")) is None


def test_a_cookie_does_not_help_a_bad_token(page: Page, claire: Owner) -> None:
    browser = logged_in(page, claire)
    assert browser.get("/api/v1/recordings").status_code == OK
    answer = browser.get("/api/v1/recordings", authorization="Bearer x")
    assert answer.status_code == HTTPStatus.UNAUTHORIZED


def test_an_administrator_never_listens_by_whatever_else(page: Page) -> None:
    _, token = page.logins.accounts.add_token("robot", ["administrator", "listener", "officer"])
    person = page.logins.identify(_api(page, f"Bearer {token}"))
    assert person is not None and not person.rights & {"use", "access_request"}
