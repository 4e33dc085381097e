"""Trains a head on rows of features, with JAX on the CPU, and chooses the scores from which a phrase counts.

`media/hearing/embedding.py` computes the same in numpy. The last layers of Google's network start
unchanged and are trained together with the head's own, but slower, as they are already good. The result
is the mean of the weights over the last few hundred batches.

Thresholds are chosen on voices that a head was not trained on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from media.hearing.embedding import (
    BANDS,
    CHANNELS,
    DEEP,
    DILATIONS,
    KERNEL,
    LAYERS,
    LEAK,
    LEAST,
    OTHER,
    REACH,
    Head,
    google_layers,
    together,
)
from media.training.features import LENT, LONGEST, source_of

Weights: TypeAlias = dict[str, Any]

HIDDEN, MIDDLE = 96, 64
BATCH = 64
DROP, DROP_DEEP = 0.3, 0.1
RATE, DEEP_SHARE = 2e-3, 0.2
SHAKEN = 0.4
SMOOTHED = 0.0
"""Label smoothing: none, or sure answers would no longer be in the order of their scores; thresholds are
high."""
MEMORY = 0.997
"""The share of the mean of the weights that a batch keeps; less for the first batches."""
MINED_AT = (0.4, 0.6, 0.8)
"""After which share of the batches to search for other speech that is taken for a phrase."""
MINED_AMONG = 400_000
"""How many steps in a row, from all questions, are searched."""
HARD, HARD_SHARE = 0.05, 0.4
WEIGHTS = {"kokoro": 3.0, "mbrola": 3.0, "people": 3.0, "espeak": 2.0, "festival": 1.5, "prompts": 0.3}
"""How often a folder of each source is drawn from: the more, the more its voices are like a caller's."""
LENT_PHRASES, LENT_OTHERS = 0.4, 0.25
"""The shares of colleagues' sayings of a phrase, and of their other sentences, where there are any."""
TOLD_EVERY = 250


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions: each is `steps[start:stop]` of (n, 288), or of deep ones (n, 96).

    `warped`: the steps as by other vocal tracts, for choosing thresholds.
    """

    steps: NDArray[np.float16]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    labels: NDArray[np.int64]
    sounds: NDArray[np.str_]
    warped: tuple[NDArray[np.float16], ...] = ()


def load_rows(paths: list[Path], classes: list[str]) -> Questions:
    """All rows of these files; a label that isn't among `classes` is OTHER, the last one."""
    return rows_of([dict(np.load(path, allow_pickle=False)) for path in paths], classes)


def rows_of(parts: Sequence[Mapping[str, NDArray[Any]]], classes: list[str]) -> Questions:
    """All rows from features.packed(); a label that isn't among `classes` is OTHER, the last one."""
    number = {name: place for place, name in enumerate(classes)}
    before = np.cumsum([0, *(len(part["steps"]) for part in parts)])
    labels = np.concatenate([part["labels"] for part in parts])
    return Questions(
        steps=np.concatenate([part["steps"] for part in parts]),
        starts=np.concatenate([part["starts"] + at for part, at in zip(parts, before, strict=False)]),
        stops=np.concatenate([part["stops"] + at for part, at in zip(parts, before, strict=False)]),
        labels=np.array([number.get(str(label), number[OTHER]) for label in labels]),
        sounds=np.concatenate([part["sounds"] for part in parts]),
        warped=tuple(np.concatenate([part["warped"] for part in parts], axis=1))
        if all("warped" in part for part in parts)
        else (),
    )


