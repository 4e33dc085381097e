"""What was measured beside what is to be reached: a table for people, JSON for programs."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measure. `limit`: the largest value that reaches the target, if any; `worst`: 95th percentile."""

    name: str
    value: float
    limit: float | None
    unit: str
    worst: float | None = None
    count: int = 1

    @property
    def reached(self) -> bool:
        return self.limit is None or self.value <= self.limit


def of(name: str, values: list[float], limit: float, unit: str = "ms") -> Row:
    """The median of many, with the 95th percentile."""
    ordered = sorted(values)
    worst = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return Row(name, statistics.median(ordered), limit, unit, worst, len(ordered))


def show(rows: list[Row], as_json: bool, title: str) -> int:
    """Print them; 0 where all targets are reached, else 1."""
    if as_json:
        fields = [
            {
                "name": r.name, "value": round(r.value, 3), "limit": r.limit, "unit": r.unit,
                "reached": bool(r.reached),
                "p95": None if r.worst is None else round(r.worst, 3), "count": r.count,
            }
            for r in rows
        ]  # fmt: skip
        print(json.dumps({"title": title, "measures": fields}, indent=2))
    else:
        table = Table(title=title)
        for column in ("", "median", "p95", "to reach", "n", "verdict"):
            table.add_column(column, justify="left" if column in ("", "verdict") else "right")
        for r in rows:
            worst = "" if r.worst is None else f"{r.worst:.1f} {r.unit}"
            limit, verdict = "", ""
            if r.limit is not None:
                limit = f"≤ {r.limit:g} {r.unit}"
                verdict = "[green]reached[/]" if r.reached else "[red]missed[/]"
            shown = f"{r.value:.2f} {r.unit}"
            table.add_row(r.name, shown, worst, limit, str(r.count), verdict)
        Console().print(table)
    return 0 if all(r.reached for r in rows) else 1
