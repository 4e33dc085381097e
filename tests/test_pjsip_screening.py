"""What the engine does not even see: strangers, floods, too much of a body, whoever knows a dialog's tags."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from ipaddress import ip_network

from sipagent.agent.engine import Incoming, RefusedByEngine
from sipagent.call import events as e
from sipagent.pjsip import screening
from sipagent.sip.request_rules import ROOM_AGAIN_S
from sipagent.sip.session_description import AUDIO_LINES
from sipagent.softphone.phone import Phone
from sipagent.softphone.sip import Headers, Message, sdp
from tests.loopback import CALLER_HZ, NUMBER, Loopback, scene
from tests.peers.flood import Flood

TRUNK, FOREIGN = "127.0.0.2", "127.0.0.66"
INVITES, RATE = 300, 150.0


def of_trunk(stack: ExitStack, **changes: object) -> Loopback:
    """An engine that one address may call; its caller is there."""
    office = Loopback(stack, callers=(ip_network(f"{TRUNK}/32"),), **changes)
    office.caller = office.phone("+33612345678", CALLER_HZ, ip=TRUNK)
    return office


def many_lines(address: tuple[str, int], audio: int, video: int = 0) -> bytes:
    """An offer with so many sections."""
    session, section = sdp(address, (8, 0), 101, "sendrecv", 1).split(b"m=audio", 1)
    more = section.replace(str(address[1]).encode(), b"5000", 1)
    lines = [b"m=audio" + section, *[b"m=audio" + more] * (audio - 1)]
    return session + b"".join(lines) + b"m=video 5002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" * video


def sends(office: Loopback, phone: Phone, message: Message, answer: str = "") -> None:
    """A message by whoever it is. What is answered to it, or else to one of the caller's that comes later."""
    with phone.loop.changing():
        phone.send(message, ("127.0.0.1", office.port))
    if answer:
        office.until(lambda: answer in answers(phone), answer)
    else:
        told = office.caller.count("200 OPTIONS received")
        with phone.loop.changing():
            office.caller.send(options(office, office.caller), ("127.0.0.1", office.port))
        office.until(
            lambda: office.caller.count("200 OPTIONS received") > told, "an answer to what came later"
        )


def answers(phone: Phone) -> list[str]:
    found = [one.message.describe() for one in phone.seen if not one.sent]
    return [one for one in found if one != "200 OPTIONS"] if phone.address[0] == TRUNK else found


def options(office: Loopback, phone: Phone, *more: tuple[str, str], method: str = "OPTIONS") -> Message:
    ip, port = phone.address
    headers = (
        ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{time.monotonic_ns()}"), ("Max-Forwards", "70"),
        ("From", f"<{phone.uri}>;tag=1"), ("To", f"<{office.uri()}>"), ("Call-ID", str(time.monotonic_ns())),
        ("CSeq", f"1 {method}"), ("Contact", f"<{phone.uri}>"), *more,
    )  # fmt: skip
    return Message(f"{method} {office.uri()} SIP/2.0", headers)


def invite_of(office: Loopback, phone: Phone, *more: tuple[str, str]) -> Message:
    asked = options(office, phone, ("Content-Type", "application/sdp"), *more, method="INVITE")
    return Message(asked.start, asked.headers, sdp((TRUNK, 4000), (8, 0), 101, "sendrecv", 1))


# --- who may begin something ---


@scene
def test_floods_end_no_process_and_no_call(stack: ExitStack) -> None:
    """A stranger's is not answered. Each INVITE of the trunk's opens sockets; where there are no more it gets
    503, whatever became of the others."""
    office = of_trunk(stack)
    call, leg = office.answered()
    flood = flooding(office, FOREIGN, stack)
    office.until(lambda: office.engine.strangers >= INVITES, "count of what was dropped")
    assert (flood.answers, flood.provisional) == ({}, [])
    assert (len(office.of(Incoming)), office.of(RefusedByEngine)) == (1, [])
    flood = flooding(office, TRUNK, stack)
    office.until(lambda: len(flood.final) == INVITES, "answers to all")
    told = flood.wait_all()
    assert set(told) == {486, 503} and told[503] == len(office.of(RefusedByEngine)) > 0
    assert (call.ended_by, office.engine.has(leg)) == (None, True)


