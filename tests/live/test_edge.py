"""The edge on a real Kamailio: who gets through, to whom, what the network sees, what a restart leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sipagent.softphone import Answer, Loop
from tests.peers import edge as scene
from tests.peers.edge import CALLS_EACH, NUMBER, WORKERS, Edge

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Loop() as loop:
        edge = Edge(tmp_path_factory.mktemp("edge"), loop, scene.plan())
        try:
            yield edge.start()
        finally:
            edge.close()


@pytest.fixture
def edge(module_edge: Edge) -> Iterator[Edge]:
    """The module's edge; afterwards every call is ended."""
    yield module_edge
    for phone in module_edge.phones:
        for call in phone.calls:
            call.end()
    for worker in module_edge.workers:
        worker.answer = Answer(after_s=0.05)
    module_edge.idle()


def test_a_call_from_the_trunk_reaches_a_worker_and_ends_from_either_side(edge: Edge) -> None:
    call, taken, _ = edge.answered()
    assert edge.statistics.calls == 1
    call.hang_up()
    taken.wait_ended()
    call, taken, _ = edge.answered()
    taken.hang_up()
    call.wait_ended()
    edge.idle()


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
