"""A caller on the way from one operator to another, and one who leaves by REFER: all histories from there."""

from dataclasses import replace

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt, Tone
from sipagent.call.flow import CallFlow
from sipagent.call.machines import MOST_SILENCES, MOST_TIMES, Decision
from sipagent.call.state import Phase, Policy
from sipagent.call.timing import HASTE_S, REACH_S, REFER_ANSWER_S, ROOM_S, SOUND_S
from tests import tiers
from tests.test_callflow import (
    BRIDGED,
    OFFER,
    STATIONS,
    A,
    B,
    History,
    advance,
    run,
    walk,
)

C = "sip:203@127.0.0.1"
MINE = Policy(voice=True, transfer_targets=(A, B, C))
AWAY = Policy(refer_targets=(B, C))
REPLACES = "90a@pbx;to-tag=7;from-tag=8"

TRANSFER: History = [*BRIDGED, e.TransferAsked(1, B)]
SQUEEZED: History = [*BRIDGED, e.TransferAsked(1, B, room=False)]
WAYS: dict[str, History] = {
    "ringing": TRANSFER,
    "no third leg": SQUEEZED,
    "giver gone": [*TRANSFER, e.LegGone(1, 200)],
    "giver rung again": [*TRANSFER, e.LegGone(1, 200), e.LegGone(2, 486)],
    "hunting again": [*TRANSFER, e.LegGone(1, 200), e.LegGone(2, 486), e.LegGone(3, 486)],
    "answered": [*TRANSFER, e.OperatorAnswered(2, telephone_event=False)],
    "arrived": [*TRANSFER, e.OperatorAnswered(2, telephone_event=False), e.MediaArrived(2)],
    "held by the giver": [*BRIDGED, e.LegHeld(1, sends=False), e.TransferAsked(1, B)],
}
NOT_DRAWN: History = [
    e.CallOffered(
        source_allowed=True, number_known=True, room=True, draining=False, open=True, sampled=False
    ),
    e.CallConfirmed(telephone_event=True),
    e.MediaArrived(),
]
LEAVING: History = [*NOT_DRAWN, e.PromptEnded(Prompt.WELCOME, 1000, complete=True)]
REFUSES: History = [*STATIONS["window"], e.DtmfPressed(CALLER, "9", "info")]


@pytest.mark.parametrize("way", WAYS)
def test_all_histories_of_a_transfer(way: str) -> None:
    """No tap where one may not be, none that hears who waits, no leg left over, no silence, no third leg."""
    _, phases, taps = walk(MINE, WAYS[way], tiers.depth(3, 4))
    assert {Phase.ENDED, Phase.BRIDGED} <= phases
    assert taps == {"running", "kept", "erased"}


@pytest.mark.parametrize("way", ["giver gone", "hunting again"])
def test_all_histories_of_a_transfer_where_several_phones_ring(way: str) -> None:
    policy = replace(MINE, simultaneous=True, refer_targets=(B,))
    assert walk(policy, WAYS[way], tiers.depth(3, 4))[2] == {"running", "kept", "erased"}


@pytest.mark.parametrize(
    "began", [LEAVING, REFUSES, [OFFER]], ids=["not drawn", "refused", "from the INVITE"]
)
def test_all_histories_of_a_call_that_leaves(began: History) -> None:
    _, phases, taps = walk(AWAY, began, tiers.depth(4, 5))
    assert Phase.ENDED in phases
    assert taps == {"none"}


# --- from operator to operator ---


def test_the_caller_hears_music_and_the_recording_is_silent_meanwhile() -> None:
    flow, _, now = run(MINE, BRIDGED)
    assert flow.handle(e.TransferAsked(1, B, REPLACES), now) == [
        e.Separate(1),
        e.SilenceTap(on=True),
        e.Play(CALLER, Prompt.HOLD_MUSIC),
        e.TellTransfer(1, 100, last=False),
        e.DialOperator(2, B, recorded=True, replaces=REPLACES),
    ]
    assert flow.handle(e.OperatorAnswered(2, telephone_event=True), now + 1) == []
    assert flow.handle(e.MediaArrived(2), now + 1) == [
        e.TellTransfer(1, 200, last=True),
        e.HangUp(1),
        e.StopPlaying(CALLER),
        e.Bridge(2),
        e.AllowTransfer(2, (A, C)),
        e.Listen(2, tones=False, voice=False),
        e.SilenceTap(on=False),
        e.PlayTone(Tone.RECORDING_ON),
    ]
    assert (flow.story.operator, flow.story.talked) == (B, frozenset({A, B}))
    told = [(line.what, line.by) for line in flow.story.happenings[-3:]]
    assert told == [
        (f"transfer to {B}", "operator"),
        (f"ringing {B}", "agent"),
        (f"bridged with {B}", "operator"),
    ]


