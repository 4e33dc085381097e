"""One's own account: password, authenticator, key and language, each by the password once more."""

from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pyotp
import pytest

from retention.vault import Identity, public_line
from tests.web.logging_in import PASSWORD, Browser, Owner, Page, field_of, opened, said

OTHER = "another long password"
KEY = Identity(bytes([1]) * 32, "Claire").public
WRONG, SEE_OTHER = HTTPStatus.BAD_REQUEST, HTTPStatus.SEE_OTHER


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as page:
        yield page


@pytest.fixture
def claire(page: Page) -> Owner:
    return page.enrolled("Claire", "listener")


@pytest.fixture
def browser(page: Page, claire: Owner) -> Browser:
    browser = page.browser()
    assert browser.log_in(claire).status_code == SEE_OTHER
    page.later(seconds=30)
    return browser


def test_a_new_password_ends_all_other_sessions(page: Page, claire: Owner, browser: Browser) -> None:
    elsewhere = page.browser("127.1.0.1")
    elsewhere.log_in(claire)
    page.later(seconds=30)
    before = browser.cookie
    answer = browser.post(
        "/account/password", {"password": PASSWORD, "new": OTHER, "again": OTHER}, shown="/account"
    )
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/account")
    assert browser.cookie != before
    assert said(browser.get("/account")) == "Changed. All other sessions have ended."
    assert not elsewhere.is_in
    assert elsewhere.log_in(claire).status_code == HTTPStatus.FORBIDDEN
    claire.password = OTHER
    page.later(seconds=30)
    assert elsewhere.log_in(claire).status_code == SEE_OTHER
    (row,) = page.trace("account")
    assert (row.login, row.outcome, row.detail) == ("Claire", "done", "a new password")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"password": OTHER}, "the password is wrong"),
        ({"password": ""}, "the password is wrong"),
        ({"again": OTHER + "x"}, "the two passwords are not the same"),
        ({"new": "short", "again": "short"}, "the password has to have 12 to 256 characters"),
        ({"new": "claireclaire", "again": "claireclaire"}, "the password is the name, or hardly more"),
    ],
)
def test_what_is_wrong_changes_nothing(
    page: Page, browser: Browser, form: dict[str, str], reason: str
) -> None:
    asked = {"password": PASSWORD, "new": OTHER, "again": OTHER} | form
    answer = browser.post("/account/password", asked, shown="/account")
    assert (answer.status_code, said(answer)) == (WRONG, reason)
    assert browser.is_in
    assert page.logins.accounts.knows_password(page.logins.accounts.meant("Claire").id, PASSWORD)
    assert not any(typed and typed in answer.text for typed in asked.values())


def test_a_stolen_session_does_not_try_passwords_fast(page: Page, browser: Browser) -> None:
    form = {"password": "x" * 12, "new": OTHER, "again": OTHER}
    texts = [said(browser.post("/account/password", form, shown="/account")) for _ in range(4)]
    assert texts[:3] == ["the password is wrong"] * 3
    assert texts[3].startswith("too many refused attempts")
    assert [row.outcome for row in page.trace("account")] == ["refused"] * 4


def test_another_authenticator(page: Page, claire: Owner, browser: Browser) -> None:
    shown = browser.get("/account").text
    sealed = field_of(shown, "sealed")
    totp = pyotp.TOTP(page.logins.seal.open_json("authenticator", sealed)[0])
    form = {"password": PASSWORD, "sealed": sealed, "digits": totp.at(page.now)}
    wrong = browser.post("/account/authenticator", form | {"digits": "0"}, shown="/account")
    assert (wrong.status_code, said(wrong)) == (WRONG, "the authenticator shows other digits now")
    assert browser.post("/account/authenticator", form, shown="/account").status_code == SEE_OTHER
    page.later(seconds=30)
    assert page.browser().log_in(claire).status_code == HTTPStatus.FORBIDDEN
    claire.totp = totp
    assert page.browser("127.1.0.2").log_in(claire).status_code == SEE_OTHER


def test_the_square_of_another_account_or_of_ones_own_making_is_refused(page: Page, browser: Browser) -> None:
    other = page.enrolled("Bob")
    theirs = page.browser("127.1.0.1")
    theirs.log_in(other)
    sealed = field_of(theirs.get("/account").text, "sealed")
    totp = pyotp.TOTP(page.logins.seal.open_json("authenticator", sealed)[0])
    seal = page.logins.seal
    others = (seal.seal(b"s" * 32), browser.cookie, seal.seal_json("beginning", [totp.secret, "x"]))
    for one in (sealed, "x", "", *others):
        form = {"password": PASSWORD, "sealed": str(one), "digits": totp.at(page.now)}
        assert browser.post("/account/authenticator", form, shown="/account").status_code == WRONG


def test_a_key_to_listen_with(page: Page, browser: Browser) -> None:
    form = {"password": PASSWORD, "key": public_line(KEY)}
    assert browser.post("/account/key", form, shown="/account").status_code == SEE_OTHER
    assert page.logins.accounts.meant("Claire").key == KEY
    shown = browser.get("/account")
    assert said(shown) == "Changed." and KEY.id in shown.text
    private = '{"version": "sipagent-identity-1", "secret": "c2VjcmV0"}'
    for text in (private, "sipagent-recipient-1 AAAA", "x"):
        refused = browser.post("/account/key", form | {"key": text}, shown="/account")
        assert refused.status_code == WRONG and said(refused).startswith("the key: is ")
        assert "c2VjcmV0" not in refused.text
    assert browser.post("/account/key", form | {"password": "x"}, shown="/account").status_code == WRONG
    assert page.logins.accounts.meant("Claire").key == KEY
    assert browser.post("/account/key", form | {"key": ""}, shown="/account").status_code == SEE_OTHER
    assert page.logins.accounts.meant("Claire").key is None


def test_a_language_for_these_pages(page: Page, browser: Browser) -> None:
    assert browser.post("/account/language", {"language": "fr"}, shown="/account").status_code == SEE_OTHER
    assert "<h1>Votre compte</h1>" in browser.get("/account").text
    for none in ("", "de", "<x>"):
        browser.post("/account/language", {"language": none}, shown="/account")
        assert "<h1>Your account</h1>" in browser.get("/account").text


def test_a_login_that_is_not_ours_has_no_password_to_change(
    page: Page, claire: Owner, browser: Browser
) -> None:
    """As by OpenID Connect: an account without a password."""
    account, _ = page.logins.accounts.add("Dora", ["listener"])
    guest = page.browser("127.1.0.3")
    token = guest.token("/login")
    assert token
    id = page.logins.sessions.begin(account.id, account.epoch)
    guest.keep("sipagent", page.logins.seal.seal(id))
    shown = guest.get("/account")
    assert shown.status_code == HTTPStatus.OK and "/account/password" not in shown.text
    form = {"password": "", "new": OTHER, "again": OTHER}
    refused = guest.post("/account/password", form, shown="/account")
    assert refused.status_code == WRONG and not page.logins.accounts.meant("Dora").enrolled
