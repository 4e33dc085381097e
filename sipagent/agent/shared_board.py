"""The board of all hosts: its text, the thread that asks it, and the rules while it is away.

**The text** (pure): the board is one text in the database, and `Turn` says what a host's questions make
of it. The board itself is `Board`: it is put together from the text, asked, and written back. Times are
seconds of the database's clock. Calls are named `host:…`, processes `host/…`. A host that has been silent
for longer than its lease is gone, and its calls with it, as those of a process that has died. One that
was only cut off, or finds another text than it left, reports all anew (`HostView`); for `BACK_S` no operator
is rung whom a host had that has not reported yet.

**The thread `board`** (`BoardThread`) is the way there. Nobody waits for it: it takes messages, and is
polled for answers. A question is answered on the connection that asked it: on the next connection a host
begins by reporting all.

**The client** (`SharedBoardClient`) belongs to the SIP thread, or to the supervisor's; neither ever
waits. `BoardThread` is asked, and `tick` takes what it has heard. A board of this host's own calls is
kept beside:

    shared     it follows the shared board's answers; so this host can report it anew after a break
    alone      it decides. An operator lent to another host at the last answer stays lent for a lease; others
               who talk there are found busy (486)

A host is alone when it has had no answer for `LIMIT_S`. Once the shared board is back, the host reports
which of its calls wait, and which operators talk or rest. Nothing is taken from a call for that.

To the shared board a call is called by a random word, so that no word of it leads to a receipt.
"""

import itertools
import json
import queue
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import structlog

from retention.postgres.board_rows import BoardAway, BoardRows, Change
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
    Seek,
    Served,
    Standing,
    Strategy,
)
from sipagent.agent.operators import BoardClient, LocalBoardClient

FORMAT = 1
BACK_S = 2.0  # within which all hosts find a board again that was away: see `PAUSES_S`


class NewerBoard(Exception):
    """A later version of this program has written the text in a form that is not known here."""


class NotOnBoard(Exception):
    """The host must first tell all anew. `displaced`: another one has its name."""

    def __init__(self, displaced: bool) -> None:
        super().__init__(displaced)
        self.displaced = displaced


@dataclass(frozen=True, slots=True)
class AskingHost:
    """A host that asks: its name, a word for this run of its service, its lease in seconds, its operators."""

    name: str
    run: str
    lease_s: float
    extensions: tuple[str, ...]
    wrap_up_s: float = 0.0
    strategy: Strategy = "sequential"


# --- what a host says ---


@dataclass(frozen=True, slots=True)
class ProcessMessage:
    """A question or a message of one of the host's processes about a call."""

    asked: BoardRequest
    process: str


@dataclass(frozen=True, slots=True)
class Died:
    """The process of these calls has died."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """The host lives; has time brought anything?"""


@dataclass(frozen=True, slots=True)
class Waiter:
    """A call that waits, for `since_s` seconds. `legless`: its process had no leg for it."""

    call: str
    process: str
    since_s: float
    legless: bool


@dataclass(frozen=True, slots=True)
class HostView:
    """A host's whole report: `waiting` calls in their order, `engaged` as operator and call, `rests` as
    operator and the seconds that are left; `last`: the operator rung last; `lent`: operators that other
    hosts had at its last answer, and which host."""

    waiting: tuple[Waiter, ...] = ()
    engaged: tuple[tuple[str, str], ...] = ()
    rests: tuple[tuple[str, float], ...] = ()
    last: str | None = None
    lent: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Farewell:
    """The host's service ends; what is still its own is free."""


What = ProcessMessage | Died | Look | HostView | Farewell


Question = tuple[int, What]
"""One of a host's, with the number by which it knows the answers."""


