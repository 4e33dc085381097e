"""How a login begins: by a one-time code, or as the first of all; and what attacks on it come to."""

import re
import threading
from collections.abc import Iterator
from html import unescape
from http import HTTPStatus
from pathlib import Path

import httpx2 as httpx
import pyotp
import pytest

from retention.accounts.credentials import new_code
from sipagent.web.pages.login import in_fours
from tests.web.logging_in import PASSWORD, Browser, Page, field_of, opened, said

FORBIDDEN, OK, SEE_OTHER, WRONG = (
    HTTPStatus.FORBIDDEN,
    HTTPStatus.OK,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.BAD_REQUEST,
)
NOT_GOOD = "the code is not good, or no longer"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as page:
        yield page


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
    fields = {name: field_of(answer.text, name) for name in ("csrf", "code", "sealed")}
    if path == "/first":
        fields["name"] = field_of(answer.text, "name")
    digits = shown(answer).at(browser.page.now)
    typed = {"password": PASSWORD, "again": PASSWORD, "digits": digits}
    return browser.client.post(path, data=fields | typed | form)


# --- a one-time code ---


def test_a_code_becomes_a_password_and_an_authenticator(page: Page, code: str) -> None:
    browser = page.browser()
    step = browser.post("/enrol", {"code": code.lower()})
    assert step.status_code == OK and "the account of Claire" in unescape(step.text)
    assert step.text.count("<svg") == 1 and " style=" not in step.text  # the policy of contents forbids those
    done = second(browser, step)
    assert (done.status_code, done.headers["location"]) == (SEE_OTHER, "/")
    assert browser.is_in
    assert [(row.action, row.login, row.detail) for row in page.trace()] == [
        ("account", "Claire", "enrolled: a password and an authenticator"),
        ("login", "Claire", "from 127.0.0.7"),
    ]
    page.later(seconds=30)
    again = page.browser()
    form = {"name": "claire", "password": PASSWORD, "digits": shown(step).at(page.now)}
    assert again.post("/login", form).status_code == SEE_OTHER


def test_a_code_is_good_once(page: Page, code: str) -> None:
    first, late = page.browser(), page.browser("127.1.0.1")
    step, late_step = first.post("/enrol", {"code": code}), late.post("/enrol", {"code": code})
    assert second(first, step).status_code == SEE_OTHER
    refused = second(late, late_step)
    assert (refused.status_code, said(refused)) == (FORBIDDEN, NOT_GOOD) and not late.is_in
    assert said(late.post("/enrol", {"code": code})) == NOT_GOOD


def test_of_two_who_use_a_code_at_once_one_is_in(page: Page, code: str) -> None:
    browsers = [page.browser(f"127.1.0.{n}") for n in range(3)]
    steps = [one.post("/enrol", {"code": code}) for one in browsers]
    statuses, gate = list[int](), threading.Barrier(len(browsers))

    def use(browser: Browser, step: httpx.Response) -> None:
        gate.wait()
        statuses.append(second(browser, step).status_code)

    threads = [threading.Thread(target=use, args=pair) for pair in zip(browsers, steps, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses)[0] == SEE_OTHER and statuses.count(SEE_OTHER) == 1
    assert sorted(one.is_in for one in browsers) == [False, False, True]


@pytest.mark.parametrize(
    "typed", ["", "x", "00000-00000-00000-00000", "é", "\ud800".encode("utf-8", "replace").decode()]
)
def test_what_is_no_code(page: Page, code: str, typed: str) -> None:
    answer = page.browser().post("/enrol", {"code": typed})
    assert (answer.status_code, said(answer)) == (FORBIDDEN, NOT_GOOD)
    assert "Claire" not in answer.text
    (row,) = page.trace("login")
    assert (row.outcome, row.detail) == ("refused", "a one-time code, from 127.0.0.7")


def test_codes_are_not_tried_fast(page: Page) -> None:
    browser = page.browser()
    answers = [browser.post("/enrol", {"code": new_code()}) for _ in range(4)]
    assert [one.status_code for one in answers] == [FORBIDDEN] * 3 + [HTTPStatus.TOO_MANY_REQUESTS]
    assert page.browser("127.1.0.1").post("/enrol", {"code": new_code()}).status_code == FORBIDDEN


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"again": PASSWORD + "x"}, "the two passwords are not the same"),
        ({"password": "short", "again": "short"}, "the password has to have 12 to 256 characters"),
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
    """Neither one of the sender's own choice, nor that of another account."""
    _, other = page.logins.accounts.add("Bob", ["administrator"])
    browser = page.browser()
    step, theirs = browser.post("/enrol", {"code": code}), browser.post("/enrol", {"code": other})
    for sealed in ("", "x", field_of(theirs.text, "sealed"), field_of(step.text, "sealed")[:-2] + "xx"):
        refused = second(browser, step, sealed=sealed)
        assert refused.status_code == WRONG and "once more, with the new square" in said(refused)
        assert shown(refused).secret != shown(step).secret
    assert not page.logins.accounts.meant("Claire").enrolled


