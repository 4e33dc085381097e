"""Both other sides of a call in plain sockets: they keep it up, so that cases can be played within it.

What is asked of them is answered well, a moment later than a case may be played as the answer.
"""

# ruff: noqa: E501 - messages
from __future__ import annotations

import itertools
import select
import socket
from contextlib import suppress
from dataclasses import dataclass, field

from sipagent.softphone.sip import Media, Message, address_of, parameter, routes_of, sdp, uri_of
from tests.attack.grammar import Case, filled

Address = tuple[str, int]
PATIENCE = 24  # cases that may be played as answers to one INVITE before a good one goes out
MOST = 65535


def _bound(ip: str, port: int = 0) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    one.bind((ip, port))
    one.setblocking(False)
    return one


@dataclass(slots=True)
class Dialog:
    """`media`: where the other side hears sound; `answer`: a case that is to be the next ACK."""

    call_id: str
    local: str
    remote: str
    target: str
    hop: Address
    routes: list[str] = field(default_factory=list)
    cseq: int = 1
    media: Address | None = None
    up: bool = False
    over: bool = False
    answer: Case | None = None


@dataclass(slots=True)
class Asked:
    """A request of the other side's that waits for its answer, and how many cases have been played as one."""

    message: Message
    source: Address
    played: int = 0


