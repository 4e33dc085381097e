"""Legs that hold and offer music of their own: many phones offer it and send nothing, so it is looked at."""

import time
from typing import TYPE_CHECKING

from sipagent.call import events as e

if TYPE_CHECKING:
    from sipagent.pjsip.legs import Leg

DOUBT_S = 0.6  # how long a holder may leave the other side in silence before our music comes
PACKET_S = 0.02


class Doubt:
    """The holders that say that they send: since when, and how many packets had come by then."""

    def __init__(self) -> None:
        self._since: dict[Leg, tuple[float, int]] = {}

    def begin(self, leg: "Leg") -> None:
        """The leg holds from now on, and says that it sends."""
        self._since[leg] = (time.monotonic(), leg.packets())

    def forget(self, leg: "Leg") -> None:
        """The leg has ended."""
        self._since.pop(leg, None)

    def clear(self) -> None:
        self._since.clear()

    def poll(self, now: float) -> None:
        """Tell of those that hold still and have sent less than half of what they should."""
        for leg, (since, packets) in list(self._since.items()):
            if not leg.held:
                del self._since[leg]
            elif now - since > DOUBT_S:
                del self._since[leg]
                if leg.packets() - packets < DOUBT_S / 2 / PACKET_S:
                    leg.tell(e.LegHeld(leg.number, sends=False))
