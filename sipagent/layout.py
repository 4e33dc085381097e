"""Who of many processes does what where: the calls of each worker and its RTP ports. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from sipagent.config import Config, ConfigError, PortRange

PORTS_PER_CALL = 8  # two legs, RTP and RTCP each, and as many that are just being let go
PORTS_WANTED = 32  # of a worker, where the range has them: calls that come and go fast hold more


@dataclass(frozen=True, slots=True)
class Layout:
    """`calls`: of all, `per_worker`: of one worker; `ports`: the whole range; `slice`: how many one has."""

    calls: int
    per_worker: int
    ports: PortRange
    slice: int

    @property
    def workers(self) -> int:
        return workers_of(self.calls, self.per_worker)

    def ports_of(self, index: int) -> tuple[int, int]:
        """First, an even one, and last."""
        first = self.ports.first + index * self.slice
        return first, first + self.slice - 1


def per_worker_of(calls: int, legs: int) -> int:
    """How many of the calls one worker takes: none of its legs is needed to refuse with."""
    return max(1, min(legs // 2, calls))


def workers_of(calls: int, per_worker: int) -> int:
    """How many workers that takes."""
    return -(-calls // per_worker)


def layout(config: Config, legs: int) -> Layout:
    """For workers whose engine has so many legs. Raises ConfigError."""
    calls, ports = config.capacity.calls, config.trunk.rtp_ports
    per_worker = per_worker_of(calls, legs)
    share = min(PORTS_WANTED, len(ports) // workers_of(calls, per_worker)) // 2 * 2
    return _checked(config, Layout(calls, per_worker, ports, max(share, per_worker * PORTS_PER_CALL)))


def widened(config: Config, before: Layout) -> Layout:
    """The layout for more calls, with every worker's ports as they are. Raises ConfigError."""
    return _checked(config, Layout(config.capacity.calls, before.per_worker, before.ports, before.slice))


def _checked(config: Config, found: Layout) -> Layout:
    needed = found.workers * found.slice
    if len(found.ports) < needed:
        raise ConfigError(
            config.file,
            "trunk.rtp_ports",
            f"'{found.ports}' holds {len(found.ports)} ports",
            f"{needed} or more: {found.slice} for each of {found.workers} workers",
        )
    return found


BOUND, REGISTERED, IN_USE = "edge and workers are bound to it", "it is registered with that", "it is in use"
BEGUN = "edge and workers that are up have begun with it"
HEARD = "the detector has begun with it"
FIXED: Mapping[str, str] = {
    **dict.fromkeys(("trunk.listen", "trunk.transport", "trunk.rtp_ports", "trunk.public_address"), BOUND),
    **dict.fromkeys(("edge.start", "edge.worker_ports", "edge.tls_listen"), BOUND),
    **dict.fromkeys(("edge.invites_per_s", "edge.certificate", "edge.private_key", "edge.ca"), BEGUN),
    **dict.fromkeys(("trunk.codecs", "trunk.srtp", "capacity.media_timeout_s"), BEGUN),
    **dict.fromkeys(("operators.username", "operators.outbound_proxy", "capacity.full_status"), BEGUN),
    **dict.fromkeys(("refusal.engine", "refusal.keywords", "refusal.accept_keywords"), HEARD),
    **dict.fromkeys(("refusal.in_call", "refusal.in_call_keywords", "refusal.vosk_model"), HEARD),
    "refusal.heads": HEARD,
    **dict.fromkeys(("trunk.uri", "trunk.registrar", "trunk.username", "trunk.realm"), REGISTERED),
    **dict.fromkeys(("retention.database", "recording.directory", "metrics.listen"), IN_USE),
}


def unchangeable(before: Config, after: Config) -> dict[str, str]:
    """What differs and takes a restart, by key, with the reason."""
    return {key: reason for key, reason in FIXED.items() if _value(before, key) != _value(after, key)}


def _value(config: Config, key: str) -> object:
    table, _, name = key.partition(".")
    return getattr(getattr(config, table), name)
