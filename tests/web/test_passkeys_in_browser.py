"""In a browser, with an authenticator that Chromium plays: a passkey is added, lets in, and is removed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, CDPSession
from playwright.sync_api import Page as Tab

from tests.peers.process import free_ports
from tests.web.axe import NARROW, REFLOW, WIDE, too_wide, violations
from tests.web.browser import needs_chromium, somebody
from tests.web.logging_in import PASSWORD, Owner, Page, opened
from tests.web.serving import serving

pytestmark = needs_chromium


@dataclass
class Served:
    """A page at http://localhost:PORT, and Claire, who may log in to it."""

    page: Page
    claire: Owner
    port: int

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    port = free_ports(1)
    web = f'[web]\nlisten = "127.0.0.1:{port}"\nurl = "http://localhost:{port}"\n'
    with opened(tmp_path, web) as page, serving(page.app, port):
        yield Served(page, page.enrolled("Claire", "listener"), port)


@dataclass
class Device:
    """An authenticator within a tab, by CDP."""

    cdp: CDPSession
    id: str

    def asked(self, what: str, **values: Any) -> Any:
        return self.cdp.send(f"WebAuthn.{what}", {"authenticatorId": self.id, **values})

    def credentials(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.asked("getCredentials")["credentials"]
        return found


def device_in(tab: Tab, **options: Any) -> Device:
    """One that is in the machine, and knows its owner."""
    cdp = tab.context.new_cdp_session(tab)
    cdp.send("WebAuthn.enable", {"enableUI": False})
    made = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    return Device(
        cdp, cdp.send("WebAuthn.addVirtualAuthenticator", {"options": made | options})["authenticatorId"]
    )


@contextmanager
def at_login(
    browser: Browser, served: Served, language: str = "en", **device: Any
) -> Iterator[tuple[Tab, Device]]:
    """Somebody with a device, at the page of the login."""
    with somebody(browser, language) as context:
        tab = context.new_page()
        mine = device_in(tab, **device)
        tab.goto(served.origin + "/login")
        yield tab, mine


def by_password(tab: Tab, served: Served) -> None:
    tab.get_by_label("Name").fill("Claire")
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_label("The six digits that your authenticator shows").fill(
        served.claire.totp.at(served.page.now)
    )
    tab.get_by_role("button", name="Log in", exact=True).click()
    tab.wait_for_url(served.origin + "/")
    served.page.later(seconds=30)


def adds(tab: Tab, served: Served, name: str = "telephone", password: str = PASSWORD) -> None:
    tab.goto(served.origin + "/account")
    tab.locator("#passkey-name").fill(name)
    tab.locator("#passkey-password").fill(password)
    tab.get_by_role("button", name="Add a passkey").click()


def hinders_nobody(tab: Tab) -> None:
    assert violations(tab) == []
    for size in (NARROW, REFLOW, WIDE):
        tab.set_viewport_size(size)
        assert too_wide(tab) == []


def log_out(tab: Tab) -> None:
    tab.get_by_role("button", name="Log out").click()
    tab.wait_for_url("**/login")


def fault(tab: Tab) -> str:
    """What the script says is wrong."""
    place = tab.locator("#passkey-fault")
    place.wait_for()
    return place.inner_text()


def test_a_passkey_from_its_beginning_to_its_end(served: Served, chromium: Browser) -> None:
    with at_login(chromium, served) as (tab, device):
        hinders_nobody(tab)
        by_password(tab, served)
        adds(tab, served, password="x" * 12)
        assert fault(tab) == "the password is wrong" and device.credentials() == []
        adds(tab, served)
        tab.get_by_text("Added: from now on you can log in with telephone.").wait_for()
        tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        hinders_nobody(tab)
        (kept,) = device.credentials()
        assert kept["isResidentCredential"] and kept["rpId"] == "localhost"
        adds(tab, served, "the same")
        assert fault(tab) == "This authenticator has a passkey of this account already."
        log_out(tab)
        tab.goto(served.origin + "/login?next=/account")
        button = tab.get_by_role("button", name="Log in with a passkey")
        button.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/account")
        assert "last used" in tab.locator("#passkeys").inner_text()
        tab.locator("summary", has_text="Remove telephone").click()
        tab.locator("#passkeys").get_by_label("Your password").fill(PASSWORD)
        tab.get_by_role("button", name="Remove, and end all other sessions").click()
        tab.get_by_text("Changed. All other sessions have ended.").wait_for()
        log_out(tab)
        tab.get_by_role("button", name="Log in with a passkey").click()
        tab.get_by_text("this passkey is not known here").wait_for()
        details = [row.detail for row in served.page.trace("login")]
        assert details[1:] == [
            "by a passkey, from 127.0.0.1",
            "from 127.0.0.1",
            "a passkey: not known, from 127.0.0.1",
        ]


def test_at_another_name_or_where_nobody_answers_it_says_so(served: Served, person: BrowserContext) -> None:
    tab = person.new_page()
    device_in(tab)
    tab.goto(f"http://127.0.0.1:{served.port}/login")
    tab.get_by_role("button", name="Log in with a passkey").click()
    assert fault(tab) == f"Passkeys of this page are for {served.origin} alone."
    tab.goto(served.origin + "/login")
    tab.route("**/login/passkey/ask", lambda route: route.abort())
    tab.get_by_role("button", name="Log in with a passkey").click()
    assert fault(tab) == "The page does not answer, or nobody is logged in any more; load it once more."
