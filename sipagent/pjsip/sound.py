"""The library's conference bridge: joins legs, players and ears. All of it on the SIP thread.

A native object is never let go of while the bridge may still use it: players and ears go a moment after they
are disconnected, and an ear, which the bridge's clock calls, is used again and never destroyed meanwhile.
"""

import ctypes
import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path
from typing import TypeAlias

import pjsua2 as pj

from media.frame import SAMPLE_RATE
from sipagent.agent.engine import EngineFault, SoundEnded
from sipagent.pjsip.accounts import Owner
from sipagent.pjsip.ears import Ear, Ears, Left, Probe, ProbedStream, Probes
from sipagent.pjsip.legs import Leg, Player
from sipagent.pjsip.library import CLOCK, LIBRARY, MEDIA, SUCCESS, hurry, order

OVERLAY_S = 5.0  # longer than any acknowledgement
READS_ON_S = 3.0  # after the last leg RTP is still read: the library lets go of a socket half a second later
WAIT_S = 2.0  # for a player: longer than one that was stopped is kept
PLAYERS_TO_BEGIN = 2  # a caller's first sound, and its successor
KEEP_S = 1.0  # how long a stopped sound outlives its stop: its end may still be on the event worker

LIBRARY.pjsua_get_pjmedia_endpt.restype = ctypes.c_void_p
LIBRARY.pjsua_get_pool_factory.restype = ctypes.c_void_p
LIBRARY.pjmedia_endpt_get_ioqueue.restype = ctypes.c_void_p


