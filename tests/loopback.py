"""The real engine and real phones on loopback, each scene in a process of its own.

One process can have one engine in its life, and an assertion of the library's ends it: so a test that needs
one is a scene. The decorator `scene` has it run in a fork of a process that has imported everything. There
everything is awaited by polling the engine until it has happened. The process ends with its scene: that an
engine stops as it should is a scene of its own, since the library takes a second for it.
"""

import faulthandler
import functools
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from media.frame import Samples
from sipagent.agent.engine import EngineFault, EngineSettings, Incoming, OfLeg, Report
from sipagent.call import events as e
from sipagent.pjsip import PjsipEngine
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Loop, Phone
from sipagent.softphone.rtp import SteadyTone
from sipagent.softphone.sip import Message
from tests import tiers
from tests.peers.process import free_ports

ROOT = Path(__file__).parents[1]
CALLER_HZ, DESK_HZ = 440.0, 1000.0
NUMBER = "0323063006"
SERVE = "from tests.loopback import serve; serve({full})"


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
        self.stack = stack
        self.caller, self.desk = self.phone("+33612345678", CALLER_HZ), self.phone("201", DESK_HZ)
        self.desk.answer = Answering()
        self.faults = 0  # of callbacks, as many as the scene wants
        self.engine.start()
        self.limit()
        stack.callback(self._check)

    def _check(self) -> None:
        assert len(self.of(EngineFault)) == self.faults, self.of(EngineFault)

    def limit(self, **limits: int) -> None:
        """Have the engine go by less than it has: else by the legs and sockets of the wheel."""
        self.engine.limits = replace(self.engine.limits, **{"legs": 4, "handles": 64} | limits)
        self.engine.capacity = self.engine.limits.usable_legs

    def phone(self, user: str, hz: float, **how: Any) -> Phone:
        phone = self.stack.enter_context(Phone(self.loop, user, **how))
        phone.sound = lambda: SteadyTone(hz)
        return phone

    # --- waiting ---

    def until(self, happened: Callable[[], object], what: str) -> None:
        """Let the engine work until this is so; raises AssertionError with all that was reported."""
        patience = time.monotonic() + 4 * PATIENCE_S  # a machine that others use, too
        while not happened():
            assert time.monotonic() < patience, f"no {what}; reported: {self.reports}"
            self.engine.poll(0.02)

    def meanwhile(self, action: Callable[[], Any]) -> Any:
        """Let the engine work while a phone does what waits for an answer; what it gives."""
        done: list[Any] = []
        failed: list[Exception] = []

        def act() -> None:
            try:
                done.append(action())
            except Exception as failure:  # noqa: BLE001 - raised below
                failed.append(failure)

        thread = threading.Thread(target=act)
        thread.start()
        self.until(lambda: not thread.is_alive(), "end of what a phone does")
        for failure in failed:
            raise failure
        return done[0]

    def frames(self, call: Call, seconds: float) -> None:
        """Let this much sound of a phone's go out."""
        until = call.rtp.sent_frames + round(seconds * 50)
        self.until(lambda: call.rtp.sent_frames >= until, f"{seconds} s of sound")

    def tone(self, call: Call, hz: float) -> None:
        self.meanwhile(lambda: call.rtp.wait_tone(hz))

    def hears(self, leg: int, seconds: float) -> None:
        """Wait until the leg has handed over so much more sound; silence counts."""
        enough = len(self.heard.get(leg, [])) + round(seconds * 10)
        self.until(lambda: len(self.heard.get(leg, [])) >= enough, f"{seconds} s from the leg")

    def asks(self, call: Call, method: str, body: bytes = b"", *headers: tuple[str, str]) -> Message:
        """The answer to a phone's request within its call."""
        answer: Message = self.meanwhile(lambda: call.request(method, headers, body))
        return answer

    def hangs_up(self, call: Call, leg: int) -> None:
        with self.loop.changing():
            call.hang_up()
        self.gone(leg)

    # --- what was reported ---

    def facts(self, leg: int) -> list[e.Fact]:
        return [report.fact for report in self.reports if isinstance(report, OfLeg) and report.leg == leg]

    def told(self, leg: int, fact: e.Fact) -> None:
        self.until(lambda: fact in self.facts(leg), str(fact))

    def gone(self, leg: int, status: int | None = None) -> int:
        """Wait for the end of a leg; the status that it has ended with, which may have to be this one."""
        self.until(lambda: e.LegGone in map(type, self.facts(leg)), "end of a leg")
        (found,) = (fact.status for fact in self.facts(leg) if isinstance(fact, e.LegGone))
        assert status in (None, found)
        return found

    def keys(self, leg: int) -> str:
        return "".join(fact.digit for fact in self.facts(leg) if isinstance(fact, e.DtmfPressed))

    def of(self, kind: type[Report]) -> list[Any]:
        return [report for report in self.reports if isinstance(report, kind)]

    def incoming(self, nth: int = 0) -> Incoming:
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

    def dial(self, uri: str = "", *headers: tuple[str, str]) -> int:
        """The leg on which an operator is rung: the desk, or somebody else."""
        return self.engine.dial(uri or self.desk.uri, '"REC Ann"', headers)

    def dialled(self, uri: str = "") -> tuple[Call, int]:
        before = len(self.desk.calls)
        leg = self.dial(uri)
        self.told(leg, e.OperatorAnswered(leg, telephone_event=True))
        return self.desk.calls[before], leg

    def talking(self, **how: Any) -> tuple[tuple[Call, int], tuple[Call, int]]:
        """A caller and an operator who hear each other."""
        sides = self.answered(**how), self.dialled()
        self.engine.bridge(sides[0][1], sides[1][1])
        self.hear_each_other(*sides)
        return sides

    def hear_each_other(self, caller: tuple[Call, int], operator: tuple[Call, int]) -> None:
        self.tone(caller[0], DESK_HZ)
        self.tone(operator[0], CALLER_HZ)

    def sound_of(self, leg: int) -> Samples:
        return np.concatenate(self.heard[leg])


