"""What the load is put on: agents of one process each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from sipagent.softphone_rtp import RATE, tone
from tests.bench.load_sip import Operators
from tests.peers.agent import PROMPTS, RunningAgent
from tests.peers.process import free_ports

NOTICE_S, WINDOW_S = 0.8, 0.5
PORTS = 32  # of RTP, the fewest that a process takes


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send so many calls."""

    address: tuple[str, int]
    calls: int


@dataclass(frozen=True, slots=True)
class Site:
    """Running agents, and how the calls are spread over them."""

    agents: list[RunningAgent]
    targets: list[Target]

    @property
    def pids(self) -> list[int]:
        return [agent.pid for agent in self.agents]

    def dropped(self) -> int:
        """RTP for which there was no room in a socket of theirs."""
        ranges = [agent.tables["trunk"]["rtp_ports"].split("-") for agent in self.agents]
        ours = {port for first, last in ranges for port in range(int(first), int(last) + 1)}
        rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
        return sum(int(row[12]) for row in rows if int(row[1].partition(":")[2], 16) in ours)


def singles(stack: ExitStack, folder: Path, operators: Operators, calls: int, each: int) -> Site:
    """As many agents of one process as it takes, `each` calls on one; nothing in front of them."""
    shares = [min(each, calls - first) for first in range(0, calls, each)]
    rtp = free_ports(PORTS * len(shares))
    agents = []
    for index, share in enumerate(shares):
        first = rtp + index * PORTS
        tables: dict[str, dict[str, Any]] = {
            "operators": {"extensions": operators.uris(share, index * each)},
            "refusal": {"window_s": WINDOW_S},
            "capacity": {"calls": share},
            "trunk": {"rtp_ports": f"{first}-{first + PORTS - 1}"},
        }
        agents.append(_started(stack, folder / f"agent{index:03}", tables))
    for agent in agents:
        agent.wait_for("ready", 60)
    return Site(agents, [Target(a.address, share) for a, share in zip(agents, shares, strict=True)])


def _started(stack: ExitStack, folder: Path, tables: Mapping[str, Mapping[str, Any]]) -> RunningAgent:
    agent = RunningAgent(folder, tables)
    sound = tone(PROMPTS["notice"][0], NOTICE_S)
    soundfile.write(folder / "prompts/notice.wav", sound, RATE, subtype="PCM_16")
    stack.callback(lambda: agent.close() if agent.started else None)
    return agent.start(wait=None)
