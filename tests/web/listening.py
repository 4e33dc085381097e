"""Somebody listens at the page of a recording: noise is sealed, a key opened, and on the way to the browser
a test breaks things.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Page, expect
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retention.records import Access, Recording
from retention.vault import encode, read_public
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import RATE, Office
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, name_recipients, sealed_call
from tests.web.browser import capturing
from tests.web.logging_in import asked_by
from tests.web.served import serving

_USES = re.compile(r"/api/v1/recordings/[^/]+/uses")
_SOUND = re.compile(_USES.pattern + r"/\d+/sound")

Altering = Callable[[bytes], bytes]
Sound = NDArray[np.int16]


@dataclass
class Listener:
    """Who listens. What is set here breaks things on the way to the browser."""

    office: Office
    site: Site
    person: Person
    address: str = ""
    refuse: HTTPStatus | None = None  # what sound is answered with
    alter: Altering | None = None  # what is sent of sound
    alter_key: Altering | None = None
    spans: list[str] = field(default_factory=list)  # that were asked for

    def url(self, recording: Recording) -> str:
        return f"{self.address}/recordings/{recording.id}"

    @property
    def uses(self) -> list[Access]:
        """What the trace says of them, but for what was refused."""
        return [use for use in self.site.store.accesses() if use.outcome == "done"]

    def app(self) -> ASGIApp:
        """The real page, but for what is broken."""
        real = create_app(self.site)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            app: ASGIApp = real
            if _SOUND.fullmatch(scope["path"]):
                self.spans.append(Request(scope).url.query)
                app = _altered(real, self.alter) if self.alter else real
                if self.refuse is not None:
                    told = {"title": "", "status": int(self.refuse), "detail": "as the test wants it"}
                    app = JSONResponse(told, int(self.refuse), media_type="application/problem+json")
            elif _USES.fullmatch(scope["path"]) and self.alter_key:
                app = _altered(real, self._use)
            await app(scope, receive, send)

        return answer

    def _use(self, content: bytes) -> bytes:
        told = json.loads(content)
        assert self.alter_key is not None
        told["key"]["sealed"] = encode(self.alter_key(b""))
        return json.dumps(told).encode()


def _altered(app: ASGIApp, alter: Altering) -> ASGIApp:
    """The app, with what it answers changed, all at once."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        begun: list[Message] = []
        content: list[bytes] = []

        async def taken(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message)
                return
            content.append(message.get("body", b""))
            if not message.get("more_body"):
                kept = [pair for pair in begun[0]["headers"] if pair[0].lower() != b"content-length"]
                await send({**begun[0], "headers": kept})
                await send({"type": "http.response.body", "body": alter(b"".join(content))})

        await app(scope, receive, taken)

    return answer


@contextmanager
def listening(office: Office, key: str | None = "claire") -> Iterator[Listener]:
    """A server on a port of its own, until the end; `key`: of which pair the listener has the public one."""
    public = None if key is None else read_public(office.folder / "keys" / f"{key}.pub")
    roles = frozenset([Role.LISTENER])
    person = Person(name="claire", roles=roles, via="web", key=public, csrf="csrf-claire")
    site = asked_by(office.folder, [person])
    listener = Listener(office, site, person)
    try:
        with serving(capturing(listener.app())) as listener.address:
            yield listener
    finally:
        site.store.close()


def make_listening_office(folder: Path, capture: pytest.CaptureFixture[str]) -> Office:
    """Two pairs of keys: claire's has a passphrase, paul's has none."""
    office = make_sealed_office(folder, capture)
    make_pair(office, "claire", PASSPHRASE)
    make_pair(office, "paul")
    name_recipients(office, "claire", "paul")
    return office


def noise(seconds: float, seed: int = 1) -> Sound:
    """Sound that is like no other: (n, 2) int16, never silent."""
    random, shape = np.random.default_rng(seed), (int(seconds * RATE), 2)
    return np.asarray(random.integers(1, 9000, shape) * random.choice((-1, 1), shape), dtype=np.int16)


def call(office: Office, sound: Sound, **changes: Any) -> Recording:
    """A recording sealed to both."""
    fields: dict[str, Any] = {"duration_s": len(sound) / RATE, "sample_rate": RATE, "pauses": ()} | changes
    return sealed_call(office, ("claire", "paul"), sound, **fields)


def open_key(page: Page, office: Office, name: str = "claire", passphrase: str = PASSPHRASE) -> None:
    unfold(page)
    page.set_input_files("#key-file", office.folder / "keys" / f"{name}.key")
    page.fill("#passphrase", passphrase)


def unfold(page: Page) -> None:
    page.evaluate("document.getElementById('key').open = true")


def play(page: Page, purpose: str = "quality") -> None:
    page.select_option("#purpose", purpose)
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Pause")


def at_the_end(page: Page) -> None:
    expect(page.locator("#listen-state")).to_contain_text("The end")


def seek(page: Page, second: int) -> None:
    """Choose the position, also where the player is going just now."""
    chosen = "(range, second) => { range.value = second; range.dispatchEvent(new Event('input')); }"
    page.locator("#position").evaluate(chosen, second)
