"""Legs from which nothing comes though they say that they send, and how often such things are looked at.

Many phones that hold offer music of their own and send nothing.
"""

import time
from collections.abc import Collection
from typing import Protocol

from sipagent.call import events as e
from sipagent.pjsip.legs import Leg

DOUBT_S = 0.6  # how long a holder may leave the other side in silence before our music comes
PACKET_S = 0.02
WATCH_S = 5.0  # between two looks at whether legs still send
FIRST_PACKET_S = 0.005
LOOK_S = 0.1  # for what has a time of its own: holders who send nothing, offers that wait
NOTHING_S = 1.0  # for what is counted: packets of others, legs that send nothing any more


class LookedAt(Protocol):
    @property
    def pending(self) -> bool:
        """Whether something in it waits for its time, or for something that nobody tells of."""


def look_s(first_packet: bool, *parts: LookedAt) -> float:
    """When to look again, while there are legs; `first_packet`: one is waited for."""
    if first_packet:
        return FIRST_PACKET_S
    return LOOK_S if any(one.pending for one in parts) else NOTHING_S


class Doubt:
    """The holders that say that they send: since when, and how many packets had come by then.

    `media_timeout_s`: how long any other leg may send nothing.
    """

    def __init__(self, media_timeout_s: float) -> None:
        self._since: dict[Leg, tuple[float, int]] = {}
        self._media_timeout_s = media_timeout_s
        self._watched_at = 0.0

    @property
    def pending(self) -> bool:
        return bool(self._since)

    def begin(self, leg: Leg) -> None:
        """The leg holds from now on, and says that it sends."""
        self._since[leg] = (time.monotonic(), leg.packets())

    def forget(self, leg: Leg) -> None:
        """The leg has ended."""
        self._since.pop(leg, None)

    def clear(self) -> None:
        self._since.clear()

    def poll(self, now: float, legs: Collection[Leg]) -> None:
        """Tell of those that hold still and have sent less than half of what they should, and of silence."""
        for leg, (since, packets) in list(self._since.items()):
            if not leg.held:
                del self._since[leg]
            elif now - since > DOUBT_S:
                del self._since[leg]
                if leg.packets() - packets < DOUBT_S / 2 / PACKET_S:
                    leg.tell(e.LegHeld(leg.number, sends=False))
        if legs and now - self._watched_at > WATCH_S:
            self._watched_at = now
            for leg in list(legs):
                self._watch(leg, now)

    def _watch(self, leg: Leg, now: float) -> None:
        """Report once a leg that has to send and doesn't, neither RTP nor RTCP (RFC 3550 section 6.3.5)."""
        if leg.received_at and leg.hasMedia():
            packets = leg.packets()
            if packets != leg.received or leg.silent_by_sdp or leg.held:
                leg.received, leg.received_at = packets, now
            elif now - leg.received_at > self._media_timeout_s:
                leg.received_at = 0.0
                leg.tell(e.MediaLost(leg.number))
