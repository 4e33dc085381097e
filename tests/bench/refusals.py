"""`python -m tests.bench.refusals`: does any refusal go unheard? Live calls, all three forms, any moment.

Several agents side by side; in each call one key is begun somewhere between the notice's first sound and
50 ms before the window closes, as the caller's ear tells it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import click

from sipagent.softphone.phone import Answering, Way
from tests.bench import latency, report
from tests.bench.office import NOTICE_S, OPERATOR_HZ, WINDOW_S, Office, office
from tests.bench.report import Row
from tests.live.calls import NOTICE_HZ, shown

WAYS: tuple[Way, ...] = ("rfc4733", "info", "inband")
MARGIN_S = 0.05
HEARD_S = 0.08  # from the first frame to the fifth, with which `wait_tone` is sure


@dataclass(frozen=True, slots=True)
class Attempt:
    """One refusal: by which way, how long after the notice began, with how many lost first packets."""

    way: Way
    after_s: float
    lost: int


@dataclass(frozen=True, slots=True)
class Outcome:
    attempt: Attempt
    call_id: str
    phone_showed: str
    decision: str
    kept: bool  # a recording exists


def plan(count: int) -> list[Attempt]:
    """Each way gets its own even sweep of moments; every third event loses its first packets."""
    span = NOTICE_S + WINDOW_S - MARGIN_S - HEARD_S
    attempts = []
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        place = (number // len(WAYS)) / max(1, count // len(WAYS))
        lost = number // len(WAYS) % 3 if way == "rfc4733" else 0
        attempts.append(Attempt(way, HEARD_S + place * span, lost))
    return attempts


def attempt_all(attempts: list[Attempt]) -> list[Outcome]:
    """All of them, one after the other, on one agent whose operator picks up at once."""
    with office() as place:
        place.operators[0].answer = Answering(after_s=0, ring=False)
        shown_names = [refuse(place, attempt) for attempt in attempts]
        receipts = {r["call_id"]: r["decision"] for r in place.agent.wait_receipts(len(attempts))}
        kept = {r["call_id"] for r in place.agent.recordings() if r["status"] != "erased"}
    return [
        Outcome(attempt, call_id, name, receipts.get(call_id, "no receipt"), call_id in kept)
        for attempt, (call_id, name) in zip(attempts, shown_names, strict=True)
    ]


def refuse(place: Office, attempt: Attempt) -> tuple[str, str]:
    """One call, up to a moment of talk; its id and what the operator's phone showed."""
    caller, operator = place.callers[0], place.operators[0]
    call = caller.call(place.agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ) - int(HEARD_S * 1e9)
    call.press("9", attempt.way, at_ns=started + int(attempt.after_s * 1e9), lose=attempt.lost)
    other = operator.wait_call()
    call.rtp.wait_tone(OPERATOR_HZ)
    name = shown(other)
    latency.give_up(place, call)
    return call.call_id, name


def missed(outcome: Outcome) -> bool:
    return outcome.decision != "refused" or outcome.kept


@click.command()
@click.option("--calls", default=200, show_default=True)
@click.option("--agents", default=4, show_default=True, help="Agents side by side.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(calls: int, agents: int, as_json: bool) -> None:
    """Count the refusals that an agent misses; exit 1 where there is one."""
    attempts = plan(calls)
    with ThreadPoolExecutor(agents) as pool:
        shares = [attempts[first::agents] for first in range(agents)]
        outcomes = [outcome for part in pool.map(attempt_all, shares) for outcome in part]
    failures = [outcome for outcome in outcomes if missed(outcome)]
    for failure in failures:
        click.echo(f"missed: {failure}", err=True)
    late = sum(o.phone_showed.startswith("REC") for o in outcomes)
    click.echo(f"{late} were understood only after the phone had shown REC", err=True)
    rows = []
    for way in WAYS:
        of_way = [o for o in outcomes if o.attempt.way == way]
        rows.append(Row(f"refusals missed, {way}", sum(map(missed, of_way)), 0, "of them", count=len(of_way)))
    sys.exit(report.show(rows, as_json, f"{calls} refusals, {agents} agents side by side"))


if __name__ == "__main__":
    main()
