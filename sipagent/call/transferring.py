"""A caller goes elsewhere: an operator's phone sends them to another one, or the trunk takes them back.

An operator's phone sends the caller to another one: the conversation goes on there, in the same recording.

Meanwhile the caller hears music, the recording is silent, and the operator who gave the caller away is no
party any more. The other phone has as long as in the hunt: to be reached, to answer, and then to be heard.
Only the operator's phone may ask for it (`AllowTransfer`), and only for one of the configured targets.

A call that is not recorded leaves by REFER, if the trunk takes it: its legs here are free then (`depart`).
The policy follows the trunk's NOTIFYs to the last (RFC 3515 section 2.4.5); the caller hears music meanwhile.
If the REFER fails, operators are rung as for every other call.
"""

from dataclasses import replace

from sipagent.call import bridge, hunting
from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt
from sipagent.call.machines import Conversation, Operator, Transfer, refused
from sipagent.call.state import CallState, Phase

BUSY, NO_ANSWER, DECLINED = 486, 480, 603  # the statuses for the phone that asked (RFC 3261 section 21)
UNHEARD = (408, 481)  # of a NOTIFY: no answer, or the phone does not know the subscription


def asked(call: CallState, fact: e.TransferAsked) -> None:
    operator, talk = call.hunt.operator, call.conversation
    if call.phase is not Phase.BRIDGED or operator is None or talk is None or fact.leg != operator.leg:
        call.do(e.TellTransfer(fact.leg, DECLINED, last=True))
        call.do(*([e.DeclineOperator(fact.target)] if fact.free else []))
    elif not fact.free:
        call.note(f"transfer to {fact.target}: busy", "operator")
        call.do(e.TellTransfer(fact.leg, BUSY, last=True), *bridge.may_transfer(call, operator))
        call.busy_until = call.now + e.HASTE_S
    else:
        call.note(f"transfer to {fact.target}", "operator")
        call.do(e.Separate(operator.leg))
        call.transfer = Transfer(operator, fact.target, fact.replaces)
        gives_away(call, talk)
        call.do(e.TellTransfer(operator.leg, 100, last=not fact.room))
        if fact.room:
            ring_target(call, call.transfer)
        else:
            call.do(e.HangUp(operator.leg))
            call.timers["transfer"] = call.now + e.ROOM_S


def gives_away(call: CallState, talk: Conversation) -> None:
    call.phase, call.hunt.operator = Phase.TRANSFER, None
    call.do(*talk.alone())
    call.play(Prompt.HOLD_MUSIC)


def denied(call: CallState, fact: e.TransferDenied) -> None:
    call.note("transfer refused with 403", "caller" if fact.leg == CALLER else "operator")


def ring_target(call: CallState, transfer: Transfer) -> None:
    leg, until = call.hunt.next_leg(), call.now + call.policy.ring_s
    call.transfer = replace(transfer, leg=leg, sign=call.sign, rings_until=until)
    call.timers["transfer"] = min(until, call.now + e.REACH_S)
    call.note(f"ringing {transfer.target}", "agent")
    call.do(e.DialOperator(leg, transfer.target, call.sign, transfer.replaces))


def target_reached(call: CallState, fact: e.OperatorReached) -> None:
    if call.transfer and call.transfer.leg == fact.leg and call.transfer.waits:
        call.timers["transfer"] = call.transfer.rings_until


def answered(call: CallState, fact: e.OperatorAnswered) -> None:
    transfer = call.transfer
    if transfer is None or transfer.leg != fact.leg or transfer.given_up:
        call.do(e.HangUp(fact.leg))  # its 200 crossed our CANCEL
    elif transfer.waits:
        call.transfer = transfer.answers(fact.leg, fact.telephone_event)
        call.timers["transfer"] = call.now + e.SOUND_S
        if fact.leg in call.held:
            target_heard(call, call.transfer)


def target_audible(call: CallState, fact: e.MediaArrived) -> None:
    if call.transfer and call.transfer.leg == fact.leg:
        target_heard(call, call.transfer)


def held(call: CallState, fact: e.LegHeld) -> None:
    bridge.leg_held(call, fact)
    if call.transfer and call.transfer.leg == fact.leg:
        target_heard(call, call.transfer)  # silent by choice


def target_heard(call: CallState, transfer: Transfer) -> None:
    """The operator who answered is heard: the giver is not needed any more."""
    if transfer.answered is None or transfer.given_up:
        return
    call.do(*transfer.tells(200))
    if transfer.there:
        call.do(e.HangUp(transfer.giver.leg))
    arrived(call, transfer.answered)


def giver_spared(call: CallState, _: e.LegWanted) -> None:
    transfer = call.transfer
    if transfer and transfer.spare:
        giver = transfer.giver
        call.do(e.TellTransfer(giver.leg, 100, last=True), e.HangUp(giver.leg))
        call.note(f"{giver.uri}: given up for another caller", "agent")
        call.transfer = replace(transfer, there=False)


