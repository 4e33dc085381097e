"""Lines as bad as they say: coders in time with what goes in, changed by it, hiding losses; rooms, noises."""

import builtins
import ctypes
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from media.frame import SAMPLE_RATE, Samples
from media.training import lines
from media.training.features import read
from media.training.lines import (
    PACKET,
    Codec,
    Kind,
    MissingCoder,
    PhoneLine,
    active_rms,
    carry,
    lost_packets,
    newer_line,
    television,
    through,
)
from sipagent.agent.admission import SHIPPED

EVERY: tuple[Codec, ...] = get_args(Codec)
VOICE = read(SHIPPED / "fr/refused.wav")[: 2 * SAMPLE_RATE + 77]  # not in whole packets
SPOKEN: Samples = np.asarray(VOICE * (3000 / active_rms(VOICE)), dtype=np.int16)
AT = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
SPEECH = np.sin(2 * np.pi * 700 * AT) * (np.sin(2 * np.pi * 2 * AT) > 0)
NONE_LOST = np.zeros(len(SPOKEN) // PACKET, dtype=np.bool_)


def coded(codec: Codec, lost: NDArray[np.bool_] = NONE_LOST, kbits: float | None = None) -> Samples:
    try:
        return through(SPOKEN, codec, lost, kbits)
    except MissingCoder as wrong:
        pytest.skip(str(wrong))


def late(heard: Samples) -> int:
    """By how many samples."""
    spectra = np.fft.rfft(heard, 2 * len(heard)) * np.conj(np.fft.rfft(SPOKEN, 2 * len(heard)))
    found = int(np.fft.irfft(spectra).argmax())
    return found if found < len(heard) else found - 2 * len(heard)


def carried(line: PhoneLine) -> Samples:
    return carry(SPEECH, line, {}, np.random.default_rng(1))


@pytest.mark.parametrize("noise", ["white", "pink", "hum", "street"])
def test_noise_is_so_loud_as_it_says(noise: Any) -> None:
    silent = carried(PhoneLine(band=None, noise=noise, snr_db=10.0))[SPEECH == 0] / 32768.0
    assert 20 * np.log10(np.sqrt(np.mean(silent**2))) == pytest.approx(-30, abs=2.5)


def test_lost_packets_are_the_last_one_again_but_softer() -> None:
    whole, holed = (carried(PhoneLine(codec="linear", loss=loss)).reshape(-1, 160) for loss in (0, 0.3))
    lost = [n for n in range(1, len(whole)) if not np.array_equal(whole[n], holed[n])]
    assert 0.1 < len(lost) / len(whole) < 0.5
    for number in lost:
        assert np.array_equal(holed[number], (holed[number - 1] * 0.6).astype(np.int16))


@pytest.mark.parametrize("codec", EVERY)
def test_a_coder_keeps_length_time_and_voice_but_not_each_sample(codec: Codec) -> None:
    heard = coded(codec)
    assert heard.dtype == np.int16 and len(heard) == len(SPOKEN)
    at = 11 if codec == "g722" else 0  # its filters take 22 samples of 16 kHz
    assert abs(late(heard) - at) <= 1
    assert 0.7 < np.corrcoef(heard[at:], SPOKEN[: len(SPOKEN) - at])[0, 1] <= 1.0001
    assert np.array_equal(heard, SPOKEN) is (codec == "linear")


@pytest.mark.parametrize("codec", ["amrnb", "amrwb", "opus"])
def test_a_decoder_hides_what_is_lost_by_itself(codec: Codec) -> None:
    lost = NONE_LOST.copy()
    lost[40:43] = True
    whole, holed = coded(codec), coded(codec, lost)
    assert len(holed) == len(whole)
    assert np.array_equal(whole[: 38 * PACKET], holed[: 38 * PACKET])
    assert not np.array_equal(holed, lines.faded(whole, lost))
    hidden = holed[40 * PACKET : 43 * PACKET]
    assert np.abs(hidden).max() > 0.05 * np.abs(whole[40 * PACKET : 43 * PACKET]).max()
    assert not np.array_equal(hidden, whole[40 * PACKET : 43 * PACKET])


def test_packets_are_lost_in_bursts_and_as_many_as_said() -> None:
    def bursts(burst: float) -> tuple[float, float]:
        lost = lost_packets(40_000, 0.05, burst, np.random.default_rng(4))
        starts = np.count_nonzero(lost[1:] & ~lost[:-1])
        return lost.mean(), lost.sum() / starts

    assert bursts(0.5) == pytest.approx((0.05, 2), rel=0.2)
    assert bursts(0.75) == pytest.approx((0.05, 4), rel=0.2)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_kind_of_newer_line_carries_a_voice(kind: Kind) -> None:
    random = np.random.default_rng(5)
    line = replace(newer_line(PhoneLine(), random, kind), snr_db=None if kind != "television" else 20.0)
    backgrounds: Any = {"television": television(np.tile(VOICE, 3), VOICE, random)}
    try:
        heard = carry(VOICE, line, backgrounds, random)
    except MissingCoder as wrong:
        pytest.skip(str(wrong))
    assert len(heard) == len(VOICE)
    assert active_rms(heard / 32768) > 0.02


@pytest.mark.parametrize("codec", ["amrnb", "amrwb", "opus", "g726", "g722"])
def test_a_coder_that_is_missing_says_what_to_install(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name in ("av", "G722"):
            raise ImportError(name)
        return found(name, *more)

    def no_library(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(ctypes, "CDLL", no_library)
    lines._amrwb_library.cache_clear()
    with pytest.raises(MissingCoder, match=r"^[^\n]*(pip install 'sipagent\[train\]'|apt install \S+)$"):
        through(SPOKEN, codec, NONE_LOST)
    lines._amrwb_library.cache_clear()
