"""How the two opinions are weighed: figures that `python -m tests.bench.opinions` fits and writes.

They are for a multilingual base model. A phrase that they do not name has what the others have on average.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from media.hearing.spotter import plain

FILE = Path(__file__).with_name("weights.toml")


@dataclass(frozen=True, slots=True)
class Weights:
    """A logistic regression of "does it refuse" on the first one's log-odds and the phrase's gain in nats.

    `refuse_at`, `unclear_at`: the scores from which it refuses or is unclear. `doubt_at`: the gain from which
    everyday words are unclear. `gains`: what each phrase gains where something else is said, seldom
    exceeded.
    """

    bias: float
    first: float
    second: float
    refuse_at: float
    unclear_at: float
    doubt_at: float
    gains: Mapping[str, float]

    def usual(self, phrase: str) -> float:
        """What this phrase gains where something else is said, in nats."""
        otherwise = sum(self.gains.values()) / len(self.gains)
        return self.gains.get(plain(phrase), otherwise)


@cache
def read_weights(path: Path = FILE) -> Weights:
    """Those that come with the program."""
    return Weights(**tomllib.loads(path.read_text(encoding="utf-8")))
