"""The call flow over all histories: whatever happens, in whatever order, no tap where none may be.

From the INVITE, and again from every station of a call, each fact that there is follows each, six deep; five
where several phones may ring by then; in the quick tier two less.
Histories that have led to the same state are walked on from once: the flow is a function of its state, so
nothing is lost by it. `Watch` keeps, beside each state, what a bystander has seen of the call; its laws are
checked at every step.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar, get_args

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt
from sipagent.call.flow import CallFlow
from sipagent.call.machines import FLAGGED, SAME_PRESS_S, STOPPED, Decision, Story
from sipagent.call.state import Phase, Policy
from sipagent.call.timing import CHOICE_S, LATE_S, SURE_S
from tests import tiers

A, B = "sip:201@127.0.0.1", "sip:202@127.0.0.1"
OFFER = e.CallOffered(
    source_allowed=True, number_known=True, room=True, draining=False, open=True, sampled=True
)
CHOOSING = replace(OFFER, may_choose=True)
CHOICES = (("2", "en"), ("3", "fr"))
UNSURE = e.KeywordHeard(e.Wish.REFUSE, "mot", 0.9, sure=False)
ONE = e.DtmfPressed(CALLER, "1", "info")
STALE = 77  # an operator's leg that was given up
DEPTH, BROAD_DEPTH = tiers.depth(4, 6), tiers.depth(3, 5)


@dataclass(frozen=True)
class Watch:
    """What a bystander has seen. `tap`: none, running, kept or erased; `up`: legs that nobody has ended.

    `offered`: operators whom the board holds for this call, neither dialled nor given back.
    `bridged`: somebody talks with the caller; `silent`: the tap writes silence; `two`: there is no third leg.
    `asks`: legs that have asked for a transfer and have not had the last word about it.
    `unheard`: the notice went past the caller, so that it was not heard whatever was played.
    `foreign`: the caller's leg is heard, or would be, from an address that neither SDP nor SIP names.
    `doubted`: the caller was unclear before the bridge; forgotten once nothing can be recorded any more.
    `asked`: what may be a refusal is, or will be, asked about.
    """

    refused: bool = False
    doubted: bool = False
    asked: bool = False
    notice_heard: bool = False
    unheard: bool = False
    foreign: bool = False
    tap: str = "none"
    indicated: str = "off"
    finished: bool = False
    bridged: bool = False
    language: str = ""  # chosen by key
    silent: bool = False
    two: bool = False
    up: frozenset[int] = frozenset()
    asks: frozenset[int] = frozenset()
    offered: frozenset[str] = frozenset()


def facts(flow: CallFlow) -> Iterator[e.Fact]:
    """Every fact that may come now. Operators' facts are of the current leg and of one given up."""
    hunt = flow.hunt
    operator = hunt.operator.leg if hunt.operator else hunt.dialled or 1
    for leg in {one.leg for one in hunt.ringing} - {operator}:
        yield from (
            e.OperatorReached(leg),
            e.OperatorAnswered(leg, telephone_event=True),
            e.MediaArrived(leg),
            e.LegGone(leg, 603),
        )
    yield from (
        OFFER,
        replace(OFFER, sampled=False),
        replace(OFFER, open=False),
        replace(OFFER, source_allowed=False),
        replace(OFFER, room=False),
        replace(OFFER, draining=True),
        replace(OFFER, number_known=False),
        *((CHOOSING, replace(CHOOSING, sampled=False)) if flow.policy.choices else ()),
        e.CallConfirmed(telephone_event=True),
        e.MediaArrived(),
        e.MediaFoundElsewhere(CALLER),
        e.MediaFoundElsewhere(operator),
        e.MediaSourceFound(CALLER, own=False),
        e.MediaSourceFound(CALLER, own=True),
        e.MediaSourceFound(operator, own=False),
        e.DtmfPressed(CALLER, "9", "rfc4733"),
        e.DtmfPressed(CALLER, "9", "inband"),
        ONE,
        e.DtmfPressed(CALLER, "5", "info"),
        e.DtmfPressed(CALLER, "2", "info"),
        e.DtmfPressed(operator, "*", "rfc4733"),
        e.DtmfPressed(operator, "5", "rfc4733"),
        e.DtmfPressed(operator, "6", "rfc4733"),
        e.DtmfPressed(operator, "7", "rfc4733"),
        e.DtmfPressed(operator, "9", "rfc4733"),
        e.HearingBegan("tone"),
        e.HearingEnded("tone"),
        e.HearingBegan("speech"),
        e.ListeningEnded(),
        e.OperatorOffered(A),
        e.OperatorOffered(B),
        e.NoOperatorFree(),
        e.OperatorFree(),
        e.LegWanted(),
        e.OperatorReached(operator),
        e.OperatorAnswered(operator, telephone_event=False),
        e.OperatorAnswered(STALE, telephone_event=True),
        e.MediaArrived(operator),
        e.MediaArrived(STALE),
        e.KeysNegotiated(CALLER, telephone_event=False),
        e.KeysNegotiated(operator, telephone_event=False),
        e.LegHeld(CALLER, sends=False),
        e.LegHeld(operator, sends=True),
        e.LegResumed(CALLER),
        e.LegResumed(operator),
        e.LegGone(CALLER, 200),
        e.LegGone(operator, 486),
        e.LegGone(STALE, 487),
        e.MediaLost(CALLER),
        e.MediaLost(operator),
        e.RecordingDeclined(CALLER),
        e.RecordingDeclined(operator),
        e.TapFailed("disk full"),
        e.HearingFailed("detector"),
        e.ServiceEnding(),
        e.TimePassed(),
    )
    yield UNSURE
    yield from (e.KeywordHeard(meaning, "mot", 0.9) for meaning in e.Wish)
    for prompt in (
        Prompt.CHOOSE,
        Prompt.NOTICE,
        Prompt.WELCOME,
        Prompt.REFUSED,
        Prompt.CONFIRM,
        Prompt.UNAVAILABLE,
    ):
        yield e.PromptEnded(prompt, 1000, complete=True)
    yield e.PromptEnded(Prompt.NOTICE, 300, complete=False)
    if flow.policy.transfer_targets:
        yield from transfer_facts(flow, operator)
    if flow.policy.refer_targets:
        yield from (e.ReferAnswered(CALLER, status) for status in (202, 405))
        yield from (e.ReferNotified(CALLER, status) for status in (180, 200, 486))


