"""The edge on a real Kamailio: who gets through, to whom, what the network sees, what a restart leaves."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.connection import wait

import pytest

from sipagent.softphone.phone import Answering, Challenge, Phone
from sipagent.softphone.sip import sdp
from tests.peers import edge as scene
from tests.peers.edge import CALLS_EACH, NUMBER, OURS, TRUNK, WORKERS, Edge

pytestmark = pytest.mark.live


def test_a_call_from_the_trunk_reaches_a_worker_and_ends_from_either_side(edge: Edge) -> None:
    call, taken, _ = edge.answered()
    assert edge.statistics.calls == 1
    call.hang_up()
    taken.wait_ended()
    call, taken, _ = edge.answered()
    taken.hang_up()
    call.wait_ended()
    edge.idle()


def test_who_hangs_up_makes_room_at_once(edge: Edge) -> None:
    """Also where the BYE comes from the worker, and where it and the next INVITE are under way together."""
    calls = [edge.answered() for _ in range(edge.plan.calls)]
    for turn in range(30):
        call, taken, _ = calls.pop(0)
        if turn % 3 == 0:
            taken.hang_up()
            call.wait_ended()
        else:
            call.hang_up()
        calls.append(edge.answered())
    assert edge.statistics.calls == edge.plan.calls
    assert not edge.rejected


def test_an_operator_is_called_and_either_side_hangs_up(edge: Edge) -> None:
    call, other = edge.dialled(0)
    call.hang_up()
    other.wait_ended()
    call, other = edge.dialled(1)
    other.hang_up()
    call.wait_ended()
    assert edge.statistics.calls == 0


def test_no_address_of_a_worker_is_shown(edge: Edge) -> None:
    call, taken, index = edge.answered()
    out, other = edge.dialled(index)
    taken.hang_up()
    call.wait_ended()
    other.hang_up()
    out.wait_ended()
    seen = [one.message for phone in (edge.trunk, edge.operator) for one in phone.seen if not one.sent]
    assert {one.describe() for one in seen} >= {"INVITE", "ACK", "BYE", "200 INVITE", "200 BYE"}
    for message in seen:
        shown = [message.start, *(v for n, v in message.headers if n not in ("From", "To", "Call-ID"))]
        for port in range(edge.plan.first_port, edge.plan.last_port + 1):
            assert f":{port}" not in " ".join(shown), message


def test_every_slot_is_filled_by_turns_and_the_next_caller_is_told(edge: Edge) -> None:
    indexes = [edge.answered()[2] for _ in range(WORKERS * CALLS_EACH)]
    assert sorted(indexes) == sorted(list(range(WORKERS)) * CALLS_EACH)
    before = len(edge.rejected)
    call = edge.call(headers=(("P-Asserted-Identity", '"Ann" <sip:+33612345678@trunk>'), ("Privacy", "id")))
    assert call.wait_status() == 503
    assert call.final and call.final.header("Retry-After") == "10"
    edge.until(lambda: len(edge.rejected) > before, "line of the rejected call")
    (line,) = edge.rejected[before:]
    assert (line.why, line.status, line.call_id) == ("full", 503, call.call_id)
    assert line.asserted == '"Ann" <sip:+33612345678@trunk>' and line.privacy == "id"
    assert line.called == edge.uri(NUMBER) and "+33612345678" in line.from_


def test_a_clock_that_is_put_back_keeps_no_caller_waiting(edge: Edge) -> None:
    """Turns are kept by the clock, so those that a worker has had lie ahead then."""
    ahead_ms = (time.time_ns() // 1_000_000) + 3_600_000
    for index, worker in enumerate(edge.workers):
        host, port = edge.plan.worker(index)
        edge.process.rpc.ask("htable.seti", "turn", f"sip:{host}:{port}", ahead_ms)
        edge.process.rpc.ask("htable.seti", "offers", str(worker.address[1]), ahead_ms)
    call, _, _ = edge.answered()
    body = sdp((TRUNK, 40000), (8,), None, "sendrecv", 1) + b"m=video 0 RTP/AVP 31\r\n"
    assert call.request("INVITE", body=body).status == 200


# --- strangers ---


def byes(edge: Edge) -> int:
    """How many requests have come to whoever might be called."""
    return sum(phone.count("BYE received") for phone in (*edge.workers, edge.operator))


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "BYE", "MESSAGE", "CANCEL"])
def test_a_stranger_gets_no_answer_whatever_is_asked(edge: Edge, method: str) -> None:
    before, seen = edge.statistics.strangers, len(edge.stranger.seen)
    to_tag = "1" if method == "BYE" else ""
    with edge.loop.changing():
        edge.stranger.send(edge.asked(edge.stranger, method, to_tag=to_tag).request, edge.address)
    edge.until(lambda: edge.statistics.strangers > before, "count of the stranger")
    assert all(one.sent for one in edge.stranger.seen[seen:])


def test_a_stranger_goes_nowhere_by_addresses_of_his_own(edge: Edge) -> None:
    """Neither to a worker, nor by way of the edge to somebody else."""
    for target in (f"sip:agent@{edge.plan.worker(0)}", edge.operator.uri):
        ignored(edge, edge.stranger, target)


def test_the_trunk_goes_nowhere_but_to_a_worker_either(edge: Edge) -> None:
    ignored(edge, edge.trunk, edge.operator.uri)


def ignored(edge: Edge, phone: Phone, target: str) -> None:
    """Send what looks like a dialog's BYE, by the edge and on: as its address, and as its route."""
    home = ("Route", f"<sip:{edge.plan.listen};lr>")
    not_passed_on(edge, phone, target, home)
    not_passed_on(edge, phone, "sip:somebody@192.0.2.1", home, ("Route", f"<{target};lr>"))


