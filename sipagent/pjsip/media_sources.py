"""Carries out `MediaSource`'s decisions, whose RTP each leg hears, on the library's sockets.

The library reads them on a thread of its own, and switches to any peer that sends ten packets (pjmedia's
PJMEDIA_RTP_NAT_PROBATION_CNT): so the kernel decides instead (`sipagent.sip.packet_filter`). The library
tells them as it makes them; one that it has not told is found among the process's descriptors by its port.
Sockets for IPv6 are made here, and take the place of those that the library has just made for IPv4.

A socket hears nobody from its birth on, and then the leg's own peer. The kernel counts the packets that it
drops. Their sender is looked for once: for a moment others' packets come without their content. The library
takes those for keep-alives, and notes their address.
"""

import errno
import math
import os
import select
import socket
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pjsua2 as pj

from sipagent.agent.engine import EngineSettings, ForeignMedia
from sipagent.call import events as e
from sipagent.config.types import Network
from sipagent.pjsip import library
from sipagent.pjsip.legs import Leg
from sipagent.sip.packet_filter import MediaSource, Place, Sender, attach, drain, dropped

DESCRIPTORS = "/proc/self/fd"
VERSIONS = {socket.AF_INET: 4, socket.AF_INET6: 6}


class RtpSockets:
    """Those bound to the ports from `first` to `last`, but for `other`: that is SIP's."""

    def __init__(self, first: int, last: int, other: int) -> None:
        self._ports = range(first, last + 1)
        self._other = other
        self._at: dict[Place, tuple[int, int]] = {}  # descriptor and inode
        self._hears: dict[
            Place, tuple[tuple[int, int], tuple[Sender, ...], bool]
        ] = {}  # as was last attached
        self._next = first  # of IPv6

    def open_ipv6(self, at: str) -> tuple[socket.socket, socket.socket]:
        """Two sockets at this address for RTP and RTCP, which hear nobody. Raises OSError."""
        evens = self._ports[::2]
        begin = evens.index(self._next)
        for port in (*evens[begin:], *evens[:begin]):
            pair = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(2)]
            try:
                for place, one in enumerate(pair):
                    one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                    attach(one, ())
                    one.bind((at, port + place))
            except OSError as taken:
                for one in pair:
                    one.close()
                if taken.errno != errno.EADDRINUSE:
                    raise
                continue
            self._next = evens[(evens.index(port) + 1) % len(evens)]
            for place, one in enumerate(pair):
                self._at[6, port + place] = one.fileno(), os.fstat(one.fileno()).st_ino
            return pair[0], pair[1]
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))

    def shut(self, made: Iterable[int]) -> None:
        """Have the sockets of these descriptors hear nobody, and forget what they heard. Raises OSError."""
        for descriptor in made:
            with _copy(descriptor) as one:
                at, known = self._place(one), (descriptor, os.fstat(descriptor).st_ino)
                if at and self._at.get(at) != known:
                    attach(one, ())
                    drain(one)
                    self._at[at] = known

    def _find(self) -> None:
        """Shut those of which nobody has told."""
        known = {*self._at.values()}
        self.shut(descriptor for descriptor, inode in _sockets() if (descriptor, inode) not in known)

    def admit(self, place: Place, source: MediaSource, *, ask: bool = False) -> None:
        """Have the leg whose RTP comes to `place` hear whom it believes. Raises OSError.

        `ask`: the library takes the addresses of others, and nothing of what they send.
        """
        reports = place[0], place[1] + 1
        for at, senders in ((place, source.admitted), (reports, source.admitted_reports)):
            if self._knows(at) and self._hears.get(at) != (
                now := (self._at[at], senders, ask and at == place)
            ):
                with _copy(self._at[at][0]) as one:
                    attach(one, senders, emptied=now[2])
                self._hears[at] = now

    def dropped(self, at: Place) -> int:
        """How many packets of others did not get in there since its socket was made."""
        return dropped(self._at[at][0]) if self._knows(at) else 0

    def unread(self, at: Place) -> bool:
        """Whether something waits to be read there."""
        return self._knows(at) and _readable(self._at[at][0])

    def _knows(self, at: Place) -> bool:
        if not _is(*self._at.get(at, (-1, -1))):  # closed, and the port is another socket's by now
            self._at.pop(at, None)
            self._find()
        return _is(*self._at.get(at, (-1, -1)))

    def _place(self, one: socket.socket) -> Place | None:
        if one.family not in VERSIONS or one.type != socket.SOCK_DGRAM:
            return None
        port: int = one.getsockname()[1]
        return (VERSIONS[one.family], port) if port in self._ports and port != self._other else None


