"""Whom the edge hears within dialogs where addresses are not this machine's alone, as on a network.

It gives itself such addresses, so it wants a network namespace of its own, where they reach nobody:

    unshare -rn python -m tests.peers.networks 6 DIRECTORY

prints, by whose dialog it is and who sends within it, whether that was answered.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sipagent.config.load import HostPort
from sipagent.edge.files import forget_dialogs
from sipagent.edge.plan import HOP_HEADER, Addresses, Plan
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Loop
from sipagent.softphone.sip import Message, uri_of
from tests.peers import edge as scene
from tests.peers.edge import Edge
from tests.peers.process import PeerError, free_ports
from tests.peers.sender import SDP

NETWORK = {"4": "192.0.2.{}", "6": "2001:db8::{}"}  # RFC 5737, RFC 3849
LOOPBACK = {"4": "127.0.0.1", "6": "::1"}
OURS, TRUNK, TRUNK_TOO, PBX, PHONE, STRANGER = range(1, 7)


@dataclass(frozen=True, slots=True)
class Dialog:
    """As its outer side sees it."""

    target: str
    routes: tuple[str, ...]
    local: str
    remote: str
    call_id: str

    def request(self, host: str, method: str, number: int) -> bytes:
        """A request within it."""
        headers = [
            ("Via", f"SIP/2.0/UDP {host};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
            ("Max-Forwards", "70"), *(("Route", route) for route in self.routes), ("From", self.local),
            ("To", self.remote), ("Call-ID", self.call_id), ("CSeq", f"{number} {method}"),
        ]  # fmt: skip
        return Message(f"{method} {self.target} SIP/2.0", tuple(headers)).pack()


class Party:
    """Somebody at an address: calls, is called, sends within dialogs."""

    def __init__(self, ip: str, edge: Edge) -> None:
        self._edge = edge
        self._socket = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ip, 0))
        self._socket.settimeout(0.02)
        self.host = str(HostPort(*self._socket.getsockname()[:2]))

    def call(self, contact: str) -> Dialog:
        """Call a worker; what follows is to come to `contact`."""
        caller, called, call_id = "<sip:a@h>;tag=1", f"<{self._edge.uri()}>", secrets.token_hex(8)
        headers = (
            ("Via", f"SIP/2.0/UDP {self.host};rport;branch=z9hG4bK{call_id}"), ("Max-Forwards", "70"),
            ("From", caller), ("To", called), ("Call-ID", call_id), ("CSeq", "1 INVITE"),
            ("Contact", f"<sip:a@{contact}>"), ("Content-Type", "application/sdp"),
        )  # fmt: skip
        self._send(Message(f"INVITE {self._edge.uri()} SIP/2.0", headers, SDP.encode()).pack())
        answer = self._wait("200 INVITE")
        routes = tuple(reversed(answer.all("Record-Route")))
        dialog = Dialog(uri_of(answer.header("Contact")), routes, caller, answer.header("To"), call_id)
        self._send(dialog.request(self.host, "ACK", 1))
        return dialog

    def called(self) -> Dialog:
        """Answer a worker's call."""
        invite = self._wait("INVITE")
        local = f"{invite.header('To')};tag=2"
        kept = [one for one in invite.headers if one[0] in ("Via", "From", "Call-ID", "CSeq", "Record-Route")]
        own = [("To", local), ("Contact", f"<sip:b@{self.host}>"), ("Content-Type", "application/sdp")]
        self._send(Message("SIP/2.0 200 OK", (*kept, *own), SDP.encode()).pack())
        self._wait("ACK")
        target, routes = uri_of(invite.header("Contact")), tuple(invite.all("Record-Route"))
        return Dialog(target, routes, local, invite.header("From"), invite.header("Call-ID"))

    def heard(self, dialog: Dialog) -> bool:
        """Whether a request within this dialog is answered with 200; else it has been dropped and counted."""
        before = self._edge.statistics.strangers
        number = time.monotonic_ns() // 1_000_000 % (1 << 31)
        self._send(dialog.request(self.host, "INFO", number))
        patience = time.monotonic() + PATIENCE_S
        while time.monotonic() < patience:
            with suppress(TimeoutError):
                if Message.parse(self._socket.recv(65535)).describe() == "200 INFO":
                    return True
            if self._edge.statistics.strangers > before:
                return False
        raise PeerError("a request neither answered nor dropped")

    def _send(self, packet: bytes) -> None:
        self._socket.sendto(packet, self._edge.address)

    def _wait(self, message: str) -> Message:
        patience = time.monotonic() + PATIENCE_S
        while time.monotonic() < patience:
            with suppress(TimeoutError):
                got = Message.parse(self._socket.recv(65535))
                if got.describe() == message:
                    return got
        raise PeerError(f"no {message}")


def heard(edge: Edge, version: str) -> dict[str, dict[str, bool]]:
    """Who is heard in a caller's dialog, in an operator's, and in both after the edge has forgotten them."""

    def party(number: int) -> Party:
        return Party(NETWORK[version].format(number), edge)

    phone, trunk = party(PHONE), party(TRUNK)
    caller = trunk.call(phone.host.replace("2001:db8::", "2001:0DB8:0::"))
    edge.workers[0].call(
        f"sip:b@{phone.host}", proxy=edge.plan.inner, headers=((HOP_HEADER, edge.tokens.to_edge),)
    )
    leg = phone.called()
    senders = {
        "the same port": phone,
        "the same address": party(PHONE),
        "trunk": party(TRUNK),
        "another of the trunk": party(TRUNK_TOO),
        "PBX": party(PBX),
        "stranger": party(STRANGER),
        "this machine": party(OURS),
        "loopback": Party(LOOPBACK[version], edge),
    }
    told = {
        "caller": {name: one.heard(caller) for name, one in senders.items()},
        "operator": {name: one.heard(leg) for name, one in senders.items()},
    }
    edge.process.stop()
    forget_dialogs(edge.process.directory)
    edge.start()
    told["forgotten caller"] = {name: one.heard(caller) for name, one in senders.items()}
    told["forgotten operator"] = {name: one.heard(leg) for name, one in senders.items()}
    return told


def plan(version: str) -> Plan:
    """An edge at one address, with the others for who sends to it."""
    network = NETWORK[version]
    ours = network.format(OURS)
    for number in range(OURS, STRANGER + 1):
        prefix = "32" if version == "4" else "128"
        address = f"{network.format(number)}/{prefix}"
        nodad = ["nodad"] if version == "6" else []
        subprocess.run(["ip", "address", "add", address, "dev", "lo", *nodad], check=True)
    trunk = tuple(ipaddress.ip_network(network.format(one)) for one in (TRUNK, TRUNK_TOO))
    operators = (ipaddress.ip_network(network.format(PBX)),)
    return scene.plan(
        addresses=Addresses(ours, trunk, operators),
        listen=HostPort(ours, free_ports(1)),
        advertised=ours,
    )


def main(version: str, directory: str) -> None:
    """Run one scene."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with Loop() as loop:
        edge = Edge(Path(directory) / "edge", loop, plan(version))
        try:
            print(json.dumps(heard(edge.start(), version)))
        finally:
            edge.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
