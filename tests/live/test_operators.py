"""The hunt: one operator after the other, what their phones show, and a PBX that asks who is calling."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sipagent.softphone.phone import Answering, Challenge, Phone
from tests.conftest import OPERATOR_HZ, AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import NOTICE_HZ, SECOND, UNAVAILABLE_HZ
from tests.peers.agent import NOTICE_S, WINDOW_S
from tests.peers.process import free_ports

pytestmark = pytest.mark.live

UNWILLING = {
    "busy": Answering(status=486),
    "declines": Answering(status=603),
    "away": Answering(status=480),
    "broken": Answering(status=500, ring=False),
    "rings on": Answering(status=None),
}
OFF = ("away", "broken", "unreachable", "silent")  # it may be: a PBX says 480 of a phone that it has lost


@pytest.mark.parametrize("why", [*UNWILLING, "unreachable", "silent"])
def test_the_next_one_is_rung(
    agent_factory: AgentFactory,
    phone_factory: PhoneFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    why: str,
) -> None:
    first = phone_factory("200", 1200)
    first.answer = UNWILLING.get(why, Answering(silent=True))
    uri = f"sip:200@127.0.0.1:{free_ports(1)}" if why == "unreachable" else first.uri
    agent = agent_factory(operators={"extensions": [uri, operator_phone.uri], "ring_s": 1.5})
    call = caller_phone.call(agent.uri())
    bridge = calls.bridged(call, operator_phone)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", operator_phone.uri)
    assert call.rtp.listen(call.rtp.heard[0].at_ns, call.ended_ns).longest_silence_s() <= 2.0
    if why == "rings on":
        first.wait_at("CANCEL received")
    for one in first.calls:
        one.wait_ended()
    warned = [(w["operator"], w["problem"]) for w in agent.log_events if w["event"] == "operator_failed"]
    assert warned == ([(uri, "unreachable")] if why in OFF else [])


def test_nobody_comes_to_the_phone(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    operator_phone.answer = Answering(status=486)
    agent = agent_factory(operators={"extensions": [operator_phone.uri], "max_wait_s": 2})
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(UNAVAILABLE_HZ)
    call.wait_ended()
    assert call.ended_by == "them"
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"], receipt["connected_at"]) == ("unavailable", None, None)
    assert (agent.recordings(), agent.files()) == ([], [])


def test_a_waiting_caller_hears_music_and_never_two_seconds_of_silence(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    operator_phone.answer = Answering(after_s=4)
    agent = agent_factory()
    call = caller_phone.call(agent.uri())
    call.wait_answered()
    rung = operator_phone.wait_at("INVITE received")
    bridge = calls.bridged(call, operator_phone)
    waiting = call.rtp.listen(rung, rung + 4 * SECOND)
    assert sum(hz is not None and abs(hz - calls.MUSIC_HZ) < 20 for hz in waiting.tones()) > 30
    assert waiting.longest_silence_s() <= 2
    bridge.hang_up()


@pytest.mark.parametrize("status", [401, 407])
def test_a_pbx_that_challenges_the_invite(
    agent_factory: AgentFactory, tmp_path: Path, caller_phone: Phone, operator_phone: Phone, status: int
) -> None:
    operator_phone.challenge = Challenge("pbx.test", "gate", "open sesame", status)
    (tmp_path / "pbx-password").write_text("open sesame\n")
    login = {"username": "gate", "password_file": str(tmp_path / "pbx-password")}
    agent = agent_factory(operators={"extensions": [operator_phone.uri], **login})
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    assert operator_phone.count(f"{status} INVITE sent") <= 2  # once to learn the realm
    invites = [one.message for one in operator_phone.seen if one.describe() == "INVITE received"]
    assert {*invites[0].all("Max-Forwards")} == {"69"}, "the caller's, less one (RFC 7332)"
    assert len({one.header("Max-Forwards") for one in invites}) == 1
    (receipt,) = agent.wait_receipts()
    assert receipt["outcome"] == "connected"


def test_a_pbx_that_knows_another_password(
    agent_factory: AgentFactory,
    tmp_path: Path,
    caller_phone: Phone,
    operator_phone: Phone,
    phone_factory: PhoneFactory,
) -> None:
    """No storm of attempts, and the next operator is rung.

    One INVITE learns the realm; the next is challenged again, and tries each of up to three new nonces.
    """
    operator_phone.challenge = Challenge("pbx.test", "gate", "open sesame")
    (tmp_path / "pbx-password").write_text("wrong\n")
    second = phone_factory("203", OPERATOR_HZ)
    login = {"username": "gate", "password_file": str(tmp_path / "pbx-password")}
    agent = agent_factory(operators={"extensions": [operator_phone.uri, second.uri], **login})
    calls.connect(agent, caller_phone, second).hang_up()
    assert operator_phone.count("INVITE received") <= 5
    assert "wrong" not in agent.child.tail(10_000)


@pytest.mark.parametrize("shape", ["lone", "edge"])
def test_only_the_pbx_is_given_its_password(
    agent_factory: AgentFactory,
    tmp_path: Path,
    caller_phone: Phone,
    phone_factory: PhoneFactory,
    shape: str,
) -> None:
    """Whoever else asks, also in its realm and within its dialog, gets nothing.

    Behind the edge all workers know the realm that the PBX has asked one of them in.
    """
    pbx, stranger = (phone_factory("201", OPERATOR_HZ, ip=ip) for ip in ("127.0.0.4", "127.0.0.5"))
    for phone in (pbx, stranger):
        phone.challenge = Challenge("pbx.test", "gate", "open sesame", within=("BYE",))
    (tmp_path / "pbx-password").write_text("open sesame\n")
    login = {"username": "gate", "password_file": str(tmp_path / "pbx-password")}
    workers, rtp = free_ports(8), free_ports(80)
    agent = agent_factory(
        start=False,
        trunk={"rtp_ports": f"{rtp}-{rtp + 79}"},
        edge={"worker_ports": f"{workers}-{workers + 7}"},
        capacity={"calls": 2, "calls_per_process": 1} if shape == "edge" else {},
        operators={"extensions": [pbx.uri], **login},
    )
    agent.start()
    calls.connect(agent, caller_phone, pbx).hang_up()
    pbx.contact = stranger.uri
    bridge = calls.connect(agent, caller_phone, pbx)
    bridge.caller.hang_up()
    stranger.wait_at("407 BYE sent")
    pbx.contact = ""
    calls.connect(agent, caller_phone, pbx).hang_up()
    assert (stranger.count("BYE received"), pbx.count("BYE received")) == (1, 4)
    assert not [one for one in stranger.seen if one.message.header("Proxy-Authorization")]
    assert pbx.count("407 INVITE sent") == 4  # the first call learns the realm
    reasons = [event["reason"] for event in agent.log_events if event["event"] == "alert"]
    said = "127.0.0.5 asks for a password, and gets none: it is no address of operators.extensions"
    assert reasons == [said]


def test_operators_behind_a_proxy(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """`outbound_proxy` is where the INVITE goes, whatever the extension's address says."""
    host, port = operator_phone.address
    agent = agent_factory(
        operators={"extensions": ["sip:201@192.0.2.77"], "outbound_proxy": f"sip:{host}:{port};lr"}
    )
    bridge = calls.connect(agent, caller_phone, operator_phone)
    assert bridge.operator.incoming is not None
    assert bridge.operator.incoming.request_uri.startswith("sip:201@192.0.2.77")
    bridge.hang_up()


