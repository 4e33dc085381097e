"""What heads are trained on: each sound, also in other voices, over bad lines, as the embedding's steps.

A row is one question as on a call: the speech so far, each 100 ms. Of a phrase, only the questions after
it has been said are kept. Questions are spans of the steps of one sound, which are stored once.

`revoiced` changes a voice into another that says the same, with the vocoder WORLD. Source: Morise,
Yokomori and Ozawa, "WORLD: a vocoder-based high-quality speech synthesis system for real-time
applications", 2016; PyPI's `pyworld`, in the extra [train].
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from scipy.signal import resample_poly

from media.frame import SAMPLE_RATE, Samples
from media.hearing import embedding
from media.hearing.keyword import every_ms
from media.hearing.spotter import EARLY
from media.hearing.vad import UNHEARD, SpeechGoesOn, SpeechStarted, VoiceGate
from media.training import in_processes, lines

PERIOD_MS = 8.0


def revoiced(sound: NDArray[np.float64], rate: int, random: Generator) -> NDArray[np.float64]:
    """(n,) at `rate`: with another pitch and melody, vocal tract, breath and rhythm."""
    import pyworld

    pitch, times = pyworld.dio(sound, rate, frame_period=PERIOD_MS)
    envelope = pyworld.cheaptrick(sound, pitch, times, rate)
    breath = pyworld.d4c(sound, pitch, times, rate)
    when = _rhythm(len(pitch), random)
    pitch, envelope, breath = pitch[when], envelope[when], breath[when]
    pitch = _melody(pitch, random)
    envelope = _tract(envelope, random)
    breath = breath ** random.uniform(0.25, 3.0)
    made: Any = pyworld.synthesize(
        *(np.ascontiguousarray(part) for part in (pitch, envelope, breath)), rate, PERIOD_MS
    )
    return np.asarray(made * (np.abs(sound).max() / max(np.abs(made).max(), 1e-9)))


def _rhythm(count: int, random: Generator) -> NDArray[np.int64]:
    """Which frame is heard when: faster here, slower there."""
    points = max(2, count * int(PERIOD_MS) // 250)
    speeds = random.uniform(0.8, 1.3) * random.uniform(0.7, 1.4, points)
    pace = np.interp(np.linspace(0, points - 1, count), np.arange(points), speeds)
    ends = np.cumsum(1 / pace)
    return np.minimum(np.searchsorted(ends, np.arange(int(ends[-1]))), count - 1)


def _melody(pitch: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
    """Higher or lower, flatter or livelier; a whisper now and then."""
    voiced = pitch > 0
    if not voiced.any() or random.random() < 0.04:
        return np.zeros_like(pitch)
    middle = float(np.exp(np.mean(np.log(pitch[voiced]))))
    wanted = np.exp(random.uniform(np.log(85), np.log(270)))
    moved = np.zeros_like(pitch)
    moved[voiced] = wanted * (pitch[voiced] / middle) ** random.uniform(0.0, 1.5)
    return np.where(voiced, np.clip(moved, 60, 420), 0.0)


def _tract(envelope: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
    """Formants moved all together, and a little separately; sharper or flatter."""
    bins = np.arange(envelope.shape[1])
    factor = random.uniform(0.84, 1.2) * (1 + random.uniform(-0.08, 0.08) * bins / len(bins))
    logs = np.log(np.maximum(envelope, 1e-16))
    warped = np.stack([np.interp(bins / factor, bins, frame) for frame in logs])
    if random.random() < 0.6:
        warped = _averaged(warped, random)
    mean = warped.mean(axis=1, keepdims=True)
    return np.asarray(np.exp(mean + (warped - mean) * random.uniform(0.8, 1.15)))


def _averaged(logs: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
    """Like a synthesizer with statistical models: details in frequency and edges in time are lost."""
    kept = int(random.integers(16, 60))
    cepstra = np.fft.irfft(logs, axis=1)
    cepstra[:, kept : cepstra.shape[1] - kept + 1] = 0
    smooth = np.fft.rfft(cepstra, axis=1).real
    window = np.hanning(int(random.integers(1, 12)) + 2)
    return np.asarray(convolve1d(smooth, window / window.sum(), axis=0, mode="nearest"))


LONGEST = 69
"""The most steps of a question: 2.8 s, of which the first REACH are only context."""
LATE_S = 0.8
"""How long after a phrase questions are still asked."""
CROWDS = (1, 2, 3, 4, 4, 6)
LENT = "voices"
"""The source of colleagues' sayings, which came over a line already: a folder `voices-N` for each."""
LENT_TIMES, LENT_TIMES_OTHER = 12, 6
"""How many variants of a colleague's phrases, which are few, and of the sentences."""
VOICES = ("espeak", "kokoro", "festival", "mbrola", LENT)
"""Whose sounds are changed into other voices; other people's stay as they are."""
VOCODER_RATE = 16_000
TELEVISION = 23
"""What is on is drawn separately, so that all else is drawn as it was before there was one."""


