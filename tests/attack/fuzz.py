"""Cases against the engine behind our rules, in a child process: where the library fails it ends that.

A death is told with its seed, its index and the last case.
"""

from __future__ import annotations

import faulthandler
import json
import mmap
import os
import random
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from sipagent.agent.engine import EngineFault, EngineSettings, Incoming, OfLeg, Report
from sipagent.call import events as e
from sipagent.pjsip import PjsipEngine, library
from tests.attack.adversary import PATIENCE, Side
from tests.attack.grammar import Case, case
from tests.peers.process import free_ports

ROOT = Path(__file__).parents[2]
CODECS = ("PCMA", "PCMU", "G722", "GSM", "ILBC", "L16", "SPEEX")
PATIENT_MS = 300
STILL_S = 20.0  # without a message: it hangs


class Office:
    """The engine, and both sides of its calls."""

    def __init__(self, stack: ExitStack, srtp: str) -> None:
        self.reports: list[Report] = []
        self.faults: Counter[str] = Counter()
        port, rtp = free_ports(1), free_ports(200)
        settings = EngineSettings(
            report=self.reports.append,
            audio=lambda leg, samples, _: None,
            listen=("127.0.0.1", port),
            uri=f"sip:agent@127.0.0.1:{port}",
            rtp_ports=(rtp, rtp + 199),
            codecs=CODECS,
            srtp=srtp,
            operators_srtp=srtp,
            media_ipv6=("::1", ""),
        )
        self.engine = PjsipEngine(settings)
        self.engine.start()
        # an answer that was lost costs a leg for so long
        library.LIBRARY.pjsip_tsx_set_timers(0, 0, 500, PATIENT_MS)
        limits = replace(self.engine.limits, legs=4, handles=64)
        self.engine.limits, self.engine.capacity = limits, limits.usable_legs
        stack.callback(self.engine.stop)
        uri = f"sip:0323063006@127.0.0.1:{port}"
        self.caller = Side("127.0.0.1", "+33612345678", ("127.0.0.1", port), uri)
        self.phone = Side("127.0.0.1", "201", ("127.0.0.1", port), uri)
        for side in (self.caller, self.phone):
            stack.callback(side.close)
        self.caller_leg = self.phone_leg = self.ringing = 0
        self.fresh: list[int] = []  # legs of cases that have been answered
        self.kinds: Counter[str] = Counter()

    def work(self, seconds: float = 0.0) -> None:
        """A poll, and what the agent would do about it."""
        self.engine.poll(seconds)
        for side in (self.caller, self.phone):
            side.pump()
        for leg in self.fresh:
            self.engine.hang_up(leg)
        self.fresh.clear()
        reports = self.reports[:]
        self.reports.clear()
        for report in reports:
            match report:
                case EngineFault(reason):
                    self.faults[reason] += 1
                case Incoming(leg):
                    self._taken(leg, report)
                case OfLeg(leg, e.LegGone()):
                    self._gone(leg)

    def _taken(self, leg: int, report: Incoming) -> None:
        dialog = self.caller.dialog
        if not self.caller_leg and dialog and f"Call-ID: {dialog.call_id}" in report.message:
            self.caller_leg = leg  # a second one of that Call-ID, by an INVITE without a tag, is ended below
            self.engine.answer(leg)
        elif self.turn.random() < 0.6:
            self.engine.answer(leg)
            self.fresh.append(leg)
        else:
            self.engine.reject(leg, self.turn.choice((403, 486, 603)), None)

    def _gone(self, leg: int) -> None:
        if leg == self.caller_leg:
            self.caller_leg = 0
        elif leg == self.phone_leg:
            self.phone_leg = 0
        elif leg == self.ringing:
            self.ringing = 0
            self.phone.asked = None

    def until(self, happened: Callable[[], object], seconds: float = 3.0) -> bool:
        patience = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > patience:
                return False
            self.work(0.005)
        return True

    def has_caller(self) -> None:
        """A call that is up."""
        side = self.caller
        while not (side.dialog and side.dialog.up and not side.dialog.over and self.caller_leg):
            if self.caller_leg:
                self.engine.hang_up(self.caller_leg)
                self.until(lambda: not self.caller_leg)
            extra = (("Supported", "record-aware, 100rel, timer"),) if self.turn.random() < 0.5 else ()
            dialog = side.invite(*extra)
            if not self.until(lambda d=dialog: (d.up and self.caller_leg) or d.over, 1.0):  # type: ignore[misc]
                dialog.over = True
            if dialog.over:
                self.until(lambda: False, 0.05)  # no room for a moment
            else:
                self.engine.listen(self.caller_leg)
                self.kinds["calls"] += 1

    def has_phone(self) -> None:
        side = self.phone
        while not (side.dialog and side.dialog.up and not side.dialog.over and self.phone_leg):
            for leg in (self.phone_leg, self.ringing):
                if leg:
                    self.engine.hang_up(leg)
            self.until(lambda: not (self.phone_leg or self.ringing))
            side.dialog = side.asked = None
            self.phone_leg = self.engine.dial(side.own_uri, '"REC Ann"')
            asked = self.until(lambda: side.asked is not None or not self.phone_leg, 1.0)
            if not asked or not self.phone_leg:
                self.until(lambda: False, 0.05)
                continue
            side.answer_well()
            self.until(lambda: False, 0.02)
            self.engine.bridge(self.caller_leg, self.phone_leg)

    def has_asked(self) -> None:
        """The phone is asked something, and its answer is awaited."""
        side = self.phone
        if side.asked is not None and side.asked.played < PATIENCE:
            return
        side.answer_well()
        kind = self.turn.random()
        if kind < 0.5 and self.phone_leg and side.dialog and not side.dialog.over:
            leg = self.phone_leg
            if kind < 0.1:
                self.engine.refer(leg, side.own_uri)
            elif kind < 0.13:
                self.engine.hang_up(leg)
            elif kind < 0.2:
                self.engine.tell_transfer(leg, 200, False)
            else:
                self.engine.indicate(leg, self.turn.choice(("on", "off", "paused")))
            if self.until(lambda: side.asked is not None, 0.1):
                return
        if self.ringing:
            self.engine.hang_up(self.ringing)
            self.until(lambda: not self.ringing, 1.0)
        self.ringing = self.engine.dial(side.own_uri, '"REC Ann"')
        self.until(lambda: side.asked is not None or not self.ringing, 0.5)

    def play(self, one: Case, turn: random.Random) -> None:
        self.turn = turn
        self.kinds[one.where] += 1
        match one.where:
            case "phone":
                self.has_phone()
            case "reply":
                self.has_asked()
            case "caller" | "ack" | "rtp" | "rtcp":
                self.has_caller()
        (self.phone if one.where in ("phone", "reply") else self.caller).play(one)
        if turn.random() < 0.01 and self.caller_leg:
            self.engine.indicate(self.caller_leg, turn.choice(("on", "off", "paused")))
        self.work()
        self.work()
        if self.caller.asked and one.where != "reply":
            self.caller.answer_well()


