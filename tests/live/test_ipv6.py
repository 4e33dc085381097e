"""Calls with one side over IPv6 and the other over IPv4, behind the edge."""

from __future__ import annotations

from typing import Any

import pytest

from sipagent.softphone.phone import Answering
from tests.conftest import AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers.agent import NUMBER, RunningAgent, behind_edge

pytestmark = pytest.mark.live

HERE = {4: "127.0.0.1", 6: "::1"}


def over_both(agent_factory: AgentFactory, *operators: str, **more: Any) -> RunningAgent:
    """An agent that is reached over both."""
    agent = agent_factory(**behind_edge(2), operators={"extensions": list(operators)}, start=False, **more)
    agent.rewrite(
        trunk={"listen_ipv6": f"[::1]:{agent.port}", "allowed_sources": ["127.0.0.1/32", "::1/128"]}
    )
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
