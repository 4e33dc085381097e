"""More calls a second than the machine takes: is each one call with one receipt, whatever the timing?"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from retention.records import Receipt
from retention.sqlite import Store
from tests.bench.load_burst import answers, started
from tests.bench.load_site import Site, site
from tests.bench.report import Row

CALLS, OFFERED, RATE, TALK_S = 100, 450, 30.0, 3.0
PATIENCE_S = 120.0
TOLD_S = 75.0  # in a receipt at once, in a sum after a minute


def overload() -> list[Row]:
    """450 calls at 30 a second for 50 workers that share one core with everything else."""
    with _one_core(), site(CALLS) as place:
        began = len(started(place.agent))
        callers = place.call(OFFERED, TALK_S, RATE)
        until = time.monotonic() + PATIENCE_S
        while callers.child.running and time.monotonic() < until:
            time.sleep(0.2)
        told, summed = _told(place)
        died = len(started(place.agent)) - began
        taken, unanswered = callers.counts().get("200", 0), OFFERED - answers(callers)
    calls = Counter(one.call_id for one in told)
    return [
        Row("30 calls a second on one core: taken", taken, None, "", count=OFFERED),
        Row("without a final answer", unanswered, None, "", count=OFFERED),
        Row("receipts beyond one a call", sum(calls.values()) - len(calls), 0, "", count=OFFERED),
        Row("calls in no receipt and no sum", OFFERED - len(calls) - summed, 0, "", count=OFFERED),
        Row("processes that died", died, 0, ""),
    ]


@contextmanager
def _one_core() -> Iterator[None]:
    """For all that is started meanwhile."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _told(place: Site) -> tuple[list[Receipt], int]:
    """The receipts, and how many calls are in sums, once all calls are over and told of."""
    until = time.monotonic() + TOLD_S
    while True:
        with Store(place.agent.directory / "retention.db") as store:
            rows, summed = store.receipts(), sum(one.count for one in store.each_sum())
        calls = len({row.call_id for row in rows})
        whole = all(row.ended_at for row in rows) and calls + summed >= OFFERED
        if whole or time.monotonic() > until:
            return rows, summed
        time.sleep(0.5)
