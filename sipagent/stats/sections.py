"""The parts of the statistics page: each a plot and the table of the same figures.

Values are plain text; the writer of the page escapes them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from retention.rules.statistics import DECISIONS, IN_PROGRESS, OUTCOMES, PHASES, WAIT_EDGES, Statistics
from sipagent.stats.plots import Plot
from sipagent.stats.words import StatisticsWords

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
    plot: Plot | None
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
    return Section(title, words("refusals_note"), Plot(title, words("calls"), names, series), tables)


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


def _numbers(words: StatisticsWords, *counts: int) -> list[str]:
    return [words.number(count) for count in counts]


def _place(value: str, known: Sequence[str]) -> int:
    return known.index(value) if value in known else len(known)
