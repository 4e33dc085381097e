"""Whose RTP each leg hears: what `media_source` decides, carried out on the library's sockets.

A socket hears nobody from its birth on, and then the leg's own peer. What the kernel keeps from it is
counted. Who has sent that is asked once: for a moment others' packets come without their content
(`socket_filter`). The library passes over those as over keep-alives, but for the address.
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
COUNT_S = 1.0  # between two looks at what was kept from a leg that has been heard
ASK_S = 0.5  # how long others' addresses are waited for


@dataclass(slots=True)
class _Watch:
    """`since`: when a peer was agreed upon (monotonic s), with so many `packets` by then.

    `awaited`: packets beyond which the leg has been heard since its answer; None: nobody asks. `heard`:
    whether that peer has been. `dropped`: how many packets of others have been told of; `asked`: since when
    it is asked whose they are (monotonic s); `stranger`: the answer, as far as there is one.
    """

    source: MediaSource
    since: float = 0.0
    packets: int = 0
    awaited: int | None = None
    heard: bool = False
    dropped: int = 0
    asked: float | None = None
    asking: bool = False
    stranger: str = ""

    @property
    def looks(self) -> bool:
        return self.awaited is not None or (self.source.negotiated is not None and not self.source.latched)


class Sources:
    """All legs'. On the SIP thread."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._sockets = RtpSockets(*settings.rtp_ports, settings.listen[1])
        self._networks: tuple[IPv4Network, ...] = ()
        self._of: dict[Leg, _Watch] = {}
        self._count_at = 0.0
        self.trust(settings.media_sources)

    def trust(self, media_sources: tuple[Network, ...]) -> None:
        """Incoming legs to come may be heard from these, where SDP's peer sends nothing."""
        self._networks = tuple(net for net in media_sources if isinstance(net, IPv4Network))

    @property
    def waits(self) -> bool:
        """Whether a first packet is to be looked for often."""
        soon = time.monotonic() - SOON_S
        return any(watch.looks and watch.since > soon for watch in self._of.values())

    @property
    def pending(self) -> bool:
        return any(watch.looks or watch.asking for watch in self._of.values())

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
            watch.heard = False  # the new peer's packets, too, may be among those that are kept out
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
        if due := now - self._count_at > COUNT_S:
            self._count_at = now
        for leg, watch in list(self._of.items()):
            if due or watch.asking or not watch.heard:
                self._try(leg, lambda: self._count(leg, watch, now))  # noqa: B023

    def _try(self, leg: Leg, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as failure:  # no descriptor is left
            leg.fails(f"its sockets: {failure.strerror}")

    def _watch(self, leg: Leg) -> _Watch:
        if leg not in self._of:
            self._of[leg] = _Watch(MediaSource(self._networks if leg.incoming else ()))
        return self._of[leg]

    def _look(self, leg: Leg, watch: _Watch, now: float) -> None:
        source, packets = watch.source, stream.counted(leg, leg.audio)[0]
        if not source.latched and packets > watch.packets:
            if (address := stream.sender(leg, leg.audio)) and source.heard(address):
                watch.heard = True
                self._admit(leg, watch)
                leg.tell(e.MediaSourceFound(leg.number, own=source.own))
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
            watch.asking = False
            watch.dropped = self._sockets.dropped(port)  # what was kept from it before is not held against it

    def _count(self, leg: Leg, watch: _Watch, now: float) -> None:
        """What is kept from a leg while it may still come to hear more is not told: it may be its own."""
        if not watch.source.settled or not (port := stream.port(leg, leg.audio)):
            return
        packets = self._sockets.dropped(port) - watch.dropped
        if packets > 0 and watch.asked is None:
            watch.asked, watch.asking = now, True
            self._sockets.admit(port, watch.source, ask=True)
        elif watch.asking:
            self._hear_answer(leg, watch, now - (watch.asked or 0.0) > ASK_S)
        if packets > 0 and not watch.asking:
            watch.dropped += packets
            report = ForeignMedia(leg.number, packets, heard=watch.heard, address=watch.stranger)
            self._settings.report(report)

    def _hear_answer(self, leg: Leg, watch: _Watch, last: bool) -> None:
        """Who the others are, if the library has seen one by now; else at the `last` look nobody."""
        sender = stream.sender(leg, leg.audio)
        if sender and not watch.source.admits(sender):
            watch.stranger = sender[0]
        if watch.stranger or last:
            watch.asking = False
            self._sockets.admit(stream.port(leg, leg.audio), watch.source)
