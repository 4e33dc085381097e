"""The page under attack by connections: from one address, and somebody at another one logs in meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest

from retention.accounts.file import FileAccounts
from sipagent.web.serving import CONNECTIONS, HEAD_S
from tests.web.logging_in import Owner, enrolled, field_of
from tests.web.served import Served

ATTACKER, PERSON = "127.0.0.2", "127.0.0.3"
SILENT = 500
pytestmark = pytest.mark.live


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Attacked:
    """A page with somebody who can log in."""

    def __init__(self, folder: Path, stack: ExitStack, *, tls: bool = False) -> None:
        self.page, self.stack = Served(folder, tls=tls), stack
        with FileAccounts(folder / "accounts.db") as accounts:
            self.claire: Owner = enrolled(accounts, "Claire", "listener")
        self.child = stack.enter_context(self.page.running())

    def connected(self, said: bytes = b"", address: str = ATTACKER) -> socket.socket:
        place = ("127.0.0.1", self.page.port)
        one = self.stack.enter_context(socket.create_connection(place, 30, source_address=(address, 0)))
        one.sendall(said.replace(b"HOST", f"127.0.0.1:{self.page.port}".encode()))
        return one

    def logs_in(self) -> None:
        """By connections of the person's own, new ones."""
        verify = self.page.context if self.page.scheme == "https" else True
        way = httpx.HTTPTransport(verify=verify, local_address=PERSON)
        with httpx.Client(base_url=self.page.origin, transport=way, timeout=20) as client:
            form = {"csrf": field_of(client.get("/login").text, "csrf"), "name": "Claire"}
            form |= {"password": self.claire.password, "digits": self.claire.totp.now()}
            assert client.post("/login", data=form).status_code == 303
            assert client.get("/account").status_code == 200


def ended(connection: socket.socket) -> bool:
    """Whether the page has ended it already."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("tls", [False, True], ids=["in clear", "before TLS"])
def test_who_says_nothing_from_one_address_keeps_nobody_else_out(
    tmp_path: Path, stack: ExitStack, tls: bool
) -> None:
    """The page is full of them, and gives each who comes the place of one of theirs."""
    attacked = Attacked(tmp_path, stack, tls=tls)
    silent = [attacked.connected() for _ in range(SILENT)]
    attacked.logs_in()
    gone = [ended(one) for one in silent]
    assert sum(gone) >= SILENT - CONNECTIONS
    assert gone == sorted(gone, reverse=True), "the oldest go first"
    assert "Traceback" not in attacked.child.tail(1000)


def test_who_begins_what_takes_long_from_one_address_keeps_nobody_else_out(
    tmp_path: Path, stack: ExitStack
) -> None:
    attacked = Attacked(tmp_path, stack)
    body = b"POST /login HTTP/1.1\r\nHost: HOST\r\nContent-Length: 9000\r\n\r\ncsrf="
    for _ in range(SILENT):
        attacked.connected(body)
    attacked.logs_in()


def test_a_head_that_comes_byte_by_byte_is_cut(tmp_path: Path, stack: ExitStack) -> None:
    attacked = Attacked(tmp_path, stack)
    began = time.monotonic()
    slow = attacked.connected(b"GET /login HTTP/1.1\r\nHost: HOST\r\nX: ")
    slow.settimeout(0.25)
    while True:
        try:
            slow.sendall(b"x")
            received = slow.recv(1)
        except TimeoutError:
            continue
        except OSError:
            received = b""
        break
    assert received == b"" and time.monotonic() - began > HEAD_S - 1


def test_who_never_shakes_hands_is_let_go(tmp_path: Path, stack: ExitStack) -> None:
    attacked = Attacked(tmp_path, stack, tls=True)
    assert attacked.connected().recv(1) == b""


def test_two_lengths_end_the_connection(tmp_path: Path, stack: ExitStack) -> None:
    """What is behind the first of them is no second request (RFC 9112, 6.1 and 11.2)."""
    attacked = Attacked(tmp_path, stack)
    head = b"POST /login HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    one = attacked.connected(head + b"0\r\n\r\nGET /static/style.css HTTP/1.1\r\nHost: HOST\r\n\r\n")
    received = b""
    while piece := one.recv(1 << 16):
        received += piece
    assert received.startswith(b"HTTP/1.1 400 ") and received.count(b"HTTP/1.1 ") == 1
