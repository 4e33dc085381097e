"""Who is recorded is told so in SDP (RFC 7866 section 6.1), where the device says that it understands.

A change goes out as a re-INVITE, one at a time and only while the leg can take one: not while it holds us,
where an offer of ours might end its hold, and after a glare only once its time is over.
"""

import random
import time

import pjsua2 as pj

from sipagent.call.events import Indication
from sipagent.pjsip.legs import Leg
from sipagent.pjsip.negotiated import is_settled
from sipagent.pjsip.setup import order

AGAIN_S = 0.2  # where the engine was in the middle of another offer


class Awareness:
    """The legs that do not know yet what has changed, and those that have been told something."""

    def __init__(self) -> None:
        self._due: dict[Leg, float] = {}  # when to try
        self._told: set[Leg] = set()

    @property
    def pending(self) -> bool:
        return bool(self._due)

    def change(self, leg: Leg, indication: Indication) -> None:
        """The leg is recorded, or is not, from now on."""
        if leg.indication != indication:
            leg.indication = indication
            if leg.record_aware:
                self._due[leg] = 0.0

    def glare(self, leg: Leg) -> None:
        """Both sides had sent an offer at once: wait as long as RFC 3261 section 14.1 has it."""
        if leg not in self._told:
            return  # it was no offer of ours
        wait_s = random.uniform(0.0, 2.0) if leg.incoming else random.uniform(2.1, 4.0)
        self._due[leg] = time.monotonic() + wait_s

    def forget(self, leg: Leg) -> None:
        """The leg has ended."""
        self._due.pop(leg, None)
        self._told.discard(leg)

    def clear(self) -> None:
        self._due.clear()
        self._told.clear()

    def poll(self, now: float) -> None:
        """Tell who can be told. Never within a callback."""
        for leg, due in list(self._due.items()):
            if due > now or leg.held:
                continue
            if is_settled(leg.getId()) and order(leg.reinvite, pj.CallOpParam()):
                del self._due[leg]
                self._told.add(leg)
            else:
                self._due[leg] = now + AGAIN_S
