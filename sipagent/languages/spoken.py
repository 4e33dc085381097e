"""Texts in the language that is spoken here: of the process, or of the request that this thread answers.

The command line speaks one language (`choice.speaking`). The page answers people in several at once: each
request says its own (`answering`), for the thread that answers it and what that one starts.

    gettext(text), …   a text of the command line or of the page
    fault(error)       what the system says of a file or a connection: English from the C library
    said(text)         what is raised, found and kept below the command line
    shown(error)       an error, or a Reason: a text that is both kept, in English, and shown

Everything but the command line says English sentences, with the values in them, whoever listens: they go
into the log, the database and JSON, and are compared. Where one of them reaches a person, the command
line looks here for what it was made of. A catalogue has it as the code does, under the context `message`,
with `{0}`, `{1}` and so on where the code has values, in their order; a translation with `{0!s}` has that
one as it is, for instance a key of the configuration:

    msgctxt "message"
    msgid "{0}: exists, and a key is never overwritten"

The entry with the most words that fits is taken, and its values may be such sentences again. What no
entry fits is looked at in parts, as the code joins them: `PATH: WHY`, `ONE; OTHER`, `WHAT; accepted:
WHICH`, `VALUE is not …`. An entry that begins with `;` is the end of a sentence. Whatever is not known
stays English.
"""

import errno
import gettext as library
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from gettext import find
from pathlib import Path
from typing import Any

from sipagent.languages.choice import DOMAIN, FOLDER, LANGUAGES
from sipagent.languages.typography import NARROW, WIDE

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


CONTEXT = "message"
_ACCEPTED = "; accepted: "  # as ConfigError and others end
_BETWEEN = re.compile(r"[;:,]? ")
_SPACES = WIDE + NARROW
_PREDICATE = re.compile(  # what follows a value
    r"(is|has|had|holds|ends|begins|starts|asks|names|says|means|promises|expires|overlaps|never|does|could)\b"
)
_WEIGHTY, _BEGINS = 12, 6  # characters that are always in an entry: with less, anything fits
_VALUE = re.compile(r"\{(\d)\}")
_COUNT = re.compile(r"\{0\} \w+")  # `{0} calls`: any other value would fit too much
_LONGEST = 2000  # characters: nothing that is longer is a message


@dataclass(frozen=True, slots=True)
class _Template:
    """A sentence with values: what is always in it, which values stay as they are for they are quoted, how it
    is recognised, and how it is said."""

    fixed: tuple[str, ...]
    quoted: tuple[bool, ...]
    pattern: re.Pattern[str]
    french: str

    @property
    def weight(self) -> int:
        """How sure it is; a beginning of its own makes it surer."""
        return sum(map(len, self.fixed)) + (_BEGINS if self.pattern.pattern[0] != "(" else 0)


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """`whole`: sentences without values; `ends`: those that follow another; `templates`: heaviest first."""

    whole: Mapping[str, str]
    ends: Mapping[str, str]
    templates: tuple[_Template, ...]


def said(text: str) -> str:
    """The text in the language that is spoken just now; as it is in English, or if it is not known."""
    path = _path()
    return text if path is None or len(text) > _LONGEST else _said(path, text)


def colon() -> str:
    """What stands between a name and what is said of it, with the space behind."""
    return said(": ")


def accepted() -> str:
    """What stands between what is wrong and what is accepted, without the space behind."""
    return said(_ACCEPTED.rstrip())


def _path() -> str | None:
    """The `.mo` of the language that is spoken just now; None if it is that of the code."""
    spoken = language()
    return find(DOMAIN, FOLDER, [spoken]) if spoken != "en" else None


@lru_cache(maxsize=1024)
def _said(path: str, text: str) -> str:
    catalogue = _read(path)
    for way in (_ended, _whole, _accepted, _joined):
        if (found := way(path, catalogue, text)) is not None:
            return found
    return text


def _whole(path: str, catalogue: _Catalogue, text: str) -> str | None:
    """By the heaviest entry that fits and whose values are known, or else by the heaviest with weight."""
    if text in catalogue.whole:
        return catalogue.whole[text]
    second = None
    for template in catalogue.templates:
        if not all(part in text for part in template.fixed) or not (
            found := template.pattern.fullmatch(text)
        ):
            continue
        # a French sentence that it was put into has set a space before the colon
        values = [value.rstrip(_SPACES) for value in found.groups()]
        translated = [
            value if quoted else _said(path, value)
            for value, quoted in zip(values, template.quoted, strict=True)
        ]
        if all(map(_is_known, values, translated)):
            return template.french.format(*translated)
        if second is None and template.weight >= _WEIGHTY:
            second = template.french.format(*translated)
    return second


