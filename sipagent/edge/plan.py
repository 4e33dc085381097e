"""The plan of the edge, made of the configuration: how many workers, on which ports, for whom.

The hop between the edge and the processes behind it has a header by which each knows the other. Every
program on this machine can send to a port of 127.0.0.1. So each request that begins something there has
the header `X-Sipagent`, which never leaves the machine. It has one secret towards the edge, and another
one from it: a program that takes a dead worker's port, and gets the requests still sent there, cannot
begin anything itself.

The plan itself is pure. The machine's part comes in as `Addresses`: where the host names of the
configuration lead.
"""

import hashlib
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from retention.texts import Reason, strerror
from sipagent.config.errors import counted
from sipagent.config.layout import EngineLimits, calls_alone, invites_per_s, per_worker_of, workers_of
from sipagent.config.load import Config, ConfigError, HostPort, uri_host, uri_user
from sipagent.config.types import Network

HOP_HEADER = "X-Sipagent"
GIVEN_UP = "given-up"  # behind the edge's secret, on a CANCEL: the call is another worker's now, or nobody's
LATE = "late"  # in the header of a worker's 503: it does not keep up with the calls that it has
TOKEN_ALPHABET = frozenset("0123456789abcdef")
TOKEN_DIGITS = 32


@dataclass(frozen=True, slots=True)
class HopTokens:
    """Both, from one `secret` of 32 hexadecimal digits. Raises ValueError."""

    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != TOKEN_DIGITS or not TOKEN_ALPHABET.issuperset(self.secret):
            raise ValueError(Reason("not {0} hexadecimal digits", TOKEN_DIGITS))

    @property
    def to_edge(self) -> str:
        """The whole header, on INVITE and REGISTER."""
        return self.secret

    @property
    def from_edge(self) -> str:
        """How the header begins on everything that the edge forwards; then comes the sender,
        `;source=IP:PORT`."""
        return hashlib.sha256(f"from the edge {self.secret}".encode()).hexdigest()[:TOKEN_DIGITS]


