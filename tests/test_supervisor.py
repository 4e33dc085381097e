"""The supervisor with children, an edge and a clock that the test plays."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

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
    Backoff,
    CallerRefused,
    Drain,
    NotRegistered,
    Ready,
    ToChild,
    ToSupervisor,
    worker_name,
)
from sipagent.service.control import Orders, Systemd
from sipagent.service.edge import AGAIN_S, COUNT_S, MUTE, TELL_S, EdgeCare
from sipagent.service.supervisor import GRACE_S, SILENT_S, ChildSlot, Supervisor
from tests import kept

DRAIN_S = 60.0


class FakeChild:
    """`code`: what it ends with."""

    def __init__(self, refused: tuple[Receipt, ...] = ()) -> None:
        self.refused = refused
        self.told: list[ToChild] = []
        self.code: int | None = 0
        self.killed = self.closed = False
        self.connection: Any = None
        self.pid = 1

    def fileno(self) -> int:
        return -1

    def send(self, message: ToChild) -> None:
        self.told.append(message)

    def kill(self) -> None:
        self.killed = True

    def close(self) -> int | None:
        self.closed = True
        return self.code


@dataclass
class FakeEdge:
    """Does what it is told, or fails while `deaf`; forgets all at a restart."""

    sentinel: int = -1
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

    def statistics(self) -> "FakeEdge":
        if self.deaf:
            raise EdgeError("does not answer")
        return self

    def change(self, plan: Any) -> None:
        self._say("change", plan)


class FakeShared:
    calls, limit = 2, 6

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.told: list[tuple[int, ToSupervisor]] = []
        self.registrations: list[bool] = []
        self.counts: list[tuple[int, int, int]] = []

    def heard(self, index: int, message: ToSupervisor, now: float) -> None:
        self.told.append((index, message))

    def gone(self, index: int, now: float) -> None:
        self.lost.append(index)

    def dropped(self, strangers: int, malformed: int, unsupported: int) -> None:
        self.counts.append((strangers, malformed, unsupported))

    def registered(self, active: bool) -> None:
        self.registrations.append(active)

    def due(self) -> float | None:
        return None

    def tick(self, now: float) -> None:
        raise AssertionError("nothing was due")


class NoWake:
    def fileno(self) -> int:
        return -1

    def clear(self) -> None:
        raise AssertionError("nobody waits here")


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
        self.edge = FakeEdge()
        self.shared = FakeShared()
        self.made: dict[str, list[FakeChild]] = {}
        self.cannot: set[str] = set()
        self.orders = Orders(DRAIN_S)
        places = [self.place(worker_name(index), index) for index in range(workers)]
        if registers:
            places.append(self.place(REGISTRAR, None))
        if hears:
            places.insert(0, self.place(DETECTOR, None))
        self.supervisor = Supervisor(
            EdgeCare(self.edge),
            self.shared,
            places,
            self.orders,
            NoWake(),
            systemd=systemd,
            gives_way_s=lambda: gives_way_s,
        )
        self.supervisor.care.start(self.now)
        self.turn()

    def place(self, name: str, index: int | None) -> ChildSlot:
        return ChildSlot(name, index, lambda refused: self._make(name, refused))

    def _make(self, name: str, refused: tuple[Receipt, ...]) -> FakeChild:
        child = FakeChild(refused)
        self.made.setdefault(name, []).append(child)
        if name in self.cannot:
            raise OSError("no process left")
        return child

    def __getitem__(self, name: str | int) -> ChildSlot:
        wanted = worker_name(name) if isinstance(name, int) else name
        return next(place for place in self.supervisor.slots if place.name == wanted)

    def turn(self, after_s: float = 0.0) -> None:
        self.now += after_s
        self.supervisor.turn(self.now)

    def ready(self, *names: str | int) -> None:
        for name in names or [place.name for place in self.supervisor.slots]:
            self.supervisor.heard(self[name], Ready(), self.now)
        self.turn()

    def ends(self, name: str | int, code: int | None) -> None:
        child = self[name].child
        assert isinstance(child, FakeChild)
        child.code = code
        self.supervisor.ended(self[name], self.now)

    def starts(self, name: str | int) -> int:
        return len(self.made[worker_name(name) if isinstance(name, int) else name])

    def ending(self, within_s: float) -> None:
        """A signal has come."""
        self.orders.ending_at = self.now + within_s
        self.turn()

    def told(self, name: str | int) -> list[ToChild]:
        child = self[name].child
        assert isinstance(child, FakeChild)
        return child.told


def reasons(logs: list[Any]) -> list[str]:
    return [line["reason"] for line in logs if line["event"] == "alert"]


# --- the trunk's realm ---


def test_every_worker_knows_the_realm_that_the_registrar_asks_in() -> None:
    """Those that are there, and whoever takes the place of one that dies: not the account itself."""
    house = House(workers=2, registers=True)
    house.ready(0)
    realm = RealmLearnt("trunk")
    house.supervisor.heard(house[REGISTRAR], realm, house.now)
    house.ready(1)
    assert [house.told(index) for index in (0, 1)] == [[realm], [realm, realm]]  # the second one twice
    assert house.told(REGISTRAR) == []
    house.ends(0, -9)
    house.turn(after_s=1.0)
    house.ready(0)
    assert house.told(0) == [realm]


def test_every_worker_knows_the_realm_that_the_pbx_has_asked_one_of_them_in() -> None:
    """The first one counts, whatever another worker has heard meanwhile."""
    house = House(workers=2)
    house.ready(0)
    first, second = RealmLearnt("pbx", "operators"), RealmLearnt("other", "operators")
    house.supervisor.heard(house[0], first, house.now)
    house.supervisor.heard(house[1], second, house.now)
    house.ready(1)
    assert [house.told(index) for index in (0, 1)] == [[first] * 2, [first] * 3]


# --- the start ---


def test_calls_go_to_a_worker_once_it_is_ready() -> None:
    house = House()
    assert [house.starts(index) for index in range(3)] == [1, 1, 1]
    assert house.edge.active == set()
    house.ready(1)
    assert house.edge.active == {1}


def test_it_is_ready_once_with_edge_workers_and_account() -> None:
    house = House(registers=True)
    with capture_logs() as logs:
        house.ready(0, 1, 2)
        assert "ready" not in [line["event"] for line in logs]
        house.ready(REGISTRAR)
        house.supervisor.heard(house[REGISTRAR], NotRegistered(), house.now)
        house.ready(REGISTRAR)
    assert [line["event"] for line in logs].count("ready") == 1


def test_without_its_edge_it_is_not_ready() -> None:
    house = House()
    house.edge.broken = True
    house.supervisor.care.died(house.now)
    with capture_logs() as logs:
        house.ready()
    assert "ready" not in [line["event"] for line in logs]


def test_a_worker_that_cannot_start_holds_up_nobody() -> None:
    """As after the supervisor's death: its old one still has calls, and its place."""
    house = House(registers=True)
    with capture_logs() as logs:
        house.ready(0, 2)
        house.ends(1, 1)
        house.turn()
        assert "ready" not in [line["event"] for line in logs]
        house.ready(REGISTRAR)
    assert [line["event"] for line in logs].count("ready") == 1


