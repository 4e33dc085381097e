"""The supervisor's children: their specifications, the messages over their pipes, their start and watch.

A child is a worker, which takes calls, the registrar or the detector. At its start it is given a
specification: plain values, which know nothing of the engine. Messages are frozen values over one pipe a
child, which `multiprocessing.connection` pickles. The end of the pipe is a message, too: to a child that
the supervisor has died, to the supervisor that the child has. `SupervisorLink` is a child's end, where
sending and receiving never make the SIP thread wait; `Child` is the supervisor's.

Children are forked from a server that has imported what they need (`multiprocessing`, method forkserver),
so that one more costs milliseconds, and little extra memory. Their code is named, not imported: the
supervisor does not load the engine's library. The signals of a terminal or of an administrator are only
for the supervisor: in children they are blocked, and it sends them orders. The kernel reports the end of a
process (pidfd_open(2)) even if that server has died. The server's socket is in a folder
(`own_folder`) that is always removed: by this process, or by the next one. Its name tells its owner, and
a lock on it, which ends with the process, whether it is in use (flock(2)).

`engine_limits`: a child process starts one engine, counts its legs, players and sockets, and ends.
"""

import fcntl
import functools
import os
import queue
import select
import shutil
import signal
import socket
import stat
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from retention.records import Receipt
from sipagent import logs
from sipagent.agent.admission import Admission
from sipagent.agent.board import BoardAnswer, BoardRequest
from sipagent.agent.engine import RealmLearnt
from sipagent.agent.figures import Figures
from sipagent.config.layout import FEWEST, EngineLimits
from sipagent.config.load import Config, uri_host
from sipagent.edge.plan import HopTokens, MediaAddresses
from sipagent.service.remote_detector import DetectorAddress

LONG = 32  # bytes; the path of a socket has at most 107 (unix(7)), including the names of two more folders
LAST = -1000  # order of the work at exit: after multiprocessing's own folders, which are in it


def own_folder(purpose: str) -> Path:
    """Make one (mode 0700) in the folder for temporary files, and remove those that our dead processes left.

    If that folder's path is long, it is made in /tmp: it may have to contain a socket. Raises OSError.
    """
    base, prefix = Path(tempfile.gettempdir()), f"sipagent-{purpose}-{os.getuid()}-"
    if len(os.fsencode(base)) > LONG:
        base = Path("/tmp")
    for left in base.glob(f"{prefix}*"):
        with _locked(left) as nobodys:
            if nobodys:
                shutil.rmtree(left, ignore_errors=True)  # a folder that cannot be removed does no harm
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # no other process removed it before it was locked
            Finalize(None, shutil.rmtree, (folder, True), exitpriority=LAST)
            return folder
        os.close(handle)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether it is a folder of ours that no process has locked; locked inside this context."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:  # it is gone, or not a folder
        yield False
        return
    try:
        found = os.fstat(handle)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield found.st_uid == os.getuid() and stat.S_ISDIR(found.st_mode)
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker takes calls from now on, or the registrar's account is registered."""


@dataclass(frozen=True, slots=True)
class Alive:
    """A worker's SIP thread is running; sent every few seconds after `Ready`."""