def flooding(office: Loopback, ip: str, stack: ExitStack) -> Flood:
    """INVITEs faster than an engine survives that opens sockets for each; who gets through hears 486."""
    flood: list[Flood] = []

    def send() -> None:
        flood.append(Flood(ip, ("127.0.0.1", office.port), office.uri(), INVITES, RATE))

    thread = threading.Thread(target=send)
    thread.start()
    seen = len(office.of(Incoming))
    while thread.is_alive() or len(office.of(Incoming)) > seen:
        office.engine.poll(0.02)
        for incoming in office.of(Incoming)[seen:]:
            office.engine.reject(incoming.leg, 486, None)
            seen += 1
    stack.enter_context(closing(flood[0]))
    return flood[0]


@scene
def test_who_is_answered_outside_a_dialog_and_how(stack: ExitStack) -> None:
    """Three of RFC 4475, too: sections 3.3.5 (bext01), 3.1.2.16 (dblreq) and 3.3.7 (sdp01). An ACK is never
    answered: the library ends the process if it has to make an answer to one."""
    office = of_trunk(stack, others=(ip_network("127.0.0.4/32"),))
    caller, pbx = office.caller, office.phone("pbx", 0, ip="127.0.0.4")
    stranger = office.phone("mallory", 0, ip=FOREIGN)
    sends(office, stranger, options(office, stranger))
    sends(office, pbx, options(office, pbx), "200 OPTIONS")
    assert answers(stranger) == []
    call, _ = office.answered()
    for more in (
        ("To", "<sip:b@c>"), ("Call-ID", "x"), ("CSeq", "2 ACK"), ("Require", "x"), ("Accept", "text/plain"),
    ):  # fmt: skip
        sends(office, caller, options(office, caller, more, method="ACK"))
    assert [one for one in answers(caller) if one.endswith(" ACK")] == [] and call.ended_by is None
    wants = (("Require", "nothingSupportsThis"), ("Proxy-Require", "noProxiesSupportThis"))
    sends(office, caller, options(office, caller, *wants), "420 OPTIONS")
    assert caller.seen[-1].message.header("Unsupported") == "noproxiessupportthis, nothingsupportsthis"
    twice = options(office, caller, method="REGISTER")
    with caller.loop.changing():
        caller._socket.sendto(twice.pack() + invite_of(office, caller).pack(), ("127.0.0.1", office.port))
    office.until(lambda: "405 REGISTER" in answers(caller), "an answer to the first")
    sends(office, caller, invite_of(office, caller, ("Accept", "text/nobodyKnowsThis")), "406 INVITE")
    assert len(office.of(Incoming)) == 1
    office.engine.drain()
    sends(office, caller, options(office, caller), "503 OPTIONS")


# --- what a body may hold ---


@scene
def test_what_offers_within_a_call_open_is_counted_until_it_is_closed(stack: ExitStack) -> None:
    """Each line has sockets until the answer, and the library has no more than 64: it ended the process."""
    office = of_trunk(stack)
    calls = [office.answered()[0] for _ in range(3)]
    for method in ("UPDATE", "INVITE"):
        statuses = {
            office.asks(call, method, many_lines(call.rtp.address, AUDIO_LINES)).status for call in calls * 10
        }
        assert statuses == {200, 488}
        until = time.monotonic() + screening.CLOSING_S
        office.until(lambda: time.monotonic() >= until, "end of the sockets")  # noqa: B023
    assert [call.ended_by for call in calls] == [None] * 3


# --- whom a dialog obeys ---


@scene
def test_whoever_knows_a_dialog_is_not_obeyed_for_that(stack: ExitStack) -> None:
    """From another address, and from the caller's own but for the port; in an operator's dialog, too."""
    office = of_trunk(stack)
    call, leg = office.answered()
    talk, operator = office.dialled()
    dtmf: Headers = (("Content-Type", "application/dtmf-relay"),)
    offer, kind = sdp(("127.0.0.1", 9), (8, 0), 101, "sendrecv", 99), (("Content-Type", "application/sdp"),)
    for ip in (FOREIGN, TRUNK):
        mallory = office.phone("mallory", 0, ip=ip)
        for message in (
            call._request("INFO", 7, dtmf, b"Signal=9\r\nDuration=160\r\n"),
            call._request("INVITE", 8, kind, offer),
            call._request("UPDATE", 9, kind, offer),
            call._request("REFER", 10, (("Refer-To", "<sip:0900@198.51.100.1>"),)),
            call._request("BYE", 11),
            talk._request("BYE", 7),
            *twisted(call._request("BYE", 7)),
        ):
            sends(office, mallory, message)
        assert not [one for one in answers(mallory) if one[0] in "12"]
        assert ip == TRUNK or answers(mallory) == []
    call.press("5", "info")
    office.told(leg, e.DtmfPressed(leg, "5", "info"))
    assert office.keys(leg) == "5" and (call.ended_by, talk.ended_by) == (None, None)
    unknown = call.call_id
    call.call_id = "none-of-ours"
    sends(office, office.caller, call._request("BYE", 7), "481 BYE")  # who may call is told so
    call.call_id = unknown
    office.hangs_up(talk, operator)