def test_every_fact_there_is_may_come() -> None:
    """What is missing in `facts` is in none of the histories."""
    flow = CallFlow(Policy(transfer_targets=(B,), refer_targets=(A,)))
    assert {type(fact) for fact in facts(flow)} == set(get_args(e.Fact))


def transfer_facts(flow: CallFlow, operator: int) -> Iterator[e.Fact]:
    """What a phone that may transfer brings with it."""
    yield from (
        e.TransferAsked(operator, B),
        e.TransferAsked(operator, A, replaces="1;to-tag=2;from-tag=3", room=False),
        e.TransferAsked(operator, B, free=False),
        e.TransferDenied(CALLER),
        e.LegGone(operator, 408),
    )
    if flow.transfer:
        giver = flow.transfer.giver.leg
        yield from (e.LegHeld(giver, sends=False), e.LegResumed(giver), e.LegGone(giver, 200))
        yield from (e.MediaLost(giver), e.DtmfPressed(giver, "*", "info"))


T = TypeVar("T")


def shallow(one: T) -> T:
    """As copy.copy, of which there are millions here, in half the time."""
    twin = object.__new__(type(one))
    vars(twin).update(vars(one))
    return twin


def clone(flow: CallFlow) -> CallFlow:
    twin = shallow(flow)
    of_twin = vars(twin)
    for name, value in vars(flow).items():
        if type(value) is dict:
            of_twin[name] = value.copy()
    twin.story = Story(notice_played_ms=flow.story.notice_played_ms, outcome=flow.story.outcome)
    twin.hunt = shallow(flow.hunt)
    if flow.conversation:
        twin.conversation = shallow(flow.conversation)
        twin.conversation._held = dict(flow.conversation._held)
    return twin


def state_of(flow: CallFlow, now: float) -> Any:
    """All that decides what follows, with times as they lie from now."""
    timers = tuple(sorted((name, round(at - now, 3)) for name, at in flow.timers.items()))
    presses = tuple(
        (leg, press.digit, press.ways)
        for leg, recent in sorted(flow.presses.items())
        for press in recent
        if press.digit == ("9" if leg == CALLER else "*") and now - press.at < SAME_PRESS_S
    )  # of the keys that `facts` has by more than one way; older ones count for nothing
    hunt, talk, transfer = flow.hunt, flow.conversation, flow.transfer
    ringing = tuple(
        (one.uri, one.recorded, one.reached, round(one.gives_up_at - now, 3)) for one in hunt.ringing
    )
    return (
        flow.phase, flow.consent.decision, timers, presses, flow.hours_open, flow.candidate,
        flow.own_sound,
        flow.chooses, flow.media_arrived, flow.telephone_event, flow.playing, flow.notice_complete,
        flow.notice_began is None,
        flow.acceptance, flow.unclear, flow.asks_about_this, flow.language, flow.late_speech,
        flow.hearing, flow.held,
        round(max(0.0, flow.late_until - now), 3), hunt.dialled > 0, hunt.tried, ringing,
        hunt.operator and (hunt.operator.audible, hunt.operator.recorded),
        talk and (talk.tapping, talk.captured, talk.paused, tuple(talk._held.items()), talk._music_to),
        talk and talk._alone, tuple(sorted(flow.changed_keys)),
        flow.typed.leg if flow.typed.digits.endswith("*") else None,
        flow.told_refused, flow.referred, round(max(0.0, flow.refer_until - now), 3),
        transfer and (transfer.target, transfer.there, transfer.leg is None, transfer.given_up),
        transfer and (transfer.answered is not None, round(transfer.rings_until - now, 3)),
        flow.busy_until > 0, round(max(0.0, flow.busy_until - now), 3),
    )  # fmt: skip


def possible(flow: CallFlow, watch: Watch, fact: e.Fact) -> bool:  # noqa: PLR0911 - one rule a kind of fact
    """The world keeps some order: one INVITE a call, what plays ends, nobody speaks who is gone."""
    if isinstance(fact, e.CallOffered):
        return flow.phase is Phase.OFFERED
    if flow.phase is Phase.OFFERED:
        return False
    if isinstance(fact, e.PromptEnded):
        return fact.prompt is flow.playing
    if isinstance(fact, e.OperatorOffered):  # may have been asked for before somebody answered
        rung = [one.uri for one in flow.hunt.ringing]
        asked = flow.phase in (Phase.HUNT, Phase.BRIDGED, Phase.FAREWELL)
        return asked and len(rung) < 2 and fact.uri not in rung
    if isinstance(fact, e.NoOperatorFree):
        return flow.phase is Phase.HUNT
    leg = getattr(fact, "leg", CALLER if isinstance(fact, e.KeywordHeard) else None)
    if isinstance(fact, e.LegFact) and not isinstance(fact, e.LegHeld | e.LegResumed | e.OperatorReached):
        return leg == STALE or leg in watch.up
    return True


