"""Many INVITEs at a rate from one socket, each with its ACK; what came back, by call."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.sip import Message, address_of, routes_of, uri_of

AGAIN_S = 0.5  # what nobody has answered is sent again (RFC 3261, timer A): a full socket drops what comes


class Flood:
    """`count` INVITEs at `rate` a second, all sent once it is made; `final` fills meanwhile."""

    def __init__(self, ip: str, to: tuple[str, int], uri: str, count: int, rate: float) -> None:
        self.final: dict[str, int] = {}
        self.answers = 0
        self._to, self._uri = to, uri
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((ip, 0))
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._heard_of: set[str] = set()
        self.sent: list[str] = []
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            self.sent.append(secrets.token_hex(8))
            self._invite(self.sent[-1])

    def _head(
        self, method: str, uri: str, call_id: str, branch: str, to: str, *more: tuple[str, str]
    ) -> bytes:
        ip, port = self._socket.getsockname()
        headers = (
            ("Via", f"SIP/2.0/UDP {ip}:{port};branch={branch}"), ("Max-Forwards", "70"), *more,
            ("From", f"<sip:+33699000000@{ip}>;tag=flood"), ("To", to), ("Call-ID", call_id),
            ("CSeq", f"1 {method}"), ("Contact", f"<sip:flood@{ip}:{port}>"),
        )  # fmt: skip
        return Message(f"{method} {uri} SIP/2.0", headers).pack()

    def _invite(self, call_id: str) -> None:
        packet = self._head("INVITE", self._uri, call_id, f"z9hG4bK{call_id}", f"<{self._uri}>")
        self._socket.sendto(packet, self._to)

    def _read(self) -> None:
        with suppress(OSError):  # closed
            while True:
                self._heard(Message.parse(self._socket.recv(65535)))

    def _heard(self, message: Message) -> None:
        status, call_id, to = message.status, message.header("Call-ID"), message.header("To")
        self.answers += 1
        self._heard_of.add(call_id)
        if status is None or status < 200 or message.method != "INVITE":
            return
        if status >= 300:
            self._socket.sendto(self._head("ACK", self._uri, call_id, f"z9hG4bK{call_id}", to), self._to)
        else:
            routes = routes_of(message)[::-1]
            target = uri_of(message.header("Contact"))
            more = tuple(("Route", one) for one in routes)
            ack = self._head("ACK", target, call_id, f"z9hG4bK{secrets.token_hex(8)}", to, *more)
            self._socket.sendto(ack, address_of(uri_of(routes[0])))
        with self._changed:
            self.final.setdefault(call_id, status)
            self._changed.notify_all()

    def wait(self, timeout: float = PATIENCE_S) -> Counter[int]:
        """How many got which final status, once all have one or time is over."""
        until = time.monotonic() + timeout
        with self._changed:
            while len(self.final) < len(self.sent) and time.monotonic() < until:
                known = len(self.final)
                if not self._changed.wait_for(lambda known=known: len(self.final) > known, AGAIN_S):  # type: ignore[misc]
                    for call_id in [one for one in self.sent if one not in self._heard_of]:
                        self._invite(call_id)
            return Counter(self.final.values())

    def close(self) -> None:
        self._socket.close()
