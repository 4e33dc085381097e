"""What the caller hears after the decision, on real calls: the longest silence of each, in seconds."""

from __future__ import annotations

from collections.abc import Mapping

from sipagent.softphone.phone import Answering, Call, Phone
from tests.bench.latency import MS
from tests.bench.office import NOTICE_S, OPERATOR_HZ, Office
from tests.live.calls import NOTICE_HZ, talk

RING_S = 1.5  # `operators.ring_s` where this is measured
OUTCOMES: Mapping[str, Answering] = {
    "busy": Answering(status=486),
    "declines": Answering(status=603, after_s=0.7),
    "no answer": Answering(status=None),
    "unreachable": Answering(silent=True),
    "answers and sends nothing": Answering(after_s=0.3),
}
REFUSES_MS: Mapping[str, int | None] = {
    "never": None,
    "in the notice": 200,
    "in the window": round(NOTICE_S * 1000) + 150,
}


def longest(office: Office) -> dict[str, float]:
    """Every outcome of the first phone with every moment of refusing; the second phone is answered."""
    caller, (first, second) = office.callers[0], office.operators
    first.sound = lambda: None  # also where it answers
    second.answer = Answering(after_s=0.5)
    found = {}
    for outcome, answer in OUTCOMES.items():
        first.answer = answer
        for moment, refuses_ms in REFUSES_MS.items():
            earlier = set(_rung(first))
            call = caller.call(office.agent.uri())
            started = call.rtp.wait_tone(NOTICE_HZ)
            if refuses_ms is not None:
                call.press("9", at_ns=started + refuses_ms * MS)
            call.loop.wait_for(lambda: len(_rung(first)) > len(earlier), 15, "INVITE")  # noqa: B023
            (decided,) = (at for id, at in _rung(first).items() if id not in earlier)
            found[f"{outcome}, refuses {moment}"] = _until_the_end(call, second, decided)
    return found


def _rung(phone: Phone) -> dict[str, int]:
    """When each call came to a phone first: those that it does not answer come again and again. ns."""
    came = [one for one in phone.seen if one.describe() == "INVITE received"]
    return {one.message.header("Call-ID"): one.at_ns for one in reversed(came)}


def _until_the_end(call: Call, operator: Phone, decided_ns: int) -> float:
    other = operator.wait_call(20)
    call.rtp.wait_tone(OPERATOR_HZ, 20)
    talk(call, 0.5)
    ended = call.hang_up()
    other.wait_ended()
    return call.rtp.listen(decided_ns, ended).longest_silence_s()
