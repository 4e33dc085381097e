"""The page with the statistics: whole by itself, true to the figures, readable for one day or for years."""

import re
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from retention.rows.chain import TABLES
from retention.statistics import Statistics
from sipagent.text import LANGUAGES
from sipagent.text.papers import StatisticsWords
from sipagent.text.statistics import GRAINS, WIDTH, Heading, Plot, by_grain, page, sections, svg
from tests import busy, kept
from tests.tampering import sum_of
from tests.web.reading import Page

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 25, 10, 0, tzinfo=PARIS)
TODAY = NOW.date()
HEADING = Heading(service="Agglo J'écoute", language="fr", zone="Europe/Paris", made=NOW)


def figures_of(days: int, per_day: int) -> Statistics:
    figures = Statistics(PARIS, {"+33323063006": "fr", "+33323063007": "en"})
    first = TODAY - timedelta(days=days - 1)
    for receipt, recording in busy.calls(first, days, per_day, now=NOW, zone=PARIS):
        figures.receipt(receipt)
        if recording is not None:
            figures.recording(recording)
    return figures


@pytest.fixture(
    scope="module",
    params=[(1, 0), (1, 40), (30, 20), (365, 4), (3650, 1)],
    ids=["none", "a day", "a month", "a year", "ten years"],
)
def figures(request: pytest.FixtureRequest) -> Statistics:
    return figures_of(*request.param)


# --- a page of its own ---


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_well_formed_and_asks_nobody_for_anything(figures: Statistics, language: str) -> None:
    text = page(figures, replace(HEADING, language=language))
    shown = Page(text)
    tags = {one.tag.rpartition("}")[2] for one in shown.root.iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form", "image", "use"}
    for one in shown.root.iter():
        assert not [name for name in one.attrib if name.startswith("on") or name.endswith(("href", "src"))]
    assert "url(" not in text and "@import" not in text and not re.search("https?:", text)
    (policy,) = shown.having("http-equiv")
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


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
    assert Page(text).elements("script") == []


# --- true to the figures ---


def test_tables_add_up(figures: Statistics) -> None:
    words = StatisticsWords("en")
    for section in sections(figures, words, TODAY):
        for table in section.tables:
            assert all(len(row) == len(table.headings) for row in table.rows), table.headings
    calls, hours, outcomes, refusals, waits, line, recordings = sections(figures, words, TODAY)

    def total(rows: Any, place: int) -> int:
        return sum(int(row[place].replace(",", "")) for row in rows)

    assert total(calls.tables[0].rows, 1) == figures.calls
    assert total(calls.tables[1].rows, 1) == figures.calls
    assert total(hours.tables[0].rows, 1) == figures.calls
    assert total(outcomes.tables[0].rows, 1) == figures.calls
    assert total(refusals.tables[0].rows, -1) == figures.refused
    assert total(waits.tables[0].rows, 1) == figures.waits.count
    legs = sum(one.legs for one in figures.lines.values())
    assert total(line.tables[0].rows, 1) == legs >= total(line.tables[1].rows, 1)
    assert total(recordings.tables[0].rows, -1) == figures.kept.total


def test_plots_show_what_the_tables_say(figures: Statistics) -> None:
    legs = sum(one.legs for one in figures.lines.values())
    counts = [*[figures.calls] * 3, figures.refused, figures.waits.count, legs, figures.kept.total]
    for section, count in zip(sections(figures, StatisticsWords("en"), TODAY), counts, strict=True):
        assert section.plot is not None
        assert sum(sum(values) for _, values in section.plot.series) == count
        assert all(len(values) == len(section.plot.labels) for _, values in section.plot.series)


@pytest.mark.parametrize("lying", [False, True], ids=["upright", "lying"])
def test_a_bar_is_as_long_as_its_count_and_stands_on_the_one_before(lying: bool) -> None:
    plot = Plot("<t>", "Calls", ["a", "b&", "c"], [("one", [10, 0, 4]), ("two", [5, 3, 0])], lying)
    drawn = svg(plot)
    rects = re.findall(r'<rect x="(.+?)" y="(.+?)" width="(.+?)" height="(.+?)"><title>(.+?)<', drawn)
    bars = {said: [*map(float, box)] for *box, said in rects}
    assert [*bars] == ["a, one: 10", "c, one: 4", "a, two: 5", "b&amp;, two: 3"]
    along = 0 if lying else 1
    for said, box in bars.items():
        assert box[along + 2] == pytest.approx(int(said[-2:]) * bars["a, one: 10"][along + 2] / 10, abs=0.2)
        assert 0 < box[0] < box[0] + box[2] < WIDTH and box[1] > 0
    below, above = bars["a, one: 10"], bars["a, two: 5"]
    ends, begins = (below[0] + below[2], above[0]) if lying else (above[1] + above[3], below[1])
    assert begins == pytest.approx(ends, abs=0.2) and below[1 - along] == above[1 - along]
    assert 'aria-label="&lt;t&gt;: one 14, two 8"' in drawn and ">b&amp;</text>" in drawn


# --- readable ---


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
        assert not re.search(r"[a-z]_[a-z]|accesses", Page(text).text)
    assert ("Call statistics" in text) is (language != "fr")
