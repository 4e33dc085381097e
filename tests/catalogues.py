"""The catalogues of `sipagent/languages`: what they must have, and what they have.

`python -m tests.catalogues`, which is `make languages`, writes each language's `.mo` anew, and names what is
missing, superfluous or odd.
"""

import ast
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

import click
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

from retention.records import Hold, terms
from sipagent.cli.init import COMMENT
from sipagent.cli.main import cli
from sipagent.cli.program import help_texts
from sipagent.languages.choice import DOMAIN, FOLDER, LANGUAGES
from sipagent.languages.labels import Kind, kept
from sipagent.languages.spoken import FAULTS
from sipagent.languages.typography import NARROW, WIDE

ROOT = Path(__file__).parent.parent
SPOKEN = ("sipagent", "media", "retention")  # whose texts people read
PLURALS = {"fr": "nplurals=2; plural=(n > 1);"}
TAKING = {  # whose first arguments are texts: context, singular, plural
    **dict.fromkeys(("_", "N_", "gettext", "Reason", "Column", "steps_of"), (None, 0, None)),
    "ngettext": (None, 0, 1),
    "pgettext": (0, 1, None),
    "npgettext": (0, 1, 2),
}
SAYING = {  # ours that are given English texts: which arguments are some
    **dict.fromkeys(("key", "several", "RegisterError", "NoRoom", "Busy", "Away"), (0,)),
    **dict.fromkeys(
        ("ok", "warning", "error", "Finding", "Problem", "Mismatch", "Trial", "wrong", "_problem"), (1,)
    ),
    **dict.fromkeys(("Obstacle", "ObjectError", "Denied", "CannotHold", "NoSuchObject", "PromptError"), (1,)),
    "NoAnswer": (1,),
    **dict.fromkeys(("Complaint", "Fault"), (1, 2)),
    "ConfigError": (2, 3),
}
# whose ValueError and TypeError a person may see
SILENT = (  # in the log alone, or for a programmer
    *("media/recording/tap.py", "media/training", "retention/journal.py", "retention/shipping.py"),
    *("retention/postgres/row_keys.py", "sipagent/agent/recorder.py", "sipagent/agent/row_writer.py"),
    *("sipagent/service/remote_detector.py", "sipagent/service/rules.py", "sipagent/web"),
)
PARSING = (
    "sipagent/config/types.py",
    "sipagent/config/tables.py",
    "sipagent/config/model.py",
    "sipagent/enrol",
    "retention/records.py",
    "retention/vault.py",
)
# what click says to those who write commands, or of what ours have not
NOT_SAID = re.compile(
    r"declaration|flag for true|dynamic|defined twice|Did you mean to pass|No options defined|Windows|Bash"
    r"|Choice\(|DeprecationWarning|deprecated|editor|colour|standard stream|UUID|Positional|version %"
    r"|Arguments take"
    r"|start character|Takes \{nargs|len_type|Press any|iterable|^d$|match the format|Confirm the action"
)

CHOICES = re.compile(r"\w+( \| \w+)*")  # of a comment that has no words, such as `flac | wav`

