"""The page's process: beside the agent, killed, by TLS, behind a proxy; and those who mean harm."""

import os
import random
import re
import select
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from playwright.sync_api import Browser, Page, Response, expect

from retention.accounts.file import FileAccounts
from retention.records import Recording
from retention.vault import new_pair, read_public
from sipagent.softphone.phone import Phone
from sipagent.web.serving import CONNECTIONS
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers.agent import RunningAgent
from tests.peers.process import free_ports
from tests.sealing import PASSPHRASE, QUICK
from tests.web.browser import BY_TRACK, chromium, driver, heard, needs_chromium, somebody
from tests.web.delivered import Service, log_in
from tests.web.listening import at_the_end, noise, play
from tests.web.logging_in import Owner, enrolled, field_of
from tests.web.served import READY, certificate

__all__ = ["chromium", "driver"]
pytestmark = [needs_chromium, pytest.mark.live]


@pytest.fixture
def service(tmp_path: Path) -> Service:
    made = Service(tmp_path)
    made.pair("claire")
    return made


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


def wait_end(pid: int) -> None:
    """Until a process that is no child of ours has ended."""
    with suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        try:
            assert select.select([watched], [], [], 20)[0], f"{pid} goes on"
        finally:
            os.close(watched)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_page_ends_with_its_agent(beside: Beside, number: signal.Signals) -> None:
    page = beside.page
    beside.agent.child.signal(number)
    code = beside.agent.child.wait(20)
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    wait_end(page)


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


# --- by which way ---


def test_by_its_own_certificate(tmp_path: Path, chromium: Browser) -> None:
    """Cookies of this host alone, https from now on; a certificate that is renewed costs no session."""
    service = Service(tmp_path, tls=True)
    owner = service.account("Claire", "listener")
    with service.running() as server, service.person(chromium, ignore_https_errors=True) as claire:
        page = claire.new_page()
        log_in(page, service.origin, owner)
        (cookie,) = claire.cookies()
        assert cookie.get("name") == "__Host-sipagent" and (cookie.get("domain"), cookie.get("path")) == (
            *("127.0.0.1", "/"),
        )
        assert (cookie.get("secure"), cookie.get("httpOnly"), cookie.get("sameSite")) == (
            True,
            True,
            "Strict",
        )
        first = _answer(page, f"{service.origin}/recordings")
        assert first.headers["strict-transport-security"] == "max-age=31536000"
        certificate(service.folder)
        server.signal(signal.SIGHUP)
        server.wait_line(lambda line: "certificate_read" in line)
        with httpx.Client(verify=service.context) as client:  # believes the new one alone
            assert client.get(f"{service.origin}/login").status_code == HTTPStatus.OK
        assert _answer(page, f"{service.origin}/account").status == HTTPStatus.OK


def _answer(page: Page, address: str) -> Response:
    answer = page.goto(address)
    assert answer is not None
    return answer


def test_behind_a_proxy_its_word_counts_and_nobody_else_s(tmp_path: Path, chromium: Browser) -> None:
    service = Service(tmp_path, web='trusted_proxies = ["127.0.0.2"]\n')
    through, direct = service.account("Claire", "listener"), service.account("Paul", "listener")
    with service.running(), proxy(service.port, "127.0.0.2", "203.0.113.5") as address:
        with service.person(chromium, extra_http_headers={"X-Forwarded-For": "6.6.6.6"}) as claire:
            page = claire.new_page()
            log_in(page, address, through)
            expect(page.locator(".who")).to_contain_text("Claire")
        with httpx.Client(base_url=service.origin, headers={"X-Forwarded-For": "6.6.6.6"}) as paul:
            form = {"csrf": field_of(paul.get("/login").text, "csrf"), "name": "Paul"}
            form |= {"password": direct.password, "digits": direct.totp.now()}
            assert paul.post("/login", data=form).status_code == HTTPStatus.SEE_OTHER
    told = [(use.login, use.detail) for use in service.trace("login")]
    assert told == [("Claire", "from 203.0.113.5"), ("Paul", "from 127.0.0.1")]


