"""Telephones that others wrote: baresip as the operator's and SIPp as the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from sipagent.softphone.phone import Call, Phone
from sipagent.softphone.rtp import RATE, Samples, SteadyTone, tone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, MUSIC_HZ, OPERATOR_HZ, SECOND
from tests.peers import sipp
from tests.peers.agent import RunningAgent
from tests.peers.baresip import Baresip

pytestmark = pytest.mark.live

DESK_HZ = 1300


@pytest.fixture
def desk_phone(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Baresip]:
    """With a parameter, one that encrypts so."""
    sound = tmp_path / "desk.wav"
    soundfile.write(sound, tone(DESK_HZ, 60), RATE, subtype="PCM_16")
    phone = Baresip(tmp_path, sound, encrypts=getattr(request, "param", ""))
    yield phone
    phone.stop()


def accepted(agent: RunningAgent, caller: Phone, desk: Baresip) -> tuple[Call, str]:
    """A call that the desk phone has taken and that has talked for a moment; its id there."""
    call = caller.call(agent.uri())
    ringing = desk.wait_event("CALL_INCOMING")
    assert ringing["peerdisplayname"].startswith("REC")
    desk.command("accept")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.8)
    return call, ringing["id"]


def tones(sound: Samples) -> list[float | None]:
    """The strongest of every 100 ms, in hundreds."""
    return [hz and round(hz, -2) for hz in calls.tones_of(sound)]


def test_baresip_on_the_desk(agent_factory: AgentFactory, caller_phone: Phone, desk_phone: Baresip) -> None:
    """Rings showing REC, answers, holds, goes on, hangs up."""
    agent = agent_factory(operators={"extensions": [desk_phone.uri]})
    call, _ = accepted(agent, caller_phone, desk_phone)
    began = call.loop.next_frame_ns()
    desk_phone.command("hold")
    calls.talk(call, 3.0)
    held = call.rtp.listen(began + SECOND).tones()  # ours, as this phone sends nothing while it holds
    assert calls.tenths(held, MUSIC_HZ) > 15
    desk_phone.command("resume")
    call.rtp.wait_tone(DESK_HZ)
    calls.talk(call, 0.8)
    desk_phone.command("hangup")
    call.wait_ended()
    assert call.ended_by == "them"
    (recording,) = agent.wait_recordings()
    assert recording["operator"] == desk_phone.uri
    sound = agent.sound(recording)
    left, right = (tones(sound[:, channel]) for channel in (0, 1))
    assert sum(a is None and b is None for a, b in zip(left, right, strict=True)) >= 12
    assert calls.strength(sound[:2400, 0], CALLER_HZ) > 0.05
    assert DESK_HZ in right[-4:]


@pytest.mark.parametrize(
    ("refuses", "desk_phone"), [(False, ""), (True, ""), (False, "srtp")], indirect=["desk_phone"]
)
def test_an_attended_transfer(
    agent_factory: AgentFactory,
    caller_phone: Phone,
    desk_phone: Baresip,
    operator_phone: Phone,
    refuses: bool,
) -> None:
    """One recording of the right length: the desk, silence, the colleague; the consultation is in none."""
    colleague = operator_phone
    targets = {"extensions": [desk_phone.uri], "transfer_targets": [colleague.uri], "srtp": "optional"}
    agent = agent_factory(operators=targets)
    call, first = accepted(agent, caller_phone, desk_phone)
    first_ns = calls.clicks(call)
    desk_phone.command("hold")
    call.rtp.wait_tone(MUSIC_HZ)
    desk_phone.command("dial", colleague.uri)
    consultation = colleague.wait_call()
    consultation.rtp.wait_tone(DESK_HZ)
    call.rtp.play(SteadyTone(CALLER_HZ))
    calls.talk(call, 1.0)
    if refuses:
        call.press("9")
        agent.wait_no_files()
    desk_phone.command("callfind", first)
    desk_phone.command("transfer", f"{colleague.uri}{consultation.replacing()}")
    taken = colleague.wait_call()
    call.rtp.wait_tone(OPERATOR_HZ)
    taken.rtp.wait_tone(CALLER_HZ)
    assert taken.incoming and taken.incoming.header("Require") == "replaces"
    assert calls.shown(taken).startswith("NO REC" if refuses else "REC")
    consultation.wait_ended()
    desk_phone.wait_event("CALL_CLOSED", id=first)
    calls.talk(call, 0.6)
    second_ns = calls.clicks(call, taken)
    calls.Bridge(call, taken).hang_up()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "operator", "outcome") == [colleague.uri, "connected"]
    if refuses:
        assert (receipt["decision"], agent.files()) == ("refused", [])
        return
    (recording,) = agent.wait_recordings()
    assert calls.of(recording, "operator", "incomplete") == [colleague.uri, False]
    assert len(recording["pauses"]) == 1
    sound = agent.sound(recording)
    assert recording["duration_s"] == pytest.approx(len(sound) / RATE, abs=0.001)
    left, right = (tones(sound[:, side]) for side in (0, 1))
    last, next_ = len(right) - 1 - right[::-1].index(DESK_HZ), right.index(OPERATOR_HZ)
    assert last < next_
    quiet = slice(last + 2, next_ - 1)  # held, consulted, given away
    assert len(left[quiet]) >= 10
    assert set(left[quiet]) | set(right[quiet]) == {None}
    middle = (last + next_) // 2 * RATE // 10
    before = calls.place_of(calls.chirp(), sound[:middle, 0])
    after = middle + calls.place_of(calls.chirp(), sound[middle:, 0])
    assert (after - before) / RATE == pytest.approx((second_ns - first_ns) / SECOND, abs=0.5)


# --- SIPp ---


def test_sipp_refuses_by_real_events(agent: RunningAgent, operator_phone: Phone, tmp_path: Path) -> None:
    caller = sipp.refuses(tmp_path, agent.address)
    operator = operator_phone.wait_call()
    assert calls.shown(operator).startswith("NO REC")
    assert caller.wait(60) == 0, caller.tail()
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "decision", "dtmf_method") == ["refused", "rfc4733"]
    assert agent.files() == []
