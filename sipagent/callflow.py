"""All that decides what happens to a call. Start reading here.

A call passes through phases:

    OFFERED ─▶ ANSWERED ─▶ NOTICE ─▶ WINDOW ─▶ HUNT ─▶ BRIDGED ─▶ ENDING ─▶ ENDED
                  │           └─▶ CONFIRM ─▶┘    └─▶ FAREWELL (closed, or nobody free) ─▶ ENDED

Two small machines run beside it: `consent.Consent`, whether the call may be recorded, and
`conversation.Conversation`, the bridge with its tap, holds and codes. A notice that was not heard to its
end allows nothing, whatever follows; operators are rung only once the decision has been taken.

The flow is pure. It is told facts, in order, each with the time at which it is handled (seconds of a
monotonic clock), and answers with commands. It asks to be woken by `deadline`. It knows no thread, no
socket and no clock, so that a test can walk through every history of facts there is.

Facts that make no sense in a phase are ignored: a late answer, a key pressed after the end.
"""

from collections.abc import Callable
from typing import Any

from sipagent import events as e
from sipagent import policy
from sipagent.callstate import CallState, How, Timer
from sipagent.consent import DecidedBy, Decision
from sipagent.conversation import Conversation
from sipagent.events import CALLER, Prompt
from sipagent.hunt import Operator
from sipagent.policy import Phase
from sipagent.story import FLAGGED, Outcome


