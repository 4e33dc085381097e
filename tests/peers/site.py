"""Two hosts of a service, their operators and a caller, on the addresses that deploy/cluster/ names."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGTERM
from typing import Any

from sipagent.softphone.phone import Answering, Call, Loop, Phone, PhoneError
from sipagent.softphone.rtp import SteadyTone
from tests.live import calls
from tests.peers.agent import RunningAgent
from tests.peers.process import PeerError, free_ports

HOSTS = {"a": "192.0.2.11", "b": "192.0.2.12"}
ADDRESS, FRONT = "192.0.2.10", "192.0.2.20"  # the one that moves; Kamailio's
TRUNK, CALLER = "198.51.100.1", "198.51.100.20"
DESKS = {"a": "203.0.113.31", "b": "203.0.113.32"}
CALLS = 2  # that each host takes
START_S, PATIENCE_S = 60.0, 20.0


class Site:
    """Two hosts whose operators' phones answer at once, and a caller."""

    def __init__(self, directory: Path, loop: Loop, sources: list[str], **trunk: Any) -> None:
        self.loop, self.directory = loop, directory
        self.caller = Phone(loop, "+33612345678", CALLER)
        self.caller.sound = lambda: SteadyTone(calls.CALLER_HZ)
        self.desks = {name: Phone(loop, f"20{name}", ip) for name, ip in DESKS.items()}
        for desk in self.desks.values():
            desk.answer, desk.sound = Answering(after_s=0.1), lambda: SteadyTone(calls.OPERATOR_HZ)
        self.hosts = {name: self._host(name, sources, trunk) for name in HOSTS}
        self.seen: dict[str, Any] = {}

    def _host(self, name: str, sources: list[str], trunk: dict[str, Any]) -> RunningAgent:
        workers = free_ports(4)
        return RunningAgent(
            self.directory / name,
            {
                "trunk": {
                    "uri": f"sip:agent@{HOSTS[name]}", "listen": f"{HOSTS[name]}:5060",
                    "allowed_sources": sources, "rtp_ports": "10000-10063", **trunk,
                },
                "operators": {"extensions": [self.desks[name].uri]},
                "capacity": {"calls": CALLS},
                "edge": {"worker_ports": f"{workers}-{workers + 3}", "invites_per_s": 50},
            },
        )  # fmt: skip

    def start(self) -> None:
        for host in self.hosts.values():
            host.start("--drain-s", "60", wait=None)
        for host in self.hosts.values():
            host.wait_for("ready", START_S)

    def close(self) -> None:
        for host in (one for one in self.hosts.values() if one.started):
            host.close()

    def call(self, uri: str, proxy: str | None = None) -> Call:
        """A caller whom somebody has answered."""
        call = self.caller.call(uri, proxy=(proxy, 5060) if proxy else None)
        try:
            call.wait_answered(PATIENCE_S)
        except PhoneError as failure:
            rows = [row for host in self.hosts.values() for row in host.receipts()]
            told = [row["events"] for row in rows if row["call_id"] == call.call_id]
            raise PeerError(f"{failure}; receipts: {told}") from failure
        return call

    def at(self, call: Call, *, ended: bool = False) -> str:
        """The host that has it, or had it."""
        found = ""

        def there() -> bool:
            nonlocal found
            for name, host in self.hosts.items():
                rows = [row for row in host.receipts() if row["call_id"] == call.call_id]
                found = name if any(row["ended_at"] or not ended for row in rows) else found
            return bool(found)

        until(there, "host that has the call")
        return found

    def short_call(self, place: Callable[[], Call]) -> tuple[str, float]:
        """A call that ends once it is answered: the host that had it, and how long the answer took, s."""
        began = time.monotonic()
        call = place()
        took = time.monotonic() - began
        call.hang_up()
        call.wait_ended()
        return self.at(call, ended=True), took

    def bridged(self, place: Callable[[], Call], wanted: str) -> calls.Bridge:
        """A call that goes on, of the wanted host's."""
        while True:
            for desk in self.desks.values():
                desk.skip_calls()
            call = place()
            if (name := self.at(call)) == wanted:
                return calls.bridged(call, self.desks[name], PATIENCE_S)
            call.hang_up()
            call.wait_ended()

    def drained(self, name: str, place: Callable[[], Call], gone: Callable[[], object]) -> None:
        """End a host that has a call, as an upgrade does; `gone` waits until the front knows of it."""
        host, other = self.hosts[name], next(one for one in self.hosts if one != name)
        bridge = self.bridged(place, name)
        host.child.signal(SIGTERM)
        gone()
        taken = [self.short_call(place) for _ in range(3)]
        self.seen["while it drains"] = [name for name, _ in taken]
        self.seen["slowest while it drains, s"] = max(took for _, took in taken)
        since = time.monotonic_ns()
        calls.talk(bridge.caller, 1.0)
        for side, hz in ((bridge.caller, calls.OPERATOR_HZ), (bridge.operator, calls.CALLER_HZ)):
            side.rtp.wait_tone(hz)
            silence_s = side.rtp.listen(since, time.monotonic_ns()).longest_silence_s()
            self.seen["longest silence of its call, s"] = max(
                silence_s, self.seen.get("longest silence of its call, s", 0.0)
            )
        bridge.hang_up("operator")
        self.seen["its end"] = host.child.wait(PATIENCE_S)
        (kept,) = host.wait_recordings()
        self.seen["its recording"] = {"incomplete": kept["incomplete"], "long": kept["duration_s"] > 1}
        self.seen["the other"] = other


def options(address: str) -> int:
    """What an address answers to OPTIONS, from the trunk's; 0 for nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind((TRUNK, 0))
        asking.settimeout(0.5)
        ip, port = asking.getsockname()
        asked = (
            f"OPTIONS sip:{address} SIP/2.0",
            f"Via: SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{time.monotonic_ns()}",
            f"From: <sip:trunk@{ip}>;tag=1",
            f"To: <sip:{address}>",
            f"Call-ID: {time.monotonic_ns()}",
            "CSeq: 1 OPTIONS",
            "Max-Forwards: 70",
            "Content-Length: 0",
        )
        asking.sendto("\r\n".join((*asked, "", "")).encode(), (address, 5060))
        try:
            return int(asking.recv(4096).split()[1])
        except TimeoutError:
            return 0


def until(happened: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> float:
    """Wait for what no program tells; how long it took, s."""
    began = time.monotonic()
    while not happened():
        if time.monotonic() - began > patience_s:
            raise PeerError(f"no {what} within {patience_s:g} s")
        time.sleep(0.02)
    return time.monotonic() - began
