"""Trains a head on rows of features, with JAX on the CPU; `media/head.py` computes the same in numpy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from media.head import DILATIONS, KERNEL, OTHER
from media.training.features import MAX_STEPS

Weights: TypeAlias = dict[str, Any]

HIDDEN, MIDDLE = 64, 64
BATCH = 96
DROP = 0.2


@dataclass(frozen=True, slots=True)
class Rows:
    """(rows, MAX_STEPS, 96) with their lengths, their labels as numbers, and the sounds they come from."""

    steps: NDArray[np.float16]
    lengths: NDArray[np.int16]
    labels: NDArray[np.int64]
    sounds: NDArray[np.str_]


def load_rows(paths: list[Path], classes: list[str]) -> Rows:
    """All rows of these files; a label that isn't among `classes` is OTHER, the last one."""
    held = [np.load(path, allow_pickle=False) for path in paths]
    number = {name: place for place, name in enumerate(classes)}
    labels = np.concatenate([part["labels"] for part in held])
    steps = np.concatenate([part["steps"] for part in held])
    lengths = np.concatenate([part["lengths"] for part in held])
    odd = np.flatnonzero(lengths % 2)
    steps[odd, lengths[odd]] = steps[odd, lengths[odd] - 1]  # as a head does it
    return Rows(
        steps=steps,
        lengths=lengths,
        labels=np.array([number.get(str(label), number[OTHER]) for label in labels]),
        sounds=np.concatenate([part["sounds"] for part in held]),
    )


