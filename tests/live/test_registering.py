"""The trunk's account behind the edge: calls by way of the registrar, its death, a stranger's realm."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGKILL

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.agent import NUMBER, RunningAgent
from tests.peers.kamailio import Kamailio
from tests.peers.process import free_ports

pytestmark = pytest.mark.live

START_S = 60.0


def registering(
    tmp_path: Path, registrar: Kamailio, factory: AgentFactory, *, start: bool = True, **operators: object
) -> RunningAgent:
    """Two workers and the account, registered once it has started."""
    password = tmp_path / "trunk-password"
    password.write_text("right\n")
    rtp, workers = free_ports(64), free_ports(6)
    agent = factory(
        start=False,
        capacity={"calls": 3, "calls_per_process": 2},
        operators=operators,
        edge={"worker_ports": f"{workers}-{workers + 5}"},
        trunk={
            "uri": f"sip:agent@127.0.0.1:{registrar.port}", "registrar": registrar.uri, "username": "agent",
            "password_file": str(password), "allowed_sources": [], "rtp_ports": f"{rtp}-{rtp + 63}",
        },
    )  # fmt: skip
    if start:
        agent.start(wait=None)
        agent.wait_for("ready", START_S)
    return agent


def pid_of(agent: RunningAgent, name: str) -> int:
    started = [e for e in agent.log_events if e.get("event") == "child_started" and e["name"] == name]
    return int(started[-1]["pid"])


def test_calls_by_way_of_the_registrar_and_the_death_of_the_account(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    """A call in progress does not notice it; the next one finds its way again."""
    registrar.start()
    agent = registering(tmp_path, registrar, agent_factory)
    uri = f"sip:{NUMBER}@127.0.0.1:{registrar.port}"
    bridge = calls.bridged(caller_phone.call(uri), operator_phone)
    os.kill(pid_of(agent, "registrar"), SIGKILL)
    registrar.wait_registered(2, START_S)
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert not recording["incomplete"]
    operator_phone.skip_calls()
    calls.bridged(caller_phone.call(uri), operator_phone).hang_up()
    assert agent.stop() == 0
    registrar.child.wait_line(
        lambda line: "registered: agent" in line and "expires=0" in line, 5, "un-registration"
    )


def test_a_strangers_realm_gets_no_digest(
    registrar: Kamailio, tmp_path: Path, agent_factory: AgentFactory
) -> None:
    """Whoever answers in the registrar's place, and asks for a password in another name, hears none."""
    registrar.expires = 6
    registrar.start()
    agent = registering(tmp_path, registrar, agent_factory)
    registrar.stop()
    registrar.realm = "stranger.test"
    registrar.start()
    agent.wait_for("registration_failed", START_S)
    asked = [line for _, line in registrar.child.lines if "challenged: " in line]
    assert asked and all("challenged: <null>" in line for line in asked)


def test_a_pbx_in_the_trunks_realm_gets_the_trunks_digest_from_every_worker(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    """Nobody has written the realm down: the account's process has learnt it from the registrar."""
    registrar.phones = {"201": operator_phone.address}
    registrar.pbx_login, registrar.pbx_realm = ("agent", "right"), registrar.realm
    registrar.start()
    agent = registering(
        tmp_path, registrar, agent_factory, extensions=[f"sip:201@127.0.0.1:{registrar.port}"]
    )
    uri = f"sip:{NUMBER}@127.0.0.1:{registrar.port}"
    for _ in range(2):
        calls.bridged(caller_phone.call(uri), operator_phone).hang_up()
    workers = {event["process"] for event in agent.log_events if event.get("event") == "call_offered"}
    assert len(workers) == 2
