"""A host as the board of all hosts sees it: callers who come, are served, and go. A program of its own.

python -m tests.board_host URL NAME [--operators N] [--callers N] [--hold-ms N] [--lease-s S] [--seconds S]

It ends at SIGTERM, or after so many seconds. A line of JSON tells each time that a caller
had an operator: `operator`, `from` and `to` (ns of the monotonic clock, which all processes share), `waited`
(ms, by the board alone), `alone` (without the shared board).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import select
import signal
import time
from dataclasses import dataclass

from retention.postgres.board_rows import BoardRows
from sipagent.agent.board import (
    AskAgain,
    Board,
    BoardAnswer,
    Claimed,
    Leave,
    OperatorsOffered,
    ReleaseOperator,
    Seek,
    Served,
)
from sipagent.agent.operators import LocalBoardClient
from sipagent.agent.shared_board import BoardThread, SharedBoardClient

LONGEST_S = 0.5  # between two looks, as a caller who waits has them


@dataclass
class Caller:
    id: str
    came: float
    asked: bool = True
    operator: str = ""
    since_ns: int = 0
    until: float = 0.0
    alone: bool = False


@dataclass
class Choices:
    url: str
    name: str
    operators: int = 4
    callers: int = 4
    hold_ms: float = 10.0
    lease_s: float = 12.0
    seconds: float | None = None


class BoardHost:
    """Runs on the thread that calls it, as a supervisor does."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.callers: dict[str, Caller] = {}
        self.alerts: list[str] = []
        self._numbers = 0
        self._ending = False
        self._chance = random.Random(choices.name)
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self.thread = BoardThread(lambda: BoardRows(choices.url), lambda: os.eventfd_write(self._bell, 1))
        operators = tuple(f"sip:{200 + number}@pbx" for number in range(choices.operators))
        own = LocalBoardClient(Board(operators))
        self.client = SharedBoardClient(
            own, choices.name, choices.lease_s, self.thread, now=time.monotonic(), alert=self._alert
        )

    def _alert(self, reason: str) -> None:
        self.alerts.append(reason)
        tell({"alert": reason})

    def end(self) -> None:
        """Have `run` end; also in a signal's function."""
        self._ending = True
        os.eventfd_write(self._bell, 1)

    def run(self) -> None:
        """Until the end is asked for; then all callers go."""
        ends = time.monotonic() + self.choices.seconds if self.choices.seconds else None
        self.thread.start()
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        was_alone = False
        while not self._ending and (ends is None or time.monotonic() < ends):
            self.turn()
            if was_alone != self.client.alone:
                was_alone = self.client.alone
                tell({"alone": was_alone, "at": time.monotonic_ns()})
            if poll.poll(max(0.0, self._due() - time.monotonic()) * 1000):
                os.eventfd_read(self._bell)
        for caller in list(self.callers.values()):
            self._over(caller)
        self.thread.stop()

    def turn(self) -> None:
        now = time.monotonic()
        self._take(self.client.tick(now))
        for caller in list(self.callers.values()):
            if caller.operator and caller.until <= now:
                self._over(caller)
        while len(self.callers) < self.choices.callers:
            self._comes()

    def _due(self) -> float:
        due = [caller.until for caller in self.callers.values() if caller.operator]
        due += [time.monotonic() + LONGEST_S]
        if (of_board := self.client.deadline) is not None:
            due.append(of_board)
        return min(due)

    def _comes(self) -> None:
        self._numbers += 1
        caller = Caller(f"{self.choices.name}-{self._numbers}", time.monotonic())
        self.callers[caller.id] = caller
        self._take(self.client.tell(Seek(caller.id, (), 1), time.monotonic(), self._numbers % 3))

    def _take(self, answers: list[BoardAnswer]) -> None:
        for answer in answers:
            caller = self.callers.get(answer.call)
            if caller is None:
                continue
            match answer:
                case OperatorsOffered(_, uris):
                    caller.asked = False
                    if uris:
                        self._served(caller, uris[0])
                case AskAgain() if not caller.operator and not caller.asked:
                    caller.asked = True
                    self._take(self.client.tell(Seek(caller.id, (), 1), time.monotonic()))
                case AskAgain() | Claimed():
                    pass

    def _served(self, caller: Caller, operator: str) -> None:
        caller.operator, caller.since_ns = operator, time.monotonic_ns()
        caller.alone = self.client.alone
        caller.until = time.monotonic() + self._chance.uniform(0.5, 1.5) * self.choices.hold_ms / 1000
        self._take(self.client.tell(Served(caller.id), time.monotonic()))

    def _over(self, caller: Caller) -> None:
        del self.callers[caller.id]
        if caller.operator:
            to = time.monotonic_ns()
            waited = round((caller.since_ns / 1e9 - caller.came) * 1000, 2)
            tell(
                {
                    "operator": caller.operator,
                    "from": caller.since_ns,
                    "to": to,
                    "waited": waited,
                    "alone": caller.alone or self.client.alone,
                }
            )
            self._take(
                self.client.tell(ReleaseOperator(caller.id, caller.operator, True, True), time.monotonic())
            )
        self._take(self.client.tell(Leave(caller.id), time.monotonic()))


def tell(said: dict[str, object]) -> None:
    """One line."""
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--operators", type=int, default=4)
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--hold-ms", type=float, default=10.0)
    parser.add_argument("--lease-s", type=float, default=12.0)
    parser.add_argument("--seconds", type=float)
    one = BoardHost(Choices(**vars(parser.parse_args())))
    signal.signal(signal.SIGTERM, lambda *_: one.end())
    one.run()
