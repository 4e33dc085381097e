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


def test_what_is_cut_off_is_counted_and_silence_has_no_level(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    assert measured(path, (1, 0.99)).clipped == 0
    assert 0.2 < measured(path, (1, 2), (1, 0.5)).clipped < 0.5
    assert measured(path, (1, 0.001)) == Loudness(None, 0.0, 0.0)
    pcm = np.zeros(RATE, np.int16)
    for samples, clipped in ((2, 0), (3, 3 / RATE)):  # a single peak that just fits is no clipping
        pcm[100 : 100 + samples] = 32767
        soundfile.write(path, pcm, RATE, subtype="PCM_16")
        assert loudness(path).clipped == pytest.approx(clipped)