def advance(flow: CallFlow, watch: Watch, fact: e.Fact, now: float) -> tuple[Watch, float]:
    """One step, with every law checked; what the bystander has seen since, and the time."""
    if isinstance(fact, e.TimePassed) and flow.deadline is not None:
        now = max(now, flow.deadline)
    before, was_open, talked = flow.phase, flow.consent.decision, len(flow.story.happenings)
    refuses = (
        fact == e.RecordingDeclined(CALLER)
        or (isinstance(fact, e.DtmfPressed) and fact.leg == CALLER and fact.digit == "9")
        or (isinstance(fact, e.KeywordHeard) and fact.meaning is e.Wish.REFUSE and fact.sure)
        or (fact == UNSURE and (was_open is not Decision.UNDECIDED or before is Phase.HUNT))
    )
    if fact == ONE and before is Phase.CONFIRM:
        watch = replace(watch, asked=False)
    if refuses and before is not Phase.ENDED:
        watch = replace(watch, refused=True)
    if isinstance(fact, e.PromptEnded) and fact.prompt is Prompt.NOTICE and before is Phase.NOTICE:
        watch = replace(watch, notice_heard=fact.complete)
    if fact == e.MediaFoundElsewhere(CALLER) and (watch.notice_heard or flow.playing is Prompt.NOTICE):
        watch = replace(watch, unheard=before is not Phase.ENDED)
    watch = legs_seen(flow, watch, fact)
    commands = flow.handle(fact, now)
    for command in commands:
        watch = obey(flow, watch, command)
    if any(isinstance(command, e.Speak) for command in commands):
        assert before is Phase.CHOICE, "a language that changes later"
        told = {command.prompt for command in commands if isinstance(command, e.Play)}
        assert told & {Prompt.NOTICE, Prompt.WELCOME} or CALLER in flow.held, "who chooses is told nothing"
    decision = flow.consent.decision
    if fact == UNSURE and before is not Phase.ENDED and decision is not Decision.REFUSED:
        watch = replace(watch, asked=True)
    who_may_type(fact, commands, was_open, decision)
    written = [one.what for one in flow.story.happenings[talked:] if one.what in CODES_SAY]
    assert not written or any(isinstance(one, e.PlayTone) for one in commands), "a code unheard"
    assert was_open is not Decision.REFUSED or decision is Decision.REFUSED, "a refusal was undone"
    watch = may_keep(flow, watch)
    if flow.phase not in (Phase.ENDING, Phase.ENDED):
        assert (watch.indicated != "off") is (watch.tap == "running"), "devices are told otherwise"
        waits = watch.tap == "running" and not watch.bridged
        assert not waits or watch.silent, "who waits is recorded"
    assert not (watch.two and len(watch.up) > 2), "a third leg where there is none"
    if flow.phase in (Phase.HUNT, Phase.REFER, Phase.TRANSFER):
        assert flow.playing is not None, "the caller waits in silence"
        said = flow.phase is Phase.REFER and flow.playing is Prompt.REFUSED  # which ends
        assert flow.deadline is not None or flow.hunt.operator or said, "a caller who waits for ever"
        assert not (flow.hunt.operator and flow.hunt.ringing), "a phone rings though another has answered"
    assert not watch.offered, "an operator is held for nothing"
    assert not watch.asks or flow.phase is Phase.TRANSFER, "who asked for a transfer waits for ever"
    if flow.phase is Phase.ENDED:
        assert watch.finished
        assert watch.tap != "running", "a tap leaks"
        assert not watch.up, f"legs leak: {watch.up}"
        assert flow.deadline is None
    return watch, now


def may_keep(flow: CallFlow, watch: Watch) -> Watch:
    """What is recorded, or may come to be, is so by the caller's own will."""
    decision, kept = flow.consent.decision, watch.tap in ("running", "kept")
    assert not (watch.refused and kept), "a refusal erased nothing"
    assert not (watch.asked and (kept or decision is Decision.ALLOWED)), "a refusal was not asked about"
    assert not watch.refused or decision is Decision.REFUSED, "a refusal that does not refuse"
    assert not (watch.unheard and kept), "recorded without a notice"
    if watch.foreign:
        assert flow.acceptance in (None, "info"), "a yes by sound that may be another's is remembered"
        allows = kept or decision is Decision.ALLOWED
        assert not allows or flow.consent.method == "info", "sound that may be another's, or none, allows"
    if watch.doubted:
        assert not (kept and flow.consent.by == "silence"), "recorded by silence after a doubt"
        if not kept and decision in (Decision.REFUSED, Decision.NOT_ALLOWED):
            return replace(watch, doubted=False)
    return watch


def legs_seen(flow: CallFlow, watch: Watch, fact: e.Fact) -> Watch:
    """What the fact itself tells a bystander: of legs and operators, and a doubt before the bridge."""
    if isinstance(fact, e.MediaSourceFound) and fact.leg == CALLER:
        watch = replace(watch, foreign=not fact.own)
    match fact:
        case e.KeywordHeard(e.Wish.UNCLEAR) if flow.conversation is None:
            return replace(watch, doubted=True)
        case e.TransferAsked():
            two = not fact.room if flow.phase is Phase.BRIDGED else watch.two
            return replace(watch, two=two, asks=watch.asks | {fact.leg})
        case e.CallOffered():
            return replace(watch, up=frozenset({CALLER}))
        case e.LegGone():
            talks = flow.hunt.operator is not None and flow.hunt.operator.leg == fact.leg
            up, asks = watch.up - {fact.leg}, watch.asks - {fact.leg}
            return replace(watch, up=up, asks=asks, bridged=watch.bridged and not talks)
        case e.OperatorOffered():
            return replace(watch, offered=watch.offered | {fact.uri})
    return watch


CODES_SAY = {
    *("paused", "resumed", FLAGGED, STOPPED),
    *("stop code, and nothing is recorded", "pause code, and nothing is recorded"),
}


def who_may_type(fact: e.Fact, commands: list[e.Command], before: Decision, after: Decision) -> None:
    """The caller's keys are two, the operator's are codes; neither may do what is the other's."""
    if not isinstance(fact, e.DtmfPressed):
        return
    orders = [one for one in commands if isinstance(one, e.SilenceTap | e.StopTap | e.PlayTone)]
    if fact.leg == CALLER:
        assert fact.digit == "9" or not orders, "the caller types a code"
    else:
        assert before is after or after is Decision.NOT_ALLOWED, "the operator decides for the caller"
        assert fact.digit in "567" or not commands, "a key that is no code does something"


