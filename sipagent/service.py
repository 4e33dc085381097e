"""`sipagent run`: puts the parts together, and takes them apart again.

Threads: this one is the SIP thread, and hears signals. The listener and the recorder's two talk to it through
the agent's inbox; the purge's has its own connection to the store, and so has `watch`, which looks for those
who scrape.
"""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from media.keyword import Detector, DetectorUnavailable, load_detector
from media.notice import PromptError
from retention.archive import Archive
from retention.files import alone
from retention.store import Store, StoreError
from sipagent import __version__
from sipagent.admission import Admission, admission, tones
from sipagent.agent import Agent
from sipagent.config import Config, ConfigError, load
from sipagent.engine import Credentials, EngineSettings
from sipagent.metrics import Metrics
from sipagent.pjsip import PjsipEngine
from sipagent.purging import Purging
from sipagent.recorder import Recorder
from sipagent.recovery import recover
from sipagent.rota import Rota
from sipagent.sampling import Seed
from sipagent.scrape import serving
from sipagent.seed import SeedError, keep_seed, seed_path
from sipagent.watch import Watch

log = structlog.get_logger("sipagent.service")


class Orders:
    """What signals have asked for."""

    def __init__(self, drain_s: float) -> None:
        self.drain_s = drain_s
        self.reload = False
        self.ending_at: float | None = None

    def end(self) -> None:
        """Stop taking calls; a second request does not wait for those in progress."""
        now = time.monotonic()
        self.ending_at = now if self.ending_at is not None else now + self.drain_s


def configure_log(as_json: bool) -> None:
    """Log to stderr: one JSON object a line, or for people."""
    shape: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            shape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # whichever it is by then
    )


def run(config: Config, *, log_json: bool, drain_s: float) -> int:
    """Take calls until SIGTERM or SIGINT; the exit code.

    Raises ConfigError, EngineError, StoreError.
    """
    configure_log(log_json)
    rules = _rules(config)
    orders = Orders(drain_s)
    _heed(orders)
    with Store(config.retention.database) as store:
        archive = Archive(store, config.recording.directory, config.base)
        recorder = Recorder(archive, config.recording.format, _alert, config.recording.recipients)
        registers = config.trunk.registrar is not None
        rota = Rota(config.retention.database.with_name("round_robin.json"))
        agent = Agent(rules, recorder, tones(), registers=registers, detector=_detector(config), rota=rota)
        purging = Purging(config, _alert)
        engine = PjsipEngine(_settings(config, agent))
        engine.start()  # first: a second agent on this port must not touch what the first one keeps
        try:
            _fit(config, engine.capacity)
            with _alone(config), _metrics(config, agent, purging):
                agent.reload(replace(rules, seed=_seed(config)))
                recover(archive, config.recording.format, datetime.now(UTC), _alert)
                _serve(config, agent, engine, purging, orders)
        finally:
            engine.stop()
    log.info("stopped")
    return 0


def _rules(config: Config) -> Admission:
    try:
        return admission(config)
    except PromptError as wrong:
        raise ConfigError(config.file, "prompts", f"{wrong.path}: {wrong.problem}", wrong.accepted) from wrong


def _seed(config: Config) -> Seed | None:
    """What to draw with. Without it nobody is recorded of whom only a share is."""
    try:
        return keep_seed(seed_path(config.retention.database))
    except (SeedError, OSError) as wrong:
        _alert(f"{wrong}; until then no call is drawn where recording.share is below 1")
        return None


def _detector(config: Config) -> Detector | None:
    refusal = config.refusal
    try:
        return load_detector(refusal.engine, refusal.keywords, refusal.accept_keywords)
    except DetectorUnavailable as wrong:
        raise ConfigError(config.file, "refusal.engine", str(wrong)) from wrong


