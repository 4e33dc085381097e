"""The engine for real: what it makes of phones on loopback."""

import socket
import threading
import time
from contextlib import ExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import prompts
from sipagent.agent.engine import (
    ChallengeRefused,
    Credentials,
    EngineSettings,
    Incoming,
    RealmLearnt,
    RefusedByEngine,
    Registration,
)
from sipagent.call import events as e
from sipagent.pjsip import EngineError, PjsipEngine, engine, legs, names
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Challenge
from sipagent.softphone.sip import Message
from tests.loopback import NUMBER, Loopback, scene, seen

SHORT = Path(prompts.__file__).parent / "tones" / "recording_on.wav"
MUSIC = Path(prompts.__file__).parent / "hold.wav"
PBX = "127.0.0.4"


def pressed(leg: int, digit: str, method: e.Method) -> e.DtmfPressed:
    return e.DtmfPressed(leg, digit, method)


# --- life and death of an engine ---


@scene
def test_it_stops_with_calls_up_and_a_taken_port_is_told_in_one_line(office: Loopback) -> None:
    call, leg = office.answered()
    talk, operator = office.dialled()
    office.engine.listen(leg)
    office.engine.bridge(leg, operator)
    office.engine.play(leg, MUSIC, loop=True)
    office.desk.answer = Answering(status=None)
    office.dial()
    office.until(lambda: len(office.desk.calls) == 2, "second call to the desk")
    office.frames(call, 0.5)
    office.engine.stop()
    assert [one.ended_by for one in (call, talk, office.desk.calls[1])] == ["them"] * 3
    assert office.engine.legs == 0
    address = office.caller.address
    taken = EngineSettings(lambda _: None, lambda *_: None, listen=address, uri="sip:agent@127.0.0.1")
    with pytest.raises(EngineError) as error:
        PjsipEngine(taken).start()
    assert f"udp 127.0.0.1:{address[1]}" in str(error.value) and "\n" not in str(error.value)


