"""The way to the board of all hosts: nothing is lost, doubled or waited for, whatever becomes of the line."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

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
from sipagent.agent.operators import LocalBoardClient
from sipagent.agent.shared_board import (
    BACK_S,
    LIMIT_S,
    Ask,
    Connected,
    FromThread,
    Lost,
    MayAsk,
    NotOnBoard,
    QuestionsAnswered,
    Renew,
    SharedBoardClient,
    ToThread,
    answered,
    read,
)
from tests.test_board_client import Town

OPERATORS = ("A", "B", "C")
WRAP_UP_S, LEASE_S = 5.0, 12.0
HISTORIES, STEPS = 300, 150
BREAKS = 60  # histories with breaks


@dataclass
class Database:
    """The text that all hosts share, and the clock of all. `up`: whether it answers."""

    text: str | None = None
    now: float = 100.0
    up: bool = True
    lines: list[Line] = field(default_factory=list)


class Line:
    """In place of the thread: what is on its way waits for `pump`. `silent`: it takes all, says nothing."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.told: deque[ToThread] = deque()
        self.said: deque[FromThread] = deque()
        self.connection = 0
        self.open = self.silent = self.cut = False
        database.lines.append(self)

    def put(self, message: ToThread) -> None:
        self.told.append(message)

    def hear(self) -> FromThread | None:
        return self.said.popleft() if self.said else None

    @property
    def has_said(self) -> bool:
        return bool(self.said)

    def begin(self) -> None:
        self.connection += 1
        self.said.append(Connected(self.connection))

    def drop(self) -> None:
        if self.open:
            self.open = False
            self.said.append(Lost("the server has gone"))

    def pump(self) -> None:
        """One thing: a connection, or a batch of questions."""
        if self.silent:
            return
        if self.cut or not self.database.up:
            self.drop()
        elif not self.open:
            self.open = True
            self.begin()
        else:
            self._serve()

    def _serve(self) -> None:
        asks: list[Ask] = []
        while self.told:
            told = self.told.popleft()
            if told.connection == self.connection and isinstance(told, Renew):
                self.drop()
                return
            if told.connection == self.connection and isinstance(told, Ask):
                asks.append(told)
        if asks:
            self._ask(asks)

    def _ask(self, asks: list[Ask]) -> None:
        questions = [one.question for one in asks]
        try:
            after, outcome = answered(self.database.text, asks[-1].host, questions, self.database.now)
        except NotOnBoard:
            self.begin()
            return
        self.database.text = after
        self.said.append(QuestionsAnswered(self.connection, outcome))
        for line in self.database.lines:
            if line is not self and line.open and not line.silent and outcome.elsewhere:
                line.said.append(MayAsk(outcome.elsewhere))


@dataclass
class HostAlone:
    """A client, its line, and what it has alerted of."""

    line: Line
    client: SharedBoardClient
    alerts: list[str]
    turns: list[str]


def host(
    database: Database,
    name: str = "a",
    strategy: Strategy = "sequential",
    wrap_up_s: float = 0.0,
    last: str | None = None,
) -> HostAlone:
    line, alerts, turns = Line(database), list[str](), list[str]()
    own = LocalBoardClient(Board(OPERATORS, wrap_up_s, strategy, last), turns.append)
    client = SharedBoardClient(own, name, LEASE_S, line, now=database.now, alert=alerts.append)
    return HostAlone(line, client, alerts, turns)


