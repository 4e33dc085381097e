"""From the decision to an operator's answer: whom to ring, what the caller hears, when either gives up.

Who answers is bridged as soon as the leg sends something (and what a refusing caller hears has ended): the
caller hears music until then, and a phone that answers and vanishes is nobody's conversation.
"""

from sipagent import events as e
from sipagent import policy
from sipagent.callbridge import Bridging
from sipagent.events import CALLER, Prompt
from sipagent.hunt import Operator, refused
from sipagent.policy import Phase


class Hunting(Bridging):
    """The part of `callflow.CallFlow` that finds an operator, and the ends of legs."""

    def _hunt(self) -> None:
        self._leave_the_notice()
        self.phase = Phase.HUNT
        self._late_until = self._now + policy.LATE_S
        self._waits_until = self._now + self.policy.max_wait_s
        self._timers.clear()
        self._wait()
        self._play(self._while_waiting())
        self._do(*self.hunt.again())

    def _wait(self) -> None:
        """The clocks of a caller for whom nobody has answered."""
        self._timers.setdefault("max_wait", self._waits_until)
        self._timers.setdefault("please_hold", self._now + policy.PLEASE_HOLD_S)

    def _leave_the_notice(self) -> None:
        if self._playing is Prompt.NOTICE and self._notice_began is not None:  # it is cut short here
            self.story.notice_played_ms = round((self._now - self._notice_began) * 1000)
        self._hearing = frozenset()

    def _while_waiting(self) -> Prompt:
        return Prompt.REFUSED if self.consent.refused and not self._told_refused else Prompt.HOLD_MUSIC

    # --- whom to ring ---

    def _operator_offered(self, fact: e.OperatorOffered) -> None:
        if self.phase is not Phase.HUNT or self.hunt.operator:
            self._do(e.DeclineOperator(fact.uri))  # asked for before another had answered
            return
        self._timers.pop("retry", None)
        rings_until = self._now + self.policy.ring_s
        gives_up_at = min(rings_until, self._now + policy.REACH_S)
        recorded = self.tapping if self.conversation else self.consent.allowed
        self._do(*self.hunt.dial(fact.uri, recorded, gives_up_at, rings_until))
        self._note(f"ringing {fact.uri}", "agent")
        self._ring_on()

    def _ring_on(self) -> None:
        """Wake up when the first of those who ring is to be given up, and to ask for more of them."""
        self._timers.pop("ring", None)
        if (deadline := self.hunt.deadline) is not None:
            self._timers["ring"] = deadline
            if self.policy.simultaneous:
                self._timers.setdefault("retry", self._now + policy.RETRY_S)

    def _reached(self, fact: e.OperatorReached) -> None:
        self.hunt.reached(fact.leg)
        self._ring_on()

    def _seek_on(self) -> None:
        """One of those who were rung won't do: the next is asked for."""
        self._timers.pop("retry", None)
        self._ring_on()
        self._do(*self.hunt.seek())

    def _rung_out(self) -> None:
        for operator in self.hunt.overdue(self._now):
            self.hunt.lose(operator.leg)
            self._do(e.HangUp(operator.leg))
            self._do(e.ReportOperator(operator.uri, "no_answer" if operator.reached else "unreachable"))
            self._note(f"{operator.uri}: {'no answer' if operator.reached else 'unreachable'}", "agent")
        self._seek_on()

    def _nobody(self, _: e.NoOperatorFree) -> None:
        if not self.hunt.ringing and not self.hunt.operator:
            self._timers.setdefault("retry", self._now + policy.RETRY_S)

    def _retry(self) -> None:
        self._do(*(self.hunt.seek() if self.hunt.ringing else self.hunt.again()))
        self._ring_on()

    def _somebody(self, _: e.OperatorFree) -> None:
        """Somebody has become free: a caller who waits need not wait until the next look."""
        if self._timers.pop("retry", None) is not None:
            self._retry()

    def _leg_wanted(self, _: e.LegWanted) -> None:
        if spared := self.hunt.spare():
            self._do(e.HangUp(spared.leg))
            self._note(f"{spared.uri}: given up for another caller", "agent")
            self._ring_on()

    # --- what the caller hears ---

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
        self._playing = None
        self._join()
        if self.phase is Phase.HUNT:
            self._play(Prompt.HOLD_MUSIC)

    # --- an answer ---

    def _answered(self, fact: e.OperatorAnswered) -> None:
        if self.hunt.operator and fact.leg == self.hunt.operator.leg:
            return
        operator = self.hunt.answered(fact.leg, fact.telephone_event)
        if operator is None:
            self._do(e.HangUp(fact.leg))  # its 200 crossed our CANCEL
            return
        self._do(*self.hunt.elsewhere())
        self._timers = {"sound": self._now + policy.SOUND_S}
        self._join()

    def _audible(self, fact: e.MediaArrived) -> None:
        if self.hunt.audible(fact.leg):
            self._timers.pop("sound", None)
            self._join()

    def _held_in_hunt(self, fact: e.LegHeld) -> None:
        self._leg_held(fact)
        self._join()

    def _join(self) -> None:
        """Bridge caller and operator, if nothing has to be waited for: sound from the phone, or a prompt."""
        operator = self.hunt.operator
        silent_by_choice = operator is not None and operator.leg in self._held
        if operator and (operator.audible or silent_by_choice) and self._playing is not Prompt.REFUSED:
            self._timers.clear()
            self._bridge(operator)

    def _no_sound(self) -> None:
        if operator := self.hunt.operator:
            self.hunt.lose(operator.leg)
            self._do(e.HangUp(operator.leg), e.ReportOperator(operator.uri, "silent"))
            self._hunt_on(operator, "answered and sent nothing")

    def _hunt_on(self, operator: Operator, why: str) -> None:
        """One who was rung won't come, or has answered and vanished: the clocks of the hunt run again."""
        self._note(f"{operator.uri}: {why}", "agent")
        if operator.answered:
            self._timers.pop("sound", None)
            self._wait()
        self._seek_on()

    # --- the ends of legs ---

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
        elif lost := self.hunt.lose(leg):
            if self.phase is Phase.HUNT:
                self._do(*([refused(lost.uri, status)] if status >= 300 else []))
                self._hunt_on(lost, f"refused with {status}" if status >= 300 else why)
            else:
                self._note(why, "operator")
                self._do(e.HangUp(CALLER))
                self._end("connected")

    def _media_lost(self, fact: e.MediaLost) -> None:
        self._do(e.HangUp(fact.leg))
        self._side_is_over(fact.leg, 0, "no media")

    def _service_ending(self, _: e.ServiceEnding) -> None:
        self._note("the service is stopping", "agent")
        self._do(e.HangUp(CALLER))
        self._do(*self.hunt.drop())
        self._end(self.story.outcome or "failed")
