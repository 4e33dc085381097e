"""The supervisor with children, an edge and a clock that the test plays; and what it tells systemd."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from retention.records import Receipt
from sipagent.agent.engine import RealmLearnt
from sipagent.edge.rpc import EdgeError, GivenMessage, given
from sipagent.service.children import (
    DETECTOR,
    LIVED_S,
    LONGEST_S,
    REGISTRAR,
    Alive,
    CallerRefused,
    Drain,
    NotRegistered,
    Ready,
    ThreadTimes,
    ToChild,
    ToSupervisor,
    worker_name,
)
from sipagent.service.control import LAST_WORK_S, Orders, Systemd
from sipagent.service.control import LOOK_S as STATUS_S
from sipagent.service.edge import AGAIN_S, COUNT_S, MUTE, TELL_S, EdgeCare
from sipagent.service.supervisor import GRACE_S, LOOK_S, SILENT_S, ChildSlot, Supervisor
from tests import kept
from tests.notified import Notified

DRAIN_S = 60.0


@dataclass
class FakeChild:
    """`code`: what it ends with."""

    refused: tuple[Receipt, ...] = ()
    told: list[ToChild] = field(default_factory=list)
    code: int | None = 0
    killed: bool = False
    pid: int = 1
    times: ThreadTimes = field(default_factory=lambda: {1: (1.0, 0.0, False), 2: (5.0, 3.0, False)})

    def threads(self) -> ThreadTimes:
        return self.times

    def send(self, message: ToChild) -> None:
        self.told.append(message)

    def kill(self) -> None:
        self.killed = True

    def close(self) -> int | None:
        return self.code


@dataclass
class FakeEdge:
    """Does what it is told, or fails while `deaf`; forgets all at a restart."""

    deaf: bool = False
    broken: bool = False
    starts: int = 0
    active: set[int] = field(default_factory=set)
    said: list[tuple[str, int]] = field(default_factory=list)
    strangers: int = 7
    malformed: int = 0
    unsupported: int = 0
    lines: int = 0

    @property
    def rpc(self) -> "FakeEdge":
        return self

    def start(self) -> None:
        self.starts += 1
        if self.broken:
            raise EdgeError("does not start")
        self.active.clear()

    def stop(self) -> None:
        self.said.append(("stop", 0))

    def _say(self, what: str, index: int) -> None:
        if self.deaf:
            raise EdgeError("does not answer")
        self.said.append((what, index))

    def activate(self, index: int) -> None:
        self._say("activate", index)
        self.active.add(index)

    def deactivate(self, index: int) -> None:
        self._say("deactivate", index)
        self.active.discard(index)

    def worker_died(self, index: int, *, crashed: bool) -> GivenMessage:
        self._say("crashed" if crashed else "killed", index)
        return given("call=1f method=INVITE body=700 media=3 size=1234 source=192.0.2.7:5060")

    def end_dialogs(self, index: int) -> int:
        self._say("end_dialogs", index)
        return 2

    def give_way(self) -> None:
        self._say("give_way", 0)

    def drain(self) -> None:
        self._say("drain", 0)

    def hold_off(self, late: bool) -> None:
        self._say("hold_off", late)

    def statistics(self) -> "FakeEdge":
        if self.deaf:
            raise EdgeError("does not answer")
        return self

    def change(self, plan: Any) -> None:
        self._say("change", plan)


class FakeShared:
    calls, limit = 2, 6
    is_late = may_be_late = False

    def late(self, now: float) -> bool:
        return self.is_late

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.registrations: list[bool] = []
        self.strangers: list[int] = []
        self.next: float | None = None
        self.ticks: list[float] = []

    def gone(self, index: int, now: float) -> None:
        self.lost.append(index)

    def dropped(self, strangers: int, malformed: int, unsupported: int) -> None:
        self.strangers.append(strangers)

    def registered(self, active: bool) -> None:
        self.registrations.append(active)

    def due(self) -> float | None:
        return self.next

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.next = None


class House:
    """A supervisor, and what it watches over. `now` is its clock."""

    def __init__(
        self,
        workers: int = 3,
        registers: bool = False,
        hears: bool = False,
        systemd: Systemd = Systemd(),  # noqa: B008 - it has nobody to tell
        gives_way_s: float = 0.0,
    ) -> None:
        self.now = 1000.0
        self.edge, self.shared, self.orders = FakeEdge(), FakeShared(), Orders(DRAIN_S)
        self.made: dict[str, list[FakeChild]] = {}
        self.cannot: set[str] = set()
        self.lacks: list[str] = []
        places = [self.place(DETECTOR, None)] if hears else []
        places += [self.place(worker_name(index), index) for index in range(workers)]
        places += [self.place(REGISTRAR, None)] if registers else []
        self.supervisor = Supervisor(
            EdgeCare(cast(Any, self.edge)),
            cast(Any, self.shared),
            places,
            self.orders,
            cast(Any, None),  # nobody waits here
            systemd=systemd,
            lacks=lambda: self.lacks,
            gives_way_s=lambda: gives_way_s,
        )
        self.supervisor.care.start(self.now)
        self.turn()

    def place(self, name: str, index: int | None) -> ChildSlot:
        return ChildSlot(name, index, lambda refused: cast(Any, self._make(name, refused)))

    def _make(self, name: str, refused: tuple[Receipt, ...]) -> FakeChild:
        child = FakeChild(refused)
        self.made.setdefault(name, []).append(child)
        if name in self.cannot:
            raise OSError("no process left")
        return child

    def __getitem__(self, name: str | int) -> ChildSlot:
        wanted = worker_name(name) if isinstance(name, int) else name
        return next(place for place in self.supervisor.slots if place.name == wanted)

    def child(self, name: str | int) -> FakeChild:
        child: object = self[name].child
        assert isinstance(child, FakeChild)
        return child

    def turn(self, after_s: float = 0.0) -> None:
        self.now += after_s
        self.supervisor.turn(self.now)

    def hears(self, name: str | int, message: ToSupervisor) -> None:
        self.supervisor.heard(self[name], message, self.now)

    def ready(self, *names: str | int) -> "House":
        """These, or all, say so; what the edge had been told before is forgotten."""
        for name in names or [place.name for place in self.supervisor.slots]:
            self.hears(name, Ready())
        self.turn()
        return self

    def quiet(self) -> "House":
        """What the edge was told so far is forgotten."""
        self.edge.said.clear()
        return self

    def ends(self, name: str | int, code: int | None) -> None:
        self.child(name).code = code
        self.supervisor.ended(self[name], self.now)

    def starts(self, name: str | int) -> int:
        return len(self.made[worker_name(name) if isinstance(name, int) else name])

    def edge_dies(self) -> None:
        self.supervisor.care.died(self.now)

    def ending(self, within_s: float = DRAIN_S) -> None:
        """A signal has come."""
        self.orders.ending_at = self.now + within_s
        self.turn()

    def told(self, name: str | int) -> list[ToChild]:
        return self.child(name).told

    @property
    def due(self) -> float:
        return self.supervisor.due(self.now)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as logs:
        yield logs


def reasons(logs: list[Any]) -> list[str]:
    return [line["reason"] for line in logs if line["event"] == "alert"]


def times_ready(logs: list[Any]) -> int:
    return [line["event"] for line in logs].count("ready")


# --- the start ---


def test_it_is_ready_once_with_edge_workers_detector_and_account(logs: list[Any]) -> None:
    """Calls go to a worker as soon as that is ready."""
    house = House(registers=True, hears=True)
    assert [house.starts(index) for index in range(3)] == [1, 1, 1] and house.edge.active == set()
    house.ready(1)
    assert house.edge.active == {1}
    house.ready(0, 2, REGISTRAR)
    assert times_ready(logs) == 0
    house.ready(DETECTOR)
    house.hears(REGISTRAR, NotRegistered())
    house.ready(REGISTRAR)
    assert times_ready(logs) == 1
    assert house.shared.registrations == [True, False, True]


def test_without_its_edge_or_any_worker_it_is_not_ready(logs: list[Any]) -> None:
    house = House()
    house.edge.broken = True
    house.edge_dies()
    house.ready()
    other = House(workers=1)
    other.ends(0, 1)
    other.turn()
    assert times_ready(logs) == 0


def test_a_worker_that_cannot_start_holds_up_nobody(logs: list[Any]) -> None:
    """As after the supervisor's death: its old one still has calls, and its place, until that one ends."""
    house = House(registers=True)
    house.ready(0, 2).quiet()
    house.ends(1, 1)
    house.turn()
    assert (house.edge.said, house.shared.lost, times_ready(logs)) == ([], [], 0)
    house.ready(REGISTRAR)
    assert times_ready(logs) == 1
    house.ready(1)
    assert house.edge.said == [("end_dialogs", 1), ("activate", 1)]


