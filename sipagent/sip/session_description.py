"""Writes session descriptions (SDP, RFC 8866) anew for the library. Pure: bytes in, our own text out.

The library's parser and negotiator are written in C, end the process by an assertion, look up host names on
the thread that all calls share, and write past an array for a payload type of 4000. So they never see what a
peer has written: each description is read here, by a grammar of this page, and written anew with the
lines that the engine uses. One that cannot be read, or asks for something we do not have, is
`NotAcceptable`.

    media         eight lines at most, four of audio with a port; one of these over a family of ours at least
    addresses     literals, wherever they stand: `c=`, and `a=rtcp` where it names one (RFC 3605)
    open lines    audio by RTP, over a version of IP and in a codec of ours (RFC 6157); they have a `c=`, or
                  the session has one
    other lines   are closed: port 0 and a `c=`, without which the library ends the process; they cost nothing
    attributes    those in `_OF_AUDIO`, of limited length and number; all others are left out
"""

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address

Literal = IPv4Address | IPv6Address
Families = frozenset[int]
"""Versions of IP."""
IPV4: Families = frozenset({4})

LINES, AUDIO_LINES = 8, 4  # a gateway offers plain and SRTP, in at most two address families
FORMATS, CLOSED_FORMATS = 24, 4  # of a line: the library takes 32, and 68 attributes
ATTRIBUTES = 12  # of a line, besides two for each payload type
PAYLOAD_TYPES = {"0": "PCMU", "3": "GSM", "8": "PCMA", "9": "G722"}  # RFC 3551 section 6
RATE = 8000  # also of G.722, by a mistake of long ago (section 4.5.2 there)
EVENTS = "TELEPHONE-EVENT"
FIRST_DYNAMIC, LAST = 96, 127
LAST_PORT = 0xFFFF
HEAD = ("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=-", "t=0 0")  # nothing of it is asked for
DECLINED = "a=recordpref:off"

# Warnings (RFC 3261 section 20.43).
NETWORK, ADDRESS, NO_MEDIA, UNREADABLE, OTHER = 300, 301, 304, 307, 399

_LINE = re.compile(r"([a-z])=(.*)")
_MEDIA = re.compile(r"([\w-]{1,32})\s+(\d{1,5})(?:/\d{1,5})?\s+([\w./+-]{1,32})((?:\s+\S+)*)", re.ASCII)
_CONNECTION = re.compile(r"IN\s+(IP4|IP6)\s+([0-9a-f.:]{1,45})(?:/\d{1,3}){0,2}", re.ASCII | re.IGNORECASE)
_RTCP = re.compile(r"(\d{1,5})(?:\s+(.*))?", re.ASCII)
_RTPMAP = re.compile(r"(\d{1,3})\s+([\w.+-]{1,32})/([1-9]\d{0,5})(/\d)?", re.ASCII)
_FMTP = re.compile(r"(\d{1,3})\s+([ -~]{1,200})", re.ASCII)
_NUMBER = re.compile(r"\d{1,3}", re.ASCII)
_FORMAT = re.compile(r"[A-Za-z_][\w.+-]{0,31}|1[01]\d|12[0-7]|\d{1,2}", re.ASCII)
_AUDIO_BY_RTP = re.compile(
    r"RTP/S?AVPF?", re.IGNORECASE
)  # keys by DTLS: with them the library ends the process
_DECLINES = re.compile(r"recordpref:\s*off", re.ASCII | re.IGNORECASE)  # RFC 7866, wherever it stands
_DIRECTION = r"sendrecv|sendonly|recvonly|inactive"
_OF_SESSION = re.compile(_DIRECTION, re.ASCII)
_OF_AUDIO = re.compile(
    _DIRECTION + r"|rtcp-mux|(max)?ptime:\s*([1-9]\d|100)"  # of 2.56 s the library makes 0
    r"|crypto:[1-9]\d{0,8} \w{1,40} inline:[A-Za-z0-9+/]{1,86}={0,2}(\|[\w^:|]{1,40})?( [ -~]{1,80})?",
    re.ASCII,
)


