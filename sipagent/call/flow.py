"""The decisions about a call. Start reading here.

A call passes through phases:

    OFFERED ─▶ ANSWERED ─▶ (CHOICE) ─▶ (MESSAGE) ─▶ NOTICE ─▶ WINDOW ─▶ HUNT ─▶ BRIDGED ─▶ ENDING ─▶ ENDED
                                                      └─▶ CONFIRM ─▶┘ ▲  └─▶ FAREWELL ─▶ ENDED
                                                                      └── REFER (not recorded: it leaves)

ANSWERED leads to FAREWELL where it is closed; HUNT does where nobody is free.

From NOTICE and WINDOW a caller may ask for DETAILS, which lead to a WINDOW. From BRIDGED a call may go to
another operator by way of TRANSFER, and back.

The policy is pure. It gets facts, in order, each with the time at which it is handled (seconds of a
monotonic clock), and answers with commands. It asks to be woken by `deadline`. It knows no thread, no
socket and no clock, so that a test can walk through every history of facts.

`REACTIONS` has the function for each fact in each phase; the function changes one plain state (`state`).
This module answers the hang-up or the silence of a side; for the rest there is one module each:

    notice         from the INVITE to the decision: greeting, language, message, notice, window; callers'
                   keys and words, and the effects of a decision, whenever it falls
    hunting        rings operators until one answers
    bridge         the conversation: tap, codes, holds; and the end of any call: the last sound to be heard,
                   the recording, the receipt
    transferring   an operator's phone sends the caller to another one; a call leaves by REFER

Small machines with a state of their own run beside it (`machines`): `Consent`, whether the call may be
recorded, `Conversation`, the bridge with its tap and holds, `Hunt` and `Transfer`. A notice allows nothing,
whatever follows, unless it was heard: to its end where the caller does nothing, up to the end of its
essential part where the caller accepts. Operators are rung only once the decision has been taken.

Facts that make no sense in a phase are ignored: a late answer, a key pressed after the end.
"""

from collections.abc import Callable
from typing import Any

from sipagent.call import bridge, hunting, notice, transferring
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.machines import Operator, refused
from sipagent.call.state import CallState, Phase, Timer

REQUEST_TERMINATED = 487  # the status of an INVITE that its caller cancelled (RFC 3261 section 21.4.25)


def leg_gone(call: CallState, fact: e.LegGone) -> None:
    if not transferring.left_in_haste(call, fact):
        _is_over(call, fact.leg, fact.status, "hung up")


def media_lost(call: CallState, fact: e.MediaLost) -> None:
    call.do(e.HangUp(fact.leg))
    _is_over(call, fact.leg, 0, "no media")


def service_ending(call: CallState, _: e.ServiceEnding) -> None:
    transferring.drop(call)
    call.note("the service is stopping", "agent")
    call.do(e.HangUp(CALLER))
    call.do(*call.hunt.drop())
    bridge.end_call(call, call.story.outcome or "failed")


def _is_over(call: CallState, leg: int, status: int, why: str) -> None:
    if leg == CALLER:
        transferring.drop(call)
        _caller_is_over(call, status, why)
    elif call.transfer:
        transferring.leg_is_over(call, call.transfer, leg, status, why)
    elif call.phase is not Phase.ENDING and (lost := call.hunt.lose(leg)):
        _operator_is_over(call, lost, status, why)


def _caller_is_over(call: CallState, status: int, why: str) -> None:
    if call.phase is Phase.ENDING:
        return  # it was we who hung up
    call.note(why, "caller")
    call.do(*call.hunt.drop())
    gave_up = status < 400 or status == REQUEST_TERMINATED
    bridge.end_call(call, call.story.outcome or ("abandoned" if gave_up else "failed"))


def _operator_is_over(call: CallState, lost: Operator, status: int, why: str) -> None:
    if call.phase is Phase.HUNT:
        call.do(*([refused(lost.uri, status)] if status >= 300 else []))
        hunting.hunt_on(call, lost, f"refused with {status}" if status >= 300 else why)
    else:
        call.note(why, "operator")
        call.do(e.HangUp(CALLER))
        bridge.end_call(call, "connected")


class CallFlow(CallState):
    """One call. `handle` takes a fact and gives the commands that follow from it."""

    def handle(self, fact: e.Fact, now: float) -> list[e.Command]:
        """The commands that follow from a fact handled at `now` (monotonic s)."""
        self.now = now
        self.commands = []
        if self.phase is not Phase.ENDED:
            react = REACTIONS.get((self.phase, type(fact))) or ANYWHERE.get(type(fact))
            if react:
                react(self, fact)
                self.indicate()
        return self.commands