def test_every_worker_knows_the_realms_that_were_learnt(logs: list[Any]) -> None:
    """The trunk's, from the registrar; the PBX's, from the worker that was asked first."""
    house = House(workers=2, registers=True)
    house.ready(0)
    trunk = RealmLearnt("trunk")
    first, second = (RealmLearnt(realm, "operators") for realm in ("pbx", "other"))
    for name, realm in ((REGISTRAR, trunk), (0, first), (1, second)):
        house.hears(name, realm)
    assert [house.told(index) for index in (0, 1)] == [[trunk, first, first]] * 2
    assert house.told(REGISTRAR) == []
    house.ends(0, -9)
    house.turn(after_s=1.0)
    house.ready(0)
    assert house.told(0) == [trunk, first]


# --- deaths ---


def test_a_workers_death_ends_its_calls_at_the_edge_before_a_replacement_gets_any(logs: list[Any]) -> None:
    house = House().ready().quiet()
    house.ends(1, -9)
    told = [("deactivate", 1), ("killed", 1), ("end_dialogs", 1)]
    assert house.edge.said == told  # at once, without another turn
    assert house.shared.lost == [1]
    assert reasons(logs) == ["worker-1 has died (signal 9); it is started anew in 0 s"]
    house.turn()
    assert [house.starts(index) for index in range(3)] == [1, 2, 1]
    assert house.edge.active == {0, 2}
    house.ready(1)
    assert house.edge.active == {0, 1, 2}


