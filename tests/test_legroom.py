"""How legs are shared: two for every call, one to refuse with, what is left for phones that ring beside."""

import pytest

from sipagent.agent.calls import LegRoom, LegShare


def room(used: int, *shares: tuple[int, int], capacity: int = 4) -> LegRoom:
    """Calls as (legs up, of which spare), named a, b, …"""
    named = tuple(LegShare("abcdefgh"[n], up, spare) for n, (up, spare) in enumerate(shares))
    return LegRoom(capacity, used, named)


@pytest.mark.parametrize(
    "used, shares, calls, takes",
    [
        (1, [], 1, True),
        (2, [(1, 0)], 1, False),  # the second caller of one
        (2, [(1, 0)], 2, True),
        (3, [(2, 0)], 2, True),
        (4, [(3, 0)], 2, False),  # one that was given up is not gone yet
        (4, [(3, 1)], 2, True),  # one rings beside another, and can be given up
        (3, [], 1, True),  # two legs of a call that is over: one is left for the operator
        (4, [], 1, False),
    ],
)
def test_who_is_taken(used: int, shares: list[tuple[int, int]], calls: int, takes: bool) -> None:
    """The newcomer's first leg is one of those used."""
    assert room(used, *shares).takes(calls) is takes


@pytest.mark.parametrize(
    "used, coming, capacity, takes",
    [
        (2, 1, 4, True),
        (3, 1, 4, False),  # one is ending, and whoever came before has been promised a second one
        (3, 2, 4, False),
        (3, 2, 8, True),
    ],
)
def test_who_is_coming_has_been_promised_two_legs(used: int, coming: int, capacity: int, takes: bool) -> None:
    assert LegRoom.of(capacity, used, (), coming).takes(3) is takes


@pytest.mark.parametrize(
    "used, shares, capacity, phones",
    [
        (1, [(1, 0)], 4, 2),  # one leg stays to refuse with
        (2, [(2, 0)], 4, 1),
        (3, [(3, 1)], 4, 0),
        (2, [(1, 0), (1, 0)], 4, 1),  # its own, and no more
        (3, [(2, 0), (1, 0)], 4, 0),  # a has its leg, the other one is b's
        (4, [(1, 0)], 4, 0),  # what is ending takes room too
        (1, [(1, 0)], 2, 1),
        (4, [(1, 0), (1, 0), (2, 0)], 16, 10),
    ],
)
def test_how_many_phones_may_ring_for_a_caller(
    used: int, shares: list[tuple[int, int]], capacity: int, phones: int
) -> None:
    assert room(used, *shares, capacity=capacity).for_ringing("a") == phones


def test_legs_are_short_only_where_others_need_what_rings_beside() -> None:
    assert room(3, (3, 1)).short == 0
    assert room(4, (3, 1), (1, 0)).short == 1
    assert room(4, (3, 0), (1, 0)).short == 0  # nothing can be given back
    assert room(8, (5, 3), (1, 0), (2, 0), capacity=10).short == 0
    assert room(8, (5, 3), (1, 0), (2, 0), capacity=9).short == 1
