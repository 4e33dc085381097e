"""`sipagent run` with many processes: builds the supervisor's parts, runs them, and ends them.

If one process cannot carry the calls, or other machines can reach `trunk.listen`, workers take the calls
behind Kamailio. This process then takes no calls: it holds the database's lock, purges, reports figures, and
watches the others.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import structlog

from media.hearing.keyword import DetectorUnavailable
from retention.records import Receipt
from retention.reserve import Reserve, ReserveError, is_at_work, take_in
from retention.rows.rows import Rows
from retention.shipping import Presence
from retention.texts import Reason, strerror
from sipagent import __version__
from sipagent.agent.admission import Admission, refuse_unrecordable
from sipagent.agent.board import BoardAnswer
from sipagent.agent.figures import total
from sipagent.agent.operators import Rota, local_board_client
from sipagent.agent.recorder import recover
from sipagent.agent.row_writer import RowWriter, Worker
from sipagent.agent.stored import archive_of_calls, journal_of
from sipagent.config.errors import counted
from sipagent.config.layout import EngineLimits, Layout, layout, widened
from sipagent.config.load import Config, ConfigError, load
from sipagent.edge.certificates import LOOK_S, Certificates
from sipagent.edge.files import CERTIFICATE, aged, begin_anew, expiry, kept_tokens, places, read_roots
from sipagent.edge.plan import (
    BEFORE_WORKERS,
    HopTokens,
    LookUp,
    Plan,
    addresses,
    allowed_sources,
    is_local,
    looked_up,
    media_addresses,
    needs_edge,
    new_tokens,
    plan,
)
from sipagent.edge.process import EdgeElsewhere, EdgeProcess
from sipagent.edge.rpc import EdgeError, RejectedCall
from sipagent.logs import alert, configure_log
from sipagent.service import children
from sipagent.service.cluster import HostBoard, among_hosts
from sipagent.service.control import BEFORE_CALLS, Orders, Systemd, Wake, alone_on, heed
from sipagent.service.edge import Edge, EdgeCare, Rejections
from sipagent.service.metrics import Metrics, Watch, figures_told
from sipagent.service.purging import Purging
from sipagent.service.remote_detector import DetectorAddress
from sipagent.service.rules import (
    BEHIND_EDGE,
    HostNames,
    reloaded,
    rules_of,
    tell_waiting,
    today_read,
    with_seed,
    with_specials,
)
from sipagent.service.sending import sending
from sipagent.service.storing import storing
from sipagent.service.supervisor import ChildSlot, Sharing, Supervisor
from sipagent.voice.detectors import keys_alone, unheard

GIVES_WAY_S = 8.0  # an address that moves has gone by then: 3 s by deploy/cluster/keepalived-a.conf

log = structlog.get_logger(__name__)


def needed(config: Config) -> bool:
    """Whether workers take the calls. Asks an engine only if the answer depends on it. Raises ConfigError."""
    return needs_edge(config, children.limits_for(config))


def _listening(config: Config) -> tuple[Config, DetectorAddress | None]:
    """The configuration in force on this machine, and the detector's address, None without one.

    As `sipagent.service.rules.listening`, but a child loads what is to be heard.
    """
    refusal = config.refusal
    if refusal.engine == "none":
        return config, None
    try:
        key, trouble = children.asked("sipagent.service.detector:tell_trouble", config)
    except EOFError:
        key, trouble = DetectorUnavailable.key, "the process that loads it has died"
    if not trouble:
        name = f"sipagent-detector-{secrets.token_hex(8)}"
        return config, DetectorAddress(name, refusal.in_call == "key+voice", refusal.engine)
    if refusal.engine_written:
        raise ConfigError(config.file, key, trouble)
    alert(f"refusal.engine: {unheard(key, trouble)}")
    return keys_alone(config), None


class ChildSpecs:
    """The configuration in force, and the specification of each child."""

    def __init__(
        self,
        config: Config,
        limits: EngineLimits,
        *,
        log_json: bool,
        drain_s: float,
        look: LookUp = looked_up,
    ) -> None:
        """Raises ConfigError. `look`: where host names lead; no call is taken from one that is unknown."""
        config, self.detector = _listening(config)
        self.config = config
        self.rules = rules_of(config, look)
        self._look = look
        refuse_unrecordable(config)
        self.layout: Layout = layout(config, limits)
        self.plan: Plan = plan(config, limits, addresses(config, self.rules.allowed, look))
        _look_at_certificate(config, self.plan)
        self._limits = limits
        self._log_json = log_json
        self._drain_s = drain_s
        self.tokens = new_tokens()  # those that the edge was started with, once it is
        self.moved = False  # the trunk, unknown at the start, is reached from another address of ours

    def slots(self) -> list[ChildSlot]:
        """A slot for every child that must run."""
        found = [ChildSlot(children.DETECTOR, None, lambda _: self._detector())] if self.detector else []
        found += [self.worker(index) for index in range(self.layout.workers)]
        if self.config.trunk.registrar:
            found.append(ChildSlot(children.REGISTRAR, None, lambda _: self._registrar()))
        return found

    def worker(self, index: int) -> ChildSlot:
        name, target = children.worker_name(index), "sipagent.service.worker:work"
        return ChildSlot(
            name, index, lambda refused: children.Child(name, target, self.worker_spec(index, refused))
        )

    @property
    def workers_rules(self) -> Admission:
        """The rules of calls, with how many calls one worker takes: the edge counts the calls of all."""
        return replace(self.rules, calls=self.layout.per_worker)

    def worker_spec(self, index: int, refused: tuple[Receipt, ...]) -> children.WorkerSpec:
        """The specification of a worker that is started now."""
        return children.WorkerSpec(
            index=index,
            listen=self.plan.worker(index),
            edge=self.plan.proxy,
            tokens=self.tokens,
            media=media_addresses(self.config, self.plan.addresses),
            rtp_ports=self.layout.ports_of(index),
            players=self._limits.players,
            config=self.config,
            rules=self.workers_rules,
            log_json=self._log_json,
            drain_s=self._drain_s,
            refused=refused,
            detector=self.detector,
        )

    def _registrar(self) -> children.Child:
        spec = children.RegistrarSpec(
            self.plan.account, self.plan.proxy, self.tokens, self.config, self._log_json
        )
        return children.Child(children.REGISTRAR, "sipagent.service.registrar:keep_registered", spec)

    def _detector(self) -> children.Child:
        assert self.detector is not None
        spec = children.DetectorSpec(self.detector, self.config, self._log_json, self._drain_s)
        return children.Child(children.DETECTOR, "sipagent.service.detector:listen", spec)

    def change(self, file: Config) -> range:
        """Use another configuration from now on; returns the additional workers. Raises ConfigError.

        `config` is then what is in force, so a child started later is like the others.
        """
        taken, before = reloaded(self.config, self.rules, file, BEHIND_EDGE, self._look), self.layout
        config, rules = taken.config, taken.rules
        after = widened(config, before) if config.capacity.calls > before.calls else before
        found = addresses(config, rules.allowed, self._look)
        edge = replace(self.plan, calls=after.calls, workers=after.workers, addresses=found)
        if edge.worker(after.workers - 1).port > edge.last_port:
            ports = self.plan.last_port - self.plan.first_port + 1
            needed = Reason("{0} or more, from the next start on", after.workers + BEFORE_WORKERS)
            raise ConfigError(
                config.file, "edge.worker_ports", Reason("holds {0}", counted(ports, "port")), needed
            )
        _look_at_certificate(config, edge)
        tell_waiting(taken)
        self.rules = with_seed(rules, config, self.rules.seed).on(self.rules.specials)
        self.config, self.layout, self.plan = config, after, edge
        return range(before.workers, after.workers)

    def look_again(self) -> bool:
        """Have the addresses in force that host names lead to now; whether they are others."""
        before, allowed = self.plan.addresses, allowed_sources(self.config, self._look)
        found = addresses(self.config, allowed, self._look)
        bound = replace(found, own=before.own, own_ipv6=before.own_ipv6)  # the edge, and calls, are at these
        if bound == before:
            return False
        plan = replace(self.plan, addresses=bound)
        if not before.trunk and (found != bound or plan.contact != self.plan.contact):
            self.moved = True
        self.rules, self.plan = replace(self.rules, allowed=allowed), plan
        return True


def run(config: Config, *, log_json: bool, drain_s: float, systemd: Systemd) -> int:
    """Run the service until SIGTERM or SIGINT; the exit code: 1 if it is to be started anew.

    Raises ConfigError, EdgeError, StoreError.
    """
    configure_log(log_json, "supervisor")
    orders = Orders(drain_s)
    heed(orders)
    systemd.say(BEFORE_CALLS)
    limits = children.engine_limits()
    with ExitStack() as stack:
        stack.callback(children.end_server)  # nothing of ours is left once this process has ended
        wake = Wake()
        stack.callback(wake.close)
        names = HostNames(config, wake.wake, alert)
        stack.enter_context(names.kept())
        specs = ChildSpecs(config, limits, log_json=log_json, drain_s=drain_s, look=names.known)
        stack.enter_context(alone_on(config))
        service = Service(specs, names, orders, wake, stack, systemd=systemd)
        log.info(
            "started",
            version=__version__,
            listen=str(config.trunk.listen),
            workers=specs.layout.workers,
            calls=specs.layout.calls,
        )
        service.supervisor.run(service.reload, service.heed)
    log.info("stopped")
    return 1 if specs.moved else 0


class Service:
    """The parts started before the first worker, in this order; `stack` ends them in reverse order."""

    def __init__(
        self,
        specs: ChildSpecs,
        names: HostNames,
        orders: Orders,
        wake: Wake,
        stack: ExitStack,
        *,
        systemd: Systemd,
    ) -> None:
        """Raises ConfigError, EdgeError, StoreError."""
        config = specs.config
        specs.rules = with_seed(specs.rules, config)
        self.specs = specs
        self._names = names
        shipping = stack.enter_context(among_hosts(config, alert))  # it ends after all that writes
        store = stack.enter_context(journal_of(config))
        rows = RowWriter(store, _edge_reserve(config, store), alert)
        stack.enter_context(_running(rows))  # it ends after the edge, which may report to the end
        self.rejections = Rejections(rows, specs.rules)
        care = self._edge(stack)
        _recover(config)
        stack.callback(_recover, config)  # recordings of a worker that died while it drained
        writer = stack.enter_context(_running(Worker("rota", alert)))
        rota = Rota(config.places.rota)
        board = HostBoard(config, local_board_client(specs.rules, rota, writer.put))
        board.wake(wake.wake)
        stack.enter_context(board)
        self.sharing = Sharing(
            specs.rules,
            board.client,
            self._tell,
            lambda: total((self.rejections.figures(), care.figures())),
        )
        shared = config.trunk.shared_address  # where it is elsewhere, no calls come by it any more
        self.supervisor = Supervisor(
            care,
            self.sharing,
            specs.slots(),
            orders,
            wake,
            systemd=systemd,
            lacks=lambda: [*board.lacks(), *names.lacks()],
            gives_way_s=lambda: GIVES_WAY_S if shared and is_local(shared) else 0.0,
        )
        if shipping is not None:
            shipping.presence = lambda: Presence(self.sharing.calls, self.supervisor.ending)
        self.purging = stack.enter_context(_running(Purging(config, alert)))
        watch = Watch(lambda: self.purging.config)
        stored = stack.enter_context(storing(config, alert))
        self.sending = stack.enter_context(sending(config, alert))
        stack.enter_context(today_read(config, orders, wake.wake))
        self._orders = orders
        metrics = Metrics(self.sharing, self.purging, watch, board, shipping, stored, self.sending)
        stack.enter_context(figures_told(config, metrics, watch))

    def _edge(self, stack: ExitStack) -> EdgeCare:
        """Our own Kamailio, started, or the administrator's, which we do not control."""
        config = self.specs.config
        self.specs.tokens = hop_tokens(config)
        wanted = self._certificates(stack)
        edge: Edge = EdgeElsewhere()
        if config.edge.start:
            edge = EdgeProcess(self.specs.plan, config.places.edge, self._edge_said, wanted)
        stack.callback(edge.stop)
        care = EdgeCare(edge)
        care.start(time.monotonic())
        return care

    def _certificates(self, stack: ExitStack) -> Callable[[str], None]:
        """Have the folder kept by which callers are verified; what is called with a certificate's place."""
        identities, trunk = self.specs.plan.identities, self.specs.config.trunk
        if identities is None:
            return lambda place: None
        thread = Worker("certificates", alert)
        hosts = frozenset(trunk.identity_hosts)
        kept = Certificates(identities.certificates, trunk.identity_certificates, hosts, thread.tell)

        def look() -> None:
            thread.again(look, LOOK_S)
            kept.look()

        try:
            kept.look(anew=False)  # before the first call
        except OSError as fault:
            thread.tell(str(fault))
        thread.put(look)
        stack.enter_context(_running(thread))
        stack.callback(kept.over.set)

        def wanted(place: str) -> None:
            if kept.is_wanted(place):
                thread.put(lambda: kept.fetch(place))

        return wanted

    def _edge_said(self, said: RejectedCall | str) -> None:
        """Take in a report of the edge; on its threads."""
        if isinstance(said, str):
            log.warning("edge", said=said)
        else:
            self.rejections.add(said)

    def _tell(self, index: int, answer: BoardAnswer) -> None:
        self.supervisor.tell(index, answer)

    def heed(self) -> None:
        """Have in force what is different today, and where host names lead, where that has changed."""
        specs, specials = self.specs, self._orders.specials
        if specials != specs.rules.specials:
            specs.rules = with_specials(specs.rules, specials)
            self._tell_rules()
        if self._names.changed.is_set():
            self._names.changed.clear()
            if specs.look_again():
                self._use_addresses()

    def _use_addresses(self) -> None:
        if self.specs.moved:  # nobody has called yet
            alert("the trunk is found now, and reached from another address of ours: a new start is needed")
            self._orders.end_within(0.0)
            return
        self._tell_rules()
        found = self.specs.plan.addresses
        log.info("addresses", trunk=[*map(str, found.trunk)], operators=[*map(str, found.operators)])

    def _tell_rules(self) -> None:
        specs = self.specs
        self.supervisor.tell_all(children.Reload(specs.config, specs.workers_rules))
        self.supervisor.care.change(specs.plan)
        self.sharing.reload(specs.rules)
        self.rejections.reload(specs.rules)

    def reload(self) -> bool:
        """Apply what the file says now, as far as possible. A wrong file changes nothing: False."""
        specs = self.specs
        if self.supervisor.ending:
            log.warning("reload_refused", reason="the service is ending")
            return False
        try:
            more = specs.change(load(specs.config.file))
        except ConfigError as wrong:
            log.error("reload_refused", reason=str(wrong))
            return False
        self._names.ask(specs.config)
        self._tell_rules()
        for index in more:
            self.supervisor.slots.append(specs.worker(index))  # started at the next turn
        self.purging.reload(specs.config)
        self.sending.reload(specs.config)
        log.info("reloaded", calls=specs.layout.calls)
        return True


