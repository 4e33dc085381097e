"""Whose RTP each leg hears: what `media_source` decides, carried out on the library's sockets.

A socket hears nobody from its birth on, and then the leg's own peer. What the kernel
keeps from it is counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network

from sipagent.agent.engine import EngineSettings, ForeignMedia
from sipagent.call import events as e
from sipagent.config.types import Network
from sipagent.pjsip import stream
from sipagent.pjsip.filters.rtp_sockets import RtpSockets
from sipagent.pjsip.legs import Leg
from sipagent.sip.media_source import MediaSource

SOON_S = 1.0  # a first packet that has not come by then is looked for less often
COUNT_S = 1.0  # between two looks at what was kept from a leg


@dataclass(slots=True)
class _Watch:
    """`since`: when a peer was agreed upon (monotonic s), with so many `packets` by then.

    `awaited`: packets beyond which the leg has been heard since its answer; None: nobody asks.
    """

    source: MediaSource
    since: float = 0.0
    packets: int = 0
    awaited: int | None = None
    dropped: int = 0

    @property
    def looks(self) -> bool:
        return self.awaited is not None or (self.source.negotiated is not None and not self.source.latched)


class Sources:
    """All legs'. On the SIP thread."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._sockets = RtpSockets(*settings.rtp_ports, settings.listen[1])
        self._gateways: tuple[IPv4Network, ...] = ()
        self._of: dict[Leg, _Watch] = {}
        self._count_at = 0.0
        self.trust(settings.callers)

    def trust(self, gateways: tuple[Network, ...]) -> None:
        """Incoming legs to come may be heard from these, where SDP's peer sends nothing."""
        self._gateways = tuple(net for net in gateways if isinstance(net, IPv4Network))

    @property
    def waits(self) -> bool:
        """Whether a first packet is to be looked for often."""
        soon = time.monotonic() - SOON_S
        return any(watch.looks and watch.since > soon for watch in self._of.values())

    @property
    def pending(self) -> bool:
        return any(watch.looks for watch in self._of.values())

    def shut(self) -> None:
        """The library has made sockets: they hear nobody."""
        self._sockets.shut()

    def signalled(self, leg: Leg, address: str) -> None:
        """The leg's SIP comes from this address."""
        self._watch(leg).source.signalled_by(address)

    def agreed(self, leg: Leg) -> None:
        """SDP has been agreed upon, for the first time or anew."""
        watch, now = self._watch(leg), time.monotonic()
        self._sockets.shut()
        if watch.source.agreed(stream.peer(leg, leg.audio), now):
            watch.since, watch.packets = now, stream.counted(leg, leg.audio)[0]
        self._admit(leg, watch)  # also where nothing is new but the socket

    def answered(self, leg: Leg) -> None:
        """Have the first packet be told; of an operator's, what came before the answer is early media."""
        watch = self._watch(leg)
        watch.since = time.monotonic()
        watch.awaited = 0 if leg.incoming else stream.counted(leg, leg.audio)[0]

    def unread(self, leg: Leg) -> bool:
        """Whether packets of the leg's wait for the library's thread."""
        port = stream.port(leg, leg.audio)
        return bool(port) and self._sockets.unread(port)

    def forget(self, leg: Leg) -> None:
        """The leg has ended."""
        self._of.pop(leg, None)

    def clear(self) -> None:
        self._of.clear()

    def poll(self, now: float) -> None:
        """See who sends, and who has sent in vain."""
        for leg, watch in list(self._of.items()):
            if watch.looks:
                self._try(leg, lambda: self._look(leg, watch, now))  # noqa: B023 - done at once
        if now - self._count_at > COUNT_S:
            self._count_at = now
            for leg, watch in list(self._of.items()):
                self._try(leg, lambda: self._count(leg, watch))  # noqa: B023

    def _try(self, leg: Leg, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as failure:  # no descriptor is left
            leg.fails(f"its sockets: {failure.strerror}")

    def _watch(self, leg: Leg) -> _Watch:
        if leg not in self._of:
            self._of[leg] = _Watch(MediaSource(self._gateways if leg.incoming else ()))
        return self._of[leg]

    def _look(self, leg: Leg, watch: _Watch, now: float) -> None:
        source, packets = watch.source, stream.counted(leg, leg.audio)[0]
        if not source.latched and packets > watch.packets:
            if (address := stream.sender(leg, leg.audio)) and source.heard(address):
                self._admit(leg, watch)
                if source.elsewhere:
                    leg.tell(e.MediaFoundElsewhere(leg.number))
        elif source.waited(now):
            self._admit(leg, watch)
        if watch.awaited is not None and source.latched and packets > watch.awaited:
            watch.awaited = None
            leg.tell(e.MediaArrived(leg.number))

    def _admit(self, leg: Leg, watch: _Watch) -> None:
        if port := stream.port(leg, leg.audio):
            self._sockets.admit(port, watch.source)
            watch.dropped = self._sockets.dropped(port)  # what was kept from it before is not held against it

    def _count(self, leg: Leg, watch: _Watch) -> None:
        if (port := stream.port(leg, leg.audio)) and (
            packets := self._sockets.dropped(port) - watch.dropped
        ) > 0:
            watch.dropped += packets
            self._settings.report(ForeignMedia(leg.number, packets))
