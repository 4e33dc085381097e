"""Workers that answer late, or die: a call is one for its caller, whoever has it.

The last message before a crash goes to nobody else; a kill costs no caller a call.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from sipagent.edge.configuration import TRIES_AFTER_DEATH
from sipagent.edge.plan import GIVEN_UP, HOP_HEADER
from sipagent.softphone.phone import Answering, Call, Phone
from tests.peers.edge import CALLS_EACH, TRUNK, Edge, opened
from tests.peers.sender import Sender

pytestmark = pytest.mark.live

LATE_S = 5.0  # the edge waits for 4
SILENCE_S = 2.0  # after so long without a word the edge asks another worker
RESYNC_S = 6.0  # every 5 s of its own Kamailio compares its clock with the machine's (core/timer.c)
SILENT = Answering(silent=True)
OFFER = (("Content-Type", "application/sdp"),)


# --- a real edge, workers that are phones: late ---


def only(worker: Phone, *methods: str) -> None:
    """It hears nothing but these, of all requests; `del worker._on_request` undoes it."""
    hear = worker._on_request
    worker._on_request = lambda message: hear(message) if message.method in methods else None  # type: ignore[method-assign]


def test_a_late_answer_does_not_reach_the_caller_and_its_worker_can_hang_up(edge: Edge) -> None:
    """Deaf to the word that its call is given up, as one that has answered a moment before it reads it."""
    late = edge.workers[1]
    late.answer = Answering(after_s=LATE_S)
    only(late, "INVITE", "ACK", "BYE", "OPTIONS")
    try:
        before = edge.given(1)
        calls = [edge.answered()[0] for _ in edge.workers]
        (given,) = (one for one in edge.given(1) if one not in before)
        (call,) = (one for one in calls if one.call_id == given)
        (taken,) = (one for one in late.calls if one.call_id == given)
        taken.wait_acked()
        taken.hang_up()
        late.wait_at("200 BYE received")
        answers = [one.message for one in edge.trunk.seen if one.describe() == "200 INVITE received"]
        of_call = {one.header("To") for one in answers if one.header("Call-ID") == given}
        assert len(of_call) == 1, "the caller has one answer"
        assert call.ended_ns is None and edge.statistics.calls == len(calls)
    finally:
        del late._on_request


@pytest.mark.parametrize("answer", [SILENT, Answering(status=None)])
def test_a_worker_is_told_that_its_call_is_given_up(edge: Edge, answer: Answering) -> None:
    late = edge.workers[1]
    late.answer = answer
    before = len(late.seen)
    calls = {edge.answered()[0].call_id for _ in edge.workers}
    given_up = f"{edge.tokens.from_edge};{GIVEN_UP}"
    told = [(one.describe(), one.message) for one in late.seen[before:]]
    (word,) = (one for what, one in told if what == "CANCEL received" and one.header(HOP_HEADER) == given_up)
    assert word.header("Call-ID") in calls
    order = [what for what, one in told if one.header("Call-ID") == word.header("Call-ID")]
    assert order.index("CANCEL received") > order.index("INVITE received")


def test_who_cancels_while_there_is_no_room_leaves_one_receipt(edge: Edge) -> None:
    for _ in range(CALLS_EACH * len(edge.workers)):
        edge.answered()
    for _ in range(5):  # the edge looks again every 50 ms, and may be the first
        call = edge.call(edge.phone(TRUNK))
        call.cancel()
        call.wait_status()
        word = edge.told(call.call_id)
        assert word.status == call.status and word.from_


def test_who_waits_for_room_while_the_edges_clock_catches_up_is_told_that_there_is_none(edge: Edge) -> None:
    """A machine so busy that the clock stood still for longer than a worker may be silent; then it leaps."""
    for _ in range(CALLS_EACH * len(edge.workers)):
        edge.answered()
    (clock,) = (one["PID"] for one in edge.process.rpc.ask("core.psx") if one["DSC"] == "timer")
    os.kill(clock, SIGSTOP)
    time.sleep(SILENCE_S + 1.0)
    os.kill(clock, SIGCONT)
    until = time.monotonic() + RESYNC_S
    while time.monotonic() < until:
        call = edge.call()
        assert call.wait_status() == edge.told(call.call_id).status == 503


def test_an_invite_that_comes_again_when_its_transaction_is_over_is_no_other_call(edge: Edge) -> None:
    edge.work(Answering(status=404, ring=False))
    before = edge.invites()
    with closing(Sender(TRUNK, edge.address)) as sender:
        call_id, packet = sender.invite()
        sender.send(packet)
        sender.wait(call_id)
        time.sleep(4.0)  # the transaction is kept for 2 s after the answer's ACK, and another one
        seen = sum(worker.count("INVITE received") for worker in edge.workers)
        sender.send(packet)
        sender.call()
    assert sum(worker.count("INVITE received") for worker in edge.workers) == seen + 1
    assert edge.invites() == before + 2


# --- ... and dead ---


def pending(edge: Edge, index: int, count: int = 2) -> list[Call]:
    """Calls that a worker has been given, one after the other, and has not read."""
    edge.workers[index].answer = SILENT
    others = [one for one in range(len(edge.workers)) if one != index]
    for other in others:
        edge.process.rpc.deactivate(other)
    found: list[Call] = []
    for _ in range(count):
        found.append(edge.call(edge.phone(TRUNK)))
        edge.until(lambda: found[-1].call_id in edge.given(index), "call for the worker")
    for other in others:
        edge.process.rpc.activate(other)
    return found


def invited(edge: Edge, call: Call) -> list[int]:
    """The workers that have seen this call, each as often as it has, in the order in which they have."""
    found = [
        (one.at_ns, index)
        for index, worker in enumerate(edge.workers)
        for one in worker.seen
        if one.describe() == "INVITE received" and one.message.header("Call-ID") == call.call_id
    ]
    return [index for _, index in sorted(found)]


def test_the_last_call_before_a_crash_is_given_to_nobody_else(edge: Edge) -> None:
    first, last = pending(edge, 1)
    given = edge.process.rpc.worker_died(1, crashed=True)
    assert given is not None and given.kind == "INVITE" and given.media == 1 and given.size > 300
    assert given.source.startswith(f"{TRUNK}:")
    edge.work()  # its replacement
    assert last.wait_status() == 500
    first.wait_answered()
    assert invited(edge, last) == [1]
    assert len(invited(edge, first)) == 2
    word = edge.told(last.call_id)
    assert (word.why, word.status) == ("crash", 500)
    assert edge.statistics.calls == 1


def test_after_a_message_within_a_call_no_new_call_is_to_blame(edge: Edge) -> None:
    """Nor is that message given to the replacement: it would die of it, too."""
    up, _, index = edge.answered()
    worker = edge.workers[index]
    (new,) = pending(edge, index, 1)
    only(worker)  # it reads nothing any more
    try:
        before = worker.count("INVITE received")
        with up.loop.changing():
            up._send("INVITE", lambda _: None, OFFER, up._sdp())
        worker.wait_at("INVITE received", before)
        given = edge.process.rpc.worker_died(index, crashed=True)
        assert given is not None and given.kind == "re-INVITE"
        new.wait_answered()
        edge.trunk.wait_at("408 INVITE received")
        assert invited(edge, up).count(index) == 2
    finally:
        del worker._on_request


def test_a_kill_costs_no_caller_a_call(edge: Edge) -> None:
    calls = pending(edge, 1)
    edge.process.rpc.worker_died(1, crashed=False)
    for call in calls:
        call.wait_answered()


def test_a_call_whose_every_worker_is_killed_ends(edge: Edge) -> None:
    """As where the call is what makes the kernel kill them: in the end it is 500."""
    edge.work(SILENT)
    call = edge.call()
    for times in range(1, TRIES_AFTER_DEATH + 3):
        edge.until(lambda times=times: len(invited(edge, call)) >= times, "next worker")  # type: ignore[misc]
        edge.process.rpc.worker_died(invited(edge, call)[times - 1], crashed=False)
    assert call.wait_status() == 500
    assert len(invited(edge, call)) == TRIES_AFTER_DEATH + 2


@pytest.mark.parametrize("crashed", [False, True])
def test_where_there_is_one_worker_calls_wait_for_its_replacement(tmp_path: Path, crashed: bool) -> None:
    with opened(tmp_path / "edge", workers=1, calls=CALLS_EACH) as edge:
        first, last = pending(edge, 0)
        edge.process.rpc.deactivate(0)
        edge.process.rpc.worker_died(0, crashed=crashed)
        edge.until(lambda: len(invited(edge, first)) == 2, "next turn, which nobody hears")
        edge.work()
        edge.process.rpc.activate(0)
        first.wait_answered()
        if crashed:
            assert last.wait_status() == 500 and invited(edge, last) == [0]
        else:
            last.wait_answered()
