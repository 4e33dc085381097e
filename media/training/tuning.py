"""The scores from which a phrase counts: chosen on voices that a head was not trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.hearing.head import Head, together
from media.training.features import source_of
from media.training.fit import Questions, deepened, probabilities

FALSE_REFUSALS = 0.002
"""The share of people's utterances that may refuse, at most."""
FALSE_REFUSALS_NEAR = 0.003
"""The share of synthetic utterances that may; of those near to a phrase it is half as many again."""
FALSE_REFUSALS_NEAR_LENT = 0.04
"""FALSE_REFUSALS_NEAR for heads that train no deep layers: a stricter one would halve what they hear."""
STRICTER = (0.0025, 0.005, 0.01, 0.02)
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
    near: float = FALSE_REFUSALS_NEAR,
) -> Thresholds:
    """`refusing`: how many of the classes refuse, the first ones, of which `in_call` do so during a call.

    The last class is anything else. `near`: the share of other synthetic speech that may refuse. As on a
    call, the strongest question decides for its utterance. Acceptance takes half of the doubt that the surest
    wrong one leaves: who refuses is never recorded for it.
    """
    likely = probabilities_on_calls(weights, rows)
    scores, sounds = likely[:, :refusing].sum(axis=1), rows.sounds
    refusals = _strongest(scores, sounds, rows.labels < refusing)
    others = _strongest(scores, sounds, rows.labels == classes - 1)
    refuse_at = min(HIGHEST, max(_at_most(scores, rows, classes, near)))
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
            return found
    return choose(weights, rows, 1, 2, [0], near=FALSE_REFUSALS_NEAR_LENT)


def probabilities_on_calls(weights: Mapping[str, Any], rows: Questions) -> NDArray[np.float32]:
    """(rows, classes), as a spotter finds them that listens for all of them but the last: what may be one is
    heard by other vocal tracts, too. Always by all of them: a spotter stops where the nearer two leave too
    little."""
    rows = deepened(weights, rows)
    likely = probabilities(weights, rows)
    maybe = np.flatnonzero(likely[:, :-1].sum(axis=1) >= MAYBE)
    if not rows.warped or not len(maybe):
        return likely
    some = replace(
        rows,
        **{name: getattr(rows, name)[maybe] for name in ("starts", "stops", "labels", "sounds")},
    )
    views = [probabilities(weights, replace(some, steps=steps, warped=())) for steps in rows.warped]
    likely[maybe] = together(np.stack([likely[maybe], *views]))
    return likely


def head_of(language: str, phrases: tuple[str, ...], weights: Mapping[str, Any], found: Thresholds) -> Head:
    """The head with these weights and thresholds."""
    held = {name: np.asarray(weight, dtype=np.float32) for name, weight in weights.items()}
    refuse_at, unclear_at = found.refuse_at, found.unclear_at
    return Head(language, phrases, refuse_at, unclear_at, found.in_call_at, found.accept_at, weights=held)


def _at_most(scores: NDArray[Any], rows: Questions, classes: int, near: float) -> Iterator[float]:
    """The scores from which no more than this share of other speech refuses, people's and synthetic."""
    people = np.array([source_of(Path(sound)) == PEOPLE for sound in rows.sounds])
    for chosen, share in ((people, FALSE_REFUSALS), (~people, near)):
        others = _strongest(scores, rows.sounds, chosen & (rows.labels == classes - 1))
        if len(others) > 1:
            yield float(np.quantile(others, 1 - share))


def _strongest(scores: NDArray[Any], sounds: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[Any]:
    _, place = np.unique(sounds[chosen], return_inverse=True)
    best = np.zeros(place.max() + 1 if len(place) else 0)
    np.maximum.at(best, place, scores[chosen])
    return best