class Land(Town):
    """A town whose workers are hosts: each has its line to the database, which may break."""

    def __init__(self, strategy: Strategy, chance: random.Random, *, breaks: bool) -> None:
        super().__init__(strategy, chance)
        self.database = Database(now=self.now)
        self.breaks = breaks
        self.hosts = [host(self.database, name, strategy, WRAP_UP_S) for name in "abc"]
        self.settle()

    def pumps(self, index: int) -> None:
        self.hosts[index].line.pump()
        self.ticks(index)

    def ticks(self, index: int) -> None:
        due = self.hosts[index].client.deadline
        if due is not None and due <= self.now:
            self.down[index] += self.hosts[index].client.tick(self.now)

    def hears(self, worker: int) -> None:
        if self.up[worker]:
            asked = self.up[worker].popleft()
            self.down[worker] += self.hosts[worker].client.tell(asked, self.now, self.chance.randrange(2))

    def passes(self, seconds: float) -> None:
        """In steps, in each of which all that is on its way to the database arrives, and the answers too."""
        for _ in range(round(seconds / 0.25)):
            for index in [*range(len(self.hosts))] * 3:
                self.pumps(index)
            self.now = self.database.now = self.now + 0.25
            for index in range(len(self.hosts)):
                self.ticks(index)

    def dies(self, worker: int) -> None:
        """A process of the host, with all calls that it has."""
        self.up[worker].clear()
        self.down[worker].clear()
        for call in [call for call in self.calls.values() if call.worker == worker]:
            del self.calls[call.id]
        client = self.hosts[worker].client
        self.down[worker] += client.die(list(client._word_of), self.now)

    def happens_to(self, line: Line) -> None:
        """Something to the line, or to the database."""
        match self.chance.randrange(6):
            case 0:
                line.cut = not line.cut
            case 1:
                line.silent = not line.silent
            case 2:
                self.database.up = not self.database.up
            case 3:
                self.database.text = None  # after a crash
            case 4:
                line.told.clear()  # and the server is another one
                line.drop()
            case 5:
                if line.open and not line.silent:  # what was answered got lost
                    line.pump()
                    line.said.clear()
                    line.drop()

    def restores(self) -> None:
        self.database.up = True
        for one in self.hosts:
            one.line.silent = one.line.cut = False

    def check(self) -> None:
        if not self.breaks:
            held = [operator for call in self.calls.values() for operator in call.rings]
            assert len(held) == len(set(held)), held

    def settle(self) -> None:
        for _ in range(50):
            for index in range(len(self.hosts)):
                self.hears(index)
                self.pumps(index)
                while self.down[index]:
                    self.tells(index)
            self.check()

    def choose(self) -> None:
        index = self.chance.randrange(len(self.hosts))
        if self.chance.random() < 0.5:
            self.pumps(index)
        elif self.breaks and self.chance.random() < 0.05:
            self.happens_to(self.hosts[index].line)
        super().choose()

    def engaged(self) -> dict[str, list[str]]:
        """Which call has an operator, as the shared board has it."""
        names = {word: call for one in self.hosts for word, call in one.client._call_of.items()}
        standing = read(self.database.text).standing
        return {uri: sorted(names[word] for word in standing.holders(uri)) for uri in standing.engaged}

    def rung(self) -> dict[str, list[str]]:
        """As the callers have it."""
        found: dict[str, list[str]] = {}
        for call in self.calls.values():
            for operator in call.rings:
                found[operator] = sorted([*found.get(operator, []), call.id])
        return found


@pytest.fixture(params=["sequential", "round_robin", "simultaneous"])
def strategy(request: pytest.FixtureRequest) -> Strategy:
    found: Strategy = request.param
    return found


def lands(strategy: Strategy, *, breaks: bool) -> Iterator[Land]:
    count = BREAKS if breaks else HISTORIES
    return (Land(strategy, random.Random(seed), breaks=breaks) for seed in range(count))


def ended(land: Land) -> None:
    """All calls end; nothing of them is left anywhere."""
    for call in list(land.calls.values()):
        land.ends(call)
    land.settle()
    standing = read(land.database.text).standing
    assert (standing.waiting, standing.legless, standing.engaged, standing.also) == ({}, set(), {}, {})
    for one in land.hosts:
        own = one.client._own.board.standing
        assert (own.waiting, own.engaged, one.client._word_of, one.client._call_of) == ({}, {}, {}, {})
        assert (one.client._open, one.client._came) == ({}, {})


def test_no_history_lends_an_operator_to_two_calls_of_whatever_hosts(strategy: Strategy) -> None:
    for land in lands(strategy, breaks=False):
        for _ in range(STEPS):
            land.choose()
            land.check()
        land.settle()
        assert land.engaged() == land.rung()
        assert not any(one.alerts for one in land.hosts)
        ended(land)


def test_whatever_broke_all_is_known_again_once_the_lines_hold(strategy: Strategy) -> None:
    """And whoever waits has been served, as far as there are operators."""
    for land in lands(strategy, breaks=True):
        for _ in range(STEPS):
            land.choose()
        land.restores()
        land.passes(2 * LIMIT_S)
        land.settle()
        assert land.engaged() == land.rung()
        assert not any(one.client.alone for one in land.hosts)
        land.passes(WRAP_UP_S + LEASE_S)
        land.settle()
        for _ in range(40):
            for call in list(land.calls.values()):
                land.retries(call)
            land.settle()
        idle = [call for call in land.calls.values() if not call.rings and not call.talks]
        assert not idle or len(land.rung()) == len(OPERATORS)
        ended(land)


# --- one host and its line ---


