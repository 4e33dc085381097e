"""The operator's codes and the caller's refusal, in every order: what is heard, written down, and kept.

The walk of `test_callflow` goes key by key, six deep. Here a code is one step, so that histories hold several
of them, and what each must lead to is worked out a second time, by `expected`.
"""

import itertools
from dataclasses import replace

import pytest

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt, Tone
from sipagent.call.machines import CODE_GAP_S, ERASED, FLAGGED, STOPPED, Decision
from sipagent.call.state import Phase, Policy
from sipagent.call.timing import LATE_S
from tests import tiers
from tests.test_callflow import ANSWERED, BRIDGED, OFFER, STATIONS, A, B, History, Watch, advance, run

KEEPS = Policy(stop_erases=False)
NINE = e.DtmfPressed(CALLER, "9", "rfc4733")


def typed(keys: str, leg: int = 1, method: e.Method = "rfc4733") -> History:
    return [e.DtmfPressed(leg, key, method) for key in keys]


STOP, PAUSE, FLAG = typed("*5"), typed("*6"), typed("*7")
STEPS: dict[str, History] = {
    "stop": STOP,
    "pause": PAUSE,
    "flag": FLAG,
    "refuse": [NINE],
    "hold": [e.LegHeld(CALLER, sends=False)],
    "resume": [e.LegResumed(CALLER)],
    "tap fails": [e.TapFailed("disk full")],
}


def heard(policy: Policy, history: History) -> tuple[list[Tone], list[str], Watch]:
    """Tones, the operator's lines in the receipt, and what a bystander has seen, after the bridge."""
    flow, watch, now = run(policy, BRIDGED)
    written = len(flow.story.happenings)
    tones: list[Tone] = []
    for fact in history:
        watch, now = advance(flow, watch, fact, now + 0.5)
        tones += [one.tone for one in flow.commands if isinstance(one, e.PlayTone)]
    lines = [one.what for one in flow.story.happenings[written:] if one.by == "operator"]
    return tones, [line for line in lines if not line.startswith("decision")], watch


def expected(steps: tuple[str, ...], erases: bool) -> tuple[list[Tone], list[str], str]:
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
    policy = Policy(stop_erases=erases)  # with all laws of `advance`, too
    for steps in itertools.product(STEPS, repeat=tiers.depth(4, 5)):
        tones, lines, watch = heard(policy, [fact for step in steps for fact in STEPS[step]])
        its_tones, its_lines, tap = expected(steps, erases)
        assert tones == its_tones, steps
        assert (lines, watch.tap) == (its_lines, tap), steps


# --- one after the other ---


def test_a_stop_during_a_pause_stops_and_a_pause_after_it_resumes_nothing() -> None:
    tones, lines, watch = heard(Policy(), [*PAUSE, *STOP, *PAUSE])
    assert tones == [Tone.PAUSED, Tone.RECORDING_OFF, Tone.RECORDING_OFF]
    assert lines == ["paused", STOPPED, "pause code, and nothing is recorded"]
    assert (watch.tap, watch.silent) == ("erased", True)


def test_a_stop_that_keeps_keeps_the_pause_in_it() -> None:
    tones, _, watch = heard(KEEPS, [*PAUSE, *STOP, *PAUSE, *STOP])
    assert tones == [Tone.PAUSED, *[Tone.RECORDING_OFF] * 3]
    assert (watch.tap, watch.silent) == ("kept", True)


@pytest.mark.parametrize("before", [PAUSE, FLAG, [*FLAG, *PAUSE]], ids=["paused", "flagged", "both"])
@pytest.mark.parametrize(
    "refusal", [NINE, e.RecordingDeclined(CALLER), e.KeywordHeard(e.Wish.REFUSE, "non", 0.9)]
)
def test_a_refusal_erases_whatever_the_operator_has_typed(before: History, refusal: e.Fact) -> None:
    flow, watch, now = run(Policy(voice=True), [*BRIDGED, *before])
    watch, _ = advance(flow, watch, refusal, now + 1)
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.REFUSED)
    assert flow.story.happenings[-1].what == ERASED


def test_after_a_refusal_no_code_says_that_anything_is_kept() -> None:
    tones, lines, watch = heard(Policy(), [NINE, *FLAG, *PAUSE, *STOP])
    assert (tones, watch.tap) == ([Tone.RECORDING_OFF] * 4, "erased")
    assert lines == [FLAGGED, *(f"{code} code, and nothing is recorded" for code in ("pause", "stop"))]


