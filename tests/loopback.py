"""The real engine and real phones on loopback, each scene in a process of its own.

One process can have one engine in its life, and an assertion of the library's ends it: so a test that needs
one is a scene, which the decorator `scene` runs in a new interpreter. There everything is awaited by polling
the engine until it has happened.
"""

import faulthandler
import importlib
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from media.frame import Samples
from sipagent.agent.engine import EngineSettings, Incoming, OfLeg, Report
from sipagent.call import events as e
from sipagent.pjsip import PjsipEngine
from sipagent.softphone.phone import Answering, Call, Loop, Phone, PhoneTimeout
from sipagent.softphone.rtp import SteadyTone
from tests.peers.process import free_ports

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
CALLER_HZ, DESK_HZ = 440.0, 1000.0
NUMBER = "0323063006"
RUN = "import sys; from tests.loopback import main; main(*sys.argv[1:])"


class Loopback:
    """An engine that reports into `reports`, a caller and a desk phone."""

    def __init__(self, stack: ExitStack, **changes: Any) -> None:
        self.reports: list[Report] = []
        self.heard: dict[int, list[Samples]] = {}
        self.port = free_ports(1)
        rtp = free_ports(64)
        settings = EngineSettings(
            report=self.reports.append,
            audio=lambda leg, samples, _: self.heard.setdefault(leg, []).append(samples),
            listen=("127.0.0.1", self.port),
            uri=f"sip:agent@127.0.0.1:{self.port}",
            rtp_ports=(rtp, rtp + 63),
        )
        self.engine = PjsipEngine(replace(settings, **changes))
        self.loop = stack.enter_context(Loop())
        self._stack = stack
        self.caller, self.desk = self.phone("+33612345678", CALLER_HZ), self.phone("201", DESK_HZ)
        self.desk.answer = Answering()
        self.engine.start()
        self.limit()
        stack.callback(self.engine.stop)

    def limit(self, **limits: int) -> None:
        """Have the engine go by less than it has: else by the legs and sockets of the wheel."""
        self.engine.limits = replace(self.engine.limits, **{"legs": 4, "handles": 64} | limits)
        self.engine.capacity = self.engine.limits.usable_legs

    def phone(self, user: str, hz: float, **how: Any) -> Phone:
        """One more; it says a tone."""
        phone = self._stack.enter_context(Phone(self.loop, user, **how))
        phone.sound = lambda: SteadyTone(hz)
        return phone

    # --- waiting ---

    def until(self, happened: Callable[[], object], what: str) -> None:
        """Let the engine work until this is so; raises AssertionError with all that was reported."""
        patience = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < patience, f"no {what}; reported: {self.reports}"
            self.engine.poll(0.02)

    def meanwhile(self, action: Callable[[], Any]) -> None:
        """Let the engine work while a phone does what waits for an answer."""
        failed: list[PhoneTimeout] = []

        def act() -> None:
            try:
                action()
            except PhoneTimeout as timeout:
                failed.append(timeout)

        thread = threading.Thread(target=act)
        thread.start()
        self.until(lambda: not thread.is_alive(), "end of what a phone does")
        assert not failed, failed

    def frames(self, call: Call, seconds: float) -> None:
        """Let this much sound of a phone's go out."""
        until = call.rtp.sent_frames + round(seconds * 50)
        self.until(lambda: call.rtp.sent_frames >= until, f"{seconds} s of sound")

    def tone(self, call: Call, hz: float) -> None:
        """Wait until a phone hears a tone."""
        self.meanwhile(lambda: call.rtp.wait_tone(hz, PATIENCE_S))

    # --- what was reported ---

    def facts(self, leg: int) -> list[e.Fact]:
        return [report.fact for report in self.reports if isinstance(report, OfLeg) and report.leg == leg]

    def told(self, leg: int, fact: e.Fact) -> None:
        """Wait for a fact of a leg."""
        self.until(lambda: fact in self.facts(leg), str(fact))

    def of(self, kind: type[Report]) -> list[Any]:
        return [report for report in self.reports if isinstance(report, kind)]

    def incoming(self, nth: int = 0) -> Incoming:
        """The nth caller to come."""
        self.until(lambda: len(self.of(Incoming)) > nth, "incoming call")
        found: Incoming = self.of(Incoming)[nth]
        return found

    def uri(self) -> str:
        return f"sip:{NUMBER}@127.0.0.1:{self.port}"

    def answered(self, phone: Phone | None = None, **how: Any) -> tuple[Call, int]:
        """A caller whose call is up, and its leg."""
        before = len(self.of(Incoming))
        call = (phone or self.caller).call(self.uri(), **how)
        leg = self.incoming(before).leg
        self.engine.answer(leg)
        self.until(lambda: any(isinstance(fact, e.CallConfirmed) for fact in self.facts(leg)), "ACK")
        return call, leg

    def dialled(self, display: str = '"REC Ann"') -> tuple[Call, int]:
        """An operator who has answered, and its leg."""
        before = len(self.desk.calls)
        leg = self.engine.dial(self.desk.uri, display)
        self.told(leg, e.OperatorAnswered(leg, telephone_event=True))
        return self.desk.calls[before], leg

    def sound_of(self, leg: int) -> Samples:
        return np.concatenate(self.heard[leg])


def scene(play: Callable[[ExitStack], None]) -> Callable[[], None]:
    """Make a test of a function that is run in a process of its own."""

    def test() -> None:
        run(play.__module__, play.__name__)

    test.__name__, test.__doc__ = play.__name__, play.__doc__
    SCENES[play.__module__, play.__name__] = play
    return test


def run(module: str, name: str) -> None:
    """A scene in a process of its own."""
    command = [sys.executable, "-c", RUN, module, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.stdout == "", "the library writes to standard output"


SCENES: dict[tuple[str, str], Callable[[ExitStack], None]] = {}


def main(module: str, name: str) -> None:
    """In the process of its own."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    importlib.import_module(module)
    with ExitStack() as stack:
        SCENES[module, name](stack)
