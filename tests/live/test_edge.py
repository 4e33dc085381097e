"""The edge on a real Kamailio: who gets through, to whom, what the network sees, whom a dialog hears."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from sipagent.edge.configuration import MOST_WITHIN, OFFERS_AT_ONCE
from sipagent.edge.files import forget_dialogs
from sipagent.edge.plan import HOP_HEADER, LATE
from sipagent.sip.messages import age_s
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Call, Phone, Transaction
from sipagent.softphone.sip import Message, sdp
from tests.peers.edge import CALLS_EACH, NUMBER, OPERATOR, OURS, STRANGER, TRUNK, WORKERS, Edge, hangs_up
from tests.peers.offers import AUDIO, CLOSED, HEAD

pytestmark = pytest.mark.live


def test_a_call_from_the_trunk_reaches_a_worker_and_ends_from_either_side(edge: Edge) -> None:
    for turn in (0, 1):
        call, taken, _ = edge.answered()
        leg, other = edge.dialled(turn)
        assert edge.statistics.calls == 1
        hangs_up(*((call, taken) if turn else (taken, call)))
        hangs_up(*((leg, other) if turn else (other, leg)))
        edge.idle()


def test_who_hangs_up_makes_room_at_once(edge: Edge) -> None:
    """Also where the BYE comes from the worker, and where it and the next INVITE are under way together."""
    calls = [edge.answered() for _ in range(edge.plan.calls)]
    for turn in range(30):
        call, taken, _ = calls.pop(0)
        if turn % 3 == 0:
            hangs_up(taken, call)
        else:
            call.hang_up()
        calls.append(edge.answered())
    assert edge.statistics.calls == edge.plan.calls
    assert not edge.rejected


def test_no_address_of_a_worker_is_shown(edge: Edge) -> None:
    call, taken, index = edge.answered()
    out, other = edge.dialled(index)
    hangs_up(taken, call)
    hangs_up(other, out)
    seen = [one.message for phone in (edge.trunk, edge.operator) for one in phone.seen if not one.sent]
    assert {one.describe() for one in seen} >= {"INVITE", "ACK", "BYE", "200 INVITE", "200 BYE"}
    for message in seen:
        shown = [message.start, *(v for n, v in message.headers if n not in ("From", "To", "Call-ID"))]
        for port in range(edge.plan.first_port, edge.plan.last_port + 1):
            assert f":{port}" not in " ".join(shown), message


def test_every_slot_is_filled_by_turns_and_the_next_caller_is_told(edge: Edge) -> None:
    indexes = [edge.answered()[2] for _ in range(WORKERS * CALLS_EACH)]
    assert sorted(indexes) == sorted(list(range(WORKERS)) * CALLS_EACH)
    call = edge.call(headers=(("P-Asserted-Identity", '"Ann" <sip:+33612345678@trunk>'), ("Privacy", "id")))
    assert call.wait_status() == 503
    assert call.final and call.final.header("Retry-After") == "10"
    line = edge.told(call.call_id)
    assert (line.why, line.status) == ("full", 503)
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


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "BYE", "MESSAGE", "CANCEL"])
def test_a_stranger_gets_no_answer_whatever_is_asked(edge: Edge, method: str) -> None:
    to = f"<{edge.uri()}>;tag=1" if method == "BYE" else ""
    edge.ignores(edge.stranger, edge.asked(edge.stranger, method, to=to))


def test_nobody_goes_anywhere_by_addresses_of_his_own(edge: Edge) -> None:
    """Neither to a worker, nor by way of the edge to somebody else: by address or route of a dialog's BYE."""
    home, to = ("Route", f"<sip:{edge.plan.listen};lr>"), f"<{edge.uri()}>;tag=1"
    inside, outside = f"sip:agent@{edge.plan.worker(0)}", edge.operator.uri
    for phone, target in ((edge.stranger, inside), (edge.stranger, outside), (edge.trunk, outside)):
        edge.ignores(phone, edge.asked(phone, "BYE", home, to=to, uri=target))
        led = (home, ("Route", f"<{target};lr>"))
        edge.ignores(phone, edge.asked(phone, "BYE", *led, to=to, uri="sip:somebody@192.0.2.1"))