class Side:
    """The caller, or the phone. `to`: where SIP is sent first."""

    _numbers = itertools.count(1)

    def __init__(self, ip: str, user: str, to: Address, uri: str) -> None:
        self.ip, self.user, self.to, self.uri = ip, user, to, uri
        self._socket = _bound(ip)
        self.port: int = self._socket.getsockname()[1]
        self.rtp, self.rtcp = _pair(ip)
        self.dialog: Dialog | None = None
        self.asked: Asked | None = None
        self.answers: dict[str, int] = {}  # final status by Call-ID and CSeq
        self._version = 0

    def close(self) -> None:
        for one in (self._socket, self.rtp, self.rtcp):
            one.close()

    @property
    def own_uri(self) -> str:
        return f"sip:{self.user}@{self.ip}:{self.port}"

    def body(self) -> bytes:
        """A good description."""
        self._version += 1
        return sdp((self.ip, self.rtp.getsockname()[1]), (8, 0), 101, "sendrecv", self._version)

    def invite(self, *headers: tuple[str, str]) -> Dialog:
        """Begin a call; `pump` follows it up."""
        number = next(self._numbers)
        local = f"<{self.own_uri}>;tag=l{number}"
        dialog = Dialog(f"good-{number}-{self.port}", local, f"<{self.uri}>", self.uri, self.to)
        self.dialog = dialog
        self._send(dialog, "INVITE", *headers, body=self.body())
        return dialog

    def leave(self, dialog: Dialog) -> None:
        """Give a dialog up, with a BYE: what it answered may have been a case's fault, and a call on hold stays."""
        if dialog.up and not dialog.over:
            dialog.cseq += 1
            self._send(dialog, "BYE")
        dialog.over = True

    def ask(self, method: str) -> str:
        """A good request within the dialog; by what its answer is found in `answers`."""
        assert self.dialog
        self.dialog.cseq += 1
        self._send(self.dialog, method)
        return f"{self.dialog.call_id} {self.dialog.cseq}"

    def _send(
        self, dialog: Dialog, method: str, *headers: tuple[str, str], body: bytes = b"", cseq: int = 0
    ) -> None:
        branch = f"z9hG4bKg{next(self._numbers)}"
        fixed = (
            ("Via", f"SIP/2.0/UDP {self.ip}:{self.port};rport;branch={branch}"), ("Max-Forwards", "70"),
            *(("Route", one) for one in dialog.routes), ("From", dialog.local), ("To", dialog.remote), ("Call-ID", dialog.call_id),
            ("CSeq", f"{cseq or dialog.cseq} {method}"), ("Contact", f"<{self.own_uri}>"),
        )  # fmt: skip
        kind = (("Content-Type", "application/sdp"),) if body else ()
        message = Message(f"{method} {dialog.target} SIP/2.0", (*fixed, *kind, *headers), body)
        self._out(message.pack(), dialog.hop)

    def play(self, case: Case) -> None:
        """Send a case, where there is what it needs."""
        if case.where in ("rtp", "rtcp"):
            if self.dialog and self.dialog.media:
                host, port = self.dialog.media
                by = self.rtp if case.where == "rtp" else self.rtcp
                self._out(case.text, (host, port + (case.where == "rtcp")), by)
        elif case.where == "reply":
            if self.asked:
                self.asked.played += 1
                names = self._names() | self._of_reply(self.asked.message)
                self._out(filled(case.text, names), self.asked.source)
        elif case.where == "new" or self.dialog is None:
            number = next(self._numbers)
            names = self._names() | {
                "CALL_ID": f"case-{number}", "LOCAL_TAG": f"c{number}", "REMOTE_TAG": "x", "URI": self.uri, "CSEQ": "1",
                "TARGET": self.uri,
            }  # fmt: skip
            self._out(filled(case.text, names), self.to)
        else:
            dialog = self.dialog
            dialog.cseq += 1
            if case.where == "ack":
                dialog.answer = case
                self._send(dialog, "INVITE")
            else:
                self._out(filled(case.text, self._names() | self._of(dialog)), dialog.hop)

    def _names(self) -> dict[str, str]:
        self._version += 1
        return {
            "IP": self.ip, "PORT": str(self.port), "BRANCH": f"z9hG4bKc{next(self._numbers)}", "VERSION": str(self._version),
            "RTP": str(self.rtp.getsockname()[1]),
        }  # fmt: skip

    def _of(self, dialog: Dialog) -> dict[str, str]:
        return {
            "CALL_ID": dialog.call_id, "LOCAL": dialog.local, "REMOTE": dialog.remote, "TARGET": dialog.target, "URI": self.uri,
            "LOCAL_TAG": parameter(dialog.local, "tag"), "REMOTE_TAG": parameter(dialog.remote, "tag"), "CSEQ": str(dialog.cseq),
            "ROUTES": "\r\n".join(f"Route: {one}" for one in dialog.routes),
        }  # fmt: skip

    def _of_reply(self, message: Message) -> dict[str, str]:
        to = message.header("To")
        number, _, method = message.header("CSeq").partition(" ")
        return {
            "VIAS": "\r\n".join(f"Via: {one}" for one in message.all("Via")), "FROM": message.header("From"),
            "RECORD_ROUTES": "\r\n".join(f"Record-Route: {one}" for one in message.all("Record-Route")),
            "TO": to if ";tag=" in to else f"{to};tag=p{self.port}", "CALL_ID": message.header("Call-ID"), "CSEQ": number,
            "METHOD": method, "LOCAL_TAG": "x", "REMOTE_TAG": "y", "URI": self.uri,
        }  # fmt: skip

    def _out(self, packet: bytes, to: Address, by: socket.socket | None = None) -> None:
        with suppress(OSError):  # longer than a datagram, or an odd address by a case of ours
            (by or self._socket).sendto(packet[:MOST], to)

    def pump(self) -> None:
        """Take all that has come."""
        with suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                packet, source = self._socket.recvfrom(MOST)
                with suppress(ValueError, IndexError):  # it quotes what we have sent
                    message = Message.parse(packet)
                    (self._answered if message.status else self._is_asked)(message, source)
        for one in (self.rtp, self.rtcp):
            with suppress(BlockingIOError, ConnectionRefusedError):
                while True:
                    one.recv(MOST)

    def _answered(self, message: Message, source: Address) -> None:
        number, _, method = message.header("CSeq").partition(" ")
        status = message.status or 0
        if status < 200:
            return
        self.answers[f"{message.header('Call-ID')} {number}"] = status
        dialog = self.dialog
        ours = dialog is not None and dialog.call_id == message.header("Call-ID")
        if dialog is not None and ours and status in (481, 408):
            self.leave(dialog)
        if method != "INVITE":
            return
        if status >= 300:
            self._acknowledge_refusal(message, source)
            if dialog is not None and ours and not dialog.up:
                dialog.over = True
            return
        if dialog is None or not ours:
            id, local, remote = (message.header(name) for name in ("Call-ID", "From", "To"))
            dialog = Dialog(id, local, remote, self.uri, self.to)
        self._learns(dialog, message)
        answer, dialog.answer = dialog.answer, None
        if answer is not None:
            names = self._names() | self._of(dialog) | {"CSEQ": number}
            self._out(filled(answer.text, names), dialog.hop)
        else:
            self._send(dialog, "ACK", cseq=int(number))
        if not ours:
            self._send(dialog, "BYE", cseq=int(number) + 1)

    def _acknowledge_refusal(self, message: Message, source: Address) -> None:
        number = message.header("CSeq").partition(" ")[0]
        headers = [("Max-Forwards", "70"), ("CSeq", f"{number} ACK")]
        headers += [(name, message.header(name)) for name in ("Via", "From", "To", "Call-ID")]
        target = self.dialog.target if self.dialog and self.dialog.up else self.uri
        self._out(Message(f"ACK {target} SIP/2.0", tuple(headers)).pack(), source)

    def _learns(self, dialog: Dialog, message: Message) -> None:
        """From the other side's answer, or its INVITE."""
        if message.status:
            dialog.remote, dialog.routes = message.header("To"), routes_of(message)[::-1]
        if contact := message.header("Contact"):
            dialog.target = uri_of(contact)
        with suppress(ValueError):
            dialog.hop = address_of(uri_of(dialog.routes[0]) if dialog.routes else dialog.target)
        if media := Media.parse(message.body):
            dialog.media = media.address
        dialog.up = True

    def _is_asked(self, message: Message, source: Address) -> None:
        match message.method:
            case "ACK":
                return
            case "BYE":
                if self.dialog and self.dialog.call_id == message.header("Call-ID"):
                    self.dialog.over = True
                self._respond(message, source, 200)
            case "CANCEL":
                self._respond(message, source, 200)
                if self.asked and self.asked.message.header("Call-ID") == message.header("Call-ID"):
                    self._respond(self.asked.message, self.asked.source, 487)
                    self.asked = None
            case _:
                if self.asked is None or self.asked.message.branch != message.branch:
                    if self.asked:
                        self.answer_well()
                    self.asked = Asked(message, source)

    def answer_well(self) -> None:
        """What a good phone says to what was asked."""
        if self.asked is None:
            return
        message, source = self.asked.message, self.asked.source
        self.asked = None
        if message.method == "INVITE" and ";tag=" not in message.header("To"):
            local, remote = self._of_reply(message)["TO"], message.header("From")
            dialog = Dialog(message.header("Call-ID"), local, remote, "", source, routes_of(message), 1)
            self._learns(dialog, message)
            self.dialog = dialog
        with_sdp = message.method in ("INVITE", "UPDATE")
        self._respond(message, source, 200, self.body() if with_sdp else b"")

    def _respond(self, message: Message, source: Address, status: int, body: bytes = b"") -> None:
        names = self._of_reply(message)
        lines = [f"SIP/2.0 {status} OK", names["VIAS"], *filter(None, [names["RECORD_ROUTES"]])]
        lines += [f"From: {names['FROM']}", f"To: {names['TO']}", f"Call-ID: {names['CALL_ID']}"]
        lines += [f"CSeq: {message.header('CSeq')}", f"Contact: <{self.own_uri}>"]
        lines += [*(["Content-Type: application/sdp"] if body else []), f"Content-Length: {len(body)}"]
        self._out("\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body, source)

    def wait(self, seconds: float) -> None:
        """Until something comes."""
        select.select([self._socket], [], [], seconds)


def _pair(ip: str) -> tuple[socket.socket, socket.socket]:
    """Sockets for RTP and RTCP, on an even port and the next."""
    while True:
        one = _bound(ip)
        port = one.getsockname()[1]
        if port % 2 == 0:
            with suppress(OSError):
                return one, _bound(ip, port + 1)
        one.close()