def bound_to(port: int) -> Iterator[socket.socket]:
    """The process's sockets over IP that are bound to a port, by descriptors that are the caller's."""
    for descriptor, _ in _sockets():
        one = _copy(descriptor)
        if one.family in VERSIONS and one.getsockname()[1] == port:
            yield one
        else:
            one.close()


def _sockets() -> Iterator[tuple[int, int]]:
    """Descriptor and inode of each socket of this process."""
    for descriptor in map(int, os.listdir(DESCRIPTORS)):  # noqa: PTH208 - paths take three times as long
        try:
            found = os.fstat(descriptor)
        except OSError:  # that of the folder itself, or another thread has just closed it
            continue
        if stat.S_ISSOCK(found.st_mode):
            yield descriptor, found.st_ino


def _readable(descriptor: int) -> bool:
    """By `poll`: `select` knows no descriptor beyond 1023."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _is(descriptor: int, inode: int) -> bool:
    try:
        return descriptor >= 0 and os.fstat(descriptor).st_ino == inode
    except OSError:
        return False


def _copy(descriptor: int) -> socket.socket:
    """A socket by a second descriptor, of our own: closing it closes nothing of the library's."""
    return socket.socket(fileno=os.dup(descriptor))


FIRST_PACKET_S = 0.005  # between two looks at whether a first packet has come
LOOK_S = 0.1
SOON_S = 1.0  # a first packet that has not come by then is looked for less often
COUNT_S = 1.0  # between two looks at what was kept from a leg that has been heard
ASK_S = 0.5  # how long others' addresses are waited for


