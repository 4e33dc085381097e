"""In a browser: the first account of all, another by its one-time code, and logging in; for everybody."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

from tests.web.axe import NARROW, REFLOW, too_wide, violations
from tests.web.browser import chromium, driver, needs_chromium, somebody
from tests.web.logging_in import PASSWORD
from tests.web.served import Served

__all__ = ["chromium", "driver"]
pytestmark = [needs_chromium, pytest.mark.live]
CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}")
SIZES = (NARROW, REFLOW, {"width": 1280, "height": 900})


@pytest.fixture
def page_of_folder(tmp_path: Path) -> Iterator[tuple[Served, str]]:
    """A page without accounts, and the code that it has printed."""
    page = Served(tmp_path)
    with page.running() as child:
        found = CODE.search(child.wait_line(lambda line: "There is no account yet" in line))
        assert found
        yield page, found[0]


def hinders_nobody(page: Page) -> None:
    """By axe-core, and at each width."""
    assert violations(page) == []
    for size in SIZES:
        page.set_viewport_size(ViewportSize(width=size["width"], height=size["height"]))
        assert too_wide(page) == []


def equipped(page: Page) -> pyotp.TOTP:
    """Fill in the second step; the authenticator that has scanned the square."""
    totp = pyotp.TOTP(page.locator("#secret").inner_text().replace(" ", ""))
    assert page.locator(".qr svg").bounding_box()
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same once more").fill(PASSWORD)
    page.get_by_label("The six digits that it shows now").fill(totp.now())
    hinders_nobody(page)
    page.get_by_role("button", name="Begin").click()
    return totp


def test_from_nothing_to_two_who_are_logged_in(page_of_folder: tuple[Served, str], chromium: Browser) -> None:
    served, code = page_of_folder
    with somebody(chromium) as anne, somebody(chromium) as claire:
        admin = _first(anne, served, code)
        admin.get_by_role("link", name="Accounts").click()
        admin.locator("#add").get_by_label("Name").fill("Claire Petit")
        admin.locator("#add").get_by_label("listener").check()
        admin.get_by_role("button", name="Make the account").click()
        told = CODE.search(admin.get_by_role("status").inner_text())
        assert told
        hinders_nobody(admin)
        page, totp = _enrolled(claire, served, told[0])
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        _refused_and_let_in(page, totp)
        assert admin.goto(served.origin + "/accounts") and "Claire Petit" in admin.content()
        admin.locator("summary", has_text="Change Claire Petit").click()
        admin.get_by_role("button", name="Remove Claire Petit").click()
        assert admin.get_by_role("status").inner_text() == "Claire Petit: removed"
        page.goto(served.origin + "/account")
        page.wait_for_url("**/login?next=/account")  # out at once


def _first(context: BrowserContext, served: Served, code: str) -> Page:
    page = context.new_page()
    page.goto(served.origin)
    page.wait_for_url("**/login")
    hinders_nobody(page)
    page.get_by_role("link", name="Make the first account").click()
    hinders_nobody(page)
    page.get_by_label("The code that").fill(code.lower())
    page.get_by_label("Name").fill("Anne")
    page.get_by_role("button", name="Go on").click()
    equipped(page)
    page.wait_for_url("**/accounts")
    return page


def _enrolled(context: BrowserContext, served: Served, code: str) -> tuple[Page, pyotp.TOTP]:
    page = context.new_page()
    page.goto(served.origin + "/login")
    page.get_by_role("link", name="I have a one-time code").click()
    hinders_nobody(page)
    page.keyboard.type(code)  # the field has the focus
    page.keyboard.press("Enter")
    totp = equipped(page)
    page.wait_for_url(served.origin + "/")
    assert "Claire Petit" in page.locator(".who").inner_text()
    return page, totp


def _refused_and_let_in(page: Page, totp: pyotp.TOTP) -> None:
    for password in ("not hers", PASSWORD):
        page.get_by_label("Name").fill("claire petit")
        page.get_by_label("Password").fill(password)
        page.get_by_label("The six digits").fill(totp.at(int(time.time()) + 30))  # those of now have enrolled
        page.get_by_role("button", name="Log in").click()
        if password != PASSWORD:
            assert "are wrong" in page.get_by_role("alert").inner_text()
            hinders_nobody(page)
    page.wait_for_url("**/")
    assert "1 login with your name was refused" in page.get_by_role("status").first.inner_text()
