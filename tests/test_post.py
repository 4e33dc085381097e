"""Strangers that are slow, talkative, elsewhere, or no HTTP server at all."""

import re
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from retention import post as post_module
from retention.post import Exchange, Fence, NoAnswer, is_inside, is_public, post
from tests.peers.receiver import receiving
from tests.peers.tls import certified
from tests.peers.tsa import Answer, Authority

LIMIT = 1000


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the test ends: whoever holds an answer back until then lets go."""
    over = threading.Event()
    yield over
    over.set()


def none(url: str) -> str:
    with pytest.raises(NoAnswer) as said:
        post(url, b"question", "text/plain", LIMIT)
    assert str(said.value).startswith(f"{url}: ") and str(said.value).isprintable()
    return str(said.value).removeprefix(f"{url}: ")


def test_an_answer_has_a_limit(tsa: Authority) -> None:
    tsa.answer = lambda query: Answer(query * 2)
    assert post(tsa.url, b"question", "text/plain", LIMIT) == b"questionquestion"
    assert tsa.queries == [b"question"]
    assert (tsa.headers["Content-Type"], tsa.headers["User-Agent"]) == ("text/plain", "sipagent")
    tsa.answer = lambda query: Answer(b"x" * LIMIT)
    assert len(post(tsa.url, b"", "text/plain", LIMIT)) == LIMIT
    tsa.answer = lambda query: Answer(b"x" * (LIMIT + 1), length=1 << 40)
    assert none(tsa.url) == "answers with more than 1000 bytes"


@pytest.mark.parametrize("status", [301, 303, 308])
def test_a_redirect_is_not_followed(tsa: Authority, status: int) -> None:
    target = f"{tsa.url}/elsewhere"
    tsa.answer = lambda query: Answer(status=status, headers={"Location": target})
    assert none(tsa.url) == f"HTTP {status}, a redirect to {target}, which is not followed"
    tsa.answer = lambda query: Answer(status=status, headers={"Location": "\x1b[2J" + "x" * 500})
    assert none(tsa.url).startswith(rf"HTTP {status}, a redirect to \x1b[2Jxxx")
    tsa.answer = lambda query: Answer(b"no", status=503)
    assert none(tsa.url) == "HTTP 503"
    assert len(tsa.queries) == 3


def test_an_answer_that_does_not_come_or_never_ends(
    tsa: Authority, over: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(query: bytes) -> Answer:
        over.wait()
        return Answer(b"too late")

    with monkeypatch.context() as hurried:
        hurried.setattr(post_module, "SILENCE_S", 0.05)
        tsa.answer = silent
        assert none(tsa.url) == "no answer within 0.05 s"
    monkeypatch.setattr(post_module, "WHOLE_S", 0.2)
    tsa.answer = lambda query: Answer(b"begun and", before_end=over.wait)
    assert none(tsa.url) == "no whole answer within 0.2 s"


def test_nobody_there_no_tls_and_no_name(tsa: Authority) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        assert none(f"http://127.0.0.1:{taken.getsockname()[1]}/") == "Connection refused"
    assert "SSL" in none(tsa.url.replace("http:", "https:")) and tsa.queries == []
    assert "label" in none("http://tsa..example.net/")


def test_no_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(b"SSH-2.0-\x1b[2J\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert none(f"http://127.0.0.1:{server.getsockname()[1]}/") == r"no HTTP: SSH-2.0-\x1b[2J"
        thread.join()


# --- within a fence ---


@pytest.mark.parametrize(("addresses", "public", "inside"), [
    ("9.9.9.9 2a00:1450:4001::1 2002:909:909::1 ::ffff:9.9.9.9 64:ff9b::909:909", True, False),
    ("127.0.0.1 10.1.2.3 172.16.0.1 192.168.1.1 100.64.0.1 ::1 fd00::1", False, True),
    ("::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::1 2002:7f00:1::", False, True),
    ("0.0.0.0 :: 224.0.0.1 ff02::1 169.254.169.254 fe80::1 255.255.255.255 240.0.0.1", False, False),
    ("::ffff:0.0.0.0 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe:: 2002:e000:1::", False, False),
    ("64:ff9b:1::a00:1 fec0::1 ::7f00:1", False, False),
])  # fmt: skip
def test_an_address_is_what_it_stands_for(addresses: str, public: bool, inside: bool) -> None:
    for one in addresses.split():
        address = ip_address(one)
        assert (is_public(address), is_inside(address)) == (public, inside), one
        allowed = [(within, tls) for within in (False, True) for tls in (False, True)
                   if Fence(within).fault(address, tls=tls) is None]  # fmt: skip
        assert allowed == [(False, True), (True, True)] * public + [(True, False), (True, True)] * inside, one


NAME = "crm.example.net"


class NameServer:
    """Gives each time the next answer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        self.left = list(answers)
        monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, name: str, port: int, **_: object) -> list[object]:
        assert name == NAME
        found = self.left.pop(0).split()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]


