"""What the code below the command line says to people, as `sipagent/languages/spoken.py` finds it.

A text of the code counts as a message if it reads as one: it has two words, and is no code, SQL or pattern.
One that is built of several is in the catalogue as it comes out, marked `composed`.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from babel.messages.catalog import Message

ROOT = Path(__file__).parent.parent
SPEAKING = {  # by the file of the catalogue
    "check": (
        "sipagent/check",
        "sipagent/text/notice.py",
        "sipagent/voice",
        "sipagent/text/register_file.py",
        "sipagent/enrol/network.py",
        "sipagent/enrol/script.py",
    ),
    "config": ("sipagent/config", "sipagent/lookup/results.py"),
    "retention": ("retention", "sipagent/operations"),
    "init": ("sipagent/cli/init_directory.py",),
    "media": (
        "media/hearing",
        "media/recording",
        "media/prompt.py",
        "media/training/own.py",
        "media/training/enrolled.py",
    ),
    "service": ("sipagent/edge", "sipagent/agent", "sipagent/pjsip", "sipagent/service"),
}
KEEPING = ("sipagent/cli",)  # in the trace
SILENT = {  # modules that say nothing to people: words to listen for, SQL, what Kamailio reads
    "sipagent/config/refusal_words.py",
    "sipagent/edge/configuration.py",
    "retention/journal.py",  # its one word is for a programmer
    "retention/shipping.py",  # in the log alone
    "retention/postgres/board_rows.py",  # in the log alone
    "retention/postgres/schema.py",
    "retention/rows/counts.py",
    "retention/rows/object_rows.py",
    "retention/rows/pages.py",
    "retention/rows/selection.py",
    "retention/statistics.py",
    "media/recording/tap.py",
}
# Of the agent only what can end `run`, or be found by `check`; all else is in the log, and that is English.
TOLD = {"ConfigError", "EdgeError", "EngineError", "StoreError"}
RELOAD = {"sipagent/service/supervision.py"}  # its errors are in the log

CODE = re.compile(
    r"SIP/2\.0|Call-ID: |\\[bdw(1]|\(\?|^\{0\} UTC$|^prompts\.\{0\}|sipagent-seed|NO REC|with text |^,|\||%s|"
    r"\((apt|pip) install |^(Agglo|Communauté) |host bits|^not found$|db_text|\(IPv\{|^sip:|^decision: |"
    r"\.tsr: |^recording erased$|^\{0\} to \{1\}$|TLS: \{1\}|^\{0\}: \{1\}; accepted: \{2\}$|^\d+ \w+$|"
    r"^no(t drawn| seed)$|^\{0\} of seed |^\{0\}: \{1\}, share |"  # a draw, as receipts have it
    r"Unclosed|Illegal char|Invalid (value|statement)|Value error|Unescaped|Expected '|Verify error|"
    r"^(zero|vingt|dix|et|le|en|CSeq:|Max-Forwards:|Content-Length:|\^loadmodule) |^line \{0\}: \["
)
SQL = re.compile(
    r"\b(IS (NOT )?NULL|SELECT|WHERE|DESC|RECURSIVE|INSERT|PRAGMA|BEGIN|IN \(|count\(\*\)|ON CONFLICT)"
    r"|= 0$|^\w+(, \w+)+$|<= \?"
    r"|^(CREATE|DROP|ALTER|DELETE FROM|UPDATE \w+ SET|SET LOCAL|SAVEPOINT|RELEASE|ROLLBACK|RETURN|RAISE)\b"
    r"|\b(bigint|INTEGER|REAL|TEXT)\b|COLLATE|gen_random_uuid|^(right|substr)\(| FOR UPDATE|^[a-z]+, \{0\}$"
)
# what only a programmer can make happen, and what is in the log alone
INNER = re.compile(
    r"is made by sipagent\.config only|without a time zone cannot|has no time zone|put aside|"
    r"another value than was meant|missing from the installation|nothing was written$|article 6\(1\)\(e\)|"
    r"bytes, from |^media lines: |^no body$|xx of |^both by a restart|"  # of the last message; of a reload
    r"is not a name of a bundle|^ on endpoint URL$|what the edge says|"
    r"hexadecimal digits|^from the edge|can be written nowhere|^a database in memory|"
    r"so are the keys of rows$|has no such bundle of keys$|"  # which rows say as damage
    r"^(It has no recording that|Remove it on|A backup of sipagent)|"  # in the README of a backup
    r"^(Elle ne contient aucun enregistrement|Supprimez-la au plus tard|Une sauvegarde de sipagent)"
)


def templates(path: Path) -> Iterator[str]:
    """Every text of a module but its docstrings; values are `{0}`, `{1}` and so on."""
    yield from _texts(ast.parse(path.read_text(encoding="utf-8")))


def raised(path: Path) -> Iterator[str]:
    """Of a module what goes into the errors that end a command."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TOLD:
            yield from _texts(node)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "_term":
        return  # of a face: `catalogues` has it
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield node.value
        return
    if isinstance(node, ast.JoinedStr):
        yield _template(node)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _texts(part.value)
        return
    for child in ast.iter_child_nodes(node):
        yield from _texts(child)


