"""From the decision to an operator's answer: whom to ring, what the caller hears, when either gives up."""

from sipagent import events as e
from sipagent import policy
from sipagent.callbridge import Bridging
from sipagent.events import CALLER, Prompt
from sipagent.hunt import Operator
from sipagent.policy import Phase


class Hunting(Bridging):
    """The part of `callflow.CallFlow` that finds an operator, and the ends of legs."""

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
