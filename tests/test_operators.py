"""The operators' board: who is free, who rests, and whose turn it is."""

from sipagent.operators import Board

A, B = "sip:201@pbx", "sip:202@pbx"


def test_operators_are_taken_in_the_order_of_the_configuration() -> None:
    board = Board((A, B))
    assert board.seek("one", (), 0.0) == A
    assert board.seek("one", (A,), 0.0) == B
    assert board.seek("one", (A, B), 0.0) is None


def test_who_is_engaged_is_not_rung_for_another() -> None:
    board = Board((A, B))
    assert (board.seek("one", (), 0.0), board.seek("two", (), 0.0)) == (A, B)
    assert board.seek("three", (), 0.0) is None
    board.release(A, 1.0, talked=False)
    board.leave("one")
    assert board.seek("three", (), 1.0) == A


def test_who_came_first_is_served_first() -> None:
    board = Board((A,))
    assert board.seek("first", (), 0.0) == A
    assert (board.seek("second", (), 0.0), board.seek("third", (), 0.0)) == (None, None)
    board.release(A, 1.0, talked=False)
    board.leave("first")
    assert (board.seek("third", (), 1.0), board.seek("second", (), 1.0)) == (None, A)


def test_an_earlier_caller_for_whom_somebody_rings_holds_nobody_up() -> None:
    board = Board((A, B))
    assert (board.seek("first", (), 0.0), board.seek("second", (), 0.0)) == (A, B)


def test_who_is_served_or_has_left_is_waited_for_no_longer() -> None:
    board = Board((A,))
    board.seek("first", (), 0.0)
    board.served("first")
    board.release(A, 1.0, talked=False)
    assert board.seek("second", (A,), 1.0) is None
    assert board.seek("third", (), 1.0) is None  # the second waits, with nobody ringing
    board.leave("second")
    assert board.seek("third", (), 1.0) == A


def test_a_call_that_is_over_engages_nobody() -> None:
    board = Board((A, B))
    board.seek("one", (), 0.0)
    board.seek("one", (A,), 0.0)
    board.leave("one")
    assert (board.seek("two", (), 0.0), board.seek("three", (), 0.0)) == (A, B)


def test_an_operator_rests_after_a_conversation_and_only_then() -> None:
    board = Board((A,), wrap_up_s=30.0)
    board.seek("one", (), 0.0)
    board.release(A, 10.0, talked=False)
    assert board.seek("one", (), 10.0) == A
    board.release(A, 20.0, talked=True)
    board.leave("one")
    assert board.seek("two", (), 49.9) is None
    assert board.seek("two", (), 50.0) == A


def test_who_was_not_engaged_needs_no_rest() -> None:
    board = Board((A,), wrap_up_s=30.0)
    board.release(A, 10.0, talked=True)
    assert board.seek("one", (), 10.0) == A


def test_leaving_twice_is_harmless() -> None:
    board = Board((A,))
    board.leave("nobody")
    board.served("nobody")
    assert board.seek("one", (), 0.0) == A
