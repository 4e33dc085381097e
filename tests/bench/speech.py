"""Sound that no one pressed a key in: hours of speech from espeak-ng, and music, to see what talks off."""

import pydoc_data.topics
import re
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from media.frame import SAMPLE_RATE
from tests.bench.line import Wave

_ESPEAK_RATE = 22050
_TEXT = re.sub(r"[^A-Za-z0-9,.;:?!' ]+", " ", " ".join(pydoc_data.topics.topics.values()))
_TEXT_CHARACTERS = 1500
_HALF = ("fr", "fr-be", "fr-ch", "en-gb", "en-us", "de", "es", "it", "pt", "nl")
"""Every other voice speaks one of these; the others any language there is."""


class NoSpeech(Exception):
    """espeak-ng is not there or says nothing."""


def spoken(rng: np.random.Generator) -> Iterator[tuple[str, Wave]]:
    """Without end: which voice, and about a minute and a half of it, at 8 kHz."""
    if shutil.which("espeak-ng") is None:
        raise NoSpeech("espeak-ng is not installed")
    languages, variants = _voices(), _voices("variant")
    while True:
        language = str(rng.choice(_HALF if rng.random() < 0.5 else languages))
        voice = f"{language}+{rng.choice(variants)}"
        at = int(rng.integers(len(_TEXT) - _TEXT_CHARACTERS))
        speed, pitch = rng.integers(90, 320), rng.integers(100)
        command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", "--stdin"]
        text = _TEXT[at : at + _TEXT_CHARACTERS]
        run = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
        if run.returncode == 0 and len(run.stdout) > _ESPEAK_RATE:  # some voices listed are not installed
            yield f"{voice} {speed} wpm, pitch {pitch}", _to_8_khz(run.stdout)


def _voices(kind: str = "") -> list[str]:
    """Names to be used with -v: column 2 of the list for languages, the file of column 5 for variants."""
    command = ["espeak-ng", f"--voices={kind}" if kind else "--voices"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    if not lines:
        raise NoSpeech("espeak-ng lists no voices")
    return [line.split()[4].split("/")[-1] if kind else line.split()[1] for line in lines]


def _to_8_khz(wav: bytes) -> Wave:
    sound, rate = soundfile.read(BytesIO(wav), dtype="float64")
    if rate != _ESPEAK_RATE:
        raise NoSpeech(f"espeak-ng speaks at {rate} Hz, not {_ESPEAK_RATE}")
    return resample(sound * 32768, _ESPEAK_RATE)


def resample(wave: Wave, rate: int) -> Wave:
    """`wave` at 8 kHz, by its spectrum; up to 100 ms at its end are lost."""
    if rate == SAMPLE_RATE:
        return wave
    tenths = len(wave) * 10 // rate
    spectrum = np.fft.rfft(wave[: tenths * rate // 10])
    count = tenths * SAMPLE_RATE // 10
    kept = np.zeros(count // 2 + 1, dtype=np.complex128)
    kept[: len(spectrum)] = spectrum[: len(kept)]
    return np.asarray(np.fft.irfft(kept, count) * (SAMPLE_RATE * 1.0 / rate), dtype=np.float64)


def recorded(directory: Path) -> Iterator[tuple[str, Wave]]:
    """Every sound file that libsndfile reads below `directory`, once, at 8 kHz, its first channel."""
    for path in sorted(directory.rglob("*")):
        if path.suffix.lower() in (".wav", ".flac", ".ogg"):
            sound, rate = soundfile.read(path, dtype="float64", always_2d=True)
            if len(sound) >= rate // 2:
                yield path.name, resample(sound[:, 0] * 32768, rate)


def music(rng: np.random.Generator) -> Iterator[tuple[str, Wave]]:
    """Without end: twelve seconds of two or three voices, plucked or blown, in the range of DTMF or below.

    Harder than real music, whose notes have more harmonics and seldom come in twos.
    """
    while True:
        voices, root = int(rng.integers(2, 4)), float(rng.uniform(40, 76))
        brightness, decay = float(rng.uniform(0.25, 0.8)), float(rng.uniform(0.5, 8))
        parts = [_melody(rng, root + 7 * voice, brightness, decay) for voice in range(voices)]
        yield f"{voices} voices from MIDI {root:.0f}", np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def _melody(rng: np.random.Generator, root: float, brightness: float, decay: float) -> Wave:
    notes = [
        _note(440 * 2 ** ((root + pitch - 69) / 12), seconds, brightness, decay)
        for pitch, seconds in zip(
            rng.choice([0, 2, 4, 5, 7, 9, 11, 12], 64), rng.choice([0.2, 0.4, 0.8], 64), strict=True
        )
    ]
    return np.concatenate(notes)[: 12 * SAMPLE_RATE]


def _note(frequency: float, seconds: float, brightness: float, decay: float) -> Wave:
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = range(1, max(2, int(SAMPLE_RATE / 2 / frequency)))
    tone = sum(brightness ** (n - 1) * np.sin(2 * np.pi * n * frequency * time) for n in harmonics)
    return np.asarray(3000 * tone * np.exp(-decay * time), dtype=np.float64)
