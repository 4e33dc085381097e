"""The statistics as a complete page: no script, nothing loaded from elsewhere, no personal data.

    svg         bars for use inside a page: no script, no style, no external reference. Colours come from
                the page, by the classes `color-0`, `color-1`, …: they follow its light and dark.
    sections    the parts of the page: each a plot and the table of the same figures, as plain text
    page        by `statistics.html`, which escapes everything that could come from a call, and forbids the
                browser to load anything

French or English by the service's language; light or dark like the reader's screen, light on paper.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from retention.rows.selection import Selection
from retention.statistics import (
    DECISIONS,
    IN_PROGRESS,
    OPINIONS,
    OUTCOMES,
    PHASES,
    UNRATED,
    WAIT_EDGES,
    Line,
    Statistics,
)
from sipagent.config.tables import ServiceTable
from sipagent.text import FOLDER
from sipagent.text.papers import StatisticsWords, style

if TYPE_CHECKING:  # slow to import, and a terminal shows no plot
    from jinja2 import Template

Tally = dict[str, tuple[int, int]]  # of each table: its rows, and those that the chain knows of
WIDTH, HEIGHT, ROW = 380, 150, 19  # of a plot, and of a row of horizontal bars, in units of the drawing
_THICKEST = 32  # a single bar need not fill the plot
_LABELS = 6  # labels of vertical bars: more would overlap
_TICKS = 4
_LETTER = 6.5  # the width of one, in the same units


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

    def told(self, number: Callable[[int], str], colon: str) -> str:
        """What it shows, for who does not see it: the sum of each series, or each bar of the only one."""
        sums = [(name, sum(values)) for name, values in self.series]
        if len(sums) == 1:
            sums = [*zip(self.labels, self.series[0][1], strict=True)]
        return self.title + colon + ", ".join(f"{name} {number(count)}" for name, count in sums if count)

    @property
    def named(self) -> list[tuple[int, str]]:
        """The places and names of the series that occur, for a key of the colours."""
        return [(place, name) for place, (name, values) in enumerate(self.series) if name and any(values)]


def svg(plot: Plot, number: Callable[[int], str] = str, colon: str = ": ") -> str:
    """The plot as an `<svg>` element; `number` writes counts in the page's language, `colon` goes before
    them."""
    marks = ticks(max(map(sum, zip(*(values for _, values in plot.series), strict=True)), default=0))
    named = plot.labels if plot.lying else [*map(number, marks)]
    left = 14 + _LETTER * max(map(len, named), default=0)
    top, height = 4 if plot.lying else 24, ROW * len(plot.labels) + 38 if plot.lying else HEIGHT
    right, bottom = WIDTH - 16, height - 34
    reach, room = (right - left, bottom - top) if plot.lying else (bottom - top, right - left)
    step = room / max(len(plot.labels), 1)
    thick = min(step * 0.8, _THICKEST)

    def at(value: int) -> float:
        return value / marks[-1] * reach

    def bars() -> Iterator[str]:
        below = [0] * len(plot.labels)
        for index, (name, values) in enumerate(plot.series):
            yield f'<g class="color-{index}">'
            for place, (label, value) in enumerate(zip(plot.labels, values, strict=True)):
                begins, edge = at(below[place]), (place + 0.5) * step - thick / 2
                below[place] += value
                long = at(below[place]) - begins
                box = (left + begins, top + edge, long, thick)
                if not plot.lying:
                    box = (left + edge, bottom - begins - long, thick, long)
                said = escape(f"{label}, {name}{colon}" if name else f"{label}{colon}") + escape(
                    number(value)
                )
                if value:
                    yield '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'.format(*box)
                    yield f"<title>{said}</title></rect>"
            yield "</g>"

    lines, texts = list[str](), list[str]()
    for mark in marks:
        x, y = left + at(mark), bottom - at(mark)
        lines.append(f"M{x:.1f} {top}V{bottom}" if plot.lying else f"M{left} {y:.1f}H{right}")
        texts.append(
            _text(x, bottom + 16, number(mark)) if plot.lying else _text(left - 8, y + 4, number(mark), "end")
        )
    every = 1 if plot.lying else max(1, -(-len(plot.labels) // _LABELS))
    for place, label in [*enumerate(plot.labels)][::every]:
        middle = (place + 0.5) * step
        texts.append(
            _text(left - 8, top + middle + 4, label, "end")
            if plot.lying
            else _text(left + middle, bottom + 16, label)
        )
    unit = _text(8, height - 4 if plot.lying else 12, plot.unit.lower(), "start")
    drawn = f'<path d="{"".join(lines)}"/>{"".join(texts)}{unit}{"".join(bars())}'
    told = escape(plot.told(number, colon))
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{told}">{drawn}</svg>'


def _text(x: float, y: float, said: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def ticks(highest: int) -> list[int]:
    """Round whole numbers from 0 up to the first that is not below `highest`, `_TICKS` steps at most."""
    step = next(
        factor * power
        for power in (10**exponent for exponent in range(20))
        for factor in (1, 2, 5)
        if factor * power * _TICKS >= highest
    )
    return list(range(0, max(highest, 1) + step, step))[: -(-max(highest, 1) // step) + 1]


_FATES = ("kept", "held", "purged", "erased", "failed", "open")


class FigureTable(NamedTuple):
    """Headings, and rows with as many cells; the first cell names the row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page."""

    title: str
    note: str
    plot: Plot
    tables: Sequence[FigureTable]


class Grain(NamedTuple):
    """How days are grouped, so that a plot of any period can be read; `days`: the longest period."""

    name: str
    begins: Callable[[date], date]
    days: int
    most: int  # days between the first call and the last


GRAINS = (
    Grain("day", lambda day: day, 1, 92),
    Grain("week", lambda day: day - timedelta(days=day.weekday()), 7, 400),
    Grain("month", lambda day: day.replace(day=1), 31, 1900),
    Grain("year", lambda day: day.replace(month=1, day=1), 366, date.max.toordinal()),
)


def sections(figures: Statistics, words: StatisticsWords, last: date) -> Iterator[Section]:
    """In the order of the page; `last` is the last day of the figures."""
    yield _calls(figures, words, last)
    yield _hours(figures, words)
    yield _outcomes(figures, words)
    yield _refusals(figures, words)
    yield _waits(figures, words)
    yield _line(figures, words)
    yield _recordings(figures, words)


def by_grain(days: dict[date, Counter[str]], last: date) -> tuple[Grain, dict[date, Counter[str]]]:
    """The finest grain with separate bars, and its counts, oldest first, without a gap.

    From the first call up to `last`: a time without calls must be visible.
    """
    first = min(days, default=last)
    last = max(last, *days) if days else last
    grain = next(one for one in GRAINS if (last - first).days <= one.most)
    spans: dict[date, Counter[str]] = {}
    place = grain.begins(first)
    while days and place <= last:
        spans[place] = Counter()
        place = grain.begins(place + timedelta(days=grain.days))
    for day, counts in days.items():
        spans[grain.begins(day)].update(counts)
    return grain, spans


def _calls(figures: Statistics, words: StatisticsWords, last: date) -> Section:
    grain, spans = by_grain(figures.days, last)
    seen = [*DECISIONS, *sorted({key for counts in spans.values() for key in counts} - {*DECISIONS})]
    title = words(f"calls_by_{grain.name}")
    series = [(words(key), [counts[key] for counts in spans.values()]) for key in seen]
    rows = [
        [words.span(place, grain.name), *_numbers(words, counts.total(), *(counts[key] for key in seen))]
        for place, counts in spans.items()
        if counts
    ]
    table = FigureTable([words(grain.name), words("total"), *(words(key) for key in seen)], rows)
    plot = Plot(title, words("calls"), [words.tick(place, grain.name) for place in spans], series)
    note = words("calls_note") + (f" {words('week_note')}" if grain.name == "week" else "")
    return Section(title, note, plot, [table, _decisions(figures, words)])


def _hours(figures: Statistics, words: StatisticsWords) -> Section:
    """All hours between the first and the last in which anybody has called."""
    seen = [*DECISIONS, *sorted({key for counts in figures.hours.values() for key in counts} - {*DECISIONS})]
    hours = range(min(figures.hours), max(figures.hours) + 1) if figures.hours else range(0)
    counted = [figures.hours.get(hour, Counter[str]()) for hour in hours]
    names = [words("hour_of").format(hour=hour) for hour in hours]
    series = [(words(key), [counts[key] for counts in counted]) for key in seen]
    rows = [
        [name, *_numbers(words, counts.total(), *(counts[key] for key in seen))]
        for name, counts in zip(names, counted, strict=True)
        if counts
    ]
    title = words("calls_by_hour")
    table = FigureTable([words("hour"), words("total"), *(words(key) for key in seen)], rows)
    return Section(title, words("hours_note"), Plot(title, words("calls"), names, series), [table])


def _decisions(figures: Statistics, words: StatisticsWords) -> FigureTable:
    rows = [
        [words(decision) + (f" ({words(by)})" if by else ""), words.number(count)]
        for (decision, by), count in sorted(
            figures.decisions.items(), key=lambda item: (_place(item[0][0], DECISIONS), -item[1])
        )
    ]
    return FigureTable([words("decision"), words("calls")], rows)


def _outcomes(figures: Statistics, words: StatisticsWords) -> Section:
    known = (*OUTCOMES, IN_PROGRESS)
    seen = sorted(figures.outcomes, key=lambda outcome: _place(outcome, known))
    counts = [figures.outcomes[outcome] for outcome in seen]
    names = [words(outcome) for outcome in seen]
    rows = [
        [name, words.number(count), words.share(count / figures.calls)]
        for name, count in zip(names, counts, strict=True)
    ]
    title = words("outcomes")
    tables = [FigureTable([words("outcome"), words("calls"), words("share")], rows)]
    languages = _languages(figures, words)
    if len(languages.rows) > 1:
        tables.append(languages)
    return Section(
        title, words("outcomes_note"), Plot(title, words("calls"), names, [("", counts)], lying=True), tables
    )


def _languages(figures: Statistics, words: StatisticsWords) -> FigureTable:
    """By language, not by number: this page shows no numbers, not even the service's own."""
    totals: dict[str, list[int]] = {}
    for number, one in figures.numbers.items():
        total = totals.setdefault(figures.languages[number] or "by_key", [0, 0, 0])
        for place, count in enumerate((one.calls, one.reached, one.refused)):
            total[place] += count
    rows = [[words(language), *_numbers(words, *counts)] for language, counts in totals.items() if counts[0]]
    return FigureTable([words("language"), words("calls"), words("connected"), words("refused")], rows)