@dataclass(frozen=True, slots=True)
class QuestionOutcome:
    """`answers`: of each question, by its number; `again`: the host's calls that may ask again, `elsewhere`
    those of others; `due_in_s`: when the next rest ends that somebody waits for; `last`: the operator rung
    last; `lent`: the operators that calls of other hosts have, and which host that is.
    """

    answers: tuple[tuple[int, tuple[BoardAnswer, ...]], ...]
    again: tuple[str, ...]
    elsewhere: tuple[str, ...]
    due_in_s: float | None
    last: str | None
    lent: tuple[tuple[str, str], ...] = ()


# --- the text ---


@dataclass(slots=True)
class PresentHost:
    """A host on the board, and when it was last heard."""

    run: str
    seen: float
    lease_s: float
    extensions: tuple[str, ...]


@dataclass(slots=True)
class BoardState:
    """The contents of the text. `came`: when each call that waits came."""

    hosts: dict[str, PresentHost] = field(default_factory=dict)
    came: dict[str, float] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)

    def text(self) -> str:
        """ASCII."""
        standing = self.standing
        return json.dumps(
            {
                "format": FORMAT,
                "hosts": {
                    name: [one.run, one.seen, one.lease_s, one.extensions] for name, one in self.hosts.items()
                },
                "waiting": [
                    [call, process, self.came[call], call in standing.legless]
                    for call, process in standing.waiting.items()
                ],
                "engaged": [[uri, *standing.holders(uri)] for uri in standing.engaged],
                "rests": standing.rests_until,
                "last": standing.last,
            },
            separators=(",", ":"),
        )


def read(text: str | None) -> BoardState:
    """Raises NewerBoard. Without a text that can be read nothing is known, and all tell anew."""
    try:
        return BoardState() if text is None else _read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):  # somebody has written into it by hand
        return BoardState()


def _read(said: Any) -> BoardState:
    if said["format"] != FORMAT:
        raise NewerBoard("a newer version of this program keeps the board")
    hosts = {
        name: PresentHost(run, seen, lease_s, tuple(extensions))
        for name, (run, seen, lease_s, extensions) in said["hosts"].items()
    }
    waiting, engaged = said["waiting"], said["engaged"]
    standing = Standing(
        waiting={call: process for call, process, _, _ in waiting},
        legless={call for call, _, _, legless in waiting if legless},
        engaged={uri: call for uri, call, *_ in engaged},
        also={uri: also for uri, _, *also in engaged if also},
        rests_until=said["rests"],
        last=said["last"],
    )
    return BoardState(hosts, {call: came for call, _, came, _ in waiting}, standing)


# --- what questions make of it ---


def answered(
    text: str | None, host: AskingHost, questions: Sequence[Question], now: float
) -> tuple[str, QuestionOutcome]:
    """The next text, and what becomes of a host's questions. Raises NotOnBoard, NewerBoard."""
    shared = read(text)
    there = shared.hosts.get(host.name)
    tells = bool(questions) and isinstance(questions[0][1], HostView)
    if not tells and (there is None or there.run != host.run):
        raise NotOnBoard(displaced=there is not None)
    turn = Turn(shared, host, now)
    turn.bury()
    outcome = turn.outcome(tuple((number, tuple(turn.answers(what))) for number, what in questions))
    return shared.text(), outcome


