"""What the engine does not even see: strangers, floods, too much of a body, whoever knows a dialog's tags."""

import threading
import time
from contextlib import ExitStack, closing
from ipaddress import ip_network

from sipagent.agent.engine import Incoming, RefusedByEngine
from sipagent.call import events as e
from sipagent.pjsip import screening
from sipagent.sip.request_rules import ROOM_AGAIN_S
from sipagent.sip.session_description import AUDIO_LINES, LINES
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Phone
from sipagent.softphone.sip import Headers, Message, sdp
from tests.loopback import CALLER_HZ, NUMBER, Loopback, scene
from tests.peers.flood import Flood
from tests.test_pjsip_sources import hears

TRUNK, FOREIGN = "127.0.0.2", "127.0.0.66"
ONLY_TRUNK = (ip_network(f"{TRUNK}/32"),)
INVITES, RATE = 300, 150.0


def of_trunk(stack: ExitStack, **changes: object) -> Loopback:
    """An engine that one address may call; its caller is there."""
    office = Loopback(stack, callers=ONLY_TRUNK, **changes)
    office.caller = office.phone("+33612345678", CALLER_HZ, ip=TRUNK)
    return office


def many_lines(address: tuple[str, int], audio: int, video: int = 0) -> bytes:
    """An offer with so many sections."""
    session, section = sdp(address, (8, 0), 101, "sendrecv", 1).split(b"m=audio", 1)
    more = section.replace(str(address[1]).encode(), b"5000", 1)
    lines = [b"m=audio" + section, *[b"m=audio" + more] * (audio - 1)]
    return session + b"".join(lines) + b"m=video 5002 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" * video


def sends(office: Loopback, phone: Phone, message: Message, answer: str = "") -> None:
    """A message by whoever it is, and polls in which the engine may answer it."""
    with phone.loop.changing():
        phone.send(message, ("127.0.0.1", office.port))
    works(office, 0.05)
    if answer:
        office.until(lambda: answer in answers(phone), answer)


def works(office: Loopback, seconds: float) -> None:
    """Let the engine work for so long."""
    until = time.monotonic() + seconds
    office.until(lambda: time.monotonic() >= until, "end of time")


def answers(phone: Phone) -> list[str]:
    return [one.message.describe() for one in phone.seen if not one.sent]


# --- who may begin something ---


@scene
def test_a_strangers_flood_is_not_answered_and_costs_no_call(stack: ExitStack) -> None:
    office = of_trunk(stack)
    call, leg = office.answered()
    flood = flooding(office, FOREIGN, stack)
    office.frames(call, 0.5)
    assert (flood.answers, len(office.of(Incoming)), office.of(RefusedByEngine)) == (0, 1, [])
    assert (call.ended_by, office.engine.has(leg)) == (None, True)
    office.until(lambda: office.engine.strangers >= INVITES, "count of what was dropped")


@scene
def test_the_trunks_flood_ends_no_process_and_no_call(stack: ExitStack) -> None:
    """Each INVITE opens sockets; where there are no more it gets 503, whatever became of the others."""
    office = of_trunk(stack)
    call, _ = office.answered()
    flood = flooding(office, TRUNK, stack)
    office.frames(call, 0.5)
    office.until(lambda: len(flood.final) == INVITES, "answers to all")
    told = flood.wait()
    assert set(told) == {486, 503}
    assert told[503] == len(office.of(RefusedByEngine)) > 0
    assert call.ended_by is None


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
def test_options_are_answered_to_whom_we_have_to_do_with_and_say_when_we_drain(stack: ExitStack) -> None:
    office = of_trunk(stack, others=(ip_network("127.0.0.4/32"),))
    pbx, stranger = office.phone("pbx", 0, ip="127.0.0.4"), office.phone("mallory", 0, ip=FOREIGN)
    sends(office, stranger, options(office, stranger))
    for phone in (office.caller, pbx):
        sends(office, phone, options(office, phone), "200 OPTIONS")
    assert answers(stranger) == []
    office.engine.drain()
    sends(office, office.caller, options(office, office.caller), "503 OPTIONS")


