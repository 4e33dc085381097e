"""Logging in: who comes in, who does not, what a session is, and what attacks on it come to; and how a login
begins: by a one-time code, or as the first of all.
"""

import re
import threading
from datetime import timedelta
from html import unescape
from http import HTTPStatus
from pathlib import Path

import httpx2 as httpx
import pyotp
import pytest

from retention.accounts.credentials import new_code
from retention.vault import Identity
from sipagent.web import logins as logins_module
from sipagent.web.sessions import ABSOLUTE, MOST_OF_ONE
from tests.web.logging_in import ORIGIN, PASSWORD, WEB, Browser, Owner, Page, field_of, opened, said

WRONG = "name, password or digits are wrong; digits count once: wait for the next ones"
FORBIDDEN, OK, SEE_OTHER = HTTPStatus.FORBIDDEN, HTTPStatus.OK, HTTPStatus.SEE_OTHER
KEY = Identity(bytes([1]) * 32, "Claire").public
TLS = 'url = "https://ecoute.example.net"\ncertificate = "a.pem"\nprivate_key = "a.key"\n'


@pytest.fixture
def claire(page: Page) -> Owner:
    return page.enrolled("Claire", "listener", key=KEY)


def test_name_password_and_digits_let_in_once(page: Page, claire: Owner) -> None:
    browser, digits = page.browser(), claire.totp.at(page.now)
    answer = browser.log_in(claire, digits)
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/")
    shown = browser.get("/account")
    assert shown.status_code == OK and "Claire" in shown.text and KEY.id in shown.text
    (row,) = page.trace("login")
    assert (row.login, row.by, row.via, row.outcome) == ("Claire", "Claire", "web", "done")
    assert row.detail == "from 127.0.0.7"
    assert page.logins.accounts.meant("claire").last_login_at == page.now
    thief = page.browser("127.1.0.1")
    assert said(thief.log_in(claire, digits)) == WRONG and not thief.is_in


@pytest.mark.parametrize("tls", ["", TLS])
def test_the_cookie_is_for_this_page_alone(tmp_path: Path, tls: str) -> None:
    with opened(tmp_path, WEB + tls) as page:
        answer = page.browser().log_in(page.enrolled())
    name = "__Host-sipagent=" if tls else "sipagent="
    (session,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(name)]
    flags = {part.strip().lower() for part in session.split(";")[1:]}
    assert flags == {"httponly", "path=/", "samesite=strict"} | ({"secure"} if tls else set())
    assert len(session.partition("=")[2].partition(";")[0]) > 60
    assert answer.headers.get("strict-transport-security") == ("max-age=31536000" if tls else None)


