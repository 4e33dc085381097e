"""The notice that comes back, from a trunk or a room, also with speech over it, for the bench of voices."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing.keyword import Detector, Meaning, Verdict
from media.training.features import read
from media.training.lines import Codec, PhoneLine, Waveform, active_rms
from sipagent.voice.detectors import hear

Arrives = Callable[[Waveform, PhoneLine], Samples]

NOTICES = ("notice_voice", "notice_opt_in_voice", "confirm")
LOSSES_DB = (6, 12, 20, 30)
PLAYED_DBFS = -20.0
QUIET_DBFS = -62.0
NEAR_DBFS = (-32.0, -18.0)
AROUND = 3 * SAMPLE_RATE  # of the notice before and after what is said over it
CODECS: tuple[Codec, ...] = ("alaw", "alaw", "gsm")


@dataclass(frozen=True, slots=True)
class OverIt:
    """How many of `count` refusals, said while the notice comes back so much softer, were heard."""

    loss_db: int | None
    count: int
    heard: int
    unclear: int
    heard_raw: int
    """If nothing were taken off."""


class Echoes:
    """Of the notices of a folder, and of one that says each phrase; in the order of a generator's draws."""

    def __init__(self, folder: Path, phrases: list[Path], arrives: Arrives) -> None:
        self.notices = [read(folder / f"{name}.wav") for name in NOTICES if (folder / f"{name}.wav").exists()]
        before = self.notices[0][: 3 * SAMPLE_RATE]
        self._asking = [np.concatenate([before, _loud(read(path), PLAYED_DBFS), before]) for path in phrases]
        self._arrives = arrives
        self._random = default_rng(17)

    def alone(self, detector: Detector, count: int) -> Iterator[Verdict]:
        """Callers who say nothing, 6 to 40 dB of loss."""
        sounds = [*self.notices, *self._asking]
        for number, loss_db in enumerate(np.linspace(6, 40, count)):
            notice = sounds[number % len(sounds)]
            echo = self._comes_back(notice, float(loss_db), number)
            yield self._heard(detector, notice, echo, True)

    def over_it(self, detector: Detector, phrases: list[Path], loss_db: int | None) -> OverIt:
        """Callers who refuse at any moment of the notice, over it."""
        found: Counter[tuple[bool, Meaning]] = Counter()
        for number, path in enumerate(phrases):
            near = _loud(read(path), self._random.uniform(*NEAR_DBFS))
            whole = self.notices[0]
            start = int(self._random.integers(max(1, len(whole) - 2 * AROUND - len(near))))
            notice = whole[start : start + 2 * AROUND + len(near)]
            mixed = np.zeros(len(notice) + SAMPLE_RATE)
            mixed[AROUND : AROUND + len(near)] = near
            if loss_db is not None:
                echo = self._comes_back(notice, loss_db, number)[: len(mixed)]
                mixed[: len(echo)] += echo
            for known in (True, False):
                found[known, self._heard(detector, notice, mixed, known).meaning] += 1
        return OverIt(
            loss_db,
            len(phrases),
            found[True, Meaning.REFUSE],
            found[True, Meaning.UNCLEAR],
            found[False, Meaning.REFUSE],
        )

    def _heard(self, detector: Detector, notice: Waveform, came: Waveform, known: bool) -> Verdict:
        """What a listener makes of it who knows, or does not, what is played."""
        level = 20 * np.log10(max(active_rms(came), 1e-5))
        line = PhoneLine(level_dbfs=level, noise="pink", snr_db=level - QUIET_DBFS)
        played = np.asarray(notice * 32767, dtype=np.int16) if known else SILENCE
        return hear(detector, self._arrives(came, line), played).verdict

    def _comes_back(self, notice: Waveform, loss_db: float, number: int) -> Waveform:
        """Through the line, a trunk's hybrid or a room by turns, and 20 to 600 ms later."""
        way = (_hybrid, _room)[number % 2](self._random)
        line = PhoneLine(level_dbfs=PLAYED_DBFS, band=None, codec=CODECS[number % len(CODECS)])
        sound = np.convolve(self._arrives(notice, line) / 32768, way)
        late = np.zeros(int(self._random.integers(20, 600)) * SAMPLE_RATE // 1000)
        return np.concatenate([late, _loud(sound, PLAYED_DBFS - loss_db)])


def _hybrid(random: Generator) -> Waveform:
    way = 0.3 * random.normal(size=20) * np.exp(-np.arange(20) / 5)
    way[0] = 1.0
    return way


def _room(random: Generator) -> Waveform:
    count = int(random.uniform(0.08, 0.35) * SAMPLE_RATE)
    way = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    way *= random.uniform(0.2, 0.8) / np.sqrt(np.sum(way**2))
    way[0] = 1.0
    return np.asarray(way)


def _loud(sound: Waveform, dbfs: float) -> Waveform:
    return np.asarray(sound * (10 ** (dbfs / 20) / max(active_rms(sound), 1e-6)))
