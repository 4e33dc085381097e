"""What becomes of a request, one rule after the other, and over all short histories of one dialog."""

from dataclasses import replace
from ipaddress import ip_network
from itertools import product
from typing import Any

import pytest

from sipagent.sip.packet_filter import Address
from sipagent.sip.request_rules import (
    KEPT_S,
    REPEATED_S,
    ROOM_AGAIN_S,
    WITH_BODY,
    Ignore,
    LetGo,
    Load,
    Pass,
    Refuse,
    RequestRules,
    Response,
    Verdict,
    Wait,
    reached_at,
    read,
    read_response,
)
from sipagent.sip.session_description import NotAcceptable, described
from tests import tiers
from tests.torture import WSINV

TRUNK: Address = ("192.0.2.1", 5060)
OTHER: Address = ("192.0.2.200", 5060)  # of the trunk's network, and in no call
PHONE: Address = ("198.51.100.4", 5062)
STRANGER: Address = ("203.0.113.66", 5060)
NETWORKS = (ip_network("192.0.2.0/24"),)
BUSY = Refuse(503, (("Retry-After", "10"),))
FREE = Load(legs=0, legs_limit=4, sockets=0, sockets_limit=60)
FULL = Load(legs=4, legs_limit=4, sockets=8, sockets_limit=60)
DRY = Load(legs=1, legs_limit=4, sockets=58, sockets_limit=60)
CROWD = 20
US = "<sip:0323063006@192.0.2.9>"


def message(
    method: str = "INVITE",
    *,
    call_id: str = "a",
    from_: str = "<sip:ann@192.0.2.1>;tag=1",
    to: str = US,
    cseq: int = 1,
    branch: str = "z9hG4bK1",
    contact: str = "<sip:ann@192.0.2.1:5060>",
    more: str = "",
    body: str = "",
) -> str:
    return (
        f"{method} sip:0323063006@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch={branch}\r\n"
        f"From: {from_}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        f"Contact: {contact}\r\n{more}\r\n{body}"
    )


def within(method: str = "INVITE", **changes: Any) -> str:
    """In the dialog that `message` begins."""
    return message(method, **{"to": f"{US};tag=2", "cseq": 2, **changes})


def audio(lines: int) -> str:
    session = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    return session + "m=audio 4000 RTP/AVP 8\r\n" * lines


def judged(rules: RequestRules, text: str, source: Address = TRUNK, load: Load = FREE) -> Verdict:
    body = text.partition("\r\n\r\n")[2].encode()
    request = read(text, source, described([body], ("PCMA",)) if body else None)
    verdict = rules.judge(request, load, 0.0)
    if isinstance(verdict, Pass):
        rules.passed(request, 0.0)
    return verdict


@pytest.fixture
def rules() -> RequestRules:
    return RequestRules(NETWORKS, (ip_network("198.51.100.0/24"),))


def test_a_process_that_is_late_refuses_new_calls_at_once_and_nothing_else(rules: RequestRules) -> None:
    """Not even for the moment in which another may end. What it has taken goes on."""
    assert judged(rules, message(), TRUNK) == Pass()
    assert judged(rules, message(), TRUNK, LATE) == Pass()  # repeated
    for text in (within(), within("BYE"), within("INFO"), message("CANCEL"), message("OPTIONS")):
        assert judged(rules, text, TRUNK, LATE) == Pass()
    other = message(call_id="b")
    assert judged(rules, other, TRUNK, replace(LATE, room=False)) == replace(BUSY, late=True)
    assert judged(rules, other, TRUNK, replace(LATE, late=486)) == replace(BUSY, status=486, late=True)
    assert judged(rules, other, STRANGER, LATE) == Ignore()


def test_the_edge_is_told_who_is_late() -> None:
    behind = RequestRules(peer=TRUNK, token="t")
    text = message(more="X-Sipagent: t;source=192.0.2.1:5060;at=1.5\r\n")
    late = Refuse(503, (("Retry-After", "10"), ("X-Sipagent", "late")), late=True)
    assert judged(behind, text, TRUNK, LATE) == late


