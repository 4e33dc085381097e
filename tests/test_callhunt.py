"""The hunt as the flow drives it: several phones at once, one that vanishes, and what the caller hears."""

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt, Tone
from sipagent.call.flow import CallFlow
from sipagent.call.state import Phase, Policy
from sipagent.call.timing import PLEASE_HOLD_S, REACH_S, RETRY_S, SOUND_S
from tests.test_callflow import ANSWERED, BRIDGED, HUNT, RINGING, STATIONS, A, B, History, run

TOGETHER = Policy(simultaneous=True)
BOTH: History = [*RINGING, e.OperatorOffered(B)]
ANSWER_B: History = [e.OperatorAnswered(2, telephone_event=True), e.MediaArrived(2)]


def wakes(flow: CallFlow, now: float) -> tuple[list[e.Command], float]:
    """What the flow does when it is woken next, and when that is."""
    assert flow.deadline is not None
    now = max(now, flow.deadline)
    return flow.handle(e.TimePassed(), now), now


def noted(flow: CallFlow) -> list[str]:
    return [line.what for line in flow.story.happenings]


def test_the_first_answer_wins_and_the_others_are_told_that_the_call_was_completed_elsewhere() -> None:
    flow, _, now = run(TOGETHER, BOTH)
    assert flow.handle(ANSWER_B[0], now) == [e.HangUp(1, elsewhere=True)]
    assert e.Bridge(2) in flow.handle(ANSWER_B[1], now + 0.02)
    assert flow.story.operator == B
    assert flow.handle(e.LegGone(1, 487), now + 0.1) == []


def test_of_two_answers_at_once_one_is_kept_and_the_other_hung_up() -> None:
    flow, _, now = run(TOGETHER, BOTH)
    flow.handle(e.OperatorAnswered(1, telephone_event=True), now)
    assert flow.handle(e.OperatorAnswered(2, telephone_event=True), now) == [e.HangUp(2)]
    assert flow.handle(e.MediaArrived(2), now) == []
    assert e.Bridge(1) in flow.handle(e.MediaArrived(1), now)
    assert flow.handle(e.OperatorAnswered(2, telephone_event=True), now) == [e.HangUp(2)]  # said once more


def test_an_answer_told_twice_changes_nothing() -> None:
    flow, _, now = run(Policy(), ANSWERED)
    assert flow.handle(e.OperatorAnswered(1, telephone_event=True), now) == []
    assert e.Bridge(1) in flow.handle(e.MediaArrived(1), now)


def test_a_phone_that_answers_and_vanishes_is_left_for_the_next_one() -> None:
    """The caller hears the music all the time, and nobody was connected."""
    flow, _, now = run(Policy(), ANSWERED)
    commands, then = wakes(flow, now)
    assert then == now + SOUND_S
    assert commands == [e.HangUp(1), e.ReportOperator(A, "silent"), e.SeekOperator((A,))]
    assert (flow.playing, flow.story.operator, flow.story.connected_at) == (Prompt.HOLD_MUSIC, None, None)
    assert "recording started" not in noted(flow)
    for fact in (e.OperatorOffered(B), *ANSWER_B):
        flow.handle(fact, then)
    assert (flow.phase, flow.story.operator) == (Phase.BRIDGED, B)


def test_the_wait_goes_on_where_it_was_when_a_phone_vanishes() -> None:
    flow, _, now = run(Policy(max_wait_s=60), HUNT)
    ends = flow.timers["max_wait"]
    flow.handle(e.OperatorOffered(A), now)
    flow.handle(e.OperatorAnswered(1, telephone_event=True), now + 2)
    flow.handle(e.LegGone(1, 200), now + 3)
    assert flow.timers["max_wait"] == ends
    assert flow.timers["please_hold"] == now + 3 + PLEASE_HOLD_S


def test_a_phone_that_answers_on_hold_sends_nothing_and_is_bridged_all_the_same() -> None:
    held = e.LegHeld(1, sends=False)
    flow, watch, now = run(Policy(), [*RINGING, held, e.OperatorAnswered(1, telephone_event=True)])
    assert watch.bridged
    flow, watch, now = run(Policy(), ANSWERED)
    assert e.Bridge(1) in flow.handle(held, now)


@pytest.mark.parametrize(
    "reached, gives_up_s, why", [(False, REACH_S, "unreachable"), (True, 15, "no_answer")]
)
def test_a_phone_for_which_nothing_answers_is_not_rung_to_the_end(
    reached: bool, gives_up_s: float, why: e.DialProblem
) -> None:
    flow, _, now = run(Policy(ring_s=15), RINGING)
    if reached:
        flow.handle(e.OperatorReached(1), now + 1)
    commands, then = wakes(flow, now)
    assert then == now + gives_up_s
    assert commands == [e.HangUp(1), e.ReportOperator(A, why), e.SeekOperator((A,))]
    assert noted(flow)[-1] == f"{A}: {why.replace('_', ' ')}"


@pytest.mark.parametrize(("status", "why"), [(486, "busy"), (480, "unreachable"), (403, "refused")])
def test_a_phone_that_refuses_is_reported_as_what_it_says(status: int, why: e.DialProblem) -> None:
    flow, _, now = run(Policy(), RINGING)
    commands = flow.handle(e.LegGone(1, status), now)
    assert commands == [e.ReportOperator(A, why, status), e.SeekOperator((A,))]


def test_who_hangs_up_before_being_heard_is_no_fault_of_the_phones() -> None:
    flow, _, now = run(Policy(), RINGING)
    flow.handle(e.OperatorAnswered(1, telephone_event=True), now)
    assert flow.handle(e.LegGone(1, 200), now) == [e.SeekOperator((A,))]


