"""The page with the statistics: whole by itself, true to the figures, readable for one day or for years."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from retention.rows.chain import TABLES
from retention.statistics import Statistics
from sipagent.text.statistics import (
    GRAINS,
    HEIGHT,
    WIDTH,
    Heading,
    Plot,
    by_grain,
    page,
    sections,
    svg,
    ticks,
)
from sipagent.text.statistics_words import StatisticsWords
from sipagent.text.template import LANGUAGES
from tests import busy, kept
from tests.tampering import sum_of

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 25, 10, 0, tzinfo=PARIS)
TODAY = NOW.date()
VOID = {"meta"}
HEADING = Heading(service="Agglo J'écoute", language="fr", zone="Europe/Paris", made=NOW)
LETTER = 8.5  # units of the drawing that a letter of 13 px takes at most, on average


def figures_of(days: int, per_day: int) -> Statistics:
    figures = Statistics(PARIS, {"+33323063006": "fr", "+33323063007": "en"})
    first = TODAY - timedelta(days=days - 1)
    for receipt, recording in busy.calls(first, days, per_day, now=NOW, zone=PARIS):
        figures.receipt(receipt)
        if recording is not None:
            figures.recording(recording)
    return figures


SPANS = {"none": (1, 0), "a day": (1, 40), "a month": (30, 20), "a year": (365, 4), "ten years": (3650, 1)}


@pytest.fixture(scope="module", params=[*SPANS.values()], ids=[*SPANS])
def figures(request: pytest.FixtureRequest) -> Statistics:
    return figures_of(*request.param)


class Elements(HTMLParser):
    """Everything that is opened must be closed, in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, text: str) -> None:
        if self.open and self.open[-1] != "style":
            self.texts.append(text)


# --- a page of its own ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_well_formed_and_asks_nobody_for_anything(figures: Statistics, language: str) -> None:
    text = page(figures, replace(HEADING, language=language))
    elements = Elements(text)
    tags = {tag for tag, _ in elements.seen}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form", "image", "use"}
    for tag, attributes in elements.seen:
        assert not [name for name in attributes if name.startswith("on") or name.endswith(("href", "src"))], (
            tag
        )
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text
    (policy,) = (one["content"] for tag, one in elements.seen if "http-equiv" in one)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_what_others_chose_is_text_and_nothing_else() -> None:
    figures = Statistics(PARIS)
    evil = "</td><script>alert(1)</script>&\"'"
    row = kept.recording()
    figures.receipt(kept.receipt(row, outcome=evil, decision=evil, decided_by=evil, operator=evil))
    figures.receipt(
        kept.receipt(row, decision="refused", decided_by=evil, phase=evil, dtmf_method=evil, called=evil)
    )
    figures.recording(row)
    text = page(figures, replace(HEADING, service=evil, zone=evil))
    assert "<script" not in text
    for personal in (kept.CALLER, "sip:", "pbx", "a84b4c76", "A. Roux", "2026/7", "+333"):
        assert personal not in text, personal
    assert "script" not in {tag for tag, _ in Elements(text).seen}


# --- true to the figures ---


def test_tables_add_up(figures: Statistics) -> None:
    words = StatisticsWords("en")
    for section in sections(figures, words, TODAY):
        for table in section.tables:
            assert all(len(row) == len(table.headings) for row in table.rows), table.headings
    calls, hours, outcomes, refusals, waits, recordings = sections(figures, words, TODAY)

    def total(rows: Any, place: int) -> int:
        return sum(int(row[place].replace(",", "")) for row in rows)

    assert total(calls.tables[0].rows, 1) == figures.calls
    assert total(calls.tables[1].rows, 1) == figures.calls
    assert total(hours.tables[0].rows, 1) == figures.calls
    assert total(outcomes.tables[0].rows, 1) == figures.calls
    assert total(refusals.tables[0].rows, -1) == figures.refused
    assert total(waits.tables[0].rows, 1) == figures.waits.count
    assert total(recordings.tables[0].rows, -1) == figures.kept.total


