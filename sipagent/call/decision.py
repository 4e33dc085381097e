"""The caller has decided, by word, key or device; and what comes after a decision."""

from typing import Any

from sipagent.call import events as e
from sipagent.call import hunting, refer
from sipagent.call.events import CALLER, Prompt
from sipagent.call.machines.consent import DecidedBy, Decision
from sipagent.call.policy import Phase
from sipagent.call.state import Accepted, CallState


def go_on(call: CallState) -> None:
    """After the decision: the call leaves by REFER where it may, else operators are rung."""
    if refer.may_leave(call):
        refer.depart(call)
    else:
        hunting.hunt(call)


def allow(call: CallState, how: Accepted) -> None:
    if isinstance(how, e.KeywordHeard):
        call.decide(Decision.ALLOWED, "voice", **said(how))
    else:
        call.decide(Decision.ALLOWED, "dtmf", method=how)
    go_on(call)


def refuse(call: CallState, by: DecidedBy, **how: Any) -> None:
    if not call.decide(Decision.REFUSED, by, **how):
        return
    if call.phase in (Phase.CHOICE, Phase.NOTICE, Phase.WINDOW, Phase.CONFIRM):
        go_on(call)
        return
    if call.captured:
        call.stop_tap(keep=False)
    elif call.phase is Phase.BRIDGED:
        call.do(e.PlayTone(e.Tone.RECORDING_OFF))  # as it was: a key without an answer leaves one guessing
    if call.phase in (Phase.HUNT, Phase.REFER) and not call.told_refused:
        call.play(Prompt.REFUSED)


def declined(call: CallState, fact: e.RecordingDeclined) -> None:
    """The caller's device says it for the caller. Of the other wishes that it may have none is a yes."""
    if fact.leg == CALLER:
        refuse(call, "sip")


def said(heard: e.KeywordHeard | None) -> dict[str, Any]:
    """What a decision by speech tells of it."""
    return {"keyword": heard.keyword or None, "confidence": heard.confidence} if heard else {}
