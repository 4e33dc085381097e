"""Every description of the table, in every message that can bring one to an engine that stands alone.

The engine lives, another call goes on being heard, and each is answered as the table says: a request with 488
and the call as it was, an ACK and a 2xx by BYE, a 1xx by nothing.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sipagent.agent.engine import EngineFault, Incoming, LegFailed, RefusedByEngine
from sipagent.call import events as e
from sipagent.sip.session_description import NO_MEDIA, NotAcceptable, described
from sipagent.softphone.phone import Answering, Call, Phone
from sipagent.softphone.rtp import SteadyTone, strongest
from sipagent.softphone.sip import Message
from tests.descriptions import CASES, GOOD, Case, Describing, bodies
from tests.loopback import CALLER_HZ, ROOT, RUN, Loopback, scene

OFFICE: type[Loopback] = Loopback  # another where the engine does not stand alone
OURS = ("PCMA", "PCMU")
PLACES = slice(None)  # of a description in a body, of the three that there are
BUSY = 503
SDP_TYPE = (("Content-Type", "application/sdp"),)


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
    assert office.of(EngineFault) == []


def is_heard(office: Loopback, leg: int) -> None:
    """The tone that its caller sends, in what comes from now on."""
    office.heard[leg] = []
    office.until(lambda: len(office.heard[leg]) >= 4, "sound")
    found = strongest(office.sound_of(leg)[-2400:])
    assert found is not None and abs(found - CALLER_HZ) < 10


def all_bodies() -> Iterator[tuple[Case, str, bytes]]:
    for case in CASES:
        for kind, body in bodies(case)[PLACES]:
            yield case, kind, body


def asks(office: Loopback, call: Call, method: str, kind: str, body: bytes) -> Message:
    """The answer; until sockets of offers before are closed it is 500, or 488 without a Warning."""
    answers: list[Message] = []
    headers = (("Content-Type", kind),) if body else ()
    while not answers or (answers[-1].status in (488, 500) and not answers[-1].header("Warning")):
        office.meanwhile(lambda: answers.append(call.request(method, headers, body)))
    return answers[-1]


def gone(office: Loopback, leg: int) -> int:
    """The status with which a leg has ended."""
    office.until(lambda: not office.engine.has(leg), "end of the leg")
    return next(fact.status for fact in office.facts(leg) if isinstance(fact, e.LegGone))


def ended(office: Loopback, call: Call) -> None:
    """The engine's BYE has come."""
    office.until(lambda: call.ended_by == "them", "BYE")


def hangs_up(office: Loopback, call: Call, leg: int) -> None:
    with office.loop.changing():
        call.hang_up()
    gone(office, leg)


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
    """A call that gets through, as soon as sockets of those before are closed."""
    while True:
        office.reports.clear()
        call = phone.call(office.uri(), **how)
        office.until(lambda: call.status or office.of(Incoming), "word of a call")  # noqa: B023
        assert call.status in (None, BUSY), call.final
        if call.status is None:
            return call, office.incoming().leg


def rings(office: Loopback, phone: Describing) -> int:
    """A leg to a phone, as soon as there are sockets for it."""
    while True:
        office.reports.clear()
        leg = office.engine.dial(phone.uri, '"REC Ann"')
        if office.engine.has(leg):
            return leg
        office.engine.poll(0.05)


def told(office: Loopback, leg: int, kind: type[e.Fact], of: Case) -> None:
    office.until(lambda: kind in map(type, office.facts(leg)), f"{kind.__name__} of {of.name}")


def answered(office: Loopback, call: Call) -> int | None:
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
                answered(office, call)
                assert refused(call.final), case
                assert [one.status for one in office.of(RefusedByEngine)] == [488]
            else:
                call, leg = begins(office, phone)
                office.engine.answer(leg)
                assert answered(office, call) == 200, case
                hangs_up(office, call, leg)


@scene
def test_an_offer_within_a_call(stack: ExitStack) -> None:
    """A refused one leaves the call as it was (RFC 3261 section 14.2): it is heard without a further word."""
    with another_call(stack) as (office, phone, heard, leg):
        for method in ("INVITE", "UPDATE"):
            for case, kind, body in all_bodies():
                if case.opens is None:
                    assert refused(asks(office, heard, method, kind, body)), case
            is_heard(office, leg)
        for case in CASES:
            call, other = begins(office, phone)
            office.engine.answer(other)
            told(office, other, e.CallConfirmed, case)
            for method in ("INVITE", "UPDATE"):
                for kind, body in bodies(case)[PLACES]:
                    answer = asks(office, call, method, kind, body)
                    assert refused(answer) if case.opens is None or case.moves else answer.status == 200, case
                    assert asks(office, call, method, "application/sdp", GOOD).status == 200, case
            hangs_up(office, call, other)


