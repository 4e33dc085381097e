"""The operators' board: who is free, who rests, whose turn it is; in one process, and over links."""

import random
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from sipagent.agent.operators import SIZE_LIMIT, LocalBoardClient, RemoteBoardClient, Rota
from sipagent.service.supervisor import Sharing
from tests.driving import DESK, RULES, SECOND_DESK, staged, with_strategy

OPERATORS = ("A", "B", "C")
STRATEGIES: tuple[Strategy, ...] = ("sequential", "round_robin", "simultaneous")
WRAP_UP_S = 5.0
HISTORIES, STEPS = 1000, 120


# --- the rules ---


def names(written: str) -> tuple[str, ...]:
    return () if written == "nobody" else tuple(written.split(","))


def follow(board: Board, story: str) -> None:  # noqa: PLR0912 - a case for each kind of step
    """Do what a story says, step by step; calls and processes have the names that it gives them."""
    now = 0.0
    for step in story.split("; "):
        match step.split():
            case ["at", seconds]:
                now = float(seconds)
            case ["rest", "ends", "at", seconds]:
                assert board.deadline == float(seconds), step
            case ["nothing", "is", "due"]:
                assert (board.deadline, board.due(now)) == (None, False)
            case ["a", "rest", "has", "ended"]:
                assert (board.due(now), board.due(now)) == (True, False), "it is said once"
            case [calls, "may", "ask"]:
                assert board.hopeful(now) == names(calls), step
            case [calls, "wait"]:
                assert board.waiting == names(calls), step
            case [uri, "is", ("free" | "engaged") as how]:
                assert board.is_free(uri) == (how == "free"), step
            case [call, "claims", uri]:
                assert board.claim(uri, call), step
            case [call, "claims", uri, "in", "vain"]:
                assert not board.claim(uri, call), step
            case [call, "waits"]:
                board.enter(call, 1)
            case [call, "has", uri]:
                board.admit(uri, call)
            case [call, "releases", uri]:
                board.release(uri, call, now, talked=False)
            case [call, "talked", "to", uri]:
                board.release(uri, call, now, talked=True)
            case [call, "served"]:
                board.served(call)
            case [call, "leaves"]:
                board.leave(call)
            case [call, "dies"]:
                board.die(call, now)
            case [call, *how, "gets", offered]:
                given = {
                    "tried": "nobody",
                    "legs": "1",
                    "in": "0",
                    **dict(zip(how[::2], how[1::2], strict=True)),
                }
                found = board.seek(call, names(given["tried"]), now, int(given["legs"]), given["in"])
                assert found == names(offered), step
            case _:
                raise AssertionError(step)


