"""The agent's side of the operators' board: whom it has lent to which call, and what waits for its word.

The answer to a question may come at once or later. What the flow of a call wants to know, or to dial, waits
for it here; so does the end of a leg whose transfer is not yet answered, since a phone may hang up as soon as
its REFER is accepted, and its caller must go on to the colleague, not be hung up on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sipagent.agent.livecall import LiveCall
from sipagent.agent.operators.asking import (
    Answer,
    AskAgain,
    Asked,
    Claim,
    Claimed,
    Leave,
    Offered,
    Release,
    Seek,
    Served,
)
from sipagent.agent.operators.board_client import BoardClient
from sipagent.call import events as e
from sipagent.call import referral as r

WEIGHED = (e.LegGone, r.TransferAsked)  # facts that may have to wait for the board
BUSY, GIVEN_UP = 486, 487  # as the phone itself would have said (RFC 3261 section 21.4)

Then = e.Fact | e.DialOperator
"""What an answer leads to: a fact for the flow of the call, or what it has ordered before."""


@dataclass(slots=True)
class Lent:
    """`operators`: who are the call's own; `waits`: for an operator's, what is to go on with the answer."""

    operators: set[str] = field(default_factory=set)
    waits: dict[str, r.TransferAsked | e.DialOperator] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)  # legs (the flow's) that are not to be dialled any more
    held_back: list[e.LegGone] = field(default_factory=list)

    def gives_away(self, leg: int) -> bool:
        """Whether this leg's transfer waits to be answered."""
        return any(isinstance(one, r.TransferAsked) and one.leg == leg for one in self.waits.values())


class Lending:
    """Belongs to the SIP thread, as its client does; `answered` is called with what is answered at once."""

    def __init__(self, board_client: BoardClient, answered: Callable[[Answer], None]) -> None:
        self.board_client = board_client
        self._answered = answered
        self._calls: dict[str, Lent] = {}

    # --- questions ---

    def seek(self, call: LiveCall, tried: tuple[str, ...], legs: int) -> None:
        self._of(call)
        self._ask(Seek(call.id, tried, legs))

    def may_dial(self, call: LiveCall, order: e.DialOperator) -> bool:
        """Whether the operator is the call's own; if not he is asked for, and the order waits."""
        lent = self._of(call)
        if order.uri in lent.operators:
            return True
        lent.waits[order.uri] = order
        self._ask(Claim(call.id, order.uri))
        return False

    def weighed(self, call: LiveCall, fact: e.LegGone | r.TransferAsked) -> e.Fact | None:
        """The fact, with what is known of it; None where it waits for what the board knows."""
        lent = self._calls.get(call.id)
        match fact:
            case r.TransferAsked(target=target):
                lent = self._of(call)
                if target in lent.operators or target in lent.waits:
                    return replace(fact, free=False)  # busy with this very call
                lent.waits[target] = fact
                self._ask(Claim(call.id, target))
                return None
            case e.LegGone(leg) if lent and lent.gives_away(leg):
                lent.held_back.append(fact)
                return None
            case _:
                return fact

    # --- what the board is told ---

    def give_up(self, call: LiveCall, leg: int) -> bool:
        """A leg of the flow's is to be hung up; true where it waits and need never be dialled."""
        lent = self._calls.get(call.id)
        orders = lent.waits.values() if lent else ()
        waits = any(isinstance(one, e.DialOperator) and one.leg == leg for one in orders)
        if lent and waits:
            lent.given_up.add(leg)
        return waits

    def release(self, call: LiveCall, engine_leg: int) -> None:
        """A leg is gone, perhaps an operator's."""
        uri = call.operators.pop(engine_leg, None)
        if uri is None or uri in call.operators.values():  # he is rung again, on another leg
            return
        talked = uri in call.flow.story.talked
        # or another was quicker: this one is free, and willing
        self._give_back(call, uri, talked, willing=talked or call.flow.hunt.operator is not None)

    def decline(self, call: LiveCall, uri: str) -> None:
        """The flow doesn't need who was offered."""
        self._give_back(call, uri, talked=False, willing=True)

    def bridged(self, call: LiveCall) -> None:
        self._ask(Served(call.id))

    def finished(self, call: LiveCall) -> None:
        for leg in call.legs.values():
            self.release(call, leg)
        if self._calls.pop(call.id, None):
            self._ask(Leave(call.id))

    def tick(self, now: float) -> None:
        for answer in self.board_client.tick(now):
            self._answered(answer)

    # --- answers ---

    def lost(self) -> None:
        """The board is gone."""
        self.board_client.lost()
        for id, lent in self._calls.items():
            for uri in lent.waits:
                self._answered(Claimed(id, uri, granted=False))

    def answer(self, answer: Answer) -> list[Then]:
        """What follows for a call that is up; one that is not has given everything back."""
        lent = self._calls.get(answer.call)
        if lent is None:
            return []
        match answer:
            case AskAgain():
                return [e.OperatorFree()]
            case Offered(_, uris):
                # one who has been claimed meanwhile must not be given back: the claim's answer follows
                offered = [uri for uri in uris if uri not in lent.waits]
                lent.operators.update(offered)
                return [e.OperatorOffered(uri) for uri in offered] or [e.NoOperatorFree()]
            case Claimed():
                return self._claimed(answer, lent)

    def _claimed(self, answer: Claimed, lent: Lent) -> list[Then]:
        waited = lent.waits.pop(answer.uri, None)
        if answer.granted:
            lent.operators.add(answer.uri)
        if isinstance(waited, r.TransferAsked):
            back, lent.held_back = lent.held_back, []
            return [replace(waited, free=answer.granted), *back]
        if waited is None:
            return []
        if answer.granted and waited.leg not in lent.given_up:
            return [waited]
        if answer.granted:
            lent.operators.discard(answer.uri)
            self._ask(Release(answer.call, answer.uri, talked=False, willing=True))
        return [e.LegGone(waited.leg, GIVEN_UP if waited.leg in lent.given_up else BUSY)]

    # --- steps ---

    def _of(self, call: LiveCall) -> Lent:
        return self._calls.setdefault(call.id, Lent())

    def _give_back(self, call: LiveCall, uri: str, talked: bool, willing: bool) -> None:
        if lent := self._calls.get(call.id):
            lent.operators.discard(uri)
        self._ask(Release(call.id, uri, talked, willing))

    def _ask(self, asked: Asked) -> None:
        for answer in self.board_client.tell(asked, time.monotonic()):
            self._answered(answer)