@dataclass(frozen=True, slots=True)
class SoundQuestions:
    """All questions about one sound: `steps` (n, 288), and where each question starts and stops.

    `warped`: (warps, n, 288), the steps as by other vocal tracts, where they are needed.
    """

    label: str
    steps: embedding.Floats
    questions: list[tuple[int, int]]
    sound: str
    warped: embedding.Floats | None = None


def labelled(folder: Path) -> list[tuple[str, Path]]:
    """All sounds below SPLIT/SYNTHESIZER with their labels, shuffled the same way each time."""
    found = [(path.parent.name, path) for path in sorted(folder.glob("*/*.wav"))]
    order = default_rng(len(found)).permutation(len(found))
    return [found[n] for n in order]


def source_of(sound: Path) -> str:
    """Whose voice it is: a synthesizer's, or people's; the sounds may lie in shards."""
    return sound.parts[-3].partition("-")[0]


def read(path: Path, changed_by: Generator | None = None) -> lines.Waveform:
    """The sound at 8 kHz, full scale 1.0, its silence cut to 30 ms; in another voice if asked."""
    sound, rate = soundfile.read(path, dtype="float64")
    if changed_by is not None and len(sound) > rate // 5:
        if rate < VOCODER_RATE:  # below, WORLD looks for breath where there is no spectrum
            sound, rate = np.asarray(resample_poly(sound, VOCODER_RATE, rate)), VOCODER_RATE
        sound = revoiced(sound, rate, changed_by)
    sound = np.asarray(sound if rate == SAMPLE_RATE else resample_poly(sound, SAMPLE_RATE, rate))
    loud = np.flatnonzero(np.abs(sound) > 0.01 * max(np.abs(sound).max(), 1e-9))
    if not len(loud):
        return sound
    return sound[max(0, loud[0] - 240) : loud[-1] + 240]


