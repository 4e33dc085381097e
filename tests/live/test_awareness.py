"""Devices that understand RFC 7866: what they are told of the recording, and what they may ask for."""

from __future__ import annotations

import re

import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Phone
from sipagent.softphone.sip import Message
from tests.live import calls
from tests.peers.agent import RunningAgent

pytestmark = pytest.mark.live

AWARE = (("Supported", "record-aware"),)


def told(phone: Phone) -> list[str]:
    """What the agent's re-INVITEs say of the recording, repetitions of a message left out."""
    with phone.loop.lock:
        seen = [one.message for one in phone.seen if not one.sent and one.message.method == "INVITE"]
    offers = [message for message in seen if not message.status and "tag=" in message.header("To")]
    unique = {message.header("CSeq"): message.body.decode() for message in offers}
    return [",".join(re.findall(r"^a=record:(\w+)\r$", body, re.MULTILINE)) for body in unique.values()]


def wait_told(phone: Phone, *wanted: str) -> None:
    phone.loop.wait_for(lambda: told(phone) == list(wanted), PATIENCE_S, f"{wanted} at {phone.user}")


def aware_bridge(agent: RunningAgent, caller: Phone, desk: Phone) -> calls.Bridge:
    desk.answer = Answering(after_s=0.1, headers=AWARE)
    call = caller.call(agent.uri(), headers=AWARE)
    call.wait_answered()
    return calls.bridged(call, desk)


def answer_to(call: Call) -> bytes:
    """The SDP of the agent's 200."""
    assert call.final is not None
    return call.final.body


def wishing(call: Call, wish: str) -> bytes:
    """The phone's SDP with a wish about the recording."""
    return call._sdp() + f"a=recordpref:{wish}\r\n".encode()


def test_both_sides_follow_the_recording_and_no_other_wish_changes_anything(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """On, paused, on again, off: each change once, and the sound goes on."""
    bridge = aware_bridge(agent, caller_phone, operator_phone)
    assert b"a=record:off\r\n" in answer_to(bridge.caller)
    phones = (caller_phone, operator_phone)
    so_far = ["on"]
    for phone in phones:
        wait_told(phone, *so_far)
    for wish in ("on", "pause", "nopreference"):
        answer = bridge.caller.request("INVITE", body=wishing(bridge.caller, wish))
        assert b"a=record:on" in answer.body
    for code, now in (("*6", "paused"), ("*6", "on"), ("*5", "off")):
        for key in code:
            bridge.operator.press(key)
        so_far.append(now)
        for phone in phones:
            wait_told(phone, *so_far)
    calls.hears_each_other(bridge)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert receipt["decided_by"] == "operator"


@pytest.mark.parametrize("sdp", [None, b""], ids=["INVITE", "ACK"])
def test_who_asks_for_no_recording_from_the_beginning(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, sdp: bytes | None
) -> None:
    """It is a refusal: no notice, NO REC, nothing kept. In the ACK it answers the offer that our 200 made."""
    caller_phone.sdp_lines = b"a=recordpref:off\r\n"
    call = caller_phone.call(agent.uri(), sdp=sdp, headers=(("Require", "record-aware"),))
    call.wait_answered()
    assert b"a=record:off\r\n" in answer_to(call)
    operator = operator_phone.wait_call()
    assert calls.shown(operator).startswith("NO REC")
    operator.wait_answered()
    call.hang_up()
    operator.wait_ended()
    (receipt,) = agent.wait_receipts()
    kept = calls.of(receipt, "decision", "decided_by", "notice_played_ms", "recording_id")
    assert kept == ["refused", "sip", None, None]
    assert agent.files() == []


@pytest.mark.parametrize("how", ["offer", "answer"])
def test_a_wish_that_comes_during_the_call(
    agent: RunningAgent,
    caller_phone: Phone,
    operator_phone: Phone,
    how: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a re-INVITE of the phone's, or in its answer to ours: the recording is erased, the talk goes on."""
    if how == "answer":
        plain = Call._sdp

        def wished(self: Call, direction: str | None = None) -> bytes:
            wish = b"a=recordpref:off\r\n" if self.phone is caller_phone and self.acked else b""
            return plain(self, direction) + wish

        monkeypatch.setattr(Call, "_sdp", wished)
        bridge = aware_bridge(agent, caller_phone, operator_phone)
    else:
        bridge = aware_bridge(agent, caller_phone, operator_phone)
        wait_told(caller_phone, "on")
        assert bridge.caller.request("INVITE", body=wishing(bridge.caller, "off")).status == 200
    for phone in (caller_phone, operator_phone):
        wait_told(phone, "on", "off")
    agent.wait_no_files()
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "decision", "decided_by", "phase") == ["refused", "sip", "call"]
    (recording,) = agent.recordings()
    assert recording["status"] == "erased"


def test_a_glare_is_tried_again(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The phone turns our first offer away: one of its own is on its way (RFC 3261 section 14.2)."""
    answering = Call._answer_offer
    turned_away: list[str] = []

    def busy(self: Call, message: Message, headers: tuple[tuple[str, str], ...] = ()) -> None:
        if self.phone is operator_phone and "tag=" in message.header("To") and len(turned_away) < 1:
            turned_away.append(message.header("CSeq"))
            self.phone.respond(message, 491, self._tag)
        else:
            answering(self, message, headers)

    monkeypatch.setattr(Call, "_answer_offer", busy)
    bridge = aware_bridge(agent, caller_phone, operator_phone)
    wait_told(operator_phone, "on", "on")
    assert len(turned_away) == 1
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.hang_up()
