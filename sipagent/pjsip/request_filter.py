"""A module of pjsip's that sees each message first, and decides about a request (`request_rules`).

pjsua2 asks about an INVITE only once its sockets are open, and about other requests never. A request that
has to wait is cloned, as pjsip's own layers do it, and put to them later. The library sees session
descriptions, also those of responses, as `session_description` writes them.

`Received` is a message as the library has read it. The parts that are SDP are those that the library
itself has found: no second reader of heads and multiparts could be as sure of them.

The functions and structures are pjsip's own (sip_module.h, sip_endpoint.h, sip_msg.h, sip_multipart.h,
sip_transport.h).
"""

import ctypes
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import pjsua2 as pj

from sipagent.agent.engine import Headers
from sipagent.pjsip.library import LIBRARY, ReceivedText, Text, address, packet_size
from sipagent.sip.messages import can_be_sent_to, can_be_written, has_tag, wants_answers_elsewhere
from sipagent.sip.request_rules import LetGo, Pass, Refuse, Request, Verdict, Wait, read
from sipagent.sip.session_description import UNREADABLE, Described, Families, NotAcceptable, described

POINTER = ctypes.sizeof(ctypes.c_void_p)
SDP = (b"application", b"sdp")
AROUND = 1024  # bytes: what stands around a datagram's own in `pjsip_rx_data` is more

LIBRARY.pj_pool_alloc.restype = ctypes.c_void_p
LIBRARY.pjsip_msg_body_create.restype = ctypes.c_void_p
LIBRARY.pjsip_msg_find_hdr.restype = ctypes.c_void_p
LIBRARY.pjsip_msg_find_remove_hdr.restype = ctypes.c_void_p
LIBRARY.pjsip_multipart_get_first_part.restype = ctypes.c_void_p
LIBRARY.pjsip_multipart_get_next_part.restype = ctypes.c_void_p
TRYING, REDIRECTED = 100, 300
LONGEST = 4000  # bytes of a header as the library writes it; a longer one fits into no message
_from_native = LIBRARY._ZN2pj9SipRxData6fromPjER13pjsip_rx_data


class _Body(ctypes.Structure):
    """`pjsip_msg_body`."""

    _fields_ = (
        ("type", ReceivedText),
        ("subtype", ReceivedText),
        ("parameters", ctypes.c_void_p * 6),
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_uint),
        ("functions", ctypes.c_void_p * 2),
    )

    @property
    def is_sdp(self) -> bool:
        return (self.type.read().lower(), self.subtype.read().lower()) == SDP


class _Header(ctypes.Structure):
    """The fields with which every header of pjsip's begins; a list of them has the same."""

    _fields_ = (("before", ctypes.c_void_p), ("next", ctypes.c_void_p), ("more", ctypes.c_void_p * 6))


class _Part(ctypes.Structure):
    """`pjsip_multipart_part`."""

    _fields_ = (("links", ctypes.c_void_p * 2), ("headers", _Header), ("body", ctypes.c_void_p))


class _Message(ctypes.Structure):
    """`pjsip_msg`: its first line is a method and a URI, or a status."""

    _fields_ = (
        ("kind", ctypes.c_void_p),
        ("line", ctypes.c_void_p * 4),
        ("headers", _Header),
        ("body", ctypes.c_void_p),
    )