@pytest.mark.parametrize(
    ("side", "direction"),
    [
        *((side, way) for side in ("caller", "operator") for way in ("sendonly", "inactive")),
        ("caller", "UPDATE"),
        ("operator", "0.0.0.0"),
    ],
)
def test_hold_is_silence_on_both_channels(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, side: str, direction: str
) -> None:
    """While a side holds both channels are silent; the other side hears music, ours or the holder's."""
    agent = agent_factory()
    bridge = calls.connect(agent, caller_phone, operator_phone)
    holder, other = (bridge.caller, bridge.operator)[:: 1 if side == "caller" else -1]
    began = holder.loop.next_frame_ns()
    if direction == "0.0.0.0":  # RFC 3264 section 8.4
        holder.offer(holder._sdp().replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 0.0.0.0"))
    elif direction == "UPDATE":
        holder.hold("inactive", "UPDATE")
    else:
        holder.hold(direction)
    if direction != "sendonly":
        other.rtp.wait_tone(calls.MUSIC_HZ)
    calls.talk(other, 1.5)
    holder.resume()
    ended = holder.loop.next_frame_ns()
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    calls.talk(bridge.caller, 0.6)
    last = bridge.caller.hang_up()
    bridge.operator.wait_ended()
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    length = len(sound) / 8000
    start, stop = (length - (last - at) / SECOND for at in (began, ended))
    held = sound[int((start + 0.3) * 8000) : int((stop - 0.3) * 8000)]
    assert len(held) > 4000
    assert not held.any()
    spoken = np.trim_zeros(sound[:, 0], "b")  # where the end takes a while, nobody speaks
    assert calls.strength(spoken[-1600:], calls.CALLER_HZ) > 0.05
    assert recording["duration_s"] == pytest.approx(length, abs=0.001)


def test_the_caller_of_a_notice_never_rings_an_operator_before_its_end(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    agent = agent_factory()
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(NOTICE_HZ)
    answered = call.wait_answered()
    assert operator_phone.wait_at("INVITE received") - answered > int((NOTICE_S + WINDOW_S) * SECOND)
    calls.bridged(call, operator_phone).hang_up()
