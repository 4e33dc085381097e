"""What the configuration says about calls, and the phases that one passes through."""

from dataclasses import dataclass, field
from enum import StrEnum

from sipagent.call.events import Wish
from sipagent.call.machines.codes import Codes


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
    `promised`: the languages whose notice says what to say, each with what that does. Where nothing is
    promised, a refusal that is not sure is asked about, and no word accepts.
    """

    opt_in: bool = False
    refusal_digits: tuple[str, ...] = ("9",)
    accept_digit: str = "1"
    choices: tuple[tuple[str, str], ...] = ()
    voice: bool = False
    in_call_voice: bool = False
    promised: frozenset[tuple[str, Wish]] = frozenset()
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
