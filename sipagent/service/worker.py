"""A worker: the agent of `sipagent run` in a separate process, behind the edge.

It receives SIP on loopback, only from the edge, and media on the machine's own address. The orders of signals
come over its link to the supervisor. The end of the link means that the supervisor is dead; then the worker
takes no more calls, and ends with those that it has.
"""

import ipaddress
import os
import queue
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection

import structlog

from retention.records import Ids, Receipt, worker_of
from retention.reserve import Reserve, at_work, left_by
from retention.rows.rows import StoreError
from sipagent.agent.admission import Admission, tones
from sipagent.agent.agent import Agent
from sipagent.agent.board import BoardLost
from sipagent.agent.engine import Engine, EngineSettings, RealmLearnt, Report
from sipagent.agent.figures import Telling
from sipagent.agent.operators import RemoteBoardClient
from sipagent.agent.recorder import Recorder, recover, take_in_reserves
from sipagent.agent.stored import archive_of_calls, journal_of
from sipagent.config.layout import REAL_TIME_A_CORE
from sipagent.config.load import ConfigError
from sipagent.edge.plan import pbx_hosts
from sipagent.logs import alert, configure_log
from sipagent.pjsip import EngineError, PjsipEngine
from sipagent.service import children
from sipagent.service.control import Orders
from sipagent.service.one_process import engine_settings
from sipagent.service.remote_detector import remote_detectors

PULSE_S = 10.0  # a third of what the supervisor waits
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)

log = structlog.get_logger(__name__)


def work(
    connection: "Connection[children.ToSupervisor, children.ToChild]", spec: children.WorkerSpec
) -> None:
    """Take calls until the supervisor ends it, or is gone. The whole process."""
    configure_log(spec.log_json, children.worker_name(spec.index))
    try:
        with ExitStack() as stack:
            _work(connection, spec, stack)
    except BlockingIOError:
        alert("this worker of an agent that died still has calls; its place is taken once it ends")
        sys.exit(1)
    except (ConfigError, EngineError, StoreError, OSError) as failure:
        alert(f"this worker cannot go on: {failure}")
        sys.exit(1)


def _work(
    connection: "Connection[children.ToSupervisor, children.ToChild]",
    spec: children.WorkerSpec,
    stack: ExitStack,
) -> None:
    config = spec.config
    stack.enter_context(at_work(config.places, spec.index))
    store = stack.enter_context(journal_of(config, worker=spec.index))
    archive = archive_of_calls(config, store)
    path = config.places.reserve(spec.index)
    waited = take_in_reserves(store, [path], alert)
    marked = (id for id in archive.marks.ids() if worker_of(id) == spec.index)
    left = tuple(dict.fromkeys((*left_by(store, spec.index), *waited, *marked)))
    link = children.SupervisorLink(connection)
    reserve = Reserve(path, spec.rules.calls)
    recorder = WorkerRecorder(archive, config.recording.format, alert, config.recording.recipients, reserve)
    recorder.send = link.send
    agent = Agent(
        of_edge(spec.rules),
        recorder,
        tones(),
        registers=False,
        detectors=remote_detectors(spec.detector),
        board_client=RemoteBoardClient(link.send),
        ids=Ids(spec.index, spec.rules.host),
        behind_edge=True,
        ready=lambda: link.send(children.Ready()),
    )
    engine = PjsipEngine(settings(spec, agent, link.send))
    orders = WorkerOrders(spec.drain_s, agent, engine)
    engine.start()
    stack.callback(engine.stop)
    link.start(orders.heard, orders.lost)
    stack.callback(link.close)
    for start, stop in ((recorder.start, recorder.stop), (agent.listener.start, agent.listener.stop)):
        start()
        stack.callback(stop)
    if left:
        recorder.slowly(lambda: recover_left(agent, spec, left))
    telling = Telling(agent.figures, link.send)
    pulse = Pulse(link.send)
    agent.run(engine, lambda: over(agent, orders, telling, pulse))
    telling.tell()