def stretch(sounds: list[Path], seconds: int, voices: int, random: Generator) -> lines.Waveform:
    """Many people who say these at once."""
    total = np.zeros(seconds * SAMPLE_RATE)
    for _ in range(voices):
        position = 0
        while position < len(total):
            sound = read(sounds[random.integers(len(sounds))])
            sound = sound[: len(total) - position] / (np.sqrt(np.mean(sound**2)) or 1.0)
            total[position : position + len(sound)] += sound
            position += len(sound) + int(random.integers(SAMPLE_RATE // 2))
    return total


def backgrounds(
    others: list[Path], prompts: Path, random: Generator, crowds: Sequence[int] = (4,)
) -> lines.Backgrounds:
    """Crowds of these sizes, two minutes of each; the hold music; a television; the echo of our own prompts,
    but not of a notice, which says how to refuse."""
    music, apart = read(prompts / "hold.wav"), default_rng(TELEVISION)
    return {
        "babble": np.concatenate([stretch(others, 120, voices, random) for voices in crowds]),
        "music": music,
        "television": lines.television(stretch(others, 120, 1, apart), music, apart),
        "echo": np.concatenate([read(prompts / "fr" / f"{name}.wav") for name in ("welcome", "closed")]),
    }


class LineStage:
    """Puts sounds on lines; `others` is speech without refusal, for what else a caller says.

    `crowd` is heard in the background; `newer`: the share of lines of today, as in `any_line`.
    """

    def __init__(
        self, others: list[Path], crowd: list[Path], prompts: Path, random: Generator, newer: float = 0.0
    ) -> None:
        self._others = others
        self._random = random
        self._newer = newer
        self._backgrounds = backgrounds(crowd, prompts, random, CROWDS)
        self._embedding = embedding.Embedding()

    def asked(
        self, label: str, path: Path, line: lines.PhoneLine | None = None, *, changed: bool = True
    ) -> SoundQuestions:
        """The questions of one call with one sound, over a random line unless one is given; `changed`:
        perhaps another speaker."""
        random = self._random
        other_voice = random if changed and source_of(path) in VOICES and random.random() < 0.5 else None
        voice = read(path, other_voice)
        sound, since = self._placed(label, self._resized(voice) if changed else voice)
        heard = lines.carry(sound, line or lines.any_line(random, self._newer), self._backgrounds, random)
        silence = np.zeros(UNHEARD, dtype=np.int16)
        whole = np.concatenate([silence, heard])
        steps = self._embedding(self._spectra(whole, changed))
        asked = [
            (start, min(stop, len(steps)))
            for at, start, stop in questions(heard)
            if label == embedding.OTHER or since < at < since + LATE_S
        ]
        warped = (
            None
            if changed
            else np.stack([embedding.steps_of(self._embedding, whole, warp) for warp in embedding.WARPS])
        )
        return SoundQuestions(label, steps, asked, str(path), warped)

    def _spectra(self, heard: Samples, changed: bool) -> embedding.Floats:
        """With another vocal tract or another telephone, most of the time."""
        random = self._random
        if not changed:
            return embedding.log_mel(heard)
        warp = random.uniform(0.9, 1.12) if random.random() < 0.5 else embedding.OWN
        spectra = embedding.log_mel(heard, warp)
        if random.random() < 0.6:
            at = np.linspace(0, embedding.MELS - 1, 6)
            spectra = spectra + np.interp(np.arange(embedding.MELS), at, random.normal(size=6) * 0.3).astype(
                np.float32
            )
        return np.asarray(np.maximum(spectra, embedding.FLOOR_DB / 10 + 2), dtype=np.float32)

    def _resized(self, sound: lines.Waveform) -> lines.Waveform:
        """Faster with a smaller head or slower with a larger one, half of the time."""
        factor = round(100 * self._random.uniform(0.88, 1.14))
        return sound if self._random.random() < 0.5 else np.asarray(resample_poly(sound, 100, factor))

    def _placed(self, label: str, sound: lines.Waveform) -> tuple[lines.Waveform, float]:
        """The sound with quiet around it, sometimes with more speech; and the time when it has been said, in
        s."""
        random = self._random
        before = np.zeros(int(random.uniform(0.3, 0.9) * SAMPLE_RATE))
        after = np.zeros(int(0.8 * SAMPLE_RATE))
        if random.random() < (0.3 if label == embedding.OTHER else 0.12):
            before = np.concatenate([before, self._other(sound), self._pause()])
        if random.random() < (0.3 if label == embedding.OTHER else 0.1):
            after = np.concatenate([self._pause(), self._other(sound), after])
        placed = np.concatenate([before, sound, after])
        return placed, (len(before) + len(sound)) / SAMPLE_RATE - 0.06

    def _pause(self) -> lines.Waveform:
        return np.zeros(int(self._random.uniform(0.05, 0.35) * SAMPLE_RATE))

    def _other(self, sound: lines.Waveform) -> lines.Waveform:
        other = read(self._others[self._random.integers(len(self._others))])
        level = np.sqrt(np.mean(sound**2)) / (np.sqrt(np.mean(other**2)) or 1.0)
        return np.asarray(other * level)


def questions(heard: Samples) -> Iterator[tuple[float, int, int]]:
    """When (s) the detector is asked on a call that sends `heard`, and of which steps, from and up to."""
    gate = VoiceGate(every_ms("embedding", in_call=False))
    frame = SAMPLE_RATE // 50
    for end in range(frame, len(heard) + 1, frame):
        for fact in gate.feed(heard[end - frame : end]):
            if not isinstance(fact, SpeechStarted):
                stop = (
                    fact.at + len(fact.samples) - embedding.WINDOW - (embedding.SPAN - 1) * embedding.HOP
                ) // (embedding.STRIDE * embedding.HOP) + 1
                start = max(fact.at // (embedding.STRIDE * embedding.HOP), stop - LONGEST)
                if stop - start > embedding.REACH and not (
                    isinstance(fact, SpeechGoesOn) and len(fact.samples) < EARLY
                ):
                    yield end / SAMPLE_RATE, start, stop


def make(folder: Path, split: str, source: str, times: int, prompts: Path, *, newer: float = 0.0) -> int:
    """Write features/SPLIT.SOURCE.npz from the sounds there are now; how many questions.

    `newer`: the share of lines of today, as in `any_line`. Raises MissingCoder.
    """
    sounds = labelled(folder / "sounds" / split / source)
    random = default_rng(sum(map(ord, split + source)))
    crowd = [
        path
        for path in sorted((folder / "sounds" / split).glob(f"*/{embedding.OTHER}/*.wav"))
        if source_of(path) != LENT  # who is left out of a training must not be in the background
    ]
    others = [path for label, path in sounds if label == embedding.OTHER] or crowd
    stage = LineStage(others, crowd, prompts, random, newer)
    changed = split == "train"
    lent = source.startswith(f"{LENT}-")
    return write(
        folder / "features" / f"{split}.{source}.npz",
        (
            stage.asked(label, path, gentle_line(random) if lent else None, changed=changed)
            for turn in range(LENT_TIMES if lent else times)
            for label, path in sounds
            if not lent or label != embedding.OTHER or turn < LENT_TIMES_OTHER
        ),
    )


def make_missing(folder: Path, times: Mapping[str, int], prompts: Path) -> Iterator[str]:
    """The features of all sources of train and tune that have none yet, so many of whose lines are of today;
    `times`: lines of each sound, by source, else one. All cores hear, the longest work first."""
    missing = []
    for split in ("train", "tune"):
        for place in sorted((folder / "sounds" / split).iterdir()):
            if place.name.startswith(".") or (folder / "features" / f"{split}.{place.name}.npz").exists():
                continue
            usual = times.get(f"{split}/{place.name}", 1)
            missing.append((usual * sum(1 for _ in place.glob("*/*.wav")), split, place.name, usual))
    missing.sort(reverse=True)
    yield from in_processes(_made, [(folder, *one, prompts) for _, *one in missing])


def _made(folder: Path, split: str, source: str, times: int, prompts: Path) -> str:
    count = make(folder, split, source, times, prompts, newer=lines.NEWER_SHARE)
    return f"{split}/{source}: {count} questions"


def gentle_line(random: Generator) -> lines.PhoneLine:
    """What may still happen to a voice that came over a line already: level, some noise, loss."""
    noises: tuple[lines.Noise, ...] = ("pink", "street", "babble")
    return lines.PhoneLine(
        level_dbfs=random.uniform(-34, -15),
        noise=noises[random.integers(len(noises))],
        snr_db=None if random.random() < 0.5 else random.uniform(10, 30),
        tilt_db=random.uniform(-3, 3),
        band=None,
        codec="alaw",
        loss=0.0 if random.random() < 0.5 else random.uniform(0, 0.03),
    )


def write(path: Path, calls: Iterable[SoundQuestions]) -> int:
    """Write all questions into one file, which is whole if it exists; how many."""
    found = packed(calls)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, **found)
    partial.replace(path)
    return len(found["labels"])


def packed(calls: Iterable[SoundQuestions]) -> dict[str, Any]:
    """The `steps` of all calls, (n, 288), and of each question `starts`, `stops`, `labels` and `sounds`;
    where all have them, `warped` (warps, n, 288)."""
    steps: list[NDArray[np.float16]] = []
    warped: list[NDArray[np.float16]] = []
    found: list[tuple[str, str, int, int]] = []
    total = 0
    for call in calls:
        found += [(call.label, call.sound, total + start, total + stop) for start, stop in call.questions]
        steps.append(call.steps.astype(np.float16))
        if call.warped is not None:
            warped.append(call.warped.astype(np.float16))
        total += len(call.steps)
    views = {"warped": np.concatenate(warped, axis=1)} if len(warped) == len(steps) else {}
    return views | {
        "steps": np.concatenate(steps),
        "starts": np.array([start for *_, start, _ in found], dtype=np.int64),
        "stops": np.array([stop for *_, stop in found], dtype=np.int64),
        "labels": np.array([label for label, *_ in found]),
        "sounds": np.array([sound for _, sound, *_ in found]),
    }
