"""What is wrong with a configuration, in one line: file, key, what is wrong, what is accepted; and findings.

ConfigError is the only error of `sipagent.config*`; it is always the user's to fix. A Finding is what a
check says of a configuration that loads: one line of `sipagent check`.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

if TYPE_CHECKING:  # slow to import, and ConfigError needs none of it
    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

from retention.texts import Reason, reason_of

NO_BREAK = "\u00a0\u202f"
VALUE_LIMIT = 60  # characters of a wrong value that are shown
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]+@")  # in a URL


class ConfigError(Exception):
    """The configuration cannot be used. `str()` is the one line to show."""

    def __init__(self, file: Path, key: str, problem: str, accepted: str = "") -> None:
        self.file, self.key, self.problem, self.accepted = file, key, problem, accepted
        places = [one_line(str(file)), *([key] if key else [])]
        super().__init__(Reason("{0}: {1}: {2}" if key else "{0}: {1}", *places, self.detail))

    @property
    def detail(self) -> Reason:
        """What is wrong, and what is accepted."""
        problem, accepted = Reason(self.problem), self.accepted
        return Reason("{0}; accepted: {1}", problem, Reason(accepted)) if accepted else problem


def one_line(text: str) -> str:
    """Escape everything that would break or disguise a line."""
    return "".join(char if is_plain(char) else ascii(char)[1:-1] for char in text)


def is_plain(char: str) -> bool:
    """Whether a character shows as itself; no-break spaces do, with which French sets `:` and `«` apart."""
    return char.isprintable() or char in NO_BREAK


def plain_spaces(text: str) -> str:
    """With plain spaces in place of no-break ones, which a French keyboard or a copied text brings along."""
    return text.translate(dict.fromkeys(map(ord, NO_BREAK), " "))


def shown(value: object) -> str:
    """Show a wrong value as TOML would, cut to a readable length."""
    if isinstance(value, Mapping):
        return Reason("a table")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return cut("[" + ", ".join(shown(item) for item in value[:8]) + "]")
    return cut(repr(_PASSWORD.sub(r"\1…@", value)) if isinstance(value, str) else one_line(str(value)))


def cut(text: str) -> str:
    """Shorten to the limit, saying so."""
    return text if len(text) <= VALUE_LIMIT else text[: VALUE_LIMIT - 1] + "…"


def key_path(location: Sequence[int | str]) -> str:
    """Write a location as TOML does: `operators.extensions[0]`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            bare = part if re.fullmatch(r"[\w+-]+", part, re.ASCII) else cut(repr(part))
            path += f".{bare}" if path else bare
    return path


def explain(error: "ValidationError", file: Path, model: "type[BaseModel]") -> ConfigError:
    """Turn pydantic's report into its one most useful line.

    A misspelt key comes before the missing one it causes.
    """
    first, *_ = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    location = [part for part in first["loc"] if part != "[key]"]
    key = key_path(location)
    if first["type"] == "extra_forbidden":
        return ConfigError(file, key, _meant(model, location))
    accepted = accepted_for(_field(model, location))
    if first["type"] == "missing":
        return ConfigError(file, key, "missing", accepted)
    problem = _problem(first)
    if not isinstance(first["input"], Mapping):
        problem = Reason("{0} {1}", shown(first["input"]), problem)
    return ConfigError(file, key, problem, accepted)


PROBLEMS = {
    "bool_type": Reason("is not true or false"),
    "float_type": Reason("is not a number"),
    "finite_number": Reason("is not a number"),
    "int_type": Reason("is not a whole number"),
    "literal_error": Reason("is not one of the choices"),
    "model_type": Reason("is not a table"),
    "dict_type": Reason("is not a table"),
    "tuple_type": Reason("is not a list"),
    "too_short": Reason("is too short"),
}


def _problem(found: "ErrorDetails") -> Reason:
    if found["type"] == "value_error":
        return reason_of(found["ctx"]["error"])
    return PROBLEMS.get(found["type"], Reason("is out of range"))


def accepted_for(field: "FieldInfo | None") -> str:
    """Say what a key takes: its description, or the choices of its type."""
    if field and field.description:
        return field.description
    kind = field and field.annotation
    if kind is bool:
        return "true | false"
    return " | ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else Reason("a table")


def accepted_of(model: "type[BaseModel]", location: Sequence[int | str]) -> str:
    """Say what the key at a location takes; empty if there is no such key."""
    field = _field(model, location)
    return accepted_for(field) if field else ""


def _table(annotation: object) -> "type[BaseModel] | None":
    """Give the model behind a field's type, through `X | None` and `dict[str, X]`."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table, get_args(annotation))), None)


def _field(model: "type[BaseModel]", location: Sequence[int | str]) -> "FieldInfo | None":
    table: type[BaseModel] | None = model
    field = None
    for part in location:
        if table is None:
            break
        field = table.model_fields.get(str(part))
        # [prompts.en]: a table that the user names has the fields of the one it overrides
        table = _table(field.annotation) if field else table
    return field


def _meant(model: "type[BaseModel]", location: Sequence[int | str]) -> Reason:
    """Suggest the nearest key of the same table, else the same key of another one, else list the table's."""
    *above, last = location
    table: type[BaseModel] | None = model
    for part in above:
        field = table.model_fields.get(str(part)) if table else None
        table = _table(field.annotation) if field else table
    names = list(table.model_fields) if table else []
    if near := difflib.get_close_matches(str(last).lower(), names, n=1):
        return Reason("unknown key; did you mean {0}?", key_path([*above, near[0]]))
    if elsewhere := [path for path in _all_keys(model) if path.rpartition(".")[2] == last]:
        return Reason("unknown key; did you mean {0}?", elsewhere[0])
    return Reason("unknown key; accepted: {0}", ", ".join(names))


def _all_keys(model: "type[BaseModel]", prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        table = _table(field.annotation)
        if table is None:
            yield prefix + name
        else:
            yield from _all_keys(table, f"{prefix}{name}.")


Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `sipagent check`: `what` was checked (a key, a file, a part), `detail` is the result."""

    level: Level
    what: str
    detail: str


def counted(count: int, word: str, several: str = "") -> Reason:
    """`1 recording`, `2 recordings`; `several` where it is not the word with an s."""
    message = "{0} " + (word if count == 1 else several or word + "s")
    return Reason(message, count)


def ok(what: str, detail: str, *values: object) -> Finding:
    """It is as it must be."""
    return Finding("ok", what, Reason(detail, *values))


def warning(what: str, detail: str, *values: object) -> Finding:
    """The agent runs, but somebody should look at it."""
    return Finding("warning", what, Reason(detail, *values))


def error(what: str, detail: str, *values: object) -> Finding:
    """The agent does not run well, or not lawfully."""
    return Finding("error", what, Reason(detail, *values))
