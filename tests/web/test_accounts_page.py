"""Accounts on the page: all of them and the tokens for an administrator, and one's own for everybody."""

import re
from datetime import timedelta
from html import unescape
from http import HTTPStatus

import pyotp
import pytest

from retention.vault import Identity, public_line
from tests.raising import no_room
from tests.web.logging_in import PASSWORD, Browser, Owner, Page, field_of, said

KEY = Identity(bytes([1]) * 32, "Claire").public
WRONG, SEE_OTHER, FORBIDDEN = HTTPStatus.BAD_REQUEST, HTTPStatus.SEE_OTHER, HTTPStatus.FORBIDDEN
CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}")
TOKEN = re.compile(r"sipagent_[\w-]{43}")
HOSTILE = "<script>alert(1)</script>\u202e"
ROLES = {"role-listener": "on", "role-officer": "on"}
OTHER = "another long password"


def logged_in(page: Page, name: str, *roles: str, address: str = "127.0.0.7") -> tuple[Owner, Browser]:
    owner = page.enrolled(name, *roles)
    return owner, page.logged_in(owner, address)


@pytest.fixture
def browser(page: Page) -> Browser:
    """Of Anne, an administrator."""
    return logged_in(page, "Anne", "administrator")[1]


def asked(browser: Browser, what: str, **form: str) -> str:
    """Ask for a change that is done; what the page says of it."""
    answer = browser.post(f"/accounts/{what}", form, shown="/accounts")
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/accounts"), answer.text
    return said(browser.get("/accounts"))


def refused(browser: Browser, what: str, **form: str) -> str:
    answer = browser.post(f"/accounts/{what}", form, shown="/accounts")
    assert answer.status_code == WRONG
    return said(answer)


def last(page: Page) -> tuple[str, str, str | None, str | None, str | None]:
    row = page.trace()[-1]
    return row.action, row.outcome, row.login, row.via, row.detail


def test_an_account_is_made_changed_reset_and_removed(page: Page, browser: Browser) -> None:
    accounts = page.logins.accounts
    told = asked(browser, "add", name="Claire Petit", key=public_line(KEY), **ROLES)
    code = CODE.search(told)
    assert code and "The one-time code of Claire Petit, shown this once" in told
    assert told.endswith("at http://127.0.0.1:8443/enrol")
    account = accounts.of_code(code[0])
    assert account is not None and (account.roles, account.key) == (("listener", "officer"), KEY)
    assert last(page) == ("account", "done", "Anne", "web", "add Claire Petit: listener, officer")
    shown = browser.get("/accounts").text
    assert code[0] not in shown and "Claire Petit" in shown
    kept = [path for path in page.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if code[0].encode() in path.read_bytes()]

    _, theirs = logged_in(page, "Bob", "listener", address="127.1.0.1")
    assert theirs.get("/api/v1/accesses").status_code == FORBIDDEN
    id = str(accounts.meant("Bob").id)
    told = asked(browser, "roles", account=id, **{"role-officer": "on"})
    assert told == "Bob: the roles are changed, from now on" and last(page)[-1] == "change Bob: roles officer"
    assert theirs.get("/api/v1/accesses").status_code == HTTPStatus.OK  # at once
    assert CODE.search(asked(browser, "reset", account=id)) and not theirs.is_in
    assert last(page)[-1] == "reset Bob"
    assert asked(browser, "remove", account=id) == "Bob: removed" and accounts.named("Bob") is None
    assert last(page)[-1] == "remove Bob"
    for what in ("reset", "remove", "roles"):
        assert refused(browser, what, account=id, **ROLES) == "the account was removed"
    for wrong in ("", "x", "-1", "1e3", "9" * 40, "\u0661"):
        assert refused(browser, "remove", account=wrong) == "the account was removed"


