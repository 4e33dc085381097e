"""Desk phones that SIPp plays: each way not to come to the phone, forks, and sound before the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sipagent.softphone.phone import Phone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import MUSIC_HZ, SECOND
from tests.peers.agent import Json
from tests.peers.sipp_desk import ELSEWHERE, Behaviour, Desk, write_tone

pytestmark = pytest.mark.live

DESK_HZ = 1200
EARLY_S = 1.5
DeskFactory = Callable[[str, Behaviour], Desk]


@pytest.fixture
def desk_factory(tmp_path: Path, agent_factory: AgentFactory) -> Iterator[DeskFactory]:
    desks: list[Desk] = []

    def make(user: str, behaviour: Behaviour) -> Desk:
        desks.append(Desk(tmp_path, user, behaviour))
        return desks[-1]

    yield make
    for desk in desks:
        desk.stop()


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_tone(tmp_path / "desk.alaw", DESK_HZ)


def happened(receipt: Json, what: str) -> datetime:
    return next(datetime.fromisoformat(event["at"]) for event in receipt["events"] if event["what"] == what)


def test_one_after_the_other_will_not_come_and_the_last_one_does(
    agent_factory: AgentFactory,
    caller_phone: Phone,
    operator_phone: Phone,
    desk_factory: DeskFactory,
    sound: Path,
) -> None:
    """Busy, declined, away, moved, no answer, vanished; the last one sends sound before it answers.

    Of that the caller hears nothing: it is music until the answer. Where the moved one points to is not rung.
    """
    unwilling = [
        desk_factory("301", Behaviour().refuses(486, "Busy Here")),
        desk_factory("302", Behaviour().rings().refuses(603, "Decline")),
        desk_factory("303", Behaviour().refuses(480, "Temporarily Unavailable")),
        desk_factory("304", Behaviour().rings().cancelled()),
        desk_factory("307", Behaviour().moved(operator_phone.uri)),
        desk_factory("308", Behaviour().says(200, "OK").acked().hung_up()),  # without a word on media
        desk_factory("305", Behaviour().rings().answers()),  # and its process is gone before the ACK comes
    ]
    early = Behaviour().says(183, "Session Progress", sdp=True).sends(sound).pauses(round(EARLY_S * 1000))
    willing = desk_factory("306", early.answers().acked().hung_up())
    uris = [desk.uri for desk in (*unwilling, willing)]
    agent = agent_factory(operators={"extensions": uris, "ring_s": 2, "max_wait_s": 60})
    call = caller_phone.call(agent.uri())
    heard_at = call.rtp.wait_tone(DESK_HZ, 30)
    calls.talk(call, 1.0)
    left_at = call.hang_up()
    for desk in (*unwilling, willing):
        desk.wait()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", willing.uri)
    said = [event["what"].removeprefix(uri).strip(": ") for event in receipt["events"] for uri in uris
            if event["what"].startswith(uri)]  # fmt: skip
    assert said == [
        "refused with 486", "refused with 603", "refused with 480", "no answer", "refused with 302",
        "refused with 406", "answered and sent nothing",
    ]  # fmt: skip
    assert operator_phone.calls == []
    connected, rung = (happened(receipt, f"{what} {willing.uri}") for what in ("bridged with", "ringing"))
    assert (connected - rung).total_seconds() >= EARLY_S
    talked_s = (datetime.fromisoformat(receipt["ended_at"]) - connected).total_seconds()
    waited = call.rtp.listen(call.rtp.heard[0].at_ns, left_at - int(talked_s * SECOND) - SECOND // 10)
    assert calls.strength(waited.samples[-8000:], MUSIC_HZ) > 0.05
    assert calls.strength(waited.samples[-8000:], DESK_HZ) < 0.001
    assert (left_at - heard_at) / SECOND < talked_s + 0.2
    assert call.rtp.listen(call.rtp.heard[0].at_ns, left_at).longest_silence_s() <= 2.0


def test_of_forked_answers_one_is_kept_and_every_other_fork_is_let_go(
    agent_factory: AgentFactory, caller_phone: Phone, desk_factory: DeskFactory, sound: Path
) -> None:
    """Two phones ring at once. One of them is three behind one PBX, and two pick up: two 200s, one INVITE."""
    slow = desk_factory("311", Behaviour().rings().cancelled(ELSEWHERE))
    three = Behaviour().says(180, "Ringing", "c").pauses(500)
    two = three.answers("a").acked().sends(sound).answers("b").acked()
    forked = desk_factory("312", two.hung_up("b").hung_up("a"))
    agent = agent_factory(operators={"extensions": [slow.uri, forked.uri], "strategy": "simultaneous"})
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(DESK_HZ, 15)
    slow.wait()
    calls.talk(call, 1.0)
    assert call.ended_ns is None
    call.hang_up()
    forked.wait()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["operator"]) == ("connected", forked.uri)
