"""How a call ends: a last prompt, what was still to be listened to, the recording, the receipt."""

from sipagent.call import events as e
from sipagent.call import timing
from sipagent.call.events import CALLER, Prompt
from sipagent.call.machines import Decision, Outcome
from sipagent.call.state import CallState, Phase


def say_farewell(call: CallState, prompt: Prompt, outcome: Outcome) -> None:
    call.phase = Phase.FAREWELL
    call.timers.clear()
    call.story.outcome = call.story.outcome or outcome
    call.play(prompt)


def farewell_said(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is call.playing:
        call.do(e.HangUp(CALLER))
        end(call, call.story.outcome or "failed")


def end(call: CallState, outcome: Outcome) -> None:
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
        call.timers["listening"] = call.now + timing.LISTENING_S
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
