"""What the agent costs in CPU (from /proc), idle and with two recorded calls; how its channels lie; and what
a command costs that does little."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from sipagent.softphone.phone import Call
from sipagent.softphone.rtp import RATE, Silence
from tests.bench.latency import MS, answering
from tests.bench.load_cost import Spent
from tests.bench.office import CALLER_HZ, OPERATOR_HZ, Office
from tests.live.calls import chirp, place_of


def share(root: int, seconds: float) -> float:
    """The share of a core that the agent takes over the next `seconds`; without edge and supervisor."""
    began, before = time.monotonic(), Spent.now([root])
    threading.Event().wait(seconds)
    now = Spent.now([root])
    name = "worker" if "worker" in now.roles.values() else "root"
    return now.of_role_since(name, before) / (time.monotonic() - began)


def of_command(*words: str) -> float:
    """CPU seconds, user and system, of `sipagent` with these words, or of `import click` without any."""
    program = ("-m", "sipagent", *words) if words else ("-c", "import click")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *program], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True, slots=True)
class Cost:
    """Shares of a core; `calls` recorded calls were up for `seconds`."""

    idle: float
    busy: float
    calls: int
    seconds: float

    @property
    def per_call_minute_s(self) -> float:
        return self.busy * 60 / self.calls

    @property
    def marginal_s(self) -> float:
        return (self.busy - self.idle) * 60 / self.calls


def cost(office: Office, seconds: float) -> Cost:
    """Idle first, with no call yet; then all callers talk with all operators."""
    idle = share(office.agent.pid, seconds)
    answering(office)
    ends = [connect(office, index) for index in range(len(office.callers))]
    office.agent.wait_files(lambda files: sum(f.endswith(".part") for f in files) == len(ends))
    frames = [end.rtp.sent_frames for pair in ends for end in pair]
    busy = share(office.agent.pid, seconds)
    flowed = [end.rtp.sent_frames - n for n, end in zip(frames, (e for p in ends for e in p), strict=True)]
    assert min(flowed) > seconds * 45, f"sound stopped on a leg: {flowed}"
    for caller, operator in ends:
        caller.hang_up()
        operator.wait_ended()
    office.agent.wait_recordings(len(ends))
    return Cost(idle, busy, len(ends), seconds)


def connect(office: Office, index: int) -> tuple[Call, Call]:
    """One caller with whichever operator is free."""
    known = {id(one) for phone in office.operators for one in phone.calls}
    call = office.callers[index].call(office.agent.uri())
    call.wait_answered()

    def new() -> list[Call]:
        return [one for p in office.operators for one in p.calls if id(one) not in known and one.answered_ns]

    office.loop.wait_for(lambda: bool(new()), 15, "operator")
    call.rtp.wait_tone(OPERATOR_HZ)
    new()[0].rtp.wait_tone(CALLER_HZ)
    return call, new()[0]


def channel_offsets(office: Office, phases_ms: tuple[float, ...]) -> list[float]:
    """Between the channels, ms: the same sweep said by both at once, whatever the phase of their frames."""
    answering(office)
    offsets = []
    for count, phase_ms in enumerate(phases_ms, 1):
        for phone in office.operators:
            phone.phase_ms = phase_ms
        caller, operator = connect(office, 0)
        for end in (caller.rtp, operator.rtp):
            end.play(Silence())
        at_ns = office.loop.next_frame_ns() + 500 * MS
        for end in (caller.rtp, operator.rtp):
            end.overlay(chirp(), at_ns)
        sent = caller.rtp.sent_frames
        office.loop.wait_for(lambda c=caller, s=sent: c.rtp.sent_frames > s + 60, 10, "sweep")  # type: ignore[misc]
        caller.hang_up()
        operator.wait_ended()
        newest = office.agent.wait_recordings(count)[-1]
        sound = office.agent.sound(newest)
        left, right = (place_of(chirp(), sound[:, channel]) for channel in (0, 1))
        offsets.append((right - left) * 1000 / RATE - phase_ms)
    return offsets
