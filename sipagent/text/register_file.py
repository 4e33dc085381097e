"""A file that `register` wrote: its content, where the configuration has changed since, and the new text.

    read(text) -> Written                  JSON, or Markdown in either language; RegisterError for others
    differences(written, entry)            each statement that has moved on, with the keys it rests on
    renewed(written, entry) -> str         the same file with the entry of now

Pure: texts in, values out. In Markdown, the text around the two comments is not changed.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from retention.texts import Reason, WithReason
from sipagent.text.register import FORMAT, RegisterEntry
from sipagent.text.register_words import BEGINS, ENDS, LANGUAGES, EntryLine, lines, markdown


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
class Difference:
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