def test_a_stop_erases_also_what_a_fault_had_left() -> None:
    """Both have heard that it stopped; the operator who types the code wants it gone."""
    flow, watch, _ = run(Policy(), [*BRIDGED, e.TapFailed("disk full"), *STOP])
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.NOT_ALLOWED)
    assert flow.story.happenings[-1].what == ERASED  # which a recovery goes by: the fault had decided before


def test_what_an_operator_kept_goes_where_a_refusal_could_be_missed() -> None:
    flow, watch, now = run(KEEPS, [*BRIDGED, *STOP])
    assert watch.tap == "kept"
    watch, _ = advance(flow, watch, e.HearingFailed("fell behind"), now)
    assert (watch.tap, flow.consent.decision) == ("erased", Decision.NOT_ALLOWED)


@pytest.mark.parametrize("method", ["rfc4733", "info", "inband"])
def test_who_refuses_where_nothing_is_recorded_hears_that_it_is_so(method: e.Method) -> None:
    """Not drawn for recording, say: a key without an answer would leave the caller guessing. Once."""
    not_drawn = [
        replace(OFFER, sampled=False),
        *BRIDGED[1:3],
        e.PromptEnded(Prompt.WELCOME, 900, complete=True),
    ]
    flow, watch, now = run(
        Policy(), [*not_drawn, e.OperatorOffered(A), e.OperatorAnswered(1, True), e.MediaArrived(1)]
    )
    assert flow.phase is Phase.BRIDGED and watch.tap == "none"
    nine = e.DtmfPressed(CALLER, "9", method)
    assert flow.handle(nine, now) == [e.PlayTone(Tone.RECORDING_OFF)]
    assert flow.handle(nine, now + 1) == []
    assert flow.consent.decision is Decision.REFUSED


def test_a_refusal_during_the_farewell_is_one_in_the_call() -> None:
    """The colleague, the giver and everybody else could not be reached: what was recorded goes with a 9."""
    policy = Policy(transfer_targets=(A, B), max_wait_s=30)
    gone: History = [e.LegGone(1, 200), e.LegGone(2, 486), e.LegGone(3, 486), e.NoOperatorFree()]
    flow, watch, now = run(policy, [*BRIDGED, e.TransferAsked(1, B), *gone])
    while flow.phase is Phase.HUNT:
        watch, now = advance(flow, watch, e.TimePassed(), now)
        if flow.phase is Phase.HUNT:
            watch, now = advance(flow, watch, e.NoOperatorFree(), now)
    assert (flow.phase, watch.tap) == (Phase.FAREWELL, "running")
    watch, _ = advance(flow, watch, NINE, now + 0.1)
    assert (watch.tap, flow.consent.decision, flow.consent.phase) == ("erased", Decision.REFUSED, "call")


# --- whose keys, and when ---


@pytest.mark.parametrize("method", ["rfc4733", "info", "inband"])
@pytest.mark.parametrize("code", ["*5", "*6", "*7"])
def test_the_caller_types_no_code(code: str, method: e.Method) -> None:
    tones, lines, watch = heard(Policy(), typed(code, CALLER, method))
    assert (tones, lines, watch.tap) == ([], [], "running")


@pytest.mark.parametrize("station", ["answered", "bridge"])
@pytest.mark.parametrize("digit", ["9", "1"])
def test_the_operator_neither_refuses_nor_consents(station: str, digit: str) -> None:
    policy = Policy(opt_in=True) if digit == "1" else Policy()
    flow, watch, now = run(policy, STATIONS[station])
    before = flow.consent
    watch, _ = advance(flow, watch, e.DtmfPressed(1, digit, "inband"), now)
    assert flow.consent == before


@pytest.mark.parametrize("gap_s, paused", [(CODE_GAP_S, True), (CODE_GAP_S + 0.1, False)])
def test_a_code_may_begin_before_the_bridge(gap_s: float, paused: bool) -> None:
    """A phone that sends nothing while nobody speaks: its first packet is that of the first key."""
    flow, watch, now = run(Policy(), ANSWERED)
    history: History = [*typed("*"), e.MediaArrived(1)]
    for fact in history:
        watch, now = advance(flow, watch, fact, now + 0.01)
    assert flow.phase is Phase.BRIDGED
    advance(flow, watch, e.DtmfPressed(1, "6", "rfc4733"), now - 0.01 + gap_s)
    assert flow.conversation and flow.conversation.paused is paused


