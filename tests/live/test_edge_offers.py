"""Within a call nobody offers, or answers with, more than a worker reads, or faster than it survives."""

from __future__ import annotations

from contextlib import closing

import pytest

from sipagent.edge.configuration import MOST_WITHIN, OFFERS_AT_ONCE
from sipagent.softphone.phone import Phone
from tests.peers import edge as scene
from tests.peers.edge import Edge
from tests.peers.offers import AUDIO, CLOSED, HEAD

pytestmark = pytest.mark.live


LONG = b"a=x\r\n" * (MOST_WITHIN // 5)


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
def test_an_offer_that_a_worker_does_not_read_whole_is_refused_in_a_call(edge: Edge, method: str) -> None:
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for phone, worker in ((call, taken), (other, leg)):
        seen, before = len(worker.phone.seen), edge.statistics.unsupported
        assert phone.request(method, body=phone._sdp() + LONG).status == 513
        assert edge.statistics.unsupported == before + 1
        assert [one for one in worker.phone.seen[seen:] if one.message.method == method] == []
        phone.hold()
        assert worker.directions[-1] == "sendonly"


def test_an_answer_that_a_worker_does_not_read_whole_reaches_it_without_its_body(edge: Edge) -> None:
    """The 200 to its INVITE, and the ACK of a caller who began without an offer: so it can hang up."""
    with closing(Phone(edge.loop, "202", "127.0.0.9")) as desk:
        desk.sdp_lines = LONG
        leg = edge.dial(0, desk.uri)
        leg.wait_answered(scene.PATIENCE_S)
        assert leg.final is not None and leg.final.body == b""
        leg.end()
        desk.wait_call().wait_ended()
    edge.trunk.sdp_lines = LONG
    try:
        call = edge.call(sdp=b"")
        call.wait_answered(scene.PATIENCE_S)
        _, taken = edge.taken(call)
        taken.wait_acked(scene.PATIENCE_S)
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
    told = [call.request("INVITE", body=ways[number % 2]) for number in range(OFFERS_AT_ONCE + 1)]
    assert [one.status for one in told] == [200] * OFFERS_AT_ONCE + [500]
    assert told[-1].header("Retry-After") == "1"
    edge.until(lambda: call.request("INVITE", body=ways[0]).status == 200, "turn")
    call.resume()
