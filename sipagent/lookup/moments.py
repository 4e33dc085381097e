"""Moments as people type them. Pure: the present is an argument."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sipagent.languages.spoken import gettext as _

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
        said = _(
            "{text!r} is not a moment; accepted: 2026-11-24, 2026-11-24T10:00, today, yesterday, now, 30m, "
            "12h, 7d or 2w (ago)"
        )
        raise ValueError(said.format(text=text)) from None


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