def wakes(office: Loopback) -> None:
    office.engine.poll(0)
    began = time.monotonic()
    threading.Timer(0.05, office.engine.wake).start()
    office.engine.poll(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S


@scene
def test_a_poll_lasts_as_long_as_it_may_and_ends_when_it_is_woken(office: Loopback) -> None:
    """Else whoever waits for a moment would ask all the time in the last millisecond before it."""
    wakes(office)
    began = time.monotonic()
    office.engine.poll(0.0009)
    assert time.monotonic() - began >= 0.0009


@scene
def test_a_poll_ends_when_it_is_woken_also_over_tcp(stack: ExitStack) -> None:
    wakes(Loopback(stack, transport="tcp"))


# --- callers ---


@scene
def test_a_call_from_its_invite_to_its_bye(office: Loopback) -> None:
    call = office.caller.call(office.uri())
    invite = office.incoming()
    assert invite.source == "{}:{}".format(*office.caller.address)
    assert invite.message.startswith(f"INVITE sip:{NUMBER}@") and office.engine.legs == 1
    office.engine.answer(invite.leg)
    office.told(invite.leg, e.MediaArrived(invite.leg))
    office.hangs_up(call, invite.leg)
    facts = office.facts(invite.leg)
    expected = [e.KeysNegotiated, e.CallConfirmed, e.MediaSourceFound, e.MediaArrived, e.LegGone]
    assert [type(fact) for fact in facts] == expected
    assert facts[1] == e.CallConfirmed(telephone_event=True)
    assert facts[-1] == e.LegGone(invite.leg, 200) and office.engine.legs == 0


@scene
def test_a_caller_who_gives_up_and_one_who_is_refused(office: Loopback) -> None:
    call = office.caller.call(office.uri())
    leg = office.incoming().leg
    call.cancel()
    office.gone(leg, 487)
    office.engine.answer(leg)  # had been on its way, as all of these
    office.engine.play(leg, MUSIC, loop=True)
    office.engine.listen(leg)
    office.engine.overlay((leg,), SHORT)
    office.engine.hang_up(leg)
    office.until(lambda: call.status == 487, "487")
    call = office.caller.call(office.uri())
    leg = office.incoming(1).leg
    office.engine.reject(leg, 503, 10)
    office.gone(leg, 503)
    office.until(lambda: call.final, "final answer")
    assert call.final and (call.status, call.final.header("Retry-After")) == (503, "10")


@scene
def test_who_finds_no_leg_is_reported_too(office: Loopback) -> None:
    for _ in range(office.engine.capacity):
        office.answered()
    call = office.caller.call(office.uri())
    office.until(lambda: office.of(RefusedByEngine) and call.final, "refusal by the engine")
    (refused,) = office.of(RefusedByEngine)
    assert (refused.status, refused.message.split(" ")[0]) == (503, "INVITE")
    assert refused.source == "{}:{}".format(*office.caller.address)
    assert call.final and (call.status, call.final.header("Retry-After")) == (503, "10")
    assert len(office.of(Incoming)) == office.engine.capacity


# --- keys and holds ---


@scene
def test_a_key_in_rtp_is_told_at_once_and_ends_a_poll(office: Loopback) -> None:
    """Nobody has to look for it: what it erases must not live on for as long as a poll lasts."""
    (call, leg), _ = office.talking()
    engine.LOOK_S = engine.NOTHING_S = PATIENCE_S
    call.rtp.press("9")
    began = time.monotonic()
    while pressed(leg, "9", "rfc4733") not in office.facts(leg):
        office.engine.poll(PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S, office.reports


@scene
def test_keys_come_once_by_each_of_their_ways(office: Loopback) -> None:
    """An INFO about something else is none. A key that ends no line ended the process: the library looks for
    `Duration` behind the end of such a body."""
    call, leg = office.answered()
    for key in "09*#":
        call.press(key)
        office.told(leg, pressed(leg, key, "rfc4733"))
    call.press("7", "info-dtmf")
    office.told(leg, pressed(leg, "7", "info"))
    for kind in ("application/dtmf-relay", "Application / DTMF-relay"):
        for body in (b"Signal=5\r\nDuration=80\r\n", b"Signal=5", b"Signal", b"Signal=", b"Signal=5\0"):
            assert office.asks(call, "INFO", body, ("Content-Type", kind)).status in (200, 415)
    assert office.asks(call, "INFO", b"<x/>", ("Content-Type", "application/media_control+xml")).status == 415
    call.press("#", "info")
    office.told(leg, pressed(leg, "#", "info"))
    assert office.keys(leg) == "09*#755#"


HOLDS = {
    "sendonly": ("a=sendrecv", "a=sendonly"),
    "inactive": ("a=sendrecv", "a=inactive"),
    "0.0.0.0": ("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),
}


@scene
def test_each_way_to_hold_is_told_and_kills_nobody(stack: ExitStack) -> None:
    """RFC 3311; RFC 3264 section 8.4 for the address 0.0.0.0. A held leg that sends nothing is not dead."""
    legs.WATCH_S = 0.1
    office = Loopback(stack, media_timeout_s=1.5)
    clock, other = office.answered()
    for method in ("UPDATE", "INVITE"):
        calls = {how: office.answered(office.phone(f"1{method}{how}", 500)) for how in HOLDS}
        for how, (call, leg) in calls.items():
            offer = call._sdp("sendrecv").decode().replace(*HOLDS[how])
            assert office.asks(call, method, offer.encode()).status == 200
            office.told(leg, e.LegHeld(leg, sends=how == "sendonly"))
            call.rtp.play(None)
        office.frames(clock, 3.0)
        for call, leg in calls.values():
            assert e.MediaLost(leg) not in office.facts(leg)
            assert office.asks(call, method, call._sdp("sendrecv")).status == 200
            office.told(leg, e.LegResumed(leg))
        for _, leg in calls.values():
            office.told(leg, e.MediaLost(leg))  # now it is one
        office.frames(clock, 1.0)
        for _, leg in calls.values():
            assert office.facts(leg).count(e.MediaLost(leg)) == 1
            office.engine.hang_up(leg)
            office.gone(leg, 200)
        office.until(lambda: office.engine.legs == 1, "end of three legs")
    assert e.MediaLost(other) not in office.facts(other)


@scene
def test_a_holder_who_offers_music_and_sends_none_is_told_again(office: Loopback) -> None:
    call, leg = office.answered()
    call.rtp.play(None)  # before: what comes after its word is counted
    office.meanwhile(lambda: call.hold("sendonly"))
    office.told(leg, e.LegHeld(leg, sends=False))
    assert [fact.sends for fact in office.facts(leg) if isinstance(fact, e.LegHeld)] == [True, False]
    held = call._sdp("sendonly")
    _, leg = office.answered(sdp=held)  # from the INVITE on: before the call is confirmed
    assert [type(fact) for fact in office.facts(leg)][:2] == [e.LegHeld, e.KeysNegotiated]
    assert isinstance(office.facts(leg)[2], e.CallConfirmed)


@scene
def test_nothing_is_dialled_because_a_message_says_so(office: Loopback) -> None:
    """REFER, and a 302 from the operator's phone: refused."""
    call, caller = office.answered()
    assert office.asks(call, "REFER", b"", ("Refer-To", f"<{office.desk.uri}>")).status == 403
    assert e.TransferDenied(caller) in office.facts(caller)
    elsewhere = office.phone("999", 500)
    office.desk.answer = Answering(status=302, headers=(("Contact", f"<{elsewhere.uri}>"),))
    office.gone(office.dial())
    assert elsewhere.seen == []


# --- operators ---


@scene
def test_what_becomes_of_a_leg_that_we_dial(office: Loopback) -> None:
    leg = office.engine.dial(office.desk.uri, '"NO REC +33612345678"', (), 7)
    office.told(leg, e.MediaArrived(leg))
    talk = office.desk.calls[0]
    assert talk.incoming and talk.incoming.header("From").startswith('"NO REC +33612345678" <sip:agent@')
    office.engine.hang_up(leg)
    office.gone(leg, 200)
    office.until(lambda: talk.ended_by == "them", "BYE")
    assert seen(office.desk, "INVITE received")[0].all("Max-Forwards") == ["7"]
    assert seen(office.desk, "BYE received")[0].all("Max-Forwards") == ["70"]  # which begins anew
    office.desk.answer = Answering(status=486)
    office.gone(office.dial(), 486)
    assert seen(office.desk, "INVITE received")[1].all("Max-Forwards") == ["70"]
    office.gone(office.dial("no uri at all"), 503)
    assert office.engine.legs == 0


ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


@scene
def test_a_phone_that_lost_shows_no_missed_call(office: Loopback) -> None:
    """A CANCEL waits for a provisional response (RFC 3261 section 9.1), and says why all the same."""
    office.desk.answer = Answering(status=None)
    for count, (elsewhere, early) in enumerate(((True, False), (False, False), (True, True)), 1):
        leg = office.dial()
        if not early:
            office.told(leg, e.OperatorReached(leg))
        office.engine.hang_up(leg, elsewhere)
        office.gone(leg, 487)
        office.until(lambda: office.desk.count("CANCEL received") == count, "CANCEL")  # noqa: B023
    reasons = [cancel.header("Reason") for cancel in seen(office.desk, "CANCEL received")]
    assert reasons == [ELSEWHERE, "", ELSEWHERE]
    assert office.desk.wait_at("CANCEL received", 2) > office.desk.wait_at("180 INVITE sent", 2)
    office.desk.answer = Answering(silent=True)
    leg = office.dial()
    office.engine.hang_up(leg)
    office.gone(leg, 408)  # in seconds: the library alone would keep it for 32
    office.until(lambda: office.engine.legs == 0, "end of the leg")
    assert office.desk.count("CANCEL received") == 3


@scene
def test_of_forked_answers_one_is_kept_and_the_other_is_let_go(office: Loopback) -> None:
    """Two phones behind one PBX pick up: two 200s to one INVITE, and a BYE for the second dialog."""
    office.desk.answer = Answering(status=None)
    leg = office.dial()
    office.until(lambda: office.desk.calls, "ringing")
    (first,) = office.desk.calls
    invite = first.incoming
    assert invite
    other = Call(office.desk, first.call_id, f"{invite.header('To')};tag=other", invite.header("From"), "")
    with office.loop.changing():
        first.decide(200)
        other._answer_offer(invite)
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
    office.until(lambda: seen(office.desk, "BYE received"), "BYE")
    assert {one.header("To").rpartition(";")[2] for one in seen(office.desk, "BYE received")} == {"tag=other"}
    assert office.engine.has(leg) and office.engine.legs == 1


# --- host names ---


def silent_server(*, found: bool = True) -> tuple[threading.Event, list[object]]:
    """Nothing answers until the event is set; then names lead to 127.0.0.1, or nowhere. And what is asked."""
    answers, asked = threading.Event(), list[object]()

    def slow(*name: object, **_: object) -> list[Any]:
        asked.append(name[0])
        assert answers.wait(PATIENCE_S)
        if not found:
            raise socket.gaierror("Name or service not known")
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 0))]

    socket.getaddrinfo = slow
    return answers, asked


