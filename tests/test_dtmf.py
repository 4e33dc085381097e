"""A key is heard once, whatever the line does to it; what isn't a key is not heard at all."""

import itertools
import math

import numpy as np
import pytest

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.hearing.dtmf import (
    COLUMNS,
    KEYS,
    ROWS,
    ToneDetector,
    ToneDropped,
    ToneFact,
    ToneHeard,
    ToneStarted,
)
from tests.bench.line import Wave, dbm0, g711, noise, random_press, rms


def _tones(frequencies: tuple[float, ...], ms: float, level: float = -9.0) -> Wave:
    """A sum of sines of `level` dBm0 each."""
    time = np.arange(round(ms * SAMPLE_RATE / 1000)) / SAMPLE_RATE
    sines = [np.sin(2 * np.pi * frequency * time + n) for n, frequency in enumerate(frequencies)]
    return np.asarray(math.sqrt(2) * rms(level) * np.sum(sines, axis=0), dtype=np.float64)


def _key(
    key: str, ms: float, level: float = -9.0, off: tuple[float, float] = (0, 0), twist: float = 0
) -> Wave:
    row, column = divmod(KEYS.index(key), 4)
    low = _tones((ROWS[row] * (1 + off[0]),), ms, level - twist / 2)
    return low + _tones((COLUMNS[column] * (1 + off[1]),), ms, level + twist / 2)


def _silence(ms: float) -> Wave:
    return np.zeros(round(ms * SAMPLE_RATE / 1000))


def _line(*parts: Wave, seed: int = 0) -> Samples:
    """Parts one after the other, with a little noise, through A-law, half a second of nothing after them."""
    wave = np.concatenate([_silence(50), *parts, _silence(500)])
    return g711(wave + noise(len(wave), False, np.random.default_rng(seed)) * rms(-55), "alaw")


def _facts(sound: Samples, frame: int = FRAME_SAMPLES) -> list[ToneFact]:
    detector = ToneDetector()
    return [fact for at in range(0, len(sound), frame) for fact in detector.feed(sound[at : at + frame])]


def _digits(sound: Samples, frame: int = FRAME_SAMPLES) -> str:
    return "".join(fact.digit for fact in _facts(sound, frame) if isinstance(fact, ToneHeard))


@pytest.mark.parametrize("key", KEYS)
def test_every_key(key: str) -> None:
    assert _facts(_line(_key(key, 100))) == [ToneStarted(), ToneHeard(key)]


@pytest.mark.parametrize("frame", [1, 79, 80, 160, 163, 800, 5000])
def test_frames_of_any_length_make_no_difference(frame: int) -> None:
    presses = [part for key in "159D#0*" for part in (_key(key, 60), _silence(50))]
    assert _digits(_line(*presses), frame) == "159D#0*"


def test_a_digit_needs_forty_milliseconds_and_no_more_than_sixty() -> None:
    sound = _line(_key("9", 200))
    detector = ToneDetector()
    for at in range(0, len(sound), 40):
        if any(isinstance(fact, ToneHeard) for fact in detector.feed(sound[at : at + 40])):
            assert 30 <= (at + 40) / 8 - 50 <= 60
            return
    pytest.fail("not heard")


@pytest.mark.parametrize("start", range(0, 80, 8))
def test_the_shortest_key_at_every_moment(start: int) -> None:
    """Q.24: 40 ms are accepted, as long as 23 ms aren't."""
    shift = np.zeros(start)
    assert _digits(_line(shift, _key("9", 45))) == "9"
    assert _digits(_line(shift, _key("9", 22))) == ""


def test_what_started_and_came_to_nothing_is_dropped() -> None:
    assert _facts(_line(_key("9", 27))) == [ToneStarted(), ToneDropped()]


def test_the_same_key_twice_is_two_digits_after_a_pause_of_40_ms() -> None:
    for start in range(0, 80, 8):
        shift = np.zeros(start)
        assert _digits(_line(shift, _key("9", 80), _silence(41), _key("9", 80))) == "99"


def test_a_hole_of_20_ms_does_not_make_two_digits() -> None:
    for start in range(0, 80, 8):
        shift = np.zeros(start)
        assert _digits(_line(shift, _key("9", 50), _silence(20), _key("9", 50))) == "9"
        assert _digits(_line(shift, _key("9", 30), _silence(20), _key("9", 30))) == "9"


def test_another_key_without_a_pause() -> None:
    assert _digits(_line(_key("1", 100), _key("2", 100), _key("1", 100))) == "121"


def test_a_redialler_that_is_as_fast_as_q24_allows() -> None:
    for start in range(0, 80, 8):
        presses = [part for key in "0123456789*#" for part in (_key(key, 45), _silence(45))]
        assert _digits(_line(np.zeros(start), *presses, seed=start)) == "0123456789*#"


def test_a_key_held_down_for_long_is_one_digit() -> None:
    assert _digits(_line(_key("9", 5000))) == "9"


@pytest.mark.parametrize("level", [0, -10, -20, -30])
@pytest.mark.parametrize("twist", [-8, 0, 8])
def test_levels_and_twist(level: float, twist: float) -> None:
    assert _digits(_line(_key("9", 80, level - abs(twist) / 2, twist=twist))) == "9"


