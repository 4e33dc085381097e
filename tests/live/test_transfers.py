"""Transfers by the phone's own keys: attended with baresip at the desk, and what can go wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Phone
from sipagent.softphone.rtp import RATE, RtpEnd, Silence, SteadyTone, tone
from tests.conftest import AgentFactory, PhoneFactory, default_operators
from tests.live import calls
from tests.live.calls import CALLER_HZ, MUSIC_HZ, OPERATOR_HZ, SECOND, Bridge
from tests.peers.agent import RunningAgent
from tests.peers.baresip import Baresip
from tests.peers.process import free_ports

pytestmark = pytest.mark.live

DESK_HZ, COLLEAGUE_HZ = 1300, 1600


@pytest.fixture
def desk_phone(tmp_path: Path) -> Iterator[Baresip]:
    sound = tmp_path / "desk.wav"
    soundfile.write(sound, tone(DESK_HZ, 60), 8000, subtype="PCM_16")
    phone = Baresip(tmp_path, sound)
    yield phone
    phone.stop()


@pytest.fixture
def colleague(phone_factory: PhoneFactory) -> Phone:
    phone = phone_factory("203", COLLEAGUE_HZ)
    phone.answer = Answering(after_s=0.1)
    return phone


def consulted(
    agent: RunningAgent, caller: Phone, desk: Baresip, colleague: Phone
) -> tuple[Call, Call, str, int]:
    """A caller on hold while baresip talks with a colleague: both calls, the name of the first there, and
    when the caller clicked before that.
    """
    call = caller.call(agent.uri())
    first = desk.wait_event("CALL_INCOMING", 15)["id"]
    desk.command("accept")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.8)
    clicked_ns = clicks(call)
    desk.command("hold")
    call.rtp.wait_tone(MUSIC_HZ)
    desk.command("dial", colleague.uri)
    consultation = colleague.wait_call()
    consultation.rtp.wait_tone(DESK_HZ)
    return call, consultation, first, clicked_ns


@pytest.mark.parametrize("refuses", [False, True])
def test_an_attended_transfer(
    agent_factory: AgentFactory, caller_phone: Phone, desk_phone: Baresip, colleague: Phone, refuses: bool
) -> None:
    """One recording of the right length: the desk, silence, the colleague; the consultation is in none."""
    agent = agent_factory(operators={"extensions": [desk_phone.uri], "transfer_targets": [colleague.uri]})
    call, consultation, first, first_ns = consulted(agent, caller_phone, desk_phone, colleague)
    call.rtp.play(SteadyTone(CALLER_HZ))
    calls.talk(call, 1.0)
    if refuses:
        call.press("9")
        agent.wait_files(lambda files: files == [])
    desk_phone.command("callfind", first)
    desk_phone.command("transfer", f"{colleague.uri}{consultation.replacing()}")
    taken = colleague.wait_call()
    call.rtp.wait_tone(COLLEAGUE_HZ)
    taken.rtp.wait_tone(CALLER_HZ)
    assert taken.incoming and taken.incoming.header("Require") == "replaces"
    assert calls.shown(taken).startswith("NO REC" if refuses else "REC")
    consultation.wait_ended()
    desk_phone.wait_event("CALL_CLOSED", id=first)
    calls.talk(call, 0.6)
    second_ns = clicks(call, taken)
    Bridge(call, taken).hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["operator"], receipt["outcome"]) == (colleague.uri, "connected")
    if refuses:
        assert (receipt["decision"], agent.files()) == ("refused", [])
        return
    (recording,) = agent.wait_recordings()
    assert (recording["operator"], recording["incomplete"]) == (colleague.uri, False)
    assert len(recording["pauses"]) == 1
    sound = agent.sound(recording)
    assert recording["duration_s"] == pytest.approx(len(sound) / RATE, abs=0.001)
    left, right = ([hz and round(hz, -2) for hz in calls.tones_of(sound[:, side])] for side in (0, 1))
    last, next_ = len(right) - 1 - right[::-1].index(DESK_HZ), right.index(COLLEAGUE_HZ)
    assert last < next_
    quiet = slice(last + 2, next_ - 1)  # held, consulted, given away
    assert len(left[quiet]) >= 10
    assert set(left[quiet]) | set(right[quiet]) == {None}
    middle = (last + next_) // 2 * RATE // 10
    before = calls.place_of(calls.chirp(), sound[:middle, 0])
    after = [middle + calls.place_of(calls.chirp(), sound[middle:, side]) for side in (0, 1)]
    assert (after[0] - before) / RATE == pytest.approx((second_ns - first_ns) / SECOND, abs=0.1)
    assert abs(after[0] - after[1]) <= 0.06 * RATE


def clicks(*sides: Call) -> int:
    """A chirp from each side in the same frame; when, ns."""
    at_ns = sides[0].loop.next_frame_ns() + SECOND // 5
    for side in sides:
        side.rtp.play(Silence())
        side.rtp.overlay(calls.chirp(), at_ns)
    calls.talk(sides[0], 0.6)
    return at_ns


# --- with phones that can be made to misbehave ---


@pytest.fixture(scope="module")
def colleague_port() -> int:
    return free_ports(1)


@pytest.fixture(scope="module")
def module_agent(
    tmp_path_factory: pytest.TempPathFactory, operator_port: int, colleague_port: int
) -> Iterator[RunningAgent]:
    tables: dict[str, dict[str, Any]] = default_operators(operator_port)
    tables["operators"] |= {"transfer_targets": [f"sip:203@127.0.0.1:{colleague_port}"], "ring_s": 2}
    agent = RunningAgent(tmp_path_factory.mktemp("transfers") / "agent", tables)
    yield agent
    if agent.started:
        agent.close()


@pytest.fixture
def target(phone_factory: PhoneFactory, colleague_port: int) -> Phone:
    phone = phone_factory("203", COLLEAGUE_HZ, port=colleague_port)
    phone.answer = Answering(after_s=0.1)
    return phone


def refers(call: Call, uri: str) -> int | None:
    return call.request("REFER", (("Refer-To", f"<{uri}>"),)).status


def last_told(phone: Phone) -> str:
    """The last word that a phone got about its REFER."""

    def over() -> list[bytes]:
        seen = [one.message for one in phone.seen if one.describe() == "NOTIFY received"]
        return [m.body for m in seen if m.header("Subscription-State").startswith("terminated")]

    phone.loop.wait_for(lambda: bool(over()), PATIENCE_S, f"last NOTIFY at {phone.user}")
    return over()[-1].decode().strip()


def test_who_may_not_transfer_and_where_to(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone
) -> None:
    """The caller never, from the notice on; an operator to nobody else, nor to himself. The call goes on."""
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(calls.NOTICE_HZ)
    assert refers(call, target.uri) == 403
    bridge = calls.bridged(call, operator_phone)
    for uri in (target.uri, f"{operator_phone.uri}{call.replacing()}"):
        assert refers(call, uri) == 403
    for uri in (operator_phone.uri, "sip:+33899000000@127.0.0.1", f"{target.uri};method=BYE", "tel:3637"):
        assert refers(bridge.operator, uri) == 403
    call.rtp.wait_tone(OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(CALLER_HZ)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    denied = [event["by"] for event in receipt["events"] if event["what"] == "transfer refused with 403"]
    assert sorted(denied) == ["caller"] * 3 + ["operator"] * 4
    assert target.calls == []
    agent.wait_recordings()


UNWILLING = {
    "is busy": (Answering(status=486), "486"),
    "does not answer": (Answering(status=None), "480"),
    "answers and is silent": (Answering(), "480"),
}


@pytest.mark.parametrize("why", UNWILLING)
def test_the_caller_comes_back_where_the_colleague(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone, why: str
) -> None:
    """Music meanwhile; then both hear each other again, in the same recording, and the phone knows why."""
    target.answer, status = UNWILLING[why]
    if why == "answers and is silent":
        target.sound = None
        patch_silent(target)
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 0.5)
    began = bridge.caller.loop.next_frame_ns()
    assert refers(bridge.operator, target.uri) == 202
    assert last_told(operator_phone).startswith(f"SIP/2.0 {status}")
    ended = operator_phone.at("NOTIFY received", operator_phone.count("NOTIFY received") - 1)
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(CALLER_HZ)
    assert bridge.caller.rtp.listen(began, ended + SECOND // 2).longest_silence_s() <= 2.0
    for lost in target.calls:
        lost.wait_ended()
    assert refers(bridge.operator, target.uri) == 202  # he may try again
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", operator_phone.uri)
    (recording,) = agent.wait_recordings()
    assert (recording["operator"], recording["incomplete"]) == (operator_phone.uri, False)
    agent.wait_no_legs()


def patch_silent(phone: Phone) -> None:
    """Its calls send not one packet."""
    make = phone.new_rtp

    def mute() -> RtpEnd:
        end = make()
        end.play(None)
        return end

    phone.new_rtp = mute  # type: ignore[method-assign]


def test_two_transfers_asked_for_in_one_breath_are_one(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone
) -> None:
    """And a hold of the caller's meanwhile goes along: the colleague hears music until it ends."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    answers: list[int | None] = []
    with bridge.operator.loop.changing():
        for _ in range(2):
            bridge.operator._send(
                "REFER",
                lambda answer: answers.append(answer.status if answer else None),
                (("Refer-To", f"<{target.uri}>"),),
            )
    bridge.caller.loop.wait_for(lambda: len(answers) >= 2, PATIENCE_S, "two answers")
    assert sorted(one or 0 for one in answers) == [202, 403]
    bridge.caller.hold("inactive")
    taken = target.wait_call()
    taken.rtp.wait_tone(MUSIC_HZ)
    bridge.caller.resume()
    bridge.caller.rtp.wait_tone(COLLEAGUE_HZ)
    taken.rtp.wait_tone(CALLER_HZ)
    assert last_told(operator_phone).startswith("SIP/2.0 200")
    bridge.operator.wait_ended()
    Bridge(bridge.caller, taken).hang_up()
    assert [one.outgoing for one in target.calls] == [False]
    agent.wait_recordings()


