"""A service under attack, in each of its shapes: one process, and workers behind the edge.

Trunk, operators, the service itself and a stranger have addresses of their own, as on a network.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import Any, Literal

from sipagent.softphone.phone import Answering, Call, Loop, Phone
from sipagent.softphone.rtp import SteadyTone
from tests.live import calls
from tests.peers.agent import RunningAgent
from tests.peers.process import free_ports

Shape = Literal["alone", "edge"]
SHAPES: tuple[Shape, ...] = ("alone", "edge")
TRUNK, OURS, DESKS, FOREIGN = "127.0.0.2", "127.0.0.5", "127.0.0.4", "127.0.0.66"
CALLS: dict[Shape, int] = {"alone": 1, "edge": 2}
RTP_PORTS = 64
START_S = 60.0


def descendants(pid: int) -> list[int]:
    """A process's children, and theirs."""
    threads = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for one in threads for child in one.read_text().split()]
    return children + [below for child in children for below in descendants(child)]


class Site:
    """`overrides` go over the configuration of the tests; the trunk is the only one that may call."""

    def __init__(self, directory: Path, stack: ExitStack, shape: Shape, **overrides: Any) -> None:
        self.shape = shape
        self.stack = stack
        self.loop = stack.enter_context(Loop())
        self.caller = self.phone("+33612345678", calls.CALLER_HZ, TRUNK)
        self.desk = self.phone("201", calls.OPERATOR_HZ, DESKS)
        self.desk.answer = Answering(after_s=0.1)
        rtp, workers, port = free_ports(RTP_PORTS, OURS), free_ports(8), free_ports(1, OURS)
        self.rtp_ports = range(rtp, rtp + RTP_PORTS)
        self.worker_ports = range(workers, workers + 8)
        self.figures_port = free_ports(1)
        tables: dict[str, dict[str, Any]] = {
            "operators": {"extensions": [self.desk.uri]},
            "capacity": {"calls": CALLS[shape], "calls_per_process": 1},  # else a large engine needs no edge
            "metrics": {"listen": f"127.0.0.1:{self.figures_port}"},
            "trunk": {
                "uri": f"sip:agent@{OURS}:{port}", "listen": f"{OURS}:{port}",
                "rtp_ports": f"{rtp}-{rtp + RTP_PORTS - 1}", "allowed_sources": [f"{TRUNK}/32"],
            },
            "edge": {"worker_ports": f"{workers}-{workers + 7}"},
        }  # fmt: skip
        for table, keys in overrides.items():
            tables.setdefault(table, {}).update(keys)
        self.agent = RunningAgent(directory, tables)
        self.agent.port = port
        self.address = (OURS, port)

    def start(self) -> Site:
        self.agent.start("--drain-s", "10", wait=None)
        self.agent.wait_for("ready", START_S)
        self.stack.callback(self.agent.close)
        return self

    def cut_power(self) -> None:
        """kill -9 for all of its processes; the first one sees none of the others end."""
        os.kill(self.agent.pid, SIGSTOP)
        for pid in descendants(self.agent.pid):
            os.kill(pid, SIGKILL)
        self.agent.kill()

    def phone(self, user: str, hz: float, ip: str, **how: Any) -> Phone:
        """One more, which says a tone; it hangs up before the service ends."""
        phone = self.stack.enter_context(Phone(self.loop, user, ip, **how))
        phone.sound = lambda: SteadyTone(hz)
        return phone

    def uri(self, number: str = "0323063006") -> str:
        return f"sip:{number}@{OURS}:{self.address[1]}"

    def call(self, **how: Any) -> Call:
        """A caller from the trunk who has been answered."""
        call = self.caller.call(self.uri(), **how)
        call.wait_answered()
        return call

    def talk(self, **how: Any) -> calls.Bridge:
        """A caller and an operator who hear each other."""
        return calls.bridged(self.call(**how), self.desk)

    def everywhere(self) -> list[tuple[str, int]]:
        """All ports that RTP may come to."""
        return [(OURS, port) for port in self.rtp_ports]

    def hang_up(self, call: Call) -> None:
        call.hang_up()
        self.agent.wait_receipts()
