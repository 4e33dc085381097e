"""A line between two programs that can be cut, or fall silent without a word, as networks do; and one for
sound that loses packets, one by one or in bursts, delays them, and lets them come in another order.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise

from sipagent.softphone.loop import MS, Loop
from sipagent.softphone.phone import Phone
from sipagent.softphone.rtp import RtpEnd, _port_pair

_CHUNK = 65_536


class Relay:
    """TCP from `address` to `target`. `flows`: what comes is passed on; `cut`: connections are closed and new
    ones refused; `stall`: connections stay, also new ones, and nothing is passed on."""

    def __init__(self, target: tuple[str, int], host: str = "127.0.0.1") -> None:
        self.target = target
        self._host, self._port = host, 0
        self._listener: socket.socket | None = None
        self._peers: dict[socket.socket, socket.socket] = {}
        self._stalled = False
        self._changing = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringing = socket.socketpair()
        self._selector.register(self._bell, selectors.EVENT_READ)
        self._ended = False
        self.flow()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return self._host, self._port

    def flow(self) -> None:
        with self._changing:
            self._stalled = False
            if self._listener is None:
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((self._host, self._port))
                listener.listen(64)
                self._listener, self._port = listener, listener.getsockname()[1]
                self._selector.register(listener, selectors.EVENT_READ)
            for one in self._peers:
                self._watch(one)
        self._ringing.send(b".")

    def stall(self) -> None:
        """Pass nothing on, and say nothing: both sides go on waiting."""
        with self._changing:
            self._stalled = True
            for one in self._peers:
                self._leave(one)

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        with self._changing:
            if self._listener is not None:
                self._leave(self._listener)
                self._listener.close()
                self._listener = None
            while self._peers:
                self._drop(next(iter(self._peers)))

    def close(self) -> None:
        self.cut()
        self._ended = True
        self._ringing.send(b".")
        self._thread.join(5)
        self._selector.close()
        self._bell.close()
        self._ringing.close()

    def _watch(self, one: socket.socket) -> None:
        if one not in self._selector.get_map():
            self._selector.register(one, selectors.EVENT_READ)

    def _leave(self, one: socket.socket) -> None:
        if one in self._selector.get_map():
            self._selector.unregister(one)

    def _drop(self, one: socket.socket) -> None:
        """Both ends of a connection, with a reset."""
        other = self._peers.pop(one, None)
        for end in (one, other):
            if end is not None:
                self._peers.pop(end, None)
                self._leave(end)
                with suppress(OSError):  # the other side may have gone first
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.close()

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select():
                with self._changing:
                    self._turn_to(key.fileobj)  # type: ignore[arg-type]

    def _turn_to(self, one: socket.socket) -> None:
        if one is self._bell:
            one.recv(_CHUNK)
        elif one is self._listener:
            self._accept(one)
        elif one in self._peers and not self._stalled:
            try:
                sent = one.recv(_CHUNK)
                if sent:
                    self._peers[one].sendall(sent)
            except OSError:
                sent = b""
            if not sent:
                self._drop(one)

    def _accept(self, listener: socket.socket) -> None:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(self.target, 2)
        except OSError:
            near.close()
            return
        for end in (near, far):  # a network keeps nothing back until it has been told that more has arrived
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peers[near], self._peers[far] = far, near
        if not self._stalled:
            self._watch(near)
            self._watch(far)


@contextmanager
def relayed(target: tuple[str, int], host: str = "127.0.0.1") -> Iterator[Relay]:
    """A relay to `target`, and its end."""
    relay = Relay(target, host)
    try:
        yield relay
    finally:
        relay.close()


@dataclass(frozen=True, slots=True)
class Mix:
    """What a line does to sound, from a seed.

    `loss`: share of packets; `burst`: how many are lost in a row, on average (Gilbert's two states; 1: each
    by itself). `delay_ms`: of each packet, one way; `jitter_ms`: the most that comes to it. `reorder`: share
    of packets that are overtaken by the next one.
    """

    loss: float = 0.0
    burst: float = 1.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    reorder: float = 0.0
    seed: int = 0


OVERTAKEN_MS = 25  # longer than a packet lasts


@dataclass(slots=True)
class Way:
    """One direction of a line. `fates`: of each packet that was sent, whether it was lost."""

    mix: Mix
    fates: list[bool] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    overtaken: int = 0
    _bad: bool = False
    _last_ns: int = 0  # when the packet before is due
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._random.seed(self.mix.seed)

    def is_lost(self) -> bool:
        """Whether the next packet is, by chance."""
        mix, burst = self.mix, max(1.0, self.mix.burst)
        if burst == 1.0:
            return self._random.random() < mix.loss
        leave = 1 / burst
        enter = leave * mix.loss / (1 - mix.loss)
        self._bad = self._random.random() < ((1 - leave) if self._bad else enter)
        return self._bad

    def due_ns(self, now_ns: int) -> int:
        """When it arrives: after the one before, unless it overtakes that."""
        late_ms = self._random.uniform(0, self.mix.jitter_ms)
        if self._random.random() < self.mix.reorder:
            self.overtaken += 1
            return now_ns + round((self.mix.delay_ms + late_ms + OVERTAKEN_MS) * MS)
        self._last_ns = max(self._last_ns, now_ns + round((self.mix.delay_ms + late_ms) * MS))
        return self._last_ns

    @property
    def between(self) -> list[bool]:
        """The fates that a receiver can know of: from the first packet that came to the last one."""
        came = [place for place, lost in enumerate(self.fates) if not lost]
        return self.fates[came[0] : came[-1] + 1] if came else []

    @property
    def is_through(self) -> bool:
        """Whether all that was sent has come, or is lost."""
        return len(self.delays_ms) + sum(self.fates) == len(self.fates)

    @property
    def lost(self) -> int:
        return sum(self.between)

    @property
    def bursts(self) -> int:
        fates = self.between
        return sum(lost and not before for before, lost in pairwise(fates))

    @property
    def delay_ms(self) -> float:
        """Mean of what arrived."""
        return sum(self.delays_ms) / len(self.delays_ms) if self.delays_ms else 0.0


class SoundLine:
    """RTP and RTCP between a phone and whoever it speaks with: both send to it. `there`: what the phone
    sends; `back`: what it is sent."""

    def __init__(self, loop: Loop, ip: str, phone: tuple[str, int], there: Mix, back: Mix) -> None:
        self._loop = loop
        self._phone = phone
        self.peer: tuple[str, int] | None = None
        self.there, self.back = Way(there), Way(back)
        self._sockets = _port_pair(ip)
        self.address: tuple[str, int] = self._sockets[0].getsockname()
        for rtcp, one in enumerate(self._sockets):
            loop.watch(one, self._reader(one, rtcp))

    def close(self) -> None:
        for one in self._sockets:
            if one.fileno() >= 0:
                self._loop.unwatch(one)
                one.close()

    def _reader(self, one: socket.socket, rtcp: int) -> Callable[[], None]:
        def read() -> None:
            packet, source = one.recvfrom(2048, socket.MSG_DONTWAIT)
            of_phone = source == (self._phone[0], self._phone[1] + rtcp)
            to = self.peer if of_phone else self._phone
            if to is not None:
                self._carry(one, packet, (to[0], to[1] + rtcp), self.there if of_phone else self.back, rtcp)

        return read

    def _carry(self, one: socket.socket, packet: bytes, to: tuple[str, int], way: Way, rtcp: int) -> None:
        now_ns = time.monotonic_ns()
        if not rtcp:
            way.fates.append(way.is_lost())
            if way.fates[-1]:
                return

        def send() -> None:
            if one.fileno() >= 0:
                if not rtcp:
                    way.delays_ms.append((time.monotonic_ns() - now_ns) / MS)
                with suppress(OSError):
                    one.sendto(packet, to)

        due_ns = now_ns + round(way.mix.delay_ms * MS) if rtcp else way.due_ns(now_ns)
        if due_ns <= now_ns:
            send()
        else:
            self._loop.at(due_ns, send)


class ReportingRtp(RtpEnd):
    """Sound over a line, with a report by RTCP for each that is heard (RFC 3550 section 6.4)."""

    line: SoundLine

    def send_to(self, address: tuple[str, int], payload_type: int, event_type: int | None) -> None:
        self.line.peer = address
        super().send_to(self.line.address, payload_type, event_type)

    def close(self) -> None:
        super().close()
        self.line.close()

    def _receive_rtcp(self) -> None:
        """Answer a sender's report at once, by its time and a delay since, which may not be 0."""
        packet = self._rtcp.recv(2048, socket.MSG_DONTWAIT)
        self.rtcp_heard += 1
        if len(packet) >= 28 and packet[1] == 200:
            sender, last = packet[4:8], packet[10:14]
            heard = struct.pack("!I", self.heard[-1].sequence if self.heard else 0)
            block = sender + bytes(4) + heard + bytes(4) + last + struct.pack("!I", 1)
            report = struct.pack("!BBHI", 0x81, 201, 7, self._ssrc) + block
            self._rtcp.sendto(report, (self.line.address[0], self.line.address[1] + 1))


class FarPhone(Phone):
    """A phone behind a line that is not perfect. `mixes`: of each call to come, `there` and `back`; `line`:
    that of the last one."""

    mixes: tuple[Mix, Mix] = Mix(), Mix()
    line: SoundLine

    def __enter__(self) -> FarPhone:
        return self

    def new_rtp(self) -> RtpEnd:
        end = ReportingRtp(self.loop, self.address[0], phase_ms=self.phase_ms)
        if self.sound:
            end.play(self.sound())
        end.line = self.line = SoundLine(self.loop, self.address[0], end.address, *self.mixes)
        end.address = end.line.address  # what its SDP says
        return end