def test_too_weak_and_too_unequal() -> None:
    assert _digits(_line(_key("9", 200, -42))) == ""
    assert _digits(_line(_key("9", 200, -12, twist=12))) == ""


@pytest.mark.parametrize(("row", "column"), list(itertools.product([-1, 0, 1], repeat=2)))
def test_frequencies_within_and_beyond_what_q24_allows(row: int, column: int) -> None:
    for key in KEYS:
        near = (row * 0.015, column * 0.015)
        assert _digits(_line(_key(key, 80, off=near))) == key
        far = (row * 0.035, column * 0.035)
        assert _digits(_line(_key(key, 200, off=far))) == (key if far == (0, 0) else "")


def test_one_tone_three_tones_and_harmonics_are_not_a_key() -> None:
    assert _facts(_line(_tones((852,), 300))) == []
    assert _facts(_line(_tones((852, 941), 300))) == []
    assert _digits(_line(_tones((852, 1477, 2100), 300))) == ""
    octave = _tones((852, 1477), 300) + _tones((2 * 1477,), 300, -22)
    assert _digits(_line(octave)) == ""


def test_a_pair_of_tones_among_others_is_not_a_key() -> None:
    """One that stands out too far, and many that don't but are too much together."""
    pair = _tones((770, 1336), 300, -13)  # -10 together
    assert _digits(_line(pair + _tones((320,), 300, -22))) == "5"
    assert _digits(_line(pair + _tones((320,), 300, -17))) == ""
    pair = _tones((697, 1209), 300, -13)
    crowd = (200, 340, 480, 880, 1010, *range(1500, 2400, 150), *range(2550, 3800, 150))
    assert _digits(_line(pair + _tones(crowd, 300, -29))) == "1"
    assert _digits(_line(pair + _tones(crowd, 300, -25.5))) == ""


def test_a_voice_that_glides_across_a_key_is_not_a_key() -> None:
    """From 10 % below to 10 % above in 0.3 s, as a voice does between two syllables."""
    time = np.arange(SAMPLE_RATE * 3 // 10) / SAMPLE_RATE
    turns = 0.9 * time + 0.2 / 0.3 * time**2 / 2
    glide = [np.sin(2 * np.pi * frequency * turns) for frequency in (852, 1477)]
    assert _digits(_line(np.asarray(math.sqrt(2) * rms(-12) * np.sum(glide, axis=0)))) == ""


def test_two_harmonics_of_a_slowly_gliding_voice_are_not_a_key() -> None:
    """Both move in step, by 0.1 % in 10 ms, with something else in sight; a key's tones don't."""
    time = np.arange(SAMPLE_RATE * 28 // 100) / SAMPLE_RATE
    turns = 0.986 * time + 0.028 / 0.28 * time**2 / 2
    glide = np.sum([np.sin(2 * np.pi * frequency * turns) for frequency in (770, 1336)], axis=0)
    other = _tones((320,), 280, -19.5)
    assert _digits(_line(_tones((770, 1336), 280, -10) + other)) == "5"
    assert _digits(_line(np.asarray(math.sqrt(2) * rms(-10) * glide) + other)) == ""


def test_silence_and_noise() -> None:
    rng = np.random.default_rng(1)
    for level in (-70, -40, -10):
        assert _facts(g711(noise(20 * SAMPLE_RATE, True, rng) * rms(level), "ulaw")) == []


def test_nothing_is_kept_of_the_past_but_what_a_window_needs() -> None:
    detector = ToneDetector()
    for _ in range(100):
        detector.feed(np.zeros(FRAME_SAMPLES, dtype=np.int16))
    assert len(detector._sound) < 240


def _voice(seconds: float, rng: np.random.Generator) -> Wave:
    """A buzz of gliding pitch through three wandering formants: speech enough for its own echo."""
    count = round(seconds * SAMPLE_RATE)
    pitch = np.interp(np.arange(count), np.arange(0, count, 800), rng.uniform(90, 260, -(-count // 800)))
    phase = 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE
    voice = np.zeros(count)
    for harmonic in range(1, 30):
        frequency = harmonic * pitch
        tilt = sum(np.exp(-(((frequency - centre) / 220) ** 2)) for centre in (500, 1400, 2400))
        voice += np.where(frequency < 3600, tilt / harmonic**0.5, 0) * np.sin(harmonic * phase)
    syllables = np.interp(np.arange(count), np.arange(0, count, 1000), rng.uniform(0, 1, -(-count // 1000)))
    return np.asarray(voice * syllables * rms(-15) / max(rms(dbm0(voice * syllables)), 1.0))


@pytest.mark.parametrize("seed", range(10))
def test_presses_over_bad_lines_are_each_heard_once(seed: int) -> None:
    """Noise, loss, echo, level, twist, frequency: what tests/bench/tones.py does, in small."""
    rng = np.random.default_rng(seed)
    played = _voice(5, rng)
    for _ in range(30):
        press = random_press(rng, dbm0(played))
        assert _digits(press.sound(played)) == press.key, press


def test_a_voice_talks_nothing_off() -> None:
    rng = np.random.default_rng(7)
    for level in (-26, -16, -6):
        voice = _voice(60, rng)
        assert _digits(g711(voice * rms(level) / rms(-15), "alaw")) == ""
