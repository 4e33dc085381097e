"""What a program and all its children cost, by /proc: CPU seconds, memory, handles."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def spent_s(pid: int) -> float:
    """CPU seconds, user and system, of a process and all its threads."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / TICKS


def family(root: int) -> list[int]:
    """This process and all that descend from it."""
    found = [root]
    for pid in found:  # which grows meanwhile
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # it has just ended
                found += map(int, children.read_text().split())
    return found


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds so far of each process of a family, and which one it is: `edge`, `root` or `worker`."""

    by_pid: dict[int, float]
    roles: dict[int, str]

    @classmethod
    def now(cls, root: int) -> Spent:
        by_pid, roles = {}, {}
        for pid in family(root):
            with suppress(OSError):
                edge = Path(f"/proc/{pid}/comm").read_text().startswith("kamailio")
                by_pid[pid] = spent_s(pid)
                roles[pid] = "root" if pid == root else "edge" if edge else "worker"
        return cls(by_pid, roles)

    def since(self, before: Spent, role: str = "") -> float:
        """CPU seconds spent between the two, by all or by one role; of a process that has ended, nothing."""
        return sum(
            s - before.by_pid.get(pid, 0.0) for pid, s in self.by_pid.items() if role in ("", self.roles[pid])
        )


@dataclass(frozen=True, slots=True)
class Memory:
    """MB: a family's part of what is shared (PSS), what is its own alone, all of it (RSS); open files."""

    pss: float
    private: float
    rss: float
    handles: int

    @classmethod
    def now(cls, root: int) -> Memory:
        pss = private = rss = 0.0
        handles = 0
        for pid in family(root):
            with suppress(OSError):
                rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
                sizes = {name: int(rest.split()[0]) for name, _, rest in (r.partition(":") for r in rows)}
                pss += sizes["Pss"] / 1024
                private += (sizes["Private_Clean"] + sizes["Private_Dirty"]) / 1024
                rss += sizes["Rss"] / 1024
                handles += len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(pss, private, rss, handles)
