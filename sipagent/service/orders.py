"""What signals ask of the service, kept until its thread reads it."""

import signal
import socket
import time
from contextlib import suppress


class Orders:
    """Written by signals, or by the supervisor's messages; read by the thread that does the work."""

    def __init__(self, drain_s: float) -> None:
        self.drain_s = drain_s
        self.reload = False
        self.ending_at: float | None = None  # monotonic

    def end(self) -> None:
        """Stop taking calls; a second request does not wait for those in progress."""
        self.end_within(0.0 if self.ending_at is not None else self.drain_s)

    def end_within(self, patience_s: float) -> None:
        """Stop taking calls, and wait this long for those in progress; never longer than an earlier order."""
        at = time.monotonic() + patience_s
        self.ending_at = at if self.ending_at is None else min(at, self.ending_at)


def heed(orders: Orders) -> None:
    """SIGTERM and SIGINT end, SIGHUP reloads. Python runs the signal functions between two steps of the main
    thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: orders.end())
    signal.signal(signal.SIGHUP, lambda *_: setattr(orders, "reload", True))


class Wake:
    """Readable once a signal has come: for a thread that also waits for other things."""

    def __init__(self) -> None:
        self._hears, self._says = socket.socketpair()
        self._hears.setblocking(False)
        self._says.setblocking(False)
        signal.set_wakeup_fd(self._says.fileno(), warn_on_full_buffer=False)

    def fileno(self) -> int:
        return self._hears.fileno()

    def clear(self) -> None:
        with suppress(BlockingIOError):
            self._hears.recv(4096)

    def wake(self) -> None:
        """Make it readable; any thread."""
        with suppress(OSError):  # it is readable already, or closed
            self._says.send(b".")

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        self._hears.close()
        self._says.close()
