"""The driver while two sides talk: holds, codes, faults of the recorder, and legs that cross us."""

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
from structlog.testing import capture_logs

from retention.records import Status
from sipagent.call import events as e
from sipagent.call.machines import FLAGGED
from tests.driving import (
    CALLER,
    RULES,
    Stage,
    pressed,
    staged,
)
from tests.kept import Paths

NINE = e.DtmfPressed(0, "9", "rfc4733")


# --- in the conversation ---


def test_a_tap_that_starts_during_a_hold_starts_silent(stage: Stage) -> None:
    caller, operator = stage.rung()
    stage.tell(caller, e.LegHeld(caller, sends=True))
    stage.answered(operator)
    stage.settle()
    stage.talk(caller, operator)
    stage.tell(caller, e.LegResumed(caller))
    stage.gone(caller)
    stage.listened()
    recording = stage.recording()
    sound, _ = soundfile.read(Paths(stage.archive).file(recording.id), dtype="int16")
    assert (len(sound) > 0, sound.any(), len(recording.pauses)) == (True, False, 1)


def test_the_stop_code_erases_and_both_hear_it(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, "*5"))
    assert stage.overlaid() == ({caller, operator}, "recording_off")
    assert (stage.files(), stage.recording().status) == ([], Status.ERASED)
    assert (stage.receipt().decision, stage.receipt().decided_by) == ("not_allowed", "operator")
    assert stage.agent.tapping.of_leg == {}


def test_a_pause_is_silence_of_the_right_length(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, "*6"))
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, "*6"))
    stage.talk(caller, operator)
    stage.gone(caller)
    stage.listened()
    recording = stage.recording()
    ((start, end),) = [(pause.from_s, pause.to_s) for pause in recording.pauses]
    assert (start, end, recording.duration_s) == pytest.approx((1.0, 2.0, 3.0), abs=0.25)


def test_devices_are_told_whether_they_are_recorded(stage: Stage) -> None:
    caller, operator = stage.bridged()
    assert set(stage.engine.ordered("indicate")[-2:]) == {(caller, "on"), (operator, "on")}
    for keys in ("*6", "*6"):
        stage.tell(operator, *pressed(operator, keys))
    told = [recording for leg, recording in stage.engine.ordered("indicate") if leg == caller]
    assert told == ["on", "paused", "on"]
    stage.tell(caller, e.RecordingDeclined(caller))
    assert set(stage.engine.ordered("indicate")[-2:]) == {(caller, "off"), (operator, "off")}
    assert stage.files() == []
    receipt = stage.receipt()
    assert (receipt.decision, receipt.decided_by, receipt.phase) == ("refused", "sip", "call")
    assert receipt.dtmf_method is None


def test_a_device_that_asks_for_no_recording_in_its_invite_hears_no_notice(stage: Stage) -> None:
    caller = stage.invite()
    stage.tell(caller, e.RecordingDeclined(caller), e.CallConfirmed(True), e.MediaArrived())
    assert stage.hears(caller) == "refused"
    assert stage.shown().startswith("NO REC")


def test_a_flag_is_in_the_receipt_at_once_and_then_in_the_row(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, "*7"))
    assert stage.receipt().events[-1].what == FLAGGED
    stage.gone(caller)
    stage.listened()
    assert stage.recording().flagged


