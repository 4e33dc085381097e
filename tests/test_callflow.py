"""The call flow: its laws over all histories, and a table of examples for what no law says.

Histories are six facts deep (`tests.histories`), five where several phones may ring by then; two less in the
quick tier. A row of a table is a history and what is so at its end; its last fact has brought `only` these
commands, or these among others (`does`), and `never` one of these kinds. The laws hold in the tables, too.
"""

import itertools
from dataclasses import replace
from typing import Any

import pytest

from sipagent.call import events as e
from sipagent.call.events import (
    CALLER,
    CHOICE_S,
    HASTE_S,
    LATE_S,
    PLEASE_HOLD_S,
    REACH_S,
    REFER_ANSWER_S,
    RETRY_S,
    ROOM_S,
    SOUND_S,
    SURE_S,
    Prompt,
    Sign,
    Tone,
)
from sipagent.call.flow import CallFlow
from sipagent.call.machines import (
    CODE_GAP_S,
    ERASED,
    FLAGGED,
    MOST_SILENCES,
    MOST_TIMES,
    STOPPED,
    Codes,
    Decision,
)
from sipagent.call.state import Phase, Policy
from tests import tiers
from tests.histories import (
    ANSWERED,
    BRIDGED,
    CHOICE,
    CHOICES,
    CHOOSING,
    HEARD,
    HUNT,
    MESSAGE,
    OFFER,
    ONE,
    RINGING,
    SPECIAL,
    STATIONS,
    UNSURE,
    WINDOW,
    A,
    B,
    History,
    Played,
    Watch,
    advance,
    facts,
    run,
    walk,
)

C = "sip:203@127.0.0.1"
UNDECIDED, ALLOWED, NOT_ALLOWED, REFUSED = Decision
TIME, UNREAD = e.TimePassed(), e.TimePassed(late_s=3.0)
NINE = e.DtmfPressed(CALLER, "9", "rfc4733")
UNCLEAR = e.KeywordHeard(e.Wish.UNCLEAR, "refuser", 0.5)
YES = e.KeywordHeard(e.Wish.ACCEPT, "oui", 0.9)
NO = e.KeywordHeard(e.Wish.REFUSE, "je refuse", 0.9)
SPEAKS, SILENT = e.HearingBegan("speech"), e.HearingEnded("speech")
ON_HOLD = e.LegHeld(CALLER, sends=False)
gone = e.LegGone
LEAVES, HEARD_OUT = gone(CALLER, 200), e.ListeningEnded()
OFFERED_A, OFFERED_B = e.OperatorOffered(A), e.OperatorOffered(B)
ASKS = e.TransferAsked(1, B)
NOTICE = WINDOW[:3]
ESSENTIAL: History = [*NOTICE, e.EssentialHeard()]
BEFORE: History = [OFFER, *CHOICE[1:]]  # the notice
ASKS_FOR_YES = frozenset({("", e.Wish.ACCEPT)})


def key(digit: str, leg: int = CALLER, method: e.Method = "rfc4733") -> e.DtmfPressed:
    return e.DtmfPressed(leg, digit, method)


def typed(keys: str, leg: int = 1, method: e.Method = "rfc4733") -> History:
    return [key(digit, leg, method) for digit in keys]


def picks_up(leg: int, telephone_event: bool = True) -> History:
    return [e.OperatorAnswered(leg, telephone_event), e.MediaArrived(leg)]


AT_ONCE: Played = [
    part for fact in (OFFERED_A, *picks_up(1)) for part in (0.0, fact)
]  # rung, and answered, in the moment of the decision


def ended(prompt: Prompt, ms: int = 900) -> e.PromptEnded:
    return e.PromptEnded(prompt, ms, complete=True)


# --- the tables ---


def told(flow: CallFlow, watch: Watch, now: float) -> dict[str, Any]:
    """What can be said of a call now, by the names that rows use; `line`: the last of its receipt."""
    consent, story = flow.consent, flow.story
    return {
        "phase": flow.phase, "plays": flow.playing, "decision": consent.decision, "by": consent.by,
        "within": consent.phase, "method": consent.method, "words": consent.keyword, "tap": watch.tap,
        "silent": watch.silent, "bridged": watch.bridged, "operator": story.operator,
        "outcome": story.outcome, "line": story.happenings[-1].what if story.happenings else "",
        "wakes_s": None if flow.deadline is None else round(flow.deadline - now, 3),
        "spare": flow.spare_legs, "flagged": story.flagged, "only": flow.commands,
    }  # fmt: skip


def case(name: str, policy: Policy, history: Played, **expected: Any) -> Any:
    return pytest.param(policy, history, expected, id=name)


def table(*rows: Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("policy", "history", "expected"), rows)


def check(policy: Policy, history: Played, expected: dict[str, Any]) -> None:
    flow, watch, now = run(policy, history)
    does, never = expected.pop("does", []), expected.pop("never", ())
    assert not [one for one in does if one not in flow.commands], flow.commands
    assert not [one for one in flow.commands if isinstance(one, never)]
    saw = told(flow, watch, now)
    assert {name: saw[name] for name in expected} == expected


# --- laws ---

RULES = {
    "objection": Policy(voice=True),
    "opt_in": Policy(voice=True, opt_in=True, promised=ASKS_FOR_YES),
    "simultaneous": Policy(
        voice=True, in_call_voice=True, simultaneous=True, promised=frozenset({("", e.Wish.REFUSE)})
    ),
    "the operator begins": Policy(voice=True, stop_erases=False, codes=Codes(record="*8")),
}
STATIONS["begun"] = [*BRIDGED, *typed("*8")]
BEGINS = (
    "bridge",
    "begun",
    "ending",
    "answered",
    "refused",
)  # what comes before is as where the bridge begins it
NARROW = ("invite", "choice", "bridge", "paused", "ending")  # from which few phones, or none, come to ring
RINGS = ("hunt", "second round", "two ring", "answered", "refused")
DEPTH, BROAD_DEPTH = tiers.depth(4, 6), tiers.depth(3, 5)


def test_every_fact_there_is_may_come() -> None:
    """What is missing in `facts` is in none of the histories."""
    flow = CallFlow(Policy(transfer_targets=(B,), refer_targets=(A,)))
    known = {one for one in vars(e).values() if isinstance(one, type) and issubclass(one, e.Fact)}
    assert {type(fact) for fact in facts(flow)} == known - {e.Fact, e.LegFact}


@pytest.mark.parametrize(
    "station, rules",
    [
        (s, r)
        for s in STATIONS
        for r in RULES
        if {"simultaneous": s in RINGS, "the operator begins": s in BEGINS}.get(r, s != "begun")
    ],
)
def test_all_histories(station: str, rules: str) -> None:
    choices = CHOICES if station in ("invite", "choice", "chosen") else ()
    depth = DEPTH if station in NARROW else BROAD_DEPTH
    policy = replace(RULES[rules], choices=choices)
    if station == "hunt" and rules == "objection":
        policy = replace(policy, say_position=True)
    if station in ("notice", "details"):
        policy = replace(policy, detailed=frozenset({""}))
    steps, phases, taps = walk(policy, STATIONS[station], depth)
    assert steps > 10 and Phase.ENDED in phases
    if station == ("begun" if rules == "the operator begins" else "bridge") and rules != "opt_in":
        assert taps == {"running", "kept", "erased"}  # the walk has been where it matters


MINE = Policy(voice=True, transfer_targets=(A, B, C))
AWAY = Policy(refer_targets=(B, C))
TRANSFER: History = [*BRIDGED, ASKS]
SQUEEZED: History = [*BRIDGED, e.TransferAsked(1, B, room=False)]
GIVER_GONE: History = [*TRANSFER, gone(1, 200)]
AGAIN: History = [*GIVER_GONE, gone(2, 486), gone(3, 486)]
TAKEN: History = [*TRANSFER, e.OperatorAnswered(2, telephone_event=False)]
HELD: History = [*BRIDGED, e.LegHeld(1, sends=False), ASKS]
WAYS: dict[str, History] = {
    "ringing": TRANSFER,
    "no third leg": SQUEEZED,
    "giver gone": GIVER_GONE,
    "giver rung again": AGAIN[:-1],
    "hunting again": AGAIN,
    "answered": TAKEN,
    "arrived": [*TAKEN, e.MediaArrived(2)],
    "held by the giver": HELD,
}
NOT_DRAWN: History = [replace(OFFER, sampled=False), *WINDOW[1:3]]
LEAVING: History = [*NOT_DRAWN, ended(Prompt.WELCOME)]
REFUSES: History = [*WINDOW, NINE]
PLACED = Policy(say_position=True)
THIRD: History = [*HUNT, e.NoOperatorFree(3), ended(Prompt.POSITION_3)]


