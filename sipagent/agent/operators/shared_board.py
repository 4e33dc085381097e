"""The way to the board of all hosts, and what holds where there is none.

It belongs to the SIP thread, or to the supervisor's; neither ever waits. `BoardThread` is asked, and `tick`
takes what it has heard. A board of this host's own calls is kept beside:

    shared     it is told what the shared board has said; so it is what this host tells anew after a break
    alone      it decides. Who was lent to another host when this one last heard stays so for a lease; who is
               engaged there else is told by the phones: they are busy (486)

A host is alone when it has had no answer for `LIMIT_S`. Once the shared board is back, the host tells who
waits, who is engaged and who rests with it. Nothing is taken from a call for that.

To the shared board a call is called by a random word, so that no word of it leads to a receipt.
"""

import itertools
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, assert_never

import structlog

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
from sipagent.agent.operators.board import Process, Strategy
from sipagent.agent.operators.board_client import LocalBoardClient
from sipagent.agent.operators.board_thread import (
    LIMIT_S,
    Ask,
    Connected,
    FromThread,
    Heard,
    Lost,
    MayAsk,
    Renew,
    ToThread,
)
from sipagent.agent.operators.shared_state import (
    Died,
    Host,
    Look,
    Outcome,
    Question,
    Said,
    Told,
    Waiter,
    What,
)

LOOKS = 4  # in the time of a lease
ELSEWHERE = "elsewhere"  # the call that the own board has for those of other hosts, while this one is alone

log = structlog.get_logger(__name__)