@contextmanager
def proxy(port: int, own: str, asks: str) -> Iterator[str]:
    """Passes requests on from its `own` address, and says that `asks` is who asks."""

    class Passing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            left_out = ("x-forwarded-for", "connection", "accept-encoding")
            headers = [(name, value) for name, value in self.headers.items() if name.lower() not in left_out]
            before = self.headers.get("x-forwarded-for")
            headers += [("X-Forwarded-For", f"{before}, {asks}" if before else asks), ("Connection", "close")]
            asked = f"{self.command} {self.path} HTTP/1.1\r\n"
            asked += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
            with socket.create_connection(("127.0.0.1", port), source_address=(own, 0)) as behind:
                behind.sendall(asked.encode("latin-1") + self.rfile.read(length))
                while piece := behind.recv(1 << 16):
                    with suppress(BrokenPipeError, ConnectionResetError):  # the browser has left
                        self.wfile.write(piece)
            self.close_connection = True

        do_POST = do_GET

        def log_message(self, *said: Any) -> None:
            pass

    with _served(Passing) as address:
        yield address


@contextmanager
def _served(answers: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# --- those who mean harm ---


def test_what_somebody_else_has_planted_is_no_session_of_hers(service: Service, chromium: Browser) -> None:
    """Eve's cookies in Claire's browser, those of a session and of who has none: both end with her login."""
    claire, eve = service.account("Claire", "listener"), service.account("Eve", "listener")
    with (
        service.running(),
        service.person(chromium) as evil,
        service.person(chromium) as victim,
    ):
        there = evil.new_page()
        there.goto(f"{service.origin}/login")
        planted = evil.cookies()
        log_in(there, service.origin, eve)
        planted += evil.cookies()
        assert {one.get("name") for one in planted} == {"sipagent", "sipagent-form"}
        victim.add_cookies([{**one} for one in planted])  # type: ignore[typeddict-item]
        page = victim.new_page()
        page.goto(service.origin)
        expect(page.locator(".who")).to_contain_text("Eve")  # it says whose it is
        page.get_by_role("button", name="Log out").click()
        log_in(page, service.origin, claire)
        expect(page.locator(".who")).to_contain_text("Claire")
        values = {one.get("value") for one in planted}
        assert values.isdisjoint(one.get("value") for one in victim.cookies())
        evil.add_cookies([{**one} for one in planted])  # type: ignore[typeddict-item]
        there.goto(f"{service.origin}/account")
        there.wait_for_url("**/login?next=/account")


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


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_another_site_acts_for_nobody_and_reads_and_frames_nothing(
    service: Service, chromium: Browser, host: str
) -> None:
    """On another port of the same host, whose requests a browser gives our cookies; and on another host."""
    row = service.recording(noise(1))
    sam = service.account("Sam", "supervisor", key="claire")
    shown = EVIL.format(origin=service.origin, id=row.id)

    class Evil(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(shown.encode())

        def log_message(self, *said: Any) -> None:
            pass

    with service.running(), _served(Evil) as elsewhere, chromium.new_context(locale="en") as context:
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


def test_those_who_say_nothing_or_little_stop_nobody(service: Service) -> None:
    """Others are answered, also when all places are taken; after their time all are let go."""
    claire = service.account("Claire", "listener")
    with service.running() as server, httpx.Client(base_url=service.origin, timeout=5) as client:
        slow: list[socket.socket] = []
        silent = [_begun(service, b"") for _ in range(CONNECTIONS - 60)]
        slow += [
            _begun(service, b"POST /login HTTP/1.1\r\nHost: %s\r\nContent-Length: 9000\r\n\r\ncsrf=")
            for _ in range(40)
        ]
        form = {"csrf": field_of(client.get("/login").text, "csrf"), "name": "Claire"}
        form |= {"password": claire.password, "digits": claire.totp.now()}
        assert client.post("/login", data=form).status_code == HTTPStatus.SEE_OTHER
        assert client.get("/account").status_code == HTTPStatus.OK
        silent += [_begun(service, b"") for _ in range(60)]
        assert httpx.get(f"{service.origin}/login", timeout=5).status_code == HTTPStatus.OK
        for one in silent:
            assert _rest(one) == b""  # after HEAD_S
        assert httpx.get(f"{service.origin}/login", timeout=5).status_code == HTTPStatus.OK
        assert {_rest(one).partition(b"\r\n")[0].split()[1] for one in slow} == {b"408"}  # after WITHIN_S
        assert client.get("/account").status_code == HTTPStatus.OK
        assert "Traceback" not in server.tail(10_000)


def _begun(service: Service, said: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=30)
    connection.sendall(said.replace(b"%s", f"127.0.0.1:{service.port}".encode()))
    return connection


def _rest(connection: socket.socket) -> bytes:
    received = b""
    with connection, suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            received += piece
    return received