@pytest.mark.parametrize("way", WAYS)
def test_all_histories_of_a_transfer(way: str) -> None:
    """No tap where one may not be, none that hears who waits, no leg left over, no silence, no third leg."""
    _, phases, taps = walk(MINE, WAYS[way], tiers.depth(3, 4))
    assert {Phase.ENDED, Phase.BRIDGED} <= phases and taps == {"running", "kept", "erased"}


@pytest.mark.parametrize("way", ["giver gone", "hunting again"])
def test_all_histories_of_a_transfer_where_several_phones_ring(way: str) -> None:
    policy = replace(MINE, simultaneous=True, refer_targets=(B,))
    assert walk(policy, WAYS[way], tiers.depth(3, 4))[2] == {"running", "kept", "erased"}


@pytest.mark.parametrize("began", [LEAVING, REFUSES, [OFFER]], ids=["not drawn", "refused", "INVITE"])
def test_all_histories_of_a_call_that_leaves(began: History) -> None:
    _, phases, taps = walk(AWAY, began, tiers.depth(4, 5))
    assert Phase.ENDED in phases and taps == {"none"}


STEPS: dict[str, History] = {
    "stop": typed("*5"),
    "pause": typed("*6"),
    "flag": typed("*7"),
    "refuse": [NINE],
    "hold": [ON_HOLD],
    "resume": [e.LegResumed(CALLER)],
    "tap fails": [e.TapFailed("disk full")],
}


def expected_of(steps: tuple[str, ...], erases: bool) -> tuple[list[Tone], list[str], str]:
    """Tones, lines and what the tap is, by rules written down a second time."""
    tones, lines = [], []
    tap, paused, refused = "running", False, False
    for step in steps:
        if step == "flag":
            lines.append(FLAGGED)
            tones.append(Tone.RECORDING_OFF if tap == "erased" else Tone.FLAGGED)
        elif step == "pause" and tap == "running":
            paused = not paused
            lines.append("paused" if paused else "resumed")
            tones.append(Tone.PAUSED if paused else Tone.RESUMED)
        elif step == "stop" and (tap == "running" or (tap == "kept" and erases)):
            tap = "erased" if erases else "kept"
            lines.append(STOPPED)
            tones.append(Tone.RECORDING_OFF)
        elif step in ("stop", "pause"):
            lines.append(f"{step} code, and nothing is recorded")
            tones.append(Tone.RECORDING_OFF)
        elif step == "refuse" and not refused:
            tones.append(Tone.RECORDING_OFF)
            tap, refused = "erased", True
        elif step == "tap fails" and tap == "running":
            tap = "kept"
            tones.append(Tone.RECORDING_OFF)
    return tones, lines, tap


@pytest.mark.parametrize("erases", [True, False])
def test_every_order_of_codes_refusals_holds_and_faults(erases: bool) -> None:
    """A code is one step here, so that histories hold several: what is heard, written down and kept."""
    policy = Policy(stop_erases=erases)
    for steps in itertools.product(STEPS, repeat=tiers.depth(4, 5)):
        flow, watch, now = run(policy, BRIDGED)
        written = len(flow.story.happenings)
        tones: list[Tone] = []
        for fact in (fact for step in steps for fact in STEPS[step]):
            watch, now = advance(flow, watch, fact, now + 0.5)
            tones += [one.tone for one in flow.commands if isinstance(one, e.PlayTone)]
        lines = [one.what for one in flow.story.happenings[written:] if one.by == "operator"]
        lines = [line for line in lines if not line.startswith("decision")]
        assert (tones, lines, watch.tap) == expected_of(steps, erases), steps


# --- from the INVITE to the decision ---

CHOOSES = Policy(choices=CHOICES)
ASKED: History = [*CHOICE, ended(Prompt.CHOOSE)]
TWO, THREE = key("2"), key("3")
DETAILED = Policy(voice=True, detailed=frozenset({""}), choices=(("2", "en"),))
TOLD: History = [*WINDOW, THREE]
LATE: History = [*WINDOW, TIME, 0.2, SPEAKS]  # type: ignore[list-item]
VOICE, OPT_IN = Policy(voice=True), Policy(voice=True, opt_in=True)


