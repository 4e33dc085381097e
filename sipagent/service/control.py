"""Signals, systemd and requests to a running service. Nothing here waits for a call.

`alone_on` is the lock that lets one agent at a time work on a database.

Signals become `Orders`, kept until the service's thread reads them.

The service reports to systemd, if that has started it (sd_notify(3)):

    READY=1               calls can come
    STATUS=…              how many calls are up, and which parts are missing; at each change
    WATCHDOG=1            the thread that all calls depend on is running
    RELOADING=1           a SIGHUP is being obeyed; READY=1 follows
    STOPPING=1            it drains
    EXTEND_TIMEOUT_USEC   it takes longer than the unit says: at the start for the registrar, at the end for
                          calls

Other commands ask a running agent for its figures at the port that Prometheus scrapes (`scraped`).
"""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection

import structlog

from retention.files import alone
from retention.records import Special
from retention.rows.rows import StoreError
from sipagent.config.errors import counted
from sipagent.config.load import Config, HostPort

log = structlog.get_logger(__name__)


@contextmanager
def alone_on(config: Config) -> Iterator[None]:
    """Hold the database's lock: what is open in it is ours, or of a dead agent. Raises StoreError: another
    agent runs."""
    places = config.places
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(places.lock))
        except BlockingIOError as taken:
            raise StoreError("{0}: another agent is at work on it", places.database) from taken
        yield


def attempt(
    step: Callable[[], object], foreseen: tuple[type[Exception], ...], fails: Callable[[str], object]
) -> bool:
    """Take a step of a thread that goes on whatever happens; whether all went well. `fails` gets a line."""
    try:
        step()
    except foreseen as fault:
        fails(str(fault))
    except Exception as fault:  # noqa: BLE001 - a thread that died would ship, erase or purge no more
        fails(f"{fault!r}, which nobody foresaw")
    else:
        return True
    return False


class Alarms:
    """Alerts of what may last: each by its name once, and again every hour, or `every_s`."""

    def __init__(self, alert: Callable[[str], None], every_s: float = 3600.0) -> None:
        self._alert = alert
        self._every_s = every_s
        self._told: dict[str, float] = {}  # by name, and when

    def tell(self, problem: str, name: str = "") -> None:
        """Its own text is its name, unless it has another."""
        now, name = time.monotonic(), name or problem
        if now - self._told.get(name, -self._every_s) >= self._every_s:
            self._told[name] = now
            self._alert(problem)

    def end(self, name: str) -> bool:
        """It is over; whether it was told of."""
        return self._told.pop(name, None) is not None


class Orders:
    """Written by signals, or by the supervisor's messages; read by the thread that does the work."""

    def __init__(self, drain_s: float) -> None:
        self.drain_s = drain_s
        self.reload = False
        self.specials: tuple[Special, ...] = ()  # what is different today, as it was last read; any thread
        self.ending_at: float | None = None  # monotonic

    def end(self) -> None:
        """Stop taking calls; a second request does not wait for those in progress."""
        self.end_within(0.0 if self.ending_at is not None else self.drain_s)

    def end_within(self, patience_s: float) -> None:
        """Stop taking calls, and wait this long for those in progress; never longer than an earlier order."""
        at = time.monotonic() + patience_s
        self.ending_at = at if self.ending_at is None else min(at, self.ending_at)


def tell_draining(calls: int, patience_s: float) -> None:
    """Log how many calls are waited for, and for how long at most."""
    detail = "a second signal ends these calls at once"
    log.info("draining", calls=calls, at_most_s=round(patience_s), detail=detail)


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


LOOK_S = 1.0  # the least time between two looks at the status
START_S = 20.0  # how often a start that takes long says so, where there is no watchdog
BEFORE_CALLS = "starting: the database is opened, and what a crash has left is finished"
SEND_S = 1.0  # for a systemd that does not read
LACKS = 3  # that are named
LAST_WORK_S = 60.0  # after the last call: recordings are finished, and the edge ends