def test_without_any_worker_it_is_not_ready() -> None:
    house = House(workers=1)
    with capture_logs() as logs:
        house.ends(0, 1)
        house.turn()
    assert "ready" not in [line["event"] for line in logs]


# --- deaths ---


def test_a_workers_death_ends_its_calls_at_the_edge_before_a_replacement_gets_any() -> None:
    house = House()
    house.ready()
    house.edge.said.clear()
    with capture_logs() as logs:
        house.ends(1, -9)
    told = [("deactivate", 1), ("killed", 1), ("end_dialogs", 1)]
    assert house.edge.said == told  # at once, without another turn
    assert house.shared.lost == [1]
    assert reasons(logs) == ["worker-1 has died (signal 9); it is started anew in 0 s"]
    house.turn()
    assert (house.starts(0), house.starts(1), house.starts(2)) == (1, 2, 1)
    assert house.edge.active == {0, 2}
    house.ready(1)
    assert house.edge.active == {0, 1, 2}


@pytest.mark.parametrize(
    ("code", "word"),
    [(-6, "crashed"), (-11, "crashed"), (-7, "crashed"), (-9, "killed"), (1, "killed"), (None, "")],
)
def test_the_edge_is_told_whether_a_worker_crashed(code: int | None, word: str) -> None:
    """Only then may its last message be the cause; where nobody knows how it died, there is no word."""
    house = House()
    house.ready()
    house.edge.said.clear()
    with capture_logs() as logs:
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
    house = House(workers=2)
    house.ready()
    receipt = kept.receipt(kept.recording(), decision="refused", ended_at=None)
    house.supervisor.heard(house[1], CallerRefused(receipt), house.now)
    for _ in range(2):
        house.ends(1, -9)
        house.turn(LONGEST_S)
        assert house.made["worker-1"][-1].refused == (receipt,)
    house.ends(0, -9)
    house.turn()
    assert house.made["worker-0"][-1].refused == ()


