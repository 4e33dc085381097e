"""Kamailio as a child process: starts it, reads its log, notices its end. The caller restarts it.

EdgeProcess(plan, directory, report, wanted)    report(RejectedCall | str) is called on its threads; so is
                                                wanted(place), of a certificate that it lacks

What it logs while it starts is reported. Later lines quote messages, so they are only counted (`lines`):
a caller's number, or a stranger's text, must not be in our log.

`HeldPorts`: its UDP ports, which no other program on this machine may share. Kamailio binds them with
SO_REUSEADDR, and so can any other program: it would get what comes, and could send in Kamailio's name
(socket(7): sockets share a port if each of them has set it). So each port is also bound here, and once
Kamailio is up, this socket no longer allows sharing: then no other program can bind it.

`EdgeElsewhere`: the edge when we do not run it: `edge.start = false`, and the administrator's own
Kamailio. By its own OPTIONS it finds which workers are up, and by its dialogs' keep-alives which calls
are over.
"""

import ipaddress
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from retention.texts import Reason, strerror
from sipagent.config.load import HostPort
from sipagent.edge import files
from sipagent.edge.configuration import EdgePlaces
from sipagent.edge.plan import Plan
from sipagent.edge.rpc import EdgeError, EdgeRpc, RejectedCall

KAMAILIO = Path("/usr/sbin/kamailio")
SHARED_MB, PRIVATE_MB = 128, 8
START_S, STOP_S, POLL_S = 15.0, 5.0, 0.02
FETCH_S, REST_S = 0.25, 1.0  # between two looks for calls that were rejected, and where there were none
LAST_WORDS = 20
OF_THE_FIRST = re.compile(r" *0\((\d+)\) ")  # of its processes; it receives no messages

Report = Callable[[RejectedCall | str], None]


