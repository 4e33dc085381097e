"""Which language a person reads, for the whole process: as gettext has it, so any module may ask gettext.

Older Pythons can read it, too: `__main__` tells them that they are.

gettext looks at the environment for each text. So a choice holds wherever a text stands, also in click and in
what is started from here, and nothing depends on the order of imports.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LANGUAGES = ("en", "fr")  # what the code has, and each folder beside this file
DOMAIN = "sipagent"
FOLDER = Path(__file__).parent
_VARIABLES = ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")  # in gettext's order


def of_environment(environment: Mapping[str, str]) -> str:
    """The first that is known among those wished for; English without any."""
    wished = next(filter(None, (environment.get(name) for name in _VARIABLES)), "")
    codes = (re.split(r"[_.@]", one)[0].lower() for one in wished.split(":"))
    return next((code for code in codes if code in LANGUAGES), "en")


def of_arguments(arguments: Sequence[str]) -> str | None:
    """What `--lang` says, wherever it stands; None where it is not given, or names what there is none of.

    Read before click reads anything, so that its own complaints are in that language.
    """
    given = [*arguments[: arguments.index("--")]] if "--" in arguments else [*arguments]
    words = " ".join(given).replace("--lang=", "--lang ").split(" ")
    named = (words[place + 1] for place, word in enumerate(words[:-1]) if word == "--lang")
    return next((one for one in named if one in LANGUAGES), None)


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Have gettext give the texts of that language until the end; one in another may lie within.

    With "en" for what is kept, or read by programs.
    """
    gettext.bindtextdomain(DOMAIN, FOLDER)
    gettext.textdomain(DOMAIN)
    before = os.environ.get("LANGUAGE")
    os.environ["LANGUAGE"] = "C" if language == "en" else language  # C: no catalogue is looked for
    try:
        yield
    finally:
        if before is None:
            del os.environ["LANGUAGE"]
        else:
            os.environ["LANGUAGE"] = before
