"""`sipagent web`, a process of its own: how it begins, answers and ends."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from retention.accounts.accounts import Accounts
from retention.accounts.file import FileAccounts
from retention.sqlite import Store
from sipagent.cli.agent import NICER
from sipagent.config.load import ConfigError, load
from sipagent.web.serving import tls_context
from tests.notified import Notified
from tests.peers.agent import SEARCH_PATH, RunningAgent
from tests.peers.process import Child, free_ports
from tests.tapping import PATIENCE_S, wait_for
from tests.web.logging_in import PASSWORD, enrolled, field_of
from tests.web.served import READY, Served, certificate

CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}")
pytestmark = pytest.mark.live


def browser(page: Served) -> httpx.Client:
    """One that believes the page's certificate."""
    verify = page.context if page.scheme == "https" else True
    return httpx.Client(base_url=page.origin, verify=verify, headers={"accept-language": "en"})


def accounts(page: Served) -> Accounts:
    return FileAccounts(page.folder / "accounts.db")


def log_in(client: httpx.Client, name: str, password: str, digits: str) -> httpx.Response:
    form = {"csrf": field_of(client.get("/login").text, "csrf"), "name": name}
    return client.post("/login", data=form | {"password": password, "digits": digits})


def test_it_says_where_it_is_and_offers_the_first_account(tmp_path: Path) -> None:
    """Store and accounts exist before anybody asks; it is less urgent than calls."""
    page, systemd = Served(tmp_path), Notified(tmp_path / "notify")
    with page.running(NOTIFY_SOCKET=systemd.address) as child, browser(page) as client:
        systemd.wait_for("READY=1")
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == max(NICER, own)
        with Store(tmp_path / "retention.db") as store:
            assert store.accesses() == [] and (tmp_path / "accounts.db").exists()
        said = child.wait_line(lambda line: "There is no account yet" in line)
        assert f"{page.origin}/first makes the first one, by the code " in said
        code = CODE.search(said)
        assert code
        form = {"csrf": field_of(client.get("/first").text, "csrf"), "code": code[0], "name": "Anne"}
        assert "Anne will be an administrator" in client.post("/first", data=form).text
        with accounts(page) as there:
            enrolled(there, "Claire", "listener")
        assert client.get("/first").status_code == 404
    with page.running() as child:
        assert "There is no account" not in child.tail()


@pytest.mark.parametrize("where", ["beyond this machine", "into a log that is kept"])
def test_no_code_for_the_first_account_is_told_to_others(tmp_path: Path, where: str) -> None:
    """A command makes it, in its place."""
    page, log, environment = Served(tmp_path), tmp_path / "journal", {}
    if where.startswith("beyond"):
        page.file.write_text(page.file.read_text() + 'trusted_proxies = ["192.0.2.10"]\n')
    with log.open("w+") as told:
        if where.startswith("into"):
            found = os.fstat(told.fileno())
            environment["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
        environment |= {**os.environ, "PYTHONPATH": SEARCH_PATH, "LANGUAGE": "C"}
        with subprocess.Popen(page.command(), stderr=told, cwd=tmp_path, env=environment) as child:
            wait_for(lambda: "account" in log.read_text() or child.poll() is not None)
            child.terminate()
            assert child.wait(20) == 0
    assert "`sipagent user add NAME --role administrator`" in log.read_text()
    assert not CODE.search(log.read_text())


def test_it_ends_cleanly_with_a_stream_open_and_tells_nothing_of_itself(tmp_path: Path) -> None:
    page = Served(tmp_path)
    with accounts(page) as there:
        claire = enrolled(there, "Claire", "listener")
    with page.running() as child, browser(page) as client:
        with socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE_S) as giant:
            giant.sendall(b"GET /login HTTP/1.1\r\nX: " + b"x" * 100_000)
            with suppress(ConnectionResetError):
                assert giant.recv(1 << 16)[:13] in (b"", b"HTTP/1.1 400 ")
        answer = log_in(client, "Claire", PASSWORD, claire.totp.now())
        assert answer.status_code == 303 and "server" not in answer.headers and "date" not in answer.headers
        with client.stream("GET", "/api/v1/events") as stream:
            assert "now" in next(text for text in stream.iter_text() if "event:" in text)
            child.signal(signal.SIGTERM)
            assert child.wait() == 0
    assert "Traceback" not in child.tail(1000) and "failed" not in child.tail(1000)


def test_nothing_that_was_typed_is_in_the_log_or_on_the_disk(tmp_path: Path) -> None:
    page = Served(tmp_path)
    with accounts(page) as there:
        claire = enrolled(there, "Claire", "listener")
        _, token = there.add_token("robot", ["listener"])
    digits = claire.totp.now()
    with page.running() as child, browser(page) as client:
        assert log_in(client, "Claire", "wrong " + PASSWORD, digits).status_code == 403
        assert log_in(client, "Claire", PASSWORD, digits).status_code == 303
        for shown in (token, token + "x"):
            client.get("/api/v1/recordings", headers={"authorization": f"Bearer {shown}"})
        client.get(f"/nowhere/{token}")
        cookie = client.cookies["sipagent"]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in (PASSWORD, token, cookie, f'"{digits}"'):
        assert secret not in child.tail(10_000)
        assert not [content for content in written if secret.encode() in content]
    assert (tmp_path / "accounts.db").stat().st_mode & 0o777 == 0o600