@table(
    case("the stranger", Policy(), [replace(OFFER, source_allowed=False)], only=[e.Drop()]),
    *(
        case(f"{status}", Policy(), [offer], does=[e.Reject(status, again), e.Finish()], outcome="rejected",
             phase=Phase.ENDED)
        for status, again, offer in (
            (503, 10, replace(OFFER, room=False)), (503, 10, replace(OFFER, draining=True)),
            (404, None, replace(OFFER, number_known=False)),
        )
    ),
    # --- a language by key ---
    case("a key, while it is asked", CHOOSES, [*CHOICE, TWO], phase=Phase.NOTICE, line="language: en",
         only=[e.Speak("en"), e.Play(CALLER, Prompt.NOTICE)], decision=UNDECIDED, wakes_s=None),
    case("a key, after that", CHOOSES, [*ASKED, TWO], does=[e.Speak("en")]),
    case("a second key is too late", CHOOSES, [*CHOICE, TWO, key("3")], only=[]),
    case("time for it", CHOOSES, ASKED, wakes_s=CHOICE_S, phase=Phase.CHOICE),
    case("other keys are none, also the one that accepts", CHOOSES, [*ASKED, *typed("15*", CALLER)], only=[]),
    case("without a key the default", CHOOSES, [*ASKED, key("1"), TIME], only=[e.Play(CALLER, Prompt.NOTICE)],
         decision=UNDECIDED),
    case("a tone that began in time", CHOOSES, [*ASKED, e.HearingBegan("tone"), TIME, key("2",
         method="inband")], does=[e.Speak("en")]),
    case("a tone that came to nothing", CHOOSES, [*ASKED, e.HearingBegan("tone"), TIME,
         e.HearingEnded("tone")], phase=Phase.NOTICE),
    case("a tone without end", CHOOSES, [*ASKED, e.HearingBegan("tone"), TIME, TIME], phase=Phase.NOTICE),
    *(
        case(f"who refuses needs no notice: {how}", CHOOSES, [*CHOICE, how], decision=REFUSED,
             only=[e.Play(CALLER, Prompt.REFUSED), e.SeekOperator(())], within="choice")
        for how in (NINE, NO)
    ),
    case("no way round the notice: not drawn", CHOOSES, [replace(CHOOSING, sampled=False), *CHOICE[1:], TWO],
         does=[e.Play(CALLER, Prompt.WELCOME)], decision=NOT_ALLOWED),
    case("no way round the notice: on hold", CHOOSES, [*CHOICE, ON_HOLD, TWO],
         does=[e.Play(CALLER, Prompt.HOLD_MUSIC)], decision=NOT_ALLOWED),
    case("a number that has its language", CHOOSES, BEFORE, phase=Phase.NOTICE, plays=Prompt.NOTICE),
    case("on hold since the INVITE", Policy(), [OFFER, ON_HOLD, *CHOICE[1:]], decision=NOT_ALLOWED,
         by="notice_failed", plays=Prompt.HOLD_MUSIC),
    case("a device that asks for no recording in its INVITE", Policy(),
         [OFFER, e.RecordingDeclined(CALLER), *CHOICE[1:]], plays=Prompt.REFUSED, decision=REFUSED),
    # --- a message of today comes before the notice, and never in its place ---
    case("the message", Policy(), MESSAGE, plays=Prompt.MESSAGE, phase=Phase.MESSAGE, wakes_s=None),
    case("then the notice", Policy(), [*MESSAGE, ended(Prompt.MESSAGE)], plays=Prompt.NOTICE,
         decision=UNDECIDED, line="message: flood"),
    case("also where the message failed, which the receipt does not have", Policy(),
         [*MESSAGE, e.PromptEnded(Prompt.MESSAGE, 300, complete=False)], plays=Prompt.NOTICE, line=""),
    case("in the chosen language", CHOOSES, [replace(SPECIAL, may_choose=True), *CHOICE[1:], TWO],
         only=[e.Speak("en"), e.Play(CALLER, Prompt.MESSAGE)]),
    *(
        case(f"who refuses during it has refused: {how}", Policy(voice=True), [*MESSAGE, how],
             decision=REFUSED, within="notice", plays=Prompt.REFUSED)
        for how in (NINE, key("9", method="inband"), NO, e.RecordingDeclined(CALLER))
    ),
    case("nothing can be accepted during it", DETAILED,
         [*MESSAGE, ONE, YES, THREE, e.EssentialHeard(), key("1"), ended(Prompt.MESSAGE)],
         only=[e.Play(CALLER, Prompt.NOTICE)], decision=UNDECIDED),
    case("who is on hold at its end has no notice", Policy(), [*MESSAGE, ON_HOLD, ended(Prompt.MESSAGE)],
         decision=NOT_ALLOWED, by="notice_failed"),
    case("nor has who is on hold heard it", Policy(), [*MESSAGE, ON_HOLD, ended(Prompt.MESSAGE)],
         line="decision: not_allowed (notice_failed)"),
    case("unclear speech during it is asked about", VOICE, [*MESSAGE, UNCLEAR, ended(Prompt.MESSAGE), HEARD],
         plays=Prompt.CONFIRM),
    case("who is not drawn hears it, too", Policy(),
         [replace(SPECIAL, sampled=False), *MESSAGE[1:], ended(Prompt.MESSAGE)], plays=Prompt.WELCOME),
    case("and whose device refuses", Policy(), [SPECIAL, e.RecordingDeclined(CALLER), *MESSAGE[1:]],
         plays=Prompt.MESSAGE),
    case("who then hears no notice", Policy(),
         [SPECIAL, e.RecordingDeclined(CALLER), *MESSAGE[1:], ended(Prompt.MESSAGE)], plays=Prompt.REFUSED),
    case("closed today", Policy(), [replace(SPECIAL, open=False, closed="closed today"), *MESSAGE[1:]],
         plays=Prompt.CLOSED, line="closed today"),
    case("outside the hours", CHOOSES, [replace(CHOOSING, open=False), *CHOICE[1:]], plays=Prompt.CLOSED),
    *(
        case(f"our sound went past them: {when}", Policy(), [*history, e.MediaFoundElsewhere(CALLER)],
             decision=NOT_ALLOWED, by="notice_failed", phase=phase, tap=tap)
        for when, history, phase, tap in (
            ("in the window", WINDOW, Phase.HUNT, "none"), ("once it was allowed", HUNT, Phase.HUNT, "none"),
            ("and recorded", BRIDGED, Phase.BRIDGED, "erased"),
        )
    ),
    case("who gives up has not been connected", Policy(), [*HUNT, LEAVES, HEARD_OUT], outcome="abandoned"),
    # --- keys ---
    case("a key before the window closes", Policy(), [*WINDOW, 4.95, NINE], decision=REFUSED,
         within="window", method="rfc4733"),
    case("a key of the window's, at the bridge", Policy(), [*HUNT, *AT_ONCE], does=[e.Bridge(1)], never=(),
         tap="running"),
    case("that key, heard a moment later", Policy(), [*HUNT, *AT_ONCE, 0.2, key("9", method="inband")],
         does=[e.StopTap(keep=False)], tap="erased"),
    case("who hangs up before it could be heard", Policy(), [*HUNT, *AT_ONCE, 0.0, LEAVES, 0.0, HEARD_OUT],
         tap="erased", decision=NOT_ALLOWED),
    case("so, also on the way to another", MINE, [*HUNT, *AT_ONCE, 0.0, ASKS, 0.0, gone(1, 200), 0.0, gone(2,
         486), 0.0, gone(3, 486), 0.0, LEAVES, 0.0, HEARD_OUT], tap="erased", decision=NOT_ALLOWED),
    *(
        case(f"{mode}: {how} before the essential part does nothing", policy, [*NOTICE, said, HEARD],
             decision=UNDECIDED, phase=Phase.WINDOW)
        for mode, policy in (("objection", VOICE), ("opt-in", replace(OPT_IN, promised=ASKS_FOR_YES)))
        for how, said in (("a key", ONE), ("a yes", YES))
    ),
    *(
        case(f"{mode}: a key after that goes on at once", policy, [*ESSENTIAL, 0.4, ONE], decision=ALLOWED,
             by="dtmf", within="notice", only=[e.Play(CALLER, Prompt.HOLD_MUSIC), e.SeekOperator(())])
        for mode, policy in (("objection", Policy()), ("opt-in", OPT_IN))
    ),
    case("it ends the window, too", Policy(), [*WINDOW, ONE], decision=ALLOWED, by="dtmf", within="window",
         only=[e.Play(CALLER, Prompt.HOLD_MUSIC), e.SeekOperator(())]),
    case("and is recorded", Policy(), [*ESSENTIAL, ONE, *AT_ONCE], tap="running"),
    # --- details of the notice, by key ---
    case("asked for during the notice, they follow it", DETAILED, [*NOTICE, THREE, THREE, HEARD],
         phase=Phase.DETAILS, only=[e.Play(CALLER, Prompt.DETAILS)], line="details of the notice"),
    case("the notice plays on", DETAILED, [*NOTICE, THREE], only=[], phase=Phase.NOTICE),
    case("asked for in the window, they come at once", DETAILED, [*WINDOW, THREE], phase=Phase.DETAILS,
         only=[e.Play(CALLER, Prompt.DETAILS)], wakes_s=None, decision=UNDECIDED),
    case("a whole window follows", DETAILED, [*TOLD, ended(Prompt.DETAILS)], phase=Phase.WINDOW,
         wakes_s=DETAILED.window_s),
    case("and silence then is silence", DETAILED, [*TOLD, ended(Prompt.DETAILS), TIME], decision=ALLOWED,
         by="silence"),
    case("each window begins with a sign", VOICE, [*WINDOW, UNCLEAR, ended(Prompt.CONFIRM)],
         only=[e.PlayTone(Tone.YOUR_TURN)]),
    case("asked for while they play", DETAILED, [*TOLD, 0.5, THREE], only=[], phase=Phase.DETAILS),
    case("once more", DETAILED, [*TOLD, ended(Prompt.DETAILS), THREE], phase=Phase.DETAILS),
    case("not a third time", DETAILED, [*TOLD, ended(Prompt.DETAILS), THREE, ended(Prompt.DETAILS), THREE],
         phase=Phase.WINDOW, only=[]),
    *(
        case(f"{how} during them counts at once", DETAILED, [*TOLD, said], decision=decision, by=by,
             within="window", phase=Phase.HUNT)
        for how, said, decision, by in (
            ("a refusal", NINE, REFUSED, "dtmf"), ("a word", NO, REFUSED, "voice"),
            ("an acceptance", ONE, ALLOWED, "dtmf"),
        )
    ),
    case("doubt during them is asked about", DETAILED, [*TOLD, UNCLEAR, ended(Prompt.DETAILS)],
         plays=Prompt.CONFIRM),
    case("before an answer that is asked about", DETAILED, [*NOTICE, THREE, UNCLEAR, HEARD],
         plays=Prompt.CONFIRM),
    case("the sound went elsewhere during them", DETAILED, [*TOLD, e.MediaFoundElsewhere(CALLER)],
         decision=NOT_ALLOWED, by="notice_failed", phase=Phase.HUNT),
    case("cut short, a window follows all the same", DETAILED,
         [*TOLD, e.PromptEnded(Prompt.DETAILS, 9, complete=False)], phase=Phase.WINDOW),
    case("without details the key is none", Policy(), [*WINDOW, THREE], only=[]),
    case("so in a language without them", DETAILED, [*CHOICE, TWO, HEARD, THREE], only=[]),
    case("and the key of a language stays what it is", CHOOSES, [*CHOICE, THREE], does=[e.Speak("fr")]),
    case("not where the sound went elsewhere", Policy(), [*ESSENTIAL, ONE, e.MediaFoundElsewhere(CALLER)],
         decision=NOT_ALLOWED, by="notice_failed"),
    case("nor after a hold", Policy(), [*NOTICE, ON_HOLD, e.EssentialHeard(), ONE], decision=NOT_ALLOWED,
         by="notice_failed"),
    case("silence needs the whole", Policy(), [*ESSENTIAL, replace(HEARD, complete=False), TIME],
         decision=NOT_ALLOWED, by="notice_failed"),
    case("a welcome has no such part", Policy(), [*NOT_DRAWN, e.EssentialHeard(), ONE], decision=NOT_ALLOWED,
         phase=Phase.NOTICE),
    case("opt-in: silence does not", OPT_IN, HUNT, decision=NOT_ALLOWED, by="silence"),
    # --- words ---
    case("speech extends the window", VOICE, [*WINDOW, SPEAKS, TIME], phase=Phase.WINDOW),
    case("to its verdict", VOICE, [*WINDOW, SPEAKS, TIME, NO], decision=REFUSED, words="je refuse"),
    case("without one nothing is allowed", VOICE, [*WINDOW, SPEAKS, TIME, TIME], decision=NOT_ALLOWED,
         by="unclear", phase=Phase.HUNT),
    case("unclear is asked about, and there is time for it", VOICE, [*WINDOW, UNCLEAR, ended(Prompt.CONFIRM)],
         plays=None, wakes_s=VOICE.window_s, phase=Phase.CONFIRM),
    case("unclear is asked about once, and silence then refuses", VOICE,
         [*WINDOW, UNCLEAR, ended(Prompt.CONFIRM), TIME], decision=REFUSED, by="unclear"),
    *(
        case(f"unclear in the notice: {name}", OPT_IN, [*NOTICE, *said, HEARD],
             plays=Prompt.CONFIRM if asked else Prompt.HOLD_MUSIC)
        for name, said, asked in (
            ("asked after it", [UNCLEAR], True), ("a key before it was none", [ONE, UNCLEAR], True),
            ("a key after it, once it is heard, is one", [UNCLEAR, e.EssentialHeard(), ONE], False),
            ("a word is not", [UNCLEAR, e.EssentialHeard(), YES], True),
        )
    ),
    case("unclear before the notice", CHOOSES, [*CHOICE, UNCLEAR, TWO, HEARD], plays=Prompt.CONFIRM),
    case("a yes that no notice promises", OPT_IN, [*WINDOW, YES], phase=Phase.WINDOW, decision=UNDECIDED),
    case("one that it does", replace(OPT_IN, promised=ASKS_FOR_YES), [*ESSENTIAL, YES], by="voice",
         decision=ALLOWED, words="oui"),
    # --- a refusal that is not sure, and that no notice promises ---
    case("it waits to become sure", VOICE, [*WINDOW, UNSURE], phase=Phase.WINDOW, plays=None, wakes_s=SURE_S),
    case("asked, silence", VOICE, [*WINDOW, UNSURE, TIME, ended(Prompt.CONFIRM), TIME], by="unclear",
         decision=REFUSED),
    case("asked, a key", VOICE, [*WINDOW, UNSURE, TIME, ended(Prompt.CONFIRM), ONE], by="dtmf",
         decision=ALLOWED),
    case("a key before the question", VOICE, [*WINDOW, UNSURE, 0.1, ONE, TIME, ended(Prompt.CONFIRM), TIME],
         decision=REFUSED, by="unclear"),
    case("it has become sure", VOICE, [*WINDOW, UNSURE, 0.1, NO], decision=REFUSED, by="voice"),
    case("asked at once by the next word", VOICE, [*WINDOW, UNSURE, 0.1, UNCLEAR, 0.1, ONE], by="dtmf",
         decision=ALLOWED),
    case("the end of the same sentence", VOICE, [*WINDOW, UNSURE, TIME, 0.1, UNSURE], by=None,
         decision=UNDECIDED),
    case("said again", VOICE, [*WINDOW, UNSURE, TIME, 0.1, SPEAKS, 0.1, UNSURE], decision=REFUSED,
         by="voice"),
    case("while operators are rung nobody is asked", VOICE, [*HUNT, 0.1, UNSURE], decision=REFUSED,
         by="voice"),
    # --- words that began before the bridge ---
    case("begun in the window, unclear after it", VOICE, [*LATE, 0.4, UNCLEAR], decision=NOT_ALLOWED,
         by="unclear", tap="none"),
    case("and after the bridge", VOICE, [*LATE, *AT_ONCE, 0.4, UNCLEAR], tap="erased", decision=NOT_ALLOWED,
         by="unclear"),
    case("while operators ring", VOICE, [*HUNT, 8.0, SPEAKS, 0.4, UNCLEAR], decision=NOT_ALLOWED,
         by="unclear", words="refuser"),
    case("undoes no key", VOICE, [*WINDOW, ONE, 9.0, UNCLEAR], decision=ALLOWED, by="dtmf"),
    case("heard to its end at the bridge", VOICE, [*HUNT, 8.0, SPEAKS, OFFERED_A, picks_up(1)[0], 0.0,
         picks_up(1)[1]], tap="running", only=[e.StopPlaying(CALLER), e.Bridge(1), e.Listen(1, tones=False,
         voice=False), e.StartTap(A), e.PlayTone(Tone.RECORDING_ON), e.Indicate("on")]),
    case("and counts", VOICE, [*HUNT, 8.0, SPEAKS, OFFERED_A, *picks_up(1), 0.9, UNCLEAR],
         tap="erased", decision=NOT_ALLOWED),
    case("not what began after it", VOICE, [*HUNT, SPEAKS, SILENT, OFFERED_A, *picks_up(1), UNCLEAR],
         tap="running", decision=ALLOWED),
)  # fmt: skip
def test_up_to_the_decision(policy: Policy, history: Played, expected: dict[str, Any]) -> None:
    check(policy, history, expected)


