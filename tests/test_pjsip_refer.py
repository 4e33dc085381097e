"""REFER for real, from a phone and to one; and offers in the midst of a call."""

import re
from collections.abc import Callable
from functools import partial

from sipagent.call import events as e
from sipagent.softphone.phone import Call
from tests.loopback import Loopback, scene, seen

FRAG = ("Content-Type", "message/sipfrag;version=2.0")
REPLACES = "90a@pbx;to-tag=7;from-tag=8"
TARGET = "sip:203@127.0.0.1:5999"


def transfers(office: Loopback, call: Call, uri: str) -> int | None:
    return office.asks(call, "REFER", b"", ("Refer-To", f"<{uri}>")).status


def notifies(office: Loopback, call: Call, status: str, state: str = "active", event: str = "refer") -> None:
    headers = (("Event", event), ("Subscription-State", state), FRAG)
    office.asks(call, "NOTIFY", f"SIP/2.0 {status}\r\n".encode(), *headers)


OVER = "terminated;reason=noresource"


# --- a phone asks ---


@scene
def test_one_transfer_to_a_target_is_accepted_and_told_of(office: Loopback) -> None:
    """A second one of the phone's names its request (RFC 3515 section 2.4.6)."""
    talk, leg = office.dialled()
    assert transfers(office, talk, TARGET) == 403
    office.engine.allow_transfer(leg, (TARGET,))
    asked = [transfers(office, talk, uri) for uri in ("sip:204@127.0.0.1:5999", TARGET, TARGET)]
    assert asked == [403, 202, 403]  # one
    office.engine.tell_transfer(leg, 100, last=False)
    office.engine.tell_transfer(leg, 200, last=True)
    office.engine.allow_transfer(leg, (TARGET,))
    assert transfers(office, talk, TARGET) == 202
    office.engine.tell_transfer(leg, 486, last=True)
    office.until(lambda: office.desk.count("NOTIFY received") == 3, "three NOTIFYs")
    told = seen(office.desk, "NOTIFY received")
    number = seen(office.desk, "REFER sent")[-1].header("CSeq").split()[0]
    assert [(one.body, one.header("Event")) for one in told] == [
        (b"SIP/2.0 100 Trying\r\n", "refer"),
        (b"SIP/2.0 200 OK\r\n", "refer"),
        (b"SIP/2.0 486 Busy Here\r\n", f"refer;id={number}"),
    ]
    states = [one.header("Subscription-State").partition(";")[0] for one in told]
    assert states == ["active", "terminated", "terminated"] and told[1].header("Content-Type") == FRAG[1]
    facts = [fact for fact in office.facts(leg) if isinstance(fact, e.TransferAsked | e.TransferDenied)]
    denied, accepted = e.TransferDenied(leg), e.TransferAsked(leg, TARGET)
    assert facts == [denied, denied, accepted, denied, accepted] and office.engine.legs == 1


@scene
def test_an_attended_transfer_carries_what_it_replaces(office: Loopback) -> None:
    talk, leg = office.dialled()
    colleague = office.phone("203", 700)
    office.engine.allow_transfer(leg, (colleague.uri,))
    escaped = REPLACES.replace("@", "%40").replace(";", "%3B").replace("=", "%3D")
    assert transfers(office, talk, f"sip:203@192.0.2.9?Replaces={escaped}") == 202
    office.told(leg, e.TransferAsked(leg, colleague.uri, REPLACES))
    office.dial(colleague.uri, ("Replaces", REPLACES), ("Require", "replaces"))
    office.until(lambda: colleague.count("INVITE received"), "call to the colleague")
    invite = colleague.seen[0].message
    assert invite.request_uri.startswith(colleague.uri)
    assert (invite.header("Replaces"), invite.header("Require")) == (REPLACES, "replaces")


@scene
def test_two_legs_taken_apart_hear_each_other_no_more(office: Loopback) -> None:
    (call, leg), (talk, operator) = office.talking()
    office.engine.separate(operator)
    for again in (lambda: None, lambda: talk.hold("inactive"), talk.resume):
        office.meanwhile(again)  # a change of media does not join them again
        began = call.loop.next_frame_ns()
        office.frames(call, 1.0)
        for phone in (call, talk):
            assert set(phone.rtp.listen(began + 300_000_000).tones()) == {None}
    office.engine.bridge(leg, operator)
    office.hear_each_other((call, leg), (talk, operator))


# --- we ask ---


