"""Colleagues who lend their voices by telephone: [enrol]."""

import re
import unicodedata

from sipagent.config.keys import FilePath, Number, OptionalPath, RequiredText, Table, key

MOST_DAYS = 180  # six months, the longest that recordings are kept
FOLDER = "voices"


class EnrolTable(Table):
    """Who may call the extension where voices are lent, and what becomes of them."""

    extension: Number = key("the number that colleagues dial such as 900")
    colleagues: dict[Number, RequiredText] = key('a table such as { "201" = "Ann Martin" }', min_length=1)
    folder: FilePath = key("a folder", FOLDER)
    keep_days: int = key(f"days, 1 to {MOST_DAYS}", MOST_DAYS, ge=1, le=MOST_DAYS)
    prompts: OptionalPath = key("a folder of prompts that replace the shipped ones", None)


def folder_name(text: str) -> str:
    """How a name or a phrase is called on disk: `ann_martin`; empty where it has no letter of ASCII."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
