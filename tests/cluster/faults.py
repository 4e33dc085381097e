"""What goes wrong in a round, and its end."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from signal import SIGTERM

from tests.cluster.judging import Harm
from tests.cluster.plan import Fault, Kind
from tests.cluster.site import Site

DRAIN_S = 60.0
OF_A_HOST = ("process", "host", "drain")
OF_THE_DATABASE = ("database", "promotion", "database_pauses", "standby", "cut_database", "stall_database")


class Going:
    """A fault on a thread of its own, from its moment on; `end` heals all, and waits until all hosts run."""

    def __init__(self, site: Site, fault: Fault, began: float, chance: random.Random) -> None:
        self._site, self._fault, self._began, self._chance = site, fault, began, chance
        self.what: str = fault.kind
        self.harms: list[Harm] = []
        self.wrong: list[str] = []  # hosts that ended as they should not
        self.database_away: tuple[int, int] | None = None  # ns
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fault")
        self._job = self._pool.submit(self._run)

    def _run(self) -> None:
        if self._fault.kind == "none":
            return
        time.sleep(max(0.0, self._began + self._fault.at_s - time.monotonic()))
        from_ns = time.monotonic_ns()
        self._ways()[self._fault.kind]()
        time.sleep(self._fault.lasts_s)
        if self._fault.kind in OF_A_HOST:
            self.harms.append(Harm(self._fault.host, from_ns, time.monotonic_ns()))
        elif self._fault.kind in OF_THE_DATABASE:
            self.database_away = (from_ns, time.monotonic_ns())

    def _ways(self) -> dict[Kind, Callable[[], None]]:
        host, engines = self._site.hosts[self._fault.host], self._site.engines
        return {
            "process": self._kill_one,
            "host": host.burn,
            "drain": partial(host.agent.child.signal, SIGTERM),
            "database": engines.first.kill,
            "standby": engines.lose_standby,
            "promotion": engines.fail_over,
            "database_pauses": engines.first.pause,
            "store": engines.store.kill,
            "store_pauses": engines.store.pause,
            "cut_database": host.lines.cut_databases,
            "stall_database": host.lines.stall_databases,
            "cut_store": host.lines.store.cut,
            "stall_store": host.lines.store.stall,
        }

    def _kill_one(self) -> None:
        self.what = f"process {self._site.hosts[self._fault.host].kill_one(self._chance)}"

    def end(self) -> None:
        """Wait for it, then heal. Raises what went wrong with the fault itself."""
        self._job.result()
        self._pool.shutdown()
        self._site.engines.heal()
        for host in self._site.hosts.values():
            hit = host.name == self._fault.host
            if hit and self._fault.kind == "drain":
                code = host.agent.child.wait(
                    DRAIN_S
                )  # a second signal would end it at once, perhaps as it ends
            else:
                code = 0 if host.up or (hit and self._fault.kind in OF_A_HOST) else host.agent.child.wait()
            if code:
                self.wrong.append(
                    f"host {host.name} ended by itself, with {code}: {host.agent.child.tail(3)}"
                )
            if not host.up:
                host.start(wait=False)
        for host in self._site.hosts.values():
            host.wait_ready()
        for harm in self.harms:
            harm.to_ns = time.monotonic_ns()
