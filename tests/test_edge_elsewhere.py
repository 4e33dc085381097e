"""A Kamailio that is not ours to run."""

import select

from sipagent.edge.process import EdgeElsewhere
from sipagent.service.edge import EdgeCare


def test_it_is_told_everything_and_never_ends() -> None:
    edge = EdgeElsewhere()
    care = EdgeCare(edge)
    care.start(0.0)
    care.worker_ready(1)
    care.drain()
    care.change("plan")
    care.tick(1.0)
    care.worker_died(1, crashed=True)
    care.tick(1.0)
    assert care.up and care.due is None
    assert not select.select([edge.sentinel], [], [], 0)[0]
    edge.stop()
