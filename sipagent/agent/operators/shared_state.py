"""The board of all hosts as one text, and what a host's questions make of it. Pure.

The board itself is `Board`: it is put together from the text, asked, and written back. Times are seconds of
the database's clock. Calls are named `host:…`, processes `host/…`.

A host that has been silent for longer than its lease is gone, and its calls with it, as those of a process
that has died. One that was only cut off, or finds another text than it left, tells all anew (`Told`); for
`BACK_S` nobody is rung whom a host had that has not told yet.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from sipagent.agent.operators.asking import Answer, AskAgain, Asked
from sipagent.agent.operators.board import Board, Standing, Strategy
from sipagent.agent.operators.board_client import LocalBoardClient

FORMAT = 1
BACK_S = 2.0  # within which all hosts find a board again that was away: see `board_thread.PAUSES_S`


class NewerBoard(Exception):
    """A later version of this program has written the text in a form that is not known here."""


class NotOnBoard(Exception):
    """The host must first tell all anew. `displaced`: another one has its name."""

    def __init__(self, displaced: bool) -> None:
        super().__init__(displaced)
        self.displaced = displaced


@dataclass(frozen=True, slots=True)
class Host:
    """A host that asks: its name, a word for this run of its service, its lease in seconds, its operators."""

    name: str
    run: str
    lease_s: float
    extensions: tuple[str, ...]
    wrap_up_s: float = 0.0
    strategy: Strategy = "sequential"


# --- what a host says ---


@dataclass(frozen=True, slots=True)
class Said:
    """What a process of the host asks or says of a call."""

    asked: Asked
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
class Told:
    """All that a host knows: `waiting` in their order, `engaged` as operator and call, `rests` as operator
    and the seconds that are left; `last`: who was rung last; `lent`: whom other hosts had when it last heard,
    and which."""

    waiting: tuple[Waiter, ...] = ()
    engaged: tuple[tuple[str, str], ...] = ()
    rests: tuple[tuple[str, float], ...] = ()
    last: str | None = None
    lent: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Farewell:
    """The host's service ends; what is still its own is free."""


What = Said | Died | Look | Told | Farewell


@dataclass(frozen=True, slots=True)
class Question:
    """One of a host's, by whose `number` it knows the answers."""

    number: int
    what: What


@dataclass(frozen=True, slots=True)
class Outcome:
    """`answers`: of each question, by its number; `again`: the host's calls that may ask again, `elsewhere`
    those of others; `due_in_s`: when the next rest ends that somebody waits for; `last`: who was rung last;
    `lent`: the operators that calls of other hosts have, and which host that is.
    """

    answers: tuple[tuple[int, tuple[Answer, ...]], ...]
    again: tuple[str, ...]
    elsewhere: tuple[str, ...]
    due_in_s: float | None
    last: str | None
    lent: tuple[tuple[str, str], ...] = ()


# --- the text ---


@dataclass(slots=True)
class Present:
    """A host on the board, and when it was last heard."""

    run: str
    seen: float
    lease_s: float
    extensions: tuple[str, ...]


@dataclass(slots=True)
class Shared:
    """What the text says. `came`: when each call that waits came."""

    hosts: dict[str, Present] = field(default_factory=dict)
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


def read(text: str | None) -> Shared:
    """Raises NewerBoard. Without a text that can be read nothing is known, and all tell anew."""
    try:
        return Shared() if text is None else _read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):  # somebody has written into it by hand
        return Shared()


def _read(said: Any) -> Shared:
    if said["format"] != FORMAT:
        raise NewerBoard("a newer version of this program keeps the board")
    hosts = {
        name: Present(run, seen, lease_s, tuple(extensions))
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
    return Shared(hosts, {call: came for call, _, came, _ in waiting}, standing)


# --- what questions make of it ---


def answered(text: str | None, host: Host, questions: Sequence[Question], now: float) -> tuple[str, Outcome]:
    """The next text, and what becomes of a host's questions. Raises NotOnBoard, NewerBoard."""
    shared = read(text)
    there = shared.hosts.get(host.name)
    tells = bool(questions) and isinstance(questions[0].what, Told)
    if not tells and (there is None or there.run != host.run):
        raise NotOnBoard(displaced=there is not None)
    turn = Turn(shared, host, now)
    turn.bury()
    outcome = turn.outcome(tuple((one.number, tuple(turn.answers(one.what))) for one in questions))
    return shared.text(), outcome


class Turn:
    """A host's turn at the board."""

    def __init__(self, shared: Shared, host: Host, now: float) -> None:
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
        """Who has been silent for too long is gone, unless nobody was heard: then the board was away."""
        heard = max((one.seen for one in self.shared.hosts.values()), default=self.now)
        if self.now - heard > self.host.lease_s / 2:  # each says something several times in a lease
            for one in self.shared.hosts.values():
                one.seen = self.now
        for name, one in list(self.shared.hosts.items()):
            if name != self.host.name and self.now - one.seen > one.lease_s:
                del self.shared.hosts[name]
                self._heed(self._client.die(self._calls_of(name), self.now))

    def answers(self, what: What) -> list[Answer]:
        """What a question is answered with; who may ask again is noted."""
        match what:
            case Said(asked, process):
                said = self._client.tell(asked, self.now, process)
            case Died(calls):
                said = self._client.die(list(calls), self.now)
            case Told():
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

    def outcome(self, answers: tuple[tuple[int, tuple[Answer, ...]], ...]) -> Outcome:
        """At the turn's end."""
        host = self.host
        self.shared.hosts[host.name] = Present(host.run, self.now, host.lease_s, host.extensions)
        if self._ends:
            del self.shared.hosts[host.name]
        self._heed(self._client.tick(self.now))
        due, again = self.board.deadline, [call for call in self._again if call in self.standing.waiting]
        return Outcome(
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

    def _heed(self, answers: Iterable[Answer]) -> list[Answer]:
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

    def _told(self, told: Told) -> list[Answer]:
        """The host's part is what it says now, and nothing else."""
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
