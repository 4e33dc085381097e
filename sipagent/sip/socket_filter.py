"""Whose packets the kernel gives to our socket: a BPF program on it (socket(7), SO_ATTACH_FILTER).

Packets that the program drops are gone before anything reads the socket: they cost us no time, and no parser
sees them. A program is replaced in one step. IPv4; needs no privilege.
"""

import ctypes
import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

SO_ATTACH_FILTER, SO_MEMINFO = 26, 55  # asm-generic/socket.h
DROPS = 8  # of SO_MEMINFO's words: packets that did not get to the reader (sk_meminfo, linux/sock_diag.h)
WORDS = 9
LONGEST = 1000  # instructions: a socket may hold 20 kB besides its packets (net.core.optmem_max)

# linux/filter.h. In a packet, 0 is where the UDP or TCP header begins, NETWORK where that of IP does.
_LOAD_WORD, _LOAD_HALF, _AND, _IF_EQUAL, _RETURN = 0x20, 0x28, 0x54, 0x15, 0x06
_NETWORK = 0xFFF00000
_SOURCE_ADDRESS, _SOURCE_PORT = _NETWORK + 12, 0
_WHOLE, _NOTHING = 0xFFFFFFFF, 0
_EMPTY = 8  # the UDP header alone: the reader is told of a packet of no bytes, and who has sent it

Address = tuple[str, int]
"""An IPv4 address and a port."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender in `network`, with `port` if given."""

    network: IPv4Network
    port: int | None = None

    @classmethod
    def at(cls, address: str, port: int | None = None) -> "Sender":
        """One address. Raises ValueError if it is not an IPv4 address."""
        network = ip_network(address)
        if not isinstance(network, IPv4Network):
            raise ValueError(f"{address}: not IPv4")
        return cls(network, port)


def program(senders: Iterable[Sender], *, emptied: bool = False) -> bytes:
    """The program that admits only these senders; `emptied`: others' packets come too, without their content.

    Raises ValueError if they are too many.
    """
    steps = b"".join(_admits(sender) for sender in senders) + _step(_RETURN, _EMPTY if emptied else _NOTHING)
    if len(steps) // 8 > LONGEST:
        raise ValueError(f"{len(steps) // 8} instructions are more than {LONGEST}")
    return steps


def _admits(sender: Sender) -> bytes:
    """The part for one sender: each jump leads to its end, where the next sender's part begins."""
    network = sender.network
    inner = _step(_RETURN, _WHOLE)
    if sender.port is not None:
        inner = _step(_LOAD_HALF, _SOURCE_PORT) + _step(_IF_EQUAL, sender.port, 0, 1) + inner
    return (
        _step(_LOAD_WORD, _SOURCE_ADDRESS)
        + _step(_AND, int(network.netmask))
        + _step(_IF_EQUAL, int(network.network_address), 0, len(inner) // 8)
        + inner
    )


def _step(code: int, operand: int, equal: int = 0, different: int = 0) -> bytes:
    return struct.pack("=HBBI", code, equal, different, operand)


def attach(to: socket.socket, senders: Iterable[Sender], *, emptied: bool = False) -> None:
    """Make this socket receive only from these senders, as `program` does. Earlier packets can still be read.

    Raises OSError; ValueError if they are too many.
    """
    steps = ctypes.create_string_buffer(content := program(senders, emptied=emptied), len(content))
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


def dropped(of: socket.socket) -> int:
    """How many packets this socket's reader never got: strangers', and those that came too fast."""
    return int(struct.unpack(f"{WORDS}I", of.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, WORDS * 4))[DROPS])
