"""What legs send, and in which ticks a jitter buffer had nothing, so that what was heard is made up.

Both are taken from rings that the bridge's clock writes: it calls no Python, and waits for nothing.

An ear is the library's own recorder without a file. Its buffer is the ring; whenever that is full, the
recorder writes it to /dev/null and begins anew. Its count of bytes is the leg's clock: 160 samples a tick,
silence included. The thread `ears` empties all rings ten times a second, and the SIP thread those of a call
before an order for which it matters what was sent until then.

What is not taken in time is lost, and how much that is, is known: it is handed over as a number of samples.

The library's jitter buffer (pjmedia's jbuf.c) counts frames that were lost, and times at which it was
empty, but not when. So a probe plays these counters as if they were sound: a player of the library's reads
a tick of them at a time, out of a FILE over their memory (fmemopen(3)), into a ring as that of an ear. What
has changed between two ticks tells which of them was concealed. The ear's ring and this one are written in
the same tick.

Where memory lies is found out and not assumed: a jitter buffer of our own is given a history whose counts
occur nowhere else in it; a stream's own one is the place that a word of the stream points to, where the
function stands by which all of them discard. What cannot be read is asked of the kernel first.
"""

import ctypes
import os
import struct
import threading
import time
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pjsua2 as pj

from media.frame import FRAME_MS, FRAME_SAMPLES, SAMPLE_RATE, Samples, samples_of
from sipagent.agent.engine import Gap
from sipagent.pjsip.accounts import Owner, guarded_callback
from sipagent.pjsip.library import LIBRARY, SUCCESS

TICK = SAMPLE_RATE // 50  # samples that the bridge gives at a time
SAMPLE_BYTES = 2
RING_TICKS = 250  # 5 s: how late the thread may be
TICK_BYTES = TICK * SAMPLE_BYTES
RING_BYTES = RING_TICKS * TICK_BYTES
POOL_BYTES = 4000  # what the library's pool begins with, and grows by
FIRST_WORD, LAST_WORD = 4, 40  # of the recorder, where its buffer may be told

LIBRARY.pjsua_pool_create.restype = ctypes.c_void_p


class _Recorder(ctypes.Structure):
    """What pjmedia's recorder (wav_writer.c) says of its buffer, and how many bytes it was given."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("buffer", ctypes.c_size_t),
        ("next", ctypes.c_size_t),
        ("total", ctypes.c_size_t),
    )


class Ear:
    """Hears leg after leg. It is never destroyed: the library does that at its end."""

    def __init__(self, pool: ctypes.c_void_p) -> None:
        """Raises OSError where the library has no place for it."""
        self.port = _recorder_port(pool)
        self._recorder = _within(self.port)
        self.place = place_of(self.port, pool)
        self._taken = 0  # of its bytes

    def connect(self, source: pj.AudioMedia) -> None:
        """Raises OSError."""
        check(LIBRARY.pjsua_conf_connect(source.getPortId(), self.place))

    def disconnect(self, source: pj.AudioMedia) -> None:
        LIBRARY.pjsua_conf_disconnect(source.getPortId(), self.place)

    @property
    def total(self) -> int:
        """Bytes that it was given."""
        return int(self._recorder.total)

    @property
    def taken(self) -> int:
        """Of these, up to where they were taken."""
        return self._taken

    def skip(self, upto: int | None = None) -> None:
        """What was heard so far, or up to that byte, is nobody's."""
        self._taken = self._recorder.total if upto is None else upto

    def take(self) -> tuple[int, Samples]:
        """How many samples are lost since the last time, and (n,) int16 that were heard after those."""
        recorder, before = self._recorder, self._taken
        while True:
            end = recorder.total
            start = max(before, end + TICK_BYTES - RING_BYTES)
            at, size = start % RING_BYTES, end - start
            first = min(size, RING_BYTES - at)
            pcm = ctypes.string_at(recorder.buffer + at, first)
            if first < size:
                pcm += ctypes.string_at(recorder.buffer, size - first)
            # The tick that is being written overwrites the oldest one.
            if recorder.total + TICK_BYTES - RING_BYTES <= start:
                self._taken = end
                return (start - before) // SAMPLE_BYTES, samples_of(pcm)


