"""Whether the agent can work on this machine: disk, database, ports, engine, Python, priority.

Nothing is left behind: each test (a file, a bound port) is undone at once.
"""

import errno
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPException
from pathlib import Path

from retention.archive.progress import is_running
from retention.sqlite.connection import fault_in
from retention.storage.recording_files import has_metadata
from sipagent.agent.recorder.stored import is_here, spool_of
from sipagent.check.edge import edge_findings
from sipagent.check.private import readable
from sipagent.check.retention import retention_findings
from sipagent.config.finding import Finding, counted, error, ok, warning
from sipagent.config.layout import EngineLimits, calls_a_process, layout
from sipagent.config.load import Config, ConfigError, HostPort
from sipagent.edge.addresses import is_local
from sipagent.edge.plan import Addresses, needs_edge, plan
from sipagent.service.scraped import reachable, scraped

PYTHONS = ((3, 11), (3, 12))  # the versions that the engine's wheel exists for
FREE_LEAST = 100 << 20  # bytes: with less, calls will soon not be recorded
FREE_LITTLE = 2 << 30  # bytes; an hour of two channels as FLAC takes about 50 MB
PORT_SAMPLES = 16
PROBE_S = 0.5  # how long our own agent on this machine may take to answer OPTIONS


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What the SIP engine says about itself; `tls`: the name of its TLS library."""

    version: str
    limits: EngineLimits
    tls: str


def python_finding(version: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Tell whether the engine is available for this Python."""
    text = "{}.{}".format(*version)
    if version in PYTHONS:
        return ok("python", text)
    return error("python", f"{text}; accepted: 3.11 or 3.12, the engine exists for no other")


def priority_finding() -> Finding:
    """Tell whether sound may go before all else that the machine does (`pjsip.setup.hurry`)."""
    what = "real-time priority"
    if may_be_urgent():
        return ok(what, "allowed")
    return warning(
        what,
        "not allowed here, and recordings may have holes on a full machine; accepted: LimitRTPRIO=1 in the"
        " unit, which this can't see, or `- rtprio 1` for the user in /etc/security/limits.conf",
    )


def may_be_urgent() -> bool:
    """Try it, with a thread that ends: limits and capabilities are not all that can forbid it."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_become_urgent).result()


def _become_urgent() -> bool:
    least = os.sched_param(os.sched_get_priority_min(os.SCHED_RR))
    try:
        os.sched_setscheduler(0, os.SCHED_RR, least)  # of this thread
    except PermissionError:
        return False
    return True


def engine_findings(
    config: Config, engine_facts: Callable[[], EngineFacts], now: datetime
) -> Iterator[Finding]:
    """Ask the engine for its facts. An ImportError means that it is not installed."""
    try:
        facts = engine_facts()
    except ImportError as problem:
        yield error("engine", f"cannot be loaded: {problem}")
        return
    except EOFError:
        yield error("engine", "ends its process when it is begun")
        return
    yield ok("engine", f"{facts.version}, TLS: {facts.tls}; {facts.limits}")
    try:
        calls_a_process(config, facts.limits)
    except ConfigError as wrong:
        yield error(wrong.key, wrong.detail)
        return
    yield from _processes(config, facts.limits)
    yield from edge_findings(config, facts.limits, now)


def _processes(config: Config, limits: EngineLimits) -> Iterator[Finding]:
    """Tell of workers if one process is not enough, and whether there are ports for them."""
    if not needs_edge(config, limits):
        return
    try:
        found = layout(config, limits)
        plan(config, limits, Addresses("", ()))
    except ConfigError as wrong:
        yield error(wrong.key, wrong.detail)
    else:
        yield ok(
            "capacity.calls",
            f"{found.calls}: {counted(found.workers, 'worker')} of {found.per_worker} behind the edge",
        )


def disk_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at the directory of the recordings and at the database."""
    for what, findings in (
        ("recording.directory", _recordings(config)),
        ("retention.database", _database(config, now)),
    ):
        try:
            yield from findings
        except OSError as problem:  # also when asking whether a path in a forbidden folder exists
            yield error(what, f"{problem.filename or what}: {problem.strerror}")


def _recordings(config: Config) -> Iterator[Finding]:
    """Try the directory: writable, durable, private, large enough."""
    what, directory = "recording.directory", config.recording.directory
    if directory.exists() and not directory.is_dir():
        yield error(what, f"{directory} is not a directory")
        return
    there = next(place for place in (directory, *directory.parents) if place.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".sipagent-check-") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        yield error(what, f"{there}: {problem.strerror}; accepted: a directory that this user may write")
        return
    free = shutil.disk_usage(there).free
    state = "writable" if there == directory else "will be made"
    detail = f"{directory} {state}, {free / (1 << 30):.1f} GiB free"
    enough = error if free < FREE_LEAST else warning if free < FREE_LITTLE else ok
    yield enough(what, detail)
    if there == directory and (mode := directory.stat().st_mode) & 0o077:
        yield warning(what, f"others on this machine may enter it (mode {mode & 0o777:04o}); chmod 0700")