class Received:
    """A message at `rdata` in the library's memory: its `text`, `source` as `host:port`, and `sdp`."""

    _message_at = 0  # within `pjsip_rx_data`: it depends on how the library was built

    def __init__(self, rdata: int, codecs: Container[str], families: Families) -> None:
        self.rdata = rdata
        native = pj.SipRxData()
        _from_native(ctypes.c_void_p(int(native.this)), ctypes.c_void_p(rdata))
        self.text: str = native.wholeMsg
        self.source: str = native.srcAddress
        self._pool = ctypes.c_void_p.from_address(rdata)
        self._message = self._found(rdata)
        self.sdp = self._described(codecs, families)

    def show(self, sdp: Described | None) -> None:
        """Have the library see this in the place of what it describes; None: have it see no body with SDP."""
        if sdp is None and self.sdp is not None:
            self._message.body = None
        elif sdp and self.sdp is None:
            kind, text = [Text(one, len(one)) for one in SDP], sdp.texts[0]
            made = Text(text, len(text))
            self._message.body = LIBRARY.pjsip_msg_body_create(
                self._pool, *map(ctypes.byref, kind), ctypes.byref(made)
            )
            body = _Body.from_address(self._message.body or 0)
            for at in self._headers(pj.PJSIP_H_CONTENT_TYPE):  # the library goes by this, where there is one
                types = (ReceivedText * len(SDP)).from_address(at + ctypes.sizeof(_Header))
                types[0], types[1] = body.type, body.subtype
        elif sdp:
            for body, text in zip(self._parts(), sdp.texts, strict=True):
                size = len(text) + 1  # a NUL ends what the library's parser reads
                body.data = LIBRARY.pj_pool_alloc(self._pool, ctypes.c_size_t(size))
                body.length = len(text)
                ctypes.memmove(body.data or 0, text, size)

    def ask_nothing(self) -> None:
        """Have the library see no challenge in it."""
        for kind in (pj.PJSIP_H_WWW_AUTHENTICATE, pj.PJSIP_H_PROXY_AUTHENTICATE):
            while LIBRARY.pjsip_msg_find_remove_hdr(ctypes.byref(self._message), kind, None):
                pass

    @property
    def is_clear(self) -> bool:
        """Whether it is of one call: the library would take the last of two such headers, we the first."""
        kinds = (pj.PJSIP_H_CALL_ID, pj.PJSIP_H_CSEQ, pj.PJSIP_H_FROM, pj.PJSIP_H_TO)
        return all(len(list(self._headers(kind))) == 1 for kind in kinds)

    @property
    def answers_in_no_dialog(self) -> bool:
        """Whether it is a response to an INVITE, not the first nor a refusal, that has no To tag."""
        status = (self._message.line[0] or 0) & 0xFFFF_FFFF
        method, to = (_written(next(self._headers(kind))) for kind in (pj.PJSIP_H_CSEQ, pj.PJSIP_H_TO))
        return TRYING < status < REDIRECTED and method.upper().endswith(" INVITE") and not has_tag(to)

    @property
    def wants_answers_elsewhere(self) -> bool:
        """Whether a request is to be answered at another place than it came from."""
        return wants_answers_elsewhere(_written(next(self._headers(pj.PJSIP_H_VIA))))

    def leave_out_unreachable(self, transport: str) -> None:
        """Have the library see no next hop that it could not send to: the one that it knew before stays.

        That is the last Record-Route, or without any the Contact.
        """
        routes = list(self._headers(pj.PJSIP_H_RECORD_ROUTE))
        if routes and can_be_sent_to(_written(routes[-1]), transport):
            return
        for at in [*routes, *self._headers(pj.PJSIP_H_CONTACT)]:
            if not can_be_sent_to(_written(at), transport):
                links = _Header.from_address(at)
                _Header.from_address(links.before).next = links.next
                _Header.from_address(links.next).before = links.before

    # --- steps ---

    def _found(self, rdata: int) -> _Message:
        """Behind the place of its text and its length. Raises LookupError."""
        if not Received._message_at:
            Received._message_at = self._search(rdata)
        at = ctypes.c_void_p.from_address(rdata + Received._message_at).value
        return _Message.from_address(at or 0)

    def _search(self, rdata: int) -> int:
        text, packet = self.text.encode("utf-8", "surrogateescape"), packet_size()
        for at in range(packet, packet + AROUND, POINTER):
            buffer = ctypes.c_void_p.from_address(rdata + at).value or 0
            length = ctypes.c_int.from_address(rdata + at + POINTER).value
            within = rdata < buffer < rdata + AROUND
            if within and length == len(text) and ctypes.string_at(buffer, length) == text:
                return at + 2 * POINTER
        raise LookupError("the library keeps messages in another way than this knows")

    def _described(self, codecs: Container[str], families: Families) -> Described | NotAcceptable | None:
        """None where there is nothing of it."""
        try:
            parts = [ctypes.string_at(body.data, body.length) for body in self._parts()]
            return described(parts, codecs, families) if parts else None
        except NotAcceptable as reason:
            return reason

    def _parts(self) -> Iterator[_Body]:
        """The bodies that are SDP. Raises NotAcceptable where the library could take another for one."""
        if not self._message.body:
            return
        if len(list(self._headers(pj.PJSIP_H_CONTENT_TYPE))) > 1:
            raise NotAcceptable(UNREADABLE, "more than one Content-Type")
        whole = _Body.from_address(self._message.body)
        if whole.type.read().lower() != b"multipart":
            yield from [whole] if whole.is_sdp else []
            return
        body = ctypes.byref(whole)
        at = LIBRARY.pjsip_multipart_get_first_part(body)
        while at:
            part = _Body.from_address(_Part.from_address(at).body)
            yield from [part] if part.is_sdp else []
            at = LIBRARY.pjsip_multipart_get_next_part(body, ctypes.c_void_p(at))

    def _headers(self, kind: int) -> Iterator[int]:
        """The headers of one kind, in order."""
        message, last = ctypes.byref(self._message), ctypes.addressof(self._message.headers)
        at = LIBRARY.pjsip_msg_find_hdr(message, kind, None)
        while at:
            yield at
            after = _Header.from_address(at).next
            at = after != last and LIBRARY.pjsip_msg_find_hdr(message, kind, ctypes.c_void_p(after))


