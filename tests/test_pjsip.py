"""The engine for real: what it makes of phones on loopback."""

import functools
import socket
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

import prompts
from sipagent.agent.engine import (
    ChallengeRefused,
    Credentials,
    EngineFault,
    EngineSettings,
    Incoming,
    RealmLearnt,
    RefusedByEngine,
    Registration,
)
from sipagent.call import events as e
from sipagent.pjsip import EngineError, PjsipEngine, legs, library
from sipagent.softphone.phone import Answering, Challenge
from tests.loopback import NUMBER, PATIENCE_S, Loopback, scene

SHORT = Path(prompts.__file__).parent / "tones" / "recording_on.wav"
PBX = "127.0.0.4"
MUSIC = Path(prompts.__file__).parent / "hold.wav"


def pressed(leg: int, digit: str, method: e.Method) -> e.DtmfPressed:
    return e.DtmfPressed(leg, digit, method)


# --- life and death of an engine ---


@scene
def test_a_port_that_is_taken_is_told_in_one_line(stack: ExitStack) -> None:
    office = Loopback(stack)
    taken = EngineSettings(
        report=lambda _: None,
        audio=lambda *_: None,
        listen=office.caller.address,
        uri="sip:agent@127.0.0.1",
    )
    office.engine.stop()
    second = PjsipEngine(taken)
    with pytest.raises(EngineError) as error:
        second.start()
    assert f"udp 127.0.0.1:{office.caller.address[1]}" in str(error.value)
    assert "\n" not in str(error.value)
    second.stop()


