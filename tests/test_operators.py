"""The operators' board: who is free, who rests, and whose turn it is."""

import pytest

from sipagent.agent.board import Board, Standing, Strategy

A, B, C = "sip:201@pbx", "sip:202@pbx", "sip:203@pbx"


def test_operators_are_taken_in_the_order_of_the_configuration() -> None:
    board = Board((A, B))
    assert board.seek("one", (), 0.0) == (A,)
    assert board.seek("one", (A,), 0.0) == (B,)
    assert board.seek("one", (A, B), 0.0) == ()


def test_who_is_engaged_is_not_rung_for_another() -> None:
    board = Board((A, B))
    assert (board.seek("one", (), 0.0), board.seek("two", (), 0.0)) == ((A,), (B,))
    assert board.seek("three", (), 0.0) == ()
    board.release(A, "one", 1.0, talked=False)
    board.leave("one")
    assert board.seek("three", (), 1.0) == (A,)


def test_who_came_first_is_served_first() -> None:
    board = Board((A,))
    assert board.seek("first", (), 0.0) == (A,)
    assert (board.seek("second", (), 0.0), board.seek("third", (), 0.0)) == ((), ())
    board.release(A, "first", 1.0, talked=False)
    board.leave("first")
    assert (board.seek("third", (), 1.0), board.seek("second", (), 1.0)) == ((), (A,))


def test_an_earlier_caller_for_whom_somebody_rings_holds_nobody_up() -> None:
    board = Board((A, B))
    assert (board.seek("first", (), 0.0), board.seek("second", (), 0.0)) == ((A,), (B,))


def test_who_is_served_or_has_left_is_waited_for_no_longer() -> None:
    board = Board((A,))
    board.seek("first", (), 0.0)
    board.served("first")
    board.release(A, "first", 1.0, talked=False)
    assert board.seek("second", (A,), 1.0) == ()
    assert board.seek("third", (), 1.0) == ()  # the second waits, with nobody ringing
    board.leave("second")
    assert board.seek("third", (), 1.0) == (A,)


def test_a_call_that_is_over_engages_nobody() -> None:
    board = Board((A, B))
    board.seek("one", (), 0.0)
    board.seek("one", (A,), 0.0)
    board.leave("one")
    assert (board.seek("two", (), 0.0), board.seek("three", (), 0.0)) == ((A,), (B,))


def test_an_operator_rests_after_a_conversation_and_only_then() -> None:
    board = Board((A,), wrap_up_s=30.0)
    board.seek("one", (), 0.0)
    board.release(A, "one", 10.0, talked=False)
    assert board.seek("one", (), 10.0) == (A,)
    board.release(A, "one", 20.0, talked=True)
    board.leave("one")
    assert board.seek("two", (), 49.9) == ()
    assert board.seek("two", (), 50.0) == (A,)


def test_the_end_of_a_rest_is_told_once_and_only_where_somebody_waits() -> None:
    board = Board((A, B), wrap_up_s=30.0)
    for call, operator, at in (("one", A, 10.0), ("two", B, 20.0)):
        board.seek(call, (), 0.0)
        board.served(call)
        board.release(operator, call, at, talked=True)
    assert board.deadline is None
    assert board.seek("three", (), 21.0) == ()
    assert board.deadline == 40.0
    assert [board.due(at) for at in (39.9, 40.0, 40.0)] == [False, True, False]
    assert board.deadline == 50.0
    assert board.seek("three", (), 40.0) == (A,)


def test_who_is_rung_during_a_rest_rests_no_longer() -> None:
    board = Board((A,), wrap_up_s=30.0)
    board.seek("one", (), 0.0)
    board.release(A, "one", 10.0, talked=True)
    board.seek("two", (), 11.0)
    assert board.claim(A, "transferred")
    assert (board.deadline, board.due(40.0)) == (None, False)


