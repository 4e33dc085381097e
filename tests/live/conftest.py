"""What several modules of live tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.peers.edge import Edge, opened


@pytest.fixture(scope="module")
def module_edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A real Kamailio between phones and workers that are phones, too."""
    with opened(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@pytest.fixture
def edge(module_edge: Edge) -> Iterator[Edge]:
    """The module's edge; afterwards every call is ended, and every worker works."""
    yield module_edge
    for phone in module_edge.phones:
        for call in phone.calls:
            call.end()
    module_edge.work()
    module_edge.idle()
