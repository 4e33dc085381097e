"""Histories of a call: every fact that may come, in every order, and the laws that a bystander checks.

From the INVITE, and again from every station of a call, each fact that there is follows each. Histories that
have led to the same state are walked on from once: the flow is a function of its state, so nothing is lost by
it. `Watch` keeps, beside each state, what a bystander has seen of the call; `advance` checks its laws.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt
from sipagent.call.flow import CallFlow
from sipagent.call.machines import BEGUN, FLAGGED, SAME_PRESS_S, STOPPED, Decision, Story
from sipagent.call.state import Phase, Policy

A, B = "sip:201@127.0.0.1", "sip:202@127.0.0.1"
OFFER = e.CallOffered(
    source_allowed=True, number_known=True, room=True, draining=False, open=True, sampled=True
)
CHOOSING = replace(OFFER, may_choose=True)
SPECIAL = replace(OFFER, messages=tuple((language, "message: flood") for language in ("", "en", "fr")))
CHOICES = (("2", "en"), ("3", "fr"))
UNSURE = e.KeywordHeard(e.Wish.REFUSE, "mot", 0.9, sure=False)
ONE = e.DtmfPressed(CALLER, "1", "info")
STALE = 77  # an operator's leg that was given up


@dataclass(frozen=True)
class Watch:
    """What a bystander has seen. `tap`: none, running, kept or erased; `up`: legs that nobody has ended.

    `offered`: operators whom the board holds for this call, neither dialled nor given back.
    `bridged`: somebody talks with the caller; `silent`: the tap writes silence; `two`: there is no third leg.
    `asks`: legs that have asked for a transfer and have not had the last word about it.
    `notice_heard`: to its end; `essential`: that part of it. `unheard`: it went past the caller, so that it
    was not heard whatever was played.
    `foreign`: the caller's leg is heard, or would be, from an address that neither SDP nor SIP names.
    `doubted`: the caller was unclear before the bridge; forgotten once nothing can be recorded any more.
    `asked`: what may be a refusal is, or will be, asked about.
    """

    refused: bool = False
    doubted: bool = False
    asked: bool = False
    notice_heard: bool = False
    essential: bool = False
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
    yield from offers(flow.policy)
    yield from (
        e.CallConfirmed(telephone_event=True),
        e.MediaArrived(),
        e.MediaFoundElsewhere(CALLER),
        e.MediaFoundElsewhere(operator),
        e.MediaSourceFound(CALLER, own=False),
        e.MediaSourceFound(CALLER, own=True),
        e.MediaSourceFound(operator, own=False),
        e.EssentialHeard(),
        e.DtmfPressed(CALLER, "9", "rfc4733"),
        e.DtmfPressed(CALLER, "9", "inband"),
        ONE,
        e.DtmfPressed(CALLER, "5", "info"),
        e.DtmfPressed(CALLER, "2", "info"),
        *(e.DtmfPressed(operator, digit, "rfc4733") for digit in "*5679"),
        *((e.DtmfPressed(operator, "8", "rfc4733"),) if flow.policy.codes.record else ()),
        e.HearingBegan("tone"),
        e.HearingEnded("tone"),
        e.HearingBegan("speech"),
        e.ListeningEnded(),
        e.OperatorOffered(A),
        e.OperatorOffered(B),
        e.NoOperatorFree(),
        *((e.NoOperatorFree(1), e.NoOperatorFree(11)) if flow.policy.say_position else ()),
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
    if flow.policy.say_position:
        yield from (
            e.PromptEnded(said, 1000, complete=True) for said in (Prompt.POSITION_1, Prompt.POSITION_MORE)
        )
    if flow.policy.detailed:
        yield e.DtmfPressed(CALLER, "3", "info")
    for prompt in ("choose", "message", "notice", "details", "welcome", "refused", "confirm", "unavailable"):
        yield e.PromptEnded(Prompt(prompt), 1000, complete=True)
    yield e.PromptEnded(Prompt.NOTICE, 300, complete=False)
    if flow.policy.transfer_targets:
        yield from transfer_facts(flow, operator)
    if flow.policy.refer_targets:
        yield from (e.ReferAnswered(CALLER, status) for status in (202, 405))
        yield from (e.ReferNotified(CALLER, status) for status in (180, 200, 486))


@cache
def offers(policy: Policy) -> tuple[e.Fact, ...]:
    """Every INVITE: as it should be, refused for each reason there is, with a message, with a choice."""
    offer = offered(policy, OFFER)
    choosing = ((True, ()), (False, ()), (True, SPECIAL.messages)) if policy.choices else ()
    return (
        offer,
        *(
            replace(offer, **{name: False})
            for name in ("sampled", "open", "source_allowed", "room", "number_known")
        ),
        replace(offer, draining=True),
        replace(offer, messages=SPECIAL.messages),
        *(
            replace(offer, may_choose=True, sampled=sampled, messages=messages)
            for sampled, messages in choosing
        ),
    )


def offered(policy: Policy, fact: e.Fact) -> Any:
    """An INVITE where the operator begins a recording, if there is a code for it."""
    if isinstance(fact, e.CallOffered) and policy.codes.record:
        return replace(fact, operator_begins=True)
    return fact


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
    ringing = tuple((one.uri, one.sign, one.reached, round(one.gives_up_at - now, 3)) for one in hunt.ringing)
    return (
        flow.phase, flow.consent.decision, timers, presses, flow.hours_open, flow.candidate,
        flow.own_sound,
        flow.chooses, bool(flow.messages), flow.message_heard,
        flow.media_arrived, flow.telephone_event, flow.playing, flow.notice_heard,
        flow.notice_began is None, flow.wants_details, flow.details_told,
        flow.unclear, flow.asks_about_this, flow.language, flow.late_speech,
        flow.hearing, flow.held,
        round(max(0.0, flow.late_until - now), 3), hunt.dialled > 0, hunt.tried, ringing,
        hunt.operator and (hunt.operator.audible, hunt.operator.sign),
        talk and (talk.tapping, talk.captured, talk.paused, tuple(talk._held.items()), talk._music_to),
        talk and (talk._alone, talk.rests), tuple(sorted(flow.changed_keys)),
        flow.typed.leg if flow.typed.digits.endswith("*") else None,
        flow.told_refused, flow.referred, round(max(0.0, flow.refer_until - now), 3),
        flow.place, flow.told_place,
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
    watch = notice_seen(flow, watch, fact)
    watch = legs_seen(flow, watch, fact)
    commands = flow.handle(fact, now)
    for command in commands:
        watch = obey(flow, watch, command)
    if any(isinstance(command, e.Speak) for command in commands):
        assert before is Phase.CHOICE, "a language that changes later"
        told = {command.prompt for command in commands if isinstance(command, e.Play)}
        assert told & {Prompt.MESSAGE, Prompt.NOTICE, Prompt.WELCOME} or CALLER in flow.held, (
            "who chooses is told nothing"
        )
    decision = flow.consent.decision
    if fact == UNSURE and before is not Phase.ENDED and decision is not Decision.REFUSED:
        watch = replace(watch, asked=True)
    who_may_type(fact, commands, was_open, decision)
    if flow.operator_begins and any(isinstance(command, e.StartTap) for command in commands):
        asks = isinstance(fact, e.DtmfPressed) and fact.digit == "8" and fact.leg != CALLER
        assert asks and decision is Decision.ALLOWED, "recorded before the operator asked for it"
    written = [one.what for one in flow.story.happenings[talked:] if one.what in CODES_SAY]
    assert not written or any(isinstance(one, e.PlayTone) for one in commands), "a code unheard"
    assert was_open is not Decision.REFUSED or decision is Decision.REFUSED, "a refusal was undone"
    watch = may_keep(flow, watch)
    if flow.phase not in (Phase.ENDING, Phase.ENDED):
        rests = flow.conversation is not None and flow.conversation.rests
        assert (watch.indicated != "off") is (watch.tap == "running" and not rests), (
            "devices are told otherwise"
        )
        assert not rests or watch.silent, "what an operator has stopped goes on"
        waits = watch.tap == "running" and not watch.bridged
        assert not waits or watch.silent, "who waits is recorded"
    assert not (watch.two and len(watch.up) > 2), "a third leg where there is none"
    if before is Phase.DETAILS and flow.phase is Phase.WINDOW:
        assert flow.deadline == now + flow.policy.window_s, "no whole window after the details"
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


def notice_seen(flow: CallFlow, watch: Watch, fact: e.Fact) -> Watch:
    """What the fact tells a bystander of the notice."""
    plays = flow.phase is Phase.NOTICE and flow.playing is Prompt.NOTICE
    match fact:
        case e.PromptEnded(Prompt.NOTICE, complete=complete) if plays:
            return replace(watch, notice_heard=complete, essential=watch.essential or complete)
        case e.EssentialHeard() if plays:
            return replace(watch, essential=True)
        case e.MediaFoundElsewhere(leg) if leg == CALLER and (watch.essential or plays):
            return replace(watch, unheard=flow.phase is not Phase.ENDED)
    return watch


def may_keep(flow: CallFlow, watch: Watch) -> Watch:
    """What is recorded, or may come to be, is so by the caller's own will."""
    decision, kept = flow.consent.decision, watch.tap in ("running", "kept")
    assert not (watch.refused and kept), "a refusal erased nothing"
    assert not (watch.asked and (kept or decision is Decision.ALLOWED)), "a refusal was not asked about"
    assert not watch.refused or decision is Decision.REFUSED, "a refusal that does not refuse"
    assert not (watch.unheard and kept), "recorded without a notice"
    if decision is Decision.ALLOWED or kept:
        silent = flow.consent.by == "silence"
        assert watch.notice_heard if silent else watch.essential, "allowed without the notice"
    if watch.foreign:
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
    *("paused", "resumed", FLAGGED, STOPPED, BEGUN),
    *(f"{order} code, and nothing is recorded" for order in ("stop", "pause", "record")),
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
        assert fact.digit in "5678" or not commands, "a key that is no code does something"


