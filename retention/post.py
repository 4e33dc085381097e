"""One exchange with a server that is not ours: it may be slow, silent, send too much, lie, or be an impostor.

The answer's size and the wait for it are limited; no redirect is followed. `Exchange` is one that another
thread may cut.

Who asks by `post` and `get` is taken where the system's proxies lead. Who brings a `Fence` asks no proxy:
the name is looked up once, each of its addresses must lie within the fence, and the connection goes to one
of those that were looked at, so that no second answer of the name server leads elsewhere. Host, SNI and
certificate stay those of the name.
"""

import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from retention.texts import Reason, WithReason

SILENCE_S = 10.0  # between two pieces of an answer
WHOLE_S = 30.0  # from the question to the end of the answer
_SHOWN = 200  # characters shown of the server's text
_ADDRESSES = 4  # of one name that are tried


class NoAnswer(WithReason):
    """Unreachable, refused, redirected, too long or too slow; `str()` is one line that says which.

    `problem` says it without the URL, of which a part may be secret; `status`: what HTTP said, if it spoke;
    `retry_after`: the header.
    """

    def __init__(
        self, url: str, problem: str, *values: Any, status: int | None = None, retry_after: str | None = None
    ) -> None:
        self.problem = Reason(problem, *values)
        self.status = status
        self.retry_after = retry_after
        super().__init__("{0}: {1}", url, self.problem)


Address = IPv4Address | IPv6Address

_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
_NO_HOST = (
    *map(ip_network, ("0.0.0.0/8", "240.0.0.0/4", "169.254.0.0/16", "fe80::/10")),
    # of one network's own NAT64 (RFC 8215), of sites (RFC 3879), of IPv4 (RFC 4291 section 2.5.5.1)
    *map(ip_network, ("64:ff9b:1::/48", "fec0::/10", "::/96")),
)


def _meant(address: Address) -> list[Address]:
    """It, and the IPv4 addresses that it stands for: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, IPv4Address):
        return [address]
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    told = [one for one in inner if one is not None]
    return told if address.ipv4_mapped is not None else [address, *told]


def is_public(address: Address) -> bool:
    """Whether it is a host of the Internet, by all that it may stand for."""
    return all(one.is_global and not one.is_multicast and not _is_none(one) for one in _meant(address))


def is_inside(address: Address) -> bool:
    """Whether it is a host of this machine or of a network of one's own (RFC 1918, 4193, 6598)."""
    return not is_public(address) and not any(
        one.is_multicast or _is_none(one) for one in _meant(address) if not one.is_loopback
    )


def _is_none(address: Address) -> bool:
    return any(address in network for network in _NO_HOST if network.version == address.version)


@dataclass(frozen=True, slots=True)
class Fence:
    """Where an exchange may go: to the Internet, by TLS; with `inside` also into the own network, and there
    without TLS, too."""

    inside: bool = False

    def fault(self, address: Address, *, tls: bool) -> Reason | None:
        """Why nothing may go there."""
        if is_public(address):
            return None if tls else Reason("{0} is outside the own network, and http is in clear", address)
        if not is_inside(address):
            return Reason("{0} is no host's address", address)
        return None if self.inside else Reason("{0} is inside the own network", address)

    def addresses(self, url: str) -> list[tuple[int, Any]]:
        """Family and address of a socket, of each address of its host. Raises OSError; Outside."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        found = socket.getaddrinfo(
            parts.hostname, parts.port or (443 if tls else 80), type=socket.SOCK_STREAM
        )
        for *_, where in found:
            if fault := self.fault(ip_address(str(where[0]).partition("%")[0]), tls=tls):
                raise Outside(fault)
        return [(family, where) for family, *_, where in found]


_DAY_S = 86400


def trusted() -> ssl.SSLContext:
    """What certificates are checked against: the system's roots."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


@lru_cache(maxsize=1)  # to read them takes longer than an exchange
def trusted_on(day: int) -> ssl.SSLContext:
    return trusted()


class Outside(OSError):
    """An address outside the fence; its text is a Reason."""


def post(url: str, content: bytes, kind: str, limit: int) -> bytes:
    """The answer to `content` of the media type `kind`, at most `limit` bytes. Raises NoAnswer."""
    return Exchange(url, limit, {"Content-Type": kind}, content).answer(WHOLE_S)


def get(url: str, limit: int, whole_s: float) -> bytes:
    """What lies there, at most `limit` bytes, within `whole_s`. Raises NoAnswer."""
    return Exchange(url, limit).answer(whole_s)