Retired: TypeAlias = "Player | Ear | Left"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A sound that a leg is to hear once there is a player, `since` (monotonic s)."""

    token: int
    sound: Path
    loop: bool
    since: float


class SoundEngine:
    """`start` and `stop` frame the life of the library; the clock runs while there are legs."""

    def __init__(self, engine: Owner) -> None:
        self._engine = engine
        self._device: pj.AudDevManager | None = None
        self._silence: pj.ToneGenerator | None = None
        self.ears = Ears(engine)
        self._probes: Probes | None = None
        self._probed: dict[Leg, tuple[Probe, int, ProbedStream]] = {}  # and which of its streams
        self._retired: list[tuple[float, int, Retired]] = []  # a heap: until when they are kept
        self._numbers = itertools.count()
        self._playing = 0  # players, those that are kept included
        self._waiting: dict[Leg, _Waiting] = {}  # the leg that has waited longest first
        self._ticking = False
        self._media_thread = MediaThread()
        self._to_hurry: set[str] = set()  # threads, by name, once they are there

    @property
    def can_play(self) -> bool:
        """Whether one more caller's sounds would find players."""
        return self._engine.limits.players - self._playing - len(self._waiting) >= PLAYERS_TO_BEGIN

    @property
    def pending(self) -> bool:
        return bool(self._waiting or self._to_hurry)

    def start(self, device: pj.AudDevManager) -> None:
        """Begin without a clock: an idle bridge would cost 0.4 % of a core."""
        self._device = device
        self._media_thread.start()
        device.setNoDev()
        self._silence = pj.ToneGenerator()
        self._silence.createToneGenerator(SAMPLE_RATE, 1)
        self.ears.start()
        self._probes = Probes(self.ears.pool)
        if self._probes.fault:
            what = f"what a line loses is not told of recordings: {self._probes.fault}"
            self._engine.settings.report(EngineFault(what))

    def stop(self, legs: Iterable[Leg]) -> None:
        """Let everything go, once these legs have their BYE."""
        if self._device:
            self._device.setNoDev()  # stops the clock
        self.ears.stop()
        for probe, _, stream in self._probed.values():
            probe.rest()
            stream.close()
        for _, _, one in self._retired:
            if isinstance(one, Left):
                one.close()
        self._probed.clear()
        for leg in legs:
            leg.player = leg.ear = leg.peer = None
        self._retired.clear()
        self._waiting.clear()
        self._silence = None
        self._media_thread.stop()

    def arrives(self, leg: Leg) -> None:
        """Have RTP read: there is a leg."""
        try:
            if self._media_thread.run():
                self._to_hurry.add(MEDIA)
        except OSError as failure:
            leg.fails(str(failure))

    def tick(self) -> bool:
        """Have the clock run; False where it can't."""
        if self._device and not self._ticking:
            self._ticking = order(self._device.setNullDev)
            if self._ticking:
                self._to_hurry.add(CLOCK)
        return self._ticking

    def poll(self, now: float, legs: bool) -> None:
        """Let go of what is old enough, and stop the clock where there are no `legs`."""
        if self._to_hurry:
            real_time = self._engine.settings.real_time
            self._to_hurry = {name for name in self._to_hurry if not hurry(name, real_time)}
        if self._device and self._ticking and not (self._retired or legs):
            self._ticking = False
            self._device.setNoDev()
        while self._retired and self._retired[0][0] <= now:
            _, _, one = heappop(self._retired)
            if isinstance(one, Ear):
                self.ears.free(one)
            elif isinstance(one, Left):
                self._let_go(one)
            else:
                self._playing -= 1
        self._media_thread.poll(now, legs)
        if self._waiting:
            self._play_waiting(now)

    def connect(self, leg: Leg) -> None:
        """Put a leg's sound where it belongs; again after each change of its media."""
        audio = audio_of(leg)
        if not audio or not self._silence:
            return
        # Silence never stops: so neither does RTP, nor do frames where a leg has no media for a while.
        routes: list[tuple[pj.AudioMedia, pj.AudioMedia]] = [(self._silence, audio)]
        if leg.player:
            leg.player.sent_before_ms = leg.sent_ms()
            routes.append((leg.player, audio))
        if leg.peer and (peer := audio_of(leg.peer)):
            routes += [(audio, peer), (peer, audio)]
        try:
            for source, sink in routes:
                source.startTransmit(sink)
            if leg.ear:
                leg.ear.connect(self._silence)
                leg.ear.connect(audio)
                self._map(leg, audio.getPortId())
        except pj.Error as failure:
            leg.fails(f"its sound: {failure.reason}")
        except OSError as failure:
            leg.fails(f"its sound: {failure}")

    def play(self, leg: Leg, token: int, sound: Path, loop: bool) -> None:
        """Play a sound, once there is a player; one that can't be played has ended, and says so."""
        now = time.monotonic()
        self._waiting[leg] = _Waiting(token, sound, loop, now)
        self._play_waiting(now)

    def sent_ms(self, leg: Leg, token: int) -> float:
        """How much of a sound has been sent to the leg that hears it, since its media last changed."""
        if leg.player is None or leg.player.token != token:
            return 0.0
        return leg.sent_ms() - leg.player.sent_before_ms

    def _play_waiting(self, now: float) -> None:
        for leg, one in list(self._waiting.items()):
            waited_s = now - one.since
            late = waited_s > WAIT_S and not one.loop
            if self._playing >= self._engine.limits.players and not late:
                continue
            del self._waiting[leg]
            if player := self._player(leg.number, one.token, one.sound, one.loop):
                player.waited_s = waited_s
                leg.player = player
                self.connect(leg)
            elif not one.loop:
                self._engine.settings.report(SoundEnded(leg.number, one.token, waited_s))

    def _player(self, leg: int, token: int, sound: Path, loop: bool = False) -> Player | None:
        if self._playing >= self._engine.limits.players:
            self._engine.settings.report(EngineFault(f"{sound}: all {self._playing} players are in use"))
            return None
        player = Player(self._engine, leg, token)
        try:
            player.createPlayer(str(sound), 0 if loop else pj.PJMEDIA_FILE_NO_LOOP)
        except pj.Error as failure:
            self._engine.settings.report(EngineFault(f"{sound}: {failure.reason}"))
            return None
        self._playing += 1
        return player

    def stop_playing(self, leg: Leg) -> None:
        self._waiting.pop(leg, None)
        if leg.player:
            if audio := audio_of(leg):
                order(leg.player.stopTransmit, audio)
            self._retire(leg.player)
            leg.player = None

    def overlay(self, legs: Iterable[Leg], sound: Path) -> None:
        """Let some legs hear a short sound besides what they hear."""
        player = self._player(-1, self._engine.next_number(), sound)
        if player is None:
            return
        for leg in legs:
            if audio := audio_of(leg):
                order(player.startTransmit, audio)
        self._retire(player, after_s=OVERLAY_S)

    def join(self, one: Leg, other: Leg) -> None:
        one.peer, other.peer = other, one
        self.connect(one)

    def part(self, leg: Leg) -> None:
        if leg.peer is None:
            return
        peer, leg.peer.peer, leg.peer = leg.peer, None, None
        if (one := audio_of(leg)) and (other := audio_of(peer)):
            order(one.stopTransmit, other)
            order(other.stopTransmit, one)

    def listen(self, leg: Leg) -> None:
        """Hand over what a leg sends, from now to its end."""
        if leg.ear:
            return
        try:
            leg.ear = self.ears.hear(leg.number)
        except OSError as failure:
            leg.fails(f"nobody would hear it: {failure}")
            return
        self.connect(leg)

    def _map(self, leg: Leg, place: int) -> None:
        """A call goes on without it, too."""
        try:
            self._probe(leg, place)
        except OSError as failure:
            what = f"what the line of a leg loses is not told of its recording: {failure}"
            self._engine.settings.report(EngineFault(what))

    def _probe(self, leg: Leg, place: int) -> None:
        """Have it known in which ticks nothing came on its present stream, which the bridge has there."""
        probe, address, before = self._probed.get(leg, (None, 0, None))
        if not leg.stream or leg.stream == address or not self._probes or self._probes.fault:
            return
        stream = self._probes.stream(leg.stream)
        if stream is None:
            return
        try:
            probe = probe or self._probes.take()
            probe.aim(stream, place)
        except OSError:
            stream.close()
            raise
        self._probed[leg] = probe, leg.stream, stream
        self.ears.probe(leg.number, probe.take)
        if before:
            self._retire(Left(probe, before, last=False))

    def _let_go(self, left: Left) -> None:
        """Of a stream, unless the clock has stood still since."""
        assert self._probes
        if self._ticking and not left.is_over:
            self._retire(left)
        elif probe := left.close():
            self._probes.free(probe)

    def leave(self, leg: Leg) -> None:
        """A leg has ended."""
        self._waiting.pop(leg, None)
        if leg.ear and self._silence:
            self.ears.forget(leg.number)
            if leg in self._probed:
                probe, _, stream = self._probed.pop(leg)
                probe.turn_away()
                self._retire(Left(probe, stream, last=True))
            leg.ear.disconnect(self._silence)
            if audio := audio_of(leg):
                leg.ear.disconnect(audio)
            self._retire(leg.ear)  # to be used again once the bridge has let go of it
        if leg.player:
            self._retire(leg.player)
        if leg.peer:
            leg.peer.peer = None
        leg.ear = leg.player = leg.peer = None

    def _retire(self, thing: Retired, after_s: float = KEEP_S) -> None:
        """Let go of a native object later, in `poll`: never in a callback, its own least of all."""
        heappush(self._retired, (time.monotonic() + after_s, next(self._numbers), thing))


