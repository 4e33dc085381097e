"""Twenty callers wait for two operators: ten workers, and one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import waiting

pytestmark = pytest.mark.live

TALK_S = 1.0


def test_twenty_callers_are_served_in_their_order_by_two_operators(tmp_path: Path) -> None:
    """Whatever worker has them: none is lost, none overtaken, no phone is rung that is in use."""
    with waiting.office(tmp_path / "agent") as office:
        served = office.serve(TALK_S)
    assert [row["outcome"] for row in served.receipts] == ["connected"] * waiting.CALLERS
    assert (served.lost, served.overtaken, served.doubled) == ([], [], [])
    assert len(served.operators) == waiting.DESKS
    assert max(turn.silence_s for turn in served.turns) <= 2.0
    assert (len(served.recordings), served.incomplete) == (waiting.CALLERS, [])
    workers = {row["id"].split("-")[1] for row in served.receipts}
    assert len(workers) == waiting.CALLERS // 2
