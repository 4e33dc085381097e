"""Real processes of the supervisor's, which run what this file says; and a child's end of the pipe."""

import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import Pipe, forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from sipagent import logs
from sipagent.service.children import (
    ORDERS,
    Alerted,
    Child,
    Drain,
    Ready,
    SupervisorLink,
    ToChild,
    asked,
    could_not_run,
    own_folder,
)
from tests.tapping import PATIENCE_S, wait_for

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


# --- processes ---


@pytest.fixture
def children() -> Iterator[list[Child]]:
    """Two that have said what they were given."""
    children = [Child("echo", f"{HERE}:echo", "a", 1) for _ in range(2)]
    for child in children:
        said: Any = child.connection.recv()
        assert said == (child.pid, ("a", 1))
    yield children
    for child in children:
        with suppress(OSError):  # closed by its test
            child.kill()
            ended(child)
            child.close()


def ended(one: Child | int) -> bool:
    return bool(select.select([one], [], [], PATIENCE_S)[0])


def wait_gone(pid: int) -> None:
    with suppress(ProcessLookupError):
        assert ended(os.pidfd_open(pid)), f"{pid} goes on"


def test_it_hears_and_says_and_its_end_is_seen_and_its_code_known(children: list[Child]) -> None:
    """To one that has ended nothing is said, and nothing happens to it."""
    child, _ = children
    child.send(Drain(5))
    said: Any = child.connection.recv()
    assert said == Drain(5) and child.running
    child.kill()
    assert ended(child) and not child.running
    child.send(Drain(1))
    child.kill()
    assert child.close() == -9


def test_it_is_not_kept_from_its_end_by_the_next_one(children: list[Child]) -> None:
    """No process holds another's pipe: its end would not be seen."""
    first, second = children
    first.connection.close()
    assert ended(first)
    assert second.running


def test_the_end_of_one_whose_server_has_died_is_not_known(children: list[Child]) -> None:
    child, _ = children
    server = int(vars(forkserver._forkserver)["_forkserver_pid"])
    gone = os.pidfd_open(server)
    os.kill(server, signal.SIGKILL)
    assert ended(gone)
    os.close(gone)
    child.kill()
    assert ended(child) and child.close() is None


def test_one_that_does_not_listen_is_killed() -> None:
    child = Child("deaf", f"{HERE}:deaf")
    child.connection.recv()
    for _ in range(100_000):
        child.send(Drain(1))
        if not child.running:
            break
    assert ended(child)
    assert child.close() == -9


def test_what_one_is_asked_in_a_process_of_its_own() -> None:
    """Signals for the supervisor are not for children. One may die before it has answered."""
    assert asked(f"{HERE}:blocked") >= ORDERS
    assert asked("sipagent.pjsip.library:tell")[1].legs >= 4
    with pytest.raises(EOFError):
        asked("os:getpid_of_nobody")


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


def test_a_supervisor_that_is_killed_leaves_nothing_for_longer_than_until_the_next_one() -> None:
    """Neither child nor the server that forks; what is another program's stays where it is."""
    with tempfile.TemporaryDirectory() as folder:  # short: a socket is below it
        base = Path(folder)
        (base / "pymp-another").mkdir()

        def run(script: str) -> "subprocess.CompletedProcess[str]":
            words, environment = [sys.executable, "-c", script], {**os.environ, "TMPDIR": folder}
            return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

        killed = run(ORPHAN)
        pids = [int(word) for word in killed.stdout.split()]
        assert killed.returncode == -9 and len(pids) == 2
        for pid in pids:
            wait_gone(pid)
        assert len([*base.iterdir()]) == 2
        next_one = run(ORPHAN.replace("os.kill(os.getpid(), signal.SIGKILL)", "child.kill(); child.close()"))
        assert next_one.returncode == 0
        assert [path.name for path in base.iterdir()] == ["pymp-another"]


