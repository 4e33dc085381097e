"""A message as the library has read it, and what it is given in the place of its session descriptions.

The parts that are SDP are those that the library itself has found: no second reader of heads and multiparts
could be as sure of them. The structures are pjsip's own (sip_msg.h, sip_multipart.h, sip_transport.h).
"""

import ctypes
from collections.abc import Container, Iterator

import pjsua2 as pj

from sipagent.pjsip.setup import LIBRARY, Text, packet_size
from sipagent.sip.head_rules import can_be_sent_to, has_tag, wants_answers_elsewhere
from sipagent.sip.session_description import UNREADABLE, Described, NotAcceptable, described

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


class _Text(ctypes.Structure):
    """`pj_str_t`, whose text may hold any byte."""

    _fields_ = (("at", ctypes.c_void_p), ("length", ctypes.c_long))

    @property
    def lower(self) -> bytes:
        return ctypes.string_at(self.at, self.length).lower() if self.at and self.length > 0 else b""


class _Body(ctypes.Structure):
    """`pjsip_msg_body`."""

    _fields_ = (
        ("type", _Text),
        ("subtype", _Text),
        ("parameters", ctypes.c_void_p * 6),
        ("data", ctypes.c_void_p),
        ("length", ctypes.c_uint),
        ("functions", ctypes.c_void_p * 2),
    )

    @property
    def is_sdp(self) -> bool:
        return (self.type.lower, self.subtype.lower) == SDP


class _Header(ctypes.Structure):
    """What every header of pjsip's begins with, and a list of them is."""

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

    def __init__(self, rdata: int, codecs: Container[str]) -> None:
        self.rdata = rdata
        native = pj.SipRxData()
        _from_native(ctypes.c_void_p(int(native.this)), ctypes.c_void_p(rdata))
        self.text: str = native.wholeMsg
        self.source: str = native.srcAddress
        self._pool = ctypes.c_void_p.from_address(rdata)
        self._message = self._found(rdata)
        self.sdp = self._described(codecs)

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
                types = (_Text * len(SDP)).from_address(at + ctypes.sizeof(_Header))
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

    def _described(self, codecs: Container[str]) -> Described | NotAcceptable | None:
        """None where there is nothing of it."""
        try:
            parts = [ctypes.string_at(body.data, body.length) for body in self._parts()]
            return described(parts, codecs) if parts else None
        except NotAcceptable as reason:
            return reason

    def _parts(self) -> Iterator[_Body]:
        """The bodies that are SDP. Raises NotAcceptable where the library could take another for one."""
        if not self._message.body:
            return
        if len(list(self._headers(pj.PJSIP_H_CONTENT_TYPE))) > 1:
            raise NotAcceptable(UNREADABLE, "more than one Content-Type")
        whole = _Body.from_address(self._message.body)
        if whole.type.lower != b"multipart":
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