@pytest.mark.parametrize("opt_in", [False, True])
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize(
    ("said", "decision", "by", "words"),
    [
        (ONE, ALLOWED, "dtmf", None),
        (YES, REFUSED, "unclear", "refuser"),  # asked for a key: no word is one
        (UNCLEAR, REFUSED, "unclear", "refuser"),
        (NO, REFUSED, "voice", "je refuse"),
        (NINE, REFUSED, "dtmf", None),
        (ON_HOLD, REFUSED, "unclear", "refuser"),
    ],
)
def test_who_is_asked_once_more_answers_by_a_key_or_is_not_recorded(  # noqa: PLR0917
    opt_in: bool, heard: bool, said: e.Fact, decision: Decision, by: str, words: str | None
) -> None:
    both = [ended(Prompt.CONFIRM), said] if heard else [said, ended(Prompt.CONFIRM)]
    policy = replace(VOICE, opt_in=opt_in)
    history: Played = [*WINDOW, UNCLEAR, both[0], 0.5, both[1]]
    if run(policy, history)[0].phase is Phase.CONFIRM:
        history = [*history, 60.0, TIME]
    check(policy, history, {"decision": decision, "by": by, "words": words, "within": "window"})


@pytest.mark.parametrize("promised", [False, True])
@pytest.mark.parametrize(
    "history",
    [
        *([replace(OFFER, language="fr"), *WINDOW[1:upto]] for upto in (3, 4)),
        [*CHOICE, key("3")],  # which chooses that language
    ],
)
def test_what_the_notice_promises_in_its_language_refuses_at_once(history: History, promised: bool) -> None:
    policy = replace(VOICE, promised=frozenset({("fr", e.Wish.REFUSE)} if promised else ()), choices=CHOICES)
    assert run(policy, [*history, UNSURE])[0].consent.refused is promised


@pytest.mark.parametrize("station", ["notice", "window", "confirm", "hunt", "bridge", "paused", "ending"])
def test_a_callers_device_may_refuse_at_any_time(station: str) -> None:
    flow, watch, _ = run(VOICE, [*STATIONS[station], e.RecordingDeclined(CALLER)])
    assert (flow.consent.decision, flow.consent.by) == (REFUSED, "sip")
    assert watch.tap in ("none", "erased")
    assert flow.story.happenings[-1 if watch.tap == "none" else -2].by == "caller"


# --- the hunt ---

TOGETHER = Policy(simultaneous=True)
BOTH: History = [*RINGING, OFFERED_B]
FARE: History = [OFFERED_A, *picks_up(1)]


SAYS_NO: tuple[tuple[int, e.DialProblem], ...] = (
    (486, "busy"), (403, "refused"), (480, "unreachable"), (603, "declined"), (503, "unreachable"),
)  # fmt: skip