def test_the_death_of_the_account_is_nothing_to_the_calls() -> None:
    house = House(registers=True)
    house.ready()
    house.edge.said.clear()
    house.ends(REGISTRAR, -6)
    house.turn()
    assert house.starts(REGISTRAR) == 2
    assert (house.edge.said, house.shared.lost) == ([], [])
    house.ready(REGISTRAR)
    assert house.shared.registrations == [True, False, True]


def test_the_death_of_the_detector_is_nothing_to_the_calls_nor_to_the_account() -> None:
    house = House(registers=True, hears=True)
    with capture_logs() as logs:
        house.ready(0, 1, 2, REGISTRAR)
        assert "ready" not in [line["event"] for line in logs]
        house.ready(DETECTOR)
    assert [line["event"] for line in logs].count("ready") == 1
    house.edge.said.clear()
    with capture_logs() as logs:
        house.ends(DETECTOR, -9)
        house.turn()
    assert house.starts(DETECTOR) == 2
    assert (house.edge.said, house.shared.lost, house.shared.registrations) == ([], [], [True])
    assert reasons(logs) == ["detector has died (signal 9); it is started anew in 0 s"]


def test_a_detector_that_hangs_is_killed() -> None:
    house = House(workers=1, hears=True)
    house.ready()
    child = house[DETECTOR].child
    assert isinstance(child, FakeChild)
    for _ in range(3):
        house.now += SILENT_S - 1
        for name in (0, DETECTOR):
            house.supervisor.heard(house[name], Alive(), house.now)
        house.turn()
    assert not child.killed
    house.turn(SILENT_S)
    assert child.killed


def test_one_that_dies_again_and_again_is_started_later_and_later_and_never_given_up() -> None:
    house = House(workers=1)
    waits = []
    for _ in range(12):
        house.ends(0, 1)
        due = house[0].due
        assert due is not None
        waits.append(due - house.now)
        house.turn(due - house.now - 0.01 if due > house.now else 0.0)
        assert (house[0].child is None) == (due > house.now)
        house.turn(0.01)
        assert house[0].child
    assert waits[:4] == pytest.approx([0.0, 0.5, 1.0, 2.0])
    assert waits[-3:] == pytest.approx([LONGEST_S] * 3)
    house.turn(LIVED_S)
    house.ends(0, 1)
    assert house[0].due == house.now


def test_one_that_cannot_even_be_started_is_tried_again() -> None:
    house = House()
    house.cannot.add("worker-0")
    house.ends(0, -9)
    with capture_logs() as logs:
        house.turn()
        house.turn(LONGEST_S)
    assert len(reasons(logs)) == 2 and "no process left" in reasons(logs)[0]
    house.cannot.clear()
    house.turn(LONGEST_S)
    assert house[0].child


