"""Composes what is not spoken: hold.wav, a calm loop, and the tones/ that acknowledge a key in a call.

Only numpy is needed. The same script gives the same files:

    python -m prompts.music

The hold music is an original piece, made for the telephone: its weight lies between 300 and 1,500 Hz, nothing
outside 250..3,500 Hz is kept. Notes and reverberation that ring past the end continue at the beginning, so it
can be repeated forever without a seam.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prompts import sound
from prompts.sound import Sound

RATE = 48_000
"""The rate composed at (Hz); the files are made from it."""
FILE_RATES = (8_000, 16_000)
BEAT_S = 30 / 32
"""64 beats a minute: 8 bars of 4 are 30 s, a whole number of samples at every rate."""
BEATS = 32
BAND_HZ = (250.0, 3_400.0)
HOLD_DBFS = -26.0
TONE_DBFS = -24.0
PEAK_DBFS = -10.0

CHORDS = [
    ["C3", "E4", "G4", "B4", "D5"],
    ["A2", "E4", "G4", "B4", "C5"],
    ["F2", "E4", "A4", "C5", "G5"],
    ["G2", "D4", "A4", "B4", "E5"],
    ["E2", "D4", "G4", "B4", "F#5"],
    ["A2", "C4", "G4", "B4", "E5"],
    ["D3", "F4", "A4", "C5", "E5"],
    ["G2", "F4", "A4", "C5", "D5"],
]
"""One a bar: the bass, then what the broken chord plays, low to high."""
BROKEN = [0, 1, 2, 3, 4, 3, 2, 3]
"""Which note of the chord each half beat of a bar plays."""
MELODY = [
    (0.0, "G5", 3.0),
    (3.0, "E5", 1.0),
    (4.0, "B5", 3.5),
    (8.0, "A5", 2.0),
    (10.0, "G5", 2.0),
    (12.0, "D5", 3.0),
    (16.0, "F#5", 1.5),
    (17.5, "G5", 2.5),
    (20.0, "E5", 3.5),
    (24.0, "C6", 2.0),
    (26.0, "A5", 2.0),
    (28.0, "G5", 1.0),
    (29.0, "E5", 1.0),
    (30.0, "D5", 2.0),
]
"""Beat, note, length in beats."""
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


Partial = tuple[float, float, float]
"""One sine of a timbre: a multiple of the note's frequency, its part, how fast it fades (1/s)."""
PIANO: list[Partial] = [(1, 1.0, 1.5), (2, 0.32, 2.6), (3, 0.10, 4.0), (4.01, 0.05, 7.0)]
BASS: list[Partial] = [(2, 1.0, 0.9), (3, 0.5, 1.2), (4, 0.3, 1.6), (6, 0.1, 2.4)]
PAD: list[Partial] = [(0.999, 0.5, 0.0), (1.001, 0.5, 0.0), (2, 0.12, 0.0)]
FLUTE: list[Partial] = [(1, 1.0, 0.25), (2, 0.18, 0.4), (3, 0.06, 0.6)]


def hertz(note: str) -> float:
    """The frequency of a note such as `F#5`, in equal temperament at A4 = 440 Hz."""
    semitones = _STEPS[note[0]] + note.count("#") + 12 * (int(note[-1]) - 4) - 9
    return float(440.0 * 2 ** (semitones / 12))


def rendered(timbre: Sequence[Partial], note: str, seconds: float, attack: float, release: float) -> Sound:
    """A note, `(n,) float64` at RATE: it swells for `attack` s and dies in `release` s after `seconds`."""
    frequency = hertz(note)
    t = np.arange(round((seconds + release) * RATE)) / RATE
    swell = 0.5 - 0.5 * np.cos(np.pi * np.clip(t / attack, 0, 1))
    fall = 0.5 + 0.5 * np.cos(np.pi * np.clip((t - seconds) / release, 0, 1))
    waves = [
        part * np.sin(2 * np.pi * frequency * ratio * t) * np.exp(-fade * t) for ratio, part, fade in timbre
    ]
    return np.asarray(np.sum(waves, axis=0) * swell * fall, dtype=np.float64)


def lay(loop: Sound, beat: float, note: Sound, loudness: float) -> None:
    """Adds a note to the loop at a beat; what rings past the end continues at the beginning."""
    places = (round(beat * BEAT_S * RATE) + np.arange(len(note))) % len(loop)
    np.add.at(loop, places, note * loudness)


