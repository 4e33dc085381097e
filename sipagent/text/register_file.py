"""The register's entry as a file has it: JSON, or Markdown by the template of a language, `register.fr.txt`.

    lines(entry, language)                 the text, each line with the keys of config.toml that it rests on
    read(text) -> Written                  what a file says, JSON or Markdown; RegisterError for others
    differences(written, entry)            each statement that has moved on, with the keys it rests on
    renewed(written, entry) -> str         the same file with the entry of now

Pure: texts in, values out. In Markdown the entry stands between two comments, by which it is found again in a
longer register; the text around them is not changed. Every statement is one line, so that a different line
shows which statement differs.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from string import Formatter
from typing import Any

from retention.records import Record
from retention.texts import Reason, WithReason
from sipagent.languages.typography import WIDE, set_french
from sipagent.text import LANGUAGES, template
from sipagent.text.register import FORMAT, RegisterEntry, Statement

BEGINS = re.compile(r"<!-- sipagent register: ([a-z]{2}) -->")
ENDS = "<!-- sipagent register: end -->"


class RegisterError(WithReason, ValueError):
    """The file has no entry that can be compared; `str()` continues "the file ..."."""


@dataclass(frozen=True, slots=True)
class Written:
    """An entry as a file has it. `language` is null for JSON, whose `json` is the object in it.

    For Markdown, `before` and `after` are the text around the entry, and `lines` its own lines.
    """

    language: str | None
    json: Mapping[str, Any] | None = None
    before: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference(Record):
    """One statement that differs in the file, is missing there (`file` null), or is too much there (`now`
    null).

    `where` is `line 12` in Markdown, or the place in the JSON. `keys` of config.toml have changed it.
    """

    where: str
    keys: tuple[str, ...]
    file: str | None
    now: str | None


def read(text: str) -> Written:
    """Read the text of a file. Raises RegisterError."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        return _read_json(text.lstrip("\ufeff"))
    rows = text.lstrip("\ufeff").splitlines()
    begins = [place for place, row in enumerate(rows) if BEGINS.fullmatch(row.strip())]
    ends = [place for place, row in enumerate(rows) if row.strip() == ENDS]
    if not begins and not ends:
        raise RegisterError("holds no entry that `sipagent register` wrote")
    if len(begins) != 1 or len(ends) != 1 or ends < begins:
        raise RegisterError("has not one first and one last line of an entry, in this order")
    first, last = begins[0], ends[0]
    found = BEGINS.fullmatch(rows[first].strip())
    language = found[1] if found else ""
    if language not in LANGUAGES:
        raise RegisterError("is in {0!r}; accepted: {1}", language, ", ".join(LANGUAGES))
    return Written(
        language,
        before=tuple(rows[:first]),
        lines=tuple(rows[first : last + 1]),
        after=tuple(rows[last + 1 :]),
    )


def _read_json(text: str) -> Written:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RegisterError("is not JSON: {0}", error) from error
    if found.get("format") != FORMAT:
        raise RegisterError("is JSON, but its format is not {0}", FORMAT)
    return Written(None, json=found)


def differences(written: Written, entry: RegisterEntry) -> list[Difference]:
    """Where the file differs from the entry, in the order of the entry."""
    if written.language is None:
        return list(_of_json(written.json or {}, entry))
    return list(_of_markdown(written, list(lines(entry, written.language))))


def renewed(written: Written | None, entry: RegisterEntry, language: str | None) -> str:
    """The text to write: JSON without a language; else Markdown, which replaces the file's entry."""
    if language is None:
        return json.dumps(entry.to_json(), indent=2, ensure_ascii=False) + "\n"
    text = markdown(entry, language)
    if written is None or written.language is None:
        return text
    return "\n".join([*written.before, text.rstrip("\n"), *written.after]) + "\n"


# --- Markdown ---


@dataclass(frozen=True, slots=True)
class EntryLine:
    """A line of the entry, and the keys of config.toml that its statement rests on."""

    text: str
    keys: tuple[str, ...] = ()


def markdown(entry: RegisterEntry, language: str) -> str:
    """The whole text, its first and last lines the two comments. `language` is one of LANGUAGES."""
    return "".join(f"{line.text}\n" for line in lines(entry, language))


def lines(entry: RegisterEntry, language: str) -> Iterator[EntryLine]:
    """The text of the entry line by line, each with the keys that it rests on."""
    return paper_lines("register", entry.statements, language)


def paper_lines(name: str, statements: Iterable[Statement], language: str) -> Iterator[EntryLine]:
    """The text of a paper in Markdown, line by line."""
    paper = template(f"{name}.{language}.txt")
    writing = _Writing(paper.words, french=language == "fr")
    for said, statement in paper.said((one.said_as, one.how, one) for one in statements):
        text, keys = (writing.filled(said, statement), statement.keys) if statement else (said, ())
        for line in text.split("\n"):
            yield EntryLine(set_french(line) if language == "fr" else line, keys)