def not_passed_on(edge: Edge, phone: Phone, uri: str, *routes: tuple[str, str]) -> None:
    before, seen = edge.statistics.strangers, byes(edge)
    with edge.loop.changing():
        phone.send(edge.asked(phone, "BYE", *routes, to_tag="1", uri=uri).request, edge.address)
    edge.until(lambda: edge.statistics.strangers > before, "count")
    assert byes(edge) == seen


def test_the_trunk_is_told_what_the_edge_does(edge: Edge) -> None:
    assert edge.answer(edge.trunk, "OPTIONS") == 200
    assert edge.answer(edge.trunk, "SUBSCRIBE") == 405
    assert edge.answer(edge.trunk, "REGISTER") == 405
    assert edge.answer(edge.trunk, "BYE", to_tag="1") == 481
    assert edge.answer(edge.trunk, "OPTIONS", hops=0) == 483
    assert not [w for w in edge.workers if w.count("SUBSCRIBE received") + w.count("REGISTER received")]


def test_a_caller_cancels(edge: Edge) -> None:
    for worker in edge.workers:
        worker.answer = Answering(status=None)
    call = edge.call()
    edge.until(lambda: 180 in call.provisional, "ringing")
    _, taken = edge.taken(call)
    call.cancel()
    assert call.wait_status() == 487
    taken.wait_ended()
    edge.idle()


def test_a_pbx_that_asks_who_is_calling_is_passed_on_as_it_is(edge: Edge) -> None:
    """The realm is for the worker's account to judge; the edge knows no password."""
    edge.operator.challenge = Challenge(username="sipagent", password="secret", realm="stranger.example")
    try:
        call = edge.dial(0, edge.operator.uri)
        assert call.wait_status() == 407 and call.final
        assert 'realm="stranger.example"' in call.final.header("Proxy-Authenticate")
    finally:
        edge.operator.challenge = None


def test_whoever_takes_no_heed_of_the_route_is_led_by_the_contact(edge: Edge) -> None:
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for one in (call, other):
        one._routes = []
        one.target = one.target.replace(OURS, str(edge.plan.listen))
        one.hang_up()
    taken.wait_ended()
    leg.wait_ended()


# --- a restart ---


def test_a_restart_cuts_no_call_and_forgets_no_count(edge: Edge) -> None:
    """Both callers' and operators' dialogs: BYE arrives from each side."""
    edge.forgotten()
    calls = [edge.answered() for _ in range(2)]
    legs = [edge.dialled(index) for _, _, index in calls]
    edge.process.stop()
    edge.start()
    assert edge.statistics.calls == 2
    calls[0][0].hang_up()
    calls[0][1].wait_ended()
    calls[1][1].hang_up()
    calls[1][0].wait_ended()
    legs[0][0].hang_up()
    legs[0][1].wait_ended()
    legs[1][1].hang_up()
    legs[1][0].wait_ended()
    edge.idle()


def test_a_kill_cuts_no_call_either(edge: Edge) -> None:
    edge.forgotten()
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    edge.kept(2)
    os.kill(edge.process.pid, signal.SIGKILL)
    wait([edge.process.sentinel], scene.PATIENCE_S)
    assert not edge.process.running
    edge.process.stop()
    edge.start()
    assert edge.statistics.calls == 1
    call.hang_up()
    taken.wait_ended()
    other.hang_up()
    leg.wait_ended()
    edge.idle()


