"""An operator's phone sends the caller to another one: the conversation goes on there, in the same recording.

Meanwhile the caller hears music, the recording is silent, and the operator who gave the caller away is no
party any more. Who is rung has as long as in the hunt: to be reached, to answer, and then to be heard. Only
the operator's phone may ask for it (`AllowTransfer`), and only for one of the configured targets.
"""

from sipagent import events as e
from sipagent import policy
from sipagent import referral as r
from sipagent.callrefer import Referring
from sipagent.conversation import Conversation
from sipagent.events import CALLER, Prompt
from sipagent.hunt import Operator, refused
from sipagent.policy import Phase
from sipagent.transfer import Transfer

BUSY, NO_ANSWER, DECLINED = 486, 480, 603  # what the phone that asked is told (RFC 3261 section 21)
UNHEARD = (408, 481)  # what becomes of a NOTIFY that nobody answers, or of which the phone knows nothing


class Transferring(Referring):
    """The part of `callflow.CallFlow` between an operator's REFER and the next conversation."""

    def _transfer_asked(self, fact: r.TransferAsked) -> None:
        operator, talk = self.hunt.operator, self.conversation
        if self.phase is not Phase.BRIDGED or operator is None or talk is None or fact.leg != operator.leg:
            self._do(r.TellTransfer(fact.leg, DECLINED, last=True))
            self._do(*([e.DeclineOperator(fact.target)] if fact.free else []))
        elif not fact.free:
            self._note(f"transfer to {fact.target}: busy", "operator")
            self._do(r.TellTransfer(fact.leg, BUSY, last=True), *self._may_transfer(operator))
            self._busy_until = self._now + policy.HASTE_S
        else:
            self._note(f"transfer to {fact.target}", "operator")
            self._do(r.Separate(operator.leg))
            self.transfer = Transfer(operator, fact.target, fact.replaces)
            self._gives_away(talk)
            self._do(r.TellTransfer(operator.leg, 100, last=not fact.room))
            if fact.room:
                self._ring_target(self.transfer)
            else:
                self._do(e.HangUp(operator.leg))
                self._timers["transfer"] = self._now + policy.ROOM_S

    def _gives_away(self, talk: Conversation) -> None:
        self.phase, self.hunt.operator = Phase.TRANSFER, None
        self._do(*talk.alone())
        self._play(Prompt.HOLD_MUSIC)

    def _leg_gone(self, fact: e.LegGone) -> None:
        """A phone that hung up as soon as its REFER was accepted, to one who is busy, is rung again.

        Its BYE may cross the word that the colleague won't come. So is one that leaves that word unanswered
        or disowns it: the engine ends the call for it, up to 32 s later (RFC 3261 section 12.2.1.2, where
        RFC 5057 section 5.1 would have only the subscription end).
        """
        operator, talk = self.hunt.operator, self.conversation
        unheard = bool(self._busy_until) and fact.status in UNHEARD
        in_haste = self.phase is Phase.BRIDGED and (unheard or self._now < self._busy_until)
        if in_haste and operator and talk and operator.leg == fact.leg:
            self._note("lost" if unheard else "hung up", "operator")
            self._gives_away(talk)
            self._ring_target(Transfer(operator, operator.uri, there=False))
        else:
            super()._leg_gone(fact)

    def _transfer_denied(self, fact: r.TransferDenied) -> None:
        self._note("transfer refused with 403", "caller" if fact.leg == CALLER else "operator")

    def _ring_target(self, transfer: Transfer) -> None:
        leg, until = self.hunt.next_leg(), self._now + self.policy.ring_s
        self.transfer = transfer.rings(leg, self.tapping, until)
        self._timers["transfer"] = min(until, self._now + policy.REACH_S)
        self._note(f"ringing {transfer.target}", "agent")
        self._do(e.DialOperator(leg, transfer.target, self.tapping, transfer.replaces))

    def _target_reached(self, fact: e.OperatorReached) -> None:
        if self.transfer and self.transfer.leg == fact.leg and self.transfer.waits:
            self._timers["transfer"] = self.transfer.rings_until

    def _transfer_answered(self, fact: e.OperatorAnswered) -> None:
        transfer = self.transfer
        if transfer is None or transfer.leg != fact.leg or transfer.given_up:
            self._do(e.HangUp(fact.leg))  # its 200 crossed our CANCEL
        elif transfer.waits:
            self.transfer = transfer.answers(fact.leg, fact.telephone_event)
            self._timers["transfer"] = self._now + policy.SOUND_S
            if fact.leg in self._held:
                self._target_heard(self.transfer)

    def _target_audible(self, fact: e.MediaArrived) -> None:
        if self.transfer and self.transfer.leg == fact.leg:
            self._target_heard(self.transfer)

    def _held_in_transfer(self, fact: e.LegHeld) -> None:
        self._leg_held(fact)
        if self.transfer and self.transfer.leg == fact.leg:
            self._target_heard(self.transfer)  # silent by choice

    def _target_heard(self, transfer: Transfer) -> None:
        """Who has answered is there: the giver is not needed any more."""
        if transfer.answered is None or transfer.given_up:
            return
        self._do(*transfer.tells(200))
        if transfer.there:
            self._do(e.HangUp(transfer.giver.leg))
        self._arrived(transfer.answered)

    @property
    def spare_legs(self) -> int:
        """How many legs of the call's could be given up for another caller."""
        return max(0, len(self.hunt.ringing) - 1) + bool(self.transfer and self.transfer.spare)

    def _giver_spared(self, _: e.LegWanted) -> None:
        transfer = self.transfer
        if transfer and transfer.spare:
            giver = transfer.giver
            self._do(r.TellTransfer(giver.leg, 100, last=True), e.HangUp(giver.leg))
            self._note(f"{giver.uri}: given up for another caller", "agent")
            self.transfer = transfer.left()

    def _arrived(self, operator: Operator) -> None:
        self.transfer, self.hunt.operator = None, operator
        self._timers.pop("transfer", None)
        self._bridge(operator)

    def _transfer_timeout(self) -> None:
        transfer = self.transfer
        if transfer is None:
            return
        if transfer.leg is None:
            self._ring_target(transfer.left())  # the leg is not gone yet: the engine may still find room
        elif transfer.given_up:
            self._transfer_failed(transfer, NO_ANSWER)
        else:  # unreachable, or nobody has come to the phone, or nothing was heard of who has
            self._do(e.HangUp(transfer.leg))
            if transfer.there:
                self._transfer_failed(transfer, NO_ANSWER)
            else:  # its leg may be the one that is needed to ring the giver again
                self.transfer = transfer.gives_up()
                self._timers["transfer"] = self._now + policy.ROOM_S

    def _transfer_failed(self, transfer: Transfer, status: int) -> None:
        why = "answered and sent nothing" if transfer.answered else "no answer"
        self._note(f"{transfer.target}: {why if status == NO_ANSWER else f'refused with {status}'}", "agent")
        self._do(*transfer.tells(status))
        if transfer.there:
            self._busy_until = self._now + policy.HASTE_S
            self._arrived(transfer.giver)
        elif not transfer.returning:
            self._ring_target(transfer.returns())
        else:
            self.transfer = None
            late = self._late_until
            self._hunt()
            self._late_until = late  # nothing new was said to the notice
        self._do(self._target_report(transfer, status))

    def _target_report(self, transfer: Transfer, status: int) -> e.ReportOperator:
        if transfer.answered:
            return e.ReportOperator(transfer.target, "silent")
        if status != NO_ANSWER:
            return refused(transfer.target, status)
        has_rung = self._now >= transfer.rings_until
        return e.ReportOperator(transfer.target, "no_answer" if has_rung else "unreachable")

    def _side_is_over(self, leg: int, status: int, why: str) -> None:
        transfer = self.transfer
        if transfer is None:
            super()._side_is_over(leg, status, why)
        elif leg == CALLER:
            self._drop_transfer()
            super()._side_is_over(leg, status, why)
        elif leg == transfer.giver.leg and transfer.there:
            self._note(why, "operator")
            self.transfer = transfer.left()
            if transfer.leg is None:
                self._ring_target(self.transfer)
        elif leg == transfer.leg:
            refused = status >= 300 and not transfer.given_up
            self._transfer_failed(transfer, status if refused else NO_ANSWER)

    def _drop_transfer(self) -> None:
        transfer, self.transfer = self.transfer, None
        if transfer:
            self._do(*transfer.drop())

    def _service_ending(self, fact: e.ServiceEnding) -> None:
        self._drop_transfer()
        super()._service_ending(fact)
