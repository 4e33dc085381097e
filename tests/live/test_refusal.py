"""A refusal by key is heard in its forms, at any time, also in a choice of language; nothing survives it."""

from __future__ import annotations

from signal import SIGHUP

import pytest

from sipagent.softphone.phone import Answering, Phone, Way
from tests.conftest import AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, METHODS, MS, NOTICE_HZ, REFUSED_HZ, SECOND
from tests.peers.agent import NOTICE_S, WINDOW_S, RunningAgent

pytestmark = pytest.mark.live

WAYS: tuple[Way, ...] = ("rfc4733", "info", "info-dtmf", "inband")


def assert_refused(agent: RunningAgent, phase: str, way: Way) -> None:
    (receipt,) = agent.wait_receipts()
    told = calls.of(receipt, "decision", "decided_by", "phase", "dtmf_method", "outcome")
    assert told == ["refused", "dtmf", phase, METHODS[way], "connected"]
    assert agent.files() == []
    assert {row["status"] for row in agent.recordings()} <= {"erased"}


@pytest.mark.parametrize("way", WAYS)
def test_during_the_notice(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, way: Way) -> None:
    """The notice stops at once, the caller hears that it was understood, the phone shows NO REC."""
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    pressed = call.pressed_ns(call.press("9", way))
    call.rtp.wait_tone(REFUSED_HZ)
    bridge = calls.bridged(call, operator_phone)
    # tenths of a second: the key itself, its detection, a jitter buffer
    assert calls.tenths(call.rtp.listen(pressed, pressed + SECOND).tones(), NOTICE_HZ) <= 4
    assert calls.shown(bridge.operator).startswith("NO REC")
    assert agent.files() == []
    bridge.hang_up()
    assert_refused(agent, "notice", way)


@pytest.mark.parametrize("way", WAYS)
def test_in_the_call(
    agent: RunningAgent, phone_factory: PhoneFactory, operator_phone: Phone, way: Way
) -> None:
    """The tap stops, the file goes, the row says so; the talk goes on. In-band: where there is no event."""
    caller = phone_factory("+33612345678", CALLER_HZ, event_type=None if way == "inband" else 101)
    bridge = calls.connect(agent, caller, operator_phone)
    agent.wait_part()
    bridge.caller.press("9", way, ms=100)
    agent.wait_no_files()
    calls.hears_each_other(bridge)
    bridge.hang_up()
    assert_refused(agent, "call", way)
    (recording,) = agent.recordings()
    assert calls.of(recording, "status", "path", "decision") == ["erased", None, "refused"]


@pytest.mark.parametrize("way", ["rfc4733", "info", "inband"])
def test_a_key_just_before_the_window_closes_wins(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, way: Way
) -> None:
    """Begun 50 and 80 ms before the close, while an operator picks up at once: never a recording."""
    operator_phone.answer = Answering(after_s=0, ring=False)
    for early_ms in (50, 80):
        operator_phone.skip_calls()
        call = caller_phone.call(agent.uri())
        started = call.rtp.wait_tone(NOTICE_HZ) - 80 * MS
        call.press("9", way, at_ns=started + int((NOTICE_S + WINDOW_S) * SECOND) - early_ms * MS)
        calls.bridged(call, operator_phone).hang_up()
    receipts = agent.wait_receipts(2)
    assert [receipt["decision"] for receipt in receipts] == ["refused"] * 2
    assert agent.files() == []


def test_the_log_of_an_agent_that_was_started_in_french_is_english(agent_factory: AgentFactory) -> None:
    """What keeps it from starting is said in French: to a person."""
    agent = agent_factory("--lang", "fr")
    agent.rewrite(service={"timezone": "nowhere"})
    agent.child.signal(SIGHUP)
    refused = agent.wait_for("reload_refused")
    assert "'nowhere' is not a time zone; accepted: a time zone such as" in str(refused)
    agent.rewrite(service={"timezone": "Europe/Paris"})
    assert all(line.isascii() for _, line in agent.child.lines)
    other = agent_factory(start=False, trunk={"listen": "nowhere"})
    other.start("--lang", "fr", wait=None)
    assert other.child.wait() == 2
    (said,) = [line for _, line in other.child.lines]
    assert (
        "trunk.listen\u00a0: 'nowhere' n’est pas hôte:port\u202f; attendu\u00a0: adresse:port comme" in said
    )
