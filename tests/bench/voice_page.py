"""The figures of `make bench-voice` as a table in media/README.md, and as a page with its curves."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pygal
from pygal.style import DefaultStyle

from media.hearing.keyword import Meaning
from tests.bench.voice_cases import PEOPLE, Case
from tests.bench.voice_figures import Measuring, Row, by, heard

BEGIN, END = "<!-- written by python -m tests.bench.voice --write -->", "<!-- end of what is written -->"
FALSE_PERCENT = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_WIDTH, _HEIGHT = 900, 460


class NoPlace(Exception):
    """The page hasn't the two marks exactly once, in their order; str() is one line."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Of one kind of voice: how much of what refuses nothing, and of what refuses, reaches each threshold, in
    per cent; the highest threshold first. `at`: the two of the head's own threshold.

    `count`: refusals.
    """

    kind: str
    count: int
    false: tuple[float, ...]
    recall: tuple[float, ...]
    at: tuple[float, float]

    def recall_at(self, false: float) -> float:
        """The most that is heard where at most so much is refused falsely."""
        return max((r for f, r in zip(self.false, self.recall, strict=True) if f <= false), default=0.0)


def written(page: str, table: str) -> str:
    """The page with the table between its marks. NoPlace."""
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise NoPlace(f"needed once each, in this order: {BEGIN} and {END}")
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table.strip()}\n{END}{rest.partition(END)[2]}"


def table(rows: Iterable[Row], about: str) -> str:
    """The rows in Markdown: those of their own first, then a table for each group."""
    every = list(rows)
    lines = [about, "", "| | to reach | measured |", "|---|---|---|"]
    lines += [f"| {row.name} | {row.aim} | {row.shown} |" for row in every if not row.group]
    for group in dict.fromkeys(row.group for row in every if row.group):
        of = {(row.name, row.column): row.shown for row in every if row.group == group}
        columns = [*dict.fromkeys(column for _, column in of)]
        lines += ["", f"| by {group} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
        lines += [
            f"| {name} | {' | '.join(of.get((name, column), '') for column in columns)} |"
            for name in dict.fromkeys(name for name, _ in of)
        ]
    return "\n".join(lines)


def curves(measuring: Measuring) -> list[Curve]:
    """One for each kind of voice that refuses; what refuses nothing is of that kind, or people's."""
    found = []
    for kind, said in by(measuring.said, lambda case: case.utterance.kind).items():
        others = [case for case in measuring.others if case.utterance.kind in (kind, PEOPLE)]
        found.append(_curve(f"{kind} kinds", said, others))
    return found


def _curve(kind: str, said: list[Case], others: list[Case]) -> Curve:
    refusing, rest = (np.array([case.score for case in cases]) for cases in (said, others))
    thresholds = np.unique(np.concatenate([refusing, rest, [1.0]]))[::-1]
    false = tuple(float(100 * np.mean(rest >= at)) if len(rest) else 0.0 for at in thresholds)
    recall = tuple(float(100 * np.mean(refusing >= at)) for at in thresholds)
    at = (heard(others, Meaning.REFUSE).value if others else 0.0, heard(said, Meaning.REFUSE).value)
    return Curve(kind, len(said), false, recall, at)


def html(rows: Sequence[Row], found: Sequence[Curve], about: str) -> str:
    """A page that needs nothing else: the curves, the same in a table, and all figures."""
    return "\n".join(
        [
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Refusals by voice</title>',
            "<style>body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
            "table{border-collapse:collapse}td,th{border:1px solid #999;padding:.2rem .6rem}</style>",
            f"<h1>Refusals by voice</h1><p>{escape(about.replace('`', ''))}</p>",
            "<h2>What is heard, by what is taken for a refusal and is none</h2>",
            _drawn(found),
            *_told(found),
            "<h2>All figures</h2><table><tr><th></th><th>to reach</th><th>measured</th></tr>",
            *(_html_row([row.title, row.aim, row.shown]) for row in rows),
            "</table></html>",
        ]
    )


def _drawn(found: Sequence[Curve]) -> str:
    """The curves up to the last of FALSE_PERCENT, and a dot where each head's threshold lies."""
    chart: Any = pygal.XY(
        width=_WIDTH,
        height=_HEIGHT,
        style=DefaultStyle,
        js=[],
        xrange=(0, FALSE_PERCENT[-1]),
        range=(0, 100),
        show_dots=False,
        legend_at_bottom=True,
        truncate_legend=-1,
        x_title="refused falsely, % of what refuses nothing",
        y_title="heard, % of refusals",
    )
    for curve in found:
        points = [p for p in zip(curve.false, curve.recall, strict=True) if p[0] <= FALSE_PERCENT[-1]]
        chart.add(curve.kind, points)
        chart.add(f"{curve.kind}, as shipped", [curve.at], show_dots=True, dots_size=5, stroke=False)
    drawn = chart.render(is_unicode=True, disable_xml_declaration=True)
    return re.sub(r"<script.*?</script>|<!--.*?-->|@import[^;]*;", "", str(drawn), flags=re.DOTALL)


def _told(found: Sequence[Curve]) -> Iterator[str]:
    yield "<table><tr><th>falsely refused at most</th>"
    yield from (f"<th>{escape(curve.kind)} ({curve.count} refusals)</th>" for curve in found)
    yield "</tr>"
    for false in FALSE_PERCENT:
        yield _html_row([f"{false:g} %", *(f"{curve.recall_at(false):.1f} %" for curve in found)])
    shipped = [f"{curve.at[1]:.1f} % at {curve.at[0]:.2f} %" for curve in found]
    yield _html_row(["as shipped", *shipped]) + "</table>"


def _html_row(cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"


def changed(before: dict[str, str], cases: Iterable[Case]) -> Iterator[Row]:
    """Beside an earlier run's meanings by case: what is heard now and was not, and the other way round."""
    pairs = [(before[key(case)], case) for case in cases if key(case) in before]
    refuse = Meaning.REFUSE.value
    for name, count in (
        ("heard now, not before", sum(old != refuse == case.meaning.value for old, case in pairs)),
        ("heard before, not now", sum(old == refuse != case.meaning.value for old, case in pairs)),
    ):
        yield Row(f"of the same cases: {name}", float(count), f"{count} of {len(pairs)}")


def key(case: Case) -> str:
    """The name of a case in any run."""
    return f"{'/'.join(case.utterance.path.parts[-4:])} {case.line}"