def test_the_supervisor_has_no_engine_and_what_has_asked_one_ends_where_there_are_no_children() -> None:
    code = f"""
import os, sys
from pathlib import Path
import sipagent.service.supervision
from sipagent.service.children import asked, end_server

def left():
    return Path(f"/proc/{{os.getpid()}}/task/{{os.getpid()}}/children").read_text().split()

asked("{HERE}:blocked")
before = left()
end_server()
print("pjsua2" in sys.modules, len(before), len(left()), bool(asked("{HERE}:blocked")))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["False", "2", "0", "True"]


# --- a child's end of the pipe ---

Ends = tuple["Connection[Any, Any]", SupervisorLink, list[ToChild | str]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The supervisor's end, the child's link, and what that has heard."""
    ours, theirs = Pipe(duplex=True)
    heard: list[ToChild | str] = []
    link = SupervisorLink(theirs)
    link.start(heard.append, lambda: heard.append("lost"))
    yield ours, link, heard
    ours.close()
    link.close()


def test_what_is_sent_arrives_in_order_and_the_end_of_the_supervisor_is_heard_once(ends: Ends) -> None:
    ours, link, heard = ends
    sent: list[ToChild | str] = [Drain(patience_s) for patience_s in range(100)]
    for message in sent:
        ours.send(message)
    wait_for(lambda: len(heard) == 100)
    ours.close()
    wait_for(lambda: heard == [*sent, "lost"])
    link.send(Ready())
    link.close()
    assert heard == [*sent, "lost"]


def test_sending_waits_for_nobody_and_closing_sends_what_was_said_before(ends: Ends) -> None:
    """Not even for a supervisor that reads nothing, whose pipe is full."""
    ours, link, _ = ends
    done = threading.Event()

    def send() -> None:
        for _ in range(50_000):
            link.send(Ready())
        done.set()

    threading.Thread(target=send, daemon=True).start()
    assert done.wait(PATIENCE_S)
    closing = threading.Thread(target=link.close)
    closing.start()
    for _ in range(50_000):
        assert ours.recv() == Ready()
    closing.join()


def test_an_alert_is_sent_too_as_long_as_the_link_lasts(ends: Ends) -> None:
    ours, link, _ = ends
    logs.told_of(None, "error", {"event": "alert", "reason": "a leg is lost", "call": "a"})
    logs.told_of(None, "error", {"event": "alert", "reason": "the disk is full"})
    logs.told_of(None, "info", {"event": "ready"})
    link.close()
    logs.told_of(None, "error", {"event": "alert", "reason": "nobody hears this"})
    assert [ours.recv() for _ in range(2)] == [
        Alerted("a leg is lost", "a"),
        Alerted("the disk is full", None),
    ]
    assert not ours.poll()


# --- folders for temporary files: whose they are, and what becomes of them after a kill ---

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


# --- whether it gets a processor ---


def busy(connection: "Connection[Any, Any]") -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    connection.send("here")
    while True:
        pass


def spinning(connection: "Connection[Any, Any]") -> None:
    """On one processor, behind all else there."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.nice(19)
    connection.send("here")
    while True:
        pass


def test_a_wait_that_is_not_over_yet_counts() -> None:
    """The kernel has told nothing of it so far. A thread that sleeps, or spins, has no such wait."""
    ready, ran, asleep = (1.0, 2.0, True), (4.0, 2.0, True), (1.0, 2.0, False)
    assert could_not_run({7: ready}, {7: ready}, 3.0)
    assert not could_not_run({7: ready}, {7: ran}, 3.0)
    assert not could_not_run({7: asleep}, {7: asleep}, 3.0)
    assert not could_not_run({7: asleep}, {8: ready}, 3.0)


def test_one_that_gets_no_processor_is_known_from_one_that_does_nothing(children: list[Child]) -> None:
    """Beside one that takes all of it; one that waits, or is stopped, could run and need not."""
    busy, waits = Child("busy", f"{HERE}:busy"), children[0]
    starved = Child("starved", f"{HERE}:spinning")
    try:
        busy.connection.recv(), starved.connection.recv()
        os.kill(children[1].pid, signal.SIGSTOP)
        observed = (starved, waits, children[1])
        before = [(child.threads(), time.monotonic()) for child in observed]
        assert all(threads for threads, _ in before)

        def told() -> list[bool]:
            """Since then. The kernel counts a wait when it is over, which may take seconds."""
            return [
                could_not_run(threads, child.threads(), time.monotonic() - at)
                for (threads, at), child in zip(before, observed, strict=True)
            ]

        seconds = 1.0
        wait_for(lambda: time.monotonic() - before[0][1] > seconds and told() == [True, False, False])
    finally:
        for child in (busy, starved):
            child.kill()
            ended(child)
            child.close()
