"""Strangers that are slow, talkative, elsewhere, or no HTTP server at all."""

import socket
import threading
from collections.abc import Iterator

import pytest

from retention import post as post_module
from retention.post import NoAnswer, post
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
