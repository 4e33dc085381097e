"""Calls that leave by REFER: SIPp as the trunk that takes them, or won't; what the caller hears meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipagent.softphone.phone import Answering, Call, Phone
from sipagent.softphone.sip import Headers
from tests.conftest import default_operators
from tests.live import calls
from tests.live.calls import MUSIC_HZ, REFUSED_HZ, SECOND, WELCOME_HZ
from tests.peers.agent import RunningAgent
from tests.peers.sipp import Script, Sipp

pytestmark = pytest.mark.live

FIRST, SECOND_PLACE = "sip:301@127.0.0.1:5999", "sip:302@127.0.0.1:5999"
RING_S = 1
OVER = "terminated;reason=noresource"
FRAG = ("Content-Type", "message/sipfrag;version=2.0")


@pytest.fixture(scope="module")
def module_agent(tmp_path_factory: pytest.TempPathFactory, operator_port: int) -> Iterator[RunningAgent]:
    """Nothing is recorded here: every call leaves, where it may."""
    tables: dict[str, dict[str, Any]] = default_operators(operator_port)
    tables["operators"] |= {"transfer": "refer", "refer_targets": [FIRST, SECOND_PLACE], "ring_s": RING_S}
    tables["recording"] = {"enabled": False}
    agent = RunningAgent(tmp_path_factory.mktemp("leaving") / "agent", tables)
    yield agent
    if agent.started:
        agent.close()


def sipp(agent: RunningAgent, folder: Path, script: Script) -> Sipp:
    return Sipp(folder, script, agent.address)


def told(agent: RunningAgent) -> list[str]:
    (receipt,) = agent.wait_receipts()
    return [event["what"] for event in receipt["events"]]


def test_a_call_leaves_and_both_its_legs_are_free(
    agent: RunningAgent, operator_phone: Phone, tmp_path: Path
) -> None:
    script = Script().answered().referred().notifies("100 Trying").notifies("180 Ringing").pause(500)
    sipp(agent, tmp_path, script.notifies("200 OK", OVER).hung_up()).wait()
    (receipt,) = agent.wait_receipts()
    kept = [receipt[name] for name in ("outcome", "operator", "decision", "decided_by", "recording_id")]
    assert kept == ["transferred", FIRST, "not_allowed", "disabled", None]
    assert (operator_phone.calls, agent.files(), agent.recordings()) == ([], [], [])
    agent.wait_no_legs()


def test_the_next_place_is_tried_where_the_first_fails(
    agent: RunningAgent, operator_phone: Phone, tmp_path: Path
) -> None:
    script = Script().answered().referred().notifies("100 Trying").notifies("486 Busy Here", OVER)
    sipp(agent, tmp_path, script.referred().notifies("200 OK", OVER).hung_up()).wait()
    assert told(agent)[-4:] == [
        f"referred to {FIRST}",
        f"{FIRST}: refused with 486",
        f"referred to {SECOND_PLACE}",
        "transferred",
    ]
    assert operator_phone.calls == []


@pytest.mark.parametrize("status", [405, 603])
def test_a_trunk_that_will_not_have_it(
    agent: RunningAgent, operator_phone: Phone, tmp_path: Path, status: int
) -> None:
    """The bridge after all: no other place is asked for, since it is REFER that isn't taken."""
    trunk = sipp(agent, tmp_path, Script().answered().referred(status).speak().pause(2500).hang_up())
    operator = operator_phone.wait_call(15)
    operator.wait_answered()
    trunk.wait()
    operator.wait_ended()
    assert f"REFER refused with {status}" in told(agent)
    (receipt,) = agent.receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", operator_phone.uri)
    assert agent.files() == []


