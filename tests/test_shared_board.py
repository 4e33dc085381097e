"""The board of all hosts: its text, and a host's client, whatever becomes of the line between."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

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
    Standing,
    Strategy,
)
from sipagent.agent.operators import LocalBoardClient
from sipagent.agent.shared_board import (
    BACK_S,
    LIMIT_S,
    Ask,
    AskingHost,
    BoardThread,
    Connected,
    FromThread,
    HostView,
    Look,
    Lost,
    MayAsk,
    NewerBoard,
    NotOnBoard,
    ProcessMessage,
    QuestionOutcome,
    QuestionsAnswered,
    Renew,
    SharedBoardClient,
    ToThread,
    Waiter,
    What,
    answered,
    read,
)
from tests.test_board import OPERATORS, STRATEGIES, WRAP_UP_S, Town
from tests.tiers import depth

LEASE_S = 12.0
# --- the text: it is the pure board, whoever asks in between ---


def asking(
    name: str, *operators: str, strategy: Strategy = "sequential", wrap_up_s: float = WRAP_UP_S
) -> AskingHost:
    return AskingHost(name, f"run-{name}", LEASE_S, operators or ("A", "B"), wrap_up_s, strategy)


@dataclass
class Hosts:
    """Hosts that ask one text in turn, at `now`."""

    text: str | None = None
    now: float = 1000.0
    numbers: int = 0

    def ask(self, host: AskingHost, *whats: What) -> QuestionOutcome:
        questions = list(enumerate(whats, self.numbers))
        self.numbers += len(whats)
        self.text, outcome = answered(self.text, host, questions, self.now)
        return outcome

    def say(self, host: AskingHost, *asked: BoardRequest) -> QuestionOutcome:
        """One of the host's processes asks."""
        return self.ask(host, *(ProcessMessage(one, f"{host.name}/0") for one in asked))

    def seek(self, host: AskingHost, call: str, *tried: str) -> str:
        """The operator who is offered, if any."""
        ((_, (offered,)),) = self.say(host, Seek(call, tried, 1)).answers
        assert isinstance(offered, OperatorsOffered)
        return "".join(offered.uris)

    def talked(self, host: AskingHost, call: str, uri: str) -> None:
        """The call and the operator talk, and part."""
        self.say(host, Served(call), ReleaseOperator(call, uri, talked=True, willing=True), Leave(call))

    @property
    def standing(self) -> Standing:
        return read(self.text).standing