def options(office: Loopback, phone: Phone, *more: tuple[str, str], method: str = "OPTIONS") -> Message:
    ip, port = phone.address
    headers = (
        ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{time.monotonic_ns()}"), ("Max-Forwards", "70"),
        ("From", f"<{phone.uri}>;tag=1"), ("To", f"<{office.uri()}>"), ("Call-ID", str(time.monotonic_ns())),
        ("CSeq", f"1 {method}"), ("Contact", f"<{phone.uri}>"), *more,
    )  # fmt: skip
    return Message(f"{method} {office.uri()} SIP/2.0", headers)


@scene
def test_an_ack_is_not_answered_whatever_it_is(stack: ExitStack) -> None:
    """Where it belongs to no dialog: the library ends the process if it has to make an answer to one."""
    office = of_trunk(stack)
    call, _ = office.answered()
    for more in (
        ("To", "<sip:b@c>"),
        ("Call-ID", "x"),
        ("CSeq", "2 ACK"),
        ("Require", "x"),
        ("Accept", "text/plain"),
    ):
        sends(office, office.caller, options(office, office.caller, more, method="ACK"))
    sends(office, office.caller, options(office, office.caller), "200 OPTIONS")
    assert [one for one in answers(office.caller) if one.endswith(" ACK")] == []
    assert call.ended_by is None


@scene
def test_three_of_rfc_4475(stack: ExitStack) -> None:
    """Sections 3.3.5 (bext01), 3.1.2.16 (dblreq) and 3.3.7 (sdp01), to a lone process."""
    office = of_trunk(stack)
    caller = office.caller
    wants = (("Require", "nothingSupportsThis"), ("Proxy-Require", "noProxiesSupportThis"))
    sends(office, caller, options(office, caller, *wants), "420 OPTIONS")
    unsupported = caller.seen[-1].message.header("Unsupported")
    assert unsupported == "noproxiessupportthis, nothingsupportsthis"
    twice = options(office, caller, method="REGISTER")
    with caller.loop.changing():
        caller._socket.sendto(twice.pack() + invite_of(office, caller).pack(), ("127.0.0.1", office.port))
    office.until(lambda: "405 REGISTER" in answers(caller), "an answer to the first")
    takes_none = (("Accept", "text/nobodyKnowsThis"),)
    sends(office, caller, invite_of(office, caller, *takes_none), "406 INVITE")
    assert office.of(Incoming) == []


def invite_of(office: Loopback, phone: Phone, *more: tuple[str, str]) -> Message:
    asked = options(office, phone, ("Content-Type", "application/sdp"), *more, method="INVITE")
    return Message(asked.start, asked.headers, sdp((TRUNK, 4000), (8, 0), 101, "sendrecv", 1))


# --- what a body may hold ---


@scene
def test_more_media_than_it_can_take_is_refused_before_a_socket_is_opened(stack: ExitStack) -> None:
    office = of_trunk(stack)
    for audio, video, status in (
        (AUDIO_LINES, LINES - AUDIO_LINES, None),
        (AUDIO_LINES + 1, 0, 488),
        (1, LINES, 488),
        (16, 0, 488),
    ):
        known = len(office.of(Incoming))
        rtp = office.caller.new_rtp()
        office.caller.new_rtp = lambda rtp=rtp: rtp  # type: ignore[method-assign,misc]
        body = many_lines(rtp.address, audio, video)
        call = office.caller.call(office.uri(), sdp=body)
        if status:
            office.meanwhile(call.wait_status)
            assert (call.status, len(office.of(Incoming))) == (status, known)
        else:
            office.engine.reject(office.incoming(known).leg, 486, None)
            office.meanwhile(call.wait_status)
    assert [one.status for one in office.of(RefusedByEngine)] == [488] * 3


