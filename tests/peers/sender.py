"""A socket that sends whatever bytes a test wants to the edge, and knows what was answered."""

from __future__ import annotations

import secrets
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.sip import Message
from tests.peers.process import PeerError

OURS = "sip:0323063006@127.0.0.5"
SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)


class Sender:
    """`answers`: the final ones, by Call-ID; a refusal of an INVITE is acknowledged."""

    def __init__(self, ip: str, to: tuple[str, int], port: int = 0) -> None:
        self.answers: dict[str, Message] = {}
        self.provisional: list[Message] = []
        self._to = to
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((ip, port))
        self.ip, self.port = self._socket.getsockname()
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, packet: bytes) -> None:
        self._socket.sendto(packet, self._to)

    def invite(
        self,
        body: str | bytes = SDP,
        *,
        uri: str = "sip:0323063006@127.0.0.5",
        more: str = "",
        **headers: str,
    ) -> tuple[str, bytes]:
        """A new call's Call-ID, and its INVITE: headers by name, `_` for `-`; an empty one is left out."""
        call_id = secrets.token_hex(8)
        content = body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body
        usual: Mapping[str, str] = {
            "Via": f"SIP/2.0/UDP {self.ip}:{self.port};rport;branch=z9hG4bK{call_id}",
            "Max-Forwards": "70",
            "From": f"<sip:+33612345678@{self.ip}>;tag=1",
            "To": "<sip:0323063006@127.0.0.5>",
            "Call-ID": call_id,
            "CSeq": "1 INVITE",
            "Contact": f"<sip:caller@{self.ip}:{self.port}>",
            "Content-Type": "application/sdp" if content else "",
            "Content-Length": str(len(content)),
        }
        given = {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
        lines = [f"INVITE {uri} SIP/2.0", *(f"{name}: {value}" for name, value in given.items() if value)]
        head = "\r\n".join(lines) + "\r\n" + more + "\r\n"
        return call_id, head.encode("utf-8", "surrogateescape") + content

    def call(self, body: str | bytes = SDP, **how: str) -> Message:
        """Send a new call; its final answer."""
        call_id, packet = self.invite(body, **how)
        self.send(packet)
        return self.wait(call_id)

    def wait(self, call_id: str) -> Message:
        """The final answer for this Call-ID."""
        with self._changed:
            if not self._changed.wait_for(lambda: call_id in self.answers, PATIENCE_S):
                raise PeerError(f"no answer for {call_id}")
            return self.answers[call_id]

    def _read(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self._heard(Message.parse(self._socket.recv(65535)))

    def _heard(self, message: Message) -> None:
        status = message.status or 0
        if message.method == "INVITE" and status >= 300:
            kept = ("Via", "From", "To", "Call-ID")
            headers = tuple((name, message.header(name)) for name in kept)
            number = message.header("CSeq").split()[0]
            ack = Message("ACK sip:x@127.0.0.5 SIP/2.0", (*headers, ("CSeq", f"{number} ACK")))
            self.send(ack.pack())
        with self._changed:
            if status >= 200:
                self.answers.setdefault(message.header("Call-ID"), message)
            else:
                self.provisional.append(message)
            self._changed.notify_all()

    def close(self) -> None:
        self._socket.close()
