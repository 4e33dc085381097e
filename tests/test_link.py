"""A child's end of the pipe: what goes either way, and its end."""

import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from sipagent.service.children import Drain, Ready, SupervisorLink, ToChild
from tests.tapping import wait_for

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


def test_what_is_sent_arrives_in_order(ends: Ends) -> None:
    ours, _, heard = ends
    for patience_s in range(100):
        ours.send(Drain(patience_s))
    wait_for(lambda: len(heard) == 100)
    assert heard == [Drain(patience_s) for patience_s in range(100)]


def test_sending_waits_for_nobody(ends: Ends) -> None:
    """Not even for a supervisor that reads nothing, whose pipe is full."""
    ours, link, _ = ends
    done = threading.Event()

    def send() -> None:
        for _ in range(50_000):
            link.send(Ready())
        done.set()

    threading.Thread(target=send, daemon=True).start()
    assert done.wait(60)
    for _ in range(50_000):
        assert ours.recv() == Ready()


def test_the_end_of_the_supervisor_is_heard_once(ends: Ends) -> None:
    ours, link, heard = ends
    ours.close()
    wait_for(lambda: heard == ["lost"])
    link.send(Ready())
    link.close()
    assert heard == ["lost"]


def test_closing_sends_what_was_said_before(ends: Ends) -> None:
    ours, link, _ = ends
    for _ in range(100):
        link.send(Ready())
    link.close()
    assert [ours.recv() for _ in range(100)] == [Ready()] * 100