def _refusals(figures: Statistics, words: StatisticsWords) -> Section:
    channels = {channel: counts for channel, counts in figures.channels().items() if counts}
    phases = [*PHASES, *sorted({key for counts in channels.values() for key in counts} - {*PHASES})]
    series = [(words(name), [counts[phase] for phase in phases]) for name, counts in channels.items()]
    rows = [
        [words(name), *_numbers(words, *(counts[phase] for phase in phases), counts.total())]
        for name, counts in channels.items()
    ]
    title = words("refusals")
    names = [words(phase) or "–" for phase in phases]
    tables = [FigureTable([words("channel"), *names, words("total")], rows)]
    methods = figures.methods()
    if methods:
        ways = [[words(method), words.number(count)] for method, count in sorted(methods.items())]
        tables.append(FigureTable([words("dtmf_methods"), words("refused")], ways))
    plot = Plot(title, words("calls"), names, series, lying=True)
    return Section(title, words("refusals_note"), plot, tables)


def _waits(figures: Statistics, words: StatisticsWords) -> Section:
    title = words("waits")
    names = [*(f"≤ {words.length(edge, whole=True)}" for edge in WAIT_EDGES)]
    names.append(f"> {words.length(WAIT_EDGES[-1], whole=True)}")
    counts = figures.waits.up_to(WAIT_EDGES)
    waits = FigureTable(
        [words("wait"), words("calls"), words("share")],
        [
            [name, words.number(count), words.share(count / figures.waits.count)]
            for name, count in zip(names, counts, strict=True)
            if count
        ],
    )
    spreads = [("waited", figures.waits), ("given_up", figures.given_up), ("talked", figures.durations)]
    lengths = FigureTable(
        ["", words("calls"), *(words(name) for name in ("median", "p90", "longest"))],
        [
            [words(name), words.number(spread.count)]
            + [words.length(s) for s in (spread.quantile(0.5), spread.quantile(0.9), spread.longest_s)]
            for name, spread in spreads
            if spread.count
        ],
    )
    plot = Plot(title, words("calls"), names, [("", counts)])
    return Section(title, words("waits_note"), plot, [waits, lengths])