def fit(
    rows: Questions,
    classes: list[str],
    rounds: int,
    seed: int,
    start: Mapping[str, Any] | None = None,
    *,
    tune_deep: bool = True,
    go_on: bool = False,
) -> Iterator[tuple[int, float, Weights]]:
    """Train for this many batches; yields every TOLD_EVERY batches their number, the mean loss, and the
    weights.

    The deep layers start from those of `start`, another head's weights, or from Google's. Without `tune_deep`
    they stay so, and training takes a tenth of the time. `go_on`: all other layers start from `start`, too, a
    head of the same classes.
    """
    random = default_rng(seed)
    deep = {name: jnp.asarray(value) for name, value in (start or google_layers()).items() if _is_deep(name)}
    used = rows if tune_deep else deepened(deep, rows)
    weights: Weights = {**_first(used, len(classes), random, deep), **(deep if tune_deep else {})}
    if go_on and start is not None:
        weights |= {name: jnp.asarray(value) for name, value in start.items() if name in weights}
    fixed = {name: weights.pop(name) for name in ("mean", "scale")}
    begin, step = _trainer(len(classes), rounds, RATE / 2 if go_on else RATE)
    so_far = weights, begin(weights), weights, jnp.zeros(())
    batches = _Batches(used, len(classes), random)
    spread = jnp.asarray(
        used.steps[random.integers(len(used.steps), size=4000)].astype(np.float32).std(axis=0)
    )
    key = jax.random.key(seed)
    costs: list[float] = []
    for number in range(1, rounds + 1):
        key, chance = jax.random.split(key)
        so_far, cost = step(so_far, fixed, chance, spread, batches.next())
        costs.append(float(cost))
        if number in [int(share * rounds) for share in MINED_AT]:
            batches.mine({**deep, **so_far[2], **fixed})
        if number % TOLD_EVERY == 0 or number == rounds:
            yield number, float(np.mean(costs[-TOLD_EVERY:])), {**deep, **so_far[2], **fixed}


