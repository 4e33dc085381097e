"""Somebody on the network who is no party to a call: RTP to whatever ports there are, and what comes back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

from sipagent.softphone.rtp import FRAME, encode, tone

PCMA, EVENTS = 8, 101
KEYS = "0123456789*#ABCD"


class Stranger:
    """One UDP socket. `ssrc` may be that of the party that it wants to be taken for."""

    def __init__(self, ip: str = "127.0.0.1", ssrc: int = 0xBAD) -> None:
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((ip, 0))
        self._socket.setblocking(False)
        self.ssrc = ssrc
        self._sequence = self._timestamp = 1

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def address(self) -> tuple[str, int]:
        found: tuple[str, int] = self._socket.getsockname()
        return found

    def say(self, to: Iterable[tuple[str, int]], hz: float, frames: int = 24) -> None:
        """A tone, `frames` packets of 20 ms to each address, one after the other without a pause."""
        addresses = list(to)
        sound = tone(hz, frames * 0.02)
        for frame in range(frames):
            self._send(addresses, PCMA, encode(sound[frame * FRAME : (frame + 1) * FRAME], PCMA))
            self._timestamp += FRAME

    def press(self, to: Iterable[tuple[str, int]], key: str, payload_type: int = EVENTS) -> None:
        """A key as an RFC 4733 event (section 2.3), its end three times."""
        addresses, event = list(to), KEYS.index(key)
        for duration, ended in ((160, 0), (320, 0), (480, 0x80), (480, 0x80), (480, 0x80)):
            self._send(addresses, payload_type, struct.pack("!BBH", event, ended | 10, duration))
        self._timestamp += 800

    def _send(self, to: Iterable[tuple[str, int]], payload_type: int, payload: bytes) -> None:
        self._sequence += 1
        header = struct.pack(
            "!BBHII", 0x80, payload_type, self._sequence & 0xFFFF, self._timestamp, self.ssrc
        )
        for address in to:
            self._socket.sendto(header + payload, address)

    def heard(self) -> int:
        """How many packets have come to it so far; they are taken."""
        count = 0
        while True:
            try:
                self._socket.recv(2048)
            except BlockingIOError:
                return count
            count += 1