def _line(figures: Statistics, words: StatisticsWords) -> Section:
    def lost(line: Line) -> str:
        return words.share(line.lost_share)

    title, sides = words("line"), [(side, line) for side, line in figures.lines.items() if line.legs]
    names = [*(name for name, _ in OPINIONS), UNRATED]
    series = [(words(f"line_{side}"), [line.opinions[name] for name in names]) for side, line in sides]
    by_side = FigureTable(
        ["", *map(words, ("legs", "mos_mean", "mos_median", "mos_p10", "packets_lost"))],
        [
            [words(f"line_{side}"), words.number(line.legs)]
            + [words.decimal(mos) for mos in (line.mean_mos, line.quantile(0.5), line.quantile(0.1))]
            + [lost(line)]
            for side, line in sides
        ],
    )
    hours = FigureTable(
        [*map(words, ("worst_hours", "legs", "mos_mean", "packets_lost"))],
        [
            [words.moment(hour), *_numbers(words, one.legs), words.decimal(one.mean_mos), lost(one)]
            for hour, one in figures.worst_hours
        ],
    )
    one_way = f" {words('one_way')}{words.colon}{words.number(figures.one_way)}." if figures.one_way else ""
    plot = Plot(title, words("legs"), [words(name) for name in names], series, lying=True)
    return Section(title, words("line_note") + one_way, plot, [by_side, hours])


