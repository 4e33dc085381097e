"""What heads are trained on: each sound over several bad lines, through the gate, to the embedding's steps.

A row is one question as the detector is asked it on a call: an utterance, a pause, or a sliding window of
speech that goes on. Of a phrase only the questions asked once it has been said are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator, default_rng
from scipy.signal import resample_poly

from media.embedding import Embedding, Floats
from media.frame import SAMPLE_RATE, Samples
from media.head import OTHER, steps_of
from media.keyword import every_ms
from media.training.channel import Backgrounds, Sound, any_line, carry
from media.vad import SpeechStarted, VoiceGate

MAX_STEPS = 64
THINNED = 0.5
"""The share of questions about other speech that is kept: windows of it overlap by nine tenths."""


@dataclass(frozen=True, slots=True)
class Row:
    """`steps` (n, 96); `sound` tells the rows of one utterance from another's."""

    label: str
    steps: Floats
    sound: str


def labelled(folder: Path) -> list[tuple[str, Path]]:
    """All sounds below SPLIT/SYNTHESIZER with their labels, shuffled the same way each time."""
    found = [(path.parent.name, path) for path in sorted(folder.glob("*/*.wav"))]
    order = default_rng(len(found)).permutation(len(found))
    return [found[n] for n in order]


def read(path: Path) -> Sound:
    """At 8 kHz, full scale 1.0, its own silence cut off but for 30 ms."""
    sound, rate = soundfile.read(path, dtype="float64")
    sound = np.asarray(sound if rate == SAMPLE_RATE else resample_poly(sound, SAMPLE_RATE, rate))
    loud = np.flatnonzero(np.abs(sound) > 0.01 * max(np.abs(sound).max(), 1e-9))
    if not len(loud):
        return sound
    return sound[max(0, loud[0] - 240) : loud[-1] + 240]


def stretch(sounds: list[Path], seconds: int, voices: int, random: Generator) -> Sound:
    """Many people at once, who say these."""
    total = np.zeros(seconds * SAMPLE_RATE)
    for _ in range(voices):
        position = 0
        while position < len(total):
            sound = read(sounds[random.integers(len(sounds))])
            sound = sound[: len(total) - position] / (np.sqrt(np.mean(sound**2)) or 1.0)
            total[position : position + len(sound)] += sound
            position += len(sound) + int(random.integers(SAMPLE_RATE // 2))
    return total


def backgrounds(others: list[Path], prompts: Path, random: Generator) -> Backgrounds:
    """Four people at once, the hold music, and the notice that comes back."""
    return {
        "babble": stretch(others, 120, 4, random),
        "music": read(prompts / "hold.wav"),
        "echo": np.concatenate(
            [read(prompts / "fr" / f"{name}.wav") for name in ("notice", "notice_opt_in")]
        ),
    }


class Stage:
    """Puts sounds on lines; `others` is speech that refuses nothing, for what else a caller says."""

    def __init__(self, others: list[Path], prompts: Path, random: Generator) -> None:
        self._others = others
        self._random = random
        self._backgrounds = backgrounds(others, prompts, random)
        self._embedding = Embedding()

    def rows(self, label: str, path: Path) -> Iterator[Row]:
        """One call's questions about one sound."""
        sound, since = self._placed(label, self._warped(read(path)))
        heard = carry(sound, any_line(self._random), self._backgrounds, self._random)
        for asked_at, samples in questions(heard):
            if self._random.random() < THINNED if label == OTHER else since < asked_at < since + 0.8:
                yield Row(label, steps_of(self._embedding, samples), str(path))

    def _warped(self, sound: Sound) -> Sound:
        """Another speaker of the same words, half of the time: a larger or a smaller head."""
        factor = round(100 * self._random.uniform(0.88, 1.14))
        return sound if self._random.random() < 0.5 else np.asarray(resample_poly(sound, 100, factor))

    def _placed(self, label: str, sound: Sound) -> tuple[Sound, float]:
        """With quiet around it, now and then with more speech; and when it has been said, in s."""
        random = self._random
        before = np.zeros(int(random.uniform(0.3, 0.8) * SAMPLE_RATE))
        after = np.zeros(int(0.8 * SAMPLE_RATE))
        kind = random.random()
        if kind < 0.12:
            pause = np.zeros(int(random.uniform(0.05, 0.3) * SAMPLE_RATE))
            before = np.concatenate([before, self._other(sound), pause])
        elif kind < 0.2:
            pause = np.zeros(int(random.uniform(0.05, 0.3) * SAMPLE_RATE))
            after = np.concatenate([pause, self._other(sound), after])
        placed = np.concatenate([before, sound, after])
        return placed, (len(before) + len(sound)) / SAMPLE_RATE - 0.06

    def _other(self, sound: Sound) -> Sound:
        other = read(self._others[self._random.integers(len(self._others))])
        level = np.sqrt(np.mean(sound**2)) / (np.sqrt(np.mean(other**2)) or 1.0)
        return np.asarray(other * level)


def questions(heard: Samples) -> Iterator[tuple[float, Samples]]:
    """When (s) and what the detector is asked on a call that sends `heard`."""
    gate = VoiceGate(every_ms("embedding", in_call=False))
    frame = SAMPLE_RATE // 50
    for start in range(0, len(heard) - frame + 1, frame):
        for fact in gate.feed(heard[start : start + frame]):
            if not isinstance(fact, SpeechStarted):
                yield (start + frame) / SAMPLE_RATE, fact.samples


def make(folder: Path, split: str, source: str, times: int, prompts: Path) -> int:
    """Write features/SPLIT.SOURCE.npz from the sounds there are now; how many rows."""
    sounds = labelled(folder / "sounds" / split / source)
    random = default_rng(sum(map(ord, split + source)))
    others = [path for label, path in sounds if label == OTHER]
    stage = Stage(others, prompts, random)
    rows: list[Row] = []
    for _ in range(times):
        for label, path in sounds:
            rows += stage.rows(label, path)
    steps = np.zeros((len(rows), MAX_STEPS, 96), dtype=np.float16)
    for row, kept in zip(rows, steps, strict=True):
        last = row.steps[-MAX_STEPS:]
        kept[: len(last)] = last
    out = folder / "features"
    out.mkdir(exist_ok=True)
    np.savez(
        out / f"{split}.{source}.npz",
        steps=steps,
        lengths=np.array([min(MAX_STEPS, len(row.steps)) for row in rows], dtype=np.int16),
        labels=np.array([row.label for row in rows]),
        sounds=np.array([row.sound for row in rows]),
    )
    return len(rows)
