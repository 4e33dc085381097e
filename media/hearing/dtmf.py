"""In-band DTMF: two steady tones in what a leg sends, told from speech, music and echo.

Every 10 ms a window of 30 ms is compared with the eight frequencies of ITU-T Q.23, each at five offsets, so
that a sender that is off by what Q.24 allows is still measured at its true frequency. A window *points at* a
key if one tone of each group together carry at least half of its energy. It is *clear* if also

- the two tones carry nearly all of it (speech has harmonics, music more voices), no third stands out, and
  neither has a second harmonic (instruments do),
- both frequencies are as near to their nominal values as Q.24 asks, their levels to each other.

Three clear windows that agree in frequency and level, about 40 ms of tone, are a digit; it takes more if
something nearly stands out too far. Two windows do not agree if they differ like harmonics of a gliding
voice. The press lasts until four windows in a row point elsewhere or nowhere: a hole of 20 ms (a lost packet)
is part of it, a pause of 40 ms ends it (Q.24, annex A). It continues even if its later windows are no longer
clear, for example when the caller begins to speak.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from media.frame import SAMPLE_RATE, SILENCE, Samples


@dataclass(frozen=True, slots=True)
class ToneStarted:
    """A key's pair of tones was seen once; ToneHeard or ToneDropped follows, in 20 to 60 ms as a rule."""


@dataclass(frozen=True, slots=True)
class ToneDropped:
    """The tone that had started was not a key press."""


@dataclass(frozen=True, slots=True)
class ToneHeard:
    """One press of a key: `digit` is one of 0-9, *, #, A-D; `at`: when that was sure, by the samples."""

    digit: str
    at: float = field(default=0.0, compare=False)


ToneFact: TypeAlias = ToneStarted | ToneDropped | ToneHeard

ROWS = (697.0, 770.0, 852.0, 941.0)
COLUMNS = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = "123A456B789C*0#D"

CLEAR_WINDOWS = 3
MISSED_WINDOWS = 4
EVIDENCE = 2.25
"""The evidence that windows which agree must reach together: three good ones, or more middling ones."""
BEYOND_DOUBT = 1.2
"""Hardly any window of speech reaches this evidence; so the window may be distorted, as at the edges of a
short press."""
POINTING_SHARE = 0.5
CLEAR_SHARE = 0.7
"""Of the window's energy: a pair of tones 4 dB above everything else."""
THIRD_DB, LONE_DB = -9.5, -15.0
"""How strong a third component may be under the pair: from THIRD_DB, which proves nothing, to LONE_DB, where
the window counts in full. Of all these tests it recognises speech best."""
HARMONIC_DB = -18.0
"""How strong either tone's second harmonic may be under the pair; G.711 and clipping make odd ones only."""
TOLERANCE, TOLERANCE_HZ = 0.015, 4.0
"""Q.24 requires 1.5 % + 2 Hz to be accepted (and 3.5 % refused); 2 Hz are for the effect of noise."""
TWIST_DB = 10.0
AGREE_ROW, AGREE_COLUMN, AGREE_DB = 0.008, 0.005, 3.5
"""How far apart clear windows may be, in relative frequency and in level: a voice glides, a key doesn't."""
GLIDE = 0.0005
"""Both tones have moved by the same amount: they are harmonics of one voice. Noise moves them
independently."""
FLOOR = 16140**2 * 10 ** (-37 / 10)
"""Mean square of -37 dBm0, where full scale in G.711 is +3.14 dBm0; a weaker tone is an echo, not a key
press."""
FLOOR_PEAK = int(math.sqrt(FLOOR))

_HOP = SAMPLE_RATE // 100
_WINDOW = 3 * _HOP
_STEP = 0.012
_OFFSETS = np.arange(-2, 3) * _STEP
_FREQUENCIES = np.array(ROWS + COLUMNS)
_POINTS = 256
_CLEARANCE_HZ = 125
"""Half the main lobe of a Hann window of 30 ms (67 Hz), and as much again for a tone cut short."""

_hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_WINDOW) + 0.5) / _WINDOW)
_WEIGHTS = (_hann / _hann.sum()).astype(np.float32)
_TAPER = (math.sqrt(2) * _hann / _hann.sum()).astype(np.float32)
"""Scaled so that the squared spectrum of a sine at its frequency is its mean square."""


