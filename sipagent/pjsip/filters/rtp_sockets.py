"""The sockets that the library hears RTP and RTCP on: closed to everybody from their birth, then open to one.

The library reads them on a thread of its own, and takes to whoever sends ten packets (pjmedia's
PJMEDIA_RTP_NAT_PROBATION_CNT): so the kernel decides instead (`sipagent.sip.socket_filter`). They are found
among the process's own descriptors by the ports that they are bound to.
"""

import os
import select
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from sipagent.sip.media_source import MediaSource
from sipagent.sip.socket_filter import attach, drain, dropped

DESCRIPTORS = "/proc/self/fd"


class RtpSockets:
    """Those bound to the ports from `first` to `last`, but for `other`: that is SIP's."""

    def __init__(self, first: int, last: int, other: int) -> None:
        self._ports = range(first, last + 1)
        self._other = other
        self._at: dict[int, tuple[int, int]] = {}  # by port: descriptor and inode
        self._inodes: dict[int, int] = {}  # all sockets seen: the port, or 0 for one of another kind

    def shut(self) -> None:
        """Have those that have come since hear nobody, and forget what they had heard. Raises OSError."""
        found: dict[int, int] = {}
        for descriptor, inode in _sockets():
            port = self._inodes.get(inode)
            if port is None:
                with _copy(descriptor) as one:
                    port = self._port(one)
                    if port:
                        attach(one, ())
                        drain(one)
            found[inode] = port
            if port:
                self._at[port] = descriptor, inode
        self._inodes = found

    def admit(self, port: int, source: MediaSource, *, ask: bool = False) -> None:
        """Have the leg whose RTP comes to `port` hear whom it believes. Raises OSError.

        `ask`: the library takes the addresses of others, and nothing of what they send.
        """
        for at, senders in ((port, source.admitted), (port + 1, source.admitted_reports)):
            with self._copy_of(at) as one:
                if one:
                    attach(one, senders, emptied=ask and at == port)

    def dropped(self, port: int) -> int:
        """How many packets of others did not get in at `port` since its socket was made."""
        with self._copy_of(port) as one:
            return dropped(one) if one else 0

    def unread(self, port: int) -> bool:
        """Whether something waits to be read at `port`."""
        with self._copy_of(port) as one:
            return one is not None and _readable(one)

    @contextmanager
    def _copy_of(self, port: int) -> Iterator[socket.socket | None]:
        descriptor, inode = self._at.get(port, (-1, -1))
        if not _is(descriptor, inode):  # closed, and the port is another socket's by now
            self._at.pop(port, None)
            self.shut()
            descriptor, inode = self._at.get(port, (-1, -1))
        if not _is(descriptor, inode):
            yield None
            return
        with _copy(descriptor) as one:
            yield one

    def _port(self, one: socket.socket) -> int:
        if one.family != socket.AF_INET or one.type != socket.SOCK_DGRAM:
            return 0
        port: int = one.getsockname()[1]
        return port if port in self._ports and port != self._other else 0


def bound_to(port: int) -> Iterator[socket.socket]:
    """The process's sockets over IPv4 that are bound to a port, by descriptors that are the caller's."""
    for descriptor, _ in _sockets():
        one = _copy(descriptor)
        if one.family == socket.AF_INET and one.getsockname()[1] == port:
            yield one
        else:
            one.close()


def _sockets() -> Iterator[tuple[int, int]]:
    """Descriptor and inode of each socket of this process."""
    for descriptor in map(int, os.listdir(DESCRIPTORS)):  # noqa: PTH208 - paths take three times as long
        try:
            found = os.fstat(descriptor)
        except OSError:  # that of the folder itself, or another thread has just closed it
            continue
        if stat.S_ISSOCK(found.st_mode):
            yield descriptor, found.st_ino


def _readable(one: socket.socket) -> bool:
    """By `poll`: `select` knows no descriptor beyond 1023."""
    poll = select.poll()
    poll.register(one, select.POLLIN)
    return bool(poll.poll(0))


def _is(descriptor: int, inode: int) -> bool:
    try:
        return descriptor >= 0 and os.fstat(descriptor).st_ino == inode
    except OSError:
        return False


def _copy(descriptor: int) -> socket.socket:
    """A socket by a second descriptor, of our own: closing it closes nothing of the library's."""
    return socket.socket(fileno=os.dup(descriptor))
