"""What the receipt tells of a line that loses and delays sound; and of one over which nothing comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sipagent.softphone.phone import Answering, Loop, Phone
from sipagent.softphone.rtp import SteadyTone
from tests.bench.mixes import true_mos
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, OPERATOR_HZ
from tests.peers.agent import RunningAgent
from tests.relay import FarPhone, Mix

pytestmark = pytest.mark.live

LOSSY = Mix(loss=0.08, burst=2.0, delay_ms=30.0, jitter_ms=20.0, seed=4)
FAR = Mix(loss=0.02, delay_ms=200.0, seed=6)
TALK_S = 8.0  # a report by RTCP, and its answer, come within


@pytest.fixture
def far(phone_loop: Loop) -> Iterator[tuple[FarPhone, FarPhone]]:
    """A caller and a desk."""
    with FarPhone(phone_loop, "+33612345678") as caller, FarPhone(phone_loop, "201") as desk:
        caller.sound, desk.sound = lambda: SteadyTone(CALLER_HZ), lambda: SteadyTone(OPERATOR_HZ)
        desk.answer = Answering(after_s=0.1)
        yield caller, desk


def test_what_a_line_has_done_is_what_the_receipt_tells(
    agent_factory: AgentFactory, far: tuple[FarPhone, FarPhone]
) -> None:
    """A busy machine makes a line worse, and never better."""
    agent = agent_factory(operators={"extensions": [far[1].uri]})
    for phone, mix in zip(far, (LOSSY, FAR), strict=True):
        phone.mixes = mix, Mix(delay_ms=mix.delay_ms)
    bridge = calls.connect(agent, *far)
    calls.talk(bridge.caller, TALK_S)
    through(bridge, *far)
    bridge.caller.hang_up()
    bridge.operator.wait_ended()
    (receipt,) = agent.wait_receipts()
    quality = receipt["quality"]
    assert quality["one_way"] is None
    for phone, side in zip(far, ("caller", "operator"), strict=True):
        told, way = quality[side], phone.line.there
        counts = told["packets"], told["lost"], told["lost_bursts"]  # but for the last that come
        assert counts == pytest.approx((way.fates.count(False), way.lost, way.bursts), abs=1)
        assert told["codec"] == "PCMA" and way.lost > 5
        assert told["concealed_ms"] > 20 * way.lost - 50
        assert told["rtt_ms"] > 2 * way.mix.delay_ms - 1 and told["mos"] < true_mos(phone.line) + 0.1
    assert quality["caller"]["jitter_ms"] > 4
    assert quality["caller"]["level_dbov"] == pytest.approx(-15.3, abs=1.0)


def through(bridge: calls.Bridge, *phones: FarPhone) -> None:
    """Wait until all that both have sent has come, or is lost."""
    for side in (bridge.caller, bridge.operator):
        side.rtp.play(None)
    bridge.caller.loop.wait_for(lambda: all(one.line.there.is_through for one in phones), 5, "last packet")


def test_a_caller_from_whom_nothing_comes_is_told_of(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    caller_phone.sound = lambda: None
    call = caller_phone.call(agent.uri())
    operator = operator_phone.wait_call()
    call.rtp.wait_tone(OPERATOR_HZ)
    call.hang_up()
    operator.wait_ended()
    (receipt,) = agent.wait_receipts()
    quality = receipt["quality"]
    assert (quality["one_way"], quality["caller"]["packets"], quality["caller"]["mos"]) == ("caller", 0, None)
    assert quality["operator"]["packets"] > 0 and quality["operator"]["mos"] is not None
