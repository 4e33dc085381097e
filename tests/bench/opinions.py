"""Fits how the second opinion is weighed: python -m tests.bench.opinions --second MODEL [--write].

    voices of the split tune ──▶ first one's score, gain of each phrase ──▶ what is usual, a logistic
    regression, thresholds ──▶ media/hearing/weights.toml

Nothing of the split test is looked at.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from media.frame import Samples
from media.hearing.embedding import OTHER
from media.hearing.keyword import Meaning, StreamPosition, Verdict
from media.hearing.second_opinion import WEIGHTS_FILE, Weights, Whisper, log_odds, without_doubt
from media.hearing.spotter import Spotter, plain
from media.training.fit import FALSE_REFUSALS_NEAR
from media.training.language import language
from media.training.shipped import ACCEPTING
from media.training.speech import label
from sipagent.voice.detectors import hear
from tests.bench.voice_cases import PEOPLE, Ground, folder_option, lang_option, window_phrases

USUAL = 0.98
"""The share of what people say, who say something else, in which a phrase gains less than what is usual."""
FALSE_PEOPLE = 0.002
"""How many of people's utterances may refuse; of synthetic ones FALSE_REFUSALS_NEAR may, as for a head."""
UNCLEAR, DOUBTED = 0.015, 0.01
"""How many of people's utterances may be unclear at most, and how many doubted because of everyday words."""
ASKED = 8
"""How many everyday words are asked about: each costs as much as a phrase."""
RIDGE = 1e-3

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Opinions:
    """Of utterances: who says them, the label of what is said, the first one's score, whether it refuses, and
    (n, phrases) gains."""

    sources: NDArray[np.str_]
    labels: NDArray[np.str_]
    scores: Floats
    refused: NDArray[np.bool_]
    gains: Floats


class _Collecting:
    """Says nothing; keeps the first one's best score, and the model's gains when the speech has ended."""

    def __init__(self, first: Spotter, model: Whisper) -> None:
        self.every_ms = first.every_ms
        self._first, self._model = first, model
        self.score, self.refused = 0.0, False
        self.gains: list[Any] = []

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        found = self._first.judge(samples, place)
        self.refused |= found.meaning is Meaning.REFUSE
        if found.meaning is not Meaning.ACCEPT:
            self.score = max(self.score, without_doubt(found).confidence or 0.0)
        if place is not None and place.last and len(samples):
            self.gains.append(self._model.gains(samples))
        return Verdict(Meaning.OTHER)


def collect(grounds: Sequence[Ground], first: Spotter, model: Whisper) -> Opinions:
    """What both say of every utterance in which the voice gate hears any speech."""
    rows = []
    for ground in grounds:
        for one, line in ground.planned():
            both = _Collecting(first, model)
            hear(both, ground.heard(one, line))
            if both.gains:
                rows.append((one.source, one.label, both.score, both.refused, np.max(both.gains, axis=0)))
    sources, labels, scores, refused, gains = map(np.array, zip(*rows, strict=True))
    return Opinions(sources, labels, scores, refused, gains.astype(np.float64))


def fitted(found: Opinions, phrases: Sequence[str], refusing: int) -> Weights:
    """The figures of weights.toml, rounded; the first `refusing` of the phrases refuse.

    What the first one refuses by mistake is among what may be.
    """
    people = (found.sources == PEOPLE) & (found.labels == OTHER)
    nothing = np.isin(found.labels, (OTHER, ACCEPTING))
    others = nothing & ~people
    refusals = np.isin(found.labels, [label(phrase) for phrase in phrases[:refusing]])
    usual = np.quantile(found.gains[people], USUAL, axis=0)
    above = found.gains - usual
    gain = above[:, :refusing].max(axis=1)
    sure = np.array([log_odds(score) for score in found.scores])
    known_bias, known_first, known_gain = _regression(np.stack([sure, gain], axis=1), refusals, nothing)
    unknown_bias, unknown_gain = _regression(gain[:, None], refusals, nothing)
    unfitted = Weights(known_bias, known_first, known_gain, unknown_bias, unknown_gain, 1, 1, 1, (), {})
    scores = _scores(found, unfitted, gain)

    refuse_at = max(
        float(np.quantile(scores[people], 1 - FALSE_PEOPLE)),
        float(np.quantile(scores[others], 1 - FALSE_REFUSALS_NEAR)),
    )
    unclear_at = min(refuse_at, float(np.quantile(scores[people], 1 - UNCLEAR)))
    asked, doubt_at = _telling(above[:, refusing:], found, phrases[refusing:], scores < unclear_at)
    weights = replace(unfitted, refuse_at=refuse_at, unclear_at=unclear_at, doubt_at=doubt_at)
    plainly = {name: round(value, 3) for name, value in asdict(weights).items() if isinstance(value, float)}
    gains = {phrase: round(float(value), 2) for phrase, value in zip(phrases, usual, strict=True)}
    left_out = tuple(plain(phrase) for phrase in phrases[refusing:] if phrase not in asked)
    return Weights(**plainly, left_out=left_out, gains=gains)


