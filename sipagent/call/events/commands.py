"""What is to be done about it (imperative)."""

from dataclasses import dataclass

from sipagent.call.events.words import Indication, Problem, Prompt, Tone
from sipagent.call.referral import ReferralOrder


@dataclass(frozen=True, slots=True)
class Drop:
    """Have nothing to do with the request, beyond counting it."""


@dataclass(frozen=True, slots=True)
class Reject:
    """Refuse the INVITE with a final response; `retry_after_s` becomes Retry-After (RFC 3261 20.33)."""

    status: int
    retry_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer the caller with 200."""


@dataclass(frozen=True, slots=True)
class Play:
    """Play a prompt to a leg in place of what it hears; hold music loops, the others end once."""

    leg: int
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Speak:
    """Play the prompts of a language from here on (`en`)."""

    language: str


@dataclass(frozen=True, slots=True)
class StopPlaying:
    """Stop at once what is being played to a leg; no `PromptEnded` follows."""

    leg: int


@dataclass(frozen=True, slots=True)
class PlayTone:
    """Let both sides of the bridge hear a short acknowledgement."""

    tone: Tone


@dataclass(frozen=True, slots=True)
class Listen:
    """Listen on a leg for in-band tones, for words, or (neither) no more: `ListeningEnded` follows then.

    `in_call`: for the words that count during the call alone.
    """

    leg: int
    tones: bool
    voice: bool
    in_call: bool = False


@dataclass(frozen=True, slots=True)
class SeekOperator:
    """Ask the board for operators; an `OperatorOffered` for each, or `NoOperatorFree`, follows."""

    tried: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DeclineOperator:
    """The operator who was offered isn't needed any more: the board may offer him to another caller."""

    uri: str


@dataclass(frozen=True, slots=True)
class DialOperator:
    """Ring an operator as leg `leg`; the phone shows REC or NO REC before the caller.

    `replaces`: the call of the phone's that this one takes the place of (RFC 3891); empty: none.
    """

    leg: int
    uri: str
    recorded: bool
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class HangUp:
    """End a leg: CANCEL, BYE or a final response, whichever fits its state.

    `elsewhere`: another phone has answered, so this one need not show a missed call (RFC 3326 section 2).
    """

    leg: int
    elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class Bridge:
    """Let the caller and an operator hear each other."""

    leg: int


@dataclass(frozen=True, slots=True)
class StartTap:
    """Begin the recording of the bridge."""

    operator: str


@dataclass(frozen=True, slots=True)
class SilenceTap:
    """Write silence of the right length in place of both channels, or stop doing so."""

    on: bool


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
    """Count who was rung in vain, and tell of a phone that is out of order. `status`: its answer, or 0."""

    uri: str
    problem: Problem
    status: int = 0


@dataclass(frozen=True, slots=True)
class Finish:
    """The call is over and its receipt complete."""


Command = (
    Drop
    | Reject
    | Answer
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
    | ReferralOrder
    | StartTap
    | SilenceTap
    | StopTap
    | Indicate
    | Alert
    | ReportOperator
    | Finish
)