def _of_markdown(written: Written, now: list[EntryLine]) -> Iterator[Difference]:
    """Compare line by line; empty lines, and which kind of space it is, do not count."""
    numbered = enumerate(written.lines, len(written.before) + 1)
    old = [(number, text) for number, row in numbered if (text := row.strip())]
    new = [line for line in now if line.text]
    matcher = SequenceMatcher(
        None, [_plain(text) for _, text in old], [_plain(line.text) for line in new], autojunk=False
    )
    for operation, first, last, new_first, new_last in matcher.get_opcodes():
        if operation == "equal":
            continue
        place = Reason("line {0}", old[min(first, len(old) - 1)][0])
        for had, has in zip_longest(old[first:last], new[new_first:new_last]):
            where = Reason("line {0}", had[0]) if had else place
            file = had[1] if had else None
            yield Difference(where, has.keys if has else (), file, has.text if has else None)


def _plain(text: str) -> str:
    """With one plain space wherever there is space: an editor may have replaced those that do not break."""
    return " ".join(text.split())


# --- JSON ---

_ABSENT = object()


def _of_json(json_: Mapping[str, Any], entry: RegisterEntry) -> Iterator[Difference]:
    """Compare statement by statement; then add what only the file states."""
    left = dict(_leaves(json_, {statement.name for statement in entry.statements}))
    for statement in entry.statements:
        had = left.pop(statement.name, _ABSENT)
        if had != statement.value:
            shown = None if had is _ABSENT else _shown(had)
            yield Difference(statement.name, statement.keys, shown, _shown(statement.value))
    for name, value in left.items():
        yield Difference(name, (), _shown(value), None)


def _leaves(json_: Mapping[str, Any], names: set[str], above: str = "") -> Iterator[tuple[str, Any]]:
    """The values in an object by their places, down to the depth of the statement of that name."""
    for key, value in json_.items():
        name = f"{above}{key}"
        if name in ("format", "to_complete"):
            continue  # not statements: one is no statement at all, the other follows from them
        if name not in names and isinstance(value, dict):
            yield from _leaves(value, names, f"{name}.")
        else:
            yield name, value


def _shown(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- how a statement's values are written ---

_FRENCH_UNITS = {
    "day": ("jour", "jours"),
    "week": ("semaine", "semaines"),
    "month": ("mois", "mois"),
    "year": ("an", "ans"),
}


class _Writing(Formatter):
    """The word after the colon in a brace says how a value is written."""

    def __init__(self, words: Mapping[str, str], *, french: bool) -> None:
        self._words = words
        self._french = french

    def filled(self, text: str, statement: Statement) -> str:
        """A sentence of the template with the statement's values, and the key to complete."""
        value, tag = statement.value, statement.name.rpartition(".")[2]
        more = {"key": statement.keys[-1] if statement.keys else "", "language": self._named("language", tag)}
        fields: Mapping[str, Any] = value if isinstance(value, dict) else {}
        return self.vformat(text, (value,), {**more, **fields})

    def format_field(self, value: Any, format_spec: str) -> str:
        """Write one value."""
        match format_spec:
            case "code" | "named":
                write = _code if format_spec == "code" else self._purpose
                return ", ".join(map(write, value if isinstance(value, list) else [value]))
            case "people":
                return ", ".join(f"{_prose(one['name'] or '–')} ({_code(one['key'])})" for one in value)
            case "groups":
                return ", ".join(f"{_code(one['group'])} ({_code(one['role'])})" for one in value)
            case "windows" | "days":
                one: Callable[[Any], str] = self._window if format_spec == "windows" else self._day
                return ("; ", " ; ")[self._french].join(map(one, value))
            case "period":
                return self._period(value)
        return self._amount(value, format_spec) if format_spec else _prose(str(value))

    def _named(self, kind: str, code: str) -> str:
        return self._words.get(f"{kind} {code}", code)

    def _amount(self, value: float, what: str) -> str:
        text = f"{value * 100 if what == 'share' else value:.6g}"
        if not self._french:
            return text + ("%" if what == "share" else " s")
        return text.replace(".", ",") + (" %" if what == "share" else f"{WIDE}s")

    def _purpose(self, code: str) -> str:
        """``qualité du service (`quality`)``; the code alone if it has no other name."""
        name = self._words.get(f"purpose {code}")
        return f"{name} ({_code(code)})" if name else _code(code)

    def _day(self, day: str) -> str:
        """``Monday `09:00-10:00` ``, or `lundi, de 9 h à 10 h`, of `mon 09:00-10:00`."""
        name, hours = day.split()
        told = f", {_french_hours(hours)}" if self._french else f" {_code(hours)}"
        return self._named("day", name) + told

    def _window(self, window: dict[str, Any]) -> str:
        """``10% of the calls (Monday `09:00-10:00`)``, or `10 % des appels (lundi, de 9 h à 10 h)`."""
        days = ", ".join(self._named("day", day) for day in window["days"])
        hours = f", {_french_hours(window['hours'])}" if self._french else f" {_code(window['hours'])}"
        return f"{self._amount(window['share'], 'share')} {self._words['of the calls']} ({days}{hours})"

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


def _prose(text: str) -> str:
    """A text with escapes for what Markdown would take as markup."""
    return re.sub(r"([\\`*_\[\]<>#|~&])", r"\\\1", text)


def _code(text: str) -> str:
    """A word of the configuration, literally (CommonMark 6.1)."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}"
