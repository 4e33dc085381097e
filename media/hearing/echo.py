"""Takes out the echo: our own sound, which a speakerphone or a trunk sends back to us.

    played ──▶ Echo.plays       heard ──▶ Echo.cleaned ──▶ gate, detector ──▶ verdict ──▶ Echo.weighed ──▶ it

A notice that says "say *I refuse*" must not refuse for the caller. The way back is a filter: its delay is
where both sounds agree best, its taps are the least squares over the last seconds, computed again every
FIT_MS. The filtered sound is subtracted before the gate and the detector listen, so a caller who speaks over
the notice is heard as in silence. A codec on the way leaves some echo: so a verdict that comes while
a sound is played is checked again, without the rest of the echo (Hänsler and Schmidt, "Acoustic Echo and
Noise Control", 2004, chapters 7 and 8, for both).

No clock is needed: a leg's sound and what is played to it advance by the same samples. The sound heard is
kept, up to KEPT_MS, only while something is played or its echo may still come.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing.keyword import Meaning, Verdict
from media.hearing.vad import CONTEXT_MS, WINDOW_MS

LAG_MS = 800
"""From playing to hearing: 600 ms of network and jitter buffers, and a frame that the bridge gathers."""
TAPS_MS = 64
"""How much the way back lengthens a sound: by a trunk's hybrid, by the first reflections of a room."""
FIT_MS = 1500
FIRST_FIT_MS = 800
AFTER_QUIET_MS = 500
"""How much of an echo is waited for where it follows as much silence."""
FAINT = 32
"""A line on which nothing is louder, in int16, is silent: no way back is looked for, which costs most."""
KEPT_MS = CONTEXT_MS + WINDOW_MS + 200
FOUND = 12.0
"""An echo agrees with what was played this much better than chance; speech alone reaches about 7."""

OVER = 2.0
"""How much louder than usual the rest of an echo is assumed to be."""
NOBODY_DB, SOMEBODY_DB = -10.0, -6.0
"""The share that a filter leaves of a moment: of an echo alone less than the first, of a voice more than the
second."""
EXPLAINED_DB = 12.0
ABOVE_NOISE_DB = 6.0
"""No one speaks if the sound is softer by this much without the echo, or no louder than the quiet parts."""

_PER_MS = SAMPLE_RATE // 1000
_LAGS = LAG_MS * _PER_MS
_TAPS = TAPS_MS * _PER_MS
_EARLY = 8  # samples before the best place: the peak may be a reflection
_KEPT = KEPT_MS * _PER_MS
_BAND = (250.0, 3400.0)
_HOP, _WIDTH, _FFT = 80, 200, 256
_WINDOW = np.sqrt(np.hanning(_WIDTH + 1)[:-1])

Sound = NDArray[np.float64]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """From playing back to hearing: `taps` (n,) act on what was played `delay` samples ago, and before."""

    delay: int
    taps: Sound

    def echo(self, played: Sound, count: int) -> Sound:
        """(count,) samples of echo at the end of `played`, which covers at least delay + taps."""
        end = len(played) - self.delay
        part = played[end - count - len(self.taps) + 1 : end]
        size = _power_of_two(len(part) + len(self.taps))
        whole = np.fft.irfft(np.fft.rfft(part, size) * np.fft.rfft(self.taps, size), size)
        return np.asarray(whole[len(self.taps) - 1 : len(self.taps) - 1 + count])