@cache
def _trainer(classes: int, rounds: int, rate: float) -> tuple[Any, Any]:
    """What begins a training, and one step of it: compiled once for several trainings of one kind."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(200, rounds // 5), rounds, rate / 100)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-2))

    def step(so_far: Any, fixed: Any, key: Any, spread: Any, batch: Any) -> Any:
        weights, state, mean, count = so_far
        steps, lengths, labels = batch
        noise, drop, size = jax.random.split(key, 3)
        loud = jax.random.uniform(size, (len(steps), 1, 1)) * SHAKEN * spread
        shaken = steps + jax.random.normal(noise, steps.shape) * loud

        def loss(weights: Weights) -> Any:
            logits = forward(weights | fixed, shaken, lengths, drop)
            soft = optax.smooth_labels(jax.nn.one_hot(labels, classes), SMOOTHED)
            return optax.softmax_cross_entropy(logits, soft).mean()

        cost, gradient = jax.value_and_grad(loss)(weights)
        updates, state = optimiser.update(gradient, state, weights)
        slowed = {name: each * (DEEP_SHARE if _is_deep(name) else 1) for name, each in updates.items()}
        weights = optax.apply_updates(weights, slowed)
        new = 1 - jnp.minimum(MEMORY, (1 + count) / (10 + count))
        kept = {name: mean[name] + new * (weights[name] - mean[name]) for name in weights}
        return (weights, state, kept, count + 1), cost

    return optimiser.init, jax.jit(step)


def forward(weights: Mapping[str, Any], steps: Any, lengths: Any, key: Any | None = None) -> Any:
    """(batch, classes) logits of (batch, n, 288), or of (batch, n, 96) deep ones, each of its own length.

    With a `key`, units are dropped as in training.
    """
    keys = (None, None) if key is None else tuple(jax.random.split(key))
    if steps.shape[-1] != DEEP:
        steps, lengths = deepen(weights, steps), lengths - REACH
    return classify(weights, _drop(steps, DROP_DEEP, keys[0], (len(steps), 1, DEEP)), lengths, keys[1])


def deepen(weights: Mapping[str, Any], steps: Any) -> Any:
    """(batch, n - REACH, DEEP) of (batch, n, 288)."""
    values = steps.reshape(*steps.shape[:2], BANDS, CHANNELS)
    for layer in range(LAYERS):
        if layer % 2 == 0:
            padded = jnp.pad(values, ((0, 0), (0, 0), (1, 1), (0, 0)))
            taps = jnp.concatenate([padded[:, :, :-2], padded[:, :, 1:-1], padded[:, :, 2:]], axis=3)
        else:
            taps = jnp.concatenate([values[:, :-2], values[:, 1:-1], values[:, 2:]], axis=3)
        mixed = taps @ weights[f"deep{layer}.w"] + weights[f"deep{layer}.b"]
        values = jnp.maximum(jnp.maximum(mixed, LEAK * mixed), LEAST)
        if layer in (3, 7):
            values = jnp.maximum(values[:, :, ::2], values[:, :, 1::2])
    pooled = jnp.maximum(values[:, :-1, 0], values[:, 1:, 0])
    taps = jnp.concatenate([pooled[:, :-4], pooled[:, 2:-2], pooled[:, 4:]], axis=2)
    return taps @ weights[f"deep{LAYERS}.w"]


def classify(weights: Mapping[str, Any], deep: Any, lengths: Any, key: Any | None = None) -> Any:
    """(batch, classes) logits of (batch, n, DEEP), each of its own length; an odd last step counts twice."""
    count, time, _ = deep.shape
    place = jnp.minimum(jnp.arange(time + time % 2)[None, :], lengths[:, None].astype(int) - 1)
    deep = jnp.take_along_axis(deep, place[..., None], axis=1)
    normal = ((deep - weights["mean"]) * weights["scale"]).reshape(count, -1, 2 * DEEP)
    lengths = jnp.ceil(lengths / 2)
    mask = (jnp.arange(normal.shape[1])[None, :] < lengths[:, None])[..., None]
    hidden = jax.nn.relu(normal @ weights["in.w"] + weights["in.b"]) * mask
    for number, dilation in enumerate(DILATIONS):
        reach = dilation * (KERNEL // 2)
        padded = jnp.pad(hidden, ((0, 0), (reach, reach), (0, 0)))
        taps = [padded[:, tap * dilation : tap * dilation + hidden.shape[1]] for tap in range(KERNEL)]
        kernel = weights[f"conv{number}.w"]
        mixed = jnp.concatenate(taps, axis=2) @ kernel.reshape(-1, kernel.shape[-1])
        hidden = (hidden + jax.nn.relu(mixed + weights[f"conv{number}.b"])) * mask
    top = jnp.where(mask, hidden, -1e9).max(axis=1)
    mean = hidden.sum(axis=1) / lengths[:, None]
    pooled = jnp.concatenate([top, mean], axis=1)
    pooled = _drop(pooled, DROP, key, pooled.shape)
    return jax.nn.relu(pooled @ weights["mid.w"] + weights["mid.b"]) @ weights["out.w"] + weights["out.b"]


def deepened(weights: Mapping[str, Any], rows: Questions) -> Questions:
    """These questions as deep steps, computed once for all."""
    if rows.steps.shape[1] == DEEP:
        return rows
    layers = {name: jnp.asarray(weight) for name, weight in weights.items() if _is_deep(name)}
    steps, *warped = (_deep_steps(layers, steps) for steps in (rows.steps, *rows.warped))
    return replace(rows, steps=steps, stops=rows.stops - REACH, warped=tuple(warped))


def _deep_steps(layers: Mapping[str, Any], steps: NDArray[np.float16]) -> NDArray[np.float16]:
    size = 8192
    padded = np.concatenate([steps, np.zeros((size + REACH - len(steps) % size, BANDS * CHANNELS))])
    deep = np.empty((len(padded) - REACH, DEEP), dtype=np.float16)
    for at in range(0, len(padded) - REACH, size):
        part = padded[at : at + size + REACH].astype(np.float32)
        deep[at : at + size] = _deeper(layers, part)
    return deep


def without(rows: Questions, gone: NDArray[np.bool_]) -> Questions:
    """All but these questions, and without the steps that only they had."""
    stay = ~_used(rows, gone) | _used(rows, ~gone)
    place = np.concatenate([[0], np.cumsum(stay)])  # of each step among those that stay
    left = _some(rows, ~gone)
    return replace(
        left, steps=rows.steps[stay], starts=place[left.starts], stops=place[left.stops], warped=()
    )


def _some(rows: Questions, chosen: NDArray[Any]) -> Questions:
    """These questions, of the same steps."""
    of_each = ("starts", "stops", "labels", "sounds")
    return replace(rows, **{name: getattr(rows, name)[chosen] for name in of_each})


def _used(rows: Questions, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(steps,): which of them these questions ask about."""
    begun = np.zeros(len(rows.steps) + 1, dtype=np.int64)
    np.add.at(begun, rows.starts[chosen], 1)
    np.add.at(begun, rows.stops[chosen], -1)
    return np.cumsum(begun)[:-1] > 0


