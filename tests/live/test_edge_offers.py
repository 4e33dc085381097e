"""Within a call nobody offers, or answers with, more media than an engine carries."""

from __future__ import annotations

from contextlib import closing

import pytest

from sipagent.edge.configuration import MOST_BODY, OFFERS_AT_ONCE
from sipagent.edge.grammar import MOST_AUDIO
from sipagent.softphone.phone import Phone
from tests.peers import edge as scene
from tests.peers.edge import Edge
from tests.peers.offers import AUDIO, CLOSED, HEAD, TOO_MANY, TOO_MUCH_AUDIO

pytestmark = pytest.mark.live


@pytest.mark.parametrize("method", ["INVITE", "UPDATE"])
@pytest.mark.parametrize("body", [TOO_MUCH_AUDIO, TOO_MANY, "a=x\r\n" * (MOST_BODY // 5 + 1)])
def test_an_offer_of_more_than_that_is_refused_in_a_call(edge: Edge, method: str, body: str) -> None:
    call, taken, index = edge.answered()
    leg, other = edge.dialled(index)
    for phone, worker in ((call, taken), (other, leg)):
        seen, before = len(worker.phone.seen), edge.statistics.unsupported
        assert phone.request(method, body=body.encode()).status == 488
        assert edge.statistics.unsupported == before + 1
        assert [one for one in worker.phone.seen[seen:] if one.message.method == method] == []
        phone.hold()
        assert worker.directions[-1] == "sendonly"


def test_an_answer_of_more_than_that_does_not_reach_a_worker(edge: Edge) -> None:
    """A 200 to its INVITE or re-INVITE, and the ACK of a caller who began without an offer."""
    with closing(Phone(edge.loop, "202", "127.0.0.9")) as desk:
        desk.sdp_lines = (AUDIO * MOST_AUDIO).encode()
        leg = edge.dial(0, desk.uri)
        before = edge.statistics.unsupported
        edge.until(lambda: edge.statistics.unsupported > before + 1, "repetition of the 200")
        assert leg.status is None and not desk.wait_call().acked
        leg.end()
    leg, _ = edge.dialled(0)
    edge.operator.sdp_lines = (AUDIO * MOST_AUDIO).encode()
    before = edge.statistics.unsupported
    try:
        with edge.loop.changing():
            leg._send("INVITE", lambda _: None, (("Content-Type", "application/sdp"),), leg._sdp())
        edge.until(lambda: edge.statistics.unsupported > before, "count of the answer")
    finally:
        edge.operator.sdp_lines = b""
    edge.trunk.sdp_lines = (AUDIO * MOST_AUDIO).encode()
    before = edge.statistics.unsupported
    try:
        call = edge.call(sdp=b"")
        call.wait_answered(scene.PATIENCE_S)
        edge.until(lambda: edge.statistics.unsupported > before, "count of the ACK")
        assert not edge.taken(call)[1].acked
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
