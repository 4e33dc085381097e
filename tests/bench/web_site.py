"""`sipagent web` as a user starts it, over what an agent keeps, and who asks it without a browser."""

from __future__ import annotations

import http.client
import json
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
from typing import Any
from urllib.parse import urlencode

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


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `ms` from the first byte of the request to the last one of the answer."""

    headers: Mapping[str, str]
    cookies: tuple[str, ...]  # `NAME=VALUE`, as they are set
    body: bytes
    ms: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def hidden(self) -> dict[str, str]:
        """The hidden fields of the forms on a page."""
        return {name: unescape(value) for name, value in _HIDDEN.findall(self.body.decode())}


class Client:
    """Asks one thing after the other, as `headers` say who it is, on one connection that stays.

    Raises AskingError, OSError, HTTPException.
    """

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        self.headers = dict(headers)
        self._asked = 0.0
        self.close = self._connection.close

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        return self._ask("GET", f"{path}?{urlencode(query)}" if query else path, None, "", 200)

    def post(self, path: str, fields: Mapping[str, Any], accepted: int = 200) -> Answer:
        return self._ask("POST", path, json.dumps(fields), "application/json", accepted)

    def form(self, path: str, fields: Mapping[str, str], accepted: int = 303) -> Answer:
        return self._ask("POST", path, urlencode(fields), "application/x-www-form-urlencoded", accepted)

    def enter(self, answer: Answer) -> Answer:
        """Keep the cookie that an answer sets, the first one that is not taken back."""
        self.headers["Cookie"] = next(one for one in answer.cookies if not one.endswith("="))
        return answer

    def _ask(self, method: str, path: str, body: str | None, kind: str, accepted: int) -> Answer:
        if time.perf_counter() - self._asked > IDLE_S:
            self._connection.close()
        headers = self.headers | ({"Content-Type": kind} if kind else {})
        began = self._asked = time.perf_counter()
        self._connection.request(method, path, body and body.encode(), headers)
        found = self._connection.getresponse()
        content = found.read()
        ms = (time.perf_counter() - began) * 1e3
        if found.status != accepted:
            raise AskingError(f"{method} {path}: {found.status} {content[:500].decode(errors='replace')}")
        cookies = tuple(one.partition(";")[0] for one in found.headers.get_all("Set-Cookie", []))
        return Answer({name.lower(): value for name, value in found.getheaders()}, cookies, content, ms)


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
        Client(port, {}).get("/login")
    except OSError:
        return False
    return True


def enter(agent: RunningAgent, running: RunningPage, key: Path) -> dict[str, str]:
    """Make an account with a key, as an administrator does, and begin a session, as its owner does.

    What every request of theirs carries."""
    name = f"person {secrets.token_hex(4)}"  # one that an earlier run has not given in a folder that stays
    said = agent.cli("user", "add", name, "--role", "supervisor", "--key", str(key))
    code = _found(_CODE, said)
    client = Client(running.port, {})
    asked = client.enter(client.get("/enrol"))
    equipping = client.form("/enrol", asked.hidden | {"code": code}, accepted=200)
    digits = pyotp.TOTP(_found(_SECRET, equipping.body.decode()).replace(" ", "")).now()
    given = {"password": PASSWORD, "again": PASSWORD, "digits": digits}
    client.enter(client.form("/enrol", equipping.hidden | given))
    client.close()
    return {"Cookie": client.headers["Cookie"]}


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
