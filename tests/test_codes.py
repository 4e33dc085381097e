"""What is typed: codes out of digits, and one press out of what several ways have heard."""

import pytest

from sipagent.call.events import Method
from sipagent.call.machines import CODE_GAP_S, LONGEST_CODE, SAME_CODE_S, SAME_PRESS_S, Codes, Press, Typed
from sipagent.call.state import heard_again

LEG, OTHER = 1, 2
RFC: Method = "rfc4733"
INFO: Method = "info"
INBAND: Method = "inband"


def typed(digits: str, codes: Codes | None = None, gap_s: float = 1.0) -> list[str | None]:
    """The order, if any, that each digit completes."""
    so_far = Typed()
    orders: list[str | None] = []
    for index, digit in enumerate(digits):
        so_far, order = so_far.then(codes or Codes(), LEG, digit, RFC, 100.0 + index * gap_s)
        orders.append(order)
    return orders


@pytest.mark.parametrize(("digits", "order"), [("*5", "stop"), ("*6", "pause"), ("*7", "flag")])
def test_a_code_is_complete_with_its_last_digit(digits: str, order: str) -> None:
    assert typed(digits) == [None, order]


def test_a_code_is_found_behind_other_digits() -> None:
    assert typed("12**7")[-1] == "flag"


def test_a_code_counts_once() -> None:
    assert typed("*5*6") == [None, "stop", None, "pause"]
    assert typed("*55") == [None, "stop", None]
    assert typed("####", Codes(stop="##")) == [None, "stop", None, "stop"]


@pytest.mark.parametrize(("gap_s", "order"), [(CODE_GAP_S, "stop"), (CODE_GAP_S + 0.01, None)])
def test_digits_too_far_apart_are_no_code(gap_s: float, order: str | None) -> None:
    assert typed("*5", gap_s=gap_s)[-1] == order


def test_a_code_of_one_own_choice_and_one_that_is_switched_off() -> None:
    assert typed("*6*50000#", Codes(stop="0000", pause="", flag="#")) == [None] * 7 + ["stop", "flag"]


def test_the_longest_code_is_found_behind_any_digits() -> None:
    code = "12345678"
    assert len(code) == LONGEST_CODE
    assert typed(f"99*{code}", Codes(stop=code))[-1] == "stop"


def test_two_operators_type_no_code_together() -> None:
    so_far, _ = Typed().then(Codes(), LEG, "*", RFC, 100.0)
    assert so_far.then(Codes(), OTHER, "5", RFC, 100.5)[1] is None


def orders(*keys: tuple[float, str, Method], leg: int = LEG) -> list[str]:
    """The orders out of digits at a time (s), by a way."""
    so_far = Typed()
    found: list[str] = []
    for at, digit, method in keys:
        so_far, order = so_far.then(Codes(), leg, digit, method, 100.0 + at)
        found += [order] if order else []
    return found


def test_a_code_that_comes_late_by_the_other_way_does_not_undo_a_pause() -> None:
    """INFO repeated after a loss: too late to be the same presses, soon enough to be the same code."""
    first: list[tuple[float, str, Method]] = [(0.0, "*", RFC), (0.1, "6", RFC)]
    assert orders(*first, (0.6, "*", INFO), (0.7, "6", INFO)) == ["pause"]
    assert (
        orders(*first, (1.5, "*", RFC), (1.6, "6", RFC), (1.9, "*", INFO), (2.0, "6", INFO)) == ["pause"] * 2
    )
    assert orders(*first, (0.6, "*", INFO), (0.7, "7", INFO)) == ["pause", "flag"]
    assert orders(*first, (SAME_CODE_S, "*", INFO), (SAME_CODE_S + 0.2, "6", INFO)) == ["pause"] * 2


# --- one press, heard in several ways ---


def counted(*heard: tuple[float, str, Method]) -> str:
    """The digits that count, of those heard at a time (s) by a way."""
    recent: tuple[Press, ...] = ()
    digits = ""
    for at, digit, method in heard:
        recent, again = heard_again(recent, digit, method, 100.0 + at)
        digits += "" if again else digit
    return digits


@pytest.mark.parametrize(("gap_s", "digits"), [(0.0, "6"), (SAME_PRESS_S - 0.01, "6"), (SAME_PRESS_S, "66")])
def test_the_same_digit_by_another_way_is_the_same_press_for_a_quarter_of_a_second(
    gap_s: float, digits: str
) -> None:
    assert counted((0.0, "6", RFC), (gap_s, "6", INFO)) == digits


def test_the_same_digit_by_the_same_way_is_another_press() -> None:
    assert counted((0.0, "6", RFC), (0.05, "6", RFC)) == "66"


def test_three_ways_are_still_one_press() -> None:
    assert counted((0.0, "6", RFC), (0.1, "6", INFO), (0.2, "6", INBAND)) == "6"


def test_a_code_dialled_faster_than_the_slower_way_hears_it_counts_once() -> None:
    """Both digits had counted by RFC 4733 before the first came by INFO: not a second `*6`, which resumes."""
    assert counted((0.0, "*", RFC), (0.1, "6", RFC), (0.15, "*", INFO), (0.22, "6", INFO)) == "*6"


def test_two_quick_presses_by_two_ways_are_two() -> None:
    assert counted((0.0, "0", RFC), (0.06, "0", INBAND), (0.12, "0", RFC), (0.18, "0", INBAND)) == "00"
    assert counted((0.0, "0", RFC), (0.12, "0", RFC), (0.16, "0", INBAND), (0.22, "0", INBAND)) == "00"
