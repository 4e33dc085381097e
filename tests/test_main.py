import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sipagent.__main__ import main
from tests.loopback import ROOT


@pytest.mark.parametrize("version", [(3, 8, 0), (3, 10, 14), (3, 14, 1)])
def test_another_python_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], version: tuple[int, ...]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"Python 3.{version[1]} cannot run it; accepted: 3.11, 3.12, 3.13" in err


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


def run_in(folder: Path, code: str, named: str) -> str:
    environment = {**os.environ, "PYTHONPATH": named}
    environment.pop("PYTHONSAFEPATH", None)
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_nothing_is_looked_for_in_the_current_folder(tmp_path: Path) -> None:
    """By a process that has left it, and by one that it starts. Our own folder stays by its name: a checkout
    that is not installed."""
    (tmp_path / "lib").mkdir()
    for name in ("lib/random.py", "media/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('the current folder is imported')\n")
    for named in (f"{ROOT}", f"{ROOT}:", f":{ROOT}", f"{ROOT}:.", f"{ROOT}:lib", f"{ROOT}::{ROOT}"):
        for path in json.loads(run_in(tmp_path, FOUND, named)):
            assert str(ROOT) in path
            assert not [entry for entry in path if entry == "" or Path(entry).is_relative_to(tmp_path)]
    for named in ("", "."):
        for path in json.loads(run_in(ROOT, FOUND, named)):
            assert str(ROOT) in path and "" not in path
    (gone := tmp_path / "gone").mkdir()  # which is no fault
    run_in(gone, f"import os; os.rmdir({str(gone)!r}); {FOUND}", f".:{ROOT}")
