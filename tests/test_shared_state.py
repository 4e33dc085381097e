"""The board of all hosts: it is the pure one, whoever asks in between; hosts that go, come back, differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

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
    Standing,
    Strategy,
)
from sipagent.agent.operators import LocalBoardClient
from sipagent.agent.shared_board import (
    BACK_S,
    AskingHost,
    BoardQuestion,
    Died,
    Farewell,
    HostView,
    Look,
    NewerBoard,
    NotOnBoard,
    ProcessMessage,
    QuestionOutcome,
    Waiter,
    What,
    answered,
    read,
)

WRAP_UP_S = 5.0
DEPTH = 6
STRATEGIES: tuple[Strategy, ...] = ("sequential", "round_robin", "simultaneous")


def host(
    name: str, *operators: str, strategy: Strategy = "sequential", wrap_up_s: float = WRAP_UP_S
) -> AskingHost:
    return AskingHost(name, f"run-{name}", 12.0, operators or ("A", "B"), wrap_up_s, strategy)


@dataclass
class Hosts:
    """Hosts that ask one text in turn, at `now`."""

    text: str | None = None
    now: float = 1000.0
    numbers: int = 0

    def ask(self, host: AskingHost, *whats: What) -> QuestionOutcome:
        questions = [BoardQuestion(self.numbers + index, what) for index, what in enumerate(whats)]
        self.numbers += len(whats)
        self.text, outcome = answered(self.text, host, questions, self.now)
        return outcome

    def hear(self, host: AskingHost, seconds: float) -> None:
        """So long nobody but this host says anything."""
        for _ in range(3):
            self.now += seconds / 3
            self.ask(host, Look())

    def say(self, host: AskingHost, asked: BoardRequest) -> list[BoardAnswer]:
        """What a call's question is answered with."""
        outcome = self.ask(host, ProcessMessage(asked, f"{host.name}/0"))
        return [one for _, answers in outcome.answers for one in answers]

    def seek(self, host: AskingHost, call: str, *tried: str, legs: int = 1) -> tuple[str, ...]:
        (offered,) = self.say(host, Seek(call, tried, legs))
        assert isinstance(offered, OperatorsOffered)
        return offered.uris


# --- as the pure board ---


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

    def copied(self) -> "Both":
        board = self.pure.board
        standing = Standing(
            dict(board.standing.waiting),
            set(board.standing.legless),
            dict(board.standing.engaged),
            {},
            dict(board.standing.rests_until),
            board.standing.last,
        )
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
            self._says(here, asked)

    def _says(self, here: AskingHost, asked: BoardRequest) -> None:
        now, process = self.shared.now, f"{here.name}/0"
        pure = [*self.pure.tell(asked, now, process), *self.pure.tick(now)]
        outcome = self.shared.ask(here, ProcessMessage(asked, process))
        shared = [one for _, answers in outcome.answers for one in answers]
        assert shared == [one for one in pure if not isinstance(one, AskAgain)]
        again = {one.call for one in pure if isinstance(one, AskAgain)}
        assert {*outcome.again, *outcome.elsewhere} == again
        assert all(call.startswith(here.name) for call in outcome.again)
        assert not any(call.startswith(here.name) for call in outcome.elsewhere)
        self._agree(outcome)
        self._note(asked, shared)

    def passes(self, seconds: float) -> None:
        self.shared.now += seconds
        pure = self.pure.tick(self.shared.now)
        outcome = self.shared.ask(next(iter(self.hosts.values())), Look())
        assert {*outcome.again, *outcome.elsewhere} == {one.call for one in pure}
        self._agree(outcome)

    def _agree(self, outcome: QuestionOutcome) -> None:
        standing, due = self.pure.board.standing, self.pure.board.deadline
        assert read(self.shared.text).standing == standing
        assert list(read(self.shared.text).standing.waiting) == list(standing.waiting)
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
@pytest.mark.parametrize(
    ("names", "calls"), [(("a", "b"), ("a:1", "b:1", "b:2")), (("a", "b", "c"), ("a:1", "b:1", "c:1"))]
)
def test_all_short_histories_are_as_on_the_pure_board(
    strategy: Strategy, names: tuple[str, ...], calls: tuple[str, ...]
) -> None:
    hosts = {name: replace(host(name, strategy=strategy), lease_s=1e6) for name in names}
    begin = Both(hosts, LocalBoardClient(Board(("A", "B"), WRAP_UP_S, strategy)))
    for one in hosts.values():
        begin.shared.ask(one, HostView())
    seen, generation = {begin.key()}, [begin]
    for _ in range(DEPTH):
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


