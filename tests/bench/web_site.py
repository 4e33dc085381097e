"""`sipagent web` as a user starts it, over what an agent keeps; and what it takes, by /proc."""

from __future__ import annotations

import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pyotp

from tests.bench.load_cost import Memory, family, spent_s
from tests.bench.web_client import Answer, Client
from tests.peers.agent import SEARCH_PATH, Json, RunningAgent
from tests.peers.process import Child, PeerError, free_ports

START_S = 60.0
PURPOSE = "quality"
ROLE = ("--role", "supervisor")
PASSWORD = "trois mots et un quatrième"
_CODE = re.compile(r": ([0-9A-Z-]{20,})$", re.MULTILINE)
_SECRET = re.compile(r'id="secret">([^<]+)<')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


def address() -> Json:
    """The table [web] of a page on this machine, at a free port."""
    return {"listen": f"127.0.0.1:{free_ports(2)}"}


class RunningPage:
    """The page's process. Raises PeerError where it does not answer."""

    def __init__(self, config: Path, table: Json) -> None:
        self.port = int(table["listen"].rpartition(":")[2])
        command: list[str | Path] = [sys.executable, "-m", "sipagent", "--config", config, "web"]
        self.child = Child(command, config.parent, env={"PYTHONPATH": SEARCH_PATH})
        until = time.monotonic() + START_S
        while not self._answers():
            if not self.child.running or time.monotonic() > until:
                self.child.stop()
                raise PeerError(f"sipagent web does not answer; it said:\n{self.child.tail()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    @property
    def pid(self) -> int:
        return self.child.pid

    def spent_s(self) -> float:
        """CPU seconds so far, with those of its children."""
        return sum(spent_s(pid) for pid in family([self.pid]))

    def close(self) -> None:
        """End it. Raises PeerError where something went wrong inside."""
        self.child.stop()
        said = "\n".join(line for _, line in self.child.lines)
        if "Traceback" in said:
            raise PeerError(f"sipagent web said:\n{said[-8000:]}")


@contextmanager
def page(config: Path, table: Json) -> Iterator[RunningPage]:
    """Start it, and end it."""
    running = RunningPage(config, table)
    try:
        yield running
    finally:
        running.close()


@dataclass(frozen=True, slots=True)
class Entered:
    """Somebody who is logged in: the cookies of the session, and what its forms carry."""

    cookies: Mapping[str, str]
    csrf: str

    @property
    def headers(self) -> dict[str, str]:
        """What every request of theirs carries."""
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}


def enter(agent: RunningAgent, running: RunningPage, key: Path | None = None) -> Entered:
    """Make an account with a key, as an administrator does, and begin a session, as its owner does."""
    with_key = () if key is None else ("--key", str(key))
    said = agent.cli("user", "add", _new_name("person"), *ROLE, *with_key)
    found = _CODE.search(said)
    if found is None:
        raise PeerError(f"user add prints no code: {said}")
    client = Client(running.port, {})
    asked = client.get("/enrol")
    client.headers["Cookie"] = _cookies(asked)
    form = fields_of(asked) | {"code": found[1]}
    equipping = client.form("/enrol", form, accepted=200)
    secret = _SECRET.search(equipping.body.decode())
    if secret is None:
        raise PeerError(f"the page of a one-time code has no secret: {equipping.body.decode()}")
    given = {"password": PASSWORD, "again": PASSWORD, "digits": pyotp.TOTP(secret[1].replace(" ", "")).now()}
    begun = client.form("/enrol", fields_of(equipping) | given)
    client.headers["Cookie"] = _cookies(begun)
    session = fields_of(client.get("/recordings"))
    client.close()
    return Entered(dict([client.headers["Cookie"].split("=", 1)]), session["csrf"])


def _new_name(of: str) -> str:
    """One that an earlier run has not given in a folder that stays."""
    return f"{of} {secrets.token_hex(4)}"


def fields_of(answer: Answer) -> dict[str, str]:
    """The hidden fields of the forms on a page."""
    return {name: unescape(value) for name, value in _HIDDEN.findall(answer.body.decode())}


def _cookies(answer: Answer) -> str:
    """The cookie that an answer sets, the first one that is not taken back."""
    return next(one for one in answer.cookies if not one.endswith("="))


def program(agent: RunningAgent) -> dict[str, str]:
    """Make a token, as an administrator does: what every request of a program carries."""
    shown = agent.cli("token", "add", _new_name("program"), *ROLE).strip()
    return {"Authorization": f"Bearer {shown}"}


class MemoryWatch:
    """The most that the page's process takes at any moment of a `with` block, MB."""

    EVERY_S = 0.5

    def __init__(self, of: RunningPage) -> None:
        self._pid = of.pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = Memory.now([self._pid]).pss
        self.pss = self.rss = 0.0

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(self.EVERY_S):
            self._look()

    def _look(self) -> None:
        self.pss = max(self.pss, Memory.now([self._pid]).pss)
        self.rss = max(self.rss, rss_mb(self._pid))


def rss_mb(pid: int) -> float:
    """What is in memory of a process and all its children, shared or not, MB."""
    return sum(_status_mb(one, "VmRSS") for one in family([pid]))


def _status_mb(pid: int, name: str) -> float:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) / 1024 for row in rows if row.startswith(f"{name}:"))