def test_a_death_that_the_edge_does_not_hear_of_is_told_again() -> None:
    """And the replacement gets no call before that: its own would be ended."""
    house = House()
    house.ready()
    house.edge.deaf = True
    house.edge.said.clear()
    house.ends(1, -9)
    house.turn()
    house.ready(1)
    house.edge.deaf = False
    assert house.edge.said == []
    house.turn(AGAIN_S)
    assert house.edge.said == [("deactivate", 1), ("killed", 1), ("end_dialogs", 1), ("activate", 1)]


def test_a_place_whose_old_worker_still_has_calls_is_left_alone_until_that_one_ends() -> None:
    """The supervisor had died, not the worker: its replacement can't begin, and ends by itself."""
    house = House()
    house.ready(0, 2)
    house.edge.said.clear()
    house.ends(1, 1)
    house.turn()
    assert (house.edge.said, house.shared.lost) == ([], [])
    house.ready(1)
    assert house.edge.said == [("end_dialogs", 1), ("activate", 1)]


def test_the_edge_dies_and_is_told_everything_anew() -> None:
    house = House()
    house.ready(0, 2)
    house.edge.said.clear()
    house.supervisor.care.died(house.now)
    house.turn()
    assert house.edge.starts == 2
    assert house.edge.active == {0, 2}
    assert [house.starts(index) for index in range(3)] == [1, 1, 1]


def test_an_edge_that_does_not_start_again_is_tried_later_and_later() -> None:
    house = House()
    house.ready()
    house.edge.broken = True
    house.supervisor.care.died(house.now)
    house.turn()
    starts = []
    for _ in range(600):
        before = house.edge.starts
        house.turn(0.1)
        if house.edge.starts > before:
            starts.append(house.now)
    gaps = [after - before for before, after in pairwise(starts)]
    assert gaps == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0, 16.0][: len(gaps)], abs=0.2) and len(gaps) > 4
    house.edge.broken = False
    house.turn(LONGEST_S)
    assert house.edge.active == {0, 1, 2}


def test_a_worker_that_dies_while_the_edge_is_away() -> None:
    house = House()
    house.ready()
    house.supervisor.care.died(house.now)
    house.edge.broken = True
    house.ends(1, -9)
    house.turn()
    house.edge.broken = False
    house.edge.said.clear()
    house.turn(LONGEST_S)
    assert house.edge.said == [("end_dialogs", 1), ("activate", 0), ("activate", 2)]


def test_a_worker_that_hangs_is_killed_and_replaced() -> None:
    """Deadlocked, or stopped: it is there, and says nothing."""
    house = House(workers=2)
    house.ready()
    hangs = house[0].child
    assert isinstance(hangs, FakeChild)
    for _ in range(20):
        house.turn(SILENT_S / 10)
        house.supervisor.heard(house[1], Alive(), house.now)
        if hangs.killed:
            break
    assert hangs.killed and house.now < 1000.0 + 1.2 * SILENT_S
    house.ends(0, -9)
    house.turn()
    assert (house.starts(0), house.starts(1)) == (2, 1)


def test_one_that_starts_slowly_is_waited_for() -> None:
    house = House(workers=1)
    child = house[0].child
    assert isinstance(child, FakeChild)
    house.turn(10 * SILENT_S)
    assert not child.killed


# --- what the edge counts ---


def test_strangers_are_counted_while_the_edge_answers() -> None:
    house = House()
    house.turn(COUNT_S)
    house.edge.strangers = 9
    house.turn(COUNT_S)
    house.turn(COUNT_S / 2)
    assert [strangers for strangers, _, _ in house.shared.counts] == [7, 7, 9]
    house.edge.deaf = True
    house.turn(COUNT_S)
    house.supervisor.care.died(house.now)
    assert [strangers for strangers, _, _ in house.shared.counts] == [7, 7, 9]


