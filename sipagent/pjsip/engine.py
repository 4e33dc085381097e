"""Orders in, reports out."""

import gc
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pjsua2 as pj

from media.frame import SAMPLE_RATE, Samples
from sipagent import __version__
from sipagent import events as e
from sipagent.engine import Credentials, EngineFault, EngineSettings, Headers, SoundEnded
from sipagent.pjsip import setup
from sipagent.pjsip.awareness import Awareness
from sipagent.pjsip.doubt import Doubt
from sipagent.pjsip.legs import Account, Ear, Endpoint, Leg, Player
from sipagent.pjsip.names import Names, name_in
from sipagent.pjsip.setup import REQUEST_TERMINATED, order, with_headers, with_status

FIRST_PACKET_S = 0.005
KEY_S = 0.02  # before the bridge, where a key decides what comes next
KEY_IN_CALL_S = 0.1
WATCH_S = 5.0  # between two looks at whether legs still send
FAREWELL_S = 2.0  # at the end, for legs to be told so
OVERLAY_S = 5.0  # longer than any acknowledgement
LINGER_S = 4.0  # how much longer something may answer for a phone that is given up, to be told so
ELSEWHERE = ("Reason", 'SIP;cause=200;text="Call completed elsewhere"')  # RFC 3326 section 2
NO_WAY = 503  # where a request can't be sent (RFC 3261 section 8.1.3.1)
KEEP_S = 1.0  # how long a stopped sound outlives its stop: its end may still be on the event worker


class EngineError(Exception):
    """The engine could not start: `str()` says what it needs."""