REST: dict[str, Any] = {"wrap_up_s": 30.0}
ROUND: dict[str, Any] = {"strategy": "round_robin"}
ALL: dict[str, Any] = {"strategy": "simultaneous"}
STORIES: list[tuple[str, dict[str, Any], str]] = [
    ("AB", {}, "1 gets A; 1 tried A gets B; 1 tried A,B gets nobody"),
    ("AB", {}, "1 gets A; 2 gets B; 3 gets nobody; 1 releases A; 1 leaves; 3 gets A"),
    ("A", {}, "1 gets A; 2 gets nobody; 3 gets nobody; 1 releases A; 1 leaves; 3 gets nobody; 2 gets A"),
    # the second one waits with nobody ringing, and the third one behind it
    ("A", {}, "1 gets A; 1 served; 1 releases A; 2 tried A gets nobody; 3 gets nobody; 2 leaves; 3 gets A"),
    ("AB", {}, "1 gets A; 1 tried A gets B; 1 leaves; 2 gets A; 3 gets B"),
    ("A", {}, "nobody leaves; 1 gets A; 1 leaves; 1 leaves; 2 gets A"),
    # rests
    (
        "A",
        REST,
        "1 gets A; at 10; 1 releases A; 1 gets A; at 20; 1 talked to A; 1 leaves; at 49; 2 gets nobody",
    ),
    ("A", REST, "1 gets A; at 20; 1 talked to A; 1 leaves; at 50; 2 gets A"),
    ("A", REST, "at 10; 1 talked to A; 1 gets A"),  # who was not his
    ("A", REST, "1 gets A; at 10; 1 talked to A; 2 gets nobody; 3 claims A; nothing is due"),
    ("A", {}, "1 gets A; at 10; 1 talked to A; nothing is due"),
    (
        *("AB", REST),
        "1 gets A; 2 gets B; 1 served; 2 served; at 10; 1 talked to A; at 20; 2 talked to B; nothing is due; "
        "3 gets nobody; rest ends at 40; at 40; a rest has ended; rest ends at 50; 3 gets A",
    ),
    # transfers
    (
        "A",
        {},
        "1 claims A; 1 claims A; 2 claims A in vain; 2 talked to A; A is engaged; 1 releases A; 2 claims A",
    ),
    # processes: one without a leg holds up nobody elsewhere; one that dies gives back what it had
    (
        *("AB", {}),
        "1 in p legs 0 gets nobody; 2 in p gets nobody; 3 in q gets nobody; 2 leaves; 3 in q gets A; "
        "1 in p gets B",
    ),
    (
        *("ABC", REST),
        "1 gets A; 2 gets B; 3 gets C; 1 served; at 10; 1 dies; 2 dies; 3 wait; 4 gets B; "
        "at 39; 5 gets nobody; at 40; 5 gets A",
    ),
    # who may ask again
    (
        *("AB", REST),
        "nobody may ask; 1 gets A; 2 gets B; 3 gets nobody; 4 gets nobody; 5 gets nobody; nobody may ask; "
        "1 served; at 10; 1 talked to A; nobody may ask; at 40; 3 may ask; 2 leaves; 3,4 may ask",
    ),
    ("AB", ALL, "1 gets A; 2 legs 0 gets nobody; 2,1 may ask"),
    # strategies
    (
        "ABC",
        ALL,
        "1 legs 2 gets A,B; 1 tried A gets C; 1 releases A; 1 tried A legs 3 gets nobody; 2 legs 3 gets A",
    ),
    ("ABC", {}, "1 legs 3 gets A"),
    ("ABC", ROUND, "1 legs 3 gets A"),
    *(
        ("A", {"strategy": one}, "1 legs 0 gets nobody; 2 gets nobody; 1,2 wait; 1 gets A")
        for one in STRATEGIES
    ),
    (
        *("ABC", ROUND),
        "1 gets A; 1 leaves; 2 gets B; 2 leaves; 3 gets C; 3 leaves; 4 gets A; 4 leaves; "
        "5 gets B; 5 tried B gets C; 5 leaves; 6 gets A",
    ),
    ("ABC", {**ROUND, "last": "B"}, "1 gets C"),
    ("ABC", {**ROUND, "last": "C"}, "1 gets A"),
    ("ABC", {**ROUND, "last": "gone"}, "1 gets A"),
    ("ABC", {"last": "B"}, "1 gets A"),
    # hosts that could not ask each other: an operator of two calls is free once both have let go of him
    (
        *("AB", REST),
        "1 gets A; 2 has A; 3 has A; 1 served; 4 gets B; 5 claims A in vain; 2 claims A; 1 talked to A; "
        "3 leaves; A is engaged; at 2; 2 talked to A; A is free; at 31; 4 gets nobody; at 32; 4 gets A",
    ),
    ("AB", {}, "1 gets A; 2 waits; 2 has A; 3 gets B; 2 dies; 1 dies; 4 gets A"),
]


@pytest.mark.parametrize(("operators", "how", "story"), STORIES)
def test_a_story(operators: str, how: dict[str, Any], story: str) -> None:
    follow(Board(tuple(operators), **how), story)


# --- the board of all workers, over all histories ---


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

    # what may happen, each of it at any moment

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
        if call.talks and not call.claiming and (target := self.chance.choice(OPERATORS)) not in call.rings:
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
        self.lose(worker)
        self.sharing.gone(worker, self.now)

    def lose(self, worker: int) -> None:
        """Nothing that was on its way arrives, and its calls are no more."""
        self.up[worker].clear()
        self.down[worker].clear()
        for call in [call for call in self.calls.values() if call.worker == worker]:
            del self.calls[call.id]

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
        self.now += seconds
        self.sharing.tick(self.now)

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

    # what must hold

    def _is_its_turn(self, call: str) -> None:
        """Nobody who came earlier waits with nobody, in a process that has a leg for it."""
        board = self.board_client.board
        standing = board.standing
        served = set(standing.engaged.values()) - {call}
        worker = standing.waiting[call]
        for earlier in self.came[: self.came.index(call)]:
            if earlier in board.waiting and earlier not in served:
                assert earlier in standing.legless and standing.waiting[earlier] != worker

    def check(self) -> None:
        """At every moment: nobody is rung or talks for two, and whoever is, the board knows."""
        held: list[str] = []
        for call in self.calls.values():
            held += call.rings
            for operator in call.rings:
                assert self.board_client.board.standing.engaged[operator] == call.id
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

    def idle(self) -> list[Caller]:
        """Who still waits with nobody, after all have looked again often enough to have had a leg."""
        for _ in range(8 * len(self.calls)):
            for call in list(self.calls.values()):
                self.retries(call)
            self.settle()
        return [call for call in self.calls.values() if not call.rings and not call.talks]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_history_lends_an_operator_to_two_calls_keeps_one_or_makes_a_caller_wait_beside_one(
    strategy: Strategy,
) -> None:
    """And what has ended leaves nothing."""
    for seed in range(HISTORIES):
        town = Town(strategy, random.Random(seed))
        for _ in range(STEPS):
            town.choose()
            town.check()
        town.settle()
        town.passes(WRAP_UP_S)
        town.settle()
        board = town.board_client.board
        assert not town.idle() or not any(map(board.is_free, OPERATORS))
        for call in list(town.calls.values()):
            town.ends(call)
        town.settle()
        standing = board.standing
        assert (standing.waiting, standing.engaged, standing.legless) == ({}, {}, set())