class Turn:
    """A host's turn at the board."""

    def __init__(self, shared: BoardState, host: AskingHost, now: float) -> None:
        self.shared, self.host, self.now = shared, host, now
        self.standing = shared.standing
        self.board = Board(
            host.extensions,
            host.wrap_up_s,
            host.strategy,
            standing=self.standing,
            reach={
                process: there.extensions
                for process in self.standing.waiting.values()
                if (there := shared.hosts.get(_host_of(process))) and there.extensions != host.extensions
            },
        )
        self._client = LocalBoardClient(self.board)
        self._again: dict[str, None] = {}
        self._ends = False

    def bury(self) -> None:
        """A host that has been silent for too long is gone, unless all were: then the board was away."""
        heard = max((one.seen for one in self.shared.hosts.values()), default=self.now)
        if self.now - heard > self.host.lease_s / 2:  # each says something several times in a lease
            for one in self.shared.hosts.values():
                one.seen = self.now
        for name, one in list(self.shared.hosts.items()):
            if name != self.host.name and self.now - one.seen > one.lease_s:
                del self.shared.hosts[name]
                self._heed(self._client.die(self._calls_of(name), self.now))

    def answers(self, what: What) -> list[BoardAnswer]:
        """The answer to a question; notes the calls that may ask again."""
        match what:
            case ProcessMessage(asked, process):
                said = self._client.tell(asked, self.now, process)
            case Died(calls):
                said = self._client.die(list(calls), self.now)
            case HostView():
                said = self._told(what)
            case Look():
                said = []
            case Farewell():
                said = self._client.die(self._calls_of(self.host.name), self.now)
                self._ends = True
            case _:
                assert_never(what)
        self._note_who_came()
        return self._heed(said)

    def outcome(self, answers: tuple[tuple[int, tuple[BoardAnswer, ...]], ...]) -> QuestionOutcome:
        """At the turn's end."""
        host = self.host
        self.shared.hosts[host.name] = PresentHost(host.run, self.now, host.lease_s, host.extensions)
        if self._ends:
            del self.shared.hosts[host.name]
        self._heed(self._client.tick(self.now))
        due, again = self.board.deadline, [call for call in self._again if call in self.standing.waiting]
        return QuestionOutcome(
            answers,
            tuple(call for call in again if _host_of(call) == host.name),
            tuple(call for call in again if _host_of(call) != host.name),
            None if due is None else max(0.0, due - self.now),
            self.standing.last,
            tuple(self._lent()),
        )

    def _lent(self) -> Iterator[tuple[str, str]]:
        for uri in self.standing.engaged:
            for call in self.standing.holders(uri):
                if (host := _host_of(call)) != self.host.name:
                    yield uri, host

    def _heed(self, answers: Iterable[BoardAnswer]) -> list[BoardAnswer]:
        """Note who may ask again; the other answers."""
        answers = list(answers)
        self._again |= {one.call: None for one in answers if isinstance(one, AskAgain)}
        return [one for one in answers if not isinstance(one, AskAgain)]

    def _note_who_came(self) -> None:
        came = self.shared.came
        self.shared.came = {call: came.get(call, self.now) for call in self.standing.waiting}

    def _calls_of(self, name: str) -> list[str]:
        """All calls of a host, in the order in which those came that wait."""
        holding = (call for uri in self.standing.engaged for call in self.standing.holders(uri))
        return [call for call in dict.fromkeys((*self.standing.waiting, *holding)) if _host_of(call) == name]

    def _told(self, told: HostView) -> list[BoardAnswer]:
        """Replace the host's part by its present report."""
        there, came = self.shared.hosts.get(self.host.name), dict(self.shared.came)
        ours = self._calls_of(self.host.name)
        if there is not None and there.run == self.host.run:
            for call in ours:
                self.board.leave(call)
        else:
            self._client.die(ours, self.now)
        for one in told.waiting:
            self.board.enter(one.call, 0 if one.legless else 1, one.process)
            came.setdefault(one.call, self.now - one.since_s)
        in_order = sorted(self.standing.waiting.items(), key=lambda one: came[one[0]])
        self.standing.waiting.clear()
        self.standing.waiting.update(in_order)
        self.shared.came = came
        for uri, call in told.engaged:
            self.board.admit(uri, call)
        for uri, left_s in told.rests:
            if self.board.is_free(uri):
                until = max(self.now + left_s, self.standing.rests_until.get(uri, 0.0))
                self.standing.rests_until[uri] = until
        for uri, name in told.lent:
            if name not in self.shared.hosts and self.board.is_free(uri):
                self.standing.rests_until.setdefault(uri, self.now + BACK_S)
        self.standing.last = self.standing.last or told.last
        return [AskAgain(call) for call in self.board.hopeful(self.now)]


