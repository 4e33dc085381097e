"""Within a dialog the edge hears who takes part in it, and nobody else."""

from __future__ import annotations

import re

import pytest

from sipagent.edge.files import forget_dialogs
from sipagent.softphone.phone import Answering, Call, Phone, Transaction
from sipagent.softphone.sip import Message, sdp
from tests.peers.edge import OPERATOR, STRANGER, TRUNK, Edge, hangs_up

pytestmark = pytest.mark.live

PBX = "127.0.0.8"
METHODS = ("INFO", "BYE", "INVITE", "UPDATE", "REFER", "NOTIFY", "MESSAGE", "CANCEL")


def goes_on(*calls: Call) -> None:
    assert [call.request("INFO").status for call in calls] == [200] * len(calls)
    assert [call.ended_ns for call in calls] == [None] * len(calls)


# --- others ---


def test_a_stranger_who_knows_a_dialog_is_nobody_in_it(edge: Edge) -> None:
    """A caller's, or an operator's; nor is another port on this machine, where all have one address."""
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for method in METHODS:
        edge.intruder(edge.stranger, call, method)
        edge.intruder(edge.stranger, other, method)
    edge.intruder(edge.phone(TRUNK), call, "BYE")
    edge.intruder(edge.phone(OPERATOR), other, "BYE")
    goes_on(call, taken, leg, other)


def test_a_stranger_answers_no_offer_in_the_place_of_a_caller(edge: Edge) -> None:
    """By the ACK of an INVITE without an offer."""
    call = edge.call(sdp=b"")
    call.wait_answered()
    edge.taken(call)[1].wait_acked()
    answer = sdp((STRANGER, 40000), (8,), None, "sendrecv", 1)
    edge.ignores(edge.stranger, edge.intruding(edge.stranger, call, "ACK", answer, call._cseq))


def test_a_new_call_is_cancelled_by_its_caller_alone(edge: Edge) -> None:
    edge.work(Answering(status=None))
    call = edge.call()
    edge.until(lambda: 180 in call.provisional, "ringing")
    assert call._invite is not None
    cancel = call._of_invite("CANCEL", call._invite.request.header("To"))
    edge.ignores(edge.phone(TRUNK), Transaction(cancel, edge.address, lambda _: None))
    assert call.status is None
    call.cancel()
    assert call.wait_status() == 487


def test_the_worker_of_a_dialog_is_one_and_its_port_is_its_own(edge: Edge) -> None:
    """What a worker sends within a dialog is believed by its port; another local program has another one."""
    call, taken, index = edge.answered()
    for phone in (edge.workers[(index + 1) % len(edge.workers)], edge.phone("127.0.0.1")):
        edge.intruder(phone, taken, "BYE")
    goes_on(call, taken)
    hangs_up(taken, call)


# --- those who take part ---


def test_a_phone_behind_its_pbx_hangs_up_by_itself(edge: Edge) -> None:
    """The PBX answered for it and is on no route: BYE comes from where the Contact says."""
    pbx, phone = edge.phone(PBX, "201"), edge.phone("127.0.0.9", "201")
    pbx.contact = phone.uri
    leg = edge.dial(0, pbx.uri)
    leg.wait_answered()
    other = pbx.wait_call()
    phone.wait_at("ACK received")
    edge.sends(phone, edge.intruding(phone, other, "BYE"))
    leg.wait_ended()
    assert leg.ended_by == "them"


def test_a_proxy_that_stays_in_the_way_of_a_call_speaks_within_it(edge: Edge) -> None:
    """By Record-Route; and a caller whose INVITE came from an SBC, by Contact."""
    proxy = edge.phone("127.0.0.9")
    call = edge.call(headers=(("Record-Route", f"<sip:{proxy.address[0]}:{proxy.address[1]};lr>"),))
    call.wait_answered()
    _, taken = edge.taken(call)
    proxy.wait_at("ACK received")
    call._routes.pop(0)  # which has led here
    with edge.loop.changing():
        ack = edge.intruding(proxy, call, "ACK", number=call._cseq)
        proxy.send(ack.request, ack.to)
    taken.wait_acked()
    edge.sends(proxy, edge.intruding(proxy, call, "BYE"))
    taken.wait_ended()


def test_whoever_a_peer_names_in_an_offer_takes_part_from_then_on(edge: Edge) -> None:
    """As a phone that has moved does (RFC 3261 section 12.2.1.2)."""
    call, taken, _ = edge.answered()
    moved = edge.phone("127.0.0.9")
    edge.intruder(moved, call, "INFO")
    edge.trunk.contact = moved.uri
    try:
        call.hold()
    finally:
        edge.trunk.contact = ""
    edge.sends(moved, edge.intruding(moved, call, "BYE"))
    taken.wait_ended()


