"""A Kamailio in front of two hosts (deploy/cluster/kamailio-front.cfg)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import fronts

pytestmark = [pytest.mark.live, pytest.mark.slow]
LACKS = fronts.lacks("kamailio")


@pytest.mark.skipif(bool(LACKS), reason=LACKS)
def test_a_kamailio_in_front_gives_calls_to_hosts_that_take_them(tmp_path: Path) -> None:
    """One is silent for a while; then it drains with a call that goes on."""
    seen = fronts.seen("dispatcher", tmp_path)
    assert set(seen["once it has gone"]) == {"b"}
    assert seen["slowest once it has gone, s"] < 2.5  # a time-out of 1.5 s
    fronts.assert_drained(seen)
