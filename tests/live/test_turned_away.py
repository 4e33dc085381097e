"""Who gets no further than the INVITE, and what no INVITE may do to us."""

from __future__ import annotations

import json
from contextlib import closing, suppress
from pathlib import Path

import pytest

from sipagent.softphone.phone import Phone, PhoneTimeout
from tests.conftest import AgentFactory, PhoneFactory
from tests.live import calls
from tests.peers.agent import RunningAgent
from tests.peers.process import wait_answer
from tests.peers.sender import Sender

pytestmark = pytest.mark.live


@pytest.mark.parametrize("status", [503, 486])
def test_a_second_caller_finds_no_room(
    agent_factory: AgentFactory,
    phone_factory: PhoneFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    status: int,
) -> None:
    agent = agent_factory(capacity={"full_status": status})
    bridge = calls.connect(agent, caller_phone, operator_phone)
    second = phone_factory("+33688888888", 900).call(agent.uri())
    assert second.wait_status() == status
    assert second.final is not None
    assert int(second.final.header("Retry-After")) > 0
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    wait_answer(agent.address)
    bridge.hang_up()
    first, rejected = agent.wait_receipts(2)
    assert (first["outcome"], rejected["outcome"], rejected["answered_at"]) == ("connected", "rejected", None)
    calls.connect(agent, caller_phone, operator_phone).hang_up()


def test_a_stranger_gets_no_further_than_the_door(
    agent: RunningAgent, phone_factory: PhoneFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Counted, not answered, not worth a receipt."""
    stranger = phone_factory("+33699999999", 900, ip="127.0.0.9")
    with pytest.raises(PhoneTimeout):
        stranger.call(agent.uri()).wait_status(1.5)
    agent.wait_for("strangers")
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    (receipt,) = agent.wait_receipts()
    assert receipt["caller"] == "+33612345678"


def test_a_stranger_cannot_end_a_call(
    agent: RunningAgent, phone_factory: PhoneFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """A BYE with a guessed Call-ID and tags of its own."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    stranger = phone_factory("+33699999999", 900, ip="127.0.0.9").call(agent.uri())
    stranger.call_id = bridge.caller.call_id
    stranger.hang_up()
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    assert bridge.operator.ended_ns is None
    bridge.hang_up()


@pytest.mark.parametrize(
    ("dialled", "status"), [("0323063006", 200), ("+33323063006", 200), ("0323063007", 404)]
)
def test_only_our_numbers(
    agent_factory: AgentFactory, caller_phone: Phone, dialled: str, status: int
) -> None:
    agent = agent_factory(trunk={"numbers": ["+33323063006"]})
    call = caller_phone.call(agent.uri(dialled))
    assert call.wait_status() == status
    call.end()
    (receipt,) = agent.wait_receipts()
    assert receipt["outcome"] == ("rejected" if status == 404 else "abandoned")


def test_a_call_that_may_go_no_further_has_a_receipt(agent: RunningAgent) -> None:
    """As one that comes back to us by way of the trunk, again and again (RFC 7332)."""
    with closing(Sender("127.0.0.1", agent.address)) as sender:
        assert sender.call(Max_Forwards="0").status == 483
    (receipt,) = agent.wait_receipts()
    assert [(e["what"], e["by"]) for e in receipt["events"]] == [("rejected with 483", "agent")]


HEAD = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
FOREIGN = b"m=audio 4000 RTP/AVP 18 97\r\na=rtpmap:18 G729/8000\r\na=rtpmap:97 opus/48000/2\r\n"
VIDEO = b"m=video 4000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"


def test_an_offer_we_cannot_take(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    """No media, none that is audio, no codec of ours, and what is no SDP."""
    offers = (HEAD, HEAD + VIDEO, HEAD + FOREIGN, b"this is no SDP\r\n")
    for sdp in offers:
        assert caller_phone.call(agent.uri(), sdp=sdp).wait_status() in (400, 415, 488)
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    outcomes = [receipt["outcome"] for receipt in agent.wait_receipts(len(offers) + 1)]
    assert sorted(outcomes) == ["connected", *["rejected"] * len(offers)]


HOSTILE = {
    "path": '"../../../etc/passwd" <sip:../../x@127.0.0.1>',
    "control": '"a\x01\x1b[31mred\x07\x7f" <sip:+33612345678@127.0.0.1>',
    "quotes": '"\\" <sip:x@y>" <sip:+33612345678@127.0.0.1>',
    "unclosed": '"never closed <sip:+33612345678@127.0.0.1>',
    "percent": "<sip:%00%2e%2e%2f%0d%0aX-Evil:1@127.0.0.1>",
    "latin-1": '"\udce9t\udce9" <sip:+33612345678@127.0.0.1>',
    "braces": '"${jndi:x}{0}%s%n" <sip:+33612345678@127.0.0.1>',
    "json": '"\\",\\"event\\":\\"ready" <sip:+33612345678@127.0.0.1>',
    "10 kB": '"' + "x" * 10_000 + '" <sip:+33612345678@127.0.0.1>',
    "long user": "<sip:" + "9" * 1500 + "@127.0.0.1>",
}


def test_a_hostile_name_names_no_file(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Whatever becomes of those calls: no file elsewhere, a clean log, and the next caller is served."""
    before = elsewhere(agent)
    taken = 0
    for name in HOSTILE.values():
        operator_phone.skip_calls()
        call = caller_phone.call(agent.uri(), from_header=name)
        with suppress(PhoneTimeout):  # too long to be read: as if it had never come
            if call.wait_status(2) == 200:
                calls.bridged(call, operator_phone).hang_up()
                taken += 1
    operator_phone.skip_calls()
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    served = agent.wait_receipts(taken + 1)
    assert [one["outcome"] for one in served].count("connected") == taken + 1
    agent.wait_settled()
    assert {path.name for path in elsewhere(agent) - before} <= {"retention.db", "retention.db-journal"}
    for file in agent.files():
        assert file.replace("-", "").replace(".", "").isalnum()
    assert not [line for _, line in agent.child.lines if any(ord(c) < 32 or ord(c) == 127 for c in line)]
    assert len([e for e in agent.log_events if e.get("event") == "ready"]) == 1
    json.dumps(served)


def elsewhere(agent: RunningAgent) -> set[Path]:
    return {path for path in agent.directory.parent.rglob("*") if "recordings" not in path.parts}


def test_who_asks_for_privacy_leaves_no_number(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    asserted = ("P-Asserted-Identity", "<sip:+33611111111@trunk.example>")
    for headers in ((asserted,), (asserted, ("Privacy", "id"))):
        operator_phone.skip_calls()
        call = caller_phone.call(agent.uri(), headers=headers)
        call.wait_answered()
        calls.bridged(call, operator_phone).hang_up()
    known, private = agent.wait_receipts(2)
    assert (known["caller"], private["caller"]) == ("+33611111111", None)
    names = [operator_phone.calls[i].incoming for i in (0, 1)]
    assert names[1] is not None
    assert "33611111111" not in str(names[1])
    assert f"REC #{private['id'][-6:]}" in str(names[1].header("From"))  # whom the operator tells it
