"""A call that may be recorded is recorded: the file is judged by its sound; how it may end."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from sipagent.softphone.phone import Answering, Phone
from sipagent.softphone.rtp import FRAME, RATE, Samples, SteadyTone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import CALLER_HZ, MS, NOTICE_MS, OPERATOR_HZ, SECOND
from tests.peers.agent import RunningAgent
from tests.relay import FarPhone, Mix

pytestmark = pytest.mark.live

TENTH = RATE // 10


class Watched(calls.Punctuality):
    """Silence that knows when it was sent."""

    def frame(self) -> Samples:
        self.note()
        return np.zeros(FRAME, np.int16)


def test_who_says_what_and_when(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    """Caller left, operator right, at the same time as each other, silent where they were silent."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    ends, silences = (bridge.caller.rtp, bridge.operator.rtp), (Watched(), Watched())
    calls.talk(bridge.caller, 2.5)
    click_ns = bridge.caller.loop.next_frame_ns() + 600 * MS
    for end, silence in zip(ends, silences, strict=True):
        end.play(silence)
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
    assert abs(places[0] - places[1]) / RATE <= 0.020 + sum(silence.late_s for silence in silences)
    early = slice(RATE // 2, 2 * RATE)
    assert calls.strength(left[early], CALLER_HZ) > 0.1 > 100 * calls.strength(left[early], OPERATOR_HZ)
    assert calls.strength(right[early], OPERATOR_HZ) > 0.1 > 100 * calls.strength(right[early], CALLER_HZ)
    quiet = slice(places[0] + 4 * TENTH, places[0] + 8 * TENTH)
    assert calls.rms(left[quiet]) < 30 and calls.rms(right[quiet]) < 30
    last = slice(-RATE // 2, None)
    assert calls.strength(left[last], CALLER_HZ) > 0.1 and calls.rms(right[last]) < 30
    after_click_s = (len(left) - places[0]) / RATE
    assert after_click_s == pytest.approx((ended_ns - click_ns) / SECOND, abs=0.6)
    assert recording["duration_s"] == pytest.approx(len(left) / RATE, abs=0.001)


def test_what_is_written_down(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    bridge = calls.connect(agent, caller_phone, operator_phone)
    assert calls.shown(bridge.operator).startswith("REC")
    bridge.hang_up("operator")
    (recording,) = agent.wait_recordings()
    (receipt,) = agent.wait_receipts()
    file, notice = agent.directory / recording["path"], agent.directory / "prompts/notice.wav"
    assert sorted(agent.files()) == sorted([file.name, f"{recording['id']}.json"])
    assert recording["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    size = file.stat().st_size
    assert calls.of(recording, "bytes", "channels", "sample_rate") == [size, 2, RATE]
    assert recording["notice"]["sha256"] == hashlib.sha256(notice.read_bytes()).hexdigest()
    assert calls.of(recording, "caller", "called") == ["+33612345678", "+33323063006"]
    assert recording["operator"] == operator_phone.uri
    assert calls.of(recording, "incomplete", "flagged", "hold") == [False, False, None]
    assert recording["expires_at"] > recording["started_at"]
    decided = calls.of(receipt, "outcome", "decision", "decided_by", "recording_id")
    assert decided == ["connected", "allowed", "silence", recording["id"]]
    assert receipt["notice_played_ms"] > NOTICE_MS - 40
    times = calls.of(receipt, "started_at", "answered_at", "decided_at", "connected_at", "ended_at")
    assert times == sorted(times)


def test_what_is_not_in_the_recording_is_told_by_channel_and_reason(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """Of a caller behind a line that loses packets, and an operator who pauses, and then holds."""
    with FarPhone(caller_phone.loop, "+33612345679") as far:
        far.sound = lambda: SteadyTone(CALLER_HZ)
        far.mixes = Mix(loss=0.1, burst=2, seed=2), Mix()
        bridge = calls.connect(agent, far, operator_phone)
        agent.wait_part()
        before = len(far.line.there.fates)
        calls.talk(bridge.caller, 4.0)
        lost = far.line.there.fates[before + 25 : -25].count(True)
        for key in "*6":
            bridge.operator.pressed_ns(bridge.operator.press(key))
        calls.talk(bridge.caller, 1.0)
        for key in "*6":
            bridge.operator.pressed_ns(bridge.operator.press(key))
        calls.talk(bridge.caller, 1.0)
        bridge.operator.hold()
        calls.talk(bridge.caller, 1.0)
        bridge.operator.resume()
        bridge.hang_up()
    (recording,) = agent.wait_recordings()
    missing = recording["missing"]
    silent = [(one["channel"], one["why"]) for one in missing if one["why"] in ("paused", "hold")]
    assert silent == [("both", "paused"), ("both", "hold")]
    ours = [one for one in missing if one["why"] in ("lost", "not_fed")]
    assert [one for one in ours if one["to_s"] - one["from_s"] > 0.5] == []  # but where media change
    made_up = [one for one in missing if (one["channel"], one["why"]) == ("caller", "concealed")]
    assert sum(round((one["to_s"] - one["from_s"]) / 0.02) for one in made_up) >= lost > 4
    told = agent.cli("show", recording["id"])
    assert "concealed, caller" in told and ("concealed, operator" in told) is any(
        (one["channel"], one["why"]) == ("operator", "concealed") for one in missing
    )


def test_a_caller_who_is_moved_to_a_device_without_events_still_refuses(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """The trunk connects another device by re-INVITE; its key comes as a tone, after an operator's codes."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    agent.wait_part()
    calls.talk(bridge.caller, 1.0)  # what began before the bridge has been heard out
    for key in "*7*6":
        bridge.operator.pressed_ns(bridge.operator.press(key))
    caller_phone.event_type = None
    assert bridge.caller.request("INVITE", body=bridge.caller._sdp()).status == 200
    bridge.caller.press("9", "inband", ms=100)
    agent.wait_no_files()
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    told = calls.of(receipt, "decision", "decided_by", "phase", "dtmf_method")
    assert told == ["refused", "dtmf", "call", "inband"]
    assert {"flagged", "paused", "recording erased"} <= set(calls.whats(receipt))
    (recording,) = agent.recordings()
    assert calls.of(recording, "status", "path") == ["erased", None]


# --- however and whenever a call ends: no leg, no stray file, exactly one receipt ---

MOMENTS = 14


def assert_clean(agent: RunningAgent, operator: Phone, ended: int) -> None:
    receipts = agent.wait_receipts(ended)
    assert len(receipts) == len({receipt["call_id"] for receipt in receipts}) == ended
    kept = {row["id"]: row for row in agent.wait_settled()}
    assert not {row["status"] for row in kept.values()} - {"closed", "erased", "failed"}
    named = {Path(file).name.split(".")[0] for file in agent.files()}
    assert named == {id for id, row in kept.items() if row["status"] == "closed"}
    assert not [file for file in agent.files() if file.endswith((".part", ".tmp"))]
    for call in operator.calls:
        call.wait_ended()


def test_hanging_up_at_any_moment(agent: RunningAgent, caller_phone: Phone, operator_phone: Phone) -> None:
    """Every 170 ms from the INVITE to beyond the bridge, CANCEL or BYE, whichever fits."""
    operator_phone.answer = Answering(after_s=0.4)
    loop, before = caller_phone.loop, agent.ended()
    for count in range(MOMENTS):
        call = caller_phone.call(agent.uri())
        loop.after(count * 0.17, call.end)
        call.wait_ended()
        call.wait_status()
        agent.wait_ended(before + count + 1)
    assert_clean(agent, operator_phone, MOMENTS)
    assert {receipt["outcome"] for receipt in agent.receipts()} <= {"abandoned", "connected"}
    operator_phone.skip_calls()
    bridge = calls.connect(agent, caller_phone, operator_phone)
    bridge.hang_up("operator")
    assert (bridge.caller.ended_by, bridge.operator.ended_by) == ("them", "us")


# --- where the operator begins it ---

BEFORE_HZ = 1700.0


@pytest.mark.parametrize("at_once", [1, 3])  # one process; workers behind the edge
def test_nothing_is_kept_of_before_the_operator_asks_for_it(
    agent_factory: AgentFactory, caller_phone: Phone, operator_phone: Phone, at_once: int
) -> None:
    """Nor of what was said after a code that only stops, until the other lets it go on."""
    agent = agent_factory(
        recording={"begin": "operator"}, operators={"stop_erases": False}, capacity={"calls": at_once}
    )
    bridge = calls.connect(agent, caller_phone, operator_phone)
    assert calls.shown(bridge.operator).startswith("MAY REC +33612345678")

    def says(hz: float) -> None:
        bridge.caller.rtp.play(SteadyTone(hz))
        bridge.operator.rtp.wait_tone(hz)

    def types(code: str) -> None:
        for key in code:
            bridge.operator.pressed_ns(bridge.operator.press(key))

    says(BEFORE_HZ)
    assert agent.files() == []
    says(CALLER_HZ)
    types("*8")
    agent.wait_part()
    calls.talk(bridge.caller, 1.0)
    types("*5")
    calls.talk(bridge.caller, 0.3)  # what the bridge still has of before
    says(BEFORE_HZ)
    says(CALLER_HZ)
    types("*8")
    calls.talk(bridge.caller, 1.0)
    bridge.hang_up()
    (recording,) = agent.wait_recordings()
    (receipt,) = agent.wait_receipts()
    left = agent.sound(recording)[:, 0]
    assert calls.strength(left, CALLER_HZ) > 0.1 > 1000 * calls.strength(left, BEFORE_HZ)
    (pause,) = recording["pauses"]
    assert calls.rms(left[int(pause["from_s"] * RATE) : int(pause["to_s"] * RATE)]) == 0
    assert calls.of(receipt, "decision", "recording_id") == ["allowed", recording["id"]]
    assert [what for what in calls.whats(receipt) if "record" in what or what == "stop code"] == [
        "the operator may begin the recording",
        *("record code", "recording started", "stop code", "recording stopped"),
        *("record code", "recording goes on", "recording stopped"),
    ]
