"""Decides whose packets a socket hears: the kernel's filter, and the source of a leg's RTP.

The filter is a BPF program on our socket (socket(7), SO_ATTACH_FILTER). Packets that the program drops
are gone before anything reads the socket: they cost us no time, and no parser sees them. A program is
replaced in one step, and is for a socket of one family: IPv4 or IPv6. It needs no privilege.

`MediaSource` decides whose RTP is accepted on a leg: the peer that SDP names, or its address after NAT.
Pure.

    NEGOTIATED ─▶ its first packet ─▶ LATCHED: no one else is heard until SDP names another peer
        │
        └─ 0.2 s without a packet, NAT may be why ─▶ OPEN ─▶ the first who sends ─▶ LATCHED

Before it is latched, only the negotiated address is heard. Once it is open, also other ports of that
address and the address that the leg's SIP comes from: a gateway is there, or a phone behind one (RFC
4961). If a trunk sends sound from elsewhere, its networks have to be named (`trunk.media_sources`); sound
let in by that alone is not known to be the peer's own. On loopback there is no NAT, and all
programs share an address: only the port identifies a peer. The latched peer is known by address and port,
never by SSRC, which anyone can copy.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

LIBC = ctypes.CDLL(None)
SO_ATTACH_FILTER, SO_MEMINFO = 26, 55  # asm-generic/socket.h
DROPS = 8  # of SO_MEMINFO's words: packets that did not get to the reader (sk_meminfo, linux/sock_diag.h)
WORDS = 9
LONGEST = 1000  # instructions: a socket may hold 20 kB besides its packets (net.core.optmem_max)

# linux/filter.h. In a packet, 0 is where the UDP or TCP header begins, NETWORK where that of IP does.
_LOAD_WORD, _LOAD_HALF, _AND, _IF_EQUAL, _RETURN = 0x20, 0x28, 0x54, 0x15, 0x06
_NETWORK = 0xFFF00000
_SOURCE_ADDRESS = {4: _NETWORK + 12, 6: _NETWORK + 8}  # RFC 791 section 3.1, RFC 8200 section 3
_SOURCE_PORT = 0
_WHOLE, _NOTHING = 0xFFFFFFFF, 0
_EMPTY = 8  # the UDP header alone: the reader gets a packet of no bytes, and its sender

Address = tuple[str, int]
"""An IP address as `ipaddress` writes it, and a port."""
Place = tuple[int, int]
"""A socket's version of IP, and its port."""
Host = IPv4Address | IPv6Address
host = lru_cache(maxsize=1024)(ip_address)  # the same few, in each message


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender in `network`, with `port` if given."""

    network: IPv4Network | IPv6Network
    port: int | None = None

    @staticmethod
    @lru_cache(maxsize=1024)
    def at(address: str, port: int | None = None) -> "Sender":
        """One address. Raises ValueError if it is none."""
        return Sender(ip_network(address), port)


def program(senders: Iterable[Sender], *, version: int = 4, emptied: bool = False) -> bytes:
    """The program for a socket of this version of IP, which admits only these senders.

    `emptied`: others' packets come too, without their content. Raises ValueError if they are too many.
    """
    admitted = b"".join(_admits(sender) for sender in senders if sender.network.version == version)
    steps = admitted + _step(_RETURN, _EMPTY if emptied else _NOTHING)
    if len(steps) // 8 > LONGEST:
        raise ValueError(f"{len(steps) // 8} instructions are more than {LONGEST}")
    return steps


def _admits(sender: Sender) -> bytes:
    """The part for one sender: each jump leads to its end, where the next sender's part begins."""
    network = sender.network
    part = _step(_RETURN, _WHOLE)
    if sender.port is not None:
        part = _step(_LOAD_HALF, _SOURCE_PORT) + _step(_IF_EQUAL, sender.port, 0, 1) + part
    at = _SOURCE_ADDRESS[network.version]
    for word in reversed(range(0, network.max_prefixlen // 8, 4)):
        mask = int.from_bytes(network.netmask.packed[word : word + 4])
        if mask or not word:
            wanted = int.from_bytes(network.network_address.packed[word : word + 4])
            part = (
                _step(_LOAD_WORD, at + word)
                + _step(_AND, mask)
                + _step(_IF_EQUAL, wanted, 0, len(part) // 8)
                + part
            )
    return part


def _step(code: int, operand: int, equal: int = 0, different: int = 0) -> bytes:
    return struct.pack("=HBBI", code, equal, different, operand)


def attach(to: socket.socket, senders: Iterable[Sender], *, emptied: bool = False) -> None:
    """Make this socket receive only from these senders, as `program` does. Earlier packets can still be read.

    Raises OSError; ValueError if they are too many.
    """
    version = 6 if to.family == socket.AF_INET6 else 4
    content = program(senders, version=version, emptied=emptied)
    steps = ctypes.create_string_buffer(content, len(content))
    to.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(content) // 8, ctypes.addressof(steps))
    )


def drain(of: socket.socket) -> int:
    """Drop the packets that came before the filter; how many. For a socket that is not read yet."""
    count = 0
    while True:
        try:
            of.recv(1, socket.MSG_DONTWAIT | socket.MSG_TRUNC)
        except BlockingIOError:
            return count
        except OSError as error:
            if error.errno not in (errno.ECONNREFUSED, errno.EMSGSIZE):
                raise
        count += 1


def dropped(descriptor: int) -> int:
    """How many packets this socket's reader never got: strangers', and those that came too fast."""
    words, size = (ctypes.c_uint32 * WORDS)(), ctypes.c_uint32(WORDS * 4)
    LIBC.getsockopt(descriptor, socket.SOL_SOCKET, SO_MEMINFO, words, ctypes.byref(size))
    return words[DROPS]  # 0 of what is no socket


OPEN_S = 0.2


class MediaSource:
    """The source of one leg's RTP. Times are monotonic seconds; `networks`: whence else it may come."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self.negotiated: Address | None = None
        self.latched: Address | None = None
        self._networks = tuple(networks)
        self._signalling: frozenset[str] = frozenset()
        self._opens_at = 0.0
        self._open = False

    def signalled_by(self, address: str) -> None:
        """The leg's SIP comes from this address."""
        self._signalling |= {address}

    def agreed(self, peer: Address | None, now: float) -> bool:
        """SDP names this peer now (None: no peer, e.g. on hold); whether another source is heard now."""
        if peer is None or peer == self.negotiated:
            return False
        self.negotiated, self.latched, self._open = peer, None, False
        self._opens_at = now + OPEN_S
        return True

    def heard(self, source: Address) -> bool:
        """A packet has come from `source`; whether it is the first of the peer that is heard from now on."""
        if self.latched or not self.admits(source):
            return False
        self.latched = source
        return True

    def admits(self, source: Address) -> bool:
        """Whether packets from there are heard now."""
        return any(_is_of(source, sender) for sender in self.admitted)

    def waited(self, now: float) -> bool:
        """Whether it is time to hear others than the negotiated peer, which is silent."""
        if self.negotiated is None or self.latched or self._open or now < self._opens_at:
            return False
        self._open = True
        return True

    @property
    def settled(self) -> bool:
        """Whether no others will be heard than now, however long it takes; False before there is a peer."""
        return self.negotiated is not None and bool(self.latched or self._open)

    @property
    def own(self) -> bool:
        """Whether what is heard comes from an address that SDP or SIP names."""
        return (
            self.latched is not None
            and self.negotiated is not None
            and self.latched[0] in {self.negotiated[0], *self._signalling}
        )

    @property
    def elsewhere(self) -> bool:
        """Whether the peer that is heard is not the one in SDP: until now our own sound went elsewhere."""
        return self.latched is not None and self.latched != self.negotiated

    @property
    def admitted(self) -> tuple[Sender, ...]:
        """The sources that may be heard now; none before there is a peer."""
        if self.latched:
            return (Sender.at(*self.latched),)
        if self.negotiated is None:
            return ()
        exact = Sender.at(*self.negotiated)
        return (exact, *self._others(self.negotiated[0])) if self._open else (exact,)

    @property
    def admitted_reports(self) -> tuple[Sender, ...]:
        """The sources that may send RTCP now, which comes from another port (RFC 3550 section 11)."""
        return tuple(
            Sender(one.network, one.port + 1 if one.port and one.network.is_loopback else None)
            for one in self.admitted
        )

    def _others(self, negotiated: str) -> tuple[Sender, ...]:
        """Those of the same family: a socket has one."""
        peer = host(negotiated)
        if peer.is_loopback:
            return ()
        addresses = {negotiated, *self._signalling}
        at = [Sender.at(address) for address in sorted(addresses) if host(address).version == peer.version]
        return (*at, *(Sender(one) for one in self._networks if one.version == peer.version))


def _is_of(source: Address, sender: Sender) -> bool:
    return host(source[0]) in sender.network and sender.port in (None, source[1])
