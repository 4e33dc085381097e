"""`sipagent web` as a user starts it, over what an agent keeps, and who asks it without a browser."""

from __future__ import annotations

import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import httpx2
import pyotp

from tests.bench.proc import Memory, Spent
from tests.peers.agent import SEARCH_PATH, Json, RunningAgent
from tests.peers.process import Child, PeerError, free_ports

START_S, TIMEOUT_S = 60.0, 30.0
IDLE_S = 4.0  # after which a connection may be closed by the other end, and is not used again
PURPOSE = "quality"
PASSWORD = "trois mots et un quatrième"
_CODE = re.compile(r": ([0-9A-Z-]{20,})$", re.MULTILINE)
_SECRET = re.compile(r'id="secret">([^<]+)<')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


class AskingError(Exception):
    """The page answered something else than what is measured."""


def client(port: int, headers: Mapping[str, str]) -> httpx2.Client:
    """Asks as `headers` say who it is, on one connection that stays. Raises AskingError."""

    def check(answer: httpx2.Response) -> None:
        if answer.is_error:
            raise AskingError(f"{answer.request.method} {answer.url}: {answer.status_code} {answer.read()!r}")

    return httpx2.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers=headers,
        timeout=TIMEOUT_S,
        limits=httpx2.Limits(keepalive_expiry=IDLE_S),
        event_hooks={"response": [check]},
    )


def ms(answer: httpx2.Response) -> float:
    """From the first byte of the request to the last one of the answer."""
    return answer.elapsed.total_seconds() * 1e3


def hidden(answer: httpx2.Response) -> dict[str, str]:
    """The hidden fields of the forms on a page."""
    return {name: unescape(value) for name, value in _HIDDEN.findall(answer.text)}


def address() -> Json:
    return {"listen": f"127.0.0.1:{free_ports(2)}"}


@dataclass(frozen=True, slots=True)
class RunningPage:
    """The page's process."""

    port: int
    pid: int

    def spent_s(self) -> float:
        """CPU seconds so far, with those of its children."""
        return sum(Spent.now(self.pid).by_pid.values())


@contextmanager
def page(agent: RunningAgent, table: Json) -> Iterator[RunningPage]:
    """Start it, and end it. Raises PeerError where it does not answer, or something went wrong inside."""
    port = int(table["listen"].rpartition(":")[2])
    command: list[str | Path] = [sys.executable, "-m", "sipagent", "--config", agent.config, "web"]
    child = Child(command, agent.directory, env={"PYTHONPATH": SEARCH_PATH})
    try:
        until = time.monotonic() + START_S
        while not _answers(port):
            if not child.running or time.monotonic() > until:
                raise PeerError(f"sipagent web does not answer; it said:\n{child.tail()}")
            time.sleep(0.05)  # nothing tells
        yield RunningPage(port, child.pid)
    finally:
        child.stop()
    if "Traceback" in (said := child.tail(10_000)):
        raise PeerError(f"sipagent web said:\n{said[-8000:]}")


def _answers(port: int) -> bool:
    try:
        return client(port, {}).get("/login").is_success
    except httpx2.TransportError:
        return False


def enter(agent: RunningAgent, running: RunningPage, key: Path) -> dict[str, str]:
    """Make an account with a key, as an administrator does, and begin a session, as its owner does.

    What every request of theirs carries."""
    name = f"person {secrets.token_hex(4)}"  # one that an earlier run has not given in a folder that stays
    said = agent.cli("user", "add", name, "--role", "supervisor", "--key", str(key))
    code = _found(_CODE, said)
    with client(running.port, {}) as asking:
        asked = asking.get("/enrol")
        equipping = asking.post("/enrol", data=hidden(asked) | {"code": code})
        digits = pyotp.TOTP(_found(_SECRET, equipping.text).replace(" ", "")).now()
        given = {"password": PASSWORD, "again": PASSWORD, "digits": digits}
        entered = asking.post("/enrol", data=hidden(equipping) | given)
    set_cookies = [one.partition(";")[0] for one in entered.headers.get_list("set-cookie")]
    return {"Cookie": next(one for one in set_cookies if not one.endswith("="))}


def _found(pattern: re.Pattern[str], text: str) -> str:
    if (found := pattern.search(text)) is None:
        raise PeerError(f"no {pattern.pattern!r} in {text}")
    return found[1]


class MemoryWatch:
    """The most that the page's process takes at any moment of a `with` block, MB."""

    def __init__(self, of: RunningPage) -> None:
        self._pid = of.pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = Memory.now(self._pid).pss
        self.pss = self.rss = 0.0

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            over = self._over.wait(0.5)
            now = Memory.now(self._pid)
            self.pss, self.rss = max(self.pss, now.pss), max(self.rss, now.rss)
            if over:
                return
