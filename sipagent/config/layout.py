"""How work is shared between processes: how many calls one takes, and the RTP ports of each worker. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from retention.texts import Reason, joined
from sipagent.config.errors import counted
from sipagent.config.load import Config, ConfigError, PortRange

PORTS_PER_CALL = 8  # two legs, RTP and RTCP each, and as many that are being closed
PORTS_WANTED = 16  # for each call, if the range has them: calls that come and go fast hold more
CALLS_BY_DEFAULT = 25  # of one process of a large engine: its death costs no more (docs/en/larger-engine.md)
INVITES_A_CALL = 6  # a second, for each call that a process takes
MOST_INVITES = 40  # a second: one process sets up no more, however many calls it takes
REAL_TIME_A_CORE = 32  # processes: each has some 0.3 % of a core of it with two calls, and half as much idle
SOCKETS_AN_INVITE = 5  # handles for each INVITE a second: two, for more than a second


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """How much one process's engine has of everything that can run out; the defaults are those of pjproject.

    `legs`: its calls; `players`: sounds at once; `handles`: sockets of RTP and RTCP; `slots`: places in its
    bridge; `files`: descriptors that the process may have.
    """

    legs: int
    players: int = 32
    handles: int = 64
    slots: int = 254
    files: int = 1024

    @property
    def calls(self) -> int:
        """How many calls one process carries; it needs no leg to refuse the next call."""
        return max(1, min(self._by_resource.values()))

    @property
    def decides(self) -> str:
        """The name of what is too little for one more call."""
        by_resource = self._by_resource
        return min(by_resource, key=by_resource.__getitem__)

    @property
    def usable_legs(self) -> int:
        """How many legs have everything else that a leg needs."""
        others = min(self._by_resource[name] for name in ("handles", "slots", "files"))
        return min(self.legs, 2 * max(1, others))

    @property
    def alone(self) -> int:
        """How many calls a lone process carries; it keeps one leg to refuse the next call."""
        return max(0, min(self.calls, (self.usable_legs - 1) // 2))

    @property
    def sockets(self) -> int:
        """How many of the handles are for calls."""
        return self.handles - KEPT["handles"]

    @property
    def _by_resource(self) -> Mapping[str, int]:
        have = asdict(self)
        return {name: (have[name] - KEPT[name]) // each for name, each in A_CALL.items()}

    def __str__(self) -> str:
        have = [
            Reason("{0} {1}", value, Reason(NAMES[name]))
            for name, value in asdict(self).items()
            if name in NAMES
        ]
        decides = Reason(NAMES.get(self.decides, self.decides))
        calls = counted(self.calls, "call")
        return Reason("{0}: {1} a process, for its {2}", joined(have, "{0}, {1}"), calls, decides)


A_CALL = {
    "legs": 2,
    "players": 4,  # a sound, the one before it (kept for a second), and two acknowledgements
    "handles": 6,  # two legs, RTP and RTCP each, and half as many that are being closed
    "slots": 14,  # two legs, two ears, two probes of two, four players, and two that the next tick lets go
    "files": 20,  # the sockets and sounds, and the parts of a recording
}
KEPT = {"legs": 0, "players": 4, "handles": 4, "slots": 4, "files": 100}  # for no call
NAMES = {"legs": "legs", "players": "players", "handles": "sockets", "files": "files"}  # that are shown
FEWEST = EngineLimits(legs=3)  # a small engine: one call, and a leg to refuse the next one


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


def calls_a_process(config: Config, limits: EngineLimits) -> int:
    """How many calls one process takes, whatever calls there are. Raises ConfigError: more than it can."""
    wanted = config.capacity.calls_per_process
    if wanted is None:
        return min(CALLS_BY_DEFAULT, limits.calls)
    if wanted > limits.calls:
        problem = Reason("{0} is more than one process of this engine carries ({1})", wanted, str(limits))
        raise ConfigError(
            config.file, "capacity.calls_per_process", problem, Reason("1 to {0}", limits.calls)
        )
    return wanted


def calls_alone(config: Config, limits: EngineLimits) -> int:
    """How many calls a lone process takes, which itself refuses those beyond. Raises ConfigError."""
    return min(calls_a_process(config, limits), limits.alone)


def invites_per_s(config: Config, limits: EngineLimits) -> int:
    """How many INVITEs a second one process is given. Raises ConfigError."""
    by_calls = min(INVITES_A_CALL * calls_a_process(config, limits), MOST_INVITES)
    return config.edge.invites_per_s or max(1, min(by_calls, limits.sockets // SOCKETS_AN_INVITE))


def per_worker_of(config: Config, limits: EngineLimits) -> int:
    """How many of the calls one worker takes. Raises ConfigError."""
    return min(calls_a_process(config, limits), config.capacity.calls)


def workers_of(calls: int, per_worker: int) -> int:
    """How many workers are needed."""
    return -(-calls // per_worker)


def layout(config: Config, limits: EngineLimits) -> Layout:
    """For workers with such an engine. Raises ConfigError."""
    calls, ports = config.capacity.calls, config.trunk.rtp_ports
    per_worker = per_worker_of(config, limits)
    wanted = PORTS_WANTED * max(2, per_worker)
    share = min(wanted, len(ports) // workers_of(calls, per_worker)) // 2 * 2
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
            Reason("'{0}' holds {1}", found.ports, counted(len(found.ports), "port")),
            Reason("{0} or more: {1} for each of {2}", needed, found.slice, counted(found.workers, "worker")),
        )
    return found