def listens(leg: int, tones: bool) -> e.Listen:
    return e.Listen(leg, tones=tones, voice=False)


@table(
    case("the first answer wins", TOGETHER, [*BOTH, picks_up(2)[0]], only=[e.HangUp(1, elsewhere=True)]),
    case("and is bridged", TOGETHER, [*BOTH, *picks_up(2)], does=[e.Bridge(2)], operator=B),
    case("the other's end is no news", TOGETHER, [*BOTH, *picks_up(2), gone(1, 487)], only=[]),
    case("of two at once one is kept", TOGETHER, [*BOTH, picks_up(1)[0], picks_up(2)[0]], only=[e.HangUp(2)]),
    case("and the other not heard", TOGETHER, [*BOTH, picks_up(1)[0], *picks_up(2)], only=[]),
    case("nor is it taken later", TOGETHER, [*BOTH, picks_up(1)[0], *picks_up(2), e.MediaArrived(1)],
         does=[e.Bridge(1)]),
    case("an answer told twice", Policy(), [*ANSWERED, picks_up(1)[0]], only=[]),
    case("time for sound", Policy(), ANSWERED, wakes_s=SOUND_S),
    case("one that answers and vanishes", Policy(), [*ANSWERED, TIME], plays=Prompt.HOLD_MUSIC, operator=None,
         only=[e.HangUp(1), e.ReportOperator(A, "silent"), e.SeekOperator((A,))], tap="none"),
    case("is left for the next", Policy(), [*ANSWERED, TIME, OFFERED_B, *picks_up(2)], operator=B,
         phase=Phase.BRIDGED),
    case("one on hold is silent by choice", Policy(), [*RINGING, e.LegHeld(1, sends=False), picks_up(1)[0]],
         bridged=True),
    case("also once it has answered", Policy(), [*ANSWERED, e.LegHeld(1, sends=False)], does=[e.Bridge(1)]),
    case("nothing answers for it", Policy(ring_s=15), [*RINGING, TIME], line=f"{A}: unreachable",
         only=[e.HangUp(1), e.ReportOperator(A, "unreachable"), e.SeekOperator((A,))]),
    case("as long as its answer may lie here unread", Policy(ring_s=15), [*RINGING, UNREAD], only=[],
         wakes_s=UNREAD.late_s),
    case("and no longer", Policy(ring_s=15), [*RINGING, UNREAD, TIME], only=[e.HangUp(1),
         e.ReportOperator(A, "unreachable"), e.SeekOperator((A,))]),
    case("its sound may, too", Policy(), [*ANSWERED, UNREAD], only=[], wakes_s=UNREAD.late_s),
    case("and is heard then", Policy(), [*ANSWERED, UNREAD, e.MediaArrived(1)], does=[e.Bridge(1)]),
    case("who waits does not wait longer for that", Policy(max_wait_s=5), [*HUNT, UNREAD, UNREAD],
         plays=Prompt.UNAVAILABLE),
    case("it rings to its end", Policy(ring_s=15), [*RINGING, e.OperatorReached(1), TIME],
         line=f"{A}: no answer", only=[e.HangUp(1), e.ReportOperator(A, "no_answer"), e.SeekOperator((A,))]),
    case("and that is ring_s", Policy(ring_s=15), [*RINGING, e.OperatorReached(1)], wakes_s=14.0),
    *(
        case(f"it refuses: {status}", Policy(), [*RINGING, gone(1, status)],
             only=[e.ReportOperator(A, why, status), e.SeekOperator((A,))])
        for status, why in SAYS_NO[:3]
    ),
    case("hung up before being heard", Policy(), [*ANSWERED, gone(1, 200)], only=[e.SeekOperator((A,))]),
    case("who becomes free while others ring", TOGETHER, [*RINGING, e.OperatorReached(1), TIME],
         only=[e.SeekOperator(())]),
    case("is rung too", TOGETHER, [*RINGING, e.OperatorReached(1), TIME, e.OperatorFree()],
         only=[e.SeekOperator(())]),
    case("beside them", TOGETHER, [*RINGING, e.OperatorReached(1), TIME, OFFERED_B],
         only=[e.DialOperator(2, B, Sign.REC)]),
    *(
        case(f"who waits as number {place} hears so", PLACED, [*HUNT, e.NoOperatorFree(place)],
             only=[e.Play(CALLER, said)], wakes_s=RETRY_S)
        for place, said in ((3, Prompt.POSITION_3), (10, Prompt.POSITION_10), (11, Prompt.POSITION_MORE))
    ),
    case("not while it is confirmed that a refusal counts", PLACED, [*REFUSES, e.NoOperatorFree(3)], only=[]),
    case("not more often than anybody is asked to hold", PLACED, [*THIRD, 1.0, e.NoOperatorFree(2)], only=[]),
    case("again when it has changed", PLACED, [*THIRD, e.NoOperatorFree(2), PLEASE_HOLD_S - 1, TIME],
         does=[e.Play(CALLER, Prompt.POSITION_2)]),
    case("else please hold", PLACED, [*THIRD, e.NoOperatorFree(3), PLEASE_HOLD_S - 1, TIME],
         does=[e.Play(CALLER, Prompt.PLEASE_HOLD)]),
    case("not once a phone rings", PLACED, [*THIRD, OFFERED_A, PLEASE_HOLD_S - 1, TIME],
         never=(e.Reject,), plays=Prompt.PLEASE_HOLD),
    case("where it is not to be said, nobody does", Policy(), [*HUNT, e.NoOperatorFree(3)], only=[]),
    case("nobody is free: asked again", Policy(), [*HUNT, e.NoOperatorFree()], wakes_s=RETRY_S),
    case("or as soon as somebody is", Policy(), [*HUNT, e.NoOperatorFree(), e.OperatorFree()],
         only=[e.SeekOperator(())]),
    case("not once a phone rings", Policy(), [*HUNT, e.NoOperatorFree(), OFFERED_A, e.OperatorFree()],
         only=[]),
    *(
        case(f"offered too late: {station}", Policy(), [*STATIONS[station], OFFERED_B],
             only=[e.DeclineOperator(B)])
        for station in ("answered", "bridge", "ending")
    ),
    case("an answer that crosses the end", TOGETHER, [*BOTH, *picks_up(2), LEAVES, picks_up(1)[0]],
         only=[e.HangUp(1)], phase=Phase.ENDING),
    case("an answer that crosses the farewell", Policy(max_wait_s=3.0), [*RINGING, TIME, picks_up(1)[0]],
         only=[e.HangUp(1)], phase=Phase.FAREWELL),
    case("a leg for another caller", TOGETHER, [*BOTH, e.LegWanted()], only=[e.HangUp(2)]),
    case("but never the only one", TOGETHER, [*BOTH, e.LegWanted(), e.LegWanted()], only=[]),
    case("showed REC", Policy(), [*ANSWERED, NINE, e.MediaArrived(1), ended(Prompt.REFUSED)], bridged=True,
         does=[e.Bridge(1), e.PlayTone(Tone.RECORDING_OFF)]),
    case("a refusing caller hears the prompt first", Policy(), [*RINGING, NINE, *picks_up(1)], bridged=False),
    case("showed NO REC", OPT_IN, [*HUNT, *FARE], does=[e.Bridge(1)], never=e.PlayTone),
)  # fmt: skip
def test_the_hunt(policy: Policy, history: Played, expected: dict[str, Any]) -> None:
    check(policy, history, expected)


def wakes(flow: CallFlow, now: float) -> tuple[list[e.Command], float]:
    """What the flow does when it is woken next, and when that is."""
    assert flow.deadline is not None
    now = max(now, flow.deadline)
    return flow.handle(TIME, now), now


def test_the_wait_goes_on_where_it_was_when_a_phone_vanishes() -> None:
    flow, _, now = run(Policy(max_wait_s=60), HUNT)
    ends = flow.timers["max_wait"]
    for fact, after_s in ((OFFERED_A, 0), (picks_up(1)[0], 2), (gone(1, 200), 3)):
        flow.handle(fact, now + after_s)
    assert (flow.timers["max_wait"], flow.timers["please_hold"]) == (ends, now + 3 + PLEASE_HOLD_S)