@dataclass
class Both:
    """One history on the pure board and on the shared one. `rings`: who is rung for a call or talks."""

    hosts: dict[str, AskingHost]
    pure: LocalBoardClient
    shared: Hosts = field(default_factory=Hosts)
    rings: dict[str, tuple[str, ...]] = field(default_factory=dict)
    talks: frozenset[str] = frozenset()

    def key(self) -> str:
        """What tells one moment from another: not how long ago all this was."""
        standing = self.pure.board.standing
        rests = sorted((uri, until - self.shared.now) for uri, until in standing.rests_until.items())
        waiting = [(call, call in standing.legless) for call in standing.waiting]
        return repr((rests, waiting, standing.last, sorted(self.rings.items()), sorted(self.talks)))

    def copied(self) -> Both:
        board, was = self.pure.board, self.pure.board.standing
        parts = (dict(was.waiting), set(was.legless), dict(was.engaged), dict[str, list[str]]())
        standing = Standing(*parts, dict(was.rests_until), was.last)
        pure = Board(board.extensions, board.wrap_up_s, board.strategy, standing=standing)
        return replace(self, pure=LocalBoardClient(pure), shared=replace(self.shared), rings=dict(self.rings))

    def may(self, calls: tuple[str, ...]) -> Iterator[tuple[str, Sequence[BoardRequest]]]:
        """What may happen next: of which call, and what is said then."""
        for call in calls:
            has = self.rings.get(call)
            if has is None or not (has or call in self.talks):
                yield from ((call, [Seek(call, (), legs)]) for legs in (0, 2))
            if call in self.talks:
                yield call, [Claim(call, "B")]
                yield call, [*(ReleaseOperator(call, uri, True, True) for uri in has or ()), Leave(call)]
            elif has:
                yield call, [Served(call), *(ReleaseOperator(call, uri, False, True) for uri in has[1:])]
                yield call, [ReleaseOperator(call, has[0], False, False), Seek(call, has, 1)]
            elif has is not None:
                yield call, [Leave(call)]

    def happens(self, call: str, said: Sequence[BoardRequest]) -> None:
        here = self.hosts[call.partition(":")[0]]
        for asked in said:
            now, process = self.shared.now, f"{here.name}/0"
            pure = [*self.pure.tell(asked, now, process), *self.pure.tick(now)]
            outcome = self.shared.ask(here, ProcessMessage(asked, process))
            shared = [one for _, answers in outcome.answers for one in answers]
            assert shared == [one for one in pure if not isinstance(one, AskAgain)]
            assert all(call.startswith(here.name) for call in outcome.again)
            assert not any(call.startswith(here.name) for call in outcome.elsewhere)
            self._agree(outcome, pure)
            self._note(asked, shared)

    def passes(self, seconds: float) -> None:
        self.shared.now += seconds
        pure = self.pure.tick(self.shared.now)
        self._agree(self.shared.ask(next(iter(self.hosts.values())), Look()), pure)

    def _agree(self, outcome: QuestionOutcome, pure: list[BoardAnswer]) -> None:
        standing, due = self.pure.board.standing, self.pure.board.deadline
        assert {*outcome.again, *outcome.elsewhere} == {one.call for one in pure if isinstance(one, AskAgain)}
        assert self.shared.standing == standing
        assert list(self.shared.standing.waiting) == list(standing.waiting)
        assert outcome.last == standing.last
        assert outcome.due_in_s == (None if due is None else due - self.shared.now)

    def _note(self, asked: BoardRequest, answers: list[BoardAnswer]) -> None:
        has = self.rings.get(asked.call, ())
        for one in answers:
            if isinstance(one, OperatorsOffered):
                has += one.uris
            elif isinstance(one, Claimed) and one.granted:
                has = tuple(dict.fromkeys((*has, one.uri)))
        if isinstance(asked, ReleaseOperator):
            has = tuple(uri for uri in has if uri != asked.uri)
        if isinstance(asked, Served):
            self.talks |= {asked.call}
        self.rings[asked.call] = has
        if isinstance(asked, Leave):
            del self.rings[asked.call]
            self.talks -= {asked.call}


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("calls", [("a:1", "b:1", "b:2"), ("a:1", "b:1", "c:1")], ids=["two", "three"])
def test_all_short_histories_are_as_on_the_pure_board(strategy: Strategy, calls: tuple[str, ...]) -> None:
    hosts = {name[0]: replace(asking(name[0], strategy=strategy), lease_s=1e6) for name in calls}
    begin = Both(hosts, LocalBoardClient(Board(("A", "B"), WRAP_UP_S, strategy)))
    for one in hosts.values():
        begin.shared.ask(one, HostView())
    seen, generation = {begin.key()}, [begin]
    for _ in range(depth(5, 6)):
        following = []
        for before in generation:
            for what in [*before.may(calls), None]:
                after = before.copied()
                if what is None:
                    after.passes(3.0)
                else:
                    after.happens(*what)
                if (key := after.key()) not in seen:
                    seen.add(key)
                    following.append(after)
        generation = following
    assert len(seen) > 200


# --- the text: hosts that go, come back, differ ---

HERE, THERE = asking("a"), asking("b")


@pytest.fixture
def hosts() -> Hosts:
    hosts = Hosts()
    for one in (HERE, THERE):
        hosts.ask(one, HostView())
    return hosts


def test_a_host_that_has_told_nothing_is_asked_to(hosts: Hosts) -> None:
    for one, displaced in ((asking("c"), False), (replace(HERE, run="another"), True)):
        with pytest.raises(NotOnBoard) as raised:
            hosts.ask(one, Look())
        assert raised.value.displaced is displaced


