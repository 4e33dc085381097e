"""config.toml: read once at the start, completely checked, frozen.

    ConfigError                     the user's to fix, one line
    load(path) -> Config            the file, checked
    parse(text, file) -> Config     its text, checked; paths are relative to where `file` lies

`tables` says what each key takes, `types` checks single values, `rules` relations.

What is wrong with a text that is not TOML is said here: the line, the key, and what is accepted there.
The parser says where it stopped, which is after the mistake; so the lines are read again, by the rules of
TOML (toml.io/en/v1.0.0).
"""

import re
import tomllib
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from retention.texts import Reason
from sipagent.config import rules
from sipagent.config.errors import NO_BREAK, ConfigError, accepted_of, cut, explain, one_line
from sipagent.config.model import Config, Login
from sipagent.config.tables import LANGUAGE, PromptSet
from sipagent.config.types import Holidays, HostPort, Known, PortRange, uri_host, uri_user

__all__ = [
    "Config",
    "ConfigError",
    "Holidays",
    "HostPort",
    "Login",
    "PortRange",
    "PromptSet",
    "load",
    "parse",
    "uri_host",
    "uri_user",
]

_KEY = re.compile(r"\s*(?P<key>[A-Za-z0-9_.\"'+-]+)\s*=\s*(?P<value>.*?)\s*$")
_TABLE = re.compile(r"\s*\[\[?\s*(?P<table>[^\[\]#]+?)\s*(?:\]|#|$)")
_QUOTES = ('"', "'")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[#\"'].*")  # or to the end of the line


class Fault(NamedTuple):
    """`where` is a line and its content; the other fields are those of ConfigError."""

    where: str
    problem: str
    accepted: str = ""


class _Line(NamedTuple):
    number: int  # from 1
    table: str
    key: str
    value: str

    @property
    def path(self) -> str:
        return ".".join(filter(None, (self.table, self.key)))

    @property
    def where(self) -> str:
        return (
            Reason("line {0}: {1}", self.number, one_line(self.path))
            if self.path
            else Reason("line {0}", self.number)
        )


def toml_fault(said: str, text: str) -> Fault:
    """Explain what tomllib `said` of a text."""
    problem, _, place = said.partition(" (at ")
    lines = _lines(text)
    found = re.match(r"line (\d+)", place)
    line = lines[min(int(found[1]) if found else len(lines), len(lines)) - 1]
    if odd := _odd_sign(line, text.split("\n")[line.number - 1]):
        return odd
    for pattern, say in _FAULTS.items():
        if re.match(pattern, problem):
            return say(line, lines)
    return Fault(line.where, Reason("not TOML: {0}", cut(one_line(problem))))


def _odd_sign(line: _Line, written: str) -> Fault | None:
    """What looks like a space and is none, or an accent in a key, outside of quotes and comments."""
    bare = _QUOTED.sub("", written)
    where = Reason("line {0}", line.number)
    for sign in bare:
        if sign in NO_BREAK:
            return Fault(where, "has a no-break space", "plain spaces")
        if unicodedata.category(sign) == "Cf":
            return Fault(where, Reason("has the invisible sign U+{0:04X}", ord(sign)), "the line without it")
    key = bare.partition("=")[0].strip(" \t[]")
    if not key.isascii():
        problem = Reason("'{0}' has an accent, or another sign that no key has", cut(one_line(key)))
        return Fault(where, problem, "letters from a to z, digits, _ and -")
    return None


def _lines(text: str) -> list[_Line]:
    """Every line, with the key that begins on it, and the table that it is in."""
    lines, table = [], ""
    for number, content in enumerate(text.split("\n"), 1):
        if found := _TABLE.match(content):
            table = found["table"]
        key = _KEY.match(content) if not found else None
        lines.append(
            _Line(number, table, *key.groups()) if key else _Line(number, table, "", content.strip())
        )
    while len(lines) > 1 and not text.split("\n")[len(lines) - 1].strip():
        lines.pop()
    return lines


def _twice(line: _Line, lines: Sequence[_Line]) -> Fault:
    """A key, or a table, that comes twice."""
    before = [one for one in lines[: line.number - 1] if (one.table, one.key) == (line.table, line.key)]
    again = Reason("is there already")
    if before:
        again = Reason("is there already (line {0})", before[0].number)
    what = Reason("each key once") if line.key else Reason("each table once")
    name = line.where if line.key else Reason("line {0}: [{1}]", line.number, one_line(line.table))
    return Fault(name, again, what)


def _open_list(line: _Line, lines: Sequence[_Line]) -> Fault:
    where = _begun(line, lines, "[", "]").where
    return Fault(where, "its list has no closing ], or no comma between two", 'a list such as ["a", "b"]')


def _open_table(line: _Line, lines: Sequence[_Line]) -> Fault:
    where = _begun(line, lines, "{", "}").where
    return Fault(where, "its table has no closing }, or no comma between two", 'a table such as { a = "b" }')


def _begun(line: _Line, lines: Sequence[_Line], begin: str, end: str) -> _Line:
    """The last line up to there whose value has this beginning but not this end; else the parser's line."""
    before = [
        one for one in lines[: line.number] if one.value.startswith(begin) and not one.value.endswith(end)
    ]
    return before[-1] if before else line


def _open_text(line: _Line, lines: Sequence[_Line]) -> Fault:
    """The fault of the first line whose text begins with a quote and has no other; else the parser's line."""
    odd = (
        one for one in lines[: line.number] if one.value[:1] in _QUOTES and one.value.count(one.value[0]) == 1
    )
    return Fault(next(odd, line).where, "its text has no closing quote", 'a text such as "a"')


def _no_value(line: _Line, lines: Sequence[_Line]) -> Fault:
    """A missing value of a key on its line, or in a list that began above."""
    if not line.key and (above := [one for one in lines[: line.number] if one.key]):
        line = above[-1]._replace(number=line.number, value=line.value)
    accepted = accepted_of(Config, line.path.split(".")) or Reason(
        "a number, true or false, or a text in quotes"
    )
    value = re.sub(r"\s+#.*", "", line.value)
    if value[:1] in _QUOTES:
        return Fault(line.where, "has more behind its closing quote", "one text in quotes")
    if not value:
        return Fault(line.where, "has no value", accepted)
    return Fault(line.where, Reason("{0} is no number and no text in quotes", cut(one_line(value))), accepted)


def _no_line(line: _Line, lines: Sequence[_Line]) -> Fault:
    return Fault(line.where, "is no line of TOML", "key = value, [table], or # and a comment")


def _no_escape(line: _Line, lines: Sequence[_Line]) -> Fault:
    return Fault(line.where, 'a \\ in "…" begins an escape', "\\\\ in its place, or a text in single quotes")


def _no_heading(line: _Line, lines: Sequence[_Line]) -> Fault:
    return Fault(line.where, "has no closing ]", "a table such as [operators]")


_FAULTS = {
    r"Cannot (overwrite|declare|mutate)": _twice,
    "Unclosed array": _open_list,
    "Unclosed inline table": _open_table,
    r"Illegal character '\\n'|Expected \"'|Found invalid character '\\n'|Unterminated": _open_text,
    r"Unescaped '\\'": _no_escape,
    "Invalid value|Expected newline or end of document": _no_value,
    "Invalid statement|Expected '='": _no_line,
    r"Expected '\]'": _no_heading,
}


WRITTEN = Reason("a file that `sipagent init` wrote")
SIZE_LIMIT = 1 << 20  # bytes; a configuration is not larger


def load(path: Path) -> Config:
    """Read and check a configuration file. Raises ConfigError for the first thing that is wrong."""
    config = parse(read(path), path)
    if (database := config.database).is_dir():
        raise ConfigError(
            path, "retention.database", Reason("{0} is a folder", one_line(str(database))), "a file"
        )
    return config


def read(path: Path) -> str:
    """The text of a file. Raises ConfigError for what cannot be one."""
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError as error:
        raise ConfigError(path, "", "no such file", WRITTEN) from error
    except IsADirectoryError as error:
        raise ConfigError(path, "", "is a folder", WRITTEN) from error
    except PermissionError as error:
        raise ConfigError(path, "", "may not be read by this user", "root, or the service's user") from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        raise ConfigError(
            path, "", getattr(error, "strerror", None) or Reason("not a path"), WRITTEN
        ) from error
    return text_of(content, path)


def text_of(content: bytes, path: Path) -> str:
    """The content of a file as text; errors name `path`. Raises ConfigError."""
    if len(content) > SIZE_LIMIT:
        raise ConfigError(path, "", "larger than 1 MiB", "a TOML file")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(path, Reason("line {0}", line), "not UTF-8", "a TOML file in UTF-8") from error


def parse(text: str, file: Path) -> Config:
    """Check the text of a configuration; errors name `file`, and paths are relative to it."""
    return checked(tables_of(text, file), file)


def checked(tables: dict[str, Any], file: Path) -> Config:
    """Check a configuration's tables, as tomllib reads them. Raises ConfigError."""
    if not tables:
        raise ConfigError(file, "", "says nothing", WRITTEN)
    known = Known(
        file=file,
        base=file.absolute().parent,
        language=(spoken := str(_peek(tables, "service", "language") or LANGUAGE)),
        languages=(spoken, *_others(tables)),
        opt_in=_peek(tables, "refusal", "mode") == "opt_in",
    )
    try:
        config = Config.model_validate(tables, context=known)
    except ValidationError as error:
        raise explain(error, file, Config) from error
    for complaint in rules.complaints(config):
        raise ConfigError(file, *complaint)
    return config


def _peek(tables: dict[str, Any], table: str, key: str) -> object:
    """Look at a key that others' defaults depend on, before anything is checked."""
    found = tables.get(table)
    return found.get(key) if isinstance(found, dict) else None


def _others(tables: dict[str, Any]) -> list[str]:
    """The languages that numbers and keys lead to."""
    found = [_peek(tables, "prompts", key) for key in ("languages", "choices")]
    return [str(language) for table in found if isinstance(table, dict) for language in table.values()]


def tables_of(text: str, file: Path) -> dict[str, Any]:
    """What is written in a text, not checked. Raises ConfigError where it is not TOML."""
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # some editors begin a file with a byte order mark
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(file, *toml_fault(str(error), text)) from error
    except RecursionError as error:
        raise ConfigError(file, "", "nested too deeply", "a TOML file") from error
