"""What a call's receipt will tell: written by the flow, read by the agent, never asked by the policy."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed"]
Who = Literal["caller", "operator", "agent"]


FLAGGED = "flagged"  # the line of a call that an operator has marked for a hold
STOPPED = "stop code"
ERASED = "recording erased"
BRIDGED = "bridged with "  # and whom: who presses keys from then on
MOST_TIMES = 20  # one line; a phone may hold, or ask for what it may not have, as often as it likes


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the story: when (monotonic s), what, and by whom."""

    at: float
    what: str
    by: Who


@dataclass(slots=True)
class Story:
    """Times are monotonic seconds; `operator` is the SIP URI of who answered, the last one after a transfer.

    `talked`: all who have talked with the caller; `operators`: the same in order, the first and the last of
    very many.
    """

    answered_at: float | None = None
    connected_at: float | None = None
    operator: str | None = None
    talked: frozenset[str] = frozenset()
    operators: tuple[str, ...] = ()
    outcome: Outcome | None = None
    notice_played_ms: int | None = None
    flagged: bool = False
    happenings: list[Happening] = field(default_factory=list)
    _told: Counter[tuple[str, Who]] = field(default_factory=Counter)

    def answered(self, operator: str) -> None:
        """Who talks with the caller from now on."""
        self.outcome, self.operator, self.talked = "connected", operator, self.talked | {operator}
        if self.operators[-1:] != (operator,):
            self.operators = (*self.operators[: MOST_TIMES - 1], operator)

    @property
    def several(self) -> tuple[str, ...]:
        """`operators`, where there was more than one."""
        return self.operators if len(self.operators) > 1 else ()

    def tell(self, at: float, what: str, by: Who) -> None:
        """A line; from `MOST_TIMES` of the same on it is only counted."""
        self._told[what, by] += 1
        if self._told[what, by] <= MOST_TIMES:
            self.happenings.append(Happening(at, what, by))

    def sum_up(self, at: float) -> None:
        """At the end: how often more what was told no longer."""
        for (what, by), times in self._told.items():
            if times > MOST_TIMES:
                self.happenings.append(Happening(at, f"{what}: {times - MOST_TIMES} times more", by))