class NotAcceptable(ValueError):
    """A description that the library must not see; `warning` is a code of RFC 3261, `str()` the reason."""

    def __init__(self, warning: int, reason: str) -> None:
        super().__init__(reason)
        self.warning = warning

    @property
    def header(self) -> tuple[str, str]:
        return "Warning", f'{self.warning} sipagent "{self}"'


@dataclass(frozen=True, slots=True)
class Described:
    """The descriptions of a message: the `texts` to put in the places of its parts, in their order.

    `audio`: for how many lines the library may open sockets; it takes one of the parts. `places`: which lines
    these are, of any part; `over_ipv6`: those of them that are. `others`: which are of no audio, open or not.
    """

    texts: tuple[bytes, ...]
    audio: int
    places: frozenset[int]
    others: frozenset[int]
    over_ipv6: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Media:
    """A media line and what stands below it, as it was sent."""

    kind: str
    port: int
    transport: str
    formats: list[str]
    address: Literal | None
    codecs: Container[str]
    families: Families = IPV4
    rtcp: str = ""
    maps: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, None] = field(default_factory=dict)
    declines: bool = False

    @property
    def payload_types(self) -> list[str]:
        """Of our codecs, by a number that says so or by a map, and of keys."""
        found = dict.fromkeys(str(int(one)) for one in self.formats if _NUMBER.fullmatch(one))
        return [one for one in found if self._name(one) == EVENTS or self._name(one) in self.codecs][:FORMATS]

    def _name(self, payload_type: str) -> str:
        if FIRST_DYNAMIC <= int(payload_type) <= LAST:
            name, _, rate = self.maps.get(payload_type, "").upper().partition("/")
            return name if rate.partition("/")[0] == str(RATE) else ""
        return PAYLOAD_TYPES.get(payload_type, "")

    @property
    def _version(self) -> int:
        """Of its address, by which no socket for IPv6 reaches an IPv4 address; 0 of none."""
        if self.address is None or (isinstance(self.address, IPv6Address) and self.address.ipv4_mapped):
            return 0
        return self.address.version

    @property
    def opens(self) -> bool:
        """Whether the library is to know that it is open."""
        return (
            self.kind == "audio"
            and self.port > 0
            and self._version in self.families
            and _AUDIO_BY_RTP.fullmatch(self.transport) is not None
            and any(self._name(one) != EVENTS for one in self.payload_types)
        )

    def attribute(self, text: str) -> None:
        """Take what is of use. Raises NotAcceptable for an `a=rtcp` that names no literal."""
        name, _, value = text.partition(":")
        if name == "rtcp":
            self.rtcp = self._reports_at(value.strip())
        elif name == "rtpmap" and (found := _RTPMAP.fullmatch(value.strip())):
            self.maps.setdefault(str(int(found[1])), f"{found[2]}/{found[3]}{found[4] or ''}")
        elif name == "fmtp" and (found := _FMTP.fullmatch(value.strip())):
            self.parameters.setdefault(str(int(found[1])), found[2])
        elif _DECLINES.fullmatch(text):
            self.declines = True
        elif _OF_AUDIO.fullmatch(text):
            self.attributes[text] = None

    def _reports_at(self, value: str) -> str:
        found = _RTCP.fullmatch(value)
        if not found or int(found[1]) > LAST_PORT:
            raise NotAcceptable(UNREADABLE, "a=rtcp has no port")
        if found[2] is None:
            return found[1]
        address = _address(found[2], "a=rtcp")
        if self.address and address.version == self.address.version:
            return f"{found[1]} {_in(address)}"
        return ""

    def written(self, elsewhere: Literal) -> str:
        """With port 0 where it is not open; `elsewhere` is an address of the description's."""
        declined = DECLINED if self.declines else ""
        if not self.opens:
            formats = [one for one in self.formats if _FORMAT.fullmatch(one)][:CLOSED_FORMATS] or ["0"]
            line = f"m={self.kind} 0 {self.transport} {' '.join(formats)}"
            return _lines(line, f"c={_in(elsewhere)}", declined)
        assert self.address is not None
        types = self.payload_types
        return _lines(
            f"m=audio {self.port} {self.transport} {' '.join(types)}",
            f"c={_in(self.address)}",
            *(f"a=rtpmap:{one} {self.maps[one]}" for one in types if int(one) >= FIRST_DYNAMIC),
            *(f"a=fmtp:{one} {self.parameters[one]}" for one in types if one in self.parameters),
            f"a=rtcp:{self.rtcp}" if self.rtcp else "",
            *(f"a={one}" for one in list(self.attributes)[:ATTRIBUTES]),
            declined,
        )