class Ears:
    """Those in use, by leg. `hear`, `forget`, `start` and `stop` are the SIP thread's."""

    def __init__(self, engine: Owner) -> None:
        self.engine = engine
        self.pool = ctypes.c_void_p()
        self._free: list[Ear] = []
        self._lock = threading.Lock()  # so that all of a leg is handed over in its order
        self._of_leg: dict[int, Ear] = {}
        self._gaps: dict[int, Callable[[Ear], list[Gap]]] = {}  # of legs that have a probe
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="ears", daemon=True)

    def start(self) -> None:
        """Raises OSError where the library's recorder is not what is expected here."""
        self.pool.value = LIBRARY.pjsua_pool_create(b"ears", POOL_BYTES, POOL_BYTES)
        self._free.append(Ear(self.pool))
        self._thread.start()

    def stop(self) -> None:
        """Before the library ends, whose memory the rings are."""
        with self._lock:
            self._of_leg.clear()
        self._ended.set()
        self._wanted.set()
        if self._thread.is_alive():
            self._thread.join()

    def hear(self, leg: int) -> Ear:
        """An ear for a leg, not yet connected. Raises OSError."""
        ear = self._free.pop() if self._free else Ear(self.pool)
        ear.skip()
        with self._lock:
            self._of_leg[leg] = ear
        self._wanted.set()
        return ear

    def forget(self, leg: int) -> None:
        """The leg has ended: hand over its last sound."""
        self.take((leg,))
        with self._lock:
            self._of_leg.pop(leg, None)
            self._gaps.pop(leg, None)
            if not self._of_leg:
                self._wanted.clear()

    def probe(self, leg: int, gaps: Callable[[Ear], list[Gap]] | None) -> None:
        """What tells the gaps in what a leg's ear has just handed over."""
        with self._lock:
            if gaps is None:
                self._gaps.pop(leg, None)
            elif leg in self._of_leg:
                self._gaps[leg] = gaps

    def free(self, ear: Ear) -> None:
        """It is disconnected, and the bridge has let go of it."""
        self._free.append(ear)

    def take(self, legs: Iterable[int]) -> None:
        """Hand over what these have sent until now."""
        with self._lock:
            now = time.monotonic()
            for leg in legs:
                if ear := self._of_leg.get(leg):
                    self._hand_over(leg, ear, now)

    def _hand_over(self, leg: int, ear: Ear, now: float) -> None:
        settings = self.engine.settings
        lost, samples = ear.take()
        if lost:
            settings.missed(leg, lost, now - samples.size / SAMPLE_RATE)
        for start in range(0, samples.size, FRAME_SAMPLES):
            frame = samples[start : start + FRAME_SAMPLES]
            settings.audio(leg, frame, now - (samples.size - start - frame.size) / SAMPLE_RATE)
        if gaps := self._gaps.get(leg):
            for gap in gaps(ear):
                settings.gap(leg, gap)

    def _run(self) -> None:
        while not self._ended.wait(FRAME_MS / 1000):
            self._take_all()
            self._wanted.wait()

    @guarded_callback
    def _take_all(self) -> None:
        self.take(tuple(self._of_leg))


def _recorder_port(pool: ctypes.c_void_p) -> ctypes.c_void_p:
    """One whose buffer is a ring of whole ticks."""
    port, size = ctypes.c_void_p(), ctypes.c_ssize_t(RING_BYTES)
    form = SAMPLE_RATE, 1, TICK, 8 * SAMPLE_BYTES
    check(LIBRARY.pjmedia_wav_writer_port_create(pool, b"/dev/null", *form, 0, size, ctypes.byref(port)))
    return port


def _within(port: ctypes.c_void_p) -> _Recorder:
    """Its buffer and count, while that is 0. Raises OSError where they are not found."""
    assert port.value
    words = (ctypes.c_size_t * LAST_WORD).from_address(port.value)
    found = [
        at
        for at in range(FIRST_WORD, LAST_WORD - 3)
        if words[at] == RING_BYTES and words[at + 1] == words[at + 2] != 0 == words[at + 3]
    ]
    if len(found) != 1:
        raise OSError("its recorder is not one that is known here")
    return _Recorder.from_address(port.value + found[0] * ctypes.sizeof(ctypes.c_size_t))


def place_of(port: ctypes.c_void_p, pool: ctypes.c_void_p) -> int:
    place = ctypes.c_int()
    check(LIBRARY.pjsua_conf_add_port(pool, port, ctypes.byref(place)))
    return place.value


def check(status: int) -> None:
    if status != SUCCESS:
        raise OSError(f"status {status} of the library")


