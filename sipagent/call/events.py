"""The facts about a call (past tense) and the commands that answer them (imperative).

Facts travel inwards: engine, listener, recorder and clock put them into the agent's inbox, and
`flow.CallFlow.handle` takes them one by one. Commands travel outwards: the agent carries them out.
All of them are frozen values without behaviour; nothing here knows a clock, a thread or a socket.

A leg is named by a small number within its call: 0 is the caller, 1, 2, 3, … are the operators in the
order in which they were dialled.

In this order: how long the call flow waits for what, in seconds; the words that facts and commands share;
the facts of REFER (RFC 3515) and the orders that answer them; all other facts; all other commands.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

MEDIA_WAIT_S = 0.5  # the notice doesn't wait longer for the caller's first RTP packet
CHOICE_S = 3.0  # after "for English, press 2", for the key
SURE_S = 0.5  # a refusal that no notice promises gets this long to become sure, before it is asked about
VERDICT_S = 3.0  # speech that began in the window gets this long to be understood
LATE_S = 0.5  # speech that began before the window closed is heard at the latest this much after it
RETRY_S = 3.0  # between two rounds over the operators
REACH_S = 4.0  # a phone for which nothing answers within this is unreachable (RFC 3261's timer B is 32 s)
SOUND_S = 3.0  # an operator who has answered and sends no sound within this has vanished
MOST_DETAILS = 2  # how often the details of the notice are told in one call
PLEASE_HOLD_S = 20.0  # between two "please hold"
LISTENING_S = 1.0  # at the end: for what the caller had still sent to be listened to
RETRY_AFTER_S = 10  # in the 503 to a caller for whom there is no room (RFC 3261 section 20.33)
HASTE_S = 1.0  # a phone that is gone so soon after a transfer that was busy did not wait to hear of it
ROOM_S = 2.0  # for a leg that was given up to be gone, where a transfer needs its place
REFER_ANSWER_S = 20.0  # for our REFER to be answered; pjsip ends the call where it is not in 32

CALLER = 0

Method = Literal["rfc4733", "info", "inband"]
SoundKind = Literal["tone", "speech"]
DialProblem = Literal["unreachable", "no_answer", "busy", "declined", "refused", "silent"]
Indication = Literal["on", "off", "paused"]  # as RFC 7866 section 6.1.2 says it


class Prompt(StrEnum):
    """A sound of `[prompts]`, named by its key there."""

    CHOOSE = "choose"
    MESSAGE = "message"  # one of `[messages]`: what is different today
    NOTICE = "notice"
    DETAILS = "details"
    WELCOME = "welcome"
    REFUSED = "refused"
    CONFIRM = "confirm"
    CLOSED = "closed"
    UNAVAILABLE = "unavailable"
    PLEASE_HOLD = "please_hold"
    HOLD_MUSIC = "hold_music"
    POSITION_1 = "position_1"  # "you are number one": shipped, and no key of the table
    POSITION_2 = "position_2"
    POSITION_3 = "position_3"
    POSITION_4 = "position_4"
    POSITION_5 = "position_5"
    POSITION_6 = "position_6"
    POSITION_7 = "position_7"
    POSITION_8 = "position_8"
    POSITION_9 = "position_9"
    POSITION_10 = "position_10"
    POSITION_MORE = "position_more"


class Tone(StrEnum):
    """A short acknowledgement that both sides of the bridge hear, or, before it, the caller alone."""

    YOUR_TURN = "your_turn"

    RECORDING_ON = "recording_on"
    RECORDING_OFF = "recording_off"
    PAUSED = "paused"
    RESUMED = "resumed"
    FLAGGED = "flagged"


class Sign(StrEnum):
    """What an operator's phone shows before the caller. MAY_REC: the operator's code begins the recording."""

    REC = "REC"
    NO_REC = "NO REC"
    MAY_REC = "MAY REC"


class Wish(StrEnum):
    """The meaning of a spoken phrase for the recording."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    UNCLEAR = "unclear"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that has happened in a call."""


@dataclass(frozen=True, slots=True)
class LegFact(Fact):
    """On one of its legs."""

    leg: int


@dataclass(frozen=True, slots=True)
class LegOrder:
    """A command that is about one leg."""

    leg: int


@dataclass(frozen=True, slots=True)
class TransferAsked(LegFact):
    """An operator's phone has asked by REFER that the caller go to `target` (RFC 3515), one of those that
    `AllowTransfer` named. Its REFER has been accepted and waits for `TellTransfer`.

    `replaces`: the value of the Replaces header that takes over the phone's own call there (RFC 3891), empty
    for a blind transfer. `free`: nobody else rings or talks there; `room`: there may be a third leg.
    """

    target: str
    replaces: str = ""
    free: bool = True
    room: bool = True


@dataclass(frozen=True, slots=True)
class TransferDenied(LegFact):
    """A leg has asked for a transfer that it may not have; the answer was 403."""


@dataclass(frozen=True, slots=True)
class ReferAnswered(LegFact):
    """The final answer to our REFER on a leg: below 300, `ReferNotified` follows. 0: it could not be sent."""

    status: int


