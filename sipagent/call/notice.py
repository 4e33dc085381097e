"""From the INVITE to the decision: greeting, language, message, notice, window; what callers press and say.

A refusal counts whenever it comes, so what it does during the whole call stands here, too.
"""

from typing import Any

from sipagent.call import bridge, hunting, transferring
from sipagent.call import events as e
from sipagent.call.events import CALLER, Prompt
from sipagent.call.machines import DecidedBy, Decision
from sipagent.call.state import Accepted, CallState, Phase, heard_again

BEFORE_WINDOW = (Phase.ANSWERED, Phase.CHOICE, Phase.MESSAGE, Phase.NOTICE, Phase.DETAILS)


def offered(call: CallState, fact: e.CallOffered) -> None:
    if not fact.source_allowed:
        call.do(e.Drop())
        call.phase = Phase.ENDED
    elif not fact.number_known:
        reject(call, 404)
    elif fact.draining or not fact.room:
        reject(call, 503 if fact.draining else call.policy.full_status, e.RETRY_AFTER_S)
    else:
        call.hours_open, call.candidate = fact.open, fact.sampled
        call.operator_begins = fact.operator_begins
        call.chooses, call.language = fact.may_choose, fact.language
        if fact.open and fact.draw and call.policy.recording:
            call.note(fact.draw, "agent")
        if fact.closed and not fact.open:
            call.note(fact.closed, "agent")
        call.messages = dict(fact.messages)
        call.phase = Phase.ANSWERED
        call.do(e.AnswerCaller())


def reject(call: CallState, status: int, retry_after_s: int | None = None) -> None:
    call.do(e.Reject(status, retry_after_s))
    call.note(f"rejected with {status}", "agent")
    bridge.finish(call, "rejected")


def confirmed(call: CallState, fact: e.CallConfirmed) -> None:
    call.story.answered_at = call.now
    call.telephone_event = fact.telephone_event
    call.do(e.Listen(CALLER, tones=True, voice=call.policy.voice))
    call.timers["media"] = call.now + e.MEDIA_WAIT_S
    if call.media_arrived:
        greet(call)


def first_media(call: CallState, _: e.MediaArrived) -> None:
    call.media_arrived = True
    if "media" in call.timers:  # the ACK was there first
        greet(call)


def greet(call: CallState) -> None:
    call.timers.pop("media", None)
    if not call.hours_open:
        bridge.say_farewell(call, Prompt.CLOSED, "closed")
    elif call.chooses and not call.consent.refused:
        call.phase = Phase.CHOICE
        call.play(Prompt.CHOOSE)
    else:
        inform(call)


