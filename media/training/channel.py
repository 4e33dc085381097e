"""From a clean voice to what arrives on a leg: distance, room, noise, level, codec, loss.

All sound is float64 at 8 kHz, full scale 1.0; all random numbers come from the generator argument.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import butter, lfilter, resample_poly, sosfilt

from media.frame import SAMPLE_RATE, Samples

Sound: TypeAlias = NDArray[np.float64]
Codec = Literal["alaw", "mulaw", "gsm", "g722", "linear"]
Noise = Literal["white", "pink", "hum", "street", "babble", "music", "echo"]
Backgrounds: TypeAlias = Mapping[Noise, "Sound"]
"""Long stretches of babble, music and of what the agent plays, to cut noise from."""

PACKET = SAMPLE_RATE // 50


@dataclass(frozen=True, slots=True)
class PhoneLine:
    """The conditions of one call. `snr_db` None: no noise; `loss` is the share of packets lost, in bursts."""

    level_dbfs: float = -20.0
    noise: Noise = "white"
    snr_db: float | None = None
    reverberation_s: float = 0.0
    tilt_db: float = 0.0
    band: tuple[float, float] | None = (200.0, 3500.0)
    codec: Codec = "alaw"
    loss: float = 0.0


def any_line(random: Generator) -> PhoneLine:
    """A random line as callers have them, bad ones more often."""
    noises: tuple[Noise, ...] = (
        *("white", "pink", "pink", "pink", "hum", "street", "street"),
        *("babble", "babble", "babble", "babble", "music", "echo", "echo"),
    )
    codecs: tuple[Codec, ...] = ("alaw", "alaw", "alaw", "mulaw", "gsm", "g722", "linear")
    return PhoneLine(
        level_dbfs=random.uniform(-40, -13),
        noise=noises[random.integers(len(noises))],
        snr_db=None if random.random() < 0.15 else random.uniform(3, 25),
        reverberation_s=0.0 if random.random() < 0.6 else random.uniform(0.1, 0.5),
        tilt_db=random.uniform(-6, 6),
        band=None if random.random() < 0.2 else (random.uniform(80, 320), random.uniform(3000, 3800)),
        codec=codecs[random.integers(len(codecs))],
        loss=0.0 if random.random() < 0.5 else random.uniform(0, 0.05),
    )


def carry(sound: Sound, line: PhoneLine, backgrounds: Backgrounds, random: Generator) -> Samples:
    """What the agent hears of `sound`, (n,) int16."""
    heard = sound
    if line.reverberation_s:
        heard = _room(heard, line.reverberation_s, random)
    if line.tilt_db:
        heard = _tilt(heard, line.tilt_db)
    heard = heard * (10 ** (line.level_dbfs / 20) / max(active_rms(heard), 1e-6))
    if line.snr_db is not None:
        noise = _noise(line.noise, len(heard), backgrounds, random)
        power = np.sqrt(np.mean(noise**2)) or 1.0
        heard = heard + noise * (10 ** ((line.level_dbfs - line.snr_db) / 20) / power)
    else:
        heard = heard + random.normal(size=len(heard)) * 10 ** (-72 / 20)
    if line.band:
        low, high = line.band
        sos = butter(2, (low, high), "bandpass", fs=SAMPLE_RATE, output="sos")
        heard = np.asarray(sosfilt(sos, heard))
    coded = _codec(np.clip(heard, -1, 1 - 2**-15), line.codec)
    return _lose(coded, line.loss, random)


def active_rms(sound: Sound) -> float:
    """The level (RMS) of its louder parts: of speech without the pauses."""
    blocks = sound[: len(sound) // PACKET * PACKET].reshape(-1, PACKET)
    levels = np.sqrt(np.mean(blocks**2, axis=1)) if len(blocks) else np.zeros(1)
    loud = levels[levels > 0.1 * levels.max()] if levels.max() > 0 else levels
    return float(np.sqrt(np.mean(loud**2)))


def _room(sound: Sound, reverberation_s: float, random: Generator) -> Sound:
    count = int(reverberation_s * SAMPLE_RATE)
    decay = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    decay *= random.uniform(0.2, 0.6) / np.sqrt(np.sum(decay**2))
    decay[0] = 1.0
    size = len(sound) + count
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(decay, size), size)
    return np.asarray(wet[: len(sound)])


def _tilt(sound: Sound, tilt_db: float) -> Sound:
    """Brighter or duller: high frequencies louder or softer by about `tilt_db`."""
    high = sound - np.asarray(lfilter([0.3], [1, -0.7], sound))
    return np.asarray(sound + high * (10 ** (tilt_db / 20) - 1))


def _noise(kind: Noise, count: int, backgrounds: Backgrounds, random: Generator) -> Sound:
    if (source := backgrounds.get(kind)) is not None:
        start = int(random.integers(max(1, len(source) - count)))
        return np.resize(source[start : start + count], count)
    noise = random.normal(size=count)
    if kind == "pink":
        spectrum = np.fft.rfft(noise)
        noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 20)), count)
    elif kind == "hum":
        time = np.arange(count) / SAMPLE_RATE
        tones = [np.sin(2 * np.pi * 50 * n * time) / n for n in (1, 2, 3, 5, 7)]
        noise = np.sum(tones, axis=0) + 0.2 * noise
    elif kind == "street":
        noise = _street(noise, random)
    return np.asarray(noise)


def _street(noise: Sound, random: Generator) -> Sound:
    """Engines and wind that come and go, sometimes with something brighter that passes."""
    low = np.asarray(lfilter([1], [1, -random.uniform(0.9, 0.98)], noise))
    passing = np.asarray(lfilter([1], [1, -random.uniform(0.2, 0.8)], random.normal(size=len(noise))))
    near, far = _come_and_go(low, random) / low.std(), _come_and_go(passing, random) / passing.std()
    return np.asarray(near + 0.4 * far)


def _come_and_go(noise: Sound, random: Generator) -> Sound:
    """By some 20 dB, within about a second."""
    points = 2 + len(noise) // int(SAMPLE_RATE * random.uniform(0.3, 1.5))
    levels_db = np.interp(
        np.linspace(0, points, len(noise)), np.arange(points), random.uniform(-18, 0, points)
    )
    return np.asarray(noise * 10 ** (levels_db / 20))


def _codec(sound: Sound, codec: Codec) -> Samples:
    samples = np.asarray(sound * 32768, dtype=np.int16)
    if codec == "linear":
        return samples
    if codec == "g722":
        return _g722(samples)
    subtype = {"alaw": "ALAW", "mulaw": "ULAW", "gsm": "GSM610"}[codec]
    coded = io.BytesIO()
    soundfile.write(coded, samples, SAMPLE_RATE, subtype, format="WAV")
    coded.seek(0)
    return np.asarray(soundfile.read(coded, dtype="int16")[0][: len(samples)])


def _g722(samples: Samples) -> Samples:
    """Coded and decoded at 64 kbit/s, at 16 kHz as usual, of which the agent hears 8 kHz."""
    from G722 import G722  # in the extra [train]

    wide = np.asarray(np.clip(resample_poly(samples, 2, 1), -32768, 32767), dtype=np.int16)
    coded = G722(16_000, 64_000).encode(wide)
    heard = np.asarray(G722(16_000, 64_000).decode(coded), dtype=np.float64)
    return np.asarray(np.resize(resample_poly(heard, 1, 2), len(samples)), dtype=np.int16)


def _lose(samples: Samples, share: float, random: Generator) -> Samples:
    """Lose packets, in bursts; each is replaced by the last one received, softer each time."""
    if share == 0:
        return samples
    heard = samples.copy()
    packets = len(samples) // PACKET
    gone = False
    for number in range(1, packets):
        gone = bool(random.random() < (0.5 if gone else share / 2))
        if gone:
            last = heard[(number - 1) * PACKET : number * PACKET]
            heard[number * PACKET : (number + 1) * PACKET] = (last * 0.6).astype(np.int16)
    return heard
