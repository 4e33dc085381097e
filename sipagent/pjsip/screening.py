"""The guards before the library: the kernel's filter on its SIP sockets, and the rules for each message.

SipSockets        has the kernel keep out by address anybody with no business here, before a parser of C
                  reads anything: only callers, hosts that we call, and peers of a call may send. The rest is
                  judged message by message.
DigestChallenges  decides who gets a digest (RFC 3261 section 22): on an operator's leg the PBX, on a caller's
                  leg the trunk. The library answers any challenge in a realm whose password it has, at any
                  moment of a dialog; a peer that challenges with another server's nonce would get a digest
                  that is good there. So every other challenge is taken out of its response before the
                  library's layers see it.
Screening         puts them together, and judges each request. It also counts the sockets that calls have:
                  the library has so many handles for RTP and RTCP, keeps each for half a second after its
                  end, and ends the process where one is missing.
"""

import itertools
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from sipagent.agent.engine import (
    ChallengeRefused,
    EngineFault,
    EngineSettings,
    GivenUp,
    RefusedByEngine,
    Side,
)
from sipagent.config.identity import call_id, header_values
from sipagent.config.types import Network
from sipagent.pjsip import library
from sipagent.pjsip.accounts import SipAccount, SipAccounts
from sipagent.pjsip.legs import Leg, LegOwner
from sipagent.pjsip.library import is_settled
from sipagent.pjsip.media_sources import Sources, bound_to
from sipagent.pjsip.request_filter import RequestFilter
from sipagent.sip import request_rules
from sipagent.sip.messages import age_s, challenge_realm, signalling_source
from sipagent.sip.packet_filter import Address, Sender, attach, dropped
from sipagent.sip.session_description import NETWORK, OTHER, Described, NotAcceptable

ANYBODY = [Sender(ip_network(one)) for one in ("0.0.0.0/0", "::/0")]


class SipSockets:
    """`listen`: where SIP is heard, and waking packets, which come from `waker`, at `woken`.

    With `peer` nobody else may send; without, `networks`, and the addresses that `open_to` names.
    """

    def __init__(
        self, listen: Address, waker: Address, peer: Address | None, networks: Iterable[Network]
    ) -> None:
        self.listen = self.woken = listen
        self._fixed = [Sender.at(*waker)]
        self._peer = peer
        self._networks = [Sender(one) for one in networks]
        self._named: frozenset[str] | None = None
        # by port: descriptors of our own, of datagrams' sockets
        self._kept: dict[int, list[socket.socket]] = {}

    def open_to(self, addresses: frozenset[str]) -> None:
        """Let these in, too, besides whoever may always send. Raises OSError."""
        named = frozenset[str]() if self._peer else addresses
        if named == self._named:
            return
        self._named = named
        if self._peer is not None:
            senders = [*self._fixed, Sender.at(*self._peer)]
        else:
            others = [Sender.at(address) for address in sorted(named)]
            senders = [*self._fixed, *self._networks, *others]
        try:
            self._attach(self.listen, senders)
        except ValueError:  # in a process with some hundred calls
            self._attach(self.listen, ANYBODY)
        if self.woken != self.listen:
            self._attach(self.woken, self._fixed)

    def dropped(self) -> int:
        """Packets that were kept out so far."""
        return sum(dropped(one.fileno()) for one in self._kept.get(self.listen[1], ()))

    def close(self) -> None:
        """Let go of them, before the library does."""
        for one in itertools.chain(*self._kept.values()):
            one.close()
        self._kept.clear()

    def _attach(self, to: Address, senders: Iterable[Sender]) -> None:
        """The library has its socket for datagrams from its start on; those of TCP come and go."""
        senders, found = list(senders), self._kept.get(to[1]) or list(bound_to(to[1]))
        with ExitStack() as over:
            if all(one.type == socket.SOCK_DGRAM for one in found):
                self._kept[to[1]] = found
            else:
                for one in found:
                    over.enter_context(one)
            for one in found:
                attach(one, senders)


