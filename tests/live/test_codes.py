"""The operator's codes in one conversation: heard by both sides, written down, and true of the file."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from prompts.music import TONES
from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Call, Phone, Way
from sipagent.softphone.rtp import RATE, SteadyTone
from tests.live import calls
from tests.live.calls import MS, SECOND
from tests.peers.agent import Json, RunningAgent

pytestmark = pytest.mark.live

CALLER_TALKS_HZ, OPERATOR_TALKS_HZ = 330, 1800  # far from all tones that acknowledge
NOTES = sorted({beep.frequency for beeps in TONES.values() for beep in beeps})
WINDOW, STEP = RATE // 10, RATE // 50
AUDIBLE = 0.03  # of full scale: a whole note has 0.09, the edge of a key hardly 0.02
LINES = ("flagged", "paused", "resumed", "stop code", "recording stopped")


@pytest.fixture(scope="module")
def keeping_agent(tmp_path_factory: pytest.TempPathFactory, operator_port: int) -> Iterator[RunningAgent]:
    """One whose stop code keeps what was recorded, so that the file can be judged."""
    operators = {"extensions": [f"sip:201@127.0.0.1:{operator_port}"], "stop_erases": False}
    agent = RunningAgent(tmp_path_factory.mktemp("keeping") / "agent", {"operators": operators})
    yield agent.start()
    agent.close()


def notes(samples: NDArray[np.int16]) -> list[float]:
    """The notes of the acknowledging tones, one after the other, under whatever else is heard."""
    at = np.arange(WINDOW) / RATE
    waves = np.exp(-2j * np.pi * np.outer(at, NOTES)) * np.hanning(WINDOW)[:, None]
    spans = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)[::STEP]
    strengths = 4 * np.abs(spans @ waves) / WINDOW / 32768
    heard: list[float] = []
    for strength in strengths:
        note = NOTES[int(strength.argmax())]
        if strength.max() > AUDIBLE and note not in heard[-1:]:
            heard.append(note)
    return heard


def wait_acknowledged(call: Call, tone: str, since_ns: int) -> None:
    """Until a phone has heard this tone since then: its notes in their order."""
    wanted = list(dict.fromkeys(beep.frequency for beep in TONES[tone]))

    def heard() -> bool:
        sound = call.rtp.listen(since_ns).samples
        found = iter(notes(sound) if len(sound) >= WINDOW else [])
        return all(note in found for note in wanted)

    call.loop.wait_for(heard, PATIENCE_S, f"{tone} at {call.phone.user}")


def types(bridge: calls.Bridge, code: str, tone: str, way: Way) -> int:
    """The operator types a code, and both hear what it has done; when its last key was pressed, ns."""
    since = bridge.caller.loop.next_frame_ns()
    pressed = 0
    for index, key in enumerate(code):
        press = bridge.operator.press(key, way, ms=100, at_ns=since + 200 * MS * index)
        pressed = bridge.operator.pressed_ns(press)
    for call in (bridge.caller, bridge.operator):
        wait_acknowledged(call, tone, since)
    calls.talk(bridge.caller, 0.5)  # the tone is over
    return pressed


def seconds_between(events: list[Json], first: str, last: str) -> float:
    at = {event["what"]: datetime.fromisoformat(event["at"]) for event in events}
    return (at[last] - at[first]).total_seconds()


@pytest.mark.parametrize("way", ["rfc4733", "inband"])
def test_flag_pause_and_stop_in_one_call(
    keeping_agent: RunningAgent, caller_phone: Phone, operator_phone: Phone, way: Way
) -> None:
    """In-band, from a phone that has negotiated no events. The caller's same keys do nothing."""
    agent = keeping_agent
    agent.forget()
    operator_phone.event_type = None if way == "inband" else 101
    bridge = calls.connect(agent, caller_phone, operator_phone)
    bridge.caller.rtp.play(SteadyTone(CALLER_TALKS_HZ))
    bridge.operator.rtp.play(SteadyTone(OPERATOR_TALKS_HZ))
    calls.talk(bridge.caller, 1.0)  # the tone of the beginning is over
    types(bridge, "*7", "flagged", way)
    quiet_ns = bridge.caller.loop.next_frame_ns()
    for key in "*6*5*7":
        bridge.caller.pressed_ns(bridge.caller.press(key))
    calls.talk(bridge.caller, 0.5)
    assert notes(bridge.operator.rtp.listen(quiet_ns).samples) == []
    paused_ns = types(bridge, "*6", "paused", way)
    calls.talk(bridge.caller, 1.0)
    resumed_ns = types(bridge, "*6", "resumed", way)
    stopped_ns = types(bridge, "*5", "recording_off", way)
    calls.talk(bridge.caller, 0.5)  # which is in no file
    bridge.hang_up()

    (recording,) = agent.wait_recordings()
    (receipt,) = agent.wait_receipts()
    events = [event for event in receipt["events"] if event["what"] in LINES]
    assert [(event["what"], event["by"]) for event in events] == [
        *(("flagged", "operator"), ("paused", "operator"), ("resumed", "operator")),
        *(("stop code", "operator"), ("recording stopped", "agent")),
    ]
    assert seconds_between(events, "paused", "resumed") == pytest.approx(
        (resumed_ns - paused_ns) / SECOND, abs=0.5
    )
    assert (recording["flagged"], recording["incomplete"]) == (True, False)
    (pause,) = recording["pauses"]
    edges = slice(round(pause["from_s"] * RATE), round(pause["to_s"] * RATE))
    sound = agent.sound(recording)
    assert not sound[edges].any(), "sound in the pause"
    assert pause["to_s"] - pause["from_s"] == pytest.approx((resumed_ns - paused_ns) / SECOND, abs=0.5)
    tenth = RATE // 10
    for channel, hz in ((0, CALLER_TALKS_HZ), (1, OPERATOR_TALKS_HZ)):
        before, after = sound[edges.start - 3 * tenth : edges.start, channel], sound[edges.stop :, channel]
        assert sound[edges.start - tenth // 2 : edges.start, channel].any(), "silent before the pause"
        assert sound[edges.stop : edges.stop + tenth // 2, channel].any(), "silent after the pause"
        assert calls.strength(before, hz) > 0.05 or way == "inband"  # which is the key itself
        assert calls.strength(after[tenth : 4 * tenth], hz) > 0.05
    lasted_s = seconds_between(receipt["events"], "recording started", "stop code")
    assert recording["duration_s"] == pytest.approx(lasted_s, abs=0.6)
    assert (stopped_ns - paused_ns) / SECOND < recording["duration_s"]


def test_a_caller_who_is_moved_to_a_device_without_events_still_refuses(
    agent: RunningAgent, caller_phone: Phone, operator_phone: Phone
) -> None:
    """The trunk connects another device by re-INVITE; its key comes as a tone, in a pause, after a flag."""
    bridge = calls.connect(agent, caller_phone, operator_phone)
    agent.wait_files(lambda files: any(f.endswith(".part") for f in files))
    calls.talk(bridge.caller, 1.0)  # what began before the bridge has been heard out
    bridge.operator.rtp.play(SteadyTone(OPERATOR_TALKS_HZ))
    since = bridge.caller.loop.next_frame_ns()
    for key in "*7*6":
        bridge.operator.press(key)
    wait_acknowledged(bridge.caller, "paused", since)
    caller_phone.event_type = None
    assert bridge.caller.request("INVITE", body=bridge.caller._sdp()).status == 200
    bridge.caller.press("9", "inband", ms=100)
    agent.wait_files(lambda files: files == [])
    bridge.hang_up()
    (receipt,) = agent.wait_receipts()
    told = [receipt[name] for name in ("decision", "decided_by", "phase", "dtmf_method")]
    assert told == ["refused", "dtmf", "call", "inband"]
    lines = [event["what"] for event in receipt["events"]]
    assert {"flagged", "paused", "recording erased"} <= set(lines)
    (recording,) = agent.recordings()
    assert (recording["status"], recording["path"]) == ("erased", None)
