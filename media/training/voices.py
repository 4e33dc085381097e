"""The synthesizers: words in, (n,) int16 at RATE out. `--help` tells what each needs installed.

- Kokoro-82M (Apache-2.0): 54 speakers, and blends of two. It was trained on British and American English,
  three speakers of Spanish and one of French, `ff_siwis`; it speaks no German.
- espeak-ng (GPL-3.0): each accent of a language by some hundred variants, formants and Klatt's synthesis.
- MBROLA's voices, each the diphones of a recorded speaker, by espeak-ng: Debian's `mbrola-*` in contrib and
  non-free, whose terms are in deploy/licences.md.
- festival's voices of other languages, each by its own recorded speaker: `media.training.festival`.
- SVOX Pico (Apache-2.0): one voice a language, of statistical models. Only for measuring: no head was trained
  on it.
"""

import io
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.signal import resample_poly

from media.frame import Samples
from prompts.kokoro import STYLE_WIDTH, Voice
from prompts.phonemes import phonemes

RATE = 16_000
MBROLA = Path("/usr/share/mbrola")
SPANISH = {"e/": "e", "o/": "o"}
RENAMED = {f"mb-{name}": SPANISH for name in ("es1", "es2", "mx1", "mx2", "vz1")}
"""By voice, phones of espeak-ng's for which the database has other names: it would be silent there."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a sentence is said: `speed` and `pitch` are factors of the voice's own."""

    voice: str
    speed: float
    pitch: float


class Kokoro:
    """`voices`: the folder of styles; a voice is a speaker's name, or `a+b:0.4` for 40 % of a."""

    def __init__(self, voices: Path, scratch: Path, language: str) -> None:
        self._language = language
        self._voices = voices
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._model = Voice(None, scratch)
        self._symbols = frozenset(self._model.symbols)

    def say(self, text: str, manner: Manner) -> Samples:
        """Speak the words. VoiceError or PhonemeError if the model cannot."""
        name = self._style(manner.voice)
        sound = self._model.say(_phonemes(text, self._language, self._symbols), name, manner.speed)
        return at_rate(sound, 24_000, manner.pitch)

    def _style(self, voice: str) -> str:
        name = voice.replace(":", "@")
        path = self._scratch / f"{name}.bin"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")  # several processes may speak
            _blend(self._voices, voice).astype("<f4").tofile(partial)
            partial.replace(path)
        return name


def _blend(folder: Path, voice: str) -> Any:
    mix, _, share = voice.partition(":")
    styles = [
        np.fromfile(folder / f"{name}.bin", dtype="<f4").reshape(-1, STYLE_WIDTH) for name in mix.split("+")
    ]
    if len(styles) == 1:
        return styles[0]
    return float(share) * styles[0] + (1 - float(share)) * styles[1]


@cache
def _phonemes(text: str, language: str, symbols: frozenset[str]) -> str:
    return phonemes(text, language, {}, symbols)


class Espeak:
    """A voice is an accent and a variant, as in `fr-be+klatt3`, or one of MBROLA's, as in `mb-fr4`."""

    def say(self, text: str, manner: Manner) -> Samples:
        """Speak the words, the same each time. subprocess.CalledProcessError if the program fails."""
        command = ["espeak-ng", "-D", "--stdout", "-v", manner.voice, "-s", str(round(165 * manner.speed))]
        command += ["-p", str(int(np.clip(50 + 100 * (manner.pitch - 1), 0, 99))), "--", text]
        if manner.voice in RENAMED:
            return _by_phones(command, manner.voice)
        wav = subprocess.run(command, capture_output=True, check=True).stdout
        sound, rate = soundfile.read(io.BytesIO(wav), dtype="float64")
        return at_rate(sound, rate, 1.0)


def _by_phones(command: list[str], voice: str) -> Samples:
    """What espeak-ng would have MBROLA say, by phones that the database has."""
    command = [command[0], "-q", "--pho", *(word for word in command[1:] if word != "--stdout")]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    lines = [line.partition("\t") for line in told.splitlines()]
    phones = "".join(f"{RENAMED[voice].get(phone, phone)}{tab}{rest}\n" for phone, tab, rest in lines)
    database = MBROLA / voice.removeprefix("mb-") / voice.removeprefix("mb-")
    with tempfile.TemporaryDirectory(prefix="mbrola") as folder:
        path = Path(folder, "said.wav")
        speaking = ["mbrola", "-e", str(database), "-", str(path)]
        subprocess.run(speaking, input=phones, capture_output=True, check=True, text=True)
        sound, rate = soundfile.read(path, dtype="float64")
    return at_rate(sound, rate, 1.0)


class Pico:
    """A voice is a language, as in `fr-FR`."""

    def __init__(self) -> None:
        from py_nanotts import NanoTTS  # in the extra [train]

        self._engine: Any = NanoTTS()

    def say(self, text: str, manner: Manner) -> Samples:
        pcm = self._engine.speak(text, voice=manner.voice, speed=manner.speed, pitch=manner.pitch)
        return np.frombuffer(pcm, dtype=np.int16)


def at_rate(sound: Any, rate: int, pitch: float) -> Samples:
    """At RATE, with pitch and formants moved together by the factor `pitch`: a smaller or a larger head."""
    steps = round(100 * pitch)
    common = np.gcd(RATE * 100, rate * steps)
    heard = resample_poly(sound, RATE * 100 // common, rate * steps // common)
    peak = np.abs(heard).max() if heard.size else 0.0
    return np.asarray(heard * (20_000 / max(peak, 1e-9)), dtype=np.int16)