def test_plots_show_what_the_tables_say(figures: Statistics) -> None:
    counts = [*[figures.calls] * 3, figures.refused, figures.waits.count, figures.kept.total]
    for section, count in zip(sections(figures, StatisticsWords("en"), TODAY), counts, strict=True):
        assert section.plot is not None
        assert sum(sum(values) for _, values in section.plot.series) == count
        assert all(len(values) == len(section.plot.labels) for _, values in section.plot.series)


def test_the_bars_are_as_high_as_the_counts() -> None:
    plot = Plot("t", "calls", ["one", "two", "three"], [("a", [10, 0, 5]), ("b", [5, 3, 0])])
    drawn = ElementTree.fromstring(svg(plot))
    bars = {bar[0].text: float(bar.get("height", 0)) for bar in drawn.iter("rect")}
    assert set(bars) == {"one, a: 10", "three, a: 5", "one, b: 5", "two, b: 3"}  # none of no height
    unit = bars["one, a: 10"] / 10
    assert unit > 5
    assert bars["three, a: 5"] == bars["one, b: 5"] == pytest.approx(5 * unit, abs=0.2)
    assert bars["two, b: 3"] == pytest.approx(3 * unit, abs=0.2)


def test_lying_bars_are_in_the_order_of_their_names() -> None:
    plot = Plot("t", "calls", ["one", "two", "three"], [("", [10, 4, 5])], lying=True)
    drawn = ElementTree.fromstring(svg(plot))
    by_height = sorted(drawn.iter("rect"), key=lambda bar: float(bar.get("y", 0)))
    assert [bar[0].text for bar in by_height] == ["one: 10", "two: 4", "three: 5"]
    widths = [float(bar.get("width", 0)) for bar in by_height]
    assert widths[1] / widths[0] == pytest.approx(0.4, abs=0.01)


# --- readable ---


def labels_of(drawn: ElementTree.Element, axis: str) -> Iterator[ElementTree.Element]:
    for group in drawn.iter("g"):
        if group.get("class", "").split()[:2] == ["axis", axis]:
            yield from group.iter("text")


@pytest.mark.parametrize("language", LANGUAGES)
def test_labels_do_not_run_into_each_other(figures: Statistics, language: str) -> None:
    words = StatisticsWords(language)
    for section in sections(figures, words, TODAY):
        assert section.plot is not None
        if section.plot.empty:
            continue
        drawn = ElementTree.fromstring(svg(section.plot, words.number))
        named = [text for text in labels_of(drawn, "x") if text.text]
        assert named, section.title
        for one, other in pairwise(sorted((float(text.get("x", 0)), text.text or "") for text in named)):
            room = LETTER * (len(one[1]) + len(other[1])) / 2
            assert other[0] - one[0] > room, (section.title, one, other)


def test_every_plot_says_of_what_there_are_so_many() -> None:
    for section in sections(figures_of(30, 20), StatisticsWords("fr"), TODAY):
        assert section.plot is not None
        drawn = ElementTree.fromstring(svg(section.plot))
        (unit,) = (text for text in drawn.iter("text") if text.get("class") == "unit")
        assert unit.text == ("enregistrements" if "Enregistrements" in section.title else "appels")
        _, _, width, height = map(float, drawn.get("viewBox", "").split())
        assert width == WIDTH and 0 < float(unit.get("y", 0)) < height
        assert section.plot.lying or height == HEIGHT


@pytest.mark.parametrize(
    ("days", "grain", "bars"), [(1, "day", 1), (92, "day", 92), (365, "week", 53), (3650, "year", 11)]
)
def test_days_are_put_together_so_that_bars_can_be_told_apart(days: int, grain: str, bars: int) -> None:
    first = TODAY - timedelta(days=days - 1)
    counts = {first: Counter(allowed=1), TODAY: Counter(allowed=2, refused=1)}
    found, spans = by_grain(counts, TODAY)
    assert (found.name, len(spans)) == (grain, bars)
    assert sum(one.total() for one in spans.values()) == sum(one.total() for one in counts.values())
    assert [*spans] == sorted(spans)


