"""What the listener has concluded of a leg's sound, as facts of the flow."""

from media.hearing.dtmf import ToneDropped, ToneHeard, ToneStarted
from media.hearing.keyword import Meaning, Verdict
from media.hearing.listener import AllHeard, Conclusion, KeywordSpotted, ListenerFailed, SpeechEnded
from media.hearing.vad import SpeechStarted
from sipagent.call import events as e


def concluded(leg: int, conclusion: Conclusion) -> e.Fact:  # noqa: PLR0911 - one a conclusion
    """What the listener has concluded, as a fact of a leg."""
    match conclusion:
        case ToneStarted():
            return e.HearingBegan("tone")
        case ToneDropped():
            return e.HearingEnded("tone")
        case ToneHeard(digit):
            return e.DtmfPressed(leg, digit, "inband")
        case SpeechStarted():
            return e.HearingBegan("speech")
        case KeywordSpotted(verdict):
            return _judged(verdict)
        case SpeechEnded(verdict):
            return _judged(verdict) if verdict else e.HearingEnded("speech")
        case ListenerFailed(reason):
            return e.HearingFailed(reason)
        case AllHeard():
            return e.ListeningEnded()


def _judged(verdict: Verdict) -> e.Fact:
    if verdict.meaning is Meaning.OTHER:
        return e.HearingEnded("speech")
    return e.KeywordHeard(
        e.Wish(verdict.meaning), verdict.keyword or "", verdict.confidence or 0.0, sure=verdict.sure
    )
