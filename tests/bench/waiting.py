"""Twenty callers for two operators, live: ten workers behind the edge, and one board for them all.

The order is that in which they began to wait. The board hears of it over the workers' links, so whose windows
closed within `TOGETHER_S` of each other have no order; nor have two who are rung as close together.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from sipagent.softphone.loop import MS, SECOND
from sipagent.softphone.phone import Answering, Call, Loop, Phone
from sipagent.softphone.rtp import SteadyTone
from tests.bench import report
from tests.bench.report import Row
from tests.live.calls import CALLER_HZ, OPERATOR_HZ, shown
from tests.peers.agent import NOTICE_S, WINDOW_S, Json, RunningAgent
from tests.peers.process import free_ports

CALLERS, DESKS = 20, 2
EVERY_S = 0.4  # a new caller
TOGETHER_S = 0.2
WAITING_S = CALLERS * EVERY_S + NOTICE_S + WINDOW_S + 1  # by then all of them wait
RTP_PORTS, WORKER_PORTS = 16 * 12, CALLERS + 4
START_S, PATIENCE_S = 120.0, 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One caller at one operator's phone; instants are monotonic ns."""

    caller: str
    operator: str
    waits_from: int
    rung: int
    answered: int | None
    ended: int
    silence_s: float  # the longest that the caller heard since then


@dataclass(frozen=True, slots=True)
class Served:
    """What became of them all."""

    turns: list[Turn]  # by when they were rung
    receipts: list[Json]
    recordings: list[Json]

    @property
    def lost(self) -> list[str]:
        """Callers with whom not exactly one operator has talked."""
        talked = Counter(one.caller for one in self.turns if one.answered)
        callers = [str(row["caller"]) for row in self.receipts]
        return [caller for caller in callers if talked[caller] != 1]

    @property
    def overtaken(self) -> list[Turn]:
        """Who had begun to wait before another and was rung after that one."""
        together = int(TOGETHER_S * SECOND)
        return [
            late
            for early, late in combinations(self.turns, 2)
            if early.waits_from - late.waits_from > together and late.rung - early.rung > together
        ]

    @property
    def pairs(self) -> list[tuple[Turn, Turn]]:
        """Each turn at a phone with the next one there."""
        return [pair for phone in self.operators for pair in pairwise(self._turns_of(phone))]

    @property
    def doubled(self) -> list[Turn]:
        """Who was rung for at an operator's that had not done with somebody else."""
        return [other for one, other in self.pairs if other.rung < one.ended]

    @property
    def idle_ms(self) -> list[float]:
        """From an operator's BYE to the next caller at that phone."""
        return [(other.rung - one.ended) / MS for one, other in self.pairs]

    @property
    def operators(self) -> set[str]:
        return {one.operator for one in self.turns}

    @property
    def incomplete(self) -> list[Json]:
        return [row for row in self.recordings if row["status"] != "closed" or row["incomplete"]]

    def _turns_of(self, operator: str) -> list[Turn]:
        return [one for one in self.turns if one.operator == operator]