def test_what_the_edge_has_dropped_is_told_once_a_minute_at_most() -> None:
    """How many messages, whatever came; an edge that is started anew counts from 0 again."""
    house = House()
    house.ready()
    with capture_logs() as log:

        def told(seconds: float) -> list[dict[str, int]]:
            log.clear()
            for _ in range(round(seconds / COUNT_S)):
                house.turn(COUNT_S)
            lines = [line for line in log if line["event"] == "edge_dropped"]
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
    house = House()
    house.ready()
    house.edge.deaf = True
    for _ in range(MUTE - 1):
        house.turn(COUNT_S)
    assert house.edge.starts == 1
    house.edge.deaf = False
    house.turn(COUNT_S)
    house.edge.deaf = True
    for _ in range(MUTE):
        assert house.edge.starts == 1
        house.turn(COUNT_S)
    house.edge.deaf = False
    house.turn(AGAIN_S)
    assert house.edge.starts == 2 and house.edge.active == {0, 1, 2}


# --- the end ---


def test_it_drains() -> None:
    house = House(registers=True)
    house.ready()
    house.ending(DRAIN_S)
    assert ("drain", 0) in house.edge.said
    for name in (0, 1, 2, REGISTRAR):
        assert house.told(name) == [Drain(DRAIN_S)]
    for name in (REGISTRAR, 0, 2):
        house.ends(name, 0)
        house.turn()
    assert not house.supervisor.over
    house.ends(1, 0)
    assert house.supervisor.over
    assert house.starts(0) == house.starts(REGISTRAR) == 1


def test_where_an_address_moves_calls_are_taken_until_it_has() -> None:
    """OPTIONS says that it drains: whoever keeps the address gives it away."""
    house = House(workers=2, registers=True, gives_way_s=5.0)
    house.ready()
    house.ending(DRAIN_S)
    assert house.edge.said[-1] == ("give_way", 0) and ("drain", 0) not in house.edge.said
    assert house.told(0) == house.told(REGISTRAR) == []
    assert house.supervisor.due(house.now) == house.now + 5
    house.ends(1, -9)
    house.turn(after_s=4.9)
    assert house.starts(1) == 2 and ("drain", 0) not in house.edge.said
    house.turn(after_s=0.2)
    assert house.edge.said[-1] == ("drain", 0)
    for name in (0, REGISTRAR):
        (told,) = house.told(name)
        assert isinstance(told, Drain) and told.patience_s == pytest.approx(DRAIN_S - 5.1)


def test_an_edge_that_is_killed_while_it_gives_way_goes_on_with_that() -> None:
    house = House(workers=1, gives_way_s=5.0)
    house.ready()
    house.ending(DRAIN_S)
    house.edge.said.clear()
    house.supervisor.care.died(house.now)
    house.turn()
    assert ("give_way", 0) in house.edge.said and ("activate", 0) in house.edge.said


def test_a_second_signal_gives_way_to_nobody() -> None:
    house = House(workers=1, gives_way_s=5.0)
    house.ready()
    house.ending(DRAIN_S)
    house.ending(0.0)
    assert house.told(0) == [Drain(0.0)] and house.edge.said[-1] == ("drain", 0)


def test_the_detector_goes_after_the_last_worker() -> None:
    """Whoever still talks may still refuse."""
    house = House(workers=2, registers=True, hears=True)
    house.ready()
    house.ending(DRAIN_S)
    for name in (REGISTRAR, 1, 0):
        assert house.told(DETECTOR) == []
        house.ends(name, 0)
    assert house.told(DETECTOR) == [Drain(0.0)]
    assert not house.supervisor.over
    house.ends(DETECTOR, 0)
    assert house.supervisor.over


def test_a_second_signal_waits_for_nobody() -> None:
    house = House(workers=1)
    house.ready()
    house.ending(DRAIN_S)
    house.now += 5
    house.ending(0.0)
    assert house.told(0) == [Drain(DRAIN_S), Drain(0.0)]