def test_a_host_that_is_silent_beyond_its_lease_is_gone_and_its_operators_are_free(hosts: Hosts) -> None:
    """Who talked has his rest. Once it is back it tells anew, and nothing is taken from its calls."""
    assert (hosts.seek(HERE, "a:talks"), hosts.seek(HERE, "a:rings")) == ("A", "B")
    hosts.say(HERE, Served("a:talks"))
    hosts.seek(HERE, "a:waits")
    for _ in range(3):
        assert hosts.seek(THERE, "b:1") == ""
        hosts.now += LEASE_S / 3
    assert hosts.seek(THERE, "b:1") == ""
    hosts.now += 0.1
    outcome = hosts.ask(THERE, Look())
    assert (outcome.again, outcome.due_in_s) == (("b:1",), WRAP_UP_S)
    assert (hosts.seek(THERE, "b:1"), hosts.seek(THERE, "b:2")) == ("B", "")
    with pytest.raises(NotOnBoard):
        hosts.ask(HERE, Look())
    hosts.now += WRAP_UP_S
    assert hosts.seek(THERE, "b:2") == "A"  # he is rung, though he talks: his phone says so
    hosts.ask(HERE, HostView(engaged=(("A", "a:talks"),)))
    assert hosts.standing.holders("A") == ["b:2", "a:talks"]
    hosts.say(THERE, ReleaseOperator("b:2", "A", talked=False, willing=False), Leave("b:2"))
    assert hosts.seek(THERE, "b:3") == ""
    hosts.say(HERE, ReleaseOperator("a:talks", "A", talked=True, willing=True))
    hosts.now += WRAP_UP_S
    assert hosts.seek(THERE, "b:3") == "A"


def test_nobody_is_gone_whose_silence_was_the_board_s_own(hosts: Hosts) -> None:
    """The first to come back to a database that was away would ring phones of all the others."""
    assert hosts.seek(THERE, "b:1") == "A"
    hosts.now += 100.0
    for _ in range(5):
        assert hosts.ask(HERE, Look()).lent == (("A", "b"),)
        hosts.now += 3.0
    assert hosts.ask(HERE, Look()).lent == ()


def test_those_who_waited_meanwhile_come_in_the_order_in_which_they_came(hosts: Hosts) -> None:
    """The database was empty after a crash; and a place in the queue outlives a break of the line."""
    hosts.text = None
    for one, ages in ((THERE, (9.0, 5.0)), (HERE, (8.0, 2.0))):
        waiting = (Waiter(f"{one.name}:{age}", f"{one.name}/0", age, legless=age == 5.0) for age in ages)
        hosts.ask(one, HostView(tuple(waiting), rests=(("A", 4.0),)))
    assert list(hosts.standing.waiting) == ["b:9.0", "a:8.0", "b:5.0", "a:2.0"]
    assert hosts.standing.legless == {"b:5.0"}
    assert (hosts.seek(HERE, "a:8.0"), hosts.seek(THERE, "b:9.0")) == ("", "B")
    hosts.now += 4.0
    assert (hosts.seek(HERE, "a:2.0"), hosts.seek(HERE, "a:8.0")) == ("", "A")
    back = (Waiter("b:9.0", "b/0", 0.0, legless=False), Waiter("b:5.0", "b/0", 0.0, legless=True))
    hosts.ask(THERE, HostView(back))
    assert list(hosts.standing.waiting) == ["b:9.0", "a:8.0", "b:5.0", "a:2.0"]


def test_the_next_run_of_a_host_takes_the_place_of_the_one_before(hosts: Hosts) -> None:
    hosts.seek(HERE, "a:talks")
    hosts.say(HERE, Served("a:talks"))
    hosts.seek(HERE, "a:rings")
    hosts.seek(THERE, "b:1")
    after = replace(HERE, run="the next")
    assert hosts.ask(after, HostView()).elsewhere == ("b:1",)
    assert (hosts.seek(after, "a:1"), hosts.seek(THERE, "b:1")) == ("", "B")
    assert "A" in hosts.standing.rests_until
    with pytest.raises(NotOnBoard):
        hosts.ask(HERE, Look())


