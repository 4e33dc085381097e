"""Opening hours on the wall clock of Paris: intervals, holidays, closures, and the nights the clock moves."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.hours import Schedule, Week, parse_closure, parse_intervals

PARIS = ZoneInfo("Europe/Paris")


def week(**days: str) -> Week:
    return tuple(
        parse_intervals(days.get(day, "")) for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    )


OFFICE = week(**dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "08:30-12:00,13:30-17:30"))


def paris(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-11-24T08:29:59", False),
        ("2026-11-24T08:30:00", True),
        ("2026-11-24T11:59:59", True),
        ("2026-11-24T12:00:00", False),
        ("2026-11-24T13:30:00", True),
        ("2026-11-24T17:30:00", False),
        ("2026-11-28T10:00:00", False),  # a Saturday
    ],
)
def test_intervals_are_half_open(at: str, is_open: bool) -> None:
    assert Schedule(PARIS, OFFICE).is_open(paris(at)) is is_open


def test_the_local_clock_decides_in_summer_and_in_winter() -> None:
    schedule = Schedule(PARIS, OFFICE)
    assert schedule.is_open(datetime(2026, 7, 7, 6, 30, tzinfo=UTC))
    assert not schedule.is_open(datetime(2026, 11, 24, 6, 30, tzinfo=UTC))
    assert schedule.is_open(datetime(2026, 11, 24, 7, 30, tzinfo=UTC))


def test_without_a_week_it_is_always_open_but_for_closures() -> None:
    assert Schedule(PARIS).is_open(paris("2026-11-22T03:00"))
    assert Schedule(PARIS).next_change(paris("2026-11-22T03:00")) is None
    closed = Schedule(PARIS, closed=(parse_closure("2026-12-24/2027-01-02"),))
    assert closed.is_open(paris("2026-12-23T23:59:59"))
    assert not closed.is_open(paris("2026-12-24T00:00"))
    assert not closed.is_open(paris("2027-01-02T23:59:59"))
    assert closed.is_open(paris("2027-01-03T00:00"))
    assert closed.next_change(paris("2026-12-01T00:00")) == paris("2026-12-24T00:00")
    assert closed.next_change(paris("2026-12-31T12:00")) == paris("2027-01-03T00:00")


def test_public_holidays_of_every_year_close() -> None:
    schedule = Schedule(PARIS, OFFICE, holidays.country_holidays("FR"))
    assert not schedule.is_open(paris("2026-07-14T10:00"))
    assert not schedule.is_open(paris("2027-05-17T10:00"))  # Whit Monday moves
    assert schedule.is_open(paris("2026-05-26T10:00"))
    assert schedule.next_change(paris("2027-01-01T09:00")) == paris("2027-01-04T08:30")
    assert not Schedule(PARIS, OFFICE, {date(2026, 11, 24)}).is_open(paris("2026-11-24T10:00"))


def test_midnight_is_no_gap() -> None:
    schedule = Schedule(PARIS, week(mon="22:00-24:00", tue="00:00-02:00"))
    assert schedule.is_open(paris("2026-11-23T23:59:59.999999"))
    assert schedule.is_open(paris("2026-11-24T00:00"))
    assert schedule.next_change(paris("2026-11-23T22:00")) == paris("2026-11-24T02:00")


def test_the_hour_that_comes_twice_is_open_twice() -> None:
    schedule = Schedule(PARIS, week(sun="00:00-02:30"))
    first, second = paris("2026-10-25T02:15"), paris("2026-10-25T02:15", fold=1)
    assert schedule.is_open(first) and schedule.is_open(second)
    closes = schedule.next_change(first)
    assert closes == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    opens = schedule.next_change(closes)
    assert opens == datetime(2026, 10, 25, 1, 0, tzinfo=UTC)  # the clock is put back to 02:00
    assert schedule.next_change(opens) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_the_hour_that_is_left_out_opens_late() -> None:
    schedule = Schedule(PARIS, week(sun="02:30-05:00"))
    opens = schedule.next_change(paris("2026-03-29T00:00"))
    assert opens == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)  # 03:00 summer time, the first moment after 02:30
    assert not Schedule(PARIS, week(sun="02:00-03:00")).is_open(opens)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Schedule(PARIS, OFFICE).is_open(datetime(2026, 11, 24, 10))


@given(st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)))
def test_next_change_is_the_first(at: datetime) -> None:
    schedule = Schedule(
        PARIS, OFFICE, holidays.country_holidays("FR"), (parse_closure("2026-12-24/2027-01-02"),)
    )
    change = schedule.next_change(at)
    assert change is not None and change > at
    before = change - timedelta(microseconds=1)
    assert schedule.is_open(change) is not schedule.is_open(at)
    assert schedule.is_open(before) is schedule.is_open(at)
    between = at + (change - at) / 2
    assert schedule.is_open(between) is schedule.is_open(at)


@pytest.mark.parametrize(
    "text",
    ["8:30-12:00", "08:30", "08:30-25:00", "12:00-08:30", "08:30-08:30", "24:00-24:00", "a", "08:30-12:00,"],
)
def test_a_day_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has '"):
        parse_intervals(text)


def test_intervals_that_overlap_are_refused() -> None:
    assert parse_intervals("08:00-12:00, 12:00-13:00") == ((480, 720), (720, 780))
    for text in ("08:30-12:00,11:00-13:00", "13:00-14:00,08:00-09:00"):
        with pytest.raises(ValueError, match="overlap"):
            parse_intervals(text)


@pytest.mark.parametrize(
    "text",
    ["2026-12-24/", "2026-12-24/2026-12-23", "2026-W52-4", "20261224", "2026-02-30", "", "x/2026-12-24"],
)
def test_a_closure_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^has|^ends"):
        parse_closure(text)


def test_a_closure_may_be_one_day() -> None:
    assert parse_closure("2026-12-24") == (date(2026, 12, 24), date(2026, 12, 24))