@pytest.mark.parametrize(
    ("status", "why"), [(486, "busy"), (603, "declined"), (404, "unreachable"), (503, "unreachable")]
)
def test_a_transfer_that_fails_returns_to_who_asked_for_it(status: int, why: e.DialProblem) -> None:
    flow, _, now = run(MINE, TRANSFER)
    commands = flow.handle(e.LegGone(2, status), now)
    assert commands[0] == e.TellTransfer(1, status, last=True)
    assert {e.Bridge(1), e.SilenceTap(on=False), e.AllowTransfer(1, (B, C))} <= set(commands)
    assert commands[-1] == e.ReportOperator(B, why, status)
    assert (flow.phase, flow.story.operator) == (Phase.BRIDGED, A)


def test_one_that_nobody_answers_does_so_after_ring_s() -> None:
    flow, _, now = run(MINE, [*TRANSFER, e.OperatorReached(2)])
    assert flow.deadline is not None and flow.deadline == pytest.approx(now + MINE.ring_s, abs=1.0)
    commands = flow.handle(e.TimePassed(), flow.deadline)
    assert commands[:2] == [e.HangUp(2), e.TellTransfer(1, 480, last=True)]
    assert commands[-1] == e.ReportOperator(B, "no_answer")
    assert flow.phase is Phase.BRIDGED
    assert flow.handle(e.OperatorAnswered(2, telephone_event=True), now) == [e.HangUp(2)]


def test_without_a_third_leg_the_givers_is_given_up_first() -> None:
    flow, _, now = run(MINE, BRIDGED)
    commands = flow.handle(e.TransferAsked(1, B, room=False), now)
    assert commands[-2:] == [e.TellTransfer(1, 100, last=True), e.HangUp(1)]
    assert flow.handle(e.LegGone(1, 200), now + 0.1) == [e.DialOperator(2, B, recorded=True)]
    rings_again = [e.DialOperator(3, A, recorded=True), e.ReportOperator(B, "busy", 486)]
    assert flow.handle(e.LegGone(2, 486), now + 1) == rings_again
    flow.handle(e.OperatorAnswered(3, telephone_event=True), now + 2)
    assert e.Bridge(3) in flow.handle(e.MediaArrived(3), now + 2)
    assert flow.story.operator == A


def test_a_leg_that_is_long_in_going_is_not_waited_for() -> None:
    flow, _, now = run(MINE, SQUEEZED)
    assert flow.deadline is not None and flow.deadline <= now + ROOM_S
    assert e.DialOperator(2, B, recorded=True) in flow.handle(e.TimePassed(), flow.deadline)


def test_who_rang_out_makes_room_before_the_giver_is_rung_again() -> None:
    flow, _, now = run(MINE, WAYS["giver gone"])
    assert flow.deadline is not None
    assert flow.handle(e.TimePassed(), flow.deadline) == [e.HangUp(2)]
    rings_again = [e.DialOperator(3, A, recorded=True), e.ReportOperator(B, "unreachable")]
    assert flow.handle(e.LegGone(2, 487), now + 1) == rings_again


def test_where_the_giver_is_away_too_everybody_is_rung() -> None:
    flow, watch, now = run(MINE, WAYS["hunting again"])
    assert (flow.phase, watch.tap, watch.silent) == (Phase.HUNT, "running", True)
    watch, now = advance(flow, watch, e.OperatorOffered(C), now)
    watch, now = advance(flow, watch, e.OperatorAnswered(4, telephone_event=True), now + 1)
    watch, now = advance(flow, watch, e.MediaArrived(4), now)
    assert (watch.bridged, watch.tap, watch.silent, flow.story.operator) == (True, "running", False, C)
    watch, now = advance(flow, watch, e.LegGone(CALLER, 200), now + 1)
    watch, now = advance(flow, watch, e.ListeningEnded(), now)
    assert (watch.tap, flow.story.outcome) == ("kept", "connected")


def test_where_nobody_is_left_the_recording_is_kept() -> None:
    flow, watch, now = run(MINE, [*WAYS["hunting again"], e.NoOperatorFree()])
    while flow.phase is Phase.HUNT:
        watch, now = advance(flow, watch, e.TimePassed(), now)
        if "retry" not in flow.timers and flow.phase is Phase.HUNT and flow.hunt.operator is None:
            watch, now = advance(flow, watch, e.NoOperatorFree(), now)
    watch, now = advance(flow, watch, e.PromptEnded(Prompt.UNAVAILABLE, 1000, complete=True), now)
    watch, now = advance(flow, watch, e.ListeningEnded(), now)
    assert (watch.tap, flow.story.outcome) == ("kept", "connected")


