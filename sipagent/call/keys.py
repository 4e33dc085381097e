"""A key: whose it is, and what it means there."""

from sipagent.call import bridge, decision, notice
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.machines.codes import heard_again
from sipagent.call.policy import Phase
from sipagent.call.state import CallState


def digit(call: CallState, fact: e.DtmfPressed) -> None:
    recent, again = heard_again(call.presses.get(fact.leg, ()), fact.digit, fact.method, call.now)
    call.presses[fact.leg] = recent
    if again:
        pass  # one press, heard by two ways
    elif fact.leg != CALLER:
        bridge.operator_digit(call, fact)
    elif fact.digit == call.policy.refusal_digit:
        decision.refuse(call, "dtmf", method=fact.method)
    elif call.phase is Phase.CHOICE:
        notice.choose(call, fact.digit)
    elif fact.digit == call.policy.accept_digit:
        notice.accept(call, fact.method)
    if fact.leg == CALLER and fact.method == "inband":
        notice.heard(call, "tone")
