"""A head: which of its phrases an utterance is, from the speech embedding; in numpy, some 100 kB.

    (steps, 96) ─ normalise ─ two steps as one ─ dense ─ convolutions ─ max, mean ─ dense ─▶ (classes,)

It answers with probabilities that add up to one: of each phrase that it was trained on, and of anything else.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from media.embedding import SHA256, WIDTH, Embedding, Floats, log_mel
from media.frame import Samples

PAD_BEFORE, PAD_AFTER = 50, 10
"""Spectra of the utterance's own quiet put around it, so that also its first sound is seen late in a step."""

FLOOR_PERCENTILE = 10
DILATIONS = (1, 2)
KERNEL = 5
OTHER = "other"


class HeadError(Exception):
    """A file that is not a head, or one for another embedding; str() is one line."""


@dataclass(frozen=True, slots=True)
class Head:
    """`phrases` are the classes but the last, which is OTHER.

    `refuse_at` is the score from which on an utterance refuses, `unclear_at` (lower) that from which on it
    may; `in_call_at` counts during a call, where evidence is at stake, and `accept_at` for what accepts.
    `weights` are float32.
    """

    language: str
    phrases: tuple[str, ...]
    refuse_at: float
    unclear_at: float
    in_call_at: float
    accept_at: float
    weights: Mapping[str, Floats]

    def probabilities(self, steps: Floats) -> Floats:
        """(classes,) float32 of (steps, 96); an odd last step counts twice."""
        weights = self.weights
        even = np.concatenate([steps, steps[-1:]]) if len(steps) % 2 else steps
        normal = np.asarray((even - weights["mean"]) * weights["scale"], dtype=np.float32)
        hidden = _relu(normal.reshape(-1, 2 * WIDTH) @ weights["in.w"] + weights["in.b"])
        for number, dilation in enumerate(DILATIONS):
            mixed = _convolve(hidden, weights[f"conv{number}.w"], dilation) + weights[f"conv{number}.b"]
            hidden = hidden + _relu(mixed)
        pooled = np.concatenate([hidden.max(axis=0), hidden.mean(axis=0)])
        logits = _relu(pooled @ weights["mid.w"] + weights["mid.b"]) @ weights["out.w"] + weights["out.b"]
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum(), dtype=np.float32)


def steps_of(embedding: Embedding, samples: Samples) -> Floats:
    """(steps, 96) of (n,) int16: what a head is asked about an utterance. One step each 40 ms."""
    spectra = log_mel(samples)
    if not len(spectra):
        return np.zeros((0, WIDTH), dtype=np.float32)
    floor = np.percentile(spectra, FLOOR_PERCENTILE, axis=0).astype(np.float32)
    padded = np.concatenate([np.tile(floor, (PAD_BEFORE, 1)), spectra, np.tile(floor, (PAD_AFTER, 1))])
    return embedding(padded)


def save(path: Path, head: Head) -> None:
    """Write it as an .npz in half precision."""
    told = {
        "language": head.language,
        "phrases": head.phrases,
        "refuse_at": head.refuse_at,
        "unclear_at": head.unclear_at,
        "in_call_at": head.in_call_at,
        "accept_at": head.accept_at,
        "embedding": SHA256,
    }
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
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise HeadError(f"{path}: not a head: {error}") from error
    if told["embedding"] != SHA256:
        raise HeadError(f"{path}: trained for another speech embedding")
    return head


def _relu(values: Floats) -> Floats:
    return np.asarray(np.maximum(values, 0))


def _convolve(values: Floats, kernel: Floats, dilation: int) -> Floats:
    """(steps, out) of (steps, in) by (KERNEL, in, out), as long as it was: silence around it is zeros."""
    reach = dilation * (KERNEL // 2)
    padded = np.pad(values, ((reach, reach), (0, 0)))
    shifted = [padded[tap * dilation : tap * dilation + len(values)] for tap in range(KERNEL)]
    return np.asarray(np.concatenate(shifted, axis=1) @ kernel.reshape(-1, kernel.shape[-1]))
