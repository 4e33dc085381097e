"""A caller chooses a language by key, and is told in it; who refuses first is told nothing."""

from __future__ import annotations

import hashlib

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import MS, NOTICE_HZ, NOTICE_MS, REFUSED_HZ, WAYS
from tests.peers.agent import ENGLISH_NOTICE_HZ, FIRST_HZ, FIRST_S, RunningAgent

pytestmark = pytest.mark.live

CHOICE = {"choose": "prompts/choose.wav", "choices": {"2": "en"}}


def choosing(agent_factory: AgentFactory) -> RunningAgent:
    english = {"prompts.en": {"notice": "prompts/notice_en.wav"}}
    return agent_factory(prompts=CHOICE, **english)


def sha256(agent: RunningAgent, name: str) -> str:
    return hashlib.sha256((agent.directory / "prompts" / name).read_bytes()).hexdigest()


@pytest.mark.parametrize("way", WAYS)
def test_the_notice_is_said_in_the_language_of_the_key(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, way: str
) -> None:
    """Whole, before anyone rings; the recording's metadata name it."""
    agent = choosing(agent_factory)
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(FIRST_HZ)
    call.press("2", way)  # type: ignore[arg-type]
    began = call.rtp.wait_tone(ENGLISH_NOTICE_HZ)
    rung_ns = operator_phone.wait_at("INVITE received")
    heard = call.rtp.listen(began - 200 * MS, rung_ns).tones()
    english = sum(hz is not None and abs(hz - ENGLISH_NOTICE_HZ) < 20 for hz in heard)
    assert english == pytest.approx(NOTICE_MS / 100, abs=2)
    bridge = calls.bridged(call, operator_phone)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert recording["notice"] == {
        "file": "prompts/notice_en.wav",
        "sha256": sha256(agent, "notice_en.wav"),
    }
    (receipt,) = agent.wait_receipts()
    assert ("language: en", "caller") in [(e["what"], e["by"]) for e in receipt["events"]]
    assert receipt["notice_played_ms"] > NOTICE_MS - 40


def test_who_presses_nothing_hears_the_default_language(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    agent = choosing(agent_factory)
    call = caller_phone.call(agent.uri())
    first_ns = call.rtp.wait_tone(FIRST_HZ)
    notice_ns = call.rtp.wait_tone(NOTICE_HZ)
    assert (notice_ns - first_ns) / 1e9 == pytest.approx(FIRST_S + 3.0, abs=0.3)
    calls.bridged(call, operator_phone).hang_up()
    (recording,) = agent.wait_recordings()
    assert recording["notice"]["sha256"] == sha256(agent, "notice.wav")


@pytest.mark.parametrize("way", WAYS)
def test_who_refuses_while_choosing_is_told_so_and_nothing_else(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, way: str
) -> None:
    agent = choosing(agent_factory)
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(FIRST_HZ)
    call.press("9", way)  # type: ignore[arg-type]
    call.rtp.wait_tone(REFUSED_HZ)
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    heard = call.rtp.listen(0, call.loop.next_frame_ns()).tones()
    for notice_hz in (NOTICE_HZ, ENGLISH_NOTICE_HZ):
        assert not any(hz is not None and abs(hz - notice_hz) < 20 for hz in heard)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    told = [receipt[name] for name in ("decision", "decided_by", "phase", "notice_played_ms")]
    assert told == ["refused", "dtmf", "choice", None]
    assert agent.files() == []
