"""The agent's side of the operators' board: the ways to it, and which operator it has lent to which call.

The board is the agent's own, or the supervisor keeps one for all workers (`BoardClient`). Either way the
agent asks and goes on; the answer comes into its inbox, at once or later, and may find the call over:
`Leave` has given everything back by then. Until there is an answer the caller hears music. If the
supervisor has died nobody knows which operators are busy, so none is offered any more: conversations go
on, a transfer fails as if its target were busy, and a waiting caller hears music up to
`operators.max_wait_s`.

The flow's question, or its order to dial, waits for the answer (`Lending`); so does the end of a leg whose
transfer is not yet answered, since a phone may hang up as soon as its REFER is accepted, and its caller
must go on to the colleague, not be hung up on.

One small file beside the database keeps the operator who was rung last over a restart (`Rota`). A round
begins after him; if the file cannot be used, at the first operator.
"""

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from retention.files import write_whole
from sipagent.agent.admission import Admission
from sipagent.agent.board import (
    AskAgain,
    Board,
    BoardAnswer,
    BoardRequest,
    Claim,
    Claimed,
    Leave,
    OperatorsOffered,
    Process,
    ReleaseOperator,
    Seek,
    Served,
    Strategy,
)
from sipagent.agent.calls import LiveCall
from sipagent.call import events as e

SIZE_LIMIT = 4096  # bytes; a file of ours is not larger


class Rota:
    """Not for the SIP thread: both wait for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> str | None:
        """The SIP URI of the operator who was rung last; None without a readable file."""
        try:
            with self.path.open("rb") as file:
                kept = json.loads(file.read(SIZE_LIMIT))
        except (OSError, ValueError, RecursionError):  # missing, unreadable, cut off, not JSON, not UTF-8
            return None
        last = kept.get("last") if isinstance(kept, dict) else None
        return last if isinstance(last, str) else None

    def keep(self, last: str) -> None:
        """Raises OSError."""
        write_whole(self.path, json.dumps({"last": last}).encode() + b"\n")


class BoardClient(ABC):
    """One thread's. Times are monotonic seconds."""

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        return None

    @abstractmethod
    def tell(self, asked: BoardRequest, now: float) -> list[BoardAnswer]:
        """Ask or say something; what is answered at once."""

    def tick(self, now: float) -> list[BoardAnswer]:
        """The facts that time alone brings: an operator has rested."""
        return []

    def lost(self) -> None:
        """The board is gone: nothing that was asked will be answered."""
        raise AssertionError("the board is here")

    @abstractmethod
    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        """Other operators, from the next question on."""


class LocalBoardClient(BoardClient):
    """With the board itself: an agent's alone, or the supervisor's for all.

    `turned(uri)` gets the operator whose turn it was, if that is to outlive the process.
    """

    def __init__(self, board: Board, turned: Callable[[str], None] = lambda _: None) -> None:
        self.board = board
        self.turned = turned

    @property
    def deadline(self) -> float | None:
        return self.board.deadline

    def tell(self, asked: BoardRequest, now: float, process: Process = 0) -> list[BoardAnswer]:
        """`process`: which one of several asks."""
        match asked:
            case Seek():
                return self._seek(asked, now, process)
            case Claim(call, uri):
                return [Claimed(call, uri, self.board.claim(uri, call))]
            case ReleaseOperator(call, uri, talked, willing):
                self.board.release(uri, call, now, talked)
                return self._somebody_free(now) if willing else []
            case Served(call):
                self.board.served(call)
                return []
            case Leave(call):
                self.board.leave(call)
                return self._somebody_free(now)
            case _:
                assert_never(asked)

    def _seek(self, asked: Seek, now: float, process: Process) -> list[BoardAnswer]:
        found = self.board.seek(asked.call, asked.tried, now, asked.legs, process)
        if not found:
            return [OperatorsOffered(asked.call, (), self.board.place(asked.call))]
        if self.board.strategy == "round_robin":
            self.turned(found[-1])
        # one who asked too early, while this one had nobody, is no longer behind it
        return [OperatorsOffered(asked.call, found), *self._somebody_free(now, asked.call)]

    def _somebody_free(self, now: float, but: str = "") -> list[BoardAnswer]:
        return [AskAgain(call) for call in self.board.hopeful(now) if call != but]

    def tick(self, now: float) -> list[BoardAnswer]:
        return self._somebody_free(now) if self.board.due(now) else []

    def die(self, calls: list[str], now: float) -> list[BoardAnswer]:
        """The process of these calls has died: what was their own is free."""
        for call in calls:
            self.board.die(call, now)
        return self._somebody_free(now)

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        board = self.board
        board.extensions, board.wrap_up_s, board.strategy = extensions, wrap_up_s, strategy


