"""Opening hours on the wall clock of Paris: intervals, holidays, closures, and the nights the clock moves."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipagent.config.hours import (
    DAYS,
    OpeningState,
    Schedule,
    Week,
    parse_closure,
    parse_intervals,
    shown,
    without,
)
from tests.tiers import depth

PARIS = ZoneInfo("Europe/Paris")


def week(**days: str) -> Week:
    return tuple(parse_intervals(days.get(day, "")) for day in DAYS)


OFFICE = week(**dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), "08:30-12:00,13:30-17:30"))


def paris(text: str, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=PARIS, fold=fold)


def test_public_holidays_of_every_year_close() -> None:
    schedule = Schedule(PARIS, OFFICE, holidays.country_holidays("FR"))
    assert not schedule.is_open(paris("2026-07-14T10:00"))
    assert not schedule.is_open(paris("2027-05-17T10:00"))  # Whit Monday moves
    assert schedule.is_open(paris("2026-05-26T10:00"))
    assert schedule.next_change(paris("2027-01-01T09:00")) == paris("2027-01-04T08:30")
    with pytest.raises(ValueError, match="time zone"):
        schedule.is_open(datetime(2026, 11, 24, 10))


# --- any schedule, at any moment ---

DAY_MINUTES = 24 * 60
NIGHTS = {  # when the clock is put forward, and back
    "Europe/Paris": (date(2026, 3, 29), date(2026, 10, 25)),
    "America/New_York": (date(2026, 3, 8), date(2026, 11, 1)),
    "Australia/Lord_Howe": (date(2026, 10, 4), date(2026, 4, 5)),  # by half an hour
    "America/Havana": (date(2026, 3, 8), date(2026, 11, 1)),  # at midnight: 00:00 is left out, or comes twice
    "Asia/Beirut": (date(2026, 3, 29), date(2026, 10, 25)),  # at midnight, both ways
    "Asia/Kathmandu": (date(2026, 6, 1), date(2026, 12, 31)),  # never
}
MINUTES = st.sampled_from([0, 30, 60, 90, 120, 150, 180, 720, 23 * 60, DAY_MINUTES]) | st.integers(
    0, DAY_MINUTES
)


@st.composite
def hours_of_a_day(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    edges = sorted(draw(st.sets(MINUTES, max_size=6)))
    return tuple(zip(edges[::2], edges[1::2], strict=False))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Schedule, datetime]:
    """A schedule, and a moment within the days around what is special of it."""
    zone = draw(st.sampled_from(list(NIGHTS)))
    special = draw(st.sampled_from([*NIGHTS[zone], date(2026, 12, 31)]))
    around = st.integers(-2, 3).map(lambda days: special + timedelta(days=days))
    first = draw(around)
    closed = ((first, first + timedelta(days=draw(st.integers(0, 2)))),) if draw(st.booleans()) else ()
    midnight = datetime(special.year, special.month, special.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    begins = st.integers(-36 * 60, 60 * 60).map(lambda minutes: midnight + timedelta(minutes=minutes))
    lasts = st.integers(1, 30 * 60).map(lambda minutes: timedelta(minutes=minutes))
    today = draw(st.lists(st.tuples(begins, lasts), max_size=2))
    schedule = Schedule(
        ZoneInfo(zone),
        draw(st.none() | st.tuples(*[hours_of_a_day()] * 7)),
        draw(st.dictionaries(around, st.text(max_size=3), max_size=2)),
        closed,
        tuple((start, start + length) for start, length in today),
    )
    return schedule, midnight + timedelta(seconds=draw(st.integers(-36 * 3600, 60 * 3600)))


def wall_clock(schedule: Schedule, at: datetime) -> bool:
    """Whether it is open, by the texts of the configuration beside the time on a clock on the wall."""
    local = at.astimezone(schedule.timezone)
    day, time = local.date(), f"{local:%H:%M}"
    if any(start <= at < end for start, end in schedule.today):
        return False
    if day in schedule.holidays or any(first <= day <= last for first, last in schedule.closed):
        return False
    if schedule.week is None:
        return True
    hours = shown(schedule.week[day.weekday()])
    return any(start <= time < end for start, end in (each.split("-") for each in hours.split(",") if each))


@settings(max_examples=depth(60, 250))  # nights on which the clock moves are few
@given(schedules())
def test_every_moment_is_what_the_clock_on_the_wall_says_and_for_as_long(
    scheduled: tuple[Schedule, datetime],
) -> None:
    schedule, at = scheduled
    now, change = schedule.is_open(at), schedule.next_change(at)
    assert now is wall_clock(schedule, at)
    minute = at.replace(second=0, microsecond=0)
    for step in range(1, 3 * DAY_MINUTES):
        moment = minute + timedelta(minutes=step)
        if change is not None and moment >= change:
            break
        assert wall_clock(schedule, moment) is now, moment
    if change is not None:
        just_before = change - timedelta(microseconds=1)
        assert change > at
        assert (wall_clock(schedule, just_before), wall_clock(schedule, change)) == (now, not now)
        assert schedule.next_change(just_before) == change


@given(schedules())
def test_why_is_told_of_what_decides(scheduled: tuple[Schedule, datetime]) -> None:
    schedule, at = scheduled
    state, day = schedule.state(at), at.astimezone(schedule.timezone).date()
    match state.reason:
        case "closed":
            first, _, last = state.what.partition("/")
            assert first <= str(day) <= (last or first) and not state.open
        case "holiday":
            assert state.what == (schedule.holidays[day] or str(day)) and not state.open
        case "week":
            assert schedule.week is not None
            name, _, hours = state.what.partition(" ")
            assert (name, parse_intervals(hours)) == (DAYS[day.weekday()], schedule.week[day.weekday()])
        case "today":
            assert any(start <= at < end for start, end in schedule.today) and not state.open
        case "always":
            assert state == OpeningState(True, "always", "") and schedule.week is None


@given(hours_of_a_day())
def test_a_day_is_written_as_it_is_read(intervals: tuple[tuple[int, int], ...]) -> None:
    assert parse_intervals(shown(intervals)) == intervals


@given(st.none() | st.tuples(*[hours_of_a_day()] * 7), st.tuples(*[hours_of_a_day()] * 7))
def test_what_one_week_has_without_another(week: Week | None, other: Week) -> None:
    def minutes(intervals: tuple[tuple[int, int], ...]) -> set[int]:
        return {minute for start, end in intervals for minute in range(start, end)}

    for day, rest in enumerate(without(week, other)):
        whole = minutes(week[day]) if week else set(range(1440))
        assert minutes(rest) == whole - minutes(other[day])
        assert parse_intervals(shown(rest)) == rest


# --- what is no schedule ---


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
    assert parse_closure("2026-12-24") == (date(2026, 12, 24), date(2026, 12, 24))
    with pytest.raises(ValueError, match=r"^has|^ends"):
        parse_closure(text)
