"""Three hosts, what they share, operators who hang up a line that went dead, and a key to listen with."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from retention.vault import new_pair
from sipagent.softphone.phone import Call, Loop
from tests.cluster.engines import Engines
from tests.cluster.host import CALLS, Host
from tests.cluster.phones import DESKS, Desk, desks
from tests.cluster.searching import Found, Place, files_below, search, versions_of

DEAD_NS = 2_000_000_000  # an operator who hears nothing for so long hangs up
LOOK_S = 0.25
_PUBLIC = frozenset(("prompts", "config.toml"))


class Site:
    """All of it below one folder; the hosts aren't started. `overrides` go over their configuration."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        hosts: Mapping[str, int] = CALLS,
        operators: int = 4,
        engines: Engines | None = None,
    ) -> None:
        self.folder = folder
        self.stack = stack
        self.loop = stack.enter_context(Loop())
        self.engines = engines or Engines(folder, stack)
        public, secret = new_pair(folder / "recordings", None, "DPO")
        self.private = b64decode(json.loads(secret.read_text())["secret"])
        self.desks: list[Desk] = desks(self.loop, operators)
        for desk in self.desks:
            stack.enter_context(desk)
        tables: dict[str, dict[str, Any]] = {
            "service": {"timezone": "UTC"},
            "operators": {"extensions": [desk.uri for desk in self.desks], "ring_s": 3, "max_wait_s": 8},
        }
        for table, keys in (overrides or {}).items():
            tables.setdefault(table, {}).update(keys)
        self.hosts = {
            name: Host(name, folder, self.engines, public, tables, calls=calls)
            for name, calls in hosts.items()
        }
        self._over = threading.Event()
        watch = threading.Thread(target=self._hang_up_dead_lines, name="operators")
        watch.start()
        stack.callback(watch.join)
        stack.callback(self._over.set)

    def start(self) -> None:
        """Start all hosts at once, on a database that is empty."""
        for host in self.hosts.values():
            host.start(wait=False)
        for host in self.hosts.values():
            host.wait_ready()

    def stop(self) -> None:
        for host in self.hosts.values():
            host.close()

    def kill(self) -> None:
        """End all hosts, however they are."""
        for host in self.hosts.values():
            host.burn()

    @property
    def uris(self) -> dict[str, str]:
        return {name: host.uri for name, host in self.hosts.items()}

    def anyone(self) -> Host:
        """A host on which commands can be given; they need no agent."""
        return next((host for host in self.hosts.values() if host.up), next(iter(self.hosts.values())))

    # --- operators ---

    def _hang_up_dead_lines(self) -> None:
        while not self._over.wait(LOOK_S):
            for desk in self.desks:
                with self.loop.changing():
                    for call in [] if desk.closed else desk.calls:
                        if _is_dead(call):
                            call.hang_up()

    def spans(self) -> dict[str, list[tuple[int, int]]]:
        """When each operator was in a call; ns. One that goes on ends now."""
        now = time.monotonic_ns()
        with self.loop.lock:
            return {
                desk.user: [
                    (call.answered_ns, call.ended_ns or now)
                    for call in desk.calls
                    if call.answered_ns is not None
                ]
                for desk in self.desks
            }

    def rung_while_busy(self) -> list[int]:
        """When a phone in a call was rung for another, ns."""
        with self.loop.lock:
            return [
                one.at_ns for desk in self.desks for one in desk.seen if one.describe() == "486 INVITE sent"
            ]

    def forget_calls(self) -> None:
        """What the phones remember of calls that are over."""
        with self.loop.lock:
            for desk in self.desks:
                desk.calls[:] = [call for call in desk.calls if call.ended_ns is None]
                desk.seen.clear()
                desk.skip_calls()

    # --- what is kept ---

    def everything(self) -> Iterator[Place]:
        """What the hosts and the object store have; not the database's own files."""
        for host in self.hosts.values():
            yield from files_below(host.agent.directory, _PUBLIC)
        yield from versions_of(self.engines.store.versions(self.engines.bucket))

    def database_files(self) -> Iterator[Place]:
        """What both servers have on the disk, their write-ahead logs in it."""
        for server in self.engines.servers:
            yield from files_below(server.data)

    def search(self) -> Found:
        return search(self.everything(), self.private)

    def leave_evidence(self) -> None:
        """Write what the hosts have logged, and all rows of the database, below the folder."""
        for host in self.hosts.values():
            (self.folder / f"{host.name}.log").write_text(host.said)
        (self.folder / "database.sql").write_text(self.engines.first.dump(self.engines.database))


def _is_dead(call: Call) -> bool:
    if call.answered_ns is None or call.ended_ns is not None:
        return False
    heard = call.rtp.heard[-1].at_ns if call.rtp.heard else call.answered_ns
    return time.monotonic_ns() - max(heard, call.answered_ns) > DEAD_NS


__all__ = ["DESKS", "Site"]
