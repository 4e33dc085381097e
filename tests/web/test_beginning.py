"""How a login begins: by a one-time code, or as the first of all; and what attacks on it come to."""

import re
from html import unescape
from http import HTTPStatus

import httpx2 as httpx
import pyotp
import pytest

from retention.accounts.credentials import new_code
from tests.web.logging_in import PASSWORD, Browser, Page, field_of, said

FORBIDDEN, OK, SEE_OTHER, WRONG, NOT_FOUND = (
    HTTPStatus[one] for one in ("FORBIDDEN", "OK", "SEE_OTHER", "BAD_REQUEST", "NOT_FOUND")
)
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
    assert (again.status_code, said(again)) == (WRONG, reason)
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
        assert refused.status_code == WRONG and "once more, with the new square" in said(refused)
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
