"""What is coded in rows and in the configuration, as people read it in tables and papers.

English people read the code itself. JSON always has the code. A code that is not listed, such as a purpose of
one's own, is shown as it is.
"""

import os
from functools import lru_cache
from gettext import pgettext
from typing import Literal

Kind = Literal["status", "decision", "outcome", "by", "action", "use", "purpose", "ground", "level", "mark"]

CODES: dict[Kind, tuple[str, ...]] = {  # the `msgctxt` of fr/labels.po, and its `msgid`s
    "status": ("open", "closed", "erased", "purging", "purged", "failed"),  # of a recording
    "decision": ("undecided", "allowed", "refused", "not_allowed"),  # of a call
    "level": ("ok", "warning", "error"),  # of what a check finds
}


def label(kind: Kind, code: str) -> str:
    """The words for a code, in the language that is spoken just now."""
    return _label(os.environ.get("LANGUAGE"), kind, code)


@lru_cache(maxsize=1024)  # a table has thousands of the same, and gettext looks at the disk for each
def _label(language: str | None, kind: Kind, code: str) -> str:
    return pgettext(kind, code)
