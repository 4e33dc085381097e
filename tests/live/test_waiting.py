"""Twenty callers wait for two operators: ten workers, and one line."""

from __future__ import annotations

import pytest

from tests.bench import waiting

pytestmark = pytest.mark.live

TALK_S = 1.0


def test_twenty_callers_are_served_in_their_order_by_two_operators() -> None:
    """Whatever worker has them: none is lost, none overtaken, no phone is rung that is in use."""
    with waiting.queue() as office:
        served = waiting.serve(office, TALK_S)
    assert [row["outcome"] for row in served.receipts] == ["connected"] * waiting.CALLERS
    assert (served.lost, served.overtaken, served.doubled) == ([], [], [])
    assert len({turn.operator for turn in served.turns}) == waiting.DESKS
    assert max(turn.silence_s for turn in served.turns) <= 2.0
    assert (len(served.recordings), served.incomplete) == (waiting.CALLERS, [])
    workers = {row["id"].split("-")[1] for row in served.receipts}
    assert len(workers) == waiting.CALLERS // 2
