"""Within a dialog the edge hears who takes part in it, and nobody else."""

from __future__ import annotations

import os
import re
import signal
from multiprocessing.connection import wait

import pytest

from sipagent.edge.files import forget_dialogs
from sipagent.softphone.phone import Answering, Call, Phone, Transaction
from sipagent.softphone.sip import Message, sdp
from tests.peers import edge as scene
from tests.peers.edge import OPERATOR, STRANGER, TRUNK, Edge

pytestmark = pytest.mark.live

PBX = "127.0.0.8"
METHODS = ["INFO", "BYE", "INVITE", "UPDATE", "REFER", "NOTIFY", "MESSAGE", "CANCEL"]


def body_of(method: str, phone: Phone) -> bytes:
    return (
        sdp((phone.address[0], 40000), (8,), None, "sendrecv", 1) if method in ("INVITE", "UPDATE") else b""
    )


def heard(edge: Edge) -> int:
    """How many requests have come to a worker or to an operator."""
    return sum(not one.sent and one.message.status is None for w in edge.workers for one in w.seen)


def nothing_happens(edge: Edge, phone: Phone, call: Call, method: str) -> None:
    before, seen = heard(edge), len(phone.seen)
    edge.intrude(phone, call, method, body_of(method, phone))
    assert heard(edge) == before
    assert all(one.sent for one in phone.seen[seen:]), "it has had an answer"


# --- others ---


@pytest.mark.parametrize("method", METHODS)
def test_a_stranger_who_knows_a_callers_dialog_is_nobody_in_it(edge: Edge, method: str) -> None:
    call, taken, _ = edge.answered()
    nothing_happens(edge, edge.stranger, call, method)
    assert taken.ended_ns is None
    assert taken.request("INFO").status == 200


@pytest.mark.parametrize("method", METHODS)
def test_a_stranger_who_knows_an_operators_dialog_is_nobody_in_it(edge: Edge, method: str) -> None:
    leg, other = edge.dialled(0)
    nothing_happens(edge, edge.stranger, other, method)
    assert leg.ended_ns is None and leg.request("INFO").status == 200


def test_on_this_machine_another_port_is_somebody_else(edge: Edge) -> None:
    """Every local program has the address of every other."""
    call, _, index = edge.answered()
    leg, other = edge.dialled(index)
    for phone, one in ((edge.phone(TRUNK), call), (edge.phone(OPERATOR), other)):
        nothing_happens(edge, phone, one, "BYE")
    assert call.request("INFO").status == other.request("INFO").status == 200
    assert leg.ended_ns is None


def test_a_stranger_answers_no_offer_in_the_place_of_a_caller(edge: Edge) -> None:
    """By the ACK of an INVITE without an offer."""
    call = edge.call(sdp=b"")
    call.wait_answered(scene.PATIENCE_S)
    _, taken = edge.taken(call)
    taken.wait_acked(scene.PATIENCE_S)
    acks = sum(worker.count("ACK received") for worker in edge.workers)
    answer = sdp((STRANGER, 40000), (8,), None, "sendrecv", 1)
    edge.intrude(edge.stranger, call, "ACK", answer, number=call._cseq)
    assert sum(worker.count("ACK received") for worker in edge.workers) == acks


def test_a_new_call_is_cancelled_by_its_caller_alone(edge: Edge) -> None:
    for worker in edge.workers:
        worker.answer = Answering(status=None)
    call = edge.call()
    edge.until(lambda: 180 in call.provisional, "ringing")
    assert call._invite is not None
    before = edge.statistics.strangers
    neighbour = edge.phone(TRUNK)
    cancel = call._of_invite("CANCEL", call._invite.request.header("To"))
    with edge.loop.changing():
        neighbour.request(Transaction(cancel, edge.address, lambda _: None))
    edge.until(lambda: edge.statistics.strangers > before, "count of the CANCEL")
    assert call.status is None
    call.cancel()
    assert call.wait_status() == 487
    for worker in edge.workers:
        worker.answer = Answering(after_s=0.05)


def test_the_worker_of_a_dialog_is_one_and_its_port_is_its_own(edge: Edge) -> None:
    """What a worker sends within a dialog is believed by its port; another local program has another one."""
    call, taken, index = edge.answered()
    neighbour = edge.workers[(index + 1) % len(edge.workers)]
    local = edge.phone("127.0.0.1")
    for phone in (neighbour, local):
        seen = len(edge.trunk.seen)
        edge.intrude(phone, taken, "BYE")
        assert len(edge.trunk.seen) == seen
    assert call.ended_ns is None
    taken.hang_up()
    call.wait_ended()


# --- those who take part ---


def test_a_phone_behind_its_pbx_hangs_up_by_itself(edge: Edge) -> None:
    """The PBX answered for it and is on no route: BYE comes from where the Contact says."""
    pbx, phone = edge.phone(PBX, "201"), edge.phone("127.0.0.9", "201")
    pbx.answer = Answering(after_s=0.05)
    pbx.contact = phone.uri
    leg = edge.dial(0, pbx.uri)
    leg.wait_answered(scene.PATIENCE_S)
    other = pbx.wait_call()
    phone.wait_at("ACK received", timeout=scene.PATIENCE_S)
    with edge.loop.changing():
        phone.request(edge.intruding(phone, other, "BYE"))
    leg.wait_ended()
    assert leg.ended_by == "them"


