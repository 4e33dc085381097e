"""An enrolment over all short histories: nothing is kept that was not consented to, and all of it or nothing.

Each fact follows each, so deep as it takes to keep something and more; histories that lead to the same state
are walked on from once.
"""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace

import pytest

from sipagent.enrol import flow as f
from sipagent.enrol.flow import EnrolFlow, EnrolPhase, SayingFault, ScriptStep

STEPS = (
    ScriptStep("say", "say", "je refuse", "je refuse"),
    ScriptStep("talk_1", "talk_1", "Il fait beau.", None),
)
OFFER = f.InviteArrived(known=True, listed=True, fresh=True, free=True)
FACTS: tuple[f.EnrolFact, ...] = (
    OFFER,
    replace(OFFER, known=False),
    replace(OFFER, listed=False),
    replace(OFFER, fresh=False),
    replace(OFFER, free=False),
    f.Confirmed(),
    f.LastSoundEnded(whole=True),
    f.LastSoundEnded(whole=False),
    f.Unheard(),
    f.KeyPressed("1"),
    f.KeyPressed("9"),
    f.SayingHeard(None),
    f.SayingHeard(SayingFault.SOFT),
    f.SayingsKept(),
    f.SayingsNotKept(),
    f.DeadlinePassed(),
    f.Broken(),
    f.Gone(),
)


@dataclass(frozen=True)
class Watch:
    """What a bystander has seen of the call."""

    up: bool = False  # answered, and not ended by anybody
    playing: str = ""
    welcomed: bool = False  # the whole welcome was heard
    consented: bool = False
    listening: ScriptStep | None = None
    taken: tuple[ScriptStep, ...] = ()
    bad: int = 0  # in a row
    kept: int = 0
    parting: bool = False

    def after(self, fact: f.EnrolFact, commands: list[f.EnrolCommand]) -> "Watch":
        """What is seen next. Raises AssertionError where a law is broken."""
        seen = self._of_fact(fact)
        for command in commands:
            seen = seen._of_command(command, fact)
        if isinstance(fact, f.SayingHeard) and fact.fault and self.listening:
            again = f.PlayPrompt(fact.fault.value) in commands
            assert again != any(isinstance(one, f.ForgetSayings) for one in commands)
            seen = replace(seen, bad=self.bad + 1)
            assert seen.bad < f.TRIES or not again
        return seen

    def _of_fact(self, fact: f.EnrolFact) -> "Watch":
        match fact:
            case f.LastSoundEnded(whole):
                welcomed = self.welcomed or (whole and self.playing == f.WELCOME)
                return replace(self, playing="", welcomed=welcomed)
            case f.Unheard():
                return replace(self, welcomed=False)
            case f.Gone() | f.Broken():
                return replace(self, up=False, listening=None)
        return self

    def _of_command(self, command: f.EnrolCommand, fact: f.EnrolFact) -> "Watch":  # noqa: PLR0911 - one a command
        match command:
            case f.RejectInvite():
                assert not self.up and fact != OFFER
            case f.AcceptInvite():
                assert fact == OFFER
                return replace(self, up=True)
            case f.PlayPrompt(prompt):
                assert self.up
                parting = self.parting or prompt in (f.DECLINED, f.THANKS, f.GIVEN_UP, f.FAILED)
                assert prompt != f.THANKS or self.kept
                return replace(self, playing=prompt, parting=parting, listening=None)
            case f.NoteConsent():
                assert fact == f.KeyPressed("1") and self.welcomed and not self.consented
                return replace(self, consented=True)
            case f.HearSaying(step):
                assert self.consented and self.welcomed and step == STEPS[len(self.taken)]
                return replace(self, listening=step)
            case f.Take(step):
                assert fact == f.SayingHeard(None) and step == self.listening and not self.parting
                return replace(self, taken=(*self.taken, step), listening=None, bad=0)
            case f.Keep():
                assert self.up and self.consented and self.welcomed
                assert self.taken == STEPS and not self.kept and not self.parting
                return replace(self, kept=1)
            case f.ForgetSayings():
                return replace(self, taken=())
            case f.EndCall():
                return replace(self, up=False, listening=None)
        return self


def state(flow: EnrolFlow) -> tuple[object, ...]:
    return tuple(vars(flow).items())


