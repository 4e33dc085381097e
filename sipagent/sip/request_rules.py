"""Judges a SIP request before the library's layers see it. Pure: text and times in, a verdict out.

    source      a stranger gets no answer; in a dialog, only its peers do
    body        a session description that the library must not see (`session_description`): 488
    load        sockets of RTP that it would open, and legs that are free: a moment's wait, or 503

The library would answer strangers, obey anyone who knows Call-ID and tags, and open sockets for each line of
a body before we can decide. When sockets run out, it ends the process.
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote

from sipagent.call.events import RETRY_AFTER_S
from sipagent.config.identity import address_of, entries, header_of, header_values, max_forwards
from sipagent.config.types import Network, uri_host
from sipagent.edge.plan import GIVEN_UP, HOP_HEADER, LATE
from sipagent.sip.packet_filter import Address
from sipagent.sip.session_description import Described, NotAcceptable

ROOM_S = 0.02  # between two checks for a free leg
ROOM_AGAIN_S = 0.3  # in total: an INVITE is repeated after 0.5 s (RFC 3261 section 17.1.1.2)
KEPT_S = 40.0  # how long an ended dialog is known: its last requests may be repeated for 32 s
REPEATED_S = 5.0  # T4: so long the library answers a repeated INVITE after its end (RFC 3261 section 17.2.1)
SIP_PORT = 5060
EXTENSIONS = frozenset({"100rel", "norefersub", "record-aware", "timer"})  # that the library knows
WITH_BODY = ("INVITE", "UPDATE", "PRACK")
RETRY_AFTER = (("Retry-After", str(RETRY_AFTER_S)),)

_address = lru_cache(maxsize=1024)(ip_address)  # the same few, in each message
_BRANCH = re.compile(r";\s*branch\s*=\s*([^\s;,]+)", re.IGNORECASE)
_TAG = re.compile(r";\s*tag\s*=\s*([^\s;,>]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """`clear`: it can be read in only one way; `sdp`: what is described in its body, if anything.

    `waited_s`: how long it has been held back so far.
    """

    method: str
    source: Address
    message: str
    call_id: str
    branch: str
    cseq: str
    from_tag: str
    to_tag: str
    clear: bool = True
    sdp: Described | NotAcceptable | None = None
    waited_s: float = 0.0

    @property
    def dialog(self) -> tuple[str, str]:
        """The dialog as seen by its sender: Call-ID and tag of the other side."""
        return self.call_id, self.from_tag

    def opens(self, audio_at: int | None = None) -> int:
        """Sockets that the library would open for it: those of its leg's audio, in line `audio_at`, go on."""
        if self.method not in WITH_BODY:
            return 0
        if not isinstance(self.sdp, Described):
            return 0 if self.to_tag else 2
        if self.to_tag and self.sdp.places == {audio_at}:
            return 0
        return 2 * (self.sdp.audio + len(self.sdp.over_ipv6))  # over IPv6 in the place of others, which close


@dataclass(frozen=True, slots=True)
class Load:
    """The engine's resources and their use. `sockets` of RTP and RTCP, including those being closed.

    `room`: whether one more call would find its legs and sounds; `waiting`: requests that are held back, at
    most `waiting_limit`. Without room the policy refuses, in its own way, as long as there is a leg to do it
    with. `late`: what a new call gets where this process does not keep up with those that it has.
    `audio_at`: in which line of SDP the audio of the request's leg stands.
    """

    legs: int
    legs_limit: int
    sockets: int
    sockets_limit: int
    room: bool = True
    waiting: int = 0
    waiting_limit: int = 20
    draining: bool = False
    late: int | None = None
    audio_at: int | None = None


@dataclass(frozen=True, slots=True)
class Pass:
    """To the library."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """No answer."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """A final response, without a transaction or a leg; `headers` as name and value.

    `late`: to a new call, by a process that does not keep up.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    late: bool = False


NOT_OURS = Refuse(405, (("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER"),))