def test_phones_that_ring_together_are_given_up_each_in_its_time() -> None:
    flow, _, now = run(TOGETHER, RINGING)
    flow.handle(e.OperatorOffered(B), now + 1)
    flow.handle(e.OperatorReached(2), now + 1)
    given_up: list[tuple[float, int]] = []
    then = now
    while len(given_up) < 2:
        commands, then = wakes(flow, then)
        given_up += [(then - now, c.leg) for c in commands if isinstance(c, e.HangUp)]
    assert given_up == [(REACH_S, 1), (1 + TOGETHER.ring_s, 2)]


def test_who_becomes_free_while_others_ring_is_rung_too() -> None:
    flow, _, now = run(TOGETHER, RINGING)
    flow.handle(e.OperatorReached(1), now)
    commands, then = wakes(flow, now)
    assert (commands, then) == ([e.SeekOperator(())], now + RETRY_S)
    assert flow.handle(e.OperatorFree(), then + 1) == [e.SeekOperator(())]
    assert flow.handle(e.OperatorOffered(B), then + 1) == [e.DialOperator(2, B, True)]


def test_a_caller_for_whom_nobody_rings_asks_as_soon_as_somebody_is_free() -> None:
    flow, _, now = run(Policy(), [*HUNT, e.NoOperatorFree()])
    assert flow.handle(e.OperatorFree(), now + 1) == [e.SeekOperator(())]
    flow.handle(e.OperatorOffered(A), now + 1)
    assert flow.handle(e.OperatorFree(), now + 2) == []


@pytest.mark.parametrize("station", ["answered", "bridge", "ending"])
def test_an_operator_who_was_offered_too_late_is_given_back(station: str) -> None:
    """Else nobody would ring him before the end of this call."""
    flow, _, now = run(Policy(), STATIONS[station])
    assert flow.handle(e.OperatorOffered(B), now) == [e.DeclineOperator(B)]


@pytest.mark.parametrize("end", ["waited too long", "gone after a conversation"])
def test_an_answer_that_crosses_the_end_is_hung_up(end: str) -> None:
    """The caller still hears `unavailable`, or what he had sent is still being listened to."""
    if end == "waited too long":
        flow, _, now = run(Policy(max_wait_s=10.0), RINGING)
        while flow.phase is Phase.HUNT:
            _, now = wakes(flow, now)
        assert flow.phase is Phase.FAREWELL
    else:
        flow, _, now = run(TOGETHER, BOTH)
        for fact in (*ANSWER_B, e.LegGone(CALLER, 200)):
            flow.handle(fact, now)
        assert flow.phase is Phase.ENDING
    assert flow.handle(e.OperatorAnswered(1, telephone_event=True), now) == [e.HangUp(1)]


def test_a_leg_is_given_to_another_caller_only_where_two_ring() -> None:
    flow, _, now = run(TOGETHER, BOTH)
    assert flow.handle(e.LegWanted(), now) == [e.HangUp(2)]
    assert flow.handle(e.LegWanted(), now) == []
    assert e.Bridge(1) in [
        *flow.handle(e.OperatorAnswered(1, telephone_event=True), now),
        *flow.handle(e.MediaArrived(1), now),
    ]


def test_nobody_who_waits_is_left_without_a_word_for_long() -> None:
    """Music, and "please hold" every 20 s, until the wait is over."""
    flow, _, now = run(Policy(max_wait_s=65), HUNT)
    began, said = now, []
    flow.handle(e.NoOperatorFree(), now)
    while flow.phase is Phase.HUNT:
        commands, now = wakes(flow, now)
        for command in commands:
            match command:
                case e.SeekOperator():
                    flow.handle(e.NoOperatorFree(), now)
                case e.Play(_, Prompt.PLEASE_HOLD):
                    said.append(now - began)
                    flow.handle(e.PromptEnded(Prompt.PLEASE_HOLD, 2000, complete=True), now + 2)
                    assert flow.playing is Prompt.HOLD_MUSIC
    assert said == [20, 40, 60]
    assert (now - began, flow.playing) == (65, Prompt.UNAVAILABLE)


def test_an_operator_whose_phone_showed_rec_hears_that_it_is_so_no_longer() -> None:
    flow, _, now = run(Policy(), [*ANSWERED, e.DtmfPressed(CALLER, "9", "info"), e.MediaArrived(1)])
    commands = flow.handle(e.PromptEnded(Prompt.REFUSED, 900, complete=True), now)
    assert e.Bridge(1) in commands
    assert e.PlayTone(Tone.RECORDING_OFF) in commands


def test_an_operator_whose_phone_showed_no_rec_hears_no_tone() -> None:
    answer: History = [e.OperatorOffered(A), e.OperatorAnswered(1, telephone_event=True), e.MediaArrived(1)]
    flow, _, now = run(Policy(opt_in=True), [*HUNT, *answer[:-1]])
    assert not any(isinstance(command, e.PlayTone) for command in flow.handle(answer[-1], now))


@pytest.mark.parametrize(
    "keys, tones",
    [
        ([(1, "*6")], [Tone.PAUSED]),
        ([(1, "*6*6")], [Tone.PAUSED, Tone.RESUMED]),
        ([(1, "*5")], [Tone.RECORDING_OFF]),
        ([(1, "*7")], [Tone.FLAGGED]),
        ([(CALLER, "9")], [Tone.RECORDING_OFF]),
    ],
)
def test_a_tone_says_each_time_that_it_changes(keys: list[tuple[int, str]], tones: list[Tone]) -> None:
    flow, _, now = run(Policy(), BRIDGED)
    heard = [
        command.tone
        for leg, typed in keys
        for digit in typed
        for command in flow.handle(e.DtmfPressed(leg, digit, "rfc4733"), now)
        if isinstance(command, e.PlayTone)
    ]
    assert heard == tones
