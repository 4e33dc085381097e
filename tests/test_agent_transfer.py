"""The driver while a caller goes to another operator, or leaves by REFER."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from retention.records import Status
from sipagent.call import events as e
from sipagent.call.timing import HASTE_S
from sipagent.softphone.rtp import strongest
from tests.driving import (
    CALLER,
    CALLER_HZ,
    DESK,
    OPERATOR_HZ,
    RULES,
    SECOND_DESK,
    Stage,
    pressed,
    staged,
    with_policy,
)
from tests.kept import Paths

OUT = "sip:+33323000000@trunk.example"
MINE = replace(with_policy(transfer_targets=(DESK, SECOND_DESK)), wrap_up_s=60.0, calls=2)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(tmp_path, monkeypatch, MINE) as stage:
        yield stage


def asked(stage: Stage, operator: int, target: str = SECOND_DESK) -> None:
    stage.tell(operator, e.TransferAsked(operator, target))


def newest(stage: Stage) -> int:
    return max(stage.engine.dialled)


def test_the_recording_goes_on_in_the_same_file(stage: Stage) -> None:
    caller, first = stage.bridged()
    stage.talk(caller, first)
    asked(stage, first)
    stage.talk(caller, first)  # what the first one still says is nobody's affair any more
    second = newest(stage)
    stage.answered(second)
    stage.gone(first)
    stage.talk(caller, second, 2.0)
    stage.gone(caller)
    stage.listened()
    recording, receipt = stage.recording(), stage.receipt()
    sound, rate = soundfile.read(Paths(stage.archive).file(recording.id), dtype="int16", always_2d=True)
    ((start, end),) = [(pause.from_s, pause.to_s) for pause in recording.pauses]
    assert (start, end) == pytest.approx((1.0, 2.0), abs=0.25)
    assert not sound[int(start * rate) : int(end * rate)].any()
    later = sound[int((end + 0.2) * rate) :]
    assert [round(strongest(later[:, side]) or 0, -1) for side in (0, 1)] == [CALLER_HZ, OPERATOR_HZ]
    assert (recording.operator, receipt.operator, receipt.outcome) == (SECOND_DESK, SECOND_DESK, "connected")
    assert recording.operators == receipt.operators == (DESK, SECOND_DESK)
    told = [event.what for event in receipt.events if "bridged" in event.what or "transfer" in event.what]
    assert told == [f"bridged with {DESK}", f"transfer to {SECOND_DESK}", f"bridged with {SECOND_DESK}"]
    assert stage.agent.tapping.of_leg == {}


def test_who_is_rung_for_it_sees_whether_it_is_recorded(stage: Stage) -> None:
    _, first = stage.bridged()
    asked(stage, first)
    assert stage.shown() == f"REC {CALLER}"
    stage.gone(newest(stage), 486)
    stage.tell(first, *pressed(first, "*5"))
    asked(stage, first)
    assert stage.shown() == f"NO REC {CALLER}"


def test_who_gave_the_caller_away_rests_and_is_then_free(stage: Stage) -> None:
    _, first = stage.bridged()
    asked(stage, first)
    second = newest(stage)
    stage.answered(second)
    assert (stage.board.is_free(DESK), stage.board.is_free(SECOND_DESK)) == (False, False)
    stage.gone(first)
    assert stage.board.is_free(DESK)
    assert stage.board.seek("another", (), stage.clock.now + 59) == ()
    assert stage.board.seek("another", (), stage.clock.now + 61) == (DESK,)


def test_a_target_that_talks_for_us_is_busy(stage: Stage) -> None:
    _, first = stage.bridged()
    stage.rung(call_id="second", caller="+33699999999")
    dialled = len(stage.engine.dialled)
    asked(stage, first)
    assert stage.engine.ordered("tell_transfer") == [(first, 486, True)]
    assert (len(stage.engine.dialled), stage.engine.ordered("separate")) == (dialled, [])


def test_a_phone_that_hung_up_without_waiting_for_that_is_rung_again(stage: Stage) -> None:
    caller, first = stage.bridged()
    stage.rung(call_id="second", caller="+33699999999")
    asked(stage, first)
    stage.gone(first)
    again = newest(stage)
    assert (stage.engine.dialled[again], stage.hears(caller)) == (DESK, "hold_music")
    assert not stage.board.is_free(DESK)
    stage.answered(again)
    assert stage.engine.ordered("bridge")[-1] == (caller, again)
    stage.turn(after_s=HASTE_S)
    stage.gone(again)
    assert (caller,) in stage.engine.ordered("hang_up")


def test_with_two_calls_there_is_no_third_leg(stage: Stage) -> None:
    rules = replace(MINE, extensions=(DESK, "sip:203@127.0.0.1"))
    stage.agent.reload(rules)
    caller, first = stage.bridged()
    stage.rung(call_id="second", caller="+33699999999")
    dialled = dict(stage.engine.dialled)
    asked(stage, first)
    assert stage.engine.dialled == dialled
    assert (first,) in stage.engine.ordered("hang_up")
    assert stage.engine.ordered("tell_transfer") == [(first, 100, True)]
    assert not stage.board.is_free(SECOND_DESK)  # nobody takes it meanwhile
    stage.gone(first)
    second = newest(stage)
    assert (stage.engine.dialled[second], stage.engine.legs) == (SECOND_DESK, 4)
    assert stage.hears(caller) == "hold_music"


def test_the_phone_of_who_gave_the_caller_away_shows_no_recording(stage: Stage) -> None:
    """Until its leg is gone; and does again where the caller comes back."""
    _, first = stage.bridged()

    def shown(leg: int) -> list[str]:
        return [word for told, word in stage.engine.ordered("indicate") if told == leg]

    assert shown(first)[-1] == "on"
    asked(stage, first)
    assert shown(first)[-1] == "off"
    stage.gone(newest(stage), 486)
    assert shown(first)[-1] == "on"


def test_where_several_phones_ring_at_once_a_transfer_rings_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its third leg is lent: the next caller gets it, and the giver is rung again where it fails."""
    policy = replace(MINE.policy, simultaneous=True)
    rules = replace(MINE, policy=policy, strategy="simultaneous", extensions=(DESK, SECOND_DESK), calls=2)
    with staged(tmp_path, monkeypatch, rules) as stage:
        _, last = stage.rung()
        first, other = sorted(stage.engine.dialled)
        assert last == other
        stage.answered(first)
        stage.gone(other, 487)
        asked(stage, first)
        second = newest(stage)
        assert (stage.engine.dialled[second], stage.engine.legs) == (SECOND_DESK, 3)
        newcomer = stage.invite(call_id="second", caller="+33699999999")
        assert ("answer", newcomer) in stage.engine.orders
        assert [leg for leg, *_ in stage.engine.ordered("hang_up")][-1] == first
        assert stage.engine.ordered("tell_transfer")[-1] == (first, 100, True)
        stage.gone(first)
        stage.gone(second, 486)
        again = newest(stage)
        assert (stage.engine.dialled[again], stage.engine.legs) == (DESK, 3)
        stage.answered(again)
        assert stage.engine.ordered("bridge")[-1] == (101, again)
        assert stage.board.waiting == ()