def test_the_trunk_is_told_what_the_edge_does(edge: Edge) -> None:
    assert edge.answer(edge.trunk, "OPTIONS") == 200
    assert edge.answer(edge.trunk, "SUBSCRIBE") == 405
    assert edge.answer(edge.trunk, "REGISTER") == 405
    assert edge.answer(edge.trunk, "BYE", to=f"<{edge.uri()}>;tag=1") == 481
    assert edge.answer(edge.trunk, "OPTIONS", hops=0) == 483
    assert not [w for w in edge.workers if w.count("SUBSCRIBE received") + w.count("REGISTER received")]


def test_whoever_takes_no_heed_of_the_route_is_led_by_the_contact(edge: Edge) -> None:
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for one in (call, other):
        one._routes = []
        one.target = one.target.replace(OURS, str(edge.plan.listen))
        one.hang_up()
    taken.wait_ended()
    leg.wait_ended()


ISOLATED = ("unshare", "--map-root-user", "--net")
CALLER = {"the same port", "the same address", "trunk", "another of the trunk"}
FORGOTTEN = {"trunk", "another of the trunk", "PBX"}


def can_be_isolated() -> bool:
    """Some machines and containers let nobody have a network namespace."""
    try:
        run = subprocess.run([*ISOLATED, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return run.returncode == 0


@pytest.mark.skipif(not can_be_isolated(), reason="no network namespaces here")
@pytest.mark.parametrize("version", ["4", "6"])
def test_on_a_network_addresses_take_part_from_whatever_port(version: str, tmp_path: Path) -> None:
    """The trunk in every dialog, the operators' PBX in legs; what is this machine's only from its port."""
    script = [sys.executable, "-m", "tests.peers.networks", version, str(tmp_path)]
    told = json.loads(subprocess.run([*ISOLATED, *script], stdout=subprocess.PIPE, check=True).stdout)
    assert {whose: {one for one, heard in senders.items() if heard} for whose, senders in told.items()} == {
        "caller": CALLER,
        "operator": CALLER | {"PBX"},
        "forgotten caller": FORGOTTEN,
        "forgotten operator": FORGOTTEN,
    }


# --- offers within a call: none longer than a worker reads, nor faster than it survives ---

LONG = b"a=x\r\n" * (MOST_WITHIN // 5)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_offer_that_a_worker_does_not_read_whole_is_refused_in_a_call(edge: Edge, method: str) -> None:
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for phone, worker in ((call, taken), (other, leg)):
        seen, before = len(worker.phone.seen), edge.statistics.unsupported
        assert phone.request(method, body=phone._sdp() + LONG).status == 513
        assert edge.statistics.unsupported > before
        of_call = [one.message for one in worker.phone.seen[seen:] if one.message.method == method]
        assert [one for one in of_call if one.header("Call-ID") == phone.call_id] == []
        phone.hold()
        assert worker.directions[-1] == "sendonly"


def test_an_answer_that_a_worker_does_not_read_whole_reaches_it_without_its_body(edge: Edge) -> None:
    """The 200 to its INVITE, and the ACK of a caller who began without an offer: so it can hang up."""
    with closing(Phone(edge.loop, "202", "127.0.0.9")) as desk:
        desk.sdp_lines = LONG
        leg = edge.dial(0, desk.uri)
        leg.wait_answered()
        assert leg.final is not None and leg.final.body == b""
        leg.end()
        desk.wait_call().wait_ended()
    edge.trunk.sdp_lines = LONG
    try:
        _, taken, _ = edge.answered(sdp=b"")
        acks = [one.message for one in taken.phone.seen if one.describe() == "ACK received"]
        assert acks[-1].body == b""
    finally:
        edge.trunk.sdp_lines = b""


def test_offers_that_open_and_close_come_no_faster_than_a_worker_survives(edge: Edge) -> None:
    """One audio line in the place of another, again and again; who holds and resumes is not kept waiting."""
    call, _, _ = edge.answered()
    for _ in range(2 * OFFERS_AT_ONCE):
        call.hold()
        call.resume()
    ways = [(HEAD + first + second).encode() for first, second in ((AUDIO, CLOSED), (CLOSED, AUDIO))]
    told = [call.request("INVITE", body=ways[number % 2]) for number in range(OFFERS_AT_ONCE)]
    assert [one.status for one in told] == [200] * OFFERS_AT_ONCE
    for turn in range(OFFERS_AT_ONCE, 100):  # on a busy machine some turns have come meanwhile
        if (refused := call.request("INVITE", body=ways[turn % 2])).status != 200:
            break
    assert (refused.status, refused.header("Retry-After")) == (500, "1")
    edge.until(lambda: call.request("INVITE", body=ways[0]).status == 200, "turn")
    call.resume()


# --- a worker that is gone ---


def test_a_worker_without_room_is_passed_over_and_another_refusal_is_the_callers(edge: Edge) -> None:
    for worker in edge.workers[:2]:
        worker.answer = Answering(status=503)
    for _ in range(2):
        assert edge.answered()[2] == 2
    assert edge.statistics.calls == 2
    edge.work()
    others = [edge.answered() for _ in range(2 * CALLS_EACH)]
    assert sorted(index for _, _, index in others) == [0, 0, 1, 1], "a slot that was tried is free again"
    for call, _, _ in others:
        call.hang_up()
    edge.until(lambda: edge.statistics.calls == 2, "end of four calls")
    edge.work(Answering(status=404))
    assert edge.call().wait_status() == 404
    assert edge.statistics.calls == 2
    edge.work(Answering(status=486))
    call = edge.call()
    assert call.wait_status() == 503 and call.final and call.final.header("Retry-After")
    assert edge.told(call.call_id).why == "untaken"


def test_two_workers_that_do_not_keep_up_are_the_machine_and_no_third_is_asked(edge: Edge) -> None:
    late = Answering(status=503, ring=False, headers=((HOP_HEADER, LATE),))
    edge.workers[0].answer = late
    assert {edge.answered()[2] for _ in range(3)} == {1, 2}
    edge.workers[1].answer = late
    began = edge.invites()
    calls = [edge.call() for _ in range(3)]
    refused = [call for call in calls if call.wait_status() != 200]
    assert refused and edge.invites() - began < 3 * WORKERS
    for call in refused:
        assert call.final and call.final.status == 503 and call.final.header("Retry-After") == "10"
        assert not call.final.header(HOP_HEADER)
        assert edge.told(call.call_id).why == "late"


def test_while_the_workers_do_not_keep_up_one_call_is_taken_and_goes_on(edge: Edge) -> None:
    """The edge does not ask them; a worker reckons by what it is told how long a call has lain before it."""
    edge.process.rpc.hold_off(True)
    try:
        call, taken, index = edge.answered()
        assert (
            taken.incoming
            and 0 <= age_s(str(taken.incoming), edge.tokens.from_edge, time.time()) < PATIENCE_S
        )
        leg, other = edge.dialled(index)
        asked, refused = edge.invites(), edge.call()
        assert refused.wait_status() == 503 and refused.final
        assert (refused.final.header("Retry-After"), edge.told(refused.call_id).why) == ("10", "late")
        assert edge.invites() == asked
        assert call.request("INFO").status == 200
        hangs_up(leg, other)
    finally:
        edge.process.rpc.hold_off(False)
    edge.answered()


def test_what_goes_on_with_a_dead_worker_is_ended_for_the_others(edge: Edge) -> None:
    call, _, index = edge.answered()
    leg, other = edge.dialled(index)
    elsewhere, kept = edge.dialled((index + 1) % WORKERS)
    rpc, answer = edge.process.rpc, edge.operator.answer
    rpc.deactivate(index)
    assert {dialog.call_id for dialog in rpc.dialogs(index)} == {call.call_id, leg.call_id}
    edge.operator.answer = Answering(status=None)
    edge.operator.skip_calls()
    edge.dial(index, edge.operator.uri)
    ringing = edge.operator.wait_call()
    edge.operator.answer = answer
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
    hangs_up(elsewhere, kept)
    assert {edge.answered()[2] for _ in range(WORKERS)} == set(range(WORKERS))


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
    call, _, _ = edge.answered(sdp=b"")
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
