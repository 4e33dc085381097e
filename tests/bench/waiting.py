"""Twenty callers for two operators, live: ten workers behind the edge, and one board for them all.

The order is that in which they began to wait. The board hears of it over the workers' links, so whose windows
closed within `TOGETHER_S` of each other have no order; nor have two who are rung as close together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import combinations, pairwise

from sipagent.softphone.loop import MS, SECOND
from sipagent.softphone.phone import Call, Phone
from tests.bench import report
from tests.bench.office import NOTICE_S, START_S, WINDOW_S, Office, office
from tests.bench.report import Row
from tests.live.calls import shown
from tests.peers.agent import Json
from tests.peers.process import free_ports

CALLERS, DESKS = 20, 2
EVERY_S = 0.4  # a new caller
TOGETHER_S = 0.2
WAITING_S = CALLERS * EVERY_S + NOTICE_S + WINDOW_S + 1  # by then all of them wait
RTP_PORTS, WORKER_PORTS = 16 * 12, CALLERS + 4
PATIENCE_S = START_S / 2


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
        return [str(row["caller"]) for row in self.receipts if talked[str(row["caller"])] != 1]

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
        phones = {
            one.operator: [each for each in self.turns if each.operator == one.operator] for one in self.turns
        }
        return [pair for turns in phones.values() for pair in pairwise(turns)]

    @property
    def doubled(self) -> list[Turn]:
        """Who was rung for at an operator's that had not done with somebody else."""
        return [other for one, other in self.pairs if other.rung < one.ended]

    @property
    def incomplete(self) -> list[Json]:
        return [row for row in self.recordings if row["status"] != "closed" or row["incomplete"]]


def queue() -> AbstractContextManager[Office]:
    """A running agent with as many workers as the callers take, and everybody's phones."""
    rtp, workers = free_ports(RTP_PORTS), free_ports(WORKER_PORTS)
    return office(
        CALLERS,
        DESKS,
        operators={"max_wait_s": 600},
        capacity={"calls": CALLERS, "calls_per_process": 2},
        trunk={"rtp_ports": f"{rtp}-{rtp + RTP_PORTS - 1}"},
        edge={"worker_ports": f"{workers}-{workers + WORKER_PORTS - 1}"},
    )


def serve(place: Office, talk_s: float) -> Served:
    """All of them call, one after the other, and each operator hangs up after `talk_s`.

    The first two talk until all the others wait.
    """
    loop, began = place.loop, place.loop.next_frame_ns()
    for number, phone in enumerate(place.callers):
        loop.at(began + int(number * EVERY_S * SECOND), partial(_call, phone, place.agent.uri()))
    all_wait = began + int(WAITING_S * SECOND)
    ended: set[str] = set()

    def talks() -> list[Call]:
        return [
            one for desk in place.operators for one in desk.calls if one.acked and one.call_id not in ended
        ]

    def gone() -> bool:
        return all(phone.calls and phone.calls[0].ended_ns for phone in place.callers)

    while True:
        patience = talk_s + WAITING_S + PATIENCE_S
        loop.wait_for(lambda: bool(talks()) or gone(), patience, f"next operator after {len(ended)}")
        if not (answered := talks()):
            return _served(place)
        for talk in answered:
            loop.at(max((talk.answered_ns or 0) + int(talk_s * SECOND), all_wait), talk.end)
            ended.add(talk.call_id)


def _call(phone: Phone, uri: str) -> None:
    phone.call(uri)


def _served(place: Office) -> Served:
    receipts = place.agent.wait_receipts(CALLERS, PATIENCE_S)
    recordings = place.agent.wait_recordings(CALLERS, timeout=PATIENCE_S)
    place.agent.wait_settled(PATIENCE_S)
    waits_from = {row["call_id"]: _decided_s(row) for row in receipts}
    turns = []
    for phone in place.callers:
        (call,) = phone.calls
        since = (call.answered_ns or 0) + int(waits_from[call.call_id] * SECOND)
        silence = call.rtp.listen(since, call.ended_ns).longest_silence_s()
        for desk in place.operators:
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
    return next(
        one.at_ns
        for one in talk.phone.seen
        if not one.sent and one.message.method == "INVITE" and one.message.header("Call-ID") == talk.call_id
    )


def _decided_s(receipt: Json) -> float:
    decided = next(event["at"] for event in receipt["events"] if event["what"].startswith("decision: "))
    answered = datetime.fromisoformat(receipt["answered_at"])
    return (datetime.fromisoformat(decided) - answered).total_seconds()


def rows(talk_s: float) -> Iterator[Row]:
    """The part of `make bench`."""
    with queue() as place:
        served = serve(place, talk_s)
    n = len(served.receipts)
    named = f"{n} callers, {DESKS} operators, live: "
    broken = n - len(served.recordings) + len(served.incomplete)
    idle = [(other.rung - one.ended) / MS for one, other in served.pairs]
    yield Row(f"{named}served out of turn", len(served.overtaken), 0, count=n)
    yield Row("the same: lost", len(served.lost), 0, count=n)
    yield Row("the same: rung for at a phone in use", len(served.doubled), 0, count=n)
    yield Row("the same: recordings not whole", broken, 0, count=n)
    yield Row(
        "the same: longest silence of a caller", max(t.silence_s for t in served.turns), 2, "s", count=n
    )
    yield report.of("the same: operator's BYE → the next one's INVITE", idle, 1000)