def _telling(
    above: Floats, found: Opinions, phrases: Sequence[str], silent: NDArray[np.bool_]
) -> tuple[list[str], float]:
    """The ASKED everyday phrases by which most who say such words are doubted, one more at a time, and the
    gain from which they are; of people no more may be than DOUBTED."""
    people = (found.sources == PEOPLE) & (found.labels == OTHER) & silent
    said = np.isin(found.labels, [label(phrase) for phrase in phrases]) & silent

    def doubted(asked: list[int]) -> tuple[float, float]:
        best = above[:, asked].max(axis=1)
        at = float(np.quantile(best[people], 1 - DOUBTED))
        return float(np.mean(best[said] >= at)), at

    chosen: list[int] = []
    while len(chosen) < ASKED:
        others = set(range(len(phrases))) - set(chosen)
        chosen.append(max(others, key=lambda number: doubted([*chosen, number])))
    return [phrases[number] for number in sorted(chosen)], doubted(chosen)[1]


def _regression(values: Floats, refused: NDArray[np.bool_], nothing: NDArray[np.bool_]) -> list[float]:
    """The bias and the weights of (n, m) values; refusals and others count alike."""
    used = np.concatenate([values[refused], values[nothing]])
    wanted = np.concatenate([np.ones(refused.sum()), -np.ones(nothing.sum())])
    counts = np.where(wanted > 0, 0.5 / refused.sum(), 0.5 / nothing.sum())

    def cost(weights: Floats) -> float:
        odds = weights[0] + used @ weights[1:]
        return float(np.sum(counts * np.logaddexp(0, -wanted * odds)) + RIDGE * np.sum(weights[1:] ** 2))

    return [float(weight) for weight in minimize(cost, np.zeros(1 + used.shape[1])).x]


def _scores(found: Opinions, weights: Weights, gain: Floats) -> Floats:
    """Of both; what the first one refuses is refused."""
    odds = [weights.odds(*each) for each in zip(found.scores.tolist(), gain.tolist(), strict=True)]
    return np.where(found.refused, 1.0, 1 / (1 + np.exp(-np.array(odds))))


def as_toml(weights: Weights) -> str:
    figures = [f"{name} = {value}" for name, value in asdict(weights).items() if isinstance(value, float)]
    figures.append(f"left_out = {json.dumps(weights.left_out, ensure_ascii=False)}")
    gains = [f'"{phrase}" = {value}' for phrase, value in weights.gains.items()]
    return "\n".join(["# Written by python -m tests.bench.opinions", *figures, "", "[gains]", *gains, ""])


@click.command()
@lang_option
@folder_option
@click.option("--second", type=click.Path(exists=True, path_type=Path), required=True, help="a Whisper model")
@click.option("--limit", default=200, help="at most so many utterances of a source", show_default=True)
@click.option("--write", is_flag=True, help="into media/hearing/weights.toml")
def main(lang: str, folder: Path | None, second: Path, limit: int, write: bool) -> None:
    spoken = language(lang)
    folder = folder or Path("voice-training", lang)
    grounds = [Ground(place, spoken, "tune", limit) for place in (folder, folder / "everyday")]
    phrases = window_phrases(spoken)
    first = Spotter(phrases, ())
    model = Whisper(second, {lang: phrases}, first.everyday)
    found = collect(grounds, first, model)
    weights = fitted(found, model.phrases, len(phrases))
    click.echo(as_toml(weights))
    if write:
        WEIGHTS_FILE.write_text(as_toml(weights), encoding="utf-8")


if __name__ == "__main__":
    main()