@dataclass(frozen=True, slots=True)
class ReferNotified(LegFact):
    """A NOTIFY reports how our REFER goes: the status in a sipfrag, 100 and more (RFC 3515 section 2.4.4)."""

    status: int


@dataclass(frozen=True, slots=True)
class Separate(LegOrder):
    """Caller and operator hear each other no longer; both legs stay up."""


@dataclass(frozen=True, slots=True)
class AllowTransfer(LegOrder):
    """Accept one REFER from a leg, to one of these URIs; anything else gets 403, as from every other leg."""

    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TellTransfer(LegOrder):
    """Send a leg a NOTIFY about the transfer that it asked for; `last`: no other follows."""

    status: int
    last: bool


@dataclass(frozen=True, slots=True)
class Refer(LegOrder):
    """Ask a leg's other side by REFER to call `uri` in our place: `ReferAnswered`, `ReferNotified` follow."""

    uri: str


@dataclass(frozen=True, slots=True)
class GiveUpRefer(LegOrder):
    """Wait no longer for the answer to a REFER."""


@dataclass(frozen=True, slots=True)
class CallOffered(Fact):
    """An INVITE outside any dialog has come in, with the answers that the policy needs about it.

    `may_choose`: a key chooses the language, not the number that was dialled. `language`: of the notice,
    without such a key. `operator_begins`: nothing is recorded before the operator types the code for it.
    `messages`: of one that comes before the notice today, by language, what the receipt says of it.
    `closed`: what it says where it is closed today.
    """

    source_allowed: bool
    number_known: bool
    room: bool
    draining: bool
    open: bool
    sampled: bool
    operator_begins: bool = False
    may_choose: bool = False
    draw: str = ""  # how that came about, for the receipt
    language: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    closed: str = ""


@dataclass(frozen=True, slots=True)
class CallConfirmed(Fact):
    """The caller's ACK has arrived; `telephone_event`: its SDP offers RFC 4733 events."""

    telephone_event: bool


@dataclass(frozen=True, slots=True)
class MediaArrived(LegFact):
    """A leg's first RTP packet has arrived since it was answered."""

    leg: int = CALLER


@dataclass(frozen=True, slots=True)
class MediaFoundElsewhere(LegFact):
    """A leg's first packets come from another address than its SDP names: our sound went past it so far."""


@dataclass(frozen=True, slots=True)
class MediaSourceFound(LegFact):
    """It is known whence a leg's sound comes. `own`: from an address that its SDP or its SIP names.

    Else it is heard by `trunk.media_sources` alone, or comes from elsewhere and is not heard.
    """

    own: bool


@dataclass(frozen=True, slots=True)
class PromptEnded(Fact):
    """A prompt is over; `complete`: every sample of it went out. `played_ms` counts from its start."""

    prompt: Prompt
    played_ms: int
    complete: bool


@dataclass(frozen=True, slots=True)
class EssentialHeard(Fact):
    """The essential part of the notice, which is being played, has been sent to the caller."""


@dataclass(frozen=True, slots=True)
class DtmfPressed(LegFact):
    """A digit (0-9, *, #, A-D) was pressed on a leg, heard by one of the three ways.

    `at`: when it came, or when its tone sounded, however late that was heard (monotonic s); None: now.
    """

    digit: str
    method: Method
    at: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class HearingBegan(Fact):
    """A tone or an utterance has begun on the caller's leg; a digit, a verdict or `HearingEnded` follows."""

    what: SoundKind


@dataclass(frozen=True, slots=True)
class HearingEnded(Fact):
    """A sound that had begun came to nothing: no digit, no words about the recording."""

    what: SoundKind


@dataclass(frozen=True, slots=True)
class KeywordHeard(Fact):
    """An utterance of the caller's was judged to speak of the recording (confidence 0 to 1).

    `sure`: false for a refusal that is asked about where the notice has promised no word.
    """

    meaning: Wish
    keyword: str
    confidence: float
    sure: bool = True


@dataclass(frozen=True, slots=True)
class ListeningEnded(Fact):
    """Everything that the caller's leg had sent has been listened to; nothing more will be heard."""


@dataclass(frozen=True, slots=True)
class OperatorOffered(Fact):
    """The board of operators names the next one to ring."""

    uri: str


@dataclass(frozen=True, slots=True)
class NoOperatorFree(Fact):
    """No operator is left to ring for now. `place`: the call's, of those that wait, from 1; 0: not known."""

    place: int = 0


@dataclass(frozen=True, slots=True)
class OperatorFree(Fact):
    """An operator has become free; whoever waits may ask the board again."""


@dataclass(frozen=True, slots=True)
class OperatorReached(LegFact):
    """A provisional response has come: something answers for the operator's phone, if only a PBX."""


@dataclass(frozen=True, slots=True)
class LegWanted(Fact):
    """Legs are short: of several phones that ring for this caller, one is enough."""


@dataclass(frozen=True, slots=True)
class OperatorAnswered(LegFact):
    """An operator's 200 has arrived; `telephone_event`: its SDP negotiated RFC 4733 events."""

    telephone_event: bool


