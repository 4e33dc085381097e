"""What no worker could read, or its engine carry, is refused at the edge, and takes no place and no call."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from sipagent.edge.configuration import MOST_AT_ALL, MOST_BODY
from sipagent.softphone.phone import Answering, Call
from sipagent.softphone.sip import Message
from tests.peers.edge import TRUNK, Edge, opened
from tests.peers.offers import AUDIO, CLOSED, HEAD, TOO_MANY, TOO_MUCH_AUDIO, VIDEO, multipart
from tests.peers.sender import SDP, Sender

pytestmark = pytest.mark.live

TURNED_DOWN = Answering(status=480, ring=False)


@pytest.fixture
def sender(edge: Edge) -> Iterator[Sender]:
    edge.work(TURNED_DOWN)
    with closing(Sender(TRUNK, edge.address)) as sender:
        yield sender


def refused(edge: Edge, sender: Sender, status: int, body: str | bytes = SDP, **how: str) -> None:
    """It has this answer and a receipt, is counted, and no worker sees it."""
    counts = edge.statistics
    answer = sender.call(body, **how)
    word = edge.told(answer.header("Call-ID"))
    assert (answer.status, word.status) == (status, status)
    assert taken(edge, word.call_id) == []
    edge.until(lambda: getattr(edge.statistics, word.why) > getattr(counts, word.why), "count")
    edge.idle()


def passed_on(edge: Edge, sender: Sender, body: str | bytes = SDP, **how: str) -> Message:
    answer = sender.call(body, **how)
    assert answer.status == 480
    return taken(edge, answer.header("Call-ID"))[0]


def taken(edge: Edge, call_id: str) -> list[Message]:
    seen = [one for worker in edge.workers for one in [*worker.seen] if one.describe() == "INVITE received"]
    return [one.message for one in seen if one.message.header("Call-ID") == call_id]


# --- session descriptions ---


def test_what_is_offered_is_passed_on(edge: Edge, sender: Sender) -> None:
    """Whatever it is: the worker judges it, by the one rule that there is."""
    odd = (HEAD + AUDIO + VIDEO + CLOSED, SDP + "a=x-m=audio 1\r\n" * 20, SDP.replace("\r\n", "\n"))
    for body in (*odd, TOO_MANY, TOO_MUCH_AUDIO, ""):
        passed_on(edge, sender, body)
    passed_on(edge, sender, multipart(SDP, SDP), Content_Type="multipart/mixed;boundary=part")


def test_a_body_that_is_no_session_is_refused(edge: Edge, sender: Sender) -> None:
    refused(edge, sender, 415, "hello", Content_Type="text/plain")
    refused(edge, sender, 415, SDP, Content_Type="")
    refused(edge, sender, 413, SDP + "a=x\r\n" * (MOST_BODY // 5))


@pytest.mark.parametrize(("lines", "at_once"), [(1, 3), (2, 2), (4, 1)])
def test_a_workers_turn_comes_by_what_is_opened(lines: int, at_once: int, tmp_path: Path) -> None:
    """A burst of three lines, begun with the last call of it, then three a second."""
    with opened(tmp_path / "edge", workers=1, calls=5, calls_per_worker=5, invites_per_s=3) as edge:
        edge.work(TURNED_DOWN)
        with closing(Sender(TRUNK, edge.address)) as sender:
            sent = [sender.invite(HEAD + AUDIO * lines) for _ in range(at_once + 1)]
            began = time.monotonic_ns()
            for _, packet in sent:  # all before the first answer, however long that takes
                sender.send(packet)
            told = [sender.wait(call_id).status for call_id, _ in sent]
            assert sorted(map(str, told)) == ["480"] * at_once + ["503"]
            edge.until(lambda: sender.call(HEAD + AUDIO * lines).status == 480, "turn")
            invites = [one.at_ns for one in edge.workers[0].seen if one.describe() == "INVITE received"]
            waited_ms = 333 * (lines * at_once - 2)
            assert invites[-1] - began >= (waited_ms - 1) * 1_000_000  # in whole ms
            assert {one.why for one in edge.rejected} <= {"rate"}


# --- what no worker can read ---

LONG = "x" * 5000


UNREADABLE: tuple[Mapping[str, str], ...] = (
    {"From": "<sip:é@h>;tag=1"}, {"To": "<sip:é@h>"}, {"uri": "sip:é@h"},
    {"From": "<sip:a@h>"}, {"From": "<sip:a@h>;tag=a:b"}, {"From": "<sip:a@h:99999>;tag=1"},
    {"From": "<sip:a:@h>;tag=1"}, {"From": "<sip:a@h;ttl=999>;tag=1"}, {"From": 'sip:a@h;x="a@b";tag=1'},
    {"From": "sip:a,b@h;tag=1"}, {"To": "<http://example.org>"},
    {"Contact": ""}, {"Contact": "<tel:+33612345678>"}, {"Contact": "<sip:a@h>;q=x"}, {"Contact": "*"},
    {"Contact": "<sip:a@h>, <sip:b@h>"}, {"Contact": "sip:a;b=c@h"}, {"more": "Contact: <sip:c@h>\r\n"},
    {"CSeq": "2147483648 INVITE"}, {"Content_Type": "application"}, {"Content_Type": "application/sdp;"},
    {"Supported": ",".join("abcdefgh" * 5)}, {"Supported": "timer,,100rel"},
    {"Allow": ",".join("abcdefgh" * 5)}, {"Require": ",timer"}, {"Min_SE": "x"},
    {"Session_Expires": "soon"}, {"more": "x: soon\r\n"}, {"more": "TH: dih\r\n"},
    {"Record_Route": "sip:p;lr"}, {"Record_Route": "<sip:p;lr>,"},
    {"Subject": "a\rContact: <sip:é@h>"}, {"Subject": "a\nb: c"}, {"Subject": "a\0b"}, {"Subject": "a\x01b"},
)  # fmt: skip
TOO_LONG: tuple[Mapping[str, str], ...] = (
    {"From": f'"{LONG}" <sip:a@h>;tag=1'}, {"Contact": f"<sip:{LONG}@h>"}, {"Subject": "x" * MOST_AT_ALL},
)  # fmt: skip
USUAL: tuple[Mapping[str, str], ...] = (
    {"From": '"Jéan \\"le\\" Müller" <sip:+33612345678@h:5060;user=phone>;tag=a.b-1'},
    {"From": "Jéan <sip:a@h> ; tag = 1"}, {"From": "sip:a&b@h;tag=1"}, {"From": "<sip:a@h>\r\n ;tag=1"},
    {"From": "<tel:+33-6(12)345678;phone-context=+33>;tag=1"},
    {"From": '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'},
    {"To": "<sip:%23123@[2001:db8::1]:5060;transport=tcp?a=b&c=d>"},
    {"uri": "tel:0323063006;phone-context=+33"}, {"uri": "sip:+33323063006;npdi;rn=+33@h;user=phone"},
    {"Contact": '"x" <sip:c@h:5080;ob;gr=urn:uuid:f81d>;+sip.instance="<urn:uuid:1>";q=0.5;expires=60'},
    {"Record_Route": "<sip:p1.example.net;lr;ftag=1>, <sips:10.0.0.1:5061;lr;r2=on>;x=y"},
    {"more": "Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKx;received=10.0.0.9\r\n"},
    {"Supported": "100rel, timer, replaces", "Require": "timer", "Session_Expires": "1800;refresher=uac"},
    {"Min_SE": "90", "Allow": "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK"},
    {"P_Asserted_Identity": '"Mairie" <sip:+33112@h>', "Privacy": "id", "Diversion": "<sip:2@h>"},
    {"Accept": "application/sdp, text/plain", "Expires": "180", "User_Agent": "Gateway/1.0 (x)"},
    {"Replaces": "a;to-tag=b;from-tag=c"},
    {"Event": "", "Authorization": "nonsense", "Geolocation": "x" * 4000}, {"CSeq": "2147483647 INVITE"},
)  # fmt: skip


def test_what_no_worker_can_read_takes_no_place(edge: Edge, sender: Sender) -> None:
    for how in UNREADABLE:
        refused(edge, sender, 400, **how)
    for how in TOO_LONG:
        refused(edge, sender, 513, **how)


def test_what_trunks_send_is_passed_on(edge: Edge, sender: Sender) -> None:
    """Also where a header is broken that workers have no use for: they get no such header."""
    for how in USUAL:
        invite = passed_on(edge, sender, **how)
        for name in ("Replaces", "Authorization", "Geolocation", "Expires", "User-Agent", "Diversion"):
            assert not invite.all(name), how
        if "P_Asserted_Identity" in how:
            assert invite.header("P-Asserted-Identity") and invite.header("Privacy")


def test_a_caller_takes_no_other_calls_place(edge: Edge, sender: Sender) -> None:
    refused(edge, sender, 420, Require="replaces", Replaces="a;to-tag=b;from-tag=c")


# --- workers that do not answer ---


def offered(edge: Edge, call: Call) -> int:
    """To how many workers the call has been offered."""
    return sum(call.call_id in edge.given(index) for index in range(len(edge.workers)))


def test_a_call_that_a_living_worker_does_not_answer_is_offered_to_no_other(edge: Edge) -> None:
    """The worker says other things meanwhile, so it is the call; it is given the next one as before."""
    calls = [edge.answered()[0] for _ in edge.workers]
    edge.work(Answering(silent=True))
    silent = edge.call()
    while silent.status is None:
        for call in calls:
            call.request("INFO")
    assert (silent.status, offered(edge, silent)) == (500, 1)
    assert edge.told(silent.call_id).why == "unanswered"
    assert edge.statistics.calls == len(calls)
    edge.work()
    assert edge.process.rpc.active() == set(range(len(edge.workers)))
    assert {edge.answered()[2] for _ in edge.workers} == set(range(len(edge.workers)))


@pytest.mark.parametrize("answer", [Answering(silent=True), Answering(status=500, ring=False)])
def test_what_two_workers_do_not_answer_is_offered_to_no_third(edge: Edge, answer: Answering) -> None:
    edge.work(answer)
    call = edge.call()
    assert (call.wait_status(), offered(edge, call)) == (500, 2)
    word = edge.told(call.call_id)
    assert (word.why, word.status) == ("unanswered", 500)
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
        assert passed_on(edge, sender, Max_Forwards=given).all("Max-Forwards") == [passed]
    answer = sender.call(Max_Forwards="0")
    word = edge.told(answer.header("Call-ID"))
    assert (answer.status, word.why, word.status) == (483, "loop", 483)
    assert not taken(edge, word.call_id)


def test_what_follows_a_message_in_its_datagram_is_no_part_of_it(edge: Edge, sender: Sender) -> None:
    """Section 3.1.2.16 (`dblreq`); RFC 3261 section 18.3."""
    other_id, other = sender.invite()
    for body in (SDP, ""):
        call_id, first = sender.invite(body)
        sender.send(first + other)
        assert sender.wait(call_id).status == 480
        (invite, *_) = taken(edge, call_id)
        assert invite.body.decode() == body and set(invite.all("Content-Length")) == {str(len(body))}
    assert not taken(edge, other_id) and other_id not in sender.answers
    assert sender.call(Content_Length=str(len(SDP) + 1)).status == 400


def test_an_answer_that_could_only_be_a_session_is_none_for_who_takes_none(
    edge: Edge, sender: Sender
) -> None:
    """Section 3.3.7 (`sdp01`): 406."""
    for foreign in ("text/nobodyKnowsThis", "", "text/plain;q=0.5, application/xml"):
        refused(edge, sender, 406, more=f"Accept: {foreign}\r\n")
    for known in ("application/sdp", "text/plain, Application/SDP;level=1", "*/*", "application/*"):
        passed_on(edge, sender, Accept=known)
