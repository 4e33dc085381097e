"""Whether the agent can work on this machine: Kamailio, disk, database, ports, engine, Python, priority.

Nothing is left behind: each test (a file, a bound port) is undone at once.

`kamailio -c` accepts configurations that fail at the start. So Kamailio is started, on free loopback
ports and in a folder for temporary files, and ended again. A running agent is not affected.
"""

import errno
import os
import re
import shutil
import socket
import ssl
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from http.client import HTTPException
from importlib.resources import files
from pathlib import Path

from retention.rebuild import is_left
from retention.reserve import is_running
from retention.sqlite import fault_in
from retention.texts import Reason, strerror
from sipagent.__main__ import SUPPORTED
from sipagent.agent.stored import is_here, spool_of
from sipagent.check.keys import readable
from sipagent.check.retention import retention_findings
from sipagent.config.errors import Finding, counted, error, ok, warning
from sipagent.config.layout import EngineLimits, calls_a_process, layout
from sipagent.config.load import Config, ConfigError, HostPort
from sipagent.edge.certificates import CertificateError, lying_in, usable
from sipagent.edge.configuration import ROUTES
from sipagent.edge.files import CERTIFICATE, KEY, SCHEMA, aged, expiry, read_roots
from sipagent.edge.plan import (
    LOOPBACK,
    Addresses,
    Plan,
    addresses,
    allowed_sources,
    is_local,
    needs_edge,
    plan,
)
from sipagent.edge.process import KAMAILIO, EdgeProcess
from sipagent.edge.rpc import EdgeError
from sipagent.service.control import reachable, scraped

MODULES = Path("/usr/lib")  # Debian: /usr/lib/x86_64-linux-gnu/kamailio/modules
# Debian's, of what is needed where it is configured; the others are in `kamailio`
PACKAGES = {"tls.so": "kamailio-tls-modules", "secsipid.so": "kamailio-secsipid-modules"}


def edge_findings(config: Config, limits: EngineLimits, now: datetime) -> Iterator[Finding]:
    """Check the edge, if it is needed; `now`: aware. Raises ConfigError: too many calls for a process."""
    if not needs_edge(config, limits):
        return
    try:
        found = addresses(config, allowed_sources(config))
    except ConfigError as wrong:
        yield error(wrong.key, wrong.problem)
        return
    try:
        planned = plan(config, limits, found)
    except ConfigError:  # `engine_findings` reports this, with the workers
        return
    if not config.edge.start:
        yield ok("edge", "started by somebody else: see sipagent edge")
        return
    if absent := _absent(planned):
        packages = " ".join(sorted({PACKAGES.get(name, "kamailio") for name in absent}))
        yield error("edge", "{0} not installed; on a Debian: apt install {1}", ", ".join(absent), packages)
        return
    try:
        yield from _certificate(planned, config.file, now)
        yield from _identities(config, planned, now)
    except ConfigError as wrong:
        yield error(wrong.key, wrong.problem)
    else:
        yield _started(planned)


def _absent(planned: Plan) -> list[str]:
    """What is missing on this machine: the program, its modules or its tables."""
    if not KAMAILIO.exists():
        return [KAMAILIO.name]
    modules = {path.name for path in MODULES.glob("*/kamailio/modules/*.so")}
    wanted = [name for name in re.findall(r'^loadmodule "(.*)"', ROUTES, re.MULTILINE)]
    idle = {name for name, used in (("tls.so", planned.tls), ("secsipid.so", planned.identities)) if not used}
    absent = [name for name in wanted if name not in modules and name not in idle]
    return absent if SCHEMA.exists() else [*absent, str(SCHEMA)]


def _certificate(planned: Plan, file: Path, now: datetime) -> Iterator[Finding]:
    """Look at the certificate. Raises ConfigError if Kamailio could not use it."""
    if planned.tls is None:
        return
    until = expiry(planned.tls, file)
    if said := aged(until, now):
        yield (error if now >= until else warning)(CERTIFICATE, f"{planned.tls.certificate} {said}")
    yield from readable(KEY, planned.tls.private_key)


def _identities(config: Config, planned: Plan, now: datetime) -> Iterator[Finding]:
    """Look at what callers are verified by. Raises ConfigError: its roots cannot be read."""
    if planned.identities is None:
        return
    if planned.identities.roots:
        read_roots(planned.identities.roots, config.file)
    if (folder := config.trunk.identity_certificates) is None:
        return
    found = list(lying_in(folder))
    if not found:
        yield warning("trunk.identity_certificates", "{0}: holds no certificate at HOST/PATH", folder)
    for _, path in found:
        try:
            usable(path.read_bytes(), now)
        except (CertificateError, OSError) as fault:
            said = strerror(fault) if isinstance(fault, OSError) else fault
            yield warning("trunk.identity_certificates", "{0}: {1}", path, said)


