"""The hunt, live: several phones at once, turns that outlast a restart, phones that vanish, early media."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

import pytest
import soundfile

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Phone
from sipagent.softphone.rtp import RATE, tone
from sipagent.softphone.sip import Message
from tests.conftest import OPERATOR_HZ, AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import SECOND, shown

pytestmark = pytest.mark.live

ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'
OTHER_HZ = 1200
PLEASE_HOLD_HZ, PLEASE_HOLD_S = 960, 2.0


def received(phone: Phone, method: str) -> list[Message]:
    """The requests of a method that a phone got, retransmissions left out."""
    found = [seen.message for seen in phone.seen if not seen.sent and seen.message.method == method]
    return list({message.branch: message for message in found}.values())


def test_the_first_answer_wins_and_the_others_show_no_missed_call(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    slow = phone_factory("202", OTHER_HZ)
    slow.answer = Answering(status=None)
    operator_phone.answer = Answering(after_s=0.5)
    agent = agent_factory(
        operators={"extensions": [slow.uri, operator_phone.uri], "strategy": "simultaneous"}
    )
    call = caller_phone.call(agent.uri())
    bridge = calls.bridged(call, operator_phone)
    lost = slow.wait_call()
    lost.wait_ended()
    (cancel,) = received(slow, "CANCEL")
    assert cancel.header("Reason") == ELSEWHERE
    assert abs(slow.at("INVITE received") - operator_phone.at("INVITE received")) < SECOND // 10
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", operator_phone.uri)


def test_of_two_answers_at_once_one_is_kept_and_the_other_gets_a_bye(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller_phone: Phone
) -> None:
    """Both phones pick up in the same instant: the second 200 crosses our CANCEL."""
    both = [phone_factory(user, OPERATOR_HZ) for user in ("203", "204")]
    for phone in both:
        phone.answer = Answering(status=None)
    agent = agent_factory(operators={"extensions": [phone.uri for phone in both], "strategy": "simultaneous"})
    call = caller_phone.call(agent.uri())
    talks = [phone.wait_call() for phone in both]
    with both[0].loop.changing():
        for talk in talks:
            talk.decide(200)
    call.rtp.wait_tone(OPERATOR_HZ)
    for phone in both:
        phone.wait_at("ACK received")
    talks[0].loop.wait_for(lambda: any(t.ended_ns for t in talks), PATIENCE_S, "the BYE to one of the two")
    (lost,) = [talk for talk in talks if talk.ended_ns]
    (kept,) = [talk for talk in talks if talk is not lost]
    assert lost.ended_by == "them"
    kept.rtp.wait_tone(calls.CALLER_HZ)
    calls.Bridge(call, kept).hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", kept.phone.uri)


def test_turns_go_on_after_a_restart(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller_phone: Phone
) -> None:
    desks = [phone_factory(str(user), OPERATOR_HZ) for user in (205, 206, 207)]
    for desk in desks:
        desk.answer = Answering(after_s=0.05)
    agent = agent_factory(operators={"extensions": [desk.uri for desk in desks], "strategy": "round_robin"})

    def answers() -> Phone:
        before = sum(len(desk.calls) for desk in desks)
        call = caller_phone.call(agent.uri())
        call.rtp.wait_tone(OPERATOR_HZ)
        (rung,) = [desk for desk in desks if desk.calls and desk.calls[-1].ended_ns is None]
        assert sum(len(desk.calls) for desk in desks) == before + 1
        calls.Bridge(call, rung.calls[-1]).hang_up()
        agent.forget()
        return rung

    assert [answers(), answers()] == desks[:2]
    assert agent.stop() == 0
    agent.start()
    assert [answers(), answers()] == [desks[2], desks[0]]
    assert agent.stop() == 0
    (agent.directory / "round_robin.json").write_bytes(b'{"last": "sip:2')
    agent.start()
    assert answers() is desks[0]


def test_a_phone_that_answers_and_vanishes_is_left_for_the_next_one(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """It says 200 and loses its power: no ACK is heard there, and no sound comes. The caller hears music."""
    vanishing = phone_factory("208", OTHER_HZ)
    vanishing.answer = Answering(status=None)
    agent = agent_factory(operators={"extensions": [vanishing.uri, operator_phone.uri]})
    call = caller_phone.call(agent.uri())
    answered = vanishing.wait_call()
    with vanishing.loop.changing():
        answered.decide(200)
        vanishing.close()
    bridge = calls.bridged(call, operator_phone)
    waited = call.rtp.listen(call.rtp.heard[0].at_ns, call.loop.next_frame_ns())
    assert waited.longest_silence_s() <= 2.0
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", operator_phone.uri)
    assert f"{vanishing.uri}: answered and sent nothing" in [event["what"] for event in receipt["events"]]
    (recording,) = agent.wait_recordings()
    assert bridge.caller.ended_ns and bridge.operator.answered_ns
    talked_s = (bridge.caller.ended_ns - bridge.operator.answered_ns) / SECOND
    assert recording["duration_s"] < talked_s + 0.2  # nothing of the first phone's time
    assert recording["operator"] == operator_phone.uri


def test_a_phone_for_which_nothing_answers_is_left_after_four_seconds(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    dead = phone_factory("209", OTHER_HZ)
    dead.answer = Answering(silent=True)
    agent = agent_factory(operators={"extensions": [dead.uri, operator_phone.uri], "ring_s": 20})
    call = caller_phone.call(agent.uri())
    bridge = calls.bridged(call, operator_phone)
    waited = operator_phone.at("INVITE received") - dead.at("INVITE received")
    assert 3.9 < waited / SECOND < 5.0
    bridge.hang_up()


def test_two_who_wait_hear_music_and_please_hold_and_the_first_is_served(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, operator_phone: Phone
) -> None:
    """Both after twenty seconds; then the only operator comes to the phone, and the second waits in vain."""
    operator_phone.answer = Answering(status=486)
    agent = agent_factory(
        start=False,
        prompts={"please_hold": "prompts/please_hold.wav"},
        operators={"extensions": [operator_phone.uri], "max_wait_s": 28},
        capacity={"calls": 2},
    )
    sound = tone(PLEASE_HOLD_HZ, PLEASE_HOLD_S)
    soundfile.write(agent.directory / "prompts/please_hold.wav", sound, RATE, subtype="PCM_16")
    agent.start()
    first, second = (phone_factory(f"+3361234567{last}", calls.CALLER_HZ) for last in (1, 2))
    waits = [first.call(agent.uri())]
    waits[0].rtp.wait_tone(calls.NOTICE_HZ)
    waits.append(second.call(agent.uri()))
    waits[0].rtp.wait_tone(PLEASE_HOLD_HZ, 40)
    operator_phone.answer = Answering(after_s=0.1)
    waits[0].rtp.wait_tone(OPERATOR_HZ, 15)
    waits[1].rtp.wait_tone(calls.UNAVAILABLE_HZ, 15)
    assert waits[0].ended_ns is None
    waits[1].wait_ended()
    waits[0].hang_up()
    one, two = agent.wait_receipts(2)
    assert [(r["outcome"], r["operator"]) for r in (one, two)] == [
        ("connected", operator_phone.uri),
        ("unavailable", None),
    ]
    heard = [hz and round(hz, -1) for hz in waits[1].rtp.listen(waits[1].answered_ns or 0).tones()]
    sounds = {calls.MUSIC_HZ, PLEASE_HOLD_HZ, calls.UNAVAILABLE_HZ}
    turns = [hz for hz, _ in groupby(hz for hz in heard if hz in sounds)]
    assert turns == [calls.MUSIC_HZ, PLEASE_HOLD_HZ, calls.MUSIC_HZ, calls.UNAVAILABLE_HZ]
    decided_s = [seconds_to(r, "decision: allowed (silence)") for r in (one, two)]
    for call, decided in zip(waits, decided_s, strict=True):
        since = (call.answered_ns or 0) + round(decided * SECOND)
        assert call.rtp.listen(since, call.ended_ns).longest_silence_s() <= 2.0


def seconds_to(receipt: dict[str, Any], what: str) -> float:
    """From the caller's 200 to what happened."""
    at = next(event["at"] for event in receipt["events"] if event["what"] == what)
    return (datetime.fromisoformat(at) - datetime.fromisoformat(receipt["answered_at"])).total_seconds()


@pytest.mark.parametrize("refuses", [False, True])
def test_the_phone_is_told_by_headers_too(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, refuses: bool
) -> None:
    agent = agent_factory(
        operators={
            "extensions": [operator_phone.uri],
            "alert_info_recorded": "<urn:alert:service:normal>;info=rec",
            "recording_header": "X-Recording",
        }
    )
    call = caller_phone.call(agent.uri())
    if refuses:
        call.rtp.wait_tone(calls.NOTICE_HZ)
        call.press("9")
    bridge = calls.bridged(call, operator_phone)
    (invite,) = received(operator_phone, "INVITE")
    alert = "" if refuses else "<urn:alert:service:normal>;info=rec"
    word = "NO REC" if refuses else "REC"
    assert (invite.header("Alert-Info"), invite.header("X-Recording")) == (alert, word)
    assert shown(bridge.operator).startswith(word)
    bridge.hang_up()
