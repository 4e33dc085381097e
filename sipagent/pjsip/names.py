"""Host names, looked up where nobody waits for it.

The library looks a name up while everything else stands still, sound included: ten seconds for each phone
rung, where no name server answers. So each is looked up here first, on a thread of its own, and the phone is
rung only once there is an answer; the library's own look-up then follows a server that answers.
"""

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from sipagent.config.load import uri_host


def name_in(uri: str) -> str:
    """The host name of a SIP URI; empty where it is an address, or no URI."""
    try:
        host, _ = uri_host(uri)
    except ValueError:
        return ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host
    return ""


def address_in(uri: str) -> tuple[str, ...]:
    """The address of a SIP URI; none where it names a host, or is no URI."""
    try:
        host, _ = uri_host(uri)
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        return ()


class Names:
    """`wake` is called, on another thread, when there is an answer."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._answers: queue.SimpleQueue[tuple[int, str, tuple[str, ...]]] = queue.SimpleQueue()

    def look_up(self, name: str, leg: int) -> None:
        """Return at once; the addresses of such a host are among the `answers` later."""
        threading.Thread(target=self._look_up, args=(name, leg), name="names", daemon=True).start()

    def _look_up(self, name: str, leg: int) -> None:
        try:
            found = tuple(str(one[4][0]) for one in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM))
        except (OSError, UnicodeError):  # no such host, no server; no name at all
            found = ()
        self._answers.put((leg, name, found))
        with suppress(OSError):  # the engine has stopped meanwhile
            self._wake()

    def answers(self) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Those that have come since: legs, hosts, and their addresses; none where it is not found."""
        while not self._answers.empty():
            yield self._answers.get()