def _goertzel_basis() -> NDArray[np.float32]:
    """(window, 2 * 8 * 5): cosines, then sines, of every frequency at every offset, tapered.

    Goertzel's recursion for many windows at once is this matrix product, and numpy does it 50 times faster.
    """
    time = (np.arange(_WINDOW) - _WINDOW / 2) / SAMPLE_RATE
    angles = 2 * np.pi * time[:, None] * (_FREQUENCIES[:, None] * (1 + _OFFSETS)).ravel()
    basis: NDArray[np.float32] = np.hstack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    basis *= _TAPER[:, None]
    return basis


def _masks() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Two masks (16, bins), a row for every key: 1 outside its tones; and of these, 1 at twice their
    frequencies.

    0 around the tones, and below 100 Hz (hum).
    """
    bins = np.fft.rfftfreq(_POINTS, 1 / SAMPLE_RATE)
    far = np.abs(bins - _FREQUENCIES[:, None]) > _CLEARANCE_HZ
    double = np.abs(bins - 2 * _FREQUENCIES[:, None]) < _CLEARANCE_HZ / 2
    elsewhere = (far[:4, None, :] & far[None, 4:, :] & (bins > 100)).reshape(16, -1)
    doubles = (double[:4, None, :] | double[None, 4:, :]).reshape(16, -1) & elsewhere
    return elsewhere.astype(np.float32), doubles.astype(np.float32)


_BASIS = _goertzel_basis()
_ELSEWHERE, _DOUBLES = _masks()


@dataclass(frozen=True, slots=True)
class _Sight:
    """The measures of a clear window: relative offsets of both tones, level in dB, and evidence of 0 to
    1.5."""

    row: float
    column: float
    level: float
    evidence: float

    def agrees(self, other: "_Sight") -> bool:
        """Whether both can be of one press: similar, and, unless the evidence is strong, not a gliding
        voice."""
        row, column = self.row - other.row, self.column - other.column
        sure = min(self.evidence, other.evidence) >= BEYOND_DOUBT
        slack = 2 if sure else 1
        in_step = abs(column) > GLIDE and abs(row - column) < GLIDE
        return (
            abs(row) <= slack * AGREE_ROW
            and abs(column) <= slack * AGREE_COLUMN
            and abs(self.level - other.level) <= AGREE_DB
            and (sure or not in_step)
        )


@dataclass(slots=True)
class _Press:
    """A press under way; `missed` windows in a row don't point at its key now."""

    key: int
    sights: deque[_Sight] = field(default_factory=lambda: deque(maxlen=2 * MISSED_WINDOWS + CLEAR_WINDOWS))
    missed: int = 0
    heard: bool = False

    def add(self, sight: _Sight) -> None:
        """Add a window. Those that agree need not be neighbours: a lost packet distorts the windows that it
        touches."""
        agreeing = [sight]
        for seen in sorted(self.sights, key=lambda seen: seen.evidence, reverse=True):
            if all(seen.agrees(other) for other in agreeing):
                agreeing.append(seen)
        self.sights.append(sight)
        proof = sum(seen.evidence for seen in agreeing)
        self.heard = len(agreeing) >= CLEAR_WINDOWS and proof >= EVIDENCE


