"""How the house stands, in figures: `python -m tests.measure`. It prints them, and holds nobody to them.

Folders and their modules, how long modules and functions are, circles of imports, the files that a pressed 9
passes from the engine's report to the decision, class names that stand for two things, words in documents.
"""

from __future__ import annotations

import ast
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from sipagent.agent.engine import OfLeg
from sipagent.call import events as e
from sipagent.call.machines import Consent
from tests.driving import staged

ROOT = Path(__file__).parent.parent
SHIPPED = ("sipagent", "media", "retention", "prompts")
DOCUMENTS = ("README.md", "ARCHITECTURE.md")
CALLBACK = "sipagent/pjsip/legs.py"  # where the engine tells of a key; here a test does it in its place


def modules() -> list[Path]:
    return sorted(path for package in SHIPPED for path in (ROOT / package).rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path, known: dict[str, Path]) -> Iterator[Path]:
    """The modules of ours that one names anywhere, also for types alone; a package where it is meant."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
            wanted = [one if one in known else node.module for one in named]
        else:
            continue
        yield from (known[one] for one in wanted if one in known and known[one] != path)


def circles(paths: list[Path]) -> list[set[str]]:
    """Sets of modules of which each needs each, in whatever steps."""
    known = {
        name(path).removesuffix(".py").removesuffix("/__init__").replace("/", "."): path for path in paths
    }
    needs = {path: set(imported(path, known)) for path in paths}
    reached = {path: _reached(path, needs) for path in paths}
    found = [{name(other) for other in reached[path] if path in reached[other]} for path in paths]
    return [circle for n, circle in enumerate(found) if circle and circle not in found[:n]]


def _reached(start: Path, needs: dict[Path, set[Path]]) -> set[Path]:
    found: set[Path] = set()
    todo = [start]
    while todo:
        for path in needs[todo.pop()] - found:
            found.add(path)
            todo.append(path)
    return found


def files_of_a_nine() -> list[str]:
    """In the order in which they are entered, from the report of a 9 in the notice to the decision."""
    entered: dict[str, None] = {}

    def trace(frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT) and path.relative_to(ROOT).parts[0] in SHIPPED:
            entered[name(path)] = None
        if frame.f_code is Consent.becomes.__code__:
            sys.setprofile(None)

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        staged(Path(folder), patch) as stage,
    ):
        caller = stage.greeted()
        stage.engine.say(OfLeg(caller, e.DtmfPressed(caller, "9", "rfc4733")))
        sys.setprofile(trace)
        try:
            stage.agent.turn(stage.engine)
        finally:
            sys.setprofile(None)
    return [CALLBACK, *entered]


def main() -> None:
    paths = modules()
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in paths]
    functions = [
        (node.end_lineno or node.lineno) - node.lineno + 1
        for path in paths
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
    ]
    classes: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(name(path))
    folders = Counter(name(path.parent) for path in paths)
    twice = sorted(one for one, where in classes.items() if len(where) > 1)
    nine = files_of_a_nine()
    table = Table("what", "figure", title="The house")
    table.add_row("modules", str(len(paths)))
    table.add_row("in each folder", ", ".join(f"{folder} {n}" for folder, n in folders.most_common()))
    table.add_row("lines of a module: median, longest", f"{statistics.median(lines):.0f}, {max(lines)}")
    tenth = sorted(functions)[len(functions) * 9 // 10]
    table.add_row(
        "lines of a function: median, nine in ten, longest",
        f"{statistics.median(functions):.0f}, {tenth}, {max(functions)}",
    )
    table.add_row("circles of imports", "; ".join(", ".join(sorted(one)) for one in circles(paths)) or "0")
    table.add_row("files that a 9 passes to the decision", f"{len(nine)}: {', '.join(nine)}")
    table.add_row("class names for two things", f"{len(twice)}: {', '.join(twice)}")
    for document in DOCUMENTS:
        words = len((ROOT / document).read_text(encoding="utf-8").split())
        table.add_row(f"words in {document}", str(words))
    Console().print(table)


if __name__ == "__main__":
    main()