def test_another_sites_form_enrols_nobody(page: Page, code: str) -> None:
    browser = page.browser()
    step = browser.post("/enrol", {"code": code})
    theirs = page.browser("127.1.0.1").token("/enrol")
    refused = second(browser, step, csrf=theirs)
    assert refused.status_code == FORBIDDEN and not page.logins.accounts.meant("Claire").enrolled


def test_a_code_that_has_run_out_or_whose_account_is_gone(page: Page, code: str) -> None:
    browser = page.browser()
    step = browser.post("/enrol", {"code": code})
    page.logins.accounts.remove(page.logins.accounts.meant("Claire").id)
    assert said(second(browser, step)) == NOT_GOOD
    _, late = page.logins.accounts.add("Claire", ["listener"])
    page.later(days=3)
    assert said(browser.post("/enrol", {"code": late})) == NOT_GOOD


def test_hostile_names_are_shown_as_they_are(page: Page) -> None:
    name = '<script>alert(1)</script>"'
    _, code = page.logins.accounts.add(name, ["listener"])
    step = page.browser().post("/enrol", {"code": code})
    assert "<script" not in step.text and name in unescape(step.text)


def test_in_fours() -> None:
    assert in_fours("ABCDEFGHIJ") == "ABCD EFGH IJ"


# --- the first account ---


@pytest.fixture
def first_code(page: Page) -> str:
    code = new_code()
    page.logins.offer_first(code)
    return code


def test_the_first_account_is_an_administrators(page: Page, first_code: str) -> None:
    browser = page.browser()
    assert "/first" in browser.get("/login").text
    step = browser.post("/first", {"code": first_code, "name": "  Anne   Martin "})
    assert step.status_code == OK and "Anne Martin will be an administrator" in unescape(step.text)
    assert not page.logins.accounts.are_there()
    done = second(browser, step, "/first")
    assert (done.status_code, done.headers["location"]) == (SEE_OTHER, "/accounts")
    assert browser.get("/accounts").status_code == OK
    account = page.logins.accounts.meant("anne martin")
    assert account.roles == ("administrator",) and account.enrolled
    row = page.trace("account")[0]
    assert (row.login, row.detail) == ("Anne Martin", "add Anne Martin: administrator, the first account")


def test_there_is_one_first_account(page: Page, first_code: str) -> None:
    one, other = page.browser(), page.browser("127.1.0.1")
    steps = [
        browser.post("/first", {"code": first_code, "name": f"Anne {n}"})
        for n, browser in enumerate((one, other))
    ]
    assert second(one, steps[0], "/first").status_code == SEE_OTHER
    assert second(other, steps[1], "/first").status_code == HTTPStatus.NOT_FOUND
    assert other.get("/first").status_code == HTTPStatus.NOT_FOUND
    assert "/first" not in other.get("/login").text
    assert [account.name for account in page.logins.accounts.all()] == ["Anne 0"]


def test_without_the_code_of_this_process_there_is_none(page: Page, first_code: str) -> None:
    browser = page.browser()
    answer = browser.post("/first", {"code": new_code(), "name": "Anne"})
    assert (answer.status_code, said(answer)) == (FORBIDDEN, NOT_GOOD)
    step = browser.post("/first", {"code": first_code, "name": "Anne"})
    assert said(second(browser, step, "/first", code=new_code())) == NOT_GOOD
    assert browser.post("/first", {"code": first_code, "name": "\x00"}).status_code == FORBIDDEN
    assert not page.logins.accounts.are_there()


def test_where_it_is_not_offered_or_an_account_exists_there_is_none(page: Page, tmp_path: Path) -> None:
    assert page.browser().get("/first").status_code == HTTPStatus.NOT_FOUND
    code = new_code()
    page.logins.offer_first(code)
    page.logins.accounts.add("Bob", ["listener"])  # by a command, meanwhile
    browser = page.browser()
    assert browser.get("/first").status_code == HTTPStatus.NOT_FOUND
    form = {"code": code, "name": "Anne"}
    assert browser.post("/first", form, shown="/login").status_code == HTTPStatus.NOT_FOUND
