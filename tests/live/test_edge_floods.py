"""What the edge lets through of a burst: nothing of a stranger's, of the trunk's what workers survive."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sipagent.softphone.phone import Answering, Loop
from tests.peers import edge as scene
from tests.peers.edge import CALLS_EACH, STRANGER, TRUNK, WORKERS, Edge
from tests.peers.flood import Flood

pytestmark = pytest.mark.live

RATE, SECONDS = 200, 5
PER_S = 12


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with Loop() as loop:
        edge = Edge(tmp_path_factory.mktemp("edge"), loop, scene.plan(invites_per_s=PER_S))
        try:
            yield edge.start()
        finally:
            edge.close()


def test_a_strangers_flood_reaches_no_worker_and_gets_no_answer(edge: Edge) -> None:
    before, counted = edge.invites(), edge.statistics.strangers
    with ThreadPoolExecutor(1) as beside:
        flooding = beside.submit(Flood, STRANGER, edge.address, edge.uri(), 3000, 1000)
        edge.until(lambda: edge.statistics.strangers > counted + 100, "flood")
        call, taken, _ = edge.answered()
        call.hang_up()
        taken.wait_ended()
        flood = flooding.result()
    try:
        assert edge.invites() == before + 1, "the trunk's"
        assert flood.answers == 0
        assert edge.statistics.strangers > counted + 2000
        assert not edge.rejected, "strangers are only counted"
    finally:
        flood.close()


def test_calls_that_stay_fill_every_slot_and_the_rest_is_told(edge: Edge) -> None:
    edge.idle()
    before = edge.invites()
    flood = Flood(TRUNK, edge.address, edge.uri(), RATE * SECONDS, RATE)
    try:
        told = flood.wait()
        assert told == {200: WORKERS * CALLS_EACH, 503: RATE * SECONDS - WORKERS * CALLS_EACH}
        assert edge.invites() - before == WORKERS * CALLS_EACH
        edge.until(lambda: len(edge.rejected) >= told[503], "a word of each rejected call")
        assert {one.call_id for one in edge.rejected} == {i for i, s in flood.final.items() if s == 503}
    finally:
        for worker in edge.workers:
            for call in worker.calls:
                call.end()
        flood.close()
    edge.idle()


def test_calls_that_end_at_once_come_no_faster_than_a_worker_survives(edge: Edge) -> None:
    for worker in edge.workers:
        worker.answer = Answering(status=404, ring=False)
    starts = [len(worker.seen) for worker in edge.workers]
    flood = Flood(TRUNK, edge.address, edge.uri(), RATE * SECONDS, RATE)
    try:
        told = flood.wait()
        assert set(told) == {404, 503} and sum(told.values()) == RATE * SECONDS
        assert told[404] >= WORKERS * PER_S * SECONDS / 2, "the cap is no wall"
        for worker, start in zip(edge.workers, starts, strict=True):
            came = [one.at_ns for one in worker.seen[start:] if one.describe() == "INVITE received"]
            for number, at_ns in enumerate(came):
                within = sum(at_ns <= other <= at_ns + 1_000_000_000 for other in came[number:])
                assert within <= PER_S + PER_S // 2 + 2, "two for a moment that a busy machine delays"
        assert {one.why for one in edge.rejected if one.call_id in flood.final} <= {"rate", "full"}
    finally:
        flood.close()


def test_more_than_the_edge_answers_with_care_is_answered_too(edge: Edge) -> None:
    """In passing, each told, each with its receipt."""
    edge.idle()
    before = len(edge.rejected)
    flood = Flood(TRUNK, edge.address, edge.uri(), 1500, 1500)
    try:
        told = flood.wait()
        assert sum(told.values()) == 1500 and set(told) <= {404, 503}
        refused = {id for id, status in flood.final.items() if status == 503}
        edge.until(lambda: refused <= {one.call_id for one in edge.rejected[before:]}, "a word of each")
    finally:
        flood.close()


def test_all_calls_of_a_worker_that_carries_hundreds_are_ended(tmp_path: Path) -> None:
    """An engine may have hundreds of legs: the list of its dialogs is longer than a datagram."""
    calls = 300
    with (
        Loop() as loop,
        closing(Edge(tmp_path, loop, scene.plan(workers=1, calls=calls, calls_per_worker=calls))) as edge,
    ):
        edge.start()
        with closing(Flood(TRUNK, edge.address, edge.uri(), calls, RATE)) as flood:
            assert flood.wait() == {200: calls}
            assert edge.process.rpc.end_dialogs(0) == calls
            edge.idle()
            edge.until(lambda: all(call.ended_by == "them" for call in edge.workers[0].calls), "BYE to each")
