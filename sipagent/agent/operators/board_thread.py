"""The thread `board`: the way to the board of all hosts. Nobody waits for it: it is told, and asked what it
has heard.

What is asked on one connection is answered on that one: with the next one a host begins by telling all.
"""

import queue
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from retention.postgres.board_rows import BoardAway, Change
from sipagent.agent.operators.shared_state import (
    Farewell,
    Host,
    NewerBoard,
    NotOnBoard,
    Outcome,
    Question,
    answered,
)

LIMIT_S = 0.5  # for an answer of the shared board
PAUSES_S = (0.0, 0.1, 0.2, 0.5, 1.0)  # before the next connection, the longer the oftener it has failed
DISPLACED_S = 10.0  # before the next, where another agent has the name of this host
STEADY_S = 10.0  # a connection that lasted so long had not failed


class Rows(Protocol):
    """A connection; implemented by `retention.postgres.board_rows.BoardRows`. All raise BoardAway."""

    def fileno(self) -> int: ...

    def change(self, change: Change[Outcome], until: float) -> Outcome: ...

    def heard(self) -> list[str]: ...

    def close(self) -> None: ...


# --- what it is told ---


@dataclass(frozen=True, slots=True)
class Ask:
    """To be asked on this connection; dropped where there is another by then."""

    connection: int
    host: Host
    question: Question


@dataclass(frozen=True, slots=True)
class Renew:
    """This connection did not answer in time: another one."""

    connection: int


ToThread = Ask | Renew


# --- what it says ---


@dataclass(frozen=True, slots=True)
class Connected:
    """The board can be asked; it knows nothing of this host, or what it knows is not to be relied on."""

    connection: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What the questions have come to."""

    connection: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class MayAsk:
    """Other hosts say that these calls, of whatever host, may ask again."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, or none could be made; another one is tried."""

    reason: str


FromThread = Connected | Heard | MayAsk | Lost


class BoardThread:
    """`connect` raises BoardAway; `woken` is called when there is something to hear, and must not wait."""

    def __init__(self, connect: Callable[[], Rows], woken: Callable[[], None] = lambda: None) -> None:
        self._connect = connect
        self.woken = woken
        self._told: queue.SimpleQueue[ToThread] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[FromThread] = queue.SimpleQueue()
        self._bell, self._rings = socket.socketpair()
        self._bell.setblocking(False)
        self._rings.setblocking(False)
        self._connection = 0
        self._host: Host | None = None  # who asked last
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take leave of the board, and end; where it does not answer, within seconds."""
        self._ending.set()
        self._ring()
        self._thread.join()
        self._bell.close()
        self._rings.close()

    # --- for whoever asks ---

    def put(self, message: ToThread) -> None:
        """Tell it something."""
        self._told.put(message)
        self._ring()

    def hear(self) -> FromThread | None:
        """What it has said, one at a time."""
        with suppress(queue.Empty):
            return self._said.get_nowait()
        return None

    @property
    def has_said(self) -> bool:
        """Whether there is something to hear."""
        return not self._said.empty()

    # --- the thread ---

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it has been rung already
            self._rings.send(b".")

    def _say(self, *said: FromThread) -> None:
        for one in said:
            self._said.put(one)
        self.woken()

    def _run(self) -> None:
        failures, pause_s = 0, 0.0
        while not self._ending.wait(pause_s):
            since = time.monotonic()
            try:
                self._connected()
            except (BoardAway, NewerBoard) as away:
                self._say(Lost(str(away)))
            except NotOnBoard:
                self._say(Lost("another agent has the name of this host"))
                pause_s = DISPLACED_S
                continue
            failures = 1 if time.monotonic() - since > STEADY_S else failures + 1
            pause_s = PAUSES_S[min(failures, len(PAUSES_S)) - 1]

    def _connected(self) -> None:
        """Serve one connection until it is gone, or is to be renewed, or the service ends."""
        rows = self._connect()
        try:
            self._begin()
            while not self._ending.is_set():
                self._wait(rows)
                if not self._serve(rows):
                    return
            self._take_leave(rows)
        finally:
            rows.close()

    def _begin(self) -> None:
        self._connection += 1
        self._say(Connected(self._connection))

    def _wait(self, rows: Rows) -> None:
        poll = select.poll()
        poll.register(rows.fileno(), select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.poll()
        with suppress(BlockingIOError):
            self._bell.recv(4096)

    def _serve(self, rows: Rows) -> bool:
        """Ask what is to be asked, and hear what others say; False: the connection is to be renewed."""
        asks: list[Ask] = []
        while not self._told.empty():
            told = self._told.get()
            if told.connection != self._connection:
                continue
            if isinstance(told, Renew):
                return False
            asks.append(told)
        if asks:
            self._ask(rows, asks)
        if calls := rows.heard():
            self._say(MayAsk(tuple(calls)))
        return True

    def _ask(self, rows: Rows, asks: list[Ask]) -> None:
        self._host = asks[-1].host
        questions = [one.question for one in asks]
        try:
            outcome = rows.change(_change(self._host, questions), time.monotonic() + LIMIT_S)
        except NotOnBoard as unknown:
            if unknown.displaced:
                raise
            self._begin()
        else:
            self._say(Heard(self._connection, outcome))

    def _take_leave(self, rows: Rows) -> None:
        """After all that is still to be said."""
        self._serve(rows)
        if self._host is not None:
            with suppress(NotOnBoard):
                rows.change(_change(self._host, [Question(0, Farewell())]), time.monotonic() + LIMIT_S)


def _change(host: Host, questions: list[Question]) -> Change[Outcome]:
    def change(text: str | None, now: float) -> tuple[str, list[str], Outcome]:
        after, outcome = answered(text, host, questions, now)
        return after, list(outcome.elsewhere), outcome

    return change