# --- hosts that go and come ---

HERE, THERE = host("a"), host("b")


@pytest.fixture
def hosts() -> Hosts:
    hosts = Hosts()
    for one in (HERE, THERE):
        hosts.ask(one, HostView())
    return hosts


def test_a_host_that_has_told_nothing_is_asked_to(hosts: Hosts) -> None:
    for one, displaced in ((host("c"), False), (replace(HERE, run="another"), True)):
        with pytest.raises(NotOnBoard) as raised:
            hosts.ask(one, Look())
        assert raised.value.displaced is displaced


def test_a_host_that_is_silent_beyond_its_lease_is_gone_and_its_operators_are_free(hosts: Hosts) -> None:
    """Who talked has his rest."""
    assert hosts.seek(HERE, "a:talks") == ("A",)
    hosts.say(HERE, Served("a:talks"))
    assert hosts.seek(HERE, "a:rings") == ("B",)
    hosts.seek(HERE, "a:waits")
    assert hosts.seek(THERE, "b:1") == ()
    hosts.hear(THERE, HERE.lease_s)
    assert hosts.seek(THERE, "b:1") == ()
    hosts.now += 0.1
    outcome = hosts.ask(THERE, Look())
    assert (outcome.again, outcome.due_in_s) == (("b:1",), WRAP_UP_S)
    assert hosts.seek(THERE, "b:1") == ("B",)
    assert hosts.seek(THERE, "b:2") == ()
    with pytest.raises(NotOnBoard):
        hosts.ask(HERE, Look())


def test_the_third_host_hears_who_may_ask_again_from_whoever_noticed(hosts: Hosts) -> None:
    third = host("c")
    hosts.ask(third, HostView())
    hosts.seek(HERE, "a:1"), hosts.seek(HERE, "a:2")
    assert hosts.seek(third, "c:1") == ()
    hosts.hear(third, HERE.lease_s)
    hosts.now += 1.0
    outcome = hosts.ask(third, Look())
    assert outcome.again == ("c:1",)
    hosts.ask(THERE, HostView())
    assert list(read(hosts.text).hosts) == ["c", "b"]


def test_a_host_that_was_cut_off_tells_anew_and_nobody_is_disturbed(hosts: Hosts) -> None:
    hosts.seek(HERE, "a:talks")
    hosts.say(HERE, Served("a:talks"))
    hosts.hear(THERE, HERE.lease_s + 1)
    assert (hosts.seek(THERE, "b:0"), hosts.seek(THERE, "b:1")) == (("B",), ())  # as if he rested
    hosts.now += WRAP_UP_S
    assert hosts.seek(THERE, "b:1") == ("A",)  # he is rung, though he talks: his phone says so
    hosts.ask(HERE, HostView(engaged=(("A", "a:talks"),)))
    assert read(hosts.text).standing.holders("A") == ["b:1", "a:talks"]
    hosts.say(THERE, ReleaseOperator("b:1", "A", talked=False, willing=False))
    hosts.say(THERE, Leave("b:1"))
    assert hosts.seek(THERE, "b:2") == ()
    hosts.say(HERE, ReleaseOperator("a:talks", "A", talked=True, willing=True))
    hosts.now += WRAP_UP_S
    assert hosts.seek(THERE, "b:2") == ("A",)


def test_what_a_host_tells_anew_takes_the_place_of_what_it_had_told(hosts: Hosts) -> None:
    """The answer to a question got lost: the board thinks of an operator whom nobody rings."""
    assert hosts.seek(HERE, "a:1") == ("A",)
    assert hosts.seek(HERE, "a:over") == ("B",)
    told = HostView(waiting=(Waiter("a:1", "a/0", 3.0, legless=False),), engaged=(("B", "a:1"),))
    hosts.ask(HERE, told)
    standing = read(hosts.text).standing
    assert (standing.engaged, standing.waiting, standing.rests_until) == ({"B": "a:1"}, {"a:1": "a/0"}, {})


