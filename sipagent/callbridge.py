"""From an operator's answer on: the tap, the codes that an operator may press, holds, and what goes wrong."""

from sipagent import events as e
from sipagent import policy
from sipagent import referral as r
from sipagent.callstate import CallState
from sipagent.codes import Order
from sipagent.consent import Decision
from sipagent.conversation import Conversation
from sipagent.events import CALLER
from sipagent.hunt import Operator
from sipagent.policy import Phase
from sipagent.story import BRIDGED, FLAGGED, STOPPED


class Bridging(CallState):
    """The part of `callflow.CallFlow` in which caller and operator hear each other."""

    def _bridge(self, operator: Operator) -> None:
        self.phase = Phase.BRIDGED
        story = self.story
        story.outcome, story.operator, story.talked = "connected", operator.uri, story.talked | {operator.uri}
        self._note(f"{BRIDGED}{operator.uri}", "operator")
        self._do(e.StopPlaying(CALLER), e.Bridge(operator.leg), *self._may_transfer(operator))
        events = self._changed_keys.get(operator.leg, operator.telephone_event)
        self._do(e.Listen(operator.leg, tones=not events, voice=False))
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
        self.conversation = Conversation(operator.leg, self._held)
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
        """From here on it is listened to only where no other way brings a key, or a word may still erase."""
        if self._hearing and self._now < self._late_until + policy.VERDICT_S:
            self._timers["late"] = self._now + policy.LATE_S
        else:
            self._listen_on()

    def _listen_on(self) -> None:
        aloud = self.policy.in_call_voice and self.consent.allowed
        self._do(e.Listen(CALLER, tones=not self._telephone_event, voice=aloud, in_call=aloud))

    def _keys_negotiated(self, fact: e.KeysNegotiated) -> None:
        """A re-INVITE may lead to another device, which says its keys in another way."""
        if fact.leg == CALLER:
            self._telephone_event = fact.telephone_event
            if self.conversation and "late" not in self._timers and self.phase is not Phase.ENDING:
                self._listen_on()
        else:
            self._changed_keys[fact.leg] = fact.telephone_event
            operator = self.hunt.operator
            if self.phase is Phase.BRIDGED and operator and operator.leg == fact.leg:
                self._do(e.Listen(fact.leg, tones=not fact.telephone_event, voice=False))

    def _operator_digit(self, fact: e.DtmfPressed) -> None:
        """A code may begin before the bridge: the first key is all that a muted phone has sent until then.

        It counts if it ends in the conversation, and only on the leg of who takes part in that.
        """
        operator = self.hunt.operator or (self.transfer.answered if self.transfer else None)
        if operator is None or fact.leg != operator.leg:
            return
        self._typed, order = self._typed.then(self.policy.codes, fact.leg, fact.digit, fact.method, self._now)
        if order and self.phase is Phase.BRIDGED and self.conversation:
            self._obey(order, self.conversation)

    def _obey(self, order: Order, talk: Conversation) -> None:
        """Every code is answered by a tone; where nothing is recorded, by the one that says so.

        Whoever flags a threat must not believe that it is kept.
        """
        if order == "flag":
            self.story.flagged = True
            self._note(FLAGGED, "operator")
            self._do(e.PlayTone(e.Tone.FLAGGED if talk.captured else e.Tone.RECORDING_OFF))
        elif order == "pause" and talk.tapping:
            self._do(*talk.toggle_pause())
            self._note("paused" if talk.paused else "resumed", "operator")
            self._silenced_too_often(talk)
        elif order == "stop" and (talk.tapping or (talk.captured and self.policy.stop_erases)):
            self._note(STOPPED, "operator")
            if self.policy.stop_erases:
                self._decide(Decision.NOT_ALLOWED, "operator")
            self._stop_tap(keep=not self.policy.stop_erases)
        else:
            self._note(f"{order} code, and nothing is recorded", "operator")
            self._do(e.PlayTone(e.Tone.RECORDING_OFF))

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
        """Fail closed: of who can't be heard refusing nothing is kept, nor by a recovery."""
        self._do(e.Alert(f"listening failed: {fact.reason}"))
        self._decide(Decision.NOT_ALLOWED, "unclear")
        if self.captured:
            self._stop_tap(keep=False)
