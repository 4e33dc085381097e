"""A page with the player alone, over an office's recordings, for the tests of listening."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from retention.recording import Recording
from retention.storage.keys import PublicKey, encode
from retention.storage.recording_files import FileKind
from sipagent.config.load import load
from sipagent.languages.spoken import answering
from sipagent.web import templating
from sipagent.web.app import static
from sipagent.web.guard import answered
from sipagent.web.listening import listening_to
from sipagent.web.problems import Problem
from sipagent.web.rights import Role
from sipagent.web.sending import sent
from sipagent.web.site import Person, Site, language_of
from sipagent.web.sound import Sounds
from tests.office import Office
from tests.web.browser import capturing

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; worker-src 'self'"
)
_PAGE = """{% extends "base.html" %}
{% block title %}{{ listening.id }}{% endblock %}
{% block head %}<link rel="stylesheet" href="/static/player.css">
<script type="module" src="/static/player.js"></script>{% endblock %}
{% block main %}<h1>{{ listening.id }}</h1>{% include "player.html" %}
{% for id in others %}<p><a href="/recordings/{{ id }}">{{ id }}</a></p>{% endfor %}
<form action="/recordings/{{ listening.id }}"><label for="q">q</label>
<input id="q" name="q"><button>go</button></form>
{% endblock %}"""


@dataclass
class Listener:
    """Who listens, at the page of an office. `asked`: the bodies of all uses; the rest breaks things."""

    office: Office
    site: Site
    person: Person
    address: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    spans: list[str] = field(default_factory=list)
    refuse: HTTPStatus | None = None  # what sound is answered with
    refuse_use: Problem | None = None
    alter: Callable[[bytes], bytes] = bytes  # what is sent of sound
    alter_key: Callable[[bytes], bytes] = bytes

    def url(self, recording: Recording) -> str:
        """The page of a recording."""
        return f"{self.address}/recordings/{recording.id}"

    # addresses

    def page(self, request: Request) -> Response:
        """The player."""
        recording = self.site.store.recording(request.path_params["id"])
        with answering(language_of(request)):
            listening = listening_to(recording, self.person, self.site)
            assert listening is not None
            others = [row.id for row in self.site.store.recordings() if row.id != recording.id]
            template = templating._environment().from_string(_PAGE)
            text = template.render(
                listening=listening,
                others=others,
                csrf=self.person.csrf,
                language=language_of(request),
                service="Test",
                person=None,
                told=None,
                path=request.url.path,
            )
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    async def uses(self, request: Request) -> Response:
        """POST …/uses, as the contract has it."""
        assert request.headers["x-csrf-token"] == self.person.csrf
        self.asked.append(await request.json())
        return self._use(request.path_params["id"], self.asked[-1])

    def _use(self, id: str, asked: dict[str, Any]) -> Response:
        recording, archive = self.site.store.recording(id), self.site.archive
        sealed = archive.files.finished(id) is FileKind.SEALED
        key = None
        if sealed:
            assert self.person.key is not None
            box = self.alter_key(archive.vault.box(id, self.person.key))
            key = {"public": encode(self.person.key.raw), "sealed": encode(box)}
        number = len(self.asked)
        told = {
            "id": number,
            "recording": id,
            "action": "play",
            "purpose": asked["purpose"],
            "sealed": sealed,
        }
        told |= {"key": key, "sound": f"/api/v1/recordings/{id}/uses/{number}/sound"}
        told |= {"sample_rate": recording.sample_rate, "channels": 2, "duration_s": recording.duration_s}
        told |= {"pauses": [[p.from_s, p.to_s] for p in recording.pauses], "incomplete": recording.incomplete}
        return JSONResponse(told, HTTPStatus.CREATED)

    def sound(self, request: Request) -> Response:
        """GET …/sound."""
        self.spans.append(request.url.query)
        if self.refuse is not None:
            raise Problem(self.refuse, "as the test wants it")
        answer = sent(request, self.sounds, self.site.store.recording(request.path_params["id"]))
        assert hasattr(answer, "body_iterator")
        if self.alter is bytes:
            return answer
        return _Altered(answer, self.alter)

    @property
    def sounds(self) -> Sounds:
        """The stored sound."""
        if not hasattr(self, "_sounds"):
            self._sounds = Sounds(self.site.archive.files)
        return self._sounds

    def app(self) -> ASGIApp:
        """All of it, with the policy of pages where an answer has none of its own."""
        sound = "/api/v1/recordings/{id}/uses/{number}/sound"
        routes = [
            Route("/static/{name:path}", static),
            Route("/recordings/{id}", self.page),
            Route("/login", lambda request: HTMLResponse("<h1>login</h1>")),
            Route("/api/v1/recordings/{id}/uses", self._told(self.uses), methods=["POST"]),
            Route(sound, self.sound),
        ]
        app = Starlette(routes=routes, exception_handlers={Problem: _problem})
        app.state.site = self.site
        return _policy(app)

    def _told(self, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def asked(request: Request) -> Response:
            if self.refuse_use is not None:
                raise self.refuse_use
            answer = await endpoint(request)
            assert isinstance(answer, Response)
            return answer

        return asked


class _Altered(Response):
    """An answer whose bytes are changed on the way, all at once."""

    def __init__(self, answer: Any, alter: Callable[[bytes], bytes]) -> None:
        super().__init__(media_type=answer.media_type)
        self.raw_headers = [pair for pair in answer.raw_headers if pair[0] != b"content-length"]
        self._pieces, self._alter = answer.body_iterator, alter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = self._alter(b"".join([piece async for piece in self._pieces]))
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": content})


async def _problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return answered(request, problem)


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
    with socket.create_server(("127.0.0.1", 0)) as place:
        listener.address = f"http://127.0.0.1:{place.getsockname()[1]}"
        settings = uvicorn.Config(capturing(listener.app()), log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield listener
        finally:
            server.should_exit = True
            thread.join()
            site.store.close()
