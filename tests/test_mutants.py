"""`tests.mutants`: what is drawn is found again where functions have moved, and no file stays changed."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants.mutation import Mutant, Tree, choose, read, write

BRIDGE = '''"""A bridge, à deux."""

from sipagent.call import ends


class Bridge:
    def close(self, kept: bool, tries: int = 2) -> bool:
        """Whether it was kept."""
        if kept and not self.refused:  # « jamais »
            self.left.add("a # b", tries + 1)
            return ends.leave(self.tap, keep=True)
        return ends.leave(self.tap, keep=False)
'''
MOVED = """def leave(tap: Tap, keep: bool) -> bool:
    return keep


class Other:
    def close(self) -> None:
        leave(self.tap, keep=True)


class Bridge:
    def close(self, kept: bool) -> bool:
        if kept:
            return leave(
                self.tap, keep=True
            )
        return leave(self.tap, keep=False)
"""
KEEP = Mutant(
    "call-1", "sipagent/call", "sipagent/call/bridge.py", "Bridge.close", "", "keep=True", "keep=False"
)


def tree(root: Path, file: str, source: str) -> Tree:
    path = root / file
    path.parent.mkdir(parents=True)
    path.write_text(source, encoding="utf-8")
    return Tree(root)


def test_a_seed_draws_the_same_mutants_and_each_is_a_change_of_its_function(tmp_path: Path) -> None:
    there = tree(tmp_path, "sipagent/call/bridge.py", BRIDGE)
    draws = [tuple(choose(there, {"sipagent/call": 2}, seed)) for seed in range(9)]
    assert draws == [tuple(choose(Tree(tmp_path), {"sipagent/call": 2}, seed)) for seed in range(9)]
    assert len({*draws}) > 1
    write(tmp_path / "drawn.toml", [*draws[0]])
    assert read(tmp_path / "drawn.toml") == [*draws[0]]
    for mutant in (mutant for draw in draws for mutant in draw):
        changed = BRIDGE.replace(mutant.before, mutant.after)
        assert there.find(mutant) == ("sipagent/call/bridge.py", "Bridge.close", changed)


@pytest.mark.parametrize(
    ("before", "after", "keep"),
    [
        ("keep=True", "keep=False", "False"),
        ("return ends.leave(self.tap, keep=True)", "return ends.leave(self.tap, keep=kept)", "kept"),
    ],
)
def test_a_mutant_goes_along_with_its_function(before: str, after: str, keep: str, tmp_path: Path) -> None:
    there = tree(tmp_path, "retention/bridges.py", MOVED)
    file, function, text = there.find(replace(KEEP, before=before, after=after)) or ("", "", "")
    assert (file, function) == ("retention/bridges.py", "Bridge.close")
    wanted = MOVED.replace("self.tap, keep=True\n", f"self.tap, keep={keep}\n")
    assert ast.dump(ast.parse(text)) == ast.dump(ast.parse(wanted)) != ast.dump(ast.parse(MOVED))
