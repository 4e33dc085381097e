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


def quiet(seconds: float, level: float = 3.0) -> Samples:
    """(n,) int16 of a line on which nobody speaks."""
    noise = np.random.default_rng(17).normal(0, level, round(seconds * RATE))
    return np.asarray(noise, dtype=np.int16)


def line(said: Samples, before_s: float = 0.6, after_s: float = 6.0) -> Samples:
    return np.concatenate([quiet(before_s), said, quiet(after_s)])


def louder(gain: float, said: Samples = SPOKEN) -> Samples:
    return np.asarray(np.clip(said * gain, -32768, 32767), dtype=np.int16)


def noisy(sound: Samples, db: float) -> Samples:
    """With noise so far below the speech."""
    level = float(np.sqrt(np.mean(SPOKEN.astype(float) ** 2))) * 10 ** (-db / 20)
    noise = np.random.default_rng(3).normal(0, level, len(sound))
    return np.asarray(np.clip(sound + noise, -32768, 32767), dtype=np.int16)


def heard(sound: Samples, text: str = TEXT, frame: int = 800) -> tuple[SayingFault | None, SayingEar]:
    ear = SayingEar(text)
    for start in range(0, len(sound), frame):
        if ear.feed(sound[start : start + frame]):
            return ear.fault(), ear
    raise AssertionError("it never ends")


@pytest.mark.parametrize("frame", [160, 800, 777])
def test_what_is_said_is_kept_with_a_little_quiet_around_it(frame: int) -> None:
    fault, ear = heard(line(SPOKEN), frame=frame)
    assert fault is None
    kept = ear.sound()
    assert len(SPOKEN) < len(kept) < len(SPOKEN) + 0.9 * RATE
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
        (noisy(line(SPOKEN), 6), SayingFault.NOISY),
        (noisy(line(SPOKEN), 10), SayingFault.NOISY),
    ],
)
def test_what_is_wrong_with_it_is_told(sound: Samples, fault: SayingFault) -> None:
    assert heard(sound)[0] is fault


@pytest.mark.parametrize("gain", [0.1, 0.3, 1.0])
def test_what_a_telephone_makes_of_a_voice_is_good_enough(gain: float) -> None:
    assert heard(line(louder(gain)))[0] is None


def test_some_noise_is_no_fault() -> None:
    assert heard(noisy(line(SPOKEN), 25))[0] is None


def test_a_pause_within_is_part_of_it() -> None:
    paused = np.concatenate([SPOKEN, quiet(0.6), SPOKEN])
    fault, ear = heard(line(paused), "je refuse je refuse")
    assert fault is None and len(ear.sound()) > len(paused)


def test_our_own_tone_that_comes_back_is_nobodys() -> None:
    echoed = np.concatenate([quiet(0.15), tone() // 4, quiet(0.4), SPOKEN, quiet(6)])
    fault, ear = heard(echoed)
    assert fault is None
    assert len(ear.sound()) < len(SPOKEN) + 0.9 * RATE


def test_the_tone_is_told_from_a_voice() -> None:
    assert is_tone(tone()[400:560])
    assert not is_tone(SILENCE) and not is_tone(np.zeros(160, dtype=np.int16))
    pieces = SPOKEN[: len(SPOKEN) // 160 * 160].reshape(-1, 160)
    assert sum(map(is_tone, pieces)) == 0


def test_longer_texts_take_longer() -> None:
    assert bounds_ms("non") == (320, 3 * 220 + 1500)
    assert bounds_ms("je refuse l'enregistrement")[0] > bounds_ms(TEXT)[0]
