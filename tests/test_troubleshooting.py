"""The page on troubleshooting explains whatever the code may log as a warning or an error."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_structure import ALL, ROOT, tree

PAGES = ("docs/en/troubleshooting.md", "docs/fr/depannage.md")
LOGGERS = {"log", "_log"}
LOUD = {"warning", "error", "exception", "critical"}
TELLERS = {"alert", "_alert", "Alert", "_tell", "_tell_once", "tell", "_schedule_restart", "_fails"}
"""What takes the reason of an alert, or a part of it, as its last text."""
TOO_SHORT = 9  # characters of a text that say nothing by themselves
OURS = [path for path in ALL if not {"cli", "softphone", "demo.py", "training"} & {*path.parts}]


def name_of(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def calls(path: Path) -> Iterator[ast.Call]:
    yield from (node for node in tree(path) if isinstance(node, ast.Call))


def events(path: Path) -> set[str]:
    """The names of what it logs at warning or above."""
    found = set()
    for call in calls(path):
        match call:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=logger), attr=level),
                args=[ast.Constant(value=event), *_],
            ) if logger in LOGGERS and level in LOUD:
                found.add(str(event))
    return found


def fixed(text: ast.expr) -> frozenset[str]:
    """The pieces of a text that are always the same and say something."""
    match text:
        case ast.Constant(value=str(said)):
            told = [said]
        case ast.JoinedStr(values=values):
            told = [str(one.value) for one in values if isinstance(one, ast.Constant)]
        case _:
            told = []
    pieces = {piece.strip(" ()") for one in told for piece in re.split("[;,:]", one)}
    return frozenset(piece for piece in pieces if len(piece) >= TOO_SHORT and " " in piece)


def reasons(path: Path) -> set[frozenset[str]]:
    """The pieces of each reason of an alert that has any."""
    texts: list[ast.expr] = []
    for call in calls(path):
        if name_of(call) in TELLERS:
            texts += call.args
        texts += [word.value for word in call.keywords if word.arg == "reason" and name_of(call) in LOUD]
    return {fixed(text) for text in texts} - {frozenset()}


def explained(page: str) -> str:
    """The rows of its table of lines."""
    rows = re.findall(r"^\| `.*", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return re.sub(r"[\u00a0\u202f]", " ", "\n".join(rows))


@pytest.mark.parametrize("page", PAGES)
def test_every_warning_and_error_is_explained(page: str) -> None:
    told = set(re.findall(r"`([^`]+)`", explained(page)))
    logged = set[str]().union(*map(events, OURS))
    assert logged >= {"alert", "registration_failed", "edge_dropped", "reload_refused", "copy_remains"}
    assert logged - told == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_reason_of_an_alert_is_explained(page: str) -> None:
    text = explained(page)
    given = set[frozenset[str]]().union(*map(reasons, OURS))
    assert len(given) > 25
    assert [pieces for pieces in given if not any(piece in text for piece in pieces)] == []