def test_a_token_is_made_shown_once_and_revoked(page: Page, browser: Browser) -> None:
    day = (page.now + timedelta(days=30)).date().isoformat()
    told = asked(browser, "tokens/add", name="dashboard", until=day, **{"role-supervisor": "on"})
    token = TOKEN.search(told)
    assert token and page.logins.accounts.token(token[0])
    assert last(page) == ("token", "done", "Anne", "web", f"add dashboard: supervisor, until {day}")
    shown = browser.get("/accounts").text
    assert token[0] not in shown and "dashboard" in shown
    assert asked(browser, "tokens/revoke", name="dashboard") == "dashboard: revoked"
    assert page.logins.accounts.token(token[0]) is None and last(page)[-1] == "revoke dashboard"
    for form, reason in (
        ({"until": "2020-01-01"}, "a token has to end in the future"),
        ({"until": "soon"}, "'soon' is not a moment; accepted: 17:00, today"),
        ({"until": "9999-12-31"}, "'9999-12-31' is not a moment"),
    ):
        assert refused(browser, "tokens/add", name="d", **form, **ROLES).startswith(reason)


def test_what_is_refused_is_said_beside_what_was_typed(
    page: Page, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = page.logins.accounts
    accounts.add("Claire", ["listener"])
    accounts.add_token(HOSTILE.rstrip("\u202e"), ["listener"])
    assert refused(browser, "add", name="CLAIRE", **ROLES) == "'CLAIRE': there is an account of this name"
    told = "add CLAIRE: listener, officer: 'CLAIRE': there is an account of this name"
    assert last(page) == ("account", "refused", "Anne", "web", told)
    assert refused(browser, "add", name="Bob") == "no role: it could do nothing"
    for what in ("add", "tokens/add", "tokens/revoke"):
        refused(browser, what, name="a\x1b[2J\nb", **ROLES)
        assert str(last(page)[-1]).isprintable()  # one line, whatever was typed
    assert "Dora Petit" in asked(browser, "tokens/add", name=" Dora\r\nPetit", **ROLES)
    assert last(page)[-1] == "add Dora Petit: listener, officer"
    assert refused(browser, "add", name="Bob", key="x", **ROLES).startswith("the key: is not a public key")
    assert str(last(page)[-1]).startswith("add Bob: listener, officer: the key: is not a public key")
    text = browser.post("/accounts/add", {"name": HOSTILE}, shown="/accounts").text
    assert "<script>alert" not in text and "alert(1)" in unescape(text)
    own = str(accounts.meant("Anne").id)
    for what in ("reset", "remove", "roles"):  # so one administrator stays
        assert refused(browser, what, account=own, **ROLES).startswith("one's own account is changed by")
    assert browser.is_in and accounts.meant("Anne").roles == ("administrator",)
    monkeypatch.setattr(page.site.store, "add_access", no_room())  # what cannot be traced is not done
    answer = browser.post("/accounts/add", {"name": "Bob", **ROLES}, shown="/accounts")
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert [one.name for one in accounts.all()] == ["Anne", "Claire"]


@pytest.fixture
def claire(page: Page) -> tuple[Owner, Browser]:
    return logged_in(page, "Claire", "listener")


def test_a_new_password_ends_all_other_sessions(page: Page, claire: tuple[Owner, Browser]) -> None:
    owner, browser = claire
    elsewhere = page.browser("127.1.0.1")
    elsewhere.log_in(owner)
    page.later(seconds=30)
    before = browser.cookie
    form = {"password": PASSWORD, "new": OTHER, "again": OTHER}
    answer = browser.post("/account/password", form, shown="/account")
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/account")
    assert browser.cookie != before and not elsewhere.is_in
    assert said(browser.get("/account")) == "Changed. All other sessions have ended."
    assert elsewhere.log_in(owner).status_code == FORBIDDEN
    owner.password = OTHER
    page.later(seconds=30)
    assert elsewhere.log_in(owner).status_code == SEE_OTHER
    (row,) = page.trace("account")
    assert (row.login, row.outcome, row.detail) == ("Claire", "done", "a new password")


def test_what_is_wrong_changes_nothing(page: Page, claire: tuple[Owner, Browser]) -> None:
    _, browser = claire
    wrong: tuple[tuple[dict[str, str], str], ...] = (
        ({"password": OTHER}, "the password is wrong"),
        ({"again": OTHER + "x"}, "the two passwords are not the same"),
        ({"new": "short", "again": "short"}, "the password has to have 12 to 256 characters"),
    )
    for form, reason in wrong:
        typed = {"password": PASSWORD, "new": OTHER, "again": OTHER} | form
        answer = browser.post("/account/password", typed, shown="/account")
        assert (answer.status_code, said(answer)) == (WRONG, reason) and browser.is_in
        assert page.logins.accounts.knows_password(page.logins.accounts.meant("Claire").id, PASSWORD)
        assert not any(one in answer.text for one in typed.values())


def test_another_authenticator(page: Page, claire: tuple[Owner, Browser]) -> None:
    """By the square that this account was shown, and no other."""
    owner, browser = claire
    _, theirs = logged_in(page, "Bob", address="127.1.0.1")
    seal = page.logins.seal
    sealed = field_of(browser.get("/account").text, "sealed")
    totp = pyotp.TOTP(seal.open_json("authenticator", sealed)[0])
    others = (field_of(theirs.get("/account").text, "sealed"), "x", "", browser.cookie)
    made = (seal.seal(b"s" * 32), seal.seal_json("beginning", [totp.secret, "x"]))
    form = {"password": PASSWORD, "sealed": sealed, "digits": totp.at(page.now)}
    for wrong in ({"digits": "0"}, *({"sealed": str(one)} for one in (*others, *made))):
        answer = browser.post("/account/authenticator", form | wrong, shown="/account")
        assert (answer.status_code, said(answer)) == (WRONG, "the authenticator shows other digits now")
    assert browser.post("/account/authenticator", form, shown="/account").status_code == SEE_OTHER
    page.later(seconds=30)
    assert page.browser().log_in(owner).status_code == FORBIDDEN
    owner.totp = totp
    assert page.browser("127.1.0.2").log_in(owner).status_code == SEE_OTHER


def test_a_key_to_listen_with(page: Page, claire: tuple[Owner, Browser]) -> None:
    _, browser = claire
    form = {"password": PASSWORD, "key": public_line(KEY)}
    assert browser.post("/account/key", form, shown="/account").status_code == SEE_OTHER
    shown = browser.get("/account")
    assert said(shown) == "Changed." and KEY.id in shown.text
    private = '{"version": "sipagent-identity-1", "secret": "c2VjcmV0"}'
    for text in (private, "sipagent-recipient-1 AAAA", "x"):
        answer = browser.post("/account/key", form | {"key": text}, shown="/account")
        assert answer.status_code == WRONG and said(answer).startswith("the key: is ")
        assert "c2VjcmV0" not in answer.text
    assert browser.post("/account/key", form | {"password": "x"}, shown="/account").status_code == WRONG
    assert page.logins.accounts.meant("Claire").key == KEY
    assert browser.post("/account/key", form | {"key": ""}, shown="/account").status_code == SEE_OTHER
    assert page.logins.accounts.meant("Claire").key is None


def test_a_login_that_is_not_ours_has_no_password_to_change(page: Page) -> None:
    """As by OpenID Connect: an account without a password."""
    account, _ = page.logins.accounts.add("Dora", ["listener"])
    guest = page.browser("127.1.0.3")
    guest.get("/login")
    id = page.logins.sessions.begin(account.id, account.epoch)
    guest.keep("sipagent", page.logins.seal.seal(id))
    shown = guest.get("/account")
    assert shown.status_code == HTTPStatus.OK and "/account/password" not in shown.text
    form = {"password": "", "new": OTHER, "again": OTHER}
    answer = guest.post("/account/password", form, shown="/account")
    assert answer.status_code == WRONG and not page.logins.accounts.meant("Dora").enrolled