@scene
def test_a_leg_counts_until_its_end_is_confirmed_and_while_its_host_is_looked_up(stack: ExitStack) -> None:
    """The library reports it as gone at once, and can't have another in its place."""
    answers, _ = silent_server(found=False)
    office = Loopback(stack)
    _, leg = office.dialled()
    office.desk.close()
    office.engine.hang_up(leg)
    office.gone(leg, 200)
    assert office.engine.legs == 1
    late = office.dial("sip:201@pbx.test")
    assert office.engine.legs == 2
    answers.set()
    office.gone(late, 503)  # and told once
    assert office.engine.legs == 1


@scene
def test_while_no_name_server_answers_calls_go_on(stack: ExitStack) -> None:
    """One is given up before there is an answer, and is not rung then; the other is."""
    answers, _ = silent_server()
    office = Loopback(stack)
    uri = office.desk.uri.replace("127.0.0.1", "localhost")
    given_up, patient = (office.dial(uri) for _ in range(2))
    _, caller = office.answered()  # meanwhile
    office.engine.overlay((caller, given_up, patient), SHORT)
    assert office.desk.calls == []
    office.engine.hang_up(given_up)
    office.engine.poll(0)
    answers.set()
    office.gone(given_up, 487)
    office.told(patient, e.OperatorAnswered(patient, telephone_event=True))
    assert len(office.desk.calls) == 1