@pytest.mark.parametrize("way", ["ringing", "no third leg", "giver rung again", "hunting again"])
def test_a_refusal_on_the_way_erases(way: str) -> None:
    flow, watch, now = run(MINE, WAYS[way])
    watch, now = advance(flow, watch, e.DtmfPressed(CALLER, "9", "rfc4733"), now)
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.REFUSED)


def test_who_hangs_up_before_the_window_was_heard_out_is_not_recorded_on_the_way_either() -> None:
    """All are busy within half a second of the window's end."""
    window: History = STATIONS["window"]
    flow, watch, _ = run(MINE, window)
    assert flow.deadline is not None
    at = flow.deadline
    facts: History = [
        e.TimePassed(),
        e.OperatorOffered(A),
        e.OperatorAnswered(1, telephone_event=True),
        e.MediaArrived(1),
        e.TransferAsked(1, B),
        e.LegGone(1, 200),
        e.LegGone(2, 486),
        e.LegGone(3, 486),
        e.LegGone(CALLER, 200),
        e.ListeningEnded(),
    ]
    for fact in facts:
        watch, _ = advance(flow, watch, fact, at)
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.NOT_ALLOWED)


def test_a_busy_target_changes_nothing() -> None:
    flow, _, now = run(MINE, BRIDGED)
    assert flow.handle(e.TransferAsked(1, B, free=False), now) == [
        e.TellTransfer(1, 486, last=True),
        e.AllowTransfer(1, (B, C)),
    ]
    assert flow.phase is Phase.BRIDGED


@pytest.mark.parametrize("claimed", [True, False], ids=["for us", "for others"])
def test_a_phone_that_did_not_wait_to_hear_that_the_colleague_is_busy(claimed: bool) -> None:
    """Its caller comes back; who hangs up later, having heard of it, ends the call."""
    history: History = (
        [*BRIDGED, e.TransferAsked(1, B, free=False)] if claimed else [*TRANSFER, e.LegGone(2, 486)]
    )
    flow, watch, now = run(MINE, history)
    watch, now = advance(flow, watch, e.LegGone(1, 200), now + 0.2)
    assert (flow.phase, flow.playing, watch.silent) == (Phase.TRANSFER, Prompt.HOLD_MUSIC, True)
    leg = flow.hunt.dialled
    watch, now = advance(flow, watch, e.OperatorAnswered(leg, telephone_event=True), now)
    watch, now = advance(flow, watch, e.MediaArrived(leg), now)
    assert (flow.phase, flow.story.operator, watch.silent) == (Phase.BRIDGED, A, False)
    flow, _, now = run(MINE, history)
    assert e.HangUp(CALLER) in flow.handle(e.LegGone(1, 200), now + HASTE_S)


@pytest.mark.parametrize("status", [408, 481])
def test_a_phone_that_never_answers_the_word_of_a_failed_transfer_is_rung_again(status: int) -> None:
    """The engine ends its call then, 32 s later; where nothing was transferred its end is the call's."""
    flow, watch, now = run(MINE, [*TRANSFER, e.LegGone(2, 486)])
    watch, now = advance(flow, watch, e.LegGone(1, status), now + 32)
    assert (flow.phase, flow.playing, watch.silent) == (Phase.TRANSFER, Prompt.HOLD_MUSIC, True)
    leg = flow.hunt.dialled
    watch, now = advance(flow, watch, e.OperatorAnswered(leg, telephone_event=True), now)
    watch, now = advance(flow, watch, e.MediaArrived(leg), now)
    assert (flow.phase, flow.story.operator, watch.silent) == (Phase.BRIDGED, A, False)
    flow, _, now = run(MINE, BRIDGED)
    assert e.HangUp(CALLER) in flow.handle(e.LegGone(1, status), now + 32)


def test_a_pause_goes_along() -> None:
    """Who takes over hears that it is paused."""
    answered = e.OperatorAnswered(2, telephone_event=True)
    flow, _, now = run(MINE, [*STATIONS["paused"], e.TransferAsked(1, B), answered])
    commands = flow.handle(e.MediaArrived(2), now)
    assert e.PlayTone(Tone.PAUSED) in commands
    assert not any(isinstance(command, e.SilenceTap) for command in commands)