class CallFlow(CallState):
    """One call. `handle` takes a fact and gives the commands that follow from it."""

    def handle(self, fact: e.Fact, now: float) -> list[e.Command]:
        """What follows from a fact handled at `now` (monotonic s)."""
        self._now = now
        self._commands = []
        if self.phase is not Phase.ENDED:
            react = REACTIONS.get((self.phase, type(fact))) or ANYWHERE.get(type(fact))
            if react:
                react(self, fact)
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
        elif self.policy.recording and self._candidate:
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

    # --- notice, window, decision ---

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
        if self._acceptance:
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
        elif self.phase is Phase.CONFIRM:
            self._refuse("unclear")
        else:
            self._decide(Decision.NOT_ALLOWED if self.policy.opt_in else Decision.ALLOWED, "silence")
            self._hunt()

    def _no_verdict(self) -> None:
        if self.phase is Phase.CONFIRM:
            self._refuse("unclear")
        else:
            self._decide(Decision.NOT_ALLOWED, "unclear")
            self._hunt()

    def _hearing_began(self, fact: e.HearingBegan) -> None:
        self._hearing |= {fact.what}

    def _hearing_ended(self, fact: e.HearingEnded) -> None:
        self._heard(fact.what)

    def _heard(self, what: e.Sound) -> None:
        """What had begun has its verdict; a window that waited for it is over."""
        self._hearing -= {what}
        if not self._hearing and self._timers.pop("verdict", None) is not None:
            self._window_over()

    def _keyword(self, fact: e.KeywordHeard) -> None:
        if fact.meaning is e.Meaning.REFUSE:
            self._refuse("voice", keyword=fact.keyword, confidence=fact.confidence)
        elif fact.meaning is e.Meaning.ACCEPT:
            self._accept("voice", fact.keyword, fact.confidence)
        elif fact.meaning is e.Meaning.UNCLEAR and self._playing is Prompt.NOTICE:
            self._unclear = True
        elif fact.meaning is e.Meaning.UNCLEAR and self.phase is Phase.WINDOW:
            self._ask_again()
        self._heard("speech")

    def _accept(self, how: How, keyword: str | None = None, confidence: float | None = None) -> None:
        if self._playing is Prompt.NOTICE:
            self._acceptance = how  # counts once the notice has been heard to its end
            self._note("acceptance remembered until the notice has ended", "caller")
        elif self.phase in (Phase.WINDOW, Phase.CONFIRM):
            self._allow(how, keyword, confidence)

    def _allow(self, how: How, keyword: str | None = None, confidence: float | None = None) -> None:
        method = None if how == "voice" else how
        by: DecidedBy = "voice" if how == "voice" else "dtmf"
        self._decide(Decision.ALLOWED, by, method=method, keyword=keyword, confidence=confidence)
        self._hunt()

    def _refuse(self, by: DecidedBy, **how: Any) -> None:
        if not self._decide(Decision.REFUSED, by, **how):
            return
        if self.phase in (Phase.NOTICE, Phase.WINDOW, Phase.CONFIRM):
            self._hunt()
        elif self.phase is Phase.HUNT:
            self._play(Prompt.REFUSED)
        elif self.captured:
            self._stop_tap(keep=False)

    # --- hunt ---

    def _hunt(self) -> None:
        if self._playing is Prompt.NOTICE and self._notice_began is not None:  # it is cut short here
            self.story.notice_played_ms = round((self._now - self._notice_began) * 1000)
        self.phase = Phase.HUNT
        self._hearing = frozenset()
        self._late_until = self._now + policy.LATE_S
        self._timers = {
            "max_wait": self._now + self.policy.max_wait_s,
            "please_hold": self._now + policy.PLEASE_HOLD_S,
        }
        self._play(Prompt.REFUSED if self.consent.refused else Prompt.HOLD_MUSIC)
        self._do(*self.hunt.again())

    def _dial(self, fact: e.OperatorOffered) -> None:
        if self.hunt.operator is None:
            self._timers["ring"] = self._now + self.policy.ring_s
            self._do(*self.hunt.dial(fact.uri, recorded=self.consent.allowed))
            self._note(f"ringing {fact.uri}", "agent")

    def _next_operator(self, operator: Operator, why: str) -> None:
        self._note(f"{operator.uri}: {why}", "agent")
        self._timers.pop("ring", None)
        self._do(*self.hunt.next())

    def _rung_out(self) -> None:
        if operator := self.hunt.operator:
            self._do(e.HangUp(operator.leg))
            self._next_operator(operator, "no answer")

    def _nobody(self, _: e.NoOperatorFree) -> None:
        self._timers["retry"] = self._now + policy.RETRY_S

    def _retry(self) -> None:
        self._do(*self.hunt.again())

    def _please_hold(self) -> None:
        self._timers["please_hold"] = self._now + policy.PLEASE_HOLD_S
        if self._playing is Prompt.HOLD_MUSIC:
            self._play(Prompt.PLEASE_HOLD)

    def _waited_enough(self) -> None:
        self._do(*self.hunt.drop())
        self._farewell(Prompt.UNAVAILABLE, "unavailable")

    def _hunt_prompt_ended(self, fact: e.PromptEnded) -> None:
        if fact.prompt is not self._playing:
            return
        if self.hunt.operator and self.hunt.operator.answered:
            self._bridge(self.hunt.operator)
        else:
            self._play(Prompt.HOLD_MUSIC)

    def _answered(self, fact: e.OperatorAnswered) -> None:
        operator = self.hunt.answered(fact.leg, fact.telephone_event)
        if operator is None:
            self._do(e.HangUp(fact.leg))  # its 200 crossed our CANCEL
            return
        self._timers.clear()
        self.story.operator = operator.uri
        if self._playing is not Prompt.REFUSED:  # its end is waited for
            self._bridge(operator)

    # --- bridge ---

    def _bridge(self, operator: Operator) -> None:
        self.phase = Phase.BRIDGED
        self.story.outcome, self.story.connected_at = "connected", self._now
        self._note(f"bridged with {operator.uri}", "operator")
        self._do(e.StopPlaying(CALLER), e.Bridge(operator.leg))
        self._playing = None
        if self._now < self._late_until:
            self._timers["late"] = self._late_until
        else:
            self._heard_out()
        self._do(e.Listen(operator.leg, tones=not operator.telephone_event, voice=False))
        record = self.consent.allowed and self._notice_complete
        self.conversation = Conversation(self.policy.codes, operator.leg, self._held)
        self._do(*self.conversation.begin(operator.uri, record))
        if record:
            self._note("recording started", "agent")

    def _heard_out(self) -> None:
        """From here on the caller's conversation is listened to only where no other way brings a key."""
        if self._hearing and self._now < self._late_until + policy.VERDICT_S:
            self._timers["late"] = self._now + policy.LATE_S
        else:
            self._do(e.Listen(CALLER, tones=not self._telephone_event, voice=False))

    def _digit(self, fact: e.DtmfPressed) -> None:
        digit, method, at = self._presses.get(fact.leg, ("", fact.method, 0.0))
        if digit == fact.digit and method != fact.method and self._now - at < policy.SAME_PRESS_S:
            pass  # one press, heard by two ways
        else:
            self._presses[fact.leg] = (fact.digit, fact.method, self._now)
            if fact.leg != CALLER:
                self._operator_digit(fact)
            elif fact.digit == self.policy.refusal_digit:
                self._refuse("dtmf", method=fact.method)
            elif fact.digit == self.policy.accept_digit:
                self._accept(fact.method)
        if fact.leg == CALLER and fact.method == "inband":
            self._heard("tone")

    def _operator_digit(self, fact: e.DtmfPressed) -> None:
        talk = self.conversation
        if self.phase is not Phase.BRIDGED or not talk or fact.leg != talk.operator:
            return
        order = talk.order(fact.digit, self._now)
        if order == "flag":
            self.story.flagged = True
            self._note(FLAGGED, "operator")
            self._do(e.PlayTone(e.Tone.FLAGGED))
        elif order == "pause" and talk.tapping:
            self._do(*talk.toggle_pause())
            self._note("paused" if talk.paused else "resumed", "operator")
        elif order == "stop" and talk.tapping:
            self._note("stop code", "operator")
            if self.policy.stop_erases:
                self._decide(Decision.NOT_ALLOWED, "operator")
            self._stop_tap(keep=not self.policy.stop_erases)

    def _leg_held(self, fact: e.LegHeld) -> None:
        self._held |= {fact.leg}
        self._note("hold", "caller" if fact.leg == CALLER else "operator")
        if self.conversation:
            self._do(*self.conversation.held(fact.leg, fact.sends))

    def _leg_resumed(self, fact: e.LegResumed) -> None:
        self._held -= {fact.leg}
        self._note("hold ended", "caller" if fact.leg == CALLER else "operator")
        if self.conversation:
            self._do(*self.conversation.resumed(fact.leg))

    def _tap_failed(self, fact: e.TapFailed) -> None:
        if self.tapping:
            self._do(e.Alert(f"recording stopped: {fact.reason}"))
            self._decide(Decision.NOT_ALLOWED, "recorder_fault")
            self._stop_tap(keep=True)

    def _hearing_failed(self, fact: e.HearingFailed) -> None:
        """Fail closed: who can't be heard refusing is not recorded, nor kept by a recovery."""
        self._do(e.Alert(f"listening failed: {fact.reason}"))
        self._decide(Decision.NOT_ALLOWED, "unclear")
        if self.tapping:
            self._stop_tap(keep=False)

    # --- the end ---

    def _leg_gone(self, fact: e.LegGone) -> None:
        self._side_is_over(fact.leg, fact.status, "hung up")

    def _side_is_over(self, leg: int, status: int, why: str) -> None:
        if self.phase is Phase.ENDING:
            return  # it was we who hung up
        if leg == CALLER:
            self._note(why, "caller")
            self._do(*self.hunt.drop())
            gave_up = status < 400 or status == policy.REQUEST_TERMINATED
            self._end(self.story.outcome or ("abandoned" if gave_up else "failed"))
        elif (operator := self.hunt.operator) and leg == operator.leg:
            if self.phase is Phase.HUNT:
                self.story.operator = None
                self._next_operator(operator, f"refused with {status}" if status else why)
                self._resume_hunt()
            else:
                self._note(why, "operator")
                self.hunt.drop()
                self._do(e.HangUp(CALLER))
                self._end("connected")

    def _resume_hunt(self) -> None:
        """An operator who had answered has vanished: the clocks of the hunt run again."""
        self._timers.setdefault("max_wait", self._now + self.policy.max_wait_s)
        self._timers.setdefault("please_hold", self._now + policy.PLEASE_HOLD_S)

    def _media_lost(self, fact: e.MediaLost) -> None:
        self._do(e.HangUp(fact.leg))
        self._side_is_over(fact.leg, 0, "no media")

    def _service_ending(self, _: e.ServiceEnding) -> None:
        self._note("the service is stopping", "agent")
        self._do(e.HangUp(CALLER))
        self._do(*self.hunt.drop())
        self._end(self.story.outcome or "failed")

    def _farewell(self, prompt: Prompt, outcome: Outcome) -> None:
        self.phase = Phase.FAREWELL
        self._timers.clear()
        self.story.outcome = outcome
        self._play(prompt)

    def _farewell_said(self, fact: e.PromptEnded) -> None:
        if fact.prompt is self._playing:
            self._do(e.HangUp(CALLER))
            self._finish(self.story.outcome or "failed")

    def _end(self, outcome: Outcome) -> None:
        """A tap is closed only once all that the caller had sent has been listened to.

        Who is gone before what began in the window could be heard is not recorded: half a second at most.
        """
        if self.tapping and "late" in self._timers:
            self._decide(Decision.NOT_ALLOWED, "unclear")
        self._timers.clear()
        self.story.outcome = outcome
        if self.captured:
            self.phase = Phase.ENDING
            self._timers["listening"] = self._now + policy.LISTENING_S
            self._do(e.Listen(CALLER, tones=False, voice=False))
        else:
            self._finish(outcome)

    def _listened(self, _: e.ListeningEnded) -> None:
        self._close()

    def _close(self) -> None:
        if self.tapping:
            self._stop_tap(keep=self.consent.allowed)
        self._finish(self.story.outcome or "failed")

    def _finish(self, outcome: Outcome) -> None:
        self.story.outcome = outcome
        self._timers.clear()
        self.phase = Phase.ENDED
        self._do(e.Finish())

    def _time_passed(self, _: e.TimePassed) -> None:
        for timer in sorted(self._timers, key=self._timers.__getitem__):
            if self._timers.get(timer, self._now + 1) <= self._now:
                del self._timers[timer]
                TIMEOUTS[timer](self)