@scene
def test_a_name_in_a_message_is_waited_for_by_nobody(stack: ExitStack) -> None:
    """A peer can name any host, whose name server may be silent; and as many as it likes."""
    answers, asked = silent_server()
    office = Loopback(stack)
    call, caller = office.answered()
    office.desk.contact = f"sip:201@desk.test:{office.desk.address[1]}"
    _, operator = office.dialled()
    call.rtp.press("9")
    office.told(caller, pressed(caller, "9", "rfc4733"))
    assert asked == ["desk.test"] and not seen(office.desk, "ACK received")
    answers.set()
    office.until(lambda: seen(office.desk, "ACK received"), "ACK, where the name leads")
    names.MOST = 0
    office.hangs_up(office.desk.calls[0], operator)
    office.dialled()
    answers.clear()
    names.MOST = 1
    office.dialled()
    assert asked == ["desk.test"] * 2
    office.engine.stop()  # it waits for no name, either
    answers.set()


@scene
def test_a_registrar_by_name_is_told_also_that_we_are_gone(stack: ExitStack) -> None:
    registrar = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    registrar.bind(("127.0.0.1", 0))
    registrar.settimeout(PATIENCE_S)
    office = Loopback(stack, registrar=f"sip:localhost:{registrar.getsockname()[1]}")

    def registered() -> Message:
        packet, sender = registrar.recvfrom(65535)
        request = Message.parse(packet)
        copied = [
            (name, request.header(name)) for name in ("Via", "From", "To", "Call-ID", "CSeq", "Contact")
        ]
        registrar.sendto(Message("SIP/2.0 200 OK", (*copied, ("Expires", "120"))).pack(), sender)
        return request

    office.engine.register()
    assert office.meanwhile(registered).header("Expires") == "120"
    office.until(lambda: office.of(Registration), "word of it")
    leaving = threading.Thread(target=lambda: heard.append(registered()))
    heard: list[Message] = []
    leaving.start()
    office.engine.stop()
    leaving.join(PATIENCE_S)
    assert [one.header("Expires") for one in heard] == ["0"]


