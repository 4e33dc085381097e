"""Offers in the midst of a call: no audio, another codec or address. It goes on, and the file is valid."""

from __future__ import annotations

import re

import pytest

from sipagent.softphone.phone import Phone, PhoneError
from sipagent.softphone.rtp import RATE, Silence
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ, SECOND
from tests.peers.agent import RunningAgent

pytestmark = pytest.mark.live


@pytest.mark.parametrize("side", ["caller", "operator"])
def test_the_recording_goes_on_whatever_is_offered(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, side: str
) -> None:
    """Both channels carry their side from end to end, aligned, and last as long as the talk."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    who = bridge.caller if side == "caller" else bridge.operator
    calls.talk(bridge.caller, 0.8)
    with pytest.raises(PhoneError, match="488"):
        who.offer(re.sub(rb"m=audio \d+", b"m=audio 0", who._sdp()))
    for method in ("INVITE", "UPDATE"):
        calls.talk(bridge.caller, 0.4)
        codec = (b"RTP/AVP 8 0", b"RTP/AVP 0") if method == "INVITE" else (b"RTP/AVP 8 0", b"RTP/AVP 8")
        who.offer(who._sdp().replace(*codec), method)
        assert who.rtp.payload_type == (0 if method == "INVITE" else 8)
        calls.talk(bridge.caller, 0.4)
        old, who.rtp = who.rtp, who.phone.new_rtp()
        who.offer(who._sdp(), method)
        old.close()
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(CALLER_HZ)
    calls.talk(bridge.caller, 0.4)
    click_ns = bridge.caller.loop.next_frame_ns() + SECOND // 5
    for call in (bridge.caller, bridge.operator):
        call.rtp.play(Silence())
        call.rtp.overlay(calls.chirp(), click_ns)
    calls.talk(bridge.caller, 1.0)
    ended_ns = bridge.caller.hang_up()
    bridge.operator.wait_ended()
    (recording,) = agent.wait_recordings()
    assert (recording["incomplete"], recording["pauses"]) == (False, [])
    sound = agent.sound(recording)
    places = [calls.place_of(calls.chirp(), sound[:, channel]) for channel in (0, 1)]
    assert abs(places[0] - places[1]) <= 0.06 * RATE
    for channel, hz in enumerate((CALLER_HZ, OPERATOR_HZ)):
        heard = calls.tones_of(sound[: places[channel] - RATE // 5, channel])
        right = sum(one is not None and abs(one - hz) <= 20 for one in heard)
        assert right >= 0.8 * len(heard), heard
    assert recording["duration_s"] == pytest.approx(len(sound) / RATE, abs=0.001)
    after_click_s = (len(sound) - places[0]) / RATE
    assert after_click_s == pytest.approx((ended_ns - click_ns) / SECOND, abs=0.6)
