"""Opening hours: the local wall clock of the service decides, daylight saving included.

Pure: the moment comes in as an argument. Intervals are half-open, `08:30-12:00` is closed at 12:00 sharp.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from retention.records import Special
from retention.texts import Reason

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMES = (  # of them, for people
    *(Reason("mon"), Reason("tue"), Reason("wed"), Reason("thu"), Reason("fri")),
    *(Reason("sat"), Reason("sun")),
)
DAY = 24 * 60  # minutes
HORIZON_DAYS = 740  # next_change looks two years ahead: longer than any intended closure

Interval = tuple[int, int]  # minutes since local midnight, [from, to)
Week = tuple[tuple[Interval, ...], ...]  # Monday first, seven entries
Cause = Literal["always", "week", "holiday", "closed", "today"]

_INTERVAL = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))", re.ASCII)


def parse_intervals(text: str) -> tuple[Interval, ...]:
    """Read one day, `08:30-12:00,13:30-17:30`; an empty text is a closed day.

    Raises ValueError for another form, an interval that ends before it starts, or overlapping ones.
    """
    if not text.strip():
        return ()
    intervals = tuple(_parse_interval(part.strip()) for part in text.split(","))
    for before, after in pairwise(intervals):
        if after[0] < before[1]:
            both = Reason("{0!r} and then {1!r}", shown((before,)), shown((after,)))
            raise ValueError(Reason("has {0}, which overlap or are out of order", both))
    return intervals


def shown(intervals: tuple[Interval, ...]) -> str:
    """Write a day as `parse_intervals` reads it."""
    times = ((*divmod(start, 60), *divmod(end, 60)) for start, end in intervals)
    return ",".join("{:02}:{:02}-{:02}:{:02}".format(*each) for each in times)


def without(week: Week | None, other: Week) -> Week:
    """The parts of a week that the other one does not have; None: day and night."""
    whole = week or (((0, DAY),),) * len(DAYS)
    return tuple(tuple(_without(one, theirs)) for one, theirs in zip(whole, other, strict=True))


def _without(intervals: Iterable[Interval], others: Iterable[Interval]) -> Iterator[Interval]:
    for start, end in intervals:
        at = start
        for first, last in others:
            if at < min(first, end):
                yield at, min(first, end)
            at = max(at, min(last, end))
        if at < end:
            yield at, end


def days_shown(week: Week) -> tuple[str, ...]:
    """Write each day that has hours: `mon 08:30-12:00,13:30-17:30`."""
    return tuple(
        Reason("{0} {1}", day, shown(hours)) for day, hours in zip(NAMES, week, strict=True) if hours
    )


def _parse_interval(text: str) -> Interval:
    found = _INTERVAL.fullmatch(text)
    if found is None:
        raise ValueError(Reason("has {0!r}, which is not HH:MM-HH:MM", text))
    hour, minute, *ends = (int(group) for group in found.groups() if group is not None)
    start, end = hour * 60 + minute, ends[0] * 60 + ends[1]
    if end <= start:
        raise ValueError(
            Reason("has {0!r}, which does not end after it starts (past midnight: two days)", text)
        )
    return start, end


def parse_closure(text: str) -> tuple[date, date]:
    """Read `2026-12-24/2027-01-02`, both days included, or a single date. Raises ValueError."""
    first, slash, last = text.partition("/")
    interval = parse_date(first), parse_date(last if slash else first)
    if interval[1] < interval[0]:
        raise ValueError("ends before it starts")
    return interval


def parse_date(text: str) -> date:
    """Read `2026-12-24`. Raises ValueError; `date.fromisoformat` alone would take week dates too."""
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text.strip(), re.ASCII):
            return date.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(Reason("has {0!r}, which is no date of the calendar", text)) from error
    raise ValueError(Reason("has {0!r}, which is not a date YYYY-MM-DD", text))


@dataclass(frozen=True, slots=True)
class OpeningState:
    """Open or closed, and the part of the configuration that decides it.

    `what`: `wed 08:30-12:00,13:30-17:30`, `wed` of a day without hours; the holiday's name, or its date; the
    closure, `2026-12-24/2027-01-02`; empty without a week, and for a closure that is set for today.
    """

    open: bool
    reason: Cause
    what: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the service takes calls. Without `week` it is always open, except `holidays` and `closed`.

    `holidays` gives the name of each, which may be empty; `closed` holds intervals, both days included.
    `today`: closures that no configuration knows of, each from a moment until another.
    """

    timezone: ZoneInfo
    week: Week | None = None
    holidays: Mapping[date, str] = field(default_factory=dict)
    closed: tuple[tuple[date, date], ...] = ()
    today: tuple[tuple[datetime, datetime], ...] = ()

    def is_open(self, at: datetime) -> bool:
        """Tell whether the service is open at this aware moment. Raises ValueError for a naive one."""
        return self.state(at).open

    def state(self, at: datetime) -> OpeningState:
        """Tell whether it is open, and why. A closure has priority over a holiday, and a holiday over the
        week."""
        if at.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be placed in the opening hours")
        local = at.astimezone(self.timezone)
        day, minute = local.date(), local.hour * 60 + local.minute
        if any(start <= at < end for start, end in self.today):
            return OpeningState(False, "today", "")
        for first, last in self.closed:
            if first <= day <= last:
                return OpeningState(False, "closed", f"{first}" if first == last else f"{first}/{last}")
        if day in self.holidays:
            return OpeningState(False, "holiday", self.holidays[day] or f"{day}")
        if self.week is None:
            return OpeningState(True, "always", "")
        hours = self.week[day.weekday()]
        open = any(start <= minute < end for start, end in hours)
        return OpeningState(open, "week", f"{DAYS[day.weekday()]} {shown(hours)}".rstrip())

    def next_change(self, at: datetime) -> datetime | None:
        """Give the UTC moment at which `is_open` next differs from now; None if not within two years."""
        now = self.is_open(at)
        today = at.astimezone(self.timezone).date()
        for days in range(HORIZON_DAYS):
            for moment in self._boundaries(today + timedelta(days=days)):
                if moment > at and self.is_open(moment) != now:
                    return moment
        return None

    def _boundaries(self, day: date) -> Iterator[datetime]:
        """Yield every UTC moment of a local day at which the answer may change, in order."""
        start, end = self._midnight(day), self._midnight(day + timedelta(days=1))
        if end - start == timedelta(hours=24):
            hours = self.week[day.weekday()] if self.week else ()
            minutes = sorted({0, *(minute for interval in hours for minute in interval)})
        else:  # the clock is put forward or back: a wall time is missing or comes twice
            minutes = list(range((end - start) // timedelta(minutes=1)))
        moments = [start + timedelta(minutes=minute) for minute in minutes]
        yield from sorted({*moments, *(at for one in self.today for at in one if start <= at < end)})

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.timezone).astimezone(UTC)


def closures(specials: Iterable[Special]) -> tuple[tuple[datetime, datetime], ...]:
    """Of what is different, when it is closed."""
    return tuple((one.from_at, one.until_at) for one in specials if one.message is None)
