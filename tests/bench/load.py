"""`python -m tests.bench.load`: many recorded calls at once, what they cost and how they sound.

SIPp calls and answers, a generator of our own talks (load_rtp.py); all of it shares this machine. CPU is that
of the agent with all its processes, without the generator's and SIPp's.
"""

from __future__ import annotations

import sys
import time

import click
import numpy as np

from retention.sqlite import Store
from tests.bench import report
from tests.bench.load_beside import beside, short
from tests.bench.load_mark import GAP_MS, HOLE_MS, kept
from tests.bench.load_site import SET_UP_S, Site, site, until
from tests.bench.proc import Memory, Spent, spent_s
from tests.bench.report import Row

IDLE_S = 20.0  # less is counted in ticks of 10 ms
CLOSED_S = 60.0


def loaded(calls: int, seconds: float, voice: str | None, per_process: int | None) -> list[Row]:
    """All at once, for `seconds`; every process is gone afterwards."""
    with site(calls, voice, per_process) as place:
        return _loaded(place, seconds)


def _loaded(place: Site, seconds: float) -> list[Row]:
    root, generator, wanted = place.agent.pid, place.generator, place.calls
    time.sleep(2)  # what a start leaves to do
    before, idle_memory = Spent.now(root), Memory.now(root)
    time.sleep(IDLE_S)
    began = Spent.now(root)
    callers, up = place.call_all(seconds + 2)
    steady, talked = Spent.now(root), spent_s(generator.pid)
    time.sleep(seconds / 2)
    memory = Memory.now(root)
    time.sleep(seconds / 2)
    steadied, generator_s, dropped = Spent.now(root), spent_s(generator.pid) - talked, place.dropped()
    if callers.wait(300):
        print(f"SIPp: {callers.said()}", file=sys.stderr)
    rows = place.agent.wait_recordings(up, timeout=CLOSED_S)
    whole_s = Spent.now(root).since(began)
    heard = generator.finish()
    by_leg, streams = heard.by_leg(), heard.streams()
    recordings = [kept(place.agent.sound(row), not row["incomplete"], heard, by_leg) for row in rows]
    for one in recordings:
        if not one.whole:
            print(one, file=sys.stderr)

    n, many = max(up, 1), len(recordings)
    minutes = max(sum(one.seconds for one in recordings) / 60, 0.01)
    a_minute = steadied.since(steady) * 60 / seconds / n
    delays = np.concatenate([one.delays_ms for one in streams]) if streams else np.array([np.inf])
    longest = {
        kind: max((one.gaps_ms.max() for one in streams if one.kind == kind), default=np.inf)
        for kind in ("operator", "caller")
    }
    long_gaps = sum(int((one.gaps_ms > GAP_MS).sum()) for one in streams)
    said_s, skipped_s = (max(0.01, sum(one.said_s for one in streams)), sum(one.skipped_s for one in streams))
    lost = sum(one.lost_packets for one in streams) + dropped
    with_hole = sum(one.hole_ms > HOLE_MS for one in recordings)
    lost_here, whole = sum(one.lost_ms > 0 for one in recordings), sum(one.whole for one in recordings)
    hole = max((one.hole_ms for one in streams), default=np.inf)
    return [
        Row(f"calls of {wanted} that were not up at once", wanted - up, 0, count=wanted),
        Row("CPU per recorded call-minute", a_minute, 0.28, "s", count=n),
        Row("the same, with set-up and end", whole_s / minutes, 0.36, "s", count=n),
        Row("set-up and end alone, a call", (whole_s - a_minute * minutes) * 1000 / n, 40, "ms"),
        Row("cores in use meanwhile", steadied.since(steady) / seconds),
        Row("of that the edge", steadied.since(steady, "edge") / seconds),
        Row("of that the supervisor, or the lone process", steadied.since(steady, "root") / seconds),
        Row("CPU idle, no call, all processes", began.since(before) / IDLE_S * 100, 3, "%"),
        Row("memory per call (PSS)", memory.pss / n, 6, "MB", count=n),
        Row("the same, private alone", memory.private / n, None, "MB", count=n),
        Row("before the first call (PSS)", idle_memory.pss / n, None, "MB"),
        Row("delay that the bridge adds, p50", float(np.median(delays)), 45, "ms", count=len(delays)),
        Row("delay that the bridge adds, p99", float(np.percentile(delays, 99)), 80, "ms", count=len(delays)),
        Row("longest gap towards an operator", longest["operator"], GAP_MS, "ms", count=n),
        Row("longest gap towards a caller", longest["caller"], None, "ms", count=n),
        Row(f"gaps over {GAP_MS:g} ms", long_gaps, 0, count=len(delays)),
        Row("RTP lost, either way", lost, 0, count=len(delays)),
        Row("sound left out by the jitter buffer", skipped_s * 1000 / said_s, None, "‰"),
        Row("longest piece of it, in what a phone heard", hole, HOLE_MS, "ms"),
        Row(f"recordings with a hole over {HOLE_MS:g} ms", with_hole, 0, count=many),
        Row("recordings without what the other phone heard", lost_here, 0, count=many),
        Row("recordings not complete and aligned", up - whole, 0, count=many),
        Row("generator: share of a core", generator_s / seconds * 100, 15, "%", count=2 * n),
        Row("generator: late by, p99", heard.late_ms(), 5, "ms", count=len(heard.sent)),
        Row("generator: packets without room", heard.drops, 0),
    ]  # fmt: skip


