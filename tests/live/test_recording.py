"""A call that may be recorded is recorded: the file is judged by its sound."""

from __future__ import annotations

import hashlib

import pytest

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Phone
from sipagent.softphone.rtp import RATE, Silence, SteadyTone
from tests.conftest import AgentFactory, PhoneFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, MS, NOTICE_HZ, NOTICE_MS, OPERATOR_HZ, SECOND
from tests.peers.agent import RunningAgent

pytestmark = pytest.mark.live


def test_who_says_what_and_when(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    """Caller left, operator right, at the same time as each other, silent where they were silent."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    ends = (bridge.caller.rtp, bridge.operator.rtp)
    calls.talk(bridge.caller, 2.5)
    for end in ends:
        end.play(Silence())
    click_ns = bridge.caller.loop.next_frame_ns() + 600 * MS
    for end in ends:
        end.overlay(calls.chirp(), click_ns)
    calls.talk(bridge.caller, 1.6)
    ends[0].play(SteadyTone(CALLER_HZ))  # the caller alone
    calls.talk(bridge.caller, 1.0)
    ended_ns = bridge.caller.hang_up()
    bridge.operator.wait_ended()

    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    left, right = sound[:, 0], sound[:, 1]
    places = [calls.place_of(calls.chirp(), channel) for channel in (left, right)]
    assert abs(places[0] - places[1]) <= 0.020 * RATE
    early = slice(RATE // 2, 2 * RATE)
    assert calls.strength(left[early], CALLER_HZ) > 0.1 > 100 * calls.strength(left[early], OPERATOR_HZ)
    assert calls.strength(right[early], OPERATOR_HZ) > 0.1 > 100 * calls.strength(right[early], CALLER_HZ)
    quiet = slice(places[0] + int(0.4 * RATE), places[0] + int(0.8 * RATE))
    assert calls.rms(left[quiet]) < 30
    assert calls.rms(right[quiet]) < 30
    last = slice(-RATE // 2, None)
    assert calls.strength(left[last], CALLER_HZ) > 0.1
    assert calls.rms(right[last]) < 30
    after_click_s = (len(left) - places[0]) / RATE
    assert after_click_s == pytest.approx((ended_ns - click_ns) / SECOND, abs=0.6)
    assert recording["duration_s"] == pytest.approx(len(left) / RATE, abs=0.001)


def test_what_is_written_down(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    bridge = calls.connect(agent, caller_phone, operator_phone)
    assert calls.shown(bridge.operator).startswith("REC")
    bridge.hang_up("operator")
    (recording,) = agent.wait_recordings()
    (receipt,) = agent.wait_receipts()
    file = agent.directory / recording["path"]
    assert sorted(agent.files()) == sorted([file.name, f"{recording['id']}.json"])
    assert recording["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (recording["bytes"], recording["channels"], recording["sample_rate"]) == (
        file.stat().st_size,
        2,
        RATE,
    )
    assert (
        recording["notice"]["sha256"]
        == hashlib.sha256((agent.directory / "prompts/notice.wav").read_bytes()).hexdigest()
    )
    assert (recording["caller"], recording["called"]) == ("+33612345678", "+33323063006")
    assert recording["operator"] == operator_phone.uri
    assert (recording["incomplete"], recording["flagged"], recording["hold"]) == (False, False, None)
    assert recording["expires_at"] > recording["started_at"]
    assert (receipt["outcome"], receipt["decision"], receipt["decided_by"]) == (
        "connected",
        "allowed",
        "silence",
    )
    assert receipt["notice_played_ms"] > NOTICE_MS - 40
    assert receipt["recording_id"] == recording["id"]
    times = [
        receipt[name] for name in ("started_at", "answered_at", "decided_at", "connected_at", "ended_at")
    ]
    assert times == sorted(times)


def test_the_notice_comes_whole_and_before_anyone_rings(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    call = caller_phone.call(agent.uri())
    call.wait_answered()
    rung_ns = operator_phone.wait_at("INVITE received")
    before = call.rtp.listen(0, rung_ns).tones()
    heard = sum(hz is not None and abs(hz - NOTICE_HZ) < 20 for hz in before)
    assert heard == pytest.approx(NOTICE_MS / 100, abs=2)
    assert operator_phone.count("INVITE received") == 1
    calls.bridged(call, operator_phone).hang_up()


@pytest.mark.parametrize("codec", [8, 0])
def test_both_laws_of_g711(
    agent: RunningAgent, phone_factory: PhoneFactory, operator_phone: Phone, codec: int
) -> None:
    """Caller and operator may speak different ones."""
    caller = phone_factory("+33612345678", CALLER_HZ, codecs=(codec,))
    operator_phone.codecs = (8 - codec,)
    bridge = calls.connect(agent, caller, operator_phone)
    calls.talk(bridge.caller, 0.5)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    assert calls.strength(sound[:, 0], CALLER_HZ) > 0.1
    assert calls.strength(sound[:, 1], OPERATOR_HZ) > 0.1


def test_wav_where_the_office_wants_wav(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    agent = agent_factory(recording={"format": "wav"})
    bridge = calls.connect(agent, caller_phone, operator_phone)
    calls.talk(bridge.caller, 0.5)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    assert recording["path"].endswith(".wav")
    assert calls.strength(agent.sound(recording)[:, 0], CALLER_HZ) > 0.1


@pytest.mark.parametrize("keep", [{"enabled": False}, {"share": 0.0}])
def test_no_candidate_hears_the_welcome_and_leaves_no_recording(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, keep: dict[str, object]
) -> None:
    agent = agent_factory(recording=keep)
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(calls.WELCOME_HZ)
    bridge = calls.bridged(call, operator_phone)
    assert calls.shown(bridge.operator).startswith("NO REC")
    assert agent.files() == []
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert receipt["decision"] == "not_allowed"
    assert receipt["decided_by"] == ("sampling" if "share" in keep else "disabled")
    assert (agent.recordings(), agent.files()) == ([], [])


def test_outside_the_hours_there_is_only_an_announcement(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    agent = agent_factory(hours={"closed": ["2000-01-01/2100-01-01"]})
    call = caller_phone.call(agent.uri())
    call.rtp.wait_tone(calls.CLOSED_HZ)
    call.wait_ended()
    (receipt,) = agent.wait_receipts()
    assert (receipt["outcome"], receipt["decision"]) == ("closed", "undecided")
    assert operator_phone.seen == []


def test_an_operator_pauses_and_goes_on(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """`*6` twice: the span is silence of the right length on both channels."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    rtp = bridge.operator.rtp
    spans = []
    for _ in range(2):
        rtp.press("*")
        spans.append(rtp.pressed_ns(rtp.press("6", at_ns=bridge.caller.loop.next_frame_ns() + 200 * MS)))
        calls.talk(bridge.operator, 1.5)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    (pause,) = recording["pauses"]
    assert pause["to_s"] - pause["from_s"] == pytest.approx((spans[1] - spans[0]) / SECOND, abs=0.5)
    sound = agent.sound(recording)
    inside = slice(int((pause["from_s"] + 0.1) * RATE), int((pause["to_s"] - 0.1) * RATE))
    assert not sound[inside].any()
    for channel, hz in ((0, CALLER_HZ), (1, OPERATOR_HZ)):
        after = sound[int((pause["to_s"] + 0.3) * RATE) : int((pause["to_s"] + 1) * RATE), channel]
        assert calls.strength(after, hz) > 0.05
    (receipt,) = agent.wait_receipts()
    assert [e["by"] for e in receipt["events"] if e["what"] in ("paused", "resumed")] == ["operator"] * 2


def test_one_press_by_two_ways_counts_once(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone
) -> None:
    """A pause by one key: pressed as an event and as INFO at once, it pauses and doesn't resume."""
    agent = agent_factory(operators={"pause_code": "6", "extensions": [operator_phone.uri]})
    bridge = calls.connect(agent, caller_phone, operator_phone)
    at_ns = bridge.caller.loop.next_frame_ns() + 300 * MS
    bridge.operator.press("6", "rfc4733", at_ns=at_ns)
    bridge.operator.press("6", "info", at_ns=at_ns + 60 * MS)
    bridge.caller.loop.wait_for(lambda: bridge.operator.phone.count("INFO sent") == 1, PATIENCE_S, "INFO")
    calls.talk(bridge.operator, 1.0)
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    assert [e["what"] for e in receipt["events"] if e["what"] in ("paused", "resumed")] == ["paused"]
    (recording,) = agent.wait_recordings()
    assert not agent.sound(recording)[-RATE // 2 :].any()


def test_the_stop_code_erases_and_the_flag_code_marks(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    for code in ("*7", "*5"):
        bridge = calls.connect(agent, caller_phone, operator_phone)
        agent.wait_files(lambda files: any(f.endswith(".part") for f in files))
        for key in code:
            bridge.operator.press(key)
        if code == "*5":
            agent.wait_files(lambda files: len(files) == 2)  # the first call's only
        bridge.caller.rtp.wait_tone(OPERATOR_HZ)
        calls.talk(bridge.caller, 0.6)
        bridge.hang_up()
        agent.wait_receipts(1 if code == "*7" else 2)
    flagged, erased = agent.recordings()
    assert (flagged["status"], flagged["flagged"]) == ("closed", True)
    assert (erased["status"], erased["path"]) == ("erased", None)
    assert agent.receipts()[1]["decided_by"] == "operator"