def seen(phone: Phone, what: str) -> list[Message]:
    """The messages that a phone has had, or sent: `INVITE received`."""
    return [one.message for one in phone.seen if one.describe() == what]


SCENES: dict[tuple[str, str], Callable[[Any], None]] = {}


def scene(play: Callable[[Any], None]) -> Callable[[], None]:
    """Make a test of a function that runs in a process of its own: with an `office`, or a `stack` for one."""

    def test() -> None:
        run(play.__module__, play.__name__)

    test.__name__, test.__doc__ = play.__name__, play.__doc__
    SCENES[play.__module__, play.__name__] = play
    return test


def run(module: str, name: str) -> None:
    server = _server()
    assert server.stdin and server.stdout
    print(module, name, file=server.stdin, flush=True)
    status, stdout, stderr = json.loads(server.stdout.readline())
    assert status == 0, f"ended with {status}\n{stdout}{stderr}"
    assert stdout == "", "the library writes to standard output"


@functools.cache
def _server() -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SERVE.format(full=tiers.full)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end_server() -> None:
    """End what scenes are forked from, if it runs; the next scene starts it again."""
    if _server.cache_info().currsize:
        _server().communicate()  # it ends with its standard input
        _server.cache_clear()


def serve(full: bool) -> None:
    """Fork for each scene that a line names, and say how it ended: status, standard output, errors."""
    tiers.full = full
    for line in sys.stdin:
        module, name = line.split()
        importlib.import_module(module)
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            if (pid := os.fork()) == 0:
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                main(module, name)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            said = [file.seek(0) or file.read() for file in (stdout, stderr)]
        print(json.dumps([status, *said]), flush=True)


def main(module: str, name: str) -> None:
    """In the process of its own, which ends with it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    importlib.import_module(module)
    status = 1
    try:
        with ExitStack() as stack:
            play = SCENES[module, name]
            play(Loopback(stack) if play.__code__.co_varnames[0] == "office" else stack)
        status = 0
    except BaseException:  # noqa: BLE001 - told
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