class EdgeProcess:
    """One Kamailio. `start` and `stop` may alternate; `start` also replaces a dead process."""

    def __init__(
        self, plan: Plan, directory: Path, report: Report, wanted: Callable[[str], None] = lambda place: None
    ) -> None:
        self.plan, self.directory = plan, directory
        self._places = files.places(directory)
        self._report, self._wanted = report, wanted
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._fetcher: threading.Thread | None = None
        self._over = threading.Event()
        self._said: list[str] = []
        self._starting = self._ending = False
        ipv6 = (plan.ipv6.listen,) if plan.ipv6 else ()
        self._ports = HeldPorts((plan.listen, plan.inner, *ipv6), plan.shared)
        self.lines = 0  # lines of its log after its starts, in total
        self.sentinel = -1  # readable once the process has died (pidfd_open(2))

    @property
    def rpc(self) -> EdgeRpc:
        return EdgeRpc(self._places.rpc, self.plan)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The pid of Kamailio's first process, and of its group."""
        return self._process.pid if self._process else -1

    def start(self) -> None:
        """Start it, and wait until it answers. Raises EdgeError with its last words, OSError for its files.

        Dialogs that it cannot read are put aside: new calls are more important than those in progress.
        """
        end_leftovers(self._places)
        files.write_files(self.plan, self._places)
        try:
            self._spawn()
        except EdgeError as problem:
            about_dialogs = any("ERROR: db_text" in line for line in self._said)
            if not (about_dialogs and files.has_dialogs(self._places)):
                raise
            files.put_dialogs_aside(self._places)
            self._report(f"dialogs in progress put aside: {problem}")
            self._spawn()

    def _spawn(self) -> None:
        self._said.clear()
        self._starting, self._ending = True, False
        try:
            self._ports.take()
        except OSError as taken:
            raise EdgeError("kamailio does not start: {0}", strerror(taken)) from taken
        self._process = subprocess.Popen(
            command(self._places),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._places.directory,
            process_group=0,  # Ctrl-C is for us: we drain; and its children end with it
            umask=0o077,  # dialogs name callers
        )
        self.sentinel = os.pidfd_open(self._process.pid)
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name="edge-log", daemon=True
        )
        self._reader.start()
        try:
            self._wait_answer()
            self._ports.shut()
        except (EdgeError, OSError) as problem:
            self.stop()
            raise problem if isinstance(problem, EdgeError) else EdgeError(str(problem)) from problem
        self._starting = False
        self._over.clear()
        self._fetcher = threading.Thread(target=self._fetch, name="edge-rejected", daemon=True)
        self._fetcher.start()

    def _wait_answer(self) -> None:
        patience = time.monotonic() + START_S
        while time.monotonic() < patience:
            if not self.running:
                self.stop()
                raise EdgeError("kamailio does not start: {0}", self._last_words())
            try:
                self.rpc.ask("core.uptime")
            except EdgeError:
                time.sleep(POLL_S)
            else:
                return
        raise EdgeError("kamailio did not answer in {0:g} s: {1}", START_S, self._last_words())

    def _last_words(self) -> str:
        errors = [line for line in self._said if "ERROR" in line or "CRITICAL" in line]
        return (errors or self._said or [Reason("it said nothing")])[0].strip()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for raw in process.stderr:
            if not self._starting:
                self.lines += not self._ending
                continue
            line = raw.decode(errors="replace").rstrip("\n")
            first = OF_THE_FIRST.match(line)
            if first and int(first[1]) == process.pid:
                if len(self._said) < LAST_WORDS:
                    self._said.append(line)
                self._report(line)

    def _fetch(self) -> None:
        """Report the calls that were rejected; at the end once more."""
        over, wait_s = False, REST_S
        while not over:
            over, wait_s = self._over.wait(wait_s), REST_S
            try:
                while fact := self.rpc.rejected():
                    self._report(fact)
                    wait_s = FETCH_S
                while self.plan.identities and (place := self.rpc.wanted()):
                    self._wanted(place)
            except EdgeError as problem:
                if not self.running:
                    return  # it has died, which `sentinel` tells
                self._report(str(problem))

    def stop(self) -> None:
        """End it, its children too. Calls in progress don't notice, if it is soon started again."""
        process = self._process
        if process is None:
            return
        self._over.set()
        if self._fetcher is not None:
            self._fetcher.join()
        self._ending = self.running  # each of its processes logs that it ends
        for number, seconds in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
            _signal_group(process.pid, number)
            try:
                process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        _signal_group(process.pid, signal.SIGKILL)  # the children of a killed process are still there
        if self._reader is not None:
            self._reader.join(STOP_S)
        os.close(self.sentinel)
        self._ports.release()
        files.remove_socket(self._places)
        self.sentinel, self._process, self._reader, self._fetcher = -1, None, None, None

    def release(self) -> None:
        """Free the ports for our successor, once this process has ended."""
        self._ports.release()

    def change(self, plan: Plan) -> None:
        """Continue with other numbers of workers and calls, or other sources, without a restart.

        Raises EdgeError. Other differences between the plans wait for the next start.
        """
        active = self.rpc.active()
        self.plan = plan
        files.write_lists(plan, self._places, active)
        self.rpc.reload()
        self.rpc.allow(plan.calls)
        if plan.tls:
            self.rpc.ask("tls.reload")  # certificates that have been renewed


