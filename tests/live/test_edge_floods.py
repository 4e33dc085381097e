"""What the edge lets through of a burst: nothing of a stranger's, of the trunk's what workers survive."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from sipagent.softphone.phone import Answering
from tests.peers.edge import STRANGER, TRUNK, WORKERS, Edge, hangs_up, opened
from tests.peers.flood import Flood

pytestmark = pytest.mark.live

RATE, SECONDS = 200, 5
PER_S = 12


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    with opened(tmp_path_factory.mktemp("edge"), invites_per_s=PER_S) as edge:
        yield edge


def test_a_strangers_flood_reaches_no_worker_and_gets_no_answer(edge: Edge) -> None:
    before, counted = edge.invites(), edge.statistics.strangers
    with ThreadPoolExecutor(1) as beside:
        flooding = beside.submit(Flood, STRANGER, edge.address, edge.uri(), 3000, 1000)
        edge.until(lambda: edge.statistics.strangers > counted + 100, "flood")
        hangs_up(*edge.answered()[:2])
        flood = flooding.result()
    with closing(flood):
        edge.until(lambda: edge.statistics.strangers > counted + 1000, "count")  # a full socket drops some
        assert edge.invites() == before + 1, "the trunk's"
        assert not flood.answers and not flood.provisional
        assert not edge.rejected, "strangers are only counted"


def test_calls_that_end_at_once_come_no_faster_than_a_worker_survives(edge: Edge) -> None:
    """Of each worker's: the burst, and then so many a second, however late it reads them."""
    edge.work(Answering(status=404, ring=False))
    starts, began = [len(edge.given(index)) for index in range(WORKERS)], time.monotonic()
    with closing(Flood(TRUNK, edge.address, edge.uri(), RATE * SECONDS, RATE)) as flood:
        told, lasted_s = flood.wait_all(), time.monotonic() - began
        assert set(told) == {404, 503} and sum(told.values()) == RATE * SECONDS
        assert told[404] >= WORKERS * PER_S * SECONDS / 2, "the cap is no wall"
        for index, start in enumerate(starts):
            assert len(edge.given(index)) - start <= PER_S / 2 + PER_S * lasted_s + 1
        assert {one.why for one in edge.rejected if one.call_id in flood.final} <= {"rate", "full"}


def test_more_than_the_edge_answers_with_care_is_answered_too(edge: Edge) -> None:
    edge.work(Answering(status=404, ring=False))
    before = len(edge.rejected)
    with closing(Flood(TRUNK, edge.address, edge.uri(), 1500, 1500)) as flood:
        told = flood.wait_all()
        assert sum(told.values()) == 1500 and set(told) <= {404, 503}
        refused = {id for id, status in flood.final.items() if status == 503}
        edge.until(lambda: refused <= {one.call_id for one in edge.rejected[before:]}, "a word of each")


def test_all_calls_of_a_worker_that_carries_hundreds_are_ended(tmp_path: Path) -> None:
    """An engine may have hundreds of legs: the list of its dialogs is longer than a datagram."""
    calls = 300
    with (
        opened(tmp_path, workers=1, calls=calls, calls_per_worker=calls) as edge,
        closing(Flood(TRUNK, edge.address, edge.uri(), calls, RATE, pending=10)) as flood,
    ):
        assert flood.wait_all() == {200: calls}
        assert edge.process.rpc.end_dialogs(0) == calls
        edge.idle()
        edge.until(lambda: all(call.ended_by == "them" for call in edge.workers[0].calls), "BYE to each")
