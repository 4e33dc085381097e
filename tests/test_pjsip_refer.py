"""REFER for real: from a phone, and to one."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from sipagent.agent.engine import EngineFault
from sipagent.call import events as e
from sipagent.pjsip import legs
from sipagent.softphone.phone import Call
from sipagent.softphone.sip import Headers
from tests.loopback import CALLER_HZ, DESK_HZ, Loopback, scene

FRAG = ("Content-Type", "message/sipfrag;version=2.0")
REPLACES = "90a@pbx;to-tag=7;from-tag=8"


def to(uri: str) -> Headers:
    return (("Refer-To", f"<{uri}>"),)


def asks(office: Loopback, call: Call, uri: str) -> int | None:
    """The answer to a phone's REFER."""
    answers: list[int | None] = []
    office.meanwhile(lambda: answers.append(call.request("REFER", to(uri)).status))
    return answers[0]


def notifies(office: Loopback, call: Call, status: str, state: str = "active", event: str = "refer") -> None:
    headers = (("Event", event), ("Subscription-State", state), FRAG)
    body = f"SIP/2.0 {status}\r\n".encode()
    office.meanwhile(lambda: call.request("NOTIFY", headers, body))


# --- a phone asks ---


@scene
def test_one_transfer_to_a_target_is_accepted_and_told_of(stack: ExitStack) -> None:
    office = Loopback(stack)
    talk, leg = office.dialled()
    target = "sip:203@127.0.0.1:5999"
    assert asks(office, talk, target) == 403
    office.engine.allow_transfer(leg, (target,))
    assert asks(office, talk, "sip:204@127.0.0.1:5999") == 403
    assert asks(office, talk, target) == 202
    assert asks(office, talk, target) == 403  # one
    office.engine.tell_transfer(leg, 100, last=False)
    office.engine.tell_transfer(leg, 200, last=True)
    office.until(lambda: office.desk.count("NOTIFY received") == 2, "two NOTIFYs")
    told = [seen.message for seen in office.desk.seen if seen.describe() == "NOTIFY received"]
    assert [message.body for message in told] == [b"SIP/2.0 100 Trying\r\n", b"SIP/2.0 200 OK\r\n"]
    assert [message.header("Event") for message in told] == ["refer", "refer"]
    assert told[0].header("Subscription-State").startswith("active;expires=")
    assert told[1].header("Subscription-State").startswith("terminated")
    assert told[1].header("Content-Type") == FRAG[1]
    asked = [fact for fact in office.facts(leg) if isinstance(fact, e.TransferAsked | e.TransferDenied)]
    denied = e.TransferDenied(leg)
    assert asked == [denied, denied, e.TransferAsked(leg, target), denied]
    assert (office.engine.legs, office.of(EngineFault)) == (1, [])


@scene
def test_a_second_transfer_of_a_phone_names_its_request(stack: ExitStack) -> None:
    """RFC 3515 section 2.4.6."""
    office = Loopback(stack)
    talk, leg = office.dialled()
    target = "sip:203@127.0.0.1:5999"
    for _ in range(2):
        office.engine.allow_transfer(leg, (target,))
        assert asks(office, talk, target) == 202
        office.engine.tell_transfer(leg, 486, last=True)
    office.until(lambda: office.desk.count("NOTIFY received") == 2, "two NOTIFYs")
    sent, told = (
        [seen.message for seen in office.desk.seen if seen.describe() == what]
        for what in ("REFER sent", "NOTIFY received")
    )
    number = sent[1].header("CSeq").split()[0]
    assert [message.header("Event") for message in told] == ["refer", f"refer;id={number}"]


@scene
def test_an_attended_transfer_carries_what_it_replaces(stack: ExitStack) -> None:
    office = Loopback(stack)
    talk, leg = office.dialled()
    colleague = office.phone("203", 700)
    office.engine.allow_transfer(leg, (colleague.uri,))
    escaped = REPLACES.replace("@", "%40").replace(";", "%3B").replace("=", "%3D")
    assert asks(office, talk, f"sip:203@192.0.2.9?Replaces={escaped}") == 202
    office.told(leg, e.TransferAsked(leg, colleague.uri, REPLACES))
    office.engine.dial(colleague.uri, '"REC"', (("Replaces", REPLACES), ("Require", "replaces")))
    office.until(lambda: colleague.count("INVITE received"), "call to the colleague")
    invite = colleague.seen[0].message
    assert invite.request_uri.startswith(colleague.uri)
    assert (invite.header("Replaces"), invite.header("Require")) == (REPLACES, "replaces")