def test_those_who_waited_meanwhile_come_in_the_order_in_which_they_came(hosts: Hosts) -> None:
    """The database was empty after a crash."""
    hosts.text = None
    for one, ages in ((THERE, (9.0, 5.0)), (HERE, (8.0, 2.0))):
        waiting = (Waiter(f"{one.name}:{age}", f"{one.name}/0", age, legless=age == 5.0) for age in ages)
        hosts.ask(one, HostView(tuple(waiting), rests=(("A", 4.0),)))
    assert list(read(hosts.text).standing.waiting) == ["b:9.0", "a:8.0", "b:5.0", "a:2.0"]
    assert read(hosts.text).standing.legless == {"b:5.0"}
    assert hosts.seek(HERE, "a:8.0") == () and hosts.seek(THERE, "b:9.0") == ("B",)
    hosts.now += 4.0
    assert hosts.seek(HERE, "a:2.0") == () and hosts.seek(HERE, "a:8.0") == ("A",)


def test_a_place_in_the_queue_outlives_a_break_of_the_line(hosts: Hosts) -> None:
    for one, call in ((HERE, "a:talks"), (HERE, "a:rings"), (THERE, "b:first"), (HERE, "a:second")):
        hosts.seek(one, call)
        hosts.now += 1
    hosts.ask(THERE, HostView(waiting=(Waiter("b:first", "b/0", 0.0, legless=False),)))
    assert list(read(hosts.text).standing.waiting)[2:] == ["b:first", "a:second"]


def test_the_next_run_of_a_host_takes_the_place_of_the_one_before(hosts: Hosts) -> None:
    hosts.seek(HERE, "a:talks")
    hosts.say(HERE, Served("a:talks"))
    hosts.seek(HERE, "a:rings")
    hosts.seek(THERE, "b:1")
    after = replace(HERE, run="the next")
    outcome = hosts.ask(after, HostView())
    assert outcome.elsewhere == ("b:1",)
    assert hosts.seek(after, "a:1") == ()
    assert hosts.seek(THERE, "b:1") == ("B",)
    assert "A" in read(hosts.text).standing.rests_until
    with pytest.raises(NotOnBoard):
        hosts.ask(HERE, Look())


def test_a_host_that_takes_leave_leaves_nothing(hosts: Hosts) -> None:
    hosts.seek(HERE, "a:1")
    hosts.seek(HERE, "a:2")
    hosts.seek(THERE, "b:1")
    assert hosts.ask(HERE, Farewell()).elsewhere == ("b:1",)
    assert list(read(hosts.text).hosts) == ["b"]
    assert read(hosts.text).standing.engaged == {}


def test_of_a_process_that_died_everything_is_free(hosts: Hosts) -> None:
    hosts.seek(HERE, "a:1")
    hosts.seek(HERE, "a:2")
    hosts.seek(THERE, "b:1")
    assert hosts.ask(HERE, Died(("a:1",))).elsewhere == ("b:1",)
    assert read(hosts.text).standing.engaged == {"B": "a:2"}


def test_each_host_is_told_who_is_lent_to_others(hosts: Hosts) -> None:
    assert (hosts.seek(HERE, "a:1"), hosts.seek(THERE, "b:1")) == (("A",), ("B",))
    assert (hosts.ask(HERE, Look()).lent, hosts.ask(THERE, Look()).lent) == ((("B", "b"),), (("A", "a"),))
    hosts.ask(THERE, HostView(engaged=(("A", "b:2"),)))  # both have him
    assert hosts.ask(HERE, Look()).lent == (("A", "b"),)


def test_nobody_is_gone_whose_silence_was_the_board_s_own(hosts: Hosts) -> None:
    """The first to come back to a database that was away would ring phones of all the others."""
    assert hosts.seek(THERE, "b:1") == ("A",)
    hosts.now += 100.0
    assert hosts.ask(HERE, Look()).lent == (("A", "b"),)
    for _ in range(4):
        hosts.now += 3.0
        assert hosts.ask(HERE, Look()).lent == (("A", "b"),)
    hosts.now += 3.0
    assert hosts.ask(HERE, Look()).lent == ()


