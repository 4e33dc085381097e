"""The text of an analysis: what may be filed."""

from sipagent.config.errors import is_plain
from sipagent.languages.spoken import gettext as _

LIMIT = 64 * 1024  # bytes


def note_text(content: bytes) -> str:
    """The text, its lines ended by a line feed alone. Raises ValueError, one line, for what is no text."""
    if len(content) > LIMIT:
        raise ValueError(_("is longer than {limit} KiB").format(limit=LIMIT // 1024))
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError as error:
        raise ValueError(_("is not UTF-8 text")) from error
    if not text:
        raise ValueError(_("is empty"))
    if not all(is_plain(char) for char in text.replace("\n", "").replace("\t", "")):
        raise ValueError(_("holds control characters, it is not plain text"))
    return text
