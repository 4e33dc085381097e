"""The board's part of a handover: an operator is free on one host, and offered to who waits on another.

Without phones, audio and the flow of calls: from `ReleaseOperator` at the one to `OperatorsOffered` at the
other, which is two turns at the table and a word between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from retention.postgres.board_rows import BoardRows
from sipagent.agent.board import (
    AskAgain,
    Board,
    BoardAnswer,
    BoardRequest,
    Leave,
    OperatorsOffered,
    ReleaseOperator,
    Seek,
    Served,
)
from sipagent.agent.operators import LocalBoardClient
from sipagent.agent.shared_board import BoardThread, SharedBoardClient
from tests.bench import report
from tests.bench.report import Row
from tests.postgres import primary

OPERATOR = "sip:201@pbx"
PATIENCE_S = 5.0
TARGET_MS = 50.0


class Side:
    """A host that does nothing but ask; what it hears wakes `heard`."""

    def __init__(self, url: str, name: str, heard: threading.Event) -> None:
        self.name, self.heard = name, heard
        self.thread = BoardThread(lambda: BoardRows(url), heard.set)
        own = LocalBoardClient(Board((OPERATOR,)))
        self.client = SharedBoardClient(own, name, 12.0, self.thread, now=time.monotonic(), alert=_alert)

    def say(self, asked: BoardRequest) -> None:
        self.client.tell(asked, time.monotonic())

    def until(self, call: str, offered: bool) -> None:
        """Until the call is offered somebody, or nobody; who may ask again does."""
        until = time.monotonic() + PATIENCE_S
        while not any(self._is_wanted(one, call, offered) for one in self.client.tick(time.monotonic())):
            if time.monotonic() > until:
                raise TimeoutError(f"{self.name}: no answer for {call}")
            self.heard.wait(0.1)
            self.heard.clear()

    def _is_wanted(self, answer: BoardAnswer, call: str, offered: bool) -> bool:
        if isinstance(answer, AskAgain) and answer.call == call:
            self.say(Seek(call, (), 1))
        return isinstance(answer, OperatorsOffered) and answer.call == call and bool(answer.uris) == offered


def _alert(reason: str) -> None:
    raise AssertionError(reason)


@contextmanager
def sides(url: str) -> Iterator[tuple[Side, Side]]:
    """Two of them, which share a board."""
    one, other = Side(url, "a", threading.Event()), Side(url, "b", threading.Event())
    for side in (one, other):
        side.thread.start()
    try:
        yield one, other
    finally:
        for side in (one, other):
            side.thread.stop()


def handovers(count: int, behind: int = 0) -> list[float]:
    """How long each took, in ms, while so many more callers wait behind on each host."""
    took = []
    with primary("127.0.0.14") as server, sides(server.database()) as both:
        here, there = both
        here.say(Seek("0", (), 1))
        here.until("0", offered=True)
        for number in range(1, count + 1):
            before, after = f"{number - 1}", f"{number}"
            here.say(Served(before))
            there.say(Seek(after, (), 1))
            more = [f"{number} and {more}" for more in range(behind)]
            for call in more:
                there.say(Seek(call, (), 1))
            there.until((more or [after])[-1], offered=False)
            began = time.monotonic()
            here.say(ReleaseOperator(before, OPERATOR, talked=True, willing=True))
            here.say(Leave(before))
            there.until(after, offered=True)
            took.append((time.monotonic() - began) * 1000)
            for call in more:
                there.say(Leave(call))
            here, there = there, here
    return took


def rows() -> list[Row]:
    """For people and programs."""
    found = []
    for behind in (0, 50):
        measured = report.of("", handovers(200, behind), TARGET_MS)
        name = f"the board alone, {behind + 1} waiting: operator free → offered on another host, p95"
        found.append(Row(name, measured.worst or 0.0, TARGET_MS, "ms", None, measured.count))
    return found