def told(url: str, fence: Fence, patience_s: float = 20.0) -> None:
    Exchange(url, 0, {"Webhook-Id": "a"}, b"event", fence).answer(patience_s)


def refused(url: str, fence: Fence, patience_s: float = 20.0) -> str:
    with pytest.raises(NoAnswer) as said:
        told(url, fence, patience_s)
    return str(said.value.problem)


def test_a_name_is_looked_up_once_and_every_address_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    with receiving("127.0.0.5") as there, receiving("127.0.0.1", there.port) as elsewhere:
        url = f"http://{NAME}:{there.port}/path"
        names = NameServer(monkeypatch, "127.0.0.5", "9.9.9.9 127.0.0.1", "10.0.0.1 169.254.169.254")
        told(url, Fence(inside=True))
        (got,) = there.received
        assert (got.line, got.headers["Host"], got.body) == (
            "POST /path HTTP/1.1",
            f"{NAME}:{there.port}",
            b"event",
        )
        assert refused(url, Fence(inside=True)) == "9.9.9.9 is outside the own network, and http is in clear"
        assert refused(url, Fence(inside=True)) == "169.254.169.254 is no host's address"
        assert names.left == [] and elsewhere.received == []


def test_a_name_that_leads_inside_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """127.0.0.5 stands for a host of the Internet."""
    monkeypatch.setattr(post_module, "is_public", lambda address: str(address) == "127.0.0.5")
    with receiving("127.0.0.1") as inside:
        NameServer(monkeypatch, "127.0.0.5", "127.0.0.1", "127.0.0.5 127.0.0.1")
        url = f"https://{NAME}:{inside.port}"
        assert refused(url, Fence()) == "Connection refused"
        for _ in range(2):
            assert refused(url, Fence()) == "127.0.0.1 is inside the own network"
        assert inside.received == []


def test_the_certificate_is_that_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(post_module.trusted_on.cache_clear)
    good = certified(tmp_path, "good", NAME)
    for files, trusts, problem in (
        (good, good, None),
        (certified(tmp_path, "other", "127.0.0.1", "other.example.net"), None, "Hostname mismatch"),
        (certified(tmp_path, "old", NAME, valid=timedelta(days=-1)), None, "certificate has expired"),
        (good, certified(tmp_path, "stranger", NAME), "self-signed certificate in certificate chain|unable"),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str((trusts or files).ca))
        post_module.trusted_on.cache_clear()
        NameServer(monkeypatch, "127.0.0.5")
        with receiving("127.0.0.5", tls=files) as there:
            url = f"https://{NAME}:{there.port}/"
            if problem is None:
                told(url, Fence(inside=True))
            else:
                assert re.search(problem, refused(url, Fence(inside=True)))
            assert len(there.received) == (problem is None)


def test_what_never_ends_is_left_and_its_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = threading.Event()

    def drip(_: object, connection: socket.socket) -> None:
        """A header, for ever."""
        try:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not gone.wait(0.01):
                connection.sendall(b"x")
        except OSError:
            gone.set()

    before = {*threading.enumerate()}
    with receiving() as there:
        there.answer = drip
        url = f"http://127.0.0.1:{there.port}/"
        assert refused(url, Fence(inside=True), 0.2) == "no whole answer within 0.2 s"
        assert gone.wait(20)
        exchange = Exchange(url, 0, None, b"event", Fence(inside=True))
        cut = threading.Timer(0.05, exchange.cut)
        cut.start()
        gone.clear()
        with pytest.raises(NoAnswer, match="cut off"):
            exchange.answer(20)
        assert gone.wait(20)
    cut.join()
    for thread in {*threading.enumerate()} - before:
        if thread.name == "post":
            thread.join(20)
            assert not thread.is_alive()
