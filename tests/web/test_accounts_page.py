"""The page of accounts and tokens: what an administrator does there, and what it refuses."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from http import HTTPStatus
from pathlib import Path

import pytest

from retention.vault import Identity, public_line
from tests.web.logging_in import Browser, Owner, Page, opened, said

KEY = Identity(bytes([1]) * 32, "Claire").public
WRONG, SEE_OTHER, FORBIDDEN = HTTPStatus.BAD_REQUEST, HTTPStatus.SEE_OTHER, HTTPStatus.FORBIDDEN
CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}")
TOKEN = re.compile(r"sipagent_[\w-]{43}")
HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as page:
        yield page


@pytest.fixture
def anne(page: Page) -> Owner:
    return page.enrolled("Anne", "administrator")


@pytest.fixture
def browser(page: Page, anne: Owner) -> Browser:
    browser = page.browser()
    assert browser.log_in(anne).status_code == SEE_OTHER
    page.later(seconds=30)
    return browser


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


ROLES = {"role-listener": "on", "role-officer": "on"}


def test_an_account_is_made_and_its_code_shown_once(page: Page, browser: Browser) -> None:
    told = asked(browser, "add", name="Claire Petit", key=public_line(KEY), **ROLES)
    code = CODE.search(told)
    assert code and "The one-time code of Claire Petit, shown this once" in told
    assert told.endswith("at http://127.0.0.1:8443/enrol")
    account = page.logins.accounts.of_code(code[0])
    assert account is not None and (account.roles, account.key) == (("listener", "officer"), KEY)
    assert last(page) == ("account", "done", "Anne", "web", "add Claire Petit: listener, officer")
    shown = browser.get("/accounts").text
    assert code[0] not in shown and "Claire Petit" in shown
    kept = [path for path in page.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if code[0].encode() in path.read_bytes()]


def test_what_cannot_be_made(page: Page, browser: Browser) -> None:
    page.logins.accounts.add("Claire", ["listener"])
    assert refused(browser, "add", name="CLAIRE", **ROLES) == "'CLAIRE': there is an account of this name"
    assert last(page) == (
        *("account", "refused", "Anne", "web"),
        "add: 'CLAIRE': there is an account of this name",
    )
    assert refused(browser, "add", name="Bob") == "no role: it could do nothing"
    again = browser.post("/accounts/add", {"name": HOSTILE}, shown="/accounts").text
    assert "<script>" not in again and "alert(1)" in again
    assert "is not a name" in refused(browser, "add", name="\u202e", **ROLES)
    assert refused(browser, "add", name="Bob", key="x", **ROLES).startswith("the key: is not a public key")
    assert [one.name for one in page.logins.accounts.all()] == ["Anne", "Claire"]


def test_hostile_names_do_nothing(page: Page, browser: Browser) -> None:
    page.logins.accounts.add(HOSTILE.rstrip("\u202e"), ["listener"])
    page.logins.accounts.add_token("<img src=x onerror=alert(1)>", ["listener"])
    text = browser.get("/accounts").text
    assert "<script>alert" not in text and "<img" not in text and "alert(1)" in unescape(text)


def test_roles_count_at_once(page: Page, browser: Browser) -> None:
    claire = page.enrolled("Claire", "listener")
    theirs = page.browser("127.1.0.1")
    theirs.log_in(claire)
    assert theirs.get("/api/v1/accesses").status_code == FORBIDDEN
    id = str(page.logins.accounts.meant("Claire").id)
    told = asked(browser, "roles", account=id, **{"role-officer": "on"})
    assert told == "Claire: the roles are changed, from now on"
    assert theirs.get("/api/v1/accesses").status_code == HTTPStatus.OK
    assert page.logins.accounts.meant("Claire").roles == ("officer",)
    assert last(page)[-1] == "roles of Claire: officer"
    assert refused(browser, "roles", account=id) == "no role: it could do nothing"


def test_a_reset_and_a_removal_end_sessions_at_once(page: Page, browser: Browser) -> None:
    claire = page.enrolled("Claire", "listener")
    theirs = page.browser("127.1.0.1")
    theirs.log_in(claire)
    id = str(page.logins.accounts.meant("Claire").id)
    assert CODE.search(asked(browser, "reset", account=id)) and not theirs.is_in
    assert last(page)[-1] == "reset Claire"
    assert asked(browser, "remove", account=id) == "Claire: removed"
    assert page.logins.accounts.named("Claire") is None and last(page)[-1] == "remove Claire"
    for what in ("reset", "remove", "roles"):
        assert refused(browser, what, account=id, **ROLES) == "the account was removed"


@pytest.mark.parametrize("id", ["", "x", "-1", "0", "1e3", "9" * 40, "\u0661"])
def test_an_account_that_there_is_not(browser: Browser, id: str) -> None:
    assert refused(browser, "remove", account=id) == "the account was removed"


def test_nobody_changes_their_own_account_there(page: Page, anne: Owner, browser: Browser) -> None:
    """So one administrator stays."""
    id = str(page.logins.accounts.meant("Anne").id)
    for what in ("reset", "remove", "roles"):
        assert refused(browser, what, account=id, **ROLES).startswith("one's own account is changed by")
    assert browser.is_in and page.logins.accounts.meant("Anne").roles == ("administrator",)


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
    assert refused(browser, "tokens/revoke", name="dashboard") == "'dashboard': no such token"


@pytest.mark.parametrize(
    ("until", "reason"),
    [
        ("2020-01-01", "a token has to end in the future"),
        ("soon", "the last day is not a date"),
        ("9999-12-31", "the last day is not a date"),
    ],
)
def test_a_last_day_of_no_use(browser: Browser, until: str, reason: str) -> None:
    assert refused(browser, "tokens/add", name="d", until=until, **ROLES) == reason


@pytest.mark.parametrize("role", ["listener", "supervisor", "officer"])
def test_it_is_for_administrators(page: Page, role: str) -> None:
    theirs = page.browser()
    theirs.log_in(page.enrolled("Claire", role))
    assert theirs.get("/accounts").status_code == FORBIDDEN
    form = {"name": "Bob", "role-administrator": "on"}
    assert theirs.post("/accounts/add", form, shown="/account").status_code == FORBIDDEN
    assert [row.action for row in page.trace()][-2:] == ["right", "right"]
    assert page.logins.accounts.named("Bob") is None


def test_what_cannot_be_traced_is_not_done(
    page: Page, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(row: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.site.store, "add_access", fails)
    answer = browser.post("/accounts/add", {"name": "Bob", **ROLES}, shown="/accounts")
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    assert page.logins.accounts.named("Bob") is None
