"""A side of the call is over: it hung up, sends nothing any more, or the service ends. What follows?"""

from sipagent.call import end, hunting, transferring
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.machines.hunt import Operator, refused
from sipagent.call.policy import Phase
from sipagent.call.state import CallState

REQUEST_TERMINATED = 487  # the status of an INVITE that its caller cancelled (RFC 3261 section 21.4.25)


def leg_gone(call: CallState, fact: e.LegGone) -> None:
    if not transferring.left_in_haste(call, fact):
        _is_over(call, fact.leg, fact.status, "hung up")


def media_lost(call: CallState, fact: e.MediaLost) -> None:
    call.do(e.HangUp(fact.leg))
    _is_over(call, fact.leg, 0, "no media")


def service_ending(call: CallState, _: e.ServiceEnding) -> None:
    transferring.drop(call)
    call.note("the service is stopping", "agent")
    call.do(e.HangUp(CALLER))
    call.do(*call.hunt.drop())
    end.end(call, call.story.outcome or "failed")


def _is_over(call: CallState, leg: int, status: int, why: str) -> None:
    if leg == CALLER:
        transferring.drop(call)
        _caller_is_over(call, status, why)
    elif call.transfer:
        transferring.leg_is_over(call, call.transfer, leg, status, why)
    elif call.phase is not Phase.ENDING and (lost := call.hunt.lose(leg)):
        _operator_is_over(call, lost, status, why)


def _caller_is_over(call: CallState, status: int, why: str) -> None:
    if call.phase is Phase.ENDING:
        return  # it was we who hung up
    call.note(why, "caller")
    call.do(*call.hunt.drop())
    gave_up = status < 400 or status == REQUEST_TERMINATED
    end.end(call, call.story.outcome or ("abandoned" if gave_up else "failed"))


def _operator_is_over(call: CallState, lost: Operator, status: int, why: str) -> None:
    if call.phase is Phase.HUNT:
        call.do(*([refused(lost.uri, status)] if status >= 300 else []))
        hunting.hunt_on(call, lost, f"refused with {status}" if status >= 300 else why)
    else:
        call.note(why, "operator")
        call.do(e.HangUp(CALLER))
        end.end(call, "connected")
