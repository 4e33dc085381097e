"""A telephone line without SIP: key presses, G.711, noise, echo and lost packets, all from seeds."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frame import SAMPLE_RATE, Samples
from media.hearing.dtmf import COLUMNS, KEYS, ROWS
from sipagent.softphone.rtp import decode, encode

Wave: TypeAlias = NDArray[np.float64]
"""(n,) float64 in units of a 16-bit sample, at 8 kHz."""

Law: TypeAlias = Literal["alaw", "ulaw"]
Loss: TypeAlias = Literal["none", "scattered", "hole", "silent hole", "burst"]
"""`scattered`: each packet with 3 %; `hole`: one packet within the tone; `burst`: two in a row within it."""

PACKET = SAMPLE_RATE // 50
NOISE_DB = 12
ECHO_DB = 15
TWO_LOST_MS = 120
"""A shorter press loses one packet of its own at most: with two of four gone, no key is left to hear."""
FULL_SCALE_DBM0 = 3.14
"""A sine at full scale, in A-law (ITU-T G.711, table 5); in µ-law it is 3.17."""

_REFERENCE = 32768 / math.sqrt(2) / 10 ** (FULL_SCALE_DBM0 / 20)


def rms(dbm0: float) -> float:
    """Effective value of `dbm0`, in units of a sample."""
    return _REFERENCE * 10 ** float(dbm0 / 20)


def dbm0(wave: Wave) -> float:
    """Level of the whole of `wave`."""
    return 20 * math.log10(max(float(np.sqrt(np.mean(np.square(wave)))), 1e-9) / _REFERENCE)


def g711(wave: Wave, law: Law) -> Samples:
    """`wave` after coding and decoding."""
    code = 8 if law == "alaw" else 0
    samples = np.clip(np.rint(wave), -32768, 32767).astype(np.int16)
    return decode(encode(samples, code), code)


def noise(count: int, pink: bool, rng: np.random.Generator) -> Wave:
    """Noise of mean square 1: white, or falling by 3 dB an octave above 60 Hz."""
    white = rng.standard_normal(count)
    if not pink:
        return white
    spectrum = np.fft.rfft(white)
    frequencies = np.fft.rfftfreq(count, 1 / SAMPLE_RATE)
    shaped = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequencies, 60.0)), count)
    return np.asarray(shaped / np.sqrt(np.mean(np.square(shaped))), dtype=np.float64)


def lose(wave: Wave, lost: NDArray[np.bool_], concealed: bool) -> Wave:
    """`wave` without the packets marked in `lost` (one bool each), concealed or silent.

    The concealment is that of common jitter buffers: the last pitch period is repeated, fading to nothing
    within 80 ms, and the next packet that arrives is cross-faded with it.
    """
    heard = wave.copy()
    missing = 0
    for index in np.arange(1, len(lost)):
        at = int(index) * PACKET
        if lost[index] and not concealed:
            heard[at : at + PACKET] = 0
        elif lost[index]:
            fade = np.maximum(1 - (missing * PACKET + np.arange(PACKET)) / (4 * PACKET), 0)
            heard[at : at + PACKET] = _repeat(heard[:at])[:PACKET] * fade
            missing += 1
        elif missing:
            join = np.linspace(0, 1, PACKET // 4)
            gone = _repeat(heard[:at])[: len(join)]
            heard[at : at + len(join)] = heard[at : at + len(join)] * join + gone * (1 - join)
            missing = 0
    return heard


def _repeat(past: Wave) -> Wave:
    """A packet and more that continues `past` by its last period, as found by correlation over 5 to 15 ms."""
    template = past[-PACKET // 2 :]
    lags = range(SAMPLE_RATE // 200, min(SAMPLE_RATE * 15 // 1000, len(past) - len(template)))
    fits = [float(template @ past[len(past) - lag - len(template) : len(past) - lag]) for lag in lags]
    period = past[-lags[int(np.argmax(fits))] :] if fits else template
    return np.resize(period, PACKET)


@dataclass(frozen=True, slots=True)
class Press:
    """One press of a key and the line it comes over.

    `level` of the pair in dBm0; `twist` in dB, positive where the higher tone is the louder; `offsets` in Hz;
    `snr` and `echo` in dB: of noise under the pair, and of the echo under what is played to the caller.
    """

    key: str
    onset_ms: float
    duration_ms: float
    level: float
    twist: float
    offsets: tuple[float, float]
    law: Law
    snr: float
    pink: bool
    echo: float
    loss: Loss
    seed: int

    def sound(self, played: Wave) -> Samples:
        """What the leg brings in while `played` is played to it, until half a second after the press."""
        rng = np.random.default_rng(self.seed)
        count = _whole_packets(self.onset_ms + self.duration_ms + 500)
        start = round(self.onset_ms * SAMPLE_RATE / 1000)
        length = round(self.duration_ms * SAMPLE_RATE / 1000)
        line = np.resize(np.roll(played, -int(rng.integers(len(played)))), count) * 10 ** (-self.echo / 20)
        line += noise(count, self.pink, rng) * rms(self.level - self.snr)
        line[start : start + length] += self._pair(length, rng)
        decoded = g711(line, self.law).astype(np.float64)
        lost = self._lost(count // PACKET, start, length, rng)
        return np.round(lose(decoded, lost, self.loss != "silent hole")).astype(np.int16)

    def _pair(self, length: int, rng: np.random.Generator) -> Wave:
        row, column = divmod(KEYS.index(self.key), 4)
        frequencies = (ROWS[row] + self.offsets[0], COLUMNS[column] + self.offsets[1])
        ratio = 10 ** (self.twist / 10)
        shares = (1 / (1 + ratio), ratio / (1 + ratio))
        time = np.arange(length) / SAMPLE_RATE
        phases = rng.uniform(0, 2 * np.pi, 2)
        tones = [
            math.sqrt(2 * share) * np.sin(2 * np.pi * frequency * time + phase)
            for frequency, share, phase in zip(frequencies, shares, phases, strict=True)
        ]
        return np.asarray(rms(self.level) * np.sum(tones, axis=0), dtype=np.float64)

    def _lost(self, packets: int, start: int, length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        lost = rng.random(packets) < (0.03 if self.loss == "scattered" else 0)
        first, beyond = start // PACKET, -(-(start + length) // PACKET)
        if self.loss in ("hole", "silent hole", "burst"):
            width = 2 if self.loss == "burst" else 1
            at = int(rng.integers(first, beyond - width, endpoint=True))
            lost[at : at + width] = True
        if self.duration_ms < TWO_LOST_MS:
            own = first + np.flatnonzero(lost[first:beyond])
            lost[own[1:]] = False
        return lost


def _whole_packets(ms: float) -> int:
    return math.ceil(ms * SAMPLE_RATE / 1000 / PACKET) * PACKET


def random_press(rng: np.random.Generator, played: float, keys: str = KEYS) -> Press:
    """A press within what ITU-T Q.24 has a receiver accept, 80 to 300 ms long.

    The line is no better than most. Noise is NOISE_DB or more below the pair; the echo of what is `played` to
    the caller (its level in dBm0) is 20 dB or more below that, and on average ECHO_DB or more below the pair.
    """
    key = str(rng.choice(list(keys)))
    level = float(rng.uniform(-27, 0))
    row, column = divmod(KEYS.index(key), 4)
    duration = float(rng.choice([80.0, float(rng.uniform(80, 300))], p=[0.3, 0.7]))
    losses: list[Loss] = ["none", "scattered", "hole", "silent hole"]
    if duration >= TWO_LOST_MS:
        losses.append("burst")
    return Press(
        key=key,
        onset_ms=float(rng.uniform(100, 700)),
        duration_ms=duration,
        level=level,
        twist=float(rng.uniform(-8, 8)),
        offsets=(_offset(ROWS[row], rng), _offset(COLUMNS[column], rng)),
        law="alaw" if rng.random() < 0.7 else "ulaw",
        snr=float(rng.uniform(NOISE_DB, 40)),
        pink=bool(rng.random() < 0.5),
        echo=max(20, played - level + ECHO_DB) + float(rng.uniform(0, 30)),
        loss=losses[int(rng.integers(len(losses)))],
        seed=int(rng.integers(2**32)),
    )


def _offset(nominal: float, rng: np.random.Generator) -> float:
    """Hz; most senders are within 0.5 %, every fourth anywhere within the 1.5 % + 2 Hz of Q.24."""
    limit = 0.015 * nominal + 2 if rng.random() < 0.25 else 0.005 * nominal
    return float(rng.uniform(-limit, limit))
