"""Figures of a running agent, scraped while it works."""

from __future__ import annotations

from urllib.request import urlopen

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.process import free_ports
from tests.tapping import wait_for

pytestmark = pytest.mark.live


def figures(port: int) -> dict[str, float]:
    """By name and labels, as they are written."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_a_call_from_its_begin_to_its_recording(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    port = free_ports(1)
    agent = agent_factory(metrics={"listen": f"127.0.0.1:{port}"})
    ended = 'sipagent_calls_total{decided_by="silence",decision="allowed",outcome="connected"}'
    before = figures(port)
    assert before["sipagent_calls_in_progress"] == 0 and ended not in before
    bridge = calls.connect(agent, caller_phone, operator_phone)
    assert figures(port)["sipagent_calls_in_progress"] == 1
    bridge.hang_up()
    agent.wait_recordings()
    wait_for(lambda: ended in figures(port))
    after = figures(port)
    assert (after[ended], after["sipagent_calls_in_progress"]) == (1, 0)
    faults = [value for name, value in after.items() if "_faults_" in name or "_failures_" in name]
    assert faults and set(faults) == {0}
    assert after["sipagent_purge_last_success_timestamp_seconds"] > 1e9
    assert after["sipagent_chain_head_sequence"] > 0
    assert "sipagent_registered" not in after  # there is no registrar