def _written(header: int) -> str:
    """A header as the library would write it; empty where it is too long."""
    text = ctypes.create_string_buffer(LONGEST)
    length = LIBRARY.pjsip_hdr_print_on(ctypes.c_void_p(header), text, ctypes.c_size_t(LONGEST))
    return text.raw[: max(0, length)].decode("latin-1")


FIRST = 9  # a priority behind that of transports (8), before transactions (16)
NAME = b"mod-sipagent"
TAKEN, LEFT = 1, 0  # a module's answers: nobody else sees the message, or the next one does

OnMessage = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
LIBRARY.pjsip_generic_string_hdr_create.restype = ctypes.c_void_p
LIBRARY.pjsip_endpt_create_pool.restype = ctypes.c_void_p


class _Module(ctypes.Structure):
    """`pjsip_module`: a list's two pointers, then who it is and what it is asked."""

    _fields_ = (
        ("links", ctypes.c_void_p * 2),
        ("name", Text),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("life", ctypes.c_void_p * 4),  # load, start, stop, unload
        ("on_rx_request", OnMessage),
        ("on_rx_response", OnMessage),
        ("others", ctypes.c_void_p * 3),  # on_tx_request, on_tx_response, on_tsx_state
    )


class _Start(ctypes.Structure):
    """`pjsip_process_rdata_param`: which module is the first to see a message."""

    _fields_ = (
        ("priority", ctypes.c_uint),
        ("module", ctypes.c_void_p),
        ("behind", ctypes.c_uint),
        ("silent", ctypes.c_int),
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """A request that waits: `clone` is the library's memory, `due` monotonic s."""

    due: float
    clone: int
    request: Request


class RequestFilter:
    """On the SIP thread `judge(request)` is asked, `took` told what came of it, and `failed` of a fault.

    `responds` is given the text of a response and what it describes, and says what the library is to see.
    `heeds(text, source)`: whether it may ask for a password. `codecs`, `families`: what may be described.
    """

    def __init__(
        self,
        judge: Callable[[Request], Verdict],
        took: Callable[[Request, Verdict], None],
        responds: Callable[[str, Described | NotAcceptable | None], Described | None],
        failed: Callable[[str], None],
        *,
        codecs: Container[str],
        families: Families,
        heeds: Callable[[str, str], bool],
        transport: str,
    ) -> None:
        self._judge, self._took, self._responds, self._failed = judge, took, responds, failed
        self._spoken = codecs, families
        self._heeds, self._transport = heeds, transport
        self._held: list[_Held] = []
        self._module = _Module(  # kept, with its callbacks: the library uses it as long as it lives
            name=Text(NAME, len(NAME)),
            id=-1,
            priority=FIRST,
            on_rx_request=OnMessage(self._guarded(self._decided)),
            on_rx_response=OnMessage(self._guarded(self._answered)),
        )
        self._endpoint = ctypes.c_void_p()

    def start(self) -> None:
        """Be asked from now on. To be called between the library's creation and its start."""
        self._endpoint = ctypes.c_void_p(LIBRARY.pjsua_get_pjsip_endpt())
        LIBRARY.pjsip_endpt_register_module(self._endpoint, ctypes.byref(self._module))

    def poll(self, now: float) -> None:
        """Judge again what has waited."""
        due = [one for one in self._held if one.due <= now]
        self._held = [one for one in self._held if one.due > now]
        for one in due:
            self._again(one, now)

    @property
    def due(self) -> float | None:
        """When `poll` has something to do (monotonic s)."""
        return min((one.due for one in self._held), default=None)

    @property
    def waiting(self) -> int:
        """How many requests are held back."""
        return len(self._held)

    def stop(self) -> None:
        """Let go of what waits, while the library lives."""
        for one in self._held:
            LIBRARY.pjsip_rx_data_free_cloned(ctypes.c_void_p(one.clone))
        self._held.clear()

    # --- steps ---

    def _guarded(self, decide: Callable[[Received], int]) -> Callable[[int], int]:
        """Nothing may escape into native code; what fails is taken for a stranger's."""

        def on_message(rdata: int) -> int:
            try:
                received = Received(rdata, *self._spoken)
                return decide(received) if can_be_written(received.text) else TAKEN
            except Exception as failure:  # noqa: BLE001
                self._failed(f"a message could not be judged: {failure!r}")
                return TAKEN

        return on_message

    def _answered(self, response: Received) -> int:
        if not response.is_clear or response.answers_in_no_dialog:
            return TAKEN
        response.leave_out_unreachable(self._transport)
        if not self._heeds(response.text, response.source):
            response.ask_nothing()
        response.show(self._responds(response.text, response.sdp))
        return LEFT

    def _decided(self, received: Received) -> int:
        source = address(received.source)
        if source is None:
            return TAKEN  # from port 0
        request = read(received.text, source, received.sdp)
        if received.wants_answers_elsewhere or (request.to_tag and not received.is_clear):
            return TAKEN
        verdict = self._judge(request)
        self._took(request, verdict)
        match verdict:
            case Pass():
                if request.to_tag:
                    received.leave_out_unreachable(self._transport)
                _show(received)
                return LEFT
            case Refuse():
                self._refuse(received.rdata, verdict)
            case Wait(seconds):
                self._hold(received.rdata, request, seconds)
            case LetGo():
                self._let_go(request)
        return TAKEN

    def _hold(self, rdata: int, request: Request, seconds: float) -> None:
        clone = ctypes.c_void_p()
        LIBRARY.pjsip_rx_data_clone(ctypes.c_void_p(rdata), 0, ctypes.byref(clone))
        waits = replace(request, waited_s=request.waited_s + seconds)
        self._held.append(_Held(time.monotonic() + seconds, clone.value or 0, waits))

    def _let_go(self, of: Request) -> None:
        """The requests of this dialog that are held back."""
        for one in [one for one in self._held if one.request.dialog == of.dialog]:
            self._held.remove(one)
            LIBRARY.pjsip_rx_data_free_cloned(ctypes.c_void_p(one.clone))

    def _again(self, held: _Held, now: float) -> None:
        verdict = self._judge(held.request)
        self._took(held.request, verdict)
        if isinstance(verdict, Wait):
            waits = replace(held.request, waited_s=held.request.waited_s + verdict.seconds)
            self._held.append(_Held(now + verdict.seconds, held.clone, waits))
            return
        if isinstance(verdict, Pass):
            _show(Received(held.clone, *self._spoken))
            start = _Start(priority=FIRST + 1)
            LIBRARY.pjsip_endpt_process_rx_data(
                self._endpoint, ctypes.c_void_p(held.clone), ctypes.byref(start), None
            )
        elif isinstance(verdict, Refuse):
            self._refuse(held.clone, verdict)
        LIBRARY.pjsip_rx_data_free_cloned(ctypes.c_void_p(held.clone))

    def _refuse(self, rdata: int, refusal: Refuse) -> None:
        """Without a transaction: whoever repeats the request is answered again."""
        size = ctypes.c_size_t(512)
        pool = ctypes.c_void_p(LIBRARY.pjsip_endpt_create_pool(self._endpoint, NAME, size, size))
        headers = _List(pool, refusal.headers)
        LIBRARY.pjsip_endpt_respond_stateless(
            self._endpoint, ctypes.c_void_p(rdata), refusal.status, None, headers.head, None
        )
        LIBRARY.pjsip_endpt_release_pool(self._endpoint, pool)


def _show(request: Received) -> None:
    """Have the library see what it may of the description in a request that passes."""
    request.show(request.sdp if isinstance(request.sdp, Described) else None)


class _List:
    """A list of headers in a pool of the library's; it lives as long as both."""

    def __init__(self, pool: ctypes.c_void_p, headers: Headers) -> None:
        self._links = _Header()
        self.head = ctypes.c_void_p(ctypes.addressof(self._links))
        chain = [self.head.value, *(_header(pool, *one) for one in headers), self.head.value]
        for before, here in pairwise(chain):
            _Header.from_address(before or 0).next = here
            _Header.from_address(here or 0).before = before


def _header(pool: ctypes.c_void_p, name: str, value: str) -> int:
    texts = [Text(text.encode(), len(text.encode())) for text in (name, value)]
    made: int = LIBRARY.pjsip_generic_string_hdr_create(pool, *(ctypes.byref(text) for text in texts))
    return made
