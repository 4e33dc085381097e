"""The page as people use it: the real program, real browsers, real keys; and what the server never has."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect

from retention.records import Recording
from tests.peers.process import Child
from tests.sealing import PASSPHRASE
from tests.web.browser import chromium, driver, heard, needs_chromium, sounding
from tests.web.delivered import CODE, Service, begin, choose_key, log_in, open_key, posted
from tests.web.listening import at_the_end, noise, play, seek
from tests.web.logging_in import PASSWORD, Owner
from tests.web.searching import (
    Needles,
    in_files,
    in_memory,
    of_key,
    of_sound,
    of_words,
    open_files,
    renderers,
)

__all__ = ["chromium", "driver"]
pytestmark = [needs_chromium, pytest.mark.live]


@pytest.fixture
def service(tmp_path: Path) -> Service:
    made = Service(tmp_path)
    made.pair("claire")
    return made


# --- from the first day on ---


class Watched:
    """What a browser sends, and what it is given for a use."""

    def __init__(self, context: BrowserContext) -> None:
        self.sent: list[str] = []
        self.keys: list[str] = []
        context.on("request", lambda one: self.sent.append(f"{one.method} {one.url}\n{one.post_data or ''}"))

    def asked(self, *ends: str) -> list[str]:
        """Requests to addresses that end so."""
        return [one for one in self.sent if one.partition("\n")[0].partition("?")[0].endswith(ends)]


def test_from_a_one_time_code_to_what_was_said(tmp_path: Path, chromium: Browser) -> None:
    """The trace has all of it, and the server had neither sound nor key."""
    service, sound = Service(tmp_path), noise(4)
    service.pair("claire", by_command=True)
    row = service.recording(sound)
    needles = {**of_sound(sound), **of_key(service.identity("claire")), **of_words("passphrase", PASSPHRASE)}
    known = {name: needles[name] for name in ("both at 500", "private key")}
    assert in_memory(os.getpid(), known) == sorted(known)  # what is there is found
    with service.running() as server, service.person(chromium) as claire:
        watched = Watched(claire)
        page = _enrolled(service, claire)
        page.goto(service.url(row))
        choose_key(page, service)
        page.click("#key-open")
        expect(page.locator("#key-name")).to_contain_text("claire", timeout=60_000)  # 256 MiB of Argon2id
        _nothing_without_a_purpose(service, page, row, watched)

        play(page)
        assert _lost(service, server, row, needles) == []
        at_the_end(page)
        assert np.array_equal(sounding(heard(page)), sound)
        assert _lost(service, server, row, needles) == []
        assert len(watched.asked("/uses")) == 2 and watched.asked("/sound")

        assert np.array_equal(_downloaded(page), sound)
        assert _lost(service, server, row, needles) == []
        secret = [
            name for name, needle in needles.items() if needle.decode("latin-1") in "\n".join(watched.sent)
        ]
        assert secret == []
    told = service.told("show", row.id)["accesses"]
    uses = [(use["action"], use["outcome"], use["purpose"], use["login"], use["via"]) for use in told]
    assert sorted(uses) == [
        ("export", "done", "quality", "Claire", "web"),
        ("play", "done", "quality", "Claire", "web"),
        ("play", "refused", None, "Claire", "web"),
    ]
    service.cli("verify")


def _enrolled(service: Service, claire: BrowserContext) -> Page:
    """By what `user add` prints; then out and in again, by the digits that come next."""
    key = str(service.desk / "claire.pub")
    said = service.cli("user", "add", "Claire", "--role", "listener", "--key", key)
    code, page = CODE.search(said), claire.new_page()
    assert code and f"{service.origin}/enrol" in said
    totp = begin(page, f"{service.origin}/enrol", code[0], PASSWORD)
    page.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    log_in(page, service.origin, Owner("claire", totp), totp.at(int(time.time()) + 30))
    return page


def _nothing_without_a_purpose(service: Service, page: Page, row: Recording, watched: Watched) -> None:
    """Neither by the page nor by who asks in its place."""
    page.evaluate("document.getElementById('purpose').required = false")  # the browser's own check
    page.click("#play")
    expect(page.locator("#listen-fault")).to_have_text("Choose a purpose first.")
    assert watched.asked("/uses", "/sound") == []
    asked = """async (url) => {
        const token = document.querySelector("[name=csrf]").value;
        const headers = { "Content-Type": "application/json", "X-CSRF-Token": token };
        const answer = await fetch(url, { method: "POST", headers, body: "{}" });
        return [answer.status, Object.keys(await answer.json()).sort()];
    }"""
    refused = [403, ["detail", "status", "title", "type"]]
    assert page.evaluate(asked, f"/api/v1/recordings/{row.id}/uses") == refused


def _lost(service: Service, server: Child, row: Recording, needles: Needles) -> list[str]:
    """What of it is with the server: in its memory, its files, those it has open."""
    known = {"id": row.id.encode()}
    assert in_memory(server.pid, known) == ["id"]  # it is the right process, and can be searched
    said = {"log": server.tail(100_000).encode()}
    found = [f"log: {name}" for name, needle in needles.items() if needle in said["log"]]
    return (
        found
        + in_memory(server.pid, needles)
        + in_files([service.folder], needles)
        + open_files(server.pid, needles)
    )


def _downloaded(page: Page) -> Any:
    page.click("#export")
    with page.expect_download() as download:
        page.click("#export-copy")
    return soundfile.read(download.value.path(), dtype="int16")[0]


# --- four eyes ---


def test_four_eyes_are_two_browsers(service: Service, chromium: Browser) -> None:
    """Who asks may approve what others ask for, and never their own: hold, export for a court, release."""
    sound = noise(2)
    row = service.recording(sound)
    sam = service.account("Sam", "supervisor", "officer", key="claire")
    olga = service.account("Olga", "officer")
    with (
        service.running(),
        service.person(chromium, sam) as first,
        service.person(chromium, olga) as second,
    ):
        asking, deciding = first.pages[0], second.pages[0]
        _hold_asked_for(service, asking, row)
        _decided(service, asking, deciding)
        hold = service.told("show", row.id)["hold"]
        assert (hold["ground"], hold["reference"], hold["by"], hold["approved_by"]) == (
            *("criminal", "2026-41"),
            *("Sam", "Olga"),
        )
        (held,) = service.told("holds")
        assert (held["id"], held["hold"]) == (row.id, hold)

        _export_asked_for(service, asking, row)
        _decided(service, asking, deciding)
        asking.goto(service.url(row))
        _ready_to_export(service, asking)
        assert np.array_equal(_downloaded(asking), sound)
        _export_asked_for(service, asking, row)  # for one use it was
        deciding.goto(f"{service.origin}/holds")
        deciding.click("#refuse")

        asking.goto(service.url(row))
        asking.fill("#release-reason", "closed without charge")
        asking.click("#release")
        _decided(service, asking, deciding)
        assert service.told("show", row.id)["hold"] is None and service.told("holds") == []
    assert [(use.login, use.outcome, use.purpose) for use in service.trace("export")] == [
        ("Sam", "done", "criminal")
    ]
    released = [use for use in service.told("show", row.id)["accesses"] if use["action"] == "release"]
    assert [(use["login"], use["outcome"]) for use in released if use["outcome"] == "done"]
    service.cli("verify")


def _hold_asked_for(service: Service, page: Page, row: Recording) -> None:
    page.goto(service.url(row))
    page.select_option("#hold-ground", "criminal")
    page.fill("#hold-reference", "2026-41")
    page.fill("#hold-review", (datetime.now(UTC) + timedelta(days=60)).date().isoformat())
    page.click("#hold")


def _decided(service: Service, asking: Page, deciding: Page) -> None:
    """What waits is not decided by who asks, also past the page, and then by somebody else."""
    asking.goto(f"{service.origin}/holds")
    expect(asking.locator("main")).to_contain_text("You asked for it, so somebody else decides.")
    assert asking.locator("#approve").count() == 0
    card = asking.locator("article[id^=approval-]").first.get_attribute("id")
    assert card
    before = service.trace()
    posted(asking, f"/holds/{card.removeprefix('approval-')}/approve")
    refused = service.trace()[len(before) :]
    assert {(use.outcome, use.login) for use in refused} == {("refused", "Sam")}
    deciding.goto(f"{service.origin}/holds")
    deciding.click("#approve")
    expect(deciding.locator("#approve")).to_have_count(0)


def _ready_to_export(service: Service, page: Page) -> None:
    choose_key(page, service)
    page.select_option("#purpose", "criminal")
    page.fill("#reference", "2026-41")


def _export_asked_for(service: Service, page: Page, row: Recording) -> None:
    page.goto(service.url(row))
    _ready_to_export(service, page)
    page.click("#export")
    page.click("#export-copy")
    expect(page.locator("#listen-state")).to_contain_text("Somebody else must approve it")


# --- what ends while somebody listens ---


@pytest.mark.parametrize("how", ["logged out in another tab", "removed", "restarted"])
def test_a_session_that_has_ended_takes_key_and_sound_along(
    service: Service, chromium: Browser, how: str
) -> None:
    row, owner = service.recording(noise(240)), service.account("Claire", "listener", key="claire")
    key = {"private key": of_key(service.identity("claire"))["private key"]}
    with service.running() as server, service.person(chromium, owner) as claire:
        page = claire.new_page()
        page.goto(service.url(row))
        open_key(page, service)
        play(page)
        assert [pid for pid in renderers() if in_memory(pid, key)]  # which has it as long as it is open
        match how:
            case "logged out in another tab":
                claire.pages[0].get_by_role("button", name="Log out").click()
                claire.pages[0].wait_for_url("**/login")
            case "removed":
                service.cli("user", "remove", "Claire")
            case "restarted":
                server.stop()
                seek(page, 180)
                expect(page.locator("#listen-fault")).to_contain_text("does not answer")
        if how == "restarted":
            with service.running():
                _is_over(page, key)
        else:
            _is_over(page, key)
            page.reload()
            page.wait_for_url("**/login?next=/recordings/*")
    (use,) = service.trace("play")
    assert (use.login, use.via, use.outcome) == ("Claire", "web", "done")


def _is_over(page: Page, key: Needles) -> None:
    seek(page, 210)
    expect(page.locator("#listen-fault")).to_contain_text("session has ended")
    expect(page.locator("#key-closed")).to_be_visible()
    expect(page.locator("#listening")).to_be_hidden()
    assert page.evaluate("import('/static/key.js').then(({ opener }) => opener.open)") is None
    assert [pid for pid in renderers() if in_memory(pid, key)] == []


def test_nobody_needs_to_ask_for_a_session_to_have_ended(service: Service, chromium: Browser) -> None:
    """All of it is in the browser, which nobody touches: within a minute the key is gone, and the sound."""
    row, owner = service.recording(noise(3)), service.account("Claire", "listener", key="claire")
    with service.running(), service.person(chromium, owner) as claire:
        page = claire.new_page()
        page.clock.install()
        page.goto(service.url(row))
        open_key(page, service)
        play(page)
        at_the_end(page)
        page.clock.run_for(61_000)
        with page.expect_response("**/api/v1/events") as told:
            page.clock.run_for(60_000)
        assert told.value.status == 200
        expect(page.locator("#key-opened")).to_be_visible()
        service.cli("user", "remove", "Claire")
        page.clock.run_for(60_000)
        expect(page.locator("#listen-fault")).to_contain_text("session has ended")
        expect(page.locator("#key-closed")).to_be_visible()
        expect(page.locator("#listening")).to_be_hidden()


def test_what_is_purged_ends_and_what_is_held_first_stays(service: Service, chromium: Browser) -> None:
    """Three tabs: one recording is deleted, one purged, and one of the purged held in time."""
    rows = [service.recording(noise(240, seed)) for seed in (1, 2, 3)]
    owner = service.account("Claire", "listener", key="claire")
    with service.running(), service.person(chromium, owner) as claire:
        tabs = [claire.new_page() for _ in rows]
        for tab, row in zip(tabs, rows, strict=True):
            tab.goto(service.url(row))
            open_key(tab, service)
            play(tab)
        deleted, purged, held = rows
        service.cli("delete", deleted.id, "--reason", "2026-118", "--by", "Olga")
        seek(tabs[0], 200)
        expect(tabs[0].locator("#listen-fault")).to_contain_text("removed meanwhile")
        review = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
        words = ("--ground", "criminal", "--reference", "2026-41", "--by", "Sam", "--approved-by", "Olga")
        service.cli("hold", held.id, *words, "--review", review)
        later = (datetime.now(UTC) + timedelta(days=400)).isoformat()
        assert purged.id in service.cli("purge", "--now", later, "--force", "--by", "Olga")
        seek(tabs[1], 200)
        expect(tabs[1].locator("#listen-fault")).to_contain_text("removed meanwhile")
        for tab in tabs[:2]:
            expect(tab.locator("#listening")).to_be_hidden()
            tab.click("#play")
            expect(tab.locator("#listen-fault")).not_to_be_empty()
            expect(tab.locator("#play")).to_have_text("Play")
        seek(tabs[2], 237)
        at_the_end(tabs[2])
        assert np.array_equal(sounding(heard(tabs[2]))[-8000:], noise(240, 3)[-8000:])
    files = {path.name.partition(".")[0] for path in (service.folder / "recordings").rglob("*.sealed")}
    assert files == {held.id} and {path.stem for path in (service.folder / "vault").iterdir()} == {held.id}
    service.cli("verify")
