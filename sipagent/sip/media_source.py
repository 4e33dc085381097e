"""Whose RTP is accepted on a leg: the peer that SDP names, or its address after NAT. Pure.

    NEGOTIATED ─▶ its first packet ─▶ LATCHED: no one else is heard until SDP names another peer
        │
        └─ 0.2 s without a packet, NAT may be why ─▶ OPEN ─▶ the first who sends ─▶ LATCHED

Before it is latched, only the negotiated address is heard. Once it is open, also other ports of that address
and the address that the leg's SIP comes from: a gateway is there, or a phone behind one (RFC 4961). Where a
trunk sends sound from elsewhere, its networks have to be named (`trunk.media_sources`); what is heard by that
alone is not known to be the peer's own. On loopback there is no NAT, and all programs share an address: only
the port identifies a peer. The latched peer is known by address and port, never by SSRC, which anyone can
copy.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address

from sipagent.sip.socket_filter import Address, Sender

OPEN_S = 0.2


class MediaSource:
    """The source of one leg's RTP. Times are monotonic seconds; `networks`: whence else it may come."""

    def __init__(self, networks: Iterable[IPv4Network] = ()) -> None:
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
        """SDP names this peer now (None: no peer, for example on hold); whether this changes who is heard."""
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
        """Who may be heard now; no one before there is a peer."""
        if self.latched:
            return (Sender.at(*self.latched),)
        if self.negotiated is None:
            return ()
        exact = Sender.at(*self.negotiated)
        return (exact, *self._others(self.negotiated[0])) if self._open else (exact,)

    @property
    def admitted_reports(self) -> tuple[Sender, ...]:
        """Who may send RTCP now, which comes from another port (RFC 3550 section 11)."""
        return tuple(
            Sender(one.network, one.port + 1 if one.port and one.network.is_loopback else None)
            for one in self.admitted
        )

    def _others(self, negotiated: str) -> tuple[Sender, ...]:
        if ip_address(negotiated).is_loopback:
            return ()
        addresses = {negotiated, *self._signalling}
        at = [Sender.at(address) for address in sorted(addresses) if _is_ipv4(address)]
        return (*at, *(Sender(network) for network in self._networks))


def _is_of(source: Address, sender: Sender) -> bool:
    return IPv4Address(source[0]) in sender.network and sender.port in (None, source[1])


def _is_ipv4(address: str) -> bool:
    try:
        IPv4Address(address)
    except ValueError:
        return False
    return True