def fit(rows: Rows, classes: list[str], rounds: int, seed: int) -> Iterator[tuple[int, float, Weights]]:
    """Train for so many batches; every 250 of them how many, the mean loss, and the weights so far."""
    random = default_rng(seed)
    weights = _first(rows, len(classes), random)
    fixed = {name: weights.pop(name) for name in ("mean", "scale")}
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-3, min(200, rounds // 5), rounds, 1e-5)
    optimiser = optax.adamw(schedule, weight_decay=1e-2)
    state = optimiser.init(weights)

    def step_slowly(weights: Weights, state: Any, key: Any, batch: Any) -> Any:
        steps, lengths, labels = batch

        def loss(weights: Weights) -> Any:
            logits = forward(weights | fixed, steps, lengths, key)
            soft = optax.smooth_labels(jax.nn.one_hot(labels, len(classes)), 0.02)
            return optax.softmax_cross_entropy(logits, soft).mean()

        cost, gradient = jax.value_and_grad(loss)(weights)
        updates, state = optimiser.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, cost

    step = jax.jit(step_slowly)
    key = jax.random.key(seed)
    costs: list[float] = []
    for number, batch in enumerate(_batches(rows, len(classes), rounds, random), start=1):
        key, used = jax.random.split(key)
        weights, state, cost = step(weights, state, used, batch)
        costs.append(float(cost))
        if number % 250 == 0 or number == rounds:
            yield number, float(np.mean(costs[-250:])), {**weights, **fixed}


def forward(weights: Mapping[str, Any], steps: Any, lengths: Any, key: Any | None = None) -> Any:
    """(batch, classes) logits; with a `key`, units are dropped as in training."""
    count, time, width = steps.shape
    normal = ((steps - weights["mean"]) * weights["scale"]).reshape(count, time // 2, 2 * width)
    lengths = jnp.ceil(lengths / 2)
    mask = (jnp.arange(time // 2)[None, :] < lengths[:, None])[..., None]
    hidden = jax.nn.relu(normal @ weights["in.w"] + weights["in.b"]) * mask
    for number, dilation in enumerate(DILATIONS):
        mixed = jax.lax.conv_general_dilated(
            hidden,
            weights[f"conv{number}.w"],
            (1,),
            "SAME",
            rhs_dilation=(dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"),
        )
        hidden = (hidden + jax.nn.relu(mixed + weights[f"conv{number}.b"])) * mask
    top = jnp.where(mask, hidden, -1e9).max(axis=1)
    mean = hidden.sum(axis=1) / lengths[:, None]
    pooled = _drop(jnp.concatenate([top, mean], axis=1), key)
    return jax.nn.relu(pooled @ weights["mid.w"] + weights["mid.b"]) @ weights["out.w"] + weights["out.b"]


def probabilities(weights: Mapping[str, Any], rows: Rows) -> NDArray[np.float32]:
    """(rows, classes) of all of them."""
    infer = jax.jit(lambda steps, lengths: jax.nn.softmax(forward(weights, steps, lengths)))
    parts = [
        infer(rows.steps[at : at + 512].astype(np.float32), rows.lengths[at : at + 512].astype(np.float32))
        for at in range(0, len(rows.steps), 512)
    ]
    return np.concatenate([np.asarray(part) for part in parts])


def _drop(pooled: Any, key: Any | None) -> Any:
    if key is None:
        return pooled
    return pooled * jax.random.bernoulli(key, 1 - DROP, pooled.shape) / (1 - DROP)


def _first(rows: Rows, classes: int, random: Generator) -> Weights:
    some = rows.steps[random.integers(len(rows.steps), size=4000)].astype(np.float32)
    used = some[np.abs(some).sum(axis=2) > 0]  # behind the last step are zeros
    weights: Weights = {"mean": used.mean(axis=0), "scale": 1 / (used.std(axis=0) + 1e-3)}
    shapes: dict[str, tuple[int, ...]] = {
        "in": (2 * 96, HIDDEN),
        **{f"conv{number}": (KERNEL, HIDDEN, HIDDEN) for number in range(len(DILATIONS))},
        "mid": (2 * HIDDEN, MIDDLE),
        "out": (MIDDLE, classes),
    }
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        weights[f"{name}.w"] = (random.normal(size=shape) * spread).astype(np.float32)
        weights[f"{name}.b"] = np.zeros(shape[-1], dtype=np.float32)
    return weights


def _batches(rows: Rows, classes: int, rounds: int, random: Generator) -> Iterator[tuple[Any, Any, Any]]:
    """Half of each batch is OTHER; phrases are equally many, and so are the sources of each."""
    sources = np.array([Path(sound).parts[-3] for sound in rows.sounds])
    groups = [
        [
            np.flatnonzero((rows.labels == label) & (sources == source))
            for source in np.unique(sources[rows.labels == label])
        ]
        for label in range(classes)
    ]
    for _ in range(rounds):
        labels = random.integers(classes - 1, size=BATCH)
        labels[random.random(BATCH) < 0.5] = classes - 1
        picked = np.array(
            [random.choice(groups[label][random.integers(len(groups[label]))]) for label in labels]
        )
        steps, lengths = _shaken(rows.steps[picked].astype(np.float32), rows.lengths[picked], random)
        yield steps, lengths, labels


def _shaken(steps: Any, lengths: Any, random: Generator) -> tuple[Any, Any]:
    """A little noise, a gap in time, and the first steps missing now and then."""
    steps = steps + random.normal(size=steps.shape).astype(np.float32) * random.uniform(
        0, 2.0, (len(steps), 1, 1)
    )
    lengths = lengths.astype(np.float32)
    for row in range(len(steps)):
        length = int(lengths[row])
        if random.random() < 0.3 and length > 12:
            gap = random.integers(1, 4)
            at = random.integers(0, length - gap)
            steps[row, at : at + gap] = steps[row, at - 1]
        if random.random() < 0.2 and length > 20:
            cut = int(random.integers(1, 5))
            steps[row, : length - cut] = steps[row, cut:length]
            lengths[row] = length - cut
        end = int(lengths[row])
        steps[row, end:] = steps[row, end - 1]
    assert steps.shape[1] == MAX_STEPS
    return steps.astype(np.float32), lengths