@scene
def test_audio_that_goes_from_line_to_line_never_takes_all_sockets(stack: ExitStack) -> None:
    """Each time the library opens others, and keeps those before for half a second."""
    with another_call(stack) as (office, phone, _, _):
        call, other = begins(office, phone)
        office.engine.answer(other)
        office.until(lambda: e.CallConfirmed in map(type, office.facts(other)), "ACK")
        audio = re.split(rb"(?=m=)", call._sdp())
        closed = re.sub(rb"m=audio \d+", b"m=audio 0", audio[1])
        moved = [b"".join((audio[0], *lines)) for lines in ((closed, audio[1]), (audio[1], closed))]
        statuses = set()
        for number in range(70):
            offer = partial(call.request, "UPDATE", SDP_TYPE, moved[number % 2])
            office.meanwhile(lambda: statuses.add(offer().status))  # noqa: B023
        assert {200} < statuses <= {200, 488, 500}  # 500 is of an edge, where it is not yet its turn
        hangs_up(office, call, other)


@scene
def test_the_answer_in_the_ack_of_a_call_without_an_offer(stack: ExitStack) -> None:
    with another_call(stack) as (office, phone, _, _):
        for case, kind, body in all_bodies():
            phone.describe("ACK", kind, body)
            call, leg = begins(office, phone, sdp=b"")
            office.engine.answer(leg)
            if case.opens is None or answers_elsewhere(case, body):
                assert gone(office, leg) == 488, case
                assert len(office.of(LegFailed)) == 1
                ended(office, call)
                assert e.CallConfirmed not in map(type, office.facts(leg))
            else:
                told(office, leg, e.CallConfirmed, case)
                hangs_up(office, call, leg)


@scene
def test_the_answer_in_the_ack_of_a_re_invite_without_an_offer(stack: ExitStack) -> None:
    with another_call(stack) as (office, phone, _, _):
        for case in CASES:
            phone.describe("", "", b"")
            call, leg = begins(office, phone)
            office.engine.answer(leg)
            told(office, leg, e.CallConfirmed, case)
            phone.describe("ACK", "application/sdp", case.sdp)
            assert asks(office, call, "INVITE", "", b"").status == 200
            if case.opens is None and not takes_the_audio_away(case):
                assert gone(office, leg) == 488, case
                ended(office, call)
            else:
                hangs_up(office, call, leg)


@scene
def test_the_answer_of_an_operators_phone(stack: ExitStack) -> None:
    """Such a phone has not answered: the next one is rung."""
    with another_call(stack) as (office, phone, _, _):
        for case, kind, body in all_bodies():
            phone.describe("200 INVITE", kind, body)
            leg = rings(office, phone)
            if case.opens is None or answers_elsewhere(case, body):
                assert gone(office, leg) == 488, case
                ended(office, phone.calls[-1])
                office.until(lambda: phone.calls[-1].acked, "ACK")
                assert e.OperatorAnswered not in map(type, office.facts(leg))
            else:
                told(office, leg, e.OperatorAnswered, case)
                hangs_up(office, phone.calls[-1], leg)


@scene
def test_what_an_operators_phone_says_while_it_rings(stack: ExitStack) -> None:
    """It rings on, and what it says when it answers counts."""
    with another_call(stack) as (office, phone, _, _):
        for case, kind, body in all_bodies():
            phone.describe("180 INVITE", kind, body)
            leg = rings(office, phone)
            told(office, leg, e.OperatorReached, case)
            told(office, leg, e.OperatorAnswered, case)
            hangs_up(office, phone.calls[-1], leg)


class Reliable(Phone):
    """It rings by a reliable 183 that has its SDP, and its 200 has none then (RFC 3262, section 5)."""

    def send(self, message: Message, to: tuple[str, int]) -> None:
        if message.describe() == "180 INVITE":
            reliable = (("Require", "100rel"), ("RSeq", "1"), ("Content-Type", "application/sdp"))
            body = self.calls[-1]._sdp()
            message = Message("SIP/2.0 183 Session Progress", (*message.headers, *reliable), body)
        elif message.describe() == "200 INVITE":
            message = Message(
                message.start, tuple(one for one in message.headers if one[0] != "Content-Type"), b""
            )
        super().send(message, to)

    def _on_request(self, message: Message) -> None:
        if message.method == "PRACK":
            self.respond(message, 200)
        else:
            super()._on_request(message)


