"""How the page is served: what protects every answer, connections, TLS.

Every answer has the same headers, whatever it is. What is sent is read before any thread is given to it,
and no more than a page takes: so who sends slowly keeps nobody else waiting. A request is answered only
if it came by a way of ours: its own host, or a proxy that is trusted.

uvicorn serves it: one process, one loop. SIGTERM ends it, SIGHUP renews its certificate. No address can
take all connections for itself: where the page is full, the address with the most of them gives one up to
each who comes. So a whole town hall may be behind one address, and no figure limits it while there is
room. Behind a proxy that one address is the proxy's, which keeps its own clients apart.
"""

import asyncio
import ctypes
import logging
import signal
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import h11
import structlog
import uvicorn
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from retention.texts import Reason, strerror
from sipagent.config.load import Config, ConfigError, HostPort
from sipagent.config.tables import WebTable
from sipagent.web.problems import KIND, Problem, unforeseen
from sipagent.web.sessions import network_of
from sipagent.web.site import API

LARGEST = (1 << 18) + 4096  # bytes of what is sent; a little more than any page takes
WITHIN_S = 15.0  # in which all of it has to come
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; worker-src 'self'"
)
_NOTHING_OF_IT = ("camera", "microphone", "geolocation", "payment", "usb", "midi", "display-capture")
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CSP,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # without one a form of ours would have `Origin: null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{one}=()" for one in _NOTHING_OF_IT),
}
"""Added to each answer, unless it has its own header of that name."""
HSTS = "max-age=31536000"

Address = IPv4Address | IPv6Address


class Protection:
    """Wraps the page of a service."""

    def __init__(self, app: ASGIApp, web: WebTable) -> None:
        self._app = app
        self._web = web
        self._hosts = _hosts(web)
        self._headers = dict(HEADERS)
        if web.origin.startswith("https:"):
            self._headers["Strict-Transport-Security"] = HSTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app = self._app
        try:
            if (elsewhere := self._looked_at(scope)) is not None:
                app = elsewhere
            else:
                receive = await _taken(scope, receive)
        except Problem as problem:
            app = _said(scope, problem)
        await app(scope, receive, self._with_headers(send))

    def _with_headers(self, send: Send) -> Send:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return sending

    def _looked_at(self, scope: Scope) -> Response | None:
        """Put the client's address in place of a proxy's. Returns where to go instead for what has to come by
        https; raises Problem for a request that came neither to this host nor by a trusted proxy."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:  # where does it end? RFC 9112, 6.1
            both = "Content-Length and Transfer-Encoding are both given; accepted: one of them"
            raise Problem(HTTPStatus.BAD_REQUEST, both)
        peer = _address(scope["client"][0] if scope.get("client") else "")
        by_proxy = peer is not None and self._is_trusted(peer)
        if by_proxy:
            scope["client"] = (str(self._behind(headers, peer)), 0)
            said = headers.getlist("x-forwarded-proto")
            proto = said[-1].rpartition(",")[2].strip().lower() if said else ""
            if proto in ("http", "https"):
                scope["scheme"] = proto
            if proto == "http" and self._web.origin.startswith("https:"):
                return self._by_https(scope)
        elif self._hosts and headers.get("host", "").lower() not in self._hosts:
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST, f"this page is {self._web.origin}")
        elif scope["scheme"] == "http" and self._hosts and peer is not None and not peer.is_loopback:
            raise Problem(HTTPStatus.FORBIDDEN, f"this page is {self._web.origin}")
        forwarded = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in forwarded]
        return None

    def _by_https(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            raise Problem(HTTPStatus.FORBIDDEN, f"this page is {self._web.origin}")
        path, query = (scope.get(name, b"").decode("latin-1") for name in ("raw_path", "query_string"))
        asked = f"{path}?{query}" if query else path
        return RedirectResponse(self._web.origin + asked, HTTPStatus.PERMANENT_REDIRECT)

    def _behind(self, headers: Headers, peer: Address | None) -> Address | None:
        """The client behind trusted proxies: the last address that is not one of theirs."""
        named = [one.strip() for line in headers.getlist("x-forwarded-for") for one in line.split(",")]
        found = peer
        for text in reversed(named):
            one = _address(text)
            if one is None:
                break
            found = one
            if not self._is_trusted(one):
                break
        return found

    def _is_trusted(self, one: Address) -> bool:
        return any(one in network for network in self._web.trusted_proxies)


async def _taken(scope: Scope, receive: Receive) -> Receive:
    """Read all that is sent, and have it read once more by who answers. Raises Problem."""
    said = f"what is sent is too long; accepted: {LARGEST} bytes"
    too_long = Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > LARGEST:
        raise too_long
    content = bytearray()
    try:
        async with asyncio.timeout(WITHIN_S):
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":  # gone: nobody reads an answer
                    break
                content += message.get("body", b"")
                more = message.get("more_body", False)
                if len(content) > LARGEST:
                    raise too_long
    except TimeoutError as error:
        said = f"what is sent did not come within {WITHIN_S:g} s"
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, said) from error
    waiting: list[Message] = [{"type": "http.request", "body": bytes(content), "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _said(scope: Scope, problem: Problem) -> Response:
    """A line for people, a problem for programs."""
    headers = {"Connection": "close"}
    if scope["path"].startswith(API):
        told = problem.to_json(problem.detail)
        return JSONResponse(told, int(problem.status), headers=headers, media_type=KIND)
    return PlainTextResponse(f"{problem.detail}\n", int(problem.status), headers=headers)


def _hosts(web: WebTable) -> frozenset[str]:
    """The host names that a request may use for this page, so that no other site's name leads here (DNS
    rebinding); none without a page."""
    if web.listen is None:
        return frozenset()
    port = web.listen.port
    named = {web.origin.partition("://")[2]}
    addresses = set() if web.listen.is_any else {str(web.listen).rpartition(":")[0]}
    if web.listen.is_loopback:
        addresses |= {"localhost", "127.0.0.1", "[::1]"}
    usual = 80 if web.certificate is None else 443
    named |= {f"{one}:{port}" for one in addresses} | (addresses if port == usual else set())
    return frozenset(one.lower() for one in named)


def _address(text: str) -> Address | None:
    """An address, also with a port behind; of an IPv4 address within IPv6 the former."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


