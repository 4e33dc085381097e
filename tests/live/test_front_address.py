"""An address that moves between two hosts (deploy/cluster/keepalived-*.conf, takes-calls).

Each has a network of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import fronts

pytestmark = [pytest.mark.live, pytest.mark.slow]
LACKS = fronts.lacks("keepalived", by_root=True)


@pytest.mark.skipif(bool(LACKS), reason=LACKS)
def test_an_address_moves_to_the_host_that_takes_calls(tmp_path: Path) -> None:
    """One is cut off; then the other drains, and takes calls until the address has moved.

    The trunk is one that they register with.
    """
    seen = fronts.seen("address", tmp_path, by_root=True)
    assert seen["answered after the loss, s"] < 5 and seen["the other has it"]
    assert not seen["the address goes back"]
    assert seen["moved within, s"] < 5
    assert seen["once it has ended"] == seen["the other"], "what it registered stays"
    fronts.assert_drained(seen)
