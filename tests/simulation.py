"""Callers and desk phones that act by themselves in a simulated clock, around a real agent.

    with simulated(folder, patch, rules, {DESK: talks(10.0)}) as town:
        caller = town.calls(at_s=0.0)
        town.run()
        assert caller.longest_silence_s() <= 2.0

What a phone does is a list of facts of its leg, each with the seconds since its INVITE, or since its answer
once it has answered. `Caller.hears` is what the engine let the caller hear, and from when on.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sipagent.agent.admission import Admission
from sipagent.agent.engine import Headers, Incoming, OfLeg, Report, SoundEnded
from sipagent.call import events as e
from sipagent.call.machines import Decision
from tests.driving import HERE, SOUND_MS, Stage, invite, staged
from tests.fake_engine import FakeEngine
from tests.kept import sqlite

HOP_S = 0.005  # from one side to the other
CANCELLED, GIVEN_UP = 487, 408
PATIENCE_S = 4000.0  # of simulated time

Then = tuple[float, Callable[[int], e.Fact]]
Phone = Sequence[Then]
Phones = Mapping[str, Phone | Iterator[Phone]]


def reached(leg: int) -> e.Fact:
    return e.OperatorReached(leg)


def answered(leg: int) -> e.Fact:
    return e.OperatorAnswered(leg, telephone_event=True)


def heard(leg: int) -> e.Fact:
    return e.MediaArrived(leg)


def gone(status: int) -> Callable[[int], e.Fact]:
    return lambda leg: e.LegGone(leg, status)


def talks(seconds: float, after_s: float = 0.5) -> Phone:
    """A phone that is answered after a while; its operator hangs up after so long."""
    return [(HOP_S, reached), (after_s, answered), (after_s + 0.02, heard), (after_s + seconds, gone(200))]


@dataclass
class Caller:
    """One caller, by the engine's leg. `hears`: seconds and what is to be heard from then on."""

    leg: int
    hears: list[tuple[float, bool]] = field(default_factory=list)
    decided_at: float | None = None
    bridged_at: float | None = None
    ended_at: float | None = None
    operator: str | None = None

    def longest_silence_s(self) -> float:
        assert self.decided_at is not None and self.ended_at is not None
        longest, silent_since = 0.0, None
        for at, audible in [*self.hears, (self.ended_at, True)]:
            if audible and silent_since is not None:
                longest = max(longest, at - max(silent_since, self.decided_at))
                silent_since = None
            elif not audible and silent_since is None:
                silent_since = at
        return longest


