"""A side of the call is over: it hung up, sends nothing any more, or the service ends. What follows?"""

from sipagent import callend, callhunt, calltransfer, policy
from sipagent import events as e
from sipagent.callstate import CallState
from sipagent.events import CALLER
from sipagent.hunt import Operator, refused
from sipagent.policy import Phase


def leg_gone(call: CallState, fact: e.LegGone) -> None:
    if not calltransfer.left_in_haste(call, fact):
        _is_over(call, fact.leg, fact.status, "hung up")


def media_lost(call: CallState, fact: e.MediaLost) -> None:
    call.do(e.HangUp(fact.leg))
    _is_over(call, fact.leg, 0, "no media")


def service_ending(call: CallState, _: e.ServiceEnding) -> None:
    calltransfer.drop(call)
    call.note("the service is stopping", "agent")
    call.do(e.HangUp(CALLER))
    call.do(*call.hunt.drop())
    callend.end(call, call.story.outcome or "failed")


def _is_over(call: CallState, leg: int, status: int, why: str) -> None:
    if leg == CALLER:
        calltransfer.drop(call)
        _caller_is_over(call, status, why)
    elif call.transfer:
        calltransfer.leg_is_over(call, call.transfer, leg, status, why)
    elif call.phase is not Phase.ENDING and (lost := call.hunt.lose(leg)):
        _operator_is_over(call, lost, status, why)


def _caller_is_over(call: CallState, status: int, why: str) -> None:
    if call.phase is Phase.ENDING:
        return  # it was we who hung up
    call.note(why, "caller")
    call.do(*call.hunt.drop())
    gave_up = status < 400 or status == policy.REQUEST_TERMINATED
    callend.end(call, call.story.outcome or ("abandoned" if gave_up else "failed"))


def _operator_is_over(call: CallState, lost: Operator, status: int, why: str) -> None:
    if call.phase is Phase.HUNT:
        call.do(*([refused(lost.uri, status)] if status >= 300 else []))
        callhunt.hunt_on(call, lost, f"refused with {status}" if status >= 300 else why)
    else:
        call.note(why, "operator")
        call.do(e.HangUp(CALLER))
        callend.end(call, "connected")
