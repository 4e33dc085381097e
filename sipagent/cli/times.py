"""Moments as people type them; moments and amounts as people read them. Pure: the present is an argument."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sipagent.config.finding import counted

ACCEPTED = "2026-11-24, 2026-11-24T10:00, today, yesterday, now, 30m, 12h, 7d or 2w (ago)"

_AGO = re.compile(r"(\d{1,4})([mhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, now: datetime, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """The UTC moment meant; a text without an offset is local time.

    A whole day (a date, `today`, `yesterday`) is its first moment, or with `end` the first one after it.
    Raises ValueError with what is accepted.
    """
    text = text.strip()
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return _day(text, now, zone, end) or _moment(text, zone)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a moment; accepted: {ACCEPTED}") from None


def _day(text: str, now: datetime, zone: ZoneInfo, end: bool) -> datetime | None:
    today = now.astimezone(zone).date()
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    day = datetime.fromisoformat(text).date() if _DATE.fullmatch(text) else days.get(text)
    if day is None:
        return None
    return datetime.combine(day + timedelta(days=int(end)), time(), zone).astimezone(UTC)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    if _MOMENT.fullmatch(text) is None:
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def short(local: datetime) -> str:
    """`24 Nov 23:20`."""
    return f"{local:%d %b %H:%M}"


def full(local: datetime) -> str:
    """`2026-11-24 23:20:00`."""
    return f"{local:%Y-%m-%d %H:%M:%S}"


def length(seconds: float | None) -> str:
    """`4:05`, `1:04:05`; a dash if unknown."""
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def distance(at: datetime, now: datetime) -> str:
    """`in 181 days`, `3 hours ago`: in whole units, rounded down."""
    seconds = abs((at - now).total_seconds())
    count, unit = next(
        (int(seconds // size), name)
        for size, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (0.001, "moment"))
        if seconds >= size or name == "moment"
    )
    if unit == "moment":
        return "now"
    words = counted(count, unit)
    return f"in {words}" if at > now else f"{words} ago"


def size(count: int | None) -> str:
    """`4.2 MB`; a dash if unknown."""
    if count is None:
        return "–"
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} TB"
