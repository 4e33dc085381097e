"""A softphone's sound: G.711, what it sends (silence, tones, samples, keys), what it heard and when.

RTP is RFC 3550, keys are RFC 4733 events or in-band tones (ITU-T Q.23). One frame is 20 ms, 160 samples.
"""

from __future__ import annotations

import io
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sipagent.softphone.loop import FRAME_NS, PATIENCE_S, SECOND, Loop, PhoneError, Timer

RATE = 8000
FRAME = 160
Samples = NDArray[np.int16]
KEYS = "0123456789*#ABCD"
_LOW, _HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
_PAD = ("123A", "456B", "789C", "*0#D")


def _levels(law: str) -> Samples:
    """What each of the 256 codes means, as libsndfile reads it."""
    every, how = io.BytesIO(bytes(range(256))), {"format": "RAW", "samplerate": RATE, "channels": 1}
    levels: Samples = soundfile.read(every, dtype="int16", subtype=law, **how)[0]
    return levels


def _nearest(levels: Samples) -> NDArray[np.uint8]:
    """The code of the nearest level for every int16, indexed by its bits as uint16."""
    order = np.argsort(levels, kind="stable")
    ordered = levels[order].astype(np.int32)
    middles = (ordered[:-1] + ordered[1:]) / 2
    values = np.arange(65536, dtype=np.uint16).view(np.int16)
    return order[np.searchsorted(middles, values)].astype(np.uint8)


LEVELS = {0: _levels("ULAW"), 8: _levels("ALAW")}  # by RTP payload type, RFC 3551
CODES = {kind: _nearest(levels) for kind, levels in LEVELS.items()}


def encode(samples: Samples, payload_type: int) -> bytes:
    """G.711 of `(n,) int16`; `payload_type` 0 is PCMU, 8 is PCMA."""
    return CODES[payload_type][samples.view(np.uint16)].tobytes()


def decode(payload: bytes, payload_type: int) -> Samples:
    """`(n,) int16` of G.711 bytes."""
    return LEVELS[payload_type][np.frombuffer(payload, np.uint8)]


def tone(frequencies: float | tuple[float, ...], seconds: float, amplitude: int = 8000) -> Samples:
    """A sum of sines of equal strength, `(n,) int16`."""
    each = frequencies if isinstance(frequencies, tuple) else (frequencies,)
    at = np.arange(int(seconds * RATE)) / RATE
    mixed: NDArray[np.float64] = np.sum([np.sin(2 * np.pi * f * at) for f in each], axis=0)
    return (amplitude / len(each) * mixed).astype(np.int16)


def key_tones(key: str) -> tuple[float, float]:
    """The two frequencies of a key (ITU-T Q.23)."""
    for low, row in zip(_LOW, _PAD, strict=True):
        if key in row:
            return float(low), float(_HIGH[row.index(key)])
    raise PhoneError(f"no such key: {key!r}; accepted: {KEYS}")


def strongest(samples: Samples) -> float | None:
    """The strongest frequency in Hz, or None where the sound's RMS is below 200."""
    if not len(samples) or np.sqrt(np.mean(samples.astype(np.float64) ** 2)) < 200:
        return None
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * RATE / len(samples))


class SoundSource(Protocol):
    """Sound without end: frame after frame of `(160,) int16`."""

    def frame(self) -> Samples: ...


class Silence:
    def frame(self) -> Samples:
        return np.zeros(FRAME, np.int16)


class SteadyTone:
    """A steady tone, continuous from frame to frame."""

    def __init__(self, frequency: float) -> None:
        self.step, self.at = 2 * np.pi * frequency / RATE, 0

    def frame(self) -> Samples:
        wave: NDArray[np.float64] = np.sin(self.step * np.arange(self.at, self.at + FRAME))
        self.at += FRAME
        return (8000 * wave).astype(np.int16)


class Playback:
    """Samples once, then silence; or round and round."""

    def __init__(self, samples: Samples, loop: bool = False) -> None:
        self.samples, self.loop, self.at = samples, loop, 0

    def frame(self) -> Samples:
        part = self.samples[self.at : self.at + FRAME]
        self.at += FRAME
        if self.loop and self.at >= len(self.samples):
            self.at = 0
        return np.pad(part, (0, FRAME - len(part)))


