"""Folders for temporary files: whose they are, and what becomes of them after a kill."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sipagent.service.children import own_folder
from tests.tapping import PATIENCE_S

TAKE = """
import os, signal, sys
from sipagent.service.children import own_folder
print(own_folder("test"), flush=True)
if sys.stdin.readline() == "die\\n":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def another(base: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a folder until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", TAKE],
        env={**os.environ, "TMPDIR": str(base)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_it_is_for_this_user_alone_and_goes_with_its_process_or_after_a_kill_with_the_next_one(
    base: Path,
) -> None:
    (living, used), (killed, left) = another(base), another(base)
    assert used.stat().st_mode & 0o777 == 0o700 and {used.parent, left.parent} == {base}
    (left / "file").touch()
    killed.communicate("die\n", PATIENCE_S)
    assert killed.returncode == -signal.SIGKILL and left.exists()
    ours = own_folder("test")
    assert {*base.iterdir()} == {ours, used}
    living.communicate("end\n", PATIENCE_S)
    assert living.returncode == 0 and [*base.iterdir()] == [ours]


def test_what_is_no_folder_of_ours_stays(base: Path) -> None:
    elsewhere = base / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (base / f"sipagent-test-{os.getuid()}-link").symlink_to(elsewhere)
    (base / f"sipagent-test-{os.getuid()}-file").touch()
    (base / f"sipagent-other-{os.getuid()}-x").mkdir()
    (base / "pymp-another").mkdir()
    before = {*base.iterdir()}
    own_folder("test")
    assert before < {*base.iterdir()} and (elsewhere / "file").exists()


def test_a_long_path_is_none_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("d" * 100)))
    assert own_folder("test").parent == Path("/tmp")
