"""Session descriptions at an engine that stands alone: all of a table, in every message that can bring one,
and what is taken from them.

The engine lives, another call goes on being heard, and each is answered as the table says: a request with 488
and the call as it was, an ACK and a 2xx by BYE, a 1xx by nothing. The quick tier has every eighth, alone.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from sipagent.agent.engine import Incoming, LegFailed, RefusedByEngine
from sipagent.call import events as e
from sipagent.sip.session_description import NO_MEDIA, NotAcceptable, described
from sipagent.softphone.phone import Answering, Call, Phone
from sipagent.softphone.rtp import strongest
from sipagent.softphone.sip import Headers, Message
from tests import tiers
from tests.descriptions import CASES, GOOD, Case, Describing, bodies
from tests.loopback import CALLER_HZ, Loopback, scene, seen

OFFICE: type[Loopback] = Loopback  # another where the engine does not stand alone
SOME = CASES[:: tiers.depth(8, 1)]
PLACES = slice(tiers.depth(1, 3))  # of a description in a body, of the three that there are
OURS = ("PCMA", "PCMU")
BUSY = 503
SDP = "application/sdp"


@contextmanager
def another_call(stack: ExitStack) -> Iterator[tuple[Loopback, Describing, Call, int]]:
    """An office, a phone that describes what it is told, and a call that is heard before and after."""
    office = OFFICE(stack)
    phone = stack.enter_context(Describing(office.loop, "202", office.caller.address[0]))
    call, leg = office.answered()
    office.engine.listen(leg)
    is_heard(office, leg)
    yield office, phone, call, leg
    phone.describe("", "", b"")
    is_heard(office, leg)


def is_heard(office: Loopback, leg: int) -> None:
    """The tone that its caller sends, in what comes from now on."""
    office.heard[leg] = []
    office.until(lambda: len(office.heard[leg]) >= 4, "sound")
    found = strongest(office.sound_of(leg)[-2400:])
    assert found is not None and abs(found - CALLER_HZ) < 10


def all_bodies() -> Iterator[tuple[Case, str, bytes]]:
    for case in SOME:
        for kind, body in bodies(case)[PLACES]:
            yield case, kind, body


def asks(office: Loopback, call: Call, method: str, kind: str, body: bytes) -> Message:
    """The answer; until sockets of offers before are closed it is 500, or 488 without a Warning."""
    while True:
        answer = office.asks(call, method, body, *((("Content-Type", kind),) if body else ()))
        if answer.status not in (488, 500) or answer.header("Warning"):
            return answer


def ended(office: Loopback, call: Call) -> None:
    office.until(lambda: call.ended_by == "them", "BYE")


def answers_elsewhere(case: Case, body: bytes) -> bool:
    """The audio that we have offered is not answered in its place and by our numbers (8 and 0).

    That is in the part that the library takes, which is the first.
    """
    text = described([case.sdp], OURS).texts[0].decode()
    answered = re.search(r"^m=(.*)", text, re.MULTILINE)
    ours = answered and re.match(r"audio [1-9]\d* \S+( \d+)*? [08]\b", answered[1])
    return not ours and GOOD not in body.partition(case.sdp)[0]


def takes_the_audio_away(case: Case) -> bool:
    """An answer that does so within a call changes nothing."""
    try:
        described([case.sdp], OURS)
    except NotAcceptable as reason:
        return reason.warning == NO_MEDIA
    return False


def begins(office: Loopback, phone: Describing, **how: Any) -> tuple[Call, int]:
    """A call that gets through, as soon as sockets of those before are closed, and is answered."""
    while True:
        office.reports.clear()
        call = phone.call(office.uri(), **how)
        office.until(lambda: call.status or office.of(Incoming), "word of a call")  # noqa: B023
        assert call.status in (None, BUSY), call.final
        if call.status is None:
            leg = office.incoming().leg
            office.engine.answer(leg)
            return call, leg


def rings(office: Loopback, phone: Describing) -> int:
    """A leg to a phone, as soon as there are sockets for it."""
    while True:
        office.reports.clear()
        leg = office.dial(phone.uri)
        if office.engine.has(leg):
            return leg
        office.engine.poll(0.05)


def told(office: Loopback, leg: int, kind: type[e.Fact], of: Case) -> None:
    office.until(lambda: kind in map(type, office.facts(leg)), f"{kind.__name__} of {of.name}")


def final(office: Loopback, call: Call) -> int | None:
    office.until(lambda: call.status is not None, "answer")
    return call.status


def refused(answer: Message | None) -> bool:
    return answer is not None and answer.status == 488 and answer.header("Warning").startswith("3")


@scene
def test_the_offer_of_a_new_call(stack: ExitStack) -> None:
    with another_call(stack) as (office, phone, _, _):
        for case, kind, body in all_bodies():
            phone.describe("INVITE", kind, body)
            if case.opens is None:
                office.reports.clear()
                call = phone.call(office.uri())
                final(office, call)
                assert refused(call.final), case
                assert [one.status for one in office.of(RefusedByEngine)] == [488]
            else:
                call, leg = begins(office, phone)
                assert final(office, call) == 200, case
                office.hangs_up(call, leg)


@scene
def test_an_offer_within_a_call(stack: ExitStack) -> None:
    """A refused one leaves the call as it was (RFC 3261 section 14.2): it is heard without a further word."""
    with another_call(stack) as (office, phone, heard, leg):
        for method in ("INVITE", "UPDATE"):
            for case, kind, body in all_bodies():
                if case.opens is None:
                    assert refused(asks(office, heard, method, kind, body)), case
            is_heard(office, leg)
        for case in SOME:
            call, other = begins(office, phone)
            told(office, other, e.CallConfirmed, case)
            for method in ("INVITE", "UPDATE"):
                for kind, body in bodies(case)[PLACES]:
                    answer = asks(office, call, method, kind, body)
                    assert refused(answer) if case.opens is None or case.moves else answer.status == 200, case
                    assert asks(office, call, method, SDP, GOOD).status == 200, case
            office.hangs_up(call, other)


@scene
def test_the_answer_in_the_ack(stack: ExitStack) -> None:
    """Of a call without an offer, and of a re-INVITE without one."""
    with another_call(stack) as (office, phone, _, _):
        for case, kind, body in all_bodies():
            phone.describe("ACK", kind, body)
            call, leg = begins(office, phone, sdp=b"")
            if case.opens is None or answers_elsewhere(case, body):
                assert office.gone(leg) == 488 and len(office.of(LegFailed)) == 1, case
                ended(office, call)
                assert e.CallConfirmed not in map(type, office.facts(leg))
            else:
                told(office, leg, e.CallConfirmed, case)
                assert call.final and call.final.body.count(b"\nm=") == 1  # of sound, and no text
                office.hangs_up(call, leg)
        for case in SOME:
            phone.describe("", "", b"")
            call, leg = begins(office, phone)
            told(office, leg, e.CallConfirmed, case)
            phone.describe("ACK", SDP, case.sdp)
            offer = asks(office, call, "INVITE", "", b"")
            assert (offer.status, offer.body.count(b"\nm=")) == (200, 1)
            refused_or_kept(office, case, call, leg)


def refused_or_kept(office: Loopback, case: Case, call: Call, leg: int) -> None:
    """What becomes of a call within which our offer was answered so."""
    if case.opens is None and not takes_the_audio_away(case):
        assert office.gone(leg) == 488, case
        ended(office, call)
    else:
        office.hangs_up(call, leg)


@scene
def test_the_answer_of_an_operators_phone(stack: ExitStack) -> None:
    """Such a phone has not answered: the next one is rung. While it rings it may say anything."""
    with another_call(stack) as (office, phone, _, _):
        for case, kind, body in all_bodies():
            phone.describe("180 INVITE", kind, body)
            leg = rings(office, phone)
            told(office, leg, e.OperatorReached, case)
            told(office, leg, e.OperatorAnswered, case)
            office.hangs_up(phone.calls[-1], leg)
            phone.describe("200 INVITE", kind, body)
            leg = rings(office, phone)
            if case.opens is None or answers_elsewhere(case, body):
                assert office.gone(leg) == 488, case
                ended(office, phone.calls[-1])
                office.until(lambda: phone.calls[-1].acked, "ACK")
                assert e.OperatorAnswered not in map(type, office.facts(leg))
            else:
                told(office, leg, e.OperatorAnswered, case)
                office.hangs_up(phone.calls[-1], leg)


@scene
def test_an_answer_that_does_not_come_or_comes_while_a_phone_rings_alone(stack: ExitStack) -> None:
    """A reliable one need not be said again (RFC 6337 section 2.2)."""
    with another_call(stack) as (office, phone, _, _):
        phone.describe("ACK", "", b"")
        call, leg = begins(office, phone, sdp=b"")
        assert office.gone(leg) == 488
        ended(office, call)
        phone.describe("200 INVITE", "", b"")
        leg = rings(office, phone)
        assert office.gone(leg) == 406  # the library says so itself
        assert e.OperatorAnswered not in map(type, office.facts(leg))
        ended(office, phone.calls[-1])
        phone.describe("180 INVITE", SDP, GOOD)
        phone.answer = Answering(status=None)
        before = phone.count("183 INVITE sent")
        leg = rings(office, phone)
        office.until(lambda: phone.count("183 INVITE sent") > before, "answer while it rings")
        phone.describe("200 INVITE", "", b"")
        phone.calls[-1].decide(200)
        told(office, leg, e.OperatorAnswered, CASES[0])
        office.hangs_up(phone.calls[-1], leg)


@scene
def test_the_answer_to_an_offer_of_ours_within_a_call(stack: ExitStack) -> None:
    with another_call(stack) as (office, phone, _, _):
        for case in SOME:
            phone.describe("", "", b"")
            call, leg = begins(office, phone, headers=AWARE)
            told(office, leg, e.CallConfirmed, case)
            phone.describe("200 INVITE", SDP, case.sdp)
            acks = phone.count("ACK received")
            office.engine.indicate(leg, "on")
            office.until(lambda: phone.count("ACK received") > acks, "ACK")  # noqa: B023
            refused_or_kept(office, case, call, leg)


# --- what is taken from them: how keys come, and who declines ---

DECLINES = b"a=recordpref:off\r\n"
AWARE = (("Supported", "record-aware"),)


def reinvites(office: Loopback, call: Call, offer: bool = True, method: str = "INVITE") -> None:
    """A new offer of the phone's, or a request for one of ours, and its end."""
    assert office.asks(call, method, call._sdp() if offer else b"").status == 200


