"""From an operator's answer on: the tap, the codes that an operator may press, holds, and what goes wrong."""

from sipagent import events as e
from sipagent import policy
from sipagent import referral as r
from sipagent.callstate import CallState
from sipagent.consent import Decision
from sipagent.conversation import Conversation
from sipagent.events import CALLER
from sipagent.hunt import Operator
from sipagent.policy import Phase
from sipagent.story import FLAGGED


class Bridging(CallState):
    """The part of `callflow.CallFlow` in which caller and operator hear each other."""

    def _bridge(self, operator: Operator) -> None:
        self.phase = Phase.BRIDGED
        story = self.story
        story.outcome, story.operator, story.talked = "connected", operator.uri, story.talked | {operator.uri}
        self._note(f"bridged with {operator.uri}", "operator")
        self._do(e.StopPlaying(CALLER), e.Bridge(operator.leg), *self._may_transfer(operator))
        self._do(e.Listen(operator.leg, tones=not operator.telephone_event, voice=False))
        self._playing, self._told_refused = None, True
        if self.conversation:  # which goes on with somebody else
            self._do(*self.conversation.joined(operator.leg, operator.recorded))
        else:
            story.connected_at = self._now
            self._begin_conversation(operator)

    def _begin_conversation(self, operator: Operator) -> None:
        if self._now < self._late_until:
            self._timers["late"] = self._late_until
        else:
            self._heard_out()
        record = self.consent.allowed and self._notice_complete
        self.conversation = Conversation(self.policy.codes, operator.leg, self._held)
        self._do(*self.conversation.begin(operator.uri, record, shown=operator.recorded))
        if record:
            self._note("recording started", "agent")

    def _may_transfer(self, operator: Operator) -> list[e.Command]:
        """To any of the targets but the operator's own phone."""
        targets = tuple(uri for uri in self.policy.transfer_targets if uri != operator.uri)
        return [r.AllowTransfer(operator.leg, targets)] if targets else []

    def _answered_late(self, fact: e.OperatorAnswered) -> None:
        """A 200 of somebody who is needed no longer."""
        if self.hunt.operator is None or self.hunt.operator.leg != fact.leg:
            self._do(e.HangUp(fact.leg))

    def _heard_out(self) -> None:
        """From here on the caller's conversation is listened to only where no other way brings a key."""
        if self._hearing and self._now < self._late_until + policy.VERDICT_S:
            self._timers["late"] = self._now + policy.LATE_S
        else:
            self._do(e.Listen(CALLER, tones=not self._telephone_event, voice=False))

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
            self._silenced_too_often(talk)
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
            self._silenced_too_often(self.conversation)

    def _silenced_too_often(self, talk: Conversation) -> None:
        if talk.too_many:
            self._do(e.Alert("recording stopped: silenced too often"))
            self._stop_tap(keep=True)

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
