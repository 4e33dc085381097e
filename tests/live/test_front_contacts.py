"""Two hosts that register one account."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import fronts

pytestmark = [pytest.mark.live, pytest.mark.slow]
LACKS = fronts.lacks("kamailio")


@pytest.mark.skipif(bool(LACKS), reason=LACKS)
def test_a_registrar_calls_every_host_that_registers_for_itself(tmp_path: Path) -> None:
    """Which is why the one account is registered with the address that moves."""
    assert fronts.seen("contacts", tmp_path)["called"] == ["a", "b"]
