"""What a call's flow remembers, and the small steps it is made of. The policy itself is in `callflow`."""

from typing import Any, Literal

from sipagent import events as e
from sipagent import policy
from sipagent.codes import Press, Typed
from sipagent.consent import Consent, DecidedBy, DecidedIn, Decision
from sipagent.conversation import Conversation
from sipagent.events import CALLER, Prompt
from sipagent.hunt import Hunt
from sipagent.policy import Phase, Policy
from sipagent.story import ERASED, Outcome, Story, Who
from sipagent.transfer import Transfer

Timer = (
    Literal["media", "window", "verdict", "late", "listening"]
    | Literal["refer", "ring", "retry", "sound", "max_wait", "please_hold", "transfer"]
)
Accepted = e.Method | e.KeywordHeard

_DECIDED_IN: dict[Phase, DecidedIn] = {
    Phase.CHOICE: "choice",
    Phase.NOTICE: "notice",
    Phase.WINDOW: "window",
    Phase.CONFIRM: "window",
    Phase.REFER: "call",
    Phase.HUNT: "call",
    Phase.BRIDGED: "call",
    Phase.TRANSFER: "call",
    Phase.ENDING: "call",
}


class CallState:
    """Everything that decides what a fact leads to; times are monotonic seconds."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.phase = Phase.OFFERED
        self.consent = Consent()
        self.story = Story()
        self._timers: dict[Timer, float] = {}
        self._hours_open = True
        self._candidate = True  # drawn for recording
        self._chooses = False  # the caller is asked for a language first
        self._media_arrived = False
        self._telephone_event = False  # on the caller's leg
        self._changed_keys: dict[int, bool] = {}  # telephone-event on operators' legs, where it has changed
        self._playing: Prompt | None = None  # what the caller hears
        self._notice_began: float | None = None
        self._notice_complete = False
        self._acceptance: Accepted | None = None  # heard during the notice
        self._unclear: e.KeywordHeard | None = None  # what the caller is asked about
        self._late_speech = False  # somebody speaks who may have begun before the window closed
        self._hearing: frozenset[e.Sound] = frozenset()
        self._late_until = 0.0  # until then something that began before the hunt may still be heard
        self._told_refused = False  # the caller has heard that the refusal counts
        self._referred = 0  # how many of the targets have not taken the call
        self._refer_until = 0.0
        self.hunt = Hunt()
        self._waits_until = 0.0
        self.transfer: Transfer | None = None
        self._busy_until = 0.0  # an operator who is gone before that has not heard that his transfer failed
        self.conversation: Conversation | None = None
        self._held: frozenset[int] = frozenset()  # legs on hold before the bridge
        self._indicated: e.Indication = "off"  # what devices know of the tap
        self._presses: dict[int, tuple[Press, ...]] = {}  # of each leg, those that may be heard again
        self._typed = Typed()  # by the operator who has answered
        self._now = 0.0
        self._commands: list[e.Command] = []

    @property
    def deadline(self) -> float | None:
        """When `TimePassed` is due (monotonic s)."""
        return min(self._timers.values(), default=None)

    @property
    def tapping(self) -> bool:
        """Whether the bridge is being recorded."""
        return self.conversation is not None and self.conversation.tapping

    @property
    def captured(self) -> bool:
        """Whether something has been recorded that a refusal would erase."""
        return self.conversation is not None and self.conversation.captured

    def _decide(self, decision: Decision, by: DecidedBy, **how: Any) -> bool:
        """Move the recording's own machine; False where it may not move there."""
        decided_before = self.consent.decision is not Decision.UNDECIDED
        place = _DECIDED_IN.get(self.phase) or ("call" if decided_before else None)
        later = Consent(decision, by, self._now, place, **how)
        if not self.consent.becomes(later):
            return False
        self.consent = later
        who: Who = "caller" if by in ("dtmf", "voice", "sip") else "operator" if by == "operator" else "agent"
        self._note(f"decision: {decision} ({by})", who)
        talking = self.phase in (Phase.BRIDGED, Phase.TRANSFER)
        if self.policy.in_call_voice and talking and "late" not in self._timers:  # nothing is left to refuse
            self._do(e.Listen(CALLER, tones=not self._telephone_event, voice=False))
        return True

    def _indicate(self) -> None:
        """Devices are told of the tap what has changed; at the end they hear it from the BYE."""
        talk = self.conversation
        now: e.Indication = "off" if not (talk and talk.tapping) else "paused" if talk.paused else "on"
        if now != self._indicated and self.phase not in (Phase.ENDING, Phase.ENDED):
            self._indicated = now
            self._do(e.Indicate(now))

    def _stop_tap(self, keep: bool) -> None:
        if self.conversation:
            self._do(*self.conversation.stop_tap(keep))
            self._note("recording stopped" if keep else ERASED, "agent")

    def _play(self, prompt: Prompt) -> None:
        self._playing = prompt
        self._do(e.Play(CALLER, prompt))

    def _do(self, *commands: e.Command) -> None:
        self._commands += commands

    def _note(self, what: str, by: Who) -> None:
        self.story.tell(self._now, what, by)

    # --- the end ---

    def _farewell(self, prompt: Prompt, outcome: Outcome) -> None:
        self.phase = Phase.FAREWELL
        self._timers.clear()
        self.story.outcome = self.story.outcome or outcome
        self._play(prompt)

    def _farewell_said(self, fact: e.PromptEnded) -> None:
        if fact.prompt is self._playing:
            self._do(e.HangUp(CALLER))
            self._end(self.story.outcome or "failed")

    def _end(self, outcome: Outcome) -> None:
        """A tap is closed only once all that the caller had sent has been listened to.

        Who is gone before what began in the window could be heard is not recorded: half a second at most,
        also where the caller has been on the way to another operator since.
        """
        if self.tapping and ("late" in self._timers or self._now < self._late_until):
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
        self.story.sum_up(self._now)
        self._timers.clear()
        self.phase = Phase.ENDED
        self._do(e.Finish())