class ToneDetector:
    """Listens to one leg. Gives facts in the order in which they happened, one ToneHeard for a press."""

    def __init__(self) -> None:
        self._sound = SILENCE
        self._press: _Press | None = None

    def feed(self, samples: Samples, at: float = 0.0) -> list[ToneFact]:
        """The facts that the next (n,) int16 at 8 kHz complete, for any n; cheap in silence.

        `at`: when the last of them came, in s.
        """
        self._sound = np.concatenate([self._sound, samples])
        count = (len(self._sound) - _WINDOW) // _HOP + 1
        if count < 1:
            return []
        sound, self._sound = self._sound, self._sound[count * _HOP :]
        if self._press is None and int(sound.max()) < FLOOR_PEAK:
            return []
        linear = sound.astype(np.float32)
        steps = (_HOP * linear.itemsize, linear.itemsize)  # `sliding_window_view` takes 25 times as long
        windows = np.ndarray((count, _WINDOW), np.float32, linear, strides=steps)
        return self._follow(windows, *_point(windows), at - (len(sound) - _WINDOW) / SAMPLE_RATE)

    def _follow(
        self, windows: NDArray[np.float32], keys: NDArray[np.intp], powers: NDArray[np.float32], at: float
    ) -> list[ToneFact]:
        """`at`: when the first window ended."""
        if self._press is None and keys.max() < 0:
            return []
        facts: list[ToneFact] = []
        for index, (window, key, power) in enumerate(zip(windows, keys.tolist(), powers, strict=True)):
            press = self._press
            if press is not None and press.key != key:
                facts += self._miss(press)
            elif press is not None:
                press.missed = 0
            if key >= 0 and not (press is not None and press.heard):
                sight = _look(window, key, power)
                facts += self._add(key, sight, at + index * _HOP / SAMPLE_RATE) if sight is not None else []
        return facts

    def _miss(self, press: _Press) -> list[ToneFact]:
        press.missed += 1
        if press.missed < MISSED_WINDOWS:
            return []
        self._press = None
        return [] if press.heard else [ToneDropped()]

    def _add(self, key: int, sight: _Sight, at: float) -> list[ToneFact]:
        """Add a clear window to a press that isn't a digit yet, or as the first of another press."""
        facts: list[ToneFact] = []
        if self._press is None or self._press.key != key:
            facts += [ToneStarted()] if self._press is None else [ToneDropped(), ToneStarted()]
            self._press = _Press(key)
        self._press.add(sight)
        return [*facts, ToneHeard(KEYS[key], at)] if self._press.heard else facts


def _point(windows: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The key each of (n, window) points at, -1 for none, and (n, 8, 5) powers at frequencies and offsets."""
    spectrum = (windows @ _BASIS).reshape(len(windows), 2, 8, 5)
    powers: NDArray[np.float32] = np.square(spectrum).sum(axis=1)
    best = powers.max(axis=2)
    rows, columns = best[:, :4], best[:, 4:]
    energy = np.square(windows) @ _WEIGHTS
    pointing = rows.max(axis=1) + columns.max(axis=1) > np.maximum(POINTING_SHARE * energy, FLOOR)
    return np.where(pointing, 4 * rows.argmax(axis=1) + columns.argmax(axis=1), -1), powers


def _look(window: NDArray[np.float32], key: int, powers: NDArray[np.float32]) -> _Sight | None:
    """The measures of a window that points at `key`, if it is clear; `powers` is (8, 5)."""
    row, row_offset = _peak(powers[key // 4])
    column, column_offset = _peak(powers[4 + key % 4])
    pair = row + column
    if not (_is_near(row_offset, ROWS[key // 4]) and _is_near(column_offset, COLUMNS[key % 4])):
        return None
    if abs(_decibels(row / column)) > TWIST_DB or pair < CLEAR_SHARE * float(np.square(window) @ _WEIGHTS):
        return None
    spectrum = np.square(np.abs(np.fft.rfft(window * _TAPER, _POINTS)))
    third = _decibels(float((spectrum * _ELSEWHERE[key]).max()) / pair)
    harmonic = _decibels(float((spectrum * _DOUBLES[key]).max()) / pair)
    if third >= THIRD_DB or harmonic >= HARMONIC_DB:
        return None
    evidence = min((THIRD_DB - third) / (THIRD_DB - LONE_DB), 1.5)
    return _Sight(row_offset, column_offset, _decibels(pair), evidence)


def _is_near(offset: float, nominal: float) -> bool:
    return abs(offset) * nominal <= TOLERANCE * nominal + TOLERANCE_HZ


def _decibels(ratio: float) -> float:
    return 10 * math.log10(max(ratio, 1e-12))


def _peak(powers: NDArray[np.float32]) -> tuple[float, float]:
    """Height and relative offset of the peak of (5,) powers, by a parabola through their logarithms."""
    levels = [math.log(max(float(power), 1e-9)) for power in powers]
    top = min(max(int(powers.argmax()), 1), 3)
    left, middle, right = levels[top - 1 : top + 2]
    curvature = min(left - 2 * middle + right, -1e-9)
    shift = min(max((left - right) / (2 * curvature), -1.5), 1.5)
    return math.exp(middle - (left - right) * shift / 4), (top - 2 + shift) * _STEP
