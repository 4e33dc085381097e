"""Speech that continues: each question adds only what is new, and to the same answer."""

from itertools import pairwise

import numpy as np
import pytest

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import FAR, NEAR_OWN, OWN, WARPS, Embedding, Floats, Head, Tails
from media.hearing.keyword import StreamPosition
from media.hearing.spotter import STEP, STREAMS, DeepStreams, known_heads

SOUND = np.asarray(np.random.default_rng(3).normal(size=4 * SAMPLE_RATE) * 1500, dtype=np.int16)
ALL = (OWN, *WARPS)


class Counting(Embedding):
    """The network, and how many spectra it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.spectra = 0

    def __call__(self, spectra: Floats) -> Floats:
        self.spectra += len(spectra)
        return super().__call__(spectra)


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return known_heads()[:2]


@pytest.fixture
def network() -> Counting:
    return Counting()


def question(at: int, stop: int) -> tuple[Samples, StreamPosition]:
    return SOUND[at:stop], StreamPosition(1, at)


@pytest.mark.parametrize(
    "asked",
    [
        [(0, 8_000), (0, 8_800), (0, 9_600), (960, 10_400), (8_000, 20_000), (9_000, 20_800)],
        [(37, 8_000), (37, 16_037), (1_001, 16_837)],  # it begins anywhere
        [(0, 8_000), (16_000, 24_000), (16_000, 24_800)],  # after a gap
        [(0, 800), (0, 1_600), (0, 9_000)],  # too short at first
        [(0, 16_000), (0, 12_000), (0, 20_000)],  # asked again about less
    ],
)
@pytest.mark.parametrize("seldom", [1, 2, 3])
def test_what_is_remembered_does_not_change_the_answer(
    heads: list[Head], network: Counting, asked: list[tuple[int, int]], seldom: int
) -> None:
    """For each vocal tract, however seldom it is asked for."""
    remembering = DeepStreams(network)
    for number, (at, stop) in enumerate(asked):
        warps = ALL if number % seldom == 0 else (OWN,)
        sound, place = question(at, stop)
        found = remembering.deep(heads, sound, place, warps)
        anew = DeepStreams(network).deep(heads, sound[-at % STEP :], warps=warps)
        for one, other in zip(found, anew, strict=True):
            for by_head, expected in zip(one, other, strict=True):
                np.testing.assert_allclose(by_head, expected, atol=1e-4)


@pytest.mark.parametrize("warps", [(OWN,), NEAR_OWN, FAR])
def test_a_question_costs_what_is_new_in_it(
    heads: list[Head], network: Counting, warps: tuple[float, ...]
) -> None:
    streams, ends = DeepStreams(network), range(16_000, 28_800, 800)
    streams.deep(heads, *question(0, ends[0]), warps)
    for before, after in pairwise(ends):
        network.spectra = 0
        streams.deep(heads, *question(0, after), warps)
        assert network.spectra < 50 * len(warps), (before, after)  # 10 new ones, and those that a step sees


def test_what_fails_half_way_is_computed_again(
    heads: list[Head], network: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One head has gone on, the next one not."""
    streams = DeepStreams(network)
    streams.deep(heads, *question(0, 16_000))
    deepen, asked = Head.deepen, iter([True, False])

    def failing(head: Head, steps: Floats, tails: Tails | None = None) -> Floats:
        if not next(asked):
            raise MemoryError
        return deepen(head, steps, tails)

    with monkeypatch.context() as patched:
        patched.setattr(Head, "deepen", failing)
        with pytest.raises(MemoryError):
            streams.deep(heads, *question(0, 16_800))
    [found], [anew] = (
        streams.deep(heads, *question(0, 17_600)),
        DeepStreams(network).deep(heads, SOUND[:17_600]),
    )
    for one, expected in zip(found, anew, strict=True):
        np.testing.assert_allclose(one, expected, atol=1e-4)


def test_nothing_is_kept_of_what_was_forgotten_or_has_no_place(heads: list[Head], network: Counting) -> None:
    streams = DeepStreams(network)
    streams.deep(heads, SOUND)
    assert len(streams) == 0
    streams.deep(heads, *question(0, 16_000))
    streams.deep(heads, *question(0, 16_000), WARPS)
    assert len(streams) == 1
    streams.forget(1)
    streams.forget(1)  # a stream that nobody knows
    assert len(streams) == 0


def test_only_the_last_streams_are_kept(heads: list[Head], network: Counting) -> None:
    streams, one = DeepStreams(network), heads[:1]
    for stream in [*range(STREAMS), 0, STREAMS]:  # the first is asked about again
        streams.deep(one, SOUND[:8_000], StreamPosition(stream, 0))
    assert len(streams) == STREAMS
    network.spectra = 0
    streams.deep(one, SOUND[:8_800], StreamPosition(0, 0))
    known = network.spectra
    streams.deep(one, SOUND[:8_800], StreamPosition(1, 0))
    assert network.spectra - known > known