def _recordings(figures: Statistics, words: StatisticsWords) -> Section:
    """Recordings on hold are separate from those kept only until they are due."""
    months = sorted(figures.kept.months.items())
    names = [words.span(date.fromisoformat(f"{month}-01"), "month") for month, _ in months]
    counts = [fates.to_json() | {"kept": fates.kept - fates.held} for _, fates in months]
    series = [(words(fate), [count[fate] for count in counts]) for fate in _FATES]
    rows = [
        [name, *_numbers(words, *(count[fate] for fate in _FATES), sum(count.values()))]
        for name, count in zip(names, counts, strict=True)
    ]
    title = words("months")
    table = FigureTable([words("month"), *(words(fate) for fate in _FATES), words("total")], rows)
    plot = Plot(title, words("recordings"), names, series)
    return Section(title, words("months_note"), plot, [table])


def by_name(figures: Statistics, words: StatisticsWords) -> Iterator[tuple[str, FigureTable]]:
    """Of each number and each operator, which the page does not name: a title, and the table."""
    numbers = [
        [
            words(number),
            words(figures.languages[number] or "by_key"),
            *_numbers(words, one.calls, one.reached, one.refused),
        ]
        for number, one in figures.numbers.items()
        if one.calls
    ]
    headings = [*map(words, ("number", "language", "calls", "connected", "refused"))]
    yield words("numbers"), FigureTable(headings, numbers)
    operators = [
        [name, *_numbers(words, one.calls, one.refused, one.stops)]
        for name, one in sorted(figures.operators.items())
    ]
    headings = [*map(words, ("operator", "calls", "refused", "stops"))]
    yield words("operators"), FigureTable(headings, operators)


def _numbers(words: StatisticsWords, *counts: int) -> list[str]:
    return [words.number(count) for count in counts]


