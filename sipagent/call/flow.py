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
plain state (`state`):

    notice         from the INVITE to the decision: greeting, language, notice, window; what callers
                   press and say, and what a decision does, whenever it falls
    refer          a call that leaves by REFER
    hunting        whom to ring, until somebody answers
    bridge         the conversation: tap, codes, holds
    transferring   an operator's phone sends the caller to another one
    sides          a side has hung up, or is not heard any more
    end            the end: what is still to be listened to, the recording, the receipt

Small machines with a state of their own run beside it: `consent.Consent`, whether the call may be recorded,
`conversation.Conversation`, the bridge with its tap and holds, `hunt.Hunt` and `transfer.Transfer`. A notice
that was not heard to its end allows nothing, whatever follows; operators are rung only once the decision has
been taken.

Facts that make no sense in a phase are ignored: a late answer, a key pressed after the end.
"""

from collections.abc import Callable
from typing import Any

from sipagent.call import bridge, end, hunting, notice, refer, sides, transferring
from sipagent.call import events as e
from sipagent.call import referral as r
from sipagent.call.policy import Phase
from sipagent.call.state import CallState, Timer


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
    (Phase.OFFERED, e.CallOffered): notice.offered,
    (Phase.ANSWERED, e.CallConfirmed): notice.confirmed,
    (Phase.ANSWERED, e.MediaArrived): notice.first_media,
    (Phase.CHOICE, e.PromptEnded): notice.choice_heard,
    (Phase.NOTICE, e.PromptEnded): notice.notice_ended,
    (Phase.NOTICE, e.LegHeld): notice.notice_unheard,
    (Phase.WINDOW, e.HearingFailed): notice.window_unheard,
    (Phase.CONFIRM, e.HearingFailed): notice.window_unheard,
    (Phase.CONFIRM, e.PromptEnded): notice.asked_again,
    (Phase.REFER, e.PromptEnded): refer.prompt_ended,
    (Phase.REFER, r.ReferAnswered): refer.answered,
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
    (Phase.FAREWELL, e.PromptEnded): end.farewell_said,
    (Phase.ENDING, e.ListeningEnded): end.listened,
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
    r.TransferAsked: transferring.asked,
    r.TransferDenied: transferring.denied,
    r.ReferNotified: refer.notified,
    e.LegGone: sides.leg_gone,
    e.MediaLost: sides.media_lost,
    e.RecordingDeclined: notice.declined,
    e.TapFailed: bridge.tap_failed,
    e.HearingFailed: bridge.hearing_failed,
    e.ServiceEnding: sides.service_ending,
    e.TimePassed: time_passed,
}
TIMEOUTS: dict[Timer, Callable[[CallState], None]] = {
    "media": notice.greet,
    "window": notice.window_over,
    "verdict": notice.no_verdict,
    "refer": refer.unheard,
    "ring": hunting.rung_out,
    "retry": hunting.retry,
    "sound": hunting.no_sound,
    "max_wait": hunting.waited_enough,
    "please_hold": hunting.please_hold,
    "late": bridge.heard_out,
    "transfer": transferring.timeout,
    "listening": end.close,
}
