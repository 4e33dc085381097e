"""What is asked of a running Kamailio: JSON-RPC over a Unix datagram socket (its module jsonrpcs)."""

import json
import socket
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from sipagent.edge import WORKERS
from sipagent.edge_log import Rejected, rejected
from sipagent.edge_plan import Plan

PATIENCE_S = 2.0
ANSWER_LIMIT = 1 << 20  # bytes
NOTHING_THERE = 404  # as in HTTP
_ids = count(1)


class EdgeError(Exception):
    """Kamailio does not start, does not answer, or refuses; `str()` is one line."""


class NothingThere(EdgeError):
    """What was asked for is not there."""


@dataclass(frozen=True, slots=True)
class Dialog:
    """One that the edge keeps, by the two numbers that name it, and the calls' Call-ID."""

    entry: int
    id: int
    call_id: str


@dataclass(frozen=True, slots=True)
class Statistics:
    """Since the edge's start: requests of `strangers` that were dropped; calls rejected because all was
    `full`, or because too many came at once (`rate`). Now: `calls`, those of callers.
    """

    strangers: int
    full: int
    rate: int
    calls: int


class EdgeRpc:
    """Each method waits for an answer, two seconds at most, and raises EdgeError. Any thread may call."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self._path, self._plan = path, plan

    def activate(self, index: int) -> None:
        """Give a worker calls, and look every few seconds whether it still answers."""
        self._set(index, "ap")

    def deactivate(self, index: int) -> None:
        """Give a worker no new calls; those in progress go on."""
        self._set(index, "d")

    def _set(self, index: int, state: str) -> None:
        self.ask("dispatcher.set_state", state, WORKERS, f"sip:{self._plan.worker(index)}")

    def active(self) -> frozenset[int]:
        """List the workers that are not deactivated; one that does not answer just now is among them."""
        sets = self.ask("dispatcher.list")["RECORDS"]
        rows = [target["DEST"] for one in sets for target in one["SET"]["TARGETS"]]
        states = {row["URI"]: row["FLAGS"] for row in rows}
        addresses = ((index, f"sip:{self._plan.worker(index)}") for index in range(self._plan.workers))
        return frozenset(index for index, uri in addresses if not states.get(uri, "D").startswith("D"))

    def reload(self) -> None:
        """Read the lists of workers and of sources anew; each worker's state is that of the list."""
        self.ask("dispatcher.reload")
        self.ask("permissions.addressReload")

    def allow(self, calls: int) -> None:
        """Take so many simultaneous callers in all."""
        self.ask("cfg.seti", "edge", "calls", calls)

    def drain(self) -> None:
        """Take no new calls, and say so to OPTIONS."""
        self.ask("cfg.seti", "edge", "draining", 1)

    def dialogs(self, index: int) -> tuple[Dialog, ...]:
        """List what goes on with a worker: its callers' dialogs and its operators'."""
        worker = f"sip:{self._plan.worker(index)}"
        found = [row for profile in ("worker", "leg") for row in self._listed(profile, worker)]
        return tuple(Dialog(int(row["h_entry"]), int(row["h_id"]), str(row["call-id"])) for row in found)

    def _listed(self, profile: str, value: str) -> list[dict[str, Any]]:
        rows = self.ask("dlg.profile_list", profile, value)
        return rows if isinstance(rows, list) else [rows] if rows else []

    def end_dialogs(self, index: int) -> int:
        """Send BYE to both sides of all that goes on with a worker; how many dialogs that were."""
        found = self.dialogs(index)
        for dialog in found:
            self.ask("dlg.end_dlg", dialog.entry, dialog.id)
        return len(found)

    def statistics(self) -> Statistics:
        """Count."""
        said = self.ask("stats.fetchn", "script:")
        calls = self.ask("dlg.profile_get_size", "calls")
        return Statistics(
            **{name: int(said[f"script.{name}"]) for name in ("strangers", "full", "rate")}, calls=int(calls)
        )

    def rejected(self) -> Rejected | None:
        """Fetch one call that was rejected, the oldest; None where there is no other."""
        try:
            said = self.ask("mqueue.fetch", "rejected")
        except NothingThere:
            return None
        try:
            return rejected(str(said["val"]))
        except (KeyError, TypeError, ValueError) as problem:
            raise EdgeError(f"the edge answers mqueue.fetch with {said!r:.200}") from problem

    def ask(self, method: str, *parameters: str | int) -> Any:
        """Call a method; its result. Raises EdgeError."""
        id = next(_ids)
        question = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": id}
        try:
            said = _exchange(self._path, json.dumps(question).encode(), id)
        except OSError as problem:
            raise EdgeError(f"the edge does not answer {method}: {problem}") from problem
        if "error" in said and said["error"].get("code") == NOTHING_THERE:
            raise NothingThere(f"the edge has nothing for {method}")
        if "error" in said:
            raise EdgeError(f"the edge refuses {method}: {said['error'].get('message', said['error'])}")
        return said.get("result")


def _exchange(path: Path, question: bytes, id: int) -> dict[str, Any]:
    """Raises OSError, TimeoutError among them."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.settimeout(PATIENCE_S)
        asking.bind("")  # an abstract address of the kernel's choice (unix(7)): nothing to clean up
        asking.connect(str(path))
        asking.send(question)
        said: dict[str, Any] = json.loads(asking.recv(ANSWER_LIMIT))
    return said