def _is_known(value: str, translated: str) -> bool:
    """Whether nothing shows that it is a message with no entry: one word, a name, or said otherwise."""
    return " " not in value or value != translated or not value[0].islower()


def _accepted(path: str, catalogue: _Catalogue, text: str) -> str | None:
    """`WHAT; accepted: WHICH`."""
    what, accepted, which = text.rpartition(_ACCEPTED)
    if not accepted:
        return None
    label = catalogue.ends[_ACCEPTED.rstrip()]
    return f"{_said(path, what)}{label} {_said(path, which)}"


def _ended(path: str, catalogue: _Catalogue, text: str) -> str | None:
    for end, french in catalogue.ends.items():
        if text.endswith(end):
            return _said(path, text.removesuffix(end)) + french
    return None


def _joined(path: str, catalogue: _Catalogue, text: str) -> str | None:
    """Parts of which one is known: the last, as long as can be, or else any."""
    for found in _BETWEEN.finditer(text):
        first, rest = text[: found.start()], text[found.end() :]
        if found[0] == " " and not _PREDICATE.match(rest):
            continue  # only what is wrong with a value follows it without a sign
        if (last := _whole(path, catalogue, rest)) is not None:
            return f"{_said(path, first.rstrip(_SPACES))}{catalogue.whole.get(found[0], found[0])}{last}"
    for english in ("; ", ": ", ", "):
        parts = [part.rstrip(_SPACES) for part in text.split(english)]
        if len(parts) > 1 and (translated := [_said(path, part) for part in parts]) != parts:
            return catalogue.whole.get(english, english).join(translated)
    return None


@lru_cache(maxsize=4)
def _read(path: str) -> _Catalogue:
    """Sort the entries of a `.mo` by how they are found."""
    whole, ends, templates = {}, {}, []
    texts = entries(path)
    for key, french in texts.items():
        context, _, english = key.rpartition("\x04")
        if context != CONTEXT:
            continue
        if english.startswith(";") and english != "; ":
            ends[english] = french
        elif _VALUE.search(english):
            templates.append(_template(english, french))
        else:
            whole[english] = french
    whole |= {text: texts[text] for text in map(os.strerror, FAULTS) if text in texts}
    return _Catalogue(whole, ends, tuple(sorted(templates, key=lambda one: -one.weight)))


def _template(english: str, french: str) -> _Template:
    fixed = _VALUE.split(english)[::2]
    value = r"(\d+)" if _COUNT.fullmatch(english) else "(.*?)"
    pattern = value.join(map(re.escape, fixed))
    numbers = _VALUE.findall(english)
    quoted = tuple(
        before.endswith("'") or f"{{{number}!s}}" in french
        for before, number in zip(fixed, numbers, strict=False)
    )
    return _Template(tuple(filter(None, fixed)), quoted, re.compile(pattern, re.DOTALL), french)


def entries(path: str) -> dict[str, str]:
    """All of a `.mo`: the translation of each text, behind its context (gettext's manual, "MO Files")."""
    content = Path(path).read_bytes()
    _, _, count, originals, translations = struct.unpack_from("=5I", content)

    def text(table: int, number: int) -> str:
        length, place = struct.unpack_from("=2I", content, table + 8 * number)
        return content[place : place + length].decode()

    return {text(originals, number): text(translations, number) for number in range(count)}


class Reason(str):
    """An English text, made of a message with placeholders and its values, that gettext may have otherwise.

    A value may be a reason, too.
    """

    message: str
    values: dict[str, Any]

    def __new__(cls, message: str, /, **values: Any) -> "Reason":
        """The English text."""
        made = super().__new__(cls, message.format(**values))
        made.message, made.values = message, values
        return made

    def shown(self) -> str:
        """The text in the language that is spoken just now."""
        return gettext(self.message).format(**{name: shown_value(one) for name, one in self.values.items()})


def shown_value(value: Any) -> Any:
    """A reason, or an English message, in the language that is spoken; what is no text as it is."""
    if isinstance(value, Reason):
        return value.shown()
    return said(value) if isinstance(value, str) else value


def shown(of: Exception | str) -> str:
    """What an error says, or a text, in the language that is spoken; `str()` is what is kept of it."""
    if isinstance(of, Exception):
        of = of.args[0] if len(of.args) == 1 and isinstance(of.args[0], Reason) else str(of)
    return str(shown_value(of))
