"""Whom a leg hears: over all short histories, and one by one."""

from ipaddress import ip_network
from itertools import product

import pytest

from sipagent.sip.packet_filter import OPEN_S, Address, MediaSource, Sender

PUBLIC, PRIVATE, PEER = ("198.51.100.7", 4000), ("10.1.2.3", 4000), ("127.0.0.1", 4000)
GATEWAYS = ip_network("192.0.2.0/24")
NAT, BEHIND = ("203.0.113.9", 61000), "203.0.113.9"
STRANGER = ("203.0.113.66", 5000)


def admits(source: MediaSource, address: Address) -> bool:
    """As the kernel's filter does it."""
    return any(ip_network(address[0]).subnet_of(one.network) and one.port in (None, address[1])  # type: ignore[arg-type]
               for one in source.admitted)  # fmt: skip


def test_nobody_is_heard_before_there_is_a_peer() -> None:
    source = MediaSource()
    assert (source.admitted, source.admitted_reports) == ((), ())
    assert not source.heard(PEER)
    assert not source.waited(1000.0)


def test_the_negotiated_peer_is_heard_from_its_first_packet_on() -> None:
    source = MediaSource()
    assert source.agreed(PUBLIC, 0.0)
    assert source.heard(PUBLIC)
    assert not source.heard(PUBLIC)
    assert (source.latched, source.elsewhere) == (PUBLIC, False)
    assert source.admitted == (Sender.at(*PUBLIC),)


def test_on_loopback_only_the_port_tells_who_it_is() -> None:
    source = MediaSource()
    source.signalled_by("127.0.0.1")
    source.agreed(PEER, 0.0)
    assert source.waited(1000.0)
    assert not admits(source, ("127.0.0.1", 4001))
    assert source.admitted_reports == (Sender.at("127.0.0.1", 4001),)


def test_behind_nat_it_is_the_first_who_sends_from_where_sip_does() -> None:
    source = MediaSource()
    source.signalled_by(BEHIND)
    source.agreed(PRIVATE, 0.0)
    assert not admits(source, NAT)
    assert not source.waited(OPEN_S - 0.01)
    assert source.waited(OPEN_S)
    assert not source.waited(OPEN_S)  # told once
    assert admits(source, NAT) and not admits(source, STRANGER)
    assert not source.heard(STRANGER)
    assert source.heard(NAT)
    assert (source.latched, source.elsewhere, source.own) == (NAT, True, True)
    assert not admits(source, (BEHIND, 5999)) and not admits(source, PRIVATE)


GATEWAY = ("192.0.2.77", 9000)


@pytest.mark.parametrize("named", [True, False])
def test_another_host_of_the_peers_network_is_heard_where_it_is_named(named: bool) -> None:
    """And what is heard by that alone is not known to be the peer's own."""
    source = MediaSource([GATEWAYS] if named else [])  # type: ignore[list-item]
    source.signalled_by("192.0.2.2")
    source.agreed(("192.0.2.1", 4000), 0.0)
    assert not admits(source, GATEWAY)
    assert source.waited(OPEN_S)
    assert admits(source, GATEWAY) == named and not admits(source, STRANGER)
    assert source.heard(GATEWAY) == named
    assert not source.own


@pytest.mark.parametrize("peer", [("192.0.2.1", 4000), ("192.0.2.1", 4002), ("192.0.2.2", 9000)])
def test_whom_sdp_or_sip_names_is_the_peer_also_where_its_network_is_named(peer: Address) -> None:
    source = MediaSource([GATEWAYS])  # type: ignore[list-item]
    source.signalled_by("192.0.2.2")
    source.agreed(("192.0.2.1", 4000), 0.0)
    source.waited(OPEN_S)
    assert source.heard(peer) and source.own


def test_it_is_settled_once_no_others_will_be_heard() -> None:
    """What is kept from a leg before that may be the peer's own first packets."""
    source = MediaSource()
    assert not source.settled
    source.signalled_by(BEHIND)
    source.agreed(PRIVATE, 0.0)
    assert not source.settled
    source.waited(OPEN_S)
    assert source.settled
    source.heard(NAT)
    assert source.settled
    source.agreed(PUBLIC, 1.0)
    assert not source.settled


def test_a_peer_that_sends_from_another_port_is_found_too() -> None:
    source = MediaSource()
    source.agreed(PUBLIC, 0.0)
    source.waited(OPEN_S)
    assert source.heard((PUBLIC[0], 4002))


def test_the_negotiated_peer_closes_the_door_when_it_is_the_first() -> None:
    source = MediaSource()
    source.signalled_by(BEHIND)
    source.agreed(PUBLIC, 0.0)
    source.waited(OPEN_S)
    assert source.heard(PUBLIC)
    assert not admits(source, NAT)


def test_only_sdp_leads_to_another() -> None:
    source = MediaSource()
    source.signalled_by(BEHIND)
    source.agreed(PRIVATE, 0.0)
    source.waited(OPEN_S)
    source.heard(NAT)
    assert not source.agreed(PRIVATE, 1.0)  # a re-INVITE that says the same
    assert not source.agreed(None, 2.0)  # a hold
    assert source.latched == NAT
    assert source.agreed(PUBLIC, 3.0)
    assert source.latched is None
    assert admits(source, PUBLIC) and not admits(source, NAT)


FACTS = ("agreed", "agreed anew", "held", "waits", "peer", "nat", "stranger")


@pytest.mark.parametrize("private", [True, False])
def test_over_all_histories_a_stranger_is_never_heard(private: bool) -> None:
    """And who is latched stays so until SDP names somebody else."""
    for history in product(FACTS, repeat=6):
        source, now = MediaSource(), 0.0
        source.signalled_by(BEHIND)
        peer = PRIVATE if private else PUBLIC
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
                case "peer" if source.negotiated and admits(source, source.negotiated):
                    source.heard(source.negotiated)
                case "nat" if admits(source, NAT):
                    source.heard(NAT)
                case "stranger":
                    assert not admits(source, STRANGER)
                    assert not source.heard(STRANGER)
            assert before in (None, source.latched) or fact.startswith("agreed")
            assert source.latched is None or source.admitted == (Sender.at(*source.latched),)