@pytest.mark.parametrize("ends", ["hangs up", "refuses"])
def test_a_caller_who_has_enough_of_it(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone, ends: str
) -> None:
    target.answer = Answering(after_s=1.0)
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 0.5)
    assert refers(bridge.operator, target.uri) == 202
    bridge.caller.rtp.wait_tone(MUSIC_HZ)
    ringing = target.wait_call()
    if ends == "refuses":
        bridge.caller.press("9")
        agent.wait_files(lambda files: files == [])
        bridge.caller.rtp.wait_tone(COLLEAGUE_HZ)
        Bridge(bridge.caller, ringing).hang_up()
    else:
        bridge.caller.hang_up()
    ringing.wait_ended()
    bridge.operator.wait_ended()
    (receipt,) = agent.wait_receipts()
    assert receipt["decision"] == ("refused" if ends == "refuses" else "allowed")
    (recording,) = agent.wait_settled()
    assert recording["status"] == ("erased" if ends == "refuses" else "closed")
    agent.wait_no_legs()


@pytest.mark.parametrize("how", ["hangs up", "loses its power"])
def test_a_giver_who_is_gone_is_rung_again_where_the_colleague_will_not(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone, how: str
) -> None:
    target.answer = Answering(status=486 if how == "hangs up" else None)
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 0.5)
    assert refers(bridge.operator, target.uri) == 202
    if how == "hangs up":
        bridge.operator.hang_up()
        again = operator_phone.wait_call()
        bridge.caller.rtp.wait_tone(OPERATOR_HZ)
        again.rtp.wait_tone(CALLER_HZ)
        Bridge(bridge.caller, again).hang_up()
    else:
        operator_phone.close()
        bridge.caller.rtp.wait_tone(MUSIC_HZ)
        bridge.caller.hang_up()
        target.wait_call().wait_ended()
    agent.wait_receipts()
    (recording,) = agent.wait_recordings()
    assert recording["operator"] == operator_phone.uri
    if how == "hangs up":
        agent.wait_no_legs()
