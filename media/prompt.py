"""Prompts: what a sound file must be before a caller may hear it, and how it sounds.

The engine plays a truncated or silent file without an error, and a notice that was never heard makes
every recording after it unlawful. So a prompt is read completely once, at start, and its hash is in the
receipt.

`loudness` measures a prompt: its level where it is audible, whether it is clipped, how long its speech
takes.
"""

import hashlib
import re
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from media import MediaError

ACCEPTED_RATES = (8000, 16000)
ACCEPTED_MAX_S = 60
ACCEPTED = MediaError(
    "a mono 16-bit PCM WAV file of 8000 or 16000 Hz, not silent, at most {0} s long", ACCEPTED_MAX_S
)


class PromptError(MediaError):
    """A prompt that can't be played as it stands; str() is one line: file, problem, what is accepted."""

    def __init__(self, path: Path, problem: str, *values: Any, accepted: MediaError = ACCEPTED) -> None:
        self.path, self.problem, self.accepted = path, MediaError(problem, *values), accepted
        super().__init__("{0}: {1}; accepted: {2}", path, self.problem, accepted)


@dataclass(frozen=True, slots=True)
class PromptFile:
    """A sound file that has passed inspection.

    `rate` in Hz; `sha256` of the whole file, hex; `words` are the words spoken (the .txt of the same name),
    or None without that file. `mark`: where its essential part ends; None: with the prompt.
    `state`: what the file system said about it; None: not asked.
    """

    path: Path
    rate: int
    duration_ms: int
    sha256: str
    words: str | None
    state: "State | None" = field(default=None, compare=False)
    mark: "EssentialPart | None" = None

    @property
    def essential_ms(self) -> int:
        """How much of it has to be heard for its essential part."""
        return self.mark.ms if self.mark else self.duration_ms

    @property
    def essential(self) -> str | None:
        """The words of its essential part."""
        return self.mark.words if self.mark else self.words

    def is_unchanged(self) -> bool:
        """Whether the file is still the one that was inspected; read only if it seems changed."""
        if self.state is None:
            return True
        try:
            return _state(self.path) == self.state or _sha256(self.path) == self.sha256
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class EssentialPart:
    """The line `[essential 8.4 s]` in the words of a prompt: that much of the sound; the words before it."""

    ms: int
    words: str


State = tuple[int, ...]


def _state(path: Path) -> State:
    """Device, inode, size, and when content and inode were last written, in ns."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inspect_prompt(path: Path) -> PromptFile:
    """Read `path` and its words (`x.16k.wav` shares those of `x.wav`); PromptError if it isn't ACCEPTED."""
    rate = _check_format(path)
    state = _state(path)  # before it is read: a write meanwhile makes another state
    sample_count = _check_sound(path)
    if sample_count > ACCEPTED_MAX_S * rate:
        raise PromptError(path, "is {0:.2f} s long", sample_count / rate)
    duration_ms = sample_count * 1000 // rate
    words, mark = _read_words(path.with_name(f"{path.stem.removesuffix('.16k')}.txt"), duration_ms)
    return PromptFile(path, rate, duration_ms, _sha256(path), words, state, mark)


def _check_format(path: Path) -> int:
    """The sample rate, if everything in the header is accepted."""
    if not path.exists():
        raise PromptError(path, "does not exist")
    if not path.is_file():
        raise PromptError(path, "is not a file")
    if path.stat().st_size == 0:
        raise PromptError(path, "is empty")
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        raise PromptError(
            path, "is not a readable sound file ({0})", error.error_string.rstrip(".")
        ) from error
    if info.format != "WAV":  # WAVEX too: the engine's player refuses WAVE_FORMAT_EXTENSIBLE
        raise PromptError(path, "is a file of another kind, {0}", info.format_info)
    if info.subtype != "PCM_16":
        raise PromptError(path, "holds {0}", info.subtype_info)
    if info.channels != 1:
        raise PromptError(path, "has {0} channels", info.channels)
    if info.samplerate not in ACCEPTED_RATES:
        raise PromptError(path, "has {0} Hz", info.samplerate)
    return int(info.samplerate)