def obey(flow: CallFlow, watch: Watch, command: e.Command) -> Watch:  # noqa: PLR0911, PLR0912 - one law a command
    match command:
        case e.Speak(language):
            assert not watch.language, "a second language"
            assert not watch.refused and not watch.notice_heard
            return replace(watch, language=language)
        case e.Play(_, Prompt.NOTICE):
            assert not watch.refused, "a notice after a refusal"
            return watch
        case e.StartTap():
            assert watch.notice_heard, "a tap without a notice heard to its end"
            assert not watch.refused, "a tap after a refusal"
            assert not watch.unheard, "a tap after a notice that went past the caller"
            assert watch.tap == "none", "a second tap"
            assert watch.bridged, "a tap before the bridge"
            return replace(watch, tap="running", silent=False)
        case e.SilenceTap(on):
            return replace(watch, silent=on)
        case e.StopTap(keep):
            assert watch.tap in ("running", "kept")
            assert not (keep and watch.refused), "what a refusing caller said is kept"
            return replace(watch, tap="kept" if keep else "erased")
        case e.DialOperator(leg, uri):
            assert flow.consent.decision is not Decision.UNDECIDED, "an operator rings before the decision"
            assert not watch.bridged, "somebody rings while the caller talks"
            return replace(watch, up=watch.up | {leg}, offered=watch.offered - {uri})
        case e.DeclineOperator(uri):
            return replace(watch, offered=watch.offered - {uri})
        case e.Indicate(recording):
            assert recording != watch.indicated
            return replace(watch, indicated=recording)
        case e.Bridge(leg):
            assert leg in watch.up and not watch.bridged
            return replace(watch, bridged=True)
        case e.Separate(leg):
            assert leg in watch.up and watch.bridged
            return replace(watch, bridged=False)
        case e.Refer(leg):
            assert leg in watch.up and not flow.consent.allowed and flow.conversation is None
            return watch
        case e.AllowTransfer(leg):
            assert leg in watch.up and leg != CALLER
            return watch
        case e.TellTransfer(leg, _, last):
            assert leg in watch.up and leg in watch.asks, "told of a transfer that it has no part in"
            return replace(watch, asks=watch.asks - {leg}) if last else watch
        case e.HangUp(leg):
            return replace(watch, up=watch.up - {leg}, asks=watch.asks - {leg})
        case e.Reject() | e.Drop():
            return replace(watch, up=frozenset(), finished=True)
        case e.Finish():
            assert not watch.finished or watch.up == frozenset()
            return replace(watch, finished=True)
        case _:
            return watch


History = list[e.Fact]
CONFIRMED = e.CallConfirmed(telephone_event=True)
HEARD = e.PromptEnded(Prompt.NOTICE, 1000, complete=True)
CHOICE: History = [CHOOSING, CONFIRMED, e.MediaArrived()]
WINDOW: History = [OFFER, CONFIRMED, e.MediaArrived(), HEARD]
HUNT: History = [*WINDOW, e.TimePassed()]
RINGING: History = [*HUNT, e.OperatorOffered(A)]
ANSWERED: History = [*RINGING, e.OperatorAnswered(1, telephone_event=True)]
BRIDGED: History = [*ANSWERED, e.MediaArrived(1)]
STATIONS: dict[str, History] = {
    "invite": [],
    "choice": CHOICE,
    "notice": WINDOW[:3],
    "chosen": [*CHOICE, e.DtmfPressed(CALLER, "2", "info")],
    "window": WINDOW,
    "confirm": [*WINDOW, e.KeywordHeard(e.Wish.UNCLEAR, "", 0.5)],
    "hunt": HUNT,
    "second round": [*RINGING, e.LegGone(1, 486), e.NoOperatorFree(), e.TimePassed()],
    "two ring": [*RINGING, e.OperatorOffered(B)],
    "answered": ANSWERED,
    "bridge": BRIDGED,
    "paused": [*BRIDGED, e.DtmfPressed(1, "*", "info"), e.DtmfPressed(1, "6", "info")],
    "ending": [*BRIDGED, e.LegGone(CALLER, 200)],
    "refused": [*RINGING, e.DtmfPressed(CALLER, "9", "info")],
}


def run(policy: Policy, history: History) -> tuple[CallFlow, Watch, float]:
    flow, watch, now = CallFlow(policy), Watch(), 100.0
    for fact in history:
        watch, now = advance(flow, watch, fact, now + 1.0)
    return flow, watch, now


def walk(policy: Policy, history: History, depth: int) -> tuple[int, set[Phase], set[str]]:
    """Every history of up to `depth` facts after `history`: steps taken, phases and taps' ends seen."""
    start = run(policy, history)
    level = {(state_of(start[0], start[2]), start[1]): start}
    seen = set(level)
    steps, phases, taps = 0, {start[0].phase}, {start[1].tap}
    for left in reversed(range(depth)):
        following: dict[Any, tuple[CallFlow, Watch, float]] = {}
        for flow, watch, now in level.values():
            for fact in facts(flow):
                if not possible(flow, watch, fact):
                    continue
                steps += 1
                twin = clone(flow)
                later, then = advance(twin, watch, fact, now)
                phases.add(twin.phase)
                taps.add(later.tap)
                if left == 0:
                    continue  # nothing follows, so it need not be known again
                key = (state_of(twin, then), later)
                if key not in seen and twin.phase is not Phase.ENDED:
                    seen.add(key)
                    following[key] = (twin, later, then)
        level = following
    return steps, phases, taps


ASKS_FOR_YES = frozenset({("", e.Wish.ACCEPT)})
RULES = {
    "objection": Policy(voice=True),
    "opt_in": Policy(voice=True, opt_in=True, promised=ASKS_FOR_YES),
    "simultaneous": Policy(
        voice=True, in_call_voice=True, simultaneous=True, promised=frozenset({("", e.Wish.REFUSE)})
    ),
}


NARROW = (
    "invite",
    "choice",
    "bridge",
    "paused",
    "ending",
)  # stations from which few phones, or none, come to ring
RINGS = ("hunt", "second round", "two ring", "answered", "refused")


@pytest.mark.parametrize(
    "station, rules",
    [(s, r) for s in STATIONS for r in RULES if s in RINGS or r != "simultaneous"],
)
def test_all_histories(station: str, rules: str) -> None:
    choices = CHOICES if station in ("invite", "choice", "chosen") else ()
    depth = DEPTH if station in NARROW else BROAD_DEPTH
    steps, phases, taps = walk(replace(RULES[rules], choices=choices), STATIONS[station], depth)
    assert steps > 10
    assert Phase.ENDED in phases
    if station == "bridge" and rules != "opt_in":
        assert taps == {"running", "kept", "erased"}  # the walk has been where it matters


CHOOSES = Policy(choices=CHOICES)


@pytest.mark.parametrize("said", [False, True], ids=["while it is asked", "after that"])
def test_the_key_of_a_language_has_the_notice_said_in_it(said: bool) -> None:
    history = [*CHOICE, e.PromptEnded(Prompt.CHOOSE, 1400, complete=True)] if said else CHOICE
    flow, _, now = run(CHOOSES, history)
    assert flow.phase is Phase.CHOICE
    commands = flow.handle(e.DtmfPressed(CALLER, "2", "rfc4733"), now)
    assert commands == [e.Speak("en"), e.Play(CALLER, Prompt.NOTICE)]
    assert (flow.phase, flow.deadline, flow.consent.decision) == (Phase.NOTICE, None, Decision.UNDECIDED)
    assert flow.story.happenings[-1].what == "language: en"
    assert flow.handle(e.DtmfPressed(CALLER, "3", "rfc4733"), now + 1) == []  # too late