WORD, LONG = 4, 8
SPAN = TICK_BYTES // 2 // WORD  # words of a jitter buffer that are watched, twice in each tick
JBUF_BYTES = 400  # at most
JBUF_WORDS = JBUF_BYTES // WORD
STREAM_BYTES = 8192  # of a stream, in which its jitter buffer is named
HEADER = 44  # bytes of a WAV file before its sound
FIRST, LOST, EMPTY = 1000, 37, 41  # sequence and counts of our own buffer's
FRAME, PTIME, CAPACITY = 80, 10, 500
LOWEST, LOW = 1 << 16, (1 << 32) - 1
PLAYER_WORDS = 60  # in which its buffer may be told
MADE_UP = 12  # ticks in a row: pjmedia makes up 240 ms (PJMEDIA_MAX_PLC_DURATION_MSEC), then it is silent
CODE = 1 << 26  # further from a function of the library's than any other

_C = ctypes.CDLL(None, use_errno=True)
_C.fmemopen.restype = ctypes.c_void_p
_C.fmemopen.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_C.fclose.argtypes = (ctypes.c_void_p,)
_C.write.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_C.fseek.argtypes = (ctypes.c_void_p, ctypes.c_long, ctypes.c_int)
_fsetlocking = _C["__fsetlocking"]
_fsetlocking.argtypes = (ctypes.c_void_p, ctypes.c_int)
BY_CALLER = 2  # FSETLOCKING_BYCALLER: the clock alone reads it

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Name(ctypes.Structure):
    """pj_str_t."""

    _fields_ = (("text", ctypes.c_char_p), ("length", ctypes.c_ssize_t))


