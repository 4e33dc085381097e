"""All that decides what happens to a call. Start reading here.

A call passes through phases:

    OFFERED ─▶ ANSWERED ─▶ (CHOICE) ─▶ NOTICE ─▶ WINDOW ─▶ HUNT ─▶ BRIDGED ─▶ ENDING ─▶ ENDED
                  │                       └─▶ CONFIRM ─▶┘ ▲  └─▶ FAREWELL (closed, or nobody free) ─▶ ENDED
                  │                                       └── REFER (not recorded: it leaves)

From BRIDGED a call may go to another operator by way of TRANSFER, and back.

Two small machines run beside it: `consent.Consent`, whether the call may be recorded, and
`conversation.Conversation`, the bridge with its tap, holds and codes. A notice that was not heard to its
end allows nothing, whatever follows; operators are rung only once the decision has been taken.

The flow is pure. It is told facts, in order, each with the time at which it is handled (seconds of a
monotonic clock), and answers with commands. It asks to be woken by `deadline`. It knows no thread, no
socket and no clock, so that a test can walk through every history of facts there is.

Here is what a fact does in which phase, and all that leads to the decision; `callhunt` goes on from there
(or `callrefer`, where the call leaves), `callbridge` from the operator's answer, and `calltransfer` where an
operator's phone sends the caller to another one.

Facts that make no sense in a phase are ignored: a late answer, a key pressed after the end.
"""

from collections.abc import Callable
from typing import Any

from sipagent import events as e
from sipagent import policy
from sipagent import referral as r
from sipagent.callstate import Accepted, Timer
from sipagent.calltransfer import Transferring
from sipagent.codes import heard_again
from sipagent.consent import DecidedBy, Decision
from sipagent.events import CALLER, Prompt
from sipagent.policy import Phase