@dataclass(slots=True)
class _Session:
    """A description as it was sent: what stands above its media, and these."""

    media: list[_Media] = field(default_factory=list)
    address: Literal | None = None
    attributes: dict[str, None] = field(default_factory=dict)
    declines: bool = False

    @property
    def audio(self) -> int:
        return sum(one.opens for one in self.media)

    def attribute(self, text: str) -> None:
        if _DECLINES.fullmatch(text):
            self.declines = True
        elif _OF_SESSION.fullmatch(text):
            self.attributes[text] = None

    def written(self) -> bytes:
        elsewhere = next(one.address for one in self.media if one.opens)
        assert elsewhere is not None
        attributes = (f"a={one}" for one in list(self.attributes)[:ATTRIBUTES])
        head = _lines(*HEAD, *attributes, DECLINED if self.declines else "")
        return (head + "".join(one.written(elsewhere) for one in self.media)).encode("ascii")


def described(parts: Iterable[bytes], codecs: Container[str], families: Families = IPV4) -> Described:
    """The text for the library, for each part of a message that is SDP. Raises NotAcceptable.

    `codecs`: names of ours, in capitals; `families`: the versions of IP that our media speak.
    """
    read = [_read(part, codecs, families) for part in parts]
    lines = [line for session in read for line in enumerate(session.media)]
    return Described(
        tuple(one.written() for one in read),
        max((one.audio for one in read), default=0),
        frozenset(at for at, one in lines if one.opens),
        frozenset(at for at, one in lines if one.kind != "audio"),
        frozenset(at for at, one in lines if one.opens and isinstance(one.address, IPv6Address)),
    )


def _read(part: bytes, codecs: Container[str], families: Families) -> _Session:
    """Raises NotAcceptable."""
    session = _Session()
    for line in filter(None, re.split(r"[\r\n]+", part.decode("latin-1"))):
        found = _LINE.fullmatch(line.rstrip(" \t"))
        if not found:
            raise NotAcceptable(UNREADABLE, "a line of the session description cannot be read")
        last = session.media[-1] if session.media else session
        match found[1], found[2]:
            case "v", version if version != "0":
                raise NotAcceptable(UNREADABLE, "a session description of another version")
            case "c", value:
                last.address = _address(value, "c=")
            case "a", value:
                last.attribute(value)
            case "m", value:
                session.media.append(_media(value, session.address, codecs, families))
    if any(one.port and one.address is None for one in session.media):
        raise NotAcceptable(ADDRESS, "a media line without c=")
    if not session.audio:
        over = " or ".join(f"IPv{one}" for one in sorted(families))
        raise NotAcceptable(NO_MEDIA, f"no audio by RTP over {over} in a codec of ours")
    if len(session.media) > LINES or session.audio > AUDIO_LINES:
        raise NotAcceptable(OTHER, f"more than {LINES} media lines, or {AUDIO_LINES} of audio")
    return session


def _media(value: str, address: Literal | None, codecs: Container[str], families: Families) -> _Media:
    found = _MEDIA.fullmatch(value.strip())
    if not found or int(found[2]) > LAST_PORT:
        raise NotAcceptable(UNREADABLE, "a media line cannot be read")
    return _Media(found[1], int(found[2]), found[3], found[4].split(), address, codecs, families)


def _address(value: str, of: str) -> Literal:
    """An address literal of the family that the line names. Raises NotAcceptable."""
    if found := _CONNECTION.fullmatch(value.strip()):
        try:
            return IPv4Address(found[2]) if found[1].upper() == "IP4" else IPv6Address(found[2])
        except AddressValueError:
            pass  # a name, which is said below
    raise NotAcceptable(ADDRESS, f"the address in {of} is no literal")


def _in(address: Literal) -> str:
    """As it stands behind `c=` (RFC 8866 section 5.7)."""
    return f"IN IP{address.version} {address}"


def _lines(*lines: str) -> str:
    return "".join(f"{line}\r\n" for line in lines if line)