@scene
def test_a_phone_that_answers_with_what_it_said_while_it_rang(stack: ExitStack) -> None:
    office = Loopback(stack)
    phone = stack.enter_context(Reliable(office.loop, "202"))
    phone.sound = lambda: SteadyTone(CALLER_HZ)
    phone.answer = Answering(after_s=1.0)
    leg = office.engine.dial(phone.uri, "Ann")
    office.until(lambda: phone.count("PRACK received"), "PRACK")
    office.until(lambda: e.OperatorAnswered in map(type, office.facts(leg)), "answer")
    office.engine.listen(leg)
    is_heard(office, leg)
    assert office.of(EngineFault) == []


@scene
def test_an_answer_that_does_not_come_at_all(stack: ExitStack) -> None:
    """Neither in the ACK of a call that began without an offer, nor from a phone, also while it rings."""
    with another_call(stack) as (office, phone, _, _):
        phone.describe("ACK", "", b"")
        call, leg = begins(office, phone, sdp=b"")
        office.engine.answer(leg)
        assert gone(office, leg) == 488
        ended(office, call)
        phone.describe("200 INVITE", "", b"")
        leg = rings(office, phone)
        assert gone(office, leg) == 406  # the library says so itself
        assert e.OperatorAnswered not in map(type, office.facts(leg))
        ended(office, phone.calls[-1])


@scene
def test_an_answer_that_comes_while_a_phone_rings_alone(stack: ExitStack) -> None:
    """A reliable one need not be said again (RFC 6337 section 2.2)."""
    with another_call(stack) as (office, phone, _, _):
        phone.describe("180 INVITE", "application/sdp", GOOD)
        phone.answer = Answering(status=None)
        leg = rings(office, phone)
        office.until(lambda: phone.count("183 INVITE sent"), "answer while it rings")
        phone.describe("200 INVITE", "", b"")
        phone.calls[-1].decide(200)
        told(office, leg, e.OperatorAnswered, CASES[0])
        assert office.engine.has(leg)
        hangs_up(office, phone.calls[-1], leg)


@scene
def test_the_answer_to_an_offer_of_ours_within_a_call(stack: ExitStack) -> None:
    aware = (("Supported", "record-aware"),)
    with another_call(stack) as (office, phone, _, _):
        for case in CASES:
            phone.describe("", "", b"")
            call, leg = begins(office, phone, headers=aware)
            office.engine.answer(leg)
            told(office, leg, e.CallConfirmed, case)
            phone.describe("200 INVITE", "application/sdp", case.sdp)
            acks = phone.count("ACK received")
            office.engine.indicate(leg, "on")
            office.until(lambda: phone.count("ACK received") > acks, "ACK")  # noqa: B023
            if case.opens is None and not takes_the_audio_away(case):
                assert gone(office, leg) == 488, case
                ended(office, call)
            else:
                hangs_up(office, call, leg)


NAMES = [case for case in CASES if "a host name" in case.name]
"""What a resolver would be asked for, on the thread that serves all calls."""


@scene
def host_names_in_all_messages(stack: ExitStack) -> None:
    with another_call(stack) as (office, phone, heard, _):
        for case in NAMES:
            phone.describe("INVITE", "application/sdp", case.sdp)
            assert answered(office, phone.call(office.uri())) == 488
            for method in ("INVITE", "UPDATE"):
                assert refused(asks(office, heard, method, "application/sdp", case.sdp))
            phone.describe("ACK", "application/sdp", case.sdp)
            call, leg = begins(office, phone, sdp=b"")
            office.engine.answer(leg)
            ended(office, call)
            phone.describe("200 INVITE", "application/sdp", case.sdp)
            assert gone(office, rings(office, phone)) == 488


def test_no_name_server_is_asked(tmp_path: Path) -> None:
    """So none that is silent makes anybody wait."""
    trace = tmp_path / "trace"
    watched = ("strace", "-f", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", trace)
    play = (sys.executable, "-c", RUN, __name__, "host_names_in_all_messages")
    done = subprocess.run([*watched, *play], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, *calls = trace.read_text().split("INVITE sip:", 1)  # before, the library asks for this machine's own
    assert len(NAMES) > 3 and "488" in calls[0]
    assert [line for line in calls[0].splitlines() if re.search(r"htons\(53\)|nscd|/resolve/", line)] == []