@dataclass(slots=True)
class KeySending:
    """One key being sent; `at_ns` is when its first frame left, None until then."""

    key: str
    inband: bool
    frames: int
    lose: frozenset[int]  # packets of the event that never leave, by position
    due_ns: int
    at_ns: int | None = None
    sent: int = 0
    timestamp: int = 0
    wave: Samples | None = None


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet as it came; `at_ns` monotonic."""

    at_ns: int
    payload_type: int
    sequence: int
    timestamp: int
    source: int
    payload: bytes


class RtpEnd:
    """One RTP port: sends a frame every 20 ms once it knows where to, keeps all it hears."""

    def __init__(self, loop: Loop, ip: str, *, phase_ms: float = 0) -> None:
        self.loop = loop
        self.heard: list[Packet] = []
        self.rtcp_heard = 0
        self.sent_frames = 0
        self.presses: list[KeySending] = []
        self.source: SoundSource | None = Silence()  # None: nothing is sent at all
        self.payload_type = 8
        self.event_type: int | None = 101
        self.lose: Callable[[int], bool] = lambda _: False  # by running number: packets lost on the way
        self._overlays: list[tuple[int, SoundSource, int]] = []  # due, sound, frames left
        self._socket, self._rtcp = _port_pair(ip)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self._to: tuple[str, int] | None = None
        self._timer: Timer | None = None
        self._phase_ns = int(phase_ms * 1_000_000)
        self._sequence, self._timestamp = random.randrange(30_000), random.randrange(1 << 30)
        self._ssrc = random.randrange(1, 1 << 32)
        self._number = 0
        loop.watch(self._socket, self._receive)
        loop.watch(self._rtcp, self._receive_rtcp)

    def send_to(self, address: tuple[str, int], payload_type: int, event_type: int | None) -> None:
        """Start sending, or go on to another address."""
        with self.loop.lock:
            self._to, self.payload_type, self.event_type = address, payload_type, event_type
            if self._timer is None:
                self._timer = self.loop.at(self.loop.next_frame_ns() + self._phase_ns, self._tick)

    def play(self, source: SoundSource | None) -> None:
        """What is sent from the next frame on; None stops sending."""
        with self.loop.lock:
            self.source = source

    def overlay(self, samples: Samples, at_ns: int = 0) -> None:
        """Mix samples over the source, from the first frame due at or after `at_ns`."""
        with self.loop.lock:
            self._overlays.append((at_ns, Playback(samples), -(-len(samples) // FRAME)))

    def press(
        self, key: str, *, inband: bool = False, ms: int = 80, lose: int | frozenset[int] = 0, at_ns: int = 0
    ) -> KeySending:
        """Send a key as an RFC 4733 event or in-band; `lose` drops its first packets (or those positions)."""
        lost = frozenset(range(lose)) if isinstance(lose, int) else lose
        press = KeySending(key, inband, max(1, ms // 20), lost, at_ns)
        if inband:
            press.wave = tone(key_tones(key), press.frames * 0.02, 16000)
        elif self.event_type is None:
            raise PhoneError("the other side takes no telephone-event: press in-band or by INFO")
        with self.loop.lock:
            self.presses.append(press)
        return press

    def pressed_ns(self, press: KeySending, timeout: float = PATIENCE_S) -> int:
        """When the key's first frame left (or would have left, were it not lost)."""
        self.loop.wait_for(lambda: press.at_ns is not None, timeout, f"frame of key {press.key}")
        return press.at_ns or 0

    def close(self) -> None:
        with self.loop.lock:
            if self._timer:
                self._timer.cancel()
            for sock in (self._socket, self._rtcp):
                if sock.fileno() >= 0:
                    self.loop.unwatch(sock)
                    sock.close()

    def _tick(self) -> None:
        assert self._timer is not None
        now = self._timer.when_ns
        self._timer = self.loop.at(now + FRAME_NS, self._tick)
        self._timestamp = self._timestamp + FRAME & 0xFFFFFFFF
        press = next((p for p in self.presses if p.sent >= 0 and p.due_ns <= now), None)
        if press and not press.inband:
            self._send_event(press)
            return
        frame = self._mixed(now)
        if press:
            frame = self._keyed(press)
        if frame is not None:
            self._send(self.payload_type, self._timestamp, encode(frame, self.payload_type))

    def _mixed(self, now: int) -> Samples | None:
        if self.source is None:
            return None
        frame = self.source.frame()
        for index, (due, sound, left) in enumerate(self._overlays):
            if due <= now and left > 0:
                self._overlays[index] = (due, sound, left - 1)
                frame = np.clip(frame.astype(np.int32) + sound.frame(), -32768, 32767).astype(np.int16)
        self._overlays = [one for one in self._overlays if one[2] > 0]
        return frame

    def _keyed(self, press: KeySending) -> Samples:
        assert press.wave is not None
        if press.sent == 0:
            press.at_ns = time.monotonic_ns()
        frame = press.wave[press.sent * FRAME : (press.sent + 1) * FRAME]
        press.sent += 1
        if press.sent == press.frames:
            press.sent = -1
        return frame

    def _send_event(self, press: KeySending) -> None:
        """One packet of the event a frame, the last one three times (RFC 4733, 2.5.1.4)."""
        if press.sent == 0:
            press.at_ns, press.timestamp = time.monotonic_ns(), self._timestamp
        last = press.sent == press.frames - 1
        body = struct.pack(
            "!BBH", KEYS.index(press.key), (0x80 if last else 0) | 10, (press.sent + 1) * FRAME
        )
        for copy in range(3 if last else 1):
            lost = press.sent + copy in press.lose
            assert self.event_type is not None
            self._send(self.event_type, press.timestamp, body, marker=press.sent == 0, lost=lost)
        press.sent = -1 if last else press.sent + 1

    def _send(
        self, kind: int, timestamp: int, body: bytes, *, marker: bool = False, lost: bool = False
    ) -> None:
        assert self._to is not None
        self._sequence = self._sequence + 1 & 0xFFFF
        self._number += 1
        if lost or self.lose(self._number):
            return
        first = 0x80 if marker or self.sent_frames == 0 else 0
        header = struct.pack("!BBHII", 0x80, first | kind, self._sequence, timestamp, self._ssrc)
        self._socket.sendto(header + body, self._to)
        self.sent_frames += 1

    def _receive(self) -> None:
        packet = self._socket.recv(2048, socket.MSG_DONTWAIT)
        now = time.monotonic_ns()
        if len(packet) < 12:
            return
        _, kind, sequence, timestamp, source = struct.unpack("!BBHII", packet[:12])
        self.heard.append(Packet(now, kind & 0x7F, sequence, timestamp, source, packet[12:]))

    def _receive_rtcp(self) -> None:
        self._rtcp.recv(2048, socket.MSG_DONTWAIT)
        self.rtcp_heard += 1

    def listen(self, from_ns: int = 0, to_ns: int | None = None) -> ReceivedSound:
        """What was heard between two instants, laid out on the clock of arrival."""
        with self.loop.lock:
            end = to_ns or time.monotonic_ns()
            audio = [p for p in self.heard if p.payload_type in LEVELS and from_ns <= p.at_ns <= end]
        return ReceivedSound.lay_out(audio, from_ns or (audio[0].at_ns if audio else end), end)

    def wait_tone(self, frequency: float, timeout: float = PATIENCE_S) -> int:
        """Wait until the last 100 ms are this tone (± 20 Hz); returns when its last frame came, ns."""

        def hears() -> bool:
            recent = [p for p in self.heard[-8:] if p.payload_type in LEVELS][-5:]
            if len(recent) < 5:
                return False
            found = strongest(np.concatenate([decode(p.payload, p.payload_type) for p in recent]))
            return found is not None and abs(found - frequency) <= 20

        self.loop.wait_for(hears, timeout, f"tone of {frequency:g} Hz")
        return self.heard[-1].at_ns


