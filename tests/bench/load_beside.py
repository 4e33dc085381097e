"""What a call's set-up and end cost beside others that are up: with them it must not grow.

Some calls stay up; short ones come and go beside them, for a while, then none for a while. What the agent
spends more meanwhile is theirs. Of each process but the edge the SIP thread, which is its first, is counted
apart: the sound of all calls is other threads'.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench.load_mark import GAP_MS
from tests.bench.load_site import CALLS_A_SECOND, LONGEST_S, SET_UP_S, Site, site, until
from tests.bench.proc import Spent, spent_s
from tests.bench.report import Row, of

LEVELS = (10, 50, 100, 250)
SHORT, SHORT_S, SHORT_A_SECOND = 40, SET_UP_S + 1, 5.0
ROOM = 25  # of the short ones, at once
TURNS, QUIET_S, CLOSED_S = 3, 6.0, 2.0
PATIENCE_S = 90.0
FLAT = 15.0  # % that a call may cost more beside many than beside few


@dataclass(frozen=True, slots=True)
class _Now:
    """CPU s so far of the SIP threads, of the whole agent, of the generator; and when (monotonic s)."""

    sip: float
    whole: float
    generator: float
    at: float

    @classmethod
    def of(cls, place: Site) -> _Now:
        spent, sip = Spent.now(place.agent.pid), 0
        for pid in (pid for pid, role in spent.roles.items() if role != "edge"):
            with suppress(OSError):
                sip += int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0])
        return cls(sip / 1e9, sum(spent.by_pid.values()), spent_s(place.generator.pid), time.monotonic())


def beside(calls: int, per_process: int | None) -> Iterator[Row]:
    """Beside 10 calls, 50, … as far as `calls`, all in one run."""
    levels = [level for level in LEVELS if level < calls] + [calls]
    sip = {}
    with site(calls + ROOM, per_process=per_process) as place:
        up = 0
        for level in levels:
            place.call(level - up, LONGEST_S, CALLS_A_SECOND)
            up = level
            until(lambda: place.recorded >= up, PATIENCE_S, f"{up} calls up")  # noqa: B023
            costs = [_short(place, up) for _ in range(TURNS)]
            sip[level], whole, generator = (
                median(kind) for kind in zip(*(cost[:3] for cost in costs), strict=True)
            )
            answers = [ms for cost in costs for ms in cost[3]]
            yield Row(f"a short call beside {level}: its set-up and end, SIP thread", sip[level], None, "ms")
            yield Row(f"the same, all threads, with {SHORT_S:.1f} s of its sound", whole, None, "ms")
            yield of(f"INVITE → 200 beside {level}", answers, None)
            yield Row("the generator meanwhile: share of a core", generator, None, "%")
    more = (max(sip.values()) / sip[levels[0]] - 1) * 100
    yield Row(f"SIP thread: more beside many than beside {levels[0]}", more, FLAT, "%", count=SHORT * TURNS)


def _short(place: Site, up: int) -> tuple[float, float, float, list[float]]:
    """ms of CPU a short call: SIP threads, whole agent; % of a core of the generator; ms to its 200."""
    before = _Now.of(place)
    time.sleep(QUIET_S)
    began = _Now.of(place)
    callers = place.call(SHORT, SHORT_S, SHORT_A_SECOND)
    callers.wait(PATIENCE_S)
    until(lambda: place.recorded <= up, PATIENCE_S, "end of the short calls")
    time.sleep(CLOSED_S)  # for their files and rows
    ended = _Now.of(place)
    times = (ended.at - began.at) / (began.at - before.at)
    sip = ended.sip - began.sip - (began.sip - before.sip) * times
    whole = ended.whole - began.whole - (began.whole - before.whole) * times
    busy = (ended.generator - began.generator) / (ended.at - began.at)
    return sip * 1000 / SHORT, whole * 1000 / SHORT, busy * 100, callers.times_ms("answer")


RATES, RATE_S = (10, 15, 20, 25, 30, 40, 50, 60), 15.0


def short(calls: int, per_process: int | None) -> Iterator[Row]:
    """More and more short calls a second, 15 s of each rate, until one fails or has a gap."""
    sustained = 0
    for rate in RATES:
        if rate * (SHORT_S + 1) > calls:
            yield Row(f"{rate} short calls a second would take more than {calls} places", rate)
            break
        with site(calls, per_process=per_process) as place:
            time.sleep(QUIET_S)  # what a start leaves to do
            offered = round(rate * RATE_S)
            callers = place.call(offered, SHORT_S, rate)
            until(lambda: not callers.child.running, RATE_S + SHORT_S + PATIENCE_S)  # noqa: B023
            taken, answers = callers.counts().get("200", 0), callers.times_ms("answer")
            longest = place.generator.finish().longest_gaps_ms("caller")
        gaps = sum(ms > GAP_MS for ms in longest)
        yield of(f"{rate} short calls a second: INVITE → 200", answers or [0.0], None)
        yield Row("refused, or failed", offered - taken, 0, count=offered)
        yield Row("callers who heard a gap over 60 ms", gaps, 0, count=len(longest))
        yield Row("longest gap", max(longest, default=0.0), None, "ms", count=len(longest))
        if gaps or taken < offered:
            break
        sustained = rate
    yield Row("short calls a second that are sustained", sustained)