@pytest.mark.parametrize(
    ("form", "known"),
    [
        ({"password": PASSWORD + "x"}, True),
        ({"digits": "0"}, True),
        ({"name": "Clair"}, False),
        ({"name": "", "password": "", "digits": ""}, False),
        ({"name": "Bob", "password": "", "digits": ""}, None),  # who has no password yet
        ({"name": PASSWORD, "password": ""}, False),  # in the wrong field: it is kept nowhere
    ],
)
def test_one_wrong_of_three_is_refused_and_not_said_which(
    page: Page, claire: Owner, form: dict[str, str], known: bool | None
) -> None:
    page.logins.accounts.add("Bob", ["listener"])
    browser = page.browser()
    answer = browser.log_in(claire, **form)
    assert (answer.status_code, said(answer)) == (FORBIDDEN, WRONG) and not browser.is_in
    (row,) = page.trace("login")
    login = "Bob" if known is None else "Claire" if known else None
    assert (row.outcome, row.login, row.by) == ("refused", login, None)
    kept = [path for path in page.folder.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


def test_a_page_asked_for_before_comes_after(page: Page, claire: Owner) -> None:
    """A link from elsewhere brings no cookie (SameSite=Strict): our page then asks once more."""
    browser = page.browser()
    first = browser.get("/accounts", **{"sec-fetch-site": "cross-site"})
    assert first.status_code == OK and 'http-equiv="refresh"' in first.text
    led = browser.get("/accounts", **{"sec-fetch-site": "same-origin"})
    assert led.headers["location"] == "/login?next=/accounts"
    to = "/recordings/20261124T222000123-482913"
    assert browser.log_in(claire, next=to).headers["location"] == to
    assert browser.get("/login?next=/holds").headers["location"] == "/holds"


def test_nobody_is_led_elsewhere(page: Page, claire: Owner) -> None:
    """Who is logged in is led on by the same rule."""
    browser = page.logged_in(claire)
    elsewhere = (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/%2f/evil",
        "javascript:alert(1)",
    )
    for to in (
        *elsewhere,
        "/api/v1/x",
        "/login",
        "/logout",
        "/a?b=c",
        "",
        "/é",
        "/" + "a" * 300,
        "/a\r\nB: c",
    ):
        assert browser.client.get("/login", params={"next": to}).headers["location"] == "/", to
        page.later(minutes=2)
    assert page.browser("127.1.0.1").log_in(claire, next="//evil.example").headers["location"] == "/"


def test_it_ends_when_nothing_is_done_and_after_twelve_hours(page: Page, claire: Owner) -> None:
    for step, times in ((29, 3), (20, int(ABSOLUTE / timedelta(minutes=20)) - 1)):
        browser = page.logged_in(claire)
        page.later(seconds=-30)
        for _ in range(times):
            page.later(minutes=step)
            assert browser.is_in
        page.later(minutes=30 if step == 29 else 20)
        assert not browser.is_in


def test_a_page_that_is_left_open_keeps_no_session_alive(
    page: Page, claire: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipagent.web.pages.calls.MOST_WATCHERS", 0)  # so that the stream ends at once
    browser = page.logged_in(claire)
    for _ in range(2):
        page.later(minutes=14)
        assert browser.get("/api/v1/events").status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert browser.get("/api/v1/wall").status_code == OK
        assert browser.get("/", **{"sec-fetch-dest": "empty"}).status_code == OK
        left = browser.get("/session").json()
    assert left == {"left_s": 90, "in_any_case": False}
    page.later(minutes=2)
    assert browser.get("/api/v1/events").status_code == HTTPStatus.UNAUTHORIZED and not browser.is_in


def test_a_logout_ends_it_also_for_who_has_copied_the_cookie(page: Page, claire: Owner) -> None:
    browser, thief = page.logged_in(claire), page.browser("127.1.0.1")
    thief.keep("sipagent", browser.cookie or "")
    assert thief.is_in
    answer = browser.post("/logout", {}, shown="/account")
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/login")
    assert browser.cookie is None and not thief.is_in


def test_each_login_has_an_id_of_its_own_and_ends_the_one_before(page: Page, claire: Owner) -> None:
    """Session fixation: whoever has planted a cookie knows nothing of the session."""
    attacker, victim = page.browser("127.1.0.1"), page.browser()
    attacker.get("/login")
    planted = attacker.client.cookies["sipagent-form"]
    for name in ("sipagent", "sipagent-form"):
        victim.keep(name, planted)
        attacker.keep(name, planted)
    assert victim.log_in(claire).status_code == SEE_OTHER
    first = victim.cookie or ""
    assert not attacker.is_in and first != planted
    page.later(seconds=30)
    form = {"csrf": victim.token("/enrol"), "name": "Claire", "password": PASSWORD}
    answer = victim.client.post("/login", data=form | {"digits": claire.totp.at(page.now)})
    assert answer.status_code == SEE_OTHER and victim.cookie != first and victim.is_in
    attacker.keep("sipagent", first)
    assert not attacker.is_in


def test_a_cookie_of_another_process_or_altered_is_none(page: Page, claire: Owner, tmp_path: Path) -> None:
    cookie = page.logged_in(claire).cookie or ""
    last = "A" if cookie[-1] != "A" else "B"
    for value in (cookie[:-1] + last, cookie[4:], cookie + "AAAA", "x", "%C3%A9" * 9):
        stranger = page.browser()
        stranger.keep("sipagent", value)
        assert not stranger.is_in, value
    (tmp_path / "other").mkdir()
    with opened(tmp_path / "other") as other:
        stranger = other.browser()
        stranger.keep("sipagent", cookie)
        assert not stranger.is_in


def test_an_account_has_few_sessions_and_no_id_of_one_is_kept(page: Page, claire: Owner) -> None:
    browsers = [page.logged_in(claire) for _ in range(MOST_OF_ONE + 2)]
    assert [one.is_in for one in browsers] == [False] * 2 + [True] * MOST_OF_ONE
    id = page.logins.seal.open(browsers[-1].cookie or "")
    names = [row["name"] for row in page.logins.accounts.memory._rows.read("SELECT name FROM sessions")]
    assert id is not None and len(id) == 32 and len(names) == MOST_OF_ONE and id not in names


def test_what_is_changed_counts_at_once(page: Page, claire: Owner) -> None:
    browser, accounts = page.logged_in(claire), page.logins.accounts
    id = accounts.meant("Claire").id
    for role, status in (("listener", FORBIDDEN), ("administrator", OK), ("root", FORBIDDEN)):
        accounts.set_roles(id, [role, "listener"])
        assert browser.get("/accounts").status_code == status
        assert browser.get("/recordings").status_code == OK
    accounts.remove(id)
    assert not browser.is_in
    bob = page.logged_in(page.enrolled("Bob"))
    page.enrolled("Claire")  # another of the same name
    assert not browser.is_in and bob.is_in
    accounts.reset(accounts.meant("Bob").id)
    assert not bob.is_in


def test_a_request_of_another_site_does_nothing_even_with_the_token(page: Page, claire: Owner) -> None:
    browser, accounts = page.logged_in(claire), page.logins.accounts
    form = {"csrf": browser.token("/account"), "language": "fr"}
    same, cross = {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "cross-site"}
    for headers in ({}, same, {"sec-fetch-site": "none"}, {"origin": ORIGIN}):
        answer = browser.client.post("/account/language", data=form, headers=headers)
        assert answer.status_code == SEE_OTHER and accounts.meant("Claire").language == "fr"
        accounts.set_language(accounts.meant("Claire").id, None)
    others = ("null", "https://evil.example", "http://127.0.0.1:8444", ORIGIN + ".evil.example")
    for headers in (
        *(cross, cross | {"origin": ORIGIN}, {"sec-fetch-site": "same-site"}, same | {"origin": "null"}),
        *({"origin": other} for other in others),
    ):
        answer = browser.client.post("/account/language", data=form, headers=headers)
        assert answer.status_code == FORBIDDEN and accounts.meant("Claire").language is None, headers


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
    assert page.browser().client.post("/login", data=form | {"csrf": theirs}).status_code == FORBIDDEN
    honest = page.browser()
    crossed = honest.post("/login", form, **{"sec-fetch-site": "cross-site"})
    assert crossed.status_code == FORBIDDEN and not honest.is_in
    assert [(row.outcome, row.login, row.via) for row in page.trace("right")] == [("refused", None, "web")]
    assert honest.post("/login", form).status_code == SEE_OTHER  # nothing was tried before


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
    page.later(minutes=1)
    browser = page.browser("127.1.0.1")
    for _ in range(60):  # a flood leaves few lines
        browser.log_in(claire, password="x")
    assert len(page.trace()) == 30 + 5
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

    def try_it(browser: Browser, name: str) -> None:
        answers.append(browser.log_in(Owner(name, claire.totp)).status_code)

    waiting = [threading.Thread(target=try_it, args=(one, f"x{n}")) for n, one in enumerate(browsers[:-1])]
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


def test_a_program_shows_a_token_while_it_is_good(page: Page, claire: Owner) -> None:
    accounts, path = page.logins.accounts, "/api/v1/recordings"
    roles = ["administrator", "listener", "officer"]
    _, token = accounts.add_token("robot", roles, page.now + timedelta(days=1), KEY)
    program, unauthorized = page.browser(), HTTPStatus.UNAUTHORIZED
    for shown in (f"Bearer {token}", f"bearer  {token} "):
        assert program.get(path, authorization=shown).status_code == OK
    for shown in ("Bearer", "Bearer ", "Bearer x", f"Basic {token}", token):
        assert program.get(path, authorization=shown).status_code == unauthorized
    good = {"authorization": f"Bearer {token}"}
    assert program.get("/api/v1/check", **good).status_code == OK
    sound = program.get(f"{path}/x/uses/1/sound", **good)  # an administrator never listens
    assert sound.status_code == FORBIDDEN
    assert program.get("/account", **good).headers["location"].startswith("/login")  # pages are for people
    browser = page.logged_in(claire)
    assert browser.get(path).status_code == OK  # a cookie does not help a bad token
    assert browser.get(path, authorization="Bearer x").status_code == unauthorized
    accounts.revoke("robot")
    answer = program.get(path, **good)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (unauthorized, "Bearer")
    assert token not in answer.text
    last = page.trace()[-1]
    assert (last.action, last.outcome, last.login, last.via) == ("login", "refused", None, "api")


BAD, NOT_FOUND = HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND
NOT_GOOD = "the code is not good, or no longer"


@pytest.fixture
def code(page: Page) -> str:
    return page.logins.accounts.add("Claire", ["listener"])[1]


def shown(answer: httpx.Response) -> pyotp.TOTP:
    """The authenticator that has scanned the square."""
    found = re.search(r'<code id="secret">([^<]+)<', answer.text)
    assert found, answer.text
    return pyotp.TOTP(found[1].replace(" ", ""))


def second(browser: Browser, answer: httpx.Response, path: str = "/enrol", **form: str) -> httpx.Response:
    """Fill in the second step, which `answer` shows."""
    names = ("csrf", "code", "sealed", *(["name"] if path == "/first" else []))
    fields = {name: field_of(answer.text, name) for name in names}
    digits = shown(answer).at(browser.page.now)
    typed = {"password": PASSWORD, "again": PASSWORD, "digits": digits}
    return browser.client.post(path, data=fields | typed | form)


def test_a_code_becomes_a_password_and_an_authenticator_once(page: Page, code: str) -> None:
    browser, late = page.browser(), page.browser("127.1.0.1")
    step, late_step = browser.post("/enrol", {"code": code.lower()}), late.post("/enrol", {"code": code})
    assert step.status_code == OK and "the account of Claire" in unescape(step.text)
    assert re.search(r'<code id="secret">(\w{4} ){7}\w{4}<', step.text)
    assert step.text.count("<svg") == 1 and " style=" not in step.text  # the policy of contents forbids those
    done = second(browser, step)
    assert (done.status_code, done.headers["location"]) == (SEE_OTHER, "/") and browser.is_in
    assert [(row.action, row.login, row.detail) for row in page.trace()] == [
        ("account", "Claire", "enrolled: a password and an authenticator"),
        ("login", "Claire", "from 127.0.0.7"),
    ]
    refused = second(late, late_step)
    assert (refused.status_code, said(refused)) == (FORBIDDEN, NOT_GOOD) and not late.is_in
    assert said(late.post("/enrol", {"code": code})) == NOT_GOOD
    page.later(seconds=30)
    form = {"name": "claire", "password": PASSWORD, "digits": shown(step).at(page.now)}
    assert page.browser().post("/login", form).status_code == SEE_OTHER


def test_what_is_no_code_is_not_tried_fast(page: Page, code: str) -> None:
    browser = page.browser()
    for typed in ("", "00000-00000-00000-00000", "é\ufffd"):
        answer = browser.post("/enrol", {"code": typed})
        assert (answer.status_code, said(answer)) == (FORBIDDEN, NOT_GOOD)
        assert "Claire" not in answer.text
        row = page.trace("login")[-1]
        assert (row.outcome, row.detail) == ("refused", "a one-time code, from 127.0.0.7")
    assert browser.post("/enrol", {"code": "x"}).status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert page.browser("127.1.0.1").post("/enrol", {"code": "x"}).status_code == FORBIDDEN


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"again": PASSWORD + "x"}, "the two passwords are not the same"),
        ({"password": "", "again": ""}, "the password has to have 12 to 256 characters"),
        ({"password": "claire claire", "again": "claire claire"}, "the password is the name, or hardly more"),
        ({"digits": "0"}, "the authenticator shows other digits now"),
    ],
)
def test_a_mistake_is_said_and_the_square_stays(
    page: Page, code: str, form: dict[str, str], reason: str
) -> None:
    browser = page.browser()
    step = browser.post("/enrol", {"code": code})
    again = second(browser, step, **form)
    assert (again.status_code, said(again)) == (BAD, reason)
    assert shown(again).secret == shown(step).secret
    assert not any(typed and typed in again.text for name, typed in form.items() if name != "digits")
    assert second(browser, again).status_code == SEE_OTHER


