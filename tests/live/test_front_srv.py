"""A trunk that finds two hosts by DNS SRV (deploy/cluster/voice.zone, by a real name server)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import fronts

pytestmark = [pytest.mark.live, pytest.mark.slow]
LACKS = fronts.lacks("nsd", "kamailio")


@pytest.mark.skipif(bool(LACKS), reason=LACKS)
def test_a_trunk_that_goes_by_names_finds_the_host_that_is_left(tmp_path: Path) -> None:
    """One drains with a call that goes on, then it has gone."""
    seen = fronts.seen("srv", tmp_path)
    assert seen["OPTIONS"] == [200, 200]
    fronts.assert_drained(seen)
    assert set(seen["once it has gone"]) == {"b"}
    assert seen["slowest once it has gone, s"] < fronts.TRUNK_S + 1  # what it waits for an answer of any kind