def test_on_a_text_that_is_empty_whom_a_host_had_rests_until_that_is_back(hosts: Hosts) -> None:
    hosts.text = None
    hosts.ask(HERE, HostView(lent=(("A", "b"),)))
    assert (hosts.seek(HERE, "a:1"), hosts.seek(HERE, "a:2")) == (("B",), ())
    hosts.ask(THERE, HostView(engaged=(("A", "b:1"),), lent=(("B", "a"),)))
    hosts.now += BACK_S
    assert hosts.ask(HERE, Look()).again == ()
    hosts.say(THERE, Leave("b:1"))
    assert hosts.seek(HERE, "a:2") == ("A",)


def test_he_is_rung_soon_where_that_host_does_not_come_back(hosts: Hosts) -> None:
    hosts.text = None
    hosts.ask(HERE, HostView(lent=(("A", "b"),)))
    assert (hosts.seek(HERE, "a:1"), hosts.seek(HERE, "a:2")) == (("B",), ())
    hosts.now += BACK_S
    assert hosts.ask(HERE, Look()).again == ("a:2",)
    assert hosts.seek(HERE, "a:2") == ("A",)


# --- hosts that are configured otherwise, for a moment ---


def test_each_host_rings_its_own_operators_and_holds_up_nobody(hosts: Hosts) -> None:
    new = host("a", "A", "B", "C")
    hosts.ask(new, Look())  # it has been reloaded
    assert (hosts.seek(THERE, "b:1"), hosts.seek(new, "a:1")) == (("A",), ("B",))
    assert hosts.seek(THERE, "b:2") == ()
    assert hosts.seek(new, "a:2") == ("C",)
    assert hosts.seek(new, "a:3") == ()
    hosts.say(new, ReleaseOperator("a:2", "C", talked=False, willing=True))
    outcome = hosts.ask(new, ProcessMessage(Leave("a:2"), "a/0"))
    assert (outcome.again, outcome.elsewhere) == (("a:3",), ())
    outcome = hosts.ask(
        new,
        ProcessMessage(ReleaseOperator("a:1", "B", talked=False, willing=True), "a/0"),
        ProcessMessage(Leave("a:1"), "a/0"),
    )
    assert (outcome.again, outcome.elsewhere) == (("a:3",), ("b:2",))
    assert hosts.seek(new, "a:3") == ()
    assert hosts.seek(THERE, "b:2") == ("B",)
    assert hosts.seek(new, "a:3") == ("C",)


def test_an_operator_who_is_no_longer_configured_on_one_host_is_rung_by_the_other(hosts: Hosts) -> None:
    fewer = host("a", "B")
    assert hosts.seek(fewer, "a:1") == ("B",)
    assert hosts.seek(fewer, "a:2") == ()
    assert hosts.seek(THERE, "b:1") == ("A",)


def test_hosts_with_other_strategies_and_rests_each_go_by_their_own(hosts: Hosts) -> None:
    rounds = host("a", strategy="round_robin", wrap_up_s=0.0)
    assert hosts.seek(rounds, "a:1") == ("A",)
    hosts.say(rounds, Served("a:1"))
    hosts.say(rounds, ReleaseOperator("a:1", "A", talked=True, willing=True))
    hosts.say(rounds, Leave("a:1"))
    assert hosts.seek(THERE, "b:1") == ("A",)
    hosts.say(THERE, Served("b:1"))
    hosts.say(THERE, ReleaseOperator("b:1", "A", talked=True, willing=True))
    assert hosts.seek(rounds, "a:2") == ("B",)
    assert hosts.seek(rounds, "a:3") == ()


def test_a_board_that_a_newer_version_keeps_is_left_alone(hosts: Hosts) -> None:
    assert hosts.text is not None
    hosts.text = hosts.text.replace('"format":1', '"format":2')
    with pytest.raises(NewerBoard):
        hosts.ask(HERE, Look())


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"format":1}', '{"format":1,"hosts":{"a":[]}}'])
def test_a_text_that_cannot_be_read_is_none(text: str) -> None:
    hosts = Hosts(text)
    with pytest.raises(NotOnBoard):
        hosts.ask(HERE, Look())
    hosts.ask(HERE, HostView())
    assert list(read(hosts.text).hosts) == ["a"]