def time_passed(call: CallState, fact: e.TimePassed) -> None:
    """The timers that are due, in order; one may call off the next."""
    call.late_s = fact.late_s
    for timer in sorted(call.timers, key=call.due):
        if timer in call.timers and call.due(timer) <= call.now:
            del call.timers[timer]
            TIMEOUTS[timer](call)


Reaction = Callable[[CallState, Any], None]

# The function for a fact in a phase. A pair that isn't here, nor in ANYWHERE, does nothing.
REACTIONS: dict[tuple[Phase, type], Reaction] = {
    (Phase.OFFERED, e.CallOffered): notice.offered,
    (Phase.ANSWERED, e.CallConfirmed): notice.confirmed,
    (Phase.ANSWERED, e.MediaArrived): notice.first_media,
    (Phase.CHOICE, e.PromptEnded): notice.choice_heard,
    (Phase.MESSAGE, e.PromptEnded): notice.message_ended,
    (Phase.NOTICE, e.PromptEnded): notice.notice_ended,
    (Phase.NOTICE, e.EssentialHeard): notice.essential_heard,
    (Phase.DETAILS, e.PromptEnded): notice.details_ended,
    (Phase.NOTICE, e.LegHeld): notice.notice_unheard,
    (Phase.WINDOW, e.HearingFailed): notice.window_unheard,
    (Phase.CONFIRM, e.HearingFailed): notice.window_unheard,
    (Phase.CONFIRM, e.PromptEnded): notice.asked_again,
    (Phase.REFER, e.PromptEnded): transferring.refusal_told,
    (Phase.REFER, e.ReferAnswered): transferring.refer_answered,
    (Phase.HUNT, e.PromptEnded): hunting.prompt_ended,
    (Phase.HUNT, e.NoOperatorFree): hunting.nobody,
    (Phase.HUNT, e.OperatorFree): hunting.somebody,
    (Phase.HUNT, e.OperatorReached): hunting.reached,
    (Phase.HUNT, e.OperatorAnswered): hunting.answered,
    (Phase.HUNT, e.MediaArrived): hunting.audible,
    (Phase.HUNT, e.LegHeld): hunting.held,
    (Phase.HUNT, e.LegWanted): hunting.leg_wanted,
    (Phase.TRANSFER, e.OperatorReached): transferring.target_reached,
    (Phase.TRANSFER, e.OperatorAnswered): transferring.answered,
    (Phase.TRANSFER, e.MediaArrived): transferring.target_audible,
    (Phase.TRANSFER, e.LegHeld): transferring.held,
    (Phase.TRANSFER, e.LegWanted): transferring.giver_spared,
    (Phase.FAREWELL, e.PromptEnded): bridge.farewell_said,
    (Phase.ENDING, e.ListeningEnded): bridge.listened,
}
ANYWHERE: dict[type, Reaction] = {
    e.MediaFoundElsewhere: notice.found_elsewhere,
    e.MediaSourceFound: notice.source_found,
    e.DtmfPressed: notice.digit,
    e.HearingBegan: notice.hearing_began,
    e.HearingEnded: notice.hearing_ended,
    e.KeywordHeard: notice.keyword,
    e.OperatorOffered: hunting.operator_offered,
    e.OperatorAnswered: bridge.answered_late,
    e.KeysNegotiated: bridge.keys_negotiated,
    e.LegHeld: bridge.leg_held,
    e.LegResumed: bridge.leg_resumed,
    e.TransferAsked: transferring.asked,
    e.TransferDenied: transferring.denied,
    e.ReferNotified: transferring.notified,
    e.LegGone: leg_gone,
    e.MediaLost: media_lost,
    e.RecordingDeclined: notice.declined,
    e.TapFailed: bridge.tap_failed,
    e.HearingFailed: bridge.hearing_failed,
    e.ServiceEnding: service_ending,
    e.TimePassed: time_passed,
}
TIMEOUTS: dict[Timer, Callable[[CallState], None]] = {
    "media": notice.greet,
    "window": notice.window_over,
    "verdict": notice.no_verdict,
    "refer": transferring.unheard,
    "ring": hunting.rung_out,
    "retry": hunting.retry,
    "sound": hunting.no_sound,
    "max_wait": hunting.waited_enough,
    "please_hold": hunting.please_hold,
    "late": bridge.heard_out,
    "transfer": transferring.timeout,
    "listening": bridge.close,
}