def obey(flow: CallFlow, watch: Watch, command: e.Command) -> Watch:  # noqa: PLR0911, PLR0912 - one law a command
    match command:
        case e.Speak(language):
            assert not watch.language, "a second language"
            assert not watch.refused and not watch.essential
            return replace(watch, language=language)
        case e.Play(_, Prompt.NOTICE):
            assert not watch.refused, "a notice after a refusal"
            return watch
        case e.Play(_, Prompt.MESSAGE):
            assert flow.notice_began is None, "a message in place of the notice, or behind it"
            return watch
        case e.StartTap():
            assert watch.essential, "a tap without a notice that was heard"
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
Played = Sequence[e.Fact | float]
CONFIRMED = e.CallConfirmed(telephone_event=True)
HEARD = e.PromptEnded(Prompt.NOTICE, 1000, complete=True)
CHOICE: History = [CHOOSING, CONFIRMED, e.MediaArrived()]
MESSAGE: History = [SPECIAL, CONFIRMED, e.MediaArrived()]
WINDOW: History = [OFFER, CONFIRMED, e.MediaArrived(), HEARD]
HUNT: History = [*WINDOW, e.TimePassed()]
RINGING: History = [*HUNT, e.OperatorOffered(A)]
ANSWERED: History = [*RINGING, e.OperatorAnswered(1, telephone_event=True)]
BRIDGED: History = [*ANSWERED, e.MediaArrived(1)]
STATIONS: dict[str, History] = {
    "invite": [],
    "choice": CHOICE,
    "message": MESSAGE,
    "notice": WINDOW[:3],
    "chosen": [*CHOICE, e.DtmfPressed(CALLER, "2", "info")],
    "essential": [*WINDOW[:3], e.EssentialHeard()],
    "details": [*WINDOW, e.DtmfPressed(CALLER, "3", "info")],
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


def run(policy: Policy, history: Played) -> tuple[CallFlow, Watch, float]:
    """A call from its INVITE on: a fact every second; a number says how much later the next one comes."""
    flow, watch, now, gap_s = CallFlow(policy), Watch(), 100.0, 1.0
    for fact in history:
        if isinstance(fact, float):
            gap_s = fact
        else:
            watch, now = advance(flow, watch, offered(policy, fact), now + gap_s)
            gap_s = 1.0
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
