"""Bytes of the bridge become samples that nobody can change behind another's back."""

import numpy as np
import pytest

from media.frame import FRAME_SAMPLES, milliseconds, samples_of


def test_the_samples_outlive_and_ignore_the_engines_buffer() -> None:
    buffer = bytearray(np.array([1, -2, 32767, -32768], dtype=np.int16).tobytes())
    samples = samples_of(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert samples.tolist() == [1, -2, 32767, -32768]
    assert samples.dtype == np.int16
    with pytest.raises(ValueError, match="read-only"):
        samples[0] = 0


def test_half_a_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="multiple"):
        samples_of(b"abc")


def test_a_frame_is_a_tenth_of_a_second() -> None:
    assert milliseconds(FRAME_SAMPLES) == 100
