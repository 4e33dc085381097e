"""The engine: orders in, reports out. It holds all native objects."""

import gc
import math
import time
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

import pjsua2 as pj

from retention.texts import Reason
from sipagent import __version__
from sipagent.agent.engine import (
    EngineFault,
    EngineSettings,
    Headers,
    Incoming,
    LegLost,
    RealmLearnt,
    Registration,
    Side,
)
from sipagent.agent.quality import Stream
from sipagent.call import events as e
from sipagent.config.identity import MAX_FORWARDS, call_id
from sipagent.config.layout import FEWEST
from sipagent.config.types import Network
from sipagent.pjsip import library
from sipagent.pjsip.accounts import Endpoint, SipAccount, SipAccounts
from sipagent.pjsip.legs import Awareness, Doubt, Leaving, Leg
from sipagent.pjsip.library import (
    REQUEST_TERMINATED,
    max_forwards_of,
    of_sound,
    order,
    with_headers,
    with_status,
)
from sipagent.pjsip.media_sources import Sources
from sipagent.pjsip.names import Names, address_in, name_in
from sipagent.pjsip.screening import DigestChallenges, Screening
from sipagent.pjsip.sound import SoundEngine
from sipagent.sip.messages import said_by_edge
from sipagent.sip.session_description import NotAcceptable

LOOK_S = 0.1  # for what has a time of its own, while there are legs: holders who send nothing, offers
NOTHING_S = 1.0  # for what is counted: packets of others, legs that send nothing any more
AUDIT_S = 1.0  # between two looks at whether the library still has our legs
FAREWELL_S = 2.0  # at the end, for legs to get their BYE, and for the registrar's name
UNASKED = 256  # legs that have ended, of whose streams is known what was counted
NO_WAY = 503  # the status of a request that can't be sent (RFC 3261 section 8.1.3.1)


class EngineError(Exception):
    """The engine could not start: `str()` says what it needs."""


