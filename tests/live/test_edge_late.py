"""Workers that answer late: a call is one, for its caller and in the receipts, whoever has it in the end."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from sipagent.edge import configuration
from sipagent.edge.plan import GIVEN_UP, HOP_HEADER
from sipagent.softphone.phone import Answering, Call, Loop, Phone
from sipagent.softphone.sip import Message
from tests.live.test_workers import WORKERS, Town
from tests.peers import edge as scene
from tests.peers.agent import Json
from tests.peers.edge import CALLS_EACH, TRUNK, Edge
from tests.peers.sender import SDP, Sender

pytestmark = pytest.mark.live

LATE_S = 5.0  # the edge waits for 4
SILENCE_S = 2.0  # after so long without a word the edge asks another worker
RESYNC_S = 6.0  # every 5 s of its own Kamailio compares its clock with the machine's (core/timer.c)
HELD_S = 5.5  # after the end of such a call its receipt would be written


# --- a real edge, workers that are phones ---


def deaf(worker: Phone) -> None:
    """To the word that its call is given up, as one that has answered a moment before it reads it."""
    hear = worker._on_request
    worker._on_request = lambda message: None if message.method == "CANCEL" else hear(message)  # type: ignore[method-assign]


def test_a_late_answer_does_not_reach_the_caller_and_its_worker_can_hang_up(edge: Edge) -> None:
    late = edge.workers[1]
    late.answer = Answering(after_s=LATE_S)
    deaf(late)
    try:
        before = late.count("INVITE received")
        calls = [edge.answered()[0] for _ in edge.workers]
        assert late.count("INVITE received") == before + 1
        call = next(one for one in calls if any(other.call_id == one.call_id for other in late.calls))
        (taken,) = (one for one in late.calls if one.call_id == call.call_id)
        taken.wait_acked(scene.PATIENCE_S)
        taken.hang_up()
        late.wait_at("200 BYE received")
        answers = [one.message for one in edge.trunk.seen if is_answer(one.message, call)]
        assert len({one.header("To") for one in answers}) == 1, "the caller has one answer"
        assert call.ended_ns is None and edge.statistics.calls == len(calls)
    finally:
        del late._on_request


def is_answer(message: Message, call: Call) -> bool:
    ours = message.status == 200 and message.header("Call-ID") == call.call_id
    return ours and message.method == "INVITE"


@pytest.mark.parametrize("answer", [Answering(silent=True), Answering(status=None)])
def test_a_worker_is_told_that_its_call_is_given_up(edge: Edge, answer: Answering) -> None:
    late = edge.workers[1]
    late.answer = answer
    before = len(late.seen)
    calls = {edge.answered()[0].call_id for _ in edge.workers}
    told = [one.message for one in late.seen[before:] if one.describe() == "CANCEL received"]
    (word,) = (one for one in told if one.header(HOP_HEADER) == f"{edge.tokens.from_edge};{GIVEN_UP}")
    assert word.header("Call-ID") in calls
    order = [
        one.describe() for one in late.seen[before:] if one.message is word or "INVITE" in one.describe()
    ]
    assert order.index("CANCEL received") > order.index("INVITE received")


@pytest.fixture
def slow_edge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edge]:
    """One that stands still for a moment after it has given up on a worker, as on a busy machine."""
    slow = re.sub(r"(?s)(route\[GIVE_UP\] \{.*?)\n\}", r'\1\n    usleep("100000");\n}', configuration.ROUTES)
    monkeypatch.setattr(configuration, "ROUTES", slow)
    with Loop() as loop:
        edge = Edge(tmp_path / "edge", loop, scene.plan())
        try:
            yield edge.start()
        finally:
            edge.close()


def test_what_a_worker_says_to_being_given_up_is_no_sign_that_it_had_heard(slow_edge: Edge) -> None:
    """It answers 481 where it has never read the INVITE; the call is another worker's all the same."""
    late = slow_edge.workers[1]
    late.answer = Answering(silent=True)
    for _ in slow_edge.workers:
        slow_edge.answered()
    assert late.count("CANCEL received") == late.count("481 CANCEL sent") == 1


def test_who_cancels_while_no_worker_says_anything_leaves_a_receipt(edge: Edge) -> None:
    for worker in edge.workers:
        worker.answer = Answering(silent=True)
    before, call = len(edge.rejected), edge.call()
    call.cancel()
    edge.until(lambda: call.status == 487, "end of the INVITE")
    edge.until(lambda: len(edge.rejected) > before, "word of the call")
    (word,) = edge.rejected[before:]
    assert (word.call_id, word.status, word.why) == (call.call_id, 487, "unanswered")
    for index in range(len(edge.workers)):
        edge.process.rpc.activate(index)


def test_who_cancels_while_there_is_no_room_leaves_one_receipt(edge: Edge) -> None:
    taken = [edge.answered()[0] for _ in range(CALLS_EACH * len(edge.workers))]
    for again in range(5):  # the edge looks again every 50 ms, and may be the first
        before, call = len(edge.rejected), edge.call(edge.phone(TRUNK))
        call.cancel()
        edge.until(partial(has_ended, call), "end of the INVITE")
        edge.until(partial(is_told, edge, before), "word of the call")
        assert [one.call_id for one in edge.rejected[before:]] == [call.call_id], again
        assert edge.rejected[before].status == call.status
        assert edge.rejected[before].from_
    for call in taken:
        call.hang_up()