def _place(value: str, known: Sequence[str]) -> int:
    return known.index(value) if value in known else len(known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the page is about. Times are local."""

    service: str
    language: str
    zone: str
    made: datetime
    since: datetime | None = None
    until: datetime | None = None
    tally: Tally | None = None


def heading_of(
    service: ServiceTable, language: str, period: Selection, made: datetime, tally: Tally | None
) -> Heading:
    """For a period; the moments may be of any zone."""

    def local(at: datetime) -> datetime:
        return at.astimezone(service.timezone)

    return Heading(
        service=service.name,
        language=language,
        zone=str(service.timezone),
        made=local(made),
        since=period.since and local(period.since),
        until=period.until and local(period.until),
        tally=tally,
    )


def page(figures: Statistics, heading: Heading) -> str:
    """The whole document."""
    return _rendered(figures, heading, part=False)


def part(figures: Statistics, heading: Heading) -> str:
    """What `page` has below its title, for another page, which has the style of `figures`."""
    return _rendered(figures, heading, part=True)


def _rendered(figures: Statistics, heading: Heading, *, part: bool) -> str:
    from markupsafe import Markup

    words = StatisticsWords(heading.language)
    return _template().render(
        part=part,
        words=words,
        style=lambda name: Markup(style(name)),
        service=heading.service,
        period=_period(heading, words),
        alarms=list(alarms(figures, heading, words)),
        agreement=_agreement(heading, words),
        tiles=tiles(figures, words),
        sections=sections(figures, words, last_day(heading)),
        drawn=lambda plot: Markup(svg(plot, words.number, words.colon)),
    )


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return made.get_template("statistics.html")


def agrees(tally: Tally) -> bool:
    """Whether there are as many rows as in the chain."""
    return all(rows == chain for rows, chain in tally.values())


def last_day(heading: Heading) -> date:
    """The last day of the period that has begun."""
    if heading.until is None:
        return heading.made.date()
    return (min(heading.until, heading.made) - timedelta(microseconds=1)).date()


def _period(heading: Heading, words: StatisticsWords) -> str:
    ends = [
        f"{words(name)} {words.moment(at)}"
        for name, at in (("since", heading.since), ("until", heading.until))
        if at is not None
    ]
    period = f"{words('calls')} {', '.join(ends)}" if ends else words("period_all")
    return f"{period}. {words('zone')} {heading.zone}."


def alarms(figures: Statistics, heading: Heading, words: StatisticsWords) -> Iterator[str]:
    """What the reader must know before anything else."""
    if heading.tally is not None and not agrees(heading.tally):
        yield f"{words('differs')} ({_tally(heading.tally, words)})."
    if figures.lost:
        yield f"{words('lost')} {words.number(sum(one.count for one in figures.lost))}."
    if figures.not_recorded:
        whys = (f"{words(f'because_{why}')} {words.number(n)}" for why, n in figures.not_recorded.items())
        total = words.number(figures.not_recorded.total())
        yield f"{words('not_recorded')} {total} ({words.semicolon.join(whys)})."


def _agreement(heading: Heading, words: StatisticsWords) -> str:
    said = [f"{words('made')} {words.moment(heading.made)}."]
    if heading.tally is not None and agrees(heading.tally):
        said.append(f"{words('matches')} ({_tally(heading.tally, words)}).")
    return " ".join(said)


def _tally(tally: Tally, words: StatisticsWords) -> str:
    """`call receipts 12`, or, if the numbers differ, `call receipts 11, in the chain 12`."""
    return words.semicolon.join(
        f"{words(name)} {words.number(rows)}"
        + (f", {words('in_chain')} {words.number(chain)}" if rows != chain else "")
        for name, (rows, chain) in tally.items()
    )


def tiles(figures: Statistics, words: StatisticsWords) -> list[tuple[str, str, str]]:
    """The key of its name, a figure, and what is said below it."""
    kept = figures.kept
    refused = f"{words.number(figures.refused)} {words('of')} {words.number(figures.asked)}"
    in_sums = f"{words('in_sums')} {words.number(figures.in_sums)}"
    of_those = f"{words('of')} {words.number(figures.awaited)}"
    held = f"{words.number(kept.fates.held)} {words('held')}, {words.size(kept.bytes)}"
    return [
        ("calls", words.number(figures.calls), in_sums if figures.in_sums else ""),
        ("answer_rate", words.share(figures.answer_rate), ""),
        ("refused_share", words.share(figures.refusal_rate), refused if figures.asked else ""),
        ("median_wait", words.length(figures.waits.quantile(0.5)), ""),
        ("stops", words.number(figures.stops), ""),
        *([("begun", words.number(figures.begun), of_those)] if figures.awaited else []),
        ("unheard", words.number(figures.unheard), ""),
        ("kept_now", words.number(kept.fates.kept), held if kept.fates.kept else ""),
    ]
