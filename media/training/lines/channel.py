"""From a clean voice to what arrives on a leg: distance, room, noise, level, coders, loss.

All sound is float64 at 8 kHz, full scale 1.0; all random numbers come from the generator argument.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, sosfilt

from media.frame import SAMPLE_RATE, Samples
from media.training.lines.codecs import PACKET, Codec, lost_packets, through
from media.training.lines.surroundings import made_noise, room, suppressed

Sound: TypeAlias = NDArray[np.float64]
Noise = Literal["white", "pink", "hum", "street", "babble", "music", "echo", "television"]
Backgrounds: TypeAlias = Mapping[Noise, "Sound"]
"""Long stretches of babble, music, television and of what the agent plays, to cut noise from."""
Kind = Literal["amrnb", "amrwb", "opus", "twice", "dect", "handsfree", "television"]
"""Of a line of today, in `newer_line`."""

NEWER_SHARE = 0.35
"""How many lines of a training that asks for lines of today are such; the others are those of `any_line`."""
TWICE: tuple[tuple[Codec, Codec], ...] = (
    *(("amrnb", "alaw"), ("amrnb", "amrnb"), ("amrnb", "gsm"), ("amrwb", "alaw")),
    *(("opus", "alaw"), ("g722", "mulaw"), ("alaw", "gsm"), ("gsm", "alaw")),
)
"""Coders one after the other, as between two networks."""


@dataclass(frozen=True, slots=True)
class PhoneLine:
    """The conditions of one call. `snr_db` None: no noise; `loss` is the share of packets lost, in bursts.

    `direct_db`: as in surroundings.room. `suppression_db`: how much softer the telephone makes noise.
    `kbits`: of `codec`, on whose way packets are lost; `then`: the coder of the network behind it. `burst`:
    how likely the packet after a lost one is lost, too.
    """

    level_dbfs: float = -20.0
    noise: Noise = "white"
    snr_db: float | None = None
    reverberation_s: float = 0.0
    tilt_db: float = 0.0
    band: tuple[float, float] | None = (200.0, 3500.0)
    codec: Codec = "alaw"
    loss: float = 0.0
    direct_db: float | None = None
    suppression_db: float = 0.0
    kbits: float | None = None
    then: Codec | None = None
    burst: float = 0.5


def any_line(random: Generator, newer: float = 0.0) -> PhoneLine:
    """A random line as callers have them, bad ones more often; so many of them are a `newer_line`.

    With 0 the lines, and what is drawn for them, are those that the first heads were trained on.
    """
    noises: tuple[Noise, ...] = (
        *("white", "pink", "pink", "pink", "hum", "street", "street"),
        *("babble", "babble", "babble", "babble", "music", "echo", "echo"),
    )
    codecs: tuple[Codec, ...] = ("alaw", "alaw", "alaw", "mulaw", "gsm", "g722", "linear")
    line = PhoneLine(
        level_dbfs=random.uniform(-40, -13),
        noise=noises[random.integers(len(noises))],
        snr_db=None if random.random() < 0.15 else random.uniform(3, 25),
        reverberation_s=0.0 if random.random() < 0.6 else random.uniform(0.1, 0.5),
        tilt_db=random.uniform(-6, 6),
        band=None if random.random() < 0.2 else (random.uniform(80, 320), random.uniform(3000, 3800)),
        codec=codecs[random.integers(len(codecs))],
        loss=0.0 if random.random() < 0.5 else random.uniform(0, 0.05),
    )
    return newer_line(line, random) if newer and random.random() < newer else line


def newer_line(line: PhoneLine, random: Generator, kind: Kind | None = None) -> PhoneLine:
    """`line` as the call of a telephone of today: each kind as often as any other, unless one is given."""
    kinds: tuple[Kind, ...] = ("amrnb", "amrwb", "opus", "twice", "dect", "handsfree", "television")
    kind = kind or kinds[random.integers(len(kinds))]
    if kind == "handsfree":
        far = replace(line, reverberation_s=random.uniform(0.3, 0.9), direct_db=random.uniform(-6, 6))
        return far if random.random() < 0.5 else _mobile(far, "amrnb", random)
    if kind == "television":
        beside = replace(line, noise="television", snr_db=random.uniform(3, 20))
        return beside if random.random() < 0.5 else _mobile(beside, "amrnb", random)
    if kind == "dect":
        return replace(line, codec="g726" if random.random() < 0.6 else "g722", then="alaw")
    if kind == "twice":
        first, second = TWICE[random.integers(len(TWICE))]
        return replace(_mobile(line, first, random), then=second)
    return _mobile(line, kind, random)


def _mobile(line: PhoneLine, codec: Codec, random: Generator) -> PhoneLine:
    rates = {"amrnb": (4.75, 12.2), "amrwb": (6.6, 23.85), "opus": (6.0, 12.0)}
    return replace(
        line,
        codec=codec,
        kbits=random.uniform(*rates[codec]) if codec in rates else None,
        suppression_db=random.uniform(6, 18) if random.random() < 0.6 else 0.0,
        burst=random.uniform(0.3, 0.8),
    )


def carry(sound: Sound, line: PhoneLine, backgrounds: Backgrounds, random: Generator) -> Samples:
    """What the agent hears of `sound`, (n,) int16. Raises MissingCoder."""
    heard = sound
    if line.reverberation_s:
        heard = room(heard, line.reverberation_s, line.direct_db, random)
    if line.tilt_db:
        heard = _tilt(heard, line.tilt_db)
    heard = heard * (10 ** (line.level_dbfs / 20) / max(active_rms(heard), 1e-6))
    if line.snr_db is not None:
        noise = _noise(line.noise, len(heard), backgrounds, random)
        power = np.sqrt(np.mean(noise**2)) or 1.0
        heard = heard + noise * (10 ** ((line.level_dbfs - line.snr_db) / 20) / power)
    else:
        heard = heard + random.normal(size=len(heard)) * 10 ** (-72 / 20)
    if line.suppression_db:
        heard = suppressed(heard, line.suppression_db)
    if line.band:
        low, high = line.band
        sos = butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
        heard = np.asarray(sosfilt(sos, heard))
    samples = np.asarray(np.clip(heard, -1, 1 - 2**-15) * 32768, dtype=np.int16)
    lost = lost_packets(len(samples) // PACKET, line.loss, line.burst, random)
    samples = through(samples, line.codec, lost, line.kbits)
    return through(samples, line.then, np.zeros_like(lost)) if line.then else samples


def active_rms(sound: Sound) -> float:
    """The level (RMS) of its louder parts: of speech without the pauses."""
    blocks = sound[: len(sound) // PACKET * PACKET].reshape(-1, PACKET)
    levels = np.sqrt(np.mean(blocks**2, axis=1)) if len(blocks) else np.zeros(1)
    loud = levels[levels > 0.1 * levels.max()] if levels.max() > 0 else levels
    return float(np.sqrt(np.mean(loud**2)))


def _tilt(sound: Sound, tilt_db: float) -> Sound:
    """Brighter or duller: high frequencies louder or softer by about `tilt_db`."""
    high = sound - np.asarray(lfilter([0.3], [1, -0.7], sound))
    return np.asarray(sound + high * (10 ** (tilt_db / 20) - 1))


def _noise(kind: Noise, count: int, backgrounds: Backgrounds, random: Generator) -> Sound:
    if (source := backgrounds.get(kind)) is None:
        return made_noise(kind, count, random)
    start = int(random.integers(max(1, len(source) - count)))
    return np.resize(source[start : start + count], count)