class CallFlow(Transferring):
    """One call. `handle` takes a fact and gives the commands that follow from it."""

    def handle(self, fact: e.Fact, now: float) -> list[e.Command]:
        """What follows from a fact handled at `now` (monotonic s)."""
        self._now = now
        self._commands = []
        if self.phase is not Phase.ENDED:
            react = REACTIONS.get((self.phase, type(fact))) or ANYWHERE.get(type(fact))
            if react:
                react(self, fact)
                self._indicate()
        return self._commands

    # --- from the INVITE to the notice ---

    def _offered(self, fact: e.CallOffered) -> None:
        if not fact.source_allowed:
            self._do(e.Drop())
            self.phase = Phase.ENDED
        elif not fact.number_known:
            self._reject(404)
        elif fact.draining or not fact.room:
            self._reject(503 if fact.draining else self.policy.full_status, policy.RETRY_AFTER_S)
        else:
            self._hours_open, self._candidate = fact.open, fact.sampled
            self._chooses = fact.may_choose
            if fact.open and fact.draw and self.policy.recording:
                self._note(fact.draw, "agent")
            self.phase = Phase.ANSWERED
            self._do(e.Answer())

    def _reject(self, status: int, retry_after_s: int | None = None) -> None:
        self._do(e.Reject(status, retry_after_s))
        self._note(f"rejected with {status}", "agent")
        self._finish("rejected")

    def _confirmed(self, fact: e.CallConfirmed) -> None:
        self.story.answered_at = self._now
        self._telephone_event = fact.telephone_event
        self._do(e.Listen(CALLER, tones=True, voice=self.policy.voice))
        self._timers["media"] = self._now + policy.MEDIA_WAIT_S
        if self._media_arrived:
            self._greet()

    def _first_media(self, _: e.MediaArrived) -> None:
        self._media_arrived = True
        if "media" in self._timers:  # the ACK was there first
            self._greet()

    def _greet(self) -> None:
        self._timers.pop("media", None)
        if not self._hours_open:
            self._farewell(Prompt.CLOSED, "closed")
        elif self.consent.refused:
            self._hunt()
        elif self._chooses:
            self.phase = Phase.CHOICE
            self._play(Prompt.CHOOSE)
        else:
            self._inform()

    # --- a language ---

    def _choice_heard(self, fact: e.PromptEnded) -> None:
        if fact.prompt is Prompt.CHOOSE:
            self._playing = None
            self._timers["window"] = self._now + policy.CHOICE_S

    def _choose(self, digit: str) -> None:
        """The first key that names a language; what follows is in it. No notice was heard before."""
        if language := dict(self.policy.choices).get(digit):
            self._do(e.Speak(language))
            self._note(f"language: {language}", "caller")
            self._inform()

    # --- notice, window, decision ---

    def _inform(self) -> None:
        self._timers.clear()
        if self.policy.recording and self._candidate:
            self.phase = Phase.NOTICE
            self._notice_began = self._now
            if CALLER in self._held:  # since the INVITE
                self._notice_failed()
            else:
                self._play(Prompt.NOTICE)
        else:
            self._decide(Decision.NOT_ALLOWED, "sampling" if self.policy.recording else "disabled")
            self.phase = Phase.NOTICE
            self._play(Prompt.WELCOME)

    def _notice_ended(self, fact: e.PromptEnded) -> None:
        if fact.prompt is Prompt.WELCOME:
            self._hunt()
        elif fact.prompt is Prompt.NOTICE:
            self.story.notice_played_ms = fact.played_ms
            self._notice_complete = fact.complete
            self._playing = None
            if fact.complete:
                self._after_notice()
            else:
                self._notice_failed()

    def _after_notice(self) -> None:
        if self.consent.decision is not Decision.UNDECIDED:
            self._hunt()  # listening has failed: there is nothing to wait for, and a key counts later too
        elif self._acceptance:
            self._allow(self._acceptance)
        elif self._unclear:
            self._ask_again()
        else:
            self.phase = Phase.WINDOW
            self._timers["window"] = self._now + self.policy.window_s

    def _notice_failed(self) -> None:
        self._decide(Decision.NOT_ALLOWED, "notice_failed")
        self._hunt()

    def _notice_unheard(self, fact: e.LegHeld) -> None:
        """The caller put us on hold and can't hear the notice: it has failed."""
        self._held |= {fact.leg}
        if self._playing is Prompt.NOTICE:
            self._notice_failed()

    def _found_elsewhere(self, fact: e.MediaFoundElsewhere) -> None:
        """Our sound went past the caller until now: a notice that was played by then was not heard."""
        if fact.leg != CALLER or self._notice_began is None:
            return
        if self._playing is Prompt.NOTICE or self.phase in (Phase.WINDOW, Phase.CONFIRM):
            self._notice_failed()
            return
        self._decide(Decision.NOT_ALLOWED, "notice_failed")
        if self.captured:
            self._stop_tap(keep=False)

    def _ask_again(self) -> None:
        self.phase = Phase.CONFIRM
        self._timers.clear()
        self._play(Prompt.CONFIRM)

    def _asked_again(self, fact: e.PromptEnded) -> None:
        if fact.prompt is Prompt.CONFIRM:
            self._playing = None
            self._timers["window"] = self._now + self.policy.window_s

    def _window_over(self) -> None:
        if self._hearing:
            self._timers["verdict"] = self._now + policy.VERDICT_S
        elif self.phase is Phase.CHOICE:
            self._inform()
        elif self.phase is Phase.CONFIRM:
            self._refuse("unclear", **_said(self._unclear))
        else:
            self._decide(Decision.NOT_ALLOWED if self.policy.opt_in else Decision.ALLOWED, "silence")
            self._hunt()

    def _no_verdict(self) -> None:
        if self.phase is Phase.CHOICE:
            self._inform()
        elif self.phase is Phase.CONFIRM:
            self._refuse("unclear", **_said(self._unclear))
        else:
            self._decide(Decision.NOT_ALLOWED, "unclear")
            self._hunt()

    def _window_unheard(self, fact: e.HearingFailed) -> None:
        self._hearing_failed(fact)
        self._hunt()

    def _hearing_began(self, fact: e.HearingBegan) -> None:
        self._hearing |= {fact.what}
        if fact.what == "speech" and self._now < self._late_until:
            self._late_speech = True

    def _hearing_ended(self, fact: e.HearingEnded) -> None:
        self._heard(fact.what)

    def _heard(self, what: e.Sound) -> None:
        """What had begun has its verdict; a window that waited for it is over."""
        self._hearing -= {what}
        if what == "speech":
            self._late_speech = False
        if not self._hearing and self._timers.pop("verdict", None) is not None:
            self._window_over()

    def _keyword(self, fact: e.KeywordHeard) -> None:
        if fact.meaning is e.Meaning.REFUSE:
            self._refuse("voice", keyword=fact.keyword, confidence=fact.confidence)
        elif fact.meaning is e.Meaning.ACCEPT:
            self._accept(fact)
        else:
            self._doubt(fact)
        self._heard("speech")

    def _doubt(self, unclear: e.KeywordHeard) -> None:
        """Doubt is against recording: the caller is asked, and an earlier yes no longer counts.

        What began in the window and is understood after it has closed comes too late to ask.
        """
        if self.phase in (Phase.ANSWERED, Phase.CHOICE, Phase.NOTICE):
            self._unclear, self._acceptance = unclear, None
        elif self.phase is Phase.WINDOW:
            self._unclear = unclear
            self._ask_again()
        elif self._late_speech and self.consent.allowed and self.consent.by == "silence":
            self._decide(Decision.NOT_ALLOWED, "unclear", **_said(unclear))
            if self.captured:
                self._stop_tap(keep=False)

    def _accept(self, how: Accepted) -> None:
        """Who was not understood is asked for a key: no word is a yes then."""
        spoken = isinstance(how, e.KeywordHeard)
        if spoken and (self._unclear or self.phase is Phase.CONFIRM):
            return
        if self._playing is Prompt.NOTICE:
            self._acceptance = how  # counts once the notice has been heard to its end
            self._note("acceptance remembered until the notice has ended", "caller")
        elif self.phase in (Phase.WINDOW, Phase.CONFIRM):
            self._allow(how)

    def _allow(self, how: Accepted) -> None:
        if isinstance(how, e.KeywordHeard):
            self._decide(Decision.ALLOWED, "voice", **_said(how))
        else:
            self._decide(Decision.ALLOWED, "dtmf", method=how)
        self._hunt()

    def _refuse(self, by: DecidedBy, **how: Any) -> None:
        if not self._decide(Decision.REFUSED, by, **how):
            return
        if self.phase in (Phase.CHOICE, Phase.NOTICE, Phase.WINDOW, Phase.CONFIRM):
            self._hunt()
            return
        if self.captured:
            self._stop_tap(keep=False)
        elif self.phase is Phase.BRIDGED:
            self._do(
                e.PlayTone(e.Tone.RECORDING_OFF)
            )  # as it was: a key without an answer leaves one guessing
        if self.phase in (Phase.HUNT, Phase.REFER) and not self._told_refused:
            self._play(Prompt.REFUSED)

    def _declined(self, fact: e.RecordingDeclined) -> None:
        """The caller's device says it for the caller. Of the other wishes that it may have none is a yes."""
        if fact.leg == CALLER:
            self._refuse("sip")

    # --- keys and time ---

    def _digit(self, fact: e.DtmfPressed) -> None:
        recent, again = heard_again(self._presses.get(fact.leg, ()), fact.digit, fact.method, self._now)
        self._presses[fact.leg] = recent
        if again:
            pass  # one press, heard by two ways
        elif fact.leg != CALLER:
            self._operator_digit(fact)
        elif fact.digit == self.policy.refusal_digit:
            self._refuse("dtmf", method=fact.method)
        elif self.phase is Phase.CHOICE:
            self._choose(fact.digit)
        elif fact.digit == self.policy.accept_digit:
            self._accept(fact.method)
        if fact.leg == CALLER and fact.method == "inband":
            self._heard("tone")

    def _time_passed(self, _: e.TimePassed) -> None:
        for timer in sorted(self._timers, key=self._timers.__getitem__):
            if self._timers.get(timer, self._now + 1) <= self._now:
                del self._timers[timer]
                TIMEOUTS[timer](self)


