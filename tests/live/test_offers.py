"""Offers in the midst of a call: no audio, another codec or address. It goes on, and the file is valid."""

from __future__ import annotations

import re

import pytest

from sipagent.softphone.phone import Phone, PhoneError
from sipagent.softphone.rtp import RATE, SteadyTone
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers.agent import RunningAgent

pytestmark = pytest.mark.live


@pytest.mark.parametrize("side", ["caller", "operator"])
def test_the_recording_goes_on_whatever_is_offered(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, side: str
) -> None:
    """Both channels carry their side, and it alone, from end to end, to what was said last."""
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
    for call, last_hz in ((bridge.caller, CALLER_HZ + 200), (bridge.operator, OPERATOR_HZ + 400)):
        call.rtp.play(SteadyTone(last_hz))
    bridge.caller.rtp.wait_tone(OPERATOR_HZ + 400)
    bridge.operator.rtp.wait_tone(CALLER_HZ + 200)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert (recording["incomplete"], recording["pauses"]) == (False, [])
    sound = agent.sound(recording)
    assert recording["duration_s"] == pytest.approx(len(sound) / RATE, abs=0.001)
    for channel, (first, last) in enumerate(((CALLER_HZ, CALLER_HZ + 200), (OPERATOR_HZ, OPERATOR_HZ + 400))):
        heard = [one for one in calls.tones_of(sound[:, channel]) if one is not None]
        near = [next((hz for hz in (first, last) if abs(one - hz) <= 20), None) for one in heard]
        assert near.count(None) <= 0.2 * len(heard), heard
        told = [one for one in near if one is not None]
        assert told == sorted(told) and {*told} == {first, last}