def test_a_proxy_that_stays_in_the_way_of_a_call_speaks_within_it(edge: Edge) -> None:
    """By Record-Route; and a caller whose INVITE came from an SBC, by Contact."""
    proxy = edge.phone("127.0.0.9")
    call = edge.call(headers=(("Record-Route", f"<sip:{proxy.address[0]}:{proxy.address[1]};lr>"),))
    call.wait_answered(scene.PATIENCE_S)
    _, taken = edge.taken(call)
    proxy.wait_at("ACK received", timeout=scene.PATIENCE_S)
    call._routes.pop(0)  # which has led here
    with edge.loop.changing():
        ack = edge.intruding(proxy, call, "ACK", number=call._cseq)
        proxy.send(ack.request, ack.to)
    taken.wait_acked(scene.PATIENCE_S)
    with edge.loop.changing():
        proxy.request(edge.intruding(proxy, call, "BYE"))
    taken.wait_ended()


def test_whoever_a_peer_names_in_an_offer_takes_part_from_then_on(edge: Edge) -> None:
    """As a phone that has moved does (RFC 3261 section 12.2.1.2)."""
    call, taken, _ = edge.answered()
    moved = edge.phone("127.0.0.9")
    nothing_happens(edge, moved, call, "INFO")
    edge.trunk.contact = moved.uri
    try:
        call.hold()
    finally:
        edge.trunk.contact = ""
    with edge.loop.changing():
        moved.request(edge.intruding(moved, call, "BYE"))
    taken.wait_ended()


def test_those_who_take_part_are_known_after_a_restart_and_after_a_kill(edge: Edge) -> None:
    edge.forgotten()
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for end in (edge.process.stop, lambda: killed(edge)):
        edge.kept(2)
        end()
        edge.start()
        for phone in (edge.stranger, edge.phone(TRUNK)):
            nothing_happens(edge, phone, call, "BYE")
            nothing_happens(edge, phone, other, "BYE")
        edge.intrude(edge.phone("127.0.0.1"), taken, "BYE")
        assert call.request("INFO").status == other.request("INFO").status == 200
        assert taken.request("INFO").status == leg.request("INFO").status == 200


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
        for phone, one in ((edge.stranger, call), (edge.phone("127.0.0.1"), taken)):
            edge.intrude(phone, one, "BYE")
        for one in (call, taken):
            routes, one._routes = one._routes, [unsealed(one._routes[0])]  # the other is encoded
            edge.intrude(one.phone, one, "BYE")
            one._routes = routes
        assert call.ended_ns is None and taken.ended_ns is None
    calls[0][0].hang_up()
    calls[0][1].wait_ended()
    calls[1][1].hang_up()
    calls[1][0].wait_ended()
    legs[0][0].hang_up()
    legs[0][1].wait_ended()
    edge.intrude(edge.phone(OPERATOR), legs[1][1], "BYE")
    legs[1][0].hang_up()
    legs[1][1].wait_ended()


def unsealed(route: str) -> str:
    return re.sub("seal=[0-9a-f]+", "seal=0123456789abcdef", route)


def killed(edge: Edge) -> None:
    os.kill(edge.process.pid, signal.SIGKILL)
    wait([edge.process.sentinel], scene.PATIENCE_S)
    edge.process.stop()


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
    leg.wait_answered(scene.PATIENCE_S)
    seen = edge.workers[0].count("200 INVITE received")
    with edge.loop.changing():
        second._answer_offer(invite)
    edge.workers[0].wait_at("200 INVITE received", seen)
    late = Call(edge.workers[0], leg.call_id, leg.local, f"<{pbx.uri}>;tag=second", leg.target)
    late._routes, late._cseq = leg._routes, leg._cseq
    late.hang_up()
    pbx.wait_at("BYE received", timeout=scene.PATIENCE_S)
    (bye,) = [one.message for one in pbx.seen if one.describe() == "BYE received"]
    assert bye.header("To").endswith(";tag=second")
    assert leg.ended_ns is None


# --- answers ---


def answer_by(phone: Phone, *vias: str) -> Message:
    """A reply to nothing that was asked, with these Via headers."""
    headers = (
        *(("Via", one) for one in vias), ("From", "<sip:a@h>;tag=1"), ("To", "<sip:b@h>;tag=2"),
        ("Call-ID", "nobodys"), ("CSeq", "1 INVITE"), ("Contact", f"<{phone.uri}>"),
    )  # fmt: skip
    return Message("SIP/2.0 200 OK", headers)


def test_an_answer_to_nothing_goes_nowhere(edge: Edge) -> None:
    """Else its Via headers would lead it to any place, also to a worker."""
    home = f"SIP/2.0/UDP {edge.plan.listen};branch=z9hG4bKx.0123456789abcdef0123456789abcdef.0"
    for phone in (edge.stranger, edge.trunk):
        for target in (edge.workers[0], edge.operator):
            ip, port = target.address
            before, seen = edge.statistics.strangers, len(target.seen)
            with edge.loop.changing():
                phone.send(answer_by(phone, home, f"SIP/2.0/UDP {ip}:{port};branch=z9hG4bKy"), edge.address)
            edge.dropped(before)
            assert [one for one in target.seen[seen:] if one.message.status and not one.sent] == []


def test_an_answer_that_is_repeated_long_after_reaches_the_worker(edge: Edge) -> None:
    """Whose ACK was lost: the transaction is gone by then."""
    leg, other = edge.dialled(0)
    edge.until(lambda: not transactions(edge), "end of the transaction")
    seen = edge.workers[0].count("200 INVITE received")
    sent = [one.message for one in edge.operator.seen if one.describe() == "200 INVITE sent"]
    (answered,) = (one for one in sent if one.header("Call-ID") == leg.call_id)
    with edge.loop.changing():
        edge.operator.send(answered, edge.address)
    edge.workers[0].wait_at("200 INVITE received", seen)
    other.hang_up()
    leg.wait_ended()


def transactions(edge: Edge) -> int:
    return int(edge.process.rpc.ask("tm.stats")["current"])