@scene
def test_a_wish_counts_in_each_message_that_may_carry_it(office: Loopback) -> None:
    """An offer in re-INVITE or UPDATE, also one that is refused; or the answer to ours, which is in the ACK
    of a re-INVITE without; in the ACK of a call without an offer it is there before the call is."""
    for offer, method in ((True, "INVITE"), (True, "UPDATE"), (False, "INVITE")):
        office.caller.sdp_lines = b""
        call, leg = office.answered()
        reinvites(office, call, offer, method)
        assert e.RecordingDeclined(leg) not in office.facts(leg)
        office.caller.sdp_lines = DECLINES
        reinvites(office, call, offer, method)
        office.told(leg, e.RecordingDeclined(leg))
        office.hangs_up(call, leg)
    _, leg = office.answered(sdp=b"")
    facts = [fact for fact in office.facts(leg) if isinstance(fact, e.RecordingDeclined | e.CallConfirmed)]
    assert isinstance(facts[0], e.RecordingDeclined)
    office.caller.sdp_lines = b""
    for method in ("INVITE", "UPDATE"):
        call, leg = office.answered()
        body = call._sdp().replace(b"c=IN IP4 127.0.0.1", b"c=IN IP4 phone.invalid") + DECLINES
        assert office.asks(call, method, body).status == 488
        office.told(leg, e.RecordingDeclined(leg))
        office.hangs_up(call, leg)


