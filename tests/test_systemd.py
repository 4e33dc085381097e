"""What systemd is told, over a real datagram socket."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipagent.service import one_process
from sipagent.service.children import REGISTRAR, NotRegistered
from sipagent.service.control import BEFORE_CALLS, LAST_WORK_S, LOOK_S, Systemd, status_of
from sipagent.service.supervisor import GRACE_S
from tests.configured import SMALL, read
from tests.notified import Notified
from tests.test_service import Stub, engine, send, where
from tests.test_supervisor import DRAIN_S, FakeChild, House

__all__ = ["engine", "where"]  # fixtures
HEALTHY = "STATUS=0 calls of at most 1"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Notified]:
    manager = Notified(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.fixture
def systemd(manager: Notified) -> Systemd:
    return Systemd(manager.address, watchdog_s=60.0)


# --- where to ---


def test_it_is_taken_out_of_the_environment(monkeypatch: pytest.MonkeyPatch, manager: Notified) -> None:
    """No child can speak in our name, or believes that it is watched."""
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", "4000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    systemd = Systemd.from_environment()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    systemd.ready()
    systemd.look(100.0, lambda: "fine")
    assert manager.all() == ["READY=1", "WATCHDOG=1", "STATUS=fine"]
    systemd.look(101.0, lambda: "fine")
    assert systemd.due() == 102.0  # half of the four seconds


@pytest.mark.parametrize(("us", "pid"), [("", ""), ("4000000", "1"), ("soon", "")])
def test_a_watchdog_that_is_not_for_us(
    monkeypatch: pytest.MonkeyPatch, manager: Notified, us: str, pid: str
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", us)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    systemd = Systemd.from_environment()
    systemd.ready()
    systemd.look(100.0, lambda: "fine")
    assert manager.all() == ["READY=1", "STATUS=fine"]


def test_an_abstract_address() -> None:
    manager = Notified(f"@sipagent-test-{os.getpid()}")
    Systemd(manager.address).ready()
    assert manager.all() == ["READY=1"]
    manager.close()


@pytest.mark.parametrize("address", ["", "vsock:2:9999", "relative/path"])
def test_without_one_nothing_is_told_and_nothing_is_due(address: str) -> None:
    systemd = Systemd(address, watchdog_s=60.0)
    systemd.look(0.0, lambda: pytest.fail("nobody asked"))
    systemd.ready()
    assert systemd.due() is None


def test_a_systemd_that_is_gone_ends_nothing(manager: Notified, systemd: Systemd) -> None:
    manager.close()
    systemd.ready()
    Path(manager.address).unlink()
    systemd.look(100.0, lambda: "fine")


# --- when ---


def test_the_status_is_told_where_it_has_changed_and_once_a_second_at_most(
    manager: Notified, systemd: Systemd
) -> None:
    systemd.ready()
    for after_s, status in ((0.0, "a"), (0.1, "b"), (0.9, "c"), (1.0, "d"), (2.0, "d"), (3.0, "e")):
        systemd.look(100.0 + after_s, lambda status=status: status)  # type: ignore[misc]
    assert [said for said in manager.all() if "STATUS" in said] == ["STATUS=a", "STATUS=d", "STATUS=e"]


def test_a_change_that_was_passed_over_is_looked_at_soon(systemd: Systemd) -> None:
    systemd.ready()
    systemd.look(100.0, lambda: "a")
    assert systemd.due() == 130.0  # for the watchdog
    systemd.look(100.5, lambda: "b")
    assert systemd.due() == 100.0 + LOOK_S


def test_ready_is_told_with_what_is_true_by_then(manager: Notified, systemd: Systemd) -> None:
    systemd.look(100.0, lambda: "something is missing")
    systemd.ready()
    systemd.look(100.1, lambda: "fine")
    assert manager.all()[-2:] == ["READY=1", "STATUS=fine"]


def test_a_start_that_takes_long_asks_for_more_time(manager: Notified, systemd: Systemd) -> None:
    """As one that waits for the registrar: for as long as the loop is running, however long that is."""
    for after_s in (0.0, 29.9, 30.0, 60.0):
        systemd.look(100.0 + after_s, lambda: "not registered")
    longer = ["EXTEND_TIMEOUT_USEC=90000000"]
    assert [said for said in manager.all() if "STATUS" not in said] == 3 * longer
    systemd.ready()
    systemd.look(190.0, lambda: "fine")
    assert manager.all()[-3:] == ["READY=1", "WATCHDOG=1", "STATUS=fine"]


def test_a_reload_is_told_from_its_beginning_to_its_end(manager: Notified, systemd: Systemd) -> None:
    systemd.ready()
    before = time.monotonic_ns() // 1000
    systemd.reload(lambda: manager.all()[-1].startswith("RELOADING=1"))
    _, reloading, ready = manager.all()
    first, at = reloading.split("\n")
    assert (first, ready) == ("RELOADING=1", "READY=1")
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    systemd.say("fine")
    assert manager.all()[-1] == "STATUS=fine"  # so it was in the middle that the file was read


def test_a_refused_reload_is_seen_until_one_is_taken(manager: Notified, systemd: Systemd) -> None:
    systemd.ready()
    systemd.reload(lambda: False)
    systemd.say("fine")
    assert manager.all()[-1] == "STATUS=fine; the last reload was refused, see the log"
    systemd.reload(lambda: True)
    systemd.say("fine")
    assert manager.all()[-1] == "STATUS=fine"


def test_a_reload_before_calls_can_come_says_nothing(manager: Notified, systemd: Systemd) -> None:
    systemd.reload(lambda: True)
    assert manager.all() == []


def test_what_drains_says_how_long_that_takes(manager: Notified, systemd: Systemd) -> None:
    systemd.stopping(60.0)
    assert manager.all() == [f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(1e6 * (60 + LAST_WORK_S))}"]


# --- in words ---


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (status_of(1, 5, None), "1 call of at most 5"),
        (status_of(0, 5, True), "0 calls of at most 5; registered"),
        (status_of(2, 5, False), "2 calls of at most 5; not registered, so the trunk sends no calls"),
        (status_of(2, 5, True, draining=True, lacks=["x"]), "draining, 2 calls left"),
        (status_of(2, 5, None, lacks=["a", "b", "c"]), "2 calls of at most 5; a; b; c"),
        (status_of(2, 5, None, lacks=["a", "b", "c", "d", "e"]), "2 calls of at most 5; a; b; c; 2 more"),
    ],
)
def test_the_status_in_words(said: str, words: str) -> None:
    assert said == words


# --- one process ---


def run(where: Path, systemd: Systemd) -> None:
    assert one_process.run(read(SMALL, where), log_json=True, drain_s=60.0, systemd=systemd) == 0


def test_a_run_in_one_process(
    where: Path, engine: type[Stub], manager: Notified, systemd: Systemd, capsys: pytest.CaptureFixture[str]
) -> None:
    where.write_text(SMALL)
    engine.steps = [lambda _: None, send(signal.SIGHUP), lambda _: None, send(signal.SIGTERM)]
    run(where, systemd)
    kinds = [said.partition("=")[0] for said in manager.all()]
    assert kinds == ["STATUS", "READY", "WATCHDOG", "STATUS", "RELOADING", "READY", "STOPPING"]
    assert manager.said[0] == f"STATUS={BEFORE_CALLS}" and manager.said[3] == HEALTHY
    capsys.readouterr()


def test_a_file_that_is_wrong_at_a_reload_is_told(
    where: Path, engine: type[Stub], manager: Notified, capsys: pytest.CaptureFixture[str]
) -> None:
    where.write_text(SMALL)

    def spoil(_: Stub) -> None:
        where.write_text("[service]\nname = 1")

    def told(_: Stub) -> None:
        manager.wait_for("refused", 0.1)

    engine.steps = [spoil, send(signal.SIGHUP), *looked(told)]
    run(where, Systemd(manager.address))
    assert "reload_refused" in capsys.readouterr().err


def looked(then: Callable[[Stub], None]) -> list[Callable[[Stub], None]]:
    """Until the status is looked at again, and then."""
    until = time.monotonic() + 60

    def again(stub: Stub) -> None:
        try:
            then(stub)
        except AssertionError:
            assert time.monotonic() < until, "it is not told"
            stub.steps.insert(0, again)

    return [again]


def test_a_loop_that_stands_still_gives_no_sign_of_life(
    where: Path, engine: type[Stub], manager: Notified, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three signs come while polls return; none while one does not."""
    where.write_text(SMALL)

    def alive(_: Stub) -> None:
        manager.wait_for("WATCHDOG=1", 0.01)

    def stalls(_: Stub) -> None:
        assert manager.silent(0.5)  # five times as long as from one sign to the next

    engine.steps = [*looked(alive), *looked(alive), *looked(alive), stalls, *looked(alive)]
    run(where, Systemd(manager.address, watchdog_s=0.2))
    capsys.readouterr()


