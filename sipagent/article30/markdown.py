"""The register's entry as Markdown, in French or English: a `RegisterEntry` in, lines out. Pure.

It is between two comments, by which it is found again in a longer register; the text around them is not ours.
Every statement is one line, so that a different line shows which statement differs.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from sipagent.article30.english import ENGLISH
from sipagent.article30.french import FRENCH
from sipagent.article30.register import RegisterEntry, Statement
from sipagent.article30.words import RegisterWords, sentence
from sipagent.config.hours import DAYS
from sipagent.languages.typography import WIDE

LANGUAGES: Mapping[str, RegisterWords] = {"fr": FRENCH, "en": ENGLISH}
BEGINS = re.compile(r"<!-- sipagent register: ([a-z]{2}) -->")
ENDS = "<!-- sipagent register: end -->"

_FRENCH_UNITS = {
    "day": ("jour", "jours"),
    "week": ("semaine", "semaines"),
    "month": ("mois", "mois"),
    "year": ("an", "ans"),
}
_ENGLISH_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_FRENCH_DAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A line of the entry, and the keys of config.toml that its statement rests on."""

    text: str
    keys: tuple[str, ...] = ()


def markdown(entry: RegisterEntry, language: str) -> str:
    """The whole text, its first and last lines the two comments. `language` is one of LANGUAGES."""
    return "\n".join(line.text for line in lines(entry, language)) + "\n"


def lines(entry: RegisterEntry, language: str) -> Iterator[EntryLine]:
    """The text of the entry line by line, each with the keys that it rests on."""
    words = LANGUAGES[language]
    for line in _lines(entry, words, _Writing(words, french=language == "fr")):
        yield EntryLine(words.setting(line.text), line.keys)


def _lines(entry: RegisterEntry, words: RegisterWords, writing: "_Writing") -> Iterator[EntryLine]:
    title, *rest = entry.statements
    yield EntryLine(f"<!-- sipagent register: {writing.language} -->")
    yield _line(title, words, writing, bullet="")
    yield from map(EntryLine, ("", words.introduction, ""))
    yield from _sections([one for one in rest if not _is_off(one)], words, writing)
    yield from _heading(words, "security/off")
    yield from (_line(one, words, writing) for one in rest if _is_off(one))
    yield from _heading(words, "by_hand")
    yield from (EntryLine(f"- {text}") for text in words.by_hand)
    yield from map(EntryLine, ("", ENDS))


def _is_off(statement: Statement) -> bool:
    return isinstance(statement.value, dict) and statement.value.get("on") is False


def _sections(
    statements: Iterable[Statement], words: RegisterWords, writing: "_Writing"
) -> Iterator[EntryLine]:
    section = ""
    for statement in statements:
        if statement.section != section:
            section = statement.section
            yield from _heading(words, section)
        yield _line(statement, words, writing)


def _heading(words: RegisterWords, section: str) -> Iterator[EntryLine]:
    if section in words.headings:
        yield from map(EntryLine, ("", f"## {words.headings[section]}", ""))


def _line(statement: Statement, words: RegisterWords, writing: "_Writing", bullet: str = "- ") -> EntryLine:
    value = statement.value
    fields: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    language = statement.name.rpartition(".")[2]
    fields["language"] = words.languages.get(language, language)
    text = writing.vformat(sentence(statement, words), (value,), fields)
    return EntryLine(bullet + text, statement.keys)


class _Writing(Formatter):
    """How a statement's values are written: the word after the colon in a brace gives the format."""

    def __init__(self, words: RegisterWords, *, french: bool) -> None:
        self._words = words
        self._french = french

    @property
    def language(self) -> str:
        """The tag that the entry begins with."""
        return "fr" if self._french else "en"

    def format_field(self, value: Any, format_spec: str) -> str:
        """Write one value."""
        match format_spec:
            case "code" | "named":
                write = _code if format_spec == "code" else self._named
                return ", ".join(map(write, value if isinstance(value, list) else [value]))
            case "period":
                return self._period(value)
            case "share" | "seconds":
                return self._amount(value, format_spec)
            case "windows":
                return ("; ", " ; ")[self._french].join(map(self._window, value))
            case "people" | "groups":
                return ", ".join(map(_person if format_spec == "people" else _group, value))
            case _:
                return _prose(str(value))

    def _number(self, value: float) -> str:
        text = f"{value:.6g}"
        return text.replace(".", ",") if self._french else text

    def _amount(self, value: float, what: str) -> str:
        if what == "seconds":
            return f"{self._number(value)}{WIDE if self._french else ' '}s"
        return self._number(value * 100) + (" %" if self._french else "%")

    def _named(self, code: str) -> str:
        """``qualité du service (`quality`)``; the code alone if it has no other name."""
        name = self._words.names.get(code)
        return f"{name} ({_code(code)})" if name else _code(code)

    def _window(self, window: dict[str, Any]) -> str:
        """``10% of the calls (Monday `09:00-10:00`)``, or `10 % des appels (lundi, de 9 h à 10 h)`."""
        names = dict(zip(DAYS, _FRENCH_DAYS if self._french else _ENGLISH_DAYS, strict=True))
        days = ", ".join(names[day] for day in window["days"])
        calls = "des appels" if self._french else "of the calls"
        hours = f", {_french_hours(window['hours'])}" if self._french else f" {_code(window['hours'])}"
        return f"{self._amount(window['share'], 'share')} {calls} ({days}{hours})"

    def _period(self, period: str) -> str:
        """`6 months` in each language."""
        count, unit = period.split()
        if not self._french:
            return period
        one, several = _FRENCH_UNITS[unit.removesuffix("s")]
        return f"{count}{WIDE}{one if count == '1' else several}"


def _french_hours(hours: str) -> str:
    """`de 9 h à 10 h 30, de 14 h à 15 h` of `09:00-10:30,14:00-15:00`."""
    if hours == "00:00-24:00":
        return "toute la journée"
    spans = (span.split("-") for span in hours.split(","))
    return ", ".join(f"de {_french_time(first)} à {_french_time(last)}" for first, last in spans)


def _french_time(time: str) -> str:
    hour, minute = time.split(":")
    return f"{int(hour)}{WIDE}h" + (f"{WIDE}{minute}" if minute != "00" else "")


def _person(one: dict[str, Any]) -> str:
    return f"{_prose(one['name'] or '–')} ({_code(one['key'])})"


def _group(one: dict[str, Any]) -> str:
    return f"{_code(one['group'])} ({_code(one['role'])})"


def _prose(text: str) -> str:
    """A text with escapes for what Markdown would take as markup."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", text)


def _code(text: str) -> str:
    """A word of the configuration, literally (CommonMark 6.1)."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
