"""A scripted telephone in plain sockets: calls and is called, says keys in three ways, hears what it is
sent.

It plays the caller and the operator in `sipagent demo` and in the tests. One `Loop` thread serves any
number of phones; each `Phone` keeps every message with the instant (monotonic, ns) at which it left or
came:

    with Loop() as loop, Phone(loop, "201") as desk, Phone(loop, "+33612345678") as caller:
        desk.answer = Answering(after_s=0.2)
        call = caller.call("sip:0323063006@127.0.0.1:5060")
        call.wait_answered()
        call.press("9")
        operator = desk.wait_call()
        call.hang_up()
        operator.wait_ended()

A `Call` is one dialog (RFC 3261, 12), with its offers and answers, its keys and its end.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from sipagent.softphone.loop import MS, PATIENCE_S, Loop, PhoneError, PhoneTimeout, Timer
from sipagent.softphone.rtp import KeySending, RtpEnd, SoundSource
from sipagent.softphone.sip import (
    REASONS,
    Challenge,
    Headers,
    Media,
    Message,
    address_of,
    parameter,
    place,
    routes_of,
    sdp,
    uri_of,
)

__all__ = ["Answering", "Call", "Challenge", "Loop", "Phone", "PhoneError", "PhoneTimeout"]


@dataclass(slots=True)
class Transaction:
    """A request on its way; `on_response(None)` means that nobody answered."""

    request: Message
    to: tuple[str, int]
    on_response: Callable[[Message | None], None]
    timer: Timer | None = None


@dataclass(frozen=True, slots=True)
class TimedMessage:
    """A message and when it left or came (monotonic, ns)."""

    at_ns: int
    sent: bool
    message: Message

    def describe(self) -> str:
        return f"{self.message.describe()} {'sent' if self.sent else 'received'}"


Way = Literal["rfc4733", "info", "info-dtmf", "inband"]
UNDER_WAY = (491, 500)
"""What is answered to an offer while another one is: its ACK may still be on its way (14.1, 14.2)."""
AGAIN_S = (0.2, 0.5, 1.0)


class Call:
    """One dialog from either side; made by `Phone.call` or `Phone.wait_call`."""

    def __init__(
        self,
        phone: Phone,
        call_id: str,
        local: str,
        remote: str,
        target: str,
        *,
        incoming: Message | None = None,
    ) -> None:
        self.phone, self.loop, self.call_id = phone, phone.loop, call_id
        self.local, self.remote, self.target = local, remote, target
        self.incoming = incoming
        self.outgoing = incoming is None
        self.rtp = phone.new_rtp()
        self.provisional: list[int] = []
        self.status: int | None = None  # of the INVITE; 408 where nobody answered
        self.final: Message | None = None
        self.answered_ns: int | None = None
        self.ended_ns: int | None = None
        self.ended_by: Literal["us", "them", "status", None] = None
        self.acked = False
        self.media: Media | None = None  # the other side's latest SDP
        self.directions: list[str] = []  # all that the other side has asked for
        self._direction = "sendrecv"
        self._version = 0
        self._cseq = secrets.randbelow(1000)
        self._routes = routes_of(incoming) if incoming else []
        self._invite: Transaction | None = None
        self._ack: tuple[Message, tuple[str, int]] | None = None
        self._cancelling = False

    # -- what a script does -------------------------------------------------------------------------------

    def wait_answered(self, timeout: float = PATIENCE_S) -> int:
        """When the 2xx came or went, ns; raises PhoneError where it was something else."""
        self.loop.wait_for(lambda: self.status is not None, timeout, f"answer to {self.phone.user}")
        if self.answered_ns is None:
            raise PhoneError(f"{self.phone.user}: {self.final.start if self.final else self.status}")
        return self.answered_ns

    def wait_status(self, timeout: float = PATIENCE_S) -> int:
        """The final status of the INVITE, whatever it is."""
        self.loop.wait_for(lambda: self.status is not None, timeout, f"final status for {self.phone.user}")
        return self.status or 0

    def wait_acked(self, timeout: float = PATIENCE_S) -> None:
        self.loop.wait_for(lambda: self.acked, timeout, f"ACK to {self.phone.user}")

    def wait_ended(self, timeout: float = PATIENCE_S) -> int:
        """When the call ended, by whomever, ns."""
        self.loop.wait_for(
            lambda: self.ended_ns is not None, timeout, f"end of the call at {self.phone.user}"
        )
        return self.ended_ns or 0

    def hang_up(self) -> int:
        """Send BYE; returns when, ns."""
        with self.loop.changing():
            self._end("us")
            self._send("BYE", lambda _: None)
            return self.phone.at("BYE sent", self.phone.count("BYE sent") - 1)

    def cancel(self) -> None:
        """CANCEL, as soon as RFC 3261, 9.1 allows: after the first provisional answer."""
        with self.loop.changing():
            self._cancelling = True
            if self.provisional and self.status is None:
                self._send_cancel()

    def end(self) -> None:
        """Whatever ends the call in its present state: CANCEL before the answer, BYE after it."""
        with self.loop.changing():
            if self.ended_ns is None and self.outgoing and self.answered_ns is None:
                self.cancel()
            elif self.ended_ns is None and self.answered_ns is not None:
                self.hang_up()

    def hold(self, direction: str = "sendonly", method: Literal["INVITE", "UPDATE"] = "INVITE") -> None:
        """re-INVITE, or UPDATE, with this direction and wait for its answer."""
        self._direction = direction
        self.offer(self._sdp(), method)

    def offer(self, body: bytes, method: Literal["INVITE", "UPDATE"] = "INVITE") -> None:
        """Any offer of ours, again while one before is under way (RFC 3261, 14); PhoneError where refused."""
        answer = self.request(method, body=body)
        for pause_s in AGAIN_S:
            if answer.status not in UNDER_WAY:
                break
            time.sleep(pause_s)
            answer = self.request(method, body=body)
        if answer.status != 200:
            raise PhoneError(f"{method} refused: {answer.start}")
        with self.loop.changing():
            self._learn(answer, method)

    def resume(self) -> None:
        self.hold("sendrecv")

    def press(
        self, key: str, way: Way = "rfc4733", *, ms: int = 80, lose: int | frozenset[int] = 0, at_ns: int = 0
    ) -> KeySending:
        """A key by one of its ways; `KeySending.at_ns` (see `pressed_ns`) is the instant that counts."""
        if way in ("rfc4733", "inband"):
            return self.rtp.press(key, inband=way == "inband", ms=ms, lose=lose, at_ns=at_ns)
        relay = way == "info"
        body = f"Signal={key}\r\nDuration={ms}\r\n" if relay else key
        kind = "application/dtmf-relay" if relay else "application/dtmf"
        press = KeySending(key, False, 0, frozenset(), at_ns)

        def send() -> None:
            press.at_ns = time.monotonic_ns()
            self._send("INFO", lambda _: None, (("Content-Type", kind),), body.encode())

        with self.loop.changing():
            if at_ns:
                self.loop.at(at_ns, send)
            else:
                send()
        return press

    def pressed_ns(self, press: KeySending, timeout: float = PATIENCE_S) -> int:
        return self.rtp.pressed_ns(press, timeout)

    def request(
        self, method: str, headers: Headers = (), body: bytes = b"", timeout: float = PATIENCE_S
    ) -> Message:
        """A request inside the dialog; waits for its final answer."""
        answers: list[Message | None] = []

        def on_response(message: Message | None) -> None:
            if message is None or (message.status or 0) >= 200:
                answers.append(message)
                if method == "INVITE" and message is not None:
                    self._send_ack(message, offered=bool(body))

        if body and not any(name == "Content-Type" for name, _ in headers):
            headers = (*headers, ("Content-Type", "application/sdp"))
        with self.loop.changing():
            self._send(method, on_response, headers, body)
        self.loop.wait_for(lambda: bool(answers), timeout, f"answer to {method}")
        if answers[0] is None:
            raise PhoneError(f"nobody answered {method}")
        return answers[0]

    # -- calling ------------------------------------------------------------------------------------------

    def invite(self, headers: Headers, raw_sdp: bytes | None, proxy: tuple[str, int] | None) -> None:
        body = self._sdp() if raw_sdp is None else raw_sdp
        if body:
            headers = (*headers, ("Content-Type", "application/sdp"))
        self._cseq += 1
        request = self._request("INVITE", self._cseq, headers, body)
        self._invite = Transaction(request, proxy or address_of(self.target), self._on_invite_response)
        self.phone.request(self._invite)

    def _on_invite_response(self, answer: Message | None) -> None:
        status = 408 if answer is None else answer.status or 0
        if status < 200:
            self.provisional.append(status)
            if self._cancelling and len(self.provisional) == 1:
                self._send_cancel()
            return
        repeated, self.status, self.final = self.status is not None, status, answer
        offered = bool(self._invite and self._invite.request.body)
        if answer is None or status >= 300:
            if answer is not None:
                self._send_ack(answer, offered)
            if not repeated:
                self._end("status")
            return
        if not repeated:
            self._establish(answer)
        self._send_ack(answer, offered)
        if self._cancelling and self.ended_ns is None:  # the answer crossed our CANCEL
            self.hang_up()

    def _establish(self, answer: Message) -> None:
        self.answered_ns = time.monotonic_ns()
        self.remote, self._routes = answer.header("To"), routes_of(answer)[::-1]
        self._learn(answer, "INVITE")

    def _send_ack(self, answer: Message, offered: bool) -> None:
        """For a 2xx a request of the dialog, else the transaction's own (RFC 3261, 13.2.2.4 and 17.1.1.3).

        Where the INVITE `offered` no SDP, the 2xx did, and the ACK has the answer (13.2.1 there).
        """
        number = int(answer.header("CSeq").split()[0])
        if (answer.status or 0) < 300:
            if self._ack is None or self._ack[0].header("CSeq") != f"{number} ACK":
                kind: Headers = () if offered else (("Content-Type", "application/sdp"),)
                body = b"" if offered else self._sdp()
                self._ack = (self._request("ACK", number, kind, body), self._next_hop())
            self.phone.send(*self._ack)
            self.acked = True
            return
        assert self._invite is not None
        self.phone.send(self._of_invite("ACK", answer.header("To")), self._invite.to)

    def _send_cancel(self) -> None:
        assert self._invite is not None
        request = self._of_invite("CANCEL", self._invite.request.header("To"))
        self.phone.request(Transaction(request, self._invite.to, lambda _: None))

    def _of_invite(self, method: str, to: str) -> Message:
        """ACK or CANCEL with the branch of the INVITE that it belongs to."""
        assert self._invite is not None
        invite = self._invite.request
        number = invite.header("CSeq").split()[0]
        kept = [(n, v) for n, v in invite.headers if n in ("Via", "Max-Forwards", "From", "Call-ID", "Route")]
        return Message(
            f"{method} {invite.request_uri} SIP/2.0", (*kept, ("To", to), ("CSeq", f"{number} {method}"))
        )

    def is_replaced_by(self, replaces: str) -> bool:
        """Whether a Replaces header means this call, and it is up (RFC 3891, 3)."""
        tags = parameter(replaces, "to-tag"), parameter(replaces, "from-tag")
        ours = replaces.partition(";")[0].strip() == self.call_id and tags == (self._tag, self._their_tag)
        return ours and self.answered_ns is not None and self.ended_ns is None

    def replacing(self) -> str:
        """How the other side of this call would name it to somebody else: `?Replaces=…`, for a Refer-To."""
        return f"?Replaces={quote(f'{self.call_id};to-tag={self._tag};from-tag={self._their_tag}', safe='')}"

    # -- being called -------------------------------------------------------------------------------------

    def on_invite(self, ring: bool) -> None:
        assert self.incoming is not None
        self.phone.respond(self.incoming, 180 if ring else 100, self._tag if ring else "", self._contact())
        self.provisional.append(180 if ring else 100)

    def decide(self, status: int, headers: Headers = ()) -> None:
        """Answer the INVITE: 200 with our SDP, or a refusal. Nothing happens to one already decided."""
        assert self.incoming is not None
        with self.loop.changing():
            if self.status is not None:
                return
            self.status = status
            if status >= 300:
                self.phone.respond(self.incoming, status, self._tag, headers)
                self._end("status")
                return
            self.media = Media.parse(self.incoming.body)
            self._answer_offer(self.incoming, headers)
            self.answered_ns = time.monotonic_ns()

    def on_ack(self) -> None:
        self.acked = True

    def on_request(self, message: Message) -> None:
        """Requests inside the dialog, from the other side."""
        match message.method:
            case "BYE":
                self.phone.respond(message, 200)
                self._end("them")
            case "CANCEL":
                self.phone.respond(message, 200, self._tag)
                if self.incoming and self.status is None:
                    self.status = 487
                    self.phone.respond(self.incoming, 487, self._tag)
                    self._end("them")
            case "INVITE" | "UPDATE" if self.ended_ns is None and (self.status is not None or self.outgoing):
                self._answer_offer(message)
            case "INVITE" | "UPDATE":
                self.phone.respond(message, 481, self._tag)
            case "INFO" | "OPTIONS" | "NOTIFY" | "MESSAGE":
                self.phone.respond(message, 200)
            case "REFER":
                if self.phone.refer_status is not None:
                    self.phone.respond(message, self.phone.refer_status)
            case _:
                self.phone.respond(message, 501)

    def _answer_offer(self, message: Message, headers: Headers = ()) -> None:
        self._learn(message, message.method)
        direction = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(
            self.media.direction if self.media and message.body else "sendrecv", self._direction
        )
        if self.media and self.media.direction == "inactive":
            direction = "inactive"
        body = self._sdp(direction) if message.body or message.method == "INVITE" else b""
        kind: Headers = (("Content-Type", "application/sdp"),) if body else ()
        self.phone.respond(message, 200, self._tag, (*self._contact(), *kind, *headers), body)

    # -- both ---------------------------------------------------------------------------------------------

    @property
    def _tag(self) -> str:
        return parameter(self.local, "tag")

    @property
    def _their_tag(self) -> str:
        return parameter(self.remote, "tag")

    def _contact(self) -> Headers:
        return (("Contact", f"<{self.phone.contact or self.phone.uri}>"),)

    def _sdp(self, direction: str | None = None) -> bytes:
        self._version += 1
        events = self.phone.event_type
        plain = sdp(self.rtp.address, self.phone.codecs, events, direction or self._direction, self._version)
        return plain + self.phone.sdp_lines

    def _learn(self, message: Message, method: str) -> None:
        """Take the other side's Contact and SDP, and send our sound where it says."""
        if contact := message.header("Contact"):
            self.target = uri_of(contact)
        media = Media.parse(message.body) if message.body else None
        if media is None:
            return
        self.media = media
        self.directions.append(media.direction)
        common = [kind for kind in media.payload_types if kind in self.phone.codecs]
        if common and method in ("INVITE", "UPDATE"):
            self.rtp.send_to(media.address, common[0], media.event_type if self.phone.event_type else None)

    def _next_hop(self) -> tuple[str, int]:
        return address_of(uri_of(self._routes[0]) if self._routes else self.target)

    def _request(self, method: str, number: int, headers: Headers = (), body: bytes = b"") -> Message:
        fixed = [
            ("Via", f"SIP/2.0/UDP {place(self.phone.address)};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"), *(("Route", one) for one in self._routes),
            ("From", self.local), ("To", self.remote), ("Call-ID", self.call_id),
            ("CSeq", f"{number} {method}"),
        ]  # fmt: skip
        return Message(f"{method} {self.target} SIP/2.0", (*fixed, *self._contact(), *headers), body)

    def _send(
        self, method: str, done: Callable[[Message | None], None], headers: Headers = (), body: bytes = b""
    ) -> None:
        self._cseq += 1
        transaction = Transaction(self._request(method, self._cseq, headers, body), self._next_hop(), done)
        if method == "INVITE":
            self._invite = transaction  # the one that an ACK to a refusal belongs to
        self.phone.request(transaction)

    def _end(self, by: Literal["us", "them", "status"]) -> None:
        if self.ended_ns is None:
            self.ended_ns, self.ended_by = time.monotonic_ns(), by
            self.rtp.close()


