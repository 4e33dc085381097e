"""The hunt: who is rung, in which order, what phones show, who waits, and a PBX that wants a password."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Challenge, Phone
from sipagent.softphone.sip import Message
from tests.conftest import OPERATOR_HZ, AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import MUSIC_HZ, SECOND
from tests.peers.agent import NOTICE_S, WINDOW_S, Json, behind_edge
from tests.peers.process import free_ports
from tests.peers.sipp_desk import ELSEWHERE, Behaviour, Desk, write_tone

pytestmark = pytest.mark.live

OTHER_HZ = 1200
PLEASE_HOLD_HZ, PLEASE_HOLD_S = 960, 2.0
DESK_HZ = 1200
EARLY_S = 1.5
DeskFactory = Callable[[str, Behaviour], Desk]


@pytest.fixture
def desk_factory(tmp_path: Path, agent_factory: AgentFactory) -> Iterator[DeskFactory]:
    """Desk phones that SIPp plays."""
    desks: list[Desk] = []

    def make(user: str, behaviour: Behaviour) -> Desk:
        desks.append(Desk(tmp_path, user, behaviour))
        return desks[-1]

    yield make
    for desk in desks:
        desk.stop()


def received(phone: Phone, method: str) -> list[Message]:
    """The requests of a method that a phone got, retransmissions left out."""
    found = [seen.message for seen in phone.seen if not seen.sent and seen.message.method == method]
    return list({message.branch: message for message in found}.values())


def happened(receipt: Json, what: str) -> datetime:
    return next(datetime.fromisoformat(event["at"]) for event in receipt["events"] if event["what"] == what)


def assert_connected(receipt: Json, uri: str) -> None:
    assert calls.of(receipt, "outcome", "operator") == ["connected", uri]


# --- one after the other ---


def test_one_after_the_other_will_not_come_and_the_last_one_does(
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    desk_factory: DeskFactory,
    tmp_path: Path,
) -> None:
    """Busy, declined, away, broken, moved, no answer, vanished; the last one sends sound before it answers.

    Of that the caller hears nothing: it is music until the answer. Where the moved one points to is not rung.
    Of those that may be off it is told: a PBX says 480 of a phone that it has lost.
    """
    sound = write_tone(tmp_path / "desk.alaw", DESK_HZ)
    unwilling = [
        desk_factory("301", Behaviour().refuses(486, "Busy Here")),
        desk_factory("302", Behaviour().rings().refuses(603, "Decline")),
        desk_factory("303", Behaviour().refuses(480, "Temporarily Unavailable")),
        desk_factory("310", Behaviour().refuses(500, "Server Internal Error")),
        desk_factory("304", Behaviour().rings().cancelled()),
        desk_factory("307", Behaviour().moved(operator_phone.uri)),
        desk_factory("308", Behaviour().says(200, "OK").acked().hung_up()),  # without a word on media
        desk_factory("305", Behaviour().rings().answers()),  # and its process is gone before the ACK comes
    ]
    early = Behaviour().says(183, "Session Progress", sdp=True).sends(sound).pauses(round(EARLY_S * 1000))
    willing = desk_factory("306", early.answers().acked().hung_up())
    uris = [desk.uri for desk in (*unwilling, willing)]
    agent = agent_factory(operators={"extensions": uris, "ring_s": 2, "max_wait_s": 60})
    call = caller_phone.call(agent.uri())
    heard_at = call.rtp.wait_tone(DESK_HZ, 60)
    calls.talk(call, 1.0)
    left_at = call.hang_up()
    for desk in (*unwilling, willing):
        desk.wait()
    (receipt,) = agent.wait_receipts()
    assert_connected(receipt, willing.uri)
    said = [what.removeprefix(uri).strip(": ") for what in calls.whats(receipt) for uri in uris
            if what.startswith(uri)]  # fmt: skip
    assert said[:8] == [
        *("refused with 486", "refused with 603", "refused with 480", "refused with 500", "no answer"),
        *("refused with 302", "refused with 406", "answered and sent nothing"),
    ]
    warned = {line["operator"] for line in agent.log_events if line["event"] == "operator_failed"}
    assert {unwilling[2].uri, unwilling[3].uri} <= warned
    assert warned.isdisjoint(desk.uri for desk in (*unwilling[:2], unwilling[4], willing))
    assert operator_phone.calls == []
    connected, rung = (happened(receipt, f"{what} {willing.uri}") for what in ("bridged with", "ringing"))
    assert (connected - rung).total_seconds() >= EARLY_S
    talked_s = (datetime.fromisoformat(receipt["ended_at"]) - connected).total_seconds()
    waited = call.rtp.listen(call.rtp.heard[0].at_ns, left_at - int(talked_s * SECOND) - SECOND // 10)
    assert calls.strength(waited.samples[-8000:], MUSIC_HZ) > 0.05
    assert calls.strength(waited.samples[-8000:], DESK_HZ) < 0.001
    assert (left_at - heard_at) / SECOND < talked_s + 0.2
    assert call.rtp.listen(call.rtp.heard[0].at_ns, left_at).longest_silence_s() <= 2.0


@pytest.mark.parametrize("why", ["silent", "unreachable"])
def test_a_phone_for_which_nothing_answers_is_left_after_four_seconds(
    agent_factory: AgentFactory,
    phone_factory: PhoneFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    why: str,
) -> None:
    dead = phone_factory("209", OTHER_HZ)
    dead.answer = Answering(silent=True)
    uri = dead.uri if why == "silent" else f"sip:209@127.0.0.1:{free_ports(1)}"
    agent = agent_factory(operators={"extensions": [uri, operator_phone.uri], "ring_s": 20})
    bridge = calls.bridged(caller_phone.call(agent.uri()), operator_phone)
    if why == "silent":
        waited = operator_phone.at("INVITE received") - dead.at("INVITE received")
        assert 3.9 < waited / SECOND < 8.0  # not 20, however busy the machine is
    bridge.hang_up()
    agent.wait_for("operator_failed", operator=uri, problem="unreachable")


# --- all at once ---


def test_of_two_answers_at_once_one_is_kept_and_the_other_gets_a_bye(
    agent_factory: AgentFactory, phone_factory: PhoneFactory, caller_phone: Phone
) -> None:
    """Both phones pick up in the same instant: the second 200 crosses our CANCEL."""
    both = [phone_factory(user, OPERATOR_HZ) for user in ("203", "204")]
    for phone in both:
        phone.answer = Answering(status=None)
    agent = agent_factory(operators={"extensions": [phone.uri for phone in both], "strategy": "simultaneous"})
    call = caller_phone.call(agent.uri())
    talks = [phone.wait_call() for phone in both]
    with both[0].loop.changing():
        for talk in talks:
            talk.decide(200)
    call.rtp.wait_tone(OPERATOR_HZ)
    for phone in both:
        phone.wait_at("ACK received")
    talks[0].loop.wait_for(lambda: any(t.ended_ns for t in talks), PATIENCE_S, "the BYE to one of the two")
    (lost,) = [talk for talk in talks if talk.ended_ns]
    (kept,) = [talk for talk in talks if talk is not lost]
    assert lost.ended_by == "them"
    kept.rtp.wait_tone(calls.CALLER_HZ)
    calls.Bridge(call, kept).hang_up()
    (receipt,) = agent.wait_receipts()
    assert_connected(receipt, kept.phone.uri)


def test_of_forked_answers_one_is_kept_and_every_other_fork_is_let_go(
    agent_factory: AgentFactory, caller_phone: Phone, desk_factory: DeskFactory, tmp_path: Path
) -> None:
    """Two phones ring at once. One of them is three behind one PBX, and two pick up: two 200s, one INVITE."""
    sound = write_tone(tmp_path / "desk.alaw", DESK_HZ)
    slow = desk_factory("311", Behaviour().rings().cancelled(ELSEWHERE))
    three = Behaviour().says(180, "Ringing", "c").pauses(500)
    two = three.answers("a").acked().sends(sound).answers("b").acked()
    forked = desk_factory("312", two.hung_up("b").hung_up("a"))
    agent = agent_factory(operators={"extensions": [slow.uri, forked.uri], "strategy": "simultaneous"})
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(DESK_HZ)
    slow.wait()
    calls.talk(call, 1.0)
    assert call.ended_ns is None
    call.hang_up()
    forked.wait()
    (receipt,) = agent.wait_receipts()
    assert_connected(receipt, forked.uri)


# --- who waits ---


@pytest.mark.parametrize("refuses", [False, True])
def test_a_waiting_caller_hears_music_and_the_phone_is_told_by_headers_too(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, refuses: bool
) -> None:
    """Never two seconds of silence; and nobody rings before the end of the notice."""
    operator_phone.answer = Answering(after_s=4)
    info = "<urn:alert:service:normal>;info=rec"
    headers = {"alert_info_recorded": info, "recording_header": "X-Recording"}
    agent = agent_factory(operators={"extensions": [operator_phone.uri], **headers})
    call = caller_phone.call(agent.uri())
    answered = call.wait_answered()
    if refuses:
        call.rtp.wait_tone(calls.NOTICE_HZ)
        call.press("9")
    rung = operator_phone.wait_at("INVITE received")
    assert refuses or rung - answered > int((NOTICE_S + WINDOW_S) * SECOND)
    bridge = calls.bridged(call, operator_phone)
    waiting = call.rtp.listen(rung, rung + 4 * SECOND)
    assert calls.tenths(waiting.tones(), MUSIC_HZ) > 20
    assert waiting.longest_silence_s() <= 2
    (invite,) = received(operator_phone, "INVITE")
    alert, word = ("", "NO REC") if refuses else (info, "REC")
    assert (invite.header("Alert-Info"), invite.header("X-Recording")) == (alert, word)
    assert calls.shown(bridge.operator).startswith(word)
    bridge.hang_up()


@pytest.mark.parametrize(
    ("side", "direction"),
    [
        *(("caller", "sendonly"), ("caller", "inactive"), ("operator", "sendonly"), ("operator", "inactive")),
        *(("caller", "UPDATE"), ("operator", "0.0.0.0")),
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
        other.rtp.wait_tone(MUSIC_HZ)
    calls.talk(other, 1.5)
    holder.resume()
    ended = holder.loop.next_frame_ns()
    calls.hears_each_other(bridge)
    calls.talk(bridge.caller, 0.6)
    last = bridge.caller.hang_up()
    bridge.operator.wait_ended()
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    length = len(sound) / 8000
    start, stop = (length - (last - at) / SECOND for at in (began, ended))
    held = sound[int((start + 0.3) * 8000) : int((stop - 0.3) * 8000)]
    assert len(held) > 4000 and not held.any()
    spoken = np.trim_zeros(sound[:, 0], "b")  # where the end takes a while, nobody speaks
    assert calls.strength(spoken[-1600:], calls.CALLER_HZ) > 0.05
    assert recording["duration_s"] == pytest.approx(length, abs=0.001)


# --- a PBX ---


def login(tmp_path: Path, password: str = "open sesame") -> dict[str, Any]:
    (tmp_path / "pbx-password").write_text(password + "\n")
    return {"username": "gate", "password_file": str(tmp_path / "pbx-password")}


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
    second = phone_factory("203", OPERATOR_HZ)
    both = [operator_phone.uri, second.uri]
    agent = agent_factory(operators={"extensions": both, **login(tmp_path, "wrong")})
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
    edge = behind_edge(2, calls_per_process=1) if shape == "edge" else {}
    agent = agent_factory(operators={"extensions": [pbx.uri], **login(tmp_path)}, **edge)
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
    proxy = "sip:{}:{};lr".format(*operator_phone.address)
    agent = agent_factory(operators={"extensions": ["sip:201@192.0.2.77"], "outbound_proxy": proxy})
    bridge = calls.connect(agent, caller_phone, operator_phone)
    assert bridge.operator.incoming is not None
    assert bridge.operator.incoming.request_uri.startswith("sip:201@192.0.2.77")
    bridge.hang_up()