def _database(config: Config, now: datetime) -> Iterator[Finding]:
    """Read the whole database, without changing it, and look for what should be gone by now."""
    what, path = "retention.database" if is_here(config) else "cluster.journal", config.database
    if not path.exists():
        yield _no_database(config, path)
        if is_here(config):
            return
    elif problem := fault_in(path):
        if is_here(config):
            yield error(what, f"{path}: {problem}; see `sipagent rebuild --help`")
        else:
            lost = "then what the shared database has not of it is lost"
            yield error(what, f"{path}: {problem}; accepted: it moved away; {lost}")
        return
    else:
        yield ok(what, f"{path} is whole")
    if path.exists() and (found := path.stat()).st_mode & 0o077:
        yield warning(what, readable(found))
    yield from retention_findings(config, now)


def _no_database(config: Config, path: Path) -> Finding:
    what = "retention.database" if is_here(config) else "cluster.journal"
    if is_here(config) and has_metadata(spool_of(config)):
        return error(what, f"{path} is missing, but there are recordings: see `sipagent rebuild`")
    if not os.access(path.parent, os.W_OK):
        return error(what, f"{path} cannot be made: {path.parent} is missing or not writable")
    return ok(what, f"{path} will be made")


def port_findings(config: Config) -> Iterator[Finding]:
    """Bind what the agent will bind: its SIP port, a sample of its RTP ports, and the port of the figures."""
    if config.metrics.listen is not None:
        yield _metrics(config, config.metrics.listen)
    if shared := config.trunk.shared_address:
        there = f"{shared} is at this host now" if is_local(shared) else f"{shared} is elsewhere now"
        yield ok("trunk.shared_address", there)
    yield from _calls(config)


def _metrics(config: Config, listen: HostPort) -> Finding:
    problem = _bind(listen, socket.SOCK_STREAM)
    if problem == errno.EADDRINUSE and tells_figures(listen):
        return _taken_by_agent("metrics.listen", listen, own=_runs(config))
    return _port_finding("metrics.listen", str(listen), problem)


def _calls(config: Config) -> Iterator[Finding]:
    listen, ports = config.trunk.listen, config.trunk.rtp_ports
    kind = socket.SOCK_STREAM if config.trunk.transport == "tcp" else socket.SOCK_DGRAM
    problem = _bind(listen, kind)
    if problem == errno.EADDRINUSE and kind == socket.SOCK_DGRAM and answers_as_agent(listen):
        yield _taken_by_agent("trunk.listen", listen, own=not config.edge.start or _runs(config))
        return
    yield _port_finding("trunk.listen", str(listen), problem)
    evens = range(ports.first, ports.last, 2)
    for port in evens[:: max(1, len(evens) // PORT_SAMPLES)]:
        if problem := _bind(HostPort(listen.host, port), socket.SOCK_DGRAM):
            yield _port_finding("trunk.rtp_ports", str(HostPort(listen.host, port)), problem)
            return
    yield ok("trunk.rtp_ports", f"{ports} free, wherever tried")


def _runs(config: Config) -> bool:
    """Whether an agent runs by this configuration: it holds the lock of the database."""
    try:
        return is_running(config.places)
    except OSError:  # another user's
        return False


def _taken_by_agent(what: str, address: HostPort, *, own: bool) -> Finding:
    """Tell whose the agent is that answers there; `own`: of this configuration."""
    if own:
        return ok(what, f"{address} is taken by a running agent")
    return error(what, f"{address} is in use by an agent that has another configuration")


def _port_finding(what: str, address: str, problem: int) -> Finding:
    if not problem:
        return ok(what, f"{address} is free")
    if problem == errno.EADDRINUSE:
        return error(what, f"{address} is in use, and no agent answers there")
    if problem == errno.EADDRNOTAVAIL:
        return error(what, f"{address} is not an address of this machine")
    return error(what, f"{address}: {os.strerror(problem)}")


def _family(address: HostPort) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address.host else socket.AF_INET


def _bind(address: HostPort, kind: socket.SocketKind) -> int:
    """Give the errno of binding there, 0 if it works."""
    try:
        with socket.socket(_family(address), kind) as tried:
            if kind == socket.SOCK_STREAM:  # as servers do: ended connections keep no port
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(address)
    except OSError as problem:
        return problem.errno or errno.EIO
    return 0


def tells_figures(address: HostPort) -> bool:
    """Ask the program on a TCP port for metrics, as our agent would give them."""
    try:
        return b"\nsipagent_" in scraped(address, PROBE_S, limit=65536)
    except (OSError, HTTPException):  # no answer, or not in HTTP
        return False


def answers_as_agent(address: HostPort) -> bool:
    """Ask the program on a UDP port with OPTIONS (RFC 3261 section 11) whether it is our agent."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as asking:
        asking.settimeout(PROBE_S)
        try:
            asking.connect(reachable(address))
            asking.send(_options(address, HostPort(*asking.getsockname()[:2])))
            return b"sipagent" in asking.recv(65536)
        except OSError:  # no answer, or not in SIP
            return False


def _options(to: HostPort, us: HostPort) -> bytes:
    lines = (
        f"OPTIONS sip:{to} SIP/2.0",
        f"Via: SIP/2.0/UDP {us};branch=z9hG4bKcheck{us.port}",
        f"From: <sip:check@{us}>;tag=check",
        f"To: <sip:{to}>",
        f"Call-ID: check-{os.getpid()}-{us.port}",
        "CSeq: 1 OPTIONS",
        "Max-Forwards: 0",
        "Content-Length: 0",
        "",
        "",
    )
    return "\r\n".join(lines).encode()
