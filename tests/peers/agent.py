"""The agent as a user runs it: its own process, its configuration in a folder, its log read as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any, TypeVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from retention.sqlite import Store
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.rtp import RATE, tone
from tests.peers.process import Child, PeerError, free_ports

ROOT = Path(__file__).parents[2]
SEARCH_PATH = os.pathsep.join(
    dict.fromkeys([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
).strip(os.pathsep)
"""Of our processes: another engine than the one that is installed is named there, too."""
Json = dict[str, Any]
Found = TypeVar("Found")

NOTICE_S = 0.6
WINDOW_S = 0.4
# What each prompt sounds like here, so that a phone can tell which one it hears: Hz and seconds.
PROMPTS: Mapping[str, tuple[float, float]] = {
    "notice": (510, NOTICE_S),
    "welcome": (570, 0.8),
    "refused": (630, 0.6),
    "confirm": (690, 1.0),
    "closed": (750, 1.0),
    "unavailable": (810, 1.0),
    "hold_music": (400, 2.0),
}
NUMBER = "0323063006"
UNUSED_PORTS = "40000-40015"  # apart from all that `free_ports` gives; one process on loopback opens none
# Where a test asks for a language by key.
FIRST_HZ, FIRST_S, ENGLISH_NOTICE_HZ = 870, 0.6, 930
MORE_PROMPTS = {"choose": (FIRST_HZ, FIRST_S), "notice_en": (ENGLISH_NOTICE_HZ, NOTICE_S)}


def write_prompts(directory: Path) -> None:
    """One tone a prompt; the notice's words promise what its real ones do."""
    directory.mkdir(exist_ok=True)
    for name, (frequency, seconds) in {**PROMPTS, **MORE_PROMPTS}.items():
        path = directory / f"{name}.wav"
        soundfile.write(path, tone(frequency, seconds), RATE, subtype="PCM_16")
        words = (
            "Cet appel peut être enregistré pendant six mois. Pour refuser, tapez 9."
            if name == "notice"
            else name
        )
        path.with_suffix(".txt").write_text(words + "\n", encoding="utf-8")


def toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The TOML of plain tables; JSON's literals are TOML's for what occurs here."""
    lines = []
    for table, keys in tables.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {_value(value)}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def behind_edge(calls: int, **capacity: int) -> dict[str, dict[str, Any]]:
    """Tables of an agent with workers for so many calls, on ports of their own."""
    workers, rtp = free_ports(calls + 5), free_ports(32 * calls)
    return {
        "capacity": {"calls": calls, **capacity},
        "trunk": {"rtp_ports": f"{rtp}-{rtp + 32 * calls - 1}"},
        "edge": {"worker_ports": f"{workers}-{workers + calls + 4}"},
    }


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {_value(one)}' for key, one in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


class RunningAgent:
    """`sipagent run` on a loopback port. `overrides`: tables whose keys go over the tests' defaults."""

    def __init__(self, directory: Path, overrides: Mapping[str, Mapping[str, Any]]) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.config = directory / "config.toml"
        self.port = free_ports(1)
        rtp = free_ports(40) if "rtp_ports" not in overrides.get("trunk", {}) else 0
        self.tables: dict[str, dict[str, Any]] = {
            "service": {"name": "Test", "controller": "Test office", "language": "fr", "country": "FR"},
            "trunk": {
                "uri": f"sip:agent@127.0.0.1:{self.port}", "listen": f"127.0.0.1:{self.port}",
                "rtp_ports": f"{rtp}-{rtp + 39}", "allowed_sources": ["127.0.0.1/32"],
                "codecs": ["PCMA", "PCMU"],
            },
            "prompts": {name: f"prompts/{name}.wav" for name in PROMPTS},
            # its phones send tones, which the default engine takes for somebody who never stops speaking
            "refusal": {"engine": "none", "window_s": WINDOW_S},
            "operators": {"extensions": [], "ring_s": 5, "max_wait_s": 10},
            "recording": {"directory": "recordings", "justification": "tests"},
            "edge": {"worker_ports": UNUSED_PORTS},
        }  # fmt: skip
        for table, keys in overrides.items():
            self.tables.setdefault(table, {}).update(keys)
        write_prompts(directory / "prompts")
        self.config.write_text(toml(self.tables), encoding="utf-8")
        self.program: tuple[str | Path, ...] = (sys.executable, "-m", "sipagent")
        self.started_in = directory
        self.search_path = SEARCH_PATH
        self._child: Child | None = None
        self._past: set[str] = set()  # ids of calls that an earlier test made

    def rewrite(self, **overrides: Mapping[str, Any]) -> None:
        """Other keys in its configuration."""
        for table, keys in overrides.items():
            self.tables.setdefault(table, {}).update(keys)
        self.config.write_text(toml(self.tables), encoding="utf-8")

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    @property
    def started(self) -> bool:
        return self._child is not None

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def uri(self, number: str = NUMBER) -> str:
        return f"sip:{number}@127.0.0.1:{self.port}"

    def start(self, *arguments: str, wait: str | None = "ready") -> RunningAgent:
        """Run it; `wait` is the event to wait for."""
        command = [*self.program, "--config", self.config, "run", "--log-json", *arguments]
        found = {"PYTHONPATH": self.search_path, "PYTHONFAULTHANDLER": "1"}
        self._child = Child(command, self.started_in, env=found)
        if wait:
            self.wait_for(wait)
        return self

    @property
    def log_events(self) -> list[Json]:
        """Every JSON object it has logged, in order."""
        with self.child.said:
            return [json.loads(line) for _, line in self.child.lines if line.startswith("{")]

    def wait_for(self, event: str, timeout: float = PATIENCE_S, **fields: Any) -> Json:
        """The first logged object with this `event` and these fields."""

        def wanted(line: str) -> bool:
            if not line.startswith("{"):
                return False
            said = json.loads(line)
            return said.get("event") == event and all(said.get(k) == v for k, v in fields.items())

        found: Json = json.loads(self.child.wait_line(wanted, timeout, f"event {event} {fields or ''}"))
        return found

    def wait_ended(self, calls: int, timeout: float = PATIENCE_S) -> None:
        """Until it has logged the end of this many calls since it was started."""

        def enough(_: str) -> bool:
            return sum('"call_ended"' in line for _, line in self.child.lines) >= calls

        self.child.wait_line(enough, timeout, f"end of {calls} calls")

    def ended(self) -> int:
        """How many calls have ended since it was started, by its log."""
        return sum(e.get("event") == "call_ended" for e in self.log_events)

    def cli(self, *arguments: str, code: int = 0) -> str:
        """Run another command on the same configuration; raises PeerError where it ends with another code."""
        done = subprocess.run(
            [sys.executable, "-m", "sipagent", "--config", str(self.config), *arguments],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": SEARCH_PATH, "PATH": "/usr/bin:/bin"},
            check=False,
        )
        if done.returncode != code:
            raise PeerError(f"sipagent {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def receipts(self) -> list[Json]:
        """What `calls --json` lists, oldest first."""
        with Store(self.directory / "retention.db") as store:
            return self._since([row.to_json() for row in store.receipts()])

    def recordings(self) -> list[Json]:
        """What `list --json` lists, oldest first."""
        with Store(self.directory / "retention.db") as store:
            return self._since([row.to_json() for row in store.recordings()])

    def _since(self, rows: list[Json]) -> list[Json]:
        return sorted((r for r in rows if r["id"] not in self._past), key=lambda row: row["started_at"])

    def forget(self) -> None:
        """Wait for the end of all calls; from now on nothing here speaks of them."""
        past = self._wait(self.receipts, lambda rows: all(r["ended_at"] for r in rows), PATIENCE_S)
        self._past |= {row["id"] for row in past}

    def wait_receipts(self, count: int = 1, timeout: float = PATIENCE_S) -> list[Json]:
        """The receipts once `count` calls are complete."""
        return self._wait(
            self.receipts, lambda rows: sum(r["ended_at"] is not None for r in rows) >= count, timeout
        )

    def wait_recordings(
        self, count: int = 1, status: str = "closed", timeout: float = PATIENCE_S
    ) -> list[Json]:
        """The recordings of a status once there are `count` of them."""

        def of_status() -> list[Json]:
            return [row for row in self.recordings() if row["status"] == status]

        return self._wait(of_status, lambda rows: len(rows) >= count, timeout)

    def wait_settled(self, timeout: float = PATIENCE_S) -> list[Json]:
        """All recordings once none is open: a file may be made after its receipt is complete."""
        return self._wait(self.recordings, lambda rows: all(row["status"] != "open" for row in rows), timeout)

    def _wait(self, ask: Callable[[], Found], enough: Callable[[Found], bool], timeout: float) -> Found:
        """Ask until it is enough; raises PeerError with what it said last."""
        for _ in range(max(1, int(timeout / 0.05))):
            if enough(found := ask()):
                return found
            with self.child.said:  # whatever it writes, it also tells
                self.child.said.wait(0.05)
        decided = [
            f"{e['call']}: {e['decision']} by {e['by']}"
            for e in self.log_events
            if e.get("event") == "decided"
        ]
        raise PeerError(f"after {timeout:g} s only {found}\n{decided}\n{self.child.tail()}")

    def sound(self, recording: Json) -> NDArray[np.int16]:
        """The samples of a recording, `(n, 2)`: caller, operator."""
        samples, rate = soundfile.read(self.directory / recording["path"], dtype="int16", always_2d=True)
        assert (rate, samples.shape[1]) == (RATE, 2)
        return np.asarray(samples)

    def files(self) -> list[str]:
        """What lies in the recordings' folder."""
        folder = self.directory / self.tables["recording"]["directory"]
        found = [p for p in folder.rglob("*") if p.is_file()] if folder.exists() else []
        return sorted(str(p.relative_to(folder)) for p in found if p.name.split(".")[0] not in self._past)

    def wait_files(self, wanted: Callable[[list[str]], bool], timeout: float = PATIENCE_S) -> list[str]:
        """What lies in the recordings' folder, once it is as wanted."""
        return self._wait(self.files, wanted, timeout)

    def wait_part(self) -> list[str]:
        """Until a recording has begun."""
        return self.wait_files(lambda files: any(file.endswith(".part") for file in files))

    def wait_no_files(self) -> None:
        self.wait_files(lambda files: files == [])

    def wait_no_legs(self, timeout: float = PATIENCE_S) -> None:
        """Until the engine has let go of every port of every leg, as the kernel sees it."""
        first, _, last = self.tables["trunk"]["rtp_ports"].partition("-")

        def bound() -> set[int]:
            rows = Path("/proc/net/udp").read_text().splitlines()[1:]
            ports = {int(row.split()[1].split(":")[1], 16) for row in rows}
            return {port for port in ports if int(first) <= port <= int(last)}

        self._wait(bound, lambda ports: not ports, timeout)

    def kill(self) -> None:
        """As a power cut does."""
        self.child.signal(SIGKILL)
        self.child.wait()

    def stop(self, timeout: float = PATIENCE_S) -> int:
        """SIGTERM; its exit code."""
        if self.child.running:
            self.child.signal(SIGTERM)
        return self.child.wait(timeout)

    def close(self) -> None:
        """End it, whatever its state, and check that nothing went wrong inside."""
        was_running = self.child.running
        code = None
        try:
            code = self.stop()
        finally:
            self.child.stop()
        said = "\n".join(line for _, line in self.child.lines)
        if "Traceback" in said or "Fatal Python error" in said or (was_running and code != 0):
            raise PeerError(f"the agent ended with {code} and said:\n{said[-8000:]}")
