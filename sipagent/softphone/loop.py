"""The one thread behind any number of softphones: sockets and timers, one lock.

Everything a phone does happens either on this thread or in a caller's thread that holds `Loop.lock`.
Nothing polls: a wait sleeps on the lock's condition until a packet or a timer changed something.
"""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

MS = 1_000_000  # ns
SECOND = 1_000 * MS
FRAME_NS = 20 * MS
PATIENCE_S = 30.0
"""How long what happens at once may take on a machine that others use too."""


class PhoneError(Exception):
    """What a softphone could not do; the text says what was waited for or what came instead."""


class PhoneTimeout(PhoneError):
    """A wait ended without what it waited for."""


@dataclass(order=True, slots=True)
class Timer:
    """A call due at `when_ns` (monotonic clock, ns); `cancel()` forgets it."""

    when_ns: int
    order: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Selector and timers on one daemon thread; start it by using it as a context."""

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.RLock())
        self.epoch_ns = time.monotonic_ns()
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._order = itertools.count()
        self._waker, self._wakee = socket.socketpair()
        self._wakee.setblocking(False)
        self._selector.register(self._wakee, selectors.EVENT_READ, self._drain)
        self._running = True
        self._thread = threading.Thread(target=self._run, name="softphones", daemon=True)

    def __enter__(self) -> Loop:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self._running = False
        self._waker.send(b"x")
        self._thread.join(5)
        for end in (self._waker, self._wakee):
            end.close()
        self._selector.close()

    def watch(self, sock: socket.socket, ready: Callable[[], None]) -> None:
        """Call `ready` on the loop's thread whenever the socket can be read; it may not wait for a packet."""
        with self.lock:
            self._selector.register(sock, selectors.EVENT_READ, ready)

    def unwatch(self, sock: socket.socket) -> None:
        with self.lock:
            self._selector.unregister(sock)

    def at(self, when_ns: int, action: Callable[[], None]) -> Timer:
        """Call `action` on the loop's thread at `when_ns` (monotonic, ns)."""
        timer = Timer(when_ns, next(self._order), action)
        with self.lock:
            heapq.heappush(self._timers, timer)
            first = self._timers[0] is timer
        if first and threading.current_thread() is not self._thread:
            self._waker.send(b"x")
        return timer

    def after(self, seconds: float, action: Callable[[], None]) -> Timer:
        return self.at(time.monotonic_ns() + int(seconds * SECOND), action)

    def next_frame_ns(self) -> int:
        """The next multiple of 20 ms since the loop's start: all streams share this grid."""
        return self.epoch_ns + ((time.monotonic_ns() - self.epoch_ns) // FRAME_NS + 1) * FRAME_NS

    def wait_for(self, predicate: Callable[[], bool], timeout: float, what: str) -> None:
        """Sleep until `predicate` holds; raises PhoneTimeout naming `what` after `timeout` seconds."""
        with self.lock:
            self.lock.wait_for(lambda: predicate() or not self._running, timeout)
            if not predicate():
                why = f"within {timeout:g} s" if self._running else "before the phones' thread ended"
                raise PhoneTimeout(f"no {what} {why}")

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock and wake the waiters at the end."""
        with self.lock:
            yield
            self.lock.notify_all()

    def _drain(self) -> None:
        self._wakee.recv(4096)

    def _run(self) -> None:
        try:
            while self._running:
                for key, _ in self._selector.select(self._patience()):
                    with self.changing():
                        if self._selector.get_map().get(key.fd) is key:  # an earlier one may have closed it
                            with suppress(BlockingIOError):  # told to be there, and is not: select(2), BUGS
                                key.data()
                self._run_timers()
        finally:
            with self.changing():
                self._running = False

    def _patience(self) -> float | None:
        with self.lock:
            if not self._timers:
                return None
            return max(0, self._timers[0].when_ns - time.monotonic_ns()) / SECOND

    def _run_timers(self) -> None:
        with self.lock:
            now = time.monotonic_ns()
            due = 0
            while self._timers and self._timers[0].when_ns <= now:
                timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    timer.action()
                    due += 1
            if due:
                self.lock.notify_all()