def recover_left(agent: Agent, spec: children.WorkerSpec, left: tuple[str, ...]) -> None:
    """Recover only what the worker before this one has left; in `assembler`."""
    archive, format = agent.recorder.archive, spec.config.recording.format
    for receipt in spec.refused:
        if receipt.id in left and archive.store.receipt(receipt.id).decision != "refused":
            archive.store.update_receipt(receipt)
    ended = recover(archive, format, datetime.now(UTC), alert, left)
    for one in ended:
        agent.tally.ended["failed", one.decision, one.decided_by or ""] += 1
    log.info("recovered", calls=len(left), failed=len(ended))


class WorkerRecorder(Recorder):
    """Also tells the supervisor of a refusal, before any disk has it."""

    send: Callable[[children.CallerRefused], None]

    def keep_receipt(self, receipt: Receipt, *, may_wait: bool = False) -> None:
        if receipt.decision == "refused" and receipt.ended_at is None:
            self.send(children.CallerRefused(receipt))
        super().keep_receipt(receipt, may_wait=may_wait)


class WorkerOrders(Orders):
    """The supervisor's orders to a worker; written on the link's thread."""

    def __init__(self, drain_s: float, agent: Agent, engine: Engine) -> None:
        super().__init__(drain_s)
        self._agent = agent
        self.engine = engine
        self.reloads: queue.SimpleQueue[children.Reload] = queue.SimpleQueue()

    def heard(self, message: children.ToChild) -> None:
        """Take in what the supervisor says."""
        match message:
            case children.Drain(patience_s):
                self.end_within(patience_s)
            case children.Reload():
                self.reloads.put(message)
            case _:
                self._agent.post(message)
        self._wake()

    def lost(self) -> None:
        """The supervisor is gone."""
        log.warning("supervisor_lost", detail="this worker ends with the calls that it has")
        self._agent.post(BoardLost())
        self.end_within(self.drain_s)
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # the engine has been stopped: nothing to wake
            self.engine.wake()


class Pulse:
    """Tells the supervisor by `send` that this thread is running."""

    def __init__(self, send: Callable[[children.Alive], None]) -> None:
        self._send = send
        self._due = 0.0

    def look(self, now: float) -> None:
        """Called in every turn; `now` is monotonic s."""
        if now >= self._due:
            self._due = now + PULSE_S
            self._send(children.Alive())


def over(agent: Agent, orders: WorkerOrders, telling: Telling, pulse: Pulse) -> bool:
    """Called in every turn of the agent: whether to end."""
    now = time.monotonic()
    telling.look(now)
    pulse.look(now)
    while not orders.reloads.empty():
        changed = orders.reloads.get()
        agent.reload(of_edge(changed.rules))
        orders.engine.trust(changed.config.trunk.media_sources)
        orders.engine.challenged_by(changed.rules.allowed, pbx_hosts(changed.config))
        agent.recorder.reload(changed.config.recording.format, changed.config.recording.recipients)
    if orders.ending_at is None:
        return False
    if not agent.draining:
        agent.draining = True
        orders.engine.drain()  # an edge that we do not control learns it from OPTIONS
    return not agent.calls or time.monotonic() >= orders.ending_at


def of_edge(rules: Admission) -> Admission:
    """The rules for calls that the edge has let in: the edge is their source."""
    return replace(rules, allowed=LOOPBACK)


def settings(spec: children.WorkerSpec, agent: Agent, send: Callable[[RealmLearnt], None]) -> EngineSettings:
    """The settings of one process, except the addresses: SIP only comes from the edge, and leaves through
    it. `send`: to the supervisor, for the other workers."""
    alone = engine_settings(spec.config, agent)

    def report(what: Report) -> None:
        if isinstance(what, RealmLearnt):
            send(what)
        agent.post(what)

    return replace(
        alone,
        report=report,
        listen=spec.listen,
        transport="udp",
        **spec.media._asdict(),
        rtp_ports=spec.rtp_ports,
        calls=spec.rules.calls,
        players=spec.players,
        real_time=spec.index < REAL_TIME_A_CORE * len(os.sched_getaffinity(0)),
        callers=spec.rules.allowed,
        registrar="",
        outbound_proxies=(spec.edge, *alone.outbound_proxies),
        hop_token=spec.tokens.from_edge,
        way_out_token=spec.tokens.to_edge,
        sip_peer=children.edge_address(spec.edge),
    )
