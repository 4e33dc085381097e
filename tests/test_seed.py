"""The file of the seed: made once, whole or not at all, and never taken for another."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.files import Places
from sipagent.config.sampling import Seed, SeedError, keep_seed, read_seed

ROOT = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return Places(tmp_path / "kept" / "retention.db").seed


def test_it_is_made_once_and_for_its_owner_alone(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_seed(path)
    assert not path.parent.exists()
    made = keep_seed(path)
    assert path.name == "retention.seed"
    assert path.stat().st_mode & 0o777 == 0o600
    assert keep_seed(path) == read_seed(path) == made
    assert len(made.secret) == 32
    assert [file.name for file in path.parent.iterdir()] == ["retention.seed"]
    assert len({keep_seed(path.parent / str(n)).secret for n in range(20)} | {made.secret}) == 21


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_seed_that_is_damaged_anywhere_is_none_and_stays(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "retention.seed"
    path.unlink(missing_ok=True)
    keep_seed(path)
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    turned = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
    damaged = data.draw(st.sampled_from([whole[:place], turned, whole + whole[:place] + b"x", b""]))
    path.write_bytes(damaged)
    for read in (read_seed, keep_seed):
        with pytest.raises(SeedError, match=r"retention.seed is damaged: put back a copy"):
            read(path)
    assert path.read_bytes() == damaged


def test_a_large_file_is_not_read_whole(path: Path) -> None:
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(SeedError):
        read_seed(path)


DIES = """
import os, signal, sys
from pathlib import Path
from sipagent.config.sampling import keep_seed
step = int(sys.argv[2])
count = 0
def audit(event, args):
    global count
    if event in ("open", "os.rename", "os.mkdir", "os.chown") and sys.argv[1] in str(args[0]):
        if count == step:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
sys.addaudithook(audit)
keep_seed(Path(sys.argv[1]) / "kept" / "retention.seed")
print(count)
"""


def test_killed_at_any_step_it_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    steps = 0
    for step in range(20):
        folder = tmp_path / str(step)
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", DIES, str(folder), str(step)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        path = folder / "kept" / "retention.seed"
        first = read_seed(path) if path.exists() else None
        assert first is None or keep_seed(path) == first
        assert isinstance(keep_seed(path), Seed)
        assert [file.name for file in path.parent.iterdir()] == ["retention.seed"]
        if done.returncode == 0:
            break
        steps += 1
    assert steps >= 4 and done.returncode == 0, done.stderr
