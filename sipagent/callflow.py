"""All that decides what happens to a call. Start reading here.

A call passes through phases:

    OFFERED ─▶ ANSWERED ─▶ (CHOICE) ─▶ NOTICE ─▶ WINDOW ─▶ HUNT ─▶ BRIDGED ─▶ ENDING ─▶ ENDED
                  │                       └─▶ CONFIRM ─▶┘ ▲  └─▶ FAREWELL (closed, or nobody free) ─▶ ENDED
                  │                                       └── REFER (not recorded: it leaves)

From BRIDGED a call may go to another operator by way of TRANSFER, and back.

The policy is pure. It is told facts, in order, each with the time at which it is handled (seconds of a
monotonic clock), and answers with commands. It asks to be woken by `deadline`. It knows no thread, no
socket and no clock, so that a test can walk through every history of facts there is.

`REACTIONS` says what a fact does in which phase; each entry is a function of one module, and changes one
plain state (`callstate`):

    callnotice     from the INVITE to the decision: greeting, language, notice, window
    callkeys       a key: whose it is, and what it means there
    calldecision   the caller has decided, and what comes after that
    callrefer      a call that leaves by REFER
    callhunt       whom to ring, until somebody answers
    callbridge     the conversation: tap, codes, holds
    calltransfer   an operator's phone sends the caller to another one
    callsides      a side has hung up, or is not heard any more
    callend        the end: what is still to be listened to, the recording, the receipt

Small machines with a state of their own run beside it: `consent.Consent`, whether the call may be recorded,
`conversation.Conversation`, the bridge with its tap and holds, `hunt.Hunt` and `transfer.Transfer`. A notice
that was not heard to its end allows nothing, whatever follows; operators are rung only once the decision has
been taken.

Facts that make no sense in a phase are ignored: a late answer, a key pressed after the end.
"""

from collections.abc import Callable
from typing import Any

from sipagent import (
    callbridge,
    calldecision,
    callend,
    callhunt,
    callkeys,
    callnotice,
    callrefer,
    callsides,
    calltransfer,
)
from sipagent import events as e
from sipagent import referral as r
from sipagent.callstate import CallState, Timer
from sipagent.policy import Phase


class CallFlow(CallState):
    """One call. `handle` takes a fact and gives the commands that follow from it."""

    def handle(self, fact: e.Fact, now: float) -> list[e.Command]:
        """What follows from a fact handled at `now` (monotonic s)."""
        self.now = now
        self.commands = []
        if self.phase is not Phase.ENDED:
            react = REACTIONS.get((self.phase, type(fact))) or ANYWHERE.get(type(fact))
            if react:
                react(self, fact)
                self.indicate()
        return self.commands


def time_passed(call: CallState, _: e.TimePassed) -> None:
    """What is due, in its order; one that is due may call off the next."""
    for timer in sorted(call.timers, key=call.timers.__getitem__):
        if call.timers.get(timer, call.now + 1) <= call.now:
            del call.timers[timer]
            TIMEOUTS[timer](call)


Reaction = Callable[[CallState, Any], None]

# What a fact does in a phase. A pair that isn't here, nor in ANYWHERE, does nothing.
REACTIONS: dict[tuple[Phase, type], Reaction] = {
    (Phase.OFFERED, e.CallOffered): callnotice.offered,
    (Phase.ANSWERED, e.CallConfirmed): callnotice.confirmed,
    (Phase.ANSWERED, e.MediaArrived): callnotice.first_media,
    (Phase.CHOICE, e.PromptEnded): callnotice.choice_heard,
    (Phase.NOTICE, e.PromptEnded): callnotice.notice_ended,
    (Phase.NOTICE, e.LegHeld): callnotice.notice_unheard,
    (Phase.WINDOW, e.HearingFailed): callnotice.window_unheard,
    (Phase.CONFIRM, e.HearingFailed): callnotice.window_unheard,
    (Phase.CONFIRM, e.PromptEnded): callnotice.asked_again,
    (Phase.REFER, e.PromptEnded): callrefer.prompt_ended,
    (Phase.REFER, r.ReferAnswered): callrefer.answered,
    (Phase.HUNT, e.PromptEnded): callhunt.prompt_ended,
    (Phase.HUNT, e.NoOperatorFree): callhunt.nobody,
    (Phase.HUNT, e.OperatorFree): callhunt.somebody,
    (Phase.HUNT, e.OperatorReached): callhunt.reached,
    (Phase.HUNT, e.OperatorAnswered): callhunt.answered,
    (Phase.HUNT, e.MediaArrived): callhunt.audible,
    (Phase.HUNT, e.LegHeld): callhunt.held,
    (Phase.HUNT, e.LegWanted): callhunt.leg_wanted,
    (Phase.TRANSFER, e.OperatorReached): calltransfer.target_reached,
    (Phase.TRANSFER, e.OperatorAnswered): calltransfer.answered,
    (Phase.TRANSFER, e.MediaArrived): calltransfer.target_audible,
    (Phase.TRANSFER, e.LegHeld): calltransfer.held,
    (Phase.TRANSFER, e.LegWanted): calltransfer.giver_spared,
    (Phase.FAREWELL, e.PromptEnded): callend.farewell_said,
    (Phase.ENDING, e.ListeningEnded): callend.listened,
}
ANYWHERE: dict[type, Reaction] = {
    e.MediaFoundElsewhere: callnotice.found_elsewhere,
    e.DtmfPressed: callkeys.digit,
    e.HearingBegan: callnotice.hearing_began,
    e.HearingEnded: callnotice.hearing_ended,
    e.KeywordHeard: callnotice.keyword,
    e.OperatorOffered: callhunt.operator_offered,
    e.OperatorAnswered: callbridge.answered_late,
    e.KeysNegotiated: callbridge.keys_negotiated,
    e.LegHeld: callbridge.leg_held,
    e.LegResumed: callbridge.leg_resumed,
    r.TransferAsked: calltransfer.asked,
    r.TransferDenied: calltransfer.denied,
    r.ReferNotified: callrefer.notified,
    e.LegGone: callsides.leg_gone,
    e.MediaLost: callsides.media_lost,
    e.RecordingDeclined: calldecision.declined,
    e.TapFailed: callbridge.tap_failed,
    e.HearingFailed: callbridge.hearing_failed,
    e.ServiceEnding: callsides.service_ending,
    e.TimePassed: time_passed,
}
TIMEOUTS: dict[Timer, Callable[[CallState], None]] = {
    "media": callnotice.greet,
    "window": callnotice.window_over,
    "verdict": callnotice.no_verdict,
    "refer": callrefer.unheard,
    "ring": callhunt.rung_out,
    "retry": callhunt.retry,
    "sound": callhunt.no_sound,
    "max_wait": callhunt.waited_enough,
    "please_hold": callhunt.please_hold,
    "late": callbridge.heard_out,
    "transfer": calltransfer.timeout,
    "listening": callend.close,
}
