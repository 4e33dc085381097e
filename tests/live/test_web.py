"""The page as people use it: the real program, real browsers, real keys; and what the server never has.

Beside the agent, killed, and shown by another site.
"""

import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, BrowserContext, Page, expect

from retention.accounts.file import FileAccounts
from retention.records import Recording
from retention.vault import new_pair, read_public
from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers.agent import RunningAgent
from tests.peers.process import Child, free_ports
from tests.sealing import PASSPHRASE, QUICK
from tests.web.browser import BY_TRACK, chromium, driver, heard, needs_chromium, somebody, sounding
from tests.web.delivered import (
    CODE,
    Needles,
    Service,
    begin,
    choose_key,
    in_files,
    in_memory,
    log_in,
    of_key,
    of_sound,
    of_words,
    open_files,
    open_key,
    renderers,
)
from tests.web.listening import at_the_end, noise, play, seek, unfold
from tests.web.logging_in import PASSWORD, Owner, enrolled
from tests.web.served import READY

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
        expect(page.locator("#key-name")).to_contain_text("claire")  # 256 MiB of Argon2id
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


# --- beside the agent ---


class Beside:
    """`sipagent run --web`, whose calls are sealed to Ann."""

    def __init__(self, agent: RunningAgent, desk: Path) -> None:
        self.agent, self.desk = agent, desk
        self.origin = f"http://{agent.tables['web']['listen']}"
        agent.start("--web")
        agent.child.wait_line(lambda line: READY in line, 30, "page")

    @property
    def page(self) -> int:
        """The page's process."""
        found = [
            int(pid)
            for pid in Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
            if b"web\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        (pid,) = found
        return pid

    def account(self) -> Owner:
        with FileAccounts(self.agent.directory / "accounts.db") as accounts:
            return enrolled(accounts, "Ann", "listener", key=read_public(self.desk / "ann.pub"))


@pytest.fixture
def beside(agent_factory: AgentFactory, tmp_path: Path) -> Beside:
    public, _ = new_pair(tmp_path / "desk" / "ann", PASSPHRASE, "Ann", strength=QUICK)
    web = {"listen": f"127.0.0.1:{free_ports(1)}"}
    agent = agent_factory(start=False, recording={"recipients": ["keys/ann.pub"]}, web=web)
    (agent.directory / "keys").mkdir()
    (agent.directory / "keys" / "ann.pub").write_bytes(public.read_bytes())
    return Beside(agent, tmp_path / "desk")


def test_a_call_is_heard_on_the_page_and_outlives_it(
    beside: Beside, caller_phone: Phone, operator_phone: Phone, chromium: Browser
) -> None:
    """kill -9 of the page in the midst of a call costs nothing of it; SIGTERM ends both."""
    agent = beside.agent
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    (first,) = agent.wait_recordings()
    with somebody(chromium, capture=BY_TRACK) as ann:
        page = ann.new_page()
        log_in(page, beside.origin, beside.account())
        page.goto(f"{beside.origin}/recordings/{first['id']}")
        unfold(page)
        page.set_input_files("#key-file", beside.desk / "ann.key")
        page.fill("#passphrase", PASSPHRASE)
        play(page)
        at_the_end(page)
        sound = heard(page)
        for side, own, other in ((0, CALLER_HZ, OPERATOR_HZ), (1, OPERATOR_HZ, CALLER_HZ)):
            loud = sound[:, side][sound[:, side] != 0]
            assert calls.strength(loud, own) > 0.1 > 10 * calls.strength(loud, other)
        page.goto("about:blank")
    operator_phone.skip_calls()
    bridge = calls.connect(agent, caller_phone, operator_phone)
    killed = beside.page
    os.kill(killed, signal.SIGKILL)
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(CALLER_HZ)
    bridge.hang_up()
    assert len(agent.wait_recordings(2)) == 2
    assert agent.stop() == 0


# --- kill -9 ---


def test_no_sound_without_its_row_whenever_it_is_killed(service: Service) -> None:
    """Several times in the midst of uses that are asked for: what was given is in the chain, which holds."""
    row = service.recording(noise(2))
    key = str(service.desk / "claire.pub")
    said = service.cli("token", "add", "robot", "--role", "listener", "--key", key)
    token = next(word for line in said.splitlines() for word in line.split() if len(word) > 40)
    chance, given, rounds = random.Random(1), [], 8
    for _ in range(rounds):
        with service.running() as server, ThreadPoolExecutor(4) as threads:
            enough = threading.Semaphore(0)
            asking = [threads.submit(_uses, service, row, token, enough) for _ in range(4)]
            for _ in range(chance.randrange(1, 12)):
                assert enough.acquire(timeout=30)
            server.signal(signal.SIGKILL)
            server.wait()
            given += [use for one in asking for use in one.result()]
    kept = {number: use for number, use in enumerate(service.trace(), 1)}
    assert len(given) >= rounds
    for use in given:
        trace = kept[use["id"]]
        assert (trace.action, trace.recording_id, trace.purpose, trace.login, trace.via, trace.outcome) == (
            *("play", row.id, "quality"),
            *("robot", "api", "done"),
        )
    service.cli("verify")


def _uses(service: Service, row: Recording, token: str, enough: threading.Semaphore) -> list[Any]:
    """Ask for uses until nobody answers; those whose key or sound came."""
    given = []
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=service.origin, headers=headers, timeout=20) as client:
        try:
            while True:
                use = client.post(f"/api/v1/recordings/{row.id}/uses", json={"purpose": "quality"})
                assert use.status_code == HTTPStatus.CREATED, use.text
                given.append(use.json())
                enough.release()
                assert client.get(given[-1]["sound"]).content
        except httpx.TransportError:
            enough.release()
            return given