def _host_of(name: str | int) -> str:
    """Of a call's name or a process's."""
    host, _, _ = str(name).replace("/", ":").partition(":")
    return host


LIMIT_S = 0.5  # for an answer of the shared board
PAUSES_S = (0.0, 0.1, 0.2, 0.5, 1.0)  # before the next connection, the longer the oftener it has failed
DISPLACED_S = 10.0  # before the next, where another agent has the name of this host
STEADY_S = 10.0  # a connection that lasted so long had not failed


# --- messages to the thread ---


@dataclass(frozen=True, slots=True)
class Ask:
    """To be asked on this connection; dropped where there is another by then."""

    connection: int
    host: AskingHost
    question: Question


@dataclass(frozen=True, slots=True)
class Renew:
    """This connection did not answer in time: another one."""

    connection: int


ToThread = Ask | Renew


# --- what it says ---


@dataclass(frozen=True, slots=True)
class Connected:
    """The board can be asked; it knows nothing of this host, or what it knows is not to be relied on."""

    connection: int


@dataclass(frozen=True, slots=True)
class QuestionsAnswered:
    """The questions are answered."""

    connection: int
    outcome: QuestionOutcome


@dataclass(frozen=True, slots=True)
class MayAsk:
    """Other hosts say that these calls, of whatever host, may ask again."""

    calls: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, or none could be made; another one is tried."""

    reason: str


FromThread = Connected | QuestionsAnswered | MayAsk | Lost


class BoardThread:
    """`connect` raises BoardAway; `woken` is called when there is something to hear, and must not wait."""

    def __init__(self, connect: Callable[[], BoardRows]) -> None:
        self._connect = connect
        self.woken: Callable[[], None] = lambda: None
        self._told: queue.SimpleQueue[ToThread] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[FromThread] = queue.SimpleQueue()
        self._bell, self._rings = socket.socketpair()
        self._bell.setblocking(False)
        self._rings.setblocking(False)
        self._connection = 0
        self._host: AskingHost | None = None  # the host that asked last
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="board", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Take leave of the board, and end; where it does not answer, within seconds."""
        self._ending.set()
        self._ring()
        self._thread.join()
        self._bell.close()
        self._rings.close()

    # --- for whoever asks ---

    def put(self, message: ToThread) -> None:
        """Tell it something."""
        self._told.put(message)
        self._ring()

    def hear(self) -> FromThread | None:
        """Its messages, one at a time."""
        with suppress(queue.Empty):
            return self._said.get_nowait()
        return None

    @property
    def has_said(self) -> bool:
        """Whether there is something to hear."""
        return not self._said.empty()

    # --- the thread ---

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it has been rung already
            self._rings.send(b".")

    def _say(self, *said: FromThread) -> None:
        for one in said:
            self._said.put(one)
        self.woken()

    def _run(self) -> None:
        failures, pause_s = 0, 0.0
        while not self._ending.wait(pause_s):
            since = time.monotonic()
            try:
                self._connected()
            except (BoardAway, NewerBoard) as away:
                self._say(Lost(str(away)))
            except NotOnBoard:
                self._say(Lost("another agent has the name of this host"))
                pause_s = DISPLACED_S
                continue
            failures = 1 if time.monotonic() - since > STEADY_S else failures + 1
            pause_s = PAUSES_S[min(failures, len(PAUSES_S)) - 1]

    def _connected(self) -> None:
        """Serve one connection until it is gone, or is to be renewed, or the service ends."""
        rows = self._connect()
        try:
            self._begin()
            while not self._ending.is_set():
                self._wait(rows)
                if not self._serve(rows):
                    return
            self._take_leave(rows)
        finally:
            rows.close()

    def _begin(self) -> None:
        self._connection += 1
        self._say(Connected(self._connection))

    def _wait(self, rows: BoardRows) -> None:
        poll = select.poll()
        poll.register(rows.fileno(), select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        poll.poll()
        with suppress(BlockingIOError):
            self._bell.recv(4096)

    def _serve(self, rows: BoardRows) -> bool:
        """Ask what is to be asked, and hear what others say; False: the connection is to be renewed."""
        asks: list[Ask] = []
        while not self._told.empty():
            told = self._told.get()
            if told.connection != self._connection:
                continue
            if isinstance(told, Renew):
                return False
            asks.append(told)
        if asks:
            self._ask(rows, asks)
        if calls := rows.heard():
            self._say(MayAsk(tuple(calls)))
        return True

    def _ask(self, rows: BoardRows, asks: list[Ask]) -> None:
        self._host = asks[-1].host
        questions = [one.question for one in asks]
        try:
            outcome = rows.change(_change(self._host, questions), time.monotonic() + LIMIT_S)
        except NotOnBoard as unknown:
            if unknown.displaced:
                raise
            self._begin()
        else:
            self._say(QuestionsAnswered(self._connection, outcome))

    def _take_leave(self, rows: BoardRows) -> None:
        """After all that is still to be said."""
        self._serve(rows)
        if self._host is not None:
            with suppress(NotOnBoard):
                rows.change(_change(self._host, [(0, Farewell())]), time.monotonic() + LIMIT_S)


def _change(host: AskingHost, questions: list[Question]) -> Change[QuestionOutcome]:
    def change(text: str | None, now: float) -> tuple[str, list[str], QuestionOutcome]:
        after, outcome = answered(text, host, questions, now)
        return after, list(outcome.elsewhere), outcome

    return change


LOOKS = 4  # in the time of a lease
ELSEWHERE = "elsewhere"  # the call that the own board has for those of other hosts, while this one is alone

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Open:
    """The questions asked at `since` and not answered yet."""

    what: What
    since: float
    process: Process = 0


class SharedBoardClient(BoardClient):
    """`own` has the board of this host's calls; times are monotonic seconds. `alert` gets a loss."""

    def __init__(
        self,
        own: LocalBoardClient,
        host: str,
        lease_s: float,
        thread: BoardThread,
        *,
        now: float,
        alert: Callable[[str], None],
    ) -> None:
        board = own.board
        self._own = own
        self._thread = thread
        self._alert = alert
        self._host = AskingHost(
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

    def tell(self, asked: BoardRequest, now: float, process: Process = 0) -> list[BoardAnswer]:
        """Ask or say something; what is answered at once. `process`: which one of several asks."""
        if asked.call not in self._word_of and not isinstance(asked, Seek | Claim):
            return []  # it has nothing, and waits for nobody
        asked = replace(asked, call=self._word(asked.call))
        if isinstance(asked, Seek):
            self._came.setdefault(asked.call, now)
        elif isinstance(asked, Served):
            self._came.pop(asked.call, None)
        if self._decides:
            answers = self._translated(self._own.tell(asked, now, process))
        else:
            self._note(asked, now, process)
            answers = []
        if isinstance(asked, Leave):
            self._forget(asked.call)
        return answers

    def die(self, calls: list[str], now: float) -> list[BoardAnswer]:
        """The process of these calls has died: what was their own is free."""
        words = [self._word_of[call] for call in calls if call in self._word_of]
        answers = self._own.die(words, now)
        if not self._decides:
            self._ask(Died(tuple(words)), now)
        for word in words:
            self._forget(word)
        return self._translated(answers) if self._decides else []

    def reload(self, extensions: tuple[str, ...], wrap_up_s: float, strategy: Strategy) -> None:
        """Other operators, from the next question on."""
        self._own.reload(extensions, wrap_up_s, strategy)
        self._host = replace(self._host, extensions=extensions, wrap_up_s=wrap_up_s, strategy=strategy)

    def tick(self, now: float) -> list[BoardAnswer]:
        """The messages heard, and the facts that time alone brings."""
        answers: list[BoardAnswer] = []
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

    def _note(self, asked: BoardRequest, now: float, process: Process) -> None:
        """Have it asked; the own board knows already what no answer changes."""
        if isinstance(asked, Seek):
            self._own.board.enter(asked.call, asked.legs, process)
        elif not isinstance(asked, Claim):
            self._own.tell(asked, now, process)  # the shared board says who may ask again
        self._ask(ProcessMessage(asked, self._named(process)), now, process)

    def _ask(self, what: What, now: float, process: Process = 0) -> None:
        number = next(self._numbers)
        self._open[number] = Open(what, now, process)
        self._put(number, what)

    def _put(self, number: int, what: What) -> None:
        if self._connection:
            self._thread.put(Ask(self._connection, self._host, (number, what)))

    def _tell_anew(self, now: float) -> None:
        """All that is known here, and then what has not been answered."""
        self._open = {
            number: one
            for number, one in self._open.items()
            if isinstance(one.what, ProcessMessage) and isinstance(one.what.asked, Seek | Claim)
        }
        asked = list(self._open.items())
        self._open = {}
        self._ask(self._all(now), now)
        for number, one in asked:
            self._open[number] = one
            self._put(number, one.what)

    def _all(self, now: float) -> HostView:
        standing = self._own.board.standing
        waiting = tuple(
            Waiter(call, self._named(process), now - self._came.get(call, now), call in standing.legless)
            for call, process in standing.waiting.items()
        )
        holders = ((uri, call) for uri in standing.engaged for call in standing.holders(uri))
        engaged = ((uri, call) for uri, call in holders if call != ELSEWHERE)
        rests = ((uri, until - now) for uri, until in standing.rests_until.items() if until > now)
        return HostView(waiting, tuple(engaged), tuple(rests), standing.last, self._lent)

    # --- what is heard ---

    def _heard(self, said: FromThread, now: float) -> list[BoardAnswer]:
        match said:
            case Connected(connection):
                self._connection, self._decides, self._lost_at = connection, False, None
                self._tell_anew(now)
            case QuestionsAnswered(connection, outcome):
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

    def _answered(self, outcome: QuestionOutcome, now: float) -> list[BoardAnswer]:
        if self.alone:
            self.alone = False
            self._give_back_lent(now)
            log.info("board_shared", detail="all hosts have one board of operators again")
        self._lent = outcome.lent
        if outcome.due_in_s is not None:
            self._look_at = min(self._look_at, now + outcome.due_in_s)
        board, answers = self._own.board, list[BoardAnswer]()
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

    def _take(self, answer: BoardAnswer) -> None:
        """Let the own board know what the shared one has said."""
        match answer:
            case OperatorsOffered(call, uris):
                for uri in uris:
                    self._own.board.admit(uri, call)
            case Claimed(call, uri, granted) if granted:
                self._own.board.admit(uri, call)

    def _go_alone(self, now: float) -> list[BoardAnswer]:
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
        answers: list[BoardAnswer] = []
        for one in asked:
            if isinstance(one.what, ProcessMessage) and isinstance(one.what.asked, Seek | Claim):
                answers += self._own.tell(one.what.asked, now, one.process)
        hopeful = [AskAgain(word) for word in self._own.board.hopeful(now)]
        return self._translated([*answers, *hopeful])

    def _give_back_lent(self, now: float) -> list[BoardAnswer]:
        """Operators lent to other hosts may be free: the own board's answers."""
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
            said = one.what.asked if isinstance(one.what, ProcessMessage) else None
            if said is not None and said.call == word and not isinstance(said, Leave):
                del self._open[number]

    def _translated(self, answers: list[BoardAnswer]) -> list[BoardAnswer]:
        """As the calls are called here; those that are over are not answered."""
        known = (one for one in answers if one.call in self._call_of)
        return [replace(one, call=self._call_of[one.call]) for one in known]
