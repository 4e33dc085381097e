"""The supervisor's processes: how it starts them, sends them messages and watches them.

They are forked from a server that has imported what they need (`multiprocessing`, method forkserver), so that
one more costs milliseconds, and little extra memory. What they run is named, not imported: the supervisor
does not load the engine's library. The signals of a terminal or of an administrator are only for the
supervisor: in children they are blocked, and it tells them what to do. What the kernel says of a process
(pidfd_open(2)) is also true if that server has died.
"""

import functools
import os
import select
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from sipagent.service.processes.messages import ToChild, ToSupervisor
from sipagent.service.processes.own_folder import own_folder

FIRST_S, LONGEST_S = 0.5, 16.0
LIVED_S = 60.0
NOT_KNOWN = 255  # of a child whose server has died (multiprocessing.popen_forkserver)
DEAF_S = 1  # a child whose pipe is full for this long no longer reads
ORDERS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

_context = get_context("forkserver")
_context.set_forkserver_preload(["sipagent.service.processes.preload"])


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
    """What `target(connection, *arguments)` sends from a new process. Raises EOFError: it died."""
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