@pytest.fixture
def database() -> Database:
    return Database()


def joined(one: HostAlone) -> HostAlone:
    """It has told what it knows, and the board has heard it."""
    for _ in range(3):
        one.line.pump()
        assert one.client.tick(one.line.database.now) == []
    return one


def asked(one: HostAlone, question: BoardRequest, process: int = 0) -> list[BoardAnswer]:
    """What a question leads to; the line lets it through."""
    now = one.line.database.now
    at_once = one.client.tell(question, now, process)
    one.line.pump()
    return at_once + one.client.tick(now)


def test_nothing_is_answered_before_the_board_has_said_so(database: Database) -> None:
    one = joined(host(database))
    assert one.client.tell(Seek("1", (), 1), database.now) == []
    one.line.pump()
    assert one.client.deadline == 0.0
    assert one.client.tick(database.now) == [OperatorsOffered("1", ("A",))]
    assert asked(one, Claim("1", "B")) == [Claimed("1", "B", granted=True)]
    assert asked(one, Served("1")) == []


def test_of_two_hosts_each_has_one_operator_and_the_next_caller_hears_who_is_free(database: Database) -> None:
    here, there = joined(host(database, "a")), joined(host(database, "b"))
    assert asked(here, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]
    assert asked(there, Seek("1", (), 1)) == [
        OperatorsOffered("1", ("B",))
    ]  # an id of its own, of another host
    assert asked(here, Seek("2", (), 1)) == [OperatorsOffered("2", ("C",))]
    assert asked(there, Seek("2", (), 1)) == [OperatorsOffered("2", ())]
    assert asked(here, Leave("1")) == []
    assert there.client.tick(database.now) == [AskAgain("2")]
    assert asked(there, Seek("2", (), 1)) == [OperatorsOffered("2", ("A",))]


def test_the_shared_board_knows_no_call_by_its_id(database: Database) -> None:
    one = joined(host(database))
    asked(one, Seek("20261127T221039239-ha-w3-191037", (), 1))
    assert database.text is not None and "191037" not in database.text
    assert list(read(database.text).standing.waiting) == [
        one.client._word_of["20261127T221039239-ha-w3-191037"]
    ]


@pytest.mark.parametrize("silent", [True, False])
def test_who_has_no_answer_for_half_a_second_is_answered_here(database: Database, silent: bool) -> None:
    one = joined(host(database))
    asked(one, Seek("talks", (), 1))
    asked(one, Served("talks"))
    one.line.silent, one.line.cut = silent, not silent
    for question in (ReleaseOperator("talks", "A", True, True), Seek("1", (), 1), Claim("talks", "B")):
        assert asked(one, question) == []
    begun = database.now
    assert one.client.deadline == begun + LIMIT_S
    assert one.client.tick(begun + LIMIT_S - 0.01) == []
    assert one.client.tick(begun + LIMIT_S) == [
        OperatorsOffered("1", ("A",)), Claimed("talks", "B", granted=True)
]  # fmt: skip
    why = "no answer within 0.5 s" if silent else "the server has gone"
    assert one.alerts == [
        f"the board of operators that all hosts share is away ({why}): calls go on; who was engaged on"
        " another host is not rung for 12 s, and who is since then is told by the phones' own busy"
    ]
    assert (one.client.alone, one.client.losses) == (True, 1)
    assert asked(one, Seek("2", (), 1)) == [OperatorsOffered("2", ("C",))]  # at once


def test_a_host_that_starts_without_the_database_takes_calls_after_half_a_second(database: Database) -> None:
    database.up = False
    one = host(database)
    one.line.pump()
    assert one.client.tell(Seek("1", (), 1), database.now) == []
    assert one.client.tick(database.now + LIMIT_S)[0] == OperatorsOffered("1", ("A",))


def test_once_the_database_is_back_the_others_know_who_is_engaged_here(database: Database) -> None:
    here, there = joined(host(database, "a")), joined(host(database, "b"))
    here.line.cut = True
    here.line.pump()
    here.client.tick(database.now)
    here.client.tick(database.now + LIMIT_S)
    assert asked(here, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]
    assert asked(there, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]  # whose phone will be busy
    assert asked(there, Seek("1", ("A",), 1)) == [OperatorsOffered("1", ("B",))]
    here.line.cut = False
    with capture_logs() as logs:
        joined(here)
    assert [line["event"] for line in logs] == ["board_shared"]
    assert (here.client.alone, here.client.losses) == (False, 1)
    asked(there, ReleaseOperator("1", "A", talked=False, willing=False))
    assert asked(there, Seek("2", (), 2)) == [OperatorsOffered("2", ("C",))]
    assert asked(there, Seek("3", (), 1)) == [OperatorsOffered("3", ())]