def test_the_hold_of_who_gave_the_caller_away_ends_with_it() -> None:
    """Phones hold before they transfer; where the transfer fails, they still do."""
    flow, watch, now = run(MINE, WAYS["held by the giver"])
    watch, now = advance(flow, watch, e.OperatorAnswered(2, telephone_event=True), now)
    watch, now = advance(flow, watch, e.MediaArrived(2), now)
    assert not watch.silent
    flow, watch, now = run(MINE, WAYS["held by the giver"])
    commands = flow.handle(e.LegGone(2, 486), now)
    assert commands[-2:] == [e.Play(CALLER, Prompt.HOLD_MUSIC), e.ReportOperator(B, "busy", 486)]
    assert e.SilenceTap(on=False) not in commands


def test_without_targets_nobody_may_transfer() -> None:
    flow, _, now = run(Policy(), STATIONS["hunt"] + [e.OperatorOffered(A)])
    commands = flow.handle(e.OperatorAnswered(1, telephone_event=True), now)
    assert not any(isinstance(command, e.AllowTransfer) for command in commands)


# --- who is rung, as in the hunt ---


def said(flow: CallFlow) -> list[str]:
    return [line.what for line in flow.story.happenings]


def test_one_for_whom_nothing_answers_is_left_after_four_seconds() -> None:
    flow, _, now = run(MINE, TRANSFER)
    assert flow.deadline == now + REACH_S
    assert flow.handle(e.TimePassed(), flow.deadline)[:2] == [e.HangUp(2), e.TellTransfer(1, 480, last=True)]


def test_one_who_answers_and_sends_nothing_sends_the_caller_back() -> None:
    """The caller hears music meanwhile, and the giver is not let go before somebody is heard."""
    flow, _, now = run(MINE, WAYS["answered"])
    assert (flow.phase, flow.playing, flow.deadline) == (Phase.TRANSFER, Prompt.HOLD_MUSIC, now + SOUND_S)
    assert flow.handle(e.OperatorReached(2), now) == []  # a late 180 gives it no more time
    assert flow.deadline == now + SOUND_S
    commands = flow.handle(e.TimePassed(), now + SOUND_S)
    assert commands[:2] == [e.HangUp(2), e.TellTransfer(1, 480, last=True)]
    assert commands[-1] == e.ReportOperator(B, "silent")
    assert e.Bridge(1) in commands
    assert f"{B}: answered and sent nothing" in said(flow)


def test_one_who_answers_on_hold_is_silent_by_choice() -> None:
    held, answers = e.LegHeld(2, sends=False), e.OperatorAnswered(2, telephone_event=True)
    for first, second in ((held, answers), (answers, held)):
        flow, _, now = run(MINE, [*TRANSFER, first])
        assert e.Bridge(2) in flow.handle(second, now)


@pytest.mark.parametrize("there", [True, False])
def test_one_who_answers_and_hangs_up_was_no_success(there: bool) -> None:
    """Its 200 is not what the giver's phone is told."""
    gone: History = [] if there else [e.LegGone(1, 200)]
    flow, _, now = run(MINE, [*WAYS["answered"], *gone])
    commands = flow.handle(e.LegGone(2, 200), now)
    told = [command.status for command in commands if isinstance(command, e.TellTransfer)]
    assert told == ([480] if there else [])
    assert (e.Bridge(1) if there else e.DialOperator(3, A, recorded=True)) in commands


def test_the_leg_of_the_giver_is_another_callers_where_legs_are_short() -> None:
    flow, _, now = run(MINE, TRANSFER)
    assert flow.spare_legs == 1
    commands = flow.handle(e.LegWanted(), now)
    assert commands == [e.TellTransfer(1, 100, last=True), e.HangUp(1)]
    assert (flow.spare_legs, flow.handle(e.LegWanted(), now)) == (0, [])
    assert flow.handle(e.LegGone(1, 200), now) == []
    rings_again = [e.DialOperator(3, A, recorded=True), e.ReportOperator(B, "busy", 486)]
    assert flow.handle(e.LegGone(2, 486), now) == rings_again
    flow, *_ = run(MINE, SQUEEZED)
    assert flow.spare_legs == 0


# --- a phone that won't stop ---


@pytest.mark.parametrize(
    "again", [[e.TransferDenied(1)], [e.TransferDenied(CALLER)], [e.LegHeld(1, sends=True), e.LegResumed(1)]]
)
def test_a_phone_that_repeats_itself_does_not_fill_the_receipt(again: History) -> None:
    flow, _, now = run(MINE, BRIDGED)
    before = len(flow.story.happenings)
    for _ in range(500):
        for fact in again:
            flow.handle(fact, now)
    lines = len(flow.story.happenings) - before
    assert lines <= len(again) * MOST_TIMES + 1
    for fact in (e.LegGone(CALLER, 200), e.ListeningEnded()):
        flow.handle(fact, now)
    more = [line for line in said(flow) if line.endswith(f": {500 - MOST_TIMES} times more")]
    assert len(more) == len(again)


