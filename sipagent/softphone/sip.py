"""A softphone's words: SIP messages (RFC 3261), SDP (RFC 4566) and the digest (RFC 2617), as plain values."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8}
REASONS = {
    100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted",
    401: "Unauthorized", 407: "Proxy Authentication Required", 408: "Request Timeout",
    480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist", 486: "Busy Here",
    487: "Request Terminated", 488: "Not Acceptable Here", 500: "Server Internal Error",
    501: "Not Implemented", 503: "Service Unavailable", 603: "Decline",
}  # fmt: skip
_COMPACT = {
    "v": "via", "f": "from", "t": "to", "m": "contact", "i": "call-id", "l": "content-length",
    "c": "content-type", "k": "supported", "s": "subject", "r": "refer-to", "b": "referred-by",
}  # fmt: skip

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response: start line, headers in order, body."""

    start: str
    headers: Headers
    body: bytes = b""

    @classmethod
    def parse(cls, packet: bytes) -> Message:
        """Raises ValueError where this is no SIP message."""
        head, _, body = packet.partition(b"\r\n\r\n")
        unfolded = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape"))
        start, *lines = unfolded.split("\r\n")
        if "SIP/2.0" not in start:
            raise ValueError(f"not SIP: {start[:60]!r}")
        named = (line.partition(":") for line in lines)
        return cls(start, tuple((name.strip(), value.strip()) for name, _, value in named), body)

    def pack(self) -> bytes:
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers)]
        lines.append(f"Content-Length: {len(self.body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape") + self.body

    @property
    def status(self) -> int | None:
        """The status of a response; None for a request."""
        return int(self.start.split(" ", 2)[1]) if self.start.startswith("SIP/2.0 ") else None

    @property
    def method(self) -> str:
        """The request's method, or that of the request that a response answers."""
        return self.header("CSeq").rpartition(" ")[2] if self.status else self.start.partition(" ")[0]

    @property
    def request_uri(self) -> str:
        return self.start.split(" ")[1]

    @property
    def branch(self) -> str:
        return parameter(self.header("Via"), "branch")

    def all(self, name: str) -> list[str]:
        wanted = name.lower()
        return [v for n, v in self.headers if _COMPACT.get(n.lower(), n.lower()) == wanted]

    def header(self, name: str) -> str:
        """The first header of this name, or an empty text."""
        return next(iter(self.all(name)), "")

    def describe(self) -> str:
        """`INVITE`, or for a response `200 INVITE`."""
        return f"{self.status} {self.method}" if self.status else self.method


def parameter(value: str, name: str) -> str:
    """`;name=value` of a header, or an empty text."""
    found = re.search(rf";\s*{name}\s*=\s*([^;,>\s]*)", value.rpartition(">")[2] if "<" in value else value)
    return found[1] if found else ""


def uri_of(value: str) -> str:
    """The URI of `"Name" <uri>;params` or of a bare one."""
    found = re.search(r"<([^>]*)>", value)
    return found[1] if found else value.partition(";")[0].strip()


def address_of(uri: str) -> tuple[str, int]:
    """Host and port of a SIP URI; the host is an address, as a softphone asks no DNS."""
    found = re.match(r"sips?:(?:[^@]*@)?(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+|localhost))(?::(\d+))?", uri)
    if not found:
        raise ValueError(f"no address in {uri!r}")
    return found[1] or found[2].replace("localhost", "127.0.0.1"), int(found[3] or 5060)


def place(address: tuple[str, int]) -> str:
    """An address and its port as they stand in a URI or a Via."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def routes_of(message: Message) -> list[str]:
    """The Record-Route set in the order of the message."""
    return [one.strip() for line in message.all("Record-Route") for one in line.split(",")]


@dataclass(frozen=True, slots=True)
class Media:
    """What an SDP says of the audio: where to send, in what, and which way it flows."""

    address: tuple[str, int]
    payload_types: tuple[int, ...]
    event_type: int | None
    direction: str

    @classmethod
    def parse(cls, body: bytes) -> Media | None:
        """None where there is no audio, or its port is 0."""
        text = body.decode("utf-8", "replace").replace("\r\n", "\n")
        audio = re.search(r"^m=audio (\d+) \S+ ([\d ]+)", text, re.M)
        where = re.findall(r"^c=IN IP[46] ([\da-fA-F.:]+)", text, re.M)
        if not audio or not where or audio[1] == "0":
            return None
        event = re.search(r"^a=rtpmap:(\d+) telephone-event/8000", text, re.M | re.I)
        way = re.search(r"^a=(sendrecv|sendonly|recvonly|inactive)", text, re.M)
        kinds = tuple(int(one) for one in audio[2].split())
        return cls(
            (where[-1], int(audio[1])), kinds, int(event[1]) if event else None, way[1] if way else "sendrecv"
        )


def sdp(
    address: tuple[str, int],
    payload_types: Iterable[int],
    event_type: int | None,
    direction: str,
    version: int,
) -> bytes:
    """An offer or answer with one audio stream."""
    names = {number: name for name, number in PAYLOAD_TYPES.items()}
    kinds = list(payload_types)
    here = f"IN IP{6 if ':' in address[0] else 4} {address[0]}"
    shown = [str(k) for k in kinds] + ([str(event_type)] if event_type else [])
    lines = [
        "v=0", f"o=- 1000 {version} {here}", "s=-", f"c={here}", "t=0 0",
        f"m=audio {address[1]} RTP/AVP {' '.join(shown)}", *(f"a=rtpmap:{k} {names[k]}/8000" for k in kinds),
    ]  # fmt: skip
    if event_type:
        lines += [f"a=rtpmap:{event_type} telephone-event/8000", f"a=fmtp:{event_type} 0-16"]
    return ("\r\n".join([*lines, "a=ptime:20", f"a={direction}"]) + "\r\n").encode()


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a PBX asks of those who call its phones: 401 or 407, and who may pass; `within`: of these, too."""

    realm: str
    username: str
    password: str
    status: int = 407
    within: tuple[str, ...] = ()

    def header(self) -> tuple[str, str]:
        name = "WWW-Authenticate" if self.status == 401 else "Proxy-Authenticate"
        nonce = secrets.token_hex(8)
        return name, f'Digest realm="{self.realm}", nonce="{nonce}", algorithm=MD5, qop="auth"'

    def passed_by(self, request: Message) -> bool:
        """Whether the request's digest is that of our user and password."""
        name = "Authorization" if self.status == 401 else "Proxy-Authorization"
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', request.header(name)))
        if given.get("username") != self.username or given.get("realm") != self.realm:
            return False
        return given.get("response") == digest(given, self.password, request.method)


def digest(given: dict[str, str], password: str, method: str) -> str:
    """The response that RFC 2617 expects (MD5, with qop=auth or without)."""
    secret = _md5(f"{given['username']}:{given['realm']}:{password}")
    request = _md5(f"{method}:{given['uri']}")
    if "qop" in given:
        return _md5(f"{secret}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{request}")
    return _md5(f"{secret}:{given['nonce']}:{request}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
