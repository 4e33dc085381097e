"""A key is heard once, whatever the line does to it; what isn't a key is not heard at all."""

import itertools
import math

import numpy as np
import pytest

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples, milliseconds, samples_of
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
from sipagent.softphone.rtp import key_tones, tone
from tests.bench.line import Wave, dbm0, g711, noise, random_press, rms
from tests.tiers import depth

STARTS = range(0, 80, 8)


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


def _line(*parts: Wave, start: int = 0) -> Samples:
    """Parts one after the other, with a little noise, through A-law, half a second of nothing after them.

    `start`: how many samples later all of it begins.
    """
    wave = np.concatenate([_silence(50), np.zeros(start), *parts, _silence(500)])
    return g711(wave + noise(len(wave), False, np.random.default_rng(start)) * rms(-55), "alaw")


def _facts(sound: Samples, frame: int = FRAME_SAMPLES) -> list[ToneFact]:
    detector = ToneDetector()
    return [fact for at in range(0, len(sound), frame) for fact in detector.feed(sound[at : at + frame])]


def _digits(sound: Samples, frame: int = FRAME_SAMPLES) -> str:
    return "".join(fact.digit for fact in _facts(sound, frame) if isinstance(fact, ToneHeard))


def test_samples_outlive_the_engines_buffer_and_nobody_changes_them() -> None:
    buffer = bytearray(np.array([1, -2, 32767, -32768], dtype=np.int16).tobytes())
    samples = samples_of(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert samples.tolist() == [1, -2, 32767, -32768]
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 0
    with pytest.raises(ValueError, match="multiple"):
        samples_of(b"abc")
    assert milliseconds(FRAME_SAMPLES) == 100


@pytest.mark.parametrize("frame", [1, 79, 80, 160, 163, 800, 5000])
def test_frames_of_any_length_make_no_difference(frame: int) -> None:
    presses = [part for key in "159D#0*" for part in (_key(key, 60), _silence(50))]
    assert _digits(_line(*presses), frame) == "159D#0*"


def test_a_digit_needs_forty_milliseconds_and_no_more_than_sixty() -> None:
    sound, detector = _line(_key("9", 200)), ToneDetector()
    heard = (
        at
        for at in range(0, len(sound), 40)
        if any(isinstance(fact, ToneHeard) for fact in detector.feed(sound[at : at + 40]))
    )
    assert 30 <= (next(heard) + 40) / 8 - 50 <= 60


@pytest.mark.parametrize(
    ("parts", "digits"),
    [
        ((_key("9", 45),), "9"),  # Q.24: 40 ms are accepted
        ((_key("9", 22),), ""),  # as long as 23 ms aren't
        ((_key("9", 80), _silence(41), _key("9", 80)), "99"),  # a pause of 40 ms parts two
        ((_key("9", 50), _silence(20), _key("9", 50)), "9"),  # a hole of 20 ms doesn't
        ((_key("9", 30), _silence(20), _key("9", 30)), "9"),
        ((_key("1", 100), _key("2", 100), _key("1", 100)), "121"),  # without a pause
        ((_key("9", 5000),), "9"),
        (tuple(p for key in "0123456789*#" for p in (_key(key, 45), _silence(45))), "0123456789*#"),
    ],
)
def test_what_is_one_press_and_what_are_two(parts: tuple[Wave, ...], digits: str) -> None:
    """At every moment of a window."""
    for start in STARTS:
        assert _digits(_line(*parts, start=start)) == digits, start


def test_what_started_and_came_to_nothing_is_dropped() -> None:
    assert _facts(_line(_key("9", 27))) == [ToneStarted(), ToneDropped()]


@pytest.mark.parametrize("level", [0, -10, -20, -30])
@pytest.mark.parametrize("twist", [-8, 0, 8])
def test_levels_and_twist(level: float, twist: float) -> None:
    assert _digits(_line(_key("9", 80, level - abs(twist) / 2, twist=twist))) == "9"


@pytest.mark.parametrize(("row", "column"), list(itertools.product([-1, 0, 1], repeat=2)))
def test_frequencies_within_and_beyond_what_q24_allows(row: int, column: int) -> None:
    for key in KEYS:
        near = _facts(_line(_key(key, 80, off=(row * 0.015, column * 0.015))))
        assert near == [ToneStarted(), ToneHeard(key)]
        far = (row * 0.035, column * 0.035)
        assert _digits(_line(_key(key, 200, off=far))) == (key if far == (0, 0) else "")


def _glide(frequencies: tuple[float, ...], seconds: float, share: float, level: float) -> Wave:
    """Tones that move in step, from `share` below to as much above."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    turns = (1 - share) * time + share / seconds * time**2
    sines = np.sum([np.sin(2 * np.pi * f * turns) for f in frequencies], axis=0)
    return np.asarray(math.sqrt(2) * rms(level) * sines)


CROWD = (200, 340, 480, 880, 1010, *range(1500, 2400, 150), *range(2550, 3800, 150))
FIVE, ONE = _tones((770, 1336), 300, -13), _tones((697, 1209), 300, -13)  # -10 together


@pytest.mark.parametrize(
    ("sound", "digits"),
    [
        (_key("9", 200, -42), ""),  # too weak
        (_key("9", 200, -12, twist=12), ""),  # too unequal
        (_tones((852,), 300), ""),
        (_tones((852, 941), 300), ""),
        (_tones((852, 1477, 2100), 300), ""),
        (_tones((852, 1477), 300) + _tones((2 * 1477,), 300, -22), ""),  # with an octave
        (FIVE + _tones((320,), 300, -22), "5"),
        (FIVE + _tones((320,), 300, -17), ""),  # one stands out too far
        (ONE + _tones(CROWD, 300, -29), "1"),
        (ONE + _tones(CROWD, 300, -25.5), ""),  # many that don't are too much together
        (_glide((852, 1477), 0.3, 0.1, -12), ""),  # as a voice does between two syllables
        (_tones((770, 1336), 280, -10) + _tones((320,), 280, -19.5), "5"),
        (_glide((770, 1336), 0.28, 0.014, -10) + _tones((320,), 280, -19.5), ""),  # by 0.1 % in 10 ms
    ],
)
def test_what_is_no_key(sound: Wave, digits: str) -> None:
    assert _digits(_line(sound)) == digits


def test_silence_and_noise() -> None:
    rng = np.random.default_rng(1)
    for level in (-70, -40, -10):
        assert _facts(g711(noise(20 * SAMPLE_RATE, True, rng) * rms(level), "ulaw")) == []


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


@pytest.mark.parametrize("seed", range(depth(4, 10)))
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
        voice = _voice(depth(10, 60), rng)
        assert _digits(g711(voice * rms(level) / rms(-15), "alaw")) == ""


@pytest.mark.parametrize("frame", [37, 160, FRAME_SAMPLES, 8000])
def test_a_press_has_the_time_of_its_tone_whatever_the_frames(frame: int) -> None:
    sound = np.concatenate([np.zeros(4000, np.int16), tone(key_tones("5"), 0.1), np.zeros(3900, np.int16)])
    detector, heard = ToneDetector(), []
    for start in range(0, len(sound), frame):
        piece = sound[start : start + frame]
        facts = detector.feed(piece, 100.0 + (start + len(piece)) / SAMPLE_RATE)
        heard += [fact.at for fact in facts if isinstance(fact, ToneHeard)]
    assert heard == [pytest.approx(100.55, abs=0.02)]