@scene
def test_a_registrar_that_is_found_too_late_is_not_asked(stack: ExitStack) -> None:
    """The account that would ask is gone by then, which ends the library's process."""
    office = Loopback(stack, registrar="sip:localhost:5")
    office.engine.register()
    office.engine.stop()
    assert office.of(Registration) == []


def test_a_name_is_not_found_where_the_system_has_no_thread_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    found: list[object] = []
    lookups = names.Names(lambda: None, found.append)
    lookups.look_up("pbx.test", found.append)
    assert found == []
    lookups.poll()
    assert found == [()]


# --- who is given a digest ---

LOGIN = Credentials("agent", "secret")


def asks(realm: str, status: int = 407, within: tuple[str, ...] = ()) -> Challenge:
    return Challenge(realm, "agent", "secret", status, within)


@scene
def test_an_operators_answer_to_a_challenge(stack: ExitStack) -> None:
    """The realm is taken from the first challenge, and then no other gets a digest. Of two who are challenged
    at once the second is asked before the realm is known; what the phone is told is told again."""
    office = Loopback(stack, operators=LOGIN)
    office.desk.challenge = asks("pbx")
    given_up = office.dial()
    office.engine.hang_up(given_up)
    office.gone(given_up)
    assert office.desk.calls == []
    headers = (("Alert-Info", "<urn:alert:service:normal>;info=rec"), ("X-Recording", "REC"))
    before = office.desk.count("INVITE received")
    both = [office.dial("", *headers) for _ in range(2)]
    for leg in both:
        office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
        office.engine.hang_up(leg)
        office.gone(leg, 200)
    told = [(m.header("Alert-Info"), m.header("X-Recording")) for m in seen(office.desk, "INVITE received")]
    assert set(told[before:]) == {(headers[0][1], "REC")}
    office.desk.challenge = asks("pbx", 401)
    office.dialled()
    office.desk.challenge = asks("another")
    for _ in range(2):
        office.gone(office.dial(), 407)
    invites = seen(office.desk, "INVITE received")
    assert all('realm="pbx"' in (m.header("Proxy-Authorization") or 'realm="pbx"') for m in invites)
    refused = ChallengeRefused("127.0.0.1", "another", "operators", "pbx")
    assert office.of(ChallengeRefused) == [refused]  # told once
    office.desk.challenge, before = Challenge("pbx", "agent", "other"), office.desk.count("INVITE received")
    office.gone(office.dial())
    assert office.desk.count("INVITE received") - before <= 5  # no storm of attempts


