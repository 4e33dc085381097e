"""`python -m tests.mutants COMMAND`: which faults do the tests find?

choose: draws mutants anew, by a seed, into chosen.toml. Those in hand.toml somebody has thought of.

coverage: has all tests run once, to know which test passes through which function (needs `pip install
coverage`; what other processes do is not seen).

run: puts each mutant into a copy of the last commit, and has it looked for. A run goes on where another one
stopped. What is behind `--` is for pytest: `-- --quick` has them looked for by what `make test` runs.

table: what came of it, by area, as Markdown; then each mutant that was not killed.

The tests of a mutant are those that pass through its function, where `coverage` was run; else the modules of
tests that import its own by the fewest steps. The nearest are tried first. A test that fails must pass
without the mutant. pytest is forked from this process, which has loaded the libraries: that saves most of
the time. No `make test` does any of this.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from tests import tiers
from tests.mutants.mutation import SHIPPED, Tree, choose, read, write

ROOT = Path(__file__).parent.parent.parent
CHOSEN, HAND = Path(__file__).with_name("chosen.toml"), Path(__file__).with_name("hand.toml")
MAP, RESULTS = ROOT / "build/mutants-coverage.json", ROOT / "build/mutants.jsonl"
AREAS = {
    **{"sipagent/call": 90, "sipagent/agent": 60, "sipagent/service": 50, "sipagent/sip": 40},
    **{"sipagent/edge": 40, "sipagent/web/guard": 20, "retention": 70, "media/recording": 30},
}
KINDS = ("killed", "survived", "timeout", "gone")
APART = {"attack", "bench", "cluster"}  # folders of tests that no `make test` runs
MODULES = 12  # of tests, where only imports tell which
NEAREST = 3  # modules or tests that are tried before the others
LIBRARIES = (
    "numpy",
    "soundfile",
    "pydantic",
    "starlette.testclient",
    "sqlite_utils",
    "jinja2",
    "psycopg",
    "hypothesis",
)
DOUBTS = 3  # tests that fail at times: with more of them nothing is known of a mutant


class Selection:
    """Which tests look for a mutant; `passing`: a file that `coverage` wrote; `quick`: those of that tier."""

    def __init__(self, passing: Path, quick: bool) -> None:
        from tests.test_structure import imported  # which takes a while

        self._passing = json.loads(passing.read_text()) if passing.exists() else {}
        self._quick = quick
        paths = [path for top in (*SHIPPED, "tests") for path in sorted((ROOT / top).rglob("*.py"))]
        names = {path: path.relative_to(ROOT).with_suffix("").as_posix() for path in paths}
        known = {name.removesuffix("/__init__").replace("/", "."): path for path, name in names.items()}
        self._importers: dict[Path, set[Path]] = {}
        for path in paths:
            for one in imported(path, known):
                self._importers.setdefault(one, set()).add(path)

    def of(self, file: str, function: str) -> list[str]:
        """Modules or tests, as pytest is given them; rather those that name the function, or its module."""
        found: list[Path] = []
        seen = ring = {ROOT / file}
        named = {function.rpartition(".")[2], *Path(file).with_suffix("").parts[-2:]}
        while ring and len(found) < MODULES:
            ring = {one for path in ring for one in self._importers.get(path, ())} - seen
            seen = seen | ring
            near = [one for one in ring if one.name.startswith("test_") and self._runs(one)]
            found += sorted(near, key=lambda path: (*_strange(path, *named), path.stat().st_size, path))
        near_by = [path.relative_to(ROOT).as_posix() for path in found[:MODULES]]
        return self._passing.get(f"{file}::{function}") or near_by

    def _runs(self, test: Path) -> bool:
        left_out = self._quick and tiers.left_out(test.relative_to(ROOT).as_posix())
        return not left_out and not APART & {*test.parts}


def _strange(test: Path, *names: str) -> tuple[bool, bool]:
    """Whether no such name is in the name of a module of tests; whether none is in its text."""
    text = test.read_text(encoding="utf-8")
    return not any(name in test.name for name in names if name), not any(name in text for name in names)


class Copy:
    """A worktree of the last commit, for one mutant after the other.

    `limit_s`: of a run of pytest; `options`: more for pytest.
    """

    def __init__(self, root: Path, limit_s: float, options: Sequence[str]) -> None:
        self.root = root
        self._limit_s, self._options = limit_s, options
        self._passes: dict[str, bool] = {}  # without a mutant

    @contextmanager
    def having(self, file: str, text: str) -> Iterator[None]:
        """With another text in a file."""
        path = self.root / file
        before, compiled = path.read_bytes(), Path(cache_from_source(str(path)))
        try:
            compiled.unlink(missing_ok=True)  # it may be of the same second, and of the same length
            path.write_text(text, encoding="utf-8")
            yield
        finally:
            path.write_bytes(before)
            compiled.unlink(missing_ok=True)

    def verdict(self, file: str, text: str, tests: Sequence[str]) -> tuple[str, str]:
        """What becomes of a mutant, and by which test."""
        doubtful: list[str] = []
        begin, end = 0, NEAREST
        while len(doubtful) <= DOUBTS:
            with self.having(file, text):
                rc, said = self._pytest(tests[begin:end], doubtful)
            if rc in (0, 5) and end < len(tests):  # 5: there is no test
                begin, end = end, len(tests)
                continue
            if rc in (None, 0, 5):
                return ("timeout" if rc is None else "survived"), " ".join(doubtful)
            failed = re.search(r"^(?:FAILED|ERROR) ([^\s\[]+)", said, re.MULTILINE)
            if rc == pytest.ExitCode.USAGE_ERROR:
                raise click.ClickException(f"coverage knows of tests that are gone:\n{said}")
            if failed is None or "::" not in failed[1]:  # it cannot even be imported
                return "killed", failed[1] if failed else f"exit status {rc}"
            if failed[1] not in self._passes:
                self._passes[failed[1]] = self._pytest([failed[1]])[0] == 0
            if self._passes[failed[1]]:
                return "killed", failed[1]
            doubtful.append(failed[1])
        return "timeout", " ".join(doubtful)

    def _pytest(self, tests: Sequence[str], without: Sequence[str] = ()) -> tuple[int | None, str]:
        """Exit status and output; None where it took too long."""
        ours = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={self.root}.tmp", *self._options]
        ours += [f"--deselect={test}" for test in without]
        with tempfile.TemporaryFile("w+") as said:
            if (child := os.fork()) == 0:
                self._be_pytest([*ours, *tests], said.fileno())
            rc, until = None, time.monotonic() + self._limit_s
            while rc is None and time.monotonic() < until:
                time.sleep(0.05)
                ended, status = os.waitpid(child, os.WNOHANG)
                rc = os.waitstatus_to_exitcode(status) if ended else None
            with suppress(ProcessLookupError):  # and what it has left
                os.killpg(child, signal.SIGKILL)
            if rc is None:
                os.waitpid(child, 0)
            said.seek(0)
            return rc, said.read()

    def _be_pytest(self, arguments: Sequence[str], said: int) -> NoReturn:
        """As if it had been started in the copy, which is then the only place of our modules."""
        os.setsid()
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.chdir(self.root)
        os.environ["PYTHONPATH"] = str(self.root)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False  # else each run compiles all of it
        for name in [name for name in sys.modules if name.split(".")[0] in (*SHIPPED, "tests")]:
            del sys.modules[name]
        sys.path[:] = [str(self.root), *(path for path in sys.path if Path(path or ".") != ROOT)]
        sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in repr(finder)]
        try:
            os._exit(pytest.main([*arguments]))
        finally:  # pytest itself has failed
            os._exit(99)


@contextmanager
def worktree() -> Iterator[Path]:
    """A copy of the last commit, which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        root = Path(folder, "copy")
        try:
            subprocess.run(
                ["git", "worktree", "add", "--quiet", "--detach", root, "HEAD"], cwd=ROOT, check=True
            )
            yield root
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", root], cwd=ROOT, check=False)


