"""The end of a session, in a browser: it is announced two minutes before, and what was typed comes back after
the login, in this tab and for this person alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import Page as Tab

from tests.office import Office
from tests.peers.process import free_ports
from tests.web.browser import PATIENCE_MS, needs_chromium, until, violations
from tests.web.logging_in import Owner, Page, opened
from tests.web.served import serving

pytestmark = needs_chromium
HOLD = {"ground": "criminal", "reference": "2026-118, threats", "review": "2030-01-01"}
KEPT = "sessionStorage.getItem('typed')"
FORGOTTEN = f"{KEPT} === null"


@dataclass
class Desk:
    """Somebody's tab at a page whose clock the test moves, together with the tab's."""

    page: Page
    tab: Tab
    address: str
    call: str
    owners: dict[str, Owner] = field(default_factory=dict)

    def log_in(self, name: str) -> None:
        """By the form that is shown."""
        self.later(minutes=1)  # for other digits
        owner = self.owners[name]
        self.tab.fill("#name", name)
        self.tab.fill("#password", owner.password)
        self.tab.fill("#digits", owner.totp.at(self.page.now))
        self.tab.click("main button")

    def open(self, path: str) -> None:
        self.tab.goto(self.address + path)
        self.tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    def fill(self) -> None:
        """What asks for a hold on the call."""
        self.open(self.call)
        self.tab.select_option("#hold-ground", HOLD["ground"])
        for name in ("reference", "review"):
            self.tab.fill(f"#hold-{name}", HOLD[name])

    def later(self, **time: float) -> None:
        """For the server, and for the timers of the tab."""
        self.page.later(**time)
        self.tab.clock.run_for(timedelta(**time) // timedelta(milliseconds=1))


@pytest.fixture
def desk(chromium: Browser, tmp_path: Path) -> Iterator[Desk]:
    """Claire listens and Sonia supervises; Claire is logged in."""
    port = free_ports(1)
    with opened(tmp_path, f'[web]\nlisten = "127.0.0.1:{port}"\n') as page:
        call = Office(tmp_path, None).call(timedelta(hours=1)).id  # type: ignore[arg-type]  # nothing is printed
        owners = {name: page.enrolled(name, "supervisor", "officer") for name in ("Claire", "Sonia")}
        context = chromium.new_context(locale="en", reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_MS)
        tab = context.new_page()
        tab.clock.install()  # which goes on meanwhile
        with serving(page.app, port) as address:
            desk = Desk(page, tab, address, f"/recordings/{call}", owners)
            desk.open("/login")
            desk.log_in("Claire")
            tab.wait_for_url(f"{address}/")
            yield desk
        context.close()


def test_two_minutes_before_the_end_one_press_stays(desk: Desk) -> None:
    desk.open(desk.call)
    desk.tab.focus("#hold-reference")
    desk.later(minutes=27)
    dialog, stay = desk.tab.get_by_role("alertdialog"), desk.tab.get_by_role("button", name="Stay logged in")
    expect(dialog).to_be_hidden()
    desk.later(minutes=1, seconds=1)
    expect(dialog).to_have_accessible_name("Your session is about to end")
    said = r"You will be logged out in 1:\d\d, because nothing .* What you have typed is kept in this tab"
    expect(dialog).to_have_accessible_description(re.compile(said))
    expect(stay).to_be_focused()
    assert violations(desk.tab) == []
    with desk.tab.expect_response("**/session"):
        desk.tab.keyboard.press("Enter")
    expect(desk.tab.locator("#hold-reference")).to_be_focused()
    desk.later(minutes=20)
    assert desk.tab.goto(desk.address + "/account").ok  # type: ignore[union-attr]
    assert "/login" not in desk.tab.url


def test_after_twelve_hours_nothing_prolongs_it_and_the_warning_says_so(desk: Desk) -> None:
    for _ in range(28):
        desk.page.later(minutes=25)
        assert desk.tab.request.get(f"{desk.address}/holds").url.endswith("/holds")
    desk.open("/account")
    desk.later(minutes=18, seconds=30)
    dialog = desk.tab.get_by_role("alertdialog")
    expect(dialog).to_have_accessible_description(
        re.compile(r"in 1:\d\d: a login lasts twelve hours at most")
    )
    desk.tab.get_by_role("button", name="Close").click()
    desk.later(seconds=30)
    expect(dialog).to_be_hidden()
    desk.later(minutes=1)
    desk.tab.wait_for_url(f"{desk.address}/login?next=/account")


def test_what_was_typed_is_back_after_the_login_for_who_typed_it(desk: Desk) -> None:
    desk.fill()
    desk.later(minutes=31)
    desk.tab.wait_for_url(f"{desk.address}/login?next={desk.call}")
    expect(desk.tab.locator("#ended")).to_contain_text("Your session has ended.")
    expect(desk.tab.get_by_text("What you typed is kept in this tab")).to_be_visible()
    desk.log_in("Claire")
    desk.tab.wait_for_url(desk.address + desk.call)
    for name, value in HOLD.items():
        expect(desk.tab.locator(f"#hold-{name}")).to_have_value(value)
        expect(desk.tab.locator(f"#hold-{name}")).to_be_visible()  # also where its form is folded away
    expect(desk.tab.get_by_text("what you had typed is here again")).to_be_visible()
    desk.page.later(minutes=31)  # the tab has slept, and its form is sent
    desk.tab.click("form[name=hold] button")
    desk.tab.wait_for_url(f"{desk.address}/login?next={desk.call}&unsaved=")
    expect(desk.tab.locator("#ended")).to_contain_text("nothing of what you sent was saved")
    desk.log_in("Sonia")
    desk.tab.wait_for_url(desk.address + desk.call)
    assert until(desk.tab, FORGOTTEN)
    expect(desk.tab.locator("#hold-reference")).to_have_value("")


def test_a_form_of_an_earlier_session_is_refused_and_filled_in_again(desk: Desk) -> None:
    desk.fill()
    tab, desk.tab = desk.tab, desk.tab.context.new_page()
    desk.open("/holds")
    desk.tab.get_by_role("button", name="Log out").click()
    desk.log_in("Claire")
    desk.tab.wait_for_url(f"{desk.address}/")
    tab.click("form[name=hold] button")
    tab.get_by_text("What you typed is in it again.").wait_for()
    tab.get_by_role("link", name="Back to the form").click()
    expect(tab.locator("#hold-reference")).to_have_value(HOLD["reference"])


def test_what_was_typed_on_a_second_step_is_back_with_that_step(desk: Desk) -> None:
    """And what is sent meanwhile is not."""
    desk.open("/requests")
    desk.tab.fill("#caller", "06 12 34 56 78")
    desk.tab.keyboard.press("Enter")
    desk.tab.fill("#request", "demande 2026-118")
    desk.tab.wait_for_load_state()
    desk.page.later(minutes=31)
    desk.open("/holds")
    desk.log_in("Claire")
    desk.tab.wait_for_url(f"{desk.address}/holds")
    desk.open("/requests")
    expect(desk.tab.locator("#caller")).to_have_value("06 12 34 56 78")
    desk.tab.press("#caller", "Enter")
    expect(desk.tab.locator("#request")).to_have_value("demande 2026-118")
    desk.open("/requests")
    expect(desk.tab.locator("#caller")).to_have_value("")
    assert until(desk.tab, FORGOTTEN)


def test_nothing_is_kept_of_what_was_sent_nor_after_a_logout_nor_ever_a_secret(desk: Desk) -> None:
    desk.open("/account")
    for name in ("#new", "#password-password", "#digits"):
        desk.tab.fill(name, "654321")
    desk.tab.fill("#key", "a public key")
    desk.page.later(minutes=31)
    desk.open("/holds")
    kept = desk.tab.evaluate(KEPT)
    assert "a public key" in kept and "654321" not in kept
    desk.log_in("Claire")
    desk.tab.wait_for_url(f"{desk.address}/holds")
    desk.open(desk.call)
    desk.fill()
    desk.tab.click("form[name=hold] button")
    desk.tab.wait_for_url(f"{desk.address}{desk.call}*")
    assert until(desk.tab, FORGOTTEN)
    desk.open("/requests")
    desk.tab.get_by_role("button", name="Log out").click()
    desk.tab.wait_for_url(f"{desk.address}/login")
    assert until(desk.tab, FORGOTTEN)