@scene
def test_the_trunks_password_is_for_its_registrar_alone(stack: ExitStack) -> None:
    """Whatever a phone asks for: not while no realm is known, and not in another one."""
    office = Loopback(stack, trunk=LOGIN)
    for realm in ("evil", ""):
        office.desk.challenge = asks(realm)
        office.gone(office.dial(), 407)
    office.engine.learn_realm("trunk")
    office.engine.learn_realm("evil")
    office.desk.challenge = asks("evil")
    office.gone(office.dial(), 407)
    invites = seen(office.desk, "INVITE received")
    assert not [one for one in invites if one.header("Proxy-Authorization") or one.header("Authorization")]
    office.desk.challenge = asks("trunk")
    office.dialled()


@scene
def test_only_the_pbx_may_ask_for_its_password(stack: ExitStack) -> None:
    """Nobody else is given a digest or teaches the realm: neither of an INVITE nor of a BYE, in any realm."""
    office = Loopback(stack, operators=LOGIN, pbx=frozenset({PBX}))
    pbx, stranger = office.phone("202", 1200, ip=PBX), office.desk

    def talks_with_pbx() -> None:
        leg = office.dial(pbx.uri)
        office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
        office.engine.hang_up(leg)
        office.gone(leg, 200)

    for realm in ("evil", "pbx"):
        stranger.challenge, pbx.challenge = asks(realm, within=("BYE",)), asks("pbx", within=("BYE",))
        office.gone(office.dial(), 407)
        talks_with_pbx()
    office.until(lambda: pbx.count("BYE received") == 4, "two BYEs that were answered")
    pbx.contact = stranger.uri
    talks_with_pbx()
    office.until(lambda: stranger.count("407 BYE sent"), "challenge")
    office.answered()  # whatever was under way has arrived by then
    assert stranger.count("BYE received") == 1 and stranger.count("INVITE received") == 2
    assert not [one for one in stranger.seen if one.message.header("Proxy-Authorization")]
    assert office.of(RealmLearnt) == [RealmLearnt("pbx", "operators")]
    assert office.of(ChallengeRefused) == [
        ChallengeRefused("127.0.0.1", realm, "operators", None) for realm in ("evil", "pbx")
    ]


@scene
def test_a_pbx_by_name_may_ask_from_where_its_name_leads(stack: ExitStack) -> None:
    office = Loopback(stack, operators=LOGIN, pbx=frozenset({"localhost"}))
    office.desk.challenge = asks("pbx")
    office.dialled(office.desk.uri.replace("127.0.0.1", "localhost"))
    office.engine.challenged_by((), frozenset({PBX}))  # by a reload
    office.gone(office.dial(), 407)


@scene
def test_only_the_trunk_may_ask_for_its_password_in_a_callers_call(stack: ExitStack) -> None:
    trunk = Credentials("agent", "secret", "trunk")
    office = Loopback(stack, trunk=trunk, callers=(ip_network("127.0.0.1"),))
    stranger = office.phone("mallory", 1200, ip=PBX)
    for asked in (office.caller, stranger):
        asked.challenge = asks("trunk", within=("BYE",))
        office.caller.contact = asked.uri
        _, leg = office.answered()
        office.engine.hang_up(leg)
        office.gone(leg, 200)
        office.until(lambda: asked.count("407 BYE sent"), "challenge")  # noqa: B023 - done in here
    office.caller.contact = ""
    office.answered()  # whatever was under way has arrived by then
    assert (office.caller.count("BYE received"), stranger.count("BYE received")) == (2, 1)
    assert office.of(ChallengeRefused) == [ChallengeRefused(PBX, "trunk", "trunk", None)]


@scene
def test_a_registrar_that_cannot_be_asked_is_reported_each_time(stack: ExitStack) -> None:
    """Whoever waits for its word would otherwise wait for ever."""
    office = Loopback(stack, registrar="sip:nowhere.invalid")
    for count in (1, 2):
        office.engine.register()
        office.until(lambda wanted=count: len(office.of(Registration)) == wanted, "word of it")  # type: ignore[misc]
    assert [registration.active for registration in office.of(Registration)] == [False, False]
