"""A call that is not recorded leaves by REFER, where the trunk takes it: its legs here are free then.

What the trunk tells of it is followed to its end (RFC 3515 section 2.4.5), and the caller hears music
meanwhile. Where it doesn't succeed, operators are rung as for every other call.
"""

from sipagent import events as e
from sipagent import policy
from sipagent import referral as r
from sipagent.callhunt import Hunting
from sipagent.events import CALLER, Prompt
from sipagent.policy import Phase


class Referring(Hunting):
    """The part of `callflow.CallFlow` that sends a caller away."""

    def _hunt(self) -> None:
        may_be_recorded = self.consent.allowed and self._notice_complete
        if self.policy.refer_targets and not may_be_recorded and not self.conversation:
            self._depart()
        else:
            super()._hunt()

    def _depart(self) -> None:
        self._leave_the_notice()
        self.phase = Phase.REFER
        self._timers.clear()
        self._play(self._while_waiting())
        if self._playing is not Prompt.REFUSED:  # its end is waited for: the target would cut it short
            self._refer()

    def _depart_prompt_ended(self, fact: e.PromptEnded) -> None:
        if fact.prompt is not self._playing:
            return
        self._told_refused = self._told_refused or fact.prompt is Prompt.REFUSED
        self._play(Prompt.HOLD_MUSIC)
        if "refer" not in self._timers:
            self._refer()

    def _refer(self) -> None:
        target = self.policy.refer_targets[self._referred]
        self._refer_until = self._now + self.policy.ring_s
        self._timers["refer"] = min(self._refer_until, self._now + policy.REFER_ANSWER_S)
        self._note(f"referred to {target}", "agent")
        self._do(r.Refer(CALLER, target))

    def _refer_answered(self, fact: r.ReferAnswered) -> None:
        if "refer" not in self._timers:
            return
        if 200 <= fact.status < 300:
            self._timers["refer"] = self._refer_until
        else:
            self._stay(f"REFER refused with {fact.status}" if fact.status else "REFER could not be sent")

    def _refer_notified(self, fact: r.ReferNotified) -> None:
        if self.phase not in (Phase.REFER, Phase.HUNT) or fact.status < 200:
            return
        if fact.status < 300:  # also one that comes late, while operators ring
            self._departed()
        elif "refer" in self._timers:
            self._note(f"{self.policy.refer_targets[self._referred]}: refused with {fact.status}", "agent")
            self._referred += 1
            if self._referred < len(self.policy.refer_targets):
                self._refer()
            else:
                self._stay("nobody took the call by REFER")

    def _departed(self) -> None:
        self.story.operator = self.policy.refer_targets[
            min(self._referred, len(self.policy.refer_targets) - 1)
        ]
        self.story.connected_at = self._now
        self._note("transferred", "agent")
        self._do(*self.hunt.drop(), e.HangUp(CALLER))
        self._end("transferred")

    def _refer_unheard(self) -> None:
        self._stay("no word of what became of REFER")

    def _stay(self, why: str) -> None:
        """The bridge after all."""
        self._note(why, "agent")
        self._do(r.GiveUpRefer(CALLER))
        super()._hunt()
