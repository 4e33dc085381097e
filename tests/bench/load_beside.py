"""What a call's set-up and end cost beside others that are up: with them it must not grow.

Some calls stay up; short ones come and go beside them, for a while, then none for a while. What the agent
spends more meanwhile, less what the short ones' sound costs as that of the others does, is theirs. Of each
worker the SIP thread, which is its first, is counted apart.
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
TURNS, QUIET_S, CLOSED_S = 3, 6.0, 2.0
PATIENCE_S = 60.0
FLAT = 15.0  # % that a call may cost more beside many than beside few


@dataclass(frozen=True, slots=True)
class _Now:
    """CPU s so far: of the SIP threads, of the whole agent, of who calls it; and when (monotonic s)."""

    sip: float
    whole: float
    others: float
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
    sip, whole = {}, {}
    with site(calls + SHORT, per_process=per_process) as place:
        up = 0
        for level in levels:
            place.call(level - up, LONGEST_S, CALLS_A_SECOND)
            up = level
            until(lambda: place.recorded >= up, PATIENCE_S, f"{up} calls up")  # noqa: B023
            costs = [_short(place, up) for _ in range(TURNS)]
            sip[level], whole[level], others = (median(kind) for kind in zip(*costs, strict=True))
            yield Row(
                f"set-up and end of a call beside {level}: SIP thread", sip[level], None, "ms", count=SHORT
            )
            yield Row("the same, the whole agent", whole[level], None, "ms", count=SHORT)
            yield Row("the generator meanwhile, of a core", others, None, "%")
    for name, found in (("SIP thread", sip), ("whole agent", whole)):
        more = (max(found.values()) / found[levels[0]] - 1) * 100
        yield Row(f"more beside many than beside {levels[0]}: {name}", more, FLAT, "%", count=len(levels))


def _short(place: Site, up: int) -> tuple[float, float, float]:
    """ms of CPU a short call: SIP threads, whole agent; what the generator takes, % of a core."""
    before = _Now.of(place)
    time.sleep(QUIET_S)
    began = _Now.of(place)
    place.call(SHORT, SHORT_S, SHORT_A_SECOND).wait(PATIENCE_S)
    until(lambda: place.recorded <= up, PATIENCE_S, "end of the short calls")
    time.sleep(CLOSED_S)  # for their files and rows
    ended = _Now.of(place)
    quiet_s, lasted = began.at - before.at, ended.at - began.at
    talked = SHORT * SHORT_S / up
    sip = ended.sip - began.sip - (began.sip - before.sip) / quiet_s * lasted
    whole = ended.whole - began.whole - (began.whole - before.whole) / quiet_s * (lasted + talked)
    return sip * 1000 / SHORT, whole * 1000 / SHORT, (ended.others - began.others) / lasted * 100