@pytest.mark.parametrize(
    ("code", "word"),
    [(-6, "crashed"), (-11, "crashed"), (-7, "crashed"), (-9, "killed"), (1, "killed"), (None, "")],
)
def test_the_edge_is_told_whether_a_worker_crashed(code: int | None, word: str, logs: list[Any]) -> None:
    """Only then may its last message be the cause; where nobody knows how it died, there is no word."""
    house = House().ready().quiet()
    house.ends(1, code)
    message = "INVITE, media lines: 3, 1234 bytes, from 192.0.2.7:5060"
    last = f"worker-1 crashed; the last message it was given: {message}"
    crashed = word == "crashed"
    assert [what for what, _ in house.edge.said] == ["deactivate", *([word] if word else []), "end_dialogs"]
    assert (last in reasons(logs)) == crashed
    figures = house.supervisor.care.figures()
    assert (figures.crashes, figures.fatal) == (crashed, {("INVITE", "3", "1500"): 1} if crashed else {})


def test_a_refusal_that_no_disk_may_have_is_handed_to_the_replacement() -> None:
    """Each time, until somebody has lived long enough to write it down."""
    house = House(workers=2).ready()
    receipt = kept.receipt(kept.recording(), decision="refused", ended_at=None)
    house.hears(1, CallerRefused(receipt))
    for _ in range(2):
        house.ends(1, -9)
        house.turn(LONGEST_S)
        assert house.child(1).refused == (receipt,)
    house.ends(0, -9)
    house.turn()
    assert house.child(0).refused == ()


@pytest.mark.parametrize(("name", "code"), [(REGISTRAR, -6), (DETECTOR, -9)])
def test_the_death_of_account_or_detector_is_nothing_to_the_calls(name: str, code: int) -> None:
    house = House(registers=True, hears=True).ready().quiet()
    house.ends(name, code)
    house.turn()
    assert house.starts(name) == 2
    assert (house.edge.said, house.shared.lost) == ([], [])
    assert house.shared.registrations == ([True, False] if name == REGISTRAR else [True])


@pytest.mark.parametrize("name", [0, DETECTOR])
def test_a_worker_or_detector_that_hangs_is_killed_and_replaced(name: str | int) -> None:
    """Deadlocked, or stopped: it is there, and says nothing. One that starts slowly is waited for."""
    house = House(workers=2, hears=True)
    house.turn(10 * SILENT_S)
    house.ready()
    hangs = house.child(name)
    for _ in range(3):
        house.turn(SILENT_S - LOOK_S - 1)
        house.turn(LOOK_S)
        for one in (0, 1, DETECTOR):
            house.hears(one, Alive())
        house.turn()
    assert not hangs.killed
    house.now += SILENT_S - LOOK_S
    for one in (0, 1, DETECTOR):
        if one != name:
            house.hears(one, Alive())
    house.turn()
    house.turn(LOOK_S - 1)
    assert not hangs.killed
    house.turn(1)
    assert hangs.killed and sum(child.killed for children in house.made.values() for child in children) == 1
    hangs.killed = False
    house.turn(1)
    assert not hangs.killed  # once
    house.ends(name, -9)
    house.turn()
    assert house.starts(name) == 2


