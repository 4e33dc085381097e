"""Who may send to the sockets that the library hears SIP on: callers, whom we call, and who is in a call.

A parser of C reads whatever comes. So the kernel keeps out by address who can have no business here; the rest
is judged by `request_filter`.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Network

from sipagent.config.types import Network
from sipagent.pjsip.filters.rtp_sockets import bound_to
from sipagent.sip.socket_filter import Address, Sender, attach, dropped

ANYBODY = Sender(IPv4Network("0.0.0.0/0"))


class SipSockets:
    """`listen`: where SIP is heard, and waking packets, which come from `waker`, at `woken`.

    With `peer` nobody else may send; without, `networks`, and the addresses that `open_to` names.
    """

    def __init__(
        self, listen: Address, waker: Address, peer: Address | None, networks: Iterable[Network]
    ) -> None:
        self.listen = self.woken = listen
        self._fixed = [Sender.at(*waker)]
        self._peer = peer
        self._networks = [Sender(one) for one in networks if isinstance(one, IPv4Network)]
        self._open_to: frozenset[str] | None = None
        self._heard: list[socket.socket] = []  # descriptors of our own, of those that datagrams come to

    def open_to(self, addresses: frozenset[str]) -> None:
        """Let these in, too, besides whoever may always send. Raises OSError."""
        if addresses == self._open_to:
            return
        self._open_to = addresses
        if self._peer is not None:
            senders = [*self._fixed, Sender.at(*self._peer)]
        else:
            named = [Sender.at(address) for address in sorted(addresses) if ":" not in address]
            senders = [*self._fixed, *self._networks, *named]
        try:
            self._attach(self.listen, senders)
        except ValueError:  # in a process with some hundred calls
            self._attach(self.listen, [ANYBODY])
        if self.woken != self.listen:
            self._attach(self.woken, self._fixed)

    def dropped(self) -> int:
        """Packets that were kept out so far; the library has its socket for datagrams from its start on."""
        if not self._heard:
            self._heard = [one for one in bound_to(self.listen[1]) if one.type == socket.SOCK_DGRAM]
        return sum(dropped(one) for one in self._heard)

    def close(self) -> None:
        """Let go of them, before the library does."""
        for one in self._heard:
            one.close()
        self._heard.clear()

    @staticmethod
    def _attach(to: Address, senders: Iterable[Sender]) -> None:
        senders = list(senders)
        for one in bound_to(to[1]):
            with one:
                attach(one, senders)
