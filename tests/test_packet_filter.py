"""Whose packets a socket hears: the kernel's filter, and the source of a leg's RTP, over all histories."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import product

import pytest

from sipagent.sip.packet_filter import (
    LONGEST,
    OPEN_S,
    Address,
    MediaSource,
    Sender,
    attach,
    drain,
    dropped,
    program,
)
from tests import tiers
from tests.tapping import PATIENCE_S

# --- the kernel's filter ---

HERE, THERE = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bound(stack: ExitStack, address: str = HERE, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    one = stack.enter_context(socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind))
    one.bind((address, 0))
    one.settimeout(PATIENCE_S)
    return one


def heard(listener: socket.socket, *senders: socket.socket) -> list[int]:
    """Whose packets arrive, by their place; what is sent last comes from a sender that is always admitted."""
    for place, sender in enumerate(senders):
        sender.sendto(bytes([place]), listener.getsockname())
    found: list[int] = []
    while not found or found[-1] != len(senders) - 1:
        found.append(listener.recv(1)[0])
    return found


def test_who_is_admitted(stack: ExitStack) -> None:
    """One address and port; any port of an address; a network, and an address beside it. Each filter takes
    the place of the one before."""
    listener, peer, other = (bound(stack) for _ in range(3))
    elsewhere, near, far = (bound(stack, address) for address in (THERE, "127.0.8.8", "127.1.2.3"))
    attach(listener, [])
    peer.sendto(b"0", listener.getsockname())
    attach(listener, [Sender.at(*peer.getsockname())])
    assert heard(listener, other, elsewhere, peer) == [2] and dropped(listener.fileno()) == 3
    attach(listener, [Sender.at(HERE)])
    assert heard(listener, other, elsewhere, peer) == [0, 2]
    network = ip_network("127.0.0.0/24")
    assert isinstance(network, IPv4Network)
    attach(listener, [Sender(network), Sender.at("127.0.8.8")])
    assert heard(listener, elsewhere, far, near, peer) == [0, 2, 3]


def test_others_without_their_content(stack: ExitStack) -> None:
    """So one learns who they are, and reads nothing of theirs."""
    listener, peer, elsewhere = bound(stack), bound(stack), bound(stack, THERE)
    attach(listener, [Sender.at(*peer.getsockname())], emptied=True)
    for sender in (elsewhere, peer):
        sender.sendto(b"nine", listener.getsockname())
    assert listener.recvfrom(9) == (b"", elsewhere.getsockname())
    assert listener.recvfrom(9) == (b"nine", peer.getsockname())
    assert dropped(listener.fileno()) == 0


def test_what_had_come_before_can_be_let_go_of(stack: ExitStack) -> None:
    listener, before, peer = bound(stack), bound(stack), bound(stack)
    listener.settimeout(None)
    for _ in range(3):
        before.sendto(b"", listener.getsockname())
    attach(listener, [Sender.at(*peer.getsockname())])
    assert drain(listener) == 3 and heard(listener, before, peer) == [1]


def test_what_a_socket_says_of_others_while_it_is_emptied_counts_too() -> None:
    """A port that was sent to and is closed; another fault is raised."""

    class Told:
        def __init__(self, *faults: int) -> None:
            self.faults = [OSError(one, "told") for one in faults]

        def recv(self, *_: object) -> bytes:
            raise self.faults.pop(0) if self.faults else BlockingIOError

    assert drain(Told(errno.ECONNREFUSED, errno.EMSGSIZE)) == 2  # type: ignore[arg-type]
    with pytest.raises(OSError, match="told"):
        drain(Told(errno.EBADF))  # type: ignore[arg-type]


def test_who_may_not_connect_is_not_even_answered(stack: ExitStack) -> None:
    listener = bound(stack, kind=socket.SOCK_STREAM)
    attach(listener, [Sender.at(THERE)])
    listener.listen()
    stranger = bound(stack, HERE, socket.SOCK_STREAM)
    stranger.settimeout(0.2)
    with pytest.raises(TimeoutError):
        stranger.connect(listener.getsockname())
    bound(stack, THERE, socket.SOCK_STREAM).connect(listener.getsockname())


def test_who_is_admitted_over_ipv6(stack: ExitStack) -> None:
    """By all four words of an address, or as many as the network has bits; those of IPv4 are none of it."""
    listener, peer, other = (bound(stack, "::1") for _ in range(3))
    mine = Sender.at(*peer.getsockname()[:2])
    for networks, admitted in (
        ((), []), (("::/0",), [0]), (("::/96",), [0]), (("::1/128",), [0]), (("::/127",), [0]),
        (("::2/128", "2001:db8::/32", "8000::/1", "::1:0:0:1/128", "127.0.0.0/8", "0.0.0.0/0"), []),
    ):  # fmt: skip
        attach(listener, [*(Sender(ip_network(one)) for one in networks), mine])
        assert heard(listener, other, peer) == [*admitted, 1], networks


def test_only_so_many_fit(stack: ExitStack) -> None:
    most = (LONGEST - 1) // 6
    attach(bound(stack), [Sender.at(HERE, port) for port in range(1, most + 1)])
    with pytest.raises(ValueError, match="instructions"):
        program(Sender.at(HERE, port) for port in range(1, most + 2))
    all_of_it = [Sender(ip_network("2001:db8::/64")), *[Sender(ip_network("2001:db8::/32"))] * 248]
    assert len(program(all_of_it, version=6)) == LONGEST * 8


# --- whom a leg hears ---

PUBLIC, PRIVATE, PEER = ("198.51.100.7", 4000), ("10.1.2.3", 4000), ("127.0.0.1", 4000)
GATEWAYS, GATEWAY = IPv4Network("192.0.2.0/24"), ("192.0.2.77", 9000)
NAT, BEHIND = ("203.0.113.9", 61000), "203.0.113.9"
STRANGER = ("203.0.113.66", 5000)


def agreed(peer: Address, signalling: str = BEHIND, *networks: IPv4Network | IPv6Network) -> MediaSource:
    """A leg for which SDP has just named a peer."""
    source = MediaSource(networks)
    source.signalled_by(signalling)
    assert source.agreed(peer, 0.0)
    return source


def test_the_negotiated_peer_is_heard_from_its_first_packet_on() -> None:
    source = MediaSource()
    assert (source.admitted, source.admitted_reports, source.settled) == ((), (), False)
    assert not source.heard(PEER) and not source.waited(1000.0)
    source = agreed(PUBLIC)
    assert source.heard(PUBLIC) and not source.heard(PUBLIC)
    assert (source.latched, source.elsewhere) == (PUBLIC, False)
    assert source.admitted == (Sender.at(*PUBLIC),) and not source.admits(NAT)


def test_on_loopback_only_the_port_tells_who_it_is() -> None:
    source = agreed(PEER, "127.0.0.1")
    assert source.waited(1000.0) and not source.admits(("127.0.0.1", 4001))
    assert source.admitted_reports == (Sender.at("127.0.0.1", 4001),)


def test_behind_nat_it_is_the_first_who_sends_from_where_sip_does() -> None:
    """Settled once no others will be heard: what is kept from a leg before may be the peer's own."""
    source = agreed(PRIVATE)
    assert not source.admits(NAT) and not source.waited(OPEN_S - 0.01) and not source.settled
    assert source.waited(OPEN_S) and not source.waited(OPEN_S)  # told once
    assert source.settled and source.admits(NAT) and not source.admits(STRANGER)
    assert not source.heard(STRANGER) and source.heard(NAT)
    assert (source.latched, source.elsewhere, source.own, source.settled) == (NAT, True, True, True)
    assert not source.admits((BEHIND, 5999)) and not source.admits(PRIVATE)
    assert not source.agreed(PRIVATE, 1.0)  # a re-INVITE that says the same
    assert not source.agreed(None, 2.0)  # a hold
    assert source.latched == NAT
    assert source.agreed(PUBLIC, 3.0)  # only SDP leads to another
    assert (source.latched, source.settled) == (None, False)
    assert source.admits(PUBLIC) and not source.admits(NAT)