def probabilities(weights: Mapping[str, Any], rows: Questions) -> NDArray[np.float32]:
    """(rows, classes) of all questions."""
    deep = deepened(weights, rows)
    layers = {name: jnp.asarray(weight) for name, weight in weights.items() if not _is_deep(name)}
    parts = []
    for at in range(0, len(deep.starts), 1024):
        steps, lengths = _gathered(deep, np.arange(at, min(at + 1024, len(deep.starts))), LONGEST - REACH)
        missing = ((0, 1024 - len(steps)), (0, 0), (0, 0))
        some = _likely(layers, np.pad(steps, missing), np.pad(lengths, missing[0], constant_values=1))
        parts.append(np.asarray(some)[: len(steps)])
    return np.concatenate(parts)


@jax.jit
def _deeper(weights: Mapping[str, Any], steps: Any) -> Any:
    return deepen(weights, steps[None])[0]


@jax.jit
def _likely(weights: Mapping[str, Any], steps: Any, lengths: Any) -> Any:
    return jax.nn.softmax(classify(weights, steps, lengths))


def _gathered(rows: Questions, picked: NDArray[np.int64], longest: int) -> tuple[Any, Any]:
    """(picked, longest, width) float32 and their lengths."""
    stops = rows.stops[picked]
    starts = np.maximum(rows.starts[picked], stops - longest)
    place = np.minimum(starts[:, None] + np.arange(longest), len(rows.steps) - 1)
    return rows.steps[place].astype(np.float32), (stops - starts).astype(np.float32)


def _is_deep(name: str) -> bool:
    return name.startswith("deep")


def _drop(values: Any, share: float, key: Any | None, shape: tuple[int, ...]) -> Any:
    if key is None:
        return values
    return values * jax.random.bernoulli(key, 1 - share, shape) / (1 - share)


def _first(rows: Questions, classes: int, random: Generator, deep: Mapping[str, Any]) -> Weights:
    some = replace(rows, steps=rows.steps[: 1 << 16]) if rows.steps.shape[1] != DEEP else rows
    values = deepened(deep, some).steps[: 1 << 16].astype(np.float32)
    weights: Weights = {"mean": values.mean(axis=0), "scale": 1 / (values.std(axis=0) + 1e-3)}
    shapes: dict[str, tuple[int, ...]] = {
        "in": (2 * DEEP, HIDDEN),
        **{f"conv{number}": (KERNEL, HIDDEN, HIDDEN) for number in range(len(DILATIONS))},
        "mid": (2 * HIDDEN, MIDDLE),
        "out": (MIDDLE, classes),
    }
    for name, shape in shapes.items():
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        weights[f"{name}.w"] = (random.normal(size=shape) * spread).astype(np.float32)
        weights[f"{name}.b"] = np.zeros(shape[-1], dtype=np.float32)
    return weights