@pytest.mark.parametrize("comes_back", [True, False])
def test_on_a_text_that_is_empty_whom_a_host_had_rests_for_a_moment_until_that_is_back(
    hosts: Hosts, comes_back: bool
) -> None:
    hosts.text = None
    hosts.ask(HERE, HostView(lent=(("A", "b"),)))
    assert (hosts.seek(HERE, "a:1"), hosts.seek(HERE, "a:2")) == ("B", "")
    if comes_back:
        hosts.ask(THERE, HostView(engaged=(("A", "b:1"),), lent=(("B", "a"),)))
    hosts.now += BACK_S
    assert hosts.ask(HERE, Look()).again == (() if comes_back else ("a:2",))
    hosts.say(THERE, Leave("b:1")) if comes_back else None
    assert hosts.seek(HERE, "a:2") == "A"


def test_each_host_rings_its_own_operators_and_holds_up_nobody(hosts: Hosts) -> None:
    """They are configured otherwise for a moment: one more operator on one, one fewer, other rests."""
    new = asking("a", "A", "B", "C")
    hosts.ask(new, Look())  # it has been reloaded
    assert [hosts.seek(THERE, "b:1"), hosts.seek(new, "a:1"), hosts.seek(THERE, "b:2")] == ["A", "B", ""]
    assert [hosts.seek(new, "a:2"), hosts.seek(new, "a:3")] == ["C", ""]
    outcome = hosts.say(new, ReleaseOperator("a:2", "C", talked=False, willing=True), Leave("a:2"))
    assert (outcome.again, outcome.elsewhere) == (("a:3",), ())
    outcome = hosts.say(new, ReleaseOperator("a:1", "B", talked=False, willing=True), Leave("a:1"))
    assert (outcome.again, outcome.elsewhere) == (("a:3",), ("b:2",))
    assert [hosts.seek(new, "a:3"), hosts.seek(THERE, "b:2"), hosts.seek(new, "a:3")] == ["", "B", "C"]
    fewer, other = Hosts(), asking("a", "B", strategy="round_robin", wrap_up_s=0.0)
    for one in (other, THERE):
        fewer.ask(one, HostView())
    assert [fewer.seek(other, "a:1"), fewer.seek(other, "a:2"), fewer.seek(THERE, "b:1")] == ["B", "", "A"]
    fewer.say(other, Leave("a:2"))
    fewer.talked(other, "a:1", "B")
    assert fewer.seek(other, "a:3") == "B"  # he had no rest to have
    fewer.talked(THERE, "b:1", "A")
    assert fewer.seek(THERE, "b:2") == ""


def test_a_board_that_a_newer_version_keeps_is_left_alone(hosts: Hosts) -> None:
    hosts.text = str(hosts.text).replace('"format":1', '"format":2')
    with pytest.raises(NewerBoard):
        hosts.ask(HERE, Look())


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"format":1}', '{"format":1,"hosts":{"a":[]}}'])
def test_a_text_that_cannot_be_read_is_none(text: str) -> None:
    hosts = Hosts(text)
    with pytest.raises(NotOnBoard):
        hosts.ask(HERE, Look())
    hosts.ask(HERE, HostView())
    assert list(read(hosts.text).hosts) == ["a"]


# --- a host's client, and its line ---


@dataclass
class Database:
    """The text that all hosts share, and the clock of all. `up`: whether it answers."""

    text: str | None = None
    now: float = 100.0
    up: bool = True
    lines: list[Line] = field(default_factory=list)

    @property
    def standing(self) -> Standing:
        return read(self.text).standing


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


