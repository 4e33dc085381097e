"""What was measured beside what is to be reached: a table for people, JSON for programs."""

from __future__ import annotations

import json
import signal
import statistics
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import click
from rich.console import Console
from rich.table import Table

as_json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. `limit`: the largest value that reaches the target, if any; `worst`: 95th percentile."""

    name: str
    value: float
    limit: float | None = None
    unit: str = ""
    worst: float | None = None
    count: int = 1

    @property
    def reached(self) -> bool:
        return bool(self.limit is None or self.value <= self.limit)


def percentile(values: Sequence[float], share: float = 0.95) -> float:
    """The value that so large a share of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def of(name: str, values: Sequence[float], limit: float | None, unit: str = "ms") -> Row:
    """The median of many, with the 95th percentile."""
    return Row(name, statistics.median(values), limit, unit, percentile(values), len(values))


def p95(name: str, values: Sequence[float], limit: float | None, unit: str = "ms") -> Row:
    """The 95th percentile of many, where that is what is to be reached."""
    return Row(f"{name}, p95", percentile(values), limit, unit, max(values), len(values))


def finish(
    title: str,
    as_json: bool,
    parts: Mapping[str, Callable[[], Iterable[Row]]],
    only: Collection[str] | None = None,
) -> NoReturn:
    """Measure the parts, or those that are named; print them, and exit 1 where a target is missed.

    SIGTERM ends it as Ctrl-C does, so that nothing that was started outlives it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    rows = [row for name, part in parts.items() if not only or name in only for row in part()]
    (_print_json if as_json else _print_table)(rows, title)
    sys.exit(not all(row.reached for row in rows))


def _print_json(rows: list[Row], title: str) -> None:
    fields = [
        {
            "name": r.name, "value": round(float(r.value), 3), "limit": r.limit, "unit": r.unit,
            "reached": r.reached, "p95": None if r.worst is None else round(float(r.worst), 3),
            "count": r.count,
        }
        for r in rows
    ]  # fmt: skip
    print(json.dumps({"title": title, "measures": fields}, indent=2))


def _print_table(rows: list[Row], title: str) -> None:
    table = Table(title=title)
    for column in ("", "median", "p95", "to reach", "n", "verdict"):
        table.add_column(column, justify="left" if column in ("", "verdict") else "right")
    for r in rows:
        worst = "" if r.worst is None else f"{r.worst:.1f} {r.unit}"
        limit = "" if r.limit is None else f"≤ {r.limit:g} {r.unit}"
        verdict = limit and ("[green]reached[/]" if r.reached else "[red]missed[/]")
        table.add_row(r.name, f"{r.value:.2f} {r.unit}", worst, limit, str(r.count), verdict)
    Console().print(table)
