"""One call of a softphone: the dialog (RFC 3261, 12), its offers and answers, its keys and its end."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Literal
from urllib.parse import quote

from sipagent.softphone.loop import PhoneError
from sipagent.softphone.rtp import KeySending
from sipagent.softphone.sending import OwnPhone, Transaction
from sipagent.softphone.sip import Headers, Media, Message, address_of, parameter, routes_of, sdp, uri_of

Way = Literal["rfc4733", "info", "info-dtmf", "inband"]
UNDER_WAY = (491, 500)
"""What is answered to an offer while another one is: its ACK may still be on its way (14.1, 14.2)."""
AGAIN_S = (0.2, 0.5, 1.0)


class Call:
    """One dialog from either side; made by `Phone.call` or `Phone.wait_call`."""

    def __init__(
        self,
        phone: OwnPhone,
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

    def wait_answered(self, timeout: float = 10) -> int:
        """When the 2xx came or went, ns; raises PhoneError where it was something else."""
        self.loop.wait_for(lambda: self.status is not None, timeout, f"answer to {self.phone.user}")
        if self.answered_ns is None:
            raise PhoneError(f"{self.phone.user}: {self.final.start if self.final else self.status}")
        return self.answered_ns

    def wait_status(self, timeout: float = 10) -> int:
        """The final status of the INVITE, whatever it is."""
        self.loop.wait_for(lambda: self.status is not None, timeout, f"final status for {self.phone.user}")
        return self.status or 0

    def wait_acked(self, timeout: float = 10) -> None:
        self.loop.wait_for(lambda: self.acked, timeout, f"ACK to {self.phone.user}")

    def wait_ended(self, timeout: float = 10) -> int:
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

    def pressed_ns(self, press: KeySending, timeout: float = 10) -> int:
        return self.rtp.pressed_ns(press, timeout)

    def request(self, method: str, headers: Headers = (), body: bytes = b"", timeout: float = 10) -> Message:
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
        ip, port = self.phone.address
        fixed = [
            ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
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
