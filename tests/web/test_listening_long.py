"""An hour's recording: its first sound comes at once, and no more of it is held than a window."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from retention.storage.keys import read_public
from tests.office import RATE, Office
from tests.web.browser import (
    chromium,
    delay_s,
    heard,
    memory_mib,
    needs_chromium,
    person,
    sounding,
    until,
)
from tests.web.hearing import call, make_listening_office, noise, open_key, play
from tests.web.listening import Listener, listening

__all__ = ["chromium", "person"]
pytestmark = needs_chromium

HOUR_S = 3600
_DRAWN = """() => {
    const canvas = document.getElementById("waveform-caller"), { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(width - 6, Math.round(height / 4), 1, 1);
    return data[3] > 0;
}"""
MORE_MIB = 150  # that an hour may take more than a second does: it has 110 MiB, and as much again opened


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_listening_office(tmp_path, capsys)


@pytest.fixture
def claire(office: Office) -> Iterator[Listener]:
    with listening(office, read_public(office.folder / "keys" / "claire.pub")) as listener:
        yield listener


def test_an_hour(claire: Listener, office: Office, person: BrowserContext, chromium: Browser) -> None:
    sound = np.tile(noise(60), (HOUR_S // 60, 1))
    short, long = call(office, noise(1)), call(office, sound)
    page = person.new_page()
    page.goto(claire.url(short))
    open_key(page, office)
    play(page)
    delay_s(page)
    before = memory_mib(chromium)
    page.click(f"text={long.id}")
    expect(page.locator("h1")).to_have_text(long.id)
    play(page)
    first = delay_s(page)
    until(page, _DRAWN, 120)
    more = memory_mib(chromium) - before
    page.click("#play")
    page.evaluate("window.captured.length = 0")
    page.locator("#position").fill("3000")
    page.click("#play")
    sought = delay_s(page)
    page.wait_for_timeout(500)
    page.click("#play")
    taken = sounding(heard(page))
    print(
        f"an hour: first sound after {first:.2f} s, sought in {sought:.2f} s, {more} MiB more than a second"
    )
    assert len(taken) > 0.3 * RATE and np.array_equal(taken, sound[3000 * RATE :][: len(taken)])
    assert more < MORE_MIB