def test_a_tortuous_request_is_read_as_the_library_reads_it() -> None:
    request = read(WSINV, TRUNK)
    assert (request.method, request.cseq, request.branch) == ("INVITE", "0009", "390skdjuw")
    assert request.dialog == ("wsinv.ndaksdj@192.0.2.1", "98asjd8")
    assert request.to_tag == "1918181833n"
    assert read(WSINV.replace("INVITE sip:", "Invite sip:"), TRUNK).method == "INVITE"


# --- outside a dialog ---

NOT_OURS = Refuse(405, (("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER"),))
DRAINING = replace(FREE, draining=True)
LATE = replace(FREE, late=503)
EXTENSIONS = "Require: 100rel, nothing\r\nProxy-Require: Other\r\n"
NO_SDP = Refuse(406, (("Accept", "application/sdp"),))


@pytest.mark.parametrize(
    ("text", "source", "load", "verdict"),
    [
        (message(), TRUNK, FREE, Pass()),
        (message(), STRANGER, FREE, Ignore()),
        (message(), PHONE, FREE, Ignore()),
        (message("OPTIONS"), TRUNK, FREE, Pass()),
        (message("OPTIONS"), PHONE, FREE, Pass()),
        (message("OPTIONS"), STRANGER, FREE, Ignore()),
        (message("MESSAGE"), PHONE, FREE, Ignore()),
        (message("REGISTER"), STRANGER, FREE, Ignore()),
        (message("OPTIONS"), TRUNK, DRAINING, Refuse(503)),
        (within("OPTIONS", cseq=1), TRUNK, DRAINING, Refuse(481)),
        (message("OPTIONS"), STRANGER, DRAINING, Ignore()),
        (within("BYE", cseq=1), TRUNK, FREE, Refuse(481)),  # of no dialog that we know
        (within("ACK", cseq=1), TRUNK, FREE, Ignore()),
        (within("BYE", cseq=1), STRANGER, FREE, Ignore()),
        (within(), TRUNK, FULL, Refuse(481)),
        *(
            (message(method), TRUNK, FREE, NOT_OURS)
            for method in ("REGISTER", "SUBSCRIBE", "MESSAGE", "NOTIFY", "PUBLISH", "INFO", "X")
        ),
        # the library says so of an INVITE, and of OPTIONS nothing (RFC 3261 section 8.2.2.3)
        (message("OPTIONS", more=EXTENSIONS), TRUNK, FREE, Refuse(420, (("Unsupported", "nothing, other"),))),
        (message("OPTIONS", more="Require: 100rel\r\n"), TRUNK, FREE, Pass()),
        # RFC 7332; OPTIONS of that kind are for whom they reach (RFC 3261 section 11)
        (message(more="Max-Forwards: 0\r\n"), TRUNK, FREE, Refuse(483)),
        (message(more="Max-Forwards: 1\r\n"), TRUNK, FREE, Pass()),
        (message("OPTIONS", more="Max-Forwards: 0\r\n"), TRUNK, FREE, Pass()),
        *(
            (message(more=f"Accept: {accepted}\r\n"), TRUNK, FREE, Pass())
            for accepted in ("application/sdp", "text/plain, application/SDP;level=1", "*/*", "application/*")
        ),
        (message(more="Accept: text/nobodyKnowsThis\r\n"), TRUNK, FREE, NO_SDP),
        # what can be read in two ways
        *(
            (message(more=more), TRUNK, FREE, Refuse(400))
            for more in ("Call-ID: b\r\n", "i: b\r\n", "f: <sip:x@y>;tag=9\r\n", "CSeq: 9 INVITE\r\n")
        ),
        (message(to='"a;tag=2" <sip:b@c>'), TRUNK, FREE, Refuse(400)),
        (message(to='<sip:b@c>;x=">;tag=2;y="'), TRUNK, FREE, Refuse(481)),
        (message(to="<sip:b@c;tag=2>"), TRUNK, FREE, Refuse(400)),
        # how much: sockets are counted, and not INVITEs
        (message(body=audio(1)), TRUNK, DRY, Pass()),
        (message(body=audio(2)), TRUNK, DRY, BUSY),
        (message(body=audio(1) + "m=audio 0 RTP/AVP 8\r\n"), TRUNK, DRY, Pass()),
        # a crowd that finds no leg: the library would answer 486 in its own way
        (message(), TRUNK, replace(FULL, waiting=CROWD), BUSY),
        (message(), TRUNK, replace(FULL, waiting=CROWD, draining=True), BUSY),
        # a leg is there to be refused by: the policy does it, with the status that is configured
        (message(), TRUNK, replace(FREE, room=False, waiting=CROWD), Pass()),
        (message(), TRUNK, replace(FREE, room=False, waiting=CROWD - 1), Wait(0.02)),
    ],
)
def test_what_begins_something(
    rules: RequestRules, text: str, source: Address, load: Load, verdict: Verdict
) -> None:
    assert judged(rules, text, source, load) == verdict


