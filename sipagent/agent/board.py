"""The operators' board chooses whom a call rings, for one process or for all. Pure; times: monotonic s.

What an agent asks of the board (`BoardRequest`) and what the board answers (`BoardAnswer`) are frozen
values, for the inbox and for the link. Calls are named by their ids, which no two processes give alike.

An operator who is being rung or talks is not rung for another caller, and rests for `wrap_up_s` after a
conversation. The first caller is served first: while an earlier caller waits with nobody ringing, a later
one gets nobody, unless the earlier one's process has no leg to ring on.

    sequential      in the order of the configuration, one at a time
    round_robin     one at a time, beginning after the operator who was rung last, for any caller
    simultaneous    all who are free, as far as there are legs for them

If hosts lost touch, two calls may have the same operator: he is free once both have let go of him.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Seek:
    """Asks for operators to ring for the call, none of those it has `tried`; its process has `legs` for it.

    `OperatorsOffered` is the answer.
    """

    call: str
    tried: tuple[str, ...]
    legs: int


@dataclass(frozen=True, slots=True)
class Claim:
    """May this one be rung, whom nobody was asked for: a transfer? `Claimed` is the answer."""

    call: str
    uri: str


@dataclass(frozen=True, slots=True)
class ReleaseOperator:
    """The call needs that operator no more. `talked`: and has had him, so that he may rest.

    `willing`: he is there, so that those who wait may have him at once.
    """

    call: str
    uri: str
    talked: bool
    willing: bool


@dataclass(frozen=True, slots=True)
class Served:
    """An operator talks with the caller; the call waits no longer."""

    call: str


@dataclass(frozen=True, slots=True)
class Leave:
    """The call is over; whoever is still its own is free."""

    call: str


@dataclass(frozen=True, slots=True)
class OperatorsOffered:
    """These are to be rung for the call, and nobody else rings them; none: nobody is free, or its turn.

    `place`: then, the call's among those that wait, from 1; 0: not known.
    """

    call: str
    uris: tuple[str, ...]
    place: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether that operator is the call's now."""

    call: str
    uri: str
    granted: bool


@dataclass(frozen=True, slots=True)
class AskAgain:
    """Somebody is free: the call, if it waits, need not wait until its next look."""

    call: str


@dataclass(frozen=True, slots=True)
class BoardLost:
    """The link has ended, and with it the board."""


@dataclass(frozen=True, slots=True)
class BoardHeard:
    """The way to the board of all hosts has something to be looked at."""


BoardRequest = Seek | Claim | ReleaseOperator | Served | Leave
BoardAnswer = OperatorsOffered | Claimed | AskAgain


Strategy = Literal["sequential", "simultaneous", "round_robin"]
Process = int | str


@dataclass(slots=True)
class Standing:
    """The state of a board, beside its rules.

    `waiting`: calls in the order in which they came, each with its process; `legless`: of these, those whose
    process had no leg; `engaged`: which call has an operator; `also`: others that have him too.
    """

    waiting: dict[str, Process] = field(default_factory=dict)
    legless: set[str] = field(default_factory=set)
    engaged: dict[str, str] = field(default_factory=dict)
    also: dict[str, list[str]] = field(default_factory=dict)  # without empty lists
    rests_until: dict[str, float] = field(default_factory=dict)  # none whose end was reported
    last: str | None = None

    def holders(self, uri: str) -> list[str]:
        """The calls that have an operator."""
        return [*([self.engaged[uri]] if uri in self.engaged else []), *self.also.get(uri, [])]

    def had_by(self, call: str) -> list[str]:
        """The operators that a call has."""
        return [uri for uri, of in self.engaged.items() if of == call or call in self.also.get(uri, ())]


