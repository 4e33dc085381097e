"""Workers that die. The last message before a crash goes to nobody else; a kill costs no caller a call."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from signal import SIGABRT, SIGCONT, SIGKILL, SIGSTOP, Signals

import pytest

from sipagent.edge.configuration import TRIES_AFTER_DEATH
from sipagent.edge.files import places
from sipagent.edge.rpc import EdgeRpc
from sipagent.softphone.phone import Answering, Call, Loop, Phone
from tests.live.test_metrics import figures
from tests.live.test_workers import WORKERS, Town
from tests.peers import edge as scene
from tests.peers.edge import CALLS_EACH, TRUNK, Edge
from tests.tapping import wait_for

pytestmark = pytest.mark.live

SDP = (("Content-Type", "application/sdp"),)


# --- a real edge, workers that are phones ---


@pytest.fixture
def lone_edge(tmp_path: Path) -> Iterator[Edge]:
    """Of a house with one worker."""
    with Loop() as loop:
        edge = Edge(tmp_path / "edge", loop, scene.plan(workers=1, calls=CALLS_EACH))
        try:
            yield edge.start()
        finally:
            edge.close()


def pending(edge: Edge, index: int, count: int = 2) -> list[Call]:
    """Calls that a worker has been given, one after the other, and has not read."""
    worker = edge.workers[index]
    worker.answer = Answering(silent=True)
    others = [one for one in range(len(edge.workers)) if one != index]
    for other in others:
        edge.process.rpc.deactivate(other)
    found = []
    for _ in range(count):
        before = worker.count("INVITE received")
        found.append(edge.call(edge.phone(TRUNK)))
        worker.wait_at("INVITE received", before)
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
    edge.workers[1].answer = Answering(after_s=0.05)  # its replacement
    assert last.wait_status(scene.PATIENCE_S) == 500
    first.wait_answered(scene.PATIENCE_S)
    assert invited(edge, last) == [1]
    assert len(invited(edge, first)) == 2
    edge.until(lambda: last.call_id in [one.call_id for one in edge.rejected], "receipt")
    (word,) = (one for one in edge.rejected if one.call_id == last.call_id)
    assert (word.why, word.status) == ("crash", 500)
    assert edge.statistics.calls == 1


def test_after_a_message_within_a_call_no_new_call_is_to_blame(edge: Edge) -> None:
    """Nor is that message given to the replacement: it would die of it, too."""
    up, _, index = edge.answered()
    worker = edge.workers[index]
    (new,) = pending(edge, index, 1)
    worker._on_request = lambda message: None  # type: ignore[method-assign]  # it reads nothing any more
    try:
        before = worker.count("INVITE received")
        with up.loop.changing():
            up._send("INVITE", lambda _: None, SDP, up._sdp())
        worker.wait_at("INVITE received", before)
        given = edge.process.rpc.worker_died(index, crashed=True)
        assert given is not None and given.kind == "re-INVITE"
        new.wait_answered(scene.PATIENCE_S)
        edge.until(lambda: "408 INVITE received" in seen(up), "end of the transaction")
        assert invited(edge, up).count(index) == 2
    finally:
        del worker._on_request


def seen(call: Call) -> list[str]:
    """What a caller's phone has seen of this call."""
    return [one.describe() for one in call.phone.seen if one.message.header("Call-ID") == call.call_id]


def test_an_answer_of_a_phone_may_be_the_last_message(edge: Edge) -> None:
    edge.dialled(2)
    given = edge.process.rpc.worker_died(2, crashed=True)
    assert given is not None and (given.kind, given.media, given.call) == ("2xx of INVITE", 1, "")


def test_a_kill_costs_no_caller_a_call(edge: Edge) -> None:
    calls = pending(edge, 1)
    edge.process.rpc.worker_died(1, crashed=False)
    for call in calls:
        call.wait_answered(scene.PATIENCE_S)


def test_a_call_whose_every_worker_is_killed_ends(edge: Edge) -> None:
    """As where the call is what makes the kernel kill them: in the end it is 500."""
    for worker in edge.workers:
        worker.answer = Answering(silent=True)
    call = edge.call()
    for times in range(TRIES_AFTER_DEATH + 2):
        edge.until(partial(is_given, edge, call, times + 1), "next worker")
        edge.process.rpc.worker_died(invited(edge, call)[times], crashed=False)
    assert call.wait_status(scene.PATIENCE_S) == 500
    assert len(invited(edge, call)) == TRIES_AFTER_DEATH + 2


def is_given(edge: Edge, call: Call, times: int) -> bool:
    return len(invited(edge, call)) >= times


