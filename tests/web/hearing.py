"""What the tests of listening do at a player: noise is sealed, a key opened, a recording played."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from retention.records import Recording
from tests.office import RATE, Office
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, name_recipients, sealed_call


def noise(seconds: float, seed: int = 1) -> NDArray[np.int16]:
    """Sound that is like no other: (n, 2) int16, never silent."""
    random, shape = np.random.default_rng(seed), (int(seconds * RATE), 2)
    return np.asarray(random.integers(1, 9000, shape) * random.choice((-1, 1), shape), dtype=np.int16)


def make_listening_office(folder: Path, capture: pytest.CaptureFixture[str]) -> Office:
    """Two pairs of keys: claire's has a passphrase, paul's has none."""
    office = make_sealed_office(folder, capture)
    make_pair(office, "claire", PASSPHRASE)
    make_pair(office, "paul")
    name_recipients(office, "claire", "paul")
    return office


def call(office: Office, sound: NDArray[np.int16], **changes: Any) -> Recording:
    """A recording sealed to both."""
    fields: dict[str, Any] = {"duration_s": len(sound) / RATE, "sample_rate": RATE, "pauses": ()} | changes
    return sealed_call(office, ("claire", "paul"), sound, **fields)


def open_key(page: Page, office: Office, name: str = "claire", passphrase: str = PASSPHRASE) -> None:
    page.set_input_files("#key-file", office.folder / "keys" / f"{name}.key")
    page.fill("#passphrase", passphrase)


def play(page: Page, purpose: str = "quality") -> None:
    page.select_option("#purpose", purpose)
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Pause")


def at_the_end(page: Page) -> None:
    expect(page.locator("#listen-state")).to_contain_text("The end", timeout=30_000)


def seek(page: Page, second: int) -> None:
    """Choose the position, also where the player is going just now."""
    chosen = "(range, second) => { range.value = second; range.dispatchEvent(new Event('input')); }"
    page.locator("#position").evaluate(chosen, second)
