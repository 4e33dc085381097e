"""`python -m tests.bench.load`: many recorded calls at once, what they cost and how they sound.

SIPp calls and answers, a generator of our own talks (load_rtp.py); all of it shares this machine. CPU is that
of the agent with all its processes, without the generator's and SIPp's.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import dataclass

import click
import numpy as np
from numpy.typing import NDArray

from tests.bench import report
from tests.bench.load_burst import bursts
from tests.bench.load_cost import Memory, Spent, spent_s
from tests.bench.load_heard import GAP_MS, Heard, Stream
from tests.bench.load_kept import HOLE_MS, Kept, kept
from tests.bench.load_overload import overload
from tests.bench.load_site import SET_UP_S, Site, site
from tests.bench.report import Row
from tests.peers.agent import Json, RunningAgent
from tests.peers.process import PeerError

IDLE_S = 20.0  # less is counted in ticks of 10 ms
RATE = 8.0  # new calls a second


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured; CPU in s, `steady_s` of them while all calls were up for `seconds`."""

    wanted: int
    up: int
    seconds: float
    steady_s: float
    edge_s: float
    root_s: float
    whole_s: float
    idle_s: float
    generator_s: float
    memory: Memory
    idle_memory: Memory
    dropped: int  # RTP that came while a socket of the agent's was full
    heard: Heard
    streams: list[Stream]
    recordings: list[Kept]


def measure(calls: int, seconds: float, voice: str | None = None, per_process: int | None = None) -> Run:
    """All at once, for `seconds`; every process is gone afterwards."""
    with site(calls, voice, per_process) as place:
        return _measure(place, seconds)


def _measure(place: Site, seconds: float) -> Run:
    calls, roots, generator = place.calls, [place.agent.pid], place.generator
    time.sleep(2)  # what a start leaves to do
    before, idle_memory = Spent.now(roots), Memory.now(roots)
    time.sleep(IDLE_S)
    began = Spent.now(roots)
    callers = place.call(calls, calls / RATE + SET_UP_S + seconds + 2, RATE)
    up = wait_up(place)
    steady, talked = Spent.now(roots), spent_s(generator.pid)
    time.sleep(seconds / 2)
    memory = Memory.now(roots)
    time.sleep(seconds / 2)
    steadied, generator_s, dropped = Spent.now(roots), spent_s(generator.pid) - talked, place.dropped()
    if callers.wait(300):
        print(f"SIPp: {callers.said()}", file=sys.stderr)
    recordings = _wait_closed(place.agent, up)
    ended = Spent.now(roots)
    heard = generator.finish()
    by_leg = heard.by_leg()
    return Run(
        wanted=calls, up=up, seconds=seconds,
        steady_s=steadied.since(steady), edge_s=steadied.of_role_since("edge", steady),
        root_s=steadied.of_role_since("root", steady), whole_s=ended.since(began),
        idle_s=began.since(before) / IDLE_S, generator_s=generator_s, dropped=dropped,
        memory=memory, idle_memory=idle_memory, heard=heard, streams=heard.streams(),
        recordings=[_kept(place.agent, row, heard, by_leg) for row in recordings],
    )  # fmt: skip


def _kept(agent: RunningAgent, row: Json, heard: Heard, by_leg: dict[int, NDArray[np.uint32]]) -> Kept:
    closed = row["status"] == "closed" and not row["incomplete"]
    return kept(agent.sound(row), closed, heard, by_leg)


def wait_up(place: Site) -> int:
    """Until as many recordings are in progress as calls were made, or no more come; how many."""
    up, since = 0, time.monotonic()
    while up < place.calls and time.monotonic() - since < SET_UP_S + 5:
        time.sleep(0.2)
        if (now := place.recorded) > up:
            up, since = now, time.monotonic()
    return up