def told_of_recording(phone: Phone) -> list[str]:
    """What the engine's re-INVITEs say of it, repetitions of a message left out."""
    offers = [one for one in seen(phone, "INVITE received") if "tag=" in one.header("To")]
    unique = {offer.header("CSeq"): offer.body.decode() for offer in offers}
    return [",".join(re.findall(r"^a=record:(\w+)\r$", body, re.MULTILINE)) for body in unique.values()]


@scene
def test_both_sides_are_told_of_each_change_and_may_wish_in_their_answer(office: Loopback) -> None:
    """An offer that a phone turns away, for one of its own is on its way, is made again (RFC 3261 section
    14.2)."""
    office.desk.answer = Answering(headers=AWARE)
    (call, leg), (talk, operator) = office.talking(headers=AWARE)
    answering, turned_away = Call._answer_offer, list[str]()

    def busy(self: Call, message: Message, headers: Headers = ()) -> None:
        if self is talk and not turned_away:
            turned_away.append(message.header("CSeq"))
            self.phone.respond(message, 491, self._tag)
        else:
            answering(self, message, headers)

    Call._answer_offer = busy  # type: ignore[method-assign]
    changes: tuple[e.Indication, ...] = ("on", "paused", "off")
    told = {office.caller: [*changes], office.desk: ["on", *changes]}
    for nth, now in enumerate(changes, 1):
        for one in (leg, operator):
            office.engine.indicate(one, now)
        for phone, all_of_it in told.items():
            upto = all_of_it[: len(all_of_it) - 3 + nth]
            office.until(lambda: told_of_recording(phone) == upto, f"{upto} at {phone.user}")  # noqa: B023
    assert len(turned_away) == 1
    office.hear_each_other((call, leg), (talk, operator))
    assert e.RecordingDeclined(leg) not in office.facts(leg)
    office.caller.sdp_lines = DECLINES
    office.engine.indicate(leg, "on")
    office.told(leg, e.RecordingDeclined(leg))
    _, leg = office.answered()  # from its INVITE on
    office.told(leg, e.RecordingDeclined(leg))
    office.caller.sdp_lines = b"a=recordpref:pause\r\n"
    _, leg = office.answered()
    assert e.RecordingDeclined(leg) not in office.facts(leg)


