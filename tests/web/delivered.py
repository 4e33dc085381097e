"""The page as it is delivered: `sipagent web` in a process of its own, people with real browsers at it; and
searches what a process holds in its memory, and what lies in a folder, for what must not be there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyotp
from nacl.public import PrivateKey
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
from tests.web.listening import unfold
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
    unfold(page)
    page.set_input_files("#key-file", service.desk / f"{name}.key")
    page.fill("#passphrase", PASSPHRASE)


def open_key(page: Page, service: Service, name: str = "claire") -> None:
    choose_key(page, service, name)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text(name)


Needles = Mapping[str, bytes]
"""What is looked for, by what it is."""

_PIECE = 24  # bytes of sound: noise has such a piece once


def of_sound(sound: NDArray[np.int16]) -> Needles:
    """Pieces of it, of every second: as it is stored, of each side alone, and as floats."""
    found = {}
    for at in range(500, len(sound) - _PIECE, 8000):
        for kind, samples in (
            ("both", sound[at:].ravel()),
            ("caller", sound[at:, 0]),
            ("operator", sound[at:, 1]),
        ):
            found[f"{kind} at {at}"] = samples[: _PIECE // 2].astype("<i2").tobytes()
            floats = (samples[: _PIECE // 4] / np.float32(32768)).astype("<f4")
            found[f"{kind} at {at}, as floats"] = floats.tobytes()
    return found


def of_key(identity: Identity) -> Needles:
    """The 32 bytes of a private key, and how they may be written."""
    private = bytes(_private(identity))
    return {
        "private key": private,
        "private key in hexadecimal": private.hex().encode(),
        "private key in base64": b64encode(private).rstrip(b"="),
        "private key in base64 of addresses": urlsafe_b64encode(private).rstrip(b"="),
    }


def of_words(name: str, text: str) -> Needles:
    """Text, in the ways in which programs hold it."""
    forms = {form: unicodedata.normalize(form, text) for form in ("NFC", "NFD")}
    found = {f"{name} {form}": one.encode() for form, one in forms.items()}
    found |= {f"{name} {form}, 16 bits": one.encode("utf-16-le") for form, one in forms.items()}
    return found | {f"{name}, 8 bits": text.encode("latin-1")}


def in_memory(pid: int, needles: Needles) -> list[str]:
    """Which of them a process holds, in whatever it may read."""
    found: set[str] = set()
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_ = line.split()
            if not rights.startswith("r") or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            first, last = (int(one, 16) for one in where.split("-"))
            with suppress(OSError):  # it is not there any more, or is no memory
                found |= _which(_read(memory, first, last), needles)
    return sorted(found)


def in_files(folders: Iterable[Path], needles: Needles) -> list[str]:
    """Which of them lie in a file below these, and where."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found += [f"{path}: {name}" for name in sorted(_which(path.read_bytes(), needles))]
    return found


def open_files(pid: int, needles: Needles) -> list[str]:
    """Which of them are in a file that a process has open, with a name or without."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            if link.is_file():
                found += [f"{link.readlink()}: {name}" for name in sorted(_which(link.read_bytes(), needles))]
    return found


def _read(memory: Any, first: int, last: int) -> bytes:
    memory.seek(first)
    pieces = []
    while first < last and (piece := memory.read(last - first)):
        pieces.append(piece)
        first += len(piece)
    return b"".join(pieces)


def _which(content: bytes, needles: Needles) -> set[str]:
    return {name for name, needle in needles.items() if needle in content}


def _private(identity: Identity) -> PrivateKey:
    return identity._private


def renderers() -> list[int]:
    """The processes of this one's browsers that show pages."""
    parents, found = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (folder / "cmdline").read_bytes():
                found.append(pid)
    return [pid for pid in found if _descends(pid, os.getpid(), parents)]


def _descends(pid: int, from_pid: int, parents: Mapping[int, int]) -> bool:
    while pid in parents and pid != from_pid:
        pid = parents[pid]
    return pid == from_pid
