"""What no worker could read, or its engine carry, is refused at the edge, and takes no place and no call."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sipagent.edge.configuration import MOST_AT_ALL, MOST_BODY
from sipagent.softphone.phone import Answering, Call, Loop
from sipagent.softphone.sip import Message
from tests.peers import edge as scene
from tests.peers.edge import TRUNK, Edge
from tests.peers.offers import AUDIO, CLOSED, HEAD, TOO_MANY, TOO_MUCH_AUDIO, VIDEO, multipart
from tests.peers.sender import SDP, Sender

pytestmark = pytest.mark.live


@pytest.fixture
def sender(edge: Edge) -> Iterator[Sender]:
    """A trunk whose calls workers turn down."""
    for worker in edge.workers:
        worker.answer = Answering(status=480, ring=False)
    with closing(Sender(TRUNK, edge.address)) as sender:
        yield sender


def refused(edge: Edge, sender: Sender, status: int, body: str | bytes = SDP, **how: str) -> None:
    """It has this answer and a receipt, is counted, and no worker sees it."""
    counts, before, seen = edge.statistics, len(edge.rejected), edge.invites()
    call_id, packet = sender.invite(body, **how)
    sender.send(packet)
    answer = sender.wait(call_id)
    assert (answer.status, edge.invites()) == (status, seen)
    edge.until(lambda: len(edge.rejected) > before, "word of the call")
    (told,) = edge.rejected[before:]
    assert (told.status, told.call_id) == (status, call_id)
    now = edge.statistics
    assert getattr(now, told.why) > getattr(counts, told.why)
    assert now.calls == 0


def passed_on(edge: Edge, sender: Sender, body: str | bytes = SDP, **how: str) -> Message:
    """The INVITE that a worker got."""
    seen = edge.invites()
    call_id, packet = sender.invite(body, **how)
    sender.send(packet)
    assert sender.wait(call_id).status == 480
    assert edge.invites() == seen + 1
    return taken(edge, call_id)


def taken(edge: Edge, call_id: str) -> Message:
    invites = (o.message for w in edge.workers for o in w.seen if o.describe() == "INVITE received")
    (taken,) = (one for one in invites if one.header("Call-ID") == call_id)
    return taken


# --- session descriptions ---


@pytest.mark.parametrize(
    "body",
    [
        HEAD + AUDIO + VIDEO + CLOSED,
        TOO_MANY,
        TOO_MUCH_AUDIO,
        SDP + "a=x-m=audio 1\r\n" * 20,
        SDP.replace("\r\n", "\n"),
        "",
    ],
)
def test_what_is_offered_is_passed_on(edge: Edge, sender: Sender, body: str) -> None:
    """Whatever it is: the worker judges it, by the one rule that there is."""
    passed_on(edge, sender, body)


def test_so_is_what_is_offered_in_several_parts(edge: Edge, sender: Sender) -> None:
    passed_on(edge, sender, multipart(SDP, SDP), Content_Type="multipart/mixed;boundary=part")


def test_a_body_that_is_no_session_is_refused(edge: Edge, sender: Sender) -> None:
    refused(edge, sender, 415, "hello", Content_Type="text/plain")
    refused(edge, sender, 415, SDP, Content_Type="")
    refused(edge, sender, 413, SDP + "a=x\r\n" * (MOST_BODY // 5))


@pytest.mark.parametrize(("lines", "at_once"), [(1, 5), (2, 3), (4, 2)])
def test_a_workers_turn_comes_by_what_is_opened(lines: int, at_once: int, tmp_path: Path) -> None:
    """A burst of five lines, begun with the last call of it, then ten a second."""
    with Loop() as loop:
        edge = Edge(tmp_path / "edge", loop, scene.plan(workers=1, calls=2, invites_per_s=10))
        try:
            edge.start()
            edge.workers[0].answer = Answering(status=480, ring=False)
            with closing(Sender(TRUNK, edge.address)) as sender:
                began = time.monotonic_ns()
                told = [sender.call(HEAD + AUDIO * lines).status for _ in range(at_once + 1)]
                assert told == [480] * at_once + [503]
                edge.until(lambda: sender.call(HEAD + AUDIO * lines).status == 480, "turn")
                invites = [o.at_ns for o in edge.workers[0].seen if o.describe() == "INVITE received"]
                waited_ms = 100 * (lines * at_once - 4)
                assert invites[-1] - began >= (waited_ms - 1) * 1_000_000  # in whole ms
                assert {one.why for one in edge.rejected} <= {"rate"}
        finally:
            edge.close()


# --- what no worker can read ---

LONG = "x" * 5000


@pytest.mark.parametrize(
    ("status", "how"),
    [
        (400, {"From": "<sip:é@h>;tag=1"}),
        (400, {"To": "<sip:é@h>"}),
        (400, {"uri": "sip:é@h"}),
        (513, {"From": f'"{LONG}" <sip:a@h>;tag=1'}),
        (513, {"Contact": f"<sip:{LONG}@h>"}),
        (513, {"Subject": "x" * MOST_AT_ALL}),
        (400, {"From": "<sip:a@h>"}),
        (400, {"From": "<sip:a@h>;tag=a:b"}),
        (400, {"From": "<sip:a@h:99999>;tag=1"}),
        (400, {"From": "<sip:a:@h>;tag=1"}),
        (400, {"From": "<sip:a@h;ttl=999>;tag=1"}),
        (400, {"From": 'sip:a@h;x="a@b";tag=1'}),
        (400, {"To": "<http://example.org>"}),
        (400, {"Contact": ""}),
        (400, {"Contact": "<tel:+33612345678>"}),
        (400, {"Contact": "<sip:a@h>;q=x"}),
        (400, {"Contact": "<sip:a@h>, <sip:b@h>"}),
        (400, {"Contact": "sip:a;b=c@h"}),
        (400, {"Contact": "*"}),
        (400, {"From": "sip:a,b@h;tag=1"}),
        (400, {"more": "Contact: <sip:c@h>\r\n"}),
        (400, {"CSeq": "2147483648 INVITE"}),
        (400, {"Content_Type": "application"}),
        (400, {"Content_Type": "application/sdp;"}),
        (400, {"Supported": ",".join("abcdefgh" * 5)}),
        (400, {"Supported": "timer,,100rel"}),
        (400, {"Allow": ",".join("abcdefgh" * 5)}),
        (400, {"Require": ",timer"}),
        (400, {"Min_SE": "x"}),
        (400, {"Session_Expires": "soon"}),
        (400, {"more": "x: soon\r\n"}),
        (400, {"Record_Route": "sip:p;lr"}),
        (400, {"Record_Route": "<sip:p;lr>,"}),
        (400, {"more": "TH: dih\r\n"}),
        (400, {"Subject": "a\rContact: <sip:é@h>"}),
        (400, {"Subject": "a\nb: c"}),
        (400, {"Subject": "a\0b"}),
        (400, {"Subject": "a\x01b"}),
    ],
)
def test_what_no_worker_can_read_takes_no_place(
    edge: Edge, sender: Sender, status: int, how: dict[str, str]
) -> None:
    refused(edge, sender, status, **how)


@pytest.mark.parametrize(
    "how",
    [
        {"From": '"Jéan \\"le\\" Müller" <sip:+33612345678@h:5060;user=phone>;tag=a.b-1'},
        {"From": "Jéan <sip:a@h> ; tag = 1"},
        {"From": "sip:a&b@h;tag=1"},
        {"From": "<tel:+33-6(12)345678;phone-context=+33>;tag=1"},
        {"From": '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'},
        {"From": "<sip:a@h>\r\n ;tag=1"},
        {"To": "<sip:%23123@[2001:db8::1]:5060;transport=tcp?a=b&c=d>"},
        {"uri": "tel:0323063006;phone-context=+33"},
        {"uri": "sip:+33323063006;npdi;rn=+33@h;user=phone"},
        {"Contact": '"x" <sip:c@h:5080;ob;gr=urn:uuid:f81d>;+sip.instance="<urn:uuid:1>";q=0.5;expires=60'},
        {"Record_Route": "<sip:p1.example.net;lr;ftag=1>, <sips:10.0.0.1:5061;lr;r2=on>;x=y"},
        {"Via_": "SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKx;received=10.0.0.9"},
        {"Supported": "100rel, timer, replaces", "Require": "timer", "Session_Expires": "1800;refresher=uac"},
        {"Min_SE": "90", "Allow": "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK"},
        {"P_Asserted_Identity": '"Mairie" <sip:+33112@h>', "Privacy": "id", "Diversion": "<sip:2@h>"},
        {"Accept": "application/sdp, text/plain", "Expires": "180", "User_Agent": "Gateway/1.0 (x)"},
        {"Replaces": "a;to-tag=b;from-tag=c"},
        {"Event": "", "Authorization": "nonsense", "Geolocation": "x" * 4000},
        {"CSeq": "2147483647 INVITE"},
    ],
)
def test_what_trunks_send_is_passed_on(edge: Edge, sender: Sender, how: dict[str, str]) -> None:
    """Also where a header is broken that workers have no use for: they get no such header."""
    via = how.pop("Via_", "")
    invite = passed_on(edge, sender, **how, more=f"Via: {via}\r\n" if via else "")
    for name in ("Replaces", "Authorization", "Geolocation", "Expires", "User-Agent", "Diversion"):
        assert not invite.all(name)
    if "P_Asserted_Identity" in how:
        assert invite.header("P-Asserted-Identity") and invite.header("Privacy")


def test_a_caller_takes_no_other_calls_place(edge: Edge, sender: Sender) -> None:
    refused(edge, sender, 420, Require="replaces", Replaces="a;to-tag=b;from-tag=c")


# --- workers that do not answer ---


def offered(edge: Edge, call: Call) -> int:
    """To how many workers the call has been offered."""
    return sum(any(is_invite(one.message, call) for one in worker.seen) for worker in edge.workers)


def is_invite(message: Message, call: Call) -> bool:
    return message.describe() == "INVITE" and message.header("Call-ID") == call.call_id


def test_a_call_that_a_living_worker_does_not_answer_is_offered_to_no_other(edge: Edge) -> None:
    """The worker says other things meanwhile, so it is the call; it is given the next one as before."""
    calls = [edge.answered()[0] for _ in edge.workers]
    for worker in edge.workers:
        worker.answer = Answering(silent=True)
    silent, before = edge.call(), len(edge.rejected)
    while silent.status is None:
        for call in calls:
            call.request("INFO")
    assert (silent.status, offered(edge, silent)) == (500, 1)
    edge.until(lambda: len(edge.rejected) > before, "word of the call")
    assert edge.rejected[before].why == "unanswered"
    assert edge.statistics.calls == len(calls)
    for worker in edge.workers:
        worker.answer = Answering(after_s=0.05)
    assert edge.process.rpc.active() == set(range(len(edge.workers)))
    assert {edge.answered()[2] for _ in edge.workers} == set(range(len(edge.workers)))


@pytest.mark.parametrize("answer", [Answering(silent=True), Answering(status=500, ring=False)])
def test_what_two_workers_do_not_answer_is_offered_to_no_third(edge: Edge, answer: Answering) -> None:
    for worker in edge.workers:
        worker.answer = answer
    before, call = len(edge.rejected), edge.call()
    assert (call.wait_status(scene.PATIENCE_S), offered(edge, call)) == (500, 2)
    edge.until(lambda: len(edge.rejected) > before, "word of the call")
    assert [(one.why, one.status) for one in edge.rejected[before:]] == [("unanswered", 500)]
    edge.idle()
    for index in range(len(edge.workers)):  # which have said nothing to OPTIONS either
        edge.process.rpc.activate(index)


@pytest.mark.parametrize("how", [{"more": "no header\r\n"}, {"Content_Length": "x"}])
def test_what_kamailio_cannot_read_either_has_no_answer_and_takes_no_place(
    edge: Edge, sender: Sender, how: dict[str, str]
) -> None:
    """Nobody could tell whose call it is; it is counted, and leaves what can be known of it."""
    before, seen, counted = len(edge.rejected), edge.invites(), edge.statistics.malformed
    sender.send(sender.invite(**how)[1])
    edge.until(lambda: len(edge.rejected) > before, "word of the call")
    assert (edge.rejected[before].why, edge.statistics.malformed) == ("malformed", counted + 1)
    assert edge.invites() == seen and not sender.answers and edge.statistics.calls == 0


# --- RFC 4475 ---


def test_an_extension_that_nobody_has_is_named(edge: Edge, sender: Sender) -> None:
    """Section 3.3.5 (`bext01`): 420, with what is not supported; a proxy says it of Proxy-Require."""
    for name, said in (("Require", "a, b"), ("Proxy_Require", "c"), ("Proxy_Require", "c, d")):
        call_id, invite = sender.invite("", **{name: said})
        sender.send(invite.replace(b"INVITE", b"OPTIONS"))
        answer = sender.wait(call_id)
        assert (answer.status, answer.header("Unsupported")) == (420, said)
    answer = sender.call(Proxy_Require="c")
    assert (answer.status, answer.header("Unsupported")) == (420, "c")
    assert sender.call(Proxy_Require="").status == 480


def test_a_call_goes_as_many_hops_as_it_may(edge: Edge, sender: Sender) -> None:
    """The edge counts, and the worker behind it no more (RFC 7332)."""
    for given, passed in (("9", "8"), ("1", "0"), ("", "70")):
        answer = sender.call(Max_Forwards=given)
        seen = [one.message for worker in edge.workers for one in worker.seen if not one.sent]
        (invite,) = (
            one
            for one in seen
            if one.describe() == "INVITE" and one.header("Call-ID") == answer.header("Call-ID")
        )
        assert invite.all("Max-Forwards") == [passed]
    before = edge.invites()
    answer = sender.call(Max_Forwards="0")
    assert answer.status == 483 and edge.invites() == before
    call_id = answer.header("Call-ID")
    edge.until(lambda: call_id in [one.call_id for one in edge.rejected], "receipt")
    (word,) = (one for one in edge.rejected if one.call_id == call_id)
    assert (word.why, word.status) == ("loop", 483)


def test_what_follows_a_message_in_its_datagram_is_no_part_of_it(edge: Edge, sender: Sender) -> None:
    """Section 3.1.2.16 (`dblreq`); RFC 3261 section 18.3."""
    call_id, first = sender.invite()
    other_id, other = sender.invite()
    seen = edge.invites()
    sender.send(first + other)
    assert sender.wait(call_id).status == 480
    assert edge.invites() == seen + 1 and other_id not in sender.answers
    invite = taken(edge, call_id)
    assert invite.body.decode() == SDP and set(invite.all("Content-Length")) == {str(len(SDP))}
    call_id, empty = sender.invite("")
    sender.send(empty + other)
    assert sender.wait(call_id).status == 480
    call_id, cut = sender.invite(Content_Length=str(len(SDP) + 1))
    sender.send(cut)
    assert sender.wait(call_id).status == 400


@pytest.mark.parametrize("accepted", ["text/nobodyKnowsThis", "", "text/plain;q=0.5, application/xml"])
def test_an_answer_that_could_only_be_a_session_is_none_for_who_takes_none(
    edge: Edge, sender: Sender, accepted: str
) -> None:
    """Section 3.3.7 (`sdp01`): 406."""
    refused(edge, sender, 406, more=f"Accept: {accepted}\r\n")
    for known in ("application/sdp", "text/plain, Application/SDP;level=1", "*/*", "application/*"):
        passed_on(edge, sender, Accept=known)