def test_a_flag_after_a_stop_that_keeps_is_in_the_row_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is threatened may stop first: what was recorded until then must be found by its flag."""
    rules = replace(RULES, policy=replace(RULES.policy, stop_erases=False))
    with staged(tmp_path, monkeypatch, rules) as stage:
        caller, operator = stage.bridged()
        stage.talk(caller, operator)
        stage.tell(operator, *pressed(operator, "*5*7"))
        row = stage.recording()
        assert (row.status, row.flagged) == (Status.CLOSED, True)
        assert '"flagged": true' in Paths(stage.archive).metadata(row.id).read_text()
        stage.gone(caller)


def test_a_flag_after_a_stop_that_erases_brings_nothing_back(stage: Stage) -> None:
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    stage.tell(operator, *pressed(operator, "*5*7"))
    assert (stage.recording().status, stage.recording().flagged) == (Status.ERASED, False)
    assert (stage.files(), stage.receipt().events[-1].what) == ([], FLAGGED)


@pytest.mark.parametrize("keys", ["*5", "*6", "*7"])
def test_a_code_in_a_call_that_is_not_recorded_is_answered_by_the_tone_that_says_so(
    stage: Stage, keys: str
) -> None:
    caller = stage.greeted()
    stage.tell(caller, NINE)
    stage.sound_over(caller)
    operator = max(stage.engine.dialled)
    stage.answered(operator)
    assert stage.engine.ordered("overlay") == []
    stage.tell(operator, *pressed(operator, keys))
    assert stage.overlaid() == ({caller, operator}, "recording_off")
    stage.gone(caller)
    lines = [event.what for event in stage.receipt().events if event.by == "operator"]
    said = {"*5": "stop code, and nothing is recorded", "*6": "pause code, and nothing is recorded"}
    assert said.get(keys, FLAGGED) in lines
    assert (stage.files(), stage.archive.store.recordings()) == ([], [])


def test_a_recorder_that_fails_never_costs_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recordings").write_text("in the way of the folder")
    with staged(tmp_path, monkeypatch) as stage, capture_logs() as logs:
        caller, operator = stage.bridged()
        stage.turn()
        assert stage.engine.ordered("hang_up") == []
        assert stage.overlaid() == ({caller, operator}, "recording_off")
        stage.gone(caller)
        stage.listened()
        receipt = stage.receipt()
    assert (receipt.outcome, receipt.decision) == ("connected", "not_allowed")
    assert receipt.decided_by == "recorder_fault"
    assert [line for line in logs if line["event"] == "alert" and "recording stopped" in line["reason"]]


def test_a_leg_that_cannot_be_listened_to_is_not_recorded(stage: Stage) -> None:
    caller = stage.greeted()
    stage.tell(caller, e.HearingFailed("no port"))
    stage.sound_over(caller)
    stage.turn(after_s=RULES.policy.window_s)
    assert stage.shown() == f"NO REC {CALLER}"
    receipt = stage.receipt()
    assert (receipt.decision, receipt.decided_by) == ("not_allowed", "unclear")  # which a recovery erases
    stage.gone(caller)
    stage.listened()
    assert stage.agent.figures().unheard == 1


@pytest.mark.parametrize("side", ["caller", "operator"])
@pytest.mark.parametrize("how", ["hung up", "no media"])
def test_the_receipt_names_the_one_side_that_ended_the_call(stage: Stage, side: str, how: str) -> None:
    """The other's end is our doing."""
    caller, operator = stage.bridged()
    stage.talk(caller, operator)
    first, second = (caller, operator) if side == "caller" else (operator, caller)
    if how == "no media":
        stage.tell(first, e.MediaLost(first))
    stage.gone(first)
    stage.gone(second)
    stage.listened()
    ends = [
        (event.what, event.by) for event in stage.receipt().events if event.what in ("hung up", "no media")
    ]
    assert ends == [(how, side)]
    assert stage.receipt().outcome == "connected"


# --- an operator's phone that crosses us ---


def test_an_answer_that_crosses_the_end_of_the_call_is_hung_up(stage: Stage) -> None:
    caller, operator = stage.rung()
    stage.gone(caller, 487)
    assert stage.agent.calls == 0
    before = len(stage.engine.ordered("hang_up"))
    stage.tell(operator, e.OperatorAnswered(operator, telephone_event=True))
    assert stage.engine.ordered("hang_up")[before:] == [(operator,)]


def test_an_answer_that_crosses_the_end_of_the_ringing_is_hung_up(stage: Stage) -> None:
    _, first = stage.rung()
    stage.turn(after_s=RULES.policy.ring_s)
    before = len(stage.engine.ordered("hang_up"))
    stage.tell(first, e.OperatorAnswered(first, telephone_event=True))
    assert stage.engine.ordered("hang_up")[before:] == [(first,)]
    assert stage.engine.ordered("bridge") == []