def test_phones_that_ring_together_are_given_up_each_in_its_time() -> None:
    flow, _, now = run(TOGETHER, RINGING)
    flow.handle(OFFERED_B, now + 1)
    flow.handle(e.OperatorReached(2), now + 1)
    given_up: list[tuple[float, int]] = []
    then = now
    while len(given_up) < 2:
        commands, then = wakes(flow, then)
        given_up += [(then - now, c.leg) for c in commands if isinstance(c, e.HangUp)]
    assert given_up == [(REACH_S, 1), (1 + TOGETHER.ring_s, 2)]


def test_nobody_who_waits_is_left_without_a_word_for_long() -> None:
    """Music, and "please hold" every 20 s, until the wait is over; operators are asked for in rounds."""
    flow, _, now = run(Policy(max_wait_s=65), HUNT)
    began, said, asked = now, [], []
    flow.handle(OFFERED_A, now)
    while flow.phase is Phase.HUNT:
        commands, now = wakes(flow, now)
        for command in commands:
            match command:
                case e.SeekOperator(tried):
                    asked.append(tried)
                    flow.handle(OFFERED_B if len(tried) == 1 else e.NoOperatorFree(), now)
                case e.Play(_, Prompt.PLEASE_HOLD):
                    said.append(now - began)
                    flow.handle(ended(Prompt.PLEASE_HOLD), now + 2)
                    assert flow.playing is Prompt.HOLD_MUSIC
    assert (said, asked[:3]) == ([20, 40, 60], [(A,), (A, B), ()])
    assert (now - began, flow.playing, flow.story.outcome) == (65, Prompt.UNAVAILABLE, "unavailable")


# --- the conversation ---

KEEPS = Policy(stop_erases=False)
BY_CODE = Policy(codes=Codes(record="*8"), transfer_targets=(B,))
RESTS = replace(KEEPS, codes=Codes(record="*8"), transfer_targets=(B,))
BEGUN: History = [*BRIDGED, *typed("*8")]
ALOUD = Policy(voice=True, in_call_voice=True)
FLICKER: History = [ON_HOLD, e.LegResumed(CALLER)]
FLICKER *= MOST_SILENCES
HEARD_LATE: Played = [*BRIDGED, LATE_S, TIME]
NO_NOTICE: History = [*LEAVING, *FARE]


@table(
    *(
        case(f"a refusal erases whatever was typed: {keys}, {how}", VOICE, [*BRIDGED, *typed(keys), how],
             decision=REFUSED, tap="erased", line=ERASED)
        for keys in ("*6", "*7*6", "")
        for how in (NINE, e.RecordingDeclined(CALLER), NO)
    ),
    case("a stop erases what a fault had left", Policy(), [*BRIDGED, e.TapFailed("disk full"), *typed("*5")],
         tap="erased", line=ERASED, decision=NOT_ALLOWED),  # the line is what a recovery goes by
    case("what was kept goes where a refusal could be missed", KEEPS,
         [*BRIDGED, *typed("*5"), e.HearingFailed("fell behind")], tap="erased", decision=NOT_ALLOWED),
    case("an operator's device decides nothing", Policy(), [*BRIDGED, e.RecordingDeclined(1)], only=[],
         decision=ALLOWED),
    case("nor does a key of his", OPT_IN, [*HUNT, *FARE, *typed("19")], decision=NOT_ALLOWED),
    *(
        case(f"refused where nothing is recorded: {method}", Policy(), [*NO_NOTICE, key("9", method=method)],
             only=[e.PlayTone(Tone.RECORDING_OFF)], decision=REFUSED, tap="none")
        for method in ("rfc4733", "info", "inband")
    ),
    case("which is told once", Policy(), [*NO_NOTICE, NINE, NINE], only=[]),
    *(
        case(f"the caller types no code: {keys}", Policy(), [*BRIDGED, *typed(keys, CALLER)], only=[],
             tap="running", line="recording started")
        for keys in ("*5", "*6", "*7")
    ),
    *(
        case(f"a code that began before the bridge, {gap_s} s", Policy(),
             [*ANSWERED, *typed("*"), 0.01, e.MediaArrived(1), gap_s - 0.01, *typed("6")], silent=paused)
        for gap_s, paused in ((CODE_GAP_S, True), (CODE_GAP_S + 0.1, False))
    ),
    case("one that ended before it", Policy(), [*ANSWERED, *typed("*5*7"), e.MediaArrived(1)], tap="running",
         flagged=False),
    *(
        case(f"a code heard in two ways is one, {gap_s} s", Policy(), [*BRIDGED, *typed("*"), 0.04,
             *typed("6"), gap_s, *typed("*", method="info"), 0.04, *typed("6", method="info")], silent=True)
        for gap_s in (0.0, 0.16)
    ),
    # --- the operator begins it ---
    case("the phone says that it may be", BY_CODE, RINGING, does=[e.DialOperator(1, A, Sign.MAY_REC)]),
    case("nothing before the code", BY_CODE, BRIDGED, never=e.PlayTone, tap="none",
         line="the operator may begin the recording"),
    case("then the tap and its tone", BY_CODE, BEGUN, tap="running", line="recording started",
         only=[e.StartTap(A), e.PlayTone(Tone.RECORDING_ON), e.Indicate("on")]),
    case("within a hold it is silent", BY_CODE, [*BRIDGED, ON_HOLD, *typed("*8")], tap="running",
         silent=True),
    case("a second code only tells", BY_CODE, [*BEGUN, *typed("*8")], only=[e.PlayTone(Tone.RECORDING_ON)]),
    case("also that it is paused", BY_CODE, [*BEGUN, *typed("*6*8")], only=[e.PlayTone(Tone.PAUSED)],
         silent=True),
    *(
        case(f"dead: {name}", policy, [*history, *typed("*8")], tap=tap,
             only=[e.PlayTone(Tone.RECORDING_OFF)], line="record code, and nothing is recorded")
        for name, policy, history, tap in (
            ("a refusal", BY_CODE, [*BRIDGED, NINE], "none"),
            ("a refusal while it runs", BY_CODE, [*BEGUN, NINE], "erased"),
            ("a stop that erases", BY_CODE, [*BEGUN, *typed("*5")], "erased"),
            ("a fault of the tap", BY_CODE, [*BEGUN, e.TapFailed("disk full")], "kept"),
            ("a doubt", BY_CODE, [*BRIDGED, e.HearingFailed("detector")], "none"),
            ("a notice that failed", BY_CODE, NO_NOTICE, "none"),
            ("silenced too often", BY_CODE, [*BEGUN, *FLICKER], "kept"),
        )
    ),
    case("one that only stopped", RESTS, [*BEGUN, *typed("*5")], tap="running", silent=True, decision=ALLOWED,
         only=[e.SilenceTap(on=True), e.PlayTone(Tone.RECORDING_OFF), e.Indicate("off")]),
    case("goes on", RESTS, [*BEGUN, *typed("*5*8")], tap="running", silent=False, line="recording goes on",
         only=[e.SilenceTap(on=False), e.PlayTone(Tone.RECORDING_ON), e.Indicate("on")]),
    case("no pause ends it", RESTS, [*BEGUN, *typed("*5*6")], only=[e.PlayTone(Tone.RECORDING_OFF)],
         silent=True),
    case("a refusal erases it", RESTS, [*BEGUN, *typed("*5"), NINE], tap="erased", decision=REFUSED),
    case("who takes over may go on", RESTS, [*BEGUN, *typed("*5"), ASKS],
         does=[e.DialOperator(2, B, Sign.MAY_REC)]),
    case("who takes over is recorded", BY_CODE, [*BEGUN, ASKS, *picks_up(2)], tap="running",
         does=[e.PlayTone(Tone.RECORDING_ON)]),
    case("who takes over may begin", BY_CODE, [*BRIDGED, ASKS, *picks_up(2), *typed("*8", 2)], tap="running"),
    case("no code where the bridge begins it", Policy(), [*BRIDGED, *typed("*8")], only=[]),
    # --- how it is listened ---
    case("the last sounds were heard out", Policy(), HEARD_LATE, never=e.Listen),
    case("a caller whose new device sends no events", Policy(), [*HEARD_LATE, e.KeysNegotiated(CALLER,
         False)], only=[listens(CALLER, True)]),
    case("and one that does", Policy(), [*HEARD_LATE, e.KeysNegotiated(CALLER, True)],
         only=[listens(CALLER, False)]),
    case("what is not over goes on", Policy(), [*HUNT, *AT_ONCE, 0.1, e.KeysNegotiated(CALLER, False)],
         only=[]),
    case("and ends with its own time", Policy(), [*HUNT, *AT_ONCE, 0.1, e.KeysNegotiated(CALLER, False),
         TIME], only=[listens(CALLER, True)]),
    case("an operator's phone without events", Policy(), [*BRIDGED, e.KeysNegotiated(1, False)],
         only=[listens(1, True)]),
    case("no operator's", Policy(), [*BRIDGED, e.KeysNegotiated(7, False)], only=[]),
    case("a phone that changes while it transfers", MINE,
         [*TRANSFER, e.KeysNegotiated(1, False), gone(2, 486)], does=[e.Bridge(1), listens(1, True)]),
    # --- words that erase ---
    case("listened for where something is recorded", ALOUD, BRIDGED,
         does=[e.Listen(CALLER, tones=False, voice=True, in_call=True)]),
    case("they do", ALOUD, [*BRIDGED, NO], does=[e.StopTap(keep=False)], within="call", words="je refuse"),
    case("the first refusal ends it", ALOUD, [*BRIDGED, NINE],
         does=[e.StopTap(keep=False), listens(CALLER, False)]),
    case("unclear words change nothing", ALOUD, [*BRIDGED, UNCLEAR, YES], tap="running", decision=ALLOWED),
    case("not where nothing is", ALOUD, [*NOTICE, NINE, ended(Prompt.REFUSED), *FARE], bridged=True,
         does=[listens(CALLER, False)]),
    # --- holds ---
    case("a hold within a pause", Policy(), [*STATIONS["paused"], ON_HOLD], never=e.SilenceTap),
    case("and its end", Policy(), [*STATIONS["paused"], ON_HOLD, e.LegResumed(CALLER)], silent=True),
    case("music for the other side", Policy(), [*BRIDGED, ON_HOLD], does=[e.Play(1, Prompt.HOLD_MUSIC)]),
    case("not where the holder sends some", Policy(), [*BRIDGED, e.LegHeld(1, sends=True)], never=e.Play),
    case("silenced without end", Policy(), [*BRIDGED, *FLICKER], tap="kept", decision=ALLOWED),
    case("a refusal still erases it", Policy(), [*BRIDGED, *FLICKER, NINE], tap="erased"),
)  # fmt: skip
def test_the_conversation(policy: Policy, history: Played, expected: dict[str, Any]) -> None:
    check(policy, history, expected)


