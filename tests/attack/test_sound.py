"""Packets of RTP from anybody: heard, recorded, obeyed, sent to?"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sipagent.softphone.phone import Call
from sipagent.softphone.rtp import Silence, SteadyTone
from sipagent.softphone.sip import sdp
from tests.attack.conftest import Make
from tests.attack.site import FOREIGN, TRUNK, Site
from tests.live import calls
from tests.live.calls import figures
from tests.peers.stranger import Stranger

pytestmark = pytest.mark.live

FOREIGN_HZ = 2000.0
PACKETS = 24
PATIENCE_S = 20.0
DROPPED = "sipagent_foreign_packets_dropped_total"


NETWORK = {"allowed_sources": ["127.0.0.0/24"]}
"""The trunk's and the stranger's: of one provider, or of one house."""


@pytest.fixture(params=[FOREIGN, TRUNK])
def stranger(request: pytest.FixtureRequest) -> Stranger:
    """Somewhere else, and where the caller is, but for the port."""
    found = Stranger(request.param)
    request.addfinalizer(found._socket.close)
    return found


def spray_until(site: Site, stranger: Stranger, happened: Callable[[], object], keys: str = "") -> None:
    """Spray again and again, until this has happened."""
    patience = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < patience, "it takes what is the caller's"
        spray(site, stranger, keys)


def spray(site: Site, stranger: Stranger, keys: str = "") -> None:
    """Some packets to every port that there is."""
    stranger.say(site.everywhere(), FOREIGN_HZ, PACKETS)
    for key in keys:
        stranger.press(site.everywhere(), key)


def test_nobody_else_is_recorded_nor_hears_the_operator_nor_erases(site: Make, stranger: Stranger) -> None:
    there = site()
    spray(there, stranger)
    bridge = there.talk()
    for _ in range(20):
        spray(there, stranger, "9*5")
        calls.talk(bridge.caller, 0.1)
    spray_until(there, stranger, lambda: figures(there.figures_port)[DROPPED] > 100, "9*5")
    there.hang_up(bridge.caller)
    (recording,) = there.agent.wait_recordings()
    (receipt,) = there.agent.wait_receipts()
    assert (receipt["decision"], receipt["decided_by"]) == ("allowed", "silence")
    sound = there.agent.sound(recording)
    for channel, hz in ((0, calls.CALLER_HZ), (1, calls.OPERATOR_HZ)):
        assert calls.strength(sound[:, channel], hz) > 0.1
        assert calls.strength(sound[:, channel], FOREIGN_HZ) < 0.001
    assert stranger.heard() == 0
    told = [e for e in there.agent.log_events if "somebody else sends" in str(e.get("reason"))]
    assert told


def test_nobody_else_consents_for_the_caller(site: Make, stranger: Stranger) -> None:
    """In `opt_in` a forged 1 would have who never said yes recorded."""
    there = site(refusal={"mode": "opt_in"})
    call = there.caller.call(there.uri())
    spray_until(there, stranger, lambda: call.rtp.heard, "1")
    operator = there.desk.wait_call(20)
    for _ in range(5):
        spray(there, stranger, "1")
    call.rtp.wait_tone(calls.OPERATOR_HZ, 20)
    assert calls.shown(operator).startswith("NO REC")
    calls.talk(call, 0.5)
    there.hang_up(call)
    (receipt,) = there.agent.wait_receipts()
    assert receipt["decision"] == "not_allowed"
    assert (there.agent.files(), stranger.heard()) == ([], 0)


def test_nobody_takes_the_notice_away(site: Make, stranger: Stranger) -> None:
    """The caller hears it to its end, though somebody else sends more, sooner, and with the same SSRC."""
    there = site()
    call = there.caller.call(there.uri())
    stranger.ssrc = call.rtp._ssrc
    spray_until(there, stranger, lambda: call.rtp.heard)
    for _ in range(5):
        spray(there, stranger)
    call.rtp.wait_tone(calls.MUSIC_HZ, 20)
    notice = [hz for hz in call.rtp.listen().tones() if hz and abs(hz - calls.NOTICE_HZ) < 20]
    assert len(notice) >= calls.NOTICE_MS / 100 - 2
    assert stranger.heard() == 0
    there.hang_up(call)


def test_who_is_silent_is_not_spoken_for(site: Make, stranger: Stranger) -> None:
    """A muted caller sends nothing: whoever sends in the place is no caller."""
    there = site()
    bridge = there.talk()
    bridge.caller.rtp.play(None)
    until = bridge.operator.rtp.sent_frames + 100
    spray_until(there, stranger, lambda: bridge.operator.rtp.sent_frames >= until, "9")
    heard = bridge.operator.rtp.listen().tones()
    assert not [hz for hz in heard if hz and abs(hz - FOREIGN_HZ) < 50]
    bridge.caller.rtp.play(Silence())
    there.hang_up(bridge.caller)
    (recording,) = there.agent.wait_recordings()
    assert calls.strength(there.agent.sound(recording)[:, 0], FOREIGN_HZ) < 0.001
    assert (stranger.heard(), there.agent.wait_receipts()[0]["decision"]) == (0, "allowed")


@pytest.fixture
def neighbour(request: pytest.FixtureRequest) -> Stranger:
    found = Stranger(FOREIGN)
    request.addfinalizer(found._socket.close)
    return found


def silent_call(there: Site) -> Call:
    """A caller behind NAT, whose SDP names an address that nobody reaches, and who sends nothing at first."""
    there.caller.sound = None
    call = there.caller.call(there.uri(), sdp=sdp(("10.1.2.3", 4000), (8, 0), 101, "sendrecv", 1))
    call.rtp.play(None)
    call.wait_answered()
    return call


@pytest.mark.parametrize("key", ["1", "9"])
def test_a_host_of_the_same_network_is_not_the_caller(site: Make, neighbour: Stranger, key: str) -> None:
    """It would consent, refuse and hear in the place of who is silent for 0.2 s, and then never heard."""
    there = site(trunk=NETWORK, refusal={"mode": "opt_in"})
    call = silent_call(there)
    spray_until(there, neighbour, lambda: there.desk.calls, key)
    call.rtp.play(SteadyTone(calls.CALLER_HZ))
    operator = there.desk.wait_call(20)
    operator.rtp.wait_tone(calls.CALLER_HZ, 20)
    call.rtp.wait_tone(calls.OPERATOR_HZ, 20)
    assert calls.shown(operator).startswith("NO REC")
    there.hang_up(call)
    (receipt,) = there.agent.wait_receipts()
    assert (receipt["decision"], receipt["decided_by"]) == ("not_allowed", "notice_failed")
    assert (there.agent.files(), neighbour.heard()) == ([], 0)
    (told,) = [one for one in there.agent.log_events if "somebody else sends" in str(one.get("reason"))]
    assert FOREIGN in told["reason"] and "trunk.media_sources" in told["reason"]


@pytest.mark.parametrize(
    ("key", "decided"), [("1", ("not_allowed", "notice_failed")), ("9", ("refused", "dtmf"))]
)
def test_who_is_heard_by_media_sources_alone_refuses_and_allows_nothing(
    site: Make, neighbour: Stranger, key: str, decided: tuple[str, str]
) -> None:
    """Not by silence either, which allows in this mode: the caller may have heard nothing."""
    there = site(trunk=NETWORK | {"media_sources": [FOREIGN]})
    call = silent_call(there)
    spray_until(there, neighbour, lambda: there.desk.calls, key)
    operator = there.desk.wait_call(20)
    spray_until(there, neighbour, lambda: FOREIGN_HZ in operator.rtp.listen().tones())
    assert calls.shown(operator).startswith("NO REC")
    there.hang_up(call)
    (receipt,) = there.agent.wait_receipts()
    assert (receipt["decision"], receipt["decided_by"]) == decided
    assert there.agent.files() == []