class SimulatedEngine(FakeEngine):
    """Does in the simulated clock what phones and a network would."""

    def __init__(self, stage: Stage, capacity: int, phones: Phones) -> None:
        super().__init__(stage.agent.post, capacity)
        self.stage, self.phones = stage, phones
        self.callers: dict[int, Caller] = {}
        self.undecided_dials: list[str] = []
        self.due: list[tuple[float, int, Callable[[], None]]] = []
        self.heard_of: set[int] = set()  # legs for which something has answered
        self.sounding: set[int] = set()
        self.talking: dict[int, int] = {}  # operator's leg → caller's
        self.most_up = 0
        self._order = itertools.count()

    def begins(self, leg: int) -> None:
        self.up.add(leg)
        self.most_up = max(self.most_up, len(self.up))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self.due, (self.stage.clock.now + seconds, next(self._order), act))

    def report(self, leg: int, fact: e.Fact) -> None:
        """A fact of a leg that is still there."""
        if leg in self.up:
            if isinstance(fact, e.LegGone):
                self.up.discard(leg)
                if (caller := self.talking.pop(leg, None)) is not None:
                    self.audible(caller, False)
                if leg in self.callers:
                    self.callers[leg].ended_at = self.stage.clock.now
            self.heard_of.add(leg)
            if isinstance(fact, e.MediaArrived):
                self.sounding.add(leg)
                if (caller := self.talking.get(leg)) is not None:
                    self.audible(caller, True)
            self.say(OfLeg(leg, fact))

    def audible(self, leg: int, audible: bool) -> None:
        if leg in self.callers:
            self.callers[leg].hears.append((self.stage.clock.now, audible))

    # --- what the agent orders ---

    def answer(self, leg: int) -> None:
        super().answer(leg)
        self.later(HOP_S, lambda: self.report(leg, e.CallConfirmed(telephone_event=True)))
        self.later(2 * HOP_S, lambda: self.report(leg, e.MediaArrived(leg)))

    def reject(self, leg: int, status: int, retry_after_s: int | None) -> None:
        super().reject(leg, status, retry_after_s)
        self.later(HOP_S, lambda: self.report(leg, e.LegGone(leg, status)))

    def dial(self, uri: str, display: str, headers: Headers = (), hops: int = 70) -> int:
        leg = self.next_number()
        self.begins(leg)
        self.dialled[leg] = uri
        self.orders.append(("dial", uri, display))
        if Decision.UNDECIDED in self._decisions_of_callers_for(uri):
            self.undecided_dials.append(uri)
        phone = self.phones[uri]
        for seconds, fact in next(phone) if isinstance(phone, Iterator) else phone:
            self.later(seconds, lambda fact=fact: self.report(leg, fact(leg)))  # type: ignore[misc]
        return leg

    def _decisions_of_callers_for(self, uri: str) -> list[Decision]:
        """Of the calls for which the board holds an operator: one, if all is well."""
        agent = self.stage.agent
        held = self.stage.board._engaged.get(uri)
        found = [call.flow.consent.decision for call in agent.live if call.id == held]
        assert found, f"{uri} is rung for nobody"
        return found

    def hang_up(self, leg: int, elsewhere: bool = False) -> None:
        super().hang_up(leg, elsewhere)
        if leg in self.heard_of or leg in self.callers:
            self.later(HOP_S, lambda: self.report(leg, e.LegGone(leg, CANCELLED)))
        else:
            self.later(4.0, lambda: self.report(leg, e.LegGone(leg, GIVEN_UP)))

    def play(self, leg: int, sound: Path, loop: bool) -> int:
        token = super().play(leg, sound, loop)
        self.audible(leg, True)
        if not loop:
            self.later(SOUND_MS / 1000, lambda: self._over(leg, token))
        return token

    def _over(self, leg: int, token: int) -> None:
        if leg in self.up and self.tokens.get(leg) == token:
            self.audible(leg, False)
            self.say(SoundEnded(leg, token))

    def stop_playing(self, leg: int) -> None:
        super().stop_playing(leg)
        self.tokens.pop(leg, None)
        self.audible(leg, False)

    def bridge(self, one: int, other: int) -> None:
        super().bridge(one, other)
        if other in self.up:
            self.talking[other] = one
            self.audible(one, other in self.sounding)
            caller = self.callers[one]
            caller.operator, caller.bridged_at = self.dialled[other], self.stage.clock.now

    def separate(self, leg: int) -> None:
        super().separate(leg)
        if (caller := self.talking.pop(leg, None)) is not None:
            self.audible(caller, False)


class Town:
    """The agent, its callers and its phones."""

    def __init__(self, stage: Stage, engine: SimulatedEngine) -> None:
        self.stage, self.engine = stage, engine

    def calls(self, at_s: float, *script: tuple[float, e.Fact]) -> Caller:
        """A caller who calls in `at_s`, and from then on has what the script says reported of the leg."""
        engine = self.engine
        leg = engine.next_number()
        caller = engine.callers[leg] = Caller(leg)

        def come() -> None:
            engine.begins(leg)
            engine.say(Incoming(leg, HERE, invite(call_id=f"call{leg}")))
            for seconds, fact in script:
                engine.later(seconds, lambda fact=fact: engine.report(leg, fact))  # type: ignore[misc]

        engine.later(at_s, come)
        return caller

    def run(self) -> None:
        clock, agent, engine = self.stage.clock, self.stage.agent, self.engine
        ends = clock.now + PATIENCE_S
        while engine.due or agent.calls:
            deadlines = [self.stage.board.deadline, *(call.flow.deadline for call in agent.live)]
            moments = [at for at in (*(at for at, *_ in engine.due[:1]), *deadlines) if at is not None]
            assert moments, "somebody waits for what nobody will do"
            clock.now = max(clock.now, min(moments))
            assert clock.now < ends, "it never ends"
            while engine.due and engine.due[0][0] <= clock.now:
                heapq.heappop(engine.due)[2]()
            agent.turn(engine)
            assert (self.stage.board.deadline or ends) > clock.now, "nobody is told that a rest has ended"
            self._note_decisions()

    def _note_decisions(self) -> None:
        for call in self.stage.agent.live:
            caller = self.engine.callers.get(call.legs[e.CALLER])
            at = call.flow.consent.at
            if caller and caller.decided_at is None and at is not None:
                caller.decided_at = at

    def say(self, report: Report) -> None:
        self.stage.agent.post(report)


@contextmanager
def simulated(
    folder: Path,
    patch: pytest.MonkeyPatch,
    rules: Admission,
    phones: Phones,
    capacity: int = 4,
) -> Iterator[Town]:
    with staged(folder, patch, rules) as stage:
        sqlite(stage.archive.store).execute("PRAGMA synchronous=OFF")
        engine = SimulatedEngine(stage, capacity, phones)
        stage.engine = engine
        yield Town(stage, engine)
