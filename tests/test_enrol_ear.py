"""What is heard of a saying, and whether it can be kept: on a voice, made softer, louder, noisier, cut."""

from pathlib import Path

import numpy as np
import pytest

from media.frame import SILENCE, Samples
from sipagent.enrol.flow import SayingFault
from sipagent.enrol.saying import SayingEar, bounds_ms, is_tone, tone
from sipagent.voice.detectors import read_sound

TEXT = "je refuse"
VOICE = read_sound(Path(__file__).parent / "live" / "je_refuse.flac")
_LOUD = np.flatnonzero(np.abs(VOICE) > 500)
SPOKEN = VOICE[_LOUD[0] : _LOUD[-1] + 1]
RATE = 8000


def quiet(seconds: float) -> Samples:
    """(n,) int16 of a line on which nobody speaks."""
    return np.random.default_rng(17).normal(0, 3.0, round(seconds * RATE)).astype(np.int16)


def line(said: Samples) -> Samples:
    return np.concatenate([quiet(0.6), said, quiet(6)])


def louder(gain: float) -> Samples:
    return np.asarray(np.clip(SPOKEN * gain, -32768, 32767), dtype=np.int16)


def noisy(db: float) -> Samples:
    """With noise so far below the speech."""
    level = float(np.sqrt(np.mean(SPOKEN.astype(float) ** 2))) * 10 ** (-db / 20)
    sound = line(SPOKEN)
    noise = np.random.default_rng(3).normal(0, level, len(sound))
    return np.asarray(np.clip(sound + noise, -32768, 32767), dtype=np.int16)


def heard(sound: Samples, text: str = TEXT, frame: int = 800) -> tuple[SayingFault | None, Samples]:
    """What is wrong with it, and what is kept."""
    ear = SayingEar(text)
    assert any(ear.feed(sound[start : start + frame]) for start in range(0, len(sound), frame)), (
        "it never ends"
    )
    return ear.fault(), ear.sound()


@pytest.mark.parametrize("frame", [160, 800, 777])
def test_what_is_said_is_kept_with_a_little_quiet_around_it(frame: int) -> None:
    fault, kept = heard(line(SPOKEN), frame=frame)
    assert fault is None and len(SPOKEN) < len(kept) < len(SPOKEN) + 0.9 * RATE
    loud = np.flatnonzero(np.abs(kept) > 500)
    assert np.array_equal(kept[loud[0] : loud[-1] + 1], SPOKEN)


@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        (quiet(8), SayingFault.NOTHING),
        (np.zeros(8 * RATE, dtype=np.int16), SayingFault.NOTHING),
        (np.concatenate([SPOKEN[1000:], quiet(6)]), SayingFault.EARLY),
        (line(SPOKEN[2000:3400]), SayingFault.SHORT),
        (line(np.concatenate([SPOKEN] * 6)), SayingFault.LONG),
        (line(np.concatenate([SPOKEN] * 40)), SayingFault.LONG),
        (line(louder(0.02)), SayingFault.SOFT),
        (line(louder(20)), SayingFault.CLIPPED),
        (noisy(6), SayingFault.NOISY),
        (noisy(10), SayingFault.NOISY),
        *((line(louder(gain)), None) for gain in (0.1, 0.3, 1.0)),  # what a telephone makes of a voice
        (noisy(25), None),
    ],
)
def test_what_is_wrong_with_it_is_told(sound: Samples, fault: SayingFault | None) -> None:
    assert heard(sound)[0] is fault


def test_a_pause_within_is_part_of_it() -> None:
    paused = np.concatenate([SPOKEN, quiet(0.6), SPOKEN])
    fault, kept = heard(line(paused), "je refuse je refuse")
    assert fault is None and len(kept) > len(paused)


def test_our_own_tone_that_comes_back_is_nobodys() -> None:
    fault, kept = heard(np.concatenate([quiet(0.15), tone() // 4, quiet(0.4), SPOKEN, quiet(6)]))
    assert fault is None and len(kept) < len(SPOKEN) + 0.9 * RATE
    assert is_tone(tone()[400:560])
    assert not is_tone(SILENCE) and not is_tone(np.zeros(160, dtype=np.int16))
    assert not any(map(is_tone, SPOKEN[: len(SPOKEN) // 160 * 160].reshape(-1, 160)))


def test_longer_texts_take_longer() -> None:
    assert bounds_ms("non") == (320, 3 * 220 + 1500)
    assert bounds_ms("je refuse l'enregistrement")[0] > bounds_ms(TEXT)[0]
