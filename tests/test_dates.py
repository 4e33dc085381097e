"""When things go: by the calendar, in UTC, to the millisecond, whatever the clocks of the place do.

A month is a calendar month; where the day does not exist in it, the last that does. (A period of six months
from 31 August ends on the last day of February.)
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.archive import Archive
from retention.clock import ClockReading, look
from retention.holds import place, reviews_overdue
from retention.purge import _SLACK, Terms, overdue, plan, purge
from retention.records import Access, Hold, due_date, from_text, parse_period, to_text
from tests.kept import Paths, archive, keep, recording
from tests.tampering import HOLD

PARIS = ZoneInfo("Europe/Paris")
MS = timedelta(milliseconds=1)
TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")
PERIODS = [f"{count} {unit}s" for unit in ("day", "week", "month", "year") for count in (1, 2, 5, 6, 11, 13)]
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))


def paris(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    kept = archive(tmp_path)
    yield kept
    kept.store.close()


CALENDAR = [
    # begun (Europe/Paris), period, due (UTC)
    ("2026-08-31 10:00", "6 months", "2027-02-28T08:00:00.000Z"),
    ("2027-08-31 10:00", "6 months", "2028-02-29T08:00:00.000Z"),  # a leap year
    ("2026-08-30 10:00", "6 months", "2027-02-28T08:00:00.000Z"),
    ("2028-02-29 10:00", "6 months", "2028-08-29T09:00:00.000Z"),
    ("2028-02-29 10:00", "1 year", "2029-02-28T09:00:00.000Z"),
    ("2028-02-29 10:00", "4 years", "2032-02-29T09:00:00.000Z"),
    ("2026-12-31 23:59", "6 months", "2027-06-30T22:59:00.000Z"),
    ("2027-01-31 00:30", "1 month", "2027-02-28T23:30:00.000Z"),  # it was 30 January in UTC
    ("2026-10-25 02:30", "1 day", "2026-10-26T00:30:00.000Z"),  # the hour that comes twice: first
    ("2026-10-25 02:30+", "1 day", "2026-10-26T01:30:00.000Z"),  # and second
    ("2027-03-27 02:30", "1 day", "2027-03-28T01:30:00.000Z"),  # 02:30 of that day never is
    ("2026-09-28 03:00", "6 months", "2027-03-28T01:00:00.000Z"),  # the moment the clocks go forward
    ("2026-05-31 12:00", "1 month", "2026-06-30T10:00:00.000Z"),
    ("2100-02-28 12:00", "2 days", "2100-03-02T11:00:00.000Z"),  # no leap year
]


@pytest.mark.parametrize(("begun", "period", "due"), CALENDAR)
def test_it_goes_at_its_moment_and_not_before(kept: Archive, begun: str, period: str, due: str) -> None:
    at = paris(begun.rstrip("+"), fold=begun.endswith("+"))
    row = recording(started_at=at.astimezone(UTC), expires_at=due_date(at, period))
    assert to_text(row.expires_at) == due
    row = keep(kept, row)
    terms = replace(TERMS, period=period)
    assert purge(kept, from_text(due) - MS, terms).removed == ()
    assert Paths(kept).file(row.id) is not None
    (removal,) = purge(kept, from_text(due), terms).removed
    assert (removal.id, to_text(removal.due_at)) == (row.id, due)
    assert Paths(kept).file(row.id) is None and kept.store.recording(row.id).caller is None


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_zone_of_the_machine_changes_nothing(
    kept: Archive, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        at = from_text("2026-08-31T22:30:00.000Z")
        keep(kept, recording(started_at=at, expires_at=due_date(at, "6 months")))
        due = from_text("2027-02-28T22:30:00.000Z")
        assert list(plan(kept.store, due - MS, "6 months")) == []
        assert len(list(plan(kept.store, due.astimezone(ZoneInfo(zone)), "6 months"))) == 1
    finally:
        monkeypatch.undo()
        time.tzset()


@settings(deadline=None)
@given(MOMENTS, MOMENTS, st.sampled_from(PERIODS))
def test_no_date_is_too_short_or_too_long_by_more_than_its_month(
    at: datetime, other: datetime, period: str
) -> None:
    """And what began earlier never goes later."""
    due, span = due_date(at, period), parse_period(period)
    assert (due.timetz(), due <= due_date(other, period) or at > other) == (at.timetz(), True)
    months = (due.year - at.year) * 12 + due.month - at.month
    if span.months or span.years:
        assert months == span.years * 12 + span.months
        assert due.day == at.day or (due.day < at.day and (due + timedelta(days=1)).day == 1)
    else:
        assert due - at == timedelta(days=span.days)


@pytest.mark.parametrize("period", PERIODS)
def test_the_search_for_what_is_due_misses_nothing(period: str) -> None:
    """It looks for what began before a moment counted back, which is not the inverse of counting on."""
    span = parse_period(period)
    for day in range(4 * 366):
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
        assert at < due_date(at, period) - span + _SLACK


def test_it_is_overdue_after_a_day_and_not_before(kept: Archive) -> None:
    """Also the day that has 25 hours in Paris."""
    at = paris("2026-04-24 12:00").astimezone(UTC)
    row = keep(kept, recording(started_at=at, expires_at=due_date(at, "6 months")))
    due = from_text("2026-10-24T10:00:00.000Z")
    assert row.expires_at == due
    for hours, late in ((0, 0), (24, 0), (24.001, 1), (25, 1)):
        assert overdue(kept.store, due + timedelta(hours=hours) - MS, "6 months") == late


@pytest.mark.parametrize(
    ("review", "last_moment"),
    [
        ("2027-03-28", "2027-03-28T21:59:59.999Z"),  # the clocks have gone forward that night
        ("2026-10-25", "2026-10-25T22:59:59.999Z"),  # and back
        ("2027-06-30", "2027-06-30T21:59:59.999Z"),
        ("2028-02-29", "2028-02-29T22:59:59.999Z"),
    ],
)
def test_a_review_is_overdue_when_its_day_is_over_where_the_service_is(
    kept: Archive, review: str, last_moment: str
) -> None:
    row = keep(kept, recording())
    hold = Hold(**HOLD | {"review": review})
    place(kept, row.id, hold, Access(at=row.started_at, action="hold"))
    last = from_text(last_moment)
    assert reviews_overdue(kept.store, last.astimezone(PARIS).date()) == 0
    assert reviews_overdue(kept.store, (last + MS).astimezone(PARIS).date()) == 1


@pytest.mark.parametrize("night", ["2026-10-25T00:30:00.000Z", "2027-03-28T00:30:00.000Z"])
def test_a_clock_that_changes_for_summer_is_no_wrong_clock(kept: Archive, night: str) -> None:
    """Only its display changes."""
    at = from_text(night)
    for minute in range(0, 120, 10):
        wall = (at + timedelta(minutes=minute)).astimezone(PARIS)
        assert (
            look(
                kept.store,
                ClockReading("boot", wall.astimezone(UTC), 1000.0 + minute * 60, synchronised=True),
            )
            is None
        )
