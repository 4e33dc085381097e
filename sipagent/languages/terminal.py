"""A terminal or file that cannot show all letters, such as one in ISO 8859-1.

What it lacks is written as well as can be: `’` as `'`, `œ` as `oe`. One in ASCII is taken for one whose
locale nobody has set, as click takes it: it gets UTF-8.
"""

import codecs
import io
import unicodedata

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
