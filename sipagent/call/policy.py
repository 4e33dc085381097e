"""The numbers and names that the call flow goes by."""

from dataclasses import dataclass, field
from enum import StrEnum

from sipagent.call.machines.codes import Codes

MEDIA_WAIT_S = 0.5  # the notice doesn't wait longer for the caller's first RTP packet
CHOICE_S = 3.0  # after "for English, press 2", for the key
VERDICT_S = 3.0  # what began in the window gets this long to be understood
LATE_S = 0.5  # what began before the window closed is heard at the latest this much after it
RETRY_S = 3.0  # between two rounds over the operators
REACH_S = 4.0  # a phone for which nothing answers within this is unreachable (RFC 3261's timer B is 32 s)
SOUND_S = 3.0  # who has answered and sends no sound within this has vanished
PLEASE_HOLD_S = 20.0  # between two "please hold"
LISTENING_S = 1.0  # at the end: for what the caller had still sent to be listened to
RETRY_AFTER_S = 10  # what a caller who finds no room is told (RFC 3261 section 20.33)
HASTE_S = 1.0  # a phone that is gone so soon after a transfer that was busy did not wait to hear of it
ROOM_S = 2.0  # for a leg that was given up to be gone, where a transfer needs its place
REFER_ANSWER_S = 20.0  # for our REFER to be answered; pjsip ends the call where it is not in 32
REQUEST_TERMINATED = 487  # the status of an INVITE that its caller cancelled (RFC 3261 section 21.4.25)


class Phase(StrEnum):
    OFFERED = "offered"
    ANSWERED = "answered"
    CHOICE = "choice"
    NOTICE = "notice"
    WINDOW = "window"
    CONFIRM = "confirm"
    HUNT = "hunt"
    REFER = "refer"
    BRIDGED = "bridged"
    TRANSFER = "transfer"
    FAREWELL = "farewell"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says about calls. Digits are single DTMF characters, times seconds.

    `choices`: the keys of the first prompt, each with the language that it chooses; none: no such prompt.
    """

    opt_in: bool = False
    refusal_digit: str = "9"
    accept_digit: str = "1"
    choices: tuple[tuple[str, str], ...] = ()
    voice: bool = False
    in_call_voice: bool = False
    window_s: float = 5.0
    ring_s: float = 20.0
    max_wait_s: float = 120.0
    simultaneous: bool = False
    refer_targets: tuple[str, ...] = ()  # where a call goes that is not recorded; empty: it stays
    transfer_targets: tuple[str, ...] = ()  # where an operator's phone may send a caller
    codes: Codes = field(default_factory=Codes)
    stop_erases: bool = True
    recording: bool = True
    full_status: int = 503