def walked(depth: int, begun: tuple[f.EnrolFact, ...] = ()) -> Iterator[tuple[EnrolFlow, Watch]]:
    """Every state that `depth` facts lead to after those, and what a bystander has seen by then."""
    flow, watch = EnrolFlow(STEPS), Watch()
    for fact in begun:
        watch = watch.after(fact, flow.handle(fact, 0.0))
    reached, seen = [(flow, watch)], {(state(flow), watch)}
    for _ in range(depth):
        following = []
        for flow, watch in reached:
            for fact in FACTS:
                after = copy(flow)
                saw = watch.after(fact, after.handle(fact, 0.0))
                if (key := (state(after), saw)) not in seen:
                    seen.add(key)
                    following.append((after, saw))
                    yield after, saw
        reached = following


GOOD: tuple[f.EnrolFact, ...] = (
    *(OFFER, f.Confirmed(), f.LastSoundEnded(True), f.KeyPressed("1")),
    *(f.LastSoundEnded(True), f.LastSoundEnded(True), f.SayingHeard(None)),
    *(f.LastSoundEnded(True), f.LastSoundEnded(True), f.SayingHeard(None)),
    *(f.SayingsKept(), f.LastSoundEnded(True)),
)


def test_no_history_breaks_a_law() -> None:
    """Deep enough that states stop being new: all of them."""
    reached = list(walked(60))
    assert any(watch.kept for _, watch in reached)
    assert {flow.phase for flow, _ in reached} == set(EnrolPhase) - {EnrolPhase.NEW}
    assert len(reached) > 100
    assert len(list(walked(100))) == len(reached)


def after(*facts: f.EnrolFact) -> tuple[EnrolFlow, list[f.EnrolCommand]]:
    """A flow, and all that it has ordered."""
    flow = EnrolFlow(STEPS)
    return flow, [command for fact in facts for command in flow.handle(fact, 0.0)]


def test_whoever_goes_on_is_kept_once_and_thanked() -> None:
    assert after(*GOOD)[1] == [
        *(f.AcceptInvite(), f.PlayPrompt("welcome"), f.NoteConsent()),
        *(f.PlayPrompt("say"), f.PlayPrompt("tone"), f.HearSaying(STEPS[0]), f.Take(STEPS[0])),
        *(f.PlayPrompt("talk_1"), f.PlayPrompt("tone"), f.HearSaying(STEPS[1]), f.Take(STEPS[1])),
        *(f.Keep(), f.PlayPrompt("thanks"), f.ForgetSayings(), f.EndCall()),
    ]


def test_what_was_said_badly_is_said_again_and_then_no_more() -> None:
    flow, _ = after(*GOOD[:6])
    for _ in range(f.TRIES - 1):
        assert flow.handle(f.SayingHeard(SayingFault.SOFT), 0.0) == [f.PlayPrompt("soft")]
        for then in (f.PlayPrompt("say"), f.PlayPrompt("tone"), f.HearSaying(STEPS[0])):
            assert flow.handle(f.LastSoundEnded(True), 0.0) == [then]
    assert flow.handle(f.SayingHeard(SayingFault.NOISY), 0.0) == [f.ForgetSayings(), f.PlayPrompt("given_up")]
    assert flow.handle(f.LastSoundEnded(True), 0.0) == [f.ForgetSayings(), f.EndCall()]


def test_who_does_not_press_the_key_is_reminded_once() -> None:
    flow, _ = after(*GOOD[:3])
    assert flow.deadline == f.CONSENT_S
    assert flow.handle(f.KeyPressed("2"), 1.0) == []
    assert flow.handle(f.DeadlinePassed(), 10.0) == [f.PlayPrompt("reminder")]
    assert flow.handle(f.LastSoundEnded(True), 15.0) == []
    assert flow.deadline == 15.0 + f.CONSENT_S
    assert flow.handle(f.DeadlinePassed(), 25.0) == [f.PlayPrompt("declined")]


@pytest.mark.parametrize(
    ("unlike", "status"),
    [
        ("known", 404),
        ("listed", 403),
        ("fresh", 603),
        ("free", 486),
        ("listed free", 403),
        ("fresh free", 603),
    ],
)
def test_others_are_refused(unlike: str, status: int) -> None:
    offer = replace(OFFER, **dict.fromkeys(unlike.split(), False))
    assert after(offer)[1] == [f.RejectInvite(status)]
