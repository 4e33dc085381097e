"""Telephones that others wrote: baresip as the operator's, SIPp as the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from sipagent.softphone.phone import Answering, Phone
from sipagent.softphone.rtp import tone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, MUSIC_HZ, OPERATOR_HZ, SECOND, Bridge
from tests.peers.agent import RunningAgent
from tests.peers.baresip import Baresip
from tests.peers.process import wait_answer
from tests.peers.sipp import Script, Sipp

pytestmark = pytest.mark.live

DESK_HZ = 1300


@pytest.fixture
def desk_phone(tmp_path: Path) -> Iterator[Baresip]:
    sound = tmp_path / "desk.wav"
    soundfile.write(sound, tone(DESK_HZ, 60), 8000, subtype="PCM_16")
    phone = Baresip(tmp_path, sound)
    yield phone
    phone.stop()


def test_baresip_on_the_desk(agent_factory: AgentFactory, caller_phone: Phone, desk_phone: Baresip) -> None:
    """Rings showing REC, answers, holds, goes on, is hung up."""
    agent = agent_factory(operators={"extensions": [desk_phone.uri]})
    call = caller_phone.call(agent.uri())
    call.wait_answered()
    ringing = desk_phone.wait_event("CALL_INCOMING")
    assert ringing["peerdisplayname"].startswith("REC")
    desk_phone.command("accept")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.8)
    began = call.loop.next_frame_ns()
    desk_phone.command("hold")
    calls.talk(call, 3.0)
    held = call.rtp.listen(began + SECOND).tones()  # ours, as this phone sends nothing while it holds
    assert sum(hz is not None and abs(hz - MUSIC_HZ) < 20 for hz in held) > 15
    desk_phone.command("resume")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.8)
    call.hang_up()
    desk_phone.wait_event("CALL_CLOSED")
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    left, right = (calls.tones_of(sound[:, channel]) for channel in (0, 1))
    both_silent = [a is None and b is None for a, b in zip(left, right, strict=True)]
    assert sum(both_silent) >= 12
    assert calls.strength(sound[:2400, 0], CALLER_HZ) > 0.05
    assert DESK_HZ in [hz and round(hz / 100) * 100 for hz in right[-4:]]


def given_away(agent: RunningAgent, caller: Phone, desk: Baresip, target: Phone) -> Bridge:
    """A caller whom baresip answers, holds, and sends to another phone, where both hear each other."""
    call = caller.call(agent.uri())
    desk.wait_event("CALL_INCOMING", 15)
    desk.command("accept")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.8)
    desk.command("hold")
    calls.talk(call, 1.0)
    desk.command("transfer", target.uri)
    return calls.bridged(call, target)


def test_baresip_sends_the_caller_to_another_phone(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, desk_phone: Baresip
) -> None:
    """One recording: first the one, then silence, then the other; the phone is told, and leaves."""
    agent = agent_factory(
        operators={"extensions": [desk_phone.uri], "transfer_targets": [operator_phone.uri]}
    )
    bridge = given_away(agent, caller_phone, desk_phone, operator_phone)
    assert calls.shown(bridge.operator).startswith("REC")
    desk_phone.wait_event("CALL_CLOSED")
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    (receipt,) = agent.wait_receipts()
    assert (recording["operator"], receipt["outcome"]) == (operator_phone.uri, "connected")
    sound = agent.sound(recording)
    heard = [hz and round(hz, -2) for hz in calls.tones_of(sound[:, 1])]
    last, first = len(heard) - 1 - heard[::-1].index(DESK_HZ), heard.index(OPERATOR_HZ)
    assert (DESK_HZ in heard[:8], last < first, OPERATOR_HZ in heard[-4:]) == (True, True, True)
    assert heard[last + 1 : first].count(None) >= 8
    assert calls.strength(sound[-1600:, 0], CALLER_HZ) > 0.05


def test_who_refuses_after_that_is_erased(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, desk_phone: Baresip
) -> None:
    agent = agent_factory(
        operators={"extensions": [desk_phone.uri], "transfer_targets": [operator_phone.uri]}
    )
    bridge = given_away(agent, caller_phone, desk_phone, operator_phone)
    bridge.caller.press("9")
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["decision"], receipt["operator"]) == ("refused", operator_phone.uri)
    assert agent.files() == []


def test_baresip_sends_the_caller_nowhere_else(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, desk_phone: Baresip
) -> None:
    """403: nothing is dialled. This phone hangs up then, by itself."""
    agent = agent_factory(operators={"extensions": [desk_phone.uri]})
    call = caller_phone.call(agent.uri())
    desk_phone.wait_event("CALL_INCOMING", 15)
    desk_phone.command("accept")
    call.rtp.wait_tone(DESK_HZ)
    desk_phone.command("transfer", operator_phone.uri)
    assert desk_phone.wait_event("TRANSFER_FAILED")["param"].startswith("403")
    call.wait_ended()
    (receipt,) = agent.wait_receipts()
    assert "transfer refused with 403" in [event["what"] for event in receipt["events"]]
    assert operator_phone.calls == []


def test_baresip_hangs_up(agent_factory: AgentFactory, caller_phone: Phone, desk_phone: Baresip) -> None:
    agent = agent_factory(operators={"extensions": [desk_phone.uri]})
    call = caller_phone.call(agent.uri())
    desk_phone.wait_event("CALL_INCOMING", 15)
    desk_phone.command("accept")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.6)
    desk_phone.command("hangup")
    call.wait_ended()
    assert call.ended_by == "them"
    (recording,) = agent.wait_recordings()
    assert recording["operator"] == desk_phone.uri


def test_sipp_refuses_by_real_events(agent: RunningAgent, operator_phone: Phone, tmp_path: Path) -> None:
    script = Script().answered().pause(300).press("9").pause(2000).hang_up()
    sipp = Sipp(tmp_path, script, agent.address)
    operator = operator_phone.wait_call(15)
    assert calls.shown(operator).startswith("NO REC")
    sipp.wait()
    (receipt,) = agent.wait_receipts()
    assert (receipt["decision"], receipt["dtmf_method"]) == ("refused", "rfc4733")
    assert agent.files() == []


def test_sipp_consents_and_speaks(agent: RunningAgent, operator_phone: Phone, tmp_path: Path) -> None:
    """Debian's eight seconds of speech are on the caller's channel, and on no other."""
    sipp = Sipp(tmp_path, Script().answered().pause(500).speak().pause(4000).hang_up(), agent.address)
    operator_phone.wait_call(15)
    sipp.wait()
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    assert calls.rms(sound[:, 0]) > 100
    assert calls.strength(sound[8000:, 1], calls.OPERATOR_HZ) > 0.1


def test_sipp_cancels(agent: RunningAgent, operator_phone: Phone, tmp_path: Path) -> None:
    """SIPp rings for a 180 first where there is one; the agent answers at once, so it hangs up instead."""
    Sipp(tmp_path, Script().answered().hang_up(), agent.address, calls=3, rate=2).wait()
    receipts = agent.wait_receipts(3)
    assert {r["outcome"] for r in receipts} <= {"abandoned", "rejected"}
    assert agent.files() == []


def test_a_burst_of_callers(agent: RunningAgent, operator_phone: Phone, tmp_path: Path) -> None:
    """Ten within two seconds while a call is up: each is told that there is no room, the call goes on."""
    operator_phone.answer = Answering(after_s=0.1)
    caller = Phone(operator_phone.loop, "+33612345678")
    with caller:
        call = caller.call(agent.uri())
        call.wait_answered()
        operator = operator_phone.wait_call(15)
        Sipp(tmp_path, Script().rejected(503), agent.address, calls=10, rate=5).wait()
        wait_answer(agent.address)
        assert operator.ended_ns is None
        call.hang_up()
        operator.wait_ended()
    receipts = agent.wait_receipts(11)
    assert sorted(r["outcome"] for r in receipts) == ["connected"] + ["rejected"] * 10
