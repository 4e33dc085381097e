"""Whisper's input: log-mel spectra of sound at 16 kHz, as its authors compute them.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022), section 2.2, and
`whisper/audio.py` of its code: windows of 25 ms each 10 ms, power, Slaney's mel filters, log10, at most eight
below the loudest, scaled. The model was trained on 30 s; it also takes less, much faster.
"""

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frame import Samples

Floats: TypeAlias = NDArray[np.float32]

RATE = 16_000
WINDOW, HOP = 400, 160
FLOOR, RANGE = 1e-10, 8.0
"""The least power, and how many powers of ten below the loudest count."""
_LINEAR_HZ, _PER_MEL = 1000.0, 200 / 3
_STEP = np.log(6.4) / 27
"""Slaney's scale: linear up to 1 kHz, then 27 mels for each factor of 6.4."""
_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


def log_mel(samples: Samples, frames: int, bands: int) -> Floats:
    """(bands, frames) float32 of the end of (n,) int16 at 8 kHz; silence follows what is shorter."""
    length = frames * HOP
    sound = np.zeros(length)
    part = twice_the_rate(samples)[-length:]
    sound[: len(part)] = part
    padded = np.pad(sound, WINDOW // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]
    power = np.abs(np.fft.rfft(windows * _HANN, axis=1)) ** 2
    logs = np.log10(np.maximum(filters(bands) @ power.T, FLOOR))
    return np.asarray((np.maximum(logs, logs.max() - RANGE) + 4) / 4, dtype=np.float32)


def twice_the_rate(samples: Samples) -> NDArray[np.float64]:
    """(2 n,) at 16 kHz, full scale 1.0, of (n,) int16 at 8 kHz: nothing above 4 kHz."""
    if not len(samples):
        return np.zeros(0)
    return np.asarray(np.fft.irfft(np.fft.rfft(samples / 32768), 2 * len(samples)) * 2)


@cache
def filters(bands: int) -> NDArray[np.float64]:
    """(bands, WINDOW // 2 + 1): triangles of equal area, from 0 to 8 kHz."""
    at = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    edges = _hz(np.linspace(0, _mel(RATE / 2), bands + 2))
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((at - low) / (middle - low), (high - at) / (high - middle))
    return np.asarray(np.maximum(0, triangles) * 2 / (high - low))


def _mel(hz: float) -> float:
    """For what is above 1 kHz."""
    return float(_LINEAR_HZ / _PER_MEL + np.log(hz / _LINEAR_HZ) / _STEP)


def _hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    knee = _LINEAR_HZ / _PER_MEL
    return np.where(mels < knee, mels * _PER_MEL, _LINEAR_HZ * np.exp((mels - knee) * _STEP))