@dataclass(frozen=True, slots=True)
class KeysNegotiated(LegFact):
    """A leg's SDP has come to have RFC 4733 events, or to have none any more (a re-INVITE)."""

    telephone_event: bool


@dataclass(frozen=True, slots=True)
class LegHeld(LegFact):
    """A leg put us on hold (RFC 3264 section 8.4); `sends`: it goes on sending, music as a rule."""

    sends: bool


@dataclass(frozen=True, slots=True)
class LegResumed(LegFact):
    """A held leg is back in both directions."""


@dataclass(frozen=True, slots=True)
class LegGone(LegFact):
    """A leg has ended, or never came to be: `status` is the last SIP status, 0 if none."""

    status: int


@dataclass(frozen=True, slots=True)
class MediaLost(LegFact):
    """A leg that has to send audio sent neither RTP nor RTCP for `capacity.media_timeout_s`."""


@dataclass(frozen=True, slots=True)
class RecordingDeclined(LegFact):
    """A leg's device asks in its SDP not to be recorded (`a=recordpref:off`, RFC 7866 section 6.2.2)."""


@dataclass(frozen=True, slots=True)
class TapFailed(Fact):
    """The recorder can't go on (disk full, stalled writer). `because`: see `retention.shortfall`."""

    reason: str
    because: str = "disk"


@dataclass(frozen=True, slots=True)
class HearingFailed(Fact):
    """The caller's leg can't be listened to: that no refusal is heard means nothing any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServiceEnding(Fact):
    """The process has to end now: calls still up are to be ended properly."""


@dataclass(frozen=True, slots=True)
class TimePassed(Fact):
    """The flow's `deadline` has been reached. `late_s`: what phones sent may have lain unread for so long."""

    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drop:
    """Have nothing to do with the request, beyond counting it."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the INVITE with a final response; `retry_after_s` becomes Retry-After (RFC 3261 20.33)."""

    status: int
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerCaller:
    """Answer the caller with 200."""


@dataclass(frozen=True, slots=True)
class Play(LegOrder):
    """Play a prompt to a leg in place of what it hears; hold music loops, the others end once."""

    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Speak:
    """Play the prompts of a language from here on (`en`)."""

    language: str


@dataclass(frozen=True, slots=True)
class StopPlaying(LegOrder):
    """Stop at once what is being played to a leg; no `PromptEnded` follows."""


@dataclass(frozen=True, slots=True)
class PlayTone:
    """Let both sides of the bridge hear a short acknowledgement."""

    tone: Tone


@dataclass(frozen=True, slots=True)
class Listen(LegOrder):
    """Listen on a leg for in-band tones, for words, or (neither) no more: `ListeningEnded` follows then.

    `in_call`: for the words that count during the call alone.
    """

    tones: bool
    voice: bool
    in_call: bool = False


@dataclass(frozen=True, slots=True)
class SeekOperator:
    """Ask the board for operators; an `OperatorOffered` for each, or `NoOperatorFree`, follows."""

    tried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeclineOperator:
    """Give an operator who was offered back to the board: it may offer him to another caller."""

    uri: str


@dataclass(frozen=True, slots=True)
class DialOperator(LegOrder):
    """Ring an operator as leg `leg`; the phone shows the sign before the caller.

    `replaces`: the call of the phone's that this one takes the place of (RFC 3891); empty: none.
    """

    uri: str
    sign: Sign
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class HangUp(LegOrder):
    """End a leg: CANCEL, BYE or a final response, whichever fits its state.

    `elsewhere`: another phone has answered, so this one need not show a missed call (RFC 3326 section 2).
    """

    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Bridge(LegOrder):
    """Let the caller and an operator hear each other."""


@dataclass(frozen=True, slots=True)
class StartTap:
    """Begin the recording of the bridge."""

    operator: str


@dataclass(frozen=True, slots=True)
class SilenceTap:
    """Write silence of the right length in place of both channels, or stop doing so; or it goes on, and `why`
    is another: `paused`, `stopped`, `transfer`, `hold`."""

    on: bool
    why: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class StopTap:
    """End the recording; keep it, or erase what it had captured, also where it had ended before."""

    keep: bool


@dataclass(frozen=True, slots=True)
class Indicate:
    """Let devices that understand it know whether the conversation is recorded (`a=record`, RFC 7866)."""

    recording: Indication


@dataclass(frozen=True, slots=True)
class Alert:
    """Tell who runs the service that something needs a look; the call goes on."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReportOperator:
    """Count a phone that was rung in vain, and log one that is out of order. `status`: its answer, or 0."""

    uri: str
    problem: DialProblem
    status: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over and its receipt complete."""


Command = (
    Drop
    | Reject
    | AnswerCaller
    | Play
    | Speak
    | StopPlaying
    | PlayTone
    | Listen
    | SeekOperator
    | DeclineOperator
    | DialOperator
    | HangUp
    | Bridge
    | Separate
    | AllowTransfer
    | TellTransfer
    | Refer
    | GiveUpRefer
    | StartTap
    | SilenceTap
    | StopTap
    | Indicate
    | Alert
    | ReportOperator
    | Finish
)