def local_board_client(
    rules: Admission, rota: Rota | None, later: Callable[[Callable[[], None]], None]
) -> LocalBoardClient:
    """With a board by these rules. `rota` knows whose turn it is, `later` has it written elsewhere."""
    if rota is None:
        return LocalBoardClient(Board(rules.extensions, rules.wrap_up_s, rules.strategy))
    board = Board(rules.extensions, rules.wrap_up_s, rules.strategy, rota.last())
    return LocalBoardClient(board, lambda uri: later(lambda: rota.keep(uri)))


class RemoteBoardClient(BoardClient):
    """Asks the supervisor; `send` must not wait. Answers come as messages, from whoever reads the link."""

    def __init__(self, send: Callable[[BoardRequest], None]) -> None:
        self._send = send
        self._lost = False

    def tell(self, asked: BoardRequest, now: float) -> list[BoardAnswer]:
        if not self._lost:
            self._send(asked)
            return []
        match asked:
            case Seek(call):
                return [OperatorsOffered(call, ())]
            case Claim(call, uri):
                return [Claimed(call, uri, granted=False)]
            case _:
                return []

    def lost(self) -> None:
        self._lost = True

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        pass  # the supervisor has read the same configuration


WEIGHED = (e.LegGone, e.TransferAsked)  # facts that may have to wait for the board
BUSY, GIVEN_UP = 486, 487  # as the phone itself would have said (RFC 3261 section 21.4)

Then = e.Fact | e.DialOperator
"""The result of an answer: a fact for the flow of the call, or an order that it gave before."""


@dataclass(slots=True)
class Lent:
    """`operators`: who are the call's own; `waits`: for an operator's, what is to go on with the answer."""

    operators: set[str] = field(default_factory=set)
    waits: dict[str, e.TransferAsked | e.DialOperator] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)  # legs (the flow's) that are not to be dialled any more
    held_back: list[e.LegGone] = field(default_factory=list)

    def gives_away(self, leg: int) -> bool:
        """Whether this leg's transfer waits to be answered."""
        return any(isinstance(one, e.TransferAsked) and one.leg == leg for one in self.waits.values())


class Lending:
    """Belongs to the SIP thread, as its client does; `answered` is called with what is answered at once."""

    def __init__(self, board_client: BoardClient, answered: Callable[[BoardAnswer], None]) -> None:
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

    def weighed(self, call: LiveCall, fact: e.LegGone | e.TransferAsked) -> e.Fact | None:
        """The fact, with what is known of it; None where it waits for what the board knows."""
        lent = self._calls.get(call.id)
        match fact:
            case e.TransferAsked(target=target):
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

    # --- messages to the board ---

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
        """The flow does not need the operator who was offered."""
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

    def answer(self, answer: BoardAnswer) -> list[Then]:
        """The facts and orders for a call that is up; one that has ended has given everything back."""
        lent = self._calls.get(answer.call)
        if lent is None:
            return []
        match answer:
            case AskAgain():
                return [e.OperatorFree()]
            case OperatorsOffered(_, uris, place):
                # an operator claimed meanwhile must not be given back: the claim's answer follows
                offered = [uri for uri in uris if uri not in lent.waits]
                lent.operators.update(offered)
                return [e.OperatorOffered(uri) for uri in offered] or [e.NoOperatorFree(place)]
            case Claimed():
                return self._claimed(answer, lent)

    def _claimed(self, answer: Claimed, lent: Lent) -> list[Then]:
        waited = lent.waits.pop(answer.uri, None)
        if answer.granted:
            lent.operators.add(answer.uri)
        if isinstance(waited, e.TransferAsked):
            back, lent.held_back = lent.held_back, []
            return [replace(waited, free=answer.granted), *back]
        if waited is None:
            return []
        if answer.granted and waited.leg not in lent.given_up:
            return [waited]
        if answer.granted:
            lent.operators.discard(answer.uri)
            self._ask(ReleaseOperator(answer.call, answer.uri, talked=False, willing=True))
        return [e.LegGone(waited.leg, GIVEN_UP if waited.leg in lent.given_up else BUSY)]

    # --- steps ---

    def _of(self, call: LiveCall) -> Lent:
        return self._calls.setdefault(call.id, Lent())

    def _give_back(self, call: LiveCall, uri: str, talked: bool, willing: bool) -> None:
        if lent := self._calls.get(call.id):
            lent.operators.discard(uri)
        self._ask(ReleaseOperator(call.id, uri, talked, willing))

    def _ask(self, asked: BoardRequest) -> None:
        for answer in self.board_client.tell(asked, time.monotonic()):
            self._answered(answer)
