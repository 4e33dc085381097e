"""How French is set: no line ends before `:`, `;`, `?`, `!`, `%` or `»`, or behind `«`."""

import re

WIDE = "\u00a0"  # a no-break space: before `:`, inside « », between a number and its unit
NARROW = "\u202f"  # a narrow one: before `;`, `?`, `!` and `%`

# What stands between backquotes is code, and a colon with more behind it may be part of some.
_PLACES = re.compile(
    r"(?P<code>(?P<fence>`+).+?(?P=fence))|(?P<open>«) | (?P<narrow>[;?!%])| (?P<wide>:(?!\S)|»)"
)


def set_french(text: str) -> str:
    """The text with no-break spaces where it has plain ones at those places."""
    return _PLACES.sub(_set, text)


def _set(place: re.Match[str]) -> str:
    if place["code"]:
        return place["code"]
    if place["narrow"]:
        return NARROW + place["narrow"]
    return place["open"] + WIDE if place["open"] else WIDE + place["wide"]