TOLD = 100  # of addresses and realms: whoever sends can have many
CALLERS = 1000  # that are known by their Call-IDs: a BYE may still be answered when its leg is gone

Addresses = frozenset[IPv4Address | IPv6Address]


class DigestChallenges:
    """On the SIP thread. `is_live`: whether a leg with this Call-ID has not ended."""

    def __init__(
        self, settings: EngineSettings, accounts: SipAccounts, is_live: Callable[[str], object]
    ) -> None:
        self._settings, self._accounts, self._is_live = settings, accounts, is_live
        self._trunk: tuple[Network, ...] = ()
        self._pbx: dict[str, Addresses] = {}
        self._told: set[ChallengeRefused] = set()
        self._callers: dict[str, None] = {}  # Call-IDs, in the order in which they came
        self.come_from(settings.callers, settings.pbx)

    def come_from(self, trunk: tuple[Network, ...], pbx: frozenset[str]) -> None:
        """Set the networks that may challenge callers' legs, and the hosts that may challenge operators'."""
        self._trunk = trunk
        self._pbx = {host: self._pbx.get(host, _addresses(host)) for host in pbx}

    def awaits(self, name: str) -> bool:
        """Whether it must be known what this host name leads to, lest nobody there be answered."""
        account = self._accounts.operators
        return name in self._pbx and account is not None and account.credentials is not None

    def found(self, name: str, addresses: Collection[str]) -> None:
        """A host name leads to these now; none: nobody knows."""
        if name in self._pbx and addresses:
            self._pbx[name] = _addresses(*addresses)

    def called(self, call_id: str) -> None:
        """A caller's INVITE has come."""
        self._callers[call_id] = None
        if len(self._callers) > CALLERS:
            del self._callers[next(one for one in self._callers if not self._is_live(one))]

    def heeded(self, message: str, source: str) -> bool:
        """Whether a response may ask; `source`: its sender by the socket, `host:port`."""
        if "authenticate" not in message.lower():
            return True
        methods = {value.split()[-1:] == ["REGISTER"] for value in header_values(message, "CSeq")}
        if methods == {True}:
            return True  # by the registrar: nobody else knows its branch
        of_caller = call_id(message) in self._callers
        account = self._accounts.trunk if of_caller else self._accounts.operators
        if account is None or account.credentials is None:
            return True
        sender = signalling_source(message, source, self._settings.hop_token).rpartition(":")[0].strip("[]")
        known = any(
            address in of
            for address in _addresses(sender)
            for of in (self._trunk if of_caller else self._pbx.values())
        )
        if realm := challenge_realm(message):
            self._look_at(realm, sender, account, "trunk" if of_caller else "operators", known=known)
        return known

    def _look_at(self, realm: str, sender: str, account: SipAccount, of: Side, *, known: bool) -> None:
        """Report each refused address once."""
        if known and (account.realm in ("", realm) or not account.learns):
            return
        refused = ChallengeRefused(sender, realm, of, account.realm if known else None)
        if refused not in self._told and len(self._told) < TOLD:
            self._told.add(refused)
            self._settings.report(refused)


def _addresses(*texts: str) -> Addresses:
    """Those that are addresses, not names."""
    found = set()
    for text in texts:
        try:
            found.add(ip_address(text.strip("[]")))
        except ValueError:
            continue
    return frozenset(found)


OFFERS = "INVITE", "UPDATE"  # within a call
EARLY = 256  # phones that ring, and describe their media already
WAITING_A_LEG = 5  # requests that are held back at a time
CLOSING_S = 1.0  # the library's half second, and the time until it looks
OWN = 2  # of a leg with one stream: RTP and RTCP
TIDY_S, COUNT_S = 10.0, 1.0
LINGER_S = 0.25  # from RTP's arrival to the listener: the jitter buffer, and a frame of the ear's
UNREAD_S = 0.005  # between two looks at whether the media's thread has read what came before a BYE
UNREAD_AGAIN_S = 0.1
MOVED = NotAcceptable(OTHER, "in the place of the audio stands something else")
OTHER_FAMILY = NotAcceptable(NETWORK, "the audio goes over another version of IP than the call's")