def _fit(config: Config, legs: int) -> None:
    """What the engine can't carry, or should not face. Raises ConfigError."""
    calls, carries = config.capacity.calls, legs // 2
    if calls > carries:
        raise ConfigError(
            config.file, "capacity.calls", f"{calls} is more than one process carries", f"1 to {carries}"
        )
    if calls > (legs - 1) // 2:
        log.warning("no_leg_to_refuse_with", calls=calls, detail="the edge in front must refuse")
    if not config.trunk.listen.is_loopback:
        log.warning("faces_a_network", detail="40 INVITEs a second end the engine: put an edge in front")


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    """What is open in the database is this agent's, or of one that died. Raises StoreError: another runs."""
    database = config.retention.database
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(database.with_suffix(".lock")))
        except BlockingIOError as taken:
            raise StoreError(f"{database}: another agent is at work on it") from taken
        yield


@contextmanager
def _metrics(config: Config, agent: Agent, purging: Purging) -> Iterator[None]:
    """Tell figures meanwhile, if anybody wants them. Raises ConfigError where the port is taken."""
    listen = config.metrics.listen
    if listen is None:
        yield
        return
    watch = Watch(lambda: purging.config)
    with ExitStack() as stack:
        try:
            stack.enter_context(serving(listen, Metrics(agent, purging, watch)))
        except OSError as taken:
            problem = f"{listen}: {taken.strerror}"
            raise ConfigError(
                config.file, "metrics.listen", problem, "a free port of this machine"
            ) from taken
        watch.start()
        stack.callback(watch.stop)
        yield


def _serve(config: Config, agent: Agent, engine: PjsipEngine, purging: Purging, orders: Orders) -> None:
    purging.start()
    agent.recorder.start()
    agent.listener.start()
    log.info("started", version=__version__, listen=str(config.trunk.listen), legs=engine.capacity)
    try:
        agent.run(engine, lambda: _stop(config, agent, purging, orders))
    finally:
        agent.listener.stop()
        agent.recorder.stop()
        purging.stop()


def _stop(config: Config, agent: Agent, purging: Purging, orders: Orders) -> bool:
    """Looked at in every turn of the agent: whether it is over."""
    if orders.reload:
        orders.reload = False
        _reload(config, agent, purging)
    if orders.ending_at is None:
        return False
    if not agent.draining:
        agent.draining = True
        log.info("draining", calls=agent.calls)
    return not agent.calls or time.monotonic() >= orders.ending_at


def _reload(config: Config, agent: Agent, purging: Purging) -> None:
    try:
        changed = load(config.file)
        rules = _rules(changed)
    except ConfigError as wrong:
        log.error("reload_refused", reason=str(wrong))
        return
    agent.reload(replace(rules, seed=agent.admission.seed or _seed(config)))
    agent.recorder.reload(changed.recording.format, changed.recording.recipients)
    purging.reload(changed)
    log.info("reloaded")


def _heed(orders: Orders) -> None:
    """Python runs these between two turns of the SIP thread: up to a second after the signal."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: orders.end())
    signal.signal(signal.SIGHUP, lambda *_: setattr(orders, "reload", True))


def _alert(reason: str) -> None:
    log.error("alert", reason=reason)


def _settings(config: Config, agent: Agent) -> EngineSettings:
    trunk, operators = config.trunk, config.operators
    trunk_login, operator_login = config.trunk_login(), config.operator_login()
    return EngineSettings(
        report=agent.post,
        audio=agent.hear,
        listen=(trunk.listen.host, trunk.listen.port),
        uri=trunk.uri,
        transport=trunk.transport,
        public_address=trunk.public_address or "",
        registrar=trunk.registrar or "",
        trunk=Credentials(trunk_login.username, trunk_login.password, trunk.realm) if trunk_login else None,
        operators=Credentials(operator_login.username, operator_login.password) if operator_login else None,
        outbound_proxy=operators.outbound_proxy or "",
        rtp_ports=(trunk.rtp_ports.first, trunk.rtp_ports.last),
        codecs=trunk.codecs,
        srtp=trunk.srtp,
        media_timeout_s=config.capacity.media_timeout_s,
    )