def test_a_recording_that_is_silenced_without_end_ends_and_is_kept() -> None:
    """It lists its silences; a refusal still erases it."""
    flow, watch, now = run(MINE, BRIDGED)
    for _ in range(MOST_SILENCES):
        assert watch.tap == "running"
        watch, now = advance(flow, watch, e.LegHeld(CALLER, sends=False), now)
        watch, now = advance(flow, watch, e.LegResumed(CALLER), now)
    assert (watch.tap, flow.consent.decision) == ("kept", Decision.ALLOWED)
    watch, now = advance(flow, watch, e.DtmfPressed(CALLER, "9", "rfc4733"), now)
    assert watch.tap == "erased"


# --- away ---


def test_a_call_that_is_not_recorded_leaves() -> None:
    flow, _, now = run(AWAY, LEAVING)
    assert (flow.phase, flow.playing) == (Phase.REFER, Prompt.HOLD_MUSIC)
    for fact in (e.ReferAnswered(CALLER, 202), e.ReferNotified(CALLER, 100), e.ReferNotified(CALLER, 180)):
        assert flow.handle(fact, now) == []
    assert flow.handle(e.ReferNotified(CALLER, 200), now) == [e.HangUp(CALLER), e.Finish()]
    assert (flow.story.outcome, flow.story.operator) == ("transferred", B)


def test_a_call_that_may_be_recorded_stays() -> None:
    flow, *_ = run(AWAY, STATIONS["hunt"])
    assert flow.phase is Phase.HUNT


def test_who_refused_hears_that_it_counts_before_the_call_leaves() -> None:
    flow, watch, now = run(AWAY, REFUSES)
    assert (flow.phase, flow.playing, watch.refused) == (Phase.REFER, Prompt.REFUSED, True)
    assert flow.handle(e.PromptEnded(Prompt.REFUSED, 900, complete=True), now) == [
        e.Play(CALLER, Prompt.HOLD_MUSIC),
        e.Refer(CALLER, B),
    ]
    assert e.Play(CALLER, Prompt.HOLD_MUSIC) in flow.handle(e.ReferAnswered(CALLER, 405), now)  # not again


def test_the_next_target_is_tried_and_then_the_bridge() -> None:
    flow, _, now = run(AWAY, LEAVING)
    assert flow.handle(e.ReferNotified(CALLER, 486), now) == [e.Refer(CALLER, C)]
    commands = flow.handle(e.ReferNotified(CALLER, 603), now)
    assert (commands[0], commands[-1], flow.phase) == (e.GiveUpRefer(CALLER), e.SeekOperator(()), Phase.HUNT)


@pytest.mark.parametrize("status", [405, 501, 603, 0])
def test_a_trunk_that_refuses_refer(status: int) -> None:
    flow, _, now = run(AWAY, LEAVING)
    assert flow.handle(e.ReferAnswered(CALLER, status), now)[-1] == e.SeekOperator(())
    assert flow.phase is Phase.HUNT


@pytest.mark.parametrize(("answered", "after_s"), [(True, 60.0), (False, REFER_ANSWER_S)])
def test_a_trunk_that_says_no_more(answered: bool, after_s: float) -> None:
    flow, _, now = run(Policy(refer_targets=(B,), ring_s=60.0), LEAVING)
    if answered:
        flow.handle(e.ReferAnswered(CALLER, 202), now + 1)
    assert flow.deadline == pytest.approx(now + after_s)
    assert flow.handle(e.TimePassed(), now + after_s)[-1] == e.SeekOperator(())


def test_a_success_that_comes_late_ends_the_hunt() -> None:
    flow, _, now = run(AWAY, [*LEAVING, e.ReferAnswered(CALLER, 405), e.OperatorOffered(A)])
    commands = flow.handle(e.ReferNotified(CALLER, 200), now)
    assert commands == [e.HangUp(1), e.HangUp(CALLER), e.Finish()]
    assert flow.story.outcome == "transferred"


def test_a_caller_who_gives_up_on_the_way_was_not_transferred() -> None:
    flow, *_ = run(AWAY, [*LEAVING, e.ReferAnswered(CALLER, 202), e.LegGone(CALLER, 200)])
    assert flow.story.outcome == "abandoned"