# --- another site ---

EVIL = """<!doctype html><title>evil</title><iframe src="{origin}/recordings"></iframe>
<form method="post" action="{origin}/recordings/{id}/hold"><input name="ground" value="criminal">
<input name="reference" value="evil"><input name="review" value="2099-01-01">
<button id="go">go</button></form>"""
FORGED = """async ([uses, list]) => {
    const body = '{"purpose":"quality"}', told = [];
    for (const [url, how] of [
        [uses, { method: "POST", body, mode: "no-cors", headers: { "Content-Type": "text/plain" } }],
        [uses, { method: "POST", body, headers: { "Content-Type": "application/json" } }],
        [list, {}],
        [list, { mode: "no-cors" }],
    ]) {
        const answer = fetch(url, { credentials: "include", ...how });
        told.push(await answer.then(async (one) => `${one.status} ${await one.text()}`, () => "no"));
    }
    return told;
}"""


@contextmanager
def site(shown: str) -> Iterator[str]:
    """Another one, of one page."""

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(shown.encode())

        def log_message(self, *said: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Evil) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_acts_for_nobody_and_reads_and_frames_nothing(
    service: Service, chromium: Browser, host: str
) -> None:
    """On another port of the same host, whose requests a browser gives our cookies; and on another host."""
    row = service.recording(noise(1))
    sam = service.account("Sam", "supervisor", key="claire")
    shown = EVIL.format(origin=service.origin, id=row.id)

    with service.running(), site(shown) as elsewhere, chromium.new_context(locale="en") as context:
        page = context.new_page()
        log_in(page, service.origin, sam)
        page.goto(elsewhere.replace("127.0.0.1", host))
        (frame,) = page.frames[1:]
        frame.wait_for_url(re.compile("^chrome-error:"), wait_until="commit")
        address = f"{service.origin}/api/v1/recordings"
        told = page.evaluate(FORGED, [f"{address}/{row.id}/uses", address])
        assert [one for one in told if one not in ("no", "0 ")] == []
        with page.expect_navigation():
            page.click("#go")
        if host == "localhost":
            assert page.url.startswith(f"{service.origin}/login?next=")
        else:
            assert page.url == f"{service.origin}/recordings/{row.id}/hold"
            expect(page.locator("main")).to_contain_text("not sent by a page of this session")
        assert page.goto(service.origin) and "Sam" in page.locator(".who").inner_text()
    assert service.trace("play", "hold", "approval") == []
    tried = {(use.login, use.outcome) for use in service.trace("right")}
    assert tried == (set() if host == "localhost" else {("Sam", "refused")})
    assert service.told("holds") == []
