"""The small machines that a call is made of: the decision, what is typed, why a phone is not taken."""

from itertools import product

import pytest

from sipagent.call import events as e
from sipagent.call.events import Method
from sipagent.call.machines import (
    CODE_GAP_S,
    LONGEST_CODE,
    SAME_CODE_S,
    SAME_PRESS_S,
    Codes,
    Consent,
    Decision,
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
        ([(0.06, "6", INBAND), (0.0, "6", INFO)], "6"),
        (
            [(0.0, "*", INFO), (0.3, "6", INFO), (3.0, "1", INFO), (0.06, "*", INBAND), (0.4, "6", INBAND)],
            "*61",
        ),
        ([(0.0, "6", RFC), (9.99, "*", INFO), (0.2, "6", INBAND)], "6*"),  # heard ten seconds late
    ],
)
def test_one_press_heard_in_several_ways_is_one(heard: list[tuple[float, str, Method]], digits: str) -> None:
    recent: tuple[Press, ...] = ()
    counted = ""
    for at, digit, method in heard:
        recent, again = heard_again(recent, digit, method, 100.0 + at)
        counted += "" if again else digit
    assert counted == digits


# --- phones that are not taken ---

A = "sip:201@pbx"


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
