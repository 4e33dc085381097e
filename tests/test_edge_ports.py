"""The edge's ports, held against other programs of this machine."""

import errno
import socket
from collections.abc import Iterator

import pytest

from sipagent.config.load import HostPort
from sipagent.edge.plan import is_local
from sipagent.edge.process import HeldPorts
from tests.peers.process import free_ports

ELSEWHERE = "192.0.2.10"  # RFC 5737: no address of this machine


@pytest.fixture
def ours() -> Iterator[HostPort]:
    yield HostPort("127.0.0.1", free_ports(1))


def test_a_port_that_is_held_is_nobody_elses(ours: HostPort) -> None:
    held = HeldPorts([ours])
    held.take()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="in use") as taken:
            other.bind(ours)
        assert taken.value.errno == errno.EADDRINUSE
        held.release()
        other.bind(ours)


def test_an_address_that_this_machine_has_at_times_is_held_before_it_comes(ours: HostPort) -> None:
    """Kamailio holds it in the same way, by its ip_free_bind."""
    held, again = HeldPorts([ours], ELSEWHERE), HeldPorts([HostPort(ELSEWHERE, ours.port)])
    held.take()
    with pytest.raises(OSError, match=r"192\.0\.2\.10:\d+: Cannot assign"):
        again.take()
    held.release()


def test_which_addresses_this_machine_has() -> None:
    assert is_local("127.0.0.1") and not is_local(ELSEWHERE) and not is_local("2001:db8::1")
