"""Who may have how many of the engine's legs. Pure: it counts, and asks nobody.

A call has two legs for itself from its admission to its end, the caller's and an operator's. Where several
phones ring for one caller, the others ring on legs that nobody needs yet, and in a transfer the giver's waits
for it to succeed; when another caller comes they are given back. One leg stays free, so that who finds no
room is refused by us and not by the engine.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from sipagent.agent.livecall import LiveCall
from sipagent.call.events import CALLER

OWN = 2  # legs of a call
KEPT = 1  # to be refused with


@dataclass(frozen=True, slots=True)
class Share:
    """What one call has: `up` legs, of which `spare` ring beside another or wait for a transfer."""

    id: str
    up: int
    spare: int

    @classmethod
    def of(cls, call: LiveCall) -> Self:
        return cls(call.id, len(call.up), call.flow.spare_legs)


@dataclass(frozen=True, slots=True)
class LegRoom:
    """`capacity`: legs that the engine can have, `used`: those that it has, ending ones included."""

    capacity: int
    used: int
    shares: tuple[Share, ...]

    @classmethod
    def of(cls, capacity: int, used: int, calls: Iterable[LiveCall], coming: int = 0) -> Self:
        """The room beside the calls whose caller is still there, and `coming` callers whose call has not
        begun: each of them has one leg, and has been promised its second one."""
        shares = (Share.of(call) for call in calls if call.legs[CALLER] in call.up)
        return cls(capacity, used, (*shares, *(Share("", 1, 0) for _ in range(coming))))

    @property
    def _ending(self) -> int:
        """Legs of calls that are over, or that are no call's yet."""
        return self.used - sum(share.up for share in self.shares)

    def takes(self, calls: int) -> bool:
        """Whether there is room for one more call than these, whose first leg is there already."""
        claimed = sum(max(OWN, share.up - share.spare) for share in self.shares)
        return len(self.shares) < calls and self.capacity - (self._ending - 1) - claimed >= OWN

    @property
    def short(self) -> int:
        """How many of the spare legs are needed by others now."""
        claimed = sum(max(OWN, share.up) for share in self.shares)
        spare = sum(share.spare for share in self.shares)
        return min(spare, max(0, self._ending + claimed + KEPT - self.capacity))

    @property
    def wanted(self) -> list[str]:
        """The calls that are to give a leg back, each as often as it is to give one."""
        return [share.id for share in self.shares for _ in range(share.spare)][: self.short]

    def for_ringing(self, id: str) -> int:
        """How many phones may be rung for a call beside those that ring for it."""
        claimed = sum(max(OWN, share.up) for share in self.shares)
        own = next((max(0, OWN - share.up) for share in self.shares if share.id == id), 0)
        beyond = self.capacity - KEPT - self._ending - claimed
        return max(0, min(own + max(0, beyond), self.capacity - self.used))
