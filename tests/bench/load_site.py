"""What the load is put on: a supervisor with its workers behind the edge, or agents of one process each."""

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
START_S = 120.0


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


def ports_for(calls: int, each: int) -> int:
    """The first of the RTP ports that all processes share; to be asked for before any other port."""
    return free_ports(PORTS * -(-calls // each))


def supervised(stack: ExitStack, folder: Path, operators: Operators, calls: int, rtp: int) -> Site:
    """`sipagent run` for so many calls: with as many workers as that takes."""
    last = rtp + PORTS * -(-calls // 2) - 1
    workers = free_ports(calls + 4)
    tables: dict[str, dict[str, Any]] = {
        "operators": {"extensions": operators.uris(calls)},
        "refusal": {"window_s": WINDOW_S},
        "capacity": {"calls": calls},
        "trunk": {"rtp_ports": f"{rtp}-{last}"},
        "edge": {"worker_ports": f"{workers}-{workers + calls + 3}"},
    }
    agent = _started(stack, folder / "agent", tables)
    agent.wait_for("ready", START_S)
    return Site([agent], [Target(agent.address, calls)])


def singles(stack: ExitStack, folder: Path, operators: Operators, shares: list[int], rtp: int) -> Site:
    """An agent of one process for each share of the calls; nothing in front of them."""
    agents = []
    for index, share in enumerate(shares):
        first = rtp + index * PORTS
        tables: dict[str, dict[str, Any]] = {
            "operators": {"extensions": operators.uris(share, sum(shares[:index]))},
            "refusal": {"window_s": WINDOW_S},
            "capacity": {"calls": share},
            "trunk": {"rtp_ports": f"{first}-{first + PORTS - 1}"},
        }
        agents.append(_started(stack, folder / f"agent{index:03}", tables))
    for agent in agents:
        agent.wait_for("ready", START_S)
    return Site(agents, [Target(a.address, share) for a, share in zip(agents, shares, strict=True)])


def _started(stack: ExitStack, folder: Path, tables: Mapping[str, Mapping[str, Any]]) -> RunningAgent:
    agent = RunningAgent(folder, tables)
    sound = tone(PROMPTS["notice"][0], NOTICE_S)
    soundfile.write(folder / "prompts/notice.wav", sound, RATE, subtype="PCM_16")
    stack.callback(lambda: agent.close() if agent.started else None)
    return agent.start(wait=None)
