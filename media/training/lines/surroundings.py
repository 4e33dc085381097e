"""Where callers are, and what their telephones make of it: rooms, noises, television, noise suppression.

All sound is float64 at 8 kHz, full scale 1.0; all random numbers come from the generator argument.
"""

import numpy as np
from numpy.random import Generator
from scipy.ndimage import uniform_filter1d
from scipy.signal import istft, lfilter, stft

from media.frame import SAMPLE_RATE
from prompts.sound import Sound, amplitude

_BLOCK = 256
_STEPS = 5
"""Of 16 ms, over which suppression is smoothed."""
_NOISE_PERCENT, _NOISE_FACTOR = 20, 1.6
_SCENE_S = (1.5, 6.0)
_FAR_DB = -20.0


def room(sound: Sound, reverberation_s: float, direct_db: float | None, random: Generator) -> Sound:
    """With the room's echo, `reverberation_s` until it is 60 dB softer.

    `direct_db`: the direct sound's energy over the echo's; None: that of somebody who holds the telephone, 4
    to 14 dB. Nobody else talks at the same time.
    """
    count = int(reverberation_s * SAMPLE_RATE)
    decay = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    echo = random.uniform(0.2, 0.6) if direct_db is None else amplitude(-direct_db)
    decay *= echo / np.sqrt(np.sum(decay**2))
    decay[0] = 1.0
    size = len(sound) + count
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(decay, size), size)
    return np.asarray(wet[: len(sound)])


def made_noise(kind: str, count: int, random: Generator) -> Sound:
    """White, pink, hum or street, (count,). ValueError for a kind that isn't made but recorded."""
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
    elif kind != "white":
        raise ValueError(f"no background of {kind} was given")
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


def television(talk: Sound, music: Sound, random: Generator) -> Sound:
    """(n,) like `talk`: scenes of some seconds, of talk, of music, of both, and nearly quiet ones."""
    tune = np.resize(music / _rms(music), len(talk))
    talk = talk / _rms(talk)
    heard, at = np.zeros(len(talk)), 0
    while at < len(talk):
        until = min(len(talk), at + int(random.uniform(*_SCENE_S) * SAMPLE_RATE))
        said, played = ((1.0, 0.0), (1.0, 0.4), (0.0, 1.0), (0.5, 0.5))[random.integers(4)]
        level = amplitude(_FAR_DB) if random.random() < 0.2 else random.uniform(0.4, 1.0)
        heard[at:until] = level * (said * talk[at:until] + played * tune[at:until])
        at = until
    return heard


def suppressed(sound: Sound, depth_db: float) -> Sound:
    """As a mobile's noise suppression leaves it: what is steady is softer, by `depth_db` at most.

    Spectral subtraction (Boll, 1979); the noise is what the quietest fifth of the time has, in each band.
    """
    if len(sound) < _BLOCK:
        return sound
    _, _, bands = stft(sound, SAMPLE_RATE, nperseg=_BLOCK)
    size = np.abs(bands)
    noise = np.percentile(uniform_filter1d(size, _STEPS, axis=1), _NOISE_PERCENT, axis=1, keepdims=True)
    left = np.maximum(1 - _NOISE_FACTOR * noise / np.maximum(size, 1e-9), amplitude(-depth_db))
    _, heard = istft(bands * uniform_filter1d(left, _STEPS, axis=1), SAMPLE_RATE, nperseg=_BLOCK)
    return np.asarray(heard[: len(sound)])


def _rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(sound**2))) or 1.0