class Screening:
    """On the SIP thread. `sources` knows what RTP waits; `waker`: whose datagrams end a poll."""

    def __init__(self, engine: LegOwner, sources: Sources, waker: Address) -> None:
        settings = engine.settings
        self._engine = engine
        self._sources = sources
        self._rules = request_rules.RequestRules(
            settings.callers,
            settings.others,
            settings.sip_peer,
            settings.hop_token,
            by_port=settings.transport == "udp",
        )
        self._filter = RequestFilter(
            self._judge,
            self._took,
            self._responded,
            self._failed,
            codecs=settings.codecs,
            families=settings.families,
            heeds=engine.heeds,
            transport=settings.transport,
        )
        self._early: dict[tuple[str, str], Described] = {}  # by Call-ID and tag: of phones that ring
        self._refused: dict[str, NotAcceptable] = {}  # the last response whose description was taken away
        self.sockets = SipSockets(
            settings.listen, waker, settings.sip_peer, (*settings.callers, *settings.others)
        )
        self.draining = False
        self.strangers = 0  # requests that got no answer, and packets that the kernel kept out
        self._ignored = 0
        self._counted_at = 0.0
        self._dialled: frozenset[str] = frozenset()
        self._let = self._rules.peers, self._dialled  # that have been let in
        # by Call-ID, until it is a leg: what an INVITE opens, and which of its lines are over IPv6
        self._opening: dict[str, tuple[int, frozenset[int]]] = {}
        self._open: dict[Leg, int] = {}
        self._used = 0  # all that are open, and those being closed
        self._closing: deque[tuple[float, int]] = deque()
        self._legs: dict[str, list[Leg]] = {}  # by Call-ID: two, where a call comes back to us
        self._tidied_at = 0.0

    def start(self) -> None:
        """Be asked from now on; the library's transports are there, and nothing has been read yet."""
        self._filter.start()
        self.sockets.open_to(frozenset())

    def stop(self) -> None:
        self._filter.stop()
        self.sockets.close()
        self._open.clear()
        self._legs.clear()

    @property
    def due(self) -> float | None:
        """When `poll` has something to do (monotonic s)."""
        return self._filter.due

    def poll(self, now: float) -> None:
        """Judge waiting requests again, and let in peers that take part in a call by now."""
        self._filter.poll(now)
        if now - self._counted_at > COUNT_S:
            self._counted_at = now
            self.strangers = self._ignored + self.sockets.dropped()
        if now - self._tidied_at > TIDY_S:
            self._tidied_at = now
            self._rules.tidy(self._legs.keys(), now)
        self._let_in()

    def dials(self, *addresses: str) -> None:
        """A phone is rung there, whose answers are to come in."""
        if not self._dialled.issuperset(addresses):
            self._dialled |= set(addresses)
            self._let_in()

    def answered(self, message: str, source: str) -> None:
        """A response has come."""
        if address := library.address(source):
            self._rules.answered(message, address, time.monotonic())

    def refused(self, message: str) -> NotAcceptable | None:
        """Why the library was not shown the description in this response, its latest; None where it was."""
        return self._refused.get(message)

    def opened(self, leg: Leg) -> None:
        """A leg is there, with what its INVITE has opened."""
        self._open[leg], over_ipv6 = self._opening.pop(leg.call_id, (OWN, leg.over_ipv6))
        self._used += self._open[leg]
        self.over_ipv6(leg, over_ipv6)
        if leg.call_id:
            self.named(leg)

    def over_ipv6(self, leg: Leg, lines: frozenset[int]) -> None:
        """These lines are to be over IPv6: the library makes sockets for IPv4 first, which close at once."""
        leg.over_ipv6 = lines
        self._closes(2 * len(lines))

    def named(self, leg: Leg) -> None:
        """The Call-ID of a leg is known."""
        if leg in self._open:
            self._legs.setdefault(leg.call_id, []).append(leg)

    def closed(self, leg: Leg) -> None:
        """A leg has ended."""
        if leg in (found := self._legs.get(leg.call_id, [])):
            found.remove(leg)
            if not found:
                del self._legs[leg.call_id]
        sockets = self._open.pop(leg, 0)
        self._used -= sockets
        self._closes(sockets)
        self._rules.ended(leg.call_id, time.monotonic())

    def refused_by_library(self, call_id: str) -> None:
        """An INVITE that had passed is no leg."""
        opened, over_ipv6 = self._opening.pop(call_id, (0, frozenset()))
        self._closes(opened + 2 * len(over_ipv6))
        self._rules.ended(call_id, time.monotonic(), 0.0)

    # --- steps ---

    def _let_in(self) -> None:
        """Whoever takes part in a call, and phones that are rung; a set that has changed is another one."""
        peers, dialled = self._let
        if peers is not self._rules.peers or dialled is not self._dialled:
            self._let = self._rules.peers, self._dialled
            self.sockets.open_to(self._rules.peers | self._dialled)

    def leg(self, call_id: str) -> Leg | None:
        """The first leg that has not ended of those with this Call-ID."""
        return min(self._legs.get(call_id, ()), key=lambda leg: leg.number, default=None)

    def _closes(self, sockets: int) -> None:
        if sockets:
            self._used += sockets
            self._closing.append((time.monotonic() + CLOSING_S, sockets))

    @property
    def too_many(self) -> bool:
        """Whether more sockets are promised than there are."""
        return self._sockets(time.monotonic()) > self._engine.limits.sockets

    def _sockets(self, now: float) -> int:
        while self._closing and self._closing[0][0] <= now:
            self._used -= self._closing.popleft()[1]
        return self._used

    def _load(self, request: request_rules.Request, now: float) -> request_rules.Load:
        settings, begins = self._engine.settings, request.method == "INVITE" and not request.to_tag
        legs = self._engine.capacity
        return request_rules.Load(
            legs=library.call_count(),
            legs_limit=legs,
            sockets=self._sockets(now),
            sockets_limit=self._engine.limits.sockets,
            room=settings.has_room() if begins else True,
            waiting=self._filter.waiting,
            waiting_limit=WAITING_A_LEG * 2 * max(2, settings.calls),
            draining=self.draining,
            late=settings.late_status(self._age_s(request)) if begins and not self.draining else None,
            audio_at=self._audio_at(request),
        )

    def _age_s(self, request: request_rules.Request) -> float:
        """How long a new call has waited here, beside what we hold it back for."""
        age = age_s(request.message, self._engine.settings.hop_token, time.time())
        return max(0.0, age - request.waited_s)

    def _audio_at(self, request: request_rules.Request) -> int | None:
        leg = self.leg(request.call_id)
        return leg.audio if leg else None

    def _judge(self, request: request_rules.Request) -> request_rules.Verdict:
        now = time.monotonic()
        verdict = self._rules.judge(request, self._load(request, now), now)
        if isinstance(verdict, request_rules.Pass) and request.to_tag and request.method in OFFERS:
            verdict = self._comes_in_turn(request, now)
        if isinstance(verdict, request_rules.Pass) and request.to_tag and isinstance(request.sdp, Described):
            verdict = self._keeps_its_place(request, request.sdp)
        if isinstance(verdict, request_rules.Pass) and request.method == "BYE":
            return self._farewell(request)
        return verdict

    def _comes_in_turn(self, request: request_rules.Request, now: float) -> request_rules.Verdict:
        """No offer is made while one waits for its answer (RFC 3261 section 14.2): the library loses count of
        the lines.
        """
        leg = self.leg(request.call_id)
        offers = request.method == "INVITE" or request.sdp is not None
        early = offers and leg and not is_settled(leg.getId()) and not self._rules.is_repeated(request, now)
        return request_rules.Refuse(491) if early else request_rules.Pass()

    def _keeps_its_place(self, request: request_rules.Request, sdp: Described) -> request_rules.Verdict:
        """A line of a call's may be closed, but is of audio for good (RFC 3264 section 8): the library would
        accept another, and have no media. Its sockets are of one version of IP.
        """
        leg = self.leg(request.call_id) if request.method in request_rules.WITH_BODY else None
        if leg and leg.audio in sdp.others:
            return request_rules.Refuse(488, (MOVED.header,))
        if leg and leg.audio in sdp.places and (leg.audio in sdp.over_ipv6) != (leg.audio in leg.over_ipv6):
            return request_rules.Refuse(488, (OTHER_FAMILY.header,))
        return request_rules.Pass()

    def _farewell(self, request: request_rules.Request) -> request_rules.Verdict:
        """Have a leg's sound from before its BYE heard first: the library forgets it with the call."""
        leg = self.leg(request.call_id)
        if leg is None:
            return request_rules.Pass()
        by_tones = any(one and not one.telephone_event for one in (leg, leg.peer))
        if leg.peer and by_tones and request.waited_s < LINGER_S:
            return request_rules.Wait(LINGER_S)
        if request.waited_s < UNREAD_AGAIN_S and self._sources.unread(leg):
            return request_rules.Wait(UNREAD_S)
        return request_rules.Pass()

    def _responded(self, message: str, sdp: Described | NotAcceptable | None) -> Described | None:
        """The description of a response, as the library is to see it: a ringing phone's is kept until the
        answer.

        If a first one does not suit it and a second one does, the library ends the process.
        """
        response = request_rules.read_response(message)
        if response.method not in request_rules.WITH_BODY:
            return None
        if isinstance(sdp, NotAcceptable):
            self._refused = {message: sdp}
            return None
        if response.method != "INVITE":  # the answer to a PRACK comes before the call's
            return sdp
        if response.status >= 200:
            early = self._early.pop(response.dialog, None)
            return sdp or (early if response.status < 300 else None)
        if sdp:
            self._early[response.dialog] = sdp
            while len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
        return None

    def _took(self, request: request_rules.Request, verdict: request_rules.Verdict) -> None:
        now = time.monotonic()
        match verdict:
            case request_rules.Pass() if request.method == "ACK" and isinstance(request.sdp, NotAcceptable):
                if leg := self.leg(request.call_id):
                    leg.refuses(request.sdp)
            case request_rules.Pass():
                if self._rules.passed(request, now):
                    self._expect(request)
            case request_rules.Refuse(488) if leg := self.leg(request.call_id):
                leg.reads(request.message)  # a wish not to be recorded counts in a refused offer, too
            case request_rules.Ignore():
                self._ignored += 1
            case request_rules.LetGo():
                self._engine.settings.report(GivenUp(request.call_id))
            case request_rules.Refuse(status, late=late) if request.method == "INVITE" and not request.to_tag:
                if self._rules.first_refused(request, now):
                    source = f"{request.source[0]}:{request.source[1]}"
                    self._engine.settings.report(RefusedByEngine(status, source, request.message, late))

    def _expect(self, request: request_rules.Request) -> None:
        """Sockets that an offer within a dialog opens beside its leg's are closed with the answer."""
        if request.to_tag:
            self._closes(request.opens(self._audio_at(request)))
        elif request.method == "INVITE":
            if isinstance(request.sdp, Described):
                self._opening[request.call_id] = 2 * request.sdp.audio, request.sdp.over_ipv6
            else:  # the offer is ours, to who signals
                settings = self._engine.settings
                said = library.address(signalling_source(request.message, "", settings.hop_token))
                self._opening[request.call_id] = OWN, settings.over_ipv6((said or request.source)[0])

    def _failed(self, reason: str) -> None:
        self._engine.settings.report(EngineFault(reason))