def test_a_description_that_the_library_must_not_see(rules: RequestRules) -> None:
    """488 and why (RFC 3261 section 20.43); of what has no offer the library is spared the body alone."""
    fault = NotAcceptable(301, "the address in c= is no literal")
    refused = Refuse(488, (("Warning", '301 sipagent "the address in c= is no literal"'),))
    assert rules.judge(read(message(), TRUNK, fault), FREE, 0.0) == refused
    judged(rules, message(call_id="b"))
    for method in ("INVITE", "UPDATE", "PRACK", "ACK", "BYE", "INFO", "CANCEL"):
        again = read(within(method, call_id="b", branch="z9hG4bK2"), TRUNK, fault)
        assert rules.judge(again, FREE, 0.0) == (refused if method in WITH_BODY else Pass())


# --- within one ---


@pytest.mark.parametrize("method", ["INFO", "INVITE", "UPDATE", "BYE", "REFER", "ACK", "CANCEL", "PRACK"])
def test_a_dialog_obeys_its_peers_alone(rules: RequestRules, method: str) -> None:
    judged(rules, message(contact="<sip:ann@192.0.2.77:5070>"))
    text = message(method) if method == "CANCEL" else within(method)
    for source in (STRANGER, PHONE, OTHER):
        assert judged(rules, text, source) == Ignore()
    for source in (TRUNK, (TRUNK[0], 40000), ("192.0.2.77", 5070)):  # from any port, and where its Contact is
        assert judged(rules, text, source) == Pass()


def test_a_text_within_a_dialog_is_for_nobody(rules: RequestRules) -> None:
    judged(rules, message())
    assert judged(rules, within("MESSAGE")) == NOT_OURS


def test_no_name_of_a_dialog_and_no_escape_makes_a_peer(rules: RequestRules) -> None:
    judged(rules, message())
    assert judged(rules, message(cseq=2, branch="z9hG4bK2"), OTHER) == Ignore()
    assert judged(rules, within("INFO"), OTHER) == Ignore()
    text = message("INFO", cseq=2, from_="<sip:ann@192.0.2.1>;%74ag=%31", to="<sip:b@c>;t%61g=2")
    assert (judged(rules, text, OTHER), judged(rules, text)) == (Ignore(), Pass())


def test_an_operators_phone_is_a_peer_from_its_first_response_on(rules: RequestRules) -> None:
    ringing = (
        "SIP/2.0 180 Ringing\r\nFrom: <sip:agent@192.0.2.9>;tag=7\r\nTo: <sip:201@198.51.100.4>;tag=8\r\n"
        "Call-ID: op\r\nCSeq: 1 INVITE\r\nContact: <sip:201@198.51.100.9:5064>\r\n\r\n"
    )
    text = message("BYE", call_id="op", from_="<sip:201@198.51.100.4>;tag=8", to="<sip:a@b>;tag=7")
    assert judged(rules, text, PHONE) == Ignore()
    rules.answered(ringing, PHONE, 0.0)
    for source, verdict in ((PHONE, Pass()), (("198.51.100.9", 5064), Pass()), (STRANGER, Ignore())):
        assert judged(rules, text, source) == verdict
    assert judged(rules, text.replace("tag=8", "tag=9"), PHONE) == Ignore()  # another phone of a fork
    assert (peers := rules.peers) == {PHONE[0], "198.51.100.9"}
    rules.answered(ringing, PHONE, 1.0)
    rules.tidy({"op"}, KEPT_S * 3)
    assert rules.peers is peers  # so nothing needs to be compared


