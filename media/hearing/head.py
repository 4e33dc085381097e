"""A head: which of its phrases an utterance is, from the speech embedding; in numpy, some 700 kB.

    (steps, 288) ─deepen─▶ (steps - REACH, 96) ─classify─▶ (classes,)

`deepen` is the last two blocks of Google's network, trained further for telephone noise: convolutions across
bands and along time, in turn. `classify` normalises, takes two steps as one, and has its own convolutions,
their maximum and mean over time, and two dense layers. It gives probabilities with sum 1: of each phrase that
the head was trained on, and of anything else.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from media.frame import Samples
from media.hearing.embedding import BANDS, CHANNELS, OWN, SHA256, Embedding, Floats, last_blocks, log_mel

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
Tails: TypeAlias = dict[int, Floats]
"""For a sound that continues: the last inputs of each layer that looks back."""


class HeadError(Exception):
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
    """The weights of `deepen` as Google trained them: a new head starts from them."""
    weights: dict[str, Floats] = {}
    for layer, (kernel, bias) in enumerate(last_blocks()):
        weights[f"deep{layer}.w"] = kernel.transpose(2, 1, 0).reshape(-1, len(kernel))
        if bias is not None:
            weights[f"deep{layer}.b"] = bias
    return weights


def save(path: Path, head: Head) -> None:
    """Write it as an .npz in half precision."""
    told: dict[str, Any] = {
        "language": head.language,
        "phrases": head.phrases,
        "refuse_at": head.refuse_at,
        "unclear_at": head.unclear_at,
        "in_call_at": head.in_call_at,
        "accept_at": head.accept_at,
        "embedding": SHA256,
        "format": FORMAT,
    }
    if head.everyday:
        told["everyday"] = True
    if head.voices:
        told["voices"] = head.voices
    halves: dict[str, Any] = {name: weight.astype(np.float16) for name, weight in head.weights.items()}
    np.savez_compressed(path, told=np.array(json.dumps(told, ensure_ascii=False)), **halves)


def load(path: Path) -> Head:
    """HeadError for a file that can't be used."""
    try:
        with np.load(path, allow_pickle=False) as held:
            told = json.loads(str(held["told"]))
            weights = {name: held[name].astype(np.float32) for name in held.files if name != "told"}
            head = Head(
                language=str(told["language"]),
                phrases=tuple(told["phrases"]),
                refuse_at=float(told["refuse_at"]),
                unclear_at=float(told["unclear_at"]),
                in_call_at=float(told["in_call_at"]),
                accept_at=float(told["accept_at"]),
                weights=weights,
                everyday=told.get("everyday") is True,
                voices=tuple(told.get("voices", ())),
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise HeadError(f"{path}: not a head: {error}") from error
    if (told["embedding"], told.get("format")) != (SHA256, FORMAT):
        raise HeadError(f"{path}: trained for another speech embedding")
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