Key = tuple[str | None, str]  # context, and the English text; of several its singular


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the code: the file it is in, and its plural."""

    place: str
    plural: str | None = None


@cache
def spoken() -> dict[Key, Text]:
    """Every text that the code may say, wherever it is said first."""
    found: dict[Key, Text] = {}
    for place, key, plural in [*_written(), *_coded(), *_of_click()]:
        found.setdefault(key, Text(place, plural))
    return found


def _written() -> Iterator[tuple[str, Key, str | None]]:
    for path in _modules():
        yield from texts_in(path)
    for path in sorted((ROOT / "sipagent").rglob("templates/*.html")):
        yield from in_template(path)


def _modules() -> list[Path]:
    return [path for folder in SPOKEN for path in sorted((ROOT / folder).rglob("*.py"))]


def in_template(path: Path) -> Iterator[tuple[str, Key, str | None]]:
    """What stands in a template of a page."""
    with path.open("rb") as file:
        for line, function, found, _ in babel_extract(file, tuple(TAKING), (), {"silent": "false"}):
            context, singular, plural = TAKING[str(function)]
            given = [found] if isinstance(found, str) else [*(found or ())]
            key = None if context is None else given[context], str(given[singular])
            yield f"{path.name}:{line}", key, None if plural is None else given[plural]


def texts_in(path: Path) -> list[tuple[str, Key, str | None]]:
    """What a module gives to gettext, and to ours that call it, to errors, refusals and findings.

    Raises ValueError for a text that is made where it should only be written.
    """
    tree, silent = _tree(path), _within(path, SILENT)
    named = _named(tree)
    found: list[tuple[str, Key, str | None]] = []
    for node in (node for node in tree if isinstance(node, ast.Call)):
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        where = f"{path.name}:{node.lineno}"
        if isinstance(node.func, ast.Name) and name in TAKING:
            context, one, several = (
                None if place is None else _constant(node.args[place], where) for place in TAKING[name]
            )
            found += [(where, (context, one), several)] if one else []
        if not silent:
            texts = _texts(node, name, path, named, where)
            found += [(where, (None, text), None) for text in texts if " | " not in text]  # but for choices
    return found


def _tree(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def _within(path: Path, places: tuple[str, ...]) -> bool:
    return path.is_relative_to(ROOT) and str(path.relative_to(ROOT)).startswith(places)


def _constant(node: ast.expr, where: str) -> str | None:
    if isinstance(node, ast.JoinedStr | ast.BinOp):
        raise ValueError(f"{where}: an f-string or a sum cannot be looked up")
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


@cache
def errors() -> frozenset[str]:
    """The names of all classes of errors that have a Reason."""
    classes = re.compile(r"^ *class (\w+)\(([^)]*)\):", re.MULTILINE)
    bases = {
        name: set(re.findall(r"\w+", above))
        for path in _modules()
        for name, above in classes.findall(path.read_text(encoding="utf-8"))
    }
    found = {"WithReason", "MediaError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return frozenset(found)


def _texts(
    node: ast.Call, name: str, path: Path, named: dict[str, list[ast.expr]], where: str
) -> Iterator[str]:
    if name == "counted" and len(node.args) > 1:
        word, *several = [_constant(one, where) for one in node.args[1:]]
        yield from (f"{{0}} {one}" for one in (word, *(several or [f"{word}s"])) if word and one)
        return
    places = SAYING.get(name, (0,) if name in errors() else ())
    if name in ("ValueError", "TypeError") and _within(path, PARSING):
        places = (0,)
    given = [node.args[place] for place in places if place < len(node.args)]
    given += [one.value for one in node.keywords if one.arg in ("problem", "accepted", "description")]
    for one in given if places or name == "Field" else ():
        yield from filter(None, (_constant(part, where) for part in _parts(one, named)))


def _named(tree: list[ast.AST]) -> dict[str, list[ast.expr]]:
    """What each name of a module is set to, wherever."""
    found: dict[str, list[ast.expr]] = {}
    for node in tree:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _parts(node: ast.expr, named: dict[str, list[ast.expr]]) -> Iterator[ast.expr]:
    """What a text may be, where it is chosen from several, or has a name."""
    match node:
        case ast.IfExp():
            yield from (*_parts(node.body, named), *_parts(node.orelse, named))
        case ast.BoolOp():
            yield from (part for one in node.values for part in _parts(one, named))
        case ast.Name():
            yield from (one for one in named.get(node.id, ()) if isinstance(one, ast.Constant | ast.IfExp))
        case _:
            yield node


def _coded() -> Iterator[tuple[str, Key, str | None]]:
    """What gettext is given by a name: help of commands, labels of codes, what the system says of files."""
    yield from (("help", key, None) for key in help_texts(cli))
    yield from (("labels", (kind, code), None) for kind, named in codes().items() for code in named)
    yield from (("kept.txt", (None, message), None) for message in kept())
    comments = (found[2] for found in COMMENT.finditer((ROOT / "config.toml").read_text(encoding="utf-8")))
    yield from (("config.toml", (None, one), None) for one in comments if not CHOICES.fullmatch(one))
    yield from (("system", (None, os.strerror(fault)), None) for fault in FAULTS)
    for name, term in terms(Hold).items():  # over a column of a terminal, and on the page
        texts = (name.replace("_", " "), term.label, term.form, term.column)
        yield from (("web", (None, text), None) for text in texts if text)


def _of_click() -> Iterator[tuple[str, Key, str | None]]:
    yield "click", (None, "required"), None  # by a name, behind an option
    for path in sorted(Path(click.__file__).parent.glob("*.py")):
        yield from (one for one in texts_in(path) if not NOT_SAID.search(one[1][1]))


@cache
def messages(language: str) -> dict[Key, Message]:
    """Every entry of a language. Raises ValueError for one that two files have."""
    found: dict[Key, Message] = {}
    for path in sorted((FOLDER / language).glob("*.po")):
        with path.open("rb") as file:
            for message in read_po(file, abort_invalid=True):
                if not message.id:
                    continue
                key = key_of(message)
                if key in found:
                    raise ValueError(f"{path.name}: {key} is in another file, too")
                found[key] = message
    return found


def codes() -> dict[str, set[str]]:
    """What of each kind has words, where it is not English."""
    kinds: dict[str, set[str]] = {kind: set() for part in get_args(Kind) for kind in get_args(part)}
    for context, text in messages("fr"):
        kinds.get(context or "", set()).add(text)
    return kinds


def key_of(message: Message) -> Key:
    return message.context, message.id if isinstance(message.id, str) else message.id[0]


class _Whole(Catalog):
    """Its heading says nothing of when and by what it was made."""

    heading = ""

    def __iter__(self) -> Iterator[Message]:
        _, *entries = super().__iter__()
        yield Message("", self.heading)
        yield from entries


def compiled(language: str) -> bytes:
    """The `.mo`: the same entries give the same bytes."""
    whole = _Whole(fuzzy=False)
    whole.heading = f"Content-Type: text/plain; charset=utf-8\nPlural-Forms: {PLURALS[language]}\n"
    for message in messages(language).values():
        whole.add(message.id, message.string, context=message.context)
    file = io.BytesIO()
    write_mo(file, whole)
    return file.getvalue()


def place(language: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.mo"


def translations() -> list[str]:
    """Every language but that of the code."""
    return [one for one in LANGUAGES if one != "en"]


def missing(language: str) -> list[str]:
    """What is said and has no entry, or an empty one."""
    there = messages(language)
    return [
        f"{text.place}: {key[0] or ''} {key[1]!r}"
        for key, text in spoken().items()
        if key not in there or not all(_strings(there[key]))
    ]


def superfluous(language: str) -> list[str]:
    """Entries of which the code has no text."""
    said, written = spoken(), _constants()
    return [
        f"{key[0] or ''} {key[1]!r}"
        for key, message in messages(language).items()
        if key not in said and (key[0] or (key[1] not in written and not message.auto_comments))
    ]


@cache
def _constants() -> frozenset[str]:
    """Every text of the code that has no values, or is a format."""
    return frozenset(
        node.value
        for path in _modules()
        for node in _tree(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def odd(language: str) -> list[str]:
    """Placeholders or plural forms that differ, and French that is set as English is."""
    said = spoken()
    found = []
    for key, message in messages(language).items():
        english = {name for one in _ids(message) for name in placeholders(one)}
        if any(set(placeholders(one)) - english for one in _strings(message)) or (
            english - {name for one in _strings(message) for name in placeholders(one)}
        ):
            found.append(f"{key[1]!r}: other placeholders")
        if key in said and (said[key].plural is not None) != isinstance(message.id, tuple):
            found.append(f"{key[1]!r}: one has a plural, the other has not")
        found += [f"{one!r}: {why}" for one in _strings(message) if (why := misset(one))]
    return found


def placeholders(text: str) -> list[str]:
    """`{name}` and `{0:.1f}`, with what says how."""
    return re.findall(r"\{[a-z_0-9][^{}]*\}", text)


_CODE = re.compile(r"`[^`]*`|\{[^{}]*\}|https?://\S+|\b\w+(?:\.\w+)*[:=]\S+|\d\d?:\d\d|%\(\w+\)s")


def misset(french: str) -> str | None:
    """What is wrong with how a French text is set; None if nothing is. Code is left out."""
    text = _CODE.sub("x", french)
    if re.search(rf"(?<!{NARROW})[;?!]", text) or re.search(rf"[ {WIDE}]%", text):
        return "no narrow no-break space before ; ? ! or %"
    if re.search(rf"(?<!{WIDE})»|(?<![{WIDE}:]):(?![:/\w])|«(?!{WIDE})", text):
        return "no no-break space before : or », or behind «"
    if re.search(r"(?<=\w)'(?=\w)", text):
        return "' in place of ’"
    return '" in place of « »' if re.search(r"(?<![=\w])\"\w[^\"=]* [^\"=]*\"", text) else None


def _ids(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def _strings(message: Message) -> tuple[str, ...]:
    return (message.string,) if isinstance(message.string, str) else tuple(message.string or ("",))


def main() -> int:
    """Write what is compiled; 1 if something is missing, superfluous or odd."""
    wrong = 0
    for language in translations():
        place(language).parent.mkdir(exist_ok=True)
        place(language).write_bytes(compiled(language))
        for what, found in (
            ("missing", missing(language)),
            ("superfluous", superfluous(language)),
            ("odd", odd(language)),
        ):
            wrong += len(found)
            for one in found:
                print(f"{language}: {what}: {one}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
