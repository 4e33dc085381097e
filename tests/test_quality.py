"""Figures of a line: the E-model against what G.107 has published, streams as a leg's, level and clipping."""

import math

import numpy as np
import pytest

from media.frame import Samples
from retention.records import LegQuality, Quality
from sipagent.agent.quality import Level, Stream, burst_ratio, call_quality, leg_quality, mos, rating

G711 = 0.0, 25.1


@pytest.mark.parametrize(
    ("r", "told"),
    [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1.0), (-5, 1.0), (100, 4.5)],
)
def test_mos_of_r_is_that_of_table_b_1(r: float, told: float) -> None:
    assert mos(r) == pytest.approx(told, abs=0.008)


def test_with_default_values_r_is_that_of_g_107() -> None:
    assert rating(0, 1) == pytest.approx(93.2, abs=0.05)
    assert mos(rating(0, 1)) == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(
    ("delay_ms", "r"), [(50, 92.0), (100, 90.8), (150, 89.6), (200, 85.9), (250, 79.2), (300, 72.5)]
)
def test_delay_costs_what_others_have_approximated(delay_ms: float, r: float) -> None:
    """Cole and Rosenbluth, 2001: 93.2 - 0.024 d - 0.11 (d - 177.3) beyond 177.3 ms."""
    assert rating(0, 1, delay_ms=delay_ms) == pytest.approx(r, abs=0.3)


def test_loss_costs_more_in_bursts_and_no_more_than_the_model_is_made_for() -> None:
    alone, bursty = rating(*G711, 0.05), rating(*G711, 0.05, 4.0)
    assert rating(*G711) - alone == pytest.approx(95 * 5 / 30.1, abs=0.01)
    assert rating(*G711) - bursty == pytest.approx(95 * 5 / 26.35, abs=0.01)
    assert rating(*G711, 0.05, 0.5) == alone and rating(*G711, 0.6) == rating(*G711, 0.2)


@pytest.mark.parametrize(("lost", "bursts", "ratio"), [(50, 50, 0.95), (50, 10, 4.75), (0, 0, 1.0)])
def test_bursts_beside_those_of_chance(lost: int, bursts: int, ratio: float) -> None:
    assert burst_ratio(lost, bursts, 1000) == pytest.approx(ratio)


def test_streams_of_a_leg_are_one_sum() -> None:
    before = Stream("PCMU", 100, lost=3, bursts=1, late=2, concealed_ms=110, jitter_ms=9.0, buffer_ms=40)
    after = Stream("PCMA", 300, lost=1, bursts=1, concealed_ms=30.4, jitter_ms=1.0, rtt_ms=80.0, buffer_ms=40)
    told = leg_quality([before, after])
    assert told is not None and told.mos is not None
    assert told == LegQuality(
        codec="PCMA",
        packets=400,
        lost=4,
        lost_bursts=2,
        late=2,
        concealed_ms=140,
        jitter_ms=3.0,
        rtt_ms=80.0,
        mos=told.mos,
    )
    assert told.mos == pytest.approx(mos(rating(*G711, 6 / 404, 2 * 400 / 404, 80)), abs=0.005)


def test_a_codec_without_values_has_no_mos_and_neither_has_silence() -> None:
    told = [leg_quality([Stream("G722", 500)]), leg_quality([Stream("PCMA", 0)])]
    assert [one and one.mos for one in told] == [None, None] and leg_quality([]) is None


@pytest.mark.parametrize(("caller", "operator", "told"), [
    (500, 400, None), (0, 400, "caller"), (500, 0, "operator"), (0, 0, None), (0, None, None),
    (500, None, None),
])  # fmt: skip
def test_sound_that_goes_one_way(caller: int, operator: int | None, told: str | None) -> None:
    sides = [None if one is None else leg_quality([Stream("PCMA", one)]) for one in (caller, operator)]
    found = call_quality(*sides)
    assert found == Quality(caller=sides[0], operator=sides[1], one_way=told)
    assert call_quality(None, None) is None


def sine(peak: float, seconds: float) -> Samples:
    at = np.arange(round(seconds * 8000)) / 8000
    return np.clip(peak * np.sin(2 * np.pi * 440 * at), -32768, 32767).astype(np.int16)


def heard(sound: Samples, block: int = 800) -> tuple[float, float] | None:
    level = Level()
    for start in range(0, len(sound), block):
        level.hear(sound[start : start + block])
    return level.told()


def test_level_and_clipping() -> None:
    """Silence between words makes nobody quieter; what is cut off at full scale is clipped."""
    silence = np.zeros(16_000, np.int16)
    spoken = np.concatenate([silence, sine(8000, 2.5), silence])
    assert heard(spoken) == heard(spoken, 160) == (-15.3, 0.0)
    loud = heard(sine(65536, 2))
    assert loud is not None and loud[1] == pytest.approx(1 - 2 * math.asin(32124 / 65536) / math.pi, abs=0.01)
    assert heard(silence) is None and heard(sine(100, 2)) is None and heard(silence[:100]) is None
    turned = leg_quality([Stream("PCMA", 100)], Level())
    assert turned is not None and turned.level_dbov is None