@dataclass(frozen=True, slots=True)
class CallerRefused:
    """A caller has refused. A message in the pipe outlives the worker, even if it never commits."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class NotRegistered:
    """The registrar has refused, or has not answered, or no longer knows us."""


@dataclass(frozen=True, slots=True)
class Alerted:
    """What a child has logged for somebody to see to; `call`: which it is about, if about one."""

    reason: str
    call: str | None


@dataclass(frozen=True, slots=True)
class Drain:
    """Take no more calls; end once the last one has ended, or `patience_s` from now."""

    patience_s: float


@dataclass(frozen=True, slots=True)
class Reload:
    """New rules for the calls to come; `rules.calls` is how many a worker takes at a time."""

    config: Config
    rules: Admission


ToChild = Drain | Reload | BoardAnswer | RealmLearnt
ToSupervisor = Ready | Alive | CallerRefused | NotRegistered | Alerted | RealmLearnt | BoardRequest | Figures


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """A worker and its addresses. `rules.calls` is how many calls it takes at a time.

    `listen`: where it receives SIP, host and port; `edge`: the SIP URI for all that it sends and receives;
    `tokens`: the secrets by which they know each other; `media`: where it receives RTP, on the UDP
    ports from the first to the last of `rtp_ports`; `players`: how many sounds its engine plays at once.
    `refused`: receipts of callers whose refusal was the last message of its predecessor. `detector`: the
    one to ask about speech; None: no detector.
    """

    index: int
    listen: tuple[str, int]
    edge: str
    tokens: HopTokens
    media: MediaAddresses
    rtp_ports: tuple[int, int]
    players: int
    config: Config
    rules: Admission
    log_json: bool
    drain_s: float
    refused: tuple[Receipt, ...] = ()
    detector: DetectorAddress | None = None


@dataclass(frozen=True, slots=True)
class RegistrarSpec:
    """The address of the trunk's account, host and port; `edge`, `tokens`: as a worker's."""

    listen: tuple[str, int]
    edge: str
    tokens: HopTokens
    config: Config
    log_json: bool


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """The address of the machine's detector, and the configuration whose words it listens for."""

    address: DetectorAddress
    config: Config
    log_json: bool
    drain_s: float


def edge_address(edge: str) -> tuple[str, int]:
    """Host and port of the edge, as a spec names it."""
    host, port = uri_host(edge)
    assert port is not None
    return host, port


DETECTOR = "detector"
REGISTRAR = "registrar"


def worker_name(index: int) -> str:
    """The name of a worker in the log."""
    return f"worker-{index}"