@scene
def test_how_keys_come_is_said_anew_by_each_description(office: Loopback) -> None:
    """Also where the answer stands in the ACK. The engine takes no events at the rate of another codec."""
    for wants, leg in ((True, office.answered()[1]), (True, office.answered(sdp=b"")[1])):
        assert e.CallConfirmed(telephone_event=wants) in office.facts(leg)
        office.engine.hang_up(leg)
        office.gone(leg)
    call, leg = office.answered()
    for offers, event_type in ((True, None), (True, 101), (False, None), (False, 101)):
        office.reports.clear()
        office.caller.event_type = event_type
        reinvites(office, call, offers)
        office.told(leg, e.KeysNegotiated(leg, event_type is not None))
    office.reports.clear()
    reinvites(office, call)
    assert e.KeysNegotiated not in map(type, office.facts(leg))
    office.caller.event_type = None
    for more in (b"", b"a=rtpmap:96 telephone-event/48000\r\n"):
        office.caller.sdp_lines = more
        for offer in (None, b""):
            _, leg = office.answered(sdp=offer)
            assert e.CallConfirmed(telephone_event=False) in office.facts(leg)
            office.engine.hang_up(leg)
            office.gone(leg)


@scene
def test_a_caller_who_requires_awareness_is_served(office: Loopback) -> None:
    """RFC 7866 section 6.1.1; of what else may be required the library knows best."""
    call, _ = office.answered(headers=(("Require", "record-aware"),))
    assert call.status == 200 and call.final is not None and b"a=record:off\r\n" in call.final.body
    plain, leg = office.answered()
    assert plain.final is not None and b"a=record" not in plain.final.body
    office.engine.indicate(leg, "on")
    answer = office.asks(plain, "INVITE", plain._sdp(), *AWARE)
    assert b"a=record:on\r\n" in answer.body  # a device that has come later, and says it then
    unknown = office.caller.call(office.uri(), headers=(("Require", "telepathy"),))
    assert final(office, unknown) == 420


@scene
def test_no_offer_follows_one_that_has_no_answer(office: Loopback) -> None:
    """The library would end the process where the call has had a line of a kind that it does not know."""
    call, leg = office.answered(headers=AWARE)
    channel = b"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
    office.meanwhile(partial(call.request, "INVITE", (), call._sdp() + channel))
    before = office.caller.count("200 INVITE received")
    with office.loop.changing():
        call._send("INVITE", lambda _: None)  # nobody acknowledges the answer, which is our offer
    office.until(lambda: office.caller.count("200 INVITE received") > before, "our offer")
    office.engine.indicate(leg, "on")
    office.frames(call, 0.5)
    assert office.caller.count("INVITE received") == 0
