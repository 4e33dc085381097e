"""Texts in the language that is spoken here: of the process, or of the request that this thread answers.

The command line speaks one language (`choice.speaking`). The page answers people in several at once: each
request says its own (`answering`), for the thread that answers it and what that one starts.

    gettext(text), …   a text of the command line or of the page
    fault(error)       what the system says of a file or a connection: English from the C library
    shown(error)       an error, or a text of `retention`, `media` and the rest: a Reason knows what it is
                       made of, any other text is looked up whole

What is logged, kept or read by programs is English whoever listens: that is what a Reason is as a `str`.
"""

import errno
import gettext as library
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from retention.texts import Reason, reason_of
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


FAULTS = (  # those that our commands may meet
    *(
        errno.EPERM,
        errno.ENOENT,
        errno.EIO,
        errno.ENXIO,
        errno.EACCES,
        errno.EBUSY,
        errno.EEXIST,
        errno.EXDEV,
    ),
    *(errno.ENODEV, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.EMFILE, errno.EFBIG, errno.ENOSPC),
    *(errno.EROFS, errno.ENAMETOOLONG, errno.ENOTEMPTY, errno.ELOOP, errno.EDQUOT, errno.ETIMEDOUT),
    *(errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH),
)


def fault(error: OSError) -> str:
    """What went wrong, without the name of the file."""
    return gettext(error.strerror) if error.strerror else str(error)


def colon() -> str:
    """What stands between a name and what is said of it, with the space behind."""
    return gettext(": ")


def accepted() -> str:
    """What stands between what is wrong and what is accepted, without the space behind."""
    return gettext("; accepted:")


def shown(of: Exception | str) -> str:
    """What an error says, or a text, in the language that is spoken; `str()` is what is kept of it."""
    text = reason_of(of) if isinstance(of, Exception) else of
    if not isinstance(text, Reason):
        return gettext(text) if text else text
    message = gettext(text.message) if text.message else ""
    if not (text.values or text.named):
        return message
    named = {name: _value(one) for name, one in text.named.items()}
    return message.format(*map(_value, text.values), **named)


def _value(value: Any) -> Any:
    """A reason in the language that is spoken; what is no reason as it is: a key, a name, a number."""
    return shown(value) if isinstance(value, Reason) else value