def _started(planned: Plan) -> Finding:
    with tempfile.TemporaryDirectory(prefix="sipagent-check-") as folder:
        process = EdgeProcess(_elsewhere(planned), Path(folder), lambda _: None)
        try:
            process.start()
        except (EdgeError, OSError) as problem:
            return error("edge", str(problem))
        try:
            release = process.rpc.ask("core.version")
        except EdgeError as problem:
            return error("edge", str(problem))
        finally:
            process.stop()
    version = re.search(r"\d+\.\d+\.\d+", str(release))
    return ok(
        "edge",
        "kamailio {0} starts, with {1}",
        version[0] if version else "?",
        counted(planned.workers, "worker"),
    )


def _elsewhere(planned: Plan) -> Plan:
    """This plan on free ports of loopback, where it disturbs nothing."""
    inner, listen, tls = _free_ports(3)
    secured = planned.tls and replace(planned.tls, listen=HostPort(LOOPBACK, tls))
    if planned.transport == "tls" and secured:
        secured = replace(secured, listen=HostPort(LOOPBACK, listen))
    return replace(planned, first_port=inner, listen=HostPort(LOOPBACK, listen), tls=secured)


def _free_ports(count: int) -> list[int]:
    """Free ports, for UDP and TCP."""
    tried = [
        (socket.socket(type=socket.SOCK_STREAM), socket.socket(type=socket.SOCK_DGRAM)) for _ in range(count)
    ]
    try:
        found = []
        for stream, datagram in tried:
            stream.bind((LOOPBACK, 0))
            port = stream.getsockname()[1]
            datagram.bind((LOOPBACK, port))
            found.append(port)
        return found
    finally:
        for pair in tried:
            for one in pair:
                one.close()


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


def python_finding() -> Finding:
    """Tell whether the engine is available for this Python."""
    version = sys.version_info[:2]
    text = "{}.{}".format(*version)
    if version in SUPPORTED:
        return ok("python", text)
    return error("python", "{0}; accepted: 3.11 to 3.13, the engine exists for no other", text)


def priority_finding() -> Finding:
    """Tell whether sound may go before all else that the machine does (`pjsip.library.hurry`)."""
    what = Reason("real-time priority")
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
        yield error("engine", "cannot be loaded: {0}", problem)
        return
    except EOFError:
        yield error("engine", "ends its process when it is begun")
        return
    yield ok("engine", "{0}, TLS: {1}; {2}", facts.version, facts.tls, str(facts.limits))
    if holes := known_holes(facts):
        yield warning(
            "engine",
            "known holes: {0}. Only trunk and phones reach it; larger-engine.md says how to be rid of them",
            ", ".join(holes),
        )
    else:
        yield ok("engine", "no known hole in what is used of it")
    try:
        calls_a_process(config, facts.limits)
    except ConfigError as wrong:
        yield error(wrong.key, wrong.detail)
        return
    yield from _processes(config, facts.limits)
    yield from edge_findings(config, facts.limits, now)


def known_holes(facts: EngineFacts) -> list[str]:
    """Names of advisories that concern this engine, in parts that are used here."""
    ours = {"engine": numbers(facts.version), "tls": numbers(facts.tls)}
    table = tomllib.loads(files("sipagent.check").joinpath("advisories.toml").read_text("utf-8"))
    return [
        one["id"]
        for one in table["hole"]
        if not one.get("off") and () < ours[one["of"]] < numbers(one["mended"])
    ]


def numbers(version: str) -> tuple[int, ...]:
    """Of a version, to be compared: `2.17+sipagent.2` is later than `2.17`; () for none."""
    return tuple(map(int, re.findall(r"\d+", version)))


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
            "{0}: {1} of {2} behind the edge",
            found.calls,
            counted(found.workers, "worker"),
            found.per_worker,
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
            yield error(what, "{0}: {1}", problem.filename or what, strerror(problem))


def _recordings(config: Config) -> Iterator[Finding]:
    """Try the directory: writable, durable, private, large enough."""
    what, directory = "recording.directory", config.recording.directory
    if directory.exists() and not directory.is_dir():
        yield error(what, "{0} is not a directory", directory)
        return
    there = next(place for place in (directory, *directory.parents) if place.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".sipagent-check-") as file:
            file.write(b"\0")
            file.flush()
            os.fsync(file.fileno())
    except OSError as problem:
        yield error(
            what, "{0}: {1}; accepted: a directory that this user may write", there, strerror(problem)
        )
        return
    free = shutil.disk_usage(there).free
    state = "writable" if there == directory else Reason("will be made")
    detail = Reason("{0} {1}, {2:.1f} GiB free", directory, state, free / (1 << 30))
    enough = error if free < FREE_LEAST else warning if free < FREE_LITTLE else ok
    yield enough(what, detail)
    if there == directory and (mode := directory.stat().st_mode) & 0o077:
        yield warning(what, "others on this machine may enter it (mode {0:04o}); chmod 0700", mode & 511)


