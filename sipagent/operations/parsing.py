"""What people type, as values: moments, callers' numbers, references of calls, filters, texts of analyses.

Pure: the present is an argument. What cannot be read raises Unreadable, one line that says what is accepted;
of filters it is a FieldError, which names the field.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import phonenumbers

from retention.records import Status, is_id
from retention.rows.selection import Selection
from retention.statistics import DECISIONS, OUTCOMES
from retention.texts import Reason, WithReason
from sipagent.config.errors import is_plain
from sipagent.config.identity import to_e164

if TYPE_CHECKING:
    from sipagent.config.load import Config

_AGO = re.compile(r"(\d{1,4})([mhdw])", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)
_AHEAD = re.compile(
    r"(?=.)(?P<day>today|tomorrow|aujourd['’]hui|demain)? ?(?:à )?(?:(?P<hour>\d\d?)[:h](?P<minute>\d\d)?)?"
)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Unreadable(WithReason, ValueError):
    """What is typed means nothing here."""


def parse_moment(text: str, now: datetime, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """The UTC moment meant; a text without an offset is local time.

    A whole day (a date, `today`, `yesterday`) is its first moment, or with `end` the first one after it.
    Raises Unreadable with what is accepted.
    """
    text = text.strip()
    if text == "now":
        return now
    if ago := _AGO.fullmatch(text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        return _day(text, now, zone, end) or _moment(text, zone)
    except (ValueError, OverflowError):
        raise Unreadable(
            "{0!r} is not a moment; accepted: 2026-11-24, 2026-11-24T10:00, today, yesterday, now, 30m, 12h, "
            "7d or 2w (ago)",
            text,
        ) from None


def parse_day(text: str, now: datetime, zone: ZoneInfo) -> date:
    """The day meant, by the clocks of the service: one with another before and behind it. Raises
    Unreadable."""
    with suppress(Unreadable, OverflowError):
        day = parse_moment(text, now, zone).astimezone(zone).date()
        if date.min.year < day.year < date.max.year:
            return day
    raise Unreadable("{0!r} is not a day; accepted: 2026-11-24, today, yesterday, 7d or 2w (ago)", text)


def parse_ahead(text: str, now: datetime, zone: ZoneInfo, *, end: bool = False) -> datetime:
    """As `parse_moment`, of what is to come: `17:00` is today, `tomorrow 9:00` is said too, `2h` is in two
    hours. Raises Unreadable."""
    text = " ".join(text.split()).lower()
    if ahead := _AGO.fullmatch(text):
        return now + timedelta(**{_UNITS[ahead[2]]: int(ahead[1])})
    try:
        if found := _AHEAD.fullmatch(text):
            days = int(found["day"] in ("tomorrow", "demain"))
            if found["hour"] is None:
                days, clock = days + int(end), time()
            else:
                clock = time(int(found["hour"]), int(found["minute"] or 0))
            day = now.astimezone(zone).date() + timedelta(days=days)
            return datetime.combine(day, clock, zone).astimezone(UTC)
        return _day(text, now, zone, end) or _moment(text.upper(), zone)
    except (ValueError, OverflowError):
        raise Unreadable(
            "{0!r} is not a moment; accepted: 17:00, today, tomorrow, tomorrow 9:00, 2026-12-24, "
            "2026-12-24T12:00, 30m, 2h or 3d (from now on)",
            text,
        ) from None


def _day(text: str, now: datetime, zone: ZoneInfo, end: bool) -> datetime | None:
    today = now.astimezone(zone).date()
    days = {"today": today, "yesterday": today - timedelta(days=1)}
    days |= {"aujourd'hui": today, "aujourd’hui": today, "hier": days["yesterday"]}
    day = datetime.fromisoformat(text).date() if _DATE.fullmatch(text) else days.get(text)
    if day is None:
        return None
    return datetime.combine(day + timedelta(days=int(end)), time(), zone).astimezone(UTC)


def _moment(text: str, zone: ZoneInfo) -> datetime:
    if _MOMENT.fullmatch(text) is None:
        raise ValueError(text)
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def call_reference(typed: str) -> str:
    """`482913`, also from `#482 913` or the end of an id. Raises Unreadable."""
    reference = re.sub(r"[\s.#-]", "", typed)
    if re.fullmatch(r"\d{6}", reference, re.ASCII) is None:
        raise Unreadable("{0!r} is not the reference of a call; accepted: 482913, the end of an id", typed)
    return reference


def caller_forms(typed: str, country: str) -> tuple[str, ...]:
    """Every form that a typed number, or its beginning or end, may have in the rows.

    `06 12 34 56 78` is one number, `+33612345678`. A part, `0612`, may be the beginning or the end, so it is
    both `+33612…` and `…0612`. Raises Unreadable.
    """
    number = to_e164(typed, country)
    if number is not None and number.startswith("+"):
        return (number,)
    digits = re.sub(r"[\s\-.()/]", "", typed)
    if re.fullmatch(r"\+?\d{1,20}", digits, re.ASCII) is None:
        said = "{0!r} is not a number; accepted: 06 12 34 56 78, +33612345678, or a part of it"
        raise Unreadable(said, typed)
    if digits.startswith("+"):
        return (digits,)
    if digits.startswith("00"):
        return (f"+{digits[2:]}", digits)
    if digits.startswith("0"):
        return (f"+{phonenumbers.country_code_for_region(country)}{digits[1:]}", digits)
    return (f"+{digits}", digits)


TypedText = TypeVar("TypedText", str, bytes)
Value = TypeVar("Value")


class FieldError(ValueError):
    """A field of a request cannot be read. `name`: of the field, such as `since`; `problem`: what is wrong,
    in one line."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(Reason("{0}: {1}", name, problem))
        self.name = name
        self.problem = problem