@scene
def test_a_re_invite_with_more_is_refused_and_the_call_goes_on(stack: ExitStack) -> None:
    office = of_trunk(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    for method in ("INVITE", "UPDATE", "INVITE"):
        statuses: list[int | None] = []

        def offer(method: str = method, statuses: list[int | None] = statuses) -> None:
            kind = (("Content-Type", "application/sdp"),)
            statuses.append(call.request(method, kind, many_lines(call.rtp.address, 16)).status)

        office.meanwhile(offer)
        assert statuses == [488]
    call.press("5")
    office.told(leg, e.DtmfPressed(leg, "5", "rfc4733"))
    assert call.ended_by is None


@scene
def test_what_offers_within_a_call_open_is_counted_until_it_is_closed(stack: ExitStack) -> None:
    """Each line has sockets until the answer, and the library has no more than 64: it ended the process."""
    office = of_trunk(stack)
    calls = [office.answered()[0] for _ in range(3)]
    for method in ("UPDATE", "INVITE"):
        statuses: list[int | None] = []

        def offers(method: str = method, statuses: list[int | None] = statuses) -> None:
            kind = (("Content-Type", "application/sdp"),)
            for call in calls * 10:
                body = many_lines(call.rtp.address, AUDIO_LINES)
                statuses.append(call.request(method, kind, body).status)

        office.meanwhile(offers)
        assert set(statuses) == {200, 488}
        works(office, screening.CLOSING_S)
    assert [call.ended_by for call in calls] == [None] * 3


# --- whom a dialog obeys ---


@scene
def test_whoever_knows_a_dialog_is_not_obeyed_for_that(stack: ExitStack) -> None:
    """From another address, and from the caller's own but for the port."""
    office = of_trunk(stack)
    call, leg = office.answered()
    office.engine.listen(leg)
    dtmf: Headers = (("Content-Type", "application/dtmf-relay"),)
    for ip in (FOREIGN, TRUNK):
        mallory = office.phone("mallory", 0, ip=ip)
        offer = sdp(("127.0.0.1", 9), (8, 0), 101, "sendrecv", 99)
        for message in (
            call._request("INFO", 7, dtmf, b"Signal=9\r\nDuration=160\r\n"),
            call._request("INVITE", 8, (("Content-Type", "application/sdp"),), offer),
            call._request("UPDATE", 9, (("Content-Type", "application/sdp"),), offer),
            call._request("REFER", 10, (("Refer-To", "<sip:0900@198.51.100.1>"),)),
            call._request("BYE", 11),
        ):
            sends(office, mallory, message)
        assert answers(mallory) == []
    call.press("5", "info")
    office.told(leg, e.DtmfPressed(leg, "5", "info"))
    assert [fact.digit for fact in office.facts(leg) if isinstance(fact, e.DtmfPressed)] == ["5"]
    assert call.ended_by is None


@scene
def test_an_operators_dialog_is_the_operators(stack: ExitStack) -> None:
    office = of_trunk(stack)
    talk, leg = office.dialled()
    mallory = office.phone("mallory", 0, ip=FOREIGN)
    sends(office, mallory, talk._request("BYE", 7))
    assert answers(mallory) == []
    assert office.engine.has(leg)
    office.meanwhile(talk.hang_up)
    office.told(leg, e.LegGone(leg, 200))


@scene
def test_a_request_of_no_dialog_is_told_so_by_whom_may_call_alone(stack: ExitStack) -> None:
    office = of_trunk(stack)
    call, leg = office.answered()
    call.call_id = "none-of-ours"
    mallory = office.phone("mallory", 0, ip=FOREIGN)
    sends(office, mallory, call._request("BYE", 7))
    sends(office, office.caller, call._request("BYE", 7), "481 BYE")
    assert answers(mallory) == []
    assert office.engine.has(leg)


@scene
def test_a_message_with_two_dialogs_is_of_none(stack: ExitStack) -> None:
    """What we read and what the library reads must not differ."""
    office = of_trunk(stack)
    call, leg = office.answered()
    mallory = office.phone("mallory", 0, ip=TRUNK)  # where the trunk is, but for the port
    bye = call._request("BYE", 7)
    for twisted in (
        Message(bye.start, (("Call-ID", "other"), *bye.headers)),
        Message(bye.start, tuple((n, f'"x" <sip:a@b>;y=">;tag=1";{v.partition(";")[2]}' if n == "To" else v)
                                 for n, v in bye.headers)),
        Message(bye.start, tuple((n, v.replace(";tag=", ";%74ag=") if n in ("From", "To") else v)
                                 for n, v in bye.headers)),
    ):  # fmt: skip
        sends(office, mallory, twisted)
    assert not [one for one in answers(mallory) if one.startswith("200")]
    assert office.engine.has(leg)


# --- what waits ---


@scene
def test_who_comes_while_the_last_leg_ends_waits_for_it(stack: ExitStack) -> None:
    """The end of one call and the next caller may cross on their way: that is no reason to refuse."""
    office = Loopback(stack)
    calls = [office.answered() for _ in range(office.engine.capacity)]
    call, leg = calls[0]
    again = office.caller.call(office.uri())
    works(office, ROOM_AGAIN_S / 3)
    assert again.status is None
    call.hang_up()
    office.told(leg, e.LegGone(leg, 200))
    office.engine.answer(office.incoming(len(calls)).leg)
    office.meanwhile(again.wait_answered)
    assert office.of(RefusedByEngine) == []


@scene
def test_a_key_in_tones_right_before_the_bye_is_handed_over(stack: ExitStack) -> None:
    """The library forgets with the call what its jitter buffer and the bridge still hold."""
    office = Loopback(stack)
    office.caller = office.phone("+33612345678", 0, event_type=None)
    office.caller.sound = None
    call, leg = office.answered()
    _, operator = office.dialled()
    office.engine.listen(leg)
    office.engine.bridge(leg, operator)
    hears(office, leg, 0.5)
    press = call.rtp.press("9", inband=True, ms=80)
    office.until(lambda: press.sent < 0, "end of the key")
    call.hang_up()
    office.told(leg, e.LegGone(leg, 200))
    sound = office.sound_of(leg)
    loud = [abs(int(one)) > 1000 for one in sound]
    assert sum(loud) > 0.06 * 8000 * 0.8


@scene
def test_a_key_of_rfc_4733_right_before_the_bye_is_told(stack: ExitStack) -> None:
    """Also where its beginning was lost, and without anybody having to look for it."""
    office = Loopback(stack)
    call, leg = office.answered()
    _, operator = office.dialled()
    office.engine.bridge(leg, operator)
    office.told(leg, e.MediaArrived(leg))
    press = call.rtp.press("9", ms=80, lose=frozenset(range(4)))
    call.loop.wait_for(lambda: press.sent < 0, PATIENCE_S, "end of the key")
    call.hang_up()
    office.told(leg, e.LegGone(leg, 200))
    assert e.DtmfPressed(leg, "9", "rfc4733") in office.facts(leg)
    assert screening.LINGER_S  # tones alone wait that long


# --- behind an edge ---


@scene
def test_behind_an_edge_only_what_bears_its_token_begins_a_call(stack: ExitStack) -> None:
    token = "0123456789abcdef0123456789abcdef"
    office = Loopback(stack, hop_token=token)
    edge = office.caller
    office.engine.stop()
    office = Loopback(stack, hop_token=token, sip_peer=edge.address)
    office.caller = edge
    for headers in ((), (("X-Sipagent", "f" * 32),), (("X-Sipagent", f"{token}x"),)):
        sends(office, edge, options(office, edge, *headers, method="INVITE"))
    assert (answers(edge), office.of(Incoming)) == ([], [])
    other = office.phone("mallory", 0)
    other.call(office.uri(), headers=(("X-Sipagent", token),))
    edge.call(office.uri(), headers=(("X-Sipagent", f"{token};source={FOREIGN}:5062"),))
    leg = office.incoming().leg
    assert len(office.of(Incoming)) == 1
    source = office.engine.sources._of[office.engine._legs[leg]].source
    assert source._signalling == {FOREIGN}
    assert NUMBER in office.of(Incoming)[0].message