def new_tokens() -> HopTokens:
    return HopTokens(secrets.token_hex(TOKEN_DIGITS // 2))


LOOPBACK = "127.0.0.1"
BEFORE_WORKERS = 2  # ports of `edge.worker_ports`: the edge's inner one, then the registering account's


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses behind names. `own`: of this machine, as the trunk sees it; `trunk`: who may call;
    `operators`: their PBX, which is trusted within dialogs that the edge has forgotten; `own_ipv6`: empty
    without `trunk.listen_ipv6`; `registrar`: empty where nothing registers."""

    own: str
    trunk: tuple[Network, ...]
    operators: tuple[Network, ...] = ()
    own_ipv6: str = ""
    registrar: tuple[Network, ...] = ()


class MediaAddresses(NamedTuple):
    """Where RTP is heard, and how others see that: as in `EngineSettings`."""

    media_address: str
    public_address: str
    media_ipv4: bool = True
    media_ipv6: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """`listen`: where TLS is accepted; `ca`: what others' certificates are checked against."""

    listen: HostPort
    certificate: Path
    private_key: Path
    ca: Path | None


@dataclass(frozen=True, slots=True)
class Identities:
    """How PASSporTs are verified (RFC 8224). `certificates`: the folder that the edge reads; `roots`: what
    they must lead to, None for whatever is there; `fresh_s`: how old a PASSporT may be."""

    certificates: Path
    roots: Path | None
    fresh_s: int


@dataclass(frozen=True, slots=True)
class Face:
    """Where the network reaches the edge over one version of IP, and what the network calls that address."""

    listen: HostPort
    advertised: str

    @property
    def shown(self) -> HostPort:
        return HostPort(self.advertised, self.listen.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The edge's settings; `calls` may be less than its workers could carry.

    `listen` is where the network reaches it, `advertised` what the network calls it (behind NAT another
    address); `shared`, empty for none, is an address that this host has at times: calls may come there, and
    from their answer on they are at `advertised`, so that they stay when that address moves. `ipv6`: where it
    is reached over IPv6, if `listen` is IPv4. `registrar` is empty if nothing registers, else the target of
    REGISTER, and `user` the registered user.
    """

    workers: int
    calls: int
    calls_per_worker: int
    invites_per_s: int
    first_port: int
    last_port: int
    listen: HostPort
    advertised: str
    transport: str
    tls: Tls | None
    addresses: Addresses
    registrar: str
    user: str
    full_status: int
    shared: str = ""
    identities: Identities | None = None
    ipv6: Face | None = None

    @property
    def inner(self) -> HostPort:
        """The address to which workers send everything."""
        return HostPort(LOOPBACK, self.first_port)

    @property
    def proxy(self) -> str:
        """The inner address as a Route: the outbound proxy of workers and of the registering account."""
        return f"sip:{self.inner};lr"

    @property
    def account(self) -> HostPort:
        """The address on which the registrar's account listens."""
        return HostPort(LOOPBACK, self.first_port + 1)

    def worker(self, index: int) -> HostPort:
        """The address on which worker `index`, from 0, listens."""
        return HostPort(LOOPBACK, self.first_port + BEFORE_WORKERS + index)

    @property
    def contact(self) -> str:
        """The address at which the trunk reaches the registered account."""
        user = f"{self.user}@" if self.user else ""
        return f"sip:{user}{self._called}{self._transport}"

    @property
    def path(self) -> str:
        """The Path of a REGISTER (RFC 3327)."""
        return f"sip:{self._called}{self._transport};lr"

    @property
    def reached(self) -> str:
        """The edge's address as the network knows it, with its port."""
        return str(HostPort(self.advertised, self.listen.port))

    @property
    def _called(self) -> str:
        """The contact to which the registrar is to send calls."""
        if self.ipv6 and _is_ipv6(self.addresses.registrar):
            return str(self.ipv6.shown)
        return str(HostPort(self.shared or self.advertised, self.listen.port))

    @property
    def host(self) -> str:
        """The edge's address as the network knows it, without a port; IPv6 in brackets."""
        return f"[{self.advertised}]" if ":" in self.advertised else self.advertised

    @property
    def _transport(self) -> str:
        return "" if self.transport == "udp" else f";transport={self.transport}"


def needs_edge(config: Config, limits: EngineLimits) -> bool:
    """Whether one process without an edge is not enough: for calls, a network, TLS, or who calls. Raises
    ConfigError."""
    trunk = config.trunk
    alone = trunk.listen.is_loopback and trunk.transport != "tls" and config.edge.tls_listen is None
    alone = alone and trunk.shared_address is None and not trunk.verify_identity
    alone = alone and not trunk.listen_ipv6 and ":" not in trunk.listen.host  # an engine signals over IPv4
    return not alone or config.capacity.calls > calls_alone(config, limits)


def plan(config: Config, limits: EngineLimits, addresses: Addresses) -> Plan:
    """Plan for workers with such an engine. Raises ConfigError, also if there are too few ports."""
    trunk, edge, calls = config.trunk, config.edge, config.capacity.calls
    per_worker = per_worker_of(config, limits)
    workers = workers_of(calls, per_worker)
    needed = workers + BEFORE_WORKERS
    if len(edge.worker_ports) < needed:
        raise ConfigError(
            config.file,
            "edge.worker_ports",
            Reason("'{0}' holds {1}", edge.worker_ports, counted(len(edge.worker_ports), "port")),
            Reason(
                "{0} or more: {1} and one for each of {2}", needed, BEFORE_WORKERS, counted(workers, "worker")
            ),
        )
    return Plan(
        workers=workers,
        calls=calls,
        calls_per_worker=per_worker,
        invites_per_s=invites_per_s(config, limits),
        first_port=edge.worker_ports.first,
        last_port=edge.worker_ports.last,
        listen=trunk.listen,
        advertised=trunk.public_address or addresses.own,
        transport=trunk.transport,
        tls=_tls(config),
        addresses=addresses,
        registrar=_registrar(config),
        user=uri_user(trunk.uri) or "",
        full_status=config.capacity.full_status,
        shared=trunk.shared_address or "",
        identities=_identities(config),
        ipv6=_face_ipv6(config, addresses),
    )


def _identities(config: Config) -> Identities | None:
    trunk = config.trunk
    if not trunk.verify_identity:
        return None
    return Identities(config.places.edge / "certificates", trunk.identity_roots, trunk.identity_fresh_s)


def _face_ipv6(config: Config, addresses: Addresses) -> Face | None:
    listen, public = config.trunk.listen_ipv6, config.trunk.public_address_ipv6
    return Face(listen, public or addresses.own_ipv6) if listen else None


def media_addresses(config: Config, addresses: Addresses) -> MediaAddresses:
    """Where a worker receives RTP: over the versions of IP that are listened on."""
    trunk, public = config.trunk, config.trunk.public_address or ""
    if ":" in trunk.listen.host:
        return MediaAddresses(LOOPBACK, "", media_ipv4=False, media_ipv6=(addresses.own, public))
    both = (addresses.own_ipv6, trunk.public_address_ipv6 or "") if trunk.listen_ipv6 else None
    return MediaAddresses(addresses.own, public, media_ipv6=both)


def _tls(config: Config) -> Tls | None:
    edge, trunk = config.edge, config.trunk
    listen = trunk.listen if trunk.transport == "tls" else edge.tls_listen
    if listen is None or edge.certificate is None or edge.private_key is None:  # config.rules has complained
        return None
    return Tls(listen, edge.certificate, edge.private_key, edge.ca)


def _registrar(config: Config) -> str:
    """The registrar's URI over the trunk's transport."""
    uri, transport = config.trunk.registrar, config.trunk.transport
    if not uri:
        return ""
    host, port = uri_host(uri)
    where = f"[{host}]" if ":" in host else host
    where = where if port is None else f"{where}:{port}"
    return f"sip:{where}" if transport == "udp" else f"sip:{where};transport={transport}"


SOMEWHERE = {4: "192.0.2.1", 6: "2001:db8::1"}  # RFC 5737, RFC 3849: reached by the default route


LookUp = Callable[[str], tuple[Network, ...]]


def look_up(host: str) -> tuple[Network, ...]:
    """Give the addresses of a host, each as a network; waits for a name server. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    return tuple(dict.fromkeys(ipaddress.ip_network(entry[4][0]) for entry in found))


def looked_up(host: str) -> tuple[Network, ...]:
    """Give the addresses of a host, as `look_up`; none if it is unknown."""
    try:
        return look_up(host)
    except OSError:
        return ()


def allowed_sources(config: Config, look: LookUp = look_up) -> tuple[Network, ...]:
    """Give the addresses that calls may come from: by default the registrar's, by `look`.

    Raises ConfigError where that raises OSError.
    """
    if config.trunk.allowed_sources:
        return config.trunk.allowed_sources
    host, _ = uri_host(config.trunk.registrar or "")
    try:
        return look(host)
    except OSError as error:
        problem = Reason("{0} can't be looked up: {1}", host, strerror(error))
        raise ConfigError(config.file, "trunk.registrar", problem, "a host that resolves") from error


def addresses(config: Config, trunk: tuple[Network, ...], look: LookUp = looked_up) -> Addresses:
    """Look up the operators' PBX, and which address of ours they see; `trunk`: the sources that may call."""
    operators = {network for host in pbx_hosts(config) for network in look(host)}
    listen, ipv6, registrar = config.trunk.listen, config.trunk.listen_ipv6, config.trunk.registrar
    return Addresses(
        _own(listen.host, trunk),
        trunk,
        tuple(sorted(operators, key=str)),
        _own(ipv6.host, trunk) if ipv6 else "",
        look(uri_host(registrar)[0]) if registrar else (),
    )


def pbx_hosts(config: Config) -> frozenset[str]:
    """Give the hosts of the operators' PBX, or of their phones where there is none."""
    proxy = config.operators.outbound_proxy
    return frozenset(uri_host(uri)[0] for uri in (*config.operators.extensions, *([proxy] if proxy else ())))


def is_local(address: str) -> bool:
    """Tell whether this machine has the address now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def _is_ipv6(networks: tuple[Network, ...]) -> bool:
    """Whether a host has no other addresses than of IPv6."""
    return {one.version for one in networks} == {6}


def _own(listen: str, trunk: tuple[Network, ...]) -> str:
    """Give the address for calls: that which is listened on, or if that is any, the one towards the trunk."""
    if not ipaddress.ip_address(listen).is_unspecified:
        return listen
    version = ipaddress.ip_address(listen).version
    towards = next((str(one.network_address) for one in trunk if one.version == version), SOMEWHERE[version])
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((towards, 5060))  # sends nothing: the kernel chooses an address (udp(7))
        except OSError:
            return "::1" if version == 6 else "127.0.0.1"
        return str(asking.getsockname()[0])
