"""Several workers and the supervisor's board: whom it lends to one it lends to no other, whatever crosses."""

import pickle
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sipagent.agent.admission import CALM_S, SUSTAINED_S, Admission
from sipagent.agent.board import (
    AskAgain,
    BoardAnswer,
    BoardLost,
    BoardRequest,
    Claim,
    Claimed,
    Leave,
    OperatorsOffered,
    ReleaseOperator,
    Seek,
    Served,
)
from sipagent.agent.calls import HOLD_S
from sipagent.agent.engine import RefusedByEngine
from sipagent.agent.figures import EVERY_S, Figures, Telling, total
from sipagent.agent.operators import RemoteBoardClient, Rota, local_board_client
from sipagent.call import events as e
from sipagent.service.supervisor import Sharing
from tests.driving import DESK, HERE, RULES, SECOND_DESK, Beside, Clock, Stage, invite, staged

TWO = replace(RULES, calls=4)
ONE_DESK = replace(TWO, extensions=(DESK,))
TRANSFERS = replace(TWO, policy=replace(RULES.policy, transfer_targets=(DESK, SECOND_DESK)))

Supervised = Callable[..., "Workers"]


class Workers:
    """Agents with one board beyond links; what is on its way waits for `deliver`."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, rules: Admission, count: int) -> None:
        self.clock, self.rules, self.folder = Clock(), rules, folder
        self.rota = Rota(folder / "round_robin.json")
        self.up: list[deque[BoardRequest]] = [deque() for _ in range(count)]
        self.down: list[deque[BoardAnswer]] = [deque() for _ in range(count)]
        self.board_client = local_board_client(rules, self.rota, lambda job: job())
        self.sharing = Sharing(
            rules, self.board_client, lambda index, answer: self.down[index].append(answer)
        )
        self.stack = ExitStack()
        self.stages = [self._stage(patch, index) for index in range(count)]

    def _stage(self, patch: pytest.MonkeyPatch, index: int) -> Stage:
        worker = Beside(index, self.clock, RemoteBoardClient(self.up[index].append))
        return self.stack.enter_context(staged(self.folder, patch, self.rules, worker=worker))

    @property
    def engaged(self) -> dict[str, str]:
        return self.board_client.board._engaged

    def hear(self) -> None:
        for index, link in enumerate(self.up):
            while link:
                self.sharing.heard(index, link.popleft(), self.clock.now)

    def deliver(self) -> None:
        """That, and what the supervisor answers, until nothing is on its way."""
        while any(self.up) or any(self.down):
            self.hear()
            for stage, link in zip(self.stages, self.down, strict=True):
                while link:
                    stage.turn(link.popleft())

    def seeking(self, index: int) -> int:
        """A caller for whom the worker has just asked."""
        stage = self.stages[index]
        leg = stage.greeted()
        stage.sound_over(leg)
        stage.turn(after_s=stage.agent.admission.policy.window_s)
        assert isinstance(self.up[index][-1], Seek)
        return leg

    def waiting(self, index: int) -> int:
        leg = self.seeking(index)
        self.deliver()
        return leg

    def bridged(self, index: int) -> tuple[int, int]:
        before = set(self.stages[index].engine.dialled)
        caller = self.waiting(index)
        (operator,) = set(self.stages[index].engine.dialled) - before
        self.stages[index].answered(operator)
        self.deliver()
        return caller, operator

    def transferring(self) -> tuple[Stage, int, int]:
        """The first worker, its caller, and an operator whose phone has just asked for the other desk."""
        caller, first = self.bridged(0)
        self.stages[0].tell(first, e.TransferAsked(first, SECOND_DESK))
        return self.stages[0], caller, first

    def given_away(self) -> tuple[Stage, int, int]:
        """A caller whose operator has left by a transfer; the target rings."""
        stage, caller, first = self.transferring()
        self.deliver()
        stage.gone(first)
        self.deliver()
        return stage, caller, max(stage.engine.dialled)

    def rung(self, index: int) -> list[str]:
        return list(self.stages[index].engine.dialled.values())

    def over(self, index: int, *legs: int) -> None:
        """They hang up, and all that was said has been listened to."""
        for leg in legs:
            self.stages[index].gone(leg)
        self.stages[index].listened()
        self.deliver()


@pytest.fixture
def supervised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervised]:
    with ExitStack() as stack:

        def make(rules: Admission = TWO, count: int = 2) -> Workers:
            workers = Workers(tmp_path, monkeypatch, rules, count)
            stack.push(workers.stack)
            return workers

        yield make


@pytest.mark.parametrize("dies", [False, True])
def test_an_operator_who_has_rested_is_rung_in_that_moment(supervised: Supervised, dies: bool) -> None:
    """Also one who talked in a worker that died."""
    workers = supervised(replace(ONE_DESK, wrap_up_s=30.0))
    legs = workers.bridged(0)
    workers.waiting(1)
    if dies:
        workers.sharing.gone(0, workers.clock.now)
        workers.deliver()
    else:
        workers.over(0, *legs)
    assert workers.rung(1) == []
    due = workers.sharing.due()
    assert due == workers.clock.now + 30.0
    workers.clock.now = due
    workers.sharing.tick(due)
    workers.deliver()
    assert workers.rung(1) == [DESK]


@pytest.mark.parametrize("heard", [True, False])
def test_an_offer_that_crosses_the_end_of_the_call_is_given_back(supervised: Supervised, heard: bool) -> None:
    """The question is answered by then, or still on its way."""
    workers = supervised(ONE_DESK)
    caller = workers.seeking(0)
    if heard:
        workers.hear()
    workers.stages[0].gone(caller, 487)
    workers.stages[0].listened()
    workers.deliver()
    assert (workers.rung(0), workers.board_client.board.waiting, workers.engaged) == ([], (), {})
    assert (workers.sharing._worker_of, workers.stages[0].agent.lending._calls) == ({}, {})
    workers.bridged(1)
    assert workers.rung(1) == [DESK]


def test_without_a_supervisor_nobody_is_rung_and_conversations_go_on(supervised: Supervised) -> None:
    """The caller hears music up to the end, from the moment in which nothing is answered."""
    workers = supervised(TRANSFERS)
    stage, _, operator = workers.transferring()
    stage.engine.capacity = 8
    waits = workers.seeking(0)
    assert stage.hears(waits) == "hold_music"
    stage.turn(BoardLost())
    assert stage.engine.ordered("tell_transfer") == [(operator, 486, True)]
    late = stage.greeted()
    stage.tell(late, e.DtmfPressed(late, "9", "rfc4733"))
    for _ in range(300):
        stage.turn(after_s=0.5)
        for leg in (waits, late):
            if stage.hears(leg) in ("please_hold", "refused"):
                stage.sound_over(leg)
    assert [stage.hears(leg) for leg in (waits, late)] == ["unavailable"] * 2
    assert workers.rung(0) == [DESK]
    stage.listened()
    assert stage.alerts == []  # none until that call ends, whose recording has no sound in it


# --- transfers ---


def test_a_target_that_talks_for_another_worker_is_busy(supervised: Supervised) -> None:
    workers = supervised(TRANSFERS)
    _, first = workers.bridged(0)
    workers.bridged(1)
    workers.stages[0].tell(first, e.TransferAsked(first, SECOND_DESK))
    workers.deliver()
    assert workers.stages[0].engine.ordered("tell_transfer") == [(first, 486, True)]
    assert workers.rung(0) == [DESK]


def test_a_phone_may_hang_up_as_soon_as_its_transfer_is_accepted(supervised: Supervised) -> None:
    """Before the board has been asked: the caller goes on to the colleague."""
    workers = supervised(TRANSFERS)
    stage, caller, first = workers.transferring()
    stage.gone(first)
    workers.deliver()
    assert (caller,) not in stage.engine.ordered("hang_up")
    assert workers.rung(0) == [DESK, SECOND_DESK]
    second = max(stage.engine.dialled)
    stage.answered(second)
    workers.over(0, caller, second)
    assert (stage.receipt().operator, workers.engaged) == (SECOND_DESK, {})


def test_a_caller_who_hangs_up_on_the_way_gives_the_target_back(supervised: Supervised) -> None:
    workers = supervised(TRANSFERS)
    _, caller, first = workers.transferring()
    workers.hear()
    workers.over(0, caller, first)
    assert (workers.rung(0), workers.engaged) == ([DESK], {})


def test_a_target_that_is_offered_to_the_same_call_meanwhile_is_not_given_back(
    supervised: Supervised,
) -> None:
    """The hunt had asked for one more, when another phone was answered; the offer meets the claim."""
    workers = supervised(TRANSFERS)
    _, first = workers.bridged(0)
    (call,) = workers.stages[0].agent.live
    workers.sharing.heard(0, Seek(call.id, (DESK,), 1), workers.clock.now)
    workers.stages[0].tell(first, e.TransferAsked(first, SECOND_DESK))
    workers.deliver()
    assert workers.rung(0) == [DESK, SECOND_DESK]
    assert workers.engaged == {DESK: call.id, SECOND_DESK: call.id}


def test_who_is_rung_again_before_the_first_leg_is_gone_stays_lent(supervised: Supervised) -> None:
    workers = supervised()
    _, operator = workers.bridged(0)
    (call,) = workers.stages[0].agent.live
    call.operators[999] = DESK
    workers.stages[0].agent.lending.release(call, operator)
    workers.deliver()
    assert workers.engaged == {DESK: call.id}


def test_who_gave_the_caller_away_and_talks_elsewhere_is_not_rung_for_him(supervised: Supervised) -> None:
    workers = supervised(TRANSFERS)
    stage, caller, target = workers.given_away()
    workers.bridged(1)
    assert workers.rung(1) == [DESK]
    stage.gone(target, 486)
    workers.deliver()
    assert workers.rung(0).count(DESK) == 1  # the hunt goes on, with the other one
    assert stage.hears(caller) == "hold_music" and workers.engaged[DESK].split("-")[1] == "w1"


# --- behind the edge ---


def test_a_worker_without_room_leaves_no_receipt_behind_the_edge(supervised: Supervised) -> None:
    """The edge asks the next one; who finds none anywhere has one receipt, which the supervisor writes."""
    workers = supervised(replace(TWO, calls=1))
    stage = workers.stages[0]
    workers.bridged(0)
    with capture_logs() as logs:
        for draining in (False, True):
            stage.agent.draining = draining
            late = stage.invite()
            assert stage.engine.ordered("reject")[-1] == (late, 503, 10)
            stage.gone(late, 503)
        stage.turn(RefusedByEngine(503, HERE, invite()), RefusedByEngine(486, HERE, invite()))
    told = [(line["status"], line["why"]) for line in logs if line["event"] == "call_passed_on"]
    assert told == [(503, "legs"), (503, "draining"), (503, "engine"), (486, "engine")]
    assert len(stage.receipts()) == 1 and stage.alerts == []
    stage.turn(RefusedByEngine(488, HERE, invite()))
    stage.turn(after_s=HOLD_S)  # the edge has not given it up meanwhile
    assert [receipt.outcome for receipt in stage.receipts()] == [None, "rejected"]


# --- what is counted ---

ALLOWED, REFUSED = ("connected", "allowed", "silence"), ("connected", "refused", "dtmf")


def counted(calls: int, **ended: int) -> Figures:
    endings = {"allowed": ALLOWED, "refused": REFUSED}
    return Figures(calls, {endings[name]: count for name, count in ended.items()}, 0, {"tap": calls}, calls)


def test_the_machine_is_late_where_many_workers_are_for_a_while(supervised: Supervised) -> None:
    """One alone is not the machine, nor are many for a moment; who has no call says nothing of it."""
    sharing = Sharing(TWO, supervised().board_client, lambda *_: None)

    def told(late: int, now: float, busy: int = 24) -> bool:
        for worker in range(30):
            sharing.heard(worker, Figures(calls=int(worker < busy), late=int(worker < late)), now)
        return sharing.late(now)

    assert [told(2, now) for now in (0.0, SUSTAINED_S)] == [False, False]
    assert [told(3, 10.0), told(0, 10.5), told(3, 10.0 + SUSTAINED_S)] == [False, False, False]
    assert sharing.may_be_late and [told(3, 11.0 + SUSTAINED_S), told(24, 12.0 + SUSTAINED_S)] == [
        False,
        True,
    ]
    now = 12.0 + SUSTAINED_S
    assert [told(2, now + 1), told(0, now + CALM_S - 0.1), told(2, now + CALM_S)] == [True, True, False]
    assert not sharing.may_be_late
    assert [told(30, now + after, busy=1) for after in (10.0, 20.0)] == [False, False]
    assert [told(2, now + after, busy=3) for after in (30.0, 30.0 + SUSTAINED_S)] == [False, True]
    sharing.gone(0, now + 40.0)
    assert sharing.figures().late == 1


def test_the_whole_is_the_sum_of_all_workers_and_never_goes_back(supervised: Supervised) -> None:
    """With what the edge has rejected, and strangers there, over its restart."""
    rejected = ("rejected", "undecided", "sip")
    workers = supervised()
    beside = Figures(ended={rejected: 7})
    sharing = Sharing(TWO, workers.board_client, lambda *_: None, lambda: beside)
    sharing.heard(0, counted(2, allowed=5), 0.0)
    sharing.heard(1, counted(1, allowed=3, refused=1), 0.0)
    assert sharing.figures() == Figures(3, {ALLOWED: 8, REFUSED: 1, rejected: 7}, 0, {"tap": 3}, 3)
    sharing.gone(0, 1.0)
    assert (sharing.figures().calls, sharing.figures().ended[ALLOWED]) == (1, 8)
    sharing.heard(0, counted(1, refused=2), 2.0)  # its successor begins at nothing
    assert sharing.figures() == Figures(2, {ALLOWED: 8, REFUSED: 3, rejected: 7}, 0, {"tap": 4}, 4)
    sharing.gone(0, 3.0)
    sharing.gone(0, 4.0)
    assert sharing.figures().ended == {ALLOWED: 8, REFUSED: 3, rejected: 7}
    seen = []
    for count in (3, 3, 10, 2, 4):
        sharing.dropped(count, 2 * count, 5)
        seen.append(sharing.figures().strangers)
    assert seen == [3, 3, 10, 12, 14]
    assert (sharing.figures().malformed, sharing.figures().unsupported) == (28, 5)


def test_phones_and_last_messages_are_summed_by_their_names() -> None:
    busy, off = ("sip:201@pbx", "busy"), ("sip:202@pbx", "unreachable")
    shape, other = ("INVITE", "1", "500"), ("ACK", "none", "500")
    sum = total(
        [
            Figures(crashes=2, fatal={shape: 2}, phones={busy: 2}),
            Figures(crashes=2, fatal={shape: 1, other: 1}, phones={busy: 1, off: 4}),
        ]
    )
    assert (sum.crashes, sum.fatal, sum.phones) == (4, {shape: 3, other: 1}, {busy: 3, off: 4})
    assert total([]) == Figures()


def test_a_worker_tells_its_figures_when_they_have_changed(supervised: Supervised) -> None:
    workers = supervised()
    agent, told = workers.stages[0].agent, list[Figures]()

    def figures() -> Figures:
        """But for what changes by itself: a busy machine is late, and rows wait for the database."""
        return replace(agent.figures(), late=0, waiting=0)

    telling = Telling(figures, told.append)
    telling.look(1000.0)
    assert [sum(one.faults.values()) for one in told] == [0]  # of which there may be some
    workers.bridged(0)
    telling.look(1000.0 + EVERY_S / 2)
    assert told.pop().calls == 0 and told == []
    for at in (1001.0, 1002.0, 1003.0):
        telling.look(at)
    assert [one.calls for one in told] == [1]
    agent.tally.count_stranger()
    telling.tell()
    telling.tell()
    assert [one.strangers for one in told] == [0, 1]


def test_what_is_said_goes_through_a_pipe() -> None:
    for message in (
        Seek("id", (DESK,), 2), Claim("id", DESK), ReleaseOperator("id", DESK, True, False), Served("id"),
        Leave("id"), OperatorsOffered("id", (DESK,)), Claimed("id", DESK, True), AskAgain("id"),
        counted(2, allowed=5),
    ):  # fmt: skip
        assert pickle.loads(pickle.dumps(message)) == message