def test_on_loopback_the_port_tells_who_it_is() -> None:
    rules = RequestRules((ip_network("127.0.0.0/8"),))
    here, beside = ("127.0.0.1", 5062), ("127.0.0.1", 40000)
    judged(rules, message(contact="<sip:ann@127.0.0.1:5070>"), here)
    assert judged(rules, within("INFO"), beside) == Ignore()
    assert judged(rules, within("INFO"), here) == Pass()
    assert judged(rules, within("INFO", cseq=3), ("127.0.0.1", 5070)) == Pass()
    by_tcp = RequestRules((ip_network("127.0.0.0/8"),), by_port=False)
    judged(by_tcp, message(), here)
    assert judged(by_tcp, within("INFO"), beside) == Pass()


def test_what_is_over_is_forgotten_when_it_is_no_longer_repeated(rules: RequestRules) -> None:
    judged(rules, message())
    rules.tidy({"a"}, KEPT_S * 3)
    rules.tidy(set(), KEPT_S * 4)
    assert judged(rules, within("BYE")) == Pass() and rules.peers == {TRUNK[0]}
    rules.tidy(set(), KEPT_S * 5)
    assert judged(rules, within("BYE")) == Refuse(481) and rules.peers == frozenset()


def test_an_ack_is_never_answered(rules: RequestRules) -> None:
    judged(rules, message())
    assert judged(rules, within("ACK", cseq=1)) == Pass()
    for to, more, source in product(
        ("<sip:b@c>", '"a;tag=2" <sip:b@c>', f"{US};tag=2"),
        ("", "t: <sip:b@c>\r\n", "i: other\r\n", "Require: x\r\n", "Accept: text/plain\r\n"),
        (TRUNK, PHONE, STRANGER),
    ):
        clear = to.endswith("tag=2") and not more.startswith(("t:", "i:")) and source == TRUNK
        verdict = judged(rules, message("ACK", to=to, cseq=2, more=more), source)
        assert verdict == (Pass() if clear else Ignore())


def test_an_offer_within_a_call_opens_no_more_sockets_than_there_are(rules: RequestRules) -> None:
    judged(rules, message(body=audio(1)))
    assert judged(rules, within(branch="z9hG4bK2"), load=FULL) == Pass()
    full = replace(DRY, sockets=60)
    for cseq, method in enumerate(WITH_BODY, 3):
        assert judged(rules, within(method, cseq=cseq, body=audio(2)), load=DRY) == Refuse(488)
        one = within(method, cseq=cseq, body=audio(1))
        assert judged(rules, one, load=replace(full, audio_at=1)) == Refuse(488)  # it opens others
        assert judged(rules, one, load=replace(full, audio_at=0)) == Pass()


# --- what is repeated, and what waits ---


def test_an_invite_is_repeated_only_as_long_as_the_library_answers_it_from_memory(
    rules: RequestRules,
) -> None:
    """Else a trunk could have calls that it was refused come again all at once, past every count."""
    full, crowd = replace(FULL, waiting=CROWD, sockets=60), read(message(), TRUNK)
    assert rules.passed(crowd, 0.0) and not rules.passed(crowd, 1.0)
    rules.ended("another", 1.0)
    assert rules.judge(crowd, full, 1000.0) == Pass()
    assert rules.judge(read(message(branch="z9hG4bK2"), TRUNK), full, 1000.0) == BUSY
    rules.ended(crowd.call_id, 1000.0)
    assert rules.judge(crowd, full, 1000.0 + 0.9 * REPEATED_S) == Pass()
    assert not rules.passed(crowd, 1000.0 + 0.9 * REPEATED_S)
    assert rules.judge(crowd, full, 1000.0 + REPEATED_S) == BUSY
    assert rules.passed(crowd, 1000.0 + REPEATED_S)
    rules.ended(crowd.call_id, 1010.0, 0.0)  # the library has refused it, and forgotten
    assert rules.judge(crowd, full, 1010.0) == BUSY


