"""What the edge must carry, by the configuration: how many workers, on which ports, for whom.

Pure. The machine's part (names looked up, the address of this host) comes in as `Addresses`.
"""

from dataclasses import dataclass
from pathlib import Path

from sipagent.config.finding import counted
from sipagent.config.layout import EngineLimits, calls_alone, invites_per_s, per_worker_of, workers_of
from sipagent.config.load import Config, ConfigError, HostPort, uri_host, uri_user
from sipagent.config.types import Network

LOOPBACK = "127.0.0.1"
BEFORE_WORKERS = 2  # ports of `edge.worker_ports`: the edge's inner one, then the registering account's


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses behind names. `own`: of this machine, as the trunk sees it; `trunk`: who may call;
    `operators`: their PBX, which is trusted within dialogs that the edge has forgotten."""

    own: str
    trunk: tuple[Network, ...]
    operators: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Tls:
    """`listen`: where TLS is accepted; `ca`: what others' certificates are checked against."""

    listen: HostPort
    certificate: Path
    private_key: Path
    ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The edge's settings; `calls` may be less than its workers could carry.

    `listen` is where the network reaches it, `advertised` what the network calls it (behind NAT another
    address); `shared`, empty for none, is an address that this host has at times: calls may come there, and
    from their answer on they are at `advertised`, so that they stay when that address moves. `registrar` is
    empty if nothing registers, else the target of REGISTER, and `user` the registered user.
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

    @property
    def inner(self) -> HostPort:
        """Where workers send everything."""
        return HostPort(LOOPBACK, self.first_port)

    @property
    def proxy(self) -> str:
        """The inner address as a Route: the outbound proxy of workers and of the registering account."""
        return f"sip:{self.inner};lr"

    @property
    def account(self) -> HostPort:
        """Where the account that registers listens."""
        return HostPort(LOOPBACK, self.first_port + 1)

    def worker(self, index: int) -> HostPort:
        """Where worker `index`, from 0, listens."""
        return HostPort(LOOPBACK, self.first_port + BEFORE_WORKERS + index)

    @property
    def contact(self) -> str:
        """Where the trunk reaches the registered account."""
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
        """Where the registrar is to send calls."""
        return str(HostPort(self.shared or self.advertised, self.listen.port))

    @property
    def host(self) -> str:
        """The edge's address as the network knows it, without a port; IPv6 in brackets."""
        return f"[{self.advertised}]" if ":" in self.advertised else self.advertised

    @property
    def _transport(self) -> str:
        return "" if self.transport == "udp" else f";transport={self.transport}"


def needs_edge(config: Config, limits: EngineLimits) -> bool:
    """Whether one process without an edge is not enough: for calls, a network, or TLS. Raises
    ConfigError."""
    trunk = config.trunk
    alone = trunk.listen.is_loopback and trunk.transport != "tls" and config.edge.tls_listen is None
    alone = alone and trunk.shared_address is None
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
            f"'{edge.worker_ports}' holds {counted(len(edge.worker_ports), 'port')}",
            f"{needed} or more: {BEFORE_WORKERS} and one for each of {counted(workers, 'worker')}",
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
    )


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