def hop_tokens(config: Config) -> HopTokens:
    """The secrets between the edge and its workers; also removes what is no longer needed.

    Stored dialogs and secrets are for workers that an earlier agent has left; if there are none any more,
    both are removed. The administrator's own edge has its secrets from `sipagent edge`. Raises EdgeError.
    """
    where = places(config.places.edge)
    kept = config.places
    known = itertools.takewhile(lambda index: kept.lock_of(index).exists(), itertools.count())
    try:
        if config.edge.start and not any(is_at_work(kept, index) for index in known):
            begin_anew(where)
        return kept_tokens(where)
    except OSError as failure:
        raise EdgeError("{0}: {1}", where.directory, strerror(failure)) from failure


def _look_at_certificate(config: Config, plan: Plan) -> None:
    """Report a certificate that has expired or soon will. Raises ConfigError: it, or its key, cannot be
    used."""
    if plan.identities and plan.identities.roots:
        read_roots(plan.identities.roots, config.file)
    if plan.tls and config.edge.start and (said := aged(expiry(plan.tls, config.file), datetime.now(UTC))):
        alert(f"{CERTIFICATE}: {plan.tls.certificate} {said}")


def _edge_reserve(config: Config, store: Rows) -> Reserve | None:
    """For rejected calls that the database does not take; what the last run left in it is written first. One
    that cannot be read stays as it is."""
    reserve = Reserve(config.places.reserve("edge"), 0)
    try:
        take_in(store, reserve.path)
    except (OSError, ReserveError) as fault:
        alert(f"the reserve: {fault}")
        return None
    return reserve


def _recover(config: Config) -> None:
    """Recover what no worker is working on any more."""
    with journal_of(config) as store:
        archive = archive_of_calls(config, store)
        recover(archive, config.recording.format, datetime.now(UTC), alert)


class _Thread(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None: ...


Running = TypeVar("Running", bound=_Thread)


@contextmanager
def _running(thread: Running) -> Iterator[Running]:
    thread.start()
    try:
        yield thread
    finally:
        thread.stop()
