"""How work is shared between processes: the calls of each worker and its RTP ports. Pure."""

from dataclasses import dataclass

from sipagent.config.finding import counted
from sipagent.config.load import Config, ConfigError, PortRange

PORTS_PER_CALL = 8  # two legs, RTP and RTCP each, and as many that are being closed
PORTS_WANTED = 32  # of a worker, if the range has them: calls that come and go fast hold more


@dataclass(frozen=True, slots=True)
class Layout:
    """`calls`: of all, `per_worker`: of one worker; `ports`: the whole range; `slice`: how many ports a
    worker has."""

    calls: int
    per_worker: int
    ports: PortRange
    slice: int

    @property
    def workers(self) -> int:
        return workers_of(self.calls, self.per_worker)

    def ports_of(self, index: int) -> tuple[int, int]:
        """The first port, an even one, and the last."""
        first = self.ports.first + index * self.slice
        return first, first + self.slice - 1


def per_worker_of(calls: int, legs: int) -> int:
    """How many of the calls one worker takes: it needs no leg to refuse with."""
    return max(1, min(legs // 2, calls))


def workers_of(calls: int, per_worker: int) -> int:
    """How many workers are needed."""
    return -(-calls // per_worker)


def layout(config: Config, legs: int) -> Layout:
    """The layout for workers whose engine has `legs` legs. Raises ConfigError."""
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
            f"'{found.ports}' holds {counted(len(found.ports), 'port')}",
            f"{needed} or more: {found.slice} for each of {counted(found.workers, 'worker')}",
        )
    return found
