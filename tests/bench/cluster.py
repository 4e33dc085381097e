"""`python -m tests.bench.cluster`: what more than one host costs, and what it is worth when one burns."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from tests.bench import cluster_calls, cluster_cost, report
from tests.bench.report import Row

PARTS: dict[str, Callable[[], list[Row]]] = {
    "death": lambda: cluster_calls.deaths(3),
    "refusal": lambda: cluster_calls.refusals(10),
    "board": lambda: cluster_calls.handovers(30),
}


@click.command()
@click.option("--only", type=click.Choice([*PARTS, "cost"]), multiple=True, help="One part of it, or some.")
@click.option("--calls", default=50, show_default=True, help="Calls at once, for what they cost.")
@click.option("--seconds", default=30.0, show_default=True, help="How long they last.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(only: tuple[str, ...], calls: int, seconds: float, as_json: bool) -> None:
    """Measure it; exit 1 where a target is missed."""
    rows: list[Row] = []
    for name, measure in PARTS.items():
        if not only or name in only:
            rows += measure()
    if not only or "cost" in only:
        rows += cluster_cost.rows(calls, seconds)
    sys.exit(report.show(rows, as_json, "More than one host, measured live"))


if __name__ == "__main__":
    main()
