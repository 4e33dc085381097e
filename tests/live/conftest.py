"""What several modules of live tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sipagent.softphone.phone import Answering, Loop
from tests.peers import edge as scene
from tests.peers.edge import Edge


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A real Kamailio between phones and workers that are phones, too."""
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
        worker.answer = Answering(after_s=0.05)
    module_edge.idle()