class Thread(Protocol):
    """Implemented by `BoardThread`."""

    def put(self, message: ToThread) -> None: ...

    def hear(self) -> FromThread | None: ...

    @property
    def has_said(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Open:
    """What has been asked at `since`, and is not answered yet."""

    what: What
    since: float
    process: Process = 0


class SharedBoardClient:
    """`own` has the board of this host's calls; times are monotonic seconds. `alert` is told of a loss."""

    def __init__(
        self,
        own: LocalBoardClient,
        host: str,
        lease_s: float,
        thread: Thread,
        *,
        now: float,
        alert: Callable[[str], None],
    ) -> None:
        board = own.board
        self._own = own
        self._thread = thread
        self._alert = alert
        self._host = Host(
            host, secrets.token_hex(8), lease_s, board.extensions, board.wrap_up_s, board.strategy
        )
        self._numbers = itertools.count(1)
        self._open: dict[int, Open] = {}  # in the order in which they were asked
        self._call_of: dict[str, str] = {}  # by the words that the shared board knows
        self._word_of: dict[str, str] = {}
        self._came: dict[str, float] = {}  # words of calls that wait → since when
        self._connection = 0  # the one on which it can be asked; 0: none
        self._lost_at: float | None = now  # since when it cannot be asked
        self._reason = "there is no connection yet"
        self._look_at = now
        self._decides = False  # here, without the shared board
        self._lent: tuple[tuple[str, str], ...] = ()  # to other hosts, when the shared board was last heard
        self._lent_until: float | None = None  # while alone
        self.alone = False  # since it was last heard of
        self.losses = 0

    # --- the way to it ---

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do."""
        if self._thread.has_said:
            return 0.0
        own = self._own.deadline if self._decides else None
        due = (own, self._lent_until, self._gives_up_at, self._looks_at)
        return min((at for at in due if at is not None), default=None)

    @property
    def _gives_up_at(self) -> float | None:
        if self._decides:
            return None
        since = [one.since for one in self._open.values()]
        since += [] if self._lost_at is None else [self._lost_at]
        return min(since) + LIMIT_S if since else None

    @property
    def _looks_at(self) -> float | None:
        return self._look_at if self._connection and not self._decides else None

    def tell(self, asked: Asked, now: float, process: Process = 0) -> list[Answer]:
        """Ask or say something; what is answered at once. `process`: which one of several asks."""
        if asked.call not in self._word_of and not isinstance(asked, Seek | Claim):
            return []  # it has nothing, and waits for nobody
        asked = replace(asked, call=self._word(asked.call))
        self._note_when(asked, now)
        if self._decides:
            answers = self._translated(self._own.tell(asked, now, process))
        else:
            self._note(asked, now, process)
            answers = []
        if isinstance(asked, Leave):
            self._forget(asked.call)
        return answers

    def die(self, calls: list[str], now: float) -> list[Answer]:
        """The process of these calls has died: what was their own is free."""
        words = [self._word_of[call] for call in calls if call in self._word_of]
        answers = self._own.die(words, now)
        if not self._decides:
            self._ask(Died(tuple(words)), now)
        for word in words:
            self._forget(word)
        return self._translated(answers) if self._decides else []

    def lost(self) -> None:
        raise AssertionError("the board of this host is here")

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        """Other operators, from the next question on."""
        self._own.reload(extensions, wrap_up_s, strategy)
        self._host = replace(self._host, extensions=extensions, wrap_up_s=wrap_up_s, strategy=strategy)

    def tick(self, now: float) -> list[Answer]:
        """What has been heard, and what time alone has brought."""
        answers: list[Answer] = []
        while (said := self._thread.hear()) is not None:
            answers += self._heard(said, now)
        if (at := self._gives_up_at) is not None and at <= now:
            answers += self._go_alone(now)
        if (at := self._looks_at) is not None and at <= now:
            self._look_at = now + self._host.lease_s / LOOKS
            self._ask(Look(), now)
        free = self._own.tick(now)
        if self._lent_until is not None and self._lent_until <= now:
            free += self._give_back_lent(now)
        return answers + (self._translated(free) if self._decides else [])

    # --- what is asked ---

    def _note_when(self, asked: Asked, now: float) -> None:
        if isinstance(asked, Seek):
            self._came.setdefault(asked.call, now)
        elif isinstance(asked, Served):
            self._came.pop(asked.call, None)

    def _note(self, asked: Asked, now: float, process: Process) -> None:
        """Have it asked; the own board knows already what no answer changes."""
        board = self._own.board
        match asked:
            case Seek(call, _, legs):
                board.enter(call, legs, process)
            case Claim():
                pass
            case Release(call, uri, talked, _):
                board.release(uri, call, now, talked)
            case Served(call):
                board.served(call)
            case Leave(call):
                board.leave(call)
            case _:
                assert_never(asked)
        self._ask(Said(asked, self._named(process)), now, process)

    def _ask(self, what: What, now: float, process: Process = 0) -> None:
        number = next(self._numbers)
        self._open[number] = Open(what, now, process)
        self._put(number, what)

    def _put(self, number: int, what: What) -> None:
        if self._connection:
            self._thread.put(Ask(self._connection, self._host, Question(number, what)))

    def _tell_anew(self, now: float) -> None:
        """All that is known here, and then what has not been answered."""
        self._open = {
            number: one
            for number, one in self._open.items()
            if isinstance(one.what, Said) and isinstance(one.what.asked, Seek | Claim)
        }
        asked = list(self._open.items())
        self._open = {}
        self._ask(self._all(now), now)
        for number, one in asked:
            self._open[number] = one
            self._put(number, one.what)

    def _all(self, now: float) -> Told:
        standing = self._own.board.standing
        waiting = tuple(
            Waiter(call, self._named(process), now - self._came.get(call, now), call in standing.legless)
            for call, process in standing.waiting.items()
        )
        holders = ((uri, call) for uri in standing.engaged for call in standing.holders(uri))
        engaged = ((uri, call) for uri, call in holders if call != ELSEWHERE)
        rests = ((uri, until - now) for uri, until in standing.rests_until.items() if until > now)
        return Told(waiting, tuple(engaged), tuple(rests), standing.last, self._lent)

    # --- what is heard ---

    def _heard(self, said: FromThread, now: float) -> list[Answer]:
        match said:
            case Connected(connection):
                self._connection, self._decides, self._lost_at = connection, False, None
                self._tell_anew(now)
            case Heard(connection, outcome):
                return self._answered(outcome, now) if connection == self._connection else []
            case MayAsk(words):
                return self._translated([AskAgain(word) for word in words])
            case Lost(reason):
                self._reason = reason
                self._lost_at = now if self._connection else self._lost_at
                self._connection = 0
                if self.alone and not self._decides:
                    return self._go_alone(now)
            case _:
                assert_never(said)
        return []

    def _answered(self, outcome: Outcome, now: float) -> list[Answer]:
        if self.alone:
            self.alone = False
            self._give_back_lent(now)
            log.info("board_shared", detail="all hosts have one board of operators again")
        self._lent = outcome.lent
        if outcome.due_in_s is not None:
            self._look_at = min(self._look_at, now + outcome.due_in_s)
        board, answers = self._own.board, list[Answer]()
        for number, said in outcome.answers:
            if self._open.pop(number, None) is None:  # it has been answered here, or its call is over
                continue
            for one in said:
                self._take(one)
            answers += said
        if board.strategy == "round_robin" and outcome.last != board.standing.last and outcome.last:
            board.standing.last = outcome.last
            self._own.turned(outcome.last)
        return self._translated([*answers, *(AskAgain(word) for word in outcome.again)])

    def _take(self, answer: Answer) -> None:
        """Let the own board know what the shared one has said."""
        match answer:
            case Offered(call, uris):
                for uri in uris:
                    self._own.board.admit(uri, call)
            case Claimed(call, uri, granted) if granted:
                self._own.board.admit(uri, call)

    def _go_alone(self, now: float) -> list[Answer]:
        """Nobody answers: what has been asked is answered here, in its order."""
        if self._connection:
            self._reason = f"no answer within {LIMIT_S:g} s"
            self._thread.put(Renew(self._connection))
        self._decides, self._connection, self._lost_at = True, 0, None
        if not self.alone:
            self.alone = True
            self.losses += 1
            self._lent_until = now + self._host.lease_s
            for uri, _ in self._lent:
                self._own.board.admit(uri, ELSEWHERE)
            self._alert(
                f"the board of operators that all hosts share is away ({self._reason}): calls go on; who was"
                f" engaged on another host is not rung for {self._host.lease_s:g} s, and who is since then is"
                " told by the phones' own busy"
            )
        asked, self._open = list(self._open.values()), {}
        answers: list[Answer] = []
        for one in asked:
            if isinstance(one.what, Said) and isinstance(one.what.asked, Seek | Claim):
                answers += self._own.tell(one.what.asked, now, one.process)
        hopeful = [AskAgain(word) for word in self._own.board.hopeful(now)]
        return self._translated([*answers, *hopeful])

    def _give_back_lent(self, now: float) -> list[Answer]:
        """Whoever was lent to other hosts may be free: what the own board answers."""
        self._lent, self._lent_until = (), None
        return self._own.tell(Leave(ELSEWHERE), now)

    # --- names ---

    def _named(self, process: Process) -> str:
        return f"{self._host.name}/{process}"

    def _word(self, call: str) -> str:
        """By which the shared board knows a call."""
        if call not in self._word_of:
            word = f"{self._host.name}:{secrets.token_hex(8)}"
            self._word_of[call], self._call_of[word] = word, call
        return self._word_of[call]

    def _forget(self, word: str) -> None:
        """The call is over; what it had asked is answered to nobody."""
        del self._word_of[self._call_of.pop(word)]
        self._came.pop(word, None)
        for number, one in list(self._open.items()):
            said = one.what.asked if isinstance(one.what, Said) else None
            if said is not None and said.call == word and not isinstance(said, Leave):
                del self._open[number]

    def _translated(self, answers: list[Answer]) -> list[Answer]:
        """As the calls are called here; those that are over are not answered."""
        known = (one for one in answers if one.call in self._call_of)
        return [replace(one, call=self._call_of[one.call]) for one in known]
