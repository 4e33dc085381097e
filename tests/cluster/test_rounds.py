"""A few of the rounds that `make try-cluster` plays by the hundred."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.__main__ import Wanted, play

pytestmark = [pytest.mark.live, pytest.mark.slow]
ROUNDS, MINUTES = 10, 3.0


def test_whatever_fails_nothing_is_lost_doubled_or_kept_of_who_refused(tmp_path: Path) -> None:
    said: list[str] = []
    rounds, _ = play(tmp_path, Wanted(seed=1, first=0, count=ROUNDS, minutes=MINUTES), said.append)
    assert rounds.tally.wrong == [], "\n".join(said)
    assert rounds.tally.answered > ROUNDS and rounds.tally.recorded