# --- more than it carries ---

OFFERED_S, TALK_S = 45.0, 20.0


def overload(calls: int, times: int, per_process: int | None, real_time: bool = True) -> list[Row]:
    """For 45 s so many come that `times` as many as `calls` would be up; there are places for twice as many.

    Who is refused at once, and whose call goes on, has no share in what is too much.
    """
    with site(2 * calls, None, per_process, real_time=real_time) as place:
        rate = times * calls / (SET_UP_S + TALK_S)
        offered, began = round(rate * OFFERED_S), place.events("child_started")
        callers = place.call(offered, SET_UP_S + TALK_S, rate)
        until(lambda: not callers.child.running, OFFERED_S + SET_UP_S + TALK_S + PATIENCE_S)
        taken, refused = callers.counts().get("200", 0), callers.counts().get("503", 0)
        until(lambda: all(row["ended_at"] for row in place.agent.receipts()), CLOSED_S)
        receipts, rows = place.agent.receipts(), place.agent.recordings()
        killed = sum("is killed" in str(one.get("reason")) for one in place.agent.log_events)
        died = place.events("child_started") - began
        said = place.events("late")
        streams = place.generator.finish().streams()
        refused_ms = callers.times_ms("refusal") or [0.0]
    ends = [(row["connected_at"], 1) for row in receipts if row["connected_at"]]
    ends += [(row["ended_at"], -1) for row in receipts if row["connected_at"]]
    most = int(np.cumsum([one for _, one in sorted(ends)]).max(initial=0))
    talked = sum(row["outcome"] == "connected" for row in receipts)
    late = sum(event["by"] == "edge: late" for row in receipts for event in row["events"])
    gaps = {
        kind: sum(bool((one.gaps_ms > GAP_MS).any()) for one in streams if one.kind == kind)
        for kind in ("caller", "operator")
    }
    longest = max((one.gaps_ms.max() for one in streams), default=0.0)
    name = f"{times} × {calls} calls, {rate:.1f} a second"
    return [
        Row(f"{name}: taken", taken, count=offered),
        Row("most of them up at once", most, count=taken),
        Row("refused with 503", refused, count=offered),
        Row("of these since the machine was late, by receipts", late, count=refused),
        Row("how often the edge was told so", said),
        Row("INVITE → 503, p95", report.percentile(refused_ms), 500, "ms", count=len(refused_ms)),
        Row("failed instead: another answer, or none", offered - taken - refused, 0, count=offered),
        Row("taken, and not connected with an operator", taken - talked, 0, count=taken),
        Row("callers who heard a gap over 60 ms", gaps["caller"], 0, count=talked),
        Row("operators who heard one", gaps["operator"], 0, count=talked),
        Row("longest gap", float(longest), GAP_MS, "ms", count=len(streams)),
        Row("recordings not complete", sum(bool(row["incomplete"]) for row in rows), 0, count=len(rows)),
        Row("workers killed, or dead", max(killed, died), 0),
    ]  # fmt: skip


# --- floods ---