@scene
def test_two_legs_taken_apart_hear_each_other_no_more(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    talk, operator = office.dialled()
    office.engine.bridge(leg, operator)
    office.tone(call, DESK_HZ)
    office.tone(talk, CALLER_HZ)
    office.engine.separate(operator)
    began = call.loop.next_frame_ns()
    office.frames(call, 1.0)
    for phone in (call, talk):
        assert set(phone.rtp.listen(began + 300_000_000).tones()) == {None}
    office.meanwhile(lambda: talk.hold("inactive"))
    office.meanwhile(talk.resume)  # a change of media does not join them again
    began = call.loop.next_frame_ns()
    office.frames(call, 1.0)
    assert set(call.rtp.listen(began + 300_000_000).tones()) == {None}
    office.engine.bridge(leg, operator)
    office.tone(call, DESK_HZ)


# --- we ask ---


@scene
def test_a_refer_is_followed_to_its_end(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.caller.refer_status = 202
    call, leg = office.answered()
    office.engine.refer(leg, "sip:301@127.0.0.1")
    office.told(leg, e.ReferAnswered(leg, 202))
    sent = next(seen.message for seen in office.caller.seen if seen.describe() == "REFER received")
    assert sent.header("Refer-To") == "<sip:301@127.0.0.1>"
    notifies(office, call, "100 Trying")
    notifies(office, call, "180 Ringing", event=f"refer;id={sent.header('CSeq').split()[0]}")
    notifies(office, call, "200 OK", "terminated;reason=noresource")
    told = [fact.status for fact in office.facts(leg) if isinstance(fact, e.ReferNotified)]
    assert told == [100, 180, 200]
    assert office.caller.count("200 NOTIFY received") == 3
    assert (office.engine.legs, office.of(EngineFault)) == (1, [])


@scene
def test_what_is_said_of_an_earlier_refer_is_not_taken_for_the_present_one(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.caller.refer_status = 202
    call, leg = office.answered()
    for uri in ("sip:301@127.0.0.1", "sip:302@127.0.0.1"):
        office.reports.clear()
        office.engine.refer(leg, uri)
        office.told(leg, e.ReferAnswered(leg, 202))
    first, second = (
        seen.message.header("CSeq").split()[0]
        for seen in office.caller.seen
        if seen.describe() == "REFER received"
    )
    notifies(office, call, "486 Busy Here", "terminated;reason=noresource", f"refer;id={first}")
    notifies(office, call, "200 OK", "terminated;reason=noresource", f"refer;id={second}")
    assert [f.status for f in office.facts(leg) if isinstance(f, e.ReferNotified)] == [200]


@scene
def test_the_end_of_a_subscription_is_no_second_refusal(stack: ExitStack) -> None:
    """Some say it twice: the status, and then the same once more with the end, neither naming its request."""
    office = Loopback(stack)
    office.caller.refer_status = 202
    call, leg = office.answered()

    def refers(uri: str) -> None:
        office.reports.clear()
        office.engine.refer(leg, uri)
        office.told(leg, e.ReferAnswered(leg, 202))

    refers("sip:301@127.0.0.1")
    notifies(office, call, "486 Busy Here")
    office.told(leg, e.ReferNotified(leg, 486))
    refers("sip:302@127.0.0.1")
    notifies(office, call, "486 Busy Here", "terminated;reason=noresource")  # of the first
    notifies(office, call, "100 Trying")
    notifies(office, call, "486 Busy Here", "terminated;reason=noresource")
    assert [f.status for f in office.facts(leg) if isinstance(f, e.ReferNotified)] == [100, 486]


@scene
def test_a_refer_that_is_refused(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered()
    office.engine.refer(leg, "sip:301@127.0.0.1")
    office.told(leg, e.ReferAnswered(leg, 501))
    assert office.engine.legs == 1


@scene
def test_a_refer_without_an_answer_can_be_given_up_and_the_call_goes_on(stack: ExitStack) -> None:
    """The library itself would end the call once the transaction has timed out."""
    office = Loopback(stack)
    office.caller.refer_status = None
    call, leg = office.answered()
    office.engine.refer(leg, "sip:301@127.0.0.1")
    office.until(lambda: office.caller.count("REFER received") >= 2, "a REFER that is sent again")
    office.engine.give_up_refer(leg)
    office.engine.give_up_refer(leg)
    sent = office.caller.count("REFER received")
    office.frames(call, 5.0)  # the longest pause between two
    assert (office.caller.count("REFER received"), office.engine.legs) == (sent, 1)
    assert not any(isinstance(fact, e.ReferAnswered) for fact in office.facts(leg))
    assert office.of(EngineFault) == []


@scene
def test_a_notify_that_nobody_asked_for_is_no_news(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    notifies(office, call, "200 OK", "terminated")
    assert not any(isinstance(fact, e.ReferNotified) for fact in office.facts(leg))
    assert office.caller.count("200 NOTIFY received") == 0


# --- holds ---


HOLDS = {
    "sendonly": ("a=sendrecv", "a=sendonly"),
    "inactive": ("a=sendrecv", "a=inactive"),
    "0.0.0.0": ("c=IN IP4 127.0.0.1", "c=IN IP4 0.0.0.0"),
}


@scene
def test_each_way_to_hold_and_that_it_kills_nobody(stack: ExitStack) -> None:
    """RFC 3311; RFC 3264 section 8.4 for the address 0.0.0.0. A held leg that sends nothing is not dead."""
    legs.WATCH_S = 0.1
    office = Loopback(stack, media_timeout_s=1.5)
    clock, _ = office.answered()
    for method in ("UPDATE", "INVITE"):
        calls = {how: office.answered(office.phone(f"1{method}{how}", 500)) for how in HOLDS}
        for how, (call, leg) in calls.items():
            old, new = HOLDS[how]
            offers(office, call, lambda sdp, old=old, new=new: sdp.replace(old, new), method)  # type: ignore[misc]
            office.told(leg, e.LegHeld(leg, sends=how == "sendonly"))
            call.rtp.play(None)
        office.frames(clock, 3.0)
        for call, leg in calls.values():
            assert e.MediaLost(leg) not in office.facts(leg)
            offers(office, call, lambda sdp: sdp, method)
            office.told(leg, e.LegResumed(leg))
        for _, leg in calls.values():
            office.told(leg, e.MediaLost(leg))  # now it is one
            office.engine.hang_up(leg)
            office.told(leg, e.LegGone(leg, 200))
        office.until(lambda: office.engine.legs == 1, "end of three legs")


# --- other offers in the midst of a call ---


def offers(office: Loopback, call: Call, change: Callable[[str], str], method: str = "INVITE") -> int | None:
    """Let a phone offer its session anew; the answer, which it follows."""
    was = call._sdp("sendrecv").decode()
    answers: list[int | None] = []

    def offer() -> None:
        answer = call.request(method, body=change(was).encode())
        answers.append(answer.status)
        if answer.status == 200:
            call._learn(answer, "INVITE")

    office.meanwhile(offer)
    return answers[0]


def without_audio(sdp: str) -> str:
    return re.sub(r"m=audio \d+", "m=audio 0", sdp)


def of_another_kind(sdp: str) -> str:
    """In GSM, which is not configured."""
    return sdp.replace("RTP/AVP 8 0 101", "RTP/AVP 3").replace("rtpmap:8 PCMA", "rtpmap:3 GSM")


def talking(stack: ExitStack) -> tuple[Loopback, tuple[tuple[Call, int], tuple[Call, int]]]:
    """A caller and an operator who hear each other."""
    office = Loopback(stack)
    sides = office.answered(), office.dialled()
    office.engine.bridge(sides[0][1], sides[1][1])
    hear(office, *sides)
    return office, sides


def hear(office: Loopback, caller: tuple[Call, int], operator: tuple[Call, int]) -> None:
    office.tone(caller[0], DESK_HZ)
    office.tone(operator[0], CALLER_HZ)


@scene
def test_an_offer_that_cannot_be_taken_changes_nothing(stack: ExitStack) -> None:
    """RFC 3261 section 14.1: where a re-INVITE is refused, the session is what it was."""
    office, sides = talking(stack)
    for call, leg in sides:
        for method in ("INVITE", "UPDATE"):
            for change in (without_audio, of_another_kind):
                before = office.facts(leg)
                status = offers(office, call, change, method)
                assert status and status >= 400
                hear(office, *sides)
                assert office.facts(leg) == before
    assert (office.engine.legs, office.of(EngineFault)) == (2, [])


def in_mu_law(call: Call) -> bool:
    return call.rtp.heard[-1].payload_type == 0


@scene
def test_another_codec_and_another_address_in_the_midst_of_a_call(stack: ExitStack) -> None:
    office, sides = talking(stack)
    for call, leg in sides:
        found = e.MediaSourceFound(leg, own=True)
        before = office.facts(leg)
        for method in ("INVITE", "UPDATE"):
            assert offers(office, call, lambda sdp: sdp.replace("RTP/AVP 8 0", "RTP/AVP 0"), method) == 200
            assert call.rtp.payload_type == 0
            hear(office, *sides)
            office.until(partial(in_mu_law, call), "sound in the new codec")
            old, call.rtp = call.rtp, call.phone.new_rtp()
            assert offers(office, call, lambda sdp: sdp, method) == 200
            old.close()
            hear(office, *sides)
        assert office.facts(leg) == [*before, found, found]
    assert office.of(EngineFault) == []


@scene
def test_an_answer_that_takes_the_audio_away_changes_nothing(stack: ExitStack) -> None:
    """To an offer of ours, which only devices get that understand `a=record`; the sound goes on as before."""
    office = Loopback(stack)
    caller = office.answered(headers=(("Supported", "record-aware"),))
    operator = office.dialled()
    office.engine.bridge(caller[1], operator[1])
    hear(office, caller, operator)
    call, leg = caller
    speaking = call._sdp
    call._sdp = lambda direction=None: without_audio(speaking(direction).decode()).encode()  # type: ignore[method-assign]
    office.engine.indicate(leg, "on")
    office.until(lambda: office.caller.count("200 INVITE sent"), "answer to our offer")
    office.frames(call, 1.0)
    hear(office, caller, operator)
    call._sdp = speaking  # type: ignore[method-assign]
    assert offers(office, call, lambda sdp: sdp) == 200
    hear(office, caller, operator)
    assert (office.engine.legs, office.of(EngineFault)) == (2, [])