class Office:
    """A running agent, and everybody's phones."""

    def __init__(self, agent: RunningAgent, loop: Loop, desks: list[Phone], callers: list[Phone]) -> None:
        self.agent, self.loop, self.desks, self.callers = agent, loop, desks, callers

    def serve(self, talk_s: float) -> Served:
        """All of them call, one after the other, and each operator hangs up after `talk_s`.

        The first two talk until all the others wait.
        """
        began = self.loop.next_frame_ns()
        for number, phone in enumerate(self.callers):
            self._call_at(phone, began + int(number * EVERY_S * SECOND))
        all_wait, patience = began + int(WAITING_S * SECOND), talk_s + WAITING_S + PATIENCE_S
        ended: set[str] = set()
        while talks := self._next_talks(ended, patience):
            for talk in talks:
                self.loop.at(max((talk.answered_ns or 0) + int(talk_s * SECOND), all_wait), talk.end)
                ended.add(talk.call_id)
        return self._served()

    def _call_at(self, phone: Phone, when_ns: int) -> None:
        def call() -> None:
            phone.call(self.agent.uri())

        self.loop.at(when_ns, call)

    def _next_talks(self, but: set[str], timeout: float) -> list[Call]:
        """The calls that operators have answered, but for these; none once all callers are gone."""

        def talks() -> list[Call]:
            return [one for desk in self.desks for one in desk.calls if one.acked and one.call_id not in but]

        def gone() -> bool:
            return all(phone.calls and phone.calls[0].ended_ns for phone in self.callers)

        self.loop.wait_for(lambda: bool(talks()) or gone(), timeout, f"next operator after {len(but)}")
        return talks()

    def _served(self) -> Served:
        count = len(self.callers)
        receipts = self.agent.wait_receipts(count, PATIENCE_S)
        recordings = self.agent.wait_recordings(count, timeout=PATIENCE_S)
        self.agent.wait_settled(PATIENCE_S)
        waits_from = {row["call_id"]: _decided_s(row) for row in receipts}
        turns = []
        for phone in self.callers:
            (call,) = phone.calls
            since = (call.answered_ns or 0) + int(waits_from[call.call_id] * SECOND)
            silence = call.rtp.listen(since, call.ended_ns).longest_silence_s()
            for desk in self.desks:
                turns += [
                    Turn(
                        phone.user,
                        desk.user,
                        since,
                        _rung_ns(talk),
                        talk.answered_ns,
                        talk.ended_ns or 0,
                        silence,
                    )
                    for talk in desk.calls
                    if phone.user.removeprefix("+33") in shown(talk).replace(" ", "")
                ]
        return Served(sorted(turns, key=lambda turn: turn.rung), receipts, recordings)


def _rung_ns(talk: Call) -> int:
    """When its INVITE came first."""
    seen = talk.phone.seen
    return next(
        one.at_ns
        for one in seen
        if not one.sent and one.message.method == "INVITE" and one.message.header("Call-ID") == talk.call_id
    )


def _decided_s(receipt: Json) -> float:
    """From the 200 to the decision."""
    decided = next(event["at"] for event in receipt["events"] if event["what"].startswith("decision: "))
    answered = datetime.fromisoformat(receipt["answered_at"])
    return (datetime.fromisoformat(decided) - answered).total_seconds()


@contextmanager
def office(folder: Path, **operators: Any) -> Iterator[Office]:
    """Start it all, and end it all. `operators`: keys over these."""
    with ExitStack() as stack:
        loop = stack.enter_context(Loop())
        desks = [stack.enter_context(Phone(loop, str(201 + n))) for n in range(DESKS)]
        callers = [stack.enter_context(Phone(loop, f"+336123456{n:02}")) for n in range(CALLERS)]
        for phones, hz in ((callers, CALLER_HZ), (desks, OPERATOR_HZ)):
            for phone in phones:
                phone.sound = lambda hz=hz: SteadyTone(hz)
                phone.answer = Answering(after_s=0.1)
        rtp, workers = free_ports(RTP_PORTS), free_ports(WORKER_PORTS)
        agent = RunningAgent(
            folder,
            {
                "operators": {"extensions": [desk.uri for desk in desks], "max_wait_s": 600} | operators,
                "capacity": {"calls": CALLERS},
                "trunk": {"rtp_ports": f"{rtp}-{rtp + RTP_PORTS - 1}"},
                "edge": {"worker_ports": f"{workers}-{workers + WORKER_PORTS - 1}"},
            },
        )
        stack.callback(lambda: agent.close() if agent.started else None)
        agent.start(wait=None).wait_for("ready", START_S)
        yield Office(agent, loop, desks, callers)


def rows(talk_s: float) -> list[Row]:
    """The part of `make bench`."""
    with (
        tempfile.TemporaryDirectory(prefix="sipagent-queue-") as folder,
        office(Path(folder) / "agent") as place,
    ):
        served = place.serve(talk_s)
    n = len(served.receipts)
    silences = [one.silence_s for one in served.turns]
    return [
        Row(
            f"{n} callers, {DESKS} operators, live: served out of turn", len(served.overtaken), 0, "", count=n
        ),
        Row("the same: lost", len(served.lost), 0, "", count=n),
        Row("the same: rung for at a phone in use", len(served.doubled), 0, "", count=n),
        Row(
            "the same: recordings not whole",
            n - len(served.recordings) + len(served.incomplete),
            0,
            "",
            count=n,
        ),
        Row("the same: longest silence of a caller", max(silences), 2, "s", count=n),
        report.of("the same: operator's BYE → the next one's INVITE", served.idle_ms, 1000),
    ]
