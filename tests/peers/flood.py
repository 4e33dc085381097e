"""Many INVITEs at a rate from one socket, each with its ACK; what came back, by call."""

from __future__ import annotations

import time
from collections import Counter

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.sip import Message, address_of, routes_of, uri_of
from tests.peers.sender import Sender

AGAIN_S = 0.5  # what nobody has answered is sent again (RFC 3261, timer A): a full socket drops what comes


class Flood(Sender):
    """`count` INVITEs at `rate` a second, all sent once it is made; `final` fills meanwhile.

    `pending`: how many may wait for an answer, where a busy machine shall get no more than it can do.
    """

    def __init__(
        self,
        ip: str,
        to: tuple[str, int],
        uri: str,
        count: int,
        rate: float,
        *,
        pending: int | None = None,
    ) -> None:
        super().__init__(ip, to)
        self.sent: dict[str, bytes] = {}  # by Call-ID
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number / rate - time.monotonic()))
            if pending is not None:
                with self._changed:
                    self._changed.wait_for(lambda: len(self.sent) - len(self.answers) < pending, PATIENCE_S)
            call_id, packet = self.invite("", uri=uri, To=f"<{uri}>")
            self.sent[call_id] = packet
            self.send(packet)

    @property
    def final(self) -> dict[str, int]:
        """The final status of each call that has one."""
        return {call_id: message.status or 0 for call_id, message in [*self.answers.items()]}

    def _heard(self, message: Message) -> None:
        if message.method == "INVITE" and 200 <= (message.status or 0) < 300:
            routes = routes_of(message)[::-1]
            kept = [(name, message.header(name)) for name in ("Via", "From", "To", "Call-ID")]
            via = (kept[0][0], f"{kept[0][1]}ack")  # the branch is another one's
            ack = [via, *kept[1:], ("CSeq", "1 ACK"), *(("Route", one) for one in routes)]
            packet = Message(f"ACK {uri_of(message.header('Contact'))} SIP/2.0", tuple(ack)).pack()
            self._socket.sendto(packet, address_of(uri_of(routes[0])))
        super()._heard(message)

    def wait_all(self, timeout: float = PATIENCE_S) -> Counter[int]:
        """How many got which final status, once all have one or time is over."""
        until = time.monotonic() + timeout
        with self._changed:
            while len(self.answers) < len(self.sent) and time.monotonic() < until:
                known = len(self.answers)
                if not self._changed.wait_for(lambda known=known: len(self.answers) > known, AGAIN_S):  # type: ignore[misc]
                    heard_of = {one.header("Call-ID") for one in self.provisional} | self.answers.keys()
                    for call_id in self.sent.keys() - heard_of:
                        self.send(self.sent[call_id])
            return Counter(self.final.values())