CONNECTIONS = 300  # at a time; each further one takes the place of another, see `_Door`
ANSWERED = 2 * CONNECTIONS  # more are told to come again (503)
HEAD_S = 10.0  # within which the head of a request has to come, of the first one TLS's handshake, too
HEAD_BYTES = 1 << 14
ENDS_S = 3.0  # for answers in progress; streams are cut
_M_ARENA_MAX = -8  # mallopt(3)
PEM = Reason("a PEM file that this user may read")

log = structlog.get_logger(__name__)


def serve(config: Config, app: ASGIApp, ready: Callable[[], None]) -> None:
    """Answer until SIGTERM or SIGINT; `ready` is called once it answers. Raises ConfigError, OSError."""
    web = config.web
    assert web.listen is not None
    keep_memory_together()
    context = None if web.certificate is None else tls_context(config)
    listener = _bound(web.listen)
    settings = uvicorn.Config(
        app,
        http=partial(_Patient, listener.lines),  # type: ignore[arg-type]
        loop="asyncio",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=ANSWERED,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=int(ENDS_S),
    )
    settings.load()
    settings.ssl = context
    _take_uvicorns_log()
    _WebServer(settings, lambda: _renew(config, context), ready).run([listener])


def keep_memory_together() -> None:
    """Have all threads take memory from one place: those that send sound would each hold on to their own.

    For a process that has no other threads yet.
    """
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def tls_context(config: Config) -> ssl.SSLContext:
    """The context for TLS 1.2 or later. Raises ConfigError if certificate or key cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(config, context)
    return context


def _load(config: Config, context: ssl.SSLContext) -> None:
    certificate, key = config.web.certificate, config.web.private_key
    assert certificate is not None and key is not None
    for name, path in (("web.certificate", certificate), ("web.private_key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise ConfigError(config.file, name, Reason("{0}: {1}", path, strerror(error)), PEM) from error
    try:
        context.load_cert_chain(certificate, key, password=_nobody_to_ask)
    except ssl.SSLError as error:
        problem = f"{certificate}: is no certificate, or not that of {key} ({error.reason})"
        raise ConfigError(config.file, "web.certificate", problem, PEM) from error
    except _PassphraseAsked as error:
        problem = f"{key}: has a passphrase, and nobody is there to type it"
        raise ConfigError(config.file, "web.private_key", problem, "a key without one, mode 0600") from error


class _PassphraseAsked(Exception):
    pass


def _nobody_to_ask() -> str:
    raise _PassphraseAsked


def _renew(config: Config, context: ssl.SSLContext | None) -> None:
    """Take the certificate that is there now; one that cannot be used changes nothing."""
    if context is None:
        return
    try:
        tls_context(config)  # in one of its own first
        _load(config, context)
    except ConfigError as wrong:
        log.error("certificate_refused", reason=str(wrong))
    else:
        log.info("certificate_read")


def _bound(listen: HostPort) -> "_Door":
    """Raises OSError, which names the address."""
    host, port = listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named, so that asyncio sets TCP_NODELAY: else a body waits until its head is acknowledged, 40 ms later
    listener = _Door(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, f"web.listen: {listen}") from error
    return listener


Peer = tuple[str, int]


class _Connection(socket.socket):
    """A connection, from before its TLS handshake on. `answering`: while a request is answered.

    To cut it, it is shut down: asyncio, which it belongs to, then closes it.
    """

    def __init__(self, door: "_Door", fileno: int, peer: Peer) -> None:
        super().__init__(fileno=fileno)
        self.peer, self.network, self.answering = peer, network_of(peer[0]), False
        self._door = door
        self._late: asyncio.TimerHandle | None = None

    def wait(self) -> None:
        """Have it cut in HEAD_S, unless it asks before."""
        if self._late is None:
            self._late = asyncio.get_running_loop().call_later(HEAD_S, self.cut)

    def asked(self) -> None:
        """Stop its timeout: it has sent a head."""
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def cut(self) -> None:
        """End it, whatever it does."""
        self._door.left(self)
        with suppress(OSError):  # it has ended already
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Called by asyncio when the connection ends."""
        self.asked()
        self._door.left(self)
        super().close()


