"""A refusal by key is heard in its three forms, at any time, and nothing recorded survives it."""

from __future__ import annotations

import pytest

from sipagent.softphone.phone import Answering, Phone, Way
from tests.conftest import AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, METHODS, MS, NOTICE_HZ, NOTICE_MS, OPERATOR_HZ, REFUSED_HZ, SECOND
from tests.peers.agent import NOTICE_S, WINDOW_S, RunningAgent

pytestmark = pytest.mark.live

WAYS: tuple[Way, ...] = ("rfc4733", "info", "info-dtmf", "inband")


def assert_refused(agent: RunningAgent, phase: str, way: Way) -> None:
    (receipt,) = agent.wait_receipts()
    told = [receipt[name] for name in ("decision", "decided_by", "phase", "dtmf_method", "outcome")]
    assert told == ["refused", "dtmf", phase, METHODS[way], "connected"]
    assert agent.files() == []
    assert [row for row in agent.recordings() if row["status"] != "erased"] == []


@pytest.mark.parametrize("way", WAYS)
def test_during_the_notice(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, way: Way) -> None:
    """The notice stops at once, the caller hears that it was understood, the phone shows NO REC."""
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    pressed = call.pressed_ns(call.press("9", way))
    call.rtp.wait_tone(REFUSED_HZ)
    bridge = calls.bridged(call, operator_phone)
    notice = [p for p in call.rtp.listen(pressed, pressed + SECOND).tones() if p and abs(p - NOTICE_HZ) < 20]
    assert len(notice) <= 4  # tenths of a second: the key itself, its detection, a jitter buffer
    assert calls.shown(bridge.operator).startswith("NO REC")
    assert agent.files() == []
    bridge.hang_up()
    assert_refused(agent, "notice", way)


@pytest.mark.parametrize("way", WAYS)
def test_in_the_window(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, way: Way) -> None:
    call = caller_phone.call(agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ) - 80 * MS
    call.press("9", way, at_ns=started + int(NOTICE_S * SECOND) + int(WINDOW_S / 2 * SECOND))
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    bridge.hang_up()
    assert_refused(agent, "window", way)


@pytest.mark.parametrize("way", WAYS)
def test_in_the_call(
    agent: RunningAgent, phone_factory: PhoneFactory, operator_phone: Phone, way: Way
) -> None:
    """The tap stops, the file goes, the row says so; the talk goes on. In-band: where there is no event."""
    caller = phone_factory("+33612345678", CALLER_HZ, event_type=None if way == "inband" else 101)
    bridge = calls.connect(agent, caller, operator_phone)
    agent.wait_files(lambda files: any(f.endswith(".part") for f in files))
    bridge.caller.press("9", way, ms=100)
    agent.wait_files(lambda files: files == [])
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(CALLER_HZ)
    bridge.hang_up()
    assert_refused(agent, "call", way)
    (recording,) = agent.recordings()
    assert (recording["status"], recording["path"], recording["decision"]) == ("erased", None, "refused")


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_an_event_whose_first_packets_are_lost(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, lost: int
) -> None:
    """RFC 4733, 2.5.1.2: any packet of an event tells it."""
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    call.press("9", lose=lost)
    bridge = calls.bridged(call, operator_phone)
    bridge.hang_up()
    assert_refused(agent, "notice", "rfc4733")


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
        bridge = calls.bridged(call, operator_phone)
        calls.talk(bridge.caller, 0.5)
        bridge.hang_up()
    receipts = agent.wait_receipts(2)
    assert [r["decision"] for r in receipts] == ["refused"] * 2
    assert agent.files() == []


def test_other_keys_refuse_nothing(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    for key in "50*#":
        call.pressed_ns(call.press(key))
    calls.bridged(call, operator_phone).hang_up()
    (receipt,) = agent.wait_receipts()
    assert receipt["decision"] == "allowed"
    assert receipt["notice_played_ms"] > NOTICE_MS - 40  # to its end; a busy machine tells so late


@pytest.mark.parametrize("moment", [None, "notice", "window"])
def test_opt_in_needs_a_yes(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, moment: str | None
) -> None:
    agent = agent_factory(refusal={"mode": "opt_in"})
    call = caller_phone.call(agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ)
    if moment:
        call.press("1", at_ns=started + (300 if moment == "notice" else NOTICE_MS + 200) * MS)
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("REC" if moment else "NO REC")
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    expected = ("allowed", "dtmf") if moment else ("not_allowed", "silence")
    assert (receipt["decision"], receipt["decided_by"]) == expected
    assert receipt["notice_played_ms"] > NOTICE_MS - 40
    assert len(agent.recordings()) == (1 if moment else 0)


def test_a_notice_put_on_hold_allows_nothing(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    call.hold("inactive")
    call.resume()
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["decision"], receipt["decided_by"]) == ("not_allowed", "notice_failed")
    assert (agent.recordings(), agent.files()) == ([], [])