def command(where: EdgePlaces) -> list[str]:
    """The command of Kamailio: in the foreground, its log on stderr, and it dies with us (prctl(2))."""
    return [
        "setpriv", "--pdeathsig", "TERM",
        str(KAMAILIO), "-DD", "-E", "-f", str(where.configuration), "-Y", str(where.directory),
        "-w", str(where.directory), "-m", str(SHARED_MB), "-M", str(PRIVATE_MB),
    ]  # fmt: skip


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def end_leftovers(where: EdgePlaces) -> None:
    """End the Kamailio of a supervisor that was killed: it holds the ports, and its dialogs are kept."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        patience = time.monotonic() + STOP_S
        for pid in (there := _running_on(where)):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        while there and time.monotonic() < patience:
            time.sleep(POLL_S)
            there = _running_on(where)
        if not there:
            return
    raise EdgeError("another kamailio is at work on {0} and does not end", where.configuration)


def _running_on(where: EdgePlaces) -> list[int]:
    """The processes of Kamailio that were started with this configuration file."""
    wanted = os.fsencode(where.configuration)
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        if words[0] == os.fsencode(KAMAILIO) and wanted in words:
            found.append(int(entry.name))
    return found


UDP_TABLES = {4: Path("/proc/net/udp"), 6: Path("/proc/net/udp6")}
IP_FREEBIND = 15  # of <linux/in.h>, also for IPv6: the socket module has no name for it
OURS = 2  # sockets on each port: Kamailio's, and the one here
KEEP_ALIVE = b"\r\n\r\n"  # RFC 5626 section 3.5.1: not answered


class HeldPorts:
    """The ports of `addresses`, from `take` to `release`. All methods raise OSError.

    `shared`: the first one's port is held there, too; this machine need not have that address now.
    """

    def __init__(self, addresses: Iterable[HostPort], shared: str = "") -> None:
        self._addresses = tuple(addresses)
        self._shared = (HostPort(shared, self._addresses[0].port),) if shared else ()
        self._sockets: list[socket.socket] = []

    def take(self) -> None:
        """Bind them, unless another program has one; Kamailio may still share them."""
        for address in (*self._addresses, *self._shared):
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            held = socket.socket(family, socket.SOCK_DGRAM)
            self._sockets.append(held)
            if family == socket.AF_INET6:
                held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # beside IPv4's
            if address in self._shared:
                held.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            try:
                held.bind(tuple(address))
            except OSError as taken:
                self.release()
                raise OSError(taken.errno, Reason("{0}: {1}", address, strerror(taken))) from taken
            held.setblocking(False)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def shut(self) -> None:
        """End the sharing; raises OSError if another program already shares one."""
        for address, held in zip((*self._addresses, *self._shared), self._sockets, strict=True):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            ours = [one for one in self._addresses if one == address or _takes(one, address)]
            if len([*sharing(address)]) > OURS * len(ours or self._shared):
                raise OSError(Reason("{0}: another program has bound it, too", address))
            if address in self._addresses:  # else another host may have it just now
                self._hears_nothing(address, held)

    def _hears_nothing(self, address: HostPort, held: socket.socket) -> None:
        """Of equal sockets the kernel gives a datagram to the newest, which is Kamailio's."""
        with suppress(BlockingIOError):
            while held.recv(1):  # calls from before Kamailio was up
                pass
        ip = ipaddress.ip_address(address.host)
        loopback = "::1" if ip.version == 6 else "127.0.0.1"
        held.sendto(KEEP_ALIVE, (loopback if ip.is_unspecified else address.host, address.port))
        with suppress(BlockingIOError):
            held.recv(1)
            raise OSError(Reason("{0}: this kernel gives Kamailio's datagrams to somebody else", address))

    def release(self) -> None:
        for held in self._sockets:
            held.close()
        self._sockets.clear()


def sharing(address: HostPort) -> Iterator[str]:
    """The local addresses of all UDP sockets that datagrams to `address` may be given to."""
    for version, table in UDP_TABLES.items():
        for row in table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else ():
            host, _, port = row.split()[1].partition(":")
            bound = HostPort(str(_address(host)), int(port, 16))
            if bound == address or _takes(bound, address):
                yield f"{bound.host} (IPv{version})"


def _takes(bound: HostPort, address: HostPort) -> bool:
    """Whether a socket may get what is sent there: one of `::` may be of IPv4, too."""
    ours, wanted = ipaddress.ip_address(bound.host), ipaddress.ip_address(address.host)
    same = ours.version == wanted.version and (wanted.is_unspecified or ours.is_unspecified)
    return bound.port == address.port and (same or (ours.version == 6 and ours.is_unspecified))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address as the kernel writes it: words of 32 bits, each in the byte order of the machine."""
    words = bytes.fromhex(text)
    swapped = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    return ipaddress.ip_address(swapped)


class EdgeElsewhere:
    """Replaces the process: it never ends, and ignores all orders."""

    def __init__(self) -> None:
        self._never, self._other_end = socket.socketpair()

    @property
    def sentinel(self) -> int:
        return self._never.fileno()

    strangers = malformed = unsupported = lines = 0  # its counts are the administrator's

    @property
    def rpc(self) -> "EdgeElsewhere":
        return self

    def start(self) -> None: ...

    def stop(self) -> None:
        self._never.close()
        self._other_end.close()

    def activate(self, index: int) -> None: ...

    def deactivate(self, index: int) -> None: ...

    def worker_died(self, index: int, *, crashed: bool) -> None: ...

    def end_dialogs(self, index: int) -> int:
        return 0

    def give_way(self) -> None: ...

    def drain(self) -> None: ...

    def hold_off(self, late: bool) -> None: ...

    def statistics(self) -> "EdgeElsewhere":
        return self

    def change(self, plan: Any) -> None: ...