def test_without_a_key_the_default_language_it_is() -> None:
    flow, _, now = run(CHOOSES, [*CHOICE, e.PromptEnded(Prompt.CHOOSE, 1400, complete=True)])
    assert flow.deadline == now + CHOICE_S
    for key in ("1", "5", "*"):  # also the one that accepts: nothing has been said that one could accept
        assert flow.handle(e.DtmfPressed(CALLER, key, "rfc4733"), now + 1) == []
    assert flow.handle(e.TimePassed(), now + CHOICE_S) == [e.Play(CALLER, Prompt.NOTICE)]
    assert (flow.acceptance, flow.consent.decision) == (None, Decision.UNDECIDED)


def test_a_tone_that_began_before_time_was_up_still_chooses() -> None:
    history = [*CHOICE, e.PromptEnded(Prompt.CHOOSE, 1400, complete=True), e.HearingBegan("tone")]
    flow, _, now = run(CHOOSES, [*history, e.TimePassed()])
    assert flow.phase is Phase.CHOICE
    assert e.Speak("en") in flow.handle(e.DtmfPressed(CALLER, "2", "inband"), now + 0.1)
    flow, *_ = run(CHOOSES, [*history, e.TimePassed(), e.HearingEnded("tone")])
    assert flow.phase is Phase.NOTICE
    flow, *_ = run(CHOOSES, [*history, e.TimePassed(), e.TimePassed()])
    assert flow.phase is Phase.NOTICE


@pytest.mark.parametrize(
    "refusal", [e.DtmfPressed(CALLER, "9", "inband"), e.KeywordHeard(e.Wish.REFUSE, "non", 0.9)]
)
def test_who_refuses_while_choosing_needs_no_notice(refusal: e.Fact) -> None:
    flow, _, now = run(CHOOSES, CHOICE)
    assert flow.handle(refusal, now) == [e.Play(CALLER, Prompt.REFUSED), e.SeekOperator(())]
    assert (flow.consent.decision, flow.consent.phase) == (Decision.REFUSED, "choice")
    assert flow.story.notice_played_ms is None


@pytest.mark.parametrize(
    ("offer", "held", "played"),
    [
        (replace(CHOOSING, sampled=False), False, Prompt.WELCOME),
        (CHOOSING, True, Prompt.HOLD_MUSIC),  # on hold the notice can't be heard: it has failed
    ],
)
def test_a_language_is_no_way_round_the_notice(offer: e.CallOffered, held: bool, played: Prompt) -> None:
    hold = [e.LegHeld(CALLER, sends=False)] if held else []
    flow, _, now = run(CHOOSES, [offer, *CHOICE[1:], *hold])
    commands = flow.handle(e.DtmfPressed(CALLER, "2", "info"), now)
    assert e.Play(CALLER, played) in commands
    assert flow.consent.decision is Decision.NOT_ALLOWED


def test_a_number_that_has_its_language_asks_for_none() -> None:
    flow, *_ = run(CHOOSES, [OFFER, *CHOICE[1:]])
    assert (flow.phase, flow.playing) == (Phase.NOTICE, Prompt.NOTICE)


def test_outside_opening_hours_nobody_is_asked() -> None:
    flow, *_ = run(CHOOSES, [replace(CHOOSING, open=False), *CHOICE[1:]])
    assert (flow.phase, flow.playing) == (Phase.FAREWELL, Prompt.CLOSED)


def test_a_key_before_the_window_closes_wins_over_the_clock() -> None:
    flow, watch, _ = run(Policy(), WINDOW)
    closes = flow.deadline
    assert closes is not None
    advance(flow, watch, e.DtmfPressed(CALLER, "9", "info"), closes - 0.05)
    assert flow.consent.refused
    assert (flow.consent.phase, flow.consent.method) == ("window", "info")


@pytest.mark.parametrize("gap_s, presses", [(0.2, 1), (0.3, 2)])
def test_one_press_heard_by_two_ways_is_one(gap_s: float, presses: int) -> None:
    """A digit that comes by another way counts again only after 250 ms."""
    flow, _, now = run(Policy(), BRIDGED)
    flow.handle(e.DtmfPressed(1, "*", "rfc4733"), now)
    flow.handle(e.DtmfPressed(1, "*", "inband"), now + gap_s)
    assert flow.typed.digits == "*" * presses


def test_a_key_that_began_in_the_window_counts_though_an_operator_answered_at_once() -> None:
    """In-band sound is heard a tenth of a second late: until then nobody stops listening, and it erases."""
    flow, watch, _ = run(Policy(), WINDOW)
    assert flow.deadline is not None
    closed = flow.deadline
    for fact in (e.TimePassed(), e.OperatorOffered(A), e.OperatorAnswered(1, telephone_event=True)):
        watch, _ = advance(flow, watch, fact, closed)
    bridge = flow.handle(e.MediaArrived(1), closed + 0.01)
    assert e.Bridge(1) in bridge
    assert not any(isinstance(c, e.Listen) and c.leg == CALLER for c in bridge)
    assert e.StopTap(keep=False) in flow.handle(e.DtmfPressed(CALLER, "9", "inband"), closed + 0.2)
    assert e.Listen(CALLER, tones=False, voice=False) in flow.handle(e.TimePassed(), closed + LATE_S)


def test_who_hangs_up_before_that_could_be_heard_is_not_recorded() -> None:
    flow, watch, _ = run(Policy(), WINDOW)
    assert flow.deadline is not None
    at = flow.deadline
    heard: History = [e.OperatorOffered(A), e.OperatorAnswered(1, telephone_event=True), e.MediaArrived(1)]
    for fact in (e.TimePassed(), *heard, e.LegGone(CALLER, 200), e.ListeningEnded()):
        watch, _ = advance(flow, watch, fact, at)
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.NOT_ALLOWED)


def test_an_utterance_begun_in_the_window_extends_it_to_its_verdict() -> None:
    flow, watch, now = run(Policy(voice=True), [*WINDOW, e.HearingBegan("speech"), e.TimePassed()])
    assert flow.phase is Phase.WINDOW
    watch, now = advance(flow, watch, e.KeywordHeard(e.Wish.REFUSE, "je refuse", 0.9), now + 1)
    assert flow.consent.refused
    assert flow.consent.keyword == "je refuse"


