"""In a browser, with an authenticator that Chromium plays: a passkey is added, lets in, and is removed."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, CDPSession
from playwright.sync_api import Page as Tab

from tests.peers.process import free_ports
from tests.web.browser import NARROW, REFLOW, WIDE, needs_chromium, too_wide, violations
from tests.web.logging_in import PASSWORD, Owner, Page, opened
from tests.web.served import serving

pytestmark = needs_chromium


@dataclass
class Served:
    """A page at http://localhost:PORT, and Claire, at its login, with an authenticator of her machine's."""

    page: Page
    claire: Owner
    port: int
    tab: Tab
    cdp: CDPSession
    device: str

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def adds(self, name: str = "telephone", password: str = PASSWORD) -> None:
        self.tab.goto(self.origin + "/account")
        self.tab.locator("#passkey-name").fill(name)
        self.tab.locator("#passkey-password").fill(password)
        self.tab.get_by_role("button", name="Add a passkey").click()

    def log_out(self) -> None:
        self.tab.get_by_role("button", name="Log out").click()
        self.tab.wait_for_url("**/login")

    def fault(self) -> str:
        """What the script says is wrong."""
        place = self.tab.locator("#passkey-fault")
        place.wait_for()
        return place.inner_text()

    def hinders_nobody(self) -> None:
        assert violations(self.tab) == []
        for size in (NARROW, REFLOW, WIDE):
            self.tab.set_viewport_size(size)
            assert too_wide(self.tab) == []


@pytest.fixture
def served(tmp_path: Path, person: BrowserContext) -> Iterator[Served]:
    port, tab = free_ports(1), person.new_page()
    web = f'[web]\nlisten = "127.0.0.1:{port}"\nurl = "http://localhost:{port}"\n'
    cdp = person.new_cdp_session(tab)
    cdp.send("WebAuthn.enable", {"enableUI": False})
    knows = ("hasResidentKey", "hasUserVerification", "isUserVerified", "automaticPresenceSimulation")
    made = {"protocol": "ctap2", "transport": "internal", **dict.fromkeys(knows, True)}
    device = cdp.send("WebAuthn.addVirtualAuthenticator", {"options": made})["authenticatorId"]
    with opened(tmp_path, web) as page, serving(page.app, port):
        served = Served(page, page.enrolled("Claire", "listener"), port, tab, cdp, device)
        tab.goto(served.origin + "/login")
        yield served


def test_a_passkey_from_its_beginning_to_its_end(served: Served) -> None:
    tab = served.tab
    served.hinders_nobody()
    tab.get_by_label("Name").fill("Claire")
    tab.get_by_label("Password").fill(PASSWORD)
    digits = served.claire.totp.at(served.page.now)
    tab.get_by_label("The six digits that your authenticator shows").fill(digits)
    tab.get_by_role("button", name="Log in", exact=True).click()
    tab.wait_for_url(served.origin + "/")
    served.page.later(seconds=30)
    served.adds(password="x" * 12)
    assert served.fault() == "the password is wrong"
    served.adds()
    tab.get_by_text("Added: from now on you can log in with telephone.").wait_for()
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    served.hinders_nobody()
    (kept,) = served.cdp.send("WebAuthn.getCredentials", {"authenticatorId": served.device})["credentials"]
    assert kept["isResidentCredential"] and kept["rpId"] == "localhost"
    served.adds("the same")
    assert served.fault() == "This authenticator has a passkey of this account already."
    served.log_out()
    tab.goto(served.origin + "/login?next=/account")
    tab.get_by_role("button", name="Log in with a passkey").focus()
    tab.keyboard.press("Enter")
    tab.wait_for_url("**/account")
    assert "last used" in tab.locator("#passkeys").inner_text()
    tab.locator("summary", has_text="Remove telephone").click()
    tab.locator("#passkeys").get_by_label("Your password").fill(PASSWORD)
    tab.get_by_role("button", name="Remove, and end all other sessions").click()
    tab.get_by_text("Changed. All other sessions have ended.").wait_for()
    served.log_out()
    tab.get_by_role("button", name="Log in with a passkey").click()
    tab.get_by_text("this passkey is not known here").wait_for()
    details = [row.detail for row in served.page.trace("login")]
    by_passkey, not_known = "by a passkey, from 127.0.0.1", "a passkey: not known, from 127.0.0.1"
    assert details[1:] == [by_passkey, "from 127.0.0.1", not_known]


def test_at_another_name_or_where_nobody_answers_it_says_so(served: Served) -> None:
    tab = served.tab
    tab.goto(f"http://127.0.0.1:{served.port}/login")
    tab.get_by_role("button", name="Log in with a passkey").click()
    assert served.fault() == f"Passkeys of this page are for {served.origin} alone."
    tab.goto(served.origin + "/login")
    tab.route("**/login/passkey/ask", lambda route: route.abort())
    tab.get_by_role("button", name="Log in with a passkey").click()
    assert served.fault() == "The page does not answer, or nobody is logged in any more; load it once more."