def test_no_day_falls_between_two_bars() -> None:
    for days in (*range(1, 100), 399, 400, 401, 402, 1899, 1900, 1901, 1902):
        first = date(2024, 1, 31)
        counts = {first + timedelta(days=number): Counter(allowed=1) for number in range(days)}
        grain, spans = by_grain(counts, max(counts))
        assert sum(one.total() for one in spans.values()) == days
        starts = [*spans]
        assert all(grain.begins(start) == start for start in starts)
        assert all(grain.begins(after - timedelta(days=1)) == before for before, after in pairwise(starts))
        assert len(spans) <= max(one.most for one in GRAINS[:1]) + 1
    _, spans = by_grain({TODAY - timedelta(days=5): Counter(allowed=3)}, TODAY)  # nobody called any more
    assert [one.total() for one in spans.values()] == [3, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        (None, "25/11"),
        (datetime(2026, 11, 24, tzinfo=PARIS), "23/11"),  # a date alone includes that day: its midnight
        (datetime(2026, 11, 24, 15, tzinfo=PARIS), "24/11"),
        (datetime(2026, 12, 31, tzinfo=PARIS), "25/11"),  # what is to come is no silence
    ],
)
def test_the_plot_ends_with_the_period(until: datetime | None, last: str) -> None:
    figures = Statistics(PARIS)
    figures.receipt(kept.receipt(kept.recording(started_at=datetime(2026, 11, 20, 12, tzinfo=UTC))))
    text = page(figures, replace(HEADING, until=until))
    assert f">{last}</text>" in text.partition("</svg>")[0]
    assert text.partition("</svg>")[0].count("/11</text>") == int(last[:2]) - 19


def test_nothing_is_said_in_words() -> None:
    text = page(Statistics(PARIS), HEADING)
    assert text.count("Rien à montrer pour cette période.") == 6
    assert "<svg" not in text and "<table" not in text


def test_ticks_are_round_and_reach_the_highest() -> None:
    for highest in (0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 99, 101, 12_345, 1_000_000):
        marks = ticks(highest)
        assert marks[0] == 0 and marks[-1] >= highest and 2 <= len(marks) <= 6
        assert len({after - before for before, after in pairwise(marks)}) == 1
        assert marks[-2] < max(highest, 1)


# --- rows and chain, and words ---


def test_whether_figures_agree_with_the_chain_is_said_at_the_end_or_an_alarm_at_the_top() -> None:
    figures = figures_of(1, 40)
    text = page(figures, replace(HEADING, tally={"receipts": (1234, 1234), "accesses": (1, 1)}))
    agrees = "concordent avec la chaîne (reçus d’appel 1\u202f234\u202f; lignes de la trace des usages 1)."
    assert agrees in text.partition("<footer>")[2] and 'class="alarm"' not in text
    figures.sum(replace(sum_of(41_000), what="lost"))
    figures.sum(sum_of(12))
    tally = {"receipts": (11, 12), "recordings": (3, 3)}
    text = page(figures, replace(HEADING, language="en", tally=tally))
    top = text.partition("<main>")[0]
    differs = "THESE FIGURES DO NOT AGREE WITH THE CHAIN (call receipts 11, in the chain 12; recordings 3)."
    assert differs in top and "CALL RECEIPTS LOST: 41,000." in top
    assert "agree with the chain (" not in text.partition("<footer>")[2]
    assert "of them rejected, counted together: 12" in text


@pytest.mark.parametrize("language", ["fr", "en", "de"])
def test_every_word_of_the_page_is_there(language: str) -> None:
    """A key that has no words would show with its underscore."""
    tally = {name: (1, 2) for name in TABLES.values()}
    for shown in (tally, dict.fromkeys(tally, (1, 1))):
        text = page(figures_of(30, 40), replace(HEADING, language=language, tally=shown))
        assert not [said for said in Elements(text).texts if re.search(r"[a-z]_[a-z]|accesses", said)]
    assert ("Call statistics" in text) is (language != "fr")