class Host:
    """A client, its line, and what it has alerted of."""

    def __init__(
        self,
        database: Database,
        name: str,
        strategy: Strategy = "sequential",
        wrap_up_s: float = 0.0,
        last: str | None = None,
    ) -> None:
        self.database, self.line = database, Line(database)
        self.alerts: list[str] = []
        self.turns: list[str] = []
        self.own = LocalBoardClient(Board(OPERATORS, wrap_up_s, strategy, last), self.turns.append)
        now, alert = database.now, self.alerts.append
        self.client = SharedBoardClient(
            self.own, name, LEASE_S, cast(BoardThread, self.line), now=now, alert=alert
        )

    def joins(self) -> Host:
        """It tells what it knows, and the board hears it."""
        for _ in range(3):
            assert self.turn() == []
        return self

    def turn(self) -> list[BoardAnswer]:
        """The line lets one thing through, and it is heard."""
        self.line.pump()
        return self.client.tick(self.database.now)

    def asks(self, question: BoardRequest, process: int = 0) -> list[BoardAnswer]:
        """What a question leads to; the line lets it through."""
        return self.client.tell(question, self.database.now, process) + self.turn()

    def seeks(self, call: str, *tried: str, process: int = 0) -> str:
        """Who is offered to a call, before anything else is said."""
        offered = self.asks(Seek(call, tried, 1), process)[0]
        assert isinstance(offered, OperatorsOffered) and offered.call == call
        return "".join(offered.uris)

    def loses(self) -> None:
        """Its line is cut for so long that it goes on alone."""
        self.line.cut = True
        self.turn()
        self.client.tick(self.database.now + LIMIT_S)
        assert self.client.alone

    def comes_back(self) -> None:
        self.line.cut = False
        self.joins()


class Land(Town):
    """A town whose workers are hosts: each has its line to the database, which may break."""

    def __init__(self, strategy: Strategy, chance: random.Random, *, breaks: bool) -> None:
        super().__init__(strategy, chance)
        self.database = Database(now=self.now)
        self.breaks = breaks
        self.hosts = [Host(self.database, name, strategy, WRAP_UP_S) for name in "abc"]
        self.names: dict[str, str] = {}  # of calls, by the words of the shared board
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
            asked, client = self.up[worker].popleft(), self.hosts[worker].client
            self.down[worker] += client.tell(asked, self.now, self.chance.randrange(2))
            self.names |= client._call_of

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
        self.lose(worker)
        self.down[worker] += self.hosts[worker].client.die(list(self.names.values()), self.now)

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
        """All lines hold, and the database is there; what broke has been noticed."""
        self.database.up = True
        for one in self.hosts:
            one.line.silent = one.line.cut = False
        self.passes(2 * LIMIT_S)

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

    def idle_after(self, looks: int) -> list[str]:
        for _ in range(looks):
            for call in list(self.calls.values()):
                self.retries(call)
            self.settle()
        return [call.id for call in self.calls.values() if not call.rings and not call.talks]

    def engaged(self) -> dict[str, list[str]]:
        """Which calls have an operator, as the shared board has it."""
        standing = self.database.standing
        return {
            uri: sorted(self.names[word] for word in standing.holders(uri))
            for uri in sorted(standing.engaged)
        }

    def rung(self) -> dict[str, list[str]]:
        """As the callers have it."""
        found: dict[str, list[str]] = {}
        for call in self.calls.values():
            for operator in call.rings:
                found[operator] = sorted([*found.get(operator, []), call.id])
        return found

    def end(self) -> None:
        """All calls end; nothing of them is left anywhere."""
        for call in list(self.calls.values()):
            self.ends(call)
        self.settle()
        standing = self.database.standing
        assert (standing.waiting, standing.legless, standing.engaged, standing.also) == ({}, set(), {}, {})
        for one in self.hosts:
            own, client = one.own.board.standing, one.client
            assert (own.waiting, own.engaged, client._word_of, client._call_of) == ({}, {}, {}, {})
            assert (client._open, client._came) == ({}, {})


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("breaks", [False, True], ids=["lines hold", "lines break"])
def test_no_history_lends_an_operator_to_two_calls_and_all_is_known_again_once_the_lines_hold(
    strategy: Strategy, breaks: bool
) -> None:
    """And whoever waits has been served, as far as there are operators."""
    for seed in range(depth(50, 60) if breaks else depth(100, 300)):
        land = Land(strategy, random.Random(seed), breaks=breaks)
        for _ in range(150):
            land.choose()
            land.check()
        if breaks:
            land.restores()
        land.settle()
        assert land.engaged() == land.rung()
        assert not any(one.client.alone for one in land.hosts)
        if breaks:
            land.passes(WRAP_UP_S + LEASE_S)
            land.settle()
            assert not land.idle_after(40) or len(land.rung()) == len(OPERATORS)
        else:
            assert not any(one.alerts for one in land.hosts)
        land.end()


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def here(database: Database) -> Host:
    return Host(database, "a").joins()


