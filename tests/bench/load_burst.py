"""What floods do to the calls in progress, and to the processes: callers beyond all room, and strangers."""

from __future__ import annotations

import time
from collections.abc import Callable

from retention.sqlite import Store
from tests.bench.load_heard import GAP_MS
from tests.bench.load_sip import Callers
from tests.bench.load_site import SET_UP_S, site
from tests.bench.report import Row
from tests.peers.agent import RunningAgent

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
        _wait(lambda: place.recorded == TALKING, "calls in progress")
        began = len(started(place.agent))
        flood = place.call(CALLERS, CALLERS / CALLER_RATE + 10, CALLER_RATE)
        _wait(lambda: answers(flood) >= CALLERS, "end of the flood")
        taken, refused = flood.counts().get("200", 0), flood.counts().get("503", 0)
        recorded = place.recorded
        offered = len(_of(place.agent, "call_offered"))
        strangers = place.call(STRANGERS, 1, STRANGER_RATE, source=STRANGER, again=False)
        time.sleep(STRANGERS / STRANGER_RATE + 2)
        answered, sent = answers(strangers), strangers.invited
        strangers.close()
        seen = len(_of(place.agent, "call_offered")) - offered
        died = len(started(place.agent)) - began
        talking.wait(PATIENCE_S)
        flood.wait(PATIENCE_S)
        until = time.monotonic() + TOLD_S
        while (told := _told(place.agent)) < TALKING + CALLERS and time.monotonic() < until:
            time.sleep(1.0)
        gaps = [float(one.gaps_ms.max()) for one in place.generator.finish().streams()]
    callers = TALKING + CALLERS
    return [
        Row("200 INVITEs a second for 10 s: places left free", CALLS - TALKING - taken, 0, "", count=CALLERS),
        Row("calls among them that were not recorded", CALLS - recorded, 0, "", count=CALLS),
        Row("neither taken nor refused with full_status", CALLERS - taken - refused, 0, "", count=CALLERS),
        Row("calls in no receipt and no sum", abs(callers - told), 0, "", count=callers),
        Row("a stranger's 1,000 a second: seen by a worker", seen, 0, "", count=sent),
        Row("answered", answered, 0, "", count=sent),
        Row("processes that died", died, 0, ""),
        Row(
            "longest gap in any call meanwhile", max(gaps, default=GAP_MS + 1), GAP_MS, "ms", count=len(gaps)
        ),
    ]


def answers(callers: Callers) -> int:
    """How many INVITEs have had their final answer."""
    return sum(
        count for status, count in callers.counts().items() if status.isdecimal() and int(status) >= 200
    )


def _told(agent: RunningAgent) -> int:
    """How many calls its receipts and sums are of."""
    with Store(agent.directory / "retention.db") as store:
        return len(store.receipts()) + sum(one.count for one in store.each_sum())


def started(agent: RunningAgent) -> list[object]:
    """What has been started so far."""
    return _of(agent, "child_started")


def _of(agent: RunningAgent, event: str) -> list[object]:
    return [one for one in agent.log_events if one.get("event") == event]


def _wait(happened: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        if time.monotonic() > until:
            raise TimeoutError(f"no {what} within {PATIENCE_S:g} s")
        time.sleep(0.2)
