"""Whether the edge will work: Kamailio, its modules, and its configuration, which is really started.

`kamailio -c` accepts configurations that fail at the start. So Kamailio is started, on free loopback ports
and in a folder for temporary files, and ended again. Nothing is left behind, and a running agent is not
affected.
"""

import re
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sipagent.agent.admission import allowed_sources
from sipagent.check.private import others_may_read, readable
from sipagent.config.finding import Finding, counted, error, ok, warning
from sipagent.config.layout import EngineLimits
from sipagent.config.load import Config, ConfigError, HostPort
from sipagent.edge.addresses import addresses
from sipagent.edge.certificate import CERTIFICATE, KEY, aged, expiry
from sipagent.edge.configuration import ROUTES
from sipagent.edge.files import SCHEMA
from sipagent.edge.plan import LOOPBACK, Plan, needs_edge, plan
from sipagent.edge.process import KAMAILIO, EdgeProcess
from sipagent.edge.rpc import EdgeError

MODULES = Path("/usr/lib")  # Debian: /usr/lib/x86_64-linux-gnu/kamailio/modules
PACKAGES = {"tls.so": "kamailio-tls-modules"}  # Debian's; the others are in `kamailio`


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
    except ConfigError:  # `machine` reports this, with the workers
        return
    if not config.edge.start:
        yield ok("edge", "started by somebody else: see sipagent edge")
        return
    if absent := _absent(planned):
        yield error("edge", f"{', '.join(absent)} not installed; on a Debian: apt install {_package(absent)}")
        return
    try:
        yield from _certificate(planned, config.file, now)
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
    absent = [name for name in wanted if name not in modules and (planned.tls or name not in PACKAGES)]
    return absent if SCHEMA.exists() else [*absent, str(SCHEMA)]


def _package(absent: list[str]) -> str:
    return " ".join(sorted({PACKAGES.get(name, "kamailio") for name in absent}))


def _certificate(planned: Plan, file: Path, now: datetime) -> Iterator[Finding]:
    """Look at the certificate. Raises ConfigError if Kamailio could not use it."""
    if planned.tls is None:
        return
    until = expiry(planned.tls, file)
    if said := aged(until, now):
        yield (error if now >= until else warning)(CERTIFICATE, f"{planned.tls.certificate} {said}")
    if others_may_read(found := planned.tls.private_key.stat()):
        yield warning(KEY, readable(found))


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
        "edge", f"kamailio {version[0] if version else '?'} starts, with {counted(planned.workers, 'worker')}"
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
