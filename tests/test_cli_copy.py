"""A file that is not finished has no name."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sipagent.cli.program import new_file

KILLED = """
import os, signal, sys
from pathlib import Path
from sipagent.cli.program import new_file
with new_file(Path(sys.argv[1]), replace=False) as (descriptor, name):
    os.write(descriptor, b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=[True, False], ids=["nameless", "named"])
def target(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a file is to go; on a file system that knows files without a name, and on one that does not."""
    if not request.param:
        really = os.open

        def refuse(path: Path | str, flags: int, *rest: int) -> int:
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported", str(path))
            return really(path, flags, *rest)

        monkeypatch.setattr(os, "open", refuse)
    return tmp_path / "copy.wav"


def test_it_has_its_name_when_it_is_whole_and_replaces_only_when_told(target: Path) -> None:
    for replace in (False, True):
        with new_file(target, replace=replace) as (descriptor, name):
            os.write(descriptor, b"whole")
            assert target.exists() == replace
            name()
        assert target.read_bytes() == b"whole" and target.stat().st_mode & 0o777 == 0o600
    target.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="File exists"), new_file(target, replace=False) as (_, name):
        name()
    assert target.read_bytes() == b"precious" and list(target.parent.iterdir()) == [target]


def test_nothing_is_left_of_one_that_was_never_named(target: Path) -> None:
    with pytest.raises(ValueError, match="not today"), new_file(target, replace=False) as (descriptor, _):
        os.write(descriptor, b"half of it")
        raise ValueError("not today")
    with pytest.raises(OSError, match="No space left") as full, new_file(target, replace=False):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(target)
    with pytest.raises(FileNotFoundError), new_file(target.parent / "no" / "copy.wav", replace=False):
        pass
    assert list(target.parent.iterdir()) == []


def test_nothing_is_left_after_kill_9(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "copy.wav")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
