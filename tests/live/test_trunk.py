"""Kamailio as the trunk: registration with digest, calls through it, its restart and death.

With one process, and behind the edge, where the account has a process of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.agent import NUMBER, RunningAgent, behind_edge
from tests.peers.kamailio import Kamailio
from tests.tapping import PATIENCE_S

pytestmark = pytest.mark.live


def registered(tmp_path: Path, registrar: Kamailio, password: str = "right", **more: Any) -> dict[str, Any]:
    """The trunk's keys for an agent that registers."""
    path = tmp_path / "trunk-password"
    path.write_text(password + "\n")
    return {
        "uri": f"sip:{registrar.username}@127.0.0.1:{registrar.port}", "registrar": registrar.uri,
        "username": registrar.username, "password_file": str(path), "allowed_sources": [], **more,
    }  # fmt: skip


def registering(
    tmp_path: Path, registrar: Kamailio, factory: AgentFactory, *, start: bool = True
) -> RunningAgent:
    """Behind the edge, two workers and the account, registered once it has started."""
    tables = behind_edge(3, calls_per_process=2)
    tables["trunk"] |= registered(tmp_path, registrar)
    agent = factory(start=False, **tables)
    if start:
        agent.start(wait=None)
        agent.wait_for("ready", PATIENCE_S)
    return agent


def wait_unregistered(registrar: Kamailio) -> None:
    registrar.child.wait_line(
        lambda line: "registered: agent" in line and "expires=0" in line, 5, "un-registration"
    )


def call_through(registrar: Kamailio) -> str:
    return f"sip:{NUMBER}@127.0.0.1:{registrar.port}"


def test_a_call_over_the_registered_trunk(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    registrar.start()
    agent = agent_factory(trunk=registered(tmp_path, registrar))
    registrar.wait_registered()
    call = caller_phone.call(call_through(registrar))
    call.wait_answered()
    bridge = calls.bridged(call, operator_phone)
    calls.talk(call, 2.0)  # a busy machine's first second is half silence
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert calls.strength(agent.sound(recording)[:, 0], calls.CALLER_HZ) > 0.1
    assert agent.stop() == 0
    wait_unregistered(registrar)


def knowing(hosts: Path) -> tuple[str | Path, ...]:
    """`sipagent` that asks a file of lines `ADDRESS NAME` where names lead, often."""
    program = f"""
import socket
from pathlib import Path
from sipagent.__main__ import main
from sipagent.service import rules

def look_up(host, *_, **__):
    lines = (line.split() for line in Path({str(hosts)!r}).read_text().splitlines())
    found = [address for address, name in lines if name == host]
    if not found:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")
    return [(0, 0, 0, "", (one, 0)) for one in found]

socket.getaddrinfo = look_up
rules.AGAIN_S = rules.SOON_S = 0.2
main()
"""
    return (sys.executable, "-c", program)


def test_a_trunk_whose_name_is_found_late_and_then_leads_elsewhere(
    tmp_path: Path, agent_factory: AgentFactory, caller_phone: Phone
) -> None:
    """After a power cut the network may be there last; a provider may move."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 desk.test\n")
    tables = behind_edge(2, calls_per_process=1)
    tables["trunk"] |= {"uri": "sip:agent@trunk.test", "registrar": "sip:trunk.test:9", "allowed_sources": []}
    tables["operators"] = {"extensions": ["sip:201@desk.test:9"]}
    agent = agent_factory(start=False, **tables)
    agent.program = knowing(hosts)
    agent.start(wait="worker_ready")
    agent.wait_for("alert", reason="trunk.test can't be looked up: no name server; it is tried again")
    hosts.write_text("127.0.0.1 trunk.test\n")
    agent.wait_for("addresses", trunk=["127.0.0.1/32"], operators=["127.0.0.1/32"])
    caller_phone.call(agent.uri()).wait_answered()
    hosts.write_text("127.0.0.2 trunk.test\n")
    agent.wait_for("addresses", trunk=["127.0.0.1/32", "127.0.0.2/32"])


def test_a_wrong_password_is_not_tried_again_and_again(
    registrar: Kamailio, tmp_path: Path, agent_factory: AgentFactory
) -> None:
    registrar.start()
    agent = agent_factory(start=False, trunk=registered(tmp_path, registrar, "wrong"))
    agent.start(wait=None)
    agent.child.wait_line(
        lambda line: "regist" in line.lower() and ("401" in line or "403" in line), 15, "refusal"
    )
    assert registrar.challenges() <= 4
    assert not [e for e in agent.log_events if e.get("event") == "ready"]
    assert "wrong" not in agent.child.tail(10_000).replace("wrong password", "")


def test_a_registrar_that_comes_late_and_restarts(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    """A call in progress doesn't notice; afterwards the agent registers anew by itself."""
    registrar.expires = 6
    trunk = registered(tmp_path, registrar, allowed_sources=["127.0.0.1/32"])
    agent = agent_factory(start=False, trunk=trunk)
    agent.start(wait="started")
    registrar.start()
    agent.wait_for("ready", 45)
    bridge = calls.connect(agent, caller_phone, operator_phone)
    registrar.stop()
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    registrar.start()
    registrar.wait_registered(timeout=60)
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    bridge.hang_up()
    agent.wait_recordings()
    operator_phone.skip_calls()
    call = caller_phone.call(call_through(registrar))
    call.wait_answered()
    calls.bridged(call, operator_phone).hang_up()


# --- behind the edge ---


def test_the_death_of_the_account_is_nothing_to_calls(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    """A call in progress does not notice it; the next one finds its way again."""
    registrar.start()
    agent = registering(tmp_path, registrar, agent_factory)
    uri = call_through(registrar)
    bridge = calls.bridged(caller_phone.call(uri), operator_phone)
    started = [e for e in agent.log_events if e.get("event") == "child_started" and e["name"] == "registrar"]
    os.kill(int(started[-1]["pid"]), SIGKILL)
    registrar.wait_registered(2, PATIENCE_S)
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert not recording["incomplete"]
    operator_phone.skip_calls()
    calls.bridged(caller_phone.call(uri), operator_phone).hang_up()
    assert agent.stop() == 0
    wait_unregistered(registrar)


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
    agent.wait_for("registration_failed", PATIENCE_S)
    asked = [line for _, line in registrar.child.lines if "challenged: " in line]
    assert asked and all("challenged: <null>" in line for line in asked)
