"""A line of callers before two desks, over three workers, while processes die or stand still."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from signal import SIGCONT, SIGSTOP

import pytest

from sipagent.softphone.phone import Answering, Call
from tests.bench import waiting
from tests.live import calls
from tests.live.calls import SECOND, shown
from tests.live.test_workers import END_S, Town

pytestmark = pytest.mark.live

REST_S = 1.5
PATIENCE_S = 30.0
ANSWERS = Answering(after_s=0.1)
RINGS = Answering(status=None)


class Line(Town):
    """Two desks, and callers who wait before them, each known by the last digit of the number."""

    def call(self, number: int) -> Call:
        """One more who waits, or is rung for, before anybody else calls."""
        call = self.callers[number].call(self.agent.uri())
        call.rtp.wait_tone(calls.MUSIC_HZ, PATIENCE_S)
        return call

    def talks(self, number: int) -> Call:
        """The operator's call, once that caller and an operator hear each other."""
        talk = self.rung_for(number)
        talk.rtp.wait_tone(calls.CALLER_HZ, PATIENCE_S)
        return talk

    def rung_for(self, number: int) -> Call:
        """The call at a desk that shows this caller."""
        self.loop.wait_for(lambda: bool(self.shows(number)), PATIENCE_S, f"desk that rings for {number}")
        return self.shows(number)[-1]

    def shows(self, number: int) -> list[Call]:
        """The calls at desks that have shown this caller and go on."""
        user = self.callers[number].user.removeprefix("+33")
        here = [call for desk in self.desks for call in desk.calls if call.ended_ns is None]
        return [call for call in here if user in shown(call).replace(" ", "")]

    def answer(self, answer: Answering) -> None:
        for desk in self.desks:
            desk.answer = answer

    def worker(self, call: Call) -> str:
        return f"worker-{self.worker_of(call)}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with ExitStack() as stack:
        line = Line(
            tmp_path_factory.mktemp("line") / "agent", stack, desks=2,
            wrap_up_s=REST_S, max_wait_s=120, ring_s=60,
        )  # fmt: skip
        stack.callback(line.agent.close)
        yield line


@pytest.fixture
def line(running: Line) -> Iterator[Line]:
    """With no call up, the past forgotten, and both operators at their desks."""
    running.start()
    running.agent.forget()
    running.answer(ANSWERS)
    time.sleep(REST_S)  # which operators may have from the test before, and nobody tells of
    yield running
    for phone in (*running.callers, *running.desks):
        for call in phone.calls:
            call.end()


def test_a_phone_that_rings_for_a_dead_worker_falls_silent_and_rings_for_the_next_one(line: Line) -> None:
    line.answer(RINGS)
    placed = [line.call(number) for number in range(3)]
    rings, _ = line.rung_for(0), line.rung_for(1)
    name = line.worker(placed[0])
    assert name != line.worker(placed[2]) and not line.shows(2)
    line.answer(ANSWERS)
    killed = line.kill(name)
    assert rings.wait_ended() - killed < END_S * SECOND
    other = line.talks(2)
    assert other.phone is rings.phone
    line.wait_back(name)


def test_a_supervisor_that_stands_still_makes_callers_wait_and_loses_none(line: Line) -> None:
    """Operators hang up and callers come meanwhile; nobody is offered until it goes on."""
    placed = [line.call(number) for number in range(4)]
    began = time.monotonic_ns()
    talks = [line.talks(0), line.talks(1)]
    line.agent.child.signal(SIGSTOP)
    try:
        for talk in talks:
            talk.hang_up()
        placed.append(line.call(4))
        calls.talk(placed[4], 3)
        assert not line.shows(2) and not line.shows(3)
    finally:
        line.agent.child.signal(SIGCONT)
    others = [line.talks(2), line.talks(3)]
    heard = [call.rtp.listen(began, time.monotonic_ns()) for call in placed[2:4]]
    assert max(one.longest_silence_s() for one in heard) <= 2.0
    assert not line.shows(4)
    others[0].hang_up()
    line.talks(4)


def test_twenty_callers_are_served_in_their_order_by_two_operators() -> None:
    """Whatever worker has them: none is lost, none overtaken, no phone is rung that is in use."""
    with waiting.queue() as office:
        served = waiting.serve(office, 1.0)
    assert [row["outcome"] for row in served.receipts] == ["connected"] * waiting.CALLERS
    assert (served.lost, served.overtaken, served.doubled) == ([], [], [])
    assert len({turn.operator for turn in served.turns}) == waiting.DESKS
    assert max(turn.silence_s for turn in served.turns) <= 2.0
    assert (len(served.recordings), served.incomplete) == (waiting.CALLERS, [])
    workers = {row["id"].split("-")[1] for row in served.receipts}
    assert len(workers) == waiting.CALLERS // 2