def twisted(bye: Message) -> list[Message]:
    """Messages with two dialogs are of none: what we read and what the library reads must not differ."""

    def changed(change: Callable[[str, str], str]) -> Message:
        return Message(bye.start, tuple((name, change(name, value)) for name, value in bye.headers))

    return [
        Message(bye.start, (("Call-ID", "other"), *bye.headers)),
        changed(lambda n, v: f'"x" <sip:a@b>;y=">;tag=1";{v.partition(";")[2]}' if n == "To" else v),
        changed(lambda n, v: v.replace(";tag=", ";%74ag=") if n in ("From", "To") else v),
    ]


# --- what waits ---


@scene
def test_who_comes_while_the_last_leg_ends_waits_for_it(office: Loopback) -> None:
    """The end of one call and the next caller may cross on their way: that is no reason to refuse."""
    calls = [office.answered() for _ in range(office.engine.capacity)]
    again = office.caller.call(office.uri())
    until = time.monotonic() + ROOM_AGAIN_S / 3
    office.until(lambda: time.monotonic() >= until, "end of time")
    assert again.status is None
    office.hangs_up(*calls[0])
    office.engine.answer(office.incoming(len(calls)).leg)
    office.meanwhile(again.wait_answered)
    assert office.of(RefusedByEngine) == []


@scene
def test_a_key_right_before_the_bye_is_handed_over(office: Loopback) -> None:
    """In tones: the library forgets with the call what its jitter buffer and the bridge still hold. By RFC
    4733, also where its beginning was lost, and without anybody having to look for it."""
    office.caller = office.phone("+33612345678", 0, event_type=None)
    office.caller.sound = None
    call, leg = office.answered()
    _, operator = office.dialled()
    office.engine.listen(leg)
    office.engine.bridge(leg, operator)
    office.hears(leg, 0.5)
    press = call.rtp.press("9", inband=True, ms=80)
    office.until(lambda: press.sent < 0, "end of the key")
    office.hangs_up(call, leg)
    loud = [abs(int(one)) > 1000 for one in office.sound_of(leg)]
    assert sum(loud) > 0.06 * 8000 * 0.8
    call, leg = office.answered(office.phone("+33612345679", CALLER_HZ))
    office.engine.bridge(leg, operator)
    office.told(leg, e.MediaArrived(leg))
    press = call.rtp.press("9", ms=80, lose=frozenset(range(4)))
    call.pressed_ns(press)
    call.loop.wait_for(lambda: press.sent < 0, 30, "end of the key")
    office.hangs_up(call, leg)
    assert office.keys(leg) == "9"


# --- behind an edge ---


@scene
def test_behind_an_edge_only_what_bears_its_token_begins_a_call(stack: ExitStack) -> None:
    token = "0123456789abcdef0123456789abcdef"
    office = Loopback(stack, hop_token=token)
    edge = office.caller
    office.engine.stop()
    office = Loopback(stack, hop_token=token, sip_peer=edge.address)
    for headers in ((), (("X-Sipagent", "f" * 32),), (("X-Sipagent", f"{token}x"),)):
        with edge.loop.changing():
            edge.send(options(office, edge, *headers, method="INVITE"), ("127.0.0.1", office.port))
    office.phone("mallory", 0).call(office.uri(), headers=(("X-Sipagent", token),))
    edge.call(office.uri(), headers=(("X-Sipagent", f"{token};source={FOREIGN}:5062"),))
    leg = office.incoming().leg
    assert len(office.of(Incoming)) == 1 and NUMBER in office.of(Incoming)[0].message
    assert [one for one in answers(edge) if not one.startswith("100")] == []
    source = office.engine.sources._of[office.engine._legs[leg]].source
    assert source._signalling == {FOREIGN}
