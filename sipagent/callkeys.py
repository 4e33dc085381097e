"""A key: whose it is, and what it means there."""

from sipagent import callbridge, calldecision, callnotice
from sipagent import events as e
from sipagent.callstate import CallState
from sipagent.codes import heard_again
from sipagent.events import CALLER
from sipagent.policy import Phase


def digit(call: CallState, fact: e.DtmfPressed) -> None:
    recent, again = heard_again(call.presses.get(fact.leg, ()), fact.digit, fact.method, call.now)
    call.presses[fact.leg] = recent
    if again:
        pass  # one press, heard by two ways
    elif fact.leg != CALLER:
        callbridge.operator_digit(call, fact)
    elif fact.digit == call.policy.refusal_digit:
        calldecision.refuse(call, "dtmf", method=fact.method)
    elif call.phase is Phase.CHOICE:
        callnotice.choose(call, fact.digit)
    elif fact.digit == call.policy.accept_digit:
        callnotice.accept(call, fact.method)
    if fact.leg == CALLER and fact.method == "inband":
        callnotice.heard(call, "tone")
