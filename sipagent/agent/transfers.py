"""Transfers, as the agent carries them out: orders go to the engine."""

from typing import assert_never

from sipagent.agent.engine import Engine, Headers
from sipagent.agent.livecall import LiveCall
from sipagent.call import referral as r

REPLACES = "replaces"  # a phone that doesn't know it must not take the call for one more

Order = r.AllowTransfer | r.TellTransfer | r.Refer | r.GiveUpRefer


def replacing(replaces: str) -> Headers:
    """What makes a phone put this call in the place of one that it has (RFC 3891 section 6.1), if any."""
    return (("Replaces", replaces), ("Require", REPLACES)) if replaces else ()


def carry_out(engine: Engine, call: LiveCall, order: Order) -> None:
    """Give an order of the flow's to the engine."""
    leg = call.legs.get(order.leg, -1)
    match order:
        case r.AllowTransfer(targets=targets):
            engine.allow_transfer(leg, targets)
        case r.TellTransfer(status=status, last=last):
            engine.tell_transfer(leg, status, last)
        case r.Refer(uri=uri):
            engine.refer(leg, uri)
        case r.GiveUpRefer():
            engine.give_up_refer(leg)
        case _:
            assert_never(order)
