"""Whose turn it is to write: a queue of processes, kept by the kernel.

SQLite's own waiters sleep and look again, longer each time, so that among fifty writers some never get a
turn. Here they wait in `flock(2)`, which wakes them; a process that dies releases its lock. A program that
does not use this queue is still kept apart by SQLite's locks.
"""

import fcntl
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retention.storage.files import share_owner


class TurnError(Exception):
    """It did not come in time."""


class Turns:
    """The turns of one connection, whose owner asks for one turn at a time. `wait_s`: how long to wait for
    it."""

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the turn. Raises TurnError, OSError."""
        handle = self._opened()
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle = self._awaited(handle)
        except BaseException:
            os.close(handle)
            raise
        try:
            yield
        finally:
            os.close(handle)

    def _opened(self) -> int:
        """Open the file again each time: a lock belongs to the open file, which a fork would share."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._path, flags)
        except FileNotFoundError:
            handle = os.open(self._path, flags | os.O_CREAT, 0o600)
            share_owner(self._path)
            return handle

    def _awaited(self, handle: int) -> int:
        """The lock has no time limit: a thread waits for it, and closes a lock that comes too late."""
        come: queue.SimpleQueue[OSError | None] = queue.SimpleQueue()
        given_up = threading.Lock()  # held by the side that decides: the thread, or we when the time is over

        def wait() -> None:
            failure = None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                failure = error
            if given_up.acquire(blocking=False):
                come.put(failure)
            else:
                os.close(handle)

        threading.Thread(target=wait, name="turn", daemon=True).start()
        try:
            failure = come.get(timeout=self._wait_s)
        except queue.Empty:
            if given_up.acquire(blocking=False):
                raise TurnError("database is locked") from None
            failure = come.get()
        if failure:
            os.close(handle)
            raise failure
        return handle
