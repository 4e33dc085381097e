"""What happens to a call (past tense)."""

from dataclasses import dataclass

from sipagent.call.events.words import CALLER, Method, Prompt, Sound, Wish
from sipagent.call.referral import ReferralFact


@dataclass(frozen=True, slots=True)
class CallOffered:
    """An INVITE outside any dialog has come in. What the rest of the world said of it comes along.

    `may_choose`: it is by a key that the language is chosen, not by the number that was dialled. `language`:
    of the notice, without such a key.
    """

    source_allowed: bool
    number_known: bool
    room: bool
    draining: bool
    open: bool
    sampled: bool
    may_choose: bool = False
    draw: str = ""  # how that came about, for the receipt
    language: str = ""


@dataclass(frozen=True, slots=True)
class CallConfirmed:
    """The caller's ACK has arrived; `telephone_event`: its SDP offers RFC 4733 events."""

    telephone_event: bool


@dataclass(frozen=True, slots=True)
class MediaArrived:
    """A leg's first RTP packet has arrived since it was answered."""

    leg: int = CALLER


@dataclass(frozen=True, slots=True)
class MediaFoundElsewhere:
    """A leg's first packets come from another address than its SDP names: our sound went past it so far."""

    leg: int


@dataclass(frozen=True, slots=True)
class MediaSourceFound:
    """It is known whence a leg's sound comes. `own`: from an address that its SDP or its SIP names.

    Else it is heard by `trunk.media_sources` alone, or comes from elsewhere and is not heard.
    """

    leg: int
    own: bool


@dataclass(frozen=True, slots=True)
class PromptEnded:
    """A prompt is over; `complete`: every sample of it went out. `played_ms` counts from its start."""

    prompt: Prompt
    played_ms: int
    complete: bool


@dataclass(frozen=True, slots=True)
class DtmfPressed:
    """A digit (0-9, *, #, A-D) was pressed on a leg, heard by one of the three ways."""

    leg: int
    digit: str
    method: Method


@dataclass(frozen=True, slots=True)
class HearingBegan:
    """A tone or an utterance has begun on the caller's leg; a digit, a verdict or `HearingEnded` follows."""

    what: Sound


@dataclass(frozen=True, slots=True)
class HearingEnded:
    """What had begun came to nothing: no digit, no words about the recording."""

    what: Sound


@dataclass(frozen=True, slots=True)
class KeywordHeard:
    """An utterance of the caller's was judged to speak of the recording (confidence 0 to 1).

    `sure`: false for a refusal that is asked about where the notice has promised no word.
    """

    meaning: Wish
    keyword: str
    confidence: float
    sure: bool = True


@dataclass(frozen=True, slots=True)
class ListeningEnded:
    """Everything that the caller's leg had sent has been listened to; nothing more will be heard."""


@dataclass(frozen=True, slots=True)
class OperatorOffered:
    """The board of operators names the next one to ring."""

    uri: str


@dataclass(frozen=True, slots=True)
class NoOperatorFree:
    """No operator is left to ring for now."""


@dataclass(frozen=True, slots=True)
class OperatorFree:
    """An operator has become free; whoever waits may ask the board again."""


@dataclass(frozen=True, slots=True)
class OperatorReached:
    """A provisional response has come: something answers for the operator's phone, if only a PBX."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegWanted:
    """Legs are short: of several phones that ring for this caller, one is enough."""


@dataclass(frozen=True, slots=True)
class OperatorAnswered:
    """An operator's 200 has arrived; `telephone_event`: its SDP negotiated RFC 4733 events."""

    leg: int
    telephone_event: bool


@dataclass(frozen=True, slots=True)
class KeysNegotiated:
    """A leg's SDP has come to have RFC 4733 events, or to have none any more (a re-INVITE)."""

    leg: int
    telephone_event: bool


@dataclass(frozen=True, slots=True)
class LegHeld:
    """A leg put us on hold (RFC 3264 section 8.4); `sends`: it goes on sending, music as a rule."""

    leg: int
    sends: bool


@dataclass(frozen=True, slots=True)
class LegResumed:
    """A held leg is back in both directions."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegGone:
    """A leg has ended, or never came to be: `status` is the last SIP status, 0 if none."""

    leg: int
    status: int


@dataclass(frozen=True, slots=True)
class MediaLost:
    """A leg that has to send audio sent neither RTP nor RTCP for `capacity.media_timeout_s`."""

    leg: int


@dataclass(frozen=True, slots=True)
class RecordingDeclined:
    """A leg's device asks in its SDP not to be recorded (`a=recordpref:off`, RFC 7866 section 6.2.2)."""

    leg: int


@dataclass(frozen=True, slots=True)
class TapFailed:
    """The recorder can't go on (disk full, stalled writer)."""

    reason: str


@dataclass(frozen=True, slots=True)
class HearingFailed:
    """The caller's leg can't be listened to: that no refusal is heard means nothing any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServiceEnding:
    """The process has to end now: calls still up are to be ended properly."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    """The flow's `deadline` has been reached."""


LegFact = (
    MediaArrived
    | MediaFoundElsewhere
    | MediaSourceFound
    | DtmfPressed
    | OperatorReached
    | OperatorAnswered
    | KeysNegotiated
    | LegHeld
    | LegResumed
    | ReferralFact
    | LegGone
    | MediaLost
    | RecordingDeclined
)

Fact = (
    LegFact
    | CallOffered
    | CallConfirmed
    | PromptEnded
    | HearingBegan
    | HearingEnded
    | KeywordHeard
    | ListeningEnded
    | OperatorOffered
    | NoOperatorFree
    | OperatorFree
    | LegWanted
    | TapFailed
    | HearingFailed
    | ServiceEnding
    | TimePassed
)
