"""The small machines that a call is made of: the decision, what is typed, who is rung, the bridge."""

from dataclasses import replace
from itertools import product

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER, Method, Prompt, Tone
from sipagent.call.machines import (
    CODE_GAP_S,
    LONGEST_CODE,
    SAME_CODE_S,
    SAME_PRESS_S,
    Codes,
    Consent,
    Conversation,
    Decision,
    Hunt,
    Operator,
    Press,
    Typed,
    refused,
)
from sipagent.call.state import heard_again

# --- the decision ---

ORDER = [Decision.UNDECIDED, Decision.ALLOWED, Decision.NOT_ALLOWED, Decision.REFUSED]


@pytest.mark.parametrize(("before", "after"), list(product(ORDER, ORDER)))
def test_a_decision_only_ever_moves_forward(before: Decision, after: Decision) -> None:
    """Silence is never called consent: that is a clear affirmative action (GDPR article 4(11))."""
    assert Consent(before).becomes(Consent(after)) is (ORDER.index(after) > ORDER.index(before))
    assert Consent().decision is Decision.UNDECIDED and "consent" not in {one.value for one in Decision}
    assert Consent(before).allowed is (before is Decision.ALLOWED)
    assert Consent(before).refused is (before is Decision.REFUSED)


# --- codes out of digits ---

LEG, OTHER = 1, 2
RFC: Method = "rfc4733"
INFO: Method = "info"
INBAND: Method = "inband"


@pytest.mark.parametrize(
    ("digits", "codes", "gap_s", "orders"),
    [
        ("*5", Codes(), 1.0, [None, "stop"]),
        ("*6", Codes(), 1.0, [None, "pause"]),
        ("12**7", Codes(), 1.0, [None] * 4 + ["flag"]),
        ("*5*6", Codes(), 1.0, [None, "stop", None, "pause"]),
        ("*55", Codes(), 1.0, [None, "stop", None]),  # counts once
        ("####", Codes(stop="##"), 1.0, [None, "stop", None, "stop"]),
        ("*5", Codes(), CODE_GAP_S, [None, "stop"]),
        ("*5", Codes(), CODE_GAP_S + 0.01, [None, None]),
        ("*6*50000#", Codes(stop="0000", pause="", flag="#"), 1.0, [None] * 7 + ["stop", "flag"]),
        ("99*12345678", Codes(stop="12345678"), 1.0, [None] * 10 + ["stop"]),
    ],
)
def test_codes(digits: str, codes: Codes, gap_s: float, orders: list[str | None]) -> None:
    so_far, found = Typed(), []
    for index, digit in enumerate(digits):
        so_far, order = so_far.then(codes, LEG, digit, RFC, 100.0 + index * gap_s)
        found.append(order)
    assert found == orders and len("12345678") == LONGEST_CODE


def test_two_operators_type_no_code_together() -> None:
    so_far, _ = Typed().then(Codes(), LEG, "*", RFC, 100.0)
    assert so_far.then(Codes(), OTHER, "5", RFC, 100.5)[1] is None


PAUSE: list[tuple[float, str, Method]] = [(0.0, "*", RFC), (0.1, "6", RFC)]


@pytest.mark.parametrize(
    ("keys", "orders"),
    [
        ([*PAUSE, (0.6, "*", INFO), (0.7, "6", INFO)], ["pause"]),
        ([*PAUSE, (1.5, "*", RFC), (1.6, "6", RFC), (1.9, "*", INFO), (2.0, "6", INFO)], ["pause"] * 2),
        ([*PAUSE, (0.6, "*", INFO), (0.7, "7", INFO)], ["pause", "flag"]),
        ([*PAUSE, (SAME_CODE_S, "*", INFO), (SAME_CODE_S + 0.2, "6", INFO)], ["pause"] * 2),
    ],
)
def test_a_code_that_comes_late_by_another_way(
    keys: list[tuple[float, str, Method]], orders: list[str]
) -> None:
    """INFO repeated after a loss: too late to be the same presses, soon enough not to undo a pause."""
    so_far, found = Typed(), []
    for at, digit, method in keys:
        so_far, order = so_far.then(Codes(), LEG, digit, method, 100.0 + at)
        found += [order] if order else []
    assert found == orders


