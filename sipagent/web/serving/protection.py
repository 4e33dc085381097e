"""What every answer is protected by, whatever it is: headers, the length of what is sent, and by which way it
comes.

What is sent is read here, before any thread is given to it: so who sends slowly keeps nobody else waiting.
"""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sipagent.config.tables.web import WebTable
from sipagent.web.problems import KIND, Problem
from sipagent.web.site import API

LARGEST = (1 << 18) + 4096  # bytes of what is sent; a little more than any page takes
WITHIN_S = 15.0  # in which all of it has to come
TOO_LONG = f"what is sent is too long; accepted: {LARGEST} bytes"
TWO_LENGTHS = "Content-Length and Transfer-Encoding are both given; accepted: one of them"
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
"""As long as an answer has none of its own by that name."""
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
        refused = self._looked_at(scope)
        if refused is None:
            try:
                receive = await _taken(scope, receive)
            except _TooMuch as problem:
                refused = _said(scope, problem.status, problem.said)
        app = self._app if refused is None else refused
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
        """By which way it comes: its own address is put in place of a proxy's. What to answer instead, if it
        came by none of ours."""
        headers = Headers(scope=scope)
        if "content-length" in headers and "transfer-encoding" in headers:  # where does it end? RFC 9112, 6.1
            return _said(scope, HTTPStatus.BAD_REQUEST, TWO_LENGTHS)
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
            return _said(scope, HTTPStatus.MISDIRECTED_REQUEST, f"this page is {self._web.origin}")
        elif scope["scheme"] == "http" and self._hosts and peer is not None and not peer.is_loopback:
            return _said(scope, HTTPStatus.FORBIDDEN, f"this page is {self._web.origin}")
        forwarded = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded")
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in forwarded]
        return None

    def _by_https(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return _said(scope, HTTPStatus.FORBIDDEN, f"this page is {self._web.origin}")
        path, query = (scope.get(name, b"").decode("latin-1") for name in ("raw_path", "query_string"))
        asked = f"{path}?{query}" if query else path
        return RedirectResponse(self._web.origin + asked, HTTPStatus.PERMANENT_REDIRECT)

    def _behind(self, headers: Headers, peer: Address | None) -> Address | None:
        """Who is behind proxies that are trusted: the last address that is none of theirs."""
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


class _TooMuch(Exception):
    def __init__(self, status: HTTPStatus, said: str) -> None:
        self.status, self.said = status, said


async def _taken(scope: Scope, receive: Receive) -> Receive:
    """Read all that is sent, and have it read once more by who answers. Raises _TooMuch."""
    length = Headers(scope=scope).get("content-length", "0")
    if not length.isdecimal() or int(length[:20]) > LARGEST:
        raise _TooMuch(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, TOO_LONG)
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
                    raise _TooMuch(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"what is sent is too long; accepted: {LARGEST} bytes",
                    )
    except TimeoutError as error:
        raise _TooMuch(
            HTTPStatus.REQUEST_TIMEOUT, f"what is sent did not come within {WITHIN_S:g} s"
        ) from error
    waiting: list[Message] = [{"type": "http.request", "body": bytes(content), "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _said(scope: Scope, status: HTTPStatus, said: str) -> Response:
    """A line for people, a problem for programs."""
    headers = {"Connection": "close"}
    if scope["path"].startswith(API):
        told = Problem(status, said).to_json(said)
        return JSONResponse(told, int(status), headers=headers, media_type=KIND)
    return PlainTextResponse(f"{said}\n", int(status), headers=headers)


def _hosts(web: WebTable) -> frozenset[str]:
    """What a request may call this page; none where there is no page: so no name of another site leads here
    (DNS rebinding)."""
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
