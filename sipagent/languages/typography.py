"""Letters and spaces: how French is set, and what a terminal shows that lacks some of them.

No line ends before `:`, `;`, `?`, `!`, `%` or `»`, or behind `«`.

What a terminal or file lacks, such as one in ISO 8859-1, is written as well as can be: `’` as `'`, `œ` as
`oe`. One in ASCII is taken for one whose locale nobody has set, as click takes it: it gets UTF-8.
"""

import codecs
import io
import re
import unicodedata

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


_PLAIN = {
    "’": "'",
    "‘": "'",
    "«": '"',
    "»": '"',
    "“": '"',
    "”": '"',
    "–": "-",
    "—": "-",
    "…": "...",
    "·": ".",
}
_PLAIN |= {"œ": "oe", "Œ": "OE", "æ": "ae", "€": "EUR", "→": "->", "×": "x"}


def show_all(stream: object) -> None:
    """Have a stream that is not in UTF-8 show what it can, where it would raise UnicodeEncodeError."""
    if not isinstance(stream, io.TextIOWrapper):
        return
    name = codecs.lookup(stream.encoding).name
    if name == "ascii":
        stream.reconfigure(encoding="utf-8")
    elif name != "utf-8":
        stream.reconfigure(errors="sipagent.plain")


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Raises the error again if it is not one of writing."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    char = error.object[error.start]
    if "\udc80" <= char <= "\udcff":  # a byte of a file's name that was no text
        return bytes([ord(char) - 0xDC00]), error.start + 1
    return _PLAIN.get(char) or _letters(char), error.start + 1


def _letters(char: str) -> str:
    """ASCII, since the replacement itself has to be writable."""
    parts = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return parts if parts.isprintable() and parts else "?"


codecs.register_error("sipagent.plain", _plain)