@pytest.mark.parametrize(
    ("heard", "digits"),
    [
        ([(0.0, "6", RFC), (0.0, "6", INFO)], "6"),
        ([(0.0, "6", RFC), (SAME_PRESS_S - 0.01, "6", INFO)], "6"),
        ([(0.0, "6", RFC), (SAME_PRESS_S, "6", INFO)], "66"),
        ([(0.0, "6", RFC), (0.05, "6", RFC)], "66"),
        ([(0.0, "6", RFC), (0.1, "6", INFO), (0.2, "6", INBAND)], "6"),
        ([(0.0, "*", RFC), (0.1, "6", RFC), (0.15, "*", INFO), (0.22, "6", INFO)], "*6"),  # no second pause
        ([(0.0, "0", RFC), (0.06, "0", INBAND), (0.12, "0", RFC), (0.18, "0", INBAND)], "00"),
        ([(0.0, "0", RFC), (0.12, "0", RFC), (0.16, "0", INBAND), (0.22, "0", INBAND)], "00"),
    ],
)
def test_one_press_heard_in_several_ways_is_one(heard: list[tuple[float, str, Method]], digits: str) -> None:
    recent: tuple[Press, ...] = ()
    counted = ""
    for at, digit, method in heard:
        recent, again = heard_again(recent, digit, method, 100.0 + at)
        counted += "" if again else digit
    assert counted == digits


# --- who is rung: any number at once, one who is kept, and no late word of an earlier one ---

A, B, C = "sip:201@pbx", "sip:202@pbx", "sip:203@pbx"


def ringing(*uris: str) -> Hunt:
    """Given up after 4 s where nothing answers for the phone, else after 20 s."""
    hunt = Hunt()
    for uri in uris:
        hunt.dial(uri, recorded=True, gives_up_at=4.0, rings_until=20.0)
    return hunt


def test_legs_are_numbered_and_those_tried_are_said_when_the_next_is_asked_for() -> None:
    hunt = ringing(A, B)
    assert hunt.lose(1) == Operator(1, A, True, 20.0, 4.0)
    assert hunt.seek() == [e.SeekOperator((A,))]
    assert (hunt.lose(0), hunt.lose(1), hunt.lose(7), hunt.tried) == (None, None, None, (A,))
    hunt.lose(2)
    assert (hunt.seek(), hunt.again()) == ([e.SeekOperator((A, B))], [e.SeekOperator(())])
    assert (hunt.next_leg(), hunt.dial(C, recorded=False)) == (3, [e.DialOperator(4, C, False)])


def test_the_first_who_answers_is_kept_and_may_still_be_lost() -> None:
    hunt = ringing(A, B, C)
    kept = Operator(2, B, True, 20.0, 4.0, answered=True, telephone_event=True)
    assert not hunt.audible(2)
    assert hunt.answered(2, telephone_event=True) == kept
    assert hunt.elsewhere() == [e.HangUp(1, elsewhere=True), e.HangUp(3, elsewhere=True)]
    assert (hunt.operator, hunt.ringing, hunt.tried) == (kept, (), ())
    assert hunt.answered(3, telephone_event=True) is None  # its 200 crossed the CANCEL
    assert (hunt.audible(1), hunt.audible(2)) == (False, True)
    assert hunt.operator == replace(kept, audible=True) == hunt.lose(2)
    assert hunt.operator is None and hunt.tried == (B,)


def test_a_phone_for_which_something_answers_has_its_whole_time() -> None:
    hunt = ringing(A, B)
    hunt.reached(2)
    assert (hunt.deadline, [one.uri for one in hunt.overdue(4.0)]) == (4.0, [A])
    hunt.lose(1)
    assert (hunt.deadline, hunt.overdue(19.9), len(hunt.overdue(20.0))) == (20.0, [], 1)
    hunt.lose(2)
    assert hunt.deadline is None