def _wait_closed(agent: RunningAgent, calls: int) -> list[Json]:
    """The recordings, once they are closed."""
    until = time.monotonic() + 60
    while True:
        rows = agent.recordings()
        if sum(row["status"] == "closed" for row in rows) >= calls:
            return rows
        if time.monotonic() > until:
            raise PeerError(f"{calls} calls, and after 60 s only {[row['status'] for row in rows]}")
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
    with_hole = sum(one.hole_ms > HOLE_MS for one in run.recordings)
    lost_here = sum(one.lost_ms > 0 for one in run.recordings)
    hole = max((one.hole_ms for one in run.streams), default=np.inf)
    n = run.up
    a_minute = run.steady_s * 60 / run.seconds / max(n, 1)
    return [
        Row(f"calls of {run.wanted} that were not up at once", run.wanted - run.up, 0, "", count=run.wanted),
        Row("CPU per recorded call-minute", a_minute, 0.28, "s", count=n),
        Row("the same, with set-up and end", run.whole_s / max(minutes, 0.01), 0.36, "s", count=n),
        Row("set-up and end alone, a call", (run.whole_s - a_minute * minutes) * 1000 / max(n, 1), 40, "ms"),
        Row("cores in use meanwhile", run.steady_s / run.seconds, None, ""),
        Row("of that the edge", run.edge_s / run.seconds, None, ""),
        Row("of that the supervisor, or the lone process", run.root_s / run.seconds, None, ""),
        Row("CPU idle, no call, all processes", run.idle_s * 100, 3, "%"),
        Row("memory per call (PSS)", run.memory.pss / max(n, 1), 6, "MB", count=n),
        Row("the same, private alone", run.memory.private / max(n, 1), None, "MB", count=n),
        Row("before the first call (PSS)", run.idle_memory.pss / max(n, 1), None, "MB"),
        Row("delay that the bridge adds, p50", float(np.median(delays)), 45, "ms", count=len(delays)),
        Row("delay that the bridge adds, p99", float(np.percentile(delays, 99)), 80, "ms", count=len(delays)),
        Row("longest gap towards an operator", max(gaps["operator"], default=np.inf), GAP_MS, "ms", count=n),
        Row("longest gap towards a caller", max(gaps["caller"], default=np.inf), None, "ms", count=n),
        Row(f"gaps over {GAP_MS:g} ms", long_gaps, 0, "", count=len(delays)),
        Row("RTP lost, either way", lost, 0, "", count=len(delays)),
        Row("sound left out by the jitter buffer", skipped_s * 1000 / max(said_s, 0.01), None, "‰"),
        Row("longest piece of it, in what a phone heard", hole, HOLE_MS, "ms"),
        Row(f"recordings with a hole over {HOLE_MS:g} ms", with_hole, 0, "", count=len(run.recordings)),
        Row("recordings without what the other phone heard", lost_here, 0, "", count=len(run.recordings)),
        Row("recordings not complete and aligned", n - whole, 0, "", count=len(run.recordings)),
        Row("generator: share of a core", run.generator_s / run.seconds * 100, 15, "%", count=2 * n),
        Row("generator: late by, p99", run.heard.late_ms(), 5, "ms", count=len(run.heard.sent)),
        Row("generator: packets without room", run.heard.drops, 0, ""),
    ]  # fmt: skip


@click.command()
@click.option("--calls", default=100, show_default=True, help="Calls at once.")
@click.option("--seconds", default=30.0, show_default=True, help="How long all of them are up.")
@click.option("--only", type=click.Choice(["calls", "bursts", "overload"]), help="One part of it.")
@click.option(
    "--voice",
    type=click.Choice(["key", "key+voice"]),
    help="With a detector: in the window alone, where callers say nothing, or in the call, too.",
)
@click.option("--per-process", type=int, help="Calls that one process takes, where it can take more.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(  # noqa: PLR0917 - click gives them by name
    calls: int, seconds: float, only: str | None, voice: str | None, per_process: int | None, as_json: bool
) -> None:
    """Put load on the agent; exit 1 where a target is missed. Ctrl-C ends all of it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found: list[Row] = []
    if only in (None, "calls"):
        run = measure(calls, seconds, voice, per_process)
        for one in run.recordings:
            if not one.whole:
                print(one, file=sys.stderr)
        found += rows(run)
    if only in (None, "bursts"):
        found += bursts()
    if only in (None, "overload"):
        found += overload()
    sys.exit(report.show(found, as_json, f"sipagent, {calls} recorded calls at once, bursts and overload"))


if __name__ == "__main__":
    main()
