"""The log is English whoever starts the agent; what it says to a person before it starts is not."""

from __future__ import annotations

import signal

import pytest

from tests.conftest import AgentFactory

pytestmark = pytest.mark.live


def test_the_log_of_an_agent_that_was_started_in_french_is_english(agent_factory: AgentFactory) -> None:
    agent = agent_factory("--lang", "fr")
    agent.rewrite(service={"timezone": "nowhere"})
    agent.child.signal(signal.SIGHUP)
    refused = agent.wait_for("reload_refused")
    assert "'nowhere' is not a time zone; accepted: a time zone such as" in str(refused)
    agent.rewrite(service={"timezone": "Europe/Paris"})
    assert all(line.isascii() for _, line in agent.child.lines)


def test_what_keeps_it_from_starting_is_said_in_french(agent_factory: AgentFactory) -> None:
    agent = agent_factory(start=False, trunk={"listen": "nowhere"})
    agent.start("--lang", "fr", wait=None)
    assert agent.child.wait() == 2
    (said,) = [line for _, line in agent.child.lines]
    assert (
        "trunk.listen\u00a0: 'nowhere' n’est pas hôte:port\u202f; accepté\u00a0: adresse:port comme" in said
    )