class PjsipEngine:
    """The engine of `sipagent.engine`, on pjsua2."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.capacity = 0
        self._endpoint: Endpoint | None = None
        self._trunk: Account | None = None
        self._operators: Account | None = None
        self._silence: pj.ToneGenerator | None = None
        self._legs: dict[int, Leg] = {}
        self._retired: list[tuple[float, object]] = []
        self._ears: list[Ear] = []  # not in use: an ear is never destroyed while the bridge's clock runs
        self.doubt = Doubt()
        self.awareness = Awareness()
        self._names = Names(self.wake)
        self._later: list[Callable[[], None]] = []  # what a callback may not do itself
        self._numbers = 0
        self._unseen: dict[Leg, int] = {}  # nothing heard of since it was answered: packets until then
        self._leaving: dict[Leg, float] = {}  # given up, and nothing has answered: until when it may
        self._watched_at = 0.0
        self._audible = False
        self._wake_from = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._wake_from.setblocking(False)
        self._wake_to = ("127.0.0.1", settings.listen[1])
        self.samples_of: Callable[[pj.MediaFrame], Samples] = setup.samples_by_vector

    # --- life ---

    def start(self) -> None:
        """Raises EngineError where the port is taken or the engine can't be had."""
        try:
            self._start()
        except pj.Error as failure:
            where = f"{self.settings.transport} {self.settings.listen[0]}:{self.settings.listen[1]}"
            raise EngineError(f"the SIP engine can't start on {where}: {failure.reason}") from failure

    def _start(self) -> None:
        setup.quieten()
        self._endpoint = endpoint = Endpoint(self)
        endpoint.libCreate()
        endpoint.libInit(setup.endpoint_config(f"sipagent/{__version__}"))
        setup.serve("record-aware")
        self.capacity = setup.call_limit()
        transport = self._transports(endpoint)
        endpoint.libStart()
        endpoint.audDevManager().setNoDev()
        setup.choose_codecs(endpoint, self.settings.codecs)
        self.samples_of = setup.samples_by_vector if setup.vector_can_be_read() else setup.samples_by_walk
        self._silence = pj.ToneGenerator()
        self._silence.createToneGenerator(SAMPLE_RATE, 1)
        s = self.settings
        self._trunk = self._account(transport, s.trunk, s.registrar_proxies, s.registrar)
        self._operators = self._account(transport, s.operators, s.outbound_proxies)

    def stop(self) -> None:
        """Unregister and let every native object go, in the order that survives it."""
        endpoint = self._endpoint
        if endpoint is None:
            return
        self._end_legs()
        self._silence = None
        for account in (self._operators, self._trunk):
            if account is not None:
                account.shutdown()
        endpoint.libHandleEvents(50)
        del account
        self._operators = self._trunk = None
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
        if self._endpoint:
            self._endpoint.audDevManager().setNoDev()  # stops the clock, which calls the ears
        for leg in self._legs.values():
            leg.player = leg.ear = leg.peer = None
        self._ears.clear()
        self.doubt.clear()
        self.awareness.clear()
        self._later.clear()
        self._unseen.clear()
        self._leaving.clear()
        self._legs.clear()
        self._retired.clear()

    def poll(self, timeout_s: float) -> None:
        """Let the engine work for up to `timeout_s`; returns as soon as something has happened."""
        assert self._endpoint
        if self._legs:
            timeout_s = min(timeout_s, self._patience_s())
        self._endpoint.libHandleEvents(int(timeout_s * 1000))
        if self._legs:
            self._endpoint.libHandleEvents(0)  # begins with what the media's thread has left meanwhile
        now = time.monotonic()
        for number, found in self._names.answers():
            self._looked_up(number, found)
        if self._unseen or self._later:
            self._look()
        if self._leaving:
            self._let_go(now)
        self.doubt.poll(now)
        self.awareness.poll(now)
        if self._retired:
            self._ears += [one for due, one in self._retired if due <= now and isinstance(one, Ear)]
            self._retired = [(due, thing) for due, thing in self._retired if due > now]
        if self._legs and now - self._watched_at > WATCH_S:
            self._watched_at = now
            self._watch(now)
        elif not self._legs and not self._retired and self._audible:
            self._audible = False
            self._endpoint.audDevManager().setNoDev()  # an idle bridge would cost 0.4 % of a core

    def _patience_s(self) -> float:
        """How soon to look for what no SIP message brings: first packets, and keys (RFC 4733)."""
        if self._unseen:
            return FIRST_PACKET_S
        joined = all(leg.peer for leg in self._legs.values())
        return KEY_IN_CALL_S if joined else KEY_S

    def wake(self) -> None:
        """End a `poll` early; any thread. An empty line is a keep-alive to the engine (RFC 5626 3.5.1)."""
        self._wake_from.sendto(b"\r\n\r\n", self._wake_to)

    @property
    def legs(self) -> int:
        """Also those that the library reports as gone while it waits for the end of their CANCEL or BYE."""
        return max(len(self._legs), setup.call_count())

    # --- what the agent orders ---

    def answer(self, leg: int) -> None:
        self._hear()
        if call := self._legs.get(leg):
            order(call.answer, with_status(200))

    def reject(self, leg: int, status: int, retry_after_s: int | None) -> None:
        if call := self._legs.get(leg):
            headers = () if retry_after_s is None else (("Retry-After", str(retry_after_s)),)
            order(call.answer, with_headers(with_status(status), headers))

    def hang_up(self, leg: int, elsewhere: bool = False) -> None:
        """End a leg; one for which nothing has answered ends when something does, or a few seconds later."""
        call = self._legs.get(leg)
        if call is None:
            return
        param = with_headers(pj.CallOpParam(), (ELSEWHERE,) if elsewhere else ())
        if call.incoming or call.reached:
            order(call.hangup, param)
        else:
            self._leaving.setdefault(call, time.monotonic() + LINGER_S)
            call.farewell = param  # a CANCEL waits for a provisional response (RFC 3261 section 9.1)

    def dial(self, uri: str, display: str, headers: Headers = ()) -> int:
        """Ring `uri`; the phone shows `display`, a quoted string. A failure comes as `LegGone`, too."""
        assert self._operators
        self._hear()
        leg = self.adopt(Leg(self, self._operators))
        leg.uri, leg.display, leg.headers = uri, display, headers
        if name := name_in((*self.settings.outbound_proxies, uri)[0]):
            self._names.look_up(name, leg.number)
        else:
            self._ring(leg)
        return leg.number

    def _looked_up(self, number: int, found: bool) -> None:
        """Ring a phone whose host is known now, unless it was given up meanwhile."""
        if leg := self._legs.get(number):
            if found and not leg.farewell:
                self._ring(leg)
            else:
                self.disconnected(leg, REQUEST_TERMINATED if leg.farewell else NO_WAY, "")

    def _ring(self, leg: Leg) -> None:
        param = with_headers(pj.CallOpParam(True), (*leg.headers, *self.settings.way_out))
        param.opt.audioCount, param.opt.videoCount = 1, 0
        param.txOption.localUri = f"{leg.display} <{self.settings.uri}>"
        leg.realm = leg.account.realm
        if not order(leg.makeCall, leg.uri, param) and leg.number in self._legs:
            self.disconnected(leg, NO_WAY, "")

    def play(self, leg: int, sound: Path, loop: bool) -> int:
        """Play a sound in place of another; one that can't be played has ended at once, and says so."""
        self.stop_playing(leg)
        token = self.next_number()
        call = self._legs.get(leg)
        if call and (player := self._player(leg, token, sound, loop)):
            call.player = player
            self.connect(call)
        elif call and not loop:
            self.settings.report(SoundEnded(leg, token))
        return token

    def _player(self, leg: int, token: int, sound: Path, loop: bool = False) -> Player | None:
        player = Player(self, leg, token)
        try:
            player.createPlayer(str(sound), 0 if loop else pj.PJMEDIA_FILE_NO_LOOP)
        except pj.Error as failure:
            self.settings.report(EngineFault(f"{sound}: {failure.reason}"))
            return None
        return player

    def stop_playing(self, leg: int) -> None:
        call = self._legs.get(leg)
        if call and call.player:
            if audio := _audio(call):
                order(call.player.stopTransmit, audio)
            self._retire(call.player)
            call.player = None

    def overlay(self, legs: tuple[int, ...], sound: Path) -> None:
        """Let some legs hear a short sound besides what they hear."""
        player = self._player(-1, self.next_number(), sound)
        if player is None:
            return
        for leg in legs:
            call = self._legs.get(leg)
            if call and (audio := _audio(call)):
                order(player.startTransmit, audio)
        self._retire(player, after_s=OVERLAY_S)

    def bridge(self, one: int, other: int) -> None:
        a, b = self._legs.get(one), self._legs.get(other)
        if a and b:
            a.peer, b.peer = b, a
            self.connect(a)

    def indicate(self, leg: int, recording: e.Indication) -> None:
        """Let the leg's device know whether it is recorded, if it understands that."""
        if call := self._legs.get(leg):
            self.awareness.change(call, recording)

    def separate(self, leg: int) -> None:
        """Take a bridge apart."""
        call = self._legs.get(leg)
        if call is None or call.peer is None:
            return
        peer, call.peer.peer, call.peer = call.peer, None, None
        if (one := _audio(call)) and (other := _audio(peer)):
            order(one.stopTransmit, other)
            order(other.stopTransmit, one)

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

    def listen(self, leg: int) -> None:
        """Hand over what a leg sends, from now to its end."""
        call = self._legs.get(leg)
        if call and not call.ear:
            call.ear = self._ears.pop() if self._ears else Ear(self, leg)
            call.ear.leg = leg
            self.connect(call)

    # --- what the callbacks need ---

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def adopt(self, leg: Leg) -> Leg:
        self._legs[leg.number] = leg
        return leg

    def register_again(self, account: Account) -> None:
        self._later.append(lambda: self._register_again(account))

    def reached(self, leg: Leg) -> None:
        leg.tell(e.OperatorReached(leg.number))
        if farewell := leg.farewell:
            self._later.append(lambda: self._say_farewell(leg, farewell))

    def confirmed(self, leg: Leg) -> None:
        self._unseen[leg] = 0 if leg.incoming else leg.packets()  # early media is not an answer's
        if leg.incoming:
            leg.tell(e.CallConfirmed(leg.telephone_event))
        else:
            leg.tell(e.OperatorAnswered(leg.number, leg.telephone_event))

    def disconnected(self, leg: Leg, status: int, message: str) -> None:
        if status in (401, 407) and leg not in self._leaving and leg.may_ring_again(message):
            self._later.append(lambda: self._ring_again(leg))  # now with credentials
            return
        self._legs.pop(leg.number, None)
        self._unseen.pop(leg, None)
        self._leaving.pop(leg, None)
        self.awareness.forget(leg)
        self.doubt.forget(leg)
        self._deafen(leg)
        if leg.player:
            self._retire(leg.player)
        if leg.peer:
            leg.peer.peer = None
        leg.player = leg.peer = None
        self._retire(leg, after_s=0.0)
        leg.tell(e.LegGone(leg.number, status))

    def connect(self, leg: Leg) -> None:
        """Put a leg's sound where it belongs; again after each change of its media."""
        audio = _audio(leg)
        if not audio or not self._silence:
            return
        # Silence never stops: so neither does RTP, nor do frames where a leg has no media for a while.
        routes: list[tuple[pj.AudioMedia, pj.AudioMedia]] = [(self._silence, audio)]
        if leg.ear:
            routes += [(self._silence, leg.ear), (audio, leg.ear)]
        if leg.player:
            routes.append((leg.player, audio))
        if leg.peer and (peer := _audio(leg.peer)):
            routes += [(audio, peer), (peer, audio)]
        for source, sink in routes:
            order(source.startTransmit, sink)

    # --- small steps ---

    def _transports(self, endpoint: Endpoint) -> int:
        """Open what the trunk uses; its id. Waking needs a UDP socket, on loopback where there is none."""
        s = self.settings
        host, port = s.listen
        config = setup.transport_config(host, port, "" if s.media_address else s.public_address)
        transport = endpoint.transportCreate(setup.TRANSPORTS[s.transport], config)
        wake_host = host if host != "0.0.0.0" else "127.0.0.1"
        if s.transport != "udp":
            wake_host = "127.0.0.1"
            own = endpoint.transportCreate(setup.TRANSPORTS["udp"], setup.transport_config(wake_host, 0, ""))
            info = endpoint.transportGetInfo(own)
            port = int(info.localName.rpartition(":")[2])
        self._wake_to = (wake_host, port)
        return transport

    def _account(
        self, transport: int, credentials: Credentials | None, proxies: tuple[str, ...], registrar: str = ""
    ) -> Account:
        config = setup.account_config(self.settings, transport, registrar, proxies)
        account = Account(self, config, credentials)
        account.arm()
        account.create(account.config)
        return account

    def register(self) -> None:
        """Ask the registrar, once; its answer, or that none came, is reported as `Registration`."""
        if self._trunk and self.settings.registrar:
            order(self._trunk.setRegistration, True)

    def unregister(self) -> None:
        """Tell the registrar that we are gone; its answer, or that none came, is reported, too."""
        if self._trunk and self.settings.registrar:
            order(self._trunk.setRegistration, False)

    def _hear(self) -> None:
        """The bridge's clock runs while there are legs."""
        if not self._audible and self._endpoint:
            self._audible = True
            self._endpoint.audDevManager().setNullDev()

    def _look(self) -> None:
        """Carry out what callbacks could not, and see whether first packets are there."""
        later, self._later = self._later, []
        for one in later:
            one()
        for leg, before in list(self._unseen.items()):
            if leg.packets() > before:
                del self._unseen[leg]
                leg.tell(e.MediaArrived(leg.number))

    def _say_farewell(self, leg: Leg, farewell: pj.CallOpParam) -> None:
        order(leg.hangup, farewell)

    def _register_again(self, account: Account) -> None:
        account.arm()
        account.modify(account.config)
        order(account.setRegistration, True)

    def _ring_again(self, leg: Leg) -> None:
        leg.account.arm()
        leg.account.modify(leg.account.config)
        fresh = self.adopt(Leg(self, leg.account, number=leg.number))
        fresh.uri, fresh.display, fresh.headers = leg.uri, leg.display, leg.headers
        self._retire(leg, after_s=0.0)
        self._ring(fresh)

    def _let_go(self, now: float) -> None:
        """Of legs that were given up and for which nothing answers: the library would wait for 32 s."""
        for leg, until in list(self._leaving.items()):
            if until <= now:
                del self._leaving[leg]
                leg.give_up()

    def _watch(self, now: float) -> None:
        """Report once a leg that has to send and doesn't, neither RTP nor RTCP (RFC 3550 section 6.3.5)."""
        for leg in list(self._legs.values()):
            if leg.received_at and leg.hasMedia():
                packets = leg.packets()
                if packets != leg.received or leg.silent_by_sdp or leg.held:
                    leg.received, leg.received_at = packets, now
                elif now - leg.received_at > self.settings.media_timeout_s:
                    leg.received_at = 0.0
                    leg.tell(e.MediaLost(leg.number))

    def _deafen(self, leg: Leg) -> None:
        if leg.ear and self._silence:
            order(self._silence.stopTransmit, leg.ear)
            if audio := _audio(leg):
                order(audio.stopTransmit, leg.ear)
            leg.ear.leg = -1
            self._retire(leg.ear)  # to be used again once the bridge has let go of what it had gathered
            leg.ear = None

    def _retire(self, thing: object, after_s: float = KEEP_S) -> None:
        """Let go of a native object later, in `poll`: never in a callback, its own least of all."""
        self._retired.append((time.monotonic() + after_s, thing))


def _audio(leg: Leg) -> pj.AudioMedia | None:
    """The leg's place in the bridge, None while it has no media, or while its host is looked up."""
    if leg.getId() < 0:
        return None  # the library would end the process
    try:
        return leg.getAudioMedia(-1)
    except pj.Error:
        return None
