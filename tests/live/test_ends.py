"""However and whenever a call ends: no leg, no stray file, exactly one receipt."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipagent.softphone.phone import Answering, Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import MS, NOTICE_HZ
from tests.peers.agent import RunningAgent

pytestmark = pytest.mark.live

MOMENTS = 14


def assert_clean(agent: RunningAgent, operator: Phone, ended: int) -> None:
    receipts = agent.wait_receipts(ended)
    assert len(receipts) == ended
    assert len({r["call_id"] for r in receipts}) == ended
    kept = {row["id"]: row for row in agent.wait_settled()}
    assert not {row["status"] for row in kept.values()} - {"closed", "erased", "failed"}
    named = {Path(file).name.split(".")[0] for file in agent.files()}
    assert named == {id for id, row in kept.items() if row["status"] == "closed"}
    assert not [file for file in agent.files() if file.endswith((".part", ".tmp"))]
    for call in operator.calls:
        call.wait_ended(5)


def test_hanging_up_at_any_moment(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    """Every 170 ms from the INVITE to beyond the bridge, CANCEL or BYE, whichever fits."""
    operator_phone.answer = Answering(after_s=0.4)
    loop, before = caller_phone.loop, agent.ended()
    for count in range(MOMENTS):
        call = caller_phone.call(agent.uri())
        loop.after(count * 0.17, call.end)
        call.wait_ended(10)
        call.wait_status()
        agent.wait_ended(before + count + 1)
    assert_clean(agent, operator_phone, MOMENTS)
    outcomes = {r["outcome"] for r in agent.receipts()}
    assert outcomes == {"abandoned", "connected"}
    operator_phone.skip_calls()
    calls.connect(agent, caller_phone, operator_phone).hang_up()


def test_cancel_in_the_same_breath(agent: RunningAgent, caller_phone: Phone) -> None:
    """CANCEL right behind INVITE: 487, or a 200 that is hung up at once."""
    for _ in range(5):
        call = caller_phone.call(agent.uri())
        call.end()
        assert call.wait_status() in (200, 487)
        call.wait_ended()
    receipts = agent.wait_receipts(5)
    assert {r["outcome"] for r in receipts} == {"abandoned"}
    assert agent.files() == []


@pytest.mark.parametrize("moment", ["notice", "window", "ringing"])
def test_a_caller_gone_early_is_abandoned(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, moment: str
) -> None:
    operator_phone.answer = Answering(status=None)
    call = caller_phone.call(agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ)
    if moment == "ringing":
        operator_phone.wait_at("180 INVITE sent")
        call.hang_up()
        assert operator_phone.wait_call().wait_ended()
        operator_phone.wait_at("CANCEL received")
    else:
        at_ns = started + (300 if moment == "notice" else calls.NOTICE_MS + 200) * MS
        call.loop.at(at_ns, call.end)
        call.wait_ended()
    (receipt,) = agent.wait_receipts()
    assert receipt["outcome"] == "abandoned"
    assert receipt["decision"] == ("allowed" if moment == "ringing" else "undecided")
    assert (receipt["connected_at"], receipt["recording_id"]) == (None, None)
    assert (agent.recordings(), agent.files()) == ([], [])
    assert (operator_phone.count("INVITE received") > 0) == (moment == "ringing")


@pytest.mark.parametrize("side", ["caller", "operator"])
def test_when_one_side_hangs_up_the_other_side_is_released(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, side: str
) -> None:
    bridge = calls.connect(agent, caller_phone, operator_phone)
    bridge.hang_up(side)
    assert {bridge.caller.ended_by, bridge.operator.ended_by} == {"us", "them"}
    assert_clean(agent, operator_phone, 1)
    assert agent.recordings()[0]["status"] == "closed"


def test_a_caller_who_vanishes_is_let_go(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Neither RTP nor RTCP for `media_timeout_s`: both legs end, what was said is kept."""
    agent = agent_factory(capacity={"media_timeout_s": 2})
    bridge = calls.connect(agent, caller_phone, operator_phone)
    bridge.caller.rtp.play(None)
    bridge.operator.wait_ended(15)
    assert_clean(agent, operator_phone, 1)
    assert agent.recordings()[0]["status"] == "closed"


def test_the_operators_answer_waits_for_the_end_of_the_refused_prompt(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    operator_phone.answer = Answering(after_s=0)
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    call.press("9")
    bridge = calls.bridged(call, operator_phone)
    tones = call.rtp.listen().tones(0.05)
    refused = [hz for hz in tones if hz and abs(hz - calls.REFUSED_HZ) < 20]
    assert len(refused) * 0.05 == pytest.approx(0.6, abs=0.15)
    bridge.hang_up()
