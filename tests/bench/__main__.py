"""`python -m tests.bench`: how fast and how cheap the agent is, on this machine, against real sockets."""

from __future__ import annotations

import sys

import click

from sipagent.softphone.phone import Way
from tests.bench import cpu, hunting, latency, report, silence, waiting
from tests.bench.office import office
from tests.bench.report import Row

KEYS: tuple[tuple[Way, str, float], ...] = (
    ("rfc4733", "key → operator's INVITE, RFC 4733", 60),
    ("info", "key → operator's INVITE, INFO", 60),
    ("inband", "key → operator's INVITE, in-band 80 ms", 200),
)
STARTS = (  # of what, its words, seconds at most; the first tells how fast this machine is now
    ("`import click`", (), 0.25),
    ("`sipagent --version`", ("--version",), 0.25),
    ("`sipagent --help`", ("--help",), 0.35),
    ("`sipagent list`", ("--config", "config.toml", "list"), 0.45),
)
TALK_S = 10.0  # of each of the callers who wait


def latencies(count: int) -> list[Row]:
    with office() as place:
        answers, windows = latency.invite_to_answer_and_window_to_invite(place, count)
        rows = [report.of("INVITE → 200", answers, 10)]
        rows += [
            report.of(name, latency.key_to_invite(place, way, count), limit) for way, name, limit in KEYS
        ]
        rows.append(report.of("window closed → operator's INVITE", windows, 40))
    with office() as place:
        rows.append(report.of("caller's BYE → operator's BYE", latency.bye_to_bye(place, count), 10))
    return rows


def hunts(count: int) -> list[Row]:
    with office() as place:
        rows = [report.of("operator's 200 → both hear each other", hunting.answer_to_talk(place, count), 60)]
    with office(pairs=2, capacity={"calls": 1}) as place:
        rows.append(report.of("486 → the next operator's INVITE", hunting.busy_to_next(place, count), 50))
    ways = {"ring_s": silence.RING_S, "max_wait_s": 60}
    with office(pairs=2, capacity={"calls": 1}, operators=ways) as place:
        heard = silence.longest(place)
    silent = hunting.silences()
    late, lost = hunting.queue()
    return [
        *rows,
        Row("longest silence after the decision, live", max(heard.values()), 2, "s", count=len(heard)),
        Row("the same, any of the matrix, simulated", max(silent), 2, "s", count=len(silent)),
        Row("20 callers, 2 operators, simulated: served out of turn", late, 0, "", count=20),
        Row("the same: lost", lost, 0, "", count=20),
    ]


def costs(seconds: float) -> list[Row]:
    with office(registered=True, trunk={"allowed_sources": ["127.0.0.1/32"]}) as place:
        idle = cpu.share(place.agent.pid, seconds)
    with office(pairs=2) as place:  # a worker, behind the edge
        cost = cpu.cost(place, seconds)
    return [
        Row("CPU per recorded call-minute, two calls in one process", cost.per_call_minute_s, 0.60, "s"),
        Row("the same, marginal to idle", cost.marginal_s, 0.35, "s"),
        Row("CPU idle, registered, no call", idle * 100, 0.3, "%"),
    ]


def starts(count: int) -> list[Row]:
    return [
        report.of(f"CPU of {name}", [cpu.of_command(*words) for _ in range(count)], limit, "s")
        for name, words, limit in STARTS
    ]


def offsets() -> list[Row]:
    with office() as place:
        measured = [abs(one) for one in cpu.channel_offsets(place, (0, 4, 8, 12, 16))]
    return [report.of("offset between the two channels", measured, 20)]


@click.command()
@click.option("--calls", default=20, show_default=True, help="Calls per latency.")
@click.option("--seconds", default=60.0, show_default=True, help="Seconds per CPU measure.")
@click.option(
    "--only",
    type=click.Choice(["start", "latency", "hunt", "queue", "cpu", "offset"]),
    help="One part of it.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(calls: int, seconds: float, only: str | None, as_json: bool) -> None:
    """Measure the agent against its targets; exit 1 where one is missed."""
    rows: list[Row] = []
    if only in (None, "start"):
        rows += starts(calls)
    if only in (None, "latency"):
        rows += latencies(calls)
    if only in (None, "hunt"):
        rows += hunts(calls)
    if only in (None, "queue"):
        rows += waiting.rows(TALK_S)
    if only in (None, "cpu"):
        rows += costs(seconds)
    if only in (None, "offset"):
        rows += offsets()
    sys.exit(report.show(rows, as_json, "sipagent, measured live"))


main()
