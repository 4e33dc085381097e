"""Moments and amounts as people read them. Pure: the present is an argument."""

from datetime import datetime
from gettext import gettext as _
from gettext import ngettext, pgettext


def short(local: datetime) -> str:
    """`24 Nov 23:20`, `24 nov. 23:20`."""
    return f"{local:%d} {_months()[local.month - 1]} {local:%H:%M}"


def _months() -> tuple[str, ...]:
    return (
        *(pgettext("month", "Jan"), pgettext("month", "Feb"), pgettext("month", "Mar")),
        *(pgettext("month", "Apr"), pgettext("month", "May"), pgettext("month", "Jun")),
        *(pgettext("month", "Jul"), pgettext("month", "Aug"), pgettext("month", "Sep")),
        *(pgettext("month", "Oct"), pgettext("month", "Nov"), pgettext("month", "Dec")),
    )


def full(local: datetime) -> str:
    """`2026-11-24 23:20:00`, in every language: nobody reads it wrong, it sorts, and `--since` takes it."""
    return f"{local:%Y-%m-%d %H:%M:%S}"


def distance(at: datetime, now: datetime) -> str:
    """`in 181 days`, `3 hours ago`: in whole units, rounded down."""
    seconds = abs((at - now).total_seconds())
    if seconds < 60:
        return _("now")
    if seconds >= 86400:
        count = int(seconds // 86400)
        words = ngettext("{n} day", "{n} days", count)
    elif seconds >= 3600:
        count = int(seconds // 3600)
        words = ngettext("{n} hour", "{n} hours", count)
    else:
        count = int(seconds // 60)
        words = ngettext("{n} minute", "{n} minutes", count)
    ahead, ago = _("in {time}"), _("{time} ago")
    return (ahead if at > now else ago).format(time=words.format(n=count))


def size(count: int | None) -> str:
    """`4.2 MB`; a dash if unknown."""
    if count is None:
        return "–"
    if count < 1000:
        return _("{amount} B").format(amount=count)
    amount = float(count)
    for unit in (_("{amount} kB"), _("{amount} MB"), _("{amount} GB")):
        amount /= 1000
        if amount < 999.95:
            return unit.format(amount=figure(amount, ".1f"))
    return _("{amount} TB").format(amount=figure(amount / 1000, ".1f"))


def figure(value: float, form: str = ",") -> str:
    """`1,234.5` by that form, with the marks of the language."""
    marks = {",": pgettext("thousands", ","), ".": pgettext("decimals", ".")}
    return "".join(marks.get(char, char) for char in format(value, form))


def percent(share: float | None, decimals: int = 1) -> str:
    """`46.5%`; a dash if unknown."""
    return "–" if share is None else _("{amount}%").format(amount=figure(share * 100, f".{decimals}f"))


def in_seconds(seconds: float | None) -> str:
    """`9.5 s`; a dash if unknown."""
    return "–" if seconds is None else _("{amount} s").format(amount=figure(seconds, ".1f"))
