"""What legs send, taken from rings that the bridge's clock writes: it calls no Python, and waits for nothing.

An ear is the library's own recorder without a file. Its buffer is the ring; whenever that is full, the
recorder writes it to /dev/null and begins anew. Its count of bytes is the leg's clock: 160 samples a tick,
silence included. The thread `ears` empties all rings ten times a second, and the SIP thread those of a call
before an order for which it matters what was sent until then.

What is not taken in time is lost, and how much that is, is known: it is handed over as a number of samples.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterable

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