def test_a_refusal_on_the_way_erases(stage: Stage) -> None:
    caller, first = stage.bridged()
    stage.talk(caller, first)
    asked(stage, first)
    stage.tell(caller, *pressed(caller, "9"))
    assert (stage.files(), stage.recording().status) == ([], Status.ERASED)
    assert stage.receipt().decision == "refused"
    second = newest(stage)
    stage.answered(second)
    assert (stage.files(), stage.agent.tapping.of_leg) == ([], {})


def test_a_caller_who_hangs_up_on_the_way_leaves_no_leg(stage: Stage) -> None:
    caller, first = stage.bridged()
    stage.talk(caller, first)
    asked(stage, first)
    stage.gone(caller)
    stage.listened()
    assert {(first,), (newest(stage),)} <= set(stage.engine.ordered("hang_up"))
    assert (stage.receipt().outcome, stage.recording().status) == ("connected", Status.CLOSED)
    stage.gone(first)
    stage.gone(newest(stage), 487)
    assert (stage.agent.calls, stage.engine.legs) == (0, 0)


def test_a_transfer_that_was_refused_is_in_the_receipt(stage: Stage) -> None:
    caller, _ = stage.bridged()
    stage.tell(caller, e.TransferDenied(caller))
    stage.gone(caller)
    stage.listened()
    assert ("transfer refused with 403", "caller") in [
        (event.what, event.by) for event in stage.receipt().events
    ]


# --- away ---


def test_a_call_that_is_not_recorded_leaves_and_its_legs_are_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staged(tmp_path, monkeypatch, with_policy(refer_targets=(OUT,), recording=False)) as stage:
        caller = stage.greeted()
        stage.sound_over(caller)
        assert (stage.engine.ordered("refer"), stage.engine.dialled) == ([(caller, OUT)], {})
        assert stage.hears(caller) == "hold_music"
        stage.tell(caller, e.ReferAnswered(caller, 202), e.ReferNotified(caller, 200))
        assert stage.engine.ordered("hang_up") == [(caller,)]
        stage.gone(caller)
        receipt = stage.receipt()
        assert (stage.agent.calls, stage.engine.legs, stage.files()) == (0, 0, [])
    assert (receipt.outcome, receipt.operator, receipt.decision) == ("transferred", OUT, "not_allowed")


def test_where_that_fails_operators_are_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with staged(tmp_path, monkeypatch, with_policy(refer_targets=(OUT,), recording=False)) as stage:
        caller = stage.greeted()
        stage.sound_over(caller)
        stage.turn(after_s=RULES.policy.ring_s)
        assert stage.engine.ordered("give_up_refer") == [(caller,)]
        operator = newest(stage)
        stage.tell(operator, e.OperatorAnswered(operator, telephone_event=True), e.MediaArrived(operator))
        assert stage.engine.ordered("bridge") == [(caller, operator)]
        stage.gone(caller)
        assert stage.receipt().outcome == "connected"
