"""The engine gives its numbers of calls again at once: whose call is whose, from the first callback on."""

import gc
from contextlib import ExitStack

from sipagent.agent.engine import Incoming, LegLost
from sipagent.call import events as e
from sipagent.pjsip import library
from sipagent.pjsip.library import LIBRARY
from sipagent.softphone.phone import Call
from tests.loopback import Loopback, scene

ROUNDS = 20


def full_but_for_one(office: Loopback) -> list[tuple[Call, int]]:
    """Calls on all of the engine's numbers but one."""
    return [office.answered() for _ in range(office.engine.capacity - 1)]


def followed(office: Loopback, call: Call, leg: int) -> tuple[Call, int]:
    """The next caller, whose INVITE is in the socket together with the BYE of this one."""
    call.hang_up()
    again = office.caller.call(office.uri())
    office.told(leg, e.LegGone(leg, 200))
    leg = office.of(Incoming)[-1].leg
    office.engine.answer(leg)
    office.told(leg, e.CallConfirmed(telephone_event=True))
    return again, leg


@scene
def test_a_call_that_comes_with_the_end_of_another_is_its_own(stack: ExitStack) -> None:
    """Both are in the socket when the engine looks: the number of the first is given to the second."""
    office = Loopback(stack)
    others = full_but_for_one(office)
    call, leg = office.answered()
    for _ in range(ROUNDS):
        call, leg = followed(office, call, leg)
    office.frames(call, 0.5)
    assert [one.ended_by for one in (call, *(other for other, _ in others))] == [None] * 4
    assert office.engine.legs == 4


@scene
def test_an_order_for_a_call_that_is_over_meets_no_other(stack: ExitStack) -> None:
    """Not even the one that its destructor gives by itself."""
    office = Loopback(stack)
    full_but_for_one(office)
    call, leg = office.answered()
    native = office.engine._legs[leg]
    call.hang_up()
    office.until(lambda: e.LegGone(leg, 200) in office.facts(leg), "end of the call")
    again, _ = office.answered()
    assert native.getId() == library.NO_CALL
    assert not library.is_known(native)
    del native
    gc.collect()
    office.frames(again, 0.5)
    assert again.ended_by is None


@scene
def test_a_leg_that_the_library_has_no_more_is_given_back_and_told(stack: ExitStack) -> None:
    office = Loopback(stack)
    _, leg = office.answered()
    LIBRARY.pjsua_call_set_user_data(office.engine._legs[leg].getId(), None)  # as another's destructor does
    office.told(leg, e.LegGone(leg, 0))
    assert office.of(LegLost) == [LegLost(leg)]
    assert not office.engine.has(leg)


@scene
def test_where_a_number_cannot_be_forgotten_no_leg_ever_dies(stack: ExitStack) -> None:
    library.call_can_be_let_go = lambda account: False
    office = Loopback(stack)
    full_but_for_one(office)
    call, leg = office.answered()
    again, _ = followed(office, call, leg)
    office.frames(again, 0.5)
    assert again.ended_by is None