class Echo:
    """The echo on one leg."""

    def __init__(self) -> None:
        self._sound = SILENCE
        self._next = 0
        self._played: Sound = np.zeros(0)
        self._heard: Sound = np.zeros(0)
        self._audible = 0  # samples for which echo may still come
        self._way: Way | None = None
        self._fit_in = 0
        self._silent: list[tuple[Samples, Samples]] = []  # sound played and heard in silence, not yet kept

    def plays(self, sound: Samples) -> None:
        """From the next frame on this is played once, (n,) int16 at 8 kHz; empty: nothing any more."""
        self._sound, self._next = sound, 0
        if len(sound) and not self._audible:
            self._played = np.zeros(_KEPT + _LAGS + _TAPS)
            self._heard = np.zeros(0)
            self._silent.clear()
            self._way, self._fit_in = None, FIRST_FIT_MS * _PER_MS

    def cleaned(self, samples: Samples) -> Samples:
        """The next (n,) int16 that the leg sends, without the echo."""
        if len(samples) > SAMPLE_RATE:
            parts = [samples[at : at + SAMPLE_RATE] for at in range(0, len(samples), SAMPLE_RATE)]
            return np.concatenate([self.cleaned(part) for part in parts])
        count = len(samples)
        playing = self._sound[self._next : self._next + count]
        self._next += len(playing)
        self._audible = _LAGS + _TAPS if len(playing) else max(0, self._audible - count)
        if not self._audible:
            self._sound, self._played, self._heard = SILENCE, np.zeros(0), np.zeros(0)
            self._silent.clear()
            return samples
        self._fit_in -= count
        if self._way is None and count and np.abs(samples).max() <= FAINT:
            self._silent.append((playing, samples))
            if len(self._silent) * count >= _KEPT:
                self._keep_silence()
            return samples
        if sum(len(heard) for _, heard in self._silent) >= AFTER_QUIET_MS * _PER_MS:
            self._fit_in = max(self._fit_in, AFTER_QUIET_MS * _PER_MS)
        self._keep_silence()
        self._keep(playing, samples)
        heard = samples.astype(np.float64)
        if self._fit_in <= 0:
            self._fit_in = FIT_MS * _PER_MS
            self._way = way_back(self._played, self._heard) or self._way
        if self._way is None:
            return samples
        return _int16(heard - self._way.echo(self._played, count))

    def _keep_silence(self) -> None:
        if self._silent:
            played = [np.pad(one, (0, len(heard) - len(one))) for one, heard in self._silent]
            self._keep(np.concatenate(played), np.concatenate([heard for _, heard in self._silent]))
            self._silent.clear()

    def _keep(self, playing: Samples, heard: Samples) -> None:
        new = np.pad(playing.astype(np.float64), (0, len(heard) - len(playing)))
        self._played = _shifted(self._played, new)
        self._heard = np.concatenate([self._heard, heard.astype(np.float64)])[-_KEPT:]

    def weighed(
        self, verdict: Verdict, samples: Samples, behind: int, judge: Callable[[Samples], Verdict]
    ) -> Verdict:
        """The verdict on (n,) int16 that ended `behind` samples ago, as without the echo.

        `judge` is asked about what is left, if anything.
        """
        self._keep_silence()
        known = min(len(samples), len(self._heard) - behind)
        if verdict.meaning is Meaning.OTHER or not self._audible or known <= 0:
            return verdict
        heard = samples.astype(np.float64)
        heard[-known:] = _until(self._heard, behind)[-known:]  # before the echo was subtracted
        played = _until(self._played, behind)
        way = way_back(played, heard)
        if way is None:
            return verdict
        echo = way.echo(_at_least(played, len(heard) + way.delay + _TAPS), len(heard))
        rest = suppressed(heard, echo)
        if _is_nothing(rest, heard):
            _log.debug("echo: %s %r was what we play", verdict.meaning, verdict.keyword)
            return Verdict(Meaning.OTHER)
        again = judge(_int16(rest))
        if again.meaning is not verdict.meaning:
            _log.debug("echo: %s %r is %s without it", verdict.meaning, verdict.keyword, again.meaning)
        return again


def way_back(played: Sound, heard: Sound) -> Way | None:
    """How `played` comes back in `heard` (n,): it ends at the same time and starts LAG_MS earlier. None: not
    at all."""
    count = len(heard)
    before = _at_least(played, count + _LAGS + _TAPS)[-(count + _LAGS + _TAPS) :]
    delay = _delay(before, heard)
    if delay is None:
        return None
    delay = max(0, delay - _EARLY)
    lagging = before[_LAGS + _TAPS - delay : len(before) - delay]
    size = _power_of_two(2 * count)
    spectrum = np.fft.rfft(lagging, size)
    own = np.fft.irfft(np.abs(spectrum) ** 2, size)[:_TAPS]
    shared = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(spectrum), size)[:_TAPS]
    if own[0] <= 0:
        return None
    own[0] *= 1 + 1e-3
    return Way(delay, _least_squares(own, shared))


def _least_squares(own: Sound, shared: Sound) -> Sound:
    """(n,) taps, from the correlations `own` of the played and `shared` of both sounds, at lags from 0.

    Levinson's recursion (Golub and Van Loan, "Matrix Computations", 2013, 4.7): quicker than a general
    solver, which would also keep some MB in each process for its work.
    """
    lags, wanted = own[1:] / own[0], shared / own[0]
    taps, predictor = np.zeros_like(wanted), np.zeros_like(lags)
    taps[0], predictor[0] = wanted[0], -lags[0]
    error, reflection = 1.0, -lags[0]
    for size in range(1, len(wanted)):
        error *= 1 - reflection**2
        backwards = predictor[:size][::-1].copy()
        taps[size] = (wanted[size] - lags[:size] @ taps[:size][::-1]) / error
        taps[:size] += taps[size] * backwards
        if size < len(lags):
            reflection = -(lags[size] + lags[:size] @ backwards) / error
            predictor[:size] += reflection * backwards
            predictor[size] = reflection
    return np.asarray(taps)


