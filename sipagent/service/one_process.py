"""`sipagent run` in one process: builds the parts, runs them, and ends them.

Threads: this one is the SIP thread, and receives signals. The listener's and the recorder's two talk to it
through the agent's inbox. The purge has its own connection to the store, and so has `watch`, which looks at
the store for the metrics.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_network

import structlog

from retention.reserve import Reserve
from retention.shipping import Presence
from retention.texts import Reason
from sipagent import __version__
from sipagent.agent.admission import refuse_unrecordable, tones
from sipagent.agent.agent import Agent
from sipagent.agent.board import BoardHeard
from sipagent.agent.engine import Credentials, EngineSettings
from sipagent.agent.operators import Rota, local_board_client
from sipagent.agent.recorder import Recorder, recover, take_in_reserves
from sipagent.agent.stored import archive_of_calls, journal_of
from sipagent.config.layout import EngineLimits, calls_alone
from sipagent.config.load import Config, ConfigError, load
from sipagent.edge.plan import addresses, pbx_hosts
from sipagent.logs import alert, configure_log
from sipagent.pjsip import PjsipEngine
from sipagent.service.children import limits_for
from sipagent.service.cluster import HostBoard, among_hosts
from sipagent.service.control import BEFORE_CALLS, Orders, Systemd, alone_on, heed, status_of, tell_draining
from sipagent.service.metrics import Metrics, Watch, figures_told
from sipagent.service.purging import Purging
from sipagent.service.rules import (
    ALONE,
    listening,
    reloaded,
    rules_of,
    tell_waiting,
    today_read,
    with_seed,
    with_specials,
)
from sipagent.service.sending import Sending, sending
from sipagent.service.storing import storing

HERE = ip_network("127.0.0.1/32")  # `sipagent check` asks whether we are running

log = structlog.get_logger(__name__)


def run(config: Config, *, log_json: bool, drain_s: float, systemd: Systemd) -> int:
    """Take calls until SIGTERM or SIGINT; the exit code.

    Raises ConfigError, EngineError, StoreError.
    """
    configure_log(log_json)
    config, found = listening(config)
    rules = rules_of(config)
    refuse_unrecordable(config)
    orders = Orders(drain_s)
    heed(orders)
    systemd.say(BEFORE_CALLS)
    with journal_of(config) as store:
        archive = archive_of_calls(config, store)
        reserve = Reserve(config.places.reserve(), config.capacity.calls)
        recorder = Recorder(archive, config.recording.format, alert, config.recording.recipients, reserve)
        registers = config.trunk.registrar is not None
        board = HostBoard(config, local_board_client(rules, Rota(config.places.rota), recorder.later))
        agent = Agent(
            rules,
            recorder,
            tones(),
            registers=registers,
            detectors=found,
            board_client=board.client,
            ready=lambda: _tell_ready(systemd),
        )
        board.wake(lambda: agent.post_and_wake(BoardHeard()))
        purging = Purging(config, alert)
        watch = Watch(lambda: purging.config)
        where, players = addresses(config, rules.allowed), limits_for(config).players
        others = (HERE, *where.operators, *where.registrar)
        engine = PjsipEngine(replace(engine_settings(config, agent), players=players, others=others))
        engine.start()  # first: a second agent on this port must not touch what the first agent keeps
        try:
            _fit(config, engine.limits)
            with (
                alone_on(config),
                among_hosts(config, alert) as shipping,
                storing(config, alert) as stored,
                sending(config, alert) as events,
                figures_told(
                    config,
                    Metrics(agent, purging, watch, board, shipping, stored, events),
                    watch,
                ),
                today_read(config, orders),
                board,
            ):
                if shipping is not None:
                    shipping.presence = lambda: Presence(agent.calls, agent.draining)
                agent.reload(with_seed(rules, config))
                edge = config.places.reserve("edge")  # if it existed before
                take_in_reserves(store, [edge], alert)
                recover(archive, config.recording.format, datetime.now(UTC), alert)
                _Run(agent, engine, purging, events, orders, systemd, board).serve()
        finally:
            engine.stop()
    log.info("stopped")
    return 0


def _fit(config: Config, limits: EngineLimits) -> None:
    """Limit calls to what the engine has: one leg stays free to refuse with. Raises ConfigError."""
    calls, carries = config.capacity.calls, calls_alone(config, limits)
    if calls > carries:
        problem = Reason(
            "{0} is more than one process carries, with a leg to refuse the next one ({1})",
            calls,
            str(limits),
        )
        raise ConfigError(config.file, "capacity.calls", problem, Reason("1 to {0}", carries))


def _tell_ready(systemd: Systemd) -> None:
    log.info("ready")
    systemd.ready()


@dataclass(frozen=True, slots=True)
class _Run:
    """The parts that serve calls, while they do."""

    agent: Agent
    engine: PjsipEngine
    purging: Purging
    sending: Sending
    orders: Orders
    systemd: Systemd
    board: HostBoard

    def serve(self) -> None:
        parts = (self.purging, self.agent.recorder, self.agent.listener)
        for part in parts:
            part.start()
        log.info(
            "started",
            version=__version__,
            listen=str(self.purging.config.trunk.listen),
            legs=self.engine.capacity,
            shape="one process, for this machine alone: no network may reach it",
        )
        try:
            self.agent.run(self.engine, self._is_over)
        finally:
            for part in reversed(parts):
                part.stop()

    def _is_over(self) -> bool:
        """Called in every turn of the agent."""
        now, agent, orders = time.monotonic(), self.agent, self.orders
        if orders.reload:
            orders.reload = False
            self.systemd.reload(self._reload)
        if orders.specials != agent.admission.specials:
            agent.reload(with_specials(agent.admission, orders.specials))
        self.systemd.look(now, self._status)
        if orders.ending_at is None:
            return False
        if not agent.draining:
            agent.draining = True
            self.engine.drain()
            patience_s = max(0.0, orders.ending_at - now)
            tell_draining(agent.calls, patience_s)
            self.systemd.stopping(patience_s)
        return not agent.calls or now >= orders.ending_at

    def _status(self) -> str:
        agent, lacks = self.agent, self.board.lacks()
        return status_of(agent.calls, agent.limit, agent.has_registered, draining=agent.draining, lacks=lacks)

    def _reload(self) -> bool:
        """Apply what the file says now, as far as possible. A wrong file changes nothing: False."""
        agent, before = self.agent, self.purging.config
        try:
            taken = reloaded(before, agent.admission, load(before.file), ALONE)
        except ConfigError as wrong:
            log.error("reload_refused", reason=str(wrong))
            return False
        tell_waiting(taken)
        allowed = agent.admission.allowed  # that of the sockets, even if the registrar's URI names another
        rules = replace(taken.rules, allowed=allowed)
        agent.reload(with_seed(rules, taken.config, agent.admission.seed).on(agent.admission.specials))
        self.engine.challenged_by(allowed, pbx_hosts(taken.config))
        self.engine.trust(taken.config.trunk.media_sources)
        agent.recorder.reload(taken.config.recording.format, taken.config.recording.recipients)
        self.purging.reload(taken.config)
        self.sending.reload(taken.config)
        log.info("reloaded")
        return True


def engine_settings(config: Config, agent: Agent) -> EngineSettings:
    """The engine's settings by the configuration, but for where host names lead: a worker, which the edge
    answers for, does not wait for that. Raises ConfigError: a password cannot be read."""
    trunk, operators = config.trunk, config.operators
    trunk_login = config.trunk_login()
    operator_login = config.operator_login() if operators.username else None
    return EngineSettings(
        report=agent.post,
        audio=agent.hear,
        missed=agent.miss,
        gap=agent.unheard,
        listen=(trunk.listen.host, trunk.listen.port),
        uri=trunk.uri,
        transport=trunk.transport,
        public_address=trunk.public_address or "",
        registrar=trunk.registrar or "",
        trunk=Credentials(trunk_login.username, trunk_login.password, trunk.realm) if trunk_login else None,
        operators=Credentials(operator_login.username, operator_login.password) if operator_login else None,
        outbound_proxies=(operators.outbound_proxy,) if operators.outbound_proxy else (),
        rtp_ports=(trunk.rtp_ports.first, trunk.rtp_ports.last),
        calls=config.capacity.calls,
        codecs=trunk.codecs,
        srtp=trunk.srtp,
        operators_srtp=config.operators_srtp,
        media_timeout_s=config.capacity.media_timeout_s,
        has_room=agent.has_room,
        late_status=agent.late_status,
        callers=agent.admission.allowed,
        pbx=pbx_hosts(config),
        media_sources=trunk.media_sources,
    )