CALLS, TALKING = 12, 4
CALLERS, CALLER_RATE = 2000, 200.0
STRANGERS, STRANGER_RATE = 5000, 1000.0
STRANGER = "127.0.0.2"
FLOODS_S = CALLERS / CALLER_RATE + STRANGERS / STRANGER_RATE
PATIENCE_S = 60.0
TOLD_S = 75.0  # within which the last ones are told of: in a receipt at once, in a sum after a minute


def bursts() -> list[Row]:
    """Four calls talk; 2,000 come at 200/s for the eight places left, then a stranger's at 1,000/s."""
    with site(CALLS) as place:
        talking = place.call(TALKING, SET_UP_S + FLOODS_S + 25, TALKING)
        until(lambda: place.recorded == TALKING, PATIENCE_S, "calls in progress")
        began = place.events("child_started")
        flood = place.call(CALLERS, CALLERS / CALLER_RATE + 10, CALLER_RATE)
        until(lambda: flood.answered >= CALLERS, PATIENCE_S, "end of the flood")
        taken, refused = flood.counts().get("200", 0), flood.counts().get("503", 0)
        recorded, offered = place.recorded, place.events("call_offered")
        strangers = place.call(STRANGERS, 1, STRANGER_RATE, source=STRANGER, again=False)
        time.sleep(STRANGERS / STRANGER_RATE + 2)
        answered, sent = strangers.answered, strangers.invited
        strangers.child.stop()
        seen = place.events("call_offered") - offered
        died = place.events("child_started") - began
        talking.wait(PATIENCE_S)
        flood.wait(PATIENCE_S)
        callers = TALKING + CALLERS
        until(lambda: len(_told(place)[0]) + _told(place)[1] >= callers, TOLD_S)
        calls, summed = _told(place)
        gaps = [float(one.gaps_ms.max()) for one in place.generator.finish().streams()]
    return [
        Row("200 INVITEs a second for 10 s: places left free", CALLS - TALKING - taken, 0, count=CALLERS),
        Row("calls among them that were not recorded", CALLS - recorded, 0, count=CALLS),
        Row("neither taken nor refused with full_status", CALLERS - taken - refused, 0, count=CALLERS),
        Row("calls in no receipt and no sum", abs(callers - len(calls) - summed), 0, count=callers),
        Row("a stranger's 1,000 a second: seen by a worker", seen, 0, count=sent),
        Row("answered", answered, 0, count=sent),
        Row("processes that died", died, 0),
        Row("longest gap in any call meanwhile", max(gaps, default=np.inf), GAP_MS, "ms", count=len(gaps)),
    ]


def _told(place: Site) -> tuple[list[str | None], int]:
    """The Call-ID of each receipt, and how many calls are in sums."""
    with Store(place.agent.directory / "retention.db") as store:
        return [row.call_id for row in store.receipts()], sum(one.count for one in store.each_sum())


@click.command()
@click.option("--calls", default=100, show_default=True, help="Calls at once.")
@click.option("--seconds", default=30.0, show_default=True, help="How long all of them are up.")
@click.option(
    "--only",
    type=click.Choice(["calls", "beside", "short", "overload", "bursts"]),
    multiple=True,
    help="A part of it.",
)
@click.option(
    "--voice",
    type=click.Choice(["key", "key+voice"]),
    help="With a detector: in the window alone, where callers say nothing, or in the call, too.",
)
@click.option("--per-process", type=int, help="Calls that one process takes, where it can take more.")
@click.option("--real-time/--no-real-time", default=True, help="For the agent's threads, in the overload.")
@report.as_json_option
def main(  # noqa: PLR0917 - click gives them by name
    calls: int,
    seconds: float,
    only: tuple[str, ...],
    voice: str | None,
    per_process: int | None,
    real_time: bool,
    as_json: bool,
) -> None:
    """Put load on the agent; exit 1 where a target is missed. Ctrl-C ends all of it."""
    parts = {
        "calls": lambda: loaded(calls, seconds, voice, per_process),
        "beside": lambda: beside(calls, per_process),
        "short": lambda: short(calls, per_process),
        "overload": lambda: [
            row for times in (2, 4) for row in overload(calls, times, per_process, real_time)
        ],
        "bursts": bursts,
    }
    report.finish(f"sipagent, {calls} recorded calls at once, overload and bursts", as_json, parts, only)


if __name__ == "__main__":
    main()