@pytest.fixture
def apart(database: Database) -> tuple[HostAlone, HostAlone]:
    """Two hosts that have an operator each, of which the first has just lost the board."""
    here, there = joined(host(database, "a")), joined(host(database, "b"))
    assert asked(there, Seek("theirs", (), 1)) == [OperatorsOffered("theirs", ("A",))]
    assert asked(here, Seek("ours", (), 1)) == [OperatorsOffered("ours", ("B",))]
    here.line.cut = True
    here.line.pump()
    here.client.tick(database.now)
    here.client.tick(database.now + LIMIT_S)
    assert here.client.alone
    return here, there


def test_whom_it_knew_to_be_lent_a_host_without_the_board_leaves_alone_for_a_lease(
    database: Database, apart: tuple[HostAlone, HostAlone]
) -> None:
    here, there = apart
    assert asked(here, Seek("1", (), 1)) == [OperatorsOffered("1", ("C",))]
    assert asked(here, Seek("2", (), 1)) == [OperatorsOffered("2", ())]
    assert asked(here, Claim("ours", "A")) == [Claimed("ours", "A", granted=False)]
    assert there.client.alone is False
    database.now = here.client.deadline or 0.0
    assert database.now == 100.0 + LIMIT_S + LEASE_S
    assert here.client.tick(database.now) == [AskAgain("2")]
    assert asked(here, Seek("2", (), 1)) == [OperatorsOffered("2", ("A",))]  # whose phone says what he does


def test_those_it_knew_to_be_lent_are_never_told_as_its_own(
    database: Database, apart: tuple[HostAlone, HostAlone]
) -> None:
    here, there = apart
    here.line.cut = False
    joined(here)
    assert read(database.text).standing.engaged.keys() == {"A", "B"}
    asked(there, Leave("theirs"))
    assert asked(here, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]


def test_another_loss_before_a_word_of_the_board_makes_them_lent_no_longer(
    database: Database, apart: tuple[HostAlone, HostAlone]
) -> None:
    here, _ = apart
    until = here.client.deadline
    here.line.cut = False
    here.line.pump()
    here.line.silent = True
    database.now += LEASE_S / 2
    here.client.tick(database.now)  # connected, and told all
    database.now += LIMIT_S
    here.client.tick(database.now)  # and heard nothing
    assert (here.client.alone, here.client.losses, here.client.deadline) == (True, 1, until)


def test_the_first_to_find_the_board_empty_leaves_alone_whom_others_had(database: Database) -> None:
    """As after a crash of the database, or where a standby takes over."""
    here, there = joined(host(database, "a")), joined(host(database, "b"))
    assert asked(there, Seek("theirs", (), 1)) == [OperatorsOffered("theirs", ("A",))]
    assert asked(here, Seek("ours", (), 1)) == [OperatorsOffered("ours", ("B",))]
    for one in (here, there):
        one.line.drop()
        one.client.tick(database.now)
    database.text = None
    joined(here)
    assert asked(here, Seek("1", (), 1)) == [OperatorsOffered("1", ("C",))]
    assert asked(here, Seek("2", (), 1)) == [OperatorsOffered("2", ())]
    joined(there)
    assert read(database.text).standing.engaged.keys() == {"A", "B", "C"}
    database.now += BACK_S
    assert asked(here, Seek("2", (), 1)) == [OperatorsOffered("2", ())]


def test_a_line_that_is_back_in_time_is_no_loss(database: Database) -> None:
    one = joined(host(database))
    assert asked(one, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]
    one.line.drop()
    one.client.tick(database.now)
    assert one.client.tell(Seek("2", (), 1), database.now) == []
    database.now += LIMIT_S / 2
    found: list[BoardAnswer] = []
    for _ in range(3):
        one.line.pump()
        found += one.client.tick(database.now)
    assert found[0] == OperatorsOffered("2", ("B",)) and one.alerts == []
    assert one.client.tick(database.now + LIMIT_S) == []


def test_an_answer_that_comes_too_late_counts_for_nothing(database: Database) -> None:
    here, there = joined(host(database, "a")), joined(host(database, "b"))
    here.client.tell(Seek("1", (), 1), database.now)
    here.line.pump()
    late = here.line.said.popleft()
    assert here.client.tick(database.now + LIMIT_S)[0] == OperatorsOffered("1", ("A",))
    here.client.tell(ReleaseOperator("1", "A", talked=False, willing=True), database.now)
    here.client.tell(Leave("1"), database.now)
    here.line.said.append(late)
    assert here.client.tick(database.now) == [] and here.client.alone
    joined(here)
    assert not here.client.alone
    assert asked(there, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]


