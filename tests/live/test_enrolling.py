"""Colleagues lend their voices beside a running service, behind a Kamailio of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.peers.agent import SEARCH_PATH
from tests.peers.process import Child, free_ports

pytestmark = pytest.mark.live

SAME = "127.0.0.1 is the trunk's, too: see to it that no call from outside reaches 900"


@contextmanager
def enrolling(config: Path, port: int) -> Iterator[Child]:
    """The command from its first word to Ctrl-C, which ends it well."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "sipagent",
        "--config",
        config,
        "enrol",
        "--port",
        str(port),
    ]
    session = Child(command, config.parent, env={"PYTHONPATH": SEARCH_PATH})
    try:
        session.wait_line(lambda line: "Colleagues can call 900 now" in line, 20, "enrolments")
        yield session
        session.signal(SIGINT)
        assert session.wait(20) == 0, session.tail()
    finally:
        session.stop()


def test_colleagues_and_callers_are_taken_at_once(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    workers, rtp, port = free_ports(10), free_ports(80), free_ports(1)
    agent = agent_factory(
        start=False,
        trunk={"rtp_ports": f"{rtp}-{rtp + 79}"},
        edge={"worker_ports": f"{workers}-{workers + 9}"},
        operators={"extensions": [operator_phone.uri]},
        refusal={"keywords": ["je refuse"]},
        enrol={"extension": "900", "colleagues": {operator_phone.user: "Ann"}},
    )
    agent.rewrite(trunk={"listen": f"0.0.0.0:{agent.port}"})
    agent.start()
    with enrolling(agent.config, port) as session:
        colleague = operator_phone.call(f"sip:900@127.0.0.1:{port}")
        colleague.wait_answered(20)
        bridge = calls.connect(agent, caller_phone, operator_phone)
        colleague.hang_up()
        bridge.hang_up()
        agent.wait_receipts()
    assert [line for _, line in session.lines if line.startswith("sipagent: ")] == [f"sipagent: {SAME}"]
