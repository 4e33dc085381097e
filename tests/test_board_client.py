"""The board of all workers over many histories, with everything that may be on its way at any moment."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sipagent.agent.board import (
    AskAgain,
    Board,
    BoardAnswer,
    BoardRequest,
    Claim,
    Claimed,
    Leave,
    OperatorsOffered,
    ReleaseOperator,
    Seek,
    Served,
    Strategy,
)
from sipagent.agent.operators import LocalBoardClient, RemoteBoardClient
from sipagent.service.supervisor import Sharing
from tests.driving import RULES

OPERATORS = ("A", "B", "C")
WRAP_UP_S = 5.0
HISTORIES, STEPS = 1000, 120


@dataclass
class Caller:
    """One call in its worker. `rings`: who is rung for it or talks; `asked`: no answer has come yet."""

    id: str
    worker: int
    rings: set[str] = field(default_factory=set)
    tried: tuple[str, ...] = ()
    asked: bool = False
    claiming: str = ""
    talks: str = ""
    retries: bool = False


class Town:
    """Workers as far as the board sees them, each with two links on which messages take their time."""

    def __init__(self, strategy: Strategy, chance: random.Random, workers: int = 3) -> None:
        self.turns: list[str] = []
        self.board_client = LocalBoardClient(Board(OPERATORS, WRAP_UP_S, strategy), self.turns.append)
        self.sharing = Sharing(RULES, self.board_client, self._send)
        self.chance, self.now = chance, 100.0
        self.up: list[deque[BoardRequest]] = [deque() for _ in range(workers)]
        self.down: list[deque[BoardAnswer]] = [deque() for _ in range(workers)]
        self.calls: dict[str, Caller] = {}
        self.came: list[str] = []  # in the order in which the board heard of them
        self._number = 0

    # --- what may happen, each of it at any moment ---

    def comes(self, worker: int) -> None:
        self._number += 1
        call = Caller(f"{self._number}", worker)
        self.calls[call.id] = call
        self._seek(call)

    def answers(self, call: Caller) -> None:
        if call.rings and not call.talks:
            call.talks = self.chance.choice(sorted(call.rings))
            self._say(call, Served(call.id))
            for other in sorted(call.rings - {call.talks}):
                self._give_back(call, other)

    def declines(self, call: Caller) -> None:
        if call.rings and not call.talks:
            operator = self.chance.choice(sorted(call.rings))
            self._give_back(call, operator)
            call.tried += (operator,)
            self._seek(call)

    def transfers(self, call: Caller) -> None:
        if call.talks and not call.claiming:
            target = self.chance.choice(OPERATORS)
            if target not in call.rings:
                call.claiming = target
                self._say(call, Claim(call.id, target))

    def retries(self, call: Caller) -> None:
        if call.retries and not call.asked and not call.talks:
            call.tried = call.tried if call.rings else ()
            self._seek(call)

    def ends(self, call: Caller) -> None:
        for operator in sorted(call.rings):
            self._give_back(call, operator)
        self._say(call, Leave(call.id))
        del self.calls[call.id]

    def dies(self, worker: int) -> None:
        self.up[worker].clear()
        self.down[worker].clear()
        for call in [call for call in self.calls.values() if call.worker == worker]:
            del self.calls[call.id]
        self.sharing.gone(worker, self.now)

    def hears(self, worker: int) -> None:
        """The supervisor takes the next message of a worker."""
        if self.up[worker]:
            asked = self.up[worker].popleft()
            if asked.call not in self.came:
                self.came.append(asked.call)
            self.sharing.heard(worker, asked, self.now)

    def tells(self, worker: int) -> None:
        """A worker takes the next answer."""
        if self.down[worker]:
            answer = self.down[worker].popleft()
            if call := self.calls.get(answer.call):
                self._told(call, answer)

    def passes(self, seconds: float) -> None:
        """Time does."""
        self.now += seconds
        self.sharing.tick(self.now)

    # --- steps ---

    def _seek(self, call: Caller) -> None:
        call.asked, call.retries = True, False
        self._say(call, Seek(call.id, call.tried, self.chance.choice((0, 1, 1, 2))))

    def _say(self, call: Caller, asked: BoardRequest) -> None:
        self.up[call.worker].append(asked)

    def _give_back(self, call: Caller, operator: str) -> None:
        talked = operator == call.talks
        call.rings.discard(operator)
        self._say(call, ReleaseOperator(call.id, operator, talked, talked or bool(call.talks)))

    def _send(self, worker: int, answer: BoardAnswer) -> None:
        if isinstance(answer, OperatorsOffered) and answer.uris:
            self._is_its_turn(answer.call)
        self.down[worker].append(answer)

    def _told(self, call: Caller, answer: BoardAnswer) -> None:
        match answer:
            case OperatorsOffered(_, uris):
                call.asked = False
                call.retries = not uris
                for uri in (one for one in uris if one != call.claiming):
                    if call.talks:
                        self._say(call, ReleaseOperator(call.id, uri, talked=False, willing=True))
                    else:
                        call.rings.add(uri)
            case Claimed(_, uri, granted):
                call.claiming = ""
                if granted:
                    call.rings.add(uri)
            case AskAgain():
                self.retries(call)

    # --- laws ---

    def _is_its_turn(self, call: str) -> None:
        """Nobody who came earlier waits with nobody, in a process that has a leg for it."""
        board = self.board_client.board
        served = set(board._engaged.values()) - {call}
        worker = board._waiting[call]
        for earlier in self.came[: self.came.index(call)]:
            if earlier in board.waiting and earlier not in served:
                assert earlier in board._legless and board._waiting[earlier] != worker

    def check(self) -> None:
        """At every moment: nobody is rung or talks for two, and whoever is, the board knows."""
        held: list[str] = []
        for call in self.calls.values():
            held += call.rings
            for operator in call.rings:
                assert self.board_client.board._engaged[operator] == call.id
        assert len(held) == len(set(held)), held

    def settle(self) -> None:
        """All that was on its way has arrived."""
        while any(self.up) or any(self.down):
            for worker in range(len(self.up)):
                self.hears(worker)
                self.tells(worker)
            self.check()

    def choose(self) -> None:
        """One thing happens."""
        worker = self.chance.randrange(len(self.up))
        of_call = [self.answers, self.declines, self.transfers, self.retries, self.ends]
        of_worker = [self.comes, self.hears, self.hears, self.hears, self.tells, self.tells, self.tells]
        what = self.chance.randrange(len(of_call) + len(of_worker) + 2)
        if what < len(of_worker):
            of_worker[what](worker)
        elif (what := what - len(of_worker)) < len(of_call):
            if self.calls:
                of_call[what](self.chance.choice(list(self.calls.values())))
        elif what == len(of_call):
            self.passes(self.chance.choice((0.5, 2.0, 6.0)))
        elif self.chance.random() < 0.2:
            self.dies(worker)


@pytest.fixture(params=["sequential", "round_robin", "simultaneous"])
def towns(request: pytest.FixtureRequest) -> Iterator[Town]:
    return (Town(request.param, random.Random(seed)) for seed in range(HISTORIES))


def test_no_history_lends_an_operator_to_two_calls_or_keeps_one(towns: Iterator[Town]) -> None:
    """And what has ended leaves nothing."""
    for town in towns:
        for _ in range(STEPS):
            town.choose()
            town.check()
        town.settle()
        for call in list(town.calls.values()):
            town.ends(call)
        town.settle()
        board = town.board_client.board
        assert (board.waiting, board._engaged, board._legless) == ((), {}, set())


def test_whoever_waits_has_somebody_as_soon_as_he_looks_again(towns: Iterator[Town]) -> None:
    """Once all has arrived and everybody has rested: nobody waits beside a free operator."""
    for town in towns:
        for _ in range(STEPS):
            town.choose()
        town.settle()
        town.passes(WRAP_UP_S)
        town.settle()
        for _ in range(2 * len(town.calls) * 4):  # those that had no leg may have one by now
            for call in list(town.calls.values()):
                town.retries(call)
            town.settle()
        idle = [call for call in town.calls.values() if not call.rings and not call.talks]
        free = [one for one in OPERATORS if town.board_client.board.is_free(one)]
        assert not idle or not free, (idle, free)


def test_a_round_gives_everybody_his_turn_whoever_asks() -> None:
    """Whatever has been: of those who are free, each is rung once before anybody is rung again."""
    for seed in range(HISTORIES):
        town = Town("round_robin", random.Random(seed))
        for _ in range(STEPS):
            town.choose()
        board = town.board_client.board
        for call in list(town.calls.values()):
            town.ends(call)
        town.settle()
        town.passes(WRAP_UP_S)
        begins = len(town.turns)
        for number in range(6):
            town.came.append(late := f"late{number}")
            town.sharing.heard(number % 3, Seek(late, (), 1), town.now)
            town.sharing.heard(number % 3, Leave(late), town.now)
        turns = town.turns[begins:]
        assert turns[:3] == turns[3:] and sorted(turns[:3]) == list(OPERATORS)
        assert board.last == turns[-1]


# --- beyond a link ---


def test_beyond_a_link_nothing_is_answered_at_once() -> None:
    said: list[BoardRequest] = []
    board_client = RemoteBoardClient(said.append)
    every: list[BoardRequest] = [
        Seek("1", (), 1), Claim("1", "A"), ReleaseOperator("1", "A", talked=True, willing=True),
        Served("1"), Leave("1"),
    ]  # fmt: skip
    assert [answer for asked in every for answer in board_client.tell(asked, 0.0)] == []
    assert said == every
    assert (board_client.deadline, board_client.tick(0.0)) == (None, [])


def test_when_the_link_is_gone_nobody_is_offered_and_nothing_is_said() -> None:
    said: list[BoardRequest] = []
    board_client = RemoteBoardClient(said.append)
    board_client.lost()
    assert board_client.tell(Seek("1", (), 1), 0.0) == [OperatorsOffered("1", ())]
    assert board_client.tell(Claim("1", "A"), 0.0) == [Claimed("1", "A", granted=False)]
    for asked in (ReleaseOperator("1", "A", talked=True, willing=True), Served("1"), Leave("1")):
        assert board_client.tell(asked, 0.0) == []
    assert said == []