class _Batches:
    """Half of each batch is OTHER, partly speech taken for a phrase; phrases are equally frequent, sources by
    WEIGHTS.

    Colleagues, who say little, are sources of their own, which together have a fixed share.
    """

    def __init__(self, rows: Questions, classes: int, random: Generator) -> None:
        self._rows, self._classes, self._random = rows, classes, random
        self._longest = LONGEST if rows.steps.shape[1] != DEEP else LONGEST - REACH
        self._hard = np.zeros(0, dtype=np.int64)
        sources = np.array([Path(sound).parts[-3] for sound in rows.sounds])
        lent = np.char.startswith(sources, f"{LENT}-")
        self._groups = [_Folders.of(sources, (rows.labels == label) & ~lent) for label in range(classes)]
        self._lent = [_Folders.of(sources, (rows.labels == label) & lent) for label in range(classes)]

    def mine(self, weights: Weights) -> None:
        """From now on, train more on other speech that these weights take for a phrase."""
        rows, size = self._rows, min(len(self._rows.steps), MINED_AMONG)
        first = int(self._random.integers(len(rows.steps) - size + 1))
        some = np.flatnonzero(
            (rows.labels == self._classes - 1) & (rows.starts >= first) & (rows.stops <= first + size)
        )
        asked = _some(rows, some)
        asked = replace(
            asked,
            steps=rows.steps[first : first + size],
            starts=asked.starts - first,
            stops=asked.stops - first,
            warped=(),
        )
        if len(some):
            self._hard = some[probabilities(weights, asked)[:, -1] < 1 - HARD]

    def next(self) -> tuple[Any, Any, Any]:
        random, last = self._random, self._classes - 1
        labels = random.integers(last, size=BATCH)
        labels[random.random(BATCH) < 0.5] = last
        picked = np.array([self._pick(int(label)) for label in labels])
        steps, lengths = _gathered(self._rows, picked, self._longest)
        return (*_shaken(steps, lengths, random), labels)

    def _pick(self, label: int) -> int:
        if label == self._classes - 1 and len(self._hard) and self._random.random() < HARD_SHARE:
            return int(self._random.choice(self._hard))
        groups, lent = self._groups[label], self._lent[label]
        share = LENT_OTHERS if label == self._classes - 1 else LENT_PHRASES
        if lent.rows and (not groups.rows or self._random.random() < share):
            groups = lent
        folder = self._random.choice(len(groups.rows), p=groups.shares)
        return int(self._random.choice(groups.rows[folder]))


@dataclass(frozen=True, slots=True)
class _Folders:
    """The rows of each folder that has some, and its share of what is drawn."""

    rows: list[NDArray[np.int64]]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, folders: NDArray[np.str_], chosen: NDArray[np.bool_]) -> "_Folders":
        names = np.unique(folders[chosen])
        weights = np.array([WEIGHTS.get(str(name).partition("-")[0], 1.0) for name in names])
        rows = [np.flatnonzero(chosen & (folders == name)) for name in names]
        return cls(rows, weights / weights.sum())


def _shaken(steps: Any, lengths: Any, random: Generator) -> tuple[Any, Any]:
    """Sometimes with a gap in time, or with the first steps missing."""
    for row in range(len(steps)):
        length = int(lengths[row])
        if random.random() < 0.3 and length > REACH + 12:
            gap = random.integers(1, 4)
            at = random.integers(1, length - gap)
            steps[row, at : at + gap] = steps[row, at - 1]
        if random.random() < 0.3 and length > REACH + 20:
            cut = int(random.integers(1, 7))
            steps[row, : length - cut] = steps[row, cut:length].copy()
            lengths[row] = length - cut
    return steps, lengths


FALSE_REFUSALS = 0.002
"""The share of people's utterances that may refuse, at most."""
FALSE_REFUSALS_NEAR = 0.003
"""The share of synthetic utterances that may; of those near to a phrase it is half as many again."""
FALSE_REFUSALS_LENT, FALSE_REFUSALS_NEAR_LENT = 0.01, 0.015
"""The same for heads that train no deep layers: stricter ones would halve what they hear."""
STRICTER = (0.0025, 0.005, 0.01, 0.02, 0.04)
"""Shares to try, the strictest first, when voices are many and similar."""
ENOUGH = 0.92
UNCLEAR = 0.015
"""The share of what refuses nothing that may be unclear, or refuse; of other voices it was twice as many."""
HIGHEST, HIGHEST_SURE = 0.9995, 0.9999
"""Of what refuses; of what accepts, or refuses during a call, where evidence may be erased."""
IN_CALL_LEAST = HIGHEST
PEOPLE = "people"
MAYBE = 0.5
"""The probability from which it is heard by other vocal tracts, too: nothing less is ever decided."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds, with the rates on the voices they were chosen on, in shares of utterances."""

    refuse_at: float
    unclear_at: float
    in_call_at: float
    accept_at: float
    recall: float
    false_refusals: float
    false_accepts: float


