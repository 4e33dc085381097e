"""One of the hosts: an agent on an address of its own, all of whose processes may go at once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from signal import SIGKILL, SIGSTOP
from typing import Any

from retention.rows.selection import Selection
from sipagent.agent.stored import store_of
from sipagent.config.load import load
from tests.attack.site import descendants
from tests.cluster.engines import Engines, Lines
from tests.peers.agent import SEARCH_PATH, Json, RunningAgent
from tests.peers.process import PeerError, free_ports

ADDRESSES = {"a": "127.0.0.21", "b": "127.0.0.22", "c": "127.0.0.23"}
CALLS = {"a": 2, "b": 2, "c": 1}  # two with workers behind the edge, one that is a process alone
LEASE_S = 4.0
RTP_PORTS = 64
START_S = 60.0
BOARD_AWAY, BOARD_BACK = "the board of operators that all hosts share is away", "board_shared"
COMMAND_S = 60.0


@dataclass(frozen=True, slots=True)
class Answered:
    """What a command has said."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return f"{self.code}: {self.out[-600:]}{self.err[-600:]}"


class Host:
    """`sipagent run` with `[cluster] host = name`, its data in a folder of its own."""

    def __init__(
        self,
        name: str,
        folder: Path,
        engines: Engines,
        recipient: Path,
        overrides: Mapping[str, Mapping[str, Any]],
        *,
        calls: int | None = None,
    ) -> None:
        self.name, self.address = name, ADDRESSES[name]
        self.lines: Lines = engines.line(self.address)
        places = CALLS[name] if calls is None else calls
        ports = max(RTP_PORTS, 16 * (places + 1))
        port, rtp = free_ports(1, self.address), free_ports(ports, self.address)
        workers, self.figures_port = free_ports(places + 6), free_ports(1)
        tables: dict[str, dict[str, Any]] = {
            "trunk": {
                "uri": f"sip:agent@{self.address}:{port}", "listen": f"{self.address}:{port}",
                "rtp_ports": f"{rtp}-{rtp + ports - 1}", "allowed_sources": ["127.0.0.2/32"],
            },
            "edge": {"worker_ports": f"{workers}-{workers + places + 5}"},
            "capacity": {"calls": places},
            "metrics": {"listen": f"127.0.0.1:{self.figures_port}"},
            "cluster": {"host": name, "lease_s": LEASE_S},
            "retention": {"database": self.lines.conninfo(engines.database)},
            "objects": {
                "url": f"s3://{engines.bucket}/kept", "endpoint": self.lines.endpoint, "region": "eu-west-3",
                "credentials_file": str(engines.store.credentials_file(folder)),
            },
            "recording": {"recipients": [str(recipient)]},
        }  # fmt: skip
        for table, keys in overrides.items():
            tables.setdefault(table, {}).update(keys)
        self.agent = RunningAgent(folder / name, tables)
        self.agent.port = port
        self._past: list[str] = []  # what earlier runs have said

    @property
    def uri(self) -> str:
        return f"sip:0323063006@{self.address}:{self.agent.port}"

    @property
    def up(self) -> bool:
        return self.agent.started and self.agent.child.running

    def start(self, wait: bool = True) -> None:
        if self.agent.started:
            self._past.append("\n".join(line for _, line in self.agent.child.lines))
        self.agent.start("--drain-s", "5", wait=None)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        self.agent.wait_for("ready", START_S)

    def burn(self) -> None:
        """kill -9 for all of its processes; the first one sees none of the others end."""
        if self.up:
            os.kill(self.agent.pid, SIGSTOP)
            for pid in descendants(self.agent.pid):
                _kill(pid)
            self.agent.kill()

    def kill_one(self, chance: random.Random) -> str:
        """kill -9 for one of its processes, any; which."""
        pids = [self.agent.pid, *sorted(descendants(self.agent.pid))]
        pid = chance.choice(pids)
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            name = "gone"
        if pid == self.agent.pid:
            self.burn()  # its children don't outlive it by much, and would keep its ports
        else:
            _kill(pid)
        return name

    @property
    def said(self) -> str:
        """All that it has logged, in all of its runs."""
        present = [line for _, line in self.agent.child.lines] if self.agent.started else []
        return "\n".join([*self._past, *present])

    def without_board(self) -> list[tuple[int, int]]:
        """From when to when this run had no board that all hosts share, by its own words; monotonic, ns."""
        spans: list[tuple[int, int]] = []
        since: int | None = None
        for at, line in self.agent.child.lines if self.agent.started else []:
            if BOARD_AWAY in line:
                since = at
            elif BOARD_BACK in line and since is not None:
                spans.append((since, at))
                since = None
        return spans if since is None else [*spans, (since, time.monotonic_ns())]

    def close(self) -> None:
        """End it; PeerError where anything went wrong inside, in any of its runs."""
        if self.up:
            self.agent.stop(60)
        said = self.said
        if "Traceback" in said or "Fatal Python error" in said:
            at = max(said.find("Traceback"), said.find("Fatal Python error"))
            raise PeerError(f"host {self.name} said:\n{said[max(0, at - 1500) : at + 4000]}")

    def ask(self, *arguments: str) -> Answered:
        """Run a command on this host's configuration; its own code tells how it went."""
        done = subprocess.run(
            [sys.executable, "-m", "sipagent", "--config", str(self.agent.config), *arguments],
            capture_output=True, text=True, check=False, timeout=COMMAND_S,
            env={"PYTHONPATH": SEARCH_PATH, "PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        return Answered(done.returncode, done.stdout, done.stderr)

    def receipts(self, since: datetime) -> list[Json]:
        """As `calls --json` lists them, out of what all hosts share. Raises StoreError."""
        with store_of(load(self.agent.config)) as store:
            return [row.to_json() for row in store.receipts(Selection(since=since))]

    def recordings(self) -> list[Json]:
        """As `list --json` lists them, out of what all hosts share. Raises StoreError."""
        with store_of(load(self.agent.config)) as store:
            return [row.to_json() for row in store.recordings()]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, SIGKILL)
    except ProcessLookupError:  # it has ended meanwhile
        return
