"""Changes a voice into another that says the same, with the vocoder WORLD.

Source: Morise, Yokomori and Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system for real-time
applications", 2016; PyPI's `pyworld`, in the extra [train].
"""

from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

PERIOD_MS = 8.0


def revoiced(sound: NDArray[np.float64], rate: int, random: Generator) -> NDArray[np.float64]:
    """(n,) at `rate`: with another pitch and melody, vocal tract, breath and rhythm."""
    import pyworld

    pitch, times = pyworld.dio(sound, rate, frame_period=PERIOD_MS)
    envelope = pyworld.cheaptrick(sound, pitch, times, rate)
    breath = pyworld.d4c(sound, pitch, times, rate)
    when = _rhythm(len(pitch), random)
    pitch, envelope, breath = pitch[when], envelope[when], breath[when]
    pitch = _melody(pitch, random)
    envelope = _tract(envelope, random)
    breath = breath ** random.uniform(0.25, 3.0)
    made: Any = pyworld.synthesize(
        *(np.ascontiguousarray(part) for part in (pitch, envelope, breath)), rate, PERIOD_MS
    )
    return np.asarray(made * (np.abs(sound).max() / max(np.abs(made).max(), 1e-9)))


def _rhythm(count: int, random: Generator) -> NDArray[np.int64]:
    """Which frame is heard when: faster here, slower there."""
    points = max(2, count * int(PERIOD_MS) // 250)
    speeds = random.uniform(0.8, 1.3) * random.uniform(0.7, 1.4, points)
    pace = np.interp(np.linspace(0, points - 1, count), np.arange(points), speeds)
    ends = np.cumsum(1 / pace)
    return np.minimum(np.searchsorted(ends, np.arange(int(ends[-1]))), count - 1)


def _melody(pitch: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
    """Higher or lower, flatter or livelier; a whisper now and then."""
    voiced = pitch > 0
    if not voiced.any() or random.random() < 0.04:
        return np.zeros_like(pitch)
    middle = float(np.exp(np.mean(np.log(pitch[voiced]))))
    wanted = np.exp(random.uniform(np.log(85), np.log(270)))
    moved = np.zeros_like(pitch)
    moved[voiced] = wanted * (pitch[voiced] / middle) ** random.uniform(0.0, 1.5)
    return np.where(voiced, np.clip(moved, 60, 420), 0.0)


def _tract(envelope: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
    """Formants moved all together, and a little separately; sharper or flatter."""
    bins = np.arange(envelope.shape[1])
    factor = random.uniform(0.84, 1.2) * (1 + random.uniform(-0.08, 0.08) * bins / len(bins))
    logs = np.log(np.maximum(envelope, 1e-16))
    warped = np.stack([np.interp(bins / factor, bins, frame) for frame in logs])
    if random.random() < 0.6:
        warped = _averaged(warped, random)
    mean = warped.mean(axis=1, keepdims=True)
    return np.asarray(np.exp(mean + (warped - mean) * random.uniform(0.8, 1.15)))


def _averaged(logs: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
    """Like a synthesizer with statistical models: details in frequency and edges in time are lost."""
    kept = int(random.integers(16, 60))
    cepstra = np.fft.irfft(logs, axis=1)
    cepstra[:, kept : cepstra.shape[1] - kept + 1] = 0
    smooth = np.fft.rfft(cepstra, axis=1).real
    window = np.hanning(int(random.integers(1, 12)) + 2)
    return np.asarray(convolve1d(smooth, window / window.sum(), axis=0, mode="nearest"))