ALOUD = Policy(voice=True, in_call_voice=True)


def test_words_that_erase_are_listened_for_where_something_is_recorded() -> None:
    flow, _, now = run(ALOUD, ANSWERED)
    bridge = [*flow.handle(e.MediaArrived(1), now), *flow.handle(e.TimePassed(), now + LATE_S)]
    assert e.Listen(CALLER, tones=False, voice=True, in_call=True) in bridge
    refusal = e.KeywordHeard(e.Wish.REFUSE, "ne m'enregistrez pas", 0.99)
    assert e.StopTap(keep=False) in flow.handle(refusal, now + 9)
    assert (flow.consent.decision, flow.consent.by) == (Decision.REFUSED, "voice")
    assert (flow.consent.phase, flow.consent.keyword) == ("call", "ne m'enregistrez pas")


def test_listening_to_words_ends_with_the_first_refusal() -> None:
    flow, _, now = run(ALOUD, BRIDGED)
    flow.handle(e.TimePassed(), now + LATE_S)
    commands = flow.handle(e.DtmfPressed(CALLER, "9", "rfc4733"), now + 9)
    assert e.StopTap(keep=False) in commands
    assert e.Listen(CALLER, tones=False, voice=False) in commands


def test_unclear_words_during_the_call_change_nothing() -> None:
    flow, watch, now = run(ALOUD, BRIDGED)
    for meaning in (e.Wish.UNCLEAR, e.Wish.ACCEPT, e.Wish.OTHER):
        watch, now = advance(flow, watch, e.KeywordHeard(meaning, "mot", 0.6), now)
    assert (watch.tap, flow.consent.decision) == ("running", Decision.ALLOWED)


def test_a_conversation_that_is_not_recorded_is_not_listened_to() -> None:
    refusing: History = [*WINDOW[:-1], e.DtmfPressed(CALLER, "9", "rfc4733")]
    flow, _, now = run(ALOUD, [*refusing, e.PromptEnded(Prompt.REFUSED, 3000, complete=True)])
    commands: list[e.Command] = []
    for fact in (e.OperatorOffered(A), e.OperatorAnswered(1, telephone_event=True), e.MediaArrived(1)):
        commands += flow.handle(fact, now)
    commands += flow.handle(e.TimePassed(), now + 9)
    assert e.Bridge(1) in commands
    assert not any(isinstance(c, e.Listen) and c.voice for c in commands)


def test_without_a_verdict_nothing_is_allowed() -> None:
    flow, *_ = run(Policy(voice=True), [*WINDOW, e.HearingBegan("speech"), e.TimePassed(), e.TimePassed()])
    assert (flow.consent.decision, flow.consent.by) == (Decision.NOT_ALLOWED, "unclear")


def test_opt_in_needs_the_key_and_counts_it_after_the_notice() -> None:
    history: History = [OFFER, CONFIRMED, e.MediaArrived(), e.DtmfPressed(CALLER, "1", "rfc4733")]
    flow, watch, now = run(Policy(opt_in=True), history)
    assert flow.consent.decision is Decision.UNDECIDED
    advance(flow, watch, HEARD, now + 1)
    assert (flow.consent.decision, flow.consent.by) == (Decision.ALLOWED, "dtmf")


def test_opt_in_silence_does_not_allow() -> None:
    flow, *_ = run(Policy(opt_in=True), HUNT)
    assert (flow.consent.decision, flow.consent.by) == (Decision.NOT_ALLOWED, "silence")


@pytest.mark.parametrize("station", ["notice", "window", "confirm", "hunt", "bridge", "paused", "ending"])
def test_a_callers_device_may_refuse_at_any_time(station: str) -> None:
    flow, watch, now = run(Policy(voice=True), STATIONS[station])
    watch, _ = advance(flow, watch, e.RecordingDeclined(CALLER), now)
    assert (flow.consent.decision, flow.consent.by) == (Decision.REFUSED, "sip")
    assert watch.tap in ("none", "erased")
    assert flow.story.happenings[-1 if watch.tap == "none" else -2].by == "caller"


def test_an_operators_device_decides_nothing() -> None:
    flow, _, now = run(Policy(), BRIDGED)
    assert flow.handle(e.RecordingDeclined(1), now) == []
    assert flow.consent.allowed


def test_devices_are_told_of_each_change_once() -> None:
    flow, _, now = run(Policy(), RINGING)
    told: list[str] = []
    history: History = [
        e.OperatorAnswered(1, telephone_event=True),
        e.LegHeld(1, sends=False),  # silent, but it goes on
        e.LegResumed(1),
        *(e.DtmfPressed(1, key, "info") for key in "*6"),
        *(e.DtmfPressed(1, key, "info") for key in "*6"),
        *(e.DtmfPressed(1, key, "info") for key in "*6*5"),
        e.DtmfPressed(CALLER, "9", "info"),
    ]
    for fact in history:
        now += 1
        told += [one.recording for one in flow.handle(fact, now) if isinstance(one, e.Indicate)]
    assert told == ["on", "paused", "on", "paused", "off"]


def test_unclear_speech_is_asked_about_once_and_silence_then_refuses() -> None:
    unclear = e.KeywordHeard(e.Wish.UNCLEAR, "", 0.5)
    flow, watch, now = run(Policy(voice=True), [*WINDOW, unclear])
    assert flow.playing is Prompt.CONFIRM
    watch, now = advance(flow, watch, e.PromptEnded(Prompt.CONFIRM, 900, complete=True), now + 1)
    advance(flow, watch, e.TimePassed(), now)
    assert (flow.consent.decision, flow.consent.by) == (Decision.REFUSED, "unclear")


UNCLEAR = e.KeywordHeard(e.Wish.UNCLEAR, "refuser", 0.5)
YES = e.KeywordHeard(e.Wish.ACCEPT, "oui", 0.9)
NO = e.KeywordHeard(e.Wish.REFUSE, "je refuse", 0.9)


