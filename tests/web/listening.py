"""A page with the player alone, over an office's recordings; uses and sound are those of the real page."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retention.records import Access, Recording
from retention.vault import PublicKey, encode
from sipagent.config.load import load
from sipagent.languages.spoken import answering
from sipagent.web import templating
from sipagent.web.app import create_app
from sipagent.web.pages.recording import listening_to
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site, language_of
from tests.office import Office
from tests.web.browser import capturing
from tests.web.serving import serving

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; worker-src 'self'"
)
_PAGE = """{% extends "base.html" %}
{% block title %}{{ listening.id }}{% endblock %}
{% block head %}<link rel="stylesheet" href="/static/player.css">
<script type="module" src="/static/player.js"></script>{% endblock %}
{% block main %}<h1>{{ listening.id }}</h1>{% include "player.html" %}
{% for id in others %}<p><a href="/player/{{ id }}">{{ id }}</a></p>{% endfor %}
<form action="/player/{{ listening.id }}"><label for="q">q</label>
<input id="q" name="q"><button>go</button></form>
<form method="post" action="/player/{{ listening.id }}"><input type="hidden" name="csrf" value="{{ csrf }}">
<button>send</button></form>
{% endblock %}"""
_USES = re.compile(r"/api/v1/recordings/[^/]+/uses")
_SOUND = re.compile(_USES.pattern + r"/\d+/sound")

Altering = Callable[[bytes], bytes]


@dataclass
class Listener:
    """Who listens, at the page of an office. What is set here breaks things on the way to the browser."""

    office: Office
    site: Site
    person: Person
    address: str = ""
    refuse: HTTPStatus | None = None  # what sound is answered with
    alter: Altering | None = None  # what is sent of sound
    alter_key: Altering | None = None

    def __post_init__(self) -> None:
        self.spans: list[str] = []  # that were asked for
        self.sent: list[bytes] = []  # bodies of forms

    def url(self, recording: Recording) -> str:
        """The page of a recording."""
        return f"{self.address}/player/{recording.id}"

    @property
    def uses(self) -> list[Access]:
        """What the trace says of them, but for what was refused."""
        return [use for use in self.site.store.accesses() if use.outcome == "done"]

    def app(self) -> ASGIApp:
        """The real page, with the player's in front, and the policy that all pages have."""
        real = create_app(self.site)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            path = scope["path"]
            request = Request(scope, receive)
            if path.startswith("/player/"):
                request.scope["app"] = real
                await (await self._page(request, path.rpartition("/")[2]))(scope, receive, send)
            elif _SOUND.fullmatch(path):
                self.spans.append(request.url.query)
                refused = self._refused()
                await (refused or _altered(real, self.alter))(scope, receive, send)
            elif _USES.fullmatch(path):
                await _altered(real, self.alter_key and self._use)(scope, receive, send)
            else:
                await real(scope, receive, send)

        return _policy(answer)

    async def _page(self, request: Request, id: str) -> Response:
        if request.method == "POST":
            self.sent.append(await request.body())
            return RedirectResponse(f"/player/{id}?sent", HTTPStatus.SEE_OTHER)
        with answering(language_of(request)):
            listening = listening_to(self.site.store.recording(id), self.person, self.site)
            others = [row.id for row in self.site.store.recordings() if row.id != id]
            told: dict[str, Any] = {
                "csrf": self.person.csrf,
                "language": language_of(request),
                "service": "Test",
            }
            told |= {"person": None, "told": None, "path": request.url.path, "pending": 0}
            template = templating._environment().from_string(_PAGE)
            text = template.render(listening=listening, others=others, **told)
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    def _refused(self) -> Response | None:
        if self.refuse is None:
            return None
        told = {"title": "", "status": int(self.refuse), "detail": "as the test wants it"}
        return JSONResponse(told, int(self.refuse), media_type="application/problem+json")

    def _use(self, content: bytes) -> bytes:
        told = json.loads(content)
        assert self.alter_key is not None
        told["key"]["sealed"] = encode(self.alter_key(b""))
        return json.dumps(told).encode()


def _altered(app: ASGIApp, alter: Altering | None) -> ASGIApp:
    """The app, with what it answers changed, all at once."""
    if alter is None:
        return app

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


def _policy(app: ASGIApp) -> ASGIApp:
    async def with_policy(scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.setdefault("headers", [])
                if not any(name.lower() == b"content-security-policy" for name, _ in headers):
                    headers.append((b"content-security-policy", POLICY.encode()))
            await send(message)

        await app(scope, receive, told)

    return with_policy


@contextmanager
def listening(office: Office, key: PublicKey | None) -> Iterator[Listener]:
    """A server on a port of its own, until the end."""

    def identify(request: Request) -> Person:
        return person

    person = Person(name="claire", roles=frozenset([Role.LISTENER]), via="web", key=key, csrf="csrf-claire")
    site = Site(config=load(office.folder / "config.toml"), identify=identify)
    listener = Listener(office, site, person)
    try:
        with serving(capturing(listener.app())) as listener.address:
            yield listener
    finally:
        site.store.close()