def test_who_finds_no_leg_waits_for_a_moment(rules: RequestRules) -> None:
    request, waited_s = read(message(), TRUNK), 0.0
    while isinstance(verdict := rules.judge(replace(request, waited_s=waited_s), FULL, 0.0), Wait):
        waited_s += verdict.seconds
    assert (verdict, waited_s >= ROOM_AGAIN_S) == (BUSY, True)


def test_a_refusal_is_told_once_however_often_it_is_repeated(rules: RequestRules) -> None:
    request = read(message(), TRUNK)
    assert [rules.first_refused(request, at) for at in (0.0, 0.5, 1.5)] == [True, False, False]
    rules.tidy(set(), 2 * KEPT_S)
    assert rules.first_refused(request, 100.0)


# --- behind an edge ---


def test_behind_an_edge_it_alone_may_send_and_says_what_it_has_let_in() -> None:
    edge, token = ("127.0.0.1", 7000), "f" * 32
    rules = RequestRules(NETWORKS, (), edge, token)
    said = f"X-Sipagent: {token};source=192.0.2.1:5060\r\n"
    for text, source, verdict in (
        (message(more=said), TRUNK, Ignore()),
        (message(), edge, Ignore()),
        (message(more=f"X-Sipagent: {'0' * 32};source=1\r\n"), edge, Ignore()),
        (message(more=said), edge, Pass()),
        (message("OPTIONS", call_id="ping"), edge, Pass()),
        (within("BYE"), edge, Pass()),
        (within("BYE"), ("127.0.0.1", 7001), Ignore()),
        (message("CANCEL", more=f"X-Sipagent: {token};given-up\r\n"), edge, LetGo()),
        (message("CANCEL", more=f"X-Sipagent: {token};given-up\r\n"), TRUNK, Ignore()),
        (message("CANCEL", more=f"X-Sipagent: {'0' * 32};given-up\r\n"), edge, Pass()),
        (message("CANCEL", more=said), edge, Pass()),
    ):
        assert judged(rules, text, source) == verdict
    fault = NotAcceptable(399, "x")
    refused = rules.judge(read(message(call_id="b", more=said), edge, fault), FREE, 0.0)
    assert refused == Refuse(488, (fault.header,))


def test_a_response_is_what_it_says() -> None:
    head = "From: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: a\r\nCSeq: 7 invite\r\n\r\n"
    assert read_response(f"SIP/2.0 486 Busy\r\n{head}") == Response(486, "INVITE", ("a", "2"))
    assert read_response("SIP/2.0 4x6\r\n\r\n") == Response(0, "", ("", ""))


def test_where_a_sender_is_reached() -> None:
    text = message(
        contact=r'"Ann, <sip:b@192.0.2.66>, \"" <sip:ann@192.0.2.7>, <sip:x@host.example>',
        more="Record-Route: <sip:192.0.2.8:5080;lr>, <sip:p.example;lr>\r\n",
    )
    assert set(reached_at(text)) == {("192.0.2.7", 5060), ("192.0.2.8", 5080)}


# --- all histories ---

STEPS = {
    "invite": (message(), TRUNK),
    "stranger's invite": (message(), STRANGER),
    "other's invite": (message(cseq=2, branch="z9hG4bK2", contact="<sip:a@192.0.2.200>"), OTHER),
    "re-invite": (within(branch="z9hG4bK3", contact="<sip:a@192.0.2.50>"), TRUNK),
    "stranger's re-invite": (within(branch="z9hG4bK4", contact="<sip:a@203.0.113.66>"), STRANGER),
    "other's re-invite": (within(branch="z9hG4bK5", contact="<sip:a@192.0.2.200>"), OTHER),
    "bye": (within("BYE"), TRUNK),
}


def test_over_all_histories_only_a_peer_is_obeyed() -> None:
    """Whatever was sent by whom before, nobody is let into a dialog that another has begun."""
    for history in product(STEPS, repeat=tiers.depth(4, 5)):
        rules = RequestRules(NETWORKS)
        begun_by: Address | None = None
        for name in history:
            text, source = STEPS[name]
            verdict = judged(rules, text, source)
            assert not (source == STRANGER and verdict != Ignore())
            if isinstance(verdict, Pass) and begun_by is None:
                begun_by = source
            if isinstance(verdict, Pass) and ";tag=2" in text:
                assert source == begun_by or begun_by is None