@pytest.mark.parametrize("opt_in", [False, True])
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(
    ("said", "decision", "by", "keyword"),
    [
        (ONE, Decision.ALLOWED, "dtmf", None),
        (YES, Decision.REFUSED, "unclear", "refuser"),  # asked for a key: no word is one
        (UNCLEAR, Decision.REFUSED, "unclear", "refuser"),
        (NO, Decision.REFUSED, "voice", "je refuse"),
        (e.DtmfPressed(CALLER, "9", "info"), Decision.REFUSED, "dtmf", None),
        (e.LegHeld(CALLER, sends=False), Decision.REFUSED, "unclear", "refuser"),
    ],
)
def test_who_is_asked_once_more_answers_by_a_key_or_is_not_recorded(  # noqa: PLR0917
    opt_in: bool, heard: bool, said: e.Fact, decision: Decision, by: str, keyword: str | None
) -> None:
    flow, watch, now = run(Policy(voice=True, opt_in=opt_in), [*WINDOW, UNCLEAR])
    ended = e.PromptEnded(Prompt.CONFIRM, 900, complete=True)
    for fact in [ended, said] if heard else [said, ended]:
        watch, now = advance(flow, watch, fact, now + 0.5)
    if flow.phase is Phase.CONFIRM:
        advance(flow, watch, e.TimePassed(), now + 60)
    consent = flow.consent
    assert (consent.decision, consent.by, consent.keyword) == (decision, by, keyword)
    assert consent.phase == "window"


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ([UNCLEAR], True),
        ([ONE, UNCLEAR], True),  # a yes before it no longer counts
        ([UNCLEAR, ONE], False),  # a key after it does
        ([UNCLEAR, YES], True),  # a word does not
    ],
)
def test_what_is_unclear_during_the_notice_is_asked_about_after_it(facts: History, asked: bool) -> None:
    flow, watch, now = run(Policy(voice=True, opt_in=True), [*WINDOW[:-1], *facts])
    advance(flow, watch, HEARD, now + 1)
    assert (flow.playing is Prompt.CONFIRM) is asked
    assert flow.consent.allowed is not asked


def test_what_is_unclear_before_the_notice_is_asked_about_after_it() -> None:
    flow, watch, now = run(CHOOSES, [*CHOICE, UNCLEAR, e.DtmfPressed(CALLER, "2", "rfc4733")])
    advance(flow, watch, HEARD, now + 1)
    assert flow.playing is Prompt.CONFIRM


PROMISED = frozenset({("fr", e.Wish.REFUSE)})
SPEAKS = e.HearingBegan("speech")
ASKED = e.PromptEnded(Prompt.CONFIRM, 900, complete=True)


@pytest.mark.parametrize(
    ("history", "decision", "by"),
    [
        ([UNSURE, e.TimePassed(), ASKED, e.TimePassed()], Decision.REFUSED, "unclear"),
        ([UNSURE, e.TimePassed(), ASKED, ONE], Decision.ALLOWED, "dtmf"),
        ([UNSURE, ONE, e.TimePassed(), ASKED, e.TimePassed()], Decision.REFUSED, "unclear"),  # too early
        ([UNSURE, NO], Decision.REFUSED, "voice"),  # it has become sure
        ([UNSURE, UNCLEAR, ONE], Decision.ALLOWED, "dtmf"),  # asked at once by the second
        ([UNSURE, e.TimePassed(), UNSURE], Decision.UNDECIDED, None),  # the end of the same sentence
        ([UNSURE, e.TimePassed(), SPEAKS, UNSURE], Decision.REFUSED, "voice"),  # said again
        ([e.TimePassed(), UNSURE], Decision.REFUSED, "voice"),  # while operators are rung nobody is asked
    ],
)
def test_a_refusal_that_no_notice_promises_and_that_is_not_sure_is_asked_about(
    history: History, decision: Decision, by: str | None
) -> None:
    flow, watch, now = run(Policy(voice=True), WINDOW)
    for fact in history:
        watch, now = advance(flow, watch, fact, now + 0.1)
    assert (flow.consent.decision, flow.consent.by) == (decision, by)


def test_the_question_waits_for_the_refusal_to_become_sure() -> None:
    flow, watch, now = run(Policy(voice=True), WINDOW)
    advance(flow, watch, UNSURE, now)
    assert (flow.phase, flow.playing, flow.deadline) == (Phase.WINDOW, None, now + SURE_S)


@pytest.mark.parametrize("station", ["notice", "window", "choice"])
@pytest.mark.parametrize("promised", [False, True])
def test_what_the_notice_promises_refuses_at_once(station: str, promised: bool) -> None:
    """In its language, which a key may have chosen."""
    policy = Policy(voice=True, promised=PROMISED if promised else frozenset(), choices=CHOICES)
    history = [
        replace(fact, language="fr") if isinstance(fact, e.CallOffered) else fact
        for fact in STATIONS[station]
    ]
    if station == "choice":
        history = [CHOOSING, *CHOICE[1:], e.DtmfPressed(CALLER, "3", "info")]
    flow, watch, now = run(policy, history)
    advance(flow, watch, UNSURE, now)
    assert flow.consent.refused is promised


def test_a_yes_that_no_notice_promises_is_none() -> None:
    flow, *_ = run(Policy(voice=True, opt_in=True), [*WINDOW, YES])
    assert flow.phase is Phase.WINDOW and not flow.consent.allowed


def test_a_spoken_yes_is_remembered_with_its_words() -> None:
    flow, watch, now = run(Policy(voice=True, opt_in=True, promised=ASKS_FOR_YES), [*WINDOW[:-1], YES])
    advance(flow, watch, HEARD, now + 1)
    consent = flow.consent
    assert (consent.by, consent.keyword, consent.confidence) == ("voice", "oui", 0.9) and consent.allowed


def closed_while_speaking(after_s: float) -> tuple[CallFlow, Any, float]:
    """The window has closed, and so long after it speech is found to have begun."""
    flow, watch, now = run(Policy(voice=True), [*WINDOW, e.TimePassed()])
    assert flow.phase is Phase.HUNT and flow.consent.by == "silence"
    watch, now = advance(flow, watch, e.HearingBegan("speech"), now + after_s)
    return flow, watch, now


@pytest.mark.parametrize("bridged", [False, True])
def test_what_began_in_the_window_and_is_unclear_after_it_records_nothing(bridged: bool) -> None:
    flow, watch, now = closed_while_speaking(0.2)
    answer: History = [e.OperatorOffered(A), e.OperatorAnswered(1, telephone_event=True), e.MediaArrived(1)]
    for fact in answer if bridged else []:
        watch, now = advance(flow, watch, fact, now)
    assert watch.bridged is bridged
    watch, now = advance(flow, watch, UNCLEAR, now + 0.4)
    assert (flow.consent.decision, flow.consent.by) == (Decision.NOT_ALLOWED, "unclear")
    assert watch.tap == ("erased" if bridged else "none")


