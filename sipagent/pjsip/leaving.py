"""Legs that are given up: those for which nothing has answered can't be told so yet.

A CANCEL waits for a provisional response (RFC 3261 section 9.1).
"""

import time

import pjsua2 as pj

from sipagent.pjsip.legs import Leg
from sipagent.pjsip.setup import order, with_headers

LINGER_S = 4.0  # how much longer something may answer for a phone that is given up, to be told so
ELSEWHERE = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')  # RFC 3326 section 2


class Leaving:
    """Those that linger, and until when."""

    def __init__(self) -> None:
        self._until: dict[Leg, float] = {}

    def __contains__(self, leg: Leg) -> bool:
        return leg in self._until

    @property
    def pending(self) -> bool:
        return bool(self._until)

    def hang_up(self, leg: Leg, elsewhere: bool) -> None:
        """End a leg now, or when something answers, or a few seconds later."""
        param = with_headers(pj.CallOpParam(), (ELSEWHERE,) if elsewhere else ())
        if leg.incoming or leg.reached:
            order(leg.hangup, param)
        else:
            self._until.setdefault(leg, time.monotonic() + LINGER_S)
            leg.farewell = param

    def forget(self, leg: Leg) -> None:
        """The leg has ended."""
        self._until.pop(leg, None)

    def clear(self) -> None:
        self._until.clear()

    def poll(self, now: float) -> None:
        """End those for which nothing answers: the library would wait for 32 s."""
        for leg, until in list(self._until.items()):
            if until <= now:
                del self._until[leg]
                leg.give_up()