T1_NS, T2_NS = 500 * MS, 4000 * MS  # RFC 3261, 17.1.1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """How a phone takes an incoming call: `status` None never decides, `silent` sends not one word."""

    status: int | None = 200
    after_s: float = 0.0
    ring: bool = True
    silent: bool = False
    headers: Headers = ()


class Phone:
    """One SIP address on one UDP port. `user` is a number or an extension; `display` the name shown.

    `media_ip`: where its RTP comes to, if not there, too.
    """

    def __init__(
        self,
        loop: Loop,
        user: str,
        ip: str = "127.0.0.1",
        port: int = 0,
        *,
        display: str = "",
        codecs: tuple[int, ...] = (8, 0),
        event_type: int | None = 101,
        phase_ms: float = 0,
        media_ip: str = "",
    ) -> None:
        self.media_ip = media_ip or ip
        self.loop, self.user, self.display = loop, user, display
        self.codecs, self.event_type, self.phase_ms = codecs, event_type, phase_ms
        self.answer = Answering()
        self.challenge: Challenge | None = None
        self.refer_status: int | None = 501  # its answer to a REFER; None: it says nothing
        self.sound: Callable[[], SoundSource | None] | None = (
            None  # what each new call sends; absent: silence
        )
        self.contact = ""  # a URI in the place of its own
        self.sdp_lines = b""  # attributes of the audio, at the end of every SDP
        self.seen: list[TimedMessage] = []
        self.calls: list[Call] = []
        self.malformed = 0
        self._taken = 0
        self._socket = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, port))
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._client: dict[tuple[str, str], Transaction] = {}
        self._served: dict[tuple[str, str], Message] = {}
        self._repeats: dict[str, Timer] = {}  # final answers to INVITE, until the ACK, by Call-ID and CSeq
        loop.watch(self._socket, self._receive)

    def __enter__(self) -> Phone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def uri(self) -> str:
        return f"sip:{self.user}@{place(self.address)}"

    @property
    def closed(self) -> bool:
        return self._socket.fileno() < 0

    def call(
        self,
        uri: str,
        *,
        headers: Headers = (),
        sdp: bytes | None = None,
        from_header: str | None = None,
        proxy: tuple[str, int] | None = None,
    ) -> Call:
        """Send an INVITE and return at once. `sdp` and `from_header` replace ours, raw."""
        shown = f'"{self.display}" ' if self.display else ""
        tag = secrets.token_hex(4)
        local = from_header or f"{shown}<{self.uri}>"
        call = Call(self, f"{secrets.token_hex(8)}@{self.address[0]}", f"{local};tag={tag}", f"<{uri}>", uri)
        with self.loop.changing():
            self.calls.append(call)
            call.invite(headers, sdp, proxy)
        return call

    def wait_call(self, timeout: float = PATIENCE_S) -> Call:
        """The next incoming call not yet given out (an INVITE that a challenge turned away is none)."""

        def incoming() -> list[Call]:
            return [one for one in self.calls if not one.outgoing]

        self.loop.wait_for(lambda: len(incoming()) > self._taken, timeout, f"call to {self.user}")
        with self.loop.lock:
            self._taken += 1
            return incoming()[self._taken - 1]

    def skip_calls(self) -> None:
        """Take all calls that have come in so far for given out: `wait_call` waits for a new one."""
        with self.loop.lock:
            self._taken = sum(not one.outgoing for one in self.calls)

    def at(self, what: str, nth: int = 0) -> int:
        """When the nth `INVITE received`, `200 INVITE sent` and so on was seen, ns; raises PhoneError."""
        with self.loop.lock:
            found = [one.at_ns for one in self.seen if one.describe() == what]
            if len(found) <= nth:
                raise PhoneError(f"{self.user}: no {what}; seen: {[one.describe() for one in self.seen]}")
            return found[nth]

    def wait_at(self, what: str, nth: int = 0, timeout: float = PATIENCE_S) -> int:
        """When the nth of these was seen, ns, up to `timeout` s from now; raises PhoneError."""
        self.loop.wait_for(
            lambda: sum(one.describe() == what for one in self.seen) > nth, timeout, f"{what} at {self.user}"
        )
        return self.at(what, nth)

    def count(self, what: str) -> int:
        with self.loop.lock:
            return sum(one.describe() == what for one in self.seen)

    def close(self) -> None:
        """Let go of the ports; calls still up end without a word, as when a phone loses its power."""
        with self.loop.lock:
            for call in self.calls:
                call.rtp.close()
            for timer in [*self._repeats.values(), *(t.timer for t in self._client.values() if t.timer)]:
                timer.cancel()
            if self._socket.fileno() >= 0:
                self.loop.unwatch(self._socket)
                self._socket.close()

    def new_rtp(self) -> RtpEnd:
        end = RtpEnd(self.loop, self.media_ip, phase_ms=self.phase_ms)
        if self.sound:
            end.play(self.sound())
        return end

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Message, to: tuple[str, int]) -> None:
        packet = message.pack()
        if self.closed:
            return  # closed: a phone without power says nothing
        self.seen.append(TimedMessage(time.monotonic_ns(), True, message))
        self._socket.sendto(packet, to)

    def request(self, transaction: Transaction) -> None:
        """Send a request and repeat it until something answers (RFC 3261, timers A and E)."""
        message = transaction.request
        self._client[(message.branch, message.method)] = transaction
        self.send(message, transaction.to)
        transaction.timer = self._again(lambda: self.send(message, transaction.to), T1_NS, transaction)

    def _again(self, resend: Callable[[], None], wait_ns: int, transaction: Transaction) -> Timer:
        def due() -> None:
            if wait_ns > 32 * T1_NS:
                transaction.on_response(None)
                return
            resend()
            transaction.timer = self._again(resend, wait_ns * 2, transaction)

        return self.loop.at(time.monotonic_ns() + wait_ns, due)

    def respond(
        self, request: Message, status: int, tag: str = "", headers: Headers = (), body: bytes = b""
    ) -> None:
        """Answer along the request's Via (RFC 3581: to where it came from)."""
        to = request.header("To")
        if tag and not parameter(to, "tag"):
            to += f";tag={tag}"
        copied = [("Via", one) for one in request.all("Via")] + [
            ("Record-Route", one) for one in request.all("Record-Route")
        ]
        copied += [("From", request.header("From")), ("To", to), ("Call-ID", request.header("Call-ID"))]
        copied += [("CSeq", request.header("CSeq")), *headers]
        answer = Message(f"SIP/2.0 {status} {REASONS.get(status, 'Other')}", tuple(copied), body)
        self._served[(request.branch, request.method)] = answer
        target = _address_of_via(request)
        self.send(answer, target)
        if request.method == "INVITE" and status >= 200:
            self._repeat(answer, target, T1_NS)

    def _repeat(self, answer: Message, to: tuple[str, int], wait_ns: int) -> None:
        key = f"{answer.header('Call-ID')} {answer.header('CSeq').split()[0]}"

        def due() -> None:
            if wait_ns <= 32 * T1_NS:
                self.send(answer, to)
                self._repeat(answer, to, min(wait_ns * 2, T2_NS) if wait_ns < T2_NS else wait_ns)

        self._repeats[key] = self.loop.at(time.monotonic_ns() + wait_ns, due)

    # -- receiving ----------------------------------------------------------------------------------------

    def _receive(self) -> None:
        packet, sender = self._socket.recvfrom(65535, socket.MSG_DONTWAIT)
        now = time.monotonic_ns()
        if not packet.strip(b"\r\n\0"):
            return  # keep-alive
        try:
            message = _stamped(Message.parse(packet), sender)
        except ValueError:
            self.malformed += 1
            return
        self.seen.append(TimedMessage(now, False, message))
        if message.status:
            self._on_response(message)
        else:
            self._on_request(message)

    def _on_response(self, message: Message) -> None:
        transaction = self._client.get((message.branch, message.method))
        if transaction is None:
            return
        if transaction.timer:
            transaction.timer.cancel()
        transaction.on_response(message)

    def _on_request(self, message: Message) -> None:
        call = self._dialog(message)
        if message.method == "ACK":
            if timer := self._repeats.pop(
                f"{message.header('Call-ID')} {message.header('CSeq').split()[0]}", None
            ):
                timer.cancel()
            if call:
                call.on_ack()
            return
        if earlier := self._served.get((message.branch, message.method)):
            self.send(earlier, _address_of_via(earlier))
            return
        asked = self.challenge
        if asked and message.method in asked.within and not asked.passed_by(message):
            self.respond(message, asked.status, headers=(asked.header(),))
        elif call:
            call.on_request(message)
        elif message.method == "INVITE" and not parameter(message.header("To"), "tag"):
            self._on_invite(message)
        elif message.method == "OPTIONS" and self.answer.silent:
            return
        elif message.method == "OPTIONS":
            self.respond(message, 200, secrets.token_hex(4))
        else:
            self.respond(message, 481, secrets.token_hex(4))

    def _dialog(self, message: Message) -> Call | None:
        return next((one for one in self.calls if one.call_id == message.header("Call-ID")), None)

    def _on_invite(self, message: Message) -> None:
        if self.answer.silent:
            return
        if self.challenge and not self.challenge.passed_by(message):
            self.respond(message, self.challenge.status, secrets.token_hex(4), (self.challenge.header(),))
            return
        replaces = message.header("Replaces")
        replaced = next((one for one in self.calls if replaces and one.is_replaced_by(replaces)), None)
        if replaces and replaced is None:
            self.respond(message, 481, secrets.token_hex(4))
            return
        local = f"{message.header('To')};tag={secrets.token_hex(4)}"
        target = uri_of(message.header("Contact")) or uri_of(message.header("From"))
        call = Call(self, message.header("Call-ID"), local, message.header("From"), target, incoming=message)
        self.calls.append(call)
        if replaced:
            call.decide(200)
            replaced.hang_up()
            return
        call.on_invite(self.answer.ring)
        answer = self.answer
        if answer.status is not None:
            status = answer.status
            self.loop.after(answer.after_s, lambda: call.decide(status, answer.headers))


def _stamped(message: Message, sender: tuple[str, int]) -> Message:
    """The request with `received` and `rport` filled in on its top Via (RFC 3581, 4)."""
    if message.status:
        return message
    headers = list(message.headers)
    top = next((i for i, (name, _) in enumerate(headers) if name.lower() in ("via", "v")), None)
    if top is None:
        raise ValueError("a request without Via")
    first, comma, rest = headers[top][1].partition(",")
    plain = first.replace(";rport", "") if ";rport=" not in first else first
    headers[top] = ("Via", f"{plain};received={sender[0]};rport={sender[1]}{comma}{rest}")
    return Message(message.start, tuple(headers), message.body)


def _address_of_via(message: Message) -> tuple[str, int]:
    top = message.header("Via").partition(",")[0]
    return parameter(top, "received"), int(parameter(top, "rport"))
