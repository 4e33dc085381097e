"""Calls with one side over IPv6 and the other over IPv4, behind the edge."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import soundfile

from sipagent.softphone.phone import Answering, Phone
from sipagent.softphone.rtp import RATE, tone
from tests.conftest import AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers import sipp
from tests.peers.agent import NUMBER, RunningAgent, behind_edge
from tests.peers.baresip import Baresip

pytestmark = pytest.mark.live

HERE = {4: "127.0.0.1", 6: "::1"}


def over_both(agent_factory: AgentFactory, *operators: str, **more: Any) -> RunningAgent:
    """An agent that is reached over both; `more`: other keys of its trunk."""
    agent = agent_factory(**behind_edge(2), operators={"extensions": list(operators)}, start=False)
    here = {"listen_ipv6": f"[::1]:{agent.port}", "allowed_sources": ["127.0.0.1/32", "::1/128"]}
    agent.rewrite(trunk=here | more)
    return agent.start()


def uri(agent: RunningAgent, version: int) -> str:
    return f"sip:{NUMBER}@[::1]:{agent.port}" if version == 6 else agent.uri()


@pytest.mark.parametrize(("caller", "operator"), [(6, 4), (4, 6), (6, 6)])
def test_each_side_speaks_its_own(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller: int, operator: int
) -> None:
    """Both hear each other, and the recording has both; through a hold, and ended by either side."""
    one = phone_factory("+33612345678", CALLER_HZ, ip=HERE[caller])
    desk = phone_factory("201", OPERATOR_HZ, ip=HERE[operator])
    desk.answer = Answering()
    agent = over_both(agent_factory, desk.uri)
    call = one.call(uri(agent, caller))
    call.wait_answered()
    bridge = calls.bridged(call, desk)
    for side, version in ((bridge.caller, caller), (bridge.operator, operator)):
        assert side.media and side.media.address[0] == HERE[version]
    bridge.caller.hold()
    bridge.caller.resume()
    calls.hears_each_other(bridge)
    bridge.hang_up("operator" if caller == 4 else "caller")
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)[-4800:-800]
    assert calls.strength(sound[:, 0], CALLER_HZ) > 0.05
    assert calls.strength(sound[:, 1], OPERATOR_HZ) > 0.05


def test_ipv6_alone_with_the_phone_of_another(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, tmp_path: Path
) -> None:
    """baresip on the desk, encrypted; a caller who speaks IPv4 is not there for it."""
    sound = tmp_path / "desk.wav"
    soundfile.write(sound, tone(OPERATOR_HZ, 60), RATE, subtype="PCM_16")
    with ExitStack() as stack:
        desk = Baresip(tmp_path, sound, host="::1", auto_answer=True, encrypts="srtp")
        stack.callback(desk.stop)
        operators = {"extensions": [desk.uri], "srtp": "optional"}
        agent = agent_factory(**behind_edge(2), operators=operators, start=False)
        agent.rewrite(trunk={"listen": f"[::1]:{agent.port}", "allowed_sources": ["::1/128"]})
        agent.start()
        call = phone_factory("+33612345678", CALLER_HZ, ip="::1").call(uri(agent, 6))
        call.rtp.wait_tone(OPERATOR_HZ)
        desk.child.wait_line(lambda line: "SRTP is Enabled" in line)
        calls.talk(call, 1.0)
        refused = phone_factory("+33612345679", CALLER_HZ, ip="::1", media_ip="127.0.0.1").call(uri(agent, 6))
        assert refused.wait_status() == 488
        call.hang_up()
        (recording,) = agent.wait_recordings()
        sound_of = agent.sound(recording)
        for side, hz in enumerate((CALLER_HZ, OPERATOR_HZ)):
            assert calls.strength(sound_of[4000:-800, side], hz) > 0.05


def test_sipp_refuses_by_real_events(
    agent_factory: AgentFactory, operator_phone: Phone, tmp_path: Path
) -> None:
    """Over IPv6, for an operator over IPv4."""
    agent = over_both(agent_factory, operator_phone.uri)
    caller = sipp.refuses(tmp_path, ("::1", agent.port))
    assert calls.shown(operator_phone.wait_call()).startswith("NO REC")
    assert caller.wait(60) == 0, caller.tail()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "decision", "dtmf_method") == ["refused", "rfc4733"]
    assert agent.files() == []