# --- a worker that is gone ---


def test_a_worker_that_says_nothing_is_passed_over(edge: Edge) -> None:
    edge.workers[1].answer = Answering(silent=True)
    calls = [edge.answered() for _ in range(3)]
    assert {index for _, _, index in calls} <= {0, 2}


def test_a_worker_that_begins_and_does_not_answer_is_passed_over(edge: Edge) -> None:
    """As one that hangs, or is killed in that moment; no worker lets a caller wait for the answer."""
    edge.workers[1].answer = Answering(status=None)
    calls = [edge.answered() for _ in range(3)]
    assert {index for _, _, index in calls} <= {0, 2}
    assert edge.workers[1].count("CANCEL received")


def test_a_call_that_is_passed_on_has_its_turn_whoever_came_since(edge: Edge) -> None:
    """The turn is that of the moment in which a worker is picked, not of the one in which the INVITE came."""
    silent = edge.workers[1]
    silent.answer = Answering(status=None)
    before = silent.count("INVITE received")
    seen = edge.invites()

    def came() -> bool:
        return edge.invites() >= seen

    while silent.count("INVITE received") == before:
        seen += 1
        waiting = edge.call()
        edge.until(came, "worker for the call")
        if silent.count("INVITE received") == before:
            waiting.wait_answered(scene.PATIENCE_S)
            waiting.hang_up()
    edge.process.rpc.deactivate(1)
    try:
        edge.until(lambda: edge.statistics.calls == 1, "end of the others")
        assert sorted(edge.answered()[2] for _ in range(2)) == [0, 2]
        waiting.wait_answered(scene.PATIENCE_S)
    finally:
        edge.process.rpc.activate(1)


def test_a_worker_without_room_is_passed_over_and_another_refusal_is_the_callers(edge: Edge) -> None:
    for worker in edge.workers[:2]:
        worker.answer = Answering(status=503)
    for _ in range(2):
        assert edge.answered()[2] == 2
    assert edge.statistics.calls == 2
    for worker in edge.workers[:2]:
        worker.answer = Answering(after_s=0.05)
    others = [edge.answered() for _ in range(2 * CALLS_EACH)]
    assert sorted(index for _, _, index in others) == [0, 0, 1, 1], "a slot that was tried is free again"
    for call, _, _ in others:
        call.hang_up()
    edge.until(lambda: edge.statistics.calls == 2, "end of four calls")
    for worker in edge.workers:
        worker.answer = Answering(status=404)
    assert edge.call().wait_status() == 404
    assert edge.statistics.calls == 2
    for worker in edge.workers:
        worker.answer = Answering(status=486)
    before = len(edge.rejected)
    call = edge.call()
    assert call.wait_status() == 503 and call.final and call.final.header("Retry-After")
    edge.until(lambda: len(edge.rejected) > before, "line of the rejected call")
    assert (edge.rejected[before].call_id, edge.rejected[before].why) == (call.call_id, "untaken")


def test_what_goes_on_with_a_dead_worker_is_ended_for_the_others(edge: Edge) -> None:
    call, _, index = edge.answered()
    leg, other = edge.dialled(index)
    elsewhere, kept = edge.dialled((index + 1) % WORKERS)
    rpc = edge.process.rpc
    rpc.deactivate(index)
    assert {dialog.call_id for dialog in rpc.dialogs(index)} == {call.call_id, leg.call_id}
    edge.operator.answer = Answering(status=None)
    edge.operator.skip_calls()
    edge.dial(index, edge.operator.uri)
    ringing = edge.operator.wait_call(scene.PATIENCE_S)
    edge.operator.answer = Answering(after_s=0.05)
    edge.workers[index].close()
    assert rpc.end_dialogs(index) == 3
    ringing.wait_ended()
    assert ringing.status == 487, "a phone that rang for it rings no more"
    call.wait_ended()
    other.wait_ended()
    assert (call.ended_by, other.ended_by) == ("them", "them")
    assert kept.ended_ns is None
    edge.phones.remove(edge.workers[index])
    edge.workers[index] = edge.worker(index)
    edge.phones.append(edge.workers[index])
    rpc.activate(index)
    edge.idle()
    elsewhere.hang_up()
    kept.wait_ended()
    assert {edge.answered()[2] for _ in range(WORKERS)} == set(range(WORKERS))
