"""Who is rung for a caller: any number at once, one who is kept, and no late word of an earlier one."""

from dataclasses import replace

import pytest

from sipagent.call import events as e
from sipagent.call.machines import Hunt, Operator, refused

A, B, C = "sip:201@pbx", "sip:202@pbx", "sip:203@pbx"


def ringing(*uris: str) -> Hunt:
    """Given up after 4 s where nothing answers for the phone, else after 20 s."""
    hunt = Hunt()
    for uri in uris:
        hunt.dial(uri, recorded=True, gives_up_at=4.0, rings_until=20.0)
    return hunt


def test_legs_are_numbered_in_the_order_of_dialling() -> None:
    hunt = Hunt()
    assert hunt.dial(A, recorded=True) == [e.DialOperator(1, A, True)]
    hunt.lose(1)
    assert hunt.dial(B, recorded=False) == [e.DialOperator(2, B, False)]
    assert (hunt.next_leg(), hunt.dial(C, recorded=False)) == (3, [e.DialOperator(4, C, False)])


def test_who_has_been_tried_is_said_when_the_next_is_asked_for() -> None:
    hunt = ringing(A, B)
    assert hunt.lose(1) == Operator(1, A, True, 20.0, 4.0)
    assert hunt.seek() == [e.SeekOperator((A,))]
    hunt.lose(2)
    assert hunt.seek() == [e.SeekOperator((A, B))]
    assert hunt.again() == [e.SeekOperator(())]


def test_what_is_no_leg_of_the_hunt_cannot_be_lost() -> None:
    hunt = ringing(A)
    assert (hunt.lose(0), hunt.lose(7), hunt.tried) == (None, None, ())
    assert [one.uri for one in hunt.ringing] == [A]


def test_the_first_who_answers_is_kept_and_the_others_are_told_that_somebody_has() -> None:
    hunt = ringing(A, B, C)
    kept = Operator(2, B, True, 20.0, 4.0, answered=True, telephone_event=True)
    assert hunt.answered(2, telephone_event=True) == kept
    assert hunt.elsewhere() == [e.HangUp(1, elsewhere=True), e.HangUp(3, elsewhere=True)]
    assert (hunt.operator, hunt.ringing, hunt.tried) == (kept, (), ())
    assert hunt.answered(3, telephone_event=True) is None  # its 200 crossed the CANCEL
    assert hunt.operator == kept


def test_who_has_answered_may_still_be_lost() -> None:
    hunt = ringing(A)
    kept = hunt.answered(1, telephone_event=False)
    assert hunt.lose(1) == kept
    assert (hunt.operator, hunt.tried) == (None, (A,))


def test_only_who_has_answered_is_heard() -> None:
    hunt = ringing(A, B)
    assert not hunt.audible(1)
    kept = hunt.answered(1, telephone_event=False)
    assert (hunt.audible(2), hunt.audible(1)) == (False, True)
    assert kept and hunt.operator == replace(kept, audible=True)


def test_a_phone_for_which_something_answers_has_its_whole_time() -> None:
    hunt = ringing(A, B)
    hunt.reached(2)
    assert hunt.deadline == 4.0
    assert [one.uri for one in hunt.overdue(4.0)] == [A]
    hunt.lose(1)
    assert (hunt.deadline, hunt.overdue(19.9)) == (20.0, [])
    assert [one.uri for one in hunt.overdue(20.0)] == [B]
    hunt.lose(2)
    assert hunt.deadline is None


def test_the_one_rung_last_is_spared_for_another_caller_but_never_the_only_one() -> None:
    hunt = ringing(A, B)
    spared = hunt.spare()
    assert spared and spared.uri == B
    assert (hunt.spare(), hunt.tried) == (None, ())
    assert [one.uri for one in hunt.ringing] == [A]


def test_who_is_not_needed_any_more_is_hung_up_once() -> None:
    hunt = Hunt()
    assert hunt.drop() == []
    hunt = ringing(A, B)
    assert hunt.drop() == [e.HangUp(1), e.HangUp(2)]
    assert (hunt.ringing, hunt.drop()) == ((), [])
    hunt = ringing(A)
    hunt.answered(1, telephone_event=True)
    assert hunt.drop() == [e.HangUp(1)]
    assert (hunt.operator, hunt.drop()) == (None, [])


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
    assert {refused(A, status) for status in statuses} == {
        e.ReportOperator(A, problem, status) for status in statuses
    }