class Peek:
    """Reads the process's own memory; None where there is none. Closed by `close`."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)

    def __call__(self, address: int, size: int) -> bytes | None:
        """At most a page of a pipe. A write of what is not there fails, and no signal comes of it."""
        written = _C.write(self._in, address, size)
        found = os.read(self._out, written) if written > 0 else b""
        return found if len(found) == size else None


@dataclass(frozen=True, slots=True)
class JitterBufferLayout:
    """Of a jitter buffer: where its counters are, in bytes; the `mark` at `at`, by which one is known."""

    lost: int
    empty: int
    origin: int
    mark: int
    at: int

    @classmethod
    def found(cls, pool: ctypes.c_void_p) -> "JitterBufferLayout":
        """Raises OSError where the library's buffer is not as is expected here."""
        name, made = _Name(b"found", 5), ctypes.c_void_p()
        how = ctypes.byref(name), FRAME, PTIME, CAPACITY
        if LIBRARY.pjmedia_jbuf_create(pool, *how, ctypes.byref(made)) != SUCCESS or not made.value:
            raise OSError("no jitter buffer")
        code = ctypes.cast(LIBRARY.pjmedia_jbuf_get_frame, ctypes.c_void_p).value or 0
        longs = struct.unpack(f"{JBUF_BYTES // LONG}Q", ctypes.string_at(made.value, JBUF_BYTES))
        LIBRARY.pjmedia_jbuf_set_fixed(made, 0)
        lives = [_lived(made, first) for first in (FIRST, 2 * FIRST)]
        counts = [(LOST, 2 * LOST), (EMPTY, 2 * EMPTY), (FIRST + LOST + 2, 2 * FIRST + LOST + 2)]
        places = [
            [at for at, both in enumerate(zip(*lives, strict=True)) if both == count] for count in counts
        ]
        if any(len(place) != 1 for place in places):
            raise OSError("the counters of its jitter buffer are not found")
        (lost,), (empty,), (origin,) = places
        marks = [at for at in range(origin * WORD // LONG) if abs(longs[at] - code) < CODE]
        if len(marks) != 1:
            raise OSError("its jitter buffer is not one that is known here")
        layout = cls(lost, empty, origin, longs[marks[0]], marks[0])
        if not 0 <= layout.begins <= min(lost, empty, origin):
            raise OSError("the counters of its jitter buffer lie too far apart")
        return layout

    @property
    def begins(self) -> int:
        """The first word that is watched; the last one is the last counter."""
        return max(self.lost, self.empty, self.origin) + 1 - SPAN


def _lived(made: ctypes.c_void_p, first: int) -> tuple[int, ...]:
    """The words of a jitter buffer that has lost frames, and was empty, since the frame `first`."""
    frame, kind, size = (
        ctypes.create_string_buffer(FRAME),
        ctypes.create_string_buffer(1),
        ctypes.c_size_t(FRAME),
    )
    for sequence in (first, first + LOST + 1):
        LIBRARY.pjmedia_jbuf_put_frame(made, frame, size, sequence)
    for _ in range(LOST + 2 + EMPTY):
        LIBRARY.pjmedia_jbuf_get_frame(made, frame, kind)
    return struct.unpack(f"{JBUF_BYTES // WORD}I", ctypes.string_at(made, JBUF_BYTES))


class _Player(ctypes.Structure):
    """What pjmedia's player (wav_player.c) says of its buffer and its file."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        *((name, ctypes.c_size_t) for name in ("buffer", "next", "end", "length", "bounds", "left", "at")),
        ("file", ctypes.c_size_t),
    )


class Probe:
    """Hears the counters of one stream's jitter buffer after another's. It is never destroyed.

    All on the SIP thread but `take`, which its leg's ear is taken with.
    """

    def __init__(self, pool: ctypes.c_void_p, sound: str) -> None:
        """`sound`: a WAV file of two ticks. Raises OSError where the library has no place for it."""
        self.ring = Ear(pool)
        port, size = ctypes.c_void_p(), ctypes.c_ssize_t(TICK_BYTES)
        create = LIBRARY.pjmedia_wav_player_port_create
        check(create(pool, sound.encode(), 20, 0, size, ctypes.byref(port)))
        self._player = _player_within(port)
        self._nothing = self._player.file
        self.place = place_of(port, pool)
        self._connected = False
        self._stream: ProbedStream | None = None
        self._seen: tuple[int, int] = (0, 0)
        self._before: NDArray[np.uint32] | None = None
        self._lag = 0
        self._skew = self._doubt = 0
        self._run = 0  # ticks that were concealed, up to now

    def aim(self, stream: "ProbedStream", place: int) -> None:
        """Hear this stream, which the bridge has at `place`."""
        self._lag = 1 if self.place > place else 2
        if not self._connected:
            check(LIBRARY.pjsua_conf_connect(self.place, self.ring.place))
            self._connected = True
        self._stream, self._before, self._seen = stream, None, stream.counts
        self._player.file = stream.file

    def turn_away(self) -> None:
        """Hear no stream."""
        self._player.file = self._nothing
        self._stream = None

    def rest(self) -> None:
        """Be nobody's, until it is aimed again."""
        self.turn_away()
        LIBRARY.pjsua_conf_disconnect(self.place, self.ring.place)
        self._connected = False

    def take(self, ear: Ear) -> list[Gap]:
        """What was made up of what its leg's `ear` has handed over; ticks may come with the next time."""
        stream, ring = self._stream, self.ring
        if stream is None:
            return []
        self._align(ear)
        upto = ring.total
        if stream.counts == self._seen and self._before is not None and not self._run:
            ring.skip(upto)
            return []
        first = ring.taken // TICK_BYTES
        lost, sound = ring.take()
        words = sound.view(np.uint32).reshape(-1, SPAN * 2)[:, stream.counters]
        if lost or self._before is None:
            first, self._run = first + lost // TICK, 0
            own = (words >= self._seen).all(axis=1)  # what came before it was heard is none of its counts
            begins = int(own.argmax()) if own.any() else len(words)
            words, first = words[begins:], first + begins
            self._before = words[0] if len(words) else None
        if self._before is None or not len(words):
            return []
        changed = np.diff(words, axis=0, prepend=self._before[None]).sum(axis=1).tolist()
        self._before, self._seen = words[-1], (int(words[-1][0]), int(words[-1][1]))
        ahead = ear.taken // TICK_BYTES - (first + 1 - self._skew - self._lag)
        return list(self._gaps([one != 0 for one in changed], ahead))

    def _gaps(self, changed: list[bool], ahead: int) -> Iterator[Gap]:
        """`ahead`: by how many ticks the ear is beyond the end of the first of these."""
        begun = None
        for tick, made_up in enumerate([*changed, False]):
            if made_up:
                begun = tick if begun is None else begun
                continue
            if begun is not None:
                before, new = self._run, tick - begun
                self._run += new
                told = self._run if before <= MADE_UP < self._run else new
                why = "nothing_came" if self._run > MADE_UP else "concealed"
                yield Gap((ahead - tick + 1) * TICK, told * TICK, why)
                begun = None
            if tick < len(changed):
                self._run = 0

    def _align(self, ear: Ear) -> None:
        """By how many ticks the ring is ahead of the ear: the clock may be between the two just now."""
        before, heard, after = self.ring.total, ear.total, self.ring.total
        skew = (after - heard) // TICK_BYTES
        if before != after or skew == self._skew:
            return
        if skew == self._doubt or self._before is None:
            self._skew = skew
        self._doubt = skew


class ProbedStream:
    """One that is heard: it stays in memory until `close`, whatever the library does with it."""

    def __init__(self, layout: JitterBufferLayout, port: ctypes.c_void_p, jitter_buffer: int) -> None:
        """Raises OSError."""
        self._port = port
        words = (ctypes.c_uint32 * JBUF_WORDS).from_address(jitter_buffer)
        self._words, self._lost, self._empty = words, layout.lost, layout.empty
        self.counters = [layout.lost - layout.begins, layout.empty - layout.begins]
        begins = jitter_buffer + layout.begins * WORD
        file = _C.fmemopen(begins - HEADER, HEADER + SPAN * WORD, b"r")
        if not file:
            raise OSError(ctypes.get_errno(), "no file for a jitter buffer")
        self.file: int = file
        _fsetlocking(file, BY_CALLER)
        _C.fseek(file, HEADER, os.SEEK_SET)
        check(LIBRARY.pjmedia_port_add_ref(port))

    @property
    def counts(self) -> tuple[int, int]:
        """Frames that were lost, and times at which it was empty, so far."""
        return self._words[self._lost], self._words[self._empty]

    def close(self) -> None:
        """Nobody reads its file any more."""
        _C.fclose(self.file)
        LIBRARY.pjmedia_port_dec_ref(self._port)


class Left:
    """A stream that its probe has just turned away from; with the last one the probe is free.

    The clock may be reading its file: it has let go of it once it has given the probe two ticks more.
    """

    def __init__(self, probe: Probe, stream: ProbedStream, *, last: bool) -> None:
        self._probe, self._stream, self._last = probe, stream, last
        self._until = probe.ring.total + 2 * TICK_BYTES

    @property
    def is_over(self) -> bool:
        """Whether nobody reads its file any more."""
        return self._probe.ring.total >= self._until

    def close(self) -> Probe | None:
        """Let go of the stream; the probe, if it is free now."""
        self._stream.close()
        if not self._last:
            return None
        self._probe.rest()
        return self._probe


class Probes:
    """Those in use, by leg. Where the library is not as expected, there are none, and `fault` says why."""

    def __init__(self, pool: ctypes.c_void_p) -> None:
        self.fault = ""
        self._pool = pool
        self._free: list[Probe] = []
        self._retired: list[ProbedStream] = []
        self._place: int | None = None  # in a stream, of its jitter buffer
        self._sound = _two_ticks()
        try:
            self._layout = JitterBufferLayout.found(pool)
            self._free.append(Probe(pool, self._sound))
        except OSError as wrong:
            self.fault = str(wrong)

    def stream(self, address: int) -> ProbedStream | None:
        """The library's stream at this address; None where its jitter buffer is not found. Raises OSError."""
        port = ctypes.c_void_p()
        check(LIBRARY.pjmedia_stream_get_port(ctypes.c_void_p(address), ctypes.byref(port)))
        found = self._find(address)
        return None if found is None else ProbedStream(self._layout, port, found)

    def take(self) -> Probe:
        """One that is free. Raises OSError."""
        return self._free.pop() if self._free else Probe(self._pool, self._sound)

    def free(self, probe: Probe) -> None:
        self._free.append(probe)

    def _find(self, stream: int) -> int | None:
        peek = Peek()
        try:
            places = range(STREAM_BYTES // LONG) if self._place is None else (self._place,)
            for place in places:
                word = peek(stream + place * LONG, LONG)
                if word is None:
                    return None
                (at,) = struct.unpack("Q", word)
                mark = peek(at + self._layout.at * LONG, LONG) if at > LOWEST else None
                if mark == struct.pack("Q", self._layout.mark):
                    self._place = place
                    return int(at)
            return None
        finally:
            peek.close()


def _two_ticks() -> str:
    """The path of a WAV file in memory, for as long as the process lives."""
    descriptor = os.memfd_create("probe")
    with os.fdopen(os.dup(descriptor), "wb") as file, wave.open(file, "wb") as sound:
        sound.setparams((1, SAMPLE_BYTES, SAMPLE_RATE, 0, "NONE", ""))
        sound.writeframes(bytes(2 * TICK_BYTES))
    return f"/proc/self/fd/{descriptor}"


def _player_within(port: ctypes.c_void_p) -> _Player:
    """The buffer and the file of a player that has read one tick of two. Raises OSError."""
    assert port.value
    length, bounds = HEADER + 2 * TICK_BYTES, HEADER | 2 * TICK_BYTES << 32
    for at in range(FIRST_WORD, PLAYER_WORDS - 9):
        one = _Player.from_address(port.value + at * LONG)
        half = TICK_BYTES in (one.size & LOW, one.size >> 32) and one.buffer == one.next != 0  # 2.15, 2.17
        if half and (one.length, one.bounds, one.at) == (length, bounds, HEADER + TICK_BYTES) and one.file:
            return one
    raise OSError("its player is not one that is known here")