@pytest.mark.parametrize("words", [["486 Busy Here", "603 Decline"], ["100 Trying", "100 Trying"]])
def test_nobody_there_takes_it(
    agent: RunningAgent, operator_phone: Phone, tmp_path: Path, words: list[str]
) -> None:
    """A subscription that ends without a final word has failed, too."""
    script = Script().answered()
    for word in words:
        script = script.referred().notifies(word, OVER)
    trunk = sipp(agent, tmp_path, script.speak().pause(2500).hang_up())
    operator_phone.wait_call(15).wait_answered()
    trunk.wait()
    assert "nobody took the call by REFER" in told(agent)
    assert agent.receipts()[0]["outcome"] == "connected"


def test_a_trunk_that_says_no_more(agent: RunningAgent, operator_phone: Phone, tmp_path: Path) -> None:
    """Operators ring after `ring_s`; who has answered keeps the caller, whatever comes late."""
    script = Script().answered().referred().notifies("100 Trying").speak().pause(1000 * RING_S + 2000)
    trunk = sipp(agent, tmp_path, script.hang_up())
    operator_phone.wait_call(15).wait_answered()
    trunk.wait()
    assert "no word of what became of REFER" in told(agent)
    assert agent.receipts()[0]["outcome"] == "connected"


# --- what the caller hears ---


def notify(call: Call, status: str, state: str = "active") -> None:
    headers: Headers = (("Event", "refer"), ("Subscription-State", state), FRAG)
    assert call.request("NOTIFY", headers, f"SIP/2.0 {status}\r\n".encode()).status == 200


def test_the_caller_hears_music_until_the_bridge(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """First the one place says nothing, then an operator answers: never two seconds of silence."""
    caller_phone.refer_status = 202
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(WELCOME_HZ)
    caller_phone.wait_at("REFER received")
    call.rtp.wait_tone(MUSIC_HZ)
    bridge = calls.bridged(call, operator_phone)
    heard = call.rtp.listen(caller_phone.at("REFER received"), operator_phone.at("INVITE received"))
    assert heard.longest_silence_s() <= 2.0
    assert sum(hz is not None and abs(hz - MUSIC_HZ) < 20 for hz in heard.tones()) >= 4
    notify(call, "200 OK", OVER)  # too late: they talk
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.hang_up()
    assert agent.wait_receipts()[0]["outcome"] == "connected"


def test_a_success_while_operators_ring_still_counts(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    operator_phone.answer = Answering(status=None)
    caller_phone.refer_status = 202
    call = caller_phone.call(agent.uri())
    operator = operator_phone.wait_call(15)
    notify(call, "200 OK", OVER)
    call.wait_ended()
    operator.wait_ended()
    assert agent.wait_receipts()[0]["outcome"] == "transferred"
    agent.wait_no_legs()


def test_a_refusal_while_the_call_leaves(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """It is heard, it counts, and where the call stays it shows as NO REC."""
    caller_phone.refer_status = 202
    call = caller_phone.call(agent.uri())
    caller_phone.wait_at("REFER received")
    call.press("9")
    call.rtp.wait_tone(REFUSED_HZ)
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["decision"], receipt["decided_by"], receipt["phase"]) == ("refused", "dtmf", "call")
    assert agent.files() == []


def test_a_caller_who_hangs_up_on_the_way(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    caller_phone.refer_status = 202
    call = caller_phone.call(agent.uri())
    caller_phone.wait_at("REFER received")
    notify(call, "180 Ringing")
    call.hang_up()
    assert agent.wait_receipts()[0]["outcome"] == "abandoned"
    assert operator_phone.calls == []
    agent.wait_no_legs()


def test_a_trunk_that_does_not_even_answer(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Operators ring after `ring_s` then, too, and the REFER is not sent again."""
    caller_phone.refer_status = None
    call = caller_phone.call(agent.uri())
    bridge = calls.bridged(call, operator_phone)
    began, rung = caller_phone.at("REFER received"), operator_phone.at("INVITE received")
    assert (rung - began) / SECOND > RING_S - 0.2
    sent = caller_phone.count("REFER received")
    calls.talk(call, 4.5)  # the longest pause between two
    assert caller_phone.count("REFER received") == sent
    bridge.hang_up()
    assert agent.wait_receipts()[0]["outcome"] == "connected"