@pytest.mark.parametrize("talked", [False, True])
def test_without_a_rest_nothing_is_due(talked: bool) -> None:
    board = Board((A,))
    board.seek("one", (), 0.0)
    board.release(A, "one", 10.0, talked)
    assert (board.deadline, board.due(10.0)) == (None, False)


def test_who_was_not_engaged_needs_no_rest() -> None:
    board = Board((A,), wrap_up_s=30.0)
    board.release(A, "nobody", 10.0, talked=True)
    assert board.seek("one", (), 10.0) == (A,)


def test_who_is_lent_to_a_call_is_neither_claimed_nor_given_back_by_another() -> None:
    """A transfer has failed, and who had given the caller away talks with somebody else by now."""
    board = Board((A,))
    assert board.claim(A, "one") and board.claim(A, "one")
    assert not board.claim(A, "two")
    board.release(A, "two", 1.0, talked=True)
    assert not board.is_free(A)
    board.release(A, "one", 1.0, talked=False)
    assert board.claim(A, "two")


def test_a_process_without_a_leg_holds_up_nobody_elsewhere() -> None:
    board = Board((A, B))
    assert board.seek("first", (), 0.0, legs=0, process=1) == ()
    assert board.seek("of the same", (), 0.0, process=1) == ()
    assert board.seek("elsewhere", (), 0.0, process=2) == ()  # the second one has a leg, and waits
    board.leave("of the same")
    assert board.seek("elsewhere", (), 0.0, process=2) == (A,)
    assert board.seek("first", (), 0.0, legs=1, process=1) == (B,)


def test_as_many_hope_as_can_be_served_in_their_order() -> None:
    board = Board((A, B), wrap_up_s=30.0)
    assert board.hopeful(0.0) == ()
    for call, uri in (("one", A), ("two", B)):
        assert board.seek(call, (), 0.0) == (uri,)
    for call in ("three", "four", "five"):
        assert board.seek(call, (), 0.0) == ()
    assert board.hopeful(0.0) == ()
    board.served("one")
    board.release(A, "one", 10.0, talked=True)
    assert board.hopeful(10.0) == ()
    assert board.hopeful(40.0) == ("three",)
    board.leave("two")
    assert board.hopeful(40.0) == ("three", "four")


def test_who_has_somebody_ringing_hopes_for_more_where_all_ring_at_once() -> None:
    board = Board((A, B), strategy="simultaneous")
    assert board.seek("one", (), 0.0, legs=1) == (A,)
    assert board.seek("two", (), 0.0, legs=0) == ()
    assert board.hopeful(0.0) == ("two", "one")


def test_a_process_that_dies_gives_back_what_was_its_own_and_who_talked_rests() -> None:
    board = Board((A, B, C), wrap_up_s=30.0)
    assert (board.seek("talks", (), 0.0), board.seek("rings", (), 0.0)) == ((A,), (B,))
    assert board.seek("other", (), 0.0) == (C,)
    board.served("talks")
    for call in ("talks", "rings"):
        board.die(call, 10.0)
    assert board.waiting == ("other",)
    assert board.seek("new", (), 10.0) == (B,)
    assert board.seek("next", (), 39.0) == ()
    assert board.seek("next", (), 40.0) == (A,)


def test_leaving_twice_is_harmless() -> None:
    board = Board((A,))
    board.leave("nobody")
    board.served("nobody")
    assert board.seek("one", (), 0.0) == (A,)


def test_all_who_are_free_ring_at_once_as_far_as_there_are_legs() -> None:
    board = Board((A, B, C), strategy="simultaneous")
    assert board.seek("one", (), 0.0, legs=2) == (A, B)
    assert board.seek("one", (A,), 0.0, legs=1) == (C,)
    board.release(A, "one", 1.0, talked=False)
    assert board.seek("one", (A,), 1.0, legs=3) == ()
    assert board.seek("two", (), 1.0, legs=3) == (A,)


@pytest.mark.parametrize("strategy", ["sequential", "round_robin"])
def test_one_rings_at_a_time_however_many_legs_there_are(strategy: Strategy) -> None:
    assert Board((A, B, C), strategy=strategy).seek("one", (), 0.0, legs=3) == (A,)