@scene
def test_it_stops_with_calls_up_and_tells_everybody(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    talk, operator = office.dialled()
    office.engine.listen(leg)
    office.engine.bridge(leg, operator)
    office.engine.play(leg, MUSIC, loop=True)
    office.desk.answer = Answering(status=None)
    office.engine.dial(office.desk.uri, '"REC"')
    office.until(lambda: len(office.desk.calls) == 2, "second call to the desk")
    office.frames(call, 0.5)
    office.engine.stop()
    assert (call.ended_by, talk.ended_by, office.desk.calls[1].ended_by) == ("them", "them", "them")
    assert office.engine.legs == 0


@scene
def test_a_poll_ends_when_it_is_woken(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.engine.poll(0)
    began = time.monotonic()
    threading.Timer(0.05, office.engine.wake).start()
    office.engine.poll(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S


@scene
def test_a_poll_lasts_as_long_as_it_may(stack: ExitStack) -> None:
    """Else whoever waits for a moment would ask all the time in the last millisecond before it."""
    office = Loopback(stack)
    office.engine.poll(0.1)
    began = time.monotonic()
    office.engine.poll(0.0009)
    assert time.monotonic() - began >= 0.0009


@dataclass
class Part:
    pending: bool


def test_it_is_looked_often_only_where_something_waits() -> None:
    assert legs.look_s(True, Part(False)) == legs.FIRST_PACKET_S
    assert legs.look_s(False, Part(False), Part(True)) == legs.LOOK_S
    assert legs.look_s(False, Part(False), Part(False)) == legs.NOTHING_S


@scene
def test_a_key_in_rtp_is_told_at_once_and_ends_a_poll(stack: ExitStack) -> None:
    """Nobody has to look for it: what it erases must not live on for as long as a poll lasts."""
    office = Loopback(stack)
    call, leg = office.answered()
    _, operator = office.dialled()
    office.engine.bridge(leg, operator)
    office.told(leg, e.MediaArrived(leg))
    legs.LOOK_S = legs.NOTHING_S = PATIENCE_S
    press = call.rtp.press("9")
    began = time.monotonic()
    while pressed(leg, "9", "rfc4733") not in office.facts(leg):
        office.engine.poll(PATIENCE_S)
        assert time.monotonic() - began < PATIENCE_S, office.reports
    assert press.at_ns


@scene
def test_a_poll_ends_when_it_is_woken_also_over_tcp(stack: ExitStack) -> None:
    office = Loopback(stack, transport="tcp")
    office.engine.poll(0)
    began = time.monotonic()
    threading.Timer(0.05, office.engine.wake).start()
    office.engine.poll(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S


# --- callers ---


@scene
def test_a_call_from_its_invite_to_its_bye(stack: ExitStack) -> None:
    office = Loopback(stack)
    call = office.caller.call(office.uri())
    invite = office.incoming()
    assert invite.source == "{}:{}".format(*office.caller.address)
    assert invite.message.startswith(f"INVITE sip:{NUMBER}@")
    assert office.engine.legs == 1
    office.engine.answer(invite.leg)
    office.told(invite.leg, e.CallConfirmed(telephone_event=True))
    office.told(invite.leg, e.MediaArrived(invite.leg))
    call.hang_up()
    office.told(invite.leg, e.LegGone(invite.leg, 200))
    facts = office.facts(invite.leg)
    expected = [e.KeysNegotiated, e.CallConfirmed, e.MediaSourceFound, e.MediaArrived, e.LegGone]
    assert [type(fact) for fact in facts] == expected
    assert (office.engine.legs, office.of(EngineFault)) == (0, [])


@scene
def test_a_leg_goes_over_as_many_hops_as_it_may(stack: ExitStack) -> None:
    """What follows within its dialog begins anew, and so does the next leg."""
    office = Loopback(stack)
    office.desk.answer = Answering(after_s=0.05)
    first = office.engine.dial(office.desk.uri, '"a"', (), 7)
    office.told(first, e.MediaArrived(first))
    second = office.engine.dial(office.desk.uri, '"b"')
    office.told(second, e.MediaArrived(second))
    office.engine.hang_up(first)
    office.until(lambda: office.desk.count("BYE received"), "BYE")
    seen = [one.message for one in office.desk.seen if not one.sent]
    hops = [(one.method, one.all("Max-Forwards")) for one in seen if one.method in ("INVITE", "BYE")]
    assert hops == [("INVITE", ["7"]), ("INVITE", ["70"]), ("BYE", ["70"])]


@scene
def test_a_phone_without_events_is_known_as_such(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered(office.phone("2", 500, event_type=None))
    assert e.CallConfirmed(telephone_event=False) in office.facts(leg)


@scene
def test_a_caller_who_gives_up_before_the_answer(stack: ExitStack) -> None:
    office = Loopback(stack)
    call = office.caller.call(office.uri())
    leg = office.incoming().leg
    call.cancel()
    office.told(leg, e.LegGone(leg, 487))
    office.engine.answer(leg)  # had been on its way
    office.engine.play(leg, MUSIC, loop=True)
    office.engine.listen(leg)
    office.engine.overlay((leg,), SHORT)
    office.engine.hang_up(leg)
    office.until(lambda: call.status == 487, "487")
    assert office.of(EngineFault) == []


@scene
def test_a_caller_is_refused_with_the_time_to_come_back(stack: ExitStack) -> None:
    office = Loopback(stack)
    call = office.caller.call(office.uri())
    leg = office.incoming().leg
    office.engine.reject(leg, 503, 10)
    office.told(leg, e.LegGone(leg, 503))
    office.until(lambda: call.status is not None, "final answer")
    assert call.final
    assert (call.status, call.final.header("Retry-After")) == (503, "10")


@scene
def test_who_finds_no_leg_is_reported_too(stack: ExitStack) -> None:
    office = Loopback(stack)
    for _ in range(office.engine.capacity):
        office.answered()
    call = office.caller.call(office.uri())
    office.until(lambda: office.of(RefusedByEngine), "refusal by the engine")
    (refused,) = office.of(RefusedByEngine)
    assert (refused.status, refused.message.split(" ")[0]) == (503, "INVITE")
    assert refused.source == "{}:{}".format(*office.caller.address)
    office.until(lambda: call.final, "a final answer")
    assert call.final
    assert (call.status, call.final.header("Retry-After")) == (503, "10")
    assert len(office.of(Incoming)) == office.engine.capacity


@scene
def test_where_we_have_miscounted_the_librarys_own_answer_is_reported(stack: ExitStack) -> None:
    library.MANY = 4  # whatever it could have
    office = Loopback(stack)
    for _ in range(office.engine.capacity):
        office.answered()
    library.call_count = lambda: office.engine.capacity - 1
    call = office.caller.call(office.uri())
    office.until(lambda: call.status, "an answer")
    (refused,) = office.of(RefusedByEngine)
    assert (call.status, refused.status) == (486, 486)


# --- keys and holds ---


@scene
def test_keys_come_once_by_each_of_their_ways(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    for key in "09*#":
        call.press(key)
        office.told(leg, pressed(leg, key, "rfc4733"))
    for key in "5#":
        call.press(key, "info")
        office.told(leg, pressed(leg, key, "info"))
    call.press("7", "info-dtmf")
    office.told(leg, pressed(leg, "7", "info"))
    office.until(lambda: office.caller.count("200 INFO received") == 3, "answers to all INFO")
    digits = "".join(fact.digit for fact in office.facts(leg) if isinstance(fact, e.DtmfPressed))
    assert digits == "09*#5#7"
    assert office.of(EngineFault) == []


@scene
def test_an_info_about_something_else_is_no_key(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    headers = (("Content-Type", "application/media_control+xml"),)
    office.meanwhile(lambda: call.request("INFO", headers, b"<x/>"))
    call.press("1", "info")
    office.told(leg, pressed(leg, "1", "info"))
    assert sum(isinstance(fact, e.DtmfPressed) for fact in office.facts(leg)) == 1
    assert office.of(EngineFault) == []


@scene
def test_an_info_whose_key_ends_no_line_is_a_key_and_ends_no_process(stack: ExitStack) -> None:
    """The library looks for `Duration` behind the end of such a body."""
    office = Loopback(stack)
    call, leg = office.answered()
    answers: list[int | None] = []

    def send(kind: str, text: str) -> None:
        answers.append(call.request("INFO", (("Content-Type", kind),), text.encode()).status)

    for text in ("Signal=9", "Signal=9\r", "Signal", "Signal=", "Signal=9\0", "\r\nSignal=9"):
        for kind in ("application/dtmf-relay", "Application / DTMF-relay"):
            office.meanwhile(functools.partial(send, kind, text))
    assert office.facts(leg).count(pressed(leg, "9", "info")) >= 3
    assert set(answers) == {200, 415}
    assert office.of(EngineFault) == []


@scene
def test_a_hold_and_its_end(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    for direction, sends in (("sendonly", True), ("inactive", False)):
        office.reports.clear()
        office.meanwhile(lambda way=direction: call.hold(way))  # type: ignore[misc]
        office.told(leg, e.LegHeld(leg, sends))
        office.meanwhile(call.resume)
        office.told(leg, e.LegResumed(leg))
        assert [fact for fact in office.facts(leg) if isinstance(fact, e.LegHeld)] == [e.LegHeld(leg, sends)]


@scene
def test_a_holder_who_offers_music_and_sends_none_is_told_again(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    office.meanwhile(lambda: call.hold("sendonly"))
    call.rtp.play(None)
    office.told(leg, e.LegHeld(leg, sends=False))
    assert [fact.sends for fact in office.facts(leg) if isinstance(fact, e.LegHeld)] == [True, False]


@scene
def test_who_calls_with_a_hold_is_held_before_the_call_is_confirmed(stack: ExitStack) -> None:
    office = Loopback(stack)
    offer = (
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=sendonly\r\n"
    )
    _, leg = office.answered(sdp=offer.encode())
    held = [type(fact) for fact in office.facts(leg)]
    assert held[:2] == [e.LegHeld, e.CallConfirmed]


@scene
def test_a_leg_that_should_send_and_does_not_is_reported_once(stack: ExitStack) -> None:
    legs.WATCH_S = 0.1
    office = Loopback(stack, media_timeout_s=0.5)
    call, leg = office.answered()
    office.frames(call, 1.0)
    assert e.MediaLost(leg) not in office.facts(leg)
    call.rtp.play(None)
    office.told(leg, e.MediaLost(leg))
    second, other = office.answered(office.phone("2", 500))
    office.frames(second, 1.0)
    assert office.facts(leg).count(e.MediaLost(leg)) == 1
    assert e.MediaLost(other) not in office.facts(other)


@scene
def test_nothing_is_dialled_because_a_message_says_so(stack: ExitStack) -> None:
    """REFER, and a 302 from the operator's phone: refused."""
    office = Loopback(stack)
    call, caller = office.answered()
    answers: list[int | None] = []
    refer = (("Refer-To", f"<{office.desk.uri}>"),)
    office.meanwhile(lambda: answers.append(call.request("REFER", refer).status))
    assert answers == [403]
    assert e.TransferDenied(caller) in office.facts(caller)
    elsewhere = office.phone("999", 500)
    office.desk.answer = Answering(status=302, headers=(("Contact", f"<{elsewhere.uri}>"),))
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.until(lambda: any(isinstance(fact, e.LegGone) for fact in office.facts(leg)), "end of the leg")
    assert (elsewhere.seen, office.of(EngineFault)) == ([], [])


# --- operators ---


@scene
def test_an_operators_phone_shows_what_it_is_told(stack: ExitStack) -> None:
    office = Loopback(stack)
    talk, leg = office.dialled('"NO REC +33612345678"')
    assert talk.incoming
    assert talk.incoming.header("From").startswith('"NO REC +33612345678" <sip:agent@')
    office.engine.hang_up(leg)
    office.told(leg, e.LegGone(leg, 200))
    office.until(lambda: talk.ended_by == "them", "BYE")


@scene
def test_an_operator_who_declines_or_is_given_up(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.desk.answer = Answering(status=486)
    busy = office.engine.dial(office.desk.uri, '"REC"')
    office.told(busy, e.LegGone(busy, 486))
    office.desk.answer = Answering(status=None)
    ringing = office.engine.dial(office.desk.uri, '"REC"')
    office.until(lambda: len(office.desk.calls) == 2, "ringing phone")
    office.until(lambda: office.desk.count("180 INVITE sent"), "180")
    office.engine.hang_up(ringing)
    office.told(ringing, e.LegGone(ringing, 487))
    office.until(lambda: office.desk.count("CANCEL received") == 1, "CANCEL")


@scene
def test_what_cannot_be_dialled_is_gone_at_once(stack: ExitStack) -> None:
    office = Loopback(stack)
    leg = office.engine.dial("no uri at all", '"REC"')
    office.told(leg, e.LegGone(leg, 503))
    assert office.engine.legs == 0


@scene
def test_an_operators_answer_to_a_challenge(stack: ExitStack) -> None:
    """The realm is taken from the first challenge, and then no other gets a digest."""
    office = Loopback(stack, operators=Credentials("agent", "secret"))
    for status in (407, 401):
        office.desk.challenge = Challenge("pbx", "agent", "secret", status)
        leg = office.engine.dial(office.desk.uri, '"REC"')
        office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
        office.engine.hang_up(leg)
        office.told(leg, e.LegGone(leg, 200))
    office.desk.challenge = Challenge("another", "agent", "secret")
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.LegGone(leg, 407))
    asked = [seen.message for seen in office.desk.seen if seen.describe() == "INVITE received"]
    assert all('realm="pbx"' in (m.header("Proxy-Authorization") or 'realm="pbx"') for m in asked)


@scene
def test_the_trunks_password_is_for_its_registrar_alone(stack: ExitStack) -> None:
    """Whatever a phone asks for: not while no realm is known, and not in another one."""
    office = Loopback(stack, trunk=Credentials("agent", "secret"))
    for realm in ("evil", ""):
        office.desk.challenge = Challenge(realm, "agent", "secret")
        leg = office.engine.dial(office.desk.uri, '"REC"')
        office.told(leg, e.LegGone(leg, 407))
    office.engine.learn_realm("trunk")
    office.engine.learn_realm("evil")
    office.desk.challenge = Challenge("evil", "agent", "secret")
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.LegGone(leg, 407))
    invites = [seen.message for seen in office.desk.seen if seen.describe() == "INVITE received"]
    assert not [one for one in invites if one.header("Proxy-Authorization") or one.header("Authorization")]
    office.desk.challenge = Challenge("trunk", "agent", "secret")
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))


@scene
def test_only_the_pbx_may_ask_for_its_password(stack: ExitStack) -> None:
    """Nobody else is given a digest or teaches the realm: neither of an INVITE nor of a BYE, in any realm."""
    office = Loopback(stack, operators=Credentials("agent", "secret"), pbx=frozenset({PBX}))
    pbx, stranger = office.phone("202", 1200, ip=PBX), office.desk
    for realm in ("evil", "pbx"):
        stranger.challenge = Challenge(realm, "agent", "secret", within=("BYE",))
        leg = office.engine.dial(stranger.uri, '"REC"')
        office.told(leg, e.LegGone(leg, 407))
        pbx.challenge = Challenge("pbx", "agent", "secret", within=("BYE",))
        leg = office.engine.dial(pbx.uri, '"REC"')
        office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
        office.engine.hang_up(leg)
        office.told(leg, e.LegGone(leg, 200))
    office.until(lambda: pbx.count("BYE received") == 4, "two BYEs that were answered")
    pbx.contact = stranger.uri
    leg = office.engine.dial(pbx.uri, '"REC"')
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
    office.engine.hang_up(leg)
    office.told(leg, e.LegGone(leg, 200))
    office.until(lambda: stranger.count("407 BYE sent"), "challenge")
    office.answered()  # whatever was under way has arrived by then
    assert stranger.count("BYE received") == 1
    digests = [seen.message for seen in stranger.seen if seen.message.header("Proxy-Authorization")]
    assert not digests and stranger.count("INVITE received") == 2
    assert office.of(RealmLearnt) == [RealmLearnt("pbx", "operators")]
    assert office.of(ChallengeRefused) == [
        ChallengeRefused("127.0.0.1", realm, "operators", None) for realm in ("evil", "pbx")
    ]


@scene
def test_a_pbx_that_changes_its_realm_is_told_and_not_answered(stack: ExitStack) -> None:
    office = Loopback(stack, operators=Credentials("agent", "secret"))
    office.engine.learn_realm("old", "operators")  # by another worker
    for _ in range(2):
        office.desk.challenge = Challenge("new", "agent", "secret")
        leg = office.engine.dial(office.desk.uri, '"REC"')
        office.told(leg, e.LegGone(leg, 407))
    assert office.of(ChallengeRefused) == [ChallengeRefused("127.0.0.1", "new", "operators", "old")]
    office.desk.challenge = Challenge("old", "agent", "secret")
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))


@scene
def test_a_pbx_by_name_may_ask_from_where_its_name_leads(stack: ExitStack) -> None:
    office = Loopback(stack, operators=Credentials("agent", "secret"), pbx=frozenset({"localhost"}))
    office.desk.challenge = Challenge("pbx", "agent", "secret")
    leg = office.engine.dial(office.desk.uri.replace("127.0.0.1", "localhost"), '"REC"')
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
    office.engine.challenged_by((), frozenset({PBX}))  # by a reload
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.told(leg, e.LegGone(leg, 407))


@scene
def test_only_the_trunk_may_ask_for_its_password_in_a_callers_call(stack: ExitStack) -> None:
    office = Loopback(
        stack, trunk=Credentials("agent", "secret", "trunk"), callers=(ip_network("127.0.0.1"),)
    )
    stranger = office.phone("mallory", 1200, ip=PBX)
    for asked in (office.caller, stranger):
        asked.challenge = Challenge("trunk", "agent", "secret", within=("BYE",))
        office.caller.contact = asked.uri
        _, leg = office.answered()
        office.engine.hang_up(leg)
        office.told(leg, e.LegGone(leg, 200))
        office.until(lambda: asked.count("407 BYE sent"), "challenge")  # noqa: B023 - done in here
    office.caller.contact = ""
    office.answered()  # whatever was under way has arrived by then
    assert (office.caller.count("BYE received"), stranger.count("BYE received")) == (2, 1)
    assert office.of(ChallengeRefused) == [ChallengeRefused(PBX, "trunk", "trunk", None)]


@scene
def test_who_is_given_up_before_the_challenge_is_not_rung(stack: ExitStack) -> None:
    office = Loopback(stack, operators=Credentials("agent", "secret"))
    office.desk.challenge = Challenge("pbx", "agent", "secret")
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.engine.hang_up(leg)
    office.until(lambda: any(isinstance(fact, e.LegGone) for fact in office.facts(leg)), "end of the leg")
    office.answered()  # whatever was under way has arrived by then
    assert (office.desk.calls, office.engine.legs) == ([], 1)


@scene
def test_two_who_are_challenged_at_once_are_both_answered(stack: ExitStack) -> None:
    """The first challenge teaches the realm; the second is of an INVITE that was sent before it came."""
    office = Loopback(stack, operators=Credentials("agent", "secret"))
    office.desk.challenge = Challenge("pbx", "agent", "secret")
    legs = [office.engine.dial(office.desk.uri, '"REC"') for _ in range(2)]
    for leg in legs:
        office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
    assert office.desk.count("407 INVITE sent") == 4  # each learns the realm, then the nonce


@scene
def test_a_phone_is_told_more_than_the_name_it_shows_also_after_a_challenge(stack: ExitStack) -> None:
    office = Loopback(stack, operators=Credentials("agent", "secret"))
    office.desk.challenge = Challenge("pbx", "agent", "secret")
    headers = (("Alert-Info", "<urn:alert:service:normal>;info=rec"), ("X-Recording", "REC"))
    leg = office.engine.dial(office.desk.uri, '"REC"', headers)
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))
    invites = [seen.message for seen in office.desk.seen if seen.describe() == "INVITE received"]
    assert len(invites) == 3
    assert [(m.header("Alert-Info"), m.header("X-Recording")) for m in invites] == [
        ("<urn:alert:service:normal>;info=rec", "REC")
    ] * 3


@scene
def test_a_phone_that_lost_shows_no_missed_call(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.desk.answer = Answering(status=None)
    reasons: list[str] = []
    for elsewhere in (True, False):
        leg = office.engine.dial(office.desk.uri, '"REC"')
        office.told(leg, e.OperatorReached(leg))
        office.engine.hang_up(leg, elsewhere)
        office.told(leg, e.LegGone(leg, 487))
        wanted = len(reasons) + 1
        office.until(lambda: office.desk.count("CANCEL received") == wanted, "CANCEL")  # noqa: B023 - done in here
        cancel = [seen.message for seen in office.desk.seen if seen.describe() == "CANCEL received"][-1]
        reasons.append(cancel.header("Reason"))
    assert reasons == ['SIP;cause=200;text="Call completed elsewhere"', ""]


@scene
def test_a_cancel_waits_until_something_answers_and_says_why_all_the_same(stack: ExitStack) -> None:
    """RFC 3261 section 9.1: not before a provisional response."""
    office = Loopback(stack)
    office.desk.answer = Answering(status=None)
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.engine.hang_up(leg, elsewhere=True)
    office.told(leg, e.LegGone(leg, 487))
    office.until(lambda: office.desk.count("CANCEL received") == 1, "CANCEL")
    (cancel,) = [seen.message for seen in office.desk.seen if seen.describe() == "CANCEL received"]
    assert cancel.header("Reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert office.desk.wait_at("CANCEL received") > office.desk.wait_at("180 INVITE sent")


@scene
def test_a_leg_for_which_nothing_answers_is_free_in_seconds(stack: ExitStack) -> None:
    """The library alone would keep it for 32 s."""
    office = Loopback(stack)
    office.desk.answer = Answering(silent=True)
    leg = office.engine.dial(office.desk.uri, '"REC"')
    office.engine.hang_up(leg)
    office.told(leg, e.LegGone(leg, 408))
    office.until(lambda: office.engine.legs == 0, "end of the leg")
    assert office.desk.count("CANCEL received") == 0


@scene
def test_a_leg_counts_until_its_end_has_been_confirmed(stack: ExitStack) -> None:
    """The library reports it as gone at once, and can't have another in its place."""
    office = Loopback(stack)
    _, leg = office.dialled()
    office.desk.close()
    office.engine.hang_up(leg)
    office.told(leg, e.LegGone(leg, 200))
    assert office.engine.legs == 1


@scene
def test_a_leg_counts_while_its_host_is_looked_up(stack: ExitStack) -> None:
    """Beside one that is ours no more, and the library's still."""
    answers = threading.Event()

    def slow(*_: object, **__: object) -> list[Any]:
        assert answers.wait(PATIENCE_S)
        raise socket.gaierror("Name or service not known")

    socket.getaddrinfo = slow
    office = Loopback(stack)
    _, leg = office.dialled()
    office.desk.close()
    office.engine.hang_up(leg)
    office.told(leg, e.LegGone(leg, 200))
    late = office.engine.dial("sip:201@pbx.test", '"REC"')
    assert office.engine.legs == 2
    answers.set()
    office.told(late, e.LegGone(late, 503))
    assert office.engine.legs == 1


# --- the registrar ---


@scene
def test_a_phone_is_rung_by_the_name_of_its_host(stack: ExitStack) -> None:
    office = Loopback(stack)
    leg = office.engine.dial(office.desk.uri.replace("127.0.0.1", "localhost"), '"REC"')
    office.told(leg, e.OperatorAnswered(leg, telephone_event=True))


@scene
def test_a_name_that_is_not_found_is_told_once(stack: ExitStack) -> None:
    def unknown(*_: object, **__: object) -> list[Any]:
        raise socket.gaierror("Name or service not known")

    socket.getaddrinfo = unknown
    office = Loopback(stack)
    leg = office.engine.dial("sip:201@pbx.test", '"REC"')
    office.told(leg, e.LegGone(leg, 503))
    office.answered()
    assert [fact for fact in office.facts(leg) if isinstance(fact, e.LegGone)] == [e.LegGone(leg, 503)]


@scene
def test_while_no_name_server_answers_calls_go_on(stack: ExitStack) -> None:
    """One is given up before there is an answer, and is not rung then; the other is."""
    answers = threading.Event()

    def slow(*_: object, **__: object) -> list[Any]:
        assert answers.wait(PATIENCE_S)
        return [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", 0))]

    socket.getaddrinfo = slow
    office = Loopback(stack)
    uri = office.desk.uri.replace("127.0.0.1", "localhost")
    given_up, patient = (office.engine.dial(uri, '"REC"') for _ in range(2))
    _, caller = office.answered()  # meanwhile
    office.engine.overlay((caller, given_up, patient), SHORT)
    assert office.desk.calls == []
    office.engine.hang_up(given_up)
    office.engine.poll(0)
    answers.set()
    office.told(given_up, e.LegGone(given_up, 487))
    office.told(patient, e.OperatorAnswered(patient, telephone_event=True))
    assert len(office.desk.calls) == 1


@scene
def test_a_registrar_that_cannot_be_asked_is_reported_each_time(stack: ExitStack) -> None:
    """Whoever waits for its word would otherwise wait for ever."""
    office = Loopback(stack, registrar="sip:nowhere.invalid")
    for count in (1, 2):
        office.engine.register()
        office.until(lambda wanted=count: len(office.of(Registration)) == wanted, "word of it")  # type: ignore[misc]
    assert [registration.active for registration in office.of(Registration)] == [False, False]


@scene
def test_without_a_registrar_nobody_is_asked(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.engine.register()
    office.answered()
    assert office.of(Registration) == []
