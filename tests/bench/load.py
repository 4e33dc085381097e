"""`python -m tests.bench.load`: many recorded calls at once, what they cost and how they sound.

SIPp calls and answers, a generator of our own talks (load_rtp.py); all of it shares this machine. CPU is that
of the agent with all its processes, without the generator's and SIPp's.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from tests.bench import report
from tests.bench.cpu import spent_s
from tests.bench.load_cost import Memory, Spent
from tests.bench.load_heard import GAP_MS, Heard, Stream
from tests.bench.load_kept import Kept, kept
from tests.bench.load_rtp import Generator
from tests.bench.load_sip import Callers, Operators
from tests.bench.load_site import NOTICE_S, WINDOW_S, Site, ports_for, singles, supervised
from tests.bench.report import Row
from tests.peers.agent import ROOT, Json, RunningAgent
from tests.peers.process import PeerError

SOUND = ROOT / "prompts/fr/notice.wav"
SET_UP_S = NOTICE_S + WINDOW_S + 2  # from INVITE to the bridge, with room
RATE = 8.0  # new calls a second


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured; CPU in s, `steady_s` of them while all calls were up for `seconds`."""

    wanted: int
    up: int
    seconds: float
    steady_s: float
    edge_s: float
    supervisor_s: float
    whole_s: float
    idle_s: float
    generator_s: float
    memory: Memory
    idle_memory: Memory
    dropped: int  # RTP that came while a socket of the agent's was full
    heard: Heard
    streams: list[Stream]
    recordings: list[Kept]