@dataclass(slots=True)
class _Watch:
    """`since`: when a peer was agreed upon (monotonic s), with so many `packets` by then.

    `at`: where its RTP comes to, None for nowhere yet.
    `awaited`: packets beyond which the leg has been heard since its answer; None: nobody asks. `heard`:
    whether that peer has been. `dropped`: how many packets of others have been reported; `asked`: since when
    their sender is looked for (monotonic s); `stranger`: the sender, once found.
    """

    source: MediaSource
    at: Place | None = None
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
        self._networks: tuple[Network, ...] = ()
        self._of: dict[Leg, _Watch] = {}
        self._watched: dict[Leg, _Watch] = {}  # of these, those to be looked at in each poll
        self._count_at = 0.0
        self.look_s = math.inf  # until `poll` has something to look at
        self.trust(settings.media_sources)

    def trust(self, media_sources: tuple[Network, ...]) -> None:
        """Incoming legs to come may be heard from these, where SDP's peer sends nothing."""
        self._networks = media_sources

    def made(self, leg: Leg, prm: pj.OnCreateMediaTransportParam) -> None:
        """The library has made sockets for a line of a leg's SDP: they, or those in their place, hear nobody.

        Raises OSError.
        """
        if prm.mediaIdx not in leg.over_ipv6:
            self._sockets.shut(library.sockets_of(int(prm.mediaTp)))
        elif self._settings.media_ipv6:
            at, shown = self._settings.media_ipv6
            library.use_ipv6(prm, self._sockets.open_ipv6(at), shown or at)

    def signalled(self, leg: Leg, address: str) -> None:
        """The leg's SIP comes from this address."""
        self._watch(leg).source.signalled_by(address)

    def agreed(self, leg: Leg) -> None:
        """SDP has been agreed upon, for the first time or anew."""
        watch, now = self._watch(leg), time.monotonic()
        watch.at = library.rtp_place(leg, leg.audio)
        if watch.source.agreed(library.rtp_peer(leg, leg.audio), now):
            watch.since, watch.packets = now, library.rtp_counted(leg, leg.audio)[0]
            watch.heard = False  # the new peer's packets, too, may be among those that are kept out
        self._admit(watch)  # also where nothing is new but the socket

    def answered(self, leg: Leg) -> None:
        """Await the first packet; of an operator's, packets before the answer are early media."""
        watch = self._watch(leg)
        watch.since = time.monotonic()
        watch.awaited = 0 if leg.incoming else library.rtp_counted(leg, leg.audio)[0]

    def unread(self, leg: Leg) -> bool:
        """Whether packets of the leg's wait for the library's thread."""
        watch = self._of.get(leg)
        return watch is not None and watch.at is not None and self._sockets.unread(watch.at)

    def forget(self, leg: Leg) -> None:
        """The leg has ended."""
        self._of.pop(leg, None)
        self._watched.pop(leg, None)

    def clear(self) -> None:
        self._of.clear()
        self._watched.clear()

    def poll(self, now: float) -> None:
        """Look for new packets of the peer, and for dropped ones of others."""
        if due := now - self._count_at > COUNT_S:
            self._count_at = now
        self.look_s = math.inf
        for leg, watch in list((self._of if due else self._watched).items()):
            try:
                if watch.looks:
                    self._look(leg, watch, now)
                if due or watch.asking or not watch.heard:
                    self._count(leg, watch, now)
            except OSError as failure:  # no descriptor is left
                leg.fails(f"its sockets: {failure.strerror}")
            if watch.looks or watch.asking:
                soon = watch.looks and watch.since > now - SOON_S
                self.look_s = min(self.look_s, FIRST_PACKET_S if soon else LOOK_S)
            elif watch.heard:
                self._watched.pop(leg, None)

    def _watch(self, leg: Leg) -> _Watch:
        if leg not in self._of:
            self._of[leg] = _Watch(MediaSource(self._networks if leg.incoming else ()))
        watch = self._watched[leg] = self._of[leg]
        return watch

    def _look(self, leg: Leg, watch: _Watch, now: float) -> None:
        source, packets = watch.source, library.rtp_counted(leg, leg.audio)[0]
        if not source.latched and packets > watch.packets:
            if (address := library.rtp_sender(leg, leg.audio)) and source.heard(address):
                watch.heard = True
                self._admit(watch)
                leg.tell(e.MediaSourceFound(leg.number, own=source.own))
                if source.elsewhere:
                    leg.tell(e.MediaFoundElsewhere(leg.number))
        elif source.waited(now):
            self._admit(watch)
        if watch.awaited is not None and source.latched and packets > watch.awaited:
            watch.awaited = None
            leg.tell(e.MediaArrived(leg.number))

    def _admit(self, watch: _Watch) -> None:
        if watch.at:
            self._sockets.admit(watch.at, watch.source)
            watch.asking = False
            # packets dropped before are not counted against it
            watch.dropped = self._sockets.dropped(watch.at)

    def _count(self, leg: Leg, watch: _Watch, now: float) -> None:
        """Do not report packets dropped while the leg may still accept another peer: they may be its own."""
        if not watch.source.settled or not watch.at:
            return
        packets = self._sockets.dropped(watch.at) - watch.dropped
        if packets > 0 and watch.asked is None:
            watch.asked, watch.asking = now, True
            self._watched[leg] = watch
            self._sockets.admit(watch.at, watch.source, ask=True)
        elif watch.asking:
            self._hear_answer(leg, watch, now - (watch.asked or 0.0) > ASK_S)
        if packets > 0 and not watch.asking:
            watch.dropped += packets
            report = ForeignMedia(leg.number, packets, heard=watch.heard, address=watch.stranger)
            self._settings.report(report)

    def _hear_answer(self, leg: Leg, watch: _Watch, last: bool) -> None:
        """The sender of the others, if the library has seen one by now; else at the `last` look nobody."""
        sender = library.rtp_sender(leg, leg.audio)
        if sender and not watch.source.admits(sender):
            watch.stranger = sender[0]
        if watch.at and (watch.stranger or last):
            watch.asking = False
            self._sockets.admit(watch.at, watch.source)