def test_a_worker_that_dies_while_it_drains_is_not_replaced_but_its_callers_are_told() -> None:
    house = House()
    house.ready()
    house.ending(DRAIN_S)
    house.edge.said.clear()
    with capture_logs() as logs:
        house.ends(1, -9)
        house.turn(LONGEST_S)
    assert ("end_dialogs", 1) in house.edge.said
    assert house.starts(1) == 1
    assert reasons(logs) == ["worker-1 has died (signal 9)"]


def test_one_that_does_not_end_is_killed() -> None:
    house = House(workers=2)
    house.ready()
    house.ending(DRAIN_S)
    house.ends(0, 0)
    child = house[1].child
    assert isinstance(child, FakeChild)
    house.turn(DRAIN_S + GRACE_S - 0.1)
    assert not child.killed
    house.turn(0.2)
    assert child.killed


def test_one_that_a_kill_does_not_end_is_waited_for() -> None:
    """As one that a disk holds: no turn without an end, and a word a minute."""
    house = House(workers=1)
    house.ready()
    house.ending(DRAIN_S)
    house.now += DRAIN_S + GRACE_S
    with capture_logs() as logs:
        for _ in range(10):
            house.turn()
            assert house.supervisor.due(house.now) >= house.now + COUNT_S
            house.now = house.supervisor.due(house.now)
    assert len(reasons(logs)) == 1
    with capture_logs() as logs:
        house.ending(0.0)
        house.turn(GRACE_S)
    assert reasons(logs) == ["worker-0 does not end; it is killed"]


def test_one_that_becomes_ready_while_all_drain_is_not_looked_at_again_and_again() -> None:
    house = House(workers=2)
    house.ready(0)
    house.ending(DRAIN_S)
    house.ready(1)
    house.turn(SILENT_S + 1)
    assert house.supervisor.due(house.now) > house.now


def test_one_that_becomes_ready_too_late_gets_no_calls() -> None:
    house = House()
    house.ready(0)
    house.ending(DRAIN_S)
    house.ready(1)
    assert house.edge.active == {0}


def test_the_edge_that_dies_while_all_drain_comes_back_for_the_calls_in_progress() -> None:
    house = House()
    house.ready()
    house.ending(DRAIN_S)
    house.edge.said.clear()
    house.supervisor.care.died(house.now)
    house.turn()
    assert house.edge.starts == 2
    assert ("drain", 0) in house.edge.said


# --- when to look again ---


def test_it_looks_again_when_something_is_due() -> None:
    house = House(workers=2)
    house.ready()
    assert house.supervisor.due(house.now) > house.now + 1
    house.ends(0, 1)
    house.turn()
    house.ends(0, 1)
    assert house.supervisor.due(house.now) == pytest.approx(house.now + 0.5)


def test_more_workers() -> None:
    house = House(workers=1)
    house.ready()
    house.supervisor.care.change("plan")
    house.supervisor.add(house.place("worker-1", 1))
    house.turn()
    house.ready(1)
    assert house.edge.said[-3:] == [("change", "plan"), ("end_dialogs", 1), ("activate", 1)]


@pytest.mark.parametrize("lived_s", [0.0, LIVED_S - 1])
def test_back_off_is_for_those_that_die_soon(lived_s: float) -> None:
    backoff = Backoff()
    now, waits = 0.0, []
    for _ in range(4):
        backoff.started(now)
        now += lived_s
        waits.append(backoff.died(now))
    assert waits == [0.0, 0.5, 1.0, 2.0]
    backoff.started(now)
    assert backoff.died(now + LIVED_S) == 0.0


def test_what_else_is_missing_stands_in_the_status() -> None:
    house = House(workers=1)
    house.supervisor._lacks = lambda: ["the shared board of operators is away"]
    assert house.supervisor._status().endswith("; the shared board of operators is away")
