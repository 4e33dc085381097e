"""`python -m tests.bench.refusals`: does any refusal go unheard? Live calls, all three forms, any moment.

Several agents side by side; in each call one key is begun somewhere between the notice's first sound and
50 ms before the window closes, as the caller's ear tells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import click

from sipagent.softphone.phone import Way
from tests.bench import report
from tests.bench.__main__ import give_up
from tests.bench.office import NOTICE_S, OPERATOR_HZ, WINDOW_S, Office, office
from tests.bench.report import Row
from tests.live.calls import NOTICE_HZ, shown

WAYS: tuple[Way, ...] = ("rfc4733", "info", "inband")
HEARD_S = 0.08  # from the first frame to the fifth, with which `wait_tone` is sure
SPAN_S = NOTICE_S + WINDOW_S - 0.05 - HEARD_S


@dataclass(slots=True)
class Attempt:
    """One refusal: by which way, how long after the notice began, with how many lost first packets; and what
    has come of it."""

    way: Way
    after_s: float
    lost: int
    call_id: str = ""
    phone_showed: str = ""
    decision: str = "no receipt"
    kept: bool = False

    @property
    def missed(self) -> bool:
        return self.decision != "refused" or self.kept


def plan(count: int) -> list[Attempt]:
    """Each way gets its own even sweep of moments; every third event loses its first packets."""
    attempts = []
    for number in range(count):
        turn, way = divmod(number, len(WAYS))
        after_s = HEARD_S + turn / max(1, count // len(WAYS)) * SPAN_S
        attempts.append(Attempt(WAYS[way], after_s, turn % 3 if WAYS[way] == "rfc4733" else 0))
    return attempts


def attempt_all(attempts: list[Attempt]) -> None:
    """All of them, one after the other, on one agent whose operator picks up at once."""
    with office() as place:
        place.answering(after_s=0, ring=False)
        for attempt in attempts:
            refuse(place, attempt)
        decisions = {r["call_id"]: r["decision"] for r in place.agent.wait_receipts(len(attempts))}
        kept = {r["call_id"] for r in place.agent.recordings() if r["status"] != "erased"}
    for attempt in attempts:
        attempt.decision = decisions.get(attempt.call_id, attempt.decision)
        attempt.kept = attempt.call_id in kept


def refuse(place: Office, attempt: Attempt) -> None:
    """One call, up to a moment of talk."""
    call = place.callers[0].call(place.agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ) - int(HEARD_S * 1e9)
    call.press("9", attempt.way, at_ns=started + int(attempt.after_s * 1e9), lose=attempt.lost)
    other = place.operators[0].wait_call()
    call.rtp.wait_tone(OPERATOR_HZ)
    attempt.call_id, attempt.phone_showed = call.call_id, shown(other)
    give_up(place, call)


def measured(calls: int, agents: int) -> Iterator[Row]:
    attempts = plan(calls)
    with ThreadPoolExecutor(agents) as pool:
        list(pool.map(attempt_all, [attempts[first::agents] for first in range(agents)]))
    for one in attempts:
        if one.missed:
            click.echo(f"missed: {one}", err=True)
    late = sum(one.phone_showed.startswith("REC") for one in attempts)
    click.echo(f"{late} were understood only after the phone had shown REC", err=True)
    for way in WAYS:
        of_way = [one for one in attempts if one.way == way]
        missed = sum(one.missed for one in of_way)
        yield Row(f"refusals missed, {way}", missed, 0, "of them", count=len(of_way))


@click.command()
@click.option("--calls", default=200, show_default=True)
@click.option("--agents", default=4, show_default=True, help="Agents side by side.")
@report.as_json_option
def main(calls: int, agents: int, as_json: bool) -> None:
    """Count the refusals that an agent misses; exit 1 where there is one."""
    title = f"{calls} refusals, {agents} agents side by side"
    report.finish(title, as_json, {"refusals": lambda: measured(calls, agents)})


if __name__ == "__main__":
    main()
