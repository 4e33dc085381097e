"""What a program and all its children cost, by /proc: CPU seconds, memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def spent_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and all its threads."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def family(roots: list[int]) -> list[int]:
    """These processes and all that descend from them."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it has just ended
    found = list(roots)
    for pid in found:  # which grows meanwhile
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def role(pid: int, roots: list[int]) -> str:
    """`edge`, `root` for what was started itself, or `worker`."""
    if pid in roots:
        return "root"
    return "edge" if Path(f"/proc/{pid}/comm").read_text().startswith("kamailio") else "worker"


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds of each process so far."""

    by_pid: dict[int, float]
    roles: dict[int, str]

    @classmethod
    def now(cls, roots: list[int]) -> Spent:
        by_pid, roles = {}, {}
        for pid in family(roots):
            try:
                by_pid[pid], roles[pid] = spent_s(pid), role(pid, roots)
            except OSError:
                continue
        return cls(by_pid, roles)

    def since(self, before: Spent) -> float:
        """CPU seconds spent between the two; of a process that has ended since, nothing."""
        return sum(s - before.by_pid.get(pid, 0.0) for pid, s in self.by_pid.items())

    def of_role_since(self, name: str, before: Spent) -> float:
        return sum(
            s - before.by_pid.get(pid, 0.0) for pid, s in self.by_pid.items() if self.roles[pid] == name
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """MB: what is this family's share of what is shared (PSS), and what is its own alone."""

    pss: float
    private: float
    processes: int

    @classmethod
    def now(cls, roots: list[int]) -> Memory:
        pss = private = 0.0
        pids = family(roots)
        for pid in pids:
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
            sizes = {name: int(rest.split()[0]) / 1024 for name, _, rest in (r.partition(":") for r in rows)}
            pss += sizes["Pss"]
            private += sizes["Private_Clean"] + sizes["Private_Dirty"]
        return cls(pss, private, len(pids))