def selection(
    config: "Config",
    present: datetime,
    *,
    since: str | None = None,
    until: str | None = None,
    caller: str | None = None,
    reference: str | None = None,
    operator: str | None = None,
    status: str | None = None,
    outcome: str | None = None,
    decision: str | None = None,
    after: str | None = None,
    held: bool = False,
    flagged: bool = False,
    limit: int | None = None,
) -> Selection:
    """What is meant; a text without an offset is a time of the service. Raises FieldError."""
    service = config.service
    forms = _optional("caller", caller, lambda text: caller_forms(text, service.country)) or ()
    number = forms[0] if len(forms) == 1 and to_e164(forms[0], service.country) == forms[0] else None
    return Selection(
        since=_optional("since", since, lambda text: parse_moment(text, present, service.timezone)),
        until=_optional("until", until, lambda text: parse_moment(text, present, service.timezone, end=True)),
        number=number,
        caller=() if number else forms,
        reference=_optional("reference", reference, call_reference),
        operator=operator,
        status=_optional("status", status, lambda text: Status(_one_of(text, tuple(Status)))),
        outcome=_optional("outcome", outcome, lambda text: _one_of(text, OUTCOMES)),
        decision=_optional("decision", decision, lambda text: _one_of(text, DECISIONS)),
        after=_optional("after", after, _id),
        held=held,
        flagged=flagged,
        limit=limit,
    )


def _optional(name: str, text: str | None, read: Callable[[str], Value]) -> Value | None:
    return None if text is None else read_field(name, text, read)


def read_field(name: str, typed: TypedText, read: Callable[[TypedText], Value]) -> Value:
    """What a field means. Raises FieldError where `read` raises Unreadable."""
    try:
        return read(typed)
    except Unreadable as error:
        raise FieldError(name, str(error)) from error


def _one_of(text: str, accepted: tuple[str, ...]) -> str:
    if text not in accepted:
        raise Unreadable("{0!r} is none of these: {1}", text, ", ".join(accepted))
    return text


def _id(text: str) -> str:
    if not is_id(text):
        raise Unreadable("{0!r} is not an id", text)
    return text


NOTE_LIMIT = 64 * 1024  # bytes


def note_text(content: bytes) -> str:
    """The text, its lines ended by a line feed alone. Raises FieldError for what is no text."""
    return read_field("text", content, _note)


def _note(content: bytes) -> str:
    if len(content) > NOTE_LIMIT:
        raise Unreadable("is longer than {0} KiB", NOTE_LIMIT // 1024)
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise Unreadable("is not UTF-8 text") from error
    if not text:
        raise Unreadable("is empty")
    if not all(is_plain(char) for char in text.replace("\n", "").replace("\t", "")):
        raise Unreadable("holds control characters, it is not plain text")
    return text
