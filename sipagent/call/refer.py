"""A call that is not recorded leaves by REFER, if the trunk takes it: its legs here are free then.

The policy follows the trunk's NOTIFYs to the last (RFC 3515 section 2.4.5); the caller hears music
meanwhile. If the REFER fails, operators are rung as for every other call.
"""

from sipagent.call import end, hunting, timing
from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt
from sipagent.call.state import CallState, Phase


def may_leave(call: CallState) -> bool:
    """Whether it is to be tried: there are targets, and nothing of the call may be recorded."""
    may_be_recorded = call.consent.allowed and call.notice_complete
    return bool(call.policy.refer_targets) and not may_be_recorded and not call.conversation


def depart(call: CallState) -> None:
    hunting.leave_the_notice(call)
    call.phase = Phase.REFER
    call.timers.clear()
    call.play(hunting.while_waiting(call))
    if call.playing is not Prompt.REFUSED:  # its end is waited for: the target would cut it short
        refer(call)


def prompt_ended(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is not call.playing:
        return
    call.told_refused = call.told_refused or fact.prompt is Prompt.REFUSED
    call.play(Prompt.HOLD_MUSIC)
    if "refer" not in call.timers:
        refer(call)


def refer(call: CallState) -> None:
    target = call.policy.refer_targets[call.referred]
    call.refer_until = call.now + call.policy.ring_s
    call.timers["refer"] = min(call.refer_until, call.now + timing.REFER_ANSWER_S)
    call.note(f"referred to {target}", "agent")
    call.do(e.Refer(CALLER, target))


def answered(call: CallState, fact: e.ReferAnswered) -> None:
    if "refer" not in call.timers:
        return
    if 200 <= fact.status < 300:
        call.timers["refer"] = call.refer_until
    else:
        stay(call, f"REFER refused with {fact.status}" if fact.status else "REFER could not be sent")


def notified(call: CallState, fact: e.ReferNotified) -> None:
    if call.phase not in (Phase.REFER, Phase.HUNT) or fact.status < 200:
        return
    if fact.status < 300:  # also one that comes late, while operators ring
        departed(call)
    elif "refer" in call.timers:
        call.note(f"{call.policy.refer_targets[call.referred]}: refused with {fact.status}", "agent")
        call.referred += 1
        if call.referred < len(call.policy.refer_targets):
            refer(call)
        else:
            stay(call, "nobody took the call by REFER")


def departed(call: CallState) -> None:
    call.story.operator = call.policy.refer_targets[min(call.referred, len(call.policy.refer_targets) - 1)]
    call.story.connected_at = call.now
    call.note("transferred", "agent")
    call.do(*call.hunt.drop(), e.HangUp(CALLER))
    end.end(call, "transferred")


def unheard(call: CallState) -> None:
    stay(call, "no word of what became of REFER")


def stay(call: CallState, why: str) -> None:
    """The bridge after all."""
    call.note(why, "agent")
    call.do(e.GiveUpRefer(CALLER))
    hunting.hunt(call)