def test_who_is_spared_and_who_is_hung_up_once() -> None:
    hunt = ringing(A, B)
    spared = hunt.spare()
    assert spared and (spared.uri, hunt.spare(), hunt.tried) == (B, None, ())  # never the only one
    assert [one.uri for one in hunt.ringing] == [A]
    assert (hunt.drop(), hunt.ringing, hunt.drop()) == ([e.HangUp(1)], (), [])
    hunt = ringing(A)
    hunt.answered(1, telephone_event=True)
    assert (hunt.drop(), hunt.operator, hunt.drop()) == ([e.HangUp(1)], None, [])


@pytest.mark.parametrize(
    ("problem", "statuses"),
    [
        ("busy", (486, 600)),
        ("declined", (603,)),
        ("unreachable", (404, 408, 410, 430, 480, 500, 502, 503, 504)),
        ("refused", (302, 400, 401, 403, 406, 407, 420, 488, 604, 606)),
    ],
)
def test_what_a_final_answer_says_of_a_phone(problem: e.DialProblem, statuses: tuple[int, ...]) -> None:
    for status in statuses:
        assert refused(A, status) == e.ReportOperator(A, problem, status)


# --- the bridge ---

OPERATOR = 1
MUSIC_TO_CALLER = e.Play(CALLER, Prompt.HOLD_MUSIC)
MUSIC_TO_OPERATOR = e.Play(OPERATOR, Prompt.HOLD_MUSIC)


def talking(record: bool = True) -> Conversation:
    talk = Conversation(OPERATOR, frozenset())
    talk.begin(A, record)
    return talk


def test_how_a_bridge_begins() -> None:
    taps = [e.StartTap(A), e.PlayTone(Tone.RECORDING_ON)]
    for held, record, commands in (
        ((), True, taps),
        ((), False, []),
        ((CALLER,), True, [*taps, e.SilenceTap(on=True), MUSIC_TO_OPERATOR]),
    ):
        talk = Conversation(OPERATOR, frozenset(held))
        assert talk.begin(A, record) == commands
        assert (talk.tapping, talk.captured) == (record, record)


@pytest.mark.parametrize("keep", [True, False])
def test_a_stopped_tap_is_acknowledged_and_never_goes_on(keep: bool) -> None:
    talk = talking()
    assert talk.stop_tap(keep) == [e.StopTap(keep), e.PlayTone(Tone.RECORDING_OFF)]
    assert (talk.tapping, talk.captured) == (False, keep)
    assert e.SilenceTap(on=True) not in talk.held(CALLER, sends=True)


def test_silence_lasts_until_the_last_reason_for_it_has_gone() -> None:
    """Both sides hold, and the operator has paused: one `on` and one `off`; a pause has tones of its own."""
    talk = talking()
    pauses = [talk.toggle_pause(), talk.held(CALLER, sends=True), talk.held(OPERATOR, sends=True)]
    ends = [talk.toggle_pause(), talk.resumed(CALLER), talk.resumed(OPERATOR)]
    silences = [[c.on for c in one if isinstance(c, e.SilenceTap)] for one in (*pauses, *ends)]
    assert silences == [[True], [], [], [], [], [False]]
    assert (pauses[0][-1], ends[0][-1]) == (e.PlayTone(Tone.PAUSED), e.PlayTone(Tone.RESUMED))


@pytest.mark.parametrize(
    ("leg", "music", "other"), [(CALLER, MUSIC_TO_OPERATOR, OPERATOR), (OPERATOR, MUSIC_TO_CALLER, CALLER)]
)
def test_the_other_side_of_a_silent_hold_hears_music(leg: int, music: e.Command, other: int) -> None:
    """Not where the holder sends some, and nobody is there to hear it where both hold."""
    talk = talking(record=False)
    assert (talk.held(leg, sends=False), talk.resumed(leg)) == ([music], [e.StopPlaying(other)])
    assert (talk.held(leg, sends=True), talk.resumed(leg)) == ([], [])
    talk.held(leg, sends=False)
    assert talk.held(leg, sends=True) == [e.StopPlaying(other)]
    talk = talking(record=False)
    talk.held(leg, sends=False)
    assert talk.held(other, sends=False) == [e.StopPlaying(other)]
    assert talk.resumed(other) == [music]