def test_what_is_unclear_while_operators_ring_records_nothing() -> None:
    flow, watch, now = closed_while_speaking(8.0)
    advance(flow, watch, UNCLEAR, now + 0.4)
    consent = flow.consent
    assert (consent.decision, consent.by, consent.keyword) == (Decision.NOT_ALLOWED, "unclear", "refuser")


def test_what_is_unclear_while_operators_ring_undoes_no_key() -> None:
    flow, watch, now = run(Policy(voice=True), [*WINDOW, ONE])
    advance(flow, watch, UNCLEAR, now + 9)
    assert flow.consent.allowed and flow.consent.by == "dtmf"


@pytest.mark.parametrize("said", ["before the bridge", "after it"])
def test_speech_that_began_before_the_bridge_is_heard_to_its_end(said: str) -> None:
    flow, watch, now = closed_while_speaking(8.0)
    answer: History = [e.OperatorOffered(A), e.OperatorAnswered(1, telephone_event=True)]
    for fact in answer:
        watch, now = advance(flow, watch, fact, now)
    if said == "after it":
        watch, now = advance(flow, watch, e.HearingEnded("speech"), now)
    bridge = flow.handle(e.MediaArrived(1), now)
    still = not any(isinstance(one, e.Listen) and one.leg == CALLER for one in bridge)
    assert still is (said == "before the bridge")
    flow.handle(UNCLEAR, now + 0.9)
    assert flow.consent.allowed is (said == "after it") and flow.captured is flow.consent.allowed


@pytest.mark.parametrize("erases, decision", [(True, Decision.NOT_ALLOWED), (False, Decision.ALLOWED)])
def test_the_operators_stop_code(erases: bool, decision: Decision) -> None:
    keys: History = [e.DtmfPressed(1, "*", "rfc4733"), e.DtmfPressed(1, "5", "rfc4733")]
    flow, watch, _ = run(Policy(stop_erases=erases), [*BRIDGED, *keys])
    assert watch.tap == ("erased" if erases else "kept")
    assert flow.consent.decision is decision


def test_a_refusal_erases_also_what_had_been_kept() -> None:
    keys: History = [e.DtmfPressed(1, "*", "rfc4733"), e.DtmfPressed(1, "5", "rfc4733")]
    flow, watch, now = run(Policy(stop_erases=False), [*BRIDGED, *keys])
    watch, now = advance(flow, watch, e.DtmfPressed(CALLER, "9", "rfc4733"), now)
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.REFUSED)


def test_a_code_typed_too_slowly_is_none() -> None:
    flow, _, now = run(Policy(), BRIDGED)
    flow.handle(e.DtmfPressed(1, "*", "rfc4733"), now)
    assert flow.handle(e.DtmfPressed(1, "5", "rfc4733"), now + 3.5) == []


def test_the_caller_can_type_no_code() -> None:
    flow, _, now = run(Policy(), BRIDGED)
    flow.handle(e.DtmfPressed(CALLER, "*", "rfc4733"), now)
    assert flow.handle(e.DtmfPressed(CALLER, "6", "rfc4733"), now + 0.5) == []


def test_holds_and_pause_together_silence_until_the_last_one_ends() -> None:
    flow, _, now = run(Policy(), STATIONS["paused"])
    assert e.SilenceTap(True) not in flow.handle(e.LegHeld(CALLER, sends=False), now)
    assert e.SilenceTap(False) not in flow.handle(e.LegResumed(CALLER), now)
    flow.handle(e.DtmfPressed(1, "*", "info"), now)
    assert e.SilenceTap(False) in flow.handle(e.DtmfPressed(1, "6", "info"), now)


def test_the_other_side_hears_music_while_one_holds() -> None:
    flow, _, now = run(Policy(), BRIDGED)
    assert e.Play(1, Prompt.HOLD_MUSIC) in flow.handle(e.LegHeld(CALLER, sends=False), now)
    assert e.StopPlaying(1) in flow.handle(e.LegResumed(CALLER), now)
    assert not any(isinstance(c, e.Play) for c in flow.handle(e.LegHeld(1, sends=True), now))


def test_an_operator_who_answers_a_refusing_caller_waits_for_the_prompt() -> None:
    answer: History = [e.OperatorAnswered(1, telephone_event=True), e.MediaArrived(1)]
    flow, watch, now = run(Policy(), [*STATIONS["refused"], *answer])
    assert not watch.bridged
    watch, _ = advance(flow, watch, e.PromptEnded(Prompt.REFUSED, 900, complete=True), now)
    assert watch.bridged


def test_operators_are_tried_until_the_wait_is_over() -> None:
    flow, _, now = run(Policy(ring_s=20, max_wait_s=50), [*RINGING, e.OperatorReached(1)])
    asked: list[tuple[str, ...]] = []
    while flow.phase is Phase.HUNT:
        assert flow.deadline
        now = flow.deadline
        for command in flow.handle(e.TimePassed(), now):
            if isinstance(command, e.SeekOperator):
                asked.append(command.tried)
                flow.handle(e.OperatorOffered(B) if len(command.tried) == 1 else e.NoOperatorFree(), now)
    assert asked[:3] == [(A,), (A, B), ()]
    assert flow.playing is Prompt.UNAVAILABLE
    assert flow.story.outcome == "unavailable"


@pytest.mark.parametrize(
    "change, status",
    [({"room": False}, 503), ({"draining": True}, 503), ({"number_known": False}, 404)],
)
def test_rejections(change: dict[str, Any], status: int) -> None:
    flow = CallFlow(Policy())
    (reject, finish) = flow.handle(replace(OFFER, **change), 1.0)
    assert isinstance(reject, e.Reject) and reject.status == status
    assert finish == e.Finish()
    assert (flow.story.outcome, flow.phase) == ("rejected", Phase.ENDED)


def test_a_stranger_leaves_nothing() -> None:
    flow = CallFlow(Policy())
    assert flow.handle(replace(OFFER, source_allowed=False), 1.0) == [e.Drop()]