class PjsipEngine:
    """The engine of `sipagent.agent.engine`, on pjsua2."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.limits, self.capacity = FEWEST, 0
        self._endpoint: Endpoint | None = None
        self._accounts = SipAccounts(self)
        self._legs: dict[int, Leg] = {}
        self._unknown: set[int] = set()  # of these, those that the library does not have yet
        self._ended: list[Leg] = []  # to be let go of, which no callback may do
        self._measured: dict[
            int, tuple[Stream, ...]
        ] = {}  # of legs that have ended, until they are asked for
        self._past: list[
            Leg
        ] = []  # for a block in which no leg may die: its destructor would end another's call
        self.sound = SoundEngine(self)
        self.sources = Sources(settings)
        self.doubt = Doubt(settings.media_timeout_s)
        self.awareness = Awareness()
        self._leaving = Leaving()
        self._names = Names(self.wake, lambda fault: settings.report(EngineFault(fault)))
        self.later: list[Callable[[], object]] = []  # work that a callback may not do itself
        self._audited_at = 0.0
        self._numbers = 0
        self._wake_from = library.waking_socket()
        self.screening = Screening(self, self.sources, self._wake_from.getsockname())
        self._challenges = DigestChallenges(settings, self._accounts, self.screening.leg)
        self._wake_to = ("127.0.0.1", settings.listen[1])
        self._let_go: Callable[[Leg], None] = library.let_go

    # --- life ---

    def start(self) -> None:
        """Raises EngineError where the port is taken or the engine can't be had."""
        try:
            self._start()
        except (pj.Error, OSError) as failure:
            where = f"{self.settings.transport} {self.settings.listen[0]}:{self.settings.listen[1]}"
            reason = failure.reason if isinstance(failure, pj.Error) else failure
            raise EngineError(Reason("the SIP engine can't start on {0}: {1}", where, reason)) from failure

    def _start(self) -> None:
        library.quieten()
        self._endpoint = endpoint = Endpoint(self)
        endpoint.libCreate()
        endpoint.libInit(library.endpoint_config(f"sipagent/{__version__}", self.settings.calls))
        library.serve("record-aware")
        self._names.serve()
        self.limits = library.limits(self.settings.players, library.raise_files())
        self.capacity = self.limits.usable_legs
        transport, self._wake_to = library.open_transports(endpoint, self.settings)
        self.screening.sockets.woken = self._wake_to
        self.screening.start()
        endpoint.libStart()
        self.sound.start(endpoint.audDevManager())
        library.choose_codecs(endpoint, self.settings.codecs)
        if not library.call_can_be_let_go(self._accounts.open(transport)):
            self._let_go = self._past.append

    def stop(self) -> None:
        """Unregister and let every native object go, in the order that survives it."""
        endpoint = self._endpoint
        if endpoint is None:
            return
        self._end_legs()
        self._accounts.leave()
        until = time.monotonic() + FAREWELL_S
        endpoint.libHandleEvents(50)
        while self._names.waiting and time.monotonic() < until:  # where the registrar has a name
            endpoint.libHandleEvents(50)
            self._names.poll()
        self.screening.stop()
        self._accounts.clear()
        gc.collect()  # a native object that outlives the library aborts the process
        endpoint.libDestroy()
        self._endpoint = None
        self._wake_from.close()

    def _end_legs(self) -> None:
        for number in list(self._legs):
            self.hang_up(number)
        until = time.monotonic() + FAREWELL_S
        while self._legs and time.monotonic() < until:
            self.poll(0.05)
        self.sound.stop(self._legs.values())
        for forget in (self.sources.clear, self.doubt.clear, self.awareness.clear, self._leaving.clear):
            forget()
        for let_go in (self.later.clear, self._legs.clear, self._ended.clear, self._past.clear):
            let_go()

    def poll(self, timeout_s: float) -> None:
        """Let the engine work for up to `timeout_s`; returns as soon as something has happened."""
        assert self._endpoint
        if self._legs:
            waits = self.sound.pending or self.doubt or self.awareness or self._leaving
            look_s = min(self.sources.look_s, LOOK_S if waits else NOTHING_S)
            timeout_s = 0.0 if self.later else min(timeout_s, look_s)
        if (due := self.screening.due) is not None:
            timeout_s = max(0.0, min(timeout_s, due - time.monotonic()))
        self._endpoint.libHandleEvents(math.ceil(timeout_s * 1000))
        now = time.monotonic()
        self._names.poll()
        self._do_later()
        self.screening.poll(now)
        self.sources.poll(now)
        self._leaving.poll(now)
        self.doubt.poll(now, self.live)
        self.awareness.poll(now)
        self._ended.clear()
        self.sound.poll(now, bool(self._legs))
        if now - self._audited_at > AUDIT_S:
            self._audited_at = now
            self._audit()

    def wake(self) -> None:
        """End a `poll` early; any thread. An empty line is a keep-alive to the engine (RFC 5626 3.5.1)."""
        self._wake_from.sendto(b"\r\n\r\n", self._wake_to)

    @property
    def can_play(self) -> bool:
        """Whether one more caller's sounds would find players."""
        return self.sound.can_play

    @property
    def legs(self) -> int:
        """Also those that the library does not have yet, or that wait for the end of their CANCEL or BYE."""
        return max(len(self._legs), library.call_count() + len(self._unknown))

    def has(self, leg: int) -> bool:
        return leg in self._legs

    @property
    def live(self) -> Collection[Leg]:
        """The legs that have not ended."""
        return self._legs.values()

    @property
    def strangers(self) -> int:
        """How many requests and packets of others were dropped so far."""
        return self.screening.strangers

    def drain(self) -> None:
        """Answer 503 to new calls."""
        self.screening.draining = True

    def trust(self, media_sources: tuple[Network, ...]) -> None:
        """The sound of callers to come may come from these, too."""
        self.sources.trust(media_sources)

    def register(self) -> None:
        """Ask the registrar, once; its answer, or that none came, is reported as `Registration`.

        A name is looked up first: over TCP the library looks for our own address by it, and waits.
        """
        proxies = self.settings.registrar_proxies
        if name := name_in(proxies[0] if proxies else self.settings.registrar):
            self._names.look_up(name, partial(self._registrar_found, name))
        else:
            self._accounts.register()

    def _registrar_found(self, name: str, addresses: tuple[str, ...]) -> None:
        if addresses:
            self._accounts.register()
        else:
            self.settings.report(Registration(active=False, status=0, reason=f"{name} is not found"))

    def unregister(self) -> None:
        """Tell the registrar that we are gone; its answer, or that none came, is reported, too."""
        self._accounts.unregister()

    def learn_realm(self, realm: str, of: Side = "trunk") -> None:
        """The credentials of that side are for this realm, where they had none."""
        self._accounts.learn_realm(realm, of)

    def challenged_by(self, trunk: tuple[Network, ...], pbx: frozenset[str]) -> None:
        """Only these are given a digest: in callers' legs, and the PBX's hosts in operators'."""
        self._challenges.come_from(trunk, pbx)

    # --- what the agent orders ---

    def answer(self, leg: int) -> None:
        ticks = self.sound.tick()
        if (call := self._legs.get(leg)) and not (ticks and order(call.answer, of_sound(200))):
            call.fails("it can't be answered")

    def reject(self, leg: int, status: int, retry_after_s: int | None) -> None:
        if call := self._legs.get(leg):
            headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
            order(call.answer, with_headers(with_status(status), headers))

    def hang_up(self, leg: int, elsewhere: bool = False) -> None:
        """End a leg; one for which nothing has answered ends when something does, or a few seconds later."""
        if call := self._legs.get(leg):
            self._leaving.hang_up(call, elsewhere)

    def dial(self, uri: str, display: str, headers: Headers = (), hops: int = MAX_FORWARDS) -> int:
        """Ring `uri`, over `hops` at most; the phone shows `display`, a quoted string. A failure comes as
        `LegGone`, too."""
        account = self._accounts.operators
        assert account
        self.sound.tick()
        leg = self.adopt(Leg(self, account))
        leg.uri, leg.display, leg.headers, leg.hops = uri, display, headers, hops
        behind = self.settings.sip_peer is not None
        way = (*self.settings.outbound_proxies, uri)[behind:]  # an edge finds its own way to the next hop
        name = name_in(way[0])
        if name and (not behind or len(self.settings.families) > 1 or self._challenges.awaits(name)):
            self._names.look_up(name, partial(self._looked_up, leg.number, name))
        else:
            self._found(leg, address_in(way[0]))
        return leg.number

    def _found(self, leg: Leg, addresses: tuple[str, ...]) -> None:
        """Ring a phone at these addresses: its media are taken to speak what its signalling does."""
        self.screening.dials(*addresses)
        self.screening.over_ipv6(leg, self.settings.over_ipv6(*addresses))
        self._ring(leg)

    def _looked_up(self, number: int, name: str, addresses: tuple[str, ...]) -> None:
        """Ring a phone whose host is known now, unless it was given up meanwhile."""
        self._challenges.found(name, addresses)
        if leg := self._legs.get(number):
            if (addresses or self.settings.sip_peer) and not leg.farewell:
                self._found(leg, addresses)
            else:
                self.disconnected(leg, REQUEST_TERMINATED if leg.farewell else NO_WAY, "")

    def _ring(self, leg: Leg) -> None:
        param = with_headers(of_sound(), (*leg.headers, *self.settings.way_out))
        param.txOption.localUri = f"{leg.display} <{self.settings.uri}>"
        leg.realm = leg.account.realm
        with max_forwards_of(leg.hops):
            under_way = not (leg.failed or self.screening.too_many) and order(leg.makeCall, leg.uri, param)
        self._unknown.discard(leg.number)
        if self._legs.get(leg.number) is not leg:  # it has ended within the order, which then names it
            self._let_go(leg)
        elif not under_way:
            self.disconnected(leg, NO_WAY, "")

    def play(self, leg: int, sound: Path, loop: bool) -> int:
        """Play a sound in place of another; one that can't be played has ended at once, and says so."""
        token = self.next_number()
        if call := self._legs.get(leg):
            self.sound.stop_playing(call)
            self.sound.play(call, token, sound, loop)
        return token

    def sent_ms(self, leg: int, token: int) -> float:
        """How much of a sound has been sent to the leg that hears it; 0 of another, or while it waits."""
        call = self._legs.get(leg)
        return self.sound.sent_ms(call, token) if call else 0.0

    def stop_playing(self, leg: int) -> None:
        if call := self._legs.get(leg):
            self.sound.stop_playing(call)

    def overlay(self, legs: tuple[int, ...], sound: Path) -> None:
        """Let some legs hear a short sound besides what they hear."""
        self.sound.overlay([self._legs[leg] for leg in legs if leg in self._legs], sound)

    def bridge(self, one: int, other: int) -> None:
        a, b = self._legs.get(one), self._legs.get(other)
        if a and b:
            self.sound.join(a, b)

    def separate(self, leg: int) -> None:
        """Take a bridge apart."""
        if call := self._legs.get(leg):
            self.sound.part(call)

    def streams(self, leg: int) -> tuple[Stream, ...]:
        """What was counted of those that the leg sends; of one that has ended, once."""
        if call := self._legs.get(leg):
            return call.streams_so_far()
        return self._measured.pop(leg, ())

    def listen(self, leg: int) -> None:
        """Hand over what a leg sends, from now to its end."""
        if call := self._legs.get(leg):
            self.sound.listen(call)

    def catch_up(self, legs: Iterable[int]) -> None:
        """Hand over at once what these have sent until now."""
        self.sound.ears.take(legs)

    def indicate(self, leg: int, recording: e.Indication) -> None:
        """Let the leg's device know whether it is recorded, if it understands that."""
        if call := self._legs.get(leg):
            self.awareness.change(call, recording)

    def allow_transfer(self, leg: int, targets: tuple[str, ...]) -> None:
        """Accept one REFER of the leg's to one of the targets."""
        if call := self._legs.get(leg):
            call.referring.allowed = targets

    def tell_transfer(self, leg: int, status: int, last: bool) -> None:
        """Tell a phone by NOTIFY what becomes of its REFER."""
        if call := self._legs.get(leg):
            call.referring.tell(call, status, last)

    def refer(self, leg: int, uri: str) -> None:
        """Ask the leg's other side to call `uri`; `ReferAnswered` and `ReferNotified` follow."""
        if call := self._legs.get(leg):
            call.referring.refer(call, uri, self.settings.uri)

    def give_up_refer(self, leg: int) -> None:
        """An answer that hasn't come is not waited for, and its absence does not end the call."""
        if call := self._legs.get(leg):
            call.referring.give_up()

    # --- what the callbacks tell and need ---

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def adopt(self, leg: Leg) -> Leg:
        self._legs[leg.number] = leg
        if not leg.incoming:
            self._unknown.add(leg.number)
        self.screening.opened(leg)
        self.sound.arrives(leg)
        return leg

    def registrar_asks(self, realm: str) -> None:
        """The registrar has challenged us for the first time; it is asked again, outside of this callback."""
        self.settings.report(RealmLearnt(realm))
        self.later += [lambda: self.learn_realm(realm), self.register]

    def invited(self, account: SipAccount, call: int, message: str, source: str) -> None:
        leg = Leg(self, account, call)
        leg.call_id = call_id(message)
        self._challenges.called(leg.call_id)
        self.adopt(leg)
        leg.signalled(message, source)
        identity = said_by_edge(message, self.settings.hop_token, "identity")
        self.settings.report(Incoming(leg.number, source, message, identity))
        leg.reads(message)

    def refused_by_library(self, call_id: str) -> None:
        self.screening.refused_by_library(call_id)

    def signalled(self, leg: Leg, address: str) -> None:
        self.sources.signalled(leg, address)

    def named(self, leg: Leg) -> None:
        self.screening.named(leg)

    def responded(self, message: str, source: str) -> None:
        self.screening.answered(message, source)

    def refused(self, message: str) -> NotAcceptable | None:
        return self.screening.refused(message)

    def heeds(self, message: str, source: str) -> bool:
        return self._challenges.heeded(message, source)

    def has_sockets(self, leg: Leg, prm: pj.OnCreateMediaTransportParam) -> None:
        self.sources.made(leg, prm)

    def agreed(self, leg: Leg) -> None:
        self.sources.agreed(leg)
        self.sound.connect(leg)

    def doubts(self, leg: Leg) -> None:
        self.doubt.begin(leg)

    def glare(self, leg: Leg) -> None:
        self.awareness.glare(leg)

    def reached(self, leg: Leg) -> None:
        leg.tell(e.OperatorReached(leg.number))
        if farewell := leg.farewell:
            self.later.append(lambda: self._say_farewell(leg, farewell))

    def confirmed(self, leg: Leg) -> None:
        if leg.failed:
            return  # it is hung up, and was never up for whoever decides
        self.sources.answered(leg)
        if leg.incoming:
            leg.tell(e.CallConfirmed(leg.telephone_event))
        else:
            leg.tell(e.OperatorAnswered(leg.number, leg.telephone_event))

    def disconnected(self, leg: Leg, status: int, message: str) -> None:
        """The leg is over, and its number the next caller's: it is named nowhere from here on."""
        self._let_go(leg)
        self.sources.forget(leg)
        self.screening.closed(leg)
        if status in (401, 407) and leg not in self._leaving and leg.may_ring_again(message):
            self.later.append(lambda: self._ring_again(leg))  # now with credentials
            return
        if self._legs.pop(leg.number, None) and leg.streams:
            self._measured[leg.number] = tuple(leg.streams)
            while len(self._measured) > UNASKED:
                del self._measured[next(iter(self._measured))]
        self._unknown.discard(leg.number)
        self._leaving.pop(leg, None)
        self.awareness.forget(leg)
        self.doubt.pop(leg, None)
        self.sound.leave(leg)
        self._ended.append(leg)
        leg.tell(e.LegGone(leg.number, status))

    # --- small steps ---

    def _do_later(self) -> None:
        later, self.later = self.later, []
        for one in later:
            if not order(one):
                self.settings.report(EngineFault("the library took no order of ours"))

    def _say_farewell(self, leg: Leg, farewell: pj.CallOpParam) -> None:
        if self._legs.get(leg.number) is leg:
            order(leg.hangup, farewell)

    def _ring_again(self, leg: Leg) -> None:
        leg.account.arm_anew()
        fresh = self.adopt(Leg(self, leg.account, number=leg.number))
        fresh.uri, fresh.display, fresh.headers, fresh.hops = leg.uri, leg.display, leg.headers, leg.hops
        self.screening.over_ipv6(fresh, leg.over_ipv6)
        self._ended.append(leg)
        self._ring(fresh)

    def _audit(self) -> None:
        """Find legs that the library has no more and has not said so: their calls would never end."""
        for leg in library.lost_calls(self._legs.values()):
            self.settings.report(LegLost(leg.number))
            self.disconnected(leg, 0, "")