def refers(office: Loopback, leg: int, uri: str = "sip:301@127.0.0.1") -> str:
    """We do, and it is accepted; the number of the request."""
    office.reports.clear()
    office.engine.refer(leg, uri)
    office.told(leg, e.ReferAnswered(leg, 202))
    sent = seen(office.caller, "REFER received")[-1]
    assert sent.header("Refer-To") == f"<{uri}>"
    return sent.header("CSeq").split()[0]


def told(office: Loopback, leg: int) -> list[int]:
    return [fact.status for fact in office.facts(leg) if isinstance(fact, e.ReferNotified)]


@scene
def test_a_refer_is_followed_to_its_end_and_taken_for_no_earlier_one(office: Loopback) -> None:
    """Some end a subscription by saying the status once more, naming no request: no second refusal."""
    office.caller.refer_status = 202
    call, leg = office.answered()
    notifies(office, call, "200 OK", "terminated")  # nobody asked for that
    assert told(office, leg) == [] and office.caller.count("200 NOTIFY received") == 0
    number = refers(office, leg)
    notifies(office, call, "100 Trying")
    notifies(office, call, "180 Ringing", event=f"refer;id={number}")
    notifies(office, call, "200 OK", OVER)
    assert told(office, leg) == [100, 180, 200] and office.caller.count("200 NOTIFY received") == 3
    earlier = refers(office, leg)
    later = refers(office, leg, "sip:302@127.0.0.1")
    notifies(office, call, "486 Busy Here", OVER, f"refer;id={earlier}")
    notifies(office, call, "200 OK", OVER, f"refer;id={later}")
    assert told(office, leg) == [200]
    refers(office, leg)
    notifies(office, call, "486 Busy Here")
    assert told(office, leg) == [486]
    refers(office, leg, "sip:302@127.0.0.1")
    notifies(office, call, "486 Busy Here", OVER)  # of the one before
    notifies(office, call, "100 Trying")
    notifies(office, call, "486 Busy Here", OVER)
    assert told(office, leg) == [100, 486] and office.engine.legs == 1


@scene
def test_a_refer_that_is_refused_or_never_answered_costs_no_call(office: Loopback) -> None:
    """The library itself would end the call once the transaction has timed out."""
    call, leg = office.answered()
    office.engine.refer(leg, "sip:301@127.0.0.1")
    office.told(leg, e.ReferAnswered(leg, 501))
    office.reports.clear()
    office.caller.refer_status = None
    office.engine.refer(leg, "sip:301@127.0.0.1")
    office.until(lambda: office.caller.count("REFER received") >= 3, "a REFER that is sent again")
    for _ in range(2):
        office.engine.give_up_refer(leg)
    sent = office.caller.count("REFER received")
    office.frames(call, 5.0)  # the longest pause between two
    assert (office.caller.count("REFER received"), office.engine.legs) == (sent, 1)
    assert not any(isinstance(fact, e.ReferAnswered) for fact in office.facts(leg))


# --- other offers in the midst of a call ---


def offers(office: Loopback, call: Call, change: Callable[[str], str], method: str = "INVITE") -> int:
    """Let a phone offer its session anew; the answer, which it follows."""
    answer = office.asks(call, method, change(call._sdp("sendrecv").decode()).encode())
    if answer.status == 200:
        call._learn(answer, "INVITE")
    assert answer.status is not None
    return answer.status


def without_audio(sdp: str) -> str:
    return re.sub(r"m=audio \d+", "m=audio 0", sdp)


def of_another_kind(sdp: str) -> str:
    return sdp.replace("RTP/AVP 8 0 101", "RTP/AVP 3").replace("rtpmap:8 PCMA", "rtpmap:3 GSM")


def in_mu_law(call: Call) -> bool:
    return call.rtp.heard[-1].payload_type == 0


@scene
def test_what_is_offered_in_the_midst_of_a_call(office: Loopback) -> None:
    """Another codec and another address are followed; what cannot be taken changes nothing (RFC 3261 section
    14.1)."""
    sides = office.talking()
    for call, leg in sides:
        found, before = e.MediaSourceFound(leg, own=True), office.facts(leg)
        for method in ("INVITE", "UPDATE"):
            for change in (without_audio, of_another_kind):
                assert offers(office, call, change, method) >= 400
            assert offers(office, call, lambda sdp: sdp.replace("RTP/AVP 8 0", "RTP/AVP 0"), method) == 200
            assert call.rtp.payload_type == 0
            office.hear_each_other(*sides)
            office.until(partial(in_mu_law, call), "sound in the new codec")
            old, call.rtp = call.rtp, call.phone.new_rtp()
            assert offers(office, call, lambda sdp: sdp, method) == 200
            old.close()
            office.hear_each_other(*sides)
        assert office.facts(leg) == [*before, found, found]
