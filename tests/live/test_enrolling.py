"""Colleagues lend their voices beside a running service, behind a Kamailio of their own."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGKILL

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.agent import SEARCH_PATH, RunningAgent, behind_edge
from tests.peers.process import Child, free_ports
from tests.tapping import PATIENCE_S

pytestmark = pytest.mark.live

SAME = "127.0.0.1 is the trunk's, too: see to it that no call from outside reaches 900"


def office(agent_factory: AgentFactory, operator_phone: Phone) -> RunningAgent:
    """An agent that a network reaches, not started."""
    tables = behind_edge(1)
    agent = agent_factory(
        start=False,
        trunk=tables["trunk"],
        edge=tables["edge"],
        operators={"extensions": [operator_phone.uri]},
        refusal={"keywords": ["je refuse"]},
        enrol={"extension": "900", "colleagues": {operator_phone.user: "Ann"}},
    )
    agent.rewrite(trunk={"listen": f"0.0.0.0:{agent.port}"})
    return agent


@contextmanager
def enrolling(config: Path, port: int) -> Iterator[Child]:
    """The command, once it takes calls."""
    options = ("--config", config, "enrol", "--port", str(port))
    command: list[str | Path] = [sys.executable, "-m", "sipagent", *options]
    session = Child(command, config.parent, env={"PYTHONPATH": SEARCH_PATH})
    try:
        session.wait_line(lambda line: "Colleagues can call 900 now" in line, PATIENCE_S, "enrolments")
        yield session
    finally:
        session.stop()


def test_colleagues_and_callers_are_taken_at_once(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    agent, port = office(agent_factory, operator_phone).start(), free_ports(1)
    with enrolling(agent.config, port) as session:
        colleague = operator_phone.call(f"sip:900@127.0.0.1:{port}")
        colleague.wait_answered(PATIENCE_S)
        bridge = calls.connect(agent, caller_phone, operator_phone, PATIENCE_S)
        colleague.hang_up()
        bridge.hang_up()
        agent.wait_receipts(timeout=PATIENCE_S)
        session.signal(SIGINT)
        assert session.wait(PATIENCE_S) == 0, session.tail()
    assert [line for _, line in session.lines if line.startswith("sipagent: ")] == [f"sipagent: {SAME}"]


@pytest.mark.parametrize("killed", ["kamailio", "sipagent"])
def test_neither_outlives_the_other(agent_factory: AgentFactory, operator_phone: Phone, killed: str) -> None:
    """Else calls would go nowhere, or something would stand on the port that nobody knows of."""
    with enrolling(office(agent_factory, operator_phone).config, free_ports(1)) as session:
        (kamailio,) = map(int, Path(f"/proc/{session.pid}/task/{session.pid}/children").read_text().split())
        ends = os.pidfd_open(kamailio)
        os.kill(kamailio if killed == "kamailio" else session.pid, SIGKILL)
        assert select.select([ends], [], [], PATIENCE_S)[0]
        os.close(ends)
        assert session.wait(PATIENCE_S) == (1 if killed == "kamailio" else -SIGKILL)
    told = [line for _, line in session.lines if "Kamailio has ended" in line]
    assert told == (
        ["sipagent: Kamailio has ended, and no call can come any more"] if killed == "kamailio" else []
    )
