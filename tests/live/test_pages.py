"""The pages on trunks and PBXes, line by line: two calls by each, through the firewall that docs/ shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.page import ASTERISK

pytestmark = pytest.mark.live

ISOLATED = ("unshare", "--map-root-user", "--net", "--mount")
ROOT = Path(__file__).parents[2]
REGISTERS = ("trunk-with-registration", "trunk-ovh")
NEEDS_ASTERISK = pytest.mark.skipif(
    not ASTERISK.exists(), reason="no Asterisk, which Debian 13 does not have"
)


def can_be_isolated() -> bool:
    """Some machines and containers let nobody have a network of their own."""
    tried = subprocess.run(
        [*ISOLATED, "ip", "link", "add", "probe", "type", "veth", "peer", "name", "other"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


@pytest.mark.skipif(not can_be_isolated(), reason="no network namespaces here")
@pytest.mark.parametrize(
    "page",
    [
        *("trunk-with-registration", "trunk-without-registration", "trunk-ovh", "trunk-orange"),
        *(pytest.param(page, marks=NEEDS_ASTERISK) for page in ("freepbx-asterisk",)),
    ],
)
def test_a_page_on_a_trunk_works_as_printed(page: str, tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.peers.page", str(ROOT / f"docs/en/{page}.md"), str(tmp_path)]
    told = json.loads(subprocess.run([*ISOLATED, *script], stdout=subprocess.PIPE, check=True).stdout)
    assert told["calls"] == [
        ["+33612345678", "connected", "allowed", "silence"],
        ["+33612345678", "connected", "refused", "dtmf"],
    ]
    assert told["kept"] == ["closed"]
    assert told["shown"] == ["REC +33612345678", "NO REC +33612345678"]
    assert ("registered" in told["logged"]) is (page in REGISTERS)
    assert told["numbers"] == 0  # what is logged leads to no caller


@pytest.mark.skipif(not can_be_isolated(), reason="no network namespaces here")
def test_the_first_call_works_as_printed(tmp_path: Path) -> None:
    """By whoever follows the page: recorded, listed, listened to, deleted."""
    script = [sys.executable, "-m", "tests.peers.first_call", str(tmp_path)]
    told = json.loads(subprocess.run([*ISOLATED, *script], stdout=subprocess.PIPE, check=True).stdout)
    assert len(told["wrong"]) == 4 and all(what.startswith("prompts.") for what in told["wrong"])
    row = told["row"]
    assert (row["caller"], row["called"], row["status"]) == ("+33612345678", "+33323063006", "closed")
    assert told["seconds"] > 1.5 and told["certificate"] and not told["left"]
    assert "M. Durand" in told["said"]["accesses"] and "silence" in told["said"]["calls"]
