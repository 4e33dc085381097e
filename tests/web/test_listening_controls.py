"""What a person does while listening: by mouse and by keyboard, and with a copy."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, expect

from retention.vault import read_public
from tests.office import RATE, Office
from tests.web.browser import heard, needs_chromium, somebody, sounding
from tests.web.hearing import at_the_end, call, make_listening_office, noise, open_key, play
from tests.web.listening import Listener, listening

pytestmark = needs_chromium


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_listening_office(tmp_path, capsys)


@pytest.fixture
def claire(office: Office) -> Iterator[Listener]:
    with listening(office, read_public(office.folder / "keys" / "claire.pub")) as listener:
        yield listener


def opened(claire: Listener, person: BrowserContext, sound: NDArray[np.int16]) -> Page:
    """A page whose key is open, with nothing played yet."""
    page = person.new_page()
    page.goto(claire.url(call(claire.office, sound)))
    open_key(page, claire.office)
    page.select_option("#purpose", "quality")
    return page


def paused(claire: Listener, person: BrowserContext, sound: NDArray[np.int16]) -> Page:
    """A page that has played a little, and waits."""
    page = opened(claire, person, sound)
    play(page)
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")
    return page


def clear(page: Page) -> None:
    page.evaluate("window.captured.length = 0")


def tone(seconds: float, hertz: float = 440) -> NDArray[np.int16]:
    """On both sides."""
    one = np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE) * 8000
    return np.stack([one, one], axis=1).astype(np.int16)


def pitch(samples: NDArray[np.int16]) -> float:
    """In Hz, of the strongest tone."""
    spectrum = np.abs(np.fft.rfft(samples[:, 0]))
    return float(np.argmax(spectrum) * RATE / len(samples))


def test_the_position_chosen_is_heard(claire: Listener, person: BrowserContext) -> None:
    sound = noise(25)
    page = paused(claire, person, sound)
    page.locator("#position").fill("23")
    clear(page)
    page.click("#play")
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), sound[23 * RATE :])


def test_a_click_into_the_drawing_goes_there(claire: Listener, person: BrowserContext) -> None:
    page = paused(claire, person, noise(20))
    box = page.locator("#waveform-operator").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    expect(page.locator("#time-now")).to_have_text("0:18")
    assert "0:18 of 0:20" in str(page.locator("#position").get_attribute("aria-valuetext"))


def test_everything_can_be_done_by_keyboard(claire: Listener, person: BrowserContext) -> None:
    page = opened(claire, person, noise(50))
    page.focus("#play")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Pause")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Play")
    page.focus("#position")
    page.locator("#position").fill("2")
    now = page.locator("#time-now")
    for key, then in (("ArrowRight", "0:07"), ("Shift+ArrowRight", "0:37"), ("ArrowLeft", "0:32")):
        page.keyboard.press(key)
        expect(now).to_have_text(then)
    for key, speed in (("+", "1.25"), ("+", "1.5"), ("-", "1.25")):
        page.keyboard.press(key)
        expect(page.locator("#speed")).to_have_value(speed)
    for caller, operator in (("true", "false"), ("false", "true"), ("false", "false")):
        page.keyboard.press("m")
        expect(page.locator("#mute-caller")).to_have_attribute("aria-pressed", caller)
        expect(page.locator("#mute-operator")).to_have_attribute("aria-pressed", operator)
    page.keyboard.press("s")
    expect(page.locator("#skip")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Pause")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Play")
    page.keyboard.press("s")  # a letter counts in the player alone
    expect(page.locator("#skip")).to_have_attribute("aria-pressed", "true")
    page.focus("#reference")
    page.keyboard.type("m s+-")
    assert page.input_value("#reference") == "m s+-"


def test_a_side_is_muted(claire: Listener, person: BrowserContext) -> None:
    sound = noise(3)
    page = paused(claire, person, sound)
    page.click("#mute-caller")
    page.locator("#position").fill("1")
    clear(page)
    page.click("#play")
    at_the_end(page)
    taken = sounding(heard(page))
    assert not taken[:, 0].any()
    assert np.array_equal(taken[:, 1], sound[RATE:, 1])


def test_silence_is_skipped(claire: Listener, person: BrowserContext) -> None:
    quiet = np.zeros((6 * RATE, 2), np.int16)
    sound = np.concatenate([noise(1), quiet, noise(1, 2)])
    page = paused(claire, person, sound)
    page.click("#skip")
    page.locator("#position").fill("0")
    clear(page)
    page.click("#play")
    at_the_end(page)
    taken = sounding(heard(page))
    assert len(taken) < 2.6 * RATE
    assert np.array_equal(taken[:RATE], noise(1)) and np.array_equal(taken[-RATE:], noise(1, 2))


@pytest.mark.parametrize("speed", ["0.5", "2"])
def test_another_speed_keeps_the_voice(claire: Listener, person: BrowserContext, speed: str) -> None:
    page = paused(claire, person, tone(4))
    page.select_option("#speed", speed)
    page.locator("#position").fill("1")
    clear(page)
    page.click("#play")
    at_the_end(page)
    taken = sounding(heard(page))
    assert len(taken) == pytest.approx(3 * RATE / float(speed), rel=0.03)
    assert pitch(taken) == pytest.approx(440, abs=4)
    assert np.abs(taken).max() < 8400  # nothing is laid over itself louder than it is


@pytest.mark.parametrize("channel", ["both", "caller", "operator"])
def test_a_copy_is_what_export_gives(
    claire: Listener, person: BrowserContext, office: Office, tmp_path: Path, channel: str
) -> None:
    page = opened(claire, person, noise(12.5))
    page.fill("#reference", "2026-118")
    page.click("#export")
    page.select_option("#export-channel", channel)
    with page.expect_download() as download:
        page.click("#export-copy")
    name = download.value.suggested_filename
    id = claire.site.store.recordings()[0].id
    assert name == (f"{id}.wav" if channel == "both" else f"{id}-{channel}.wav")
    (use,) = claire.uses
    assert (use.action, use.purpose, use.reference) == ("export", "quality", "2026-118")
    assert (use.login, use.via) == ("claire", "web") and name in str(use.detail)
    download.value.save_as(tmp_path / "page.wav")
    command = ("--purpose", "quality", "--by", "Claire", "--channel", channel, "--out", tmp_path / "cli.wav")
    office.run("export", id, *command, "--identity", office.folder / "keys" / "paul.key")
    (page_sound, rate), (cli_sound, cli_rate) = (
        soundfile.read(tmp_path / f"{who}.wav", dtype="int16") for who in ("page", "cli")
    )
    assert rate == cli_rate and np.array_equal(page_sound, cli_sound)


def test_a_copy_that_is_not_wanted_is_not_asked_for(claire: Listener, person: BrowserContext) -> None:
    page = opened(claire, person, noise(1))
    page.click("#export")
    expect(page.locator("#export-dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#export-dialog")).to_be_hidden()
    page.click("#export")
    page.click("text=Cancel")
    expect(page.locator("#export-dialog")).to_be_hidden()
    assert claire.uses == []


def test_several_files_become_one_zip(claire: Listener, person: BrowserContext, tmp_path: Path) -> None:
    page = opened(claire, person, noise(1))
    with page.expect_download() as download:
        page.evaluate(
            """async () => {
                const { zipOf } = await import("/static/zip.js"), { save } = await import("/static/wav.js");
                const sevens = new Uint8Array(9_000_000).fill(7);
                const entries = [["élève/à lire.txt", "bonjour"], ["b.bin", sevens], ["", ""]];
                save(await zipOf(entries.map(([name, content]) => ({ name, content }))), "all.zip");
            }"""
        )
    download.value.save_as(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as all:
        assert all.testzip() is None
        assert all.namelist() == ["élève/à lire.txt", "b.bin", ""]
        assert all.read("élève/à lire.txt") == b"bonjour" and all.read("b.bin") == b"\x07" * 9_000_000


def test_it_fits_a_telephone_and_speaks_french(claire: Listener, chromium: Browser) -> None:
    row = call(claire.office, noise(4))
    with somebody(chromium, "fr-FR") as person:
        page = person.new_page()
        page.set_viewport_size({"width": 390, "height": 800})
        page.goto(claire.url(row))
        open_key(page, claire.office)
        page.select_option("#purpose", "quality")
        page.click("#play")
        expect(page.locator("#play")).to_have_text("Pause")
        expect(page.locator("#listen-state")).to_contain_text("Lecture en cours")
        page.click("#play")
        expect(page.locator("#play")).to_have_text("Lire")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("document.querySelector('#waveform-caller').clientWidth") > 200


def test_what_is_drawn_is_what_is_there(claire: Listener, person: BrowserContext) -> None:
    """The caller speaks in the first half, the operator in the second."""
    sound = noise(20)
    sound[10 * RATE :, 0] = 0
    sound[: 10 * RATE, 1] = 0
    page = paused(claire, person, sound)
    page.locator("#position").fill("0")
    page.wait_for_timeout(300)
    heights = page.evaluate(
        """() => ["caller", "operator"].map((side) => {
            const canvas = document.getElementById(`waveform-${side}`), { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [0.25, 0.75].map((part) => {
                const x = Math.round(part * width);
                let ink = 0;
                for (let y = 0; y < height; y++) if (data[4 * (y * width + x) + 3] > 0) ink++;
                return ink / height;
            });
        })"""
    )
    (caller, no_caller), (no_operator, operator) = heights
    assert min(caller, operator) > 0.6 and max(no_caller, no_operator) < 0.1
