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
sys.stdin.readline()
if "killed" in sys.argv:
    os.kill(os.getpid(), signal.SIGKILL)
"""


class Another:
    """A process that has a folder until it is told to end."""

    def __init__(self, base: Path, *how: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TAKE, *how],
            env={**os.environ, "TMPDIR": str(base)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.folder = Path(self._process.stdout.readline().strip())

    def end(self) -> int:
        self._process.communicate("\n", PATIENCE_S)
        return self._process.returncode


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_it_is_for_this_user_alone_and_goes_with_the_process(base: Path) -> None:
    another = Another(base)
    assert another.folder.stat().st_mode & 0o777 == 0o700
    assert another.folder.parent == base
    assert another.end() == 0
    assert not [*base.iterdir()]


def test_what_a_kill_has_left_goes_with_the_next_one(base: Path) -> None:
    another = Another(base, "killed")
    (another.folder / "file").touch()
    assert another.end() == -signal.SIGKILL
    assert another.folder.exists()
    folder = own_folder("test")
    assert [*base.iterdir()] == [folder]


def test_what_another_process_uses_stays(base: Path) -> None:
    another = Another(base)
    own_folder("test")
    assert another.folder.is_dir()
    assert another.end() == 0


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
