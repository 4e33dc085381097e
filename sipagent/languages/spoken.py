"""gettext in the language that is spoken here: of the process, or of the request that this thread answers.

The command line speaks one language (`choice.speaking`). The page answers people in several at once: each
request says its own (`answering`), for the thread that answers it and what that one starts.
"""

import gettext as library
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from sipagent.languages.choice import DOMAIN, FOLDER, LANGUAGES

_here: ContextVar[str | None] = ContextVar("language", default=None)


@contextmanager
def answering(language: str) -> Iterator[None]:
    """Have this thread, or task, speak that language until the end."""
    token = _here.set(language)
    try:
        yield
    finally:
        _here.reset(token)


def language() -> str:
    """The language that is spoken here, one of LANGUAGES."""
    of_process = os.environ.get("LANGUAGE", "")
    return _here.get() or (of_process if of_process in LANGUAGES else "en")


def gettext(text: str) -> str:
    """The text in that language."""
    return _catalogue(language()).gettext(text)


def ngettext(one: str, several: str, n: int) -> str:
    """The text for `n` things."""
    return _catalogue(language()).ngettext(one, several, n)


def pgettext(context: str, text: str) -> str:
    """The text in that language, where the same English means several things."""
    return _catalogue(language()).pgettext(context, text)


@lru_cache(maxsize=len(LANGUAGES))
def _catalogue(language: str) -> library.NullTranslations:
    return library.translation(DOMAIN, FOLDER, [language], fallback=language == "en")
