"""Who may call to lend a voice, and by which way: the operators' own addresses, through their own Kamailio.

The trunk's addresses may not, for whoever calls from outside can show any number. As for `run`, Kamailio
stands in front where `trunk.listen` is not loopback. Here it has one worker, which is this process's engine.
"""

from dataclasses import replace

from retention.texts import Reason
from sipagent.agent.admission import allowed_sources
from sipagent.agent.engine import EngineSettings
from sipagent.config.errors import counted
from sipagent.config.load import Config, ConfigError
from sipagent.config.types import HostPort
from sipagent.edge.files import kept_tokens, places
from sipagent.edge.plan import BEFORE_WORKERS, Addresses, Plan, addresses
from sipagent.edge.process import EdgeProcess
from sipagent.enrol.driver import Enrolments

RTP_PORTS = 16  # of the end of trunk.rtp_ports: the service takes them from the beginning
WORKER_PORTS = BEFORE_WORKERS + 1  # of the end of edge.worker_ports, for the same reason
CALLS = 2  # one is taken, the other one is told that it is busy
INVITES_PER_S = 6


def callers(config: Config) -> tuple[Addresses, tuple[str, ...]]:
    """Who may call: of the operators' addresses those that are not the trunk's, or all where none is left.

    Then what is to be said of it, too. Raises ConfigError: no address is known.
    """
    assert config.enrol
    ours = addresses(config, ()).operators
    if not ours:
        problem = Reason("no host of these can be looked up")
        raise ConfigError(config.file, "operators.extensions", problem, "a host that resolves")
    trunk = allowed_sources(config)
    apart = tuple(one for one in ours if not any(one.overlaps(source) for source in trunk))
    chosen, number = apart or ours, config.enrol.extension
    same = () if apart else ours
    said = (
        Reason(
            "{0} is the trunk's, too: see to it that no call from outside reaches {1}",
            one.network_address,
            number,
        )
        for one in same
    )
    own = addresses(config, chosen).own
    return Addresses(own, chosen, chosen), tuple(said)


def plan(config: Config, port: int, found: Addresses) -> Plan:
    """Plan the Kamailio in front, on UDP and TCP port `port`. Raises ConfigError: there are too few ports."""
    trunk, ports = config.trunk, config.edge.worker_ports
    if len(ports) < WORKER_PORTS:
        raise ConfigError(
            config.file,
            "edge.worker_ports",
            Reason("'{0}' holds {1}", ports, counted(len(ports), "port")),
            Reason("{0} or more at its end that the service does not use", WORKER_PORTS),
        )
    return Plan(
        workers=1,
        calls=CALLS,
        calls_per_worker=CALLS,
        invites_per_s=INVITES_PER_S,
        first_port=ports.last + 1 - WORKER_PORTS,
        last_port=ports.last,
        listen=HostPort(trunk.listen.host, port),
        advertised=trunk.public_address or found.own,
        transport="udp",
        tls=None,
        addresses=found,
        registrar="",
        user="",
        full_status=486,
    )


def engine_settings(
    config: Config, enrolments: Enrolments, port: int, found: Addresses, front: EdgeProcess | None = None
) -> EngineSettings:
    """An engine of its own, beside the service's; behind that Kamailio SIP comes from nobody else."""
    assert config.enrol
    trunk = config.trunk
    host = found.own if trunk.listen.is_any else trunk.listen.host
    last = trunk.rtp_ports.last
    alone = EngineSettings(
        report=enrolments.post,
        audio=enrolments.hear,
        listen=(trunk.listen.host, port),
        uri=f"sip:{config.enrol.extension}@{HostPort(host, port)}",
        public_address=trunk.public_address or "",
        rtp_ports=(max(trunk.rtp_ports.first, last + 1 - RTP_PORTS), last),
        calls=1,
        codecs=trunk.codecs,
        srtp=trunk.srtp,
        callers=found.trunk,
    )
    if front is None:
        return alone
    tokens = kept_tokens(places(front.directory))
    return replace(
        alone,
        listen=front.plan.worker(0),
        media_address=found.own,
        outbound_proxies=(front.plan.proxy,),
        hop_token=tokens.from_edge,
        way_out_token=tokens.to_edge,
        sip_peer=front.plan.inner,
    )