@dataclass(frozen=True, slots=True)
class ReceivedSound:
    """Sound on the clock of arrival: `samples[0]` is at `from_ns`; nothing received is zeros."""

    samples: Samples
    from_ns: int

    @classmethod
    def lay_out(cls, packets: list[Packet], from_ns: int, to_ns: int) -> ReceivedSound:
        samples = np.zeros(max(0, (to_ns - from_ns) * RATE // SECOND) + FRAME, np.int16)
        after = 0  # packets in a row follow on; a gap of more than 60 ms is a gap
        for packet in packets:
            sound = decode(packet.payload, packet.payload_type)
            arrival = (packet.at_ns - from_ns) * RATE // SECOND
            start = after if abs(arrival - after) < 3 * FRAME else arrival
            fits = max(0, min(len(sound), len(samples) - start))
            samples[start : start + fits] = sound[:fits]
            after = start + len(sound)
        return cls(samples, from_ns)

    def tones(self, step_s: float = 0.1) -> list[float | None]:
        """The strongest frequency of each step; None is silence."""
        size = int(step_s * RATE)
        return [strongest(self.samples[i : i + size]) for i in range(0, len(self.samples) - size + 1, size)]

    def longest_silence_s(self) -> float:
        """The longest run of frames whose RMS is below 60."""
        whole = self.samples[: len(self.samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
        quiet = np.sqrt(np.mean(whole**2, axis=1)) < 60
        longest = run = 0
        for one in quiet:
            run = run + 1 if one else 0
            longest = max(longest, run)
        return longest * FRAME / RATE


def _port_pair(ip: str) -> tuple[socket.socket, socket.socket]:
    """An even port and the next one (RFC 3550, 11), both free."""
    for _ in range(100):
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        rtp, rtcp = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
        rtp.bind((ip, 0))
        port = rtp.getsockname()[1]
        try:
            if port % 2 == 0:
                rtcp.bind((ip, port + 1))
                return rtp, rtcp
        except OSError:  # the neighbour is taken
            pass
        rtp.close()
        rtcp.close()
    raise PhoneError(f"no free pair of ports on {ip}")
