"""More calls a second than the machine takes: is each of them one call, with one receipt, whatever the timing?"""

from __future__ import annotations

import time
from collections import Counter

from retention.rows.store import Store
from tests.bench.load_site import Site, site
from tests.bench.report import Row
from tests.peers.agent import Json

CALLS, OFFERED, RATE, TALK_S = 100, 450, 30.0, 3.0
PATIENCE_S = 90.0
TOLD_S = 75.0  # a sum is due after a minute


def overload() -> list[Row]:
    """450 calls at 30 a second, for 50 places on 25 workers."""
    with site(CALLS) as place:
        callers = place.call(OFFERED, TALK_S, RATE)
        callers.wait(PATIENCE_S)
        summed = _wait_told(place)
        receipts = place.agent.receipts()
        counts, died = callers.counts(), _died(place)
        taken = counts.get("200", 0)
    _show(receipts)
    calls = Counter(one["call_id"] for one in receipts)
    recorded = sum(one["answered_at"] is not None for one in receipts)
    return [
        Row(
            "450 calls at 30 a second: receipts and sums beyond one a call",
            len(receipts) + summed - callers.invited if False else sum(n - 1 for n in calls.values()),
            0,
            "",
            count=OFFERED,
        ),
        Row("calls in no receipt and no sum", OFFERED - len(calls) - summed, 0, "", count=OFFERED),
        Row("told 200 and in no receipt as answered", taken - recorded, None, "", count=taken),
        Row("processes that died", died, 0, ""),
    ]


def _show(receipts):
    by = {}
    for one in receipts:
        by.setdefault(one["call_id"], []).append(one)
    print(len(receipts), "receipts", len(by), "calls")
    for id, found in by.items():
        if len(found) > 1:
            print(id)
            for one in found:
                print(
                    "   ",
                    one["id"],
                    one["started_at"],
                    one["answered_at"],
                    one["ended_at"],
                    one["outcome"],
                    one["decision"],
                    [(e["at"][14:], e["what"], e["by"]) for e in one["events"]],
                )


def _wait_told(place: Site) -> int:
    """Until all calls are over, and told of; how many are in sums."""
    until = time.monotonic() + TOLD_S
    while True:
        with Store(place.agent.directory / "retention.db") as store:
            rows, summed = store.receipts(), sum(one.count for one in store.each_sum())
        if all(row.ended_at for row in rows) and len(rows) + summed >= OFFERED or time.monotonic() > until:
            return summed
        time.sleep(0.5)


def _died(place: Site) -> int:
    starts: list[Json] = [e for e in place.agent.log_events if e.get("event") == "child_started"]
    return len(starts) - len({one["name"] for one in starts})


if __name__ == "__main__":
    for row in overload():
        print(row)