def test_a_code_that_ends_before_the_bridge_does_nothing() -> None:
    """There is no recording yet, and nobody who could be told: the tone of the bridge says what is so."""
    flow, watch, now = run(Policy(), [*ANSWERED, *STOP])
    watch, _ = advance(flow, watch, e.MediaArrived(1), now + 0.1)
    assert (watch.tap, flow.story.flagged) == ("running", False)


def test_who_has_given_the_caller_away_types_no_code() -> None:
    policy = Policy(transfer_targets=(A, B))
    flow, watch, now = run(policy, [*BRIDGED, e.TransferAsked(1, B)])
    for fact in [*STOP, *FLAG]:
        watch, now = advance(flow, watch, fact, now + 0.1)
    assert (watch.tap, flow.story.flagged) == ("running", False)
    star, five = typed("*5", leg=2)
    for fact in [e.OperatorAnswered(2, telephone_event=True), star, e.MediaArrived(2), five]:
        watch, now = advance(flow, watch, fact, now + 0.1)
    assert watch.tap == "erased"


def test_a_colleague_is_not_shown_rec_once_the_recording_has_stopped() -> None:
    """Nobody came by transfer, and operators are rung anew: the call may be recorded, and is not."""
    policy = Policy(transfer_targets=(A, B), stop_erases=False)
    gone = [e.LegGone(1, 200), e.LegGone(2, 486), e.LegGone(3, 486)]
    flow, _, now = run(policy, [*BRIDGED, *STOP, e.TransferAsked(1, B), *gone])
    assert flow.phase is Phase.HUNT
    (dial,) = [c for c in flow.handle(e.OperatorOffered(B), now) if isinstance(c, e.DialOperator)]
    assert not dial.recorded


# --- how keys come ---


@pytest.mark.parametrize("gap_s", [0.0, 0.2])
def test_a_code_heard_in_two_ways_is_one(gap_s: float) -> None:
    """Dialled by the phone itself, both keys have come by RFC 4733 before the first comes by INFO."""
    flow, _, now = run(Policy(), BRIDGED)
    for after_s, method in ((0.0, "rfc4733"), (gap_s, "info")):
        for index, key in enumerate("*6"):
            how: e.Method = "info" if method == "info" else "rfc4733"
            flow.handle(e.DtmfPressed(1, key, how), now + 0.04 * index + after_s)
    assert flow.conversation and flow.conversation.paused


def listens(commands: list[e.Command]) -> list[tuple[int, bool]]:
    return [(one.leg, one.tones) for one in commands if isinstance(one, e.Listen)]


def test_a_caller_whose_new_device_sends_no_events_is_listened_to() -> None:
    """Transferred by the trunk, say: a refusal by tone must not be lost."""
    flow, _, now = run(Policy(), BRIDGED)
    assert listens(flow.handle(e.TimePassed(), now + LATE_S)) == []  # the window's last sounds were heard out
    assert listens(flow.handle(e.KeysNegotiated(CALLER, telephone_event=False), now)) == [(CALLER, True)]
    assert listens(flow.handle(e.KeysNegotiated(CALLER, telephone_event=True), now)) == [(CALLER, False)]


def test_listening_that_is_not_over_yet_goes_on() -> None:
    """What began in the window is still being heard out: that ends with its own time."""
    flow, _, now = run(Policy(), ANSWERED)
    flow.late_until = now + LATE_S
    flow.handle(e.MediaArrived(1), now)
    assert listens(flow.handle(e.KeysNegotiated(CALLER, telephone_event=False), now + 0.1)) == []
    assert listens(flow.handle(e.TimePassed(), now + LATE_S)) == [(CALLER, True)]


def test_an_operator_whose_phone_sends_events_no_more_is_listened_to() -> None:
    flow, _, now = run(Policy(), BRIDGED)
    assert listens(flow.handle(e.KeysNegotiated(1, telephone_event=False), now)) == [(1, True)]
    assert listens(flow.handle(e.KeysNegotiated(7, telephone_event=False), now)) == []


def test_a_phone_that_changes_its_keys_while_it_transfers_is_listened_to_when_the_caller_is_back() -> None:
    policy = Policy(transfer_targets=(A, B))
    flow, _, now = run(policy, [*BRIDGED, e.TransferAsked(1, B)])
    assert listens(flow.handle(e.KeysNegotiated(1, telephone_event=False), now)) == []
    back = flow.handle(e.LegGone(2, 486), now)
    assert e.Bridge(1) in back and listens(back) == [(1, True)]
