"""The thread that asks the board of all hosts: what it says, and in which order, whatever its line does."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from retention.postgres.board_rows import BoardAway, Change
from sipagent.agent.shared_board import (
    Ask,
    AskingHost,
    BoardQuestion,
    BoardThread,
    Connected,
    FromThread,
    HostView,
    Look,
    Lost,
    MayAsk,
    QuestionOutcome,
    QuestionsAnswered,
    Renew,
    read,
)

SOON_S = 5.0
HERE = AskingHost("a", "this run", 12.0, ("A",))


class Table:
    """The text, and the connections that were made to it. `refuses`: no further one can be made."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.made: queue.SimpleQueue[FakeRows] = queue.SimpleQueue()
        self.refuses = threading.Event()

    def connect(self) -> FakeRows:
        if self.refuses.is_set():
            raise BoardAway("nobody is there")
        rows = FakeRows(self)
        self.made.put(rows)
        return rows


class FakeRows:
    """A connection whose other end is the test's."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.words: list[str] = []
        self.fails = self.closed = False
        self._near, self._far = socket.socketpair()

    def fileno(self) -> int:
        return self._near.fileno()

    def change(self, change: Change[QuestionOutcome], until: float) -> QuestionOutcome:
        if self.fails:
            raise BoardAway("it has gone")
        self.table.text, _, outcome = change(self.table.text, 1000.0)
        return outcome

    def heard(self) -> list[str]:
        words, self.words = self.words, []
        if words:
            self._near.recv(4096)
        return words

    def close(self) -> None:
        self.closed = True
        self._near.close()
        self._far.close()

    def tell(self, *words: str) -> None:
        """Other hosts do."""
        self.words += words
        self._far.send(b".")


class Running:
    """A thread at work, and what it says."""

    def __init__(self) -> None:
        self.table = Table()
        self.said = threading.Semaphore(0)
        self.thread = BoardThread(self.table.connect, self.said.release)
        self.thread.start()

    def next(self) -> FromThread:
        """What it says next."""
        assert self.said.acquire(timeout=SOON_S)
        said = self.thread.hear()
        assert said is not None
        return said

    def rows(self) -> FakeRows:
        """The connection that was made next."""
        return self.table.made.get(timeout=SOON_S)

    def ask(self, connection: int, number: int, what: HostView | Look) -> None:
        self.thread.put(Ask(connection, HERE, BoardQuestion(number, what)))

    def heard(self) -> tuple[int, list[int]]:
        """On which connection, and the numbers of the questions that were answered."""
        said = self.next()
        assert isinstance(said, QuestionsAnswered)
        return said.connection, [number for number, _ in said.outcome.answers]


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    if not running.thread._ending.is_set():
        running.thread.stop()


def test_it_answers_and_passes_on_what_others_say(running: Running) -> None:
    assert running.next() == Connected(1)
    running.ask(1, 7, HostView())
    assert running.heard() == (1, [7])
    rows = running.rows()
    rows.tell("a:1", "b:2")
    assert running.next() == MayAsk(("a:1", "b:2"))


def test_what_was_asked_on_another_connection_is_dropped(running: Running) -> None:
    assert running.next() == Connected(1)
    running.thread.put(Renew(1))
    assert running.next() == Connected(2)
    assert running.rows().closed
    for connection, number in ((1, 1), (2, 2)):
        running.ask(connection, number, HostView())
    running.thread.put(Renew(1))  # of which it has heard
    assert running.heard() == (2, [2])


def test_a_host_that_the_text_does_not_know_is_to_tell_anew(running: Running) -> None:
    assert running.next() == Connected(1)
    running.ask(1, 1, Look())
    assert running.next() == Connected(2)
    running.ask(1, 2, Look())
    running.ask(2, 3, HostView())
    assert running.heard() == (2, [3])
    running.rows()
    assert running.table.made.empty()  # on the same line


def test_a_line_that_fails_is_said_and_another_one_is_made(running: Running) -> None:
    assert running.next() == Connected(1)
    rows = running.rows()
    rows.fails = True
    running.table.refuses.set()
    running.ask(1, 1, HostView())
    assert running.next() == Lost("it has gone")
    assert rows.closed
    assert running.next() == Lost("nobody is there")
    running.table.refuses.clear()
    while (said := running.next()) != Connected(2):
        assert said == Lost("nobody is there")


def test_at_the_end_all_is_said_and_leave_is_taken(running: Running) -> None:
    assert running.next() == Connected(1)
    running.ask(1, 1, HostView())
    running.heard()
    assert list(read(running.table.text).hosts) == ["a"]
    running.thread.stop()
    assert list(read(running.table.text).hosts) == []
    assert running.rows().closed


@pytest.mark.parametrize("breaks", [lambda one: one.table.refuses.set(), lambda one: None])
def test_it_ends_whatever_the_line_does(running: Running, breaks: Callable[[Running], None]) -> None:
    assert running.next() == Connected(1)
    running.rows().fails = True
    breaks(running)
    running.ask(1, 1, HostView())
    running.thread.stop()
