"""What systemd is told of the service, if systemd has started it (sd_notify(3)).

READY=1               calls can come
STATUS=…              how many calls are up, and what is missing; when it has changed
WATCHDOG=1            the thread that all calls depend on is running
RELOADING=1           a SIGHUP is being obeyed; READY=1 follows
STOPPING=1            it drains
EXTEND_TIMEOUT_USEC   it takes longer than the unit says: at the start for the registrar, at the end for calls
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sipagent.config.finding import counted

LOOK_S = 1.0  # the least time between two looks at the status
START_S = 20.0  # how often a start that takes long says so, where there is no watchdog
BEFORE_CALLS = "starting: the database is opened, and what a crash has left is finished"
SEND_S = 1.0  # for a systemd that does not read
LACKS = 3  # that are named
LAST_WORK_S = 60.0  # after the last call: recordings are finished, and the edge ends


class Systemd:
    """For one thread. `address`: of the socket to tell it to, a path, or abstract with an `@`; without one,
    nothing is told. `watchdog_s`: after so long without a sign this process is ended; 0: never. Times are
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