def arrived(call: CallState, operator: Operator) -> None:
    call.transfer, call.hunt.operator = None, operator
    call.timers.pop("transfer", None)
    bridge.bridge(call, operator)


def timeout(call: CallState) -> None:
    transfer = call.transfer
    if transfer is None:
        return
    if transfer.leg is None:
        # the giver's leg is not gone yet: the engine may still find room
        ring_target(call, replace(transfer, there=False))
    elif transfer.given_up:
        failed(call, transfer, NO_ANSWER)
    else:  # unreachable, unanswered, or answered without sound
        call.do(e.HangUp(transfer.leg))
        if transfer.there:
            failed(call, transfer, NO_ANSWER)
        else:  # its leg may be the one that is needed to ring the giver again
            call.transfer = replace(transfer, given_up=True)
            call.timers["transfer"] = call.now + e.ROOM_S


def failed(call: CallState, transfer: Transfer, status: int) -> None:
    why = "answered and sent nothing" if transfer.answered else "no answer"
    call.note(f"{transfer.target}: {why if status == NO_ANSWER else f'refused with {status}'}", "agent")
    call.do(*transfer.tells(status))
    if transfer.there:
        call.busy_until = call.now + e.HASTE_S
        arrived(call, transfer.giver)
    elif not transfer.returning:
        ring_target(call, transfer.returns())
    else:
        call.transfer = None
        late = call.late_until
        hunting.hunt(call)
        call.late_until = late  # nothing new was said to the notice
    call.do(target_report(call, transfer, status))


def target_report(call: CallState, transfer: Transfer, status: int) -> e.ReportOperator:
    if transfer.answered:
        return e.ReportOperator(transfer.target, "silent")
    if status != NO_ANSWER:
        return refused(transfer.target, status)
    has_rung = call.now >= transfer.rings_until
    return e.ReportOperator(transfer.target, "no_answer" if has_rung else "unreachable")


def drop(call: CallState) -> None:
    transfer, call.transfer = call.transfer, None
    if transfer:
        call.do(*transfer.drop())


def left_in_haste(call: CallState, fact: e.LegGone) -> bool:
    """Whether a phone hung up as soon as its REFER was accepted, to one who is busy: it is rung again.

    Its BYE may cross the NOTIFY that the colleague won't come. A phone that leaves that NOTIFY unanswered
    or disowns it is rung again, too: the engine ends the call for it, up to 32 s later (RFC 3261 section
    12.2.1.2, where RFC 5057 section 5.1 would have only the subscription end).
    """
    operator, talk = call.hunt.operator, call.conversation
    unheard = bool(call.busy_until) and fact.status in UNHEARD
    in_haste = call.phase is Phase.BRIDGED and (unheard or call.now < call.busy_until)
    if not (in_haste and operator and talk and operator.leg == fact.leg):
        return False
    call.note("lost" if unheard else "hung up", "operator")
    gives_away(call, talk)
    ring_target(call, Transfer(operator, operator.uri, there=False))
    return True


def leg_is_over(call: CallState, transfer: Transfer, leg: int, status: int, why: str) -> None:
    """The giver's leg is over, or that of the phone being rung."""
    if leg == transfer.giver.leg and transfer.there:
        call.note(why, "operator")
        call.transfer = replace(transfer, there=False)
        if transfer.leg is None:
            ring_target(call, call.transfer)
    elif leg == transfer.leg:
        refused_it = status >= 300 and not transfer.given_up
        failed(call, transfer, status if refused_it else NO_ANSWER)


def may_leave(call: CallState) -> bool:
    """Whether it is to be tried: there are targets, and nothing of the call may be recorded."""
    return bool(call.policy.refer_targets) and not call.recordable and not call.conversation


def depart(call: CallState) -> None:
    hunting.leave_the_notice(call)
    call.phase = Phase.REFER
    call.timers.clear()
    call.play(hunting.while_waiting(call))
    if call.playing is not Prompt.REFUSED:  # its end is waited for: the target would cut it short
        refer(call)


def refusal_told(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is not call.playing:
        return
    call.told_refused = call.told_refused or fact.prompt is Prompt.REFUSED
    call.play(Prompt.HOLD_MUSIC)
    if "refer" not in call.timers:
        refer(call)


def refer(call: CallState) -> None:
    target = call.policy.refer_targets[call.referred]
    call.refer_until = call.now + call.policy.ring_s
    call.timers["refer"] = min(call.refer_until, call.now + e.REFER_ANSWER_S)
    call.note(f"referred to {target}", "agent")
    call.do(e.Refer(CALLER, target))


def refer_answered(call: CallState, fact: e.ReferAnswered) -> None:
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
    bridge.end_call(call, "transferred")


def unheard(call: CallState) -> None:
    stay(call, "no word of what became of REFER")


def stay(call: CallState, why: str) -> None:
    """The bridge after all."""
    call.note(why, "agent")
    call.do(e.GiveUpRefer(CALLER))
    hunting.hunt(call)