def child(cases: Iterable[tuple[int, Case, random.Random]], progress: Path, srtp: str) -> None:
    """Play them; where it is stands in `progress`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()
    with progress.open("r+b") as file, mmap.mmap(file.fileno(), 16) as at, ExitStack() as stack:
        office = Office(stack, srtp)
        began = time.monotonic()
        for count, (index, one, turn) in enumerate(cases):
            at[:8] = struct.pack("q", index)
            office.play(one, turn)
            if count % 20000 == 0:
                _say(office, count, time.monotonic() - began)
        office.until(lambda: False, 0.2)
        at[:8] = struct.pack("q", -2)
        _say(office, count + 1, time.monotonic() - began)


def _say(office: Office, count: int, seconds: float) -> None:
    rss = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
    told = {
        "count": count,
        "s": round(seconds, 1),
        "mib": rss,
        "kinds": office.kinds,
        "faults": office.faults,
    }
    print(json.dumps(told), flush=True)


def main() -> None:
    """The child: PROGRESS SEED SRTP, and a file of cases, or the first index and how many."""
    progress, seed, srtp, *which = sys.argv[1:]
    if len(which) == 1:
        kept = json.loads(Path(which[0]).read_text())
        numbered: Iterator[tuple[int, Case]] = ((i, Case(w, t.encode("latin-1"))) for i, w, t in kept)
    else:
        first, count = map(int, which)
        numbered = ((i, case(int(seed), i)) for i in range(first, first + count))
    child(((i, one, random.Random(f"{seed}+{i}")) for i, one in numbered), Path(progress), srtp)
    os._exit(0)


def run(seed: int, srtp: str, *cases: object) -> tuple[str, int, str]:
    """A child to its end: what became of it, at which index, and what it said."""
    with tempfile.NamedTemporaryFile() as progress, tempfile.TemporaryFile("w+") as said:
        progress.write(struct.pack("qq", -1, 0))
        progress.flush()
        command = [sys.executable, "-m", "tests.attack.fuzz", progress.name, seed, srtp, *cases]
        words = [str(one) for one in command]
        process = subprocess.Popen(words, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        last, since, what = -1, time.monotonic(), ""
        while process.poll() is None:
            time.sleep(0.05)
            now = struct.unpack("q", Path(progress.name).read_bytes()[:8])[0]
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STILL_S:
                what = "hang"
                process.send_signal(signal.SIGABRT)  # faulthandler says where
                break
        now = struct.unpack("q", Path(progress.name).read_bytes()[:8])[0]
        code = process.wait()  # before the place in the file moves, which it shares
        said.seek(0)
        return what or ("" if code == 0 else f"ended with {code}"), now, said.read()


def hunt(seed: int, first: int, messages: int, srtp: str) -> int:
    """Go through them all; what ended it is told, of each kind the first case."""
    found: Counter[str] = Counter()
    at, end = first, first + messages
    while at < end:
        what, index, said = run(seed, srtp, at, end - at)
        if not what:
            print(said[-3000:], flush=True)
            break
        asserted = re.search(r"(\S+\.c:\d+: .*)", said)
        kind = f"{what}: {asserted[1] if asserted else 'no word'}"
        found[kind] += 1
        print(f"DEATH seed {seed} index {index}: {kind}", flush=True)
        if found[kind] == 1:
            print(f"{case(seed, index).where}\n{shown(case(seed, index).text)}\n{said[-3000:]}", flush=True)
        at = index + 1
    for kind, count in found.most_common():
        print(f"{count} times {kind}")
    print(f"seed {seed}: {messages} messages, {sum(found.values())} deaths", flush=True)
    return bool(found)


def shown(text: bytes) -> str:
    """Readable, with long runs written short."""
    return re.sub(
        rb"(.{1,4}?)\1{12,}",
        lambda found: found[1] + b"{x%d}" % (len(found[0]) // len(found[1])),
        text,
        flags=re.S,
    ).__repr__()[:1500]


def ended_by(cases: list[tuple[int, Case]], seed: int, srtp: str) -> str:
    """What becomes of an engine that is given these; empty where it lives."""
    with tempfile.NamedTemporaryFile("w") as file:
        json.dump([(i, one.where, one.text.decode("latin-1")) for i, one in cases], file)
        file.flush()
        return run(seed, srtp, file.name)[0]


if __name__ == "__main__":
    main()
