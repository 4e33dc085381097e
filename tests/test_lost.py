"""A host that is lost: others complete its calls; and one that lives after all. Over all short histories."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from retention.records import Status
from retention.shipping import LOST
from tests.tiers import depth
from tests.two_hosts import State, World, call

ONE = call(1)


@contextmanager
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def whats(world: World, id: str = ONE) -> list[str]:
    return [event.what for event in world.shared.receipt(id).events]


def test_calls_of_a_lost_host_are_completed_and_their_recordings_closed() -> None:
    with world() as made:
        made.begin(1)
        made.allow(ONE)
        made.ship()
        made.complete()
        assert made.shared.receipt(ONE).ended_at is None  # its lease lasts
        made.lose()
        made.complete()
        told, row = made.shared.receipt(ONE), made.shared.recording(ONE)
        assert (told.outcome, told.ended_at, whats(made)) == ("failed", made.now, [LOST])
        assert (row.status, row.incomplete) == (Status.CLOSED, True)


def test_who_had_refused_is_erased_at_once_and_of_what_nothing_is_up_nothing_is_kept() -> None:
    for refused, status in ((True, Status.ERASED), (False, Status.FAILED)):
        with world() as made:
            made.begin(1)
            made.allow(ONE)
            made.up.clear()
            if refused:
                made.refuse(ONE, crash=True)
                made.up.add(ONE)  # a piece that was on its way
            made.ship()
            made.lose()
            made.complete()
            assert made.shared.recording(ONE).status is status and made.up == set()
            assert (made.shared.receipt(ONE).decision == "refused") is refused


def test_one_host_completes_at_a_time_and_leaves_one_alone_that_says_something_meanwhile() -> None:
    with world() as made:
        made.begin(1)
        made.allow(ONE)
        made.ship()
        made.lose()
        with made.shared.alone("lost hosts"):
            made.complete()
        assert made.shared.receipt(ONE).ended_at is None
        made.fails = "lives"
        made.complete("lives")
        assert made.shared.recording(ONE).status is Status.OPEN


Step = Callable[[World], object]
STEPS: dict[str, Step] = {
    "begin": lambda world: world.begin(1),
    "allow": lambda world: world.allow(ONE),
    "refuse": lambda world: world.refuse(ONE),
    "refuse, crash": lambda world: world.refuse(ONE, crash=True),
    "keep": lambda world: world.keep(ONE),
    "end": lambda world: world.end(ONE),
    "restart": lambda world: world.restart(),
    "ship": lambda world: world.ship(),
    "ship one": lambda world: world.ship(limit=1),
    "ship, crash before": lambda world: world.ship(crash="before"),
    "ship, crash after": lambda world: world.ship(crash="after"),
    "ship one, crash after": lambda world: world.ship(limit=1, crash="after"),
    "lose": lambda world: world.lose(),
    "complete": lambda world: world.complete(),
    "complete, crash after receipts": lambda world: world.complete("receipts"),
    "complete, crash after sound": lambda world: world.complete("sound"),
    "hold": lambda world: world.hold(ONE),
    "purge": lambda world: world.purge(ONE),
    "purge, crash": lambda world: world.purge(ONE, crash=True),
}
STATIONS = (
    ("begin",),
    ("begin", "allow", "ship"),
    ("begin", "allow", "ship", "lose", "complete"),
    ("begin", "allow", "keep", "ship", "lose", "complete", "hold"),
)
DEEP = 3


def test_nothing_is_lost_or_undone_in_any_short_history() -> None:
    """Every one of one call, up to `DEEP` steps from each station; those that come to the same go on once."""
    with world() as made:
        empty = made.state()
        seen: set[tuple[object, ...]] = set()
        todo: deque[tuple[State, tuple[str, ...], int]] = deque()
        for station in STATIONS:
            made.put_back(empty)
            for name in station:
                STEPS[name](made)
            todo.append((made.state(), station, DEEP))
        while todo:
            state, history, left = todo.popleft()
            for name, step in STEPS.items():
                made.put_back(state)
                try:
                    step(made)
                    made.looks_whole()
                    after = made.state()
                    if after.alike in seen:
                        continue
                    seen.add(after.alike)
                    made.ends_whole()
                except AssertionError as wrong:
                    raise AssertionError(f"{wrong} after {', '.join((*history, name))}") from wrong
                if left > 1:
                    todo.append((after, (*history, name), left - 1))
        assert len(seen) > 100


class Histories(RuleBasedStateMachine):
    """Longer ones, with two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    def teardown(self) -> None:
        try:
            self.world.ends_whole()
        finally:
            self.world.close()

    @rule(number=st.sampled_from([1, 2]))
    def begin(self, number: int) -> None:
        self.world.begin(number)

    @rule(
        number=st.sampled_from([1, 2]),
        what=st.sampled_from(["allow", "refuse", "keep", "end", "hold", "purge"]),
    )
    def does(self, number: int, what: str) -> None:
        getattr(self.world, what)(call(number))

    @rule(number=st.sampled_from([1, 2]), what=st.sampled_from(["refuse", "purge"]))
    def crashes(self, number: int, what: str) -> None:
        getattr(self.world, what)(call(number), crash=True)

    @rule(what=st.sampled_from(["restart", "lose"]))
    def happens(self, what: str) -> None:
        getattr(self.world, what)()

    @rule(limit=st.sampled_from([1, 2, 3, 500]), crash=st.sampled_from([None, "before", "after"]))
    def ship(self, limit: int, crash: str | None) -> None:
        self.world.ship(limit, crash)

    @rule(crash=st.sampled_from([None, "receipts", "sound", "lives"]))
    def complete(self, crash: str | None) -> None:
        self.world.complete(crash)

    @invariant()
    def looks_whole(self) -> None:
        self.world.looks_whole()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=depth(20, 60), stateful_step_count=30, deadline=None)
