"""An hour's recording: its first sound comes at once, and no more of it is held than a window."""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Playwright, expect

from retention.vault import read_public
from tests.office import RATE, Office
from tests.web.browser import (
    Unwatched,
    delay_s,
    heard,
    needs_chromium,
    sounding,
    until,
)
from tests.web.hearing import call, make_listening_office, noise, open_key, play
from tests.web.listening import Listener, listening

pytestmark = needs_chromium

MORE_MIB = 150  # that an hour may take, which has 110 MiB, and as much again opened


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_listening_office(tmp_path, capsys)


@pytest.fixture
def claire(office: Office) -> Iterator[Listener]:
    with listening(office, read_public(office.folder / "keys" / "claire.pub")) as listener:
        yield listener


def test_the_first_sound_of_an_hour(claire: Listener, office: Office, person: BrowserContext) -> None:
    """And what is sought in it, while the rest is being drawn."""
    sound, page = hour(), person.new_page()
    page.goto(claire.url(call(office, sound)))
    open_key(page, office)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    play(page)
    first = delay_s(page)
    print(f"first sound of an hour: {first:.2f} s")
    page.click("#play")
    page.locator("#position").fill("3000")
    page.evaluate("window.captured.length = 0")
    page.click("#play")
    until(page, "window.captured.length > 60")
    page.click("#play")
    taken = sounding(heard(page))
    assert np.array_equal(taken, sound[3000 * RATE :][: len(taken)])


def test_no_more_of_an_hour_is_held_than_a_window(
    claire: Listener, office: Office, driver: Playwright, tmp_path: Path
) -> None:
    row, most = call(office, hour()), 0
    browser = Unwatched(driver, tmp_path / "profile")
    try:
        with browser.visit() as page:
            page.goto(claire.url(row))
            open_key(page, office)
            page.click("#key-open")
            expect(page.locator("#key-name")).to_have_text("claire")
            page.select_option("#purpose", "quality")
            before = browser.memory_mib()
            page.evaluate("setTimeout(() => document.getElementById('play').click(), 1000)")
        end = time.monotonic() + 120
        while not any(float(parse_qs(span)["from"][0]) > 3500 for span in claire.spans):
            assert time.monotonic() < end
            most = max(most, browser.memory_mib())
            time.sleep(0.1)
    finally:
        browser.close()
    print(f"an hour takes {most - before} MiB at most")
    assert most - before < MORE_MIB


def hour() -> NDArray[np.int16]:
    return np.tile(noise(60), (60, 1))