def _said(heard: e.KeywordHeard | None) -> dict[str, Any]:
    """What a decision by speech tells of it."""
    return {"keyword": heard.keyword or None, "confidence": heard.confidence} if heard else {}


Reaction = Callable[[CallFlow, Any], None]

# What a fact does in a phase. A pair that isn't here, nor in ANYWHERE, does nothing.
REACTIONS: dict[tuple[Phase, type], Reaction] = {
    (Phase.OFFERED, e.CallOffered): CallFlow._offered,
    (Phase.ANSWERED, e.CallConfirmed): CallFlow._confirmed,
    (Phase.ANSWERED, e.MediaArrived): CallFlow._first_media,
    (Phase.CHOICE, e.PromptEnded): CallFlow._choice_heard,
    (Phase.NOTICE, e.PromptEnded): CallFlow._notice_ended,
    (Phase.NOTICE, e.LegHeld): CallFlow._notice_unheard,
    (Phase.WINDOW, e.HearingFailed): CallFlow._window_unheard,
    (Phase.CONFIRM, e.HearingFailed): CallFlow._window_unheard,
    (Phase.CONFIRM, e.PromptEnded): CallFlow._asked_again,
    (Phase.REFER, e.PromptEnded): CallFlow._depart_prompt_ended,
    (Phase.REFER, r.ReferAnswered): CallFlow._refer_answered,
    (Phase.HUNT, e.PromptEnded): CallFlow._hunt_prompt_ended,
    (Phase.HUNT, e.NoOperatorFree): CallFlow._nobody,
    (Phase.HUNT, e.OperatorFree): CallFlow._somebody,
    (Phase.HUNT, e.OperatorReached): CallFlow._reached,
    (Phase.HUNT, e.OperatorAnswered): CallFlow._answered,
    (Phase.HUNT, e.MediaArrived): CallFlow._audible,
    (Phase.HUNT, e.LegHeld): CallFlow._held_in_hunt,
    (Phase.HUNT, e.LegWanted): CallFlow._leg_wanted,
    (Phase.TRANSFER, e.OperatorReached): CallFlow._target_reached,
    (Phase.TRANSFER, e.OperatorAnswered): CallFlow._transfer_answered,
    (Phase.TRANSFER, e.MediaArrived): CallFlow._target_audible,
    (Phase.TRANSFER, e.LegHeld): CallFlow._held_in_transfer,
    (Phase.TRANSFER, e.LegWanted): CallFlow._giver_spared,
    (Phase.FAREWELL, e.PromptEnded): CallFlow._farewell_said,
    (Phase.ENDING, e.ListeningEnded): CallFlow._listened,
}
ANYWHERE: dict[type, Reaction] = {
    e.MediaFoundElsewhere: CallFlow._found_elsewhere,
    e.DtmfPressed: CallFlow._digit,
    e.HearingBegan: CallFlow._hearing_began,
    e.HearingEnded: CallFlow._hearing_ended,
    e.KeywordHeard: CallFlow._keyword,
    e.OperatorOffered: CallFlow._operator_offered,
    e.OperatorAnswered: CallFlow._answered_late,
    e.KeysNegotiated: CallFlow._keys_negotiated,
    e.LegHeld: CallFlow._leg_held,
    e.LegResumed: CallFlow._leg_resumed,
    r.TransferAsked: CallFlow._transfer_asked,
    r.TransferDenied: CallFlow._transfer_denied,
    r.ReferNotified: CallFlow._refer_notified,
    e.LegGone: CallFlow._leg_gone,
    e.MediaLost: CallFlow._media_lost,
    e.RecordingDeclined: CallFlow._declined,
    e.TapFailed: CallFlow._tap_failed,
    e.HearingFailed: CallFlow._hearing_failed,
    e.ServiceEnding: CallFlow._service_ending,
    e.TimePassed: CallFlow._time_passed,
}
TIMEOUTS: dict[Timer, Callable[[CallFlow], None]] = {
    "media": CallFlow._greet,
    "window": CallFlow._window_over,
    "verdict": CallFlow._no_verdict,
    "refer": CallFlow._refer_unheard,
    "ring": CallFlow._rung_out,
    "retry": CallFlow._retry,
    "sound": CallFlow._no_sound,
    "max_wait": CallFlow._waited_enough,
    "please_hold": CallFlow._please_hold,
    "late": CallFlow._heard_out,
    "transfer": CallFlow._transfer_timeout,
    "listening": CallFlow._close,
}
