"""The shipped config.toml and prompts, and how values get into the one without losing its comments.

There is one text only: in a checkout it lies beside the package, an installation has it among its data files
(`share/sipagent/config.toml`).
"""

import errno
import re
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import Item, Table

import sipagent

Tables = Mapping[str, Any]
"""Of config.toml: by table and key, as tomllib reads them; what is no table is wrong, and said to be so."""

LANGUAGES = ("fr", "en")  # of the shipped prompts
BASES = {  # of a public service: what service.legal_basis says unless told otherwise
    "fr": "mission d'intérêt public, article 6(1)(e) du RGPD",
    "en": "task in the public interest, article 6(1)(e) GDPR",
}
TEMPLATE = "config.toml"
_COLUMN = 46  # of a line's comment, where the value leaves room
_HEADING = re.compile(r"(?:# )?\[\[?([a-z_.]+)\]")
_COMMENTED = re.compile(r"# ([a-z_]+) = ")


def template() -> str:
    """Give the text of the shipped config.toml. Raises FileNotFoundError if it is missing in the
    installation."""
    for path in _templates():
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise FileNotFoundError(
        errno.ENOENT, "is missing from the installation; install sipagent again", TEMPLATE
    )


def _templates() -> Iterator[Path]:
    checkout = Path(sipagent.__file__).parent.parent
    if (checkout / "pyproject.toml").is_file():
        yield checkout / TEMPLATE
    try:
        installed = metadata.files("sipagent") or []
    except metadata.PackageNotFoundError:
        return
    yield from (Path(str(file.locate())) for file in installed if file.name == TEMPLATE)


def sounds() -> Iterator[tuple[str, Traversable]]:
    """Yield the prompts with their words, by their path below `prompts`: those of the bridge's 8 kHz."""
    root = resources.files("prompts")
    for folder, prefix in ((root, ""), *((root / language, f"{language}/") for language in LANGUAGES)):
        for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if file.name.endswith((".wav", ".txt")) and not file.name.endswith(".16k.wav"):
                yield prefix + file.name, file


def over(shipped: Tables, values: Tables) -> dict[str, Any]:
    """The shipped tables with these values in place of theirs."""
    merged = dict(shipped)
    for name, table in values.items():
        known = merged.get(name)
        merged[name] = {**known, **table} if isinstance(known, dict) and isinstance(table, dict) else table
    return merged


def filled(text: str, values: Tables) -> str:
    """The text with these values in place of its own, and every comment where it was.

    A key that is commented out comes into force. `values` has tables alone.
    """
    document = tomlkit.parse(_in_force(text, values))
    for name, keys in values.items():
        if name not in document:
            document[name] = tomlkit.table()
        table = document[name]
        assert isinstance(table, Table)
        for key, value in keys.items():
            _put(table, key, _item(value))
    result = tomlkit.dumps(document)
    assert tomllib.loads(result) == over(tomllib.loads(text), values), "another value than was meant"
    return result


def _in_force(text: str, values: Tables) -> str:
    """The text, where the lines of these keys, and the headings of their tables, are no comments."""
    lines, table = [], ""
    for line in text.splitlines(keepends=True):
        if found := _HEADING.match(line):
            table = found[1]
            wanted = table in values
        else:
            key = _COMMENTED.match(line)
            wanted = key is not None and key[1] in values.get(table, {})
        lines.append(line.removeprefix("# ") if wanted else line)
    return "".join(lines)


def _put(table: Table, key: str, value: Item) -> None:
    before = table.get(key)
    if isinstance(before, Item) and before.trivia.comment:
        room = _COLUMN - len(f"{key} = {value.as_string()}")
        value.trivia.comment, value.trivia.comment_ws = before.trivia.comment, " " * max(3, room)
    table[key] = value


def _item(value: object) -> Item:
    """As one line: a table in braces may stand between keys, one with a heading may not."""
    if isinstance(value, dict):
        inline = tomlkit.inline_table()
        inline.update({key: _item(one) for key, one in value.items()})
        return inline
    if isinstance(value, list):
        array = tomlkit.array()
        array.extend(_item(one) for one in value)
        return array
    return tomlkit.item(value)