def _delay(before: Sound, heard: Sound) -> int | None:
    """The delay at which both agree best, in samples: by cross-correlation of their spectra, nearly without
    levels."""
    count, lead = len(heard), len(before) - len(heard)
    size = _power_of_two(count + len(before))
    cross = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(before, size))
    hertz = np.arange(len(cross)) * SAMPLE_RATE / size
    strength = np.abs(cross)
    loudest = float(strength.max())
    if loudest <= 0:
        return None
    inside = (hertz > _BAND[0]) & (hertz < _BAND[1])
    white = np.where(inside, cross / (strength + 1e-9 * loudest) ** 0.8, 0)
    agreement = np.abs(np.fft.irfft(white, size)[(np.arange(_LAGS) - lead) % size])
    best = int(np.argmax(agreement))
    return best if agreement[best] > FOUND * np.sqrt(np.mean(agreement**2)) else None


def suppressed(heard: Sound, echo: Sound) -> Sound:
    """The sound heard, without the echo and without the rest of it that the filter leaves.

    The rest is estimated in each band as the share of the echo that the filter leaves there at best. Moments
    of which the filter removes nearly all are not the caller's words.
    """
    spectra, whole = _spectra(heard - echo), np.abs(_spectra(heard)) ** 2
    power, played = _smooth(np.abs(spectra) ** 2), _lingering(_smooth(np.abs(_spectra(echo)) ** 2))
    strong = played >= np.percentile(played, 60, axis=0)
    shares = np.where(strong, power / np.maximum(played, 1e-6), np.nan)
    left = OVER * np.minimum(np.nan_to_num(np.nanpercentile(shares, 30, axis=0)), 2.0) * played
    taken = _over_time(np.sum(np.abs(spectra) ** 2, axis=1)) / _over_time(np.sum(whole, axis=1))
    kept = np.clip((10 * np.log10(taken + 1e-9) - NOBODY_DB) / (SOMEBODY_DB - NOBODY_DB), 0, 1)
    floor = np.minimum(np.percentile(power, 10, axis=0), power)
    gain = np.sqrt(np.maximum((power - left) * kept[:, None], floor) / np.maximum(power, 1e-6))
    return _sound(spectra * gain, len(heard))


def _is_nothing(rest: Sound, heard: Sound) -> bool:
    after, before = _levels(rest), _levels(heard)
    loud, quiet = np.percentile(before, 95), np.percentile(before, 10)
    return bool(np.percentile(after, 95) <= max(quiet + ABOVE_NOISE_DB, loud - EXPLAINED_DB))


def _levels(sound: Sound) -> Sound:
    """The level of each 20 ms, in dB."""
    size = 20 * _PER_MS
    frames = sound[: len(sound) // size * size].reshape(-1, size)
    return np.asarray(10 * np.log10(np.mean(frames**2, axis=1) + 1e-3))


def _spectra(sound: Sound) -> NDArray[np.complex128]:
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, _WIDTH), _WIDTH)[::_HOP]
    return np.asarray(np.fft.rfft(frames * _WINDOW, _FFT))


def _sound(spectra: NDArray[np.complex128], count: int) -> Sound:
    """(count,) samples from `_spectra`: adds overlapping frames, and divides by the sum of their windows."""
    frames = np.fft.irfft(spectra, _FFT)[:, :_WIDTH] * _WINDOW
    places = np.arange(len(frames))[:, None] * _HOP + np.arange(_WIDTH)
    total = np.bincount(places.ravel(), frames.ravel())
    weight = np.bincount(places.ravel(), np.tile(_WINDOW**2, len(frames)))
    return np.asarray((total / np.maximum(weight, 1e-3))[_WIDTH : _WIDTH + count])


def _smooth(power: Sound, reach: int = 4) -> Sound:
    """The mean over neighbouring frequencies."""
    sums = np.cumsum(np.pad(power, ((0, 0), (reach + 1, reach))), axis=1)
    return np.asarray((sums[:, 2 * reach + 1 :] - sums[:, : -2 * reach - 1]) / (2 * reach + 1))


def _over_time(power: Sound, reach: int = 3) -> Sound:
    """The mean over neighbouring moments."""
    return np.asarray(np.convolve(power + 1e-3, np.ones(2 * reach + 1) / (2 * reach + 1), "same"))


def _lingering(power: Sound, decay: float = 0.63) -> Sound:
    """A sound fades in a room, here by 2 dB each frame of 10 ms."""
    lingering, last = np.empty_like(power), np.zeros(power.shape[1])
    for place, now in enumerate(power):
        lingering[place] = last = np.maximum(now, last * decay)
    return lingering


def _shifted(kept: Sound, new: Sound) -> Sound:
    return np.concatenate([kept[len(new) :], new]) if len(new) < len(kept) else new[-len(kept) :]


def _until(sound: Sound, behind: int) -> Sound:
    return sound[: len(sound) - behind]


def _at_least(sound: Sound, count: int) -> Sound:
    return np.pad(sound, (max(0, count - len(sound)), 0))


def _int16(sound: Sound) -> Samples:
    return np.clip(np.rint(sound), -32768, 32767).astype(np.int16)


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