@pytest.fixture
def there(database: Database) -> Host:
    return Host(database, "b").joins()


def test_nothing_is_answered_before_the_board_has_said_so(database: Database, here: Host) -> None:
    """The board knows no call by its id."""
    assert here.client.tell(Seek("20261127-ha-w3-191037", (), 1), database.now) == []
    here.line.pump()
    assert here.client.deadline == 0.0
    assert here.client.tick(database.now) == [OperatorsOffered("20261127-ha-w3-191037", ("A",))]
    assert here.asks(Claim("1", "B")) == [Claimed("1", "B", granted=True)]
    assert here.asks(Served("1")) == []
    assert "191037" not in str(database.text)


@pytest.mark.parametrize("silent", [True, False])
def test_who_has_no_answer_for_half_a_second_is_answered_here(
    database: Database, here: Host, silent: bool
) -> None:
    here.seeks("talks")
    here.asks(Served("talks"))
    here.line.silent, here.line.cut = silent, not silent
    for question in (ReleaseOperator("talks", "A", True, True), Seek("1", (), 1), Claim("talks", "B")):
        assert here.asks(question) == []
    assert here.client.deadline == database.now + LIMIT_S
    assert here.client.tick(database.now + LIMIT_S - 0.01) == []
    answers = [OperatorsOffered("1", ("A",)), Claimed("talks", "B", granted=True)]
    assert here.client.tick(database.now + LIMIT_S) == answers
    why = "no answer within 0.5 s" if silent else "the server has gone"
    assert here.alerts == [
        f"the board of operators that all hosts share is away ({why}): calls go on; who was engaged on"
        " another host is not rung for 12 s, and who is since then is told by the phones' own busy"
    ]
    assert (here.client.alone, here.client.losses) == (True, 1)
    assert here.seeks("2") == "C"  # at once
    here.line.silent = False
    with capture_logs() as logs:
        here.comes_back()
    assert [line["event"] for line in logs] == ["board_shared"]
    assert (here.client.alone, here.client.losses) == (False, 1)


@pytest.fixture
def apart(here: Host, there: Host) -> Host:
    """The first of two hosts that have an operator each; it has just lost the board."""
    assert (there.seeks("theirs"), here.seeks("ours")) == ("A", "B")
    here.loses()
    return here


def test_whom_it_knew_to_be_lent_a_host_without_the_board_leaves_alone_for_a_lease(
    database: Database, apart: Host, there: Host
) -> None:
    assert (apart.seeks("1"), apart.seeks("2")) == ("C", "")
    assert apart.asks(Claim("ours", "A")) == [Claimed("ours", "A", granted=False)]
    assert there.client.alone is False
    assert apart.client.deadline == database.now + LIMIT_S + LEASE_S
    database.now = apart.client.deadline
    assert apart.client.tick(database.now) == [AskAgain("2")]
    assert apart.seeks("2") == "A"  # whose phone says what he does


def test_a_line_that_is_back_in_time_is_no_loss(database: Database, here: Host) -> None:
    here.seeks("1")
    here.line.drop()
    here.client.tick(database.now)
    assert here.client.tell(Seek("2", (), 1), database.now) == []
    database.now += LIMIT_S / 2
    found = [answer for _ in range(3) for answer in here.turn()]
    assert found[0] == OperatorsOffered("2", ("B",)) and here.alerts == []
    assert here.client.tick(database.now + LIMIT_S) == []


def test_a_host_that_hears_nothing_looks_in_time_for_its_lease(database: Database, here: Host) -> None:
    assert here.client.deadline == database.now + LEASE_S / 4
    database.now += LEASE_S / 4
    assert here.client.tick(database.now) == []
    here.turn()
    assert read(database.text).hosts["a"].seen == database.now
    assert here.client.deadline == database.now + LEASE_S / 4


def test_the_round_goes_over_all_hosts_and_is_kept_here_too(database: Database) -> None:
    here, there = (Host(database, name, "round_robin", last="B").joins() for name in "ab")
    assert (here.seeks("1"), there.seeks("1")) == ("C", "A")
    assert (here.turns, there.turns) == (["C"], ["A"])
    here.loses()
    assert here.seeks("2") == "A"
