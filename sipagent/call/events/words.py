"""The words of facts and commands: legs, sounds, and what was meant."""

from enum import StrEnum
from typing import Literal

CALLER = 0

Method = Literal["rfc4733", "info", "inband"]
Sound = Literal["tone", "speech"]
Problem = Literal["unreachable", "no_answer", "busy", "declined", "refused", "silent"]
Indication = Literal["on", "off", "paused"]  # as RFC 7866 section 6.1.2 says it


class Prompt(StrEnum):
    """A sound of `[prompts]`, named by its key there."""

    CHOOSE = "choose"
    NOTICE = "notice"
    WELCOME = "welcome"
    REFUSED = "refused"
    CONFIRM = "confirm"
    CLOSED = "closed"
    UNAVAILABLE = "unavailable"
    PLEASE_HOLD = "please_hold"
    HOLD_MUSIC = "hold_music"


class Tone(StrEnum):
    """A short acknowledgement that both sides of the bridge hear."""

    RECORDING_ON = "recording_on"
    RECORDING_OFF = "recording_off"
    PAUSED = "paused"
    RESUMED = "resumed"
    FLAGGED = "flagged"


class Wish(StrEnum):
    """What a spoken phrase says about the recording."""

    REFUSE = "refuse"
    ACCEPT = "accept"
    UNCLEAR = "unclear"
    OTHER = "other"