def test_one_that_dies_again_and_again_is_started_later_and_later_and_never_given_up() -> None:
    house = House(workers=1)
    waits = []
    for _ in range(12):
        house.ends(0, 1)
        due = house[0].due
        assert due is not None and house.due <= due
        waits.append(due - house.now)
        house.turn(due - house.now - 0.01 if due > house.now else 0.0)
        assert (house[0].child is None) == (due > house.now)
        house.turn(0.01)
        assert house[0].child
    assert waits[:4] == pytest.approx([0.0, 0.5, 1.0, 2.0])
    assert waits[-3:] == pytest.approx([LONGEST_S] * 3)
    house.turn(LIVED_S - 1)
    house.ends(0, 1)
    assert house[0].due == house.now + LONGEST_S
    house.turn(LONGEST_S)
    house.turn(LIVED_S)
    house.ends(0, 1)
    assert house[0].due == house.now


def test_one_that_cannot_even_be_started_is_tried_again(logs: list[Any]) -> None:
    house = House()
    house.cannot.add("worker-0")
    house.ends(0, -9)
    house.turn()
    house.turn(LONGEST_S)
    assert len(reasons(logs)) == 3 and "no process left" in reasons(logs)[1]
    house.cannot.clear()
    house.turn(LONGEST_S)
    assert house[0].child


def test_a_death_that_the_edge_does_not_hear_of_is_told_again() -> None:
    """And the replacement gets no call before that: its own would be ended."""
    house = House().ready().quiet()
    house.edge.deaf = True
    house.ends(1, -9)
    house.turn()
    house.ready(1)
    house.edge.deaf = False
    assert house.edge.said == []
    house.turn(AGAIN_S)
    assert house.edge.said == [("deactivate", 1), ("killed", 1), ("end_dialogs", 1), ("activate", 1)]


# --- the edge ---


def test_the_edge_dies_and_is_told_everything_anew() -> None:
    house = House().ready(0, 2)
    house.edge_dies()
    house.turn()
    assert (house.edge.starts, house.edge.active) == (2, {0, 2})
    assert [house.starts(index) for index in range(3)] == [1, 1, 1]


def test_an_edge_that_does_not_start_again_is_tried_later_and_later() -> None:
    """A worker that dies meanwhile has no calls any more."""
    house = House().ready()
    house.edge.broken = True
    house.edge_dies()
    house.turn()
    starts = []
    for _ in range(600):
        before = house.edge.starts
        house.turn(0.1)
        if house.edge.starts > before:
            starts.append(house.now)
    gaps = [after - before for before, after in pairwise(starts)]
    assert gaps == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 16.0][: len(gaps)], abs=0.2) and len(gaps) > 4
    house.ends(1, -9)
    house.edge.broken = False
    house.quiet().turn(LONGEST_S)
    assert house.edge.said == [("end_dialogs", 1), ("activate", 0), ("activate", 2)]


def test_strangers_are_counted_while_the_edge_answers() -> None:
    house = House()
    house.turn(COUNT_S)
    house.edge.strangers = 9
    house.turn(COUNT_S)
    house.turn(COUNT_S / 2)
    house.edge.deaf = True
    house.turn(COUNT_S)
    house.edge_dies()
    assert house.shared.strangers == [7, 7, 9]


def test_what_the_edge_has_dropped_is_told_once_a_minute_at_most(logs: list[Any]) -> None:
    """How many messages, whatever came; an edge that is started anew counts from 0 again."""
    house = House().ready()

    def told(seconds: float) -> list[dict[str, int]]:
        logs.clear()
        for _ in range(round(seconds / COUNT_S)):
            house.turn(COUNT_S)
        lines = [line for line in logs if line["event"] == "edge_dropped"]
        return [{name: one for name, one in line.items() if type(one) is int} for line in lines]

    assert told(2 * TELL_S) == []
    house.edge.malformed, house.edge.lines = 3, 40
    assert told(COUNT_S) == [{"malformed": 3, "lines": 40}]
    house.edge.malformed, house.edge.unsupported, house.edge.lines = 1000, 1, 50
    assert told(TELL_S - COUNT_S) == []
    house.edge.malformed = 1003
    assert told(COUNT_S) == [{"malformed": 1000, "unsupported": 1, "lines": 10}]
    house.edge.malformed = house.edge.unsupported = 2
    assert told(10 * TELL_S) == [{"malformed": 2, "unsupported": 1}]


