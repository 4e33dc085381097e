"""What is remembered of speech that goes on changes no answer, and is gone when it has ended."""

import itertools

import numpy as np
import pytest

from media.frame import SAMPLE_RATE, Samples
from media.hearing import streams
from media.hearing.embedding import Embedding, Floats
from media.hearing.head import DEEP, Head, steps_of
from media.hearing.keyword import StreamPosition
from media.hearing.spotter import known_heads
from media.hearing.streams import STEP, Streams
from media.hearing.vad import SpeechStarted, VoiceGate


class _Counting(Embedding):
    """How many spectra it was given."""

    spectra = 0

    def __call__(self, spectra: Floats) -> Floats:
        self.spectra += len(spectra)
        return super().__call__(spectra)


@pytest.fixture(scope="module")
def network() -> _Counting:
    return _Counting()


@pytest.fixture(scope="module")
def heads() -> tuple[Head, ...]:
    return tuple(known_heads()[:1]) * 2


def babble(seconds: float, seed: int) -> Samples:
    """Something like voices, with pauses now and then."""
    random = np.random.default_rng(seed)
    at = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    loud = np.interp(
        at, np.arange(0, seconds + 1, 0.2), random.uniform(0, 1, int(seconds * 5) + 5)[: int(seconds * 5) + 5]
    )
    pitch = 2 * np.pi * (120 * at + 6 * np.sin(2 * np.pi * random.uniform(1, 3) * at))
    voice = sum(np.sin(n * pitch + random.uniform(0, 6)) / n for n in range(1, 20))
    return np.asarray(3000 * loud**2 * voice + random.normal(size=len(at)) * 30, dtype=np.int16)


@pytest.mark.parametrize("every_ms", [100, 500])
@pytest.mark.parametrize("seed", range(2))
def test_the_answer_is_that_of_the_question_alone(
    network: _Counting, heads: tuple[Head, ...], seed: int, every_ms: int
) -> None:
    """On all that a gate asks; and with questions left out, as where the listener is busy."""
    random = np.random.default_rng(seed)
    remembering, forgetful, gate = Streams(network), Streams(network), VoiceGate(every_ms)
    asked = 0
    for frame in babble(6.0, seed).reshape(-1, 800):
        for fact in gate.feed(frame):
            if isinstance(fact, SpeechStarted) or random.random() < 0.2:
                continue
            asked += 1
            found = remembering.deep(heads, fact.samples, StreamPosition(7, fact.at))
            alone = forgetful.deep(heads, fact.samples)
            assert len(found) == len(alone) == len(heads)
            for head, deep, expected in zip(heads, found, alone, strict=True):
                assert deep.shape == expected.shape and deep.shape[1] == DEEP
                assert deep == pytest.approx(expected, abs=5e-4)
                assert head.classify(deep) == pytest.approx(head.classify(expected), abs=1e-4)
                whole = head.probabilities(steps_of(network, fact.samples))
                assert head.classify(deep) == pytest.approx(whole, abs=1e-4)
    assert asked > (20 if every_ms == 100 else 4)


def test_only_what_is_new_is_computed(network: _Counting, heads: tuple[Head, ...]) -> None:
    sound, remembering = babble(4.0, 5), Streams(network)
    size = 3 * SAMPLE_RATE
    remembering.deep(heads, sound[:size], StreamPosition(1, 0))
    before = network.spectra
    remembering.deep(heads, sound[800 : size + 800 - 800 % STEP], StreamPosition(1, 800))
    assert network.spectra - before <= 24 + 2 * 4 + 4, "100 ms, and what one step sees"


def test_streams_are_told_apart(network: _Counting, heads: tuple[Head, ...]) -> None:
    one, two, remembering = babble(3.0, 1), babble(3.0, 2), Streams(network)
    for at, (number, sound) in itertools.product(range(0, 4), enumerate((one, two))):
        window = sound[at * 800 // STEP * STEP : 16_000 + at * 800]
        deep = remembering.deep(heads, window, StreamPosition(number, at * 800 // STEP * STEP))[0]
        assert deep == pytest.approx(Streams(network).deep(heads, window)[0], abs=5e-4)
    assert len(remembering) == 2


def test_the_last_question_leaves_nothing(network: _Counting, heads: tuple[Head, ...]) -> None:
    remembering, sound = Streams(network), babble(2.0, 3)
    remembering.deep(heads, sound, StreamPosition(1, 0))
    assert len(remembering) == 1
    remembering.deep(heads, sound, StreamPosition(1, 0, last=True))
    assert len(remembering) == 0
    remembering.deep(heads, sound, StreamPosition(2, 0, last=True))
    remembering.deep(heads, sound)
    assert len(remembering) == 0


def test_a_last_question_about_nothing_only_forgets(network: _Counting, heads: tuple[Head, ...]) -> None:
    remembering = Streams(network)
    remembering.deep(heads, babble(2.0, 3), StreamPosition(1, 0))
    deep = remembering.deep(heads, np.zeros(0, dtype=np.int16), StreamPosition(1, 0, last=True))
    assert [len(part) for part in deep] == [0, 0]
    assert len(remembering) == 0


def test_a_question_that_fails_leaves_nothing(
    network: _Counting, heads: tuple[Head, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembering, sound = Streams(network), babble(3.0, 3)
    remembering.deep(heads, sound[:16_000], StreamPosition(1, 0))

    def broken(embedding: Embedding, samples: Samples) -> Floats:
        raise MemoryError

    monkeypatch.setattr(streams, "steps_of", broken)
    with pytest.raises(MemoryError):
        remembering.deep(heads, sound[:19_200], StreamPosition(1, 0))
    assert len(remembering) == 0
    monkeypatch.setattr(streams, "steps_of", steps_of)
    again = remembering.deep(heads, sound[:19_200], StreamPosition(1, 0))[0]
    assert again == pytest.approx(Streams(network).deep(heads, sound[:19_200])[0], abs=5e-4)


def test_other_heads_other_steps(network: _Counting, heads: tuple[Head, ...]) -> None:
    """As at the bridge, from where on other words count."""
    remembering, sound = Streams(network), babble(2.0, 3)
    remembering.deep(heads, sound, StreamPosition(1, 0))
    (deep,) = remembering.deep(heads[:1], sound, StreamPosition(1, 0))
    assert deep == pytest.approx(Streams(network).deep(heads, sound)[0], abs=5e-4)
    assert len(remembering) == 1


@pytest.mark.parametrize("at", [0, 160, 320, 3200, 24_000])
def test_a_question_from_anywhere_else_is_computed_anew(
    network: _Counting, heads: tuple[Head, ...], at: int
) -> None:
    """Also one from before, from far behind, or not on the grid, which no gate asks."""
    remembering, sound = Streams(network), babble(6.0, 4)
    for first in (3200, at, 6400, at):
        window = sound[first : first + 16_000]
        deep = remembering.deep(heads, window, StreamPosition(1, first))[0]
        on_grid = window[-first % STEP :]
        assert deep == pytest.approx(Streams(network).deep(heads, on_grid)[0], abs=5e-4)


def test_only_so_many_streams_are_kept_the_latest(
    network: _Counting, heads: tuple[Head, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STREAMS", 3)
    remembering, sound = Streams(network), babble(1.0, 3)
    for stream in (1, 2, 3, 1, 4):
        remembering.deep(heads, sound, StreamPosition(stream, 0))
    assert list(remembering._known) == [3, 1, 4]
