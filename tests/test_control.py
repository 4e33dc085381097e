"""What signals ask, until somebody looks; and what systemd is told."""

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipagent.service.control import LAST_WORK_S, LOOK_S, Orders, Systemd, Wake, heed, status_of
from tests.notified import Notified


@pytest.fixture
def orders() -> Iterator[Orders]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    orders = Orders(60.0)
    heed(orders)
    yield orders
    for number, handler in before.items():
        signal.signal(number, handler)


def within(at: float | None, seconds: float) -> bool:
    return at is not None and at <= time.monotonic() + seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_gives_time_and_the_second_none(orders: Orders, number: int) -> None:
    os.kill(os.getpid(), number)
    assert within(orders.ending_at, 60) and not within(orders.ending_at, 1)
    os.kill(os.getpid(), number)
    assert within(orders.ending_at, 0)


def test_sighup_ends_nothing(orders: Orders) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    assert orders.reload and orders.ending_at is None


def test_a_longer_patience_than_was_said_before_is_none() -> None:
    orders = Orders(60.0)
    orders.end_within(1.0)
    orders.end_within(30.0)
    assert within(orders.ending_at, 1)


def test_a_signal_or_another_thread_wakes_who_waits_for_other_things(orders: Orders) -> None:
    wake = Wake()
    try:
        ways: tuple[Callable[[], None], ...] = lambda: os.kill(os.getpid(), signal.SIGHUP), wake.wake
        for wakes in ways:
            assert not select.select([wake], [], [], 0)[0]
            wakes()
            wakes()
            assert select.select([wake], [], [], 10)[0]
            wake.clear()
            wake.clear()  # it waits for nothing
    finally:
        wake.close()
    wake.wake()  # too late: nobody waits


# --- what systemd is told, over a real datagram socket ---


@pytest.mark.parametrize(
    ("us", "pid", "ours"), [("4000000", "", True), ("4000000", "1", False), ("soon", "", False)]
)
def test_it_is_taken_out_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, manager: Notified, us: str, pid: str, ours: bool
) -> None:
    """No child can speak in our name, or believes that it is watched. A watchdog may be for another."""
    for name, value in (
        ("NOTIFY_SOCKET", manager.address),
        ("WATCHDOG_USEC", us),
        ("WATCHDOG_PID", pid or f"{os.getpid()}"),
    ):
        monkeypatch.setenv(name, value)
    systemd = Systemd.from_environment()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()
    systemd.ready()
    systemd.look(100.0, lambda: "fine")
    assert manager.all() == ["READY=1", *(["WATCHDOG=1"] if ours else []), "STATUS=fine"]
    systemd.look(101.0, lambda: "fine")
    assert systemd.due() == (102.0 if ours else 120.0)  # half of the four seconds


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


def test_the_status_is_told_where_it_has_changed_and_once_a_second_at_most(
    manager: Notified, systemd: Systemd
) -> None:
    """A change that was passed over is looked at soon."""
    systemd.ready()
    dues = []
    for after_s, status in ((0.0, "a"), (0.1, "b"), (0.9, "c"), (1.0, "d"), (2.0, "d"), (3.0, "e")):
        systemd.look(100.0 + after_s, lambda status=status: status)  # type: ignore[misc]
        dues.append(systemd.due())
    assert [said for said in manager.all() if "STATUS" in said] == ["STATUS=a", "STATUS=d", "STATUS=e"]
    assert dues[:2] == [130.0, 100.0 + LOOK_S]  # the watchdog's; this


def test_a_start_that_takes_long_asks_for_more_time_and_ready_is_told_with_what_is_true_by_then(
    manager: Notified, systemd: Systemd
) -> None:
    """As one that waits for the registrar: for as long as the loop is running, however long that is."""
    systemd.reload(lambda: True)
    assert manager.all() == []  # before calls can come a reload says nothing
    for after_s in (0.0, 29.9, 30.0, 60.0):
        systemd.look(100.0 + after_s, lambda: "not registered")
    longer = ["EXTEND_TIMEOUT_USEC=90000000"]
    assert [said for said in manager.all() if "STATUS" not in said] == 3 * longer
    systemd.ready()
    systemd.look(160.1, lambda: "fine")
    assert manager.all()[-2:] == ["READY=1", "STATUS=fine"]


def test_a_reload_is_told_from_its_beginning_to_its_end_and_a_refused_one_until_one_is_taken(
    manager: Notified, systemd: Systemd
) -> None:
    systemd.ready()
    before = time.monotonic_ns() // 1000
    systemd.reload(lambda: manager.all()[-1].startswith("RELOADING=1"))  # in the middle the file is read
    _, reloading, ready = manager.all()
    first, at = reloading.split("\n")
    assert (first, ready) == ("RELOADING=1", "READY=1")
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    for taken, told in ((False, "; the last reload was refused, see the log"), (True, "")):
        systemd.reload(lambda taken=taken: taken)  # type: ignore[misc]
        systemd.say("fine")
        assert manager.all()[-1] == f"STATUS=fine{told}"


def test_what_drains_says_how_long_that_takes(manager: Notified, systemd: Systemd) -> None:
    systemd.stopping(60.0)
    assert manager.all() == [f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round(1e6 * (60 + LAST_WORK_S))}"]


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
