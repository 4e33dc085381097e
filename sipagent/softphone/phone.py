"""A scripted telephone in plain sockets: calls and is called, says keys in three ways, hears what it is sent.

It plays the caller and the operator in `sipagent demo` and in the tests. One `Loop` thread serves any
number of phones; each `Phone` keeps every message with the instant (monotonic, ns) at which it left or came:

    with Loop() as loop, Phone(loop, "201") as desk, Phone(loop, "+33612345678") as caller:
        desk.answer = Answering(after_s=0.2)
        call = caller.call("sip:0323063006@127.0.0.1:5060")
        call.wait_answered()
        call.press("9")
        operator = desk.wait_call()
        call.hang_up()
        operator.wait_ended()
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from sipagent.softphone.call import Call
from sipagent.softphone.loop import MS, Loop, PhoneError, PhoneTimeout, Timer
from sipagent.softphone.rtp import RtpEnd, Source
from sipagent.softphone.sending import Seen, Transaction
from sipagent.softphone.sip import REASONS, Challenge, Headers, Message, parameter, uri_of

__all__ = ["Answering", "Call", "Challenge", "Loop", "Phone", "PhoneError", "PhoneTimeout"]

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
    """One SIP address on one UDP port. `user` is a number or an extension; `display` the name shown."""

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
    ) -> None:
        self.loop, self.user, self.display = loop, user, display
        self.codecs, self.event_type, self.phase_ms = codecs, event_type, phase_ms
        self.answer = Answering()
        self.challenge: Challenge | None = None
        self.refer_status: int | None = 501  # its answer to a REFER; None: it says nothing
        self.sound: Callable[[], Source | None] | None = None  # what each new call sends; absent: silence
        self.contact = ""  # a URI in the place of its own
        self.sdp_lines = b""  # attributes of the audio, at the end of every SDP
        self.seen: list[Seen] = []
        self.calls: list[Call] = []
        self.malformed = 0
        self._taken = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, port))
        self.address: tuple[str, int] = self._socket.getsockname()
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
        return f"sip:{self.user}@{self.address[0]}:{self.address[1]}"

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

    def wait_call(self, timeout: float = 10) -> Call:
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

    def wait_at(self, what: str, nth: int = 0, timeout: float = 10) -> int:
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
        end = RtpEnd(self.loop, self.address[0], phase_ms=self.phase_ms)
        if self.sound:
            end.play(self.sound())
        return end

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Message, to: tuple[str, int]) -> None:
        packet = message.pack()
        if self.closed:
            return  # closed: a phone without power says nothing
        self.seen.append(Seen(time.monotonic_ns(), True, message))
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
        self.seen.append(Seen(now, False, message))
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