@pytest.mark.parametrize("strategy", ["sequential", "simultaneous", "round_robin"])
def test_without_a_leg_nobody_rings_and_the_place_in_the_queue_stays(strategy: Strategy) -> None:
    board = Board((A,), strategy=strategy)
    assert board.seek("first", (), 0.0, legs=0) == ()
    assert board.seek("second", (), 0.0, legs=1) == ()
    assert board.waiting == ("first", "second")
    assert board.seek("first", (), 1.0, legs=1) == (A,)


def test_a_round_begins_after_the_one_who_was_rung_last_whoever_called() -> None:
    board = Board((A, B, C), strategy="round_robin")
    turns = []
    for number in range(4):
        (uri,) = board.seek(str(number), (), 0.0)
        turns.append(uri)
        board.release(uri, str(number), 0.0, talked=True)
        board.leave(str(number))
    assert turns == [A, B, C, A]
    assert board.seek("busy", (), 0.0) == (B,)
    assert board.seek("busy", (B,), 0.0) == (C,)
    board.leave("busy")
    assert board.seek("next", (), 0.0) == (A,)


def test_a_round_goes_on_where_an_earlier_process_was() -> None:
    assert Board((A, B, C), strategy="round_robin", last=B).seek("one", (), 0.0) == (C,)
    assert Board((A, B, C), strategy="round_robin", last=C).seek("one", (), 0.0) == (A,)
    assert Board((A, B, C), strategy="round_robin", last="sip:gone@pbx").seek("one", (), 0.0) == (A,)
    assert Board((A, B, C), strategy="sequential", last=B).seek("one", (), 0.0) == (A,)


# --- hosts ---


def test_an_operator_whom_two_calls_have_is_free_once_both_have_let_go_of_him() -> None:
    """Nobody could be asked when he was rung for the second one."""
    board = Board((A, B), wrap_up_s=30.0)
    board.seek("one", (), 0.0)
    board.admit(A, "two")
    board.admit(A, "three")
    board.served("one")
    assert board.seek("four", (), 0.0) == (B,)
    assert not board.claim(A, "five") and board.claim(A, "two")
    board.release(A, "one", 1.0, talked=True)
    board.leave("three")
    assert not board.is_free(A)
    board.release(A, "two", 2.0, talked=True)
    assert board.is_free(A) and board.seek("four", (), 31.9) == ()
    assert board.seek("four", (), 32.0) == (A,)


def test_who_talks_with_an_operator_that_another_call_has_too_waits_with_somebody() -> None:
    board = Board((A, B))
    board.seek("one", (), 0.0)
    board.enter("two", 1)
    board.admit(A, "two")
    assert board.seek("three", (), 0.0) == (B,)
    board.die("two", 1.0)
    board.die("one", 1.0)
    assert board.seek("four", (), 1.0) == (A,)


def test_who_may_ring_none_of_those_who_are_free_holds_up_nobody() -> None:
    """Two hosts are configured otherwise for a moment."""
    standing = Standing()
    new = Board((A, B, C), standing=standing, reach={"old": (A, B)})
    old = Board((A, B), standing=standing, reach={"new": (A, B, C)})
    assert new.claim(A, "talks") and new.claim(B, "talks too")
    assert old.seek("first", (), 0.0, process="old") == ()
    assert old.hopeful(0.0) == ()
    assert new.seek("second", (), 0.0, process="new") == (C,)
    assert new.seek("third", (), 0.0, process="new") == ()
    new.release(C, "second", 1.0, talked=False)
    new.leave("second")
    assert (old.hopeful(1.0), new.hopeful(1.0)) == (("third",), ("third",))
    new.release(A, "talks", 1.0, talked=False)
    assert old.hopeful(1.0) == ("first", "third")
    assert new.seek("third", (), 1.0, process="new") == ()  # the first one may ring one of those
    assert old.seek("first", (), 1.0, process="old") == (A,)
