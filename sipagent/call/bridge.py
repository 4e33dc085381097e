"""From an operator's answer on: the tap, the codes that an operator may press, holds, and what goes wrong;
and the end of any call: a last prompt, what was still to be listened to, the recording, the receipt."""

from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt, Sign
from sipagent.call.machines import (
    AWAITED,
    BEGUN,
    BRIDGED,
    FLAGGED,
    STOPPED,
    Conversation,
    Decision,
    Operator,
    Order,
    Outcome,
)
from sipagent.call.state import CallState, Phase


def bridge(call: CallState, operator: Operator) -> None:
    call.phase = Phase.BRIDGED
    story = call.story
    story.answered(operator.uri)
    call.note(f"{BRIDGED}{operator.uri}", "operator")
    call.do(e.StopPlaying(CALLER), e.Bridge(operator.leg), *may_transfer(call, operator))
    events = call.changed_keys.get(operator.leg, operator.telephone_event)
    call.do(e.Listen(operator.leg, tones=not events, voice=False))
    call.playing, call.told_refused = None, True
    if call.conversation:  # which goes on with somebody else
        call.do(*call.conversation.joined(operator.leg, is_misled(call, operator)))
    else:
        story.connected_at = call.now
        begin_conversation(call, operator)


def begin_conversation(call: CallState, operator: Operator) -> None:
    if "speech" in call.hearing:  # it began before the bridge, and is understood after it
        call.late_speech, call.late_until = True, max(call.now, call.late_until)
    if call.now < call.late_until:
        call.timers["late"] = call.late_until
    else:
        heard_out(call)
    record, misled = call.sign is Sign.REC, is_misled(call, operator)
    call.conversation = Conversation(operator.leg, call.held)
    call.do(*call.conversation.begin(operator.uri, record, misled))
    if record:
        call.note("recording started", "agent")
    elif call.sign is Sign.MAY_REC:
        call.note(AWAITED, "agent")


def is_misled(call: CallState, operator: Operator) -> bool:
    """Whether the operator's phone has promised a recording that is not to be had, or not yet."""
    return operator.sign not in (Sign.NO_REC, call.sign)


def may_transfer(call: CallState, operator: Operator) -> list[e.Command]:
    """To any of the targets but the operator's own phone."""
    targets = tuple(uri for uri in call.policy.transfer_targets if uri != operator.uri)
    return [e.AllowTransfer(operator.leg, targets)] if targets else []


def answered_late(call: CallState, fact: e.OperatorAnswered) -> None:
    """A phone that is needed no longer answers 200."""
    if call.hunt.operator is None or call.hunt.operator.leg != fact.leg:
        call.do(e.HangUp(fact.leg))


def heard_out(call: CallState) -> None:
    """From here on it is listened to only where no other way brings a key, or a word may still erase."""
    if call.hearing and call.now < call.late_until + e.VERDICT_S:
        call.timers["late"] = call.now + e.LATE_S
    else:
        listen_on(call)


def listen_on(call: CallState) -> None:
    aloud = call.policy.in_call_voice and call.consent.allowed
    call.do(e.Listen(CALLER, tones=not call.telephone_event, voice=aloud, in_call=aloud))


def keys_negotiated(call: CallState, fact: e.KeysNegotiated) -> None:
    """A re-INVITE may lead to another device, which says its keys in another way."""
    if fact.leg == CALLER:
        call.telephone_event = fact.telephone_event
        if call.conversation and "late" not in call.timers and call.phase is not Phase.ENDING:
            listen_on(call)
    else:
        call.changed_keys[fact.leg] = fact.telephone_event
        operator = call.hunt.operator
        if call.phase is Phase.BRIDGED and operator and operator.leg == fact.leg:
            call.do(e.Listen(fact.leg, tones=not fact.telephone_event, voice=False))


def operator_digit(call: CallState, fact: e.DtmfPressed) -> None:
    """A code may begin before the bridge: the first key is all that a muted phone has sent until then.

    It counts if it ends in the conversation, and only on the leg of an operator who takes part in that.
    """
    operator = call.hunt.operator or (call.transfer.answered if call.transfer else None)
    if operator is None or fact.leg != operator.leg:
        return
    call.typed, order = call.typed.then(call.policy.codes, fact.leg, fact.digit, fact.method, call.now)
    if order and call.phase is Phase.BRIDGED and call.conversation:
        obey(call, order, call.conversation)