def _check_sound(path: Path) -> int:
    """The number of samples, if all that the header promises are there and not silent."""
    try:
        with wave.open(str(path), "rb") as file:
            promised = file.getnframes()
            limit = ACCEPTED_MAX_S * file.getframerate()
            pcm = file.readframes(min(promised, limit + 1))
    except (wave.Error, EOFError) as error:
        raise PromptError(path, "is not a readable WAV file ({0})", error) from error
    held = len(pcm) // 2
    if promised == 0:
        raise PromptError(path, "holds no sound")
    if held < min(promised, limit + 1):
        raise PromptError(path, "is cut short: its header promises {0} samples, it holds {1}", promised, held)
    if not np.frombuffer(pcm, dtype="<i2").any():
        raise PromptError(path, "holds nothing but silence")
    return promised


_MARK = re.compile(r"^\s*\[\s*essential\b(.*)$", re.MULTILINE | re.IGNORECASE)
_MARKED_S = re.compile(r"\s+(\d+(?:\.\d+)?)\s*s\s*\]\s*")


def _read_words(path: Path, duration_ms: int) -> tuple[str | None, EssentialPart | None]:
    """The words spoken in the prompt and their mark; None where the file or the line is missing, or empty."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None, None
    except UnicodeDecodeError as error:
        raise PromptError(
            path, "is not UTF-8 text", accepted=MediaError("the words of the prompt, in UTF-8")
        ) from error
    before, *marked = _MARK.split(text)
    if not marked:
        return text or None, None
    read = _MARKED_S.fullmatch(marked[0])
    ms = round(float(read[1]) * 1000) if read else 0
    if len(marked) > 2 or not 0 < ms <= duration_ms:
        accepted = MediaError(
            "one line such as [essential 8.4 s], above 0 and at most the length of the sound, {0:.1f} s",
            duration_ms // 100 / 10,
        )
        wrong = "[essential" + (marked[2] if len(marked) > 2 else marked[0]).rstrip()
        raise PromptError(path, "has a line {0}", wrong, accepted=accepted)
    parts = before.strip(), marked[1].strip()
    return "\n".join(filter(None, parts)) or None, EssentialPart(ms, parts[0])


FRAME_MS = 30
AUDIBLE_DBFS = -45.0  # a frame below it is a pause
FULL = 32767 / 32768  # the value of a sample that is cut off
FLAT = 3  # samples in a row at full scale; one alone may be a peak that just fits


@dataclass(frozen=True, slots=True)
class Loudness:
    """`level_dbfs` is the mean power of audible frames, 0 being a full square wave; None without any.

    `clipped` is the share of samples cut off at full scale, 0 to 1. `span_s` reaches from the first audible
    frame to the end of the last, in seconds.
    """

    level_dbfs: float | None
    clipped: float
    span_s: float


def loudness(path: Path) -> Loudness:
    """Measure a file that `inspect_prompt` has accepted. Raises soundfile.LibsndfileError, OSError."""
    samples, rate = soundfile.read(str(path), dtype="float64")
    size = rate * FRAME_MS // 1000
    whole = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)
    power = np.mean(whole**2, axis=1)
    audible = np.flatnonzero(power > 10 ** (AUDIBLE_DBFS / 10))
    if not audible.size:
        return Loudness(None, clipped(samples), 0.0)
    span_s = float(audible[-1] + 1 - audible[0]) * FRAME_MS / 1000
    return Loudness(float(10 * np.log10(np.mean(power[audible]))), clipped(samples), span_s)


def clipped(samples: NDArray[Any], full: float = FULL) -> float:
    """The share of samples that stand at `full` scale with at least FLAT - 1 neighbours in a row."""
    flat = np.concatenate(([0], (np.abs(samples) >= full).astype(np.int8), [0]))
    turns = np.flatnonzero(np.diff(flat))
    lengths = turns[1::2] - turns[::2]
    return float(lengths[lengths >= FLAT].sum() / max(len(samples), 1))