class Exchange:
    """It runs in a thread of its own: only this limits a silent name server or a header sent very slowly.

    With a `limit` of 0 the answer's status is enough: nothing of its body is read.
    """

    def __init__(
        self,
        url: str,
        limit: int,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._url = url
        self._limit = limit
        self._fence = fence
        self._request = urllib.request.Request(url, content, {"User-Agent": "sipagent", **(headers or {})})
        self._outcome: SimpleQueue[bytes | NoAnswer] = SimpleQueue()
        self._socket: socket.socket | None = None
        self._over = False

    def answer(self, whole_s: float) -> bytes:
        """Raises NoAnswer."""
        threading.Thread(target=self._run, name="post", daemon=True).start()
        try:
            answer = self._outcome.get(timeout=whole_s)
        except Empty:
            raise NoAnswer(self._url, "no whole answer within {0:g} s", whole_s) from None
        finally:
            self._end()
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    def cut(self) -> None:
        """Have `answer` end at once, with NoAnswer. Any thread."""
        self._outcome.put(NoAnswer(self._url, "cut off"))
        self._end()

    def _end(self) -> None:
        """What still reads or connects ends, too."""
        self._over = True
        if self._socket is not None:
            with suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # below TLS, which may be in the midst

    def _run(self) -> None:
        self._outcome.put(self._exchange())

    def _exchange(self) -> bytes | NoAnswer:
        url, limit = self._url, self._limit
        proxies = [] if self._fence is None else [urllib.request.ProxyHandler({})]
        opener = urllib.request.build_opener(_NoRedirect, _Connecting(self), *proxies)
        try:
            with opener.open(self._request, timeout=SILENCE_S) as response:
                answer: bytes = response.read(limit + 1) if limit else b""
        except urllib.error.HTTPError as error:
            error.close()
            after = error.headers.get("Retry-After")
            said = Reason("HTTP {0}{1}", error.code, _elsewhere(error))
            return NoAnswer(url, said, status=error.code, retry_after=after)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return NoAnswer(url, _reason(error))
        return answer if len(answer) <= limit else NoAnswer(url, "answers with more than {0} bytes", limit)

    # called by its connections

    def connected(self) -> socket.socket | None:
        """A connection within the fence; None without one. Raises OSError."""
        if self._fence is None:
            return None
        fault = OSError()
        for family, where in self._fence.addresses(self._url)[:_ADDRESSES]:
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                self.keep(connection)
                connection.settimeout(SILENCE_S)
                connection.connect(where)
            except OSError as failed:
                connection.close()
                fault = failed
            else:
                return connection
        raise fault

    def trusted(self) -> ssl.SSLContext:
        """Within a fence, where exchanges follow each other, that of the day."""
        return trusted() if self._fence is None else trusted_on(int(time.monotonic() // _DAY_S))

    def keep(self, connection: socket.socket) -> None:
        """What ends with the exchange. Raises OSError: it is over."""
        self._socket = connection
        if self._over:
            raise TimeoutError


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Only the configured server may answer."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


class _Plain(http.client.HTTPConnection):
    def __init__(self, host: str, *, exchange: Exchange, **given: Any) -> None:
        super().__init__(host, **given)
        self.exchange = exchange

    def connect(self) -> None:
        connection = self.exchange.connected()
        if connection is None:
            super().connect()
        else:
            self.sock = connection
        self.exchange.keep(self.sock)


class _Tls(http.client.HTTPSConnection):
    def __init__(self, host: str, *, exchange: Exchange, **given: Any) -> None:
        self.exchange = exchange
        self.trusted = exchange.trusted()
        super().__init__(host, **given, context=self.trusted)

    def connect(self) -> None:
        connection = self.exchange.connected()
        if connection is None:
            super().connect()
        else:
            self.sock = self.trusted.wrap_socket(connection, server_hostname=self.host)
        self.exchange.keep(self.sock)


class _Connecting(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Over connections of this exchange."""

    def __init__(self, exchange: Exchange) -> None:
        # past HTTPSHandler's own, which from Python 3.12 on reads the system's roots, also for http
        urllib.request.AbstractHTTPHandler.__init__(self)
        self.exchange = exchange

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Plain, exchange=self.exchange), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_Tls, exchange=self.exchange), request)


def _shown(text: str) -> str:
    """Safe in a line: escapes what controls a terminal."""
    return repr(text.strip()[:_SHOWN])[1:-1]


def _elsewhere(error: urllib.error.HTTPError) -> str:
    target = error.headers.get("Location")
    return Reason(", a redirect to {0}, which is not followed", _shown(target)) if target else ""


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, Outside):
        return Reason(str(cause))
    if isinstance(cause, TimeoutError):
        return Reason("no answer within {0:g} s", SILENCE_S)
    if isinstance(cause, OSError):
        return Reason(_shown(cause.strerror or str(cause)))
    return Reason("no HTTP: {0}", _shown(str(cause) or type(cause).__name__))