@pytest.mark.parametrize("crashed", [False, True])
def test_where_there_is_one_worker_calls_wait_for_its_replacement(lone_edge: Edge, crashed: bool) -> None:
    edge = lone_edge
    first, last = pending(edge, 0)
    edge.process.rpc.deactivate(0)
    edge.process.rpc.worker_died(0, crashed=crashed)
    edge.until(lambda: len(invited(edge, first)) == 2, "next turn, which nobody hears")
    edge.workers[0].answer = Answering(after_s=0.05)
    edge.process.rpc.activate(0)
    first.wait_answered(scene.PATIENCE_S)
    if crashed:
        assert last.wait_status() == 500 and invited(edge, last) == [0]
    else:
        last.wait_answered(scene.PATIENCE_S)


# --- the whole agent: workers that are killed, and such as crash, with messages in their sockets ---


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with ExitStack() as stack:
        town = Town(tmp_path_factory.mktemp("deaths") / "agent", stack)
        town.start()
        stack.callback(town.agent.child.stop)
        yield town
        assert town.agent.stop() == 0


class Stopped:
    """A worker that stands still, until it ends by a signal. The calls that it is given lie in its socket."""

    def __init__(self, town: Town, index: int) -> None:
        self.town, self.index, self.pid = town, index, town.pid(f"worker-{index}")
        ports = town.agent.tables["edge"]["worker_ports"]
        plan = scene.plan(first_port=int(ports.partition("-")[0]))
        self._rpc = EdgeRpc(places(town.agent.directory / "edge").rpc, plan)
        os.kill(self.pid, SIGSTOP)

    def give(self, caller: Phone) -> Call:
        """Have it given a call."""
        others = [other for other in range(WORKERS) if other != self.index]
        for other in others:
            self._rpc.deactivate(other)
        call = caller.call(self.town.agent.uri())
        self.until_given(caller)
        for other in others:
            self._rpc.activate(other)
        return call

    def until_given(self, caller: Phone) -> None:
        """Until the last message that it was given is this phone's."""
        ip, port = caller.address
        wait_for(lambda: str(self._rpc.last_given(self.index)).endswith(f" {ip}:{port}"))

    def end(self, number: Signals) -> None:
        """Have it die before it reads a word."""
        self.town.killed = self.pid
        os.kill(self.pid, number)
        os.kill(self.pid, SIGCONT)

    def wait_back(self) -> None:
        self.town.wait_back(f"worker-{self.index}")


@pytest.fixture
def town(running: Town) -> Iterator[Town]:
    """With no call up and the past forgotten."""
    running.wait_at_rest()
    running.agent.forget()
    yield running
    for phone in (*running.callers, *running.desks):
        for call in phone.calls:
            call.end()


def test_the_last_call_before_an_abort_ends_and_nobody_else_does(town: Town) -> None:
    worker = Stopped(town, 1)
    first, last = (worker.give(caller) for caller in town.callers[:2])
    worker.end(SIGABRT)
    assert last.wait_status(20) == 500
    first.wait_answered(20)
    wait_for(lambda: bool(crashes(town)))
    (said,) = crashes(town)
    ip, port = town.callers[1].address
    last_message = rf"INVITE, media lines: 1, \d+ bytes, from {ip}:{port}"
    assert re.fullmatch(rf"worker-1 crashed; the last message it was given: {last_message}", said)
    wait_for(lambda: last.call_id in {one["call_id"] for one in town.agent.receipts()})
    rows = [one for one in town.agent.receipts() if one["call_id"] == last.call_id]
    assert [(e["what"], e["by"]) for one in rows for e in one["events"]] == [
        ("rejected with 500", "edge: crash")
    ]
    fatal = {name: n for name, n in figures(town.figures).items() if "fatal_messages_total" in name}
    assert list(fatal.values()) == [1] and 'media="1",message="INVITE"' in next(iter(fatal))
    worker.wait_back()
    started = [e["name"] for e in town.agent.log_events if e.get("event") == "child_started"]
    assert sorted(name for name in started if "worker" in name) == [
        "worker-0",
        "worker-1",
        "worker-1",
        "worker-2",
    ]


def crashes(town: Town) -> list[str]:
    """What was said of workers that crashed."""
    reasons = [str(e.get("reason")) for e in town.agent.log_events if e.get("event") == "alert"]
    return [one for one in reasons if "the last message it was given" in one]


def test_a_killed_worker_costs_no_caller_a_call(town: Town) -> None:
    worker = Stopped(town, 2)
    given = [worker.give(caller) for caller in town.callers[:2]]
    worker.end(SIGKILL)
    for call in given:
        call.wait_answered(20)
    worker.wait_back()


def test_a_call_that_waits_outlives_the_abort_by_a_message_of_another(town: Town) -> None:
    (bridge,) = town.connect(1)
    worker = Stopped(town, town.worker_of(bridge.caller))
    waits = worker.give(town.callers[1])
    with town.loop.changing():
        bridge.caller._send("INVITE", lambda _: None, SDP, bridge.caller._sdp())
    worker.until_given(town.callers[0])
    worker.end(SIGABRT)
    waits.wait_answered(20)
    bridge.caller.wait_ended()
    worker.wait_back()