def test_an_edge_that_hangs_is_started_anew() -> None:
    house = House().ready()
    house.edge.deaf = True
    for _ in range(MUTE - 1):
        house.turn(COUNT_S)
    house.edge.deaf = False
    house.turn(COUNT_S)
    house.edge.deaf = True
    for _ in range(MUTE):
        assert house.edge.starts == 1
        house.turn(COUNT_S)
    house.edge.deaf = False
    house.turn(AGAIN_S)
    assert (house.edge.starts, house.edge.active) == (2, {0, 1, 2})


# --- the end ---


def test_it_drains_and_the_detector_goes_after_the_last_worker(logs: list[Any]) -> None:
    """Whoever still talks may still refuse. A second signal waits for nobody."""
    house = House(workers=2, registers=True, hears=True).ready()
    house.ending()
    assert ("drain", 0) in house.edge.said
    for name in (0, 1, REGISTRAR):
        assert house.told(name) == [Drain(DRAIN_S)]
    house.ends(REGISTRAR, 0)
    house.ends(0, 0)
    house.now += 5
    house.ending(0.0)
    (told,) = (line for line in logs if line["event"] == "draining")
    assert (told["calls"], told["at_most_s"]) == (2, 60) and "second signal" in told["detail"]
    assert house.told(1) == [Drain(DRAIN_S), Drain(0.0)] and house.told(DETECTOR) == []
    house.ends(1, 0)
    assert house.told(DETECTOR) == [Drain(0.0)] and not house.supervisor.over
    house.ends(DETECTOR, 0)
    assert house.supervisor.over
    assert house.starts(0) == house.starts(REGISTRAR) == 1


def test_where_an_address_moves_calls_are_taken_until_it_has() -> None:
    """OPTIONS says that it drains: whoever keeps the address gives it away."""
    house = House(workers=2, registers=True, gives_way_s=5.0).ready().quiet()
    house.ending()
    assert house.edge.said == [("give_way", 0)]
    assert house.told(0) == house.told(REGISTRAR) == []
    assert house.due == house.now + 5
    house.ends(1, -9)
    house.quiet().edge_dies()
    house.turn(after_s=4.9)
    assert house.starts(1) == 2 and ("drain", 0) not in house.edge.said
    assert ("give_way", 0) in house.edge.said and ("activate", 0) in house.edge.said
    house.turn(after_s=0.2)
    assert house.edge.said[-1] == ("drain", 0)
    for name in (0, REGISTRAR):
        (told,) = house.told(name)
        assert isinstance(told, Drain) and told.patience_s == pytest.approx(DRAIN_S - 5.1)


def test_a_second_signal_gives_way_to_nobody() -> None:
    house = House(workers=1, gives_way_s=5.0).ready()
    house.ending()
    house.ending(0.0)
    assert house.told(0) == [Drain(0.0)] and house.edge.said[-1] == ("drain", 0)


def test_what_dies_while_all_drain(logs: list[Any]) -> None:
    """A worker is not replaced, but its callers are told; the edge comes back for the calls in progress."""
    house = House().ready()
    house.ending()
    house.quiet().ends(1, -9)
    house.turn(LONGEST_S)
    assert ("end_dialogs", 1) in house.edge.said
    assert house.starts(1) == 1
    assert reasons(logs) == ["worker-1 has died (signal 9)"]
    house.quiet().edge_dies()
    house.turn()
    assert house.edge.starts == 2 and ("drain", 0) in house.edge.said


def test_one_that_does_not_end_is_killed_and_waited_for(logs: list[Any]) -> None:
    """As one that a disk holds: no turn without an end, and a word a minute."""
    house = House(workers=2).ready()
    house.ending()
    house.ends(0, 0)
    house.turn(DRAIN_S + GRACE_S - 0.1)
    assert not house.child(1).killed
    house.turn(0.2)
    assert house.child(1).killed
    logs.clear()
    house.now += 60
    for _ in range(10):
        house.turn()
        assert house.due >= house.now + COUNT_S
        house.now = house.due
    assert len(reasons(logs)) == 1
    logs.clear()
    house.ending(0.0)
    house.turn(GRACE_S)
    assert reasons(logs) == ["worker-1 does not end; it is killed"]