def test_the_secret_is_the_one_that_was_shown_for_this_code(page: Page, code: str) -> None:
    """Neither one of the sender's own choice, nor that of another account; and by a form of this browser."""
    _, other = page.logins.accounts.add("Bob", ["administrator"])
    browser = page.browser()
    step, theirs = browser.post("/enrol", {"code": code}), browser.post("/enrol", {"code": other})
    for sealed in ("", field_of(theirs.text, "sealed"), field_of(step.text, "sealed")[:-2] + "xx"):
        refused = second(browser, step, sealed=sealed)
        assert refused.status_code == BAD and "once more, with the new square" in said(refused)
        assert shown(refused).secret != shown(step).secret
    csrf = page.browser("127.1.0.1").token("/enrol")
    assert second(browser, step, csrf=csrf).status_code == FORBIDDEN
    assert not page.logins.accounts.meant("Claire").enrolled


@pytest.fixture
def first_code(page: Page) -> str:
    code = new_code()
    page.logins.offer_first(code)
    return code


def test_the_first_account_is_an_administrators_and_there_is_one(page: Page, first_code: str) -> None:
    browser, other = page.browser(), page.browser("127.1.0.1")
    assert "/first" in browser.get("/login").text
    step = browser.post("/first", {"code": first_code, "name": "  Anne   Martin "})
    late = other.post("/first", {"code": first_code, "name": "Eve"})
    assert step.status_code == OK and "Anne Martin will be an administrator" in unescape(step.text)
    assert not page.logins.accounts.are_there()
    done = second(browser, step, "/first")
    assert (done.status_code, done.headers["location"]) == (SEE_OTHER, "/accounts")
    assert browser.get("/accounts").status_code == OK
    (account,) = page.logins.accounts.all()
    assert (account.name, account.roles, account.enrolled) == ("Anne Martin", ("administrator",), True)
    row = page.trace("account")[0]
    assert (row.login, row.detail) == ("Anne Martin", "add Anne Martin: administrator, the first account")
    assert second(other, late, "/first").status_code == NOT_FOUND
    assert other.get("/first").status_code == NOT_FOUND and "/first" not in other.get("/login").text
    assert page.logins.accounts.all() == [page.logins.accounts.meant("Anne Martin")]


def test_without_the_code_of_this_process_there_is_none(page: Page) -> None:
    browser, code = page.browser(), new_code()
    assert browser.get("/first").status_code == NOT_FOUND
    page.logins.offer_first(code)
    answer = browser.post("/first", {"code": new_code(), "name": "Anne"})
    assert (answer.status_code, said(answer)) == (FORBIDDEN, NOT_GOOD)
    step = browser.post("/first", {"code": code, "name": "Anne"})
    assert said(second(browser, step, "/first", code=new_code())) == NOT_GOOD
    assert "is not a name" in said(browser.post("/first", {"code": code, "name": "\x00"}))
    page.logins.accounts.add("Bob", ["listener"])  # by a command, meanwhile
    assert second(browser, step, "/first").status_code == browser.get("/first").status_code == NOT_FOUND
    assert [one.name for one in page.logins.accounts.all()] == ["Bob"]
