"""The addresses behind the names of a configuration, looked up once at the start."""

import ipaddress
import socket

from sipagent.config.load import Config, uri_host
from sipagent.config.types import Network
from sipagent.edge.plan import Addresses

SOMEWHERE = "192.0.2.1"  # RFC 5737: reached by the default route


def addresses(config: Config, trunk: tuple[Network, ...]) -> Addresses:
    """Look up the operators' PBX, and which address of ours they see; `trunk`: the sources that may call."""
    operators = {network for host in pbx_hosts(config) for network in looked_up(host)}
    return Addresses(_own(config, trunk), trunk, tuple(sorted(operators, key=str)))


def pbx_hosts(config: Config) -> frozenset[str]:
    """Give the hosts of the operators' PBX, or of their phones where there is none."""
    proxy = config.operators.outbound_proxy
    return frozenset(uri_host(uri)[0] for uri in (*config.operators.extensions, *([proxy] if proxy else ())))


def looked_up(host: str) -> tuple[Network, ...]:
    """Give the addresses of a host, each as a network; none if it is unknown."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError:
        return ()
    return tuple(dict.fromkeys(ipaddress.ip_network(entry[4][0]) for entry in found))


def is_local(address: str) -> bool:
    """Tell whether this machine has the address now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def _own(config: Config, trunk: tuple[Network, ...]) -> str:
    """Give the address for calls: that of `listen`, or if that is any, the one towards the trunk."""
    listen = config.trunk.listen.host
    if not ipaddress.ip_address(listen).is_unspecified:
        return listen
    version = ipaddress.ip_address(listen).version
    towards = next((str(one.network_address) for one in trunk if one.version == version), SOMEWHERE)
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((towards, 5060))  # sends nothing: the kernel chooses an address (udp(7))
        except OSError:
            return "::1" if version == 6 else "127.0.0.1"
        return str(asking.getsockname()[0])
