"""What `sipagent today` sets is what the next callers hear, in both shapes, without a restart or a reload."""

from __future__ import annotations

from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

import pytest
import soundfile

from sipagent.softphone.phone import Phone
from sipagent.softphone.rtp import RATE, tone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import NOTICE_HZ, REFUSED_HZ
from tests.live.test_workers import Town
from tests.peers.agent import PROMPTS, RunningAgent

pytestmark = pytest.mark.live

MESSAGE_HZ, MESSAGE_S = 990, 0.8
CLOSED_HZ, _ = PROMPTS["closed"]
KEYS = {"prompts": {"messages": {"flood": "prompts/flood.wav"}}}


def with_message(agent: RunningAgent) -> Path:
    """Give it one."""
    path = agent.directory / "prompts/flood.wav"
    soundfile.write(path, tone(MESSAGE_HZ, MESSAGE_S), RATE, subtype="PCM_16")
    agent.rewrite(prompts=agent.tables["prompts"] | KEYS["prompts"])
    return path


def test_a_message_then_the_notice_and_a_closure_until_it_is_taken_back(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    agent = agent_factory(start=False)
    path = with_message(agent)
    agent.start()
    agent.cli("today", "--message", "flood", "--until", "2h", "--by", "M. Durand")
    agent.wait_for("today", different=1)
    call = caller_phone.call(agent.uri())
    began = call.rtp.wait_tone(MESSAGE_HZ)
    then = call.rtp.wait_tone(NOTICE_HZ)
    assert (then - began) / calls.SECOND == pytest.approx(MESSAGE_S, abs=0.4)
    calls.bridged(call, operator_phone).hang_up()
    (recording,) = agent.wait_recordings()
    hash = sha256(path.read_bytes()).hexdigest()
    assert recording["notice"]["message"] == {"file": "prompts/flood.wav", "sha256": hash}
    (receipt,) = agent.wait_receipts()
    assert f"message: flood, sha256 {hash}" in calls.whats(receipt) and receipt["decision"] == "allowed"

    agent.forget()
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(MESSAGE_HZ)
    call.press("9")
    call.rtp.wait_tone(REFUSED_HZ)
    calls.bridged(call, operator_phone).hang_up()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "decision", "decided_by", "phase") == ["refused", "dtmf", "notice"]

    agent.forget()
    agent.cli("today", "--closed", "--until", "1h")
    agent.wait_for("today", different=2)
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(CLOSED_HZ)
    call.wait_ended()
    (receipt,) = agent.wait_receipts()
    assert receipt["outcome"] == "closed" and calls.whats(receipt)[0] == "closed today"

    agent.forget()
    agent.cli("today", "--remove", "2")
    agent.cli("today", "--remove", "1")
    agent.wait_for("today", different=0)
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    call.hang_up()


def test_workers_behind_the_edge_are_told(tmp_path: Path) -> None:
    with ExitStack() as stack:
        town = Town(tmp_path / "agent", stack, desks=1)
        with_message(town.agent)
        town.start()
        stack.callback(town.agent.close)
        for words, hz in (("--message", "flood"), MESSAGE_HZ), (("--closed",), CLOSED_HZ):
            town.agent.cli("today", *words, "--until", "2h")
            assert any(first_tone(town) == hz for _ in range(12))  # calls: workers are told within seconds


def first_tone(town: Town) -> float:
    """What the next caller hears first."""
    call = town.callers[0].call(town.agent.uri())
    heard: list[float] = []

    def one() -> bool:
        tones = call.rtp.listen(0, call.loop.next_frame_ns()).tones()
        heard[:] = [hz for hz in (NOTICE_HZ, MESSAGE_HZ, CLOSED_HZ) if calls.tenths(tones, hz) > 1]
        return bool(heard)

    call.loop.wait_for(one, 20, "a prompt")
    call.end()
    return heard[0]
