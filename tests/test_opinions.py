"""How the weights of the second opinion are fitted: no more is taken for a refusal than may be."""

import numpy as np
import pytest

from media.hearing.embedding import OTHER
from media.training.speech import label
from tests.bench.opinions import ASKED, FALSE_PEOPLE, Opinions, as_toml, fitted, told
from tests.bench.voice_cases import PEOPLE

REFUSING = ("je refuse", "refuser")
EVERYDAY = tuple(f"mot {number}" for number in range(ASKED + 2))
PHRASES = (*REFUSING, *EVERYDAY)
COUNT = 1000


@pytest.fixture(scope="module")
def opinions() -> Opinions:
    """Refusals: most are liked by either, few by both. The last two everyday words are never heard."""
    random = np.random.default_rng(1)
    sources, labels, scores, refused, gains = [], [], [], [], []
    for number in range(4 * COUNT):
        kind = number % 4
        said = (OTHER, OTHER, label(REFUSING[number % 8 // 4]), label(EVERYDAY[number // 4 % len(EVERYDAY)]))
        sources.append(PEOPLE if kind == 0 else "espeak")
        labels.append(said[kind])
        refuses, known = kind == 2, random.random() < 0.7
        scores.append(random.beta(60, 1) if refuses and known else random.beta(1, 60))
        refused.append(scores[-1] > 0.98)
        gain = random.normal(0, 1, len(PHRASES))
        if refuses and not known:
            gain[: len(REFUSING)] += 6
        if kind == 3 and number // 4 % len(EVERYDAY) < ASKED:
            gain[len(REFUSING) + number // 4 % len(EVERYDAY)] += 6
        gains.append(gain)
    return Opinions(np.array(sources), np.array(labels), np.array(scores), np.array(refused), np.array(gains))


def test_it_refuses_what_either_is_sure_of_and_no_more_of_the_rest_than_may_be(opinions: Opinions) -> None:
    weights = fitted(opinions, PHRASES, len(REFUSING))
    lines = dict(line.split(": ", 1) for line in told(opinions, weights, PHRASES, len(REFUSING)))

    def share(line: str) -> float:
        return float(lines[line].split("refuse ")[1].partition("%")[0]) / 100

    assert share("espeak, refuses") > 0.95
    assert share(f"{PEOPLE}, {OTHER}") <= FALSE_PEOPLE + 0.001
    assert 0.1 < weights.unclear_at <= weights.refuse_at <= 1


def test_the_everyday_words_that_are_asked_about_are_those_that_tell(opinions: Opinions) -> None:
    weights = fitted(opinions, PHRASES, len(REFUSING))
    assert list(weights.left_out) == list(EVERYDAY[ASKED:])
    assert f'left_out = ["{EVERYDAY[ASKED]}"' in as_toml(weights)
    assert weights.asked(EVERYDAY) == list(EVERYDAY[:ASKED])
    assert weights.asked(["lieber nicht"]) == ["lieber nicht"]