def test_those_who_take_part_are_known_after_a_restart_and_after_a_kill(edge: Edge) -> None:
    edge.forgotten()
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for end in (edge.process.stop, edge.killed):
        edge.kept(2)
        end()
        edge.start()
        for phone in (edge.stranger, edge.phone(TRUNK)):
            edge.intruder(phone, call, "BYE")
            edge.intruder(phone, other, "BYE")
        edge.intruder(edge.phone("127.0.0.1"), taken, "BYE")
        goes_on(call, taken, leg, other)
    assert edge.statistics.calls == 1
    hangs_up(taken, call)
    hangs_up(leg, other)
    edge.idle()


def test_an_edge_that_has_lost_its_dialogs_knows_them_by_their_seal(edge: Edge) -> None:
    """Which stands in the Record-Route; without it neither trunk nor worker is believed on this machine."""
    edge.forgotten()
    calls = [edge.answered() for _ in range(2)]
    legs = [edge.dialled(0) for _ in range(2)]
    edge.process.stop()
    forget_dialogs(edge.process.directory)
    edge.start()
    assert edge.statistics.calls == 0
    for call, taken, _ in calls:
        edge.intruder(edge.stranger, call, "BYE")
        edge.intruder(edge.phone("127.0.0.1"), taken, "BYE")
        for one in (call, taken):
            assert isinstance(one.phone, Phone)
            routes, one._routes = one._routes, [unsealed(one._routes[0])]  # the other is encoded
            edge.intruder(one.phone, one, "BYE")
            one._routes = routes
        assert call.ended_ns is None and taken.ended_ns is None
    hangs_up(*calls[0][:2])
    hangs_up(*calls[1][1::-1])
    hangs_up(*legs[0])
    edge.intruder(edge.phone(OPERATOR), legs[1][1], "BYE")
    hangs_up(*legs[1])


def unsealed(route: str) -> str:
    return re.sub("seal=[0-9a-f]+", "seal=0123456789abcdef", route)


def test_a_second_phone_that_answers_is_told_that_it_was_late(edge: Edge) -> None:
    """A PBX that forks lets two answer: the worker ends the second dialog, which the edge does not know."""
    pbx = edge.phone(PBX, "201")
    pbx.answer = Answering(status=None)
    leg = edge.dial(0, pbx.uri)
    first = pbx.wait_call()
    invite = first.incoming
    assert invite is not None
    local = f"{invite.header('To')};tag=second"
    second = Call(pbx, invite.header("Call-ID"), local, invite.header("From"), "")
    first.decide(200)
    leg.wait_answered()
    with edge.loop.changing():
        second._answer_offer(invite)

    def late() -> bool:
        answers = [one.message for one in edge.workers[0].seen if one.describe() == "200 INVITE received"]
        return any(one.header("To").endswith(";tag=second") for one in answers)

    edge.until(late, "second answer")
    ended = Call(edge.workers[0], leg.call_id, leg.local, f"<{pbx.uri}>;tag=second", leg.target)
    ended._routes, ended._cseq = leg._routes, leg._cseq
    ended.hang_up()
    pbx.wait_at("BYE received")
    byes = [one.message for one in pbx.seen if one.describe() == "BYE received"]
    assert {one.header("To").rpartition(";")[2] for one in byes} == {"tag=second"}
    assert leg.ended_ns is None


# --- answers ---


def answer_by(phone: Phone, call_id: str, *vias: str) -> Message:
    """A reply to nothing that was asked, with these Via headers."""
    headers = (
        *(("Via", one) for one in vias), ("From", "<sip:a@h>;tag=1"), ("To", "<sip:b@h>;tag=2"),
        ("Call-ID", call_id), ("CSeq", "1 INVITE"), ("Contact", f"<{phone.uri}>"),
    )  # fmt: skip
    return Message("SIP/2.0 200 OK", headers)


def test_an_answer_to_nothing_goes_nowhere(edge: Edge) -> None:
    """Else its Via headers would lead it to any place, also to a worker."""
    home = f"SIP/2.0/UDP {edge.plan.listen};branch=z9hG4bKx.0123456789abcdef0123456789abcdef.0"
    for phone in (edge.stranger, edge.trunk):
        for target in (edge.workers[0], edge.operator):
            ip, port = target.address
            via = f"SIP/2.0/UDP {ip}:{port};branch=z9hG4bKy"
            answer = answer_by(phone, f"of {phone.user} to {target.user}", home, via)
            edge.ignores(phone, Transaction(answer, edge.address, lambda _: None))


def test_an_answer_that_is_repeated_long_after_reaches_the_worker(edge: Edge) -> None:
    """Whose ACK was lost: the transaction is gone by then."""
    leg, other = edge.dialled(0)
    edge.until(lambda: not int(edge.process.rpc.ask("tm.stats")["current"]), "end of the transaction")
    seen = edge.workers[0].count("200 INVITE received")
    sent = [one.message for one in edge.operator.seen if one.describe() == "200 INVITE sent"]
    answered = next(one for one in sent if one.header("Call-ID") == leg.call_id)
    with edge.loop.changing():
        edge.operator.send(answered, edge.address)
    edge.workers[0].wait_at("200 INVITE received", seen)
    hangs_up(other, leg)
