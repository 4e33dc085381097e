"""What is played and comes back is known for what it is, and whoever speaks meanwhile is heard."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

import prompts
from media.frame import FRAME_SAMPLES, SAMPLE_RATE, SILENCE, Samples
from media.hearing import echo as echo_module
from media.hearing.echo import LAG_MS, Echo, Way, way_back
from media.hearing.keyword import Meaning, Verdict
from sipagent.softphone.rtp import decode, encode

SHIPPED = Path(prompts.__file__).parent
REFUSE = Verdict(Meaning.REFUSE, "je refuse", 0.9)
OTHER = Verdict(Meaning.OTHER)
Sound = NDArray[np.float64]


def read(name: str, seconds: float) -> Sound:
    sound, rate = soundfile.read(SHIPPED / f"{name}.wav", dtype="float64")
    assert rate == SAMPLE_RATE
    return np.asarray(sound[2400 : 2400 + round(seconds * rate)])


PLAYED, CALLER = read("fr/details", 8.0), read("en/refused", 2.0)


def int16(sound: Sound) -> Samples:
    return np.asarray(np.clip(sound * 32767, -32768, 32767), dtype=np.int16)


def coded(sound: Sound) -> Samples:
    """As it comes out of A-law."""
    return decode(encode(int16(sound), 8), 8)


def back(loss_db: float, delay_ms: int, room_ms: int = 0) -> Sound:
    """What comes back of PLAYED, of a trunk or a room, and a quiet line's noise."""
    chance = np.random.default_rng(3)
    way = np.zeros(1 + room_ms * 8)
    way[0] = 1
    way[1:] = 0.3 * chance.normal(size=room_ms * 8) * np.exp(-5 * np.linspace(0, 1, room_ms * 8))
    came = np.convolve(coded(PLAYED) / 32768, way)[: len(PLAYED)]
    came *= 10 ** (-loss_db / 20) * np.sqrt(np.mean(PLAYED**2) / np.mean(came**2))
    late = np.concatenate([np.zeros(delay_ms * 8), came])[: len(PLAYED)]
    return np.asarray(late + chance.normal(size=len(late)) * 10 ** (-66 / 20))


def level(sound: Samples) -> float:
    return float(10 * np.log10(np.mean(sound.astype(np.float64) ** 2) + 1e-9))


def through(echo: Echo, sound: Samples, size: int = FRAME_SAMPLES) -> Samples:
    return np.concatenate([echo.cleaned(sound[at : at + size]) for at in range(0, len(sound), size)])


def playing(sound: Sound = PLAYED) -> Echo:
    echo = Echo()
    echo.plays(int16(sound))
    return echo


@pytest.mark.parametrize("loss_db", [6, 12, 20])
@pytest.mark.parametrize(
    ("delay_ms", "room_ms", "size"), [(20, 0, 800), (250, 40, 777), (600, 0, 160), (100, 0, 100_000)]
)
def test_what_comes_back_is_taken_off_whatever_the_length_of_frames(
    loss_db: float, delay_ms: int, room_ms: int, size: int
) -> None:
    heard = coded(back(loss_db, delay_ms, room_ms))
    left = through(playing(), heard, size)
    assert len(left) == len(heard)
    part = slice(2 * SAMPLE_RATE if size < 100_000 else -SAMPLE_RATE, None)
    assert level(heard[part]) - level(left[part]) > 12


def test_on_a_silent_line_nothing_is_searched_until_something_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[int] = []

    def counted(played: Sound, heard: Sound) -> Way | None:
        searched.append(len(heard))
        return way_back(played, heard)

    monkeypatch.setattr(echo_module, "way_back", counted)
    silent_s, came = 2.0, coded(back(12, 20))
    came[: round(silent_s * SAMPLE_RATE)] = 8  # the softest that A-law knows
    echo = playing()
    split = round(silent_s * SAMPLE_RATE)
    assert np.array_equal(through(echo, came[:split]), came[:split]) and searched == []
    left = through(echo, came[split:])
    late = slice(round(3.5 * SAMPLE_RATE), None)
    assert searched and level(came[split:][late]) - level(left[late]) > 12