def test_one_that_becomes_ready_while_all_drain_gets_no_calls_and_is_not_looked_at_again() -> None:
    house = House().ready(0)
    house.ending()
    house.ready(1)
    assert house.edge.active == {0}
    house.turn(SILENT_S + 1)
    assert house.due > house.now


def test_a_worker_that_is_given_no_processor_does_not_hang(logs: list[Any]) -> None:
    """Any of its threads tells, for the others wait for its lock. One that spins has had its part."""
    house = House(workers=1).ready()
    worker = house.child(0)
    house.turn(SILENT_S - LOOK_S)
    for turn in range(1, 6):
        worker.times = {
            1: (1.0, 0.0, False),
            2: (5.0 + turn, 3.0 + 8.0 * turn, True),
            3 + turn: (0.0, 90.0, True),
        }
        house.turn(LOOK_S)
        assert not worker.killed
    assert [line["seconds"] for line in logs if line["event"] == "worker_could_not_run"] == [10] * 5
    house.hears(0, Alive())
    house.turn(SILENT_S - LOOK_S)
    worker.times = {2: (20.0, 50.0, True)}
    house.turn(LOOK_S)
    assert worker.killed and reasons(logs) == ["worker-0 hangs; it is killed"]


def test_the_edge_is_told_once_while_the_workers_do_not_keep_up_and_again_when_it_is_new() -> None:
    house = House().ready().quiet()
    house.turn()
    assert not house.edge.said
    house.shared.is_late = True
    house.turn(1)
    house.turn(1)
    assert house.edge.said == [("hold_off", True)]
    house.edge_dies()
    house.quiet().turn(LONGEST_S)
    assert ("hold_off", True) in house.edge.said
    house.shared.is_late = False
    house.quiet().turn(1)
    assert house.edge.said == [("hold_off", False)]


# --- changes, and when to look again ---


def test_it_looks_at_the_board_when_that_is_due() -> None:
    house = House(workers=2).ready()
    assert house.due > house.now + 1
    house.shared.next = house.now + 0.25
    assert house.due == house.now + 0.25
    house.turn(0.25)
    assert house.shared.ticks == [house.now]


def test_more_workers() -> None:
    house = House(workers=1).ready()
    house.supervisor.care.change("plan")
    house.supervisor.slots.append(house.place("worker-1", 1))
    house.turn()
    house.ready(1)
    assert house.edge.said[-3:] == [("change", "plan"), ("end_dialogs", 1), ("activate", 1)]


# --- systemd ---


def test_systemd_is_told_from_its_start_to_its_end(manager: Notified, systemd: Systemd) -> None:
    house = House(workers=2, registers=True, systemd=systemd)
    lost = "not registered, so the trunk sends no calls"
    status = "STATUS=2 calls of at most 6; "
    assert manager.all()[-1] == f"{status}{lost}; worker-0 is not ready; worker-1 is not ready"
    house.ready()
    assert manager.all()[-2:] == ["READY=1", f"{status}registered"]
    house.hears(REGISTRAR, NotRegistered())
    house.turn(STATUS_S)
    assert manager.all()[-1] == f"{status}{lost}"
    house.ends(0, -9)
    house.edge.broken = True
    house.edge_dies()
    house.lacks.append("the shared board of operators is away")
    house.turn(STATUS_S)
    assert manager.all()[-1] == f"{status}{lost}; worker-0 is not ready; the edge is not up; {house.lacks[0]}"
    house.ending()
    (stopping,) = (said for said in manager.all() if said.startswith("STOPPING=1"))
    assert stopping.endswith(f"={round(1e6 * (DRAIN_S + GRACE_S + LAST_WORK_S))}")
    house.turn(STATUS_S)
    assert manager.all()[-1] == "STATUS=draining, 2 calls left"


def test_it_wakes_for_its_watchdog(manager: Notified, systemd: Systemd) -> None:
    """A worker that hangs is its own affair: it is killed and replaced, while signs of life go on."""
    house = House(workers=1, systemd=systemd).ready()
    signs = []
    while house.now < 1200.0:
        house.turn(house.due - house.now)
        signs += [house.now for said in manager.all() if said == "WATCHDOG=1"]
        manager.said.clear()
    assert signs == [1030.0, 1060.0, 1090.0, 1120.0, 1150.0, 1180.0]
    assert house.starts(0) == 1 and house.child(0).killed
