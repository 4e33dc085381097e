"""The package of a person with its sounds, made in a real browser by the officer's own key."""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Page, expect

from retention.records import Recording
from retention.use import known_copies
from retention.vault import read_public
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person
from tests.kept import CALLER, remove
from tests.office import RATE, Office, stereo
from tests.web.browser import needs_chromium
from tests.web.listening import call, make_listening_office, noise, open_key
from tests.web.logging_in import asked_by
from tests.web.serving import serving

pytestmark = needs_chromium


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_listening_office(tmp_path, capsys)


@pytest.fixture
def address(office: Office) -> Iterator[str]:
    """The page, at which an officer with the key `claire` is logged in."""
    key = read_public(office.folder / "keys" / "claire.pub")
    claire = Person(
        name="claire", roles=frozenset((Role.OFFICER,)), via="web", key=key, language="en", csrf="csrf-claire"
    )
    site = asked_by(office.folder, [claire])
    with serving(create_app(site)) as at:
        yield at
    site.store.close()


def found(person: BrowserContext, address: str) -> Page:
    """The page with what is kept, and everything decided."""
    page = person.new_page()
    page.goto(f"{address}/requests")
    page.fill("#caller", "06 12 34 56 78")
    page.keyboard.press("Enter")
    page.fill("#request", "2026-118")
    page.check("input[name=channel][value=both]")
    page.check("input[name=names][value=no]")
    return page


def made(page: Page) -> zipfile.ZipFile:
    with page.expect_download() as download:
        page.click("#make-with-sounds")
    expect(page.locator("#listen-state")).to_contain_text("access-2026-118.zip")
    assert download.value.suggested_filename == "access-2026-118.zip"
    file = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert file.testzip() is None
    return file


def sound_of(file: zipfile.ZipFile, row: Recording) -> tuple[NDArray[np.int16], int]:
    samples, rate = soundfile.read(io.BytesIO(file.read(f"sounds/{row.id}.wav")), dtype="int16")
    return samples, rate


def test_the_package_has_what_was_said(office: Office, address: str, person: BrowserContext) -> None:
    sound = noise(3.3)
    sealed = call(office, sound, caller=CALLER)
    clear = office.call(sound=stereo(), sample_rate=RATE)
    page = found(person, address)
    open_key(page, office)
    with made(page) as file:
        heard, rate = sound_of(file, sealed)
        assert rate == RATE and np.array_equal(heard, sound)
        assert np.array_equal(sound_of(file, clear)[0], stereo())
        data = json.loads(file.read("data.json"))
        assert {one["sound"] for one in data["calls"]} == {f"sounds/{row.id}.wav" for row in (sealed, clear)}
        assert f"sounds/{sealed.id}.wav" in file.read("letter.html").decode()
    store = office.archive.store
    for row in (sealed, clear):
        uses = store.accesses(row.id)
        assert [use.action for use in uses] == ["export", "answer"]
        assert {(use.purpose, use.reference, use.login, use.outcome) for use in uses} == {
            ("access_request", "2026-118", "claire", "done")
        }
    (copy,) = known_copies(store, sealed.id)
    assert (str(copy.path), copy.by, copy.exists) == (f"{sealed.id}.wav", "claire", True), "it is remembered"


def test_the_callers_side_alone_and_what_is_gone_is_told(
    office: Office, address: str, person: BrowserContext
) -> None:
    sound = noise(1.5)
    stays, goes = call(office, sound, caller=CALLER), call(office, noise(1), caller=CALLER)
    page = found(person, address)
    remove(office.archive, goes.id, goes.started_at)
    store = office.archive.store
    store.update_receipt(replace(store.receipt(goes.id), caller=CALLER))
    page.check("input[name=channel][value=caller]")
    open_key(page, office)
    with made(page) as file:
        heard, _ = sound_of(file, stays)
        assert np.array_equal(heard, sound[:, 0])
        assert f"sounds/{goes.id}.wav" not in file.namelist()
    expect(page.locator("#listen-fault")).to_contain_text("Without the sound of")


def test_nothing_is_copied_before_all_is_decided(
    office: Office, address: str, person: BrowserContext
) -> None:
    row = call(office, noise(1), caller=CALLER)
    page = found(person, address)
    page.fill("#request", "")
    page.click("#make-with-sounds")
    expect(page.locator("#listen-fault")).to_contain_text("under which reference")
    page.fill("#request", "2026-118")
    page.click("#make-with-sounds")
    expect(page.locator("#listen-fault")).to_contain_text("key file")
    page.focus("#reason")
    page.keyboard.press("Enter")
    assert page.url.endswith("/requests"), "the Enter key does neither of the two things"
    assert office.archive.store.accesses(row.id) == []
