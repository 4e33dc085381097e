"""What stands before two hosts: an address that moves, a Kamailio, a trunk that goes by names.

Each is as deploy/cluster has it, and each host has a network of its own. One is cut off; then the other
drains with a call that goes on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import fronts

pytestmark = [pytest.mark.live, pytest.mark.slow]


def needs(*programs: str, **how: bool) -> pytest.MarkDecorator:
    lacks = fronts.lacks(*programs, **how)
    return pytest.mark.skipif(bool(lacks), reason=lacks)


@needs("keepalived", by_root=True)
def test_an_address_moves_to_the_host_that_takes_calls(tmp_path: Path) -> None:
    seen = fronts.seen("address", tmp_path, by_root=True)
    assert seen["answered after the loss, s"] < 5 and seen["the other has it"]
    assert not seen["the address goes back"] and seen["moved within, s"] < 5
    assert seen["once it has ended"] == seen["the other"], "what it registered stays"
    fronts.assert_drained(seen)


@needs("kamailio")
def test_a_kamailio_in_front_gives_calls_to_hosts_that_take_them(tmp_path: Path) -> None:
    seen = fronts.seen("dispatcher", tmp_path)
    assert set(seen["once it has gone"]) == {"b"}
    assert seen["slowest once it has gone, s"] < 2.5  # a time-out of 1.5 s
    fronts.assert_drained(seen)


@needs("nsd", "kamailio")
def test_a_trunk_that_goes_by_names_finds_the_host_that_is_left(tmp_path: Path) -> None:
    seen = fronts.seen("srv", tmp_path)
    assert seen["OPTIONS"] == [200, 200] and set(seen["once it has gone"]) == {"b"}
    fronts.assert_drained(seen)
    assert seen["slowest once it has gone, s"] < fronts.TRUNK_S + 1  # what it waits for an answer of any kind
