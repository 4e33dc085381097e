import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sipagent.__main__ import main
from tests.loopback import ROOT


@pytest.mark.parametrize("version", [(3, 8, 0), (3, 10, 14), (3, 13, 0), (3, 14, 1)])
def test_another_python_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"Python 3.{version[1]} cannot run it; accepted: 3.11, 3.12" in err


def test_an_older_python_can_read_the_way_in() -> None:
    source = Path(sys.modules[main.__module__].__file__ or "").read_text()
    ast.parse(source, feature_version=(3, 7))


def test_numpy_multiplies_with_one_thread_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    for told in ("1", "4"):
        with pytest.raises(SystemExit):
            main(["--version"])
        assert os.environ["OPENBLAS_NUM_THREADS"] == told
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")


# --- the current folder ---

FOUND = """
import os, subprocess, sys
from sipagent.__main__ import leave_current_folder
leave_current_folder()
import json
child = "import json, sys; print(json.dumps(sys.path))"
told = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout
print(json.dumps([sys.path, json.loads(told)]))
"""


def search_paths(folder: Path, named: str) -> list[list[str]]:
    """`sys.path` of a process that has left its current folder, and of one that it starts."""
    environment = {**os.environ, "PYTHONPATH": named}
    environment.pop("PYTHONSAFEPATH", None)
    done = subprocess.run(
        [sys.executable, "-c", FOUND],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "named", ["{root}", "{root}:", ":{root}", "{root}:.", "{root}:lib", "{root}::{root}"]
)
def test_nothing_is_looked_for_in_the_current_folder(tmp_path: Path, named: str) -> None:
    (tmp_path / "lib").mkdir()
    for name in ("lib/random.py", "media/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('the current folder is imported')\n")
    for path in search_paths(tmp_path, named.format(root=ROOT)):
        assert str(ROOT) in path
        assert not [entry for entry in path if entry == "" or Path(entry).is_relative_to(tmp_path)]


@pytest.mark.parametrize("named", ["", "."])
def test_our_own_folder_stays_by_its_name(named: str) -> None:
    """A checkout that is not installed."""
    for path in search_paths(ROOT, named):
        assert str(ROOT) in path and "" not in path


def test_a_current_folder_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    (gone := tmp_path / "gone").mkdir()
    code = f"import os; os.rmdir({str(gone)!r}); {FOUND}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=gone, env={**os.environ, "PYTHONPATH": f".:{ROOT}"}, check=False
    )
    assert done.returncode == 0
