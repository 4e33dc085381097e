"""What is typed on a telephone: a press, by which ways it was heard, and the operator's codes."""

from dataclasses import dataclass
from typing import Literal

from sipagent.call.events import Method

CODE_GAP_S = 3.0  # between the digits of an operator's code
SAME_PRESS_S = 0.25  # the same digit by another way within this is the same press
SAME_CODE_S = (
    2.0  # and a whole code: an INFO that was lost comes again 0.5 s and 1.5 s later (RFC 3261 17.1.2)
)
LONGEST = 8  # digits of a code

Order = Literal["stop", "pause", "flag"]


@dataclass(frozen=True, slots=True)
class Press:
    """A digit that has counted: when it was first heard (monotonic s), and by which ways since."""

    digit: str
    at: float
    ways: frozenset[Method]


@dataclass(frozen=True, slots=True)
class Codes:
    """The digits that an operator types; an empty code is switched off."""

    stop: str = "*5"
    pause: str = "*6"
    flag: str = "*7"


@dataclass(frozen=True, slots=True)
class Typed:
    """What an operator has typed so far on a leg, and when the last digit of it came (monotonic s).

    `last`: the code that was complete last, by which way and when.
    """

    leg: int = -1
    digits: str = ""
    at: float = 0.0
    last: tuple[Order, Method, float] | None = None

    def then(
        self, codes: Codes, leg: int, digit: str, method: Method, now: float
    ) -> tuple["Typed", Order | None]:
        """With one more digit, at most 3 s after the last one; and the code that it completes.

        The same code by another way soon after is the same: it must not undo a pause.
        """
        goes_on = leg == self.leg and now - self.at <= CODE_GAP_S
        last = self.last if leg == self.leg else None
        digits = ((self.digits if goes_on else "") + digit)[-LONGEST:]
        orders: tuple[tuple[str, Order], ...] = (
            (codes.stop, "stop"),
            (codes.pause, "pause"),
            (codes.flag, "flag"),
        )
        for code, order in orders:
            if code and digits.endswith(code):
                if last and last[0] == order and last[1] != method and now - last[2] <= SAME_CODE_S:
                    return Typed(leg, "", now, last), None
                return Typed(leg, "", now, (order, method, now)), order
        return Typed(leg, digits, now, last), None