class Board:
    """`last`: the operator rung last, None for nobody; `operators.Rota` keeps it over a restart.

    `reach`: the operators that a process may ring, where not `extensions`: on hosts configured otherwise.
    """

    def __init__(
        self,
        extensions: tuple[str, ...],
        wrap_up_s: float = 0.0,
        strategy: Strategy = "sequential",
        last: str | None = None,
        *,
        standing: Standing | None = None,
        reach: Mapping[Process, tuple[str, ...]] | None = None,
    ) -> None:
        self.extensions = extensions
        self.wrap_up_s = wrap_up_s
        self.strategy: Strategy = strategy
        self.standing = standing or Standing(last=last)
        self._reach = reach or {}
        self._waiting = self.standing.waiting
        self._legless = self.standing.legless
        self._engaged = self.standing.engaged
        self._rests_until = self.standing.rests_until

    @property
    def last(self) -> str | None:
        """The operator rung last; None for nobody."""
        return self.standing.last

    @property
    def waiting(self) -> tuple[str, ...]:
        """The calls for which nobody talks, in the order in which they came."""
        return tuple(self._waiting)

    @property
    def deadline(self) -> float | None:
        """When the next rest ends; None where nobody waits for that."""
        return min(self._rests_until.values(), default=None) if self._waiting else None

    def due(self, now: float) -> bool:
        """Whether a rest has ended, so that waiting calls may ask again; true once for each rest."""
        ended = [uri for uri, until in self._rests_until.items() if until <= now]
        for uri in ended:
            del self._rests_until[uri]
        return bool(ended)

    def seek(
        self, call: str, tried: tuple[str, ...], now: float, legs: int = 1, process: Process = 0
    ) -> tuple[str, ...]:
        """The operators to ring for a call, lent to it from here on; none if it is not its turn.

        `legs`: how many may be rung, as far as `process` has legs; the call keeps its place also without any.
        """
        self.enter(call, legs, process)
        free = self._free(self._in_turn(), now)
        if legs <= 0 or self._is_behind_another(call, free):
            return ()
        most = legs if self.strategy == "simultaneous" else 1
        chosen = tuple(uri for uri in free if uri not in tried)[:most]
        for uri in chosen:
            self.claim(uri, call)
            self.standing.last = uri
        return chosen

    def enter(self, call: str, legs: int, process: Process = 0) -> None:
        """The call waits from now on, if it did not before."""
        self._waiting.setdefault(call, process)
        self._legless.discard(call)
        if legs <= 0:
            self._legless.add(call)

    def place(self, call: str) -> int:
        """Which one of those that wait the call is, from 1."""
        return [*self._waiting].index(call) + 1

    def _is_behind_another(self, call: str, free: list[str]) -> bool:
        """Whether somebody who came earlier, and may ring one of these, waits with nobody ringing."""
        process, served = self._waiting[call], self._served()
        for earlier, of in self._waiting.items():
            if earlier == call:
                return False
            has_leg = earlier not in self._legless or of == process
            if earlier not in served and has_leg and self._rings_one(of, free):
                return True
        return False

    def _served(self) -> set[str]:
        """The calls for which somebody is rung or talks."""
        return {*self._engaged.values(), *(call for calls in self.standing.also.values() for call in calls)}

    def _rings(self, process: Process) -> tuple[str, ...]:
        """The operators that a process may ring."""
        return self._reach.get(process, self.extensions)

    def _rings_one(self, process: Process, free: list[str]) -> bool:
        """Whether a process may ring one of these, who are among `extensions`."""
        reach = self._reach.get(process)
        return bool(free) if reach is None else not set(free).isdisjoint(reach)

    def _free(self, operators: Iterable[str], now: float) -> list[str]:
        """Of these, in their order."""
        return [
            uri for uri in operators if uri not in self._engaged and now >= self._rests_until.get(uri, now)
        ]

    def _in_turn(self) -> tuple[str, ...]:
        if self.strategy == "round_robin" and self.last in self.extensions:
            after = self.extensions.index(self.last) + 1
            return self.extensions[after:] + self.extensions[:after]
        return self.extensions

    def hopeful(self, now: float) -> tuple[str, ...]:
        """The calls that may ask again because an operator is free: no more than can be served, in order.

        Under `simultaneous`, a call that has a phone ringing may ask again, too.
        """
        if not self._waiting:
            return ()
        everybody = dict.fromkeys((*self.extensions, *itertools.chain(*self._reach.values())))
        free, served = self._free(everybody, now), self._served()
        if not free:
            return ()
        idle = [call for call in self._waiting if call not in served]
        legless = [call for call in idle if call in self._legless]
        more = [call for call in self._waiting if call in served] if self.strategy == "simultaneous" else []
        return (*legless, *self._one_each([call for call in idle if call not in self._legless], free), *more)

    def _one_each(self, calls: list[str], free: list[str]) -> Iterator[str]:
        """Those of the calls for which one of these is left."""
        left = list(free)
        for call in calls:
            one = next((uri for uri in left if uri in self._rings(self._waiting[call])), None)
            if one is not None:
                left.remove(one)
                yield call

    def is_free(self, uri: str) -> bool:
        """Whether nobody rings or talks there for us."""
        return uri not in self._engaged

    def claim(self, uri: str, call: str) -> bool:
        """Lend a named operator to a call (a transfer), even one who rests.

        False if another call has him.
        """
        if uri in self._engaged and call not in self.standing.holders(uri):
            return False
        self._engaged.setdefault(uri, call)
        self._rests_until.pop(uri, None)
        return True

    def admit(self, uri: str, call: str) -> None:
        """The call has the operator, whoever else has him: nobody could be asked when he was rung."""
        if not self.claim(uri, call):
            self.standing.also.setdefault(uri, []).append(call)

    def release(self, uri: str, call: str, now: float, talked: bool) -> None:
        """The operator is free again, if he was this call's; after a rest where there was a conversation."""
        holders = self.standing.holders(uri)
        if call not in holders:
            return
        holders.remove(call)
        self.standing.also.pop(uri, None)
        if len(holders) > 1:
            self.standing.also[uri] = holders[1:]
        if holders:
            self._engaged[uri] = holders[0]
            return
        del self._engaged[uri]
        if talked and self.wrap_up_s:
            self._rests_until[uri] = now + self.wrap_up_s

    def served(self, call: str) -> None:
        """The call waits no longer."""
        self._waiting.pop(call, None)
        self._legless.discard(call)

    def leave(self, call: str) -> None:
        """The call is over: nobody is rung for it any more."""
        self.served(call)
        for uri in self.standing.had_by(call):
            self.release(uri, call, 0.0, talked=False)

    def die(self, call: str, now: float) -> None:
        """The process of the call has died; who talked in it has his rest all the same."""
        talked = call not in self._waiting
        for uri in self.standing.had_by(call):
            self.release(uri, call, now, talked)
        self.leave(call)
