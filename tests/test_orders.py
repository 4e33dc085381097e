"""What signals ask, until somebody looks."""

import os
import select
import signal
import time
from collections.abc import Iterator

import pytest

from sipagent.service.control import Orders, Wake, heed


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


def test_a_signal_wakes_who_waits_for_other_things(orders: Orders) -> None:
    wake = Wake()
    try:
        assert not select.select([wake], [], [], 0)[0]
        os.kill(os.getpid(), signal.SIGHUP)
        assert select.select([wake], [], [], 10)[0]
        wake.clear()
        wake.clear()
        assert not select.select([wake], [], [], 0)[0]
    finally:
        wake.close()
