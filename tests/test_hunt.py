"""Who is rung for a caller: one at a time, and no late word of an earlier one."""

from sipagent import events as e
from sipagent.hunt import Hunt, Operator

A, B = "sip:201@pbx", "sip:202@pbx"


def test_legs_are_numbered_in_the_order_of_dialling() -> None:
    hunt = Hunt()
    assert hunt.dial(A, recorded=True) == [e.DialOperator(1, A, True)]
    hunt.next()
    assert hunt.dial(B, recorded=False) == [e.DialOperator(2, B, False)]


def test_who_has_been_tried_is_said_when_the_next_is_asked_for() -> None:
    hunt = Hunt()
    assert hunt.again() == [e.SeekOperator(())]
    hunt.dial(A, recorded=True)
    assert hunt.next() == [e.SeekOperator((A,))]
    hunt.dial(B, recorded=True)
    assert hunt.next() == [e.SeekOperator((A, B))]
    assert hunt.next() == [e.SeekOperator((A, B))]
    assert hunt.again() == [e.SeekOperator(())]


def test_only_the_present_one_can_answer() -> None:
    hunt = Hunt()
    assert hunt.answered(0, telephone_event=True) is None
    hunt.dial(A, recorded=True)
    hunt.next()
    hunt.dial(B, recorded=True)
    assert hunt.answered(1, telephone_event=True) is None
    answered = Operator(2, B, answered=True, telephone_event=True)
    assert hunt.answered(2, telephone_event=True) == answered
    assert hunt.operator == answered


def test_who_is_not_needed_any_more_is_hung_up_once() -> None:
    hunt = Hunt()
    assert hunt.drop() == []
    hunt.dial(A, recorded=True)
    assert hunt.drop() == [e.HangUp(1)]
    assert (hunt.operator, hunt.drop()) == (None, [])
