"""Bars as SVG for use inside a page: no script, no style, no external reference.

pygal places the bars; what it adds for its own script and fonts is removed. Colours come from the page, by
the classes `color-0`, `color-1`, …, so that they follow its light and dark.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pygal
from pygal.style import Style

WIDTH, HEIGHT, ROW = 900, 320, 42  # of a plot, and of a row of horizontal bars, in units of the drawing
_THICKEST = 56  # a single bar need not fill the plot
_LABELS = 12  # labels of vertical bars: more would overlap
_TICKS = 5
_FONT = Style(label_font_size=13, major_label_font_size=13)
_KEPT = {
    "svg": ("viewBox",),
    "g": ("class", "transform"),
    "path": ("class", "d"),
    "text": ("class", "x", "y"),
}
_LEFT_OUT = frozenset({"titles", "legends", "overlay", "text-overlay", "tooltip-overlay"})


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars over `labels`; several series are stacked. `unit`: what is counted.

    `lying`: horizontal bars, one below the other.
    """

    title: str
    unit: str
    labels: Sequence[str]
    series: Sequence[tuple[str, Sequence[int]]]
    lying: bool = False

    @property
    def empty(self) -> bool:
        """Whether it shows nothing."""
        return not any(any(values) for _, values in self.series)


def svg(plot: Plot, number: Callable[[int], str] = str, colon: str = ": ") -> str:
    """The plot as an `<svg>` element; `number` writes counts in the page's language, `colon` goes before
    them."""
    tree = _chart(plot, number).render_tree()
    inside = "".join(_cleaned(tree, plot, lambda count: f"{colon}{number(count)}"))
    named = inside.replace("<svg", f'<svg role="img" aria-label="{escape(plot.title)}"', 1)
    return f"{named.removesuffix('</svg>')}{_unit(plot)}</svg>"


def ticks(highest: int) -> list[int]:
    """Round whole numbers from 0 up to the first that is not below `highest`, `_TICKS` steps at most."""
    step = next(
        factor * power
        for power in (10**exponent for exponent in range(20))
        for factor in (1, 2, 5)
        if factor * power * _TICKS >= highest
    )
    return list(range(0, max(highest, 1) + step, step))[: -(-max(highest, 1) // step) + 1]


def _unit(plot: Plot) -> str:
    """The unit at the axis of the numbers: above it, or in line with it for horizontal bars."""
    y = _height(plot) - 14 if plot.lying else 16
    return f'<text class="unit" x="8" y="{y}">{escape(plot.unit.lower())}</text>'


def _height(plot: Plot) -> int:
    return ROW * len(plot.labels) + 50 if plot.lying else HEIGHT


def _chart(plot: Plot, number: Callable[[int], str]) -> Any:
    kind = pygal.HorizontalStackedBar if plot.lying else pygal.StackedBar
    totals = [sum(values) for values in zip(*(values for _, values in plot.series), strict=True)]
    marks = ticks(max(totals, default=0))
    chart = kind(
        style=_FONT,
        width=WIDTH,
        height=_height(plot),
        margin=8,
        margin_top=8 if plot.lying else 32,
        margin_right=24,
        show_legend=False,
        js=[],
        css=[],
        no_prefix=True,
        truncate_label=-1,
        range=(0, marks[-1]),
    )
    rows = [*plot.labels]
    chart.x_labels = rows[::-1] if plot.lying else rows
    if not plot.lying and len(rows) > _LABELS:
        chart.x_labels_major_every = -(-len(rows) // _LABELS)
        chart.show_minor_x_labels = False
    chart.y_labels = [{"value": mark, "label": number(mark)} for mark in marks]
    for name, values in plot.series:
        chart.add(name, [*values][::-1] if plot.lying else [*values])
    return chart


def _cleaned(node: Any, plot: Plot, told: Callable[[int], str]) -> Iterator[str]:
    """The visible part of pygal's drawing, as text; class names are pygal's own, all else is escaped."""
    tag = node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""
    words = node.get("class", "").split()
    if "series" in words:
        yield from _bars(node, plot, told)
    elif tag in _KEPT and _LEFT_OUT.isdisjoint(words):
        yield f"<{tag}{_attributes(node, _KEPT[tag])}>{escape(node.text or '')}"
        for child in node:
            yield from _cleaned(child, plot, told)
        yield f"</{tag}>"


def _bars(series: Any, plot: Plot, told: Callable[[int], str]) -> Iterator[str]:
    """The bars of one series, each with its tooltip; without bars of height 0."""
    index = int(next(word for word in series.get("class").split() if word.startswith("serie-"))[6:])
    name, values = plot.series[index]
    labels = plot.labels
    if plot.lying:
        labels, values = labels[::-1], values[::-1]
    rects = [node for node in series.iter() if isinstance(node.tag, str) and node.tag.endswith("rect")]
    yield f'<g class="color-{index}">'
    for rect, label, value in zip(rects, labels, values, strict=True):
        if value:
            said = escape(f"{label}, {name}{told(value)}" if name else f"{label}{told(value)}")
            yield f"<rect{_slimmed(rect, plot.lying)}><title>{said}</title></rect>"
    yield "</g>"


def _slimmed(rect: Any, lying: bool) -> str:
    place, thickness = ("y", "height") if lying else ("x", "width")
    box = {name: float(rect.get(name)) for name in ("x", "y", "width", "height")}
    excess = max(box[thickness] - _THICKEST, 0.0)
    box[place] += excess / 2
    box[thickness] -= excess
    return "".join(f' {name}="{value:.1f}"' for name, value in box.items())


def _attributes(node: Any, names: Sequence[str]) -> str:
    return "".join(f' {name}="{escape(node.get(name))}"' for name in names if node.get(name))