Reaction = Callable[[CallFlow, Any], None]

# What a fact does in a phase. A pair that isn't here, nor in ANYWHERE, does nothing.
REACTIONS: dict[tuple[Phase, type], Reaction] = {
    (Phase.OFFERED, e.CallOffered): CallFlow._offered,
    (Phase.ANSWERED, e.CallConfirmed): CallFlow._confirmed,
    (Phase.ANSWERED, e.MediaArrived): CallFlow._first_media,
    (Phase.NOTICE, e.PromptEnded): CallFlow._notice_ended,
    (Phase.NOTICE, e.LegHeld): CallFlow._notice_unheard,
    (Phase.CONFIRM, e.PromptEnded): CallFlow._asked_again,
    (Phase.HUNT, e.PromptEnded): CallFlow._hunt_prompt_ended,
    (Phase.HUNT, e.OperatorOffered): CallFlow._dial,
    (Phase.HUNT, e.NoOperatorFree): CallFlow._nobody,
    (Phase.HUNT, e.OperatorAnswered): CallFlow._answered,
    (Phase.FAREWELL, e.PromptEnded): CallFlow._farewell_said,
    (Phase.ENDING, e.ListeningEnded): CallFlow._listened,
}
ANYWHERE: dict[type, Reaction] = {
    e.DtmfPressed: CallFlow._digit,
    e.HearingBegan: CallFlow._hearing_began,
    e.HearingEnded: CallFlow._hearing_ended,
    e.KeywordHeard: CallFlow._keyword,
    e.LegHeld: CallFlow._leg_held,
    e.LegResumed: CallFlow._leg_resumed,
    e.LegGone: CallFlow._leg_gone,
    e.MediaLost: CallFlow._media_lost,
    e.TapFailed: CallFlow._tap_failed,
    e.HearingFailed: CallFlow._hearing_failed,
    e.ServiceEnding: CallFlow._service_ending,
    e.TimePassed: CallFlow._time_passed,
}
TIMEOUTS: dict[Timer, Callable[[CallFlow], None]] = {
    "media": CallFlow._greet,
    "window": CallFlow._window_over,
    "verdict": CallFlow._no_verdict,
    "ring": CallFlow._rung_out,
    "retry": CallFlow._retry,
    "max_wait": CallFlow._waited_enough,
    "please_hold": CallFlow._please_hold,
    "late": CallFlow._heard_out,
    "listening": CallFlow._close,
}
