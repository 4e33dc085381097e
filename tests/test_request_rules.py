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
    Load,
    Pass,
    Refuse,
    Request,
    RequestRules,
    Verdict,
    Wait,
    reached_at,
    read,
)
from sipagent.sip.session_description import NotAcceptable, described
from tests.torture import WSINV

TRUNK: Address = ("192.0.2.1", 5060)
PHONE: Address = ("198.51.100.4", 5062)
STRANGER: Address = ("203.0.113.66", 5060)
NETWORKS = (ip_network("192.0.2.0/24"),)
BUSY = Refuse(503, (("Retry-After", "10"),))
FREE = Load(legs=0, legs_limit=4, sockets=0, sockets_limit=60)
WAITING = 20
FULL = Load(legs=4, legs_limit=4, sockets=8, sockets_limit=60)
DRY = Load(legs=1, legs_limit=4, sockets=58, sockets_limit=60)


def message(
    method: str = "INVITE",
    *,
    call_id: str = "a",
    from_: str = "<sip:ann@192.0.2.1>;tag=1",
    to: str = "<sip:0323063006@192.0.2.9>",
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


def audio(lines: int, video: int = 0, end: str = "\r\n") -> str:
    sections = ["m=audio 4000 RTP/AVP 8"] * lines + ["m=video 4002 RTP/AVP 96"] * video
    return end.join(["v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", *sections, ""])


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


OTHER: Address = ("192.0.2.200", 5060)  # of the trunk's network, and in no call


def within(method: str = "INVITE", **changes: Any) -> str:
    """In the dialog that `message` begins."""
    return message(method, **{"to": "<sip:0323063006@192.0.2.9>;tag=2", "cseq": 2, **changes})


def test_a_tortuous_request_is_read_as_the_library_reads_it() -> None:
    request = read(WSINV, TRUNK)
    assert (request.method, request.cseq, request.branch) == ("INVITE", "0009", "390skdjuw")
    assert request.dialog == ("wsinv.ndaksdj@192.0.2.1", "98asjd8")
    assert request.to_tag == "1918181833n"
    assert read(WSINV.replace("INVITE sip:", "Invite sip:"), TRUNK).method == "INVITE"


# --- who ---


def test_who_may_call_may_begin_and_others_are_not_answered(rules: RequestRules) -> None:
    assert judged(rules, message()) == Pass()
    assert judged(rules, message(call_id="b"), STRANGER) == Ignore()
    assert judged(rules, message(call_id="c"), PHONE) == Ignore()
    for method, source, verdict in (
        ("OPTIONS", TRUNK, Pass()),
        ("OPTIONS", PHONE, Pass()),
        ("OPTIONS", STRANGER, Ignore()),
        ("MESSAGE", PHONE, Ignore()),
        ("REGISTER", STRANGER, Ignore()),
    ):
        assert judged(rules, message(method, call_id="d"), source) == verdict


def test_who_is_asked_while_we_drain_hears_so(rules: RequestRules) -> None:
    draining = Load(0, 4, 0, 60, draining=True)
    assert judged(rules, message("OPTIONS"), load=draining) == Refuse(503)
    assert judged(rules, within("OPTIONS", cseq=1), load=draining) == Refuse(481)
    assert judged(rules, message("OPTIONS"), STRANGER, draining) == Ignore()


@pytest.mark.parametrize("method", ["INFO", "INVITE", "UPDATE", "BYE", "REFER", "ACK", "CANCEL", "PRACK"])
def test_a_dialog_obeys_its_peers_alone(rules: RequestRules, method: str) -> None:
    judged(rules, message(contact="<sip:ann@192.0.2.77:5070>"))
    text = message(method) if method == "CANCEL" else within(method)
    assert judged(rules, text, STRANGER) == Ignore()
    assert judged(rules, text, PHONE) == Ignore()
    assert judged(rules, text, ("192.0.2.200", 5060)) == Ignore()  # of the trunk, but not in this call
    assert judged(rules, text, TRUNK) == Pass()
    assert judged(rules, text, (TRUNK[0], 40000)) == Pass()  # from another port of the same address
    assert judged(rules, text, ("192.0.2.77", 5070)) == Pass()  # where its Contact is


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
    forked = message("BYE", call_id="op", from_="<sip:201@198.51.100.4>;tag=9", to="<sip:a@b>;tag=7")
    assert judged(rules, forked, PHONE) == Ignore()


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


def test_an_invite_with_the_names_of_a_dialog_does_not_make_its_sender_a_peer(rules: RequestRules) -> None:
    judged(rules, message())
    other = ("192.0.2.200", 5060)
    assert judged(rules, message(cseq=2, branch="z9hG4bK2"), other) == Ignore()
    assert judged(rules, within("INFO"), other) == Ignore()


def test_a_request_of_no_dialog_that_we_know(rules: RequestRules) -> None:
    assert judged(rules, within("BYE", cseq=1)) == Refuse(481)
    assert judged(rules, within("ACK", cseq=1)) == Ignore()
    assert judged(rules, within("BYE", cseq=1), STRANGER) == Ignore()


@pytest.mark.parametrize(
    "changes",
    [
        {"more": "Call-ID: other\r\n"},
        {"more": "i: other\r\n"},
        {"more": "f: <sip:x@y>;tag=9\r\n"},
        {"more": "CSeq: 9 INVITE\r\n"},
        {"to": '"a;tag=2" <sip:b@c>'},
        {"to": '<sip:b@c>;x=">;tag=2;y="'},
        {"to": "<sip:b@c;tag=2>"},
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(rules: RequestRules, changes: dict[str, str]) -> None:
    verdict = judged(rules, message(**changes))  # type: ignore[arg-type]
    assert verdict in (Refuse(400), Refuse(481))


def test_escapes_do_not_hide_a_tag(rules: RequestRules) -> None:
    judged(rules, message())
    text = message("INFO", cseq=2, from_="<sip:ann@192.0.2.1>;%74ag=%31", to="<sip:b@c>;t%61g=2")
    assert judged(rules, text, ("192.0.2.200", 5060)) == Ignore()
    assert judged(rules, text) == Pass()


def test_what_is_over_is_forgotten_when_it_is_no_longer_repeated(rules: RequestRules) -> None:
    judged(rules, message())
    rules.tidy({"a"}, KEPT_S * 3)
    rules.tidy(set(), KEPT_S * 4)
    assert judged(rules, within("BYE")) == Pass()
    assert rules.peers == {TRUNK[0]}
    rules.tidy(set(), KEPT_S * 5)
    assert judged(rules, within("BYE")) == Refuse(481)
    assert rules.peers == frozenset()


# --- what may begin ---


@pytest.mark.parametrize("method", ["REGISTER", "SUBSCRIBE", "MESSAGE", "NOTIFY", "PUBLISH", "INFO", "X"])
def test_what_nobody_may_begin_with_us(rules: RequestRules, method: str) -> None:
    verdict = judged(rules, message(method))
    assert isinstance(verdict, Refuse) and (verdict.status, verdict.headers[0][0]) == (405, "Allow")


def test_an_extension_that_nobody_knows(rules: RequestRules) -> None:
    """The library says so of an INVITE, and of OPTIONS nothing (RFC 3261 section 8.2.2.3)."""
    wants = "Require: 100rel, nothing\r\nProxy-Require: Other\r\n"
    assert judged(rules, message("OPTIONS", more=wants)) == Refuse(420, (("Unsupported", "nothing, other"),))
    assert judged(rules, message("OPTIONS", more="Require: 100rel\r\n")) == Pass()


def test_a_call_that_may_go_no_further(rules: RequestRules) -> None:
    """RFC 7332; OPTIONS of that kind are for whom they reach (RFC 3261 section 11)."""
    assert judged(rules, message(more="Max-Forwards: 0\r\n")) == Refuse(483)
    assert judged(rules, message(more="Max-Forwards: 1\r\n")) == Pass()
    assert judged(rules, message("OPTIONS", more="Max-Forwards: 0\r\n")) == Pass()


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        ("", True),
        ("Accept: application/sdp\r\n", True),
        ("Accept: text/plain, application/SDP;level=1\r\n", True),
        ("Accept: */*\r\n", True),
        ("Accept: application/*\r\n", True),
        ("Accept: text/nobodyKnowsThis\r\n", False),
    ],
)
def test_who_could_not_read_our_answer(rules: RequestRules, accept: str, taken: bool) -> None:
    verdict = judged(rules, message(more=accept))
    assert verdict == (Pass() if taken else Refuse(406, (("Accept", "application/sdp"),)))


# --- how much ---


def test_a_description_that_the_library_must_not_see(rules: RequestRules) -> None:
    """488 and why (RFC 3261 section 20.43); of what has no offer the library is spared the body alone."""
    fault = NotAcceptable(301, "the address in c= is no literal")
    refused = Refuse(488, (("Warning", '301 sipagent "the address in c= is no literal"'),))
    assert rules.judge(read(message(), TRUNK, fault), FREE, 0.0) == refused
    judged(rules, message(call_id="b"))
    for method in ("INVITE", "UPDATE", "PRACK", "ACK", "BYE", "INFO", "CANCEL"):
        verdict = refused if method in WITH_BODY else Pass()
        again = read(within(method, call_id="b", branch="z9hG4bK2"), TRUNK, fault)
        assert rules.judge(again, FREE, 0.0) == verdict


def test_an_ack_is_never_answered(rules: RequestRules) -> None:
    judged(rules, message())
    assert judged(rules, within("ACK", cseq=1)) == Pass()
    for to in ("<sip:b@c>", '"a;tag=2" <sip:b@c>', "<sip:0323063006@192.0.2.9>;tag=2"):
        for more in ("", "t: <sip:b@c>\r\n", "i: other\r\n", "Require: x\r\n", "Accept: text/plain\r\n"):
            for source in (TRUNK, PHONE, STRANGER):
                verdict = judged(rules, message("ACK", to=to, cseq=2, more=more), source)
                assert verdict == (
                    Pass()
                    if to.endswith("tag=2") and not more.startswith(("t:", "i:")) and source == TRUNK
                    else Ignore()
                )


def test_sockets_are_counted_and_not_invites(rules: RequestRules) -> None:
    assert judged(rules, message(body=audio(1)), load=DRY) == Pass()
    assert judged(rules, message(call_id="b", body=audio(2)), load=DRY) == Refuse(
        503, (("Retry-After", "10"),)
    )
    declined = audio(1) + "m=audio 0 RTP/AVP 8\r\n"
    assert judged(rules, message(call_id="c", body=declined), load=DRY) == Pass()
    for cseq, method in enumerate(WITH_BODY, 2):
        assert judged(rules, within(method, cseq=cseq, body=audio(2)), load=DRY) == Refuse(488)
        one, full = within(method, cseq=cseq, body=audio(1)), replace(DRY, sockets=60)
        assert judged(rules, one, load=replace(full, audio_at=1)) == Refuse(488)  # it opens others
        assert judged(rules, one, load=replace(full, audio_at=0)) == Pass()


def test_a_repeated_invite_is_the_same_one(rules: RequestRules) -> None:
    assert judged(rules, message(body=audio(1)), load=DRY) == Pass()
    dry = Load(legs=4, legs_limit=4, sockets=60, sockets_limit=60)
    assert judged(rules, message(body=audio(1)), load=dry) == Pass()
    assert judged(rules, message(body=audio(1), branch="z9hG4bK2"), load=dry) == Refuse(
        503, (("Retry-After", "10"),)
    )


def test_an_invite_is_repeated_only_as_long_as_the_library_answers_it_from_memory(
    rules: RequestRules,
) -> None:
    """Else a trunk could have calls that it was refused come again all at once, past every count."""
    full, crowd = replace(FULL, waiting=WAITING), read(message(), TRUNK)
    assert rules.passed(crowd, 0.0)
    assert not rules.passed(crowd, 1.0)
    rules.ended("another", 1.0)
    assert rules.judge(crowd, full, 1000.0) == Pass()
    rules.ended(crowd.call_id, 1000.0)
    assert rules.judge(crowd, full, 1000.0 + 0.9 * REPEATED_S) == Pass()
    assert not rules.passed(crowd, 1000.0 + 0.9 * REPEATED_S)
    assert rules.judge(crowd, full, 1000.0 + REPEATED_S) == BUSY
    assert rules.passed(crowd, 1000.0 + REPEATED_S)
    rules.ended(crowd.call_id, 1010.0, 0.0)  # the library has refused it, and forgotten
    assert rules.judge(crowd, full, 1010.0) == BUSY


def test_who_finds_no_leg_waits_for_a_moment(rules: RequestRules) -> None:
    request = read(message(), TRUNK)
    waited = 0.0
    while isinstance(verdict := rules.judge(request, FULL, 0.0), Wait):
        waited += verdict.seconds
        request = Request(**{**{f: getattr(request, f) for f in Request.__slots__}, "waited_s": waited})
    assert (verdict, waited >= ROOM_AGAIN_S) == (BUSY, True)
    assert judged(rules, within(call_id="b"), load=FULL) == Refuse(481)


def test_a_crowd_that_finds_no_leg_is_refused_at_once(rules: RequestRules) -> None:
    """The library would answer 486 in its own way."""
    assert judged(rules, message(), load=replace(FULL, waiting=WAITING)) == BUSY
    assert judged(rules, message(), load=replace(FULL, waiting=WAITING, draining=True)) == BUSY


def test_who_takes_part_in_a_call_needs_no_further_leg(rules: RequestRules) -> None:
    judged(rules, message())
    assert judged(rules, within(), load=FULL) == Pass()


def test_who_finds_no_room_waits_too_but_not_a_crowd(rules: RequestRules) -> None:
    """A leg is there to be refused by: the policy does it, with the status that is configured."""
    full, crowd = (Load(2, 4, 8, 60, room=False, waiting=waiting) for waiting in (WAITING - 1, WAITING))
    assert isinstance(judged(rules, message(), load=full), Wait)
    assert judged(rules, message(), load=crowd) == Pass()


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
    assert judged(rules, message(more=said), TRUNK) == Ignore()
    assert judged(rules, message(), edge) == Ignore()
    assert judged(rules, message(more=f"X-Sipagent: {'0' * 32};source=1\r\n"), edge) == Ignore()
    assert judged(rules, message(more=said), edge) == Pass()
    assert judged(rules, message("OPTIONS", call_id="ping"), edge) == Pass()
    assert judged(rules, within("BYE"), edge) == Pass()
    assert judged(rules, within("BYE"), ("127.0.0.1", 7001)) == Ignore()
    fault = NotAcceptable(399, "x")
    refused = rules.judge(read(message(call_id="b", more=said), edge, fault), FREE, 0.0)
    assert refused == Refuse(488, (fault.header,))


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
}  # fmt: skip


def test_over_all_histories_only_a_peer_is_obeyed() -> None:
    """Whatever was sent by whom before, nobody is let into a dialog that another has begun."""
    for history in product(STEPS, repeat=5):
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