class Systemd:
    """For one thread. `address`: of the socket to write to, a path, or abstract with an `@`; without one,
    nothing is written. `watchdog_s`: after so long without a sign this process is ended; 0: never. Times are
    monotonic seconds.
    """

    def __init__(self, address: str = "", watchdog_s: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None
        if address.startswith(("@", "/")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(SEND_S)
        self._watched = watchdog_s > 0
        self._every_s = watchdog_s / 2 if self._watched else START_S
        self._sign_due = self._look_due = 0.0
        self._passed_over = False  # the status may have changed since the last look
        self._status = ""
        self._ready = self._refused = False

    @classmethod
    def from_environment(cls) -> "Systemd":
        """Take it out of the environment: it is for this process, not for those that it starts."""
        names = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"
        address, watchdog_us, watched = (os.environ.pop(name, "") for name in names)
        ours = watchdog_us.isdecimal() and watched in ("", str(os.getpid()))
        return cls(address, int(watchdog_us) / 1e6 if ours else 0.0)

    def ready(self) -> None:
        """Calls can come; the first time counts."""
        self._ready = True
        self._look_due = 0.0  # nothing is missing any more
        self._tell("READY=1")

    def look(self, now: float, status: Callable[[], str]) -> None:
        """Give a sign of life and the status, as far as due. To be called in every turn, and when `due`."""
        if self._socket is None:
            return
        if now >= self._sign_due:
            self._sign_due = now + self._every_s
            self._give_sign()
        self._passed_over = now < self._look_due
        if not self._passed_over:
            self._look_due = now + LOOK_S
            self.say(status())

    def due(self) -> float | None:
        """When to `look` again, even if nothing happens."""
        if self._socket is None:
            return None
        return min(self._sign_due, self._look_due) if self._passed_over else self._sign_due

    def say(self, status: str) -> None:
        """Tell the status, one line, if it has changed."""
        if self._refused:
            status += "; the last reload was refused, see the log"
        if status != self._status:
            self._status = status
            self._tell(f"STATUS={status}")

    def reload(self, obey: Callable[[], bool]) -> None:
        """Obey a SIGHUP. `obey` tells whether the file is in force now."""
        if self._ready:
            self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        self._refused = not obey()
        if self._ready:
            self._tell("READY=1")

    def stopping(self, calls_end_s: float) -> None:
        """It drains; the last call is over in so many seconds."""
        self._tell(f"STOPPING=1\n{_longer(calls_end_s + LAST_WORK_S)}")

    def _give_sign(self) -> None:
        if not self._ready:
            self._tell(_longer(3 * self._every_s))
        elif self._watched:
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if self._socket is not None:
            with suppress(OSError):  # a systemd that is gone or does not read must end no call
                self._socket.sendto(message.encode(), self._address)


def _longer(seconds: float) -> str:
    return f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}"


def status_of(
    calls: int, limit: int, registered: bool | None, *, draining: bool = False, lacks: Sequence[str] = ()
) -> str:
    """The status in words. `registered`: whether the trunk's registrar knows us; None where there is none."""
    if draining:
        return f"draining, {counted(calls, 'call')} left"
    told = [f"{counted(calls, 'call')} of at most {limit}"]
    if registered is not None:
        told.append("registered" if registered else "not registered, so the trunk sends no calls")
    told += lacks[:LACKS]
    if len(lacks) > LACKS:
        told.append(f"{len(lacks) - LACKS} more")
    return "; ".join(told)


def scraped(address: HostPort, patience_s: float, limit: int | None = None) -> bytes:
    """The figures, at most so many bytes of them. Raises OSError, HTTPException."""
    host, port = reachable(address)
    asking = HTTPConnection(host, port, timeout=patience_s)
    try:
        asking.request("GET", "/metrics")
        return asking.getresponse().read(limit)
    finally:
        asking.close()


def reachable(address: HostPort) -> HostPort:
    """The address at which a program on this machine reaches a listener there."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return HostPort(loopback.get(address.host, address.host), address.port)