def audio_of(leg: Leg) -> pj.AudioMedia | None:
    """The leg's place in the bridge, None while it has no media, or while its host is looked up."""
    if leg.getId() < 0:
        return None  # the library would end the process
    try:
        return leg.getAudioMedia(-1)
    except pj.Error:
        return None


class MediaThread:
    """The library's thread that reads RTP, only while there are legs: it looks up a hundred times a second.

    The library starts it with itself, and never again. So that one is ended, and another media endpoint,
    which has nothing but such a thread, is put on the same sockets for as long as they are needed. All of it
    is pjmedia's own (endpoint.h). `start` and `stop` frame the life of the library.
    """

    def __init__(self) -> None:
        self._own: ctypes.c_void_p | None = None
        self._idle_at: float | None = None

    def start(self) -> None:
        """End the library's own one."""
        LIBRARY.pjmedia_endpt_stop_threads(_library_endpoint())

    def stop(self) -> None:
        if self._own is not None:
            LIBRARY.pjmedia_endpt_destroy2(self._own)
            self._own = None

    def run(self) -> bool:
        """Have RTP read; whether a thread was started for it. Raises OSError where there can be none."""
        self._idle_at = None
        if self._own is not None:
            return False
        made = ctypes.c_void_p()
        factory = ctypes.c_void_p(LIBRARY.pjsua_get_pool_factory())
        sockets = ctypes.c_void_p(LIBRARY.pjmedia_endpt_get_ioqueue(_library_endpoint()))
        if (status := LIBRARY.pjmedia_endpt_create2(factory, sockets, 1, ctypes.byref(made))) != SUCCESS:
            raise OSError(f"no thread for media: status {status} of the library")
        self._own = made
        return True

    def poll(self, now: float, legs: bool) -> None:
        """End it where there have been no `legs` for a while; `now` is monotonic s."""
        if legs or self._own is None:
            self._idle_at = None
        elif self._idle_at is None:
            self._idle_at = now
        elif now - self._idle_at > READS_ON_S:
            self.stop()


def _library_endpoint() -> ctypes.c_void_p:
    return ctypes.c_void_p(LIBRARY.pjsua_get_pjmedia_endpt())