def test_a_database_that_lets_in_and_says_nothing_is_told_of_once(database: Database) -> None:
    one = joined(host(database))
    one.line.drop()
    for _ in range(10):
        if not one.line.open:
            one.line.pump()  # connected; and then nothing comes
        one.client.tick(database.now)
        database.now += LIMIT_S
        one.client.tick(database.now)
        one.line.drop()
    assert len(one.alerts) == 1 and one.client.alone


def test_a_host_that_hears_nothing_looks_in_time_for_its_lease(database: Database) -> None:
    one = joined(host(database))
    begun = database.now
    assert one.client.deadline == begun + LEASE_S / 4
    database.now += LEASE_S / 4
    assert one.client.tick(database.now) == []
    one.line.pump()
    one.client.tick(database.now)
    assert read(database.text).hosts["a"].seen == begun + LEASE_S / 4


def test_the_end_of_a_rest_is_looked_for_where_somebody_waits(database: Database) -> None:
    here, there = (joined(host(database, name, wrap_up_s=2.0)) for name in "ab")
    for number in range(3):
        asked(here, Seek(f"{number}", (), 1))
    asked(here, Served("0"))
    asked(here, ReleaseOperator("0", "A", talked=True, willing=True))
    asked(here, Leave("0"))
    assert asked(there, Seek("waits", (), 1)) == [OperatorsOffered("waits", ())]
    assert there.client.deadline == database.now + 2.0
    database.now += 2.0
    there.client.tick(database.now)
    there.line.pump()
    assert there.client.tick(database.now) == [AskAgain("waits")]


def test_the_round_goes_over_all_hosts_and_is_kept_here_too(database: Database) -> None:
    here, there = (joined(host(database, name, "round_robin", last="B")) for name in "ab")
    assert asked(here, Seek("1", (), 1)) == [OperatorsOffered("1", ("C",))]
    assert asked(there, Seek("1", (), 1)) == [OperatorsOffered("1", ("A",))]
    assert (here.turns, there.turns) == (["C"], ["A"])
    here.line.cut = True
    here.line.pump()
    here.client.tick(database.now)
    here.client.tick(database.now + LIMIT_S)
    assert asked(here, Seek("2", (), 1))[0] == OperatorsOffered("2", ("A",))


def test_a_reload_counts_from_the_next_question_on(database: Database) -> None:
    one = joined(host(database))
    one.client.reload(("D",), 3.0, "simultaneous")
    assert asked(one, Seek("1", (), 1)) == [OperatorsOffered("1", ("D",))]
    assert read(database.text).hosts["a"].extensions == ("D",)


def test_of_a_worker_that_died_everything_is_free_everywhere(database: Database) -> None:
    here, there = joined(host(database, "a")), joined(host(database, "b"))
    for number in range(3):
        asked(here, Seek(f"{number}", (), 1), process=number % 2)
    assert asked(there, Seek("waits", (), 1)) == [OperatorsOffered("waits", ())]
    assert here.client.die(["0", "2", "never seen"], database.now) == []
    here.line.pump()
    here.client.tick(database.now)
    assert there.client.tick(database.now) == [AskAgain("waits")]
    assert read(database.text).standing.engaged.keys() == {"B"}


def test_what_ends_while_nobody_can_be_asked_is_not_asked_for_later(database: Database) -> None:
    one = joined(host(database))
    one.line.drop()
    one.client.tick(database.now)
    for question in (Seek("1", (), 1), Leave("1"), Leave("1"), Served("never seen")):
        assert one.client.tell(question, database.now) == []
    joined(one)
    assert read(database.text).standing.waiting == {}


def test_a_question_that_was_put_to_a_line_that_broke_is_not_asked_twice(database: Database) -> None:
    """It has been carried out, and the answer is lost."""
    one = joined(host(database))
    one.client.tell(Seek("1", (), 1), database.now)
    one.line.pump()
    one.line.said.clear()
    one.line.drop()
    found: list[BoardAnswer] = []
    for _ in range(4):
        one.line.pump()
        found += one.client.tick(database.now)
    assert [said for said in found if not isinstance(said, AskAgain)] == [OperatorsOffered("1", ("A",))]
    assert list(read(database.text).standing.engaged) == ["A"]
