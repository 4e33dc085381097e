"""What the engine takes from SDP, whichever message it stands in: how keys come, and who declines."""

from contextlib import ExitStack

from sipagent.call import events as e
from sipagent.softphone.phone import Call
from tests.loopback import Loopback, scene

DECLINES = b"a=recordpref:off\r\n"


def reinvite(office: Loopback, call: Call, offer: bool = True, method: str = "INVITE") -> None:
    """A new offer of the phone's, or a request for one of ours, and its end."""
    body = call._sdp() if offer else b""
    answers: list[int | None] = []
    office.meanwhile(lambda: answers.append(call.request(method, body=body).status))
    assert answers == [200]


@scene
def test_an_invite_without_an_offer_is_answered_in_its_ack(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered(sdp=b"")
    assert e.CallConfirmed(telephone_event=True) in office.facts(leg)
    office.caller.event_type = None
    _, other = office.answered(sdp=b"")
    assert e.CallConfirmed(telephone_event=False) in office.facts(other)


@scene
def test_a_wish_in_the_ack_is_there_before_the_call_is(stack: ExitStack) -> None:
    office = Loopback(stack)
    office.caller.sdp_lines = DECLINES
    _, leg = office.answered(sdp=b"")
    facts = [fact for fact in office.facts(leg) if isinstance(fact, e.RecordingDeclined | e.CallConfirmed)]
    assert isinstance(facts[0], e.RecordingDeclined)


@scene
def test_a_wish_within_the_call_counts_in_each_message_that_may_carry_it(stack: ExitStack) -> None:
    """An offer in re-INVITE or UPDATE, or the answer to ours, which is in the ACK of a re-INVITE without."""
    office = Loopback(stack)
    for offer, method in ((True, "INVITE"), (True, "UPDATE"), (False, "INVITE")):
        office.caller.sdp_lines = b""
        call, leg = office.answered()
        reinvite(office, call, offer, method)
        assert e.RecordingDeclined(leg) not in office.facts(leg)
        office.caller.sdp_lines = DECLINES
        reinvite(office, call, offer, method)
        office.told(leg, e.RecordingDeclined(leg))
        office.meanwhile(call.hang_up)
        office.told(leg, e.LegGone(leg, 200))


@scene
def test_a_wish_counts_in_an_offer_that_is_refused(stack: ExitStack) -> None:
    office = Loopback(stack)
    for method in ("INVITE", "UPDATE"):
        call, leg = office.answered()
        body = call._sdp().replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 phone.invalid") + DECLINES
        answers: list[int | None] = []
        office.meanwhile(lambda: answers.append(call.request(method, body=body).status))  # noqa: B023
        assert answers == [488]
        office.told(leg, e.RecordingDeclined(leg))
        assert office.engine.has(leg)


@scene
def test_keys_may_come_in_another_way_after_a_re_invite(stack: ExitStack) -> None:
    office = Loopback(stack)
    call, leg = office.answered()
    assert e.CallConfirmed(telephone_event=True) in office.facts(leg)
    for offer, event_type in ((True, None), (True, 101), (False, None), (False, 101)):
        office.reports.clear()
        office.caller.event_type = event_type
        reinvite(office, call, offer)
        office.told(leg, e.KeysNegotiated(leg, event_type is not None))
    office.reports.clear()
    reinvite(office, call)
    assert not any(isinstance(fact, e.KeysNegotiated) for fact in office.facts(leg))


@scene
def test_events_at_the_rate_of_another_codec_are_none(stack: ExitStack) -> None:
    """The engine takes none of them, so keys come as tones."""
    office = Loopback(stack)
    office.caller.event_type = None
    office.caller.sdp_lines = b"a=rtpmap:96 telephone-event/48000\r\n"
    _, leg = office.answered()
    assert e.CallConfirmed(telephone_event=False) in office.facts(leg)


@scene
def test_a_caller_who_requires_awareness_is_served(stack: ExitStack) -> None:
    """RFC 7866 section 6.1.1; of what else may be required the library knows best."""
    office = Loopback(stack)
    call, _ = office.answered(headers=(("Require", "record-aware"),))
    assert call.status == 200 and call.final is not None
    assert b"a=record:off\r\n" in call.final.body
    plain, leg = office.answered()
    assert plain.final is not None and b"a=record" not in plain.final.body
    office.engine.indicate(leg, "on")
    answers: list[bytes] = []
    aware = (("Supported", "record-aware"),)
    office.meanwhile(lambda: answers.append(plain.request("INVITE", aware, plain._sdp()).body))
    assert b"a=record:on\r\n" in answers[0]  # a device that has come later, and says it then
    unknown = office.caller.call(office.uri(), headers=(("Require", "telepathy"),))
    office.until(lambda: unknown.status is not None, "answer")
    assert unknown.status == 420


@scene
def test_no_offer_follows_one_that_has_no_answer(stack: ExitStack) -> None:
    """The library would end the process where the call has had a line of a kind that it does not know."""
    office = Loopback(stack)
    call, leg = office.answered(headers=(("Supported", "record-aware"),))
    channel = b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    office.meanwhile(lambda: call.request("INVITE", body=call._sdp() + channel))
    before = office.caller.count("200 INVITE received")
    with office.loop.changing():
        call._send("INVITE", lambda _: None)  # nobody acknowledges the answer, which is our offer
    office.until(lambda: office.caller.count("200 INVITE received") > before, "our offer")
    office.engine.indicate(leg, "on")
    office.frames(call, 0.5)
    assert office.caller.count("INVITE received") == 0