# --- the supervisor ---


def test_a_supervisor_from_its_start_to_its_end(manager: Notified, systemd: Systemd) -> None:
    house = House(workers=2, registers=True, systemd=systemd)
    assert manager.all()[-1] == (
        "STATUS=2 calls of at most 6; not registered, so the trunk sends no calls; worker-0 is not ready; "
        "worker-1 is not ready"
    )
    house.ready()
    assert manager.all()[-2:] == ["READY=1", "STATUS=2 calls of at most 6; registered"]
    house.supervisor.heard(house[REGISTRAR], NotRegistered(), house.now)
    house.turn(LOOK_S)
    assert manager.all()[-1] == "STATUS=2 calls of at most 6; not registered, so the trunk sends no calls"
    house.ends(0, -9)
    house.turn(LOOK_S)
    assert manager.all()[-1].endswith("; worker-0 is not ready")
    house.ending(DRAIN_S)
    (stopping,) = (said for said in manager.all() if said.startswith("STOPPING=1"))
    assert stopping.endswith(f"={round(1e6 * (DRAIN_S + GRACE_S + LAST_WORK_S))}")
    house.turn(LOOK_S)
    assert manager.all()[-1] == "STATUS=draining, 2 calls left"


def test_a_supervisor_without_its_edge_says_so(manager: Notified, systemd: Systemd) -> None:
    house = House(workers=1, systemd=systemd)
    house.ready()
    house.edge.broken = True
    house.supervisor.care.died(house.now)
    house.turn(LOOK_S)
    assert manager.all()[-1] == "STATUS=2 calls of at most 6; the edge is not up"


def test_a_supervisor_wakes_for_its_watchdog(manager: Notified, systemd: Systemd) -> None:
    """A worker that hangs is its own affair: it is killed and replaced, while signs of life go on."""
    house = House(workers=1, systemd=systemd)
    house.ready()
    signs = []
    while house.now < 1200.0:
        house.turn(house.supervisor.due(house.now) - house.now)
        signs += [house.now for said in manager.all() if said == "WATCHDOG=1"]
        manager.said.clear()
    assert signs == [1030.0, 1060.0, 1090.0, 1120.0, 1150.0, 1180.0]
    assert house.starts(0) == 1 and isinstance(house[0].child, FakeChild) and house[0].child.killed
