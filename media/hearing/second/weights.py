"""How the two opinions are weighed: figures that `python -m tests.bench.opinions` fits and writes.

They are for a multilingual base model. A phrase that they do not name has what the others have on average.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from media.hearing.spotter import plain

SUREST = 0.9995
"""Scores nearer to 1, or to 0, count as this one."""
FILE = Path(__file__).with_name("weights.toml")


@dataclass(frozen=True, slots=True)
class Weights:
    """Two logistic regressions of "does it refuse": of voices that the first one knows, on its log-odds and
    the phrase's gain in nats; of those that it doesn't know, on the gain alone. The greater odds count.

    `refuse_at`, `unclear_at`: the scores from which it refuses or is unclear. `doubt_at`: the gain from which
    everyday words are unclear. `gains`: what each phrase gains where something else is said, seldom exceeded.
    `left_out`: the everyday words that tell least, and are not asked about.
    """

    known_bias: float
    known_first: float
    known_gain: float
    unknown_bias: float
    unknown_gain: float
    refuse_at: float
    unclear_at: float
    doubt_at: float
    left_out: Sequence[str]
    gains: Mapping[str, float]

    def odds(self, score: float, gain: float) -> float:
        """The log-odds of a refusal, of the first one's score and the phrase's gain."""
        known = self.known_bias + self.known_first * log_odds(score) + self.known_gain * gain
        return max(known, self.unknown_bias + self.unknown_gain * gain)

    def asked(self, everyday: Sequence[str]) -> list[str]:
        """Those of these words that are asked about."""
        return [word for word in everyday if plain(word) not in self.left_out]

    def usual(self, phrase: str) -> float:
        """What this phrase gains where something else is said, in nats."""
        otherwise = sum(self.gains.values()) / len(self.gains)
        return self.gains.get(plain(phrase), otherwise)


def log_odds(score: float) -> float:
    """Of a probability, which counts as neither 0 nor 1."""
    sure = min(max(score, 1 - SUREST), SUREST)
    return math.log(sure / (1 - sure))


@cache
def read_weights(path: Path = FILE) -> Weights:
    """Those that come with the program."""
    return Weights(**tomllib.loads(path.read_text(encoding="utf-8")))
