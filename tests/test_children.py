"""Real processes of the supervisor's, which run what this file says."""

import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from sipagent.service.children import ORDERS, Child, Drain, asked
from tests.tapping import PATIENCE_S

HERE = "tests.test_children"


# --- what the children do ---


def echo(connection: "Connection[Any, Any]", *arguments: Any) -> None:
    """Say what it was given, and then what it is told, until the end of the pipe."""
    connection.send((os.getpid(), arguments))
    try:
        while True:
            connection.send(connection.recv())
    except EOFError:
        sys.exit(7)


def blocked(connection: "Connection[Any, Any]") -> None:
    connection.send(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def deaf(connection: "Connection[Any, Any]") -> None:
    connection.send("here")
    signal.pause()


# --- tests ---


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child("echo", f"{HERE}:echo", "a", 1)
    said: Any = child.connection.recv()
    assert said == (child.pid, ("a", 1))
    yield child
    child.kill()
    ended(child)


def ended(child: Child) -> bool:
    return bool(select.select([child], [], [], PATIENCE_S)[0])


def test_what_it_is_told_and_says(child: Child) -> None:
    child.send(Drain(5))
    said: Any = child.connection.recv()
    assert said == Drain(5)
    assert child.running


def test_its_end_is_seen_and_its_code_known() -> None:
    child = Child("echo", f"{HERE}:echo")
    child.connection.recv()
    child.kill()
    assert ended(child) and not child.running
    assert child.close() == -9


def test_the_end_of_one_whose_server_has_died_is_not_known() -> None:
    child = Child("echo", f"{HERE}:echo")
    child.connection.recv()
    server = int(vars(forkserver._forkserver)["_forkserver_pid"])
    with pidfd(server) as gone:
        os.kill(server, signal.SIGKILL)
        assert gone is not None and select.select([gone], [], [], PATIENCE_S)[0]
    child.kill()
    assert ended(child) and child.close() is None


def test_to_one_that_has_ended_nothing_is_said() -> None:
    child = Child("echo", f"{HERE}:echo")
    child.connection.recv()
    child.kill()
    ended(child)
    child.send(Drain(1))
    child.kill()
    child.close()


def test_one_that_does_not_listen_is_killed() -> None:
    child = Child("deaf", f"{HERE}:deaf")
    child.connection.recv()
    for _ in range(100_000):
        child.send(Drain(1))
        if not child.running:
            break
    assert ended(child)
    assert child.close() == -9


def test_signals_for_the_supervisor_are_not_for_children() -> None:
    assert asked(f"{HERE}:blocked") >= ORDERS


def test_one_that_says_nothing_before_its_end() -> None:
    with pytest.raises(EOFError):
        asked("os:getpid_of_nobody")


def test_a_child_is_not_kept_from_its_end_by_the_next_one() -> None:
    """No process holds another's pipe: its end would not be seen."""
    first, second = (Child("echo", f"{HERE}:echo") for _ in range(2))
    for child in (first, second):
        child.connection.recv()
    first.connection.close()
    assert ended(first)
    assert second.running
    second.kill()
    ended(second)
    for child in (first, second):
        child.close()


def test_the_supervisors_death_reaches_its_children(tmp_path: Path) -> None:
    """And nothing of it stays: neither child nor the server that forks."""
    said = subprocess.run(
        [sys.executable, "-c", ORPHAN], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    pids = [int(word) for word in said.stdout.split()]
    assert said.returncode == -9 and len(pids) == 2
    for pid in pids:
        with pidfd(pid) as gone:
            assert gone is None or select.select([gone], [], [], PATIENCE_S)[0]


def test_a_supervisor_that_is_killed_leaves_nothing_for_longer_than_until_the_next_one() -> None:
    """What is another program's stays where it is."""
    with tempfile.TemporaryDirectory() as folder:
        left_by_a_kill(Path(folder))


def left_by_a_kill(base: Path) -> None:
    (base / "pymp-another").mkdir()

    def run(script: str) -> int:
        environment = {**os.environ, "TMPDIR": str(base)}
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.returncode

    assert run(ORPHAN) == -9
    assert len([*base.iterdir()]) == 2
    assert run(ORPHAN.replace("os.kill(os.getpid(), signal.SIGKILL)", "child.kill(); child.close()")) == 0
    assert [path.name for path in base.iterdir()] == ["pymp-another"]


ORPHAN = f"""
import os, signal
from multiprocessing import forkserver
from sipagent.service.children import Child
if __name__ == "__main__":
    child = Child("echo", "{HERE}:echo")
    child.connection.recv()
    print(child.pid, forkserver._forkserver._forkserver_pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class pidfd:
    """None where there is no such process any more."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> int | None:
        try:
            self._fd: int | None = os.pidfd_open(self._pid)
        except ProcessLookupError:
            self._fd = None
        return self._fd

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)


def test_the_engines_library_is_no_part_of_the_supervisor() -> None:
    loaded = "import sipagent.service.supervision, sys; sys.exit('pjsua2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


def test_an_engine_says_how_many_legs_it_has() -> None:
    assert asked("sipagent.pjsip.library:tell")[1].legs >= 4


def test_what_has_asked_an_engine_ends_where_there_are_no_children() -> None:
    code = """
import os
from pathlib import Path
from sipagent.service.children import asked, end_server

def left():
    return Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()

asked("sipagent.pjsip.library:tell")
before = left()
end_server()
print(len(before), len(left()), asked("sipagent.pjsip.library:tell")[1].legs >= 4)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["2", "0", "True"]
