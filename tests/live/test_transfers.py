"""Transfers to a colleague by the phone's own keys, and what can go wrong; calls that leave by REFER at once.

In the second half SIPp is the trunk that takes calls, or won't; what the caller hears meanwhile is judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Phone
from sipagent.softphone.sip import Headers
from tests.conftest import PhoneFactory, default_operators
from tests.live import calls
from tests.live.calls import MUSIC_HZ, OPERATOR_HZ, SECOND, WELCOME_HZ
from tests.peers.agent import RunningAgent
from tests.peers.process import free_ports
from tests.peers.sipp import Script, Sipp

pytestmark = pytest.mark.live

COLLEAGUE_HZ = 1600


@pytest.fixture(scope="module")
def colleague_port() -> int:
    return free_ports(1)


@pytest.fixture(scope="module")
def module_agent(
    tmp_path_factory: pytest.TempPathFactory, operator_port: int, colleague_port: int
) -> Iterator[RunningAgent]:
    tables: dict[str, dict[str, Any]] = default_operators(operator_port)
    tables["operators"] |= {"transfer_targets": [f"sip:203@127.0.0.1:{colleague_port}"], "ring_s": 2}
    agent = RunningAgent(tmp_path_factory.mktemp("transfers") / "agent", tables)
    yield agent
    if agent.started:
        agent.close()


@pytest.fixture
def target(phone_factory: PhoneFactory, colleague_port: int) -> Phone:
    phone = phone_factory("203", COLLEAGUE_HZ, port=colleague_port)
    phone.answer = Answering(after_s=0.1)
    return phone


def refers(call: Call, uri: str) -> int | None:
    return call.request("REFER", (("Refer-To", f"<{uri}>"),)).status


def last_told(phone: Phone) -> str:
    """The last word that a phone got about its REFER."""

    def over() -> list[bytes]:
        seen = [one.message for one in phone.seen if one.describe() == "NOTIFY received"]
        return [m.body for m in seen if m.header("Subscription-State").startswith("terminated")]

    phone.loop.wait_for(lambda: bool(over()), PATIENCE_S, f"last NOTIFY at {phone.user}")
    return over()[-1].decode().strip()


def test_who_may_not_transfer_and_where_to(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone
) -> None:
    """The caller never, from the notice on; an operator to nobody else, nor to himself. The call goes on."""
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(calls.NOTICE_HZ)
    assert refers(call, target.uri) == 403
    bridge = calls.bridged(call, operator_phone)
    for uri in (target.uri, f"{operator_phone.uri}{call.replacing()}"):
        assert refers(call, uri) == 403
    for uri in (operator_phone.uri, "sip:+33899000000@127.0.0.1", f"{target.uri};method=BYE", "tel:3637"):
        assert refers(bridge.operator, uri) == 403
    calls.hears_each_other(bridge)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    denied = [event["by"] for event in receipt["events"] if event["what"] == "transfer refused with 403"]
    assert sorted(denied) == ["caller"] * 3 + ["operator"] * 4
    assert target.calls == []
    agent.wait_recordings()


def test_the_caller_comes_back_where_the_colleague_is_busy(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, target: Phone
) -> None:
    """Music meanwhile; then both hear each other again, in the same recording, and the phone knows why."""
    target.answer = Answering(status=486)
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 0.5)
    began = bridge.caller.loop.next_frame_ns()
    assert refers(bridge.operator, target.uri) == 202
    assert last_told(operator_phone).startswith("SIP/2.0 486")
    ended = operator_phone.at("NOTIFY received", operator_phone.count("NOTIFY received") - 1)
    calls.hears_each_other(bridge)
    assert bridge.caller.rtp.listen(began, ended + SECOND // 2).longest_silence_s() <= 2.0
    for lost in target.calls:
        lost.wait_ended()
    assert refers(bridge.operator, target.uri) == 202  # he may try again
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "outcome", "operator") == ["connected", operator_phone.uri]
    (recording,) = agent.wait_recordings()
    assert calls.of(recording, "operator", "incomplete") == [operator_phone.uri, False]
    agent.wait_no_legs()


# --- calls that leave by REFER, and are not recorded ---

FIRST, SECOND_PLACE = "sip:301@127.0.0.1:5999", "sip:302@127.0.0.1:5999"
RING_S = 1
OVER = "terminated;reason=noresource"
FRAG = ("Content-Type", "message/sipfrag;version=2.0")


@pytest.fixture(scope="module")
def module_leaving(tmp_path_factory: pytest.TempPathFactory, operator_port: int) -> Iterator[RunningAgent]:
    """Nothing is recorded here: every call leaves, where it may."""
    tables: dict[str, dict[str, Any]] = default_operators(operator_port)
    tables["operators"] |= {"transfer": "refer", "refer_targets": [FIRST, SECOND_PLACE], "ring_s": RING_S}
    tables["recording"] = {"enabled": False}
    agent = RunningAgent(tmp_path_factory.mktemp("leaving") / "agent", tables)
    yield agent.start()
    agent.close()


@pytest.fixture
def leaving(module_leaving: RunningAgent) -> Iterator[RunningAgent]:
    """With no call up and the past forgotten; afterwards nothing was recorded."""
    module_leaving.forget()
    yield module_leaving
    assert (module_leaving.files(), module_leaving.recordings()) == ([], [])


def outcome(agent: RunningAgent) -> str:
    (receipt,) = agent.wait_receipts()
    return str(receipt["outcome"])


def test_a_call_leaves_for_the_next_place_where_the_first_fails(
    leaving: RunningAgent, operator_phone: Phone, tmp_path: Path
) -> None:
    """Both its legs are free then."""
    script = Script().answered().referred().notifies("100 Trying").notifies("486 Busy Here", OVER)
    script = script.referred().notifies("180 Ringing").pause(500).notifies("200 OK", OVER).hung_up()
    Sipp(tmp_path, script, leaving.address).wait()
    (receipt,) = leaving.wait_receipts()
    kept = calls.of(receipt, "outcome", "operator", "decision", "decided_by", "recording_id")
    assert kept == ["transferred", SECOND_PLACE, "not_allowed", "disabled", None]
    left = [
        f"referred to {FIRST}",
        f"{FIRST}: refused with 486",
        f"referred to {SECOND_PLACE}",
        "transferred",
    ]
    assert calls.whats(receipt)[-4:] == left
    assert operator_phone.calls == []
    leaving.wait_no_legs()


TALKS = 1000 * RING_S + 2000  # ms: until operators have been rung
STAYS = {
    "REFER refused with 405": Script().answered().referred(405),
    "REFER refused with 603": Script().answered().referred(603),
    "nobody took the call by REFER": Script()
    .answered()
    .referred()
    .notifies("486 Busy Here", OVER)
    .referred()
    .notifies("100 Trying", OVER),  # a subscription that ends without a final word has failed, too
    "no word of what became of REFER": Script().answered().referred().notifies("100 Trying"),
}


@pytest.mark.parametrize("why", STAYS)
def test_a_call_that_nobody_takes_is_bridged_after_all(
    leaving: RunningAgent, operator_phone: Phone, tmp_path: Path, why: str
) -> None:
    """Where REFER isn't taken, no other place is asked for; without a word operators ring after `ring_s`."""
    trunk = Sipp(tmp_path, deepcopy(STAYS[why]).speak().pause(TALKS).hang_up(), leaving.address)
    operator = operator_phone.wait_call()
    operator.wait_answered()
    trunk.wait()
    operator.wait_ended()
    (receipt,) = leaving.wait_receipts()
    assert why in calls.whats(receipt)
    assert calls.of(receipt, "outcome", "operator") == ["connected", operator_phone.uri]


def notify(call: Call, status: str, state: str = "active") -> None:
    headers: Headers = (("Event", "refer"), ("Subscription-State", state), FRAG)
    assert call.request("NOTIFY", headers, f"SIP/2.0 {status}\r\n".encode()).status == 200


def test_the_caller_hears_music_until_the_bridge(
    leaving: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """First the one place says nothing, then an operator answers: never two seconds of silence."""
    caller_phone.refer_status = 202
    call = caller_phone.call(leaving.uri())
    call.rtp.wait_tone(WELCOME_HZ)
    caller_phone.wait_at("REFER received")
    call.rtp.wait_tone(MUSIC_HZ)
    bridge = calls.bridged(call, operator_phone)
    heard = call.rtp.listen(caller_phone.at("REFER received"), operator_phone.at("INVITE received"))
    assert heard.longest_silence_s() <= 2.0
    assert calls.tenths(heard.tones(), MUSIC_HZ) >= 4
    notify(call, "200 OK", OVER)  # too late: they talk
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    bridge.hang_up()
    assert outcome(leaving) == "connected"
