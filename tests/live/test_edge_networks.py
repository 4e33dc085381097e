"""Whom the edge hears within dialogs on a network, where an address is one machine's."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ISOLATED = ("unshare", "--map-root-user", "--net")
CALLER = {"the same port", "the same address", "trunk", "another of the trunk"}
FORGOTTEN = {"trunk", "another of the trunk", "PBX"}


def can_be_isolated() -> bool:
    """Some machines and containers let nobody have a network namespace."""
    try:
        run = subprocess.run([*ISOLATED, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return run.returncode == 0


@pytest.mark.skipif(not can_be_isolated(), reason="no network namespaces here")
@pytest.mark.parametrize("version", ["4", "6"])
def test_on_a_network_addresses_take_part_from_whatever_port(version: str, tmp_path: Path) -> None:
    """The trunk in every dialog, the operators' PBX in legs; what is this machine's only from its port."""
    script = [sys.executable, "-m", "tests.peers.networks", version, str(tmp_path)]
    told = json.loads(subprocess.run([*ISOLATED, *script], stdout=subprocess.PIPE, check=True).stdout)
    assert {whose: {one for one, heard in senders.items() if heard} for whose, senders in told.items()} == {
        "caller": CALLER,
        "operator": CALLER | {"PBX"},
        "forgotten caller": FORGOTTEN,
        "forgotten operator": FORGOTTEN,
    }
