"""SIP from anybody: strangers, other hosts of the trunk, and users of this very machine."""

from __future__ import annotations

import secrets
import socket
import threading
from contextlib import closing, suppress

import pytest

from sipagent.softphone.phone import Call, Challenge, Phone, PhoneTimeout
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


@pytest.mark.parametrize("lines", [16, 40])
def test_more_media_than_there_are_sockets_is_refused(site: Make, lines: int) -> None:
    """New calls, and offers within one: two, or three, of 16 lines ended the process."""
    there = site()
    section = "m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    body = sdp((TRUNK, 4000), (8, 0), 101, "sendrecv", 1) + (section * (lines - 1)).encode()
    for _ in range(3):
        assert there.caller.call(there.uri(), sdp=body).wait_status() in (400, 413, 488, 513)
    bridge = there.talk()
    for leg in (bridge.caller, bridge.operator):
        for _ in range(4):
            status = leg.request("INVITE", SDP, body).status
            assert status in (400, 413, 488, 500, 513), status
    bridge.caller.rtp.wait_tone(calls.OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(calls.CALLER_HZ)
    there.hang_up(bridge.caller)
    assert there.agent.child.running


HOSTILE = {
    "a user that is no ASCII": ("To", "<sip:héhé@127.0.0.5>"),
    "a display name of 5 kB": ("From", f'"{"x" * 5000}" <sip:a@127.0.0.2>;tag=1'),
    "no host": ("Contact", "<sip:@>"),
    "a port that is none": ("Via", "SIP/2.0/UDP 127.0.0.2:99999;branch=z9hG4bKx"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_nobody_can_parse_takes_no_place(site: Make, what: str) -> None:
    """As many of them as there are places, and then a caller who is served at once."""
    there = site()
    name, value = HOSTILE[what]
    sent = [there.caller.call(there.uri(), headers=((name, value),)) for _ in range(6)]
    with suppress(PhoneTimeout):  # who hears nothing is sure to have no place
        there.loop.wait_for(lambda: all(call.status is not None for call in sent), QUIET_S, "answers")
    for call in sent:
        call.end()  # where it could be parsed after all
    bridge = there.talk()
    there.hang_up(bridge.caller)
    assert there.agent.child.running


def test_a_phone_that_asks_gets_no_digest_of_the_trunks_password(
    site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUNK_PASSWORD", "secret")
    there = site(trunk={"username": "agent", "password_env": "TRUNK_PASSWORD"})
    there.desk.challenge = Challenge("evil", "agent", "secret")
    call = there.call()
    there.desk.wait_at("407 INVITE sent", timeout=20)
    calls.talk(call, QUIET_S)
    asked = [one.message for one in there.desk.seen if not one.sent and one.message.method == "INVITE"]
    assert asked
    assert not [one for one in asked if one.header("Proxy-Authorization") or one.header("Authorization")]
    call.hang_up()


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