def choose(
    weights: Mapping[str, Any],
    rows: Questions,
    refusing: int,
    classes: int,
    in_call: Sequence[int],
    *,
    people: float = FALSE_REFUSALS,
    near: float = FALSE_REFUSALS_NEAR,
) -> Thresholds:
    """`refusing`: how many of the classes refuse, the first ones, of which `in_call` do so during a call.

    The last class is anything else. `people`, `near`: the shares of people's and of other synthetic speech
    that may refuse. As on a call, the strongest question decides for its utterance. Acceptance takes half of
    the doubt that the surest wrong one leaves: who refuses is never recorded for it.
    """
    likely = probabilities_on_calls(weights, rows)
    scores, sounds = likely[:, :refusing].sum(axis=1), rows.sounds
    refusals = _strongest(scores, sounds, rows.labels < refusing)
    others = _strongest(scores, sounds, rows.labels == classes - 1)
    refuse_at = min(HIGHEST, max(_at_most(scores, rows, classes, people, near)))
    clear = max(0.0, 1 - UNCLEAR - float(np.mean(others >= refuse_at)))
    unclear_at = min(refuse_at, float(np.quantile(others, clear)))
    in_call_at = float(_strongest(likely[:, in_call].sum(axis=1), sounds, rows.labels == classes - 1).max())
    accepting = likely[:, refusing:-1].sum(axis=1)
    not_accepting = (rows.labels < refusing) | (rows.labels == classes - 1)
    falsely = _strongest(accepting, sounds, not_accepting)
    accept_at = min(HIGHEST_SURE, max(refuse_at, 1 - (1 - float(falsely.max())) / 2))
    return Thresholds(
        refuse_at=round(refuse_at, 4),
        unclear_at=round(unclear_at, 4),
        in_call_at=round(min(HIGHEST_SURE, max(refuse_at, in_call_at, IN_CALL_LEAST)), 4),
        accept_at=round(accept_at, 4),
        recall=float(np.mean(refusals >= refuse_at)),
        false_refusals=float(np.mean(others >= refuse_at)),
        false_accepts=float(np.mean(falsely >= accept_at)),
    )


def strictest(weights: Mapping[str, Any], rows: Questions) -> Thresholds:
    """For a head with one phrase: the thresholds with the fewest false refusals that still hear ENOUGH."""
    for near in STRICTER:
        if (found := choose(weights, rows, 1, 2, [0], near=near)).recall >= ENOUGH:
            break
    return found


def probabilities_on_calls(weights: Mapping[str, Any], rows: Questions) -> NDArray[np.float32]:
    """(rows, classes), as a spotter finds them that listens for all of them but the last: what may be one is
    heard by other vocal tracts, too. Always by all of them: a spotter stops where the nearer two leave too
    little."""
    rows = deepened(weights, rows)
    likely = probabilities(weights, rows)
    maybe = np.flatnonzero(likely[:, :-1].sum(axis=1) >= MAYBE)
    if not rows.warped or not len(maybe):
        return likely
    some = _some(rows, maybe)
    views = [probabilities(weights, replace(some, steps=steps, warped=())) for steps in rows.warped]
    likely[maybe] = together(np.stack([likely[maybe], *views]))
    return likely


def head_of(language: str, phrases: tuple[str, ...], weights: Mapping[str, Any], found: Thresholds) -> Head:
    """The head with these weights and thresholds."""
    held = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    refuse_at, unclear_at = found.refuse_at, found.unclear_at
    return Head(language, phrases, refuse_at, unclear_at, found.in_call_at, found.accept_at, weights=held)


def _at_most(
    scores: NDArray[Any], rows: Questions, classes: int, share_people: float, share_near: float
) -> Iterator[float]:
    """The scores from which no more than these shares of other speech refuse, people's and synthetic."""
    people = np.array([source_of(Path(sound)) == PEOPLE for sound in rows.sounds])
    for chosen, share in ((people, share_people), (~people, share_near)):
        others = _strongest(scores, rows.sounds, chosen & (rows.labels == classes - 1))
        if len(others) > 1:
            yield float(np.quantile(others, 1 - share))


def _strongest(scores: NDArray[Any], sounds: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    _, place = np.unique(sounds[chosen], return_inverse=True)
    best = np.zeros(place.max() + 1 if len(place) else 0)
    np.maximum.at(best, place, scores[chosen])
    return best
