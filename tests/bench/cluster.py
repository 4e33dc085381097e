"""`python -m tests.bench.cluster`: what more than one host costs, and what it is worth when one burns."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import click

from tests.bench import (
    cluster_board,
    cluster_calls,
    cluster_cost,
    cluster_filters,
    cluster_lists,
    cluster_purge,
    cluster_ship,
    report,
)
from tests.bench.report import Row

PARTS: dict[str, Callable[[], list[Row]]] = {
    "death": lambda: cluster_calls.deaths(3),
    "refusal": lambda: cluster_calls.refusals(10),
    "board": lambda: [*cluster_board.rows(), *cluster_calls.handovers(30)],
    "ship": cluster_ship.rows,
}


@click.command()
@click.option(
    "--only",
    type=click.Choice([*PARTS, "cost", "lists", "filters", "purge"]),
    multiple=True,
    help="One part of it, or some.",
)
@click.option("--calls", default=50, show_default=True, help="Calls at once, for what they cost.")
@click.option("--seconds", default=30.0, show_default=True, help="How long they last.")
@click.option("--rows", "count", default=2_000_000, show_default=True, help="Recordings, for the lists.")
@click.option("--objects", default=3_000, show_default=True, help="Recordings, for the purge.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(  # noqa: PLR0917 - click gives them by name
    only: tuple[str, ...], calls: int, seconds: float, count: int, objects: int, as_json: bool
) -> None:
    """Measure it; exit 1 where a target is missed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its hosts must not outlive it
    rows: list[Row] = []
    for name, measure in PARTS.items():
        if not only or name in only:
            rows += measure()
    if not only or "cost" in only:
        rows += cluster_cost.rows(calls, seconds)
    if not only or "lists" in only:
        rows += cluster_lists.rows(count, lambda done: click.echo(done, err=True))
    if "filters" in only:  # making their rows takes a minute for each 100,000
        rows += cluster_filters.rows(count, lambda done: click.echo(done, err=True))
    if not only or "purge" in only:
        rows += cluster_purge.rows(objects, lambda done: click.echo(done, err=True))
    sys.exit(report.show(rows, as_json, "More than one host, measured live"))


if __name__ == "__main__":
    main()