def test_a_round_gives_everybody_his_turn_whoever_asks() -> None:
    """Whatever has been: of those who are free, each is rung once before anybody is rung again."""
    for seed in range(HISTORIES):
        town = Town("round_robin", random.Random(seed))
        for _ in range(STEPS):
            town.choose()
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
        assert town.board_client.board.last == turns[-1]


# --- beyond a link ---

EVERY: tuple[BoardRequest, ...] = (
    *(Seek("1", (), 1), Claim("1", "A")),
    *(ReleaseOperator("1", "A", talked=True, willing=True), Served("1"), Leave("1")),
)


def test_beyond_a_link_nothing_is_answered_at_once_and_once_it_is_gone_nobody_is_offered() -> None:
    said: list[BoardRequest] = []
    client = RemoteBoardClient(said.append)
    assert [answer for asked in EVERY for answer in client.tell(asked, 0.0)] == []
    assert said == [*EVERY]
    assert (client.deadline, client.tick(0.0)) == (None, [])
    client.lost()
    found = [answer for asked in EVERY for answer in client.tell(asked, 0.0)]
    assert found == [OperatorsOffered("1", ()), Claimed("1", "A", granted=False)]
    assert said == [*EVERY]


# --- whose turn it is, over a restart ---


@pytest.fixture
def rota(tmp_path: Path) -> Rota:
    return Rota(tmp_path / "round_robin.json")


@pytest.mark.parametrize(
    "content",
    [
        *(None, b"", b"{", b"\xff\xfe", b"[]", b'"sip:201@pbx"', b'{"last": 7}', b'{"other": "sip:201@pbx"}'),
        *(b"[" * SIZE_LIMIT, b'{"last": "' + b"a" * SIZE_LIMIT + b'"}'),
    ],
)
def test_a_file_that_is_damaged_or_missing_says_nothing_and_is_written_anew(
    rota: Rota, content: bytes | None
) -> None:
    if content is not None:
        rota.path.write_bytes(content)
    assert rota.last() is None
    for uri in (DESK, SECOND_DESK):
        rota.keep(uri)
        assert Rota(rota.path).last() == uri
    assert stat.S_IMODE(rota.path.stat().st_mode) == 0o600


def test_what_is_no_file_says_nothing(rota: Rota) -> None:
    rota.path.mkdir()
    assert rota.last() is None


@pytest.mark.parametrize("rules", [with_strategy("round_robin"), RULES], ids=["rounds", "others"])
def test_the_round_goes_on_after_a_restart_and_nothing_is_kept_of_other_strategies(
    rota: Rota, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: Any
) -> None:
    rung = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with staged(tmp_path / name, monkeypatch, rules, rota=rota) as stage:
            leg, operator = stage.rung()
            rung.append(stage.engine.ordered("dial")[0][0])
            stage.answered(operator)
            stage.gone(leg)
    assert (rung, rota.last()) == (
        ([DESK, DESK], None) if rules is RULES else ([DESK, SECOND_DESK], SECOND_DESK)
    )


def test_who_waits_is_told_which_one_of_those_who_wait_it_is() -> None:
    """Who talks waits no more."""
    client = LocalBoardClient(Board(("A",), 0.0, "sequential"))

    def place(call: str) -> int:
        (answer,) = client.tell(Seek(call, (), 1), 0.0)
        assert isinstance(answer, OperatorsOffered) and answer.uris == ()
        return answer.place

    assert client.tell(Seek("1", (), 1), 0.0) == [OperatorsOffered("1", ("A",))]
    assert [place(call) for call in ("2", "3", "2", "3")] == [2, 3, 2, 3]
    client.tell(Served("1"), 0.0)
    assert [place(call) for call in ("2", "3")] == [1, 2]
    client.tell(Leave("2"), 0.0)
    assert place("3") == 1