def obey(call: CallState, order: Order, talk: Conversation) -> None:
    """Every code is answered by a tone; if nothing is recorded, by the tone for that.

    An operator who flags a threat must not believe that it is kept.
    """
    if order == "flag":
        call.story.flagged = True
        call.note(FLAGGED, "operator")
        call.do(e.PlayTone(e.Tone.FLAGGED if talk.captured else e.Tone.RECORDING_OFF))
    elif order == "pause" and talk.running:
        call.do(*talk.toggle_pause())
        call.note("paused" if talk.paused else "resumed", "operator")
        silenced_too_often(call, talk)
    elif order == "stop" and (talk.running or (talk.captured and call.policy.stop_erases)):
        call.note(STOPPED, "operator")
        if call.operator_begins and not call.policy.stop_erases:
            call.do(*talk.rest())
            call.note("recording stopped", "agent")
            silenced_too_often(call, talk)
            return
        if call.policy.stop_erases:
            call.decide(Decision.NOT_ALLOWED, "operator")
        call.stop_tap(keep=not call.policy.stop_erases)
    elif order == "record" and (talk.tapping or call.sign is Sign.MAY_REC):
        if not talk.running:
            call.note(BEGUN, "operator")
            call.note("recording started" if not talk.captured else "recording goes on", "agent")
        call.do(*talk.record(call.story.operator or ""))
    else:
        call.note(f"{order} code, and nothing is recorded", "operator")
        call.do(e.PlayTone(e.Tone.RECORDING_OFF))


def leg_held(call: CallState, fact: e.LegHeld) -> None:
    call.held |= {fact.leg}
    call.note("hold", "caller" if fact.leg == CALLER else "operator")
    if call.conversation:
        call.do(*call.conversation.held(fact.leg, fact.sends))
        silenced_too_often(call, call.conversation)


def silenced_too_often(call: CallState, talk: Conversation) -> None:
    if talk.too_many:
        call.do(e.Alert("recording stopped: silenced too often"))
        call.story.not_recorded_because = "silenced"
        call.stop_tap(keep=True)


def leg_resumed(call: CallState, fact: e.LegResumed) -> None:
    call.held -= {fact.leg}
    call.note("hold ended", "caller" if fact.leg == CALLER else "operator")
    if call.conversation:
        call.do(*call.conversation.resumed(fact.leg))


def tap_failed(call: CallState, fact: e.TapFailed) -> None:
    if call.tapping:
        call.do(e.Alert(f"recording stopped: {fact.reason}"))
        call.story.not_recorded_because = fact.because
        call.decide(Decision.NOT_ALLOWED, "recorder_fault")
        call.stop_tap(keep=True)


def hearing_failed(call: CallState, fact: e.HearingFailed) -> None:
    """Fail closed: of who can't be heard refusing nothing is kept, nor by a recovery."""
    call.do(e.Alert(f"listening failed: {fact.reason}"))
    call.decide(Decision.NOT_ALLOWED, "unclear")
    if call.captured:
        call.stop_tap(keep=False)


def say_farewell(call: CallState, prompt: Prompt, outcome: Outcome) -> None:
    call.phase = Phase.FAREWELL
    call.timers.clear()
    call.story.outcome = call.story.outcome or outcome
    call.play(prompt)


def farewell_said(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is call.playing:
        call.do(e.HangUp(CALLER))
        end_call(call, call.story.outcome or "failed")


def end_call(call: CallState, outcome: Outcome) -> None:
    """A tap is closed only once all that the caller had sent has been listened to.

    A caller who hangs up before words that began in the window could be heard is not recorded: half a second
    at most, also if the caller has been on the way to another operator since.
    """
    if call.tapping and ("late" in call.timers or call.now < call.late_until):
        call.decide(Decision.NOT_ALLOWED, "unclear")
    call.timers.clear()
    call.story.outcome = outcome
    if call.captured:
        call.phase = Phase.ENDING
        call.timers["listening"] = call.now + e.LISTENING_S
        call.do(e.Listen(CALLER, tones=False, voice=False))
    else:
        finish(call, outcome)


def listened(call: CallState, _: e.ListeningEnded) -> None:
    close(call)


def close(call: CallState) -> None:
    if call.tapping:
        call.stop_tap(keep=call.consent.allowed)
    finish(call, call.story.outcome or "failed")


def finish(call: CallState, outcome: Outcome) -> None:
    call.story.outcome = outcome
    call.story.sum_up(call.now)
    call.timers.clear()
    call.phase = Phase.ENDED
    call.do(e.Finish())