def test_devices_are_told_of_each_change_once() -> None:
    flow, watch, now = run(Policy(), RINGING)
    told: list[str] = []
    history: History = [
        *picks_up(1),
        e.LegHeld(1, sends=False),
        e.LegResumed(1),
        *typed("*6*6*6*5"),
        NINE,
    ]  # fmt: skip - a hold is silent, but it goes on
    for fact in history:
        watch, now = advance(flow, watch, fact, now + 1)
        told += [one.recording for one in flow.commands if isinstance(one, e.Indicate)]
    assert told == ["on", "paused", "on", "paused", "off"]


@pytest.mark.parametrize(
    "again", [[e.TransferDenied(1)], [e.TransferDenied(CALLER)], [e.LegHeld(1, sends=True), e.LegResumed(1)]]
)
def test_a_phone_that_repeats_itself_does_not_fill_the_receipt(again: History) -> None:
    flow, _, now = run(MINE, BRIDGED)
    before = len(flow.story.happenings)
    for fact in again * 500:
        flow.handle(fact, now)
    assert len(flow.story.happenings) - before <= len(again) * MOST_TIMES + 1
    for fact in (LEAVES, HEARD_OUT):
        flow.handle(fact, now)
    lines = [line.what for line in flow.story.happenings]
    assert sum(line.endswith(f": {500 - MOST_TIMES} times more") for line in lines) == len(again)


# --- from operator to operator, and away ---

REPLACES = "90a@pbx;to-tag=7;from-tag=8"
RINGS_AGAIN = e.DialOperator(3, A, Sign.REC)
NO_LONGER: History = [*BRIDGED, e.TransferAsked(1, B, free=False)]
BACK: History = [*TRANSFER, gone(2, 486)]


def lasts(*history: e.Fact) -> Played:
    waits: History = [TIME, e.NoOperatorFree()]
    return [*history, *waits * 80]


