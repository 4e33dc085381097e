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

from tests.bench.load_site import CALLS_A_SECOND, LONGEST_S, SET_UP_S, Site, site, until
from tests.bench.proc import Spent, spent_s
from tests.bench.report import Row

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
            sip[level], whole, generator = (median(kind) for kind in zip(*costs, strict=True))
            yield Row(f"a short call beside {level}: its set-up and end, SIP thread", sip[level], None, "ms")
            yield Row(f"the same, all threads, with {SHORT_S:.1f} s of its sound", whole, None, "ms")
            yield Row("the generator meanwhile: share of a core", generator, None, "%")
    more = (max(sip.values()) / sip[levels[0]] - 1) * 100
    yield Row(f"SIP thread: more beside many than beside {levels[0]}", more, FLAT, "%", count=SHORT * TURNS)


def _short(place: Site, up: int) -> tuple[float, float, float]:
    """ms of CPU a short call: SIP threads, whole agent; what the generator takes, % of a core."""
    before = _Now.of(place)
    time.sleep(QUIET_S)
    began = _Now.of(place)
    place.call(SHORT, SHORT_S, SHORT_A_SECOND).wait(PATIENCE_S)
    until(lambda: place.recorded <= up, PATIENCE_S, "end of the short calls")
    time.sleep(CLOSED_S)  # for their files and rows
    ended = _Now.of(place)
    times = (ended.at - began.at) / (began.at - before.at)
    sip = ended.sip - began.sip - (began.sip - before.sip) * times
    whole = ended.whole - began.whole - (began.whole - before.whole) * times
    busy = (ended.generator - began.generator) / (ended.at - began.at)
    return sip * 1000 / SHORT, whole * 1000 / SHORT, busy * 100
