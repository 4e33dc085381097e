"""The real agent tells systemd how it is, in both shapes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.notified import Notified
from tests.peers.agent import behind_edge

pytestmark = pytest.mark.live

WATCHDOG_S = 2.0
START_S = 60.0
OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    """It asks whatever is started for signs of life."""
    manager = Notified(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    monkeypatch.setenv("WATCHDOG_USEC", str(round(WATCHDOG_S * 1e6)))
    yield manager
    manager.close()


def children(pid: int) -> list[int]:
    """Of a process, and theirs."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(below for one in found for below in children(one))]


def test_a_supervisor_and_its_processes(
    manager: Notified, agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Only the supervisor speaks, and none of the processes that it starts knows of systemd."""
    agent = agent_factory(start=False, **behind_edge(3, calls_per_process=2))
    agent.start(wait=None)
    manager.wait_for("EXTEND_TIMEOUT_USEC", START_S)
    manager.wait_for("READY=1", START_S)
    agent.wait_for("ready")
    manager.wait_for("STATUS=0 calls of at most 3")
    started = children(agent.pid)
    assert len(started) > 4  # the server that forks, two workers, Kamailio's
    for pid in started:
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
        assert not [name for name in OURS if f"{name}=" in environment]
    bridge = calls.connect(agent, caller_phone, operator_phone)
    manager.wait_for("STATUS=1 call of at most 3")
    agent.child.signal(SIGSTOP)
    assert manager.silent(1.5 * WATCHDOG_S)
    agent.child.signal(SIGCONT)
    manager.wait_for("WATCHDOG=1")
    bridge.hang_up()
    manager.wait_for("STATUS=0 calls of at most 3")
    assert agent.stop() == 0
    manager.wait_for("STOPPING=1")
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