@dataclass(frozen=True, slots=True)
class Wait:
    """Judge it again in this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LetGo:
    """The edge has given up on its INVITE, which is not for the library any more."""


Verdict = Pass | Ignore | Refuse | Wait | LetGo


@dataclass(slots=True)
class _Dialog:
    """`peers`: who may send within it.

    `passed`: CSeq and branch of what went to the library, and until when (monotonic s) this knows it again.
    """

    used_at: float
    peers: set[Address] = field(default_factory=set)
    passed: dict[tuple[str, str], float] = field(default_factory=dict)


class RequestRules:
    """`callers` may begin calls, `others` may ask for OPTIONS. Behind an edge `peer` is the only sender.

    An edge gives each request that begins something its `token`. `by_port`: senders on loopback are
    distinguished by their port, as for UDP. Times are monotonic seconds.
    """

    def __init__(
        self,
        callers: Sequence[Network] = (),
        others: Sequence[Network] = (),
        peer: Address | None = None,
        token: str = "",
        by_port: bool = True,
    ) -> None:
        self._callers = tuple(callers)
        self._others = tuple(others)
        self._peer = peer
        self._token = token
        self._by_port = by_port
        self._dialogs: dict[str, dict[str, _Dialog]] = {}  # by Call-ID, and tag of the other side
        self._refused: dict[tuple[str, str, str], float] = {}
        self.peers: frozenset[str] = frozenset()
        """The addresses of all who take part in a dialog; of one that has ended, until `tidy` forgets it.
        Another set only where they are others."""

    def judge(self, request: Request, load: Load, now: float) -> Verdict:
        """The verdict on a request."""
        if self._gives_up(request):
            return LetGo()
        if request.method == "ACK" and not (request.to_tag and request.clear):
            return Ignore()  # an ACK is never answered (RFC 3261 section 17); this one is of no dialog
        return (
            self._by_source(request)
            or self._by_method(request)
            or self._by_body(request)
            or self._by_lateness(request, load, now)
            or self._by_load(request, load, now)
            or Pass()
        )

    def _by_source(self, request: Request) -> Ignore | Refuse | None:
        if self._peer is not None:
            begins = not request.to_tag and request.method not in ("OPTIONS", "CANCEL", "ACK")
            known = request.source == self._peer and (not begins or self._has_token(request))
            return None if known else Ignore()
        if (dialog := self._dialog(request)) is not None:
            return None if any(self._is(request.source, peer) for peer in dialog.peers) else Ignore()
        if not _in(request.source, self._callers):
            asks = request.method == "OPTIONS" and not request.to_tag
            return None if asks and _in(request.source, self._others) else Ignore()
        if request.to_tag:
            return Ignore() if request.method == "ACK" else Refuse(481)
        return self._by_what_it_begins(request) if request.clear else Refuse(400)

    @staticmethod
    def _by_what_it_begins(request: Request) -> Refuse | None:
        """By RFC 3261 sections 8.2.1 to 8.2.3, where the library does not check."""
        if request.method not in ("INVITE", "OPTIONS", "CANCEL", "ACK"):
            return NOT_OURS
        if request.method == "OPTIONS" and (unknown := _required(request.message) - EXTENSIONS):
            return Refuse(420, (("Unsupported", ", ".join(sorted(unknown))),))
        if request.method == "INVITE" and max_forwards(request.message) == 0:
            return Refuse(483)  # it has come back to us again and again (RFC 7332)
        if request.method == "INVITE" and not _takes_sdp(request.message):
            return Refuse(406, (("Accept", "application/sdp"),))
        return None

    @staticmethod
    def _by_method(request: Request) -> Refuse | None:
        """No text within a call: nobody reads it, and the library a long Content-Type of it beyond its memory
        (pjsua_im.c)."""
        return NOT_OURS if request.method == "MESSAGE" else None

    @staticmethod
    def _by_body(request: Request) -> Refuse | None:
        if request.method in WITH_BODY and isinstance(request.sdp, NotAcceptable):
            return Refuse(488, (request.sdp.header,))
        return None

    def _by_lateness(self, request: Request, load: Load, now: float) -> Refuse | None:
        begins = request.method == "INVITE" and not request.to_tag
        if load.late is None or not begins or self.is_repeated(request, now):
            return None
        headers = (*RETRY_AFTER, (HOP_HEADER, LATE)) if self._token else RETRY_AFTER
        return Refuse(load.late, headers, late=True)

    def _by_load(self, request: Request, load: Load, now: float) -> Refuse | Wait | None:
        if request.method == "OPTIONS" and load.draining and not request.to_tag:
            return Refuse(503)
        if request.method not in WITH_BODY or self.is_repeated(request, now):
            return None
        opens = request.opens(load.audio_at)
        if opens and load.sockets + opens > load.sockets_limit:
            return Refuse(488) if request.to_tag else Refuse(503, RETRY_AFTER)
        full = load.legs >= load.legs_limit
        if request.method != "INVITE" or request.to_tag or (not full and load.room):
            return None
        if request.waited_s < ROOM_AGAIN_S and load.waiting < load.waiting_limit:
            return Wait(ROOM_S)
        return Refuse(503, RETRY_AFTER) if full else None

    def passed(self, request: Request, now: float) -> bool:
        """Let it go to the library: its sender may send within the dialog that it begins.

        True if it is a new request that may open sockets.
        """
        if request.method not in WITH_BODY:
            return False
        repeated = self.is_repeated(request, now)
        dialog = self._take_part(request.dialog, request.source, request.message, now)
        if not repeated:
            dialog.passed[request.cseq, request.branch] = math.inf
        return not repeated

    def is_repeated(self, request: Request, now: float) -> bool:
        """Whether the library has this very request already."""
        dialog = self._dialog(request)
        return dialog is not None and dialog.passed.get((request.cseq, request.branch), now) > now

    def ended(self, call_id: str, now: float, repeated_s: float = REPEATED_S) -> None:
        """The leg of an INVITE is over, or never was: for so long the library answers it from memory."""
        until = now + repeated_s
        for dialog in self._dialogs.get(call_id, {}).values():
            dialog.passed = {key: min(at, until) for key, at in dialog.passed.items()}

    def first_refused(self, request: Request, now: float) -> bool:
        """Whether it was not refused before: it is repeated until its sender has the answer."""
        key = (*request.dialog, request.cseq)
        known, self._refused[key] = key in self._refused, now
        return not known

    def answered(self, message: str, source: Address, now: float) -> None:
        """A response to our request has come from `source`, which may then send requests, too."""
        tag = _tag(header_of(message, "To"))
        call_id = header_of(message, "Call-ID")
        if tag and call_id:
            self._take_part((call_id, tag), source, message, now)

    def tidy(self, live: Collection[str], now: float) -> None:
        """Forget dialogs that have ended; `live`: the Call-IDs of the others."""
        for call_id, dialogs in list(self._dialogs.items()):
            for tag, dialog in list(dialogs.items()):
                if call_id in live:
                    dialog.used_at = now
                elif now - dialog.used_at > KEPT_S:
                    del dialogs[tag]
            if not dialogs:
                del self._dialogs[call_id]
        self._refused = {key: at for key, at in self._refused.items() if now - at <= KEPT_S}
        every = (dialog for dialogs in self._dialogs.values() for dialog in dialogs.values())
        if (peers := frozenset(address for dialog in every for address, _ in dialog.peers)) != self.peers:
            self.peers = peers

    # --- steps ---

    def _take_part(self, key: tuple[str, str], source: Address, message: str, now: float) -> _Dialog:
        call_id, tag = key
        dialog = self._dialogs.setdefault(call_id, {}).setdefault(tag, _Dialog(now))
        dialog.used_at = now
        peers = {source, *reached_at(message)}
        dialog.peers |= peers
        if new := {address for address, _ in peers} - self.peers:
            self.peers |= new
        return dialog

    def _dialog(self, of: Request) -> _Dialog | None:
        return self._dialogs.get(of.call_id, {}).get(of.from_tag)

    def _is(self, source: Address, peer: Address) -> bool:
        """Compare by address; on loopback, which all programs share, also by port."""
        by_port = self._by_port and _address(source[0]).is_loopback
        return source[0] == peer[0] and (source[1] == peer[1] or not by_port)

    def _gives_up(self, request: Request) -> bool:
        if self._peer is None or request.source != self._peer or request.method != "CANCEL":
            return False
        said = header_values(request.message, HOP_HEADER)
        return any(value.strip() == f"{self._token};{GIVEN_UP}" for value in said)

    def _has_token(self, request: Request) -> bool:
        if not self._token:
            return True
        said = header_values(request.message, HOP_HEADER)
        return any(value.partition(";")[0].strip() == self._token for value in said)


def read(message: str, source: Address, sdp: Described | NotAcceptable | None = None) -> Request:
    """A request from its text; what is missing is empty. The library knows methods in any case of letters."""
    branch = _BRANCH.search(header_of(message, "Via"))
    to_tag = _tag(header_of(message, "To"))
    return Request(
        method=next(iter(message.split(None, 1)), "").upper(),  # a request line may be folded for the library
        source=source,
        message=message,
        call_id=header_of(message, "Call-ID"),
        branch=branch[1] if branch else "",
        cseq=header_of(message, "CSeq").partition(" ")[0],
        from_tag=_tag(header_of(message, "From")),
        to_tag=to_tag,
        clear=_is_clear(message, bool(to_tag)),
        sdp=sdp,
    )


@dataclass(frozen=True, slots=True)
class Response:
    """`dialog`: Call-ID and tag of the side that has answered; `method`: of what it answers."""

    status: int
    method: str
    dialog: tuple[str, str]


def read_response(message: str) -> Response:
    """A response from its text; what is missing is empty."""
    status = message.partition(" ")[2][:3]
    return Response(
        status=int(status) if status.isascii() and status.isdigit() else 0,
        method=header_of(message, "CSeq").rpartition(" ")[2].upper(),
        dialog=(header_of(message, "Call-ID"), _tag(header_of(message, "To"))),
    )


def reached_at(message: str) -> Iterable[Address]:
    """The address at which its sender can be reached from now on (RFC 3261 section 12.1)."""
    for name in ("Contact", "Record-Route"):
        for value in header_values(message, name):
            for entry in entries(value):
                try:
                    host, port = uri_host(address_of(entry))
                    host = str(_address(host))
                except ValueError:
                    continue  # a name, or unreadable: use its sender's address
                yield host, port or SIP_PORT


def _required(message: str) -> set[str]:
    """The extensions that it takes to answer a message."""
    values = [*header_values(message, "Require"), *header_values(message, "Proxy-Require")]
    return {tag.strip().lower() for value in values for tag in value.split(",") if tag.strip()}


def _takes_sdp(message: str) -> bool:
    """Whether its sender can read an answer: by Accept, or without one (RFC 3261 section 20.1)."""
    accepted = [part for value in header_values(message, "Accept") for part in value.split(",")]
    kinds = {part.partition(";")[0].strip().lower() for part in accepted}
    return not kinds or bool(kinds & {"application/sdp", "application/*", "*/*"})


def _in(source: Address, networks: Iterable[Network]) -> bool:
    address = _address(source[0])
    return any(address in network for network in networks)


def _tag(value: str) -> str:
    found = _TAG.search(unquote(value.rpartition(">")[2] if "<" in value else value))
    return found[1] if found else ""


def _is_clear(message: str, tagged: bool) -> bool:
    """Whether its dialog can be read in only one way: no second header, no tag in a quoted string."""
    one_each = all(len(header_values(message, name)) == 1 for name in ("Call-ID", "From", "To", "CSeq"))
    return one_each and len(_TAG.findall(unquote(" ".join(header_values(message, "To"))))) == tagged
