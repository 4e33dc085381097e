"""The page as it is delivered: `sipagent web` in a process of its own, people with real browsers at it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyotp
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, expect

from retention.accounts.file import FileAccounts
from retention.records import Access, Recording
from retention.sqlite import Store
from retention.vault import Identity, new_pair, read_identity, read_public
from tests.office import CONFIG, RATE, Office
from tests.peers.agent import SEARCH_PATH
from tests.peers.process import Child, PeerError
from tests.sealing import PASSPHRASE, QUICK, sealed_call
from tests.web.browser import BY_TRACK, somebody
from tests.web.logging_in import Owner, enrolled
from tests.web.served import Served

PROGRAM = Path(sys.executable).with_name("sipagent")
CODE = re.compile(r"[0-9A-Z]{5}(?:-[0-9A-Z]{5}){3}")


class Service(Served):
    """Its folder is `service`; `desk` is where people have their keys, which the server never sees."""

    def __init__(self, folder: Path, *, tls: bool = False, web: str = "") -> None:
        self.desk, self.temporary = folder / "desk", folder / "service" / "tmp"
        for one in (self.desk, self.temporary):
            one.mkdir(parents=True)
        super().__init__(folder / "service", tls=tls, config=CONFIG + _RECORDING)
        self.file.write_text(self.file.read_text() + web)
        self.office = Office(self.folder, None)  # type: ignore[arg-type]  # nothing is printed
        (self.folder / "keys").mkdir()

    def command(self, *words: str) -> list[str]:
        return [str(PROGRAM), "--config", str(self.file), *(words or ("web", "--log-json"))]

    @contextmanager
    def running(self, *words: str, **environment: str) -> Iterator[Child]:
        with super().running(*words, TMPDIR=str(self.temporary), **environment) as child:
            yield child

    def cli(self, *words: str, code: int = 0) -> str:
        """Another command, as somebody types it; raises PeerError where it ends with another code."""
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": SEARCH_PATH, "LANGUAGE": "C"}
        done = subprocess.run(self.command(*words), capture_output=True, text=True, env=env, check=False)
        if done.returncode != code:
            raise PeerError(f"{words}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def told(self, *words: str) -> Any:
        """What a command says in JSON."""
        return json.loads(self.cli(*words, "--json"))

    def pair(self, name: str, *, by_command: bool = False) -> Path:
        """Somebody's key, at their desk; its public half is at the server, which seals to it."""
        if by_command:
            words = self.desk / "passphrase"
            words.write_text(PASSPHRASE + "\n", encoding="utf-8")
            self.cli("keys", "new", str(self.desk / name), "--passphrase-file", str(words))
        else:
            new_pair(self.desk / name, PASSPHRASE, name, strength=QUICK)
        shutil.copy(self.desk / f"{name}.pub", self.folder / "keys")
        return self.desk / f"{name}.key"

    def identity(self, name: str) -> Identity:
        """A key, opened."""
        return read_identity(self.desk / f"{name}.key", lambda: PASSPHRASE)

    def account(self, name: str, *roles: str, key: str | None = None) -> Owner:
        """Somebody who has begun already; `key`: the name of their pair."""
        public = None if key is None else read_public(self.folder / "keys" / f"{key}.pub")
        with FileAccounts(self.folder / "accounts.db") as accounts:
            return enrolled(accounts, name, *roles, key=public)

    @contextmanager
    def person(self, browser: Browser, owner: Owner | None = None, **more: Any) -> Iterator[BrowserContext]:
        """A browser whose sound is captured; somebody is logged in with it."""
        with somebody(browser, capture=BY_TRACK, **more) as context:
            if owner is not None:
                log_in(context.new_page(), self.origin, owner)
            yield context

    def recording(self, sound: NDArray[Any], *names: str, **changes: Any) -> Recording:
        """A call that was sealed to these, claire if nobody is named."""
        fields: dict[str, Any] = {"duration_s": len(sound) / RATE, "sample_rate": RATE, "pauses": ()}
        return sealed_call(self.office, names or ("claire",), sound, **(fields | changes))

    def url(self, recording: Recording | str) -> str:
        id = recording if isinstance(recording, str) else recording.id
        return f"{self.origin}/recordings/{id}"

    def trace(self, *actions: str) -> list[Access]:
        """Rows of the trace of these actions, or all, in their order."""
        with Store(self.folder / "retention.db") as store:
            rows = store.accesses()
        return [row for row in rows if not actions or row.action in actions]


_RECORDING = '[recording]\nrecipients = ["keys/claire.pub"]\n'


def log_in(page: Page, origin: str, owner: Owner, digits: str = "") -> None:
    """By the form, with the digits of now or these."""
    page.goto(f"{origin}/login")
    page.fill("#name", owner.name)
    page.fill("#password", owner.password)
    page.fill("#digits", digits or owner.totp.now())
    page.click("main button")
    page.wait_for_url(f"{origin}/")


def begin(page: Page, address: str, code: str, password: str) -> pyotp.TOTP:
    """Set a password and an authenticator by a one-time code; the authenticator."""
    page.goto(address)
    page.fill("#code", code)
    page.press("#code", "Enter")
    totp = pyotp.TOTP(page.locator("#secret").inner_text().replace(" ", ""))
    for field in ("#password", "#again"):
        page.fill(field, password)
    page.fill("#digits", totp.now())
    page.click("main button")
    page.wait_for_url("**/")
    return totp


def choose_key(page: Page, service: Service, name: str = "claire") -> None:
    """The file from the desk, and its passphrase."""
    page.set_input_files("#key-file", service.desk / f"{name}.key")
    page.fill("#passphrase", PASSPHRASE)


def open_key(page: Page, service: Service, name: str = "claire") -> None:
    choose_key(page, service, name)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text(name)