def served_certificate(page: Served) -> bytes | None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", page.port)) as plain,
        context.wrap_socket(plain) as connection,
    ):
        return connection.getpeercert(binary_form=True)


def test_by_its_own_certificate_which_it_reads_anew_and_not_by_old_versions(tmp_path: Path) -> None:
    page = Served(tmp_path, tls=True)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with page.running() as child:
        with socket.create_connection(("127.0.0.1", page.port)) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain)
        with pytest.raises((http.client.HTTPException, OSError)):
            urllib.request.urlopen(f"http://127.0.0.1:{page.port}/login", timeout=PATIENCE_S)
        with browser(page) as client:
            answer = client.get("/login")
            assert answer.headers["strict-transport-security"]
            cookie = answer.headers["set-cookie"]
            assert "__Host-sipagent-form" in cookie and "Secure" in cookie
        first = served_certificate(page)
        (tmp_path / "web.pem").write_text("not a certificate")
        child.signal(signal.SIGHUP)
        child.wait_line(lambda line: "certificate_refused" in line)
        assert served_certificate(page) == first
        certificate(tmp_path)
        child.signal(signal.SIGHUP)
        child.wait_line(lambda line: "certificate_read" in line)
        assert served_certificate(page) != first


def test_a_certificate_that_is_of_no_use_is_one_line(tmp_path: Path) -> None:
    page, not_of = Served(tmp_path, tls=True), r"is no certificate, or not that of .*web.key \("
    pem, key = tmp_path / "web.pem", tmp_path / "web.key"
    good, own = pem.read_bytes(), key.read_bytes()
    _, other = certificate(tmp_path, "other")
    locked = f"openssl pkey -in {key} -aes256 -passout pass:x -out {tmp_path / 'locked'}"
    subprocess.run(locked.split(), check=True, capture_output=True)
    no_file, passphrase = (
        "No such file or directory; accepted: a PEM file",
        "has a passphrase, and nobody is there",
    )
    for of_pem, of_key, problem in (
        (None, own, f"web.certificate: .*web.pem: {no_file}"),
        (good, None, f"web.private_key: .*web.key: {no_file}"),
        (b"text", own, f"web.certificate: .*web.pem: {not_of}"),
        (good, other.read_bytes(), f"web.certificate: .*web.pem: {not_of}"),
        (good, (tmp_path / "locked").read_bytes(), f"web.private_key: .*web.key: {passphrase}"),
    ):
        for path, content in ((pem, of_pem), (key, of_key)):
            path.unlink(missing_ok=True)
            if content is not None:
                path.write_bytes(content)
        with pytest.raises(ConfigError, match=problem):
            tls_context(load(page.file))


def ended(page: Served, *words: str) -> tuple[int, str]:
    child = Child(page.command(*words), page.folder, env={"LANGUAGE": "C", "PYTHONPATH": SEARCH_PATH})
    return child.wait(30), child.tail()


def test_a_port_that_is_taken_or_no_page_at_all_is_one_line(tmp_path: Path) -> None:
    page = Served(tmp_path)
    with socket.create_server(("127.0.0.1", page.port)):
        assert ended(page) == (1, f"sipagent: web.listen: 127.0.0.1:{page.port}: Address already in use")
    page.file.write_text(page.file.read_text().partition("[web]")[0])
    for words in (("web",), ("run", "--web")):
        code, said = ended(page, *words)
        assert code == 1 and said.startswith("sipagent: web.listen is absent, so there is no page; accepted")


@pytest.fixture
def beside(tmp_path: Path) -> Iterator[tuple[RunningAgent, int]]:
    """An agent that runs with its page, and the page's port."""
    port = free_ports(1)
    tables: dict[str, dict[str, Any]] = {
        "operators": {"extensions": ["sip:201@127.0.0.1:5070"]},
        "web": {"listen": f"127.0.0.1:{port}"},
    }
    agent = RunningAgent(tmp_path / "agent", tables)
    agent.start("--web")
    agent.child.wait_line(lambda line: READY in line, 30)
    yield agent, port


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_run_has_it_beside_it_and_ends_it(beside: tuple[RunningAgent, int]) -> None:
    agent, port = beside
    assert urllib.request.urlopen(f"http://127.0.0.1:{port}/login", timeout=PATIENCE_S).status == 200
    agent.close()
    assert not _answers(port)


def test_a_page_whose_agent_was_killed_ends_too(beside: tuple[RunningAgent, int]) -> None:
    agent, port = beside
    agent.child.signal(signal.SIGKILL)
    agent.child.wait()
    wait_for(lambda: not _answers(port))