def reverberated(loop: Sound, seed: int, seconds: float = 1.8, wet: float = 0.35) -> Sound:
    """The loop in a soft room: a decaying noise, convolved in a circle so that the seam stays closed."""
    t = np.arange(round(seconds * RATE)) / RATE
    room = np.random.default_rng(seed).standard_normal(len(t)) * np.exp(-3.2 * t)
    room[: round(0.012 * RATE)] = 0
    room /= np.sqrt(np.sum(room**2))
    echo = np.fft.irfft(np.fft.rfft(loop) * np.fft.rfft(room, n=len(loop)), n=len(loop))
    return np.asarray(loop + wet * echo, dtype=np.float64)


def hold_music(seed: int = 8) -> Sound:
    """The whole loop, `(n,) float64` at RATE. `seed` varies the timing and the room a little."""
    hands = np.random.default_rng(seed)
    loop: Sound = np.zeros(round(BEATS * BEAT_S * RATE))
    for bar, (bass, *upper) in enumerate(CHORDS):
        lay(loop, 4 * bar, rendered(BASS, bass, 3.2, 0.03, 1.2), 0.5)
        for name in upper:
            lay(loop, 4 * bar - 0.4, rendered(PAD, name, 3.6, 1.2, 1.6), 0.10)
        notes = [*upper, upper[0].replace("4", "5")]
        for half, index in enumerate(BROKEN):
            struck = rendered(PIANO, notes[index], 1.1, 0.008, 0.7)
            lay(loop, 4 * bar + half / 2 + hands.normal(0, 0.012), struck, 0.30 + hands.normal(0, 0.03))
    for beat, name, beats in MELODY:
        lay(loop, beat, rendered(FLUTE, name, beats * BEAT_S * 0.95, 0.09, 0.5), 0.34)
    return reverberated(loop, seed)


TONES = {
    "recording_on": [(523.25, 0, 130), (659.26, 120, 200)],
    "recording_off": [(659.26, 0, 130), (523.25, 120, 200)],
    "paused": [(587.33, 0, 110), (587.33, 180, 110)],
    "resumed": [(493.88, 0, 110), (987.77, 120, 170)],
    "flagged": [(1046.50, 0, 220)],
    "your_turn": [(493.88, 0, 180)],
}
SOFT_DBFS = {"your_turn": -36.0}
"""Where it only breaks a silence."""
"""Of each beep, one sine: its frequency (Hz), start and length (ms).

Two notes up, two down, two the same, an octave, one high: told apart without knowing them.

No frequency is within 3.5 % of one of DTMF's, and low and high ones never sound together (ITU-T Q.24
has receivers refuse beyond 3.5 %), so the agent's own beep cannot be a caller's key.
"""


def tone(beeps: Sequence[tuple[float, int, int]], rate: int, dbfs: float = TONE_DBFS) -> Sound:
    """The beeps, `(n,) float64` at `rate` Hz, soft at both ends."""
    whole: Sound = np.zeros(round(max(start + length for _, start, length in beeps) * rate / 1000))
    for frequency, start, length in beeps:
        t = np.arange(round(length * rate / 1000)) * 1000 / rate
        edge = np.sin(np.pi / 2 * np.clip(np.minimum(t / 15, (length - t) / 60), 0, 1)) ** 2
        first = round(start * rate / 1000)
        whole[first : first + len(t)] += np.sin(2 * np.pi * frequency * t / 1000) * edge
    return sound.levelled(whole, rate, dbfs, PEAK_DBFS)


def write_all(folder: Path) -> None:
    """hold.wav and tones/*.wav, at every rate."""
    music = hold_music()
    for rate in FILE_RATES:
        ending = ".wav" if rate == 8_000 else f".{rate // 1000}k.wav"
        loop = sound.resample(music, RATE, rate, *BAND_HZ)
        loop *= sound.amplitude(HOLD_DBFS) / sound.active_rms(loop, rate)
        sound.write_wav(folder / f"hold{ending}", loop, rate, sound.COMPOSED)
        for name, beeps in TONES.items():
            beep = tone(beeps, rate, SOFT_DBFS.get(name, TONE_DBFS))
            sound.write_wav(folder / "tones" / f"{name}{ending}", beep, rate, sound.COMPOSED)


def main(line: Sequence[str] | None = None) -> int:
    """Exit status: 0 written, 2 the folder cannot be written to (one line on stderr)."""
    parser = argparse.ArgumentParser(
        prog="python -m prompts.music",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--prompts", type=Path, default=Path(__file__).parent, help="the folder to write to")
    try:
        write_all(parser.parse_args(line).prompts)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