def came_of(results: Path) -> dict[str, dict[str, str]]:
    """What is known by now, by the mutants' ids."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {one["id"]: one for one in map(json.loads, lines)}


def nodes(contexts: dict[str, list[str]]) -> list[str]:
    """`tests.test_x.Test.test_y` → `tests/test_x.py::Test::test_y`, of what `coverage` has of each line."""
    found = (re.fullmatch(r"(tests\..*?\btest_\w+)\.(.+)", one) for some in contexts.values() for one in some)
    return sorted({f"{m[1].replace('.', '/')}.py::{m[2].replace('.', '::')}" for m in found if m})


@click.group(help=__doc__)
def main() -> None:
    pass


@main.command("choose")
@click.option("--seed", default=29, show_default=True)
def choose_anew(seed: int) -> None:
    write(CHOSEN, choose(Tree(ROOT), AREAS, seed))


@main.command("coverage")
@click.argument("options", nargs=-1)
def look_who_passes(options: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings, data, report = (Path(folder, name) for name in ("settings", "data", "report"))
        settings.write_text(f"[run]\ndynamic_context = test_function\nsource = {','.join(SHIPPED)}\n")
        which = [f"--rcfile={settings}", f"--data-file={data}"]
        pytest = ["-m", "pytest", "-q", "-p", "no:xdist", *options]
        for words in (["run", *which, *pytest], ["json", *which, "--show-contexts", "-o", report]):
            subprocess.run(
                [sys.executable, "-m", "coverage", *map(str, words)], cwd=ROOT, check=words[0] == "json"
            )
        files = json.loads(report.read_text())["files"]
    MAP.parent.mkdir(exist_ok=True)
    passing = {
        f"{file}::{name}": tests
        for file, parts in files.items()
        for name, lines in parts["functions"].items()
        if (tests := nodes(lines["contexts"]))
    }
    MAP.write_text(json.dumps(passing, indent=0), encoding="utf-8")


@main.command()
@click.option("--only", multiple=True, help="An area, `hand`, or an id.")
@click.option("--limit-s", default=600.0, show_default=True)
@click.option("--results", type=Path, default=RESULTS)
@click.argument("options", nargs=-1)
def run(only: tuple[str, ...], results: Path, **more: Any) -> None:
    for library in LIBRARIES:
        import_module(library)
    known, tree, selection = came_of(results), Tree(ROOT), Selection(MAP, "--quick" in more["options"])
    wanted = [one for one in (*read(HAND), *read(CHOSEN)) if one.id not in known]
    results.parent.mkdir(exist_ok=True)
    with worktree() as root, results.open("a", encoding="utf-8", buffering=1) as told:
        copy = Copy(root, **more)
        for mutant in wanted:
            if only and mutant.id not in only and not mutant.area.startswith(only):
                continue
            result, by = "gone", ""
            if found := tree.find(mutant):
                file, function, text = found
                result, by = copy.verdict(file, text, selection.of(file, function))
            click.echo(f"{mutant.id}: {result} {by}")
            told.write(json.dumps({"id": mutant.id, "result": result, "by": by}) + "\n")


@main.command()
@click.option("--results", type=Path, default=RESULTS)
def table(results: Path) -> None:
    known, mutants = came_of(results), [*read(CHOSEN), *read(HAND)]
    counted = Counter((one.area, known[one.id]["result"]) for one in mutants if one.id in known)
    click.echo(f"| area | chosen | {' | '.join(KINDS)} |\n|---|{'---|' * (len(KINDS) + 1)}")
    for area, count in Counter(one.area for one in mutants).items():
        click.echo(f"| {area} | {count} | {' | '.join(str(counted[area, kind]) for kind in KINDS)} |")
    for one in mutants:
        if one.id in known and (result := known[one.id]["result"]) != "killed":
            click.echo(f"\n{one.id}, {result}: `{one.function}`, {one.what}, `{one.before}`")


if __name__ == "__main__":
    main()