class SupervisorLink:
    """Two threads, `link-reader` and `link-writer`."""

    def __init__(self, connection: "Connection[ToSupervisor, ToChild]") -> None:
        self._connection = connection
        self._outbox: queue.SimpleQueue[ToSupervisor | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="link-writer", daemon=True)

    def start(self, heard: Callable[[ToChild], None], lost: Callable[[], None]) -> None:
        """`heard` is called with every message, `lost` once, when the supervisor is gone.

        Both on the reader's thread, and both must return at once. From now on it sends each alert, too.
        """
        logs.alerted = lambda reason, call: self.send(Alerted(reason, call))
        reader = threading.Thread(target=self._read, args=(heard, lost), name="link-reader", daemon=True)
        reader.start()
        self._writer.start()

    def send(self, message: ToSupervisor) -> None:
        """Send from any thread; dropped if the supervisor is gone."""
        self._outbox.put(message)

    def close(self) -> None:
        """Wait until everything has been sent, or cannot be."""
        logs.alerted = None
        self._outbox.put(None)
        self._writer.join()

    def _read(self, heard: Callable[[ToChild], None], lost: Callable[[], None]) -> None:
        try:
            while True:
                heard(self._connection.recv())
        except (EOFError, OSError):
            lost()

    def _write(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the reader notices, too
                return


FIRST_S, LONGEST_S = 0.5, 16.0
LIVED_S = 60.0
NOT_KNOWN = 255  # of a child whose server has died (multiprocessing.popen_forkserver)
DEAF_S = 1  # a child whose pipe is full for this long no longer reads
ORDERS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

_context = get_context("forkserver")
_context.set_forkserver_preload(["sipagent.service.preload"])


class Backoff:
    """When to restart a child that has died: at once, then later and later while it keeps dying soon.
    Pure."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._next_s = 0.0

    def started(self, now: float) -> None:
        """`now`: monotonic seconds."""
        self._began = now

    def died(self, now: float) -> float:
        """In how many seconds to restart it."""
        if self._began is not None and now - self._began >= LIVED_S:
            self._next_s = 0.0
        wait_s = self._next_s
        self._next_s = min(max(FIRST_S, 2 * wait_s), LONGEST_S)
        return wait_s


ThreadTimes = dict[int, tuple[float, float, bool]]
"""By thread: seconds for which it ran, and for which it waited while it could have run (sched-stats.rst), and
whether it can run now. The kernel counts a wait when it is over."""


def could_not_run(before: ThreadTimes, after: ThreadTimes, seconds: float) -> bool:
    """Whether in these seconds a thread got no processor, rather than had nothing to do or no end."""
    for id in before.keys() & after.keys():
        (ran_before, waited_before, could_run), (ran, waited, can_run) = before[id], after[id]
        never = could_run and can_run and ran == ran_before
        if never or waited - waited_before >= max(ran - ran_before, seconds / 2):
            return True
    return False


class Child:
    """A process that runs `target(connection, *arguments)`; `target` is named as `module:function`."""

    def __init__(self, name: str, target: str, *arguments: Any) -> None:
        """Raises OSError if another process can't be started."""
        self.name = name
        ours, theirs = _context.Pipe(duplex=True)
        process = _context.Process(target=_run, args=(target, theirs, *arguments), name=name)
        with theirs, _orders_blocked(), _temporary_files_in(_folder()):
            forkserver.ensure_running()
            process.start()
        self.connection: Connection[ToChild, ToSupervisor] = ours
        self.pid = process.pid or 0
        self._process = process
        with _socket(ours) as pipe:
            pipe.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", DEAF_S, 0))
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:  # so soon
            self._pidfd = os.open(os.devnull, os.O_RDONLY)  # always readable, as for an ended process

    def fileno(self) -> int:
        """Readable once the process has ended."""
        return self._pidfd

    def threads(self) -> ThreadTimes:
        """For how long each of its threads has run, and has waited for a processor."""
        found = {}
        for one in Path(f"/proc/{self.pid}/task").glob("*"):
            with suppress(OSError, ValueError):  # it has just ended
                ran, waited, _ = map(int, (one / "schedstat").read_text().split())
                state = (one / "stat").read_text().rpartition(") ")[2][:1]
                found[int(one.name)] = ran / 1e9, waited / 1e9, state == "R"
        return found

    @property
    def running(self) -> bool:
        return not select.select([self._pidfd], [], [], 0)[0]

    def send(self, message: ToChild) -> None:
        """Send a message. It is dropped if the child is dead; a child that no longer reads is killed."""
        try:
            self.connection.send(message)
        except BlockingIOError:
            self.kill()
        except OSError:  # its end is handled elsewhere
            pass

    def kill(self) -> None:
        with suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> int | None:
        """Release a child that has ended; its exit code, or minus the signal's number; None: not known."""
        self.connection.close()
        os.close(self._pidfd)
        self._process.join(1.0)
        code = self._process.exitcode
        if code is not None:
            self._process.close()
        return None if code == NOT_KNOWN else code


def _run(target: str, connection: "Connection[Any, Any]", *arguments: Any) -> None:
    resolve_name(target)(connection, *arguments)


def asked(target: str, *arguments: Any) -> Any:
    """The value that `target(connection, *arguments)` sends from a new process. Raises EOFError: it died."""
    child = Child(target, target, *arguments)
    try:
        return child.connection.recv()
    finally:
        child.kill()
        child.close()


def end_server() -> None:
    """End what children are forked from, as long as there are none; the next one starts it again."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


@functools.cache
def _folder() -> Path:
    """The folder of the server's socket. The library's own would stay behind when this process is killed."""
    return own_folder("children")


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def _orders_blocked() -> Iterator[None]:
    """Processes started in this context have these signals blocked, from their first instruction on."""
    resource_tracker.ensure_running()  # starting it would unblock them again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ORDERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _socket(connection: "Connection[Any, Any]") -> socket.socket:
    return socket.socket(fileno=os.dup(connection.fileno()))


@functools.cache
def engine_limits() -> EngineLimits:
    """Raises EOFError: the process died."""
    limits: EngineLimits
    _, limits, _ = asked("sipagent.pjsip.library:tell")
    return limits


def limits_for(config: Config) -> EngineLimits:
    """The engine's limits; for one call those that any engine has, and none is asked."""
    one = config.capacity.calls == 1 and config.capacity.calls_per_process is None
    return FEWEST if one else engine_limits()
