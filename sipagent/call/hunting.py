"""From the decision to an operator's answer: rings phones, plays music, and gives up in time.

An operator who answers is bridged as soon as the leg sends a packet (and a refusing caller has heard the
prompt to its end): the caller hears music until then, and a phone that answers and vanishes is nobody's
conversation.
"""

from sipagent.call import bridge
from sipagent.call import events as e
from sipagent.call.events import Prompt
from sipagent.call.machines import Operator
from sipagent.call.state import CallState, Phase

MOST_PLACES = 10  # that are said by their number


def hunt(call: CallState) -> None:
    leave_the_notice(call)
    call.phase = Phase.HUNT
    call.late_until = call.now + e.LATE_S
    call.waits_until = call.now + call.policy.max_wait_s
    call.timers.clear()
    wait(call)
    call.play(while_waiting(call))
    call.do(*call.hunt.again())


def wait(call: CallState) -> None:
    """The clocks of a caller for whom nobody has answered."""
    call.timers.setdefault("max_wait", call.waits_until)
    call.timers.setdefault("please_hold", call.now + e.PLEASE_HOLD_S)


def leave_the_notice(call: CallState) -> None:
    if call.playing is Prompt.NOTICE and call.notice_began is not None:  # it is cut short here
        call.story.notice_played_ms = round((call.now - call.notice_began) * 1000)
    call.hearing = frozenset()


def while_waiting(call: CallState) -> Prompt:
    return Prompt.REFUSED if call.consent.refused and not call.told_refused else Prompt.HOLD_MUSIC


def operator_offered(call: CallState, fact: e.OperatorOffered) -> None:
    if call.phase is not Phase.HUNT or call.hunt.operator:
        call.do(e.DeclineOperator(fact.uri))  # asked for before another had answered
        return
    call.timers.pop("retry", None)
    rings_until = call.now + call.policy.ring_s
    gives_up_at = min(rings_until, call.now + e.REACH_S)
    call.do(*call.hunt.dial(fact.uri, call.sign, gives_up_at, rings_until))
    call.note(f"ringing {fact.uri}", "agent")
    ring_on(call)


def ring_on(call: CallState) -> None:
    """Wake up when the first of those who ring is to be given up, and to ask for more of them."""
    call.timers.pop("ring", None)
    if (deadline := call.hunt.deadline) is not None:
        call.timers["ring"] = deadline
        if call.policy.simultaneous:
            call.timers.setdefault("retry", call.now + e.RETRY_S)


def reached(call: CallState, fact: e.OperatorReached) -> None:
    call.hunt.reached(fact.leg)
    ring_on(call)


def seek_on(call: CallState) -> None:
    """One of those who were rung won't do: the next is asked for."""
    call.timers.pop("retry", None)
    ring_on(call)
    call.do(*call.hunt.seek())


def rung_out(call: CallState) -> None:
    for operator in call.hunt.overdue(call.now):
        call.hunt.lose(operator.leg)
        call.do(e.HangUp(operator.leg))
        call.do(e.ReportOperator(operator.uri, "no_answer" if operator.reached else "unreachable"))
        call.note(f"{operator.uri}: {'no answer' if operator.reached else 'unreachable'}", "agent")
    seek_on(call)


def nobody(call: CallState, fact: e.NoOperatorFree) -> None:
    if not call.hunt.ringing and not call.hunt.operator:
        call.timers.setdefault("retry", call.now + e.RETRY_S)
        call.place = fact.place
        if call.policy.say_position and call.place and not call.told_place:
            please_hold(call)


def retry(call: CallState) -> None:
    call.do(*(call.hunt.seek() if call.hunt.ringing else call.hunt.again()))
    ring_on(call)


def somebody(call: CallState, _: e.OperatorFree) -> None:
    """An operator has become free: a waiting call asks the board at once."""
    if call.timers.pop("retry", None) is not None:
        retry(call)


def leg_wanted(call: CallState, _: e.LegWanted) -> None:
    if spared := call.hunt.spare():
        call.do(e.HangUp(spared.leg))
        call.note(f"{spared.uri}: given up for another caller", "agent")
        ring_on(call)


def please_hold(call: CallState) -> None:
    call.timers["please_hold"] = call.now + e.PLEASE_HOLD_S
    if call.playing is Prompt.HOLD_MUSIC:
        call.play(comfort(call))


def comfort(call: CallState) -> Prompt:
    """The caller's place, where it is to be said and has changed."""
    place = call.place if call.policy.say_position and not call.hunt.ringing else 0
    if place in (0, call.told_place):
        return Prompt.PLEASE_HOLD
    call.told_place = place
    return Prompt(f"position_{place}") if place <= MOST_PLACES else Prompt.POSITION_MORE


def waited_enough(call: CallState) -> None:
    call.do(*call.hunt.drop())
    bridge.say_farewell(call, Prompt.UNAVAILABLE, "unavailable")


def prompt_ended(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is not call.playing:
        return
    call.playing = None
    join(call)
    if call.phase is Phase.HUNT:
        call.play(Prompt.HOLD_MUSIC)


def answered(call: CallState, fact: e.OperatorAnswered) -> None:
    if call.hunt.operator and fact.leg == call.hunt.operator.leg:
        return
    operator = call.hunt.answered(fact.leg, fact.telephone_event)
    if operator is None:
        call.do(e.HangUp(fact.leg))  # its 200 crossed our CANCEL
        return
    call.do(*call.hunt.elsewhere())
    call.timers = {"sound": call.now + e.SOUND_S}
    join(call)


def audible(call: CallState, fact: e.MediaArrived) -> None:
    if call.hunt.audible(fact.leg):
        call.timers.pop("sound", None)
        join(call)


def held(call: CallState, fact: e.LegHeld) -> None:
    bridge.leg_held(call, fact)
    join(call)


def join(call: CallState) -> None:
    """Bridge caller and operator, if nothing has to be waited for: sound from the phone, or a prompt."""
    operator = call.hunt.operator
    silent_by_choice = operator is not None and operator.leg in call.held
    if operator and (operator.audible or silent_by_choice) and call.playing is not Prompt.REFUSED:
        call.timers.clear()
        bridge.bridge(call, operator)


def no_sound(call: CallState) -> None:
    if operator := call.hunt.operator:
        call.hunt.lose(operator.leg)
        call.do(e.HangUp(operator.leg), e.ReportOperator(operator.uri, "silent"))
        hunt_on(call, operator, "answered and sent nothing")


def hunt_on(call: CallState, operator: Operator, why: str) -> None:
    """An operator who was rung won't come, or has answered and vanished: the hunt's clocks run again."""
    call.note(f"{operator.uri}: {why}", "agent")
    if operator.answered:
        call.timers.pop("sound", None)
        wait(call)
    seek_on(call)
