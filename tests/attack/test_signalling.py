"""SIP from anybody: strangers, other hosts of the trunk, and users of this very machine."""

from __future__ import annotations

import secrets
import socket
import threading
from contextlib import closing, suppress

import pytest

from sipagent.softphone.phone import Call, Phone
from sipagent.softphone.sip import Headers, Message, sdp
from tests.attack.conftest import Make
from tests.attack.site import DESKS, FOREIGN, OURS, TRUNK
from tests.live import calls
from tests.peers.flood import Flood

pytestmark = pytest.mark.live

DTMF: Headers = (("Content-Type", "application/dtmf-relay"),)
SDP: Headers = (("Content-Type", "application/sdp"),)
QUIET_S = 1.0  # an answer that has not come by then does not come
FLOOD, RATE = 400, 100.0


def answers(phone: Phone) -> list[str]:
    return [one.message.describe() for one in phone.seen if not one.sent]


def send(phone: Phone, message: Message, to: tuple[str, int]) -> None:
    with phone.loop.changing():
        phone.send(message, to)


def within(call: Call) -> list[Message]:
    """All that may be said in a dialog, by whoever knows its names."""
    offer = sdp(("127.0.0.66", 9), (8, 0), 101, "sendrecv", 99)
    return [
        call._request("INFO", 700, DTMF, b"Signal=9\r\nDuration=160\r\n"),
        call._request("INVITE", 701, SDP, offer),
        call._request("UPDATE", 702, SDP, offer),
        call._request("REFER", 703, (("Refer-To", "<sip:0900@198.51.100.1>"),)),
        call._request("BYE", 704),
    ]


@pytest.mark.parametrize("ip", [FOREIGN, TRUNK, DESKS])
def test_whoever_knows_a_dialogs_names_is_not_obeyed(site: Make, ip: str) -> None:
    """On either leg, from other addresses and from those of the parties but for the port."""
    there = site()
    bridge = there.talk()
    mallory = there.phone("mallory", 0, ip)
    for leg in (bridge.caller, bridge.operator):
        for message in within(leg):
            send(mallory, message, leg._next_hop())
    calls.talk(bridge.caller, QUIET_S)
    assert answers(mallory) == []
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    there.hang_up(bridge.caller)
    (receipt,) = there.agent.wait_receipts()
    assert (receipt["decision"], receipt["outcome"]) == ("allowed", "connected")
    assert there.agent.wait_recordings()


def test_the_trunks_own_flood_ends_no_call_and_no_process(site: Make) -> None:
    there = site()
    bridge = there.talk()
    with closing(Flood(TRUNK, there.address, there.uri(), FLOOD, RATE)) as flood:
        told = flood.wait_all(60)
        assert sum(told.values()) == FLOOD
        assert set(told) <= {200, 503}, told
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    bridge.caller.hang_up()
    bridge.operator.wait_ended()
    assert not [e for e in there.agent.log_events if "has died" in str(e.get("reason"))]
    assert there.agent.child.running


def test_local_users_reach_no_worker_and_call_nobody_through_it(site: Make) -> None:
    """Whatever of its ports they send to, from whatever port of theirs is free."""
    there = site()
    outside = there.phone("0900", 0, "127.0.0.99")
    local = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with closing(local):
        local.bind(("127.0.0.1", 0))
        for port in (there.worker_ports[0], *there.worker_ports, there.address[1]):
            for uri in (outside.uri, there.uri()):
                for host in ("127.0.0.1", OURS):
                    local.sendto(invite(uri, local.getsockname()), (host, port))
    for port in there.worker_ports:
        with suppress(OSError), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as free:
            free.bind(("127.0.0.1", port))  # one that no worker has
            free.sendto(invite(outside.uri, free.getsockname()), ("127.0.0.1", there.worker_ports[0]))
    threading.Event().wait(QUIET_S)
    assert outside.seen == []
    assert there.agent.receipts() == []
    bridge = there.talk()
    there.hang_up(bridge.caller)


def invite(uri: str, sender: tuple[str, int]) -> bytes:
    ip, port = sender
    headers = (
        ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}"),
        ("Max-Forwards", "70"), ("From", f"<sip:local@{ip}>;tag=1"), ("To", f"<{uri}>"),
        ("Call-ID", secrets.token_hex(8)),
        ("CSeq", "1 INVITE"), ("Contact", f"<sip:local@{ip}:{port}>"), ("Content-Type", "application/sdp"),
    )  # fmt: skip
    return Message(f"INVITE {uri} SIP/2.0", headers, sdp((ip, 4000), (8, 0), 101, "sendrecv", 1)).pack()
