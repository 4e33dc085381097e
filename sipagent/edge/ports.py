"""The edge's UDP ports, which no other program on this machine may share.

Kamailio binds them with SO_REUSEADDR, and so can any other program: it would get what comes, and could send
in Kamailio's name (socket(7): sockets share a port if each of them has set it). So each port is also bound
here, and once Kamailio is up, this socket no longer allows sharing: then no other program can bind it.
"""

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from sipagent.config.load import HostPort

TABLES = {4: Path("/proc/net/udp"), 6: Path("/proc/net/udp6")}
IP_FREEBIND = 15  # of <linux/in.h>, also for IPv6: the socket module has no name for it
OURS = 2  # sockets on each port: Kamailio's, and the one here
KEEP_ALIVE = b"\r\n\r\n"  # RFC 5626 section 3.5.1: not answered


class HeldPorts:
    """The ports of `addresses`, from `take` to `release`. All methods raise OSError.

    `shared`: the first one's port is held there, too; this machine need not have that address now.
    """

    def __init__(self, addresses: Iterable[HostPort], shared: str = "") -> None:
        self._addresses = tuple(addresses)
        self._shared = (HostPort(shared, self._addresses[0].port),) if shared else ()
        self._sockets: list[socket.socket] = []

    def take(self) -> None:
        """Bind them, unless another program has one; Kamailio may still share them."""
        for address in (*self._addresses, *self._shared):
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            held = socket.socket(family, socket.SOCK_DGRAM)
            self._sockets.append(held)
            if address in self._shared:
                held.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            try:
                held.bind(tuple(address))
            except OSError as taken:
                self.release()
                raise OSError(taken.errno, f"{address}: {taken.strerror}") from taken
            held.setblocking(False)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def shut(self) -> None:
        """End the sharing; raises OSError if another program already shares one."""
        for address, held in zip((*self._addresses, *self._shared), self._sockets, strict=True):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            if len([*sharing(address)]) > OURS:
                raise OSError(f"{address}: another program has bound it, too")
            if address in self._addresses:  # else another host may have it just now
                self._hears_nothing(address, held)

    def _hears_nothing(self, address: HostPort, held: socket.socket) -> None:
        """Of equal sockets the kernel gives a datagram to the newest, which is Kamailio's."""
        with suppress(BlockingIOError):
            while held.recv(1):  # what came before Kamailio was up
                pass
        ip = ipaddress.ip_address(address.host)
        loopback = "::1" if ip.version == 6 else "127.0.0.1"
        held.sendto(KEEP_ALIVE, (loopback if ip.is_unspecified else address.host, address.port))
        with suppress(BlockingIOError):
            held.recv(1)
            raise OSError(f"{address}: this kernel gives Kamailio's datagrams to somebody else")

    def release(self) -> None:
        for held in self._sockets:
            held.close()
        self._sockets.clear()


def sharing(address: HostPort) -> Iterator[str]:
    """The local addresses of all UDP sockets that datagrams to `address` may be given to."""
    wanted = ipaddress.ip_address(address.host)
    for version, table in TABLES.items():
        for row in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else ():
            host, _, port = row.split()[1].partition(":")
            bound = _address(host)
            same_kind = bound.version == wanted.version and (bound == wanted or wanted.is_unspecified)
            if int(port, 16) == address.port and (same_kind or bound.is_unspecified):
                yield f"{bound} (IPv{version})"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel writes it: words of 32 bits, each in the byte order of the machine."""
    words = bytes.fromhex(text)
    swapped = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return ipaddress.ip_address(swapped)
