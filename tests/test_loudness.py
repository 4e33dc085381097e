from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.prompt import Loudness, loudness

RATE = 8000


def measured(path: Path, *parts: tuple[float, float]) -> Loudness:
    """Of a file of 500 Hz in parts: seconds, amplitude (above 1 it is cut off)."""
    sound = [
        np.sin(2 * np.pi * 500 * np.arange(int(seconds * RATE)) / RATE + 0.1) * amplitude
        for seconds, amplitude in parts
    ]
    pcm = np.clip(np.concatenate(sound) * 32767, -32768, 32767).astype(np.int16)
    soundfile.write(path, pcm, RATE, subtype="PCM_16")
    return loudness(path)


def test_pauses_do_not_count(tmp_path: Path) -> None:
    found = measured(tmp_path / "x.wav", (0.5, 0), (1, 0.1), (1, 0), (0.5, 0.1), (0.7, 0))
    assert found.level_dbfs == pytest.approx(-23, abs=0.3)
    assert found.span_s == pytest.approx(2.5, abs=0.07)
    assert found.clipped == 0


def test_what_is_cut_off_is_counted(tmp_path: Path) -> None:
    assert measured(tmp_path / "x.wav", (1, 0.99)).clipped == 0
    clipped = measured(tmp_path / "x.wav", (1, 2), (1, 0.5)).clipped
    assert 0.2 < clipped < 0.5


def test_silence_has_no_level(tmp_path: Path) -> None:
    assert measured(tmp_path / "x.wav", (1, 0.001)) == Loudness(None, 0.0, 0.0)


def test_a_single_peak_that_just_fits_is_no_clipping(tmp_path: Path) -> None:
    pcm = np.zeros(RATE, np.int16)
    pcm[100:102] = 32767
    soundfile.write(tmp_path / "x.wav", pcm, RATE, subtype="PCM_16")
    assert loudness(tmp_path / "x.wav").clipped == 0
    pcm[102] = 32767
    soundfile.write(tmp_path / "x.wav", pcm, RATE, subtype="PCM_16")
    assert loudness(tmp_path / "x.wav").clipped == pytest.approx(3 / RATE)