def _database(config: Config, now: datetime) -> Iterator[Finding]:
    """Read the whole database, without changing it, and look for what should be gone by now."""
    what, path = "retention.database" if is_here(config) else "cluster.journal", config.database
    if not path.exists():
        yield _no_database(config, path)
        if is_here(config):
            return
    elif problem := fault_in(path):
        if is_here(config):
            yield error(what, "{0}: {1}; see `sipagent rebuild --help`", path, problem)
        else:
            lost = Reason("then what the shared database has not of it is lost")
            yield error(what, "{0}: {1}; accepted: it moved away; {2}", path, problem, lost)
        return
    else:
        yield ok(what, "{0} is whole", path)
    yield from readable(what, path, lambda found: bool(found.st_mode & 0o077))
    yield from retention_findings(config, now)


def _no_database(config: Config, path: Path) -> Finding:
    what = "retention.database" if is_here(config) else "cluster.journal"
    if is_here(config) and is_left(config.places, spool_of(config)):
        return error(what, "{0} is missing, and what it held with it; see `sipagent rebuild`", path)
    if not os.access(path.parent, os.W_OK):
        return error(what, "{0} cannot be made: {1} is missing or not writable", path, path.parent)
    return ok(what, "{0} will be made", path)


def port_findings(config: Config) -> Iterator[Finding]:
    """Bind what the agent will bind: its SIP port, a sample of its RTP ports, and the port of the figures."""
    if config.metrics.listen is not None:
        yield _metrics(config, config.metrics.listen)
    if shared := config.trunk.shared_address:
        there = (
            Reason("{0} is at this host now", shared)
            if is_local(shared)
            else Reason("{0} is elsewhere now", shared)
        )
        yield ok("trunk.shared_address", there)
    yield from _calls(config)


def _metrics(config: Config, listen: HostPort) -> Finding:
    problem = _bind(listen, socket.SOCK_STREAM)
    if problem == errno.EADDRINUSE and tells_figures(listen):
        return _taken_by_agent("metrics.listen", listen, own=_runs(config))
    return _port_finding("metrics.listen", str(listen), problem)


def _calls(config: Config) -> Iterator[Finding]:
    listen, ports = config.trunk.listen, config.trunk.rtp_ports
    transport = config.trunk.transport
    problem = _bind(listen, _kind(transport))
    if problem == errno.EADDRINUSE and answers_as_agent(listen, transport):
        yield _taken_by_agent("trunk.listen", listen, own=not config.edge.start or _runs(config))
        return
    yield _port_finding("trunk.listen", str(listen), problem)
    if ipv6 := config.trunk.listen_ipv6:
        yield _port_finding("trunk.listen_ipv6", str(ipv6), _bind(ipv6, _kind(transport)))
    evens = range(ports.first, ports.last, 2)
    for port in evens[:: max(1, len(evens) // PORT_SAMPLES)]:
        if problem := _bind(HostPort(listen.host, port), socket.SOCK_DGRAM):
            yield _port_finding("trunk.rtp_ports", str(HostPort(listen.host, port)), problem)
            return
    yield ok("trunk.rtp_ports", "{0} free, wherever tried", ports)


def _runs(config: Config) -> bool:
    """Whether an agent runs by this configuration: it holds the lock of the database."""
    try:
        return is_running(config.places)
    except OSError:  # another user's
        return False


def _taken_by_agent(what: str, address: HostPort, *, own: bool) -> Finding:
    """Tell whose the agent is that answers there; `own`: of this configuration."""
    if own:
        return ok(what, "{0} is taken by a running agent", address)
    return error(what, "{0} is in use by an agent that has another configuration", address)


def _port_finding(what: str, address: str, problem: int) -> Finding:
    if not problem:
        return ok(what, "{0} is free", address)
    if problem == errno.EADDRINUSE:
        return error(what, "{0} is in use, and no agent answers there", address)
    if problem == errno.EADDRNOTAVAIL:
        return error(what, "{0} is not an address of this machine", address)
    return error(what, "{0}: {1}", address, os.strerror(problem))


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


def _kind(transport: str) -> socket.SocketKind:
    return socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM


def answers_as_agent(address: HostPort, transport: str = "udp") -> bool:
    """Ask the program on a port with OPTIONS (RFC 3261 section 11) whether it is our agent."""
    try:
        with _connected(address, transport) as asking:
            asking.sendall(_options(address, HostPort(*asking.getsockname()[:2]), transport))
            return b"sipagent" in asking.recv(65536)
    except OSError:  # no answer, or not in SIP
        return False


def _connected(address: HostPort, transport: str) -> socket.socket:
    """Raises OSError."""
    asking = socket.socket(_family(address), _kind(transport))
    try:
        asking.settimeout(PROBE_S)
        asking.connect(reachable(address))
        if transport != "tls":
            return asking
        anybodys = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # nothing is told that is secret
        anybodys.check_hostname, anybodys.verify_mode = False, ssl.CERT_NONE
        return anybodys.wrap_socket(asking)
    except OSError:
        asking.close()
        raise


def _options(to: HostPort, us: HostPort, transport: str) -> bytes:
    lines = (
        f"OPTIONS sip:{to} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {us};branch=z9hG4bKcheck{us.port}",
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