@table(
    case("it begins", MINE, [*BRIDGED, e.TransferAsked(1, B, REPLACES)],
         only=[e.Separate(1), e.SilenceTap(on=True), e.Play(CALLER, Prompt.HOLD_MUSIC),
               e.TellTransfer(1, 100, last=False), e.DialOperator(2, B, Sign.REC, replaces=REPLACES)]),
    case("the other answers", MINE, TAKEN, only=[], wakes_s=SOUND_S, plays=Prompt.HOLD_MUSIC),
    case("and is heard", MINE, [*TRANSFER, *picks_up(2)], operator=B, line=f"bridged with {B}",
         only=[e.TellTransfer(1, 200, last=True), e.HangUp(1), e.StopPlaying(CALLER), e.Bridge(2),
               e.AllowTransfer(2, (A, C)), listens(2, False), e.SilenceTap(on=False),
               e.PlayTone(Tone.RECORDING_ON)]),
    *(
        case(f"it fails: {status}", MINE, [*TRANSFER, gone(2, status)], phase=Phase.BRIDGED, operator=A,
             does=[e.TellTransfer(1, status, last=True), e.Bridge(1), e.SilenceTap(on=False),
                   e.AllowTransfer(1, (B, C)), e.ReportOperator(B, why, status)])
        for status, why in SAYS_NO
        if status != 480
    ),
    case("nothing answers for it", MINE, TRANSFER, wakes_s=REACH_S),
    case("or its answer lies here unread", MINE, [*TRANSFER, UNREAD], only=[], wakes_s=UNREAD.late_s),
    case("nor then", MINE, [*TRANSFER, TIME], phase=Phase.BRIDGED,
         does=[e.HangUp(2), e.TellTransfer(1, 480, last=True), e.ReportOperator(B, "unreachable")]),
    case("it rings", MINE, [*TRANSFER, e.OperatorReached(2)], wakes_s=MINE.ring_s - 1),
    case("to its end", MINE, [*TRANSFER, e.OperatorReached(2), TIME], phase=Phase.BRIDGED,
         does=[e.HangUp(2), e.TellTransfer(1, 480, last=True), e.ReportOperator(B, "no_answer")]),
    case("and its late answer", MINE, [*TRANSFER, e.OperatorReached(2), TIME, picks_up(2)[0]],
         only=[e.HangUp(2)]),
    case("a late 180 gives it no more time", MINE, [*TAKEN, e.OperatorReached(2)], only=[],
         wakes_s=SOUND_S - 1),
    case("it answers and sends nothing", MINE, [*TAKEN, TIME], line=f"bridged with {A}",
         does=[e.HangUp(2), e.TellTransfer(1, 480, last=True), e.ReportOperator(B, "silent"), e.Bridge(1)]),
    case("on hold it is silent by choice", MINE, [*TRANSFER, e.LegHeld(2, sends=False), picks_up(2)[0]],
         does=[e.Bridge(2)]),
    case("in either order", MINE, [*TAKEN, e.LegHeld(2, sends=False)], does=[e.Bridge(2)]),
    case("it answers and hangs up", MINE, [*TAKEN, gone(2, 200)], operator=A,
         does=[e.TellTransfer(1, 480, last=True), e.Bridge(1)]),
    case("so, and the giver is gone", MINE, [*TAKEN, gone(1, 200), gone(2, 200)], does=[RINGS_AGAIN],
         never=e.TellTransfer),
    case("no third leg", MINE, SQUEEZED, does=[e.TellTransfer(1, 100, last=True), e.HangUp(1)],
         wakes_s=ROOM_S, spare=0),
    case("then there is", MINE, [*SQUEEZED, 0.1, gone(1, 200)], only=[e.DialOperator(2, B, Sign.REC)]),
    case("it is not waited for", MINE, [*SQUEEZED, TIME], does=[e.DialOperator(2, B, Sign.REC)]),
    case("the giver is rung again", MINE, [*SQUEEZED, 0.1, gone(1, 200), gone(2, 486)],
         only=[RINGS_AGAIN, e.ReportOperator(B, "busy", 486)]),
    case("and answers", MINE, [*SQUEEZED, 0.1, gone(1, 200), gone(2, 486), *picks_up(3)], operator=A,
         does=[e.Bridge(3)]),
    case("who rang out makes room first", MINE, [*GIVER_GONE, TIME], only=[e.HangUp(2)], wakes_s=ROOM_S),
    case("and is not waited for either", MINE, [*GIVER_GONE, TIME, TIME], does=[RINGS_AGAIN]),
    case("asked for once more meanwhile", MINE, [*TRANSFER, e.TransferAsked(1, C)],
         only=[e.TellTransfer(1, 603, last=True), e.DeclineOperator(C)]),
    case("for the giver", MINE, [*GIVER_GONE, TIME, gone(2, 487)],
         only=[RINGS_AGAIN, e.ReportOperator(B, "unreachable")]),
    case("the giver is away, too", MINE, AGAIN, phase=Phase.HUNT, tap="running", silent=True),
    case("everybody is rung", MINE, [*AGAIN, e.OperatorOffered(C), *picks_up(4)], operator=C, bridged=True,
         tap="running", silent=False),
    case("and it is kept", MINE, [*AGAIN, e.OperatorOffered(C), *picks_up(4), LEAVES, HEARD_OUT], tap="kept",
         outcome="connected"),
    case("nobody is left", MINE, [*lasts(*AGAIN, e.NoOperatorFree())], tap="running", phase=Phase.FAREWELL),
    case("a 9 in the farewell", MINE, [*lasts(*AGAIN, e.NoOperatorFree()), NINE], tap="erased", within="call",
         decision=REFUSED),
    case("without one it is kept", MINE, [*lasts(*AGAIN, e.NoOperatorFree()), ended(Prompt.UNAVAILABLE),
         HEARD_OUT], tap="kept", outcome="connected"),
    *(
        case(f"a refusal on the way: {way}", MINE, [*WAYS[way], NINE], tap="erased", decision=REFUSED)
        for way in ("ringing", "no third leg", "giver rung again", "hunting again")
    ),
    case("a busy target changes nothing", MINE, NO_LONGER, phase=Phase.BRIDGED,
         only=[e.TellTransfer(1, 486, last=True), e.AllowTransfer(1, (B, C))]),
    *(
        case(f"{name} {when}", MINE, [*history, after_s, gone(1, status)], phase=phase)
        for name, history in (("busy for us, hung up", NO_LONGER), ("busy, hung up", BACK))
        for when, after_s, status, phase in (
            ("at once", 0.2, 200, Phase.TRANSFER), ("later", HASTE_S, 200, Phase.ENDING),
            ("never said a word", 32.0, 408, Phase.TRANSFER), ("knew nothing of it", 32.0, 481,
            Phase.TRANSFER),
        )
    ),
    case("no transfer, no word", MINE, [*BRIDGED, 32.0, gone(1, 408)], does=[e.HangUp(CALLER)]),
    case("its caller hears music", MINE, [*BACK, 0.2, gone(1, 200)], plays=Prompt.HOLD_MUSIC, silent=True),
    case("and comes back", MINE, [*BACK, 0.2, gone(1, 200), *picks_up(3)], operator=A, silent=False),
    case("a pause goes along", MINE, [*STATIONS["paused"], ASKS, *picks_up(2)], silent=True,
         does=[e.PlayTone(Tone.PAUSED)], never=e.SilenceTap),
    case("the giver's hold ends with the giver", MINE, [*HELD, *picks_up(2)], silent=False),
    case("and goes on where it fails", MINE, [*HELD, gone(2, 486)], silent=True,
         does=[e.Play(CALLER, Prompt.HOLD_MUSIC)]),
    case("the giver types no code", MINE, [*TRANSFER, *typed("*5*7")], tap="running", flagged=False),
    case("the colleague does", MINE, [*TRANSFER, picks_up(2)[0], *typed("*", 2), e.MediaArrived(2),
         *typed("5", 2)], tap="erased"),
    case("no REC once it has stopped", replace(MINE, stop_erases=False), [*BRIDGED, *typed("*5"),
         *AGAIN[len(BRIDGED):], OFFERED_B], only=[e.DialOperator(4, B, Sign.NO_REC)]),
    case("the giver's leg is another caller's", MINE, TRANSFER, spare=1),
    case("it is given up", MINE, [*TRANSFER, e.LegWanted()], spare=0,
         only=[e.TellTransfer(1, 100, last=True), e.HangUp(1)]),
    case("once", MINE, [*TRANSFER, e.LegWanted(), e.LegWanted()], only=[]),
    case("and rung again", MINE, [*TRANSFER, e.LegWanted(), gone(1, 200), gone(2, 486)],
         only=[RINGS_AGAIN, e.ReportOperator(B, "busy", 486)]),
    case("asked for in vain", MINE, [*BRIDGED, e.TransferDenied(CALLER)], line="transfer refused with 403"),
    case("without targets nobody may", Policy(), ANSWERED, never=e.AllowTransfer),
    # --- away ---
    case("not recorded: it leaves", AWAY, LEAVING, phase=Phase.REFER, plays=Prompt.HOLD_MUSIC,
         wakes_s=REFER_ANSWER_S),
    case("how it goes", AWAY, [*LEAVING, e.ReferAnswered(CALLER, 202), e.ReferNotified(CALLER, 180)],
         only=[]),
    case("it is taken", AWAY, [*LEAVING, e.ReferAnswered(CALLER, 202), e.ReferNotified(CALLER, 200)],
         only=[e.HangUp(CALLER), e.Finish()], outcome="transferred", operator=B),
    case("it may be recorded: it stays", AWAY, HUNT, phase=Phase.HUNT),
    case("refused: the prompt first", AWAY, REFUSES, phase=Phase.REFER, plays=Prompt.REFUSED),
    case("then it leaves", AWAY, [*REFUSES, ended(Prompt.REFUSED)],
         only=[e.Play(CALLER, Prompt.HOLD_MUSIC), e.Refer(CALLER, B)]),
    case("and hears it no second time", AWAY, [*REFUSES, ended(Prompt.REFUSED), e.ReferAnswered(CALLER, 405)],
         does=[e.Play(CALLER, Prompt.HOLD_MUSIC)]),
    case("the next target", AWAY, [*LEAVING, e.ReferNotified(CALLER, 486)], only=[e.Refer(CALLER, C)]),
    case("and then the bridge", AWAY, [*LEAVING, e.ReferNotified(CALLER, 486), e.ReferNotified(CALLER, 603)],
         does=[e.GiveUpRefer(CALLER), e.SeekOperator(())], phase=Phase.HUNT),
    *(
        case(f"the trunk refuses: {status}", AWAY, [*LEAVING, e.ReferAnswered(CALLER, status)],
             does=[e.SeekOperator(())], phase=Phase.HUNT)
        for status in (405, 501, 603, 0)
    ),
    case("it has ring_s once accepted", replace(AWAY, ring_s=60.0), [*LEAVING, e.ReferAnswered(CALLER, 202)],
         wakes_s=59.0),
    case("no more word of it", AWAY, [*LEAVING, e.ReferAnswered(CALLER, 202), TIME],
         does=[e.SeekOperator(())]),
    case("a late success", AWAY, [*LEAVING, e.ReferAnswered(CALLER, 405), OFFERED_A, e.ReferNotified(CALLER,
         200)], only=[e.HangUp(1), e.HangUp(CALLER), e.Finish()], outcome="transferred"),
    case("given up on the way", AWAY, [*LEAVING, e.ReferAnswered(CALLER, 202), LEAVES], outcome="abandoned"),
)  # fmt: skip
def test_transfers(policy: Policy, history: Played, expected: dict[str, Any]) -> None:
    check(policy, history, expected)


def test_all_who_have_talked_are_known() -> None:
    flow, *_ = run(MINE, [*TRANSFER, *picks_up(2)])
    assert (flow.story.talked, flow.story.several) == (frozenset({A, B}), (A, B))
    assert [(line.what, line.by) for line in flow.story.happenings[-3:]] == [
        (f"transfer to {B}", "operator"),
        (f"ringing {B}", "agent"),
        (f"bridged with {B}", "operator"),
    ]