class _Door(socket.socket):
    """Where connections come in. `lines`: those that are there, the oldest first."""

    def __init__(self, family: int, type: int, proto: int) -> None:
        super().__init__(family, type, proto)
        self.lines: dict[Peer, _Connection] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """The next one. Raises OSError."""
        accepted, address = super().accept()
        line = _Connection(self, accepted.detach(), address[:2])
        self._make_room(line)
        self.lines[line.peer] = line
        line.wait()
        return line, address

    def left(self, line: _Connection) -> None:
        """Forget a connection that has ended."""
        if self.lines.get(line.peer) is line:
            del self.lines[line.peer]

    def _make_room(self, newest: _Connection) -> None:
        """Cut the oldest connection of the address that has the most: of those that ask for nothing, or else
        of all, unless nobody has more than who comes."""
        if len(self.lines) < CONNECTIONS:
            return
        there = list(self.lines.values())
        silent = [one for one in there if not one.answering]
        most, count = Counter(one.network for one in silent or there).most_common(1)[0]
        if silent or count > sum(one.network == newest.network for one in there):
            next(one for one in silent or there if one.network == most).cut()


class _Patient(H11Protocol):
    """A connection whose client has to say what it wants within HEAD_S."""

    def __init__(self, lines: Mapping[Peer, _Connection], **known: Any) -> None:
        super().__init__(**known)
        self._lines = lines

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if (line := self._noted()) is None:
            return
        if self.conn.their_state is h11.IDLE:  # from the first byte of a head
            line.wait()
        else:
            line.asked()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._noted()

    def _noted(self) -> _Connection | None:
        """Its line, which knows whether it is answered; None where it was cut."""
        line = None if self.client is None else self._lines.get(self.client)
        if line is not None:
            line.answering = self.cycle is not None and not self.cycle.response_complete
        return line


class _WebServer(uvicorn.Server):
    """Uvicorn, which also renews the certificate on SIGHUP, and exits with 0 after SIGTERM."""

    def __init__(self, config: uvicorn.Config, renew: Callable[[], None], ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._renew = renew
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._renew)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Uvicorn's own would end the process once more, by the signal that has ended it."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _UvicornLog(logging.Handler):
    """Uvicorn's faults, in our log: what kind and where, nothing that was sent."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, asyncio.CancelledError):
            return  # a stream that was cut at the end
        what = unforeseen(error) if error else {"reason": record.getMessage()}
        log.error("answer_failed", **what)


def _take_uvicorns_log() -> None:
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(_UvicornLog(logging.ERROR))
    logger.setLevel(logging.ERROR)
    logger.propagate = False