def test_whoever_speaks_meanwhile_stays() -> None:
    said = np.zeros(len(PLAYED))
    said[3 * SAMPLE_RATE : 3 * SAMPLE_RATE + len(CALLER)] = 0.7 * CALLER
    left = through(playing(), coded(back(6, 180, 30) + said))
    part = slice(3 * SAMPLE_RATE, 3 * SAMPLE_RATE + len(CALLER))
    apart = left[part] - int16(said)[part]
    assert level(int16(said)[part]) - level(apart) > 10


def test_without_an_echo_nothing_changes() -> None:
    said = int16(np.concatenate([CALLER, CALLER, CALLER]))
    assert np.array_equal(through(playing(), said), said)
    assert np.array_equal(through(Echo(), said), said)
    silent = np.zeros(len(PLAYED))  # and speech alone has no way back
    assert way_back(PLAYED, np.pad(CALLER, (0, SAMPLE_RATE))) is None
    assert way_back(silent, PLAYED) is None and way_back(PLAYED, silent) is None


def test_after_an_echo_others_are_heard_as_they_are_and_it_begins_again() -> None:
    echo = playing()
    through(echo, coded(back(12, 100)))
    through(echo, np.zeros((LAG_MS + 300) * 8, dtype=np.int16))
    said = int16(CALLER)
    assert np.array_equal(through(echo, said), said)
    echo.plays(int16(PLAYED))  # and again from the beginning
    heard = coded(back(12, 100))
    assert level(through(echo, heard)[-SAMPLE_RATE:]) < level(heard[-SAMPLE_RATE:]) - 12


def test_a_sound_that_is_stopped_is_no_longer_taken_off() -> None:
    echo = playing()
    heard = coded(back(12, 100))
    through(echo, heard[: 3 * SAMPLE_RATE])
    echo.plays(SILENCE)
    quiet = np.zeros(SAMPLE_RATE, dtype=np.int16)
    assert level(through(echo, quiet)[-2 * FRAME_SAMPLES :]) < 0  # but for what may still come back
    said = int16(CALLER)
    assert np.array_equal(through(echo, said), said)


class Asked:
    """A detector that gives one verdict, and keeps what it was asked about."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.about: list[Samples] = []

    def __call__(self, samples: Samples) -> Verdict:
        self.about.append(samples)
        return self.verdict


def weighed(
    heard: Samples, verdict: Verdict, again: Asked, *, behind: int = 0, known: bool = True
) -> Verdict:
    """The verdict on the last 2.5 s but `behind` of what was heard while PLAYED was played."""
    echo = playing() if known else Echo()
    cleaned = through(echo, heard)
    end = len(cleaned) - behind
    return echo.weighed(verdict, cleaned[end - 20_000 : end], behind, again)


@pytest.mark.parametrize("loss_db", [6, 12, 20, 30])
@pytest.mark.parametrize("behind", [0, 640])
def test_a_verdict_on_what_we_play_is_none(loss_db: float, behind: int) -> None:
    again = Asked(REFUSE)
    assert weighed(coded(back(loss_db, 300, 30)), REFUSE, again, behind=behind) == OTHER
    assert not again.about


@pytest.mark.parametrize("verdict", [REFUSE, Verdict(Meaning.UNCLEAR, "je refuse", 0.5)])
def test_of_a_caller_who_speaks_over_it_the_detector_is_asked_again(verdict: Verdict) -> None:
    said = np.zeros(len(PLAYED))
    said[-len(CALLER) - 2000 : -2000] = 0.7 * CALLER
    heard = coded(back(6, 180, 30) + said)
    for again in (REFUSE, OTHER):
        asked = Asked(again)
        assert weighed(heard, verdict, asked) == again
        (about,) = asked.about
        wanted = int16(said)[-20_000:]
        assert level(wanted) - level(np.asarray(about - wanted)) > 6


def test_where_nothing_is_played_or_comes_back_a_verdict_stays() -> None:
    again = Asked(OTHER)
    assert weighed(int16(np.concatenate([CALLER] * 3)), REFUSE, again) == REFUSE
    assert weighed(coded(back(12, 100)), REFUSE, again, known=False) == REFUSE
    assert weighed(coded(back(12, 100)), OTHER, again) == OTHER
    assert not again.about