def _template(node: ast.JoinedStr) -> str:
    text, number = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text += f"{{{number}}}"
            number += 1
    return text


def is_message(text: str) -> bool:
    words = re.sub(r"\{\d\}", "", text)
    several = re.search(r"[\w”\"'`)\]}],?;?:? [\w{(\"'`\[]", text) and re.search(r"[^\W\d_]{2}", words)
    return bool(several) and not any(pattern.search(text) for pattern in (CODE, SQL, INNER))


@cache
def messages(group: str) -> dict[str, str]:
    """The messages of a group of modules, each with a module that has it."""
    read = raised if group == "service" else templates
    return {
        text: str(path.relative_to(ROOT))
        for path in _modules(group)
        for text in (read if not _is_edge(path) else templates)(path)
        if is_message(text)
    }


def _is_edge(path: Path) -> bool:
    return path.is_relative_to(ROOT / "sipagent/edge")


@cache
def everything() -> frozenset[str]:
    """Every text of all of these modules."""
    return frozenset(text for group in SPEAKING for path in _modules(group) for text in templates(path))


def _under(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]


def _modules(group: str) -> Iterator[Path]:
    for name in SPEAKING[group]:
        for path in _under(ROOT / name):
            if str(path.relative_to(ROOT)) not in SILENT | RELOAD:
                yield path


def missing(entries: Mapping[str, Message]) -> list[str]:
    """Messages that no entry has, and that are part of none that is composed."""
    composed = [text for text, entry in entries.items() if entry.auto_comments]
    return [
        f"{place}: {text!r}"
        for group in SPEAKING
        for text, place in messages(group).items()
        if text not in entries and not any(_is_part_of(text, whole) for whole in composed)
    ]


def superfluous(entries: Mapping[str, Message]) -> list[str]:
    """Entries that the code does not have: word for word, or if composed by their words."""
    return [
        repr(text)
        for text, entry in entries.items()
        if (not entry.auto_comments and text not in everything())
        or ("composed" in entry.auto_comments and not _is_of_the_code(text))
    ]


def _is_part_of(text: str, composed: str) -> bool:
    """Whether what is said contains a text of the code, whatever its values."""
    return re.search(re.sub(r"\\\{\d\\\}", ".*", re.escape(text)), composed) is not None


def _is_of_the_code(composed: str) -> bool:
    """Whether each word of it stands in the code; a plural may be made."""
    words = re.findall(r"[\w.-]+", re.sub(r"\{\d\}", "", composed))
    return all(word in _vocabulary() or word.removesuffix("s") in _vocabulary() for word in words)


@cache
def _vocabulary() -> frozenset[str]:
    kept = (text for name in KEEPING for path in _under(ROOT / name) for text in templates(path))
    return frozenset(word for text in (*everything(), *kept) for word in re.findall(r"[\w.-]+", text))