@pytest.mark.parametrize("named", [True, False])
def test_another_host_of_the_peers_network_is_heard_where_it_is_named(named: bool) -> None:
    """And what is heard by that alone is not known to be the peer's own."""
    source = agreed(("192.0.2.1", 4000), "192.0.2.2", *([GATEWAYS] if named else []))
    assert not source.admits(GATEWAY) and source.waited(OPEN_S)
    assert source.admits(GATEWAY) == named and not source.admits(STRANGER)
    assert source.heard(GATEWAY) == named and not source.own


@pytest.mark.parametrize("peer", [("192.0.2.1", 4000), ("192.0.2.1", 4002), ("192.0.2.2", 9000)])
def test_whom_sdp_or_sip_names_is_the_peer_also_where_its_network_is_named(peer: Address) -> None:
    source = agreed(("192.0.2.1", 4000), "192.0.2.2", GATEWAYS)
    source.waited(OPEN_S)
    assert source.heard(peer) and source.own


def test_a_peer_over_ipv6_is_looked_for_over_ipv6_alone() -> None:
    """Its socket hears no other: not an address of IPv4 that SIP comes from, nor such a network."""
    source = agreed(("2001:db8::7", 4000), "192.0.2.2", GATEWAYS, ip_network("2001:db8:1::/48"))
    assert source.waited(OPEN_S) and {one.network.version for one in source.admitted} == {6}
    assert source.admits(("2001:db8:1::9", 9000)) and not source.admits(GATEWAY)
    source.signalled_by("2001:db8:2::2")
    assert source.heard(("2001:db8:2::2", 61000)) and source.own and source.elsewhere


FACTS = ("agreed", "agreed anew", "held", "waits", "peer", "nat", "stranger")


@pytest.mark.parametrize("peer", [PRIVATE, PUBLIC])
def test_over_all_histories_a_stranger_is_never_heard(peer: Address) -> None:
    """And who is latched stays so until SDP names somebody else."""
    for history in product(FACTS, repeat=tiers.depth(5, 6)):
        source, now = MediaSource(), 0.0
        source.signalled_by(BEHIND)
        for fact in history:
            before = source.latched
            match fact:
                case "agreed":
                    source.agreed(peer, now)
                case "agreed anew":
                    source.agreed((peer[0], 4444), now)
                case "held":
                    source.agreed(None, now)
                case "waits":
                    now += OPEN_S
                    source.waited(now)
                case "peer" if source.negotiated and source.admits(source.negotiated):
                    source.heard(source.negotiated)
                case "nat" if source.admits(NAT):
                    source.heard(NAT)
                case "stranger":
                    assert not source.admits(STRANGER) and not source.heard(STRANGER)
            assert before in (None, source.latched) or fact.startswith("agreed")
            assert source.latched is None or source.admitted == (Sender.at(*source.latched),)