def measure(calls: int, seconds: float, alone: int) -> Run:
    """All at once, for `seconds`; every process is gone afterwards. `alone`: calls on each lone process."""
    rtp = ports_for(calls, alone or 2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-load-")))
        generator = Generator(SOUND, folder)
        stack.callback(generator.close)
        operators = Operators(folder, generator.ports[1])
        stack.callback(operators.close)
        if alone:
            shares = [min(alone, calls - first) for first in range(0, calls, alone)]
            site = singles(stack, folder, operators, shares, rtp)
        else:
            site = supervised(stack, folder, operators, calls, rtp)
        return _measure(_Scene(stack, folder, site, generator), calls, seconds)


@dataclass(frozen=True, slots=True)
class _Scene:
    stack: ExitStack
    folder: Path
    site: Site
    generator: Generator


def _measure(scene: _Scene, calls: int, seconds: float) -> Run:
    site, generator = scene.site, scene.generator
    time.sleep(2)  # what a start leaves to do
    before = Spent.now(site.pids)
    idle_memory = Memory.now(site.pids)
    time.sleep(5)
    began = Spent.now(site.pids)
    idle_s = began.since(before) / 5
    callers = _call(scene, seconds)
    up = _wait_up(site, calls)
    steady, talked = Spent.now(site.pids), spent_s(generator.pid)
    time.sleep(seconds / 2)
    memory = Memory.now(site.pids)
    time.sleep(seconds / 2)
    dropped = site.dropped()
    steadied, generator_s = Spent.now(site.pids), spent_s(generator.pid) - talked
    for one in callers:
        if one.wait(300):
            print(f"SIPp: {one.said()}", file=sys.stderr)
    rows = _wait_closed(site, up)
    ended = Spent.now(site.pids)
    heard = generator.finish()
    return Run(
        wanted=calls, up=up, seconds=seconds,
        steady_s=steadied.since(steady), edge_s=steadied.of_role_since("edge", steady),
        supervisor_s=steadied.of_role_since("root", steady),
        whole_s=ended.since(began), idle_s=idle_s, generator_s=generator_s,
        dropped=dropped,
        memory=memory, idle_memory=idle_memory, heard=heard, streams=heard.streams(),
        recordings=[kept(agent, row, heard) for agent, row in rows],
    )  # fmt: skip


def _call(scene: _Scene, seconds: float) -> list[Callers]:
    """All callers, one after the other, each until all have been there for `seconds`."""
    targets, media = scene.site.targets, scene.generator.ports[0]
    calls = sum(target.calls for target in targets)
    length = calls / RATE + SET_UP_S + seconds + 2
    found: list[Callers] = []
    for target in targets:
        one = Callers(scene.folder, target.address, media, calls=target.calls, rate=RATE, seconds=length)
        scene.stack.callback(one.close)
        found.append(one)
        if len(targets) > 1:
            time.sleep(target.calls / RATE)
    return found


def _wait_up(site: Site, calls: int) -> int:
    """Until as many recordings are in progress as calls were made, or no more come; how many."""
    up, since = 0, time.monotonic()
    while up < calls and time.monotonic() - since < SET_UP_S + 5:
        time.sleep(0.2)
        now = sum(one.endswith(".part") for agent in site.agents for one in agent.files())
        if now > up:
            up, since = now, time.monotonic()
    return up


def _wait_closed(site: Site, calls: int) -> list[tuple[RunningAgent, Json]]:
    """The recordings, each with its agent, once they are closed."""
    until = time.monotonic() + 60
    while True:
        rows = [(agent, row) for agent in site.agents for row in agent.recordings()]
        if sum(row["status"] == "closed" for _, row in rows) >= calls:
            return rows
        if time.monotonic() > until:
            raise PeerError(f"{calls} calls, and after 60 s only {[row['status'] for _, row in rows]}")
        time.sleep(0.3)


def rows(run: Run) -> list[Row]:
    """The table."""
    minutes = sum(one.seconds for one in run.recordings) / 60
    delays = np.concatenate([one.delays_ms for one in run.streams]) if run.streams else np.array([np.inf])
    gaps = {
        kind: [one.gaps_ms.max() for one in run.streams if one.kind == kind]
        for kind in ("operator", "caller")
    }
    long_gaps = sum(int((one.gaps_ms > GAP_MS).sum()) for one in run.streams)
    said_s = sum(one.said_s for one in run.streams)
    skipped_s = sum(one.skipped_s for one in run.streams)
    lost = sum(one.lost_packets for one in run.streams) + run.dropped
    whole = sum(one.whole for one in run.recordings)
    n = run.up
    return [
        Row(f"calls of {run.wanted} that were not up at once", run.wanted - run.up, 0, "", count=run.wanted),
        Row("CPU per recorded call-minute", run.steady_s * 60 / run.seconds / max(n, 1), 0.65, "s", count=n),
        Row("the same, with set-up and end", run.whole_s / max(minutes, 0.01), None, "s", count=n),
        Row("cores in use meanwhile", run.steady_s / run.seconds, None, ""),
        Row("of that the edge", run.edge_s / run.seconds, None, ""),
        Row("of that the supervisor, or the lone process", run.supervisor_s / run.seconds, None, ""),
        Row("CPU idle, no call", run.idle_s * 100, None, "%"),
        Row("memory per call (PSS)", run.memory.pss / max(n, 1), 20, "MB", count=n),
        Row("the same, private alone", run.memory.private / max(n, 1), None, "MB", count=n),
        Row("before the first call (PSS)", run.idle_memory.pss / max(n, 1), None, "MB"),
        Row("delay that the bridge adds, p50", float(np.median(delays)), 45, "ms", count=len(delays)),
        Row("delay that the bridge adds, p99", float(np.percentile(delays, 99)), 80, "ms", count=len(delays)),
        Row("longest gap towards an operator", max(gaps["operator"], default=np.inf), GAP_MS, "ms", count=n),
        Row("longest gap towards a caller", max(gaps["caller"], default=np.inf), None, "ms", count=n),
        Row(f"gaps over {GAP_MS:g} ms", long_gaps, 0, "", count=len(delays)),
        Row("RTP lost, either way", lost, 0, "", count=len(delays)),
        Row("sound left out by the jitter buffer", skipped_s * 1000 / max(said_s, 0.01), None, "‰"),
        Row("recordings not complete and aligned", n - whole, 0, "", count=len(run.recordings)),
        Row("generator: share of a core", run.generator_s / run.seconds * 100, 15, "%", count=2 * n),
        Row("generator: late by, p99", run.heard.late_ms(), 5, "ms", count=len(run.heard.sent)),
        Row("generator: packets without room", run.heard.drops, 0, ""),
    ]  # fmt: skip


@click.command()
@click.option("--calls", default=100, show_default=True, help="Calls at once.")
@click.option("--seconds", default=30.0, show_default=True, help="How long all of them are up.")
@click.option("--alone", default=0, help="Lone processes of so many calls instead, and nothing in front.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(calls: int, seconds: float, alone: int, as_json: bool) -> None:
    """Put load on agents; exit 1 where a target is missed. Ctrl-C ends all of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    run = measure(calls, seconds, alone)
    for one in run.recordings:
        if not one.whole:
            print(one, file=sys.stderr)
    sys.exit(report.show(rows(run), as_json, f"sipagent, {calls} recorded calls at once"))


if __name__ == "__main__":
    main()
