"""The registrar's child: a process for the trunk's account, which registers through the edge.

So the death of a worker does not affect it, nor the other way round: calls and registration share only the
edge.
"""

import queue
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection

import structlog

from sipagent.agent.engine import (
    Credentials,
    EngineFault,
    EngineSettings,
    Incoming,
    RealmLearnt,
    Registrar,
    Registration,
    Report,
)
from sipagent.config.identity import printable
from sipagent.config.load import ConfigError
from sipagent.logs import alert, configure_log
from sipagent.pjsip import EngineError, PjsipEngine
from sipagent.service import children
from sipagent.service.control import Orders

PATIENCE_S = 1.0
FAREWELL_S = 2.0  # how long to wait for the registrar's answer at the end

Inbox = queue.SimpleQueue[Report]
Send = Callable[[children.ToSupervisor], None]

log = structlog.get_logger(__name__)


def keep_registered(
    connection: "Connection[children.ToSupervisor, children.ToChild]", spec: children.RegistrarSpec
) -> None:
    """Stay registered until the supervisor ends it, or is gone. The whole process."""
    configure_log(spec.log_json, children.REGISTRAR)
    inbox: Inbox = queue.SimpleQueue()
    orders = Orders(0.0)

    def heard(message: children.ToChild) -> None:
        if isinstance(message, children.Drain):  # a reload does not change the trunk
            end()

    def end() -> None:
        orders.end()
        with suppress(OSError):  # the engine has been stopped: nothing to wake
            engine.wake()

    try:
        engine = PjsipEngine(settings(spec, inbox))
        engine.start()
    except (ConfigError, EngineError) as failure:
        alert(f"the registrar's account cannot go on: {failure}")
        sys.exit(1)
    link = children.SupervisorLink(connection)
    link.start(heard, end)
    try:
        keep(engine, inbox, link.send, orders)
    finally:
        engine.stop()
    link.close()


def keep(engine: PjsipEngine, inbox: Inbox, send: Send, orders: Orders) -> None:
    """Ask the registrar, and again after a back-off, until `orders` end it; then unregister."""
    registrar = Registrar(wanted=True)
    while orders.ending_at is None:
        now = time.monotonic()
        if registrar.due(now):
            engine.register()
        due = registrar.deadline if registrar.deadline is not None else now + PATIENCE_S
        engine.poll(max(0.0, min(due - now, PATIENCE_S)))
        while not inbox.empty():
            _take(engine, inbox.get(), send, registrar)
    if registrar.active:
        _leave(engine, inbox)


def _take(engine: PjsipEngine, report: Report, send: Send, registrar: Registrar) -> None:
    match report:
        case Registration(active, status, reason):
            retry_s = registrar.answered(active, time.monotonic())
            send(children.Ready() if active else children.NotRegistered())
            if active:
                log.info("registered")
            else:
                log.warning("registration_failed", status=status, reason=printable(reason), retry_s=retry_s)
        case RealmLearnt():
            send(report)
        case Incoming(leg):
            engine.reject(leg, 503, None)  # the edge sends calls to the workers
        case EngineFault(reason):
            log.error("engine_fault", reason=reason)


def _leave(engine: PjsipEngine, inbox: Inbox) -> None:
    """Unregister, and wait a moment for the answer: the registrar may challenge it."""
    engine.unregister()
    until = time.monotonic() + FAREWELL_S
    while time.monotonic() < until:
        engine.poll(until - time.monotonic())
        while not inbox.empty():
            if isinstance(inbox.get(), Registration):
                return


def settings(spec: children.RegistrarSpec, inbox: Inbox) -> EngineSettings:
    trunk, login = spec.config.trunk, spec.config.trunk_login()
    return EngineSettings(
        report=inbox.put,
        audio=lambda *_: None,
        listen=spec.listen,
        uri=trunk.uri,
        registrar=trunk.registrar or "",
        registrar_proxies=(spec.edge,),
        hop_token=spec.tokens.from_edge,
        way_out_token=spec.tokens.to_edge,
        sip_peer=children.edge_address(spec.edge),
        trunk=Credentials(login.username, login.password, trunk.realm) if login else None,
    )
