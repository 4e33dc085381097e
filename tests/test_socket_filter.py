"""The kernel hands over the packets of some senders and nobody else's."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from sipagent.sip.packet_filter import LONGEST, Sender, attach, drain, dropped, program

HERE, THERE = "127.0.0.1", "127.0.0.2"
PATIENCE_S = 10.0


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def bound(stack: ExitStack, address: str = HERE, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    one = stack.enter_context(socket.socket(socket.AF_INET, kind))
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


def test_one_address_and_port(stack: ExitStack) -> None:
    listener, peer, other, elsewhere = bound(stack), bound(stack), bound(stack), bound(stack, THERE)
    attach(listener, [Sender.at(*peer.getsockname())])
    assert heard(listener, other, elsewhere, peer) == [2]
    assert dropped(listener) == 2


def test_an_address_at_any_port(stack: ExitStack) -> None:
    listener, peer, other, elsewhere = bound(stack), bound(stack), bound(stack), bound(stack, THERE)
    attach(listener, [Sender.at(HERE)])
    assert heard(listener, other, elsewhere, peer) == [0, 2]


def test_a_network_and_an_address_beside_it(stack: ExitStack) -> None:
    listener, elsewhere, peer = bound(stack), bound(stack, "127.1.2.3"), bound(stack, "127.0.9.9")
    near = bound(stack, "127.0.8.8")
    attach(listener, [Sender(network=ip_network("127.0.9.0/24")), Sender.at("127.0.8.8")])  # type: ignore[arg-type]
    assert heard(listener, elsewhere, near, peer) == [1, 2]


def test_others_without_their_content(stack: ExitStack) -> None:
    """So one learns who they are, and reads nothing of theirs."""
    listener, peer, elsewhere = bound(stack), bound(stack), bound(stack, THERE)
    attach(listener, [Sender.at(*peer.getsockname())], emptied=True)
    for sender in (elsewhere, peer):
        sender.sendto(b"nine", listener.getsockname())
    assert listener.recvfrom(9) == (b"", elsewhere.getsockname())
    assert listener.recvfrom(9) == (b"nine", peer.getsockname())
    assert dropped(listener) == 0


def test_another_filter_takes_the_place_of_the_first(stack: ExitStack) -> None:
    listener, first, second = bound(stack), bound(stack), bound(stack)
    attach(listener, [])
    first.sendto(b"0", listener.getsockname())
    attach(listener, [Sender.at(*first.getsockname())])
    attach(listener, [Sender.at(*second.getsockname())])
    assert heard(listener, first, second) == [1]
    assert dropped(listener) == 2


def test_what_had_come_before_can_be_let_go_of(stack: ExitStack) -> None:
    listener, before, peer = bound(stack), bound(stack), bound(stack)
    listener.settimeout(None)
    for _ in range(3):
        before.sendto(b"", listener.getsockname())
    attach(listener, [Sender.at(*peer.getsockname())])
    assert drain(listener) == 3
    assert heard(listener, before, peer) == [1]


def test_who_may_not_connect_is_not_even_answered(stack: ExitStack) -> None:
    listener = bound(stack, kind=socket.SOCK_STREAM)
    attach(listener, [Sender.at(THERE)])
    listener.listen()
    stranger = bound(stack, HERE, socket.SOCK_STREAM)
    stranger.settimeout(0.2)
    with pytest.raises(TimeoutError):
        stranger.connect(listener.getsockname())
    bound(stack, THERE, socket.SOCK_STREAM).connect(listener.getsockname())


def test_only_so_many_fit(stack: ExitStack) -> None:
    most = (LONGEST - 1) // 6
    attach(bound(stack), [Sender.at(HERE, port) for port in range(1, most + 1)])
    with pytest.raises(ValueError, match="instructions"):
        program(Sender.at(HERE, port) for port in range(1, most + 2))


def test_ipv4_alone() -> None:
    with pytest.raises(ValueError, match="not IPv4"):
        Sender.at("::1")