def choice_heard(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is Prompt.CHOOSE:
        call.playing = None
        call.timers["window"] = call.now + e.CHOICE_S


def choose(call: CallState, digit: str) -> None:
    """The first key that names a language; what follows is in it. No notice was heard before."""
    if language := dict(call.policy.choices).get(digit):
        call.language = language
        call.do(e.Speak(language))
        call.note(f"language: {language}", "caller")
        inform(call)


def inform(call: CallState) -> None:
    """A message of today comes before the notice, and never in its place."""
    call.timers.clear()
    if call.language in call.messages:
        call.phase = Phase.MESSAGE
        call.play(Prompt.MESSAGE)
    else:
        announce(call)


def message_ended(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is Prompt.MESSAGE:
        call.playing = None
        call.message_heard = fact.complete and CALLER not in call.held
        if call.message_heard:
            call.note(call.messages[call.language], "agent")
        announce(call)


def announce(call: CallState) -> None:
    if call.consent.refused:  # by the caller's device, before anything was said
        go_on(call)
    elif call.policy.recording and call.candidate:
        call.phase = Phase.NOTICE
        call.notice_began = call.now
        if CALLER in call.held:  # since the INVITE
            notice_failed(call)
        else:
            call.play(Prompt.NOTICE)
    else:
        call.decide(Decision.NOT_ALLOWED, "sampling" if call.policy.recording else "disabled")
        call.phase = Phase.NOTICE
        call.play(Prompt.WELCOME)


def notice_ended(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is Prompt.WELCOME:
        go_on(call)
    elif fact.prompt is Prompt.NOTICE:
        call.story.notice_played_ms = fact.played_ms
        call.playing = None
        if fact.complete:
            call.notice_heard = True
            after_notice(call)
        else:
            notice_failed(call)


def essential_heard(call: CallState, _: e.EssentialHeard) -> None:
    call.notice_heard = call.notice_heard or call.playing is Prompt.NOTICE


def after_notice(call: CallState) -> None:
    if call.consent.decision is not Decision.UNDECIDED:
        go_on(call)  # listening has failed: there is nothing to wait for, and a key counts later too
    elif call.unclear:
        ask_again(call)
    elif call.wants_details:
        tell_details(call)
    else:
        call.phase = Phase.WINDOW
        open_window(call)


def open_window(call: CallState) -> None:
    """It is the caller's turn, which a soft tone says: silence would leave one guessing."""
    call.timers["window"] = call.now + call.policy.window_s
    call.do(e.PlayTone(e.Tone.YOUR_TURN))


def want_details(call: CallState) -> None:
    """The key for them: during the notice they follow it, in the window they come at once, twice at most."""
    if call.playing is Prompt.NOTICE:
        call.wants_details = True
    elif call.phase is Phase.WINDOW and call.details_told < e.MOST_DETAILS:
        tell_details(call)


def tell_details(call: CallState) -> None:
    call.wants_details, call.details_told = False, call.details_told + 1
    call.phase = Phase.DETAILS
    call.timers.clear()
    call.note("details of the notice", "caller")
    call.play(Prompt.DETAILS)


def details_ended(call: CallState, fact: e.PromptEnded) -> None:
    """A whole window follows, as after the notice."""
    if fact.prompt is Prompt.DETAILS:
        call.details_heard = call.details_heard or fact.complete
        call.playing = None
        after_notice(call)


def notice_failed(call: CallState) -> None:
    call.decide(Decision.NOT_ALLOWED, "notice_failed")
    go_on(call)


def notice_unheard(call: CallState, fact: e.LegHeld) -> None:
    """The caller put us on hold and can't hear the notice: it has failed."""
    call.held |= {fact.leg}
    if call.playing is Prompt.NOTICE:
        notice_failed(call)


def found_elsewhere(call: CallState, fact: e.MediaFoundElsewhere) -> None:
    """Our sound went past the caller until now: a notice that was played by then was not heard."""
    if fact.leg != CALLER or call.notice_began is None:
        return
    if call.playing is Prompt.NOTICE or call.phase in (Phase.DETAILS, Phase.WINDOW, Phase.CONFIRM):
        notice_failed(call)
        return
    call.decide(Decision.NOT_ALLOWED, "notice_failed")
    if call.captured:
        call.stop_tap(keep=False)


def source_found(call: CallState, fact: e.MediaSourceFound) -> None:
    """Sound from an address that neither SDP nor SIP names may be another's: it refuses, allows nothing."""
    if fact.leg != CALLER:
        return
    known_before, call.own_sound = call.own_sound, fact.own
    if fact.own:
        return
    if known_before:
        call.note("sound from an address that neither SDP nor SIP names", "agent")
    if call.consent.allowed:
        call.decide(Decision.NOT_ALLOWED, "notice_failed")
    if call.captured:
        call.stop_tap(keep=False)


def ask_again(call: CallState) -> None:
    call.phase = Phase.CONFIRM
    call.timers.clear()
    call.play(Prompt.CONFIRM)


def asked_again(call: CallState, fact: e.PromptEnded) -> None:
    if fact.prompt is Prompt.CONFIRM:
        call.playing = None
        open_window(call)


def window_over(call: CallState) -> None:
    if call.hearing:
        call.timers["verdict"] = call.now + e.VERDICT_S
    elif call.phase is Phase.CHOICE:
        inform(call)
    elif call.phase is Phase.CONFIRM:
        refuse(call, "unclear", **said(call.unclear))
    elif call.unclear:
        ask_again(call)
    elif not call.own_sound:
        # Our sound goes where theirs comes from: nothing shows that the caller has heard the notice.
        notice_failed(call)
    else:
        call.decide(Decision.NOT_ALLOWED if call.policy.opt_in else Decision.ALLOWED, "silence")
        go_on(call)


def no_verdict(call: CallState) -> None:
    if call.phase is Phase.CHOICE:
        inform(call)
    elif call.phase is Phase.CONFIRM:
        refuse(call, "unclear", **said(call.unclear))
    else:
        call.decide(Decision.NOT_ALLOWED, "unclear", **said(call.unclear))
        go_on(call)


def window_unheard(call: CallState, fact: e.HearingFailed) -> None:
    bridge.hearing_failed(call, fact)
    go_on(call)


# --- what callers press and say ---


def digit(call: CallState, fact: e.DtmfPressed) -> None:
    """A key: whose it is, and what it means there."""
    at = call.now if fact.at is None else fact.at
    recent, again = heard_again(call.presses.get(fact.leg, ()), fact.digit, fact.method, at)
    call.presses[fact.leg] = recent
    if again:
        pass  # one press, heard by two ways
    elif fact.leg != CALLER:
        bridge.operator_digit(call, fact)
    elif fact.digit in call.policy.refusal_digits:
        refuse(call, "dtmf", method=fact.method)
    elif call.phase is Phase.CHOICE:
        choose(call, fact.digit)
    elif fact.digit == call.policy.details_digit and call.language in call.policy.detailed:
        want_details(call)
    elif fact.digit == call.policy.accept_digit:
        accept(call, fact.method)
    if fact.leg == CALLER and fact.method == "inband":
        heard(call, "tone")


def hearing_began(call: CallState, fact: e.HearingBegan) -> None:
    call.hearing |= {fact.what}
    call.asks_about_this &= fact.what != "speech"
    if fact.what == "speech" and call.now < call.late_until:
        call.late_speech = True


def hearing_ended(call: CallState, fact: e.HearingEnded) -> None:
    heard(call, fact.what)


def heard(call: CallState, what: e.SoundKind) -> None:
    """Speech that had begun has its verdict; a window that waited for it is over."""
    call.hearing -= {what}
    if what == "speech":
        call.late_speech = False
    if not call.hearing and call.timers.pop("verdict", None) is not None:
        window_over(call)


def keyword(call: CallState, fact: e.KeywordHeard) -> None:
    if fact.meaning is e.Wish.REFUSE and not is_asked_about(call, fact):
        refuse(call, "voice", keyword=fact.keyword, confidence=fact.confidence)
    elif fact.meaning is e.Wish.ACCEPT:
        accept(call, fact)
    else:
        doubt(call, fact)
    heard(call, "speech")


def is_asked_about(call: CallState, refusal: e.KeywordHeard) -> bool:
    """Whether a recording must not be lost to a word that no notice promises and that may be another one.

    Only a caller who can still be asked is. Words in the same breath are no second refusal.
    """
    if refusal.sure or call.promised(e.Wish.REFUSE) or call.consent.decision is not Decision.UNDECIDED:
        return False
    return call.phase in (*BEFORE_WINDOW, Phase.WINDOW) or call.asks_about_this


def doubt(call: CallState, unclear: e.KeywordHeard) -> None:
    """Doubt is against recording: the caller is asked, and an earlier yes no longer counts.

    While operators are rung it is too late to ask. So whoever was unclear before the bridge is not recorded
    by silence, though it is understood only after that.
    """
    refused = unclear.meaning is e.Wish.REFUSE
    call.asks_about_this |= refused
    if call.phase in BEFORE_WINDOW:
        call.unclear = unclear if refused or not said_no(call) else call.unclear
    elif call.phase is Phase.WINDOW and refused:
        call.unclear = unclear
        call.timers["window"] = call.now + e.SURE_S
    elif call.phase is Phase.WINDOW:
        call.unclear = call.unclear or unclear
        ask_again(call)
    elif (
        (call.late_speech or not call.conversation) and call.consent.by == "silence" and call.consent.allowed
    ):
        call.decide(Decision.NOT_ALLOWED, "unclear", **said(unclear))
        if call.captured:
            call.stop_tap(keep=False)


def accept(call: CallState, how: Accepted) -> None:
    """Ask a caller who was not understood for a key: no word is a yes then, nor one that no notice promises.

    After a possible refusal no key is a yes either, before the caller has been asked. Before the essential
    part of the notice has been heard there is nothing yet that could be accepted.
    """
    spoken = isinstance(how, e.KeywordHeard)
    asked = call.phase is Phase.CONFIRM
    if not is_own(call, how) or (spoken and (call.unclear or asked or not call.promised(e.Wish.ACCEPT))):
        return
    if said_no(call) and not asked:
        return
    if call.notice_heard and call.phase in (Phase.NOTICE, Phase.DETAILS, Phase.WINDOW, Phase.CONFIRM):
        allow(call, how)


def said_no(call: CallState) -> bool:
    """Whether what the caller is asked about, or will be, may be a refusal."""
    return call.unclear is not None and call.unclear.meaning is e.Wish.REFUSE


def is_own(call: CallState, how: Accepted) -> bool:
    """Whether it is the caller who accepts: by INFO, which comes by SIP, or by sound that is the caller's."""
    return call.own_sound or how == "info"


# --- the decision ---


def go_on(call: CallState) -> None:
    """After the decision: the call leaves by REFER where it may, else operators are rung."""
    if transferring.may_leave(call):
        transferring.depart(call)
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
    if call.phase in (*BEFORE_WINDOW[1:], Phase.WINDOW, Phase.CONFIRM):
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
    """The receipt's fields for a decision by speech."""
    return {"keyword": heard.keyword or None, "confidence": heard.confidence} if heard else {}