def test_who_waits_for_room_while_the_edges_clock_catches_up_is_told_that_there_is_none(edge: Edge) -> None:
    """A machine so busy that the clock stood still for longer than a worker may be silent; then it leaps."""
    taken = [edge.answered()[0] for _ in range(CALLS_EACH * len(edge.workers))]
    (clock,) = (one["PID"] for one in edge.process.rpc.ask("core.psx") if one["DSC"] == "timer")
    before = len(edge.rejected)
    os.kill(clock, SIGSTOP)
    time.sleep(SILENCE_S + 1.0)
    os.kill(clock, SIGCONT)
    until, waited = time.monotonic() + RESYNC_S, []
    while time.monotonic() < until:
        waited.append(edge.call())
        assert waited[-1].wait_status(scene.PATIENCE_S) == 503
    edge.until(lambda: len(edge.rejected) == before + len(waited), "word of each call")
    assert {one.call_id for one in edge.rejected[before:]} == {one.call_id for one in waited}
    for one in taken:
        one.hang_up()


def has_ended(call: Call) -> bool:
    return call.status is not None


def is_told(edge: Edge, before: int) -> bool:
    return len(edge.rejected) > before


def test_an_invite_that_comes_again_when_its_transaction_is_over_is_no_other_call(edge: Edge) -> None:
    sender = Sender(TRUNK, edge.address)
    for worker in edge.workers:
        worker.answer = Answering(status=404, ring=False)
    before = [worker.count("INVITE received") for worker in edge.workers]
    call_id, packet = sender.invite()
    sender.send(packet)
    edge.until(lambda: call_id in sender.answers, "answer")
    time.sleep(4.0)  # the transaction is kept for 2 s after the answer's ACK, and another one
    sender.send(packet)
    other, packet = sender.invite()
    sender.send(packet)
    edge.until(lambda: other in sender.answers, "answer to the next call")
    after = [worker.count("INVITE received") for worker in edge.workers]
    assert sum(after) - sum(before) == 2


def test_a_call_that_was_refused_in_passing_is_told_of_once(edge: Edge) -> None:
    sender = Sender(TRUNK, edge.address)
    edge.process.rpc.drain()
    try:
        before, (call_id, packet) = len(edge.rejected), sender.invite(SDP)
        for _ in range(3):
            sender.answers.pop(call_id, None)
            sender.send(packet)
            edge.until(lambda: call_id in sender.answers, "answer, each time")
        other, packet = sender.invite()
        sender.send(packet)
        edge.until(lambda: any(one.call_id == other for one in edge.rejected), "word of the next call")
        assert Counter(one.call_id for one in edge.rejected[before:]) == {call_id: 1, other: 1}
    finally:
        edge.process.rpc.ask("cfg.seti", "edge", "draining", 0)


# --- the whole agent, workers that stand still ---


@pytest.fixture(scope="module")
def late_town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with ExitStack() as stack:
        town = Town(tmp_path_factory.mktemp("late"), stack)
        stack.callback(town.agent.close)
        town.start()
        yield town


@contextmanager
def stopped(town: Town, *names: str) -> Iterator[None]:
    pids = [town.pid(name) for name in names]
    for pid in pids:
        os.kill(pid, SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, SIGCONT)


def receipts_of(town: Town, calls: list[Call], since: float) -> list[list[Json]]:
    """Of each call, once none can come any more."""
    time.sleep(max(0.0, since + HELD_S - time.monotonic()))
    ids = [call.call_id for call in calls]
    until = time.monotonic() + 20
    while not {*ids} <= {one["call_id"] for one in town.agent.receipts()} and time.monotonic() < until:
        time.sleep(0.1)
    rows = town.agent.receipts()
    return [[one for one in rows if one["call_id"] == id] for id in ids]


def test_a_call_that_another_worker_took_has_its_receipt_alone(late_town: Town) -> None:
    with stopped(late_town, "worker-0"):
        bridges = late_town.connect(3)
    late_town.agent.wait_for("call_given_up", process="worker-0")
    for bridge in bridges:
        bridge.hang_up()
    found = receipts_of(late_town, [one.caller for one in bridges], time.monotonic())
    assert [len(rows) for rows in found] == [1, 1, 1]
    assert [rows[0]["outcome"] for rows in found] == ["connected"] * 3
    assert all(rows[0]["answered_at"] for rows in found)
    for bridge in late_town.connect(5):  # the leg that was answered late is free again
        bridge.hang_up()


def test_a_call_that_nobody_answered_in_time_has_the_edges_receipt(late_town: Town) -> None:
    with stopped(late_town, *(f"worker-{index}" for index in range(WORKERS))):
        call = late_town.callers[0].call(late_town.agent.uri())
        assert call.wait_status(20) == 500
    (rows,) = receipts_of(late_town, [call], time.monotonic())
    assert [(e["what"], e["by"]) for row in rows for e in row["events"]] == [
        ("rejected with 500", "edge: unanswered")
    ]


def test_who_cancelled_before_any_worker_read_it_has_one_receipt(late_town: Town) -> None:
    with stopped(late_town, *(f"worker-{index}" for index in range(WORKERS))):
        call = late_town.callers[0].call(late_town.agent.uri())
        call.cancel()
        late_town.loop.wait_for(lambda: call.status == 487, 20, "end of the INVITE")
    (rows,) = receipts_of(late_town, [call], time.monotonic())
    (event,) = (event for row in rows for event in row["events"])
    # full: where the edge has missed the workers' answers to OPTIONS by then
    assert (event["what"], event["by"] in ("edge: unanswered", "edge: full")) == ("rejected with 487", True)


def test_a_caller_who_hangs_up_at_once_has_one_receipt(late_town: Town) -> None:
    call = late_town.callers[0].call(late_town.agent.uri())
    call.end()
    call.wait_ended()
    (rows,) = receipts_of(late_town, [call], time.monotonic())
    assert len(rows) == 1
