"""Kamailio as the trunk: registration with digest, calls through it, its restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.agent import NUMBER, RunningAgent
from tests.peers.kamailio import Kamailio

pytestmark = pytest.mark.live


def registered(tmp_path: Path, registrar: Kamailio, password: str = "right", **more: Any) -> dict[str, Any]:
    """The trunk's keys for an agent that registers."""
    path = tmp_path / "trunk-password"
    path.write_text(password + "\n")
    return {
        "uri": f"sip:{registrar.username}@127.0.0.1:{registrar.port}", "registrar": registrar.uri,
        "username": registrar.username, "password_file": str(path), "allowed_sources": [], **more,
    }  # fmt: skip


def call_through(registrar: Kamailio, caller: Phone) -> str:
    return f"sip:{NUMBER}@127.0.0.1:{registrar.port}"


def test_a_call_over_the_registered_trunk(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    registrar.start()
    agent: RunningAgent = agent_factory(trunk=registered(tmp_path, registrar))
    registrar.wait_registered()
    call = caller_phone.call(call_through(registrar, caller_phone))
    call.wait_answered()
    calls.bridged(call, operator_phone).hang_up()
    (recording,) = agent.wait_recordings()
    assert calls.strength(agent.sound(recording)[:, 0], calls.CALLER_HZ) > 0.1
    assert agent.stop() == 0
    registrar.child.wait_line(
        lambda line: "registered: agent" in line and "expires=0" in line, 5, "un-registration"
    )


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


def test_the_registrar_restarts_and_calls_go_on(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    """A call in progress doesn't notice; afterwards the agent registers anew by itself."""
    registrar.expires = 6
    registrar.start()
    agent = agent_factory(trunk=registered(tmp_path, registrar, allowed_sources=["127.0.0.1/32"]))
    bridge = calls.connect(agent, caller_phone, operator_phone)
    registrar.stop()
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    registrar.start()
    registrar.wait_registered(1, 45)
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    bridge.hang_up()
    agent.wait_recordings()
    operator_phone.skip_calls()
    call = caller_phone.call(call_through(registrar, caller_phone))
    call.wait_answered()
    calls.bridged(call, operator_phone).hang_up()


def test_a_registrar_that_comes_late(
    registrar: Kamailio, tmp_path: Path, agent_factory: AgentFactory
) -> None:
    agent = agent_factory(start=False, trunk=registered(tmp_path, registrar))
    agent.start(wait="started")
    registrar.start()
    agent.wait_for("ready", 45)


def test_operators_on_a_pbx_that_asks_for_the_trunks_credentials(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    """Kamailio challenges the operator's INVITE with 407, in the trunk's realm."""
    registrar.pbx_realm = registrar.realm
    agent = agent_factory(**pbx(registrar, tmp_path, operator_phone))
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    (receipt,) = agent.wait_receipts()
    assert receipt["outcome"] == "connected"


def test_operators_on_a_pbx_that_asks_for_its_own(
    registrar: Kamailio,
    tmp_path: Path,
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
) -> None:
    tables = pbx(registrar, tmp_path, operator_phone)
    tables["operators"] |= {"username": "agent", "password_file": tables["trunk"]["password_file"]}
    agent = agent_factory(**tables)
    calls.connect(agent, caller_phone, operator_phone).hang_up()
    (receipt,) = agent.wait_receipts()
    assert receipt["outcome"] == "connected"


def pbx(registrar: Kamailio, tmp_path: Path, desk: Phone) -> dict[str, dict[str, Any]]:
    """The configuration for a registrar that is the operators' PBX, too, and wants to know who rings them."""
    registrar.phones = {"201": desk.address}
    registrar.pbx_login = ("agent", "right")
    registrar.start()
    trunk = registered(tmp_path, registrar, allowed_sources=["127.0.0.1/32"])
    return {"trunk": trunk, "operators": {"extensions": [f"sip:201@127.0.0.1:{registrar.port}"]}}
